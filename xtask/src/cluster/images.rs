//! Container images, made without a container engine and without a registry.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::build;
use crate::place::{self, Scratch};
use crate::{process, tools, versions};

/// What every pod has to keep its namespaces: it does nothing.
pub const PAUSE: &str = "localhost/pause:1";
/// A shell and small tools, for tests' pods.
pub const BUSYBOX: &str = "localhost/busybox:1";
/// The cluster's name server.
pub const COREDNS: &str = "localhost/coredns:1";
/// Where Debian keeps the certificates of the world's authorities.
const CA_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// An image of one layer.
struct Image<'a> {
    name: &'a str,
    entrypoint: &'a [&'a str],
    user: &'a str,
    environment: &'a [&'a str],
}

/// What the node needs before its first pod, as archives.
pub fn of_node() -> Result<[PathBuf; 3]> {
    let pause =
        Image { name: PAUSE, entrypoint: &["/bin/busybox", "sleep", "infinity"], user: "65535", environment: &[] };
    let shell = Image { name: BUSYBOX, entrypoint: &["/bin/sh"], user: "", environment: &["PATH=/bin"] };
    let coredns = Image { name: COREDNS, entrypoint: &["/coredns"], user: "", environment: &["PATH=/bin"] };
    let busybox = static_busybox()?;
    let banner = process::output(Command::new(&busybox).arg("--help"))?;
    let version = banner.lines().next().unwrap_or_default();
    let (program, program_version) = (build::coredns()?, [versions::COREDNS, build::COREDNS].concat());
    Ok([
        archive_once("pause", version, &pause, |root| install_busybox(&busybox, root))?,
        archive_once("busybox", version, &shell, |root| {
            for dir in ["etc", "tmp"] {
                fs::create_dir(root.join(dir)).context("could not create a folder of an image")?;
            }
            fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").context("could not write passwd")?;
            install_busybox(&busybox, root)
        })?,
        archive_once("coredns", &program_version, &coredns, |root| copy(&program, &root.join("coredns")))?,
    ])
}

/// The images of the Prometheus Operator and of what it runs, as archives.
pub fn of_prometheus() -> Result<[PathBuf; 3]> {
    let image = |name: &'static str, program: PathBuf, version: &str| {
        let (tag, path) = (format!("localhost/{name}:1"), format!("/bin/{name}"));
        let image = Image { name: &tag, entrypoint: &[&path], user: "65534", environment: &["PATH=/bin"] };
        archive_once(name, version, &image, |root| copy(&program, &root.join(path.trim_start_matches('/'))))
    };
    Ok([
        image("prometheus", build::prometheus()?, versions::PROMETHEUS)?,
        image("prometheus-operator", build::prometheus_operator()?, versions::PROMETHEUS_OPERATOR)?,
        image("prometheus-config-reloader", build::config_reloader()?, versions::PROMETHEUS_OPERATOR)?,
    ])
}

/// Builds Taffrail with everything in one file, and makes its image; returns the archive's path.
pub fn of_taffrail(scratch: &Scratch, name: Option<&str>) -> Result<PathBuf> {
    tools::install_static()?;
    let name = name.unwrap_or(concat!("ghcr.io/taffrail/taffrail:", env!("CARGO_PKG_VERSION")));
    let program = static_taffrail()?;
    let root = scratch.dir("root")?;
    copy(&program, &root.join("taffrail"))?;
    copy(Path::new(CA_CERTIFICATES), &root.join(CA_CERTIFICATES.trim_start_matches('/')))?;
    let archive = scratch.path().join("taffrail.tar");
    // OpenSSL, which Kafka's client uses, would look where the distribution it was built on has them.
    let environment = [format!("SSL_CERT_FILE={CA_CERTIFICATES}")];
    let environment = environment.each_ref().map(String::as_str);
    let image = Image { name, entrypoint: &["/taffrail"], user: "65532:65532", environment: &environment };
    image.write(scratch.path(), &root, &archive)?;
    eprintln!("made {name}");
    Ok(archive)
}

fn static_taffrail() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = place::cargo()?;
    cargo.args(["build", "--release", "--locked", "--package", "taffrail", "--bin", "taffrail", "--target", &target]);
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").envs([("OPENSSL_STATIC", "1"), ("LIBZ_SYS_STATIC", "1")]);
    process::run(&mut cargo)?;
    let program = place::target()?.join(target).join("release/taffrail");
    ensure_static(&program)?;
    Ok(program)
}

fn static_busybox() -> Result<PathBuf> {
    let busybox = tools::find("busybox").context("busybox is missing: `apt-get install busybox-static`")?;
    ensure_static(&busybox).context("the package busybox-static has one that is")?;
    Ok(busybox)
}

/// An image has no libraries: a program that wants some would not start.
fn ensure_static(program: &Path) -> Result<()> {
    let output = Command::new("ldd").arg(program).output().context("could not start `ldd`")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(!printed.contains("=>"), "{} is not linked statically:\n{printed}", program.display());
    Ok(())
}

fn install_busybox(busybox: &Path, root: &Path) -> Result<()> {
    copy(busybox, &root.join("bin/busybox"))?;
    let names = process::output(Command::new(busybox).arg("--list"))?;
    for name in names.lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name)).with_context(|| format!("could not link {name}"))?;
    }
    Ok(())
}

/// Copies a file, and makes the folders that are missing.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    to.parent().map_or(Ok(()), fs::create_dir_all).with_context(|| format!("could not create {}", to.display()))?;
    fs::copy(from, to).map(drop).with_context(|| format!("could not copy {} to {}", from.display(), to.display()))
}

/// The image's archive in the cache. `fill` makes the image's root folder.
fn archive_once(
    name: &str,
    version: &str,
    image: &Image<'_>,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let dir = super::home()?.join(format!("image-{name}"));
    let archive = format!("{name}.tar");
    let recipe = [version, &image.config("")].join("\n");
    place::install_once(&dir, &recipe, |partial| {
        let root = partial.join("root");
        fs::create_dir(&root).with_context(|| format!("could not create {}", root.display()))?;
        fill(&root)?;
        image.write(partial, &root, &partial.join(&archive))?;
        place::remove(&root)
    })?;
    Ok(dir.join(archive))
}

impl Image<'_> {
    /// Writes the form that `docker save` has. `dir` is for files on the way to it.
    fn write(&self, dir: &Path, root: &Path, archive: &Path) -> Result<()> {
        let layer = dir.join("layer.tar");
        // The same files give the same image, whoever makes it and when.
        let same = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--mtime=@0"];
        process::output(Command::new("tar").args(same).arg("-C").arg(root).arg("-cf").arg(&layer).arg("."))?;
        let printed = process::output(Command::new("sha256sum").arg(&layer))?;
        let digest = printed.split_whitespace().next().context("`sha256sum` printed nothing")?;
        let manifest = format!(r#"[{{"Config":"config.json","RepoTags":[{:?}],"Layers":["layer.tar"]}}]"#, self.name);
        for (name, text) in [("manifest.json", &manifest), ("config.json", &self.config(digest))] {
            fs::write(dir.join(name), text).with_context(|| format!("could not write {name}"))?;
        }
        let parts = ["manifest.json", "config.json", "layer.tar"];
        process::output(Command::new("tar").arg("-C").arg(dir).arg("-cf").arg(archive).args(parts))?;
        parts.iter().try_for_each(|part| fs::remove_file(dir.join(part))).context("could not remove a part of an image")
    }

    /// The image's description. Texts are ASCII without escapes, for which Rust's quotes are JSON's.
    fn config(&self, digest: &str) -> String {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let Self { entrypoint, user, environment, .. } = self;
        format!(
            r#"{{"architecture":{architecture:?},"os":"linux","config":{{"Entrypoint":{entrypoint:?},"User":{user:?},"Env":{environment:?}}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}},"history":[{{"created_by":"cargo xtask"}}]}}"#
        )
    }
}
