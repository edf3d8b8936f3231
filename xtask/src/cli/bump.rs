//! `bump`.

use clap::Args;

/// `bump`
#[derive(Debug, Args)]
pub struct Bump {
    /// What to move: pins, `base`, `build-date`, `python`, also with commas between (default, and where empty: everything)
    #[arg(value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Move the one pin that is named to this version (of VS Code: its version or a commit) instead of the newest
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// Write nothing, and exit with 10 where something would be moved
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,
    /// Print what would be moved, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write files that have changes which are not committed
    #[arg(long)]
    pub allow_dirty: bool,
}
