//! The ledger of a release: what was wanted and what became of each tag, one JSON line after the other, on the disk before
//! the next thing is done. A run that was killed is resumed from it; the registries themselves are the second ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::plan::TagKind;
use crate::family::Name;
use crate::oci::{Digest, Platform};

/// The version of the lines.
const SCHEMA: u32 = 1;

/// The ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the ledger `{}`", path.display())]
pub struct LedgerError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl LedgerError {
    /// The system's words.
    pub fn why(&self) -> String {
        self.source.to_string()
    }
}

/// What became of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is to be set.
    Pending,
    /// This tool has set it.
    Pushed,
    /// It pointed there before.
    AlreadyThere,
    /// It could not be set, as far as is known.
    Failed,
}

/// A line about a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TagLine {
    /// The variant.
    pub variant: Name,
    /// What it runs on; none for an index.
    pub platform: Option<Platform>,
    /// The destination's name.
    pub destination: String,
    /// Repository and tag: `ghcr.io/team/image:aws`.
    pub reference: String,
    /// Whether it may move.
    pub kind: TagKind,
    /// What it is to point to.
    pub digest: Digest,
    /// What became of it.
    pub state: State,
}

/// A line about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageLine {
    /// The variant.
    pub variant: Name,
    /// What it runs on.
    pub platform: Platform,
    /// What it is built from.
    pub input: Digest,
    /// Its manifest.
    pub digest: Digest,
    /// The image's identity.
    pub config: Digest,
}

/// A line about what is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AttachmentLine {
    /// The variant.
    pub variant: Name,
    /// What it runs on.
    pub platform: Platform,
    /// The destination's name.
    pub destination: String,
    /// The image: `ghcr.io/team/image@sha256:…`.
    pub reference: String,
    /// What is attached: `application/vnd.cyclonedx+json`.
    pub artifact_type: String,
    /// Its manifest.
    pub digest: Digest,
    /// What became of it.
    pub state: State,
}

/// Readers that do not know one of these pass over its lines.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fact {
    Image(ImageLine),
    Tag(TagLine),
    Attachment(AttachmentLine),
}

#[derive(Serialize, Deserialize)]
struct Line {
    schema: u32,
    at: String,
    #[serde(flatten)]
    fact: Fact,
}

/// The last that the ledger has of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The line.
    pub line: TagLine,
    /// When it was written (RFC 3339, UTC).
    pub at: String,
}

impl fmt::Display for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.line.state {
            State::Pending => "was to be set to",
            State::Pushed => "was set to",
            State::AlreadyThere => "was found at",
            State::Failed => "could not be set to",
        };
        write!(f, "it {words} {} at {}", self.line.digest, self.at)
    }
}

/// What a ledger's lines come to. Pure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The last line of each tag, by reference.
    pub tags: BTreeMap<String, Remembered>,
    /// The last line of each image, by variant and platform.
    pub images: BTreeMap<(Name, Platform), ImageLine>,
    /// What is attached, by the image's reference and its own digest.
    pub attachments: BTreeMap<(String, Digest), AttachmentLine>,
}

impl View {
    /// The manifests of all that was attached.
    pub fn attached(&self) -> BTreeSet<Digest> {
        self.attachments.values().map(|line| line.digest).collect()
    }

    /// Reads lines; one that was torn when its writer was killed says nothing, wherever it stands.
    fn read(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(Line { schema: SCHEMA, at, fact }) = serde_json::from_slice(line) {
                self.take(at, fact);
            }
        }
    }

    fn take(&mut self, at: String, fact: Fact) {
        match fact {
            Fact::Image(line) => drop(self.images.insert((line.variant.clone(), line.platform), line)),
            Fact::Attachment(line) => drop(self.attachments.insert((line.reference.clone(), line.digest), line)),
            Fact::Tag(line) => {
                let known = self.tags.get(&line.reference);
                // Files of several releases are read in any order.
                if known.is_none_or(|known| known.at <= at) {
                    self.tags.insert(line.reference.clone(), Remembered { line, at });
                }
            }
        }
    }

    /// The tags that this tool has set, as references with digest.
    pub fn pushed(&self) -> impl Iterator<Item = &TagLine> {
        self.tags.values().map(|remembered| &remembered.line).filter(|line| line.state == State::Pushed)
    }
}

/// The ledger of one release, open for writing.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    view: View,
    /// Whether the file ends in the middle of a line.
    torn: bool,
}

impl Ledger {
    /// Reads the ledger `release` in `folder`; nothing is created before something is written.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn open(folder: &Path, release: &str) -> Result<Self, LedgerError> {
        let path = folder.join(format!("{release}.jsonl"));
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(LedgerError { what: "read", path, source }),
        };
        let mut view = View::default();
        view.read(&text);
        Ok(Self { path, view, torn: text.last().is_some_and(|last| *last != b'\n') })
    }

    /// The newest of what all ledgers in `folder` say of each tag.
    ///
    /// # Errors
    /// A ledger is there and cannot be read.
    pub fn newest(folder: &Path) -> Result<View, LedgerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LedgerError { what: "read", path, source }
        };
        let mut view = View::default();
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(view),
            Err(error) => return Err(failed(folder)(error)),
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        paths.sort();
        for path in paths {
            view.read(&fs::read(&path).map_err(failed(&path))?);
        }
        Ok(view)
    }

    /// What it says so far.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what an image's tags are to point to, unless that is the last that is known.
    ///
    /// # Errors
    /// The disk is full, the folder is read-only.
    pub fn image(&mut self, line: ImageLine) -> Result<(), LedgerError> {
        match self.view.images.get(&(line.variant.clone(), line.platform)) == Some(&line) {
            true => Ok(()),
            false => self.append(Fact::Image(line)),
        }
    }

    /// Writes what is attached to an image, unless that is known.
    ///
    /// # Errors
    /// As [`Ledger::image`].
    pub fn attachment(&mut self, line: AttachmentLine) -> Result<(), LedgerError> {
        match self.view.attachments.contains_key(&(line.reference.clone(), line.digest)) && line.state != State::Pushed {
            true => Ok(()),
            false => self.append(Fact::Attachment(line)),
        }
    }

    /// Writes what became of a tag, unless that is the last that is known.
    ///
    /// # Errors
    /// As [`Ledger::image`].
    pub fn tag(&mut self, line: TagLine) -> Result<(), LedgerError> {
        let known = self.view.tags.get(&line.reference).map(|remembered| &remembered.line);
        // Who has set a tag and finds it there again need not say so.
        let is_known = known.is_some_and(|known| {
            let settled = known.state == State::Pushed && line.state != State::Failed;
            known == &line || settled && known.digest == line.digest && known.kind == line.kind
        });
        // What was set is news, even after itself: a promotion, in a ledger of its own, may have come between.
        let is_known = is_known && line.state != State::Pushed;
        if is_known { Ok(()) } else { self.append(Fact::Tag(line)) }
    }

    fn append(&mut self, fact: Fact) -> Result<(), LedgerError> {
        let failed = |source| LedgerError { what: "write", path: self.path.clone(), source };
        let now = OffsetDateTime::now_utc();
        let seconds = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339);
        let seconds = seconds.map_err(|error| failed(io::Error::other(error)))?;
        // Of one length at every moment, so that times are compared as text.
        let at = format!("{}.{:06}Z", seconds.trim_end_matches('Z'), now.microsecond());
        let line = Line { schema: SCHEMA, at, fact };
        let mut text = if self.torn { String::from("\n") } else { String::new() };
        text += &serde_json::to_string(&line).map_err(|error| failed(error.into()))?;
        text.push('\n');
        let is_new = !self.path.exists();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path).map_err(failed)?;
        // What a full disk tears off is told by the missing end of the line.
        self.torn = true;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)?;
        self.torn = false;
        if is_new && cfg!(unix) {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        self.view.take(line.at, line.fact);
        Ok(())
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
