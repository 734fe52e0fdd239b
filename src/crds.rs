//! `taffrail crds`: the custom resource definitions, for `kubectl apply -f -`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to write one file for each definition to, instead of printing them
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    for crd in taffrail_crds::crds() {
        let name = taffrail_crds::file_name(&crd);
        let text = taffrail_crds::to_yaml(&crd).with_context(|| format!("can't write {name} as YAML"))?;
        match &args.output {
            Some(folder) => {
                let path = folder.join(name);
                std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
            }
            None => {
                std::io::stdout().write_all(format!("---\n{text}").as_bytes()).context("can't print the definitions")?
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
