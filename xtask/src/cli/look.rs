//! What looks into images: `sbom`, `diff`.

use std::path::PathBuf;

use clap::Args;

/// `sbom`
#[derive(Debug, Args)]
pub struct Sbom {
    /// The image: a name or id in the engine, HOST/REPOSITORY:TAG or @DIGEST, or a tag or digest of a destination
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Write it there instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A destination instead of all: NAME, or NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
}

/// `diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// The image to compare with: a name or id in the engine, HOST/REPOSITORY:TAG or @DIGEST, or a tag or digest of a destination
    #[arg(value_name = "A")]
    pub before: String,
    /// The image that is compared, named in the same ways
    #[arg(value_name = "B")]
    pub after: String,
    /// Tell every file that differs, instead of folders
    #[arg(long)]
    pub files: bool,
    /// Exit with 10 where the two differ
    #[arg(long)]
    pub check: bool,
    /// Write it there instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A destination instead of all: NAME, or NAME=HOST[:PORT]/REPOSITORY; may be given more than once
    #[arg(long = "destination", value_name = "NAME[=REPOSITORY]")]
    pub destinations: Vec<String>,
}
