//! `report`.

use std::path::PathBuf;

use clap::Args;

use super::Inputs;

/// `report`
#[derive(Debug, Args)]
pub struct Report {
    /// What the plan is resolved from: what is looked at is what this plan built (default: every variant)
    #[command(flatten)]
    pub inputs: Inputs,
    /// Where the page goes (default: `target/gantry-report.html` beside variants.toml; with `--format json`: nowhere)
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Ask no registry: say what this machine remembers of what is published
    #[arg(long)]
    pub no_registries: bool,
    /// A destination instead of all: NAME, or NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
    /// Download what is published, where that is needed to compare with it
    #[arg(long)]
    pub deep: bool,
}
