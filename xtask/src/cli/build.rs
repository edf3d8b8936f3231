//! `plan` and `build`.

use std::path::PathBuf;

use clap::Args;

use super::Inputs;

/// `plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// What it is resolved from
    #[command(flatten)]
    pub inputs: Inputs,
    /// Only variants that differ from what this commit would build: a branch, a tag, an id
    #[arg(long, value_name = "COMMIT")]
    pub changed_since: Option<String>,
}

/// `build`
#[derive(Debug, Args)]
pub struct Build {
    /// What the plan is resolved from
    #[command(flatten)]
    pub inputs: Inputs,
    /// First move every pin to its newest release, as `bump` does
    #[arg(long, conflicts_with_all = ["dry_run", "locked"])]
    pub bump: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Build every image anew, ignoring the engine's cache (pins do not move)
    #[arg(long)]
    pub no_cache: bool,
    /// How many images are built at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// Write tags and digests to this file, with the key names of `docker buildx bake --metadata-file`
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Build although a pin is older than its `max-age-days`
    #[arg(long)]
    pub allow_old_pins: bool,
    /// Only variants that differ from what this commit would build: a branch, a tag, an id
    #[arg(long, value_name = "COMMIT")]
    pub changed_since: Option<String>,
    /// Wait for nobody: fail when another build of this family runs
    #[arg(long)]
    pub no_wait: bool,
}
