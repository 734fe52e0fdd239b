//! Every version that `cargo xtask` installs or asks for, in one place.

/// Apache Kafka (`org.apache.kafka:kafka_2.13` on Maven Central).
pub const KAFKA: &str = "4.3.1";
/// Elasticsearch (`org.elasticsearch:elasticsearch` on Maven Central). Used by tests only: Taffrail links none of it.
pub const ELASTICSEARCH: &str = "9.5.3";
/// The Maven plugin that copies the two servers' jars.
pub const MAVEN_DEPENDENCY_PLUGIN: &str = "3.8.1";
/// cargo-deny: licences, bans, sources and advisories of our dependencies.
pub const CARGO_DENY: &str = "0.20.2";
/// The oldest JDK that runs both servers (Elasticsearch decides).
pub const JDK: u32 = 21;
/// The oldest Node.js that the web page's build tools run on.
pub const NODE: u32 = 18;
