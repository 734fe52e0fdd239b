//! Clusters beside each other.

use anyhow::Result;

use super::{Cluster, Form, install};
use crate::place::Scratch;
use crate::process;

#[test]
fn two_control_planes_know_nothing_of_each_other() -> Result<()> {
    install(Form::ControlPlane)?;
    let first = Cluster::start(Scratch::new()?, Form::ControlPlane)?;
    let mut second = Cluster::start(Scratch::new()?, Form::ControlPlane)?;
    process::output(first.kubectl()?.command().args(["create", "namespace", "only-in-first"]))?;
    let namespaces = |cluster: &Cluster| cluster.kubectl()?.get(&["namespaces", "-o", "name"]);
    assert!(namespaces(&first)?.contains("only-in-first"));
    assert!(!namespaces(&second)?.contains("only-in-first"));

    let files = first.scratch.path().to_path_buf();
    drop(first);
    assert!(!files.exists(), "a stopped cluster leaves files behind");
    second.check()?;
    namespaces(&second).map(drop)
}
