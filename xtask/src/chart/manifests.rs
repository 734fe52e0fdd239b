//! Every manifest that we ship or show, held against the schemas of a real API server that has our definitions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{MONITORING, fails, schemas, succeeds};
use crate::cluster::{self, Cluster, Form, build};
use crate::place::{self, Scratch};
use crate::process;

/// The version of our kinds.
const OURS: &str = "taffrail.dev/v1alpha1";

/// Manifests with a fault, and what is said of it: without them nobody would notice that nothing is checked any more.
const WRONG: &[(&str, &str)] = &[
    ("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {prots: []}}", "'prots' not allowed"),
    ("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 2}}", "missing properties"),
    (
        "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {parallelism: two, template: {}}}",
        "got string, want integer",
    ),
    ("{apiVersion: v1, kind: Pod, metadata: {nmae: a}}", "'nmae' not allowed"),
    ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, name: b}}", "already set in map"),
    (
        "{apiVersion: taffrail.dev/v1alpha1, kind: LogPipeline, metadata: {name: a}, spec: {sauce: {}}}",
        "'sauce' not allowed",
    ),
    (
        "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}, spec: {selector: {labels: {}}}}",
        "'labels' not allowed",
    ),
    ("{apiVersion: v1, kind: Unheard}", "could not find schema"),
];

/// Checks `rendered`, the definitions, all examples, and objects that the documentation shows.
pub fn check(rendered: &[String], scratch: &Scratch) -> Result<()> {
    cluster::install(Form::ControlPlane)?;
    let cluster = Cluster::start(Scratch::new()?, Form::ControlPlane)?;
    let kubectl = cluster.kubectl()?;
    let monitors = build::prometheus_operator_crds()?.join("monitoring.coreos.com_servicemonitors.yaml");
    let mut apply = kubectl.command();
    apply.current_dir(place::root()).args(["apply", "--server-side", "--filename", "crds", "--filename"]);
    process::run(apply.arg(monitors))?;
    let known = scratch.dir("schemas")?;
    schemas::write(&kubectl, &[OURS, MONITORING], &known)?;
    drop(cluster);

    let found = scratch.dir("manifests")?;
    for (n, text) in rendered.iter().enumerate() {
        write(&found.join(format!("rendered-{n}.yaml")), text)?;
    }
    let shown = shown()?;
    ensure!(!shown.is_empty(), "the documentation shows no object");
    for (n, text) in shown.iter().enumerate() {
        write(&found.join(format!("shown-{n}.yaml")), text)?;
    }
    let mut check = kubeconform(&known)?;
    check.arg("-summary").args(["crds", "charts/taffrail/files/crds"]).args(examples()?).arg(found);
    eprint!("{}", succeeds(&mut check)?.stdout);

    let wrong = scratch.path().join("wrong.yaml");
    for (manifest, reason) in WRONG {
        write(&wrong, manifest)?;
        fails(kubeconform(&known)?.arg(&wrong), reason).with_context(|| format!("the manifest {manifest}"))?;
    }
    Ok(())
}

fn kubeconform(known: &Path) -> Result<Command> {
    let mut kubeconform = Command::new(build::kubeconform()?);
    kubeconform.current_dir(place::root()).args(["-strict", "-schema-location", &schemas::location(known)]);
    Ok(kubeconform)
}

/// The folders of `examples/`. The files beside them are of the classic form.
fn examples() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(place::root().join("examples")).context("could not read examples")?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// The blocks of YAML in the documentation that are whole objects.
fn shown() -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(place::root().join("docs")).context("could not read docs")? {
        let file = entry?.path();
        let text = fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
        let yaml = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        blocks.extend(yaml.filter(|block| block.starts_with("apiVersion:")).map(str::to_owned));
    }
    Ok(blocks)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("could not write {}", file.display()))
}
