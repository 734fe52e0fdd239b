//! End-to-end tests against real Kafka and Elasticsearch, and the harness that runs them.
