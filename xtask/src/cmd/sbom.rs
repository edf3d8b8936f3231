//! `cargo xtask sbom`: what is in an image, as a CycloneDX document.

use serde_json::json;

use super::contents::Library;
use super::edge;
use super::prepare::read_family;
use super::session::Session;
use super::subject::Finder;
use crate::cli::Sbom;
use crate::failure::Failure;
use crate::sbom::cyclonedx;

pub(super) async fn run(session: &Session, args: &Sbom) -> Result<(), Failure> {
    // Any image may be looked into, with or without a family around.
    let family = session.manifest.exists().then(|| read_family(session)).transpose()?;
    let finder = Finder::new(session, family.as_ref(), &args.destinations)?;
    let compression = family.as_ref().map(|family| family.compression).unwrap_or_default();
    let library = Library::open(session, compression)?;
    let work = async {
        let subject = finder.find(&args.image).await?;
        let mut contents = library.contents(&finder, &[&subject]).await?;
        Ok((subject, contents.pop()))
    };
    let (subject, contents) = session.interruptible(work).await?;
    let Some(contents) = contents else { return Ok(()) };
    let document = cyclonedx(&contents);
    match &args.output {
        // The document is JSON whatever the format.
        None => session.console.data(&String::from_utf8_lossy(&document)),
        Some(file) => {
            edge::write_beside(file, &document)?;
            let packages = contents.packages.len();
            let result =
                json!({ "schema": 1, "image": subject.name, "file": file, "packages": packages, "bytes": document.len() });
            session.console.result(&result, &format!("wrote {}: {packages} packages of {}\n", file.display(), subject.name));
        }
    }
    Ok(())
}
