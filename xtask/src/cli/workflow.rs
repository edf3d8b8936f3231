//! What the workflows in `.github/workflows` run beside the commands that people run: `compile`, `lint`, `announce`.

use std::path::PathBuf;

use clap::Args;

/// `compile`
#[derive(Debug, Args)]
pub struct Compile {
    /// The folder for `xtask`, `entrypoint`, what that was compiled from, and `SHA256SUMS`
    #[arg(long, short, value_name = "FOLDER", default_value = "target/programs")]
    pub output: PathBuf,
}

/// `lint`
#[derive(Debug, Args)]
pub struct Lint {
    /// Mend what can be mended, instead of telling it
    #[arg(long)]
    pub fix: bool,
}

/// `announce`
#[derive(Debug, Args)]
pub struct Announce {
    /// The tag, which is there already
    #[arg(value_name = "TAG")]
    pub tag: String,
    /// What it says, in Markdown: what `publish --notes` wrote
    #[arg(long, value_name = "FILE")]
    pub notes: PathBuf,
    /// The repository on GitHub
    #[arg(long, value_name = "OWNER/NAME", env = "GITHUB_REPOSITORY")]
    pub repository: Option<String>,
    /// Print what would be said, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
