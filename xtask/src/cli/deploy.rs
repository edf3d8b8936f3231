//! What happens around a release, elsewhere: `propose`, `pin`, `deploy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
    /// The files lie there, as artifacts of a workflow do, under their names in the repository; none is removed, and FILE may be a folder
    #[arg(long, value_name = "FOLDER")]
    pub from: Option<PathBuf>,
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

/// `deploy`
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Where to
    #[command(subcommand)]
    pub command: DeployCommand,
}

/// The commands of `deploy`.
#[derive(Debug, Subcommand)]
pub enum DeployCommand {
    /// Start the tasks of services in Amazon ECS anew, and wait until they are steady
    Ecs(DeployEcs),
}

/// `deploy ecs`
#[derive(Debug, Args)]
pub struct DeployEcs {
    /// The cluster: its name or ARN
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: String,
    /// A service of it; may be given more than once
    #[arg(long = "service", value_name = "SERVICE", required = true)]
    pub services: Vec<String>,
    /// Register a new revision of the task definition with this image for the family's, and deploy that
    #[arg(long, value_name = "REFERENCE")]
    pub image: Option<String>,
    /// The region, instead of AWS_REGION's or the profile's
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The profile, instead of AWS_PROFILE
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// How long to wait until all are steady
    #[arg(long, value_name = "SECONDS", default_value_t = 1200, value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: u32,
    /// Do not wait: end as soon as the deployments have begun
    #[arg(long)]
    pub no_wait: bool,
    /// Print what would be deployed, and change nothing
    #[arg(long, conflicts_with = "no_wait")]
    pub dry_run: bool,
}
