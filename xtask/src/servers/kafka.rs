//! A Kafka broker from its published jars: one node in KRaft mode.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::jars::copy_files;
use super::running::{Running, connect};
use crate::place::{self, Scratch};
use crate::tools::Jdk;
use crate::{process, versions};

const POM: &str = include_str!("resources/KafkaPom.xml");
const PROPERTIES: &str = include_str!("resources/server.properties");
/// Any UUID: the cluster lives as long as one test run.
const CLUSTER_ID: &str = "VGFmZnJhaWxUZXN0cyEhIQ";
/// Where an installation keeps a formatted, empty data folder. Copying it saves every start a JVM run.
const FORMATTED: &str = "formatted";

/// Where the broker's jars are.
pub fn home() -> Result<PathBuf> {
    Ok(place::cache()?.join("servers").join(format!("kafka-{}", versions::KAFKA)))
}

/// Downloads the broker's jars once.
pub fn install(jdk: &Jdk) -> Result<()> {
    let pom = POM.replace("@VERSION@", versions::KAFKA);
    place::install_once(&home()?, &pom, |home| {
        jdk.copy_jars(home, &pom)?;
        let properties = home.join("format.properties");
        write_properties(&properties, &home.join(FORMATTED), ([127, 0, 0, 1], 9092).into(), 9093)?;
        let mut format = Command::new(jdk.program("java"));
        format.arg("-cp").arg(home.join("lib/*")).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&properties);
        process::output(&mut format).map(drop)
    })
}

/// Starts the broker; [`is_ready`] tells when it answers.
pub fn start(jdk: &Jdk, scratch: &Scratch, address: SocketAddr, controller_port: u16) -> Result<Running> {
    let home = home()?;
    let data = scratch.dir("kafka")?;
    copy_files(&home.join(FORMATTED), &data)?;
    let properties = scratch.path().join("server.properties");
    write_properties(&properties, &data, address, controller_port)?;
    let mut java = process::tied(jdk.program("java"));
    java.args([
        "-Xms256m",
        "-Xmx768m",
        "-XX:+UseG1GC",
        "-XX:-UsePerfData",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    ]);
    java.arg("-cp").arg(home.join("lib/*")).arg("kafka.Kafka").arg(&properties);
    Running::start("kafka", scratch, &mut java)
}

fn write_properties(file: &Path, data: &Path, address: SocketAddr, controller_port: u16) -> Result<()> {
    let text = PROPERTIES
        .replace("@ADDRESS@", &address.to_string())
        .replace("@CONTROLLER_PORT@", &controller_port.to_string());
    fs::write(file, text.replace("@DATA@", &data.display().to_string()))
        .with_context(|| format!("could not write {}", file.display()))
}

/// Whether the broker has registered itself, so that topics can be created: the cluster's metadata names a broker. A
/// listening port alone comes a moment too early.
pub fn is_ready(address: SocketAddr) -> bool {
    brokers(address).is_ok_and(|count| count > 0)
}

/// Asks for the metadata of no topics (version 4, the oldest that says so in every broker we may meet) and reads the
/// number of brokers. Format: <https://kafka.apache.org/protocol#The_Messages_Metadata>.
fn brokers(address: SocketAddr) -> std::io::Result<u32> {
    const METADATA: u16 = 3;
    const VERSION: u16 = 4;
    let mut request = Vec::new();
    request.extend_from_slice(&METADATA.to_be_bytes());
    request.extend_from_slice(&VERSION.to_be_bytes());
    request.extend_from_slice(&[0; 4]); // correlation id
    request.extend_from_slice(&[0xff; 2]); // client id: null
    request.extend_from_slice(&[0; 4]); // topics: none
    request.push(0); // create topics: no
    let length = u32::try_from(request.len()).map_err(std::io::Error::other)?;
    let mut stream = connect(address)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&request)?;
    let mut answer = [0; 16]; // length, correlation id, throttle time, number of brokers
    stream.read_exact(&mut answer)?;
    Ok(u32::from_be_bytes([answer[12], answer[13], answer[14], answer[15]]))
}
