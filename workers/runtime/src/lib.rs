//! What every worker shares: telemetry, health, shutdown, HTTP serving and the object source.
