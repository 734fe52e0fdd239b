//! What tests do to a cluster: what its users do, by their tools.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{eventually, variable};

/// How long what is bound to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The three kinds.
pub const KINDS: [&str; 3] = ["logpipelines", "alertrules", "dashboards"];

/// `kubectl`, as the cluster's administrator.
#[must_use]
pub fn kubectl_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(variable("TAFFRAIL_TEST_KUBECTL"));
    command.args(arguments);
    command
}

/// What `kubectl` prints.
///
/// # Errors
/// When it fails, with what it said.
pub fn kubectl(arguments: &[&str]) -> Result<String> {
    run(kubectl_command(arguments), "")
}

/// What `helm` prints.
///
/// # Errors
/// When it fails, with what it said.
pub fn helm(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(variable("TAFFRAIL_TEST_HELM"));
    command.args(arguments);
    run(command, "")
}

/// `kubectl apply` of objects, into a namespace unless they name one.
///
/// # Errors
/// When the API server does not take them, with what it said.
pub fn apply(namespace: &str, objects: &[Value]) -> Result<String> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    run(kubectl_command(&["apply", "--server-side", "--namespace", namespace, "--filename", "-"]), &list.to_string())
}

/// Runs a command to its end, with what it reads.
fn run(mut command: Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {command:?}"))?;
    let mut pipe = child.stdin.take().context("a child without standard input")?;
    pipe.write_all(input.as_bytes())?;
    drop(pipe);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An object of ours.
#[must_use]
pub fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "taffrail.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Objects of a kind in a namespace, or one of them as `kind/name`.
///
/// # Errors
/// When there is no such object.
pub fn get(namespace: &str, what: &str) -> Result<Value> {
    get_by(namespace, &[what])
}

fn get_by(namespace: &str, what: &[&str]) -> Result<Value> {
    let text = kubectl(&[&["get", "--namespace", namespace, "--output", "json"], what].concat())?;
    serde_json::from_str(&text).context("kubectl did not print JSON")
}

/// Objects of a kind in a namespace, chosen by labels.
///
/// # Errors
/// When the API server does not give them.
pub fn list(namespace: &str, kind: &str, labels: &str) -> Result<Vec<Value>> {
    get_by(namespace, &[kind, "--selector", labels]).map(items)
}

/// The objects of a list.
#[must_use]
pub fn items(mut list: Value) -> Vec<Value> {
    list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
}

/// Waits until an object is as it should be, and gives it.
pub async fn becomes(namespace: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(PATIENCE, || async {
        let object = get(namespace, what).map_err(|error| format!("{error:#}"))?;
        if is_so(&object) { Ok(object) } else { Err(format!("{what} in {namespace} is not as wanted: {object:#}")) }
    })
    .await
}

/// Waits until all objects of ours in a namespace are ready in their present form, and gives how many there are.
pub async fn all_ready(namespace: &str) -> usize {
    eventually(PATIENCE, || async {
        let objects = ours(namespace).map_err(|error| format!("{error:#}"))?;
        match objects.iter().find(|object| !is_ready(object)) {
            Some(object) => Err(format!("{object:#}")),
            None => Ok(objects.len()),
        }
    })
    .await
}

/// All objects of ours in a namespace.
///
/// # Errors
/// When the API server does not give them.
pub fn ours(namespace: &str) -> Result<Vec<Value>> {
    get(namespace, &KINDS.join(",")).map(items)
}

/// What a condition of an object says: `status reason`; nothing where it is of an earlier form of the object.
#[must_use]
pub fn said(object: &Value, condition: &str) -> String {
    if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        return String::new();
    }
    let found = object["status"]["conditions"].as_array().into_iter().flatten().find(|it| it["type"] == condition);
    let text = |key: &str| found.and_then(|found| found[key].as_str()).unwrap_or_default();
    format!("{} {}", text("status"), text("reason"))
}

/// Whether an object is ready in its present form.
#[must_use]
pub fn is_ready(object: &Value) -> bool {
    said(object, "Ready").starts_with("True ")
}

/// What tells the pods of a namespace from those that come after them: names, and how often their containers started.
///
/// # Errors
/// When the API server does not give them.
pub fn pods(namespace: &str) -> Result<Vec<String>> {
    let pods = get(namespace, "pods").map(items)?;
    let mut pods: Vec<_> = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            format!("{name} {}", restarts(pod))
        })
        .collect();
    pods.sort();
    Ok(pods)
}

/// How often containers of a pod have been started again.
#[must_use]
pub fn restarts(pod: &Value) -> u64 {
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    containers.filter_map(|container| container["restartCount"].as_u64()).sum()
}

/// Ids of the processes, in pods or not, whose command lines hold all of some words; not of those that start them.
#[must_use]
pub fn processes(words: &[&str]) -> Vec<u32> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let starts_others = ["setpriv ", "nsenter ", "sh "].iter().any(|starter| line.starts_with(starter));
        !starts_others && words.iter().all(|word| line.contains(word))
    })
    .collect()
}

/// Sends a signal to a process.
///
/// # Errors
/// When there is no such process.
pub fn signal(process: u32, name: &str) -> Result<()> {
    let mut kill = Command::new("kill");
    kill.args([&format!("-{name}"), &process.to_string()]);
    run(kill, "").map(drop)
}
