//! `--changed-since COMMIT`: the variants that come out differently than at that commit, told by their input digests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::Session;
use super::prepare::{Locking, Prepared};
use crate::cli::Inputs;
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::family::Name;
use crate::oci::Digest;
use crate::plan::Plan;
use crate::secret;

/// Leaves only those of the selected variants that differ from what `commit` would build. Where that cannot be told (the commit
/// is not there, its variants.toml is not understood), all of them count as changed, and a warning says why.
///
/// # Errors
/// The files as they are now make no plan.
pub(super) async fn narrow(session: &Session, prepared: &mut Prepared, inputs: &Inputs, commit: &str) -> Result<(), Failure> {
    let now = inputs_of(&prepared.plan()?);
    let before = session.interruptible(async { Ok(then(session, inputs, commit).await) }).await?;
    match before {
        Ok(before) => prepared.variants.retain(|variant| now.get(variant) != before.get(variant)),
        Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
        Err(failure) => {
            let text = format!("what `{commit}` would build cannot be told, so that everything counts as changed: {failure}");
            session.console.events().emit(Event::Warning { text });
        }
    }
    if prepared.variants.is_empty() {
        session.console.say(&format!("no variant differs from what `{commit}` would build"));
    }
    Ok(())
}

/// The input digest of every finished variant.
fn inputs_of(plan: &Plan) -> BTreeMap<Name, Digest> {
    let of = |variant: &crate::plan::VariantPlan| Some((variant.name.clone(), plan.step(&variant.finished)?.input));
    plan.variants.iter().filter_map(of).collect()
}

/// The same of another commit, whose files are laid out beside for as long as that takes. All variants: which there were is
/// not known.
async fn then(session: &Session, inputs: &Inputs, commit: &str) -> Result<BTreeMap<Name, Digest>, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Missing, "cannot lay its files out").source(error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let files = archive(&session.root, commit).await?;
    tar::Archive::new(&files[..]).unpack(folder.path()).map_err(failed)?;
    let name = session.manifest.file_name().map_or(Path::new("variants.toml"), Path::new);
    let there = session.elsewhere(folder.path().join(name));
    let mut inputs = inputs.clone();
    (inputs.selection.all, inputs.selection.variants) = (true, Vec::new());
    let prepared = Prepared::gather(&there, &inputs, Locking::InMemory).await?;
    Ok(inputs_of(&prepared.plan()?))
}

/// The files of `commit` below `root`, as git packs them.
async fn archive(root: &Path, commit: &str) -> Result<Vec<u8>, Failure> {
    let mut git = Command::new("git");
    // `--end-of-options`: what begins with a dash is a commit that there is not, not a flag.
    let args = ["-c", "core.fsmonitor=false", "archive", "--format=tar", "--end-of-options"];
    secret::withhold(&mut git);
    git.arg("-C").arg(root).args(args).args([commit, "."]).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let output = git.output().await.map_err(|error| Failure::new(Exit::Missing, "cannot run git").source(error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().unwrap_or("no reason given").trim_start_matches("fatal: ").to_owned();
    Err(Failure::new(Exit::Usage, format!("git: {why}")))
}
