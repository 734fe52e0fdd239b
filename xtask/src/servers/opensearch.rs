//! An OpenSearch node from its published jars, with its security plugin, and a small launcher of our own. It has little
//! room, users with few rights, and TLS that asks for a client's certificate, too: what is hard to make an Elasticsearch without its licensed parts do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::jars::{class_path, compile, copy_files, make_dir, module_dir, move_jars, write};
use super::proxy::make_certificates;
use super::running::Running;
use crate::place::{self, Scratch};
use crate::tools::Jdk;
use crate::{process, versions};

const POM: &str = include_str!("resources/OpenSearchPom.xml");
const NODE: &str = include_str!("resources/OpenSearchNode.java");
const SETTINGS: &str = include_str!("resources/opensearch.yml");
const LOGGING: &str = include_str!("resources/log4j2.properties");
const USERS: &str = include_str!("resources/opensearch-users.yml");
const ROLES: &str = include_str!("resources/opensearch-roles.yml");
const MAPPING: &str = include_str!("resources/opensearch-mapping.yml");
/// The plugin's own settings, of which we take all but users, roles and who has them.
const SECURITY: &str = "plugins/opensearch-security";

fn home() -> Result<PathBuf> {
    Ok(place::cache()?.join("servers").join(format!("opensearch-{}", versions::OPENSEARCH)))
}

/// Downloads the node's jars and its plugin, and compiles the launcher, once.
pub fn install(jdk: &Jdk) -> Result<()> {
    let pom = POM.replace("@VERSION@", versions::OPENSEARCH);
    let recipe = [&pom, NODE].concat();
    place::install_once(&home()?, &recipe, |home| {
        jdk.copy_jars(home, &pom)?;
        module(
            home,
            "transport-netty4",
            "org.opensearch.transport.Netty4ModulePlugin",
            &["netty-", "transport-netty4-client-"],
        )?;
        let analysis = "org.opensearch.analysis.common.CommonAnalysisModulePlugin";
        module(home, "analysis-common", analysis, &["analysis-common-"])?;
        security_plugin(jdk, home)?;
        let source = write(home, "OpenSearchNode.java", NODE)?;
        compile(jdk, home, &source, "classes")
    })
}

/// The HTTP layer and text analysis are modules: each a folder of its own, loaded by a class loader of its own.
fn module(home: &Path, name: &str, class: &str, jars: &[&str]) -> Result<()> {
    let module = module_dir(home, name)?;
    move_jars(home, jars, &module)?;
    let version = versions::OPENSEARCH;
    let descriptor = format!(
        "description={name}\nversion={version}\nname={name}\njava.version={}\nopensearch.version={version}\n\
         classname={class}\n",
        versions::JDK
    );
    write(&module, "plugin-descriptor.properties", &descriptor).map(drop)
}

fn security_plugin(jdk: &Jdk, home: &Path) -> Result<()> {
    let plugin = make_dir(&home.join(SECURITY))?;
    let archive = home.join(format!("lib/opensearch-security-{}.0.zip", versions::OPENSEARCH));
    let mut extract = Command::new(jdk.program("jar"));
    process::output(extract.current_dir(&plugin).arg("--extract").arg("--file").arg(&archive))?;
    fs::remove_file(&archive).with_context(|| format!("could not remove {}", archive.display()))?;
    move_jars(home, &["commons-collections4-"], &plugin)?;
    // It extends, if they are there, plugins that are not.
    let descriptor = plugin.join("plugin-descriptor.properties");
    let text = fs::read_to_string(&descriptor).context("could not read the security plugin's description")?;
    let kept = text.lines().filter(|line| !line.starts_with("extended.plugins"));
    let text: String = kept.map(|line| format!("{line}\n")).collect();
    write(&plugin, "plugin-descriptor.properties", &text).map(drop)
}

/// Starts the node; [`is_ready`] tells when it answers. With it comes the certificate of the authority that its clients
/// must trust.
pub fn start(jdk: &Jdk, scratch: &Scratch, port: u16, transport_port: u16) -> Result<(Running, PathBuf)> {
    let home = home()?;
    let config = scratch.dir("opensearch-config")?;
    let ca = make_certificates(&config)?;
    let settings = SETTINGS
        .replace("@PORT@", &port.to_string())
        .replace("@TRANSPORT_PORT@", &transport_port.to_string())
        .replace("@DATA@", &scratch.dir("opensearch")?.display().to_string())
        .replace("@LOGS@", &scratch.dir("opensearch-logs")?.display().to_string());
    write(&config, "opensearch.yml", &settings)?;
    write(&config, "log4j2.properties", LOGGING)?;
    let security = scratch.dir("opensearch-config/opensearch-security")?;
    copy_files(&home.join(SECURITY).join("config"), &security)?;
    for (name, text) in [("internal_users.yml", USERS), ("roles.yml", ROLES), ("roles_mapping.yml", MAPPING)] {
        write(&security, name, text)?;
    }
    let temp = scratch.dir("opensearch-tmp")?;
    let mut java = process::tied(jdk.program("java"));
    java.args(["-Xms512m", "-Xmx512m", "-XX:-UsePerfData", "--enable-native-access=ALL-UNNAMED"]);
    java.arg(format!("-Djava.io.tmpdir={}", temp.display()));
    java.arg(format!("-Dopensearch.path.home={}", home.display()));
    java.arg(format!("-Dopensearch.path.conf={}", config.display()));
    java.arg("-cp").arg(class_path(&home)).arg("OpenSearchNode").arg(home).arg(config);
    Ok((Running::start("opensearch", scratch, &mut java)?, ca))
}

/// Whether the node answers a user: its security is the last thing that comes up.
pub fn is_ready(port: u16, ca: &Path) -> bool {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "2", "--user", "admin:changeme", "--cacert"]).arg(ca);
    curl.arg("--cert").arg(ca.with_file_name("client.pem")).arg("--key").arg(ca.with_file_name("client.key"));
    process::output(curl.arg(format!("https://localhost:{port}/"))).is_ok()
}
