//! `cargo xtask generate`: what is checked in but made from something else.

use std::fs;

use anyhow::{Context, Result};

use crate::{chart, place, process, ui};

/// Writes the custom resource definitions, the snapshots of the chart and the web page anew.
pub fn run() -> Result<()> {
    crds()?;
    chart::generate()?;
    ui::generate()
}

/// One file for each definition that `taffrail crds` prints, named as Kubernetes' own generators do, for kubectl and in
/// the chart.
fn crds() -> Result<()> {
    let text =
        process::output(place::cargo()?.args(["run", "--quiet", "--locked", "--bin", "taffrail", "--", "crds"]))?;
    let documents = text.split("---\n").filter(|document| !document.trim().is_empty());
    for document in documents {
        let name = document.lines().find_map(|line| line.strip_prefix("  name: "));
        let name = name.context("`taffrail crds` printed a definition without a name")?;
        let (plural, group) =
            name.split_once('.').with_context(|| format!("{name} is not the name of a definition"))?;
        for folder in ["crds", "charts/taffrail/files/crds"] {
            let file = place::root().join(folder).join(format!("{group}_{plural}.yaml"));
            fs::write(&file, document).with_context(|| format!("could not write {}", file.display()))?;
        }
    }
    Ok(())
}
