//! The Tiltfile, evaluated with stand-ins for Tilt's functions: what it names must be there.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{attempt, helm, succeeds};
use crate::cluster::build;
use crate::place::{self, Scratch};
use crate::versions;

const STAND_INS: &str = include_str!("tilt.star");
/// Kinds that Tilt makes a resource of.
const WORKLOADS: &[&str] = &["deployment", "statefulset", "daemonset", "job", "cronjob"];

/// The text of ours.
pub fn read() -> Result<String> {
    read_file("Tiltfile")
}

/// Checks a Tiltfile; returns the manifests that it applies.
pub fn check(tiltfile: &str) -> Result<Vec<String>> {
    let calls = evaluate(tiltfile)?;
    let manifests = calls
        .iter()
        .filter(|call| call.function == "k8s_yaml")
        .flat_map(|call| yaml(&call.arguments["yaml"]))
        .map(manifest)
        .collect::<Result<Vec<_>>>()?;
    let applied = applied(&manifests);
    let mut resources: BTreeSet<&str> = applied.iter().filter(|id| id.is_workload()).map(|id| id.name).collect();
    for call in calls.iter().filter(|call| call.function == "k8s_resource") {
        let workload = call.text("workload");
        ensure!(workload.is_empty() || resources.remove(workload), "the Tiltfile applies no workload `{workload}`");
        let name = call.text("new_name");
        let name = if name.is_empty() { workload } else { name };
        ensure!(resources.insert(name), "two resources in the Tiltfile are called `{name}`");
        for object in call.texts("objects") {
            let (name, kind) = object.split_once(':').with_context(|| format!("`{object}` does not say its kind"))?;
            let there = applied.iter().any(|id| id.name == name && id.kind == kind);
            ensure!(there, "the Tiltfile applies no object `{object}`");
        }
    }
    for call in calls.iter().filter(|call| call.function == "local_resource") {
        let name = call.text("name");
        ensure!(resources.insert(name), "two resources in the Tiltfile are called `{name}`");
    }
    for call in &calls {
        for name in call.texts("resource_deps") {
            ensure!(resources.contains(name), "the Tiltfile has no resource `{name}`");
        }
        for path in call.texts("deps") {
            ensure!(place::root().join(path).exists(), "`{path}` in the Tiltfile is not there");
        }
    }
    images(&calls, &manifests)?;
    Ok(manifests)
}

/// A call of one of Tilt's functions.
struct Call {
    function: String,
    arguments: Value,
}

impl Call {
    fn text(&self, name: &str) -> &str {
        self.arguments[name].as_str().unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        texts(&self.arguments[name])
    }
}

/// What Tilt takes as one text or as a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().filter(|text| !text.is_empty()).collect(),
    }
}

/// The calls that a Tiltfile makes, in their order.
fn evaluate(tiltfile: &str) -> Result<Vec<Call>> {
    let scratch = Scratch::new()?;
    let functions = STAND_INS.lines().filter_map(|line| line.strip_prefix("def ")?.split('(').next());
    let functions = functions.filter(|name| !name.starts_with('_')).map(|name| format!("{name:?}"));
    // On the first line, so that errors name the lines of the Tiltfile itself.
    let load = format!("load(\"tilt.star\", {}); ", functions.collect::<Vec<_>>().join(", "));
    for (name, text) in [("tilt.star", STAND_INS), ("Tiltfile", &(load + tiltfile))] {
        fs::write(scratch.path().join(name), text).with_context(|| format!("could not write {name}"))?;
    }
    let mut starlark = Command::new(build::starlark()?);
    // As in Tilt, statements of every sort may stand outside of functions.
    starlark.current_dir(scratch.path()).args(["-globalreassign", "Tiltfile"]);
    match attempt(&mut starlark)? {
        Ok(printed) => printed.stderr.lines().map(call).collect(),
        Err(printed) => {
            let trace: Vec<_> = printed.stderr.lines().filter(|line| call(line).is_err()).collect();
            bail!("the Tiltfile can't be evaluated:\n{}", trace.join("\n"))
        }
    }
}

fn call(line: &str) -> Result<Call> {
    let mut call: Value =
        serde_json::from_str(line).with_context(|| format!("the Tiltfile's stand-ins printed {line}"))?;
    Ok(Call { function: call["function"].as_str().unwrap_or_default().to_owned(), arguments: call["arguments"].take() })
}

/// The sources of manifests in an argument of `k8s_yaml`: a file, what Helm renders, or several of those.
fn yaml(argument: &Value) -> Vec<&Value> {
    match argument {
        Value::Array(items) if !is_helm(argument) => items.iter().collect(),
        one => vec![one],
    }
}

fn is_helm(source: &Value) -> bool {
    source[0] == "helm" && source[1].is_object()
}

/// A source's text.
fn manifest(source: &Value) -> Result<String> {
    if let Some(path) = source.as_str() {
        return read_file(path);
    }
    ensure!(is_helm(source), "`k8s_yaml` is given {source}");
    let arguments = &source[1];
    let text = |name: &str| arguments[name].as_str().unwrap_or_default();
    let mut template = helm("template")?;
    template.args([text("name"), text("pathToChartDir"), "--namespace", text("namespace")]);
    template.args(texts(&arguments["values"]).iter().flat_map(|file| ["--values", file]));
    template.args(texts(&arguments["set"]).iter().flat_map(|value| ["--set", value]));
    Ok(succeeds(&mut template)?.stdout)
}

fn read_file(path: &str) -> Result<String> {
    fs::read_to_string(place::root().join(path)).with_context(|| format!("could not read {path}"))
}

/// What tells an object from others. There is one namespace.
struct Id<'a> {
    kind: String,
    name: &'a str,
}

impl Id<'_> {
    fn is_workload(&self) -> bool {
        WORKLOADS.contains(&self.kind.as_str())
    }
}

fn applied(manifests: &[String]) -> Vec<Id<'_>> {
    let documents = manifests.iter().flat_map(|text| text.split("---\n"));
    documents
        .filter_map(|document| {
            let value = |prefix: &str| document.lines().find_map(|line| line.strip_prefix(prefix));
            Some(Id { kind: value("kind: ")?.to_lowercase(), name: value("  name: ")? })
        })
        .collect()
}

/// Images that are built must be used, also by workers; others are of the versions that we test with.
fn images(calls: &[Call], manifests: &[String]) -> Result<()> {
    let used: Vec<_> =
        manifests.iter().flat_map(|text| text.lines()).filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    let built: Vec<_> =
        calls.iter().filter(|call| call.function == "custom_build").map(|call| call.text("ref")).collect();
    for name in &built {
        let tagged = |image: &&str| image.strip_prefix(name).is_some_and(|tag| tag.starts_with(':'));
        ensure!(used.iter().any(tagged), "the Tiltfile builds `{name}`, and nothing uses it");
    }
    let servers = [
        format!("apache/kafka:{}", versions::KAFKA),
        format!("docker.elastic.co/elasticsearch/elasticsearch:{}", versions::ELASTICSEARCH),
    ];
    for image in used {
        let known = servers.iter().any(|server| server == image) || built.iter().any(|name| image.starts_with(name));
        if !known {
            bail!("`{image}` is neither built nor of the version that is tested with: {}", servers.join(", "));
        }
    }
    Ok(())
}
