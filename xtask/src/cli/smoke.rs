//! `smoke`.

use std::path::PathBuf;

use clap::Args;

use super::Inputs;

/// `smoke`
#[derive(Debug, Args)]
pub struct Smoke {
    /// What the plan is resolved from: what is tried is what this plan built
    #[command(flatten)]
    pub inputs: Inputs,
    /// How many images are tried at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// How long a container may take until it is healthy
    #[arg(long, value_name = "SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..))]
    pub patience: u16,
    /// Try images again that were tried by the same checks before
    #[arg(long)]
    pub again: bool,
    /// Only the checks of this name, with * and ?; of a start, all; may be given more than once. What comes of it is not recorded
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// Try any image of the engine as if it were the variant; what comes of it is not recorded
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Where the last release is looked up, to see the growth: NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME=REPOSITORY")]
    pub destinations: Vec<String>,
    /// Write the result to this file, too, as JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Leave containers and network as they are, for a look (`cargo xtask clean` takes them away)
    #[arg(long)]
    pub keep: bool,
    /// Print what would be tried, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
