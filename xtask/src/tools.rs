//! The programs that tests need: found, or installed, or a message that says which command installs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::servers::{elasticsearch, kafka, opensearch};
use crate::{place, process, versions};

/// A program, the Debian package that has it, and what we need it for.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("git", "git", "to see whether generated files changed"),
    ("setpriv", "util-linux", "to end the servers with their starter"),
    ("mvn", "maven", "to download Kafka, Elasticsearch and OpenSearch"),
    ("nginx", "nginx-light", "to put Elasticsearch behind TLS and authentication"),
    ("openssl", "openssl", "to make certificates for tests"),
    ("curl", "curl", "to ask OpenSearch whether it is up"),
    ("node", "nodejs", "to check and build the web page"),
    ("npm", "npm", "to check and build the web page"),
];

/// What Kubernetes needs, beside what it is built from.
const CLUSTER: &[(&str, &str, &str)] = &[
    ("go", "golang-go", "to build Kubernetes"),
    ("openssl", "openssl", "to make the cluster's certificates"),
    ("setpriv", "util-linux", "to end the cluster with its starter"),
];

/// What it takes to harm a network.
const SOAK: &[(&str, &str, &str)] = &[
    ("iptables", "iptables", "to cut networks"),
    ("ip", "iproute2", "to make a network"),
    ("tc", "iproute2", "to narrow networks"),
];

/// What a node of it needs.
const NODE: &[(&str, &str, &str)] = &[
    ("containerd", "containerd", "to run containers"),
    ("runc", "runc", "to run containers"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins", "to connect pods"),
    ("iptables", "iptables", "to make services' addresses work"),
    ("conntrack", "conntrack", "to make services' addresses work"),
    ("modprobe", "kmod", "to make services' addresses work"),
    ("ip", "iproute2", "to make the node's network"),
    ("busybox", "busybox-static", "to make the images that the node starts with"),
];

/// Checks every tool and installs what can be installed: all that is missing is reported at once.
pub fn install() -> Result<()> {
    programs(PROGRAMS)?;
    rsyslog("omelasticsearch", "rsyslog-elasticsearch")?;
    node()?;
    let jdk = Jdk::find()?;
    eprintln!("JDK {} at {}", jdk.version, jdk.home.display());
    kafka::install(&jdk)?;
    elasticsearch::install(&jdk)?;
    opensearch::install(&jdk)?;
    cargo_deny()?;
    Ok(())
}

/// What [`crate::servers::Servers`] needs, and nothing else.
pub fn install_servers() -> Result<Jdk> {
    programs(&PROGRAMS[1..6])?;
    let jdk = Jdk::find()?;
    kafka::install(&jdk)?;
    elasticsearch::install(&jdk)?;
    Ok(jdk)
}

/// What it takes to harm Taffrail and its servers in a network of their own.
pub fn install_soak() -> Result<Jdk> {
    ensure!(is_root()?, "a soak needs root: it makes a network and a disk of its own");
    programs(SOAK)?;
    install_servers()
}

/// What [`crate::cluster`] needs of programs that are not built from source.
pub fn install_cluster(with_node: bool) -> Result<()> {
    programs(CLUSTER)?;
    if with_node {
        ensure!(is_root()?, "a node needs root, a control plane does not: `cargo xtask cluster up --no-node`");
        programs(NODE)?;
    }
    go()
}

/// What it takes to measure others beside ingestion: rsyslog, whose path this gives, and what telegraf is built with.
pub fn install_peers() -> Result<PathBuf> {
    rsyslog("omelasticsearch", "rsyslog-elasticsearch")?;
    rsyslog("imkafka", "rsyslog-kafka")?;
    programs(&[("go", "golang-go", "to build telegraf")])?;
    go()?;
    find("rsyslogd").context("there is no rsyslogd")
}

/// Installs rsyslog with a module of it, and the package that has that.
fn rsyslog(module: &str, package: &str) -> Result<()> {
    let module = format!("/usr/lib/{}-linux-gnu/rsyslog/{module}.so", std::env::consts::ARCH);
    let reason = "to send logs to Taffrail, and to measure it beside Taffrail";
    programs(&[("rsyslogd", "rsyslog", reason), (&module, package, reason)])
}

/// Fails where Go is too old.
fn go() -> Result<()> {
    let printed = process::output(Command::new("go").arg("version"))?;
    let minor = printed.split_once(" go1.").and_then(|(_, minor)| leading_number(minor));
    let need = versions::GO_MINOR;
    ensure!(
        minor.is_some_and(|minor| minor >= need),
        "this is {}, and Go 1.{need} or later is needed: https://go.dev/dl",
        printed.trim()
    );
    Ok(())
}

/// What it takes to put Taffrail into one file with everything it needs.
pub fn install_static() -> Result<()> {
    let library = format!("/usr/lib/{}-linux-gnu/libssl.a", std::env::consts::ARCH);
    programs(&[(&library, "libssl-dev", "to link Kafka's client into the image's program")])
}

/// cargo-deny at the version we pin.
pub fn cargo_deny() -> Result<PathBuf> {
    let version = versions::CARGO_DENY;
    let root = place::cache()?.join("tools").join(format!("cargo-deny-{version}"));
    place::install_once(&root, version, |partial| {
        let package = format!("cargo-deny@{version}");
        // Its build must neither fill our target folder nor follow our configuration.
        let mut cargo = place::cargo()?;
        cargo.env_remove("CARGO_TARGET_DIR").args(["install", "--locked", "--quiet", &package, "--root"]);
        process::run(cargo.arg(partial))
    })?;
    Ok(root.join("bin/cargo-deny"))
}

/// Finds the programs; what is absent is installed when we may, and named with its command when not.
fn programs(wanted: &[(&str, &str, &str)]) -> Result<()> {
    let missing = || wanted.iter().filter(|(program, ..)| find(program).is_none());
    let packages: Vec<_> = missing().map(|(_, package, _)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let wants: Vec<_> = missing().map(|(program, _, reason)| format!("  {program}, {reason}")).collect();
    let command = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    let advice = format!("missing programs:\n{}\ninstall them: {command}", wants.join("\n"));
    if !is_root()? || find("apt-get").is_none() {
        bail!("{advice}");
    }
    eprintln!("{advice}");
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        apt
    };
    process::run(apt().args(["update", "-q"]))?;
    process::run(apt().args(["install", "-y", "-q", "--no-install-recommends"]).args(&packages)).context(advice)
}

/// Where a program is: on `PATH`, or where Debian puts daemons, which is not on everybody's `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(program)).find(|candidate| candidate.is_file())
}

fn is_root() -> Result<bool> {
    Ok(process::output(Command::new("id").arg("-u"))?.trim() == "0")
}

fn node() -> Result<()> {
    let printed = process::output(Command::new("node").arg("--version"))?;
    let major = leading_number(printed.trim().trim_start_matches('v'));
    let need = versions::NODE;
    ensure!(
        major.is_some_and(|major| major >= need),
        "node is {}, and {need} or later is needed: install one from your distribution or https://nodejs.org",
        printed.trim()
    );
    Ok(())
}

/// A Java development kit.
#[derive(Debug)]
pub struct Jdk {
    /// Its folder.
    pub home: PathBuf,
    /// Its major version.
    pub version: u32,
}

impl Jdk {
    /// The first JDK that is new enough: `ES_JAVA_HOME`, `JAVA_HOME`, the one whose `javac` is on `PATH`, and then the
    /// newest in `/usr/lib/jvm`.
    pub fn find() -> Result<Self> {
        let named = ["ES_JAVA_HOME", "JAVA_HOME"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
        let on_path = find("javac").and_then(|javac| javac.canonicalize().ok());
        let on_path = on_path.and_then(|javac| Some(javac.parent()?.parent()?.to_path_buf()));
        let mut installed: Vec<_> = fs::read_dir("/usr/lib/jvm")
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter_map(|home| Self::at(&home))
            .collect();
        installed.sort_by_key(|jdk| std::cmp::Reverse(jdk.version));
        let first = named
            .chain(on_path)
            .filter_map(|home| Self::at(&home))
            .chain(installed)
            .find(|jdk| jdk.version >= versions::JDK);
        let need = versions::JDK;
        first.with_context(|| {
            format!(
                "no JDK {need} or later (with javac) in ES_JAVA_HOME, JAVA_HOME, PATH or /usr/lib/jvm, and the test servers \
                 need one: `apt-get install openjdk-{need}-jdk-headless`, or install Temurin and set ES_JAVA_HOME"
            )
        })
    }

    /// Every JDK says its version in a file named `release`: no need to start it.
    fn at(home: &Path) -> Option<Self> {
        let release = fs::read_to_string(home.join("release")).ok()?;
        let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
        home.join("bin/javac").is_file().then_some(())?;
        Some(Self { home: home.to_path_buf(), version: leading_number(version)? })
    }

    /// One of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.home.join("bin").join(name)
    }

    /// Copies the jars that a Maven project needs at run time into `dir`/lib.
    pub fn copy_jars(&self, dir: &Path, pom: &str) -> Result<()> {
        let file = dir.join("pom.xml");
        fs::write(&file, pom).with_context(|| format!("could not write {}", file.display()))?;
        let goal = format!(
            "org.apache.maven.plugins:maven-dependency-plugin:{}:copy-dependencies",
            versions::MAVEN_DEPENDENCY_PLUGIN
        );
        let mut maven = Command::new("mvn");
        // Standard output is for what callers may want to read by program.
        maven.stdout(std::io::stderr());
        if self.version >= 23 {
            // Maven's own use of sun.misc.Unsafe is nothing our users should read about.
            maven.env("MAVEN_OPTS", "--sun-misc-unsafe-memory-access=allow --enable-native-access=ALL-UNNAMED");
        }
        maven.env("JAVA_HOME", &self.home).args(["--quiet", "--batch-mode", "-Dstyle.color=never"]);
        maven.arg("--file").arg(&file).arg(goal).args(["-DoutputDirectory=lib", "-DincludeScope=runtime"]);
        process::run(&mut maven)
    }
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
