//! This machine: `quickstart`, `setup`, `doctor`, `clean`, `test`.

use clap::Args;

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
    /// Only the tests: format and lint are looked at elsewhere (`cargo xtask lint`)
    #[arg(long)]
    pub no_lint: bool,
    /// Only tests whose name contains this
    #[arg(value_name = "FILTER")]
    pub filter: Option<String>,
}
