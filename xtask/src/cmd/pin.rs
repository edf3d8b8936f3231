//! `cargo xtask pin`: this family's references in other files, to the digests that are published now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::Session;
use super::destinations::{Target, sources, targets};
use super::prepare::read_family;
use crate::cli::{Format, Pin};
use crate::failure::{Exit, Failure};
use crate::oci::{Digest, Reference, Repository};
use crate::pin::{self, Change, Found, Kind, Replaced};
use crate::registry::{self, RegistryError, Sources};

/// Questions at the same time.
const AT_ONCE: usize = 8;

pub(super) async fn run(session: &Session, args: &Pin) -> Result<(), Failure> {
    session.interruptible(pin_files(session, args)).await
}

/// A file, with what was found in it.
struct File {
    /// As it was named.
    name: String,
    /// Where it is, links followed.
    path: PathBuf,
    text: String,
    found: Vec<Found>,
}

/// A reference, and what it becomes.
struct Step {
    line: usize,
    before: String,
    after: String,
}

/// What is wrong, and how the command ends because of it.
#[derive(Default)]
struct Problems {
    lines: Vec<String>,
    hints: BTreeSet<String>,
    exit: Option<Exit>,
}

impl Problems {
    fn add(&mut self, exit: Exit, line: String, hint: Option<String>) {
        self.lines.push(line);
        self.hints.extend(hint);
        self.exit.get_or_insert(exit);
    }

    fn done(self) -> Result<(), Failure> {
        let Some(exit) = self.exit else { return Ok(()) };
        let many = if self.lines.len() == 1 { "a problem".to_owned() } else { format!("{} problems", self.lines.len()) };
        let failure = Failure::new(exit, format!("{many}; no file was changed")).detail(self.lines.join("\n"));
        let hints: Vec<String> = self.hints.into_iter().collect();
        Err(if hints.is_empty() { failure } else { failure.hint(hints.join("\n")) })
    }
}

async fn pin_files(session: &Session, args: &Pin) -> Result<(), Failure> {
    let family = read_family(session)?;
    let targets = targets(&family, &args.destinations)?;
    let to = args.to.as_ref().map(|name| named(&targets, name)).transpose()?;
    let repositories: Vec<Repository> = targets.iter().map(|target| target.repository.clone()).collect();
    let mut problems = Problems::default();
    let files = read(&args.files, &repositories, &mut problems);

    // Where each reference is asked: at its own destination, or at the one that it is moved to.
    let place = |found: &pin::Reference| targets.get(to.unwrap_or(found.repository));
    let wanted = |found: &pin::Reference| place(found).map(|target| target.repository.tag(&found.tag));
    let references = files.iter().flat_map(|file| &file.found).filter_map(|found| found.what.as_ref().ok());
    let asks: BTreeMap<Reference, bool> = references.filter_map(|found| Some((wanted(found)?, place(found)?.insecure))).collect();
    let known = sources(&family)?;
    let answers = ask(asks, &known).await;

    let mut steps = Vec::new();
    for file in &files {
        let mut of_file = Vec::new();
        for found in &file.found {
            let Some(reference) = found.what.as_ref().ok().and_then(wanted) else { continue };
            match answers.get(&reference) {
                Some(Ok(Some(digest))) => {
                    let after = Reference { digest: Some(*digest), ..reference }.to_string();
                    let before = file.text.get(found.span.clone()).unwrap_or_default().to_owned();
                    of_file.push((found.span.clone(), Step { line: found.line, before, after }));
                }
                Some(Ok(None)) => {
                    let line = format!("{}:{}: `{reference}` is not published", file.name, found.line);
                    problems.add(Exit::Missing, line, Some(tags(&family)));
                }
                Some(Err(error)) => {
                    problems.add(Exit::Missing, format!("{}:{}: `{reference}`: {error}", file.name, found.line), error.hint());
                }
                None => {}
            }
        }
        steps.push(of_file);
    }
    problems.done()?;

    let edited: Vec<String> = files
        .iter()
        .zip(&steps)
        .map(|(file, steps)| {
            let change = |(span, step): &(std::ops::Range<usize>, Step)| Change { span: span.clone(), to: step.after.clone() };
            pin::edited(&file.text, &steps.iter().map(change).collect::<Vec<_>>())
        })
        .collect();
    let differ = files.iter().zip(&edited).filter(|(file, text)| file.text != **text).count();
    let acts = !args.check && !args.dry_run;
    if acts {
        let changed = files.iter().zip(&edited).filter(|(file, text)| file.text != **text);
        let changed =
            changed.map(|(file, text)| Replaced { path: file.path.clone(), before: file.text.clone(), after: text.clone() });
        pin::write(&changed.collect::<Vec<_>>()).map_err(|(path, error)| {
            let failure = Failure::new(Exit::Missing, format!("cannot write `{}`", path.display())).source(error);
            failure.hint("mend that, and run the same command again: what is pinned already stays so")
        })?;
    }

    let steps: Vec<Vec<Step>> = steps.into_iter().map(|steps| steps.into_iter().map(|(_, step)| step).collect()).collect();
    if args.dry_run && session.console.format() != Format::Json {
        let patch: String = files.iter().zip(&edited).map(|(file, text)| pin::diff(&file.name, &file.text, text)).collect();
        session.console.data(&patch);
        session.console.say(&left(&files));
    } else {
        session.console.result(&as_json(&files, &steps, acts), &as_text(&files, &steps, acts));
    }
    if args.check && differ > 0 {
        let message = format!(
            "{differ} of {} files {} not pinned to what is published",
            files.len(),
            if differ == 1 { "is" } else { "are" }
        );
        return Err(Failure::new(Exit::CheckFound, message).hint("the same without `--check` pins them"));
    }
    Ok(())
}

fn named(targets: &[Target], name: &str) -> Result<usize, Failure> {
    targets.iter().position(|target| target.name == name).ok_or_else(|| {
        let names = targets.iter().map(|target| format!("`{}`", target.name)).collect::<Vec<_>>().join(", ");
        Failure::new(Exit::Usage, format!("`--to {name}`: no destination of this name; there are {names}"))
    })
}

/// Reads the files, each once however often it is named.
fn read(named: &[PathBuf], repositories: &[Repository], problems: &mut Problems) -> Vec<File> {
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    for file in named {
        let name = file.display().to_string();
        let Some(kind) = Kind::of(file) else {
            let accepted = "accepted are .tf, .tfvars, .hcl, .yml, .yaml, .json, .jsonc".to_owned();
            problems.add(Exit::Usage, format!("{name}: what a comment is in such a file is not known"), Some(accepted));
            continue;
        };
        match text(file) {
            Ok((path, text)) if seen.insert(path.clone()) => {
                let found = pin::find(&text, kind, repositories);
                files.push(File { name, path, text, found });
            }
            Ok(_) => {}
            Err(why) => problems.add(Exit::Usage, format!("{name}: {why}"), None),
        }
    }
    files
}

fn text(file: &Path) -> Result<(PathBuf, String), String> {
    let told = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidData => "is not text (UTF-8)".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let path = file.canonicalize().map_err(told)?;
    let text = std::fs::read_to_string(&path).map_err(told)?;
    Ok((path, text))
}

type Answers = BTreeMap<Reference, Result<Option<Digest>, RegistryError>>;

/// Asks for every reference once.
async fn ask(asks: BTreeMap<Reference, bool>, sources: &Sources) -> Answers {
    let asks = asks.into_iter().map(|(reference, insecure)| async move {
        let answer = registry::digest_of(&reference, insecure, sources).await;
        (reference, answer)
    });
    stream::iter(asks).buffer_unordered(AT_ONCE).collect().await
}

/// What would be accepted.
fn tags(family: &crate::family::Family) -> String {
    let names = family.variants().flat_map(|(image, published)| std::iter::once(&image.name).chain(&published.aliases));
    let names = names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    format!("the family has {names}; `cargo xtask verify` tells what is published where")
}

/// What was found and is left, a line each.
fn left(files: &[File]) -> String {
    let mut told = Vec::new();
    for file in files {
        for found in &file.found {
            if let Err(why) = &found.what {
                let text = file.text.get(found.span.clone()).unwrap_or_default();
                told.push(format!("{}:{}: left as it is, {why}: {text}", file.name, found.line));
            }
        }
        if file.found.is_empty() {
            told.push(format!("{}: no reference to an image of this family", file.name));
        }
    }
    told.join("\n")
}

fn as_text(files: &[File], steps: &[Vec<Step>], acts: bool) -> String {
    let mut text = String::new();
    for (file, steps) in files.iter().zip(steps) {
        for Step { line, before, after } in steps {
            let _ = match (before == after, acts) {
                (true, _) => writeln!(text, "{}:{line}: up to date: {after}", file.name),
                (false, true) => writeln!(text, "{}:{line}: {before} → {after}", file.name),
                (false, false) => writeln!(text, "{}:{line}: {before} would become {after}", file.name),
            };
        }
    }
    text + &left(files)
}

fn as_json(files: &[File], steps: &[Vec<Step>], acts: bool) -> Value {
    let pairs = files.iter().zip(steps);
    let references = pairs.flat_map(|(file, steps)| {
        steps.iter().map(|Step { line, before, after }| {
            let differs = before != after;
            json!({ "file": file.name, "line": line, "before": before, "after": after, "differs": differs, "written": acts && differs })
        })
    });
    let left = files.iter().flat_map(|file| {
        file.found.iter().filter_map(|found| {
            let why = found.what.as_ref().err()?;
            let text = file.text.get(found.span.clone())?;
            Some(json!({ "file": file.name, "line": found.line, "reference": text, "why": why }))
        })
    });
    json!({ "schema": 1, "references": references.collect::<Vec<_>>(), "left": left.collect::<Vec<_>>() })
}
