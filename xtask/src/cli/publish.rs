//! What talks to registries: `push`, `verify`, `promote`, `ecr`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

use super::Inputs;

/// How what is built is published: of `push` and `publish`.
#[derive(Debug, Clone, Args)]
pub struct Publishing {
    /// Replace the file's destinations: NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME=REPOSITORY")]
    pub destinations: Vec<String>,
    /// Publish from a dirty tree; tags then say so
    #[arg(long)]
    pub allow_dirty: bool,
    /// Publish although a pin is older than its `max-age-days`
    #[arg(long)]
    pub allow_old_pins: bool,
    /// Publish what is built here, even where an image of the same input is published (immutable tags stay), or a tag is at a
    /// later commit
    #[arg(long)]
    pub force: bool,
    /// Attach no SBOMs
    #[arg(long)]
    pub no_sbom: bool,
}

/// `push`
#[derive(Debug, Args)]
pub struct Push {
    /// What the plan is resolved from: what is pushed is what this plan built
    #[command(flatten)]
    pub inputs: Inputs,
    /// Where it goes, and how
    #[command(flatten)]
    pub to: Publishing,
    /// Print what would be sent and tagged, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `publish`
#[derive(Debug, Args)]
pub struct Publish {
    /// What the plan is resolved from
    #[command(flatten)]
    pub inputs: Inputs,
    /// Where it goes, and how
    #[command(flatten)]
    pub to: Publishing,
    /// Take what is published already as it is, even what was never tried on this machine
    #[arg(long)]
    pub untried: bool,
    /// How many images are built at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// Build every image anew and publish it, even where one of the same input is published (immutable tags stay)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set, hide_possible_values = true)]
    pub no_cache: bool,
    /// Write digests and names there, as `sha256sum` does, of what this run has built: what is to be attested. What is published
    /// already is named only if the file names it before: it is that of an earlier attempt
    #[arg(long, value_name = "FILE")]
    pub subjects: Option<PathBuf>,
    /// Write release notes there: what differs from what was published before. Where an earlier attempt has published all of it,
    /// the file stays as that has written it
    #[arg(long, value_name = "FILE")]
    pub notes: Option<PathBuf>,
    /// Print what would be built, tried, sent and tagged, and do nothing
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set, hide_possible_values = true)]
    pub dry_run: bool,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// A variant, by name or glob; may be given more than once, or with commas between (default: all)
    #[arg(long = "variant", value_name = "NAME", value_delimiter = ',')]
    pub variants: Vec<String>,
    /// Every variant
    #[arg(long, conflicts_with = "variants")]
    pub all: bool,
    /// A destination instead of all: NAME, or NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
    /// A tag instead of the moving ones and those of the newest release; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Read every blob and unpack every layer, instead of asking whether they are there
    #[arg(long)]
    pub deep: bool,
    /// Look for no SBOMs
    #[arg(long)]
    pub no_sbom: bool,
}

/// `promote`
#[derive(Debug, Args)]
pub struct Promote {
    /// The image: a tag or a digest
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// The variant that the image is to be (its label says which it is)
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// A tag to set instead of the variant's moving ones; may be given more than once, or with commas between (empty: none)
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// A destination instead of all: NAME, or NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
    /// Where REFERENCE is looked up, instead of in the destinations
    #[arg(long, value_name = "NAME[=REPOSITORY]")]
    pub from: Option<String>,
    /// Print what would be sent and moved, and do nothing
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set, hide_possible_values = true)]
    pub dry_run: bool,
}

/// `ecr`
#[derive(Debug, Args)]
pub struct EcrArgs {
    /// What to do
    #[command(subcommand)]
    pub command: EcrCommand,
}

/// The commands of `ecr`.
#[derive(Debug, Subcommand)]
pub enum EcrCommand {
    /// Create the repositories that are missing and align the others, after showing the difference
    Init(EcrInit),
}

/// `ecr init`
#[derive(Debug, Args)]
pub struct EcrInit {
    /// A destination instead of all in ECR: NAME, or NAME=HOST/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
    /// Print what would be changed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}
