//! What the workflows in `.github/workflows` run beside the commands that people run: `compile`, `lint`.

use std::path::PathBuf;

use clap::Args;

/// `compile`
#[derive(Debug, Args)]
pub struct Compile {
    /// The folder for `xtask`, `entrypoint` and `SHA256SUMS`
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
