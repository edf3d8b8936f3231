//! What happens around a release, elsewhere: `propose`.

use std::path::PathBuf;

use clap::Args;

/// `propose`
#[derive(Debug, Args)]
pub struct Propose {
    /// The pull request's branch; it belongs to this command
    #[arg(long, value_name = "BRANCH")]
    pub branch: String,
    /// The pull request's title, and the commit's
    #[arg(long, value_name = "TEXT")]
    pub title: String,
    /// What the pull request says, in Markdown
    #[arg(long, value_name = "FILE")]
    pub body_file: PathBuf,
    /// The branch that it is to be merged into
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    pub base: String,
    /// The repository on GitHub
    #[arg(long, value_name = "OWNER/NAME", env = "GITHUB_REPOSITORY")]
    pub repository: Option<String>,
    /// Replace what people pushed to the branch
    #[arg(long)]
    pub force: bool,
    /// Print what would be committed and asked for, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The files: those that differ from the base branch are committed, as they are in the work tree (missing: removed)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// `pin`
#[derive(Debug, Args)]
pub struct Pin {
    /// Move the references to this destination: NAME
    #[arg(long, value_name = "DESTINATION")]
    pub to: Option<String>,
    /// A destination instead of all: NAME, or NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
    /// Exit with 10 where something would change, and change nothing
    #[arg(long)]
    pub check: bool,
    /// Print what would change as a patch, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Terraform (.tf, .tfvars, .hcl), Compose, Kubernetes and workflows (.yml, .yaml), devcontainer and other JSON
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}
