//! The command line: clap types only. What a command does lies in `cmd`, one file each.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Builds a family of layered images from one table and publishes it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    /// The family's table
    #[arg(long, global = true, value_name = "FILE", default_value = "variants.toml", env = "GANTRY_MANIFEST")]
    pub manifest: PathBuf,

    /// How results and progress are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub format: Format,

    /// Tell every request to a registry; twice: with its headers (never one that holds a secret)
    #[arg(short = 'v', long = "verbose", global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 unexpected, 2 usage or invalid file, 3 something needed is missing, 4 a build failed,
5 smoke failed, 6 publishing failed and nothing was tagged, 7 publishing failed and some tags moved,
8 refused by policy, 10 --check found something to do or verify a difference, 130 interrupted.";

/// How results and progress are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people: bars on a terminal, plain lines elsewhere.
    Human,
    /// JSON: the result on stdout, events as lines on stderr.
    Json,
    /// Graphviz, for `plan` only.
    Dot,
    /// Mermaid, as GitHub draws it in Markdown, for `plan` only.
    Mermaid,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// From a bare machine to a running workspace: sets up, builds `aws-web`, starts it on loopback
    Quickstart(Quickstart),
    /// Install what is missing on this machine (Debian, Ubuntu) and start the engine
    Setup(Setup),
    /// Tell what is missing on this machine and what can be published where, each with the command that mends it
    Doctor(Doctor),
    /// Prepare repositories in Amazon ECR
    Ecr(EcrArgs),
    /// Remove what Gantry left: containers, stage tags, caches, its own dockerd
    Clean(Clean),
    /// Show what a build would consist of
    Plan(Plan),
    /// Build images
    Build(Build),
    /// Publish what is built
    Push(Push),
    /// Compare what all destinations hold, with each other and with the ledger
    Verify(Verify),
    /// Move tags to an image that is published already, in all destinations: a rollback, a repair
    Promote(Promote),
    /// Run the whole test suite, with what it needs
    Test(Test),
}

/// Which variants, under which circumstances.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// A variant, by name or glob; may be given more than once
    #[arg(long = "variant", value_name = "NAME")]
    pub variants: Vec<String>,
    /// Every variant
    #[arg(long, conflicts_with = "variants")]
    pub all: bool,
    /// The profile of variants.toml
    #[arg(long, default_value = "default", env = "GANTRY_PROFILE")]
    pub profile: String,
}

/// What a plan is resolved from, beside variants.toml.
#[derive(Debug, Clone, Args)]
pub struct Inputs {
    /// Which variants
    #[command(flatten)]
    pub selection: Selection,
    /// Use this date instead of the pinned BUILD_DATE: packages are installed anew
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub build_date: Option<String>,
    /// A build argument for every image whose Dockerfile declares it
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    pub args: Vec<String>,
    /// What children are built on: the parent as built here, or as published
    #[arg(long, value_enum, default_value_t = Parent::Built)]
    pub parent: Parent,
    /// An entrypoint that was built elsewhere, instead of building it
    #[arg(long, value_name = "FILE")]
    pub entrypoint: Option<PathBuf>,
    /// Refuse pins that variants.lock does not resolve, instead of resolving them (default when CI=true)
    #[arg(long)]
    pub locked: bool,
    /// A CA bundle for the builds, handed to them as a secret (default: the host's, when it has a CA of its own)
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
    /// Hand no CA bundle to the builds
    #[arg(long, conflicts_with = "ca_bundle")]
    pub no_ca_bundle: bool,
}

/// What children are built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Parent {
    /// The parent as built on this engine, before it was finished.
    Built,
    /// The parent as published, by digest.
    Published,
}

/// `plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// What it is resolved from
    #[command(flatten)]
    pub inputs: Inputs,
}

/// `build`
#[derive(Debug, Args)]
pub struct Build {
    /// What the plan is resolved from
    #[command(flatten)]
    pub inputs: Inputs,
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
    /// Wait for nobody: fail when another build of this family runs
    #[arg(long)]
    pub no_wait: bool,
}

/// `push`
#[derive(Debug, Args)]
pub struct Push {
    /// What the plan is resolved from: what is pushed is what this plan built
    #[command(flatten)]
    pub inputs: Inputs,
    /// Replace the file's destinations: NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME=REPOSITORY")]
    pub destinations: Vec<String>,
    /// Publish from a dirty tree; tags then say so
    #[arg(long)]
    pub allow_dirty: bool,
    /// Publish what is built here, even where an image of the same input is published (immutable tags stay)
    #[arg(long)]
    pub force: bool,
    /// Print what would be sent and tagged, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// A variant, by name or glob; may be given more than once (default: all)
    #[arg(long = "variant", value_name = "NAME")]
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
    /// A tag to set instead of the variant's moving ones; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// A destination instead of all: NAME, or NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
    /// Where REFERENCE is looked up, instead of in the destinations
    #[arg(long, value_name = "NAME[=REPOSITORY]")]
    pub from: Option<String>,
    /// Print what would be sent and moved, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `quickstart`
#[derive(Debug, Args)]
pub struct Quickstart {
    /// The variant to start
    #[arg(long, default_value = "aws-web")]
    pub variant: String,
    /// The profile of variants.toml
    #[arg(long, default_value = "offline", env = "GANTRY_PROFILE")]
    pub profile: String,
    /// The port on loopback; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// The container's name
    #[arg(long, default_value = "gantry-quickstart")]
    pub name: String,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
    /// Take the container away again
    #[arg(long)]
    pub down: bool,
}

/// `setup`
#[derive(Debug, Args)]
pub struct Setup {
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
    /// Also what the test suite needs
    #[arg(long)]
    pub tests: bool,
    /// Print what would be installed and started, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// The profile of variants.toml
    #[arg(long, default_value = "default", env = "GANTRY_PROFILE")]
    pub profile: String,
    /// A destination to look at instead of all: NAME, or NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
    /// A destination that cannot be pushed to is something missing, too: before a release
    #[arg(long)]
    pub publish: bool,
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

/// `clean`
#[derive(Debug, Args)]
pub struct Clean {
    /// Also the downloads and layers in the cache
    #[arg(long)]
    pub cache: bool,
    /// Also the images of the family themselves
    #[arg(long)]
    pub images: bool,
    /// Also stop the engine that `setup` started
    #[arg(long)]
    pub engine: bool,
    /// All of the above
    #[arg(long)]
    pub all: bool,
    /// Print what would be removed, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `test`
#[derive(Debug, Args)]
pub struct Test {
    /// Install what the suite needs without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Only tests whose name contains this
    #[arg(value_name = "FILTER")]
    pub filter: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
