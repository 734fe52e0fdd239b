//! An Elasticsearch node from its published jars, with two small classes of our own: a launcher (the published one wants
//! the whole distribution) and the module that answers `GET /`.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::jars::{class_path, compile, make_dir, module_dir, move_jars, write};
use super::running::{Running, connect};
use crate::place::{self, Scratch};
use crate::tools::Jdk;
use crate::{process, versions};

const POM: &str = include_str!("resources/ElasticsearchPom.xml");
const NODE: &str = include_str!("resources/TestNode.java");
const ROOT: &str = include_str!("resources/RestRoot.java");
const ROOT_PROPERTIES: &str = include_str!("resources/rest-root.properties");
const SETTINGS: &str = include_str!("resources/elasticsearch.yml");
const LOGGING: &str = include_str!("resources/log4j2.properties");
/// Indices with best compression need zstd, which the distribution bundles; the system's own stands in for it.
const ZSTD: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/libzstd.so.1",
    "/usr/lib/aarch64-linux-gnu/libzstd.so.1",
    "/usr/lib64/libzstd.so.1",
    "/usr/lib/libzstd.so.1",
];

fn home() -> Result<PathBuf> {
    Ok(place::cache()?.join("servers").join(format!("elasticsearch-{}", versions::ELASTICSEARCH)))
}

/// Downloads the node's jars and compiles our two classes, once.
pub fn install(jdk: &Jdk) -> Result<()> {
    let pom = POM.replace("@VERSION@", versions::ELASTICSEARCH);
    let recipe = [&pom, NODE, ROOT, ROOT_PROPERTIES].concat();
    place::install_once(&home()?, &recipe, |home| {
        jdk.copy_jars(home, &pom)?;
        network_module(jdk, home)?;
        root_module(jdk, home)?;
        let source = write(home, "TestNode.java", NODE)?;
        compile(jdk, home, &source, "classes")?;
        link_zstd(home)?;
        fs::create_dir(home.join("plugins")).context("could not create a folder for plugins")
    })
}

/// The HTTP layer is a module: a folder of its own, loaded by a class loader of its own.
fn network_module(jdk: &Jdk, home: &Path) -> Result<()> {
    let module = module_dir(home, "transport-netty4")?;
    move_jars(home, &["netty-", "transport-netty4-"], &module)?;
    let jar = module.join(format!("transport-netty4-{}.jar", versions::ELASTICSEARCH));
    let descriptor = "META-INF/es-plugins/transport-netty4/plugin-descriptor.properties";
    let mut extract = Command::new(jdk.program("jar"));
    process::output(extract.current_dir(home).arg("--extract").arg("--file").arg(jar).arg(descriptor))?;
    let text = fs::read_to_string(home.join(descriptor)).context("could not read the network module's description")?;
    // Without its `modulename` the module loads from the class path, where everything else is.
    let text: String =
        text.lines().filter(|line| !line.starts_with("modulename=")).map(|line| format!("{line}\n")).collect();
    write(&module, "plugin-descriptor.properties", &text).map(drop)
}

fn root_module(jdk: &Jdk, home: &Path) -> Result<()> {
    let module = module_dir(home, "rest-root")?;
    let source = write(home, "RestRoot.java", ROOT)?;
    compile(jdk, home, &source, "rest-root")?;
    let mut jar = Command::new(jdk.program("jar"));
    jar.arg("--create").arg("--file").arg(module.join("rest-root.jar")).arg("-C").arg(home.join("rest-root")).arg(".");
    process::output(&mut jar)?;
    let properties = ROOT_PROPERTIES.replace("@VERSION@", versions::ELASTICSEARCH);
    write(&module, "plugin-descriptor.properties", &properties).map(drop)
}

fn link_zstd(home: &Path) -> Result<()> {
    let library = ZSTD.iter().find(|file| Path::new(file).exists());
    let library = library.context("libzstd is missing, and Elasticsearch needs it: `apt-get install libzstd1`")?;
    let platform = if cfg!(target_arch = "aarch64") { "linux-aarch64" } else { "linux-x64" };
    let dir = make_dir(&home.join("lib/platform").join(platform))?;
    std::os::unix::fs::symlink(library, dir.join("libzstd.so")).with_context(|| format!("could not link to {library}"))
}

/// What stands on the command line of `java`, between options for this node and the folder of its settings.
pub fn command(jdk: &Jdk) -> Result<Vec<String>> {
    let home = home()?;
    let mut words = vec![
        "-XX:-UsePerfData".to_owned(),
        format!("-Des.path.home={}", home.display()),
        // The vector library is native code of the distribution, which the jars lack.
        "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false".to_owned(),
        "--add-modules=jdk.incubator.vector".to_owned(),
        "--enable-native-access=ALL-UNNAMED".to_owned(),
    ];
    if jdk.version >= 23 {
        words.push("--sun-misc-unsafe-memory-access=allow".to_owned());
    }
    words.extend(["-cp".to_owned(), class_path(&home), "TestNode".to_owned(), home.display().to_string()]);
    Ok(words)
}

/// Starts the node; [`is_ready`] tells when it answers.
pub fn start(jdk: &Jdk, scratch: &Scratch, address: SocketAddr, transport_port: u16) -> Result<Running> {
    let config = scratch.dir("elasticsearch-config")?;
    let temp = scratch.dir("elasticsearch-tmp")?;
    let settings = SETTINGS
        .replace("@HOST@", &address.ip().to_string())
        .replace("@PORT@", &address.port().to_string())
        .replace("@TRANSPORT_PORT@", &transport_port.to_string())
        .replace("@DATA@", &scratch.dir("elasticsearch")?.display().to_string())
        .replace("@LOGS@", &scratch.dir("elasticsearch-logs")?.display().to_string());
    write(&config, "elasticsearch.yml", &settings)?;
    write(&config, "log4j2.properties", LOGGING)?;
    let mut java = process::tied(jdk.program("java"));
    java.args(["-Xms1g", "-Xmx1g"]).arg(format!("-Djava.io.tmpdir={}", temp.display()));
    java.args(command(jdk)?).arg(config);
    Running::start("elasticsearch", scratch, &mut java)
}

/// Whether the node answers requests.
pub fn is_ready(address: SocketAddr) -> bool {
    status_line(address).is_ok_and(|line| line.ends_with(" 200 OK"))
}

/// The first line of the answer to a question about the cluster's health.
fn status_line(address: SocketAddr) -> Result<String> {
    let mut stream = connect(address)?;
    let request = format!("GET /_cluster/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(1 << 16).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    ensure!(line.starts_with("HTTP/1.1"), "not an HTTP answer: {line}");
    Ok(line.to_owned())
}
