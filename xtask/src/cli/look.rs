//! What looks into images: `sbom`.

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
