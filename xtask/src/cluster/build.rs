//! Kubernetes, what belongs to it, and whom ingestion is measured beside: each program built once from its published Go
//! modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{place, process, versions};

/// The main package of our CoreDNS.
pub const COREDNS: &str = include_str!("resources/coredns.go");

/// The module of the Prometheus Operator.
const PROMETHEUS_OPERATOR: &str = "github.com/prometheus-operator/prometheus-operator";

/// One of Kubernetes' own programs.
pub fn kubernetes(name: &str) -> Result<PathBuf> {
    let version = versions::KUBERNETES;
    let package = format!("k8s.io/kubernetes/cmd/{name}");
    // Without its version a server calls itself v0.0.0, and clients take it for an old one.
    let (minor, _) = version.trim_start_matches("v1.").split_once('.').context("not a version of Kubernetes")?;
    let stamps = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(|package| {
        format!(" -X {package}.gitVersion={version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}")
    });
    let flags = format!("-s -w{}", stamps.concat());
    program(name, version, &flags, |module| {
        write_kubernetes_module(module)?;
        build(module, name, &package, &flags, "")
    })
}

/// etcd.
pub fn etcd() -> Result<PathBuf> {
    published("etcd", "go.etcd.io/etcd/server/v3", versions::ETCD)
}

/// Helm, which installs charts.
pub fn helm() -> Result<PathBuf> {
    published("helm", "helm.sh/helm/v3/cmd/helm", versions::HELM)
}

/// kubeconform, which holds manifests against schemas.
pub fn kubeconform() -> Result<PathBuf> {
    published("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", versions::KUBECONFORM)
}

/// An interpreter of Starlark, which Tilt's files are written in.
pub fn starlark() -> Result<PathBuf> {
    published("starlark", "go.starlark.net/cmd/starlark", versions::STARLARK)
}

/// Prometheus.
pub fn prometheus() -> Result<PathBuf> {
    published("prometheus", "github.com/prometheus/prometheus/cmd/prometheus", versions::PROMETHEUS)
}

/// The Prometheus Operator.
pub fn prometheus_operator() -> Result<PathBuf> {
    published("operator", &format!("{PROMETHEUS_OPERATOR}/cmd/operator"), versions::PROMETHEUS_OPERATOR)
}

/// What the Prometheus Operator puts beside Prometheus.
pub fn config_reloader() -> Result<PathBuf> {
    let package = format!("{PROMETHEUS_OPERATOR}/cmd/prometheus-config-reloader");
    published("prometheus-config-reloader", &package, versions::PROMETHEUS_OPERATOR)
}

/// The folder with the definitions of the Prometheus Operator's kinds.
pub fn prometheus_operator_crds() -> Result<PathBuf> {
    let module = prometheus_operator()?.with_file_name("");
    let printed = process::output(goes(&module).args(["list", "-m", "-f", "{{.Dir}}", PROMETHEUS_OPERATOR]))?;
    Ok(Path::new(printed.trim()).join("example/prometheus-operator-crd"))
}

/// telegraf, with what it takes to get logs from Kafka into Elasticsearch.
pub fn telegraf() -> Result<PathBuf> {
    let tags = "custom,inputs.kafka_consumer,outputs.elasticsearch,parsers.json";
    published_with("telegraf", "github.com/influxdata/telegraf/cmd/telegraf", versions::TELEGRAF, tags)
}

/// A program as its authors published it.
fn published(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    published_with(name, package, version, "")
}

/// A program as its authors published it, or the parts of it that have these tags.
fn published_with(name: &str, package: &str, version: &str, tags: &str) -> Result<PathBuf> {
    let flags = "-s -w";
    let recipe = [package, flags, tags].join(" ");
    program(name, version, recipe.trim_end(), |module| {
        write(module, "go.mod", "module build\n")?;
        go(module, &["get", &format!("{package}@{version}")])?;
        build(module, name, package, flags, tags)
    })
}

/// CoreDNS, with our selection of plugins.
pub fn coredns() -> Result<PathBuf> {
    let flags = "-s -w";
    program("coredns", versions::COREDNS, &[flags, COREDNS].concat(), |module| {
        write(module, "go.mod", "module build\n")?;
        write(module, "main.go", COREDNS)?;
        go(module, &["get", &format!("github.com/coredns/coredns@{}", versions::COREDNS)])?;
        build(module, "coredns", ".", flags, "")
    })
}

/// The program's path. `build` makes it in a folder of its own, which is also a Go module.
fn program(name: &str, version: &str, recipe: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let dir = super::home()?.join(format!("{name}-{version}"));
    place::install_once(&dir, recipe, build)?;
    Ok(dir.join(name))
}

/// A module that requires Kubernetes. Kubernetes takes its libraries from its own `staging` folder by `replace`, which
/// does not hold for those who require it; the same libraries are published as v0.
fn write_kubernetes_module(module: &Path) -> Result<()> {
    let version = versions::KUBERNETES;
    let library_version = version.replacen("v1.", "v0.", 1);
    let download = format!("k8s.io/kubernetes@{version}");
    let printed = process::output(goes(module).args(["mod", "download", "-json", &download]))?;
    let source = printed.lines().find_map(|line| line.trim().strip_prefix(r#""Dir": ""#)?.strip_suffix(r#"","#));
    let source = Path::new(source.context("`go mod download` did not say where the source is")?);
    let theirs = read(&source.join("go.mod"))?;
    let language = theirs.lines().filter(|line| line.starts_with("go ") || line.starts_with("godebug "));
    let staged = theirs.lines().filter_map(|line| line.trim().split_once(" => ./staging/"));
    let mut ours = format!("module build\nrequire k8s.io/kubernetes {version}\n");
    ours.extend(language.map(|line| format!("{line}\n")));
    ours.extend(staged.map(|(library, _)| format!("replace {library} => {library} {library_version}\n")));
    write(module, "go.mod", &ours)?;
    // A copy by `fs::copy` would be read-only, as all of Go's module cache is.
    write(module, "go.sum", &read(&source.join("go.sum"))?)
}

fn build(module: &Path, name: &str, package: &str, flags: &str, tags: &str) -> Result<()> {
    go(module, &["build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-tags", tags, "-o", name, package])
}

/// Runs Go in `module`. Its standard output is for what callers may want to read by program.
fn go(module: &Path, arguments: &[&str]) -> Result<()> {
    process::run(goes(module).args(arguments).stdout(std::io::stderr()))
}

/// `go`, whatever the user has configured for other work. It builds for minutes on every core: nobody should feel it.
fn goes(module: &Path) -> Command {
    let mut go = Command::new("nice");
    go.args(["-n", "19", "go"]).current_dir(module);
    go.envs([("CGO_ENABLED", "0"), ("GOFLAGS", "-mod=mod"), ("GOWORK", "off"), ("GO111MODULE", "on")]);
    go
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(dir.join(name), text).with_context(|| format!("could not write {name} into {}", dir.display()))
}
