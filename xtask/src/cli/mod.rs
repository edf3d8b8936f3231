//! The command line: clap types only. What a command does lies in `cmd`, one file each.

mod build;
mod bump;
mod deploy;
mod host;
mod look;
mod publish;
mod report;
mod smoke;
mod workflow;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use build::{Build, Plan};
pub use bump::Bump;
pub use deploy::{DeployArgs, DeployCommand, DeployEcs, Pin, Propose};
pub use host::{Clean, Doctor, Quickstart, Setup, Test};
pub use look::{Diff, Sbom};
pub use publish::{EcrArgs, EcrCommand, EcrInit, Promote, Publish, Publishing, Push, Verify};
pub use report::Report;
pub use smoke::Smoke;
pub use workflow::{Announce, Compile, Lint};

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
8 refused by policy, 9 a deployment failed or was not steady in time, 10 --check found something to do or
verify a difference, 130 interrupted.";

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
    /// Markdown for release notes and pull requests, for `diff` and `bump` only.
    Markdown,
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
    /// Run built images and check what they promise
    Smoke(Smoke),
    /// Publish what is built
    Push(Push),
    /// Build, try and push, and push only what passed
    Publish(Publish),
    /// Compare what all destinations hold, with each other and with the ledger
    Verify(Verify),
    /// Move tags to an image that is published already, in all destinations: a rollback, a repair
    Promote(Promote),
    /// Move pins, packages and the base image to their newest releases
    Bump(Bump),
    /// Bring what is published to those who run it
    Deploy(DeployArgs),
    /// Pin references to this family's images in Terraform, Compose, Kubernetes and devcontainer files
    Pin(Pin),
    /// Open or update one pull request with changed files of the work tree
    Propose(Propose),
    /// Tell what is in an image: a CycloneDX document of its packages
    Sbom(Sbom),
    /// Tell what differs between two images: packages, configuration, layers, files, sizes
    Diff(Diff),
    /// Write a page to look at: what the family is, what makes it big, how it was built, where it is published
    Report(Report),
    /// Make a release on GitHub for a tag, with notes
    Announce(Announce),
    /// Compile what another machine is to run without a compiler: this program and the entrypoint
    Compile(Compile),
    /// Look at the sources without running anything: format, lint
    Lint(Lint),
    /// Run the whole test suite, with what it needs
    Test(Test),
}

/// Which variants, under which circumstances.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// A variant, by name or glob; may be given more than once, or with commas between
    #[arg(long = "variant", value_name = "NAME", value_delimiter = ',')]
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
    /// Use this date instead of the pinned BUILD_DATE: packages are installed anew (empty: the pinned one)
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
