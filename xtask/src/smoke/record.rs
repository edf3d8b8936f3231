//! What was tried, by config digest: `smoke/<config digest>.json` in the state folder. A release asks it, and so does the next
//! run.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::report::{Check, Outcome, Tried};
use crate::family::Name;
use crate::host::HostError;
use crate::host::places::Places;
use crate::oci::Digest;

/// How many images are remembered that the engine does not have.
const KEPT: usize = 50;
/// After this long nobody writes a record any more.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// The version of the files.
const SCHEMA: u32 = 1;

/// What came of an image when it was last tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// 1: the version of this shape.
    schema: u32,
    /// The variant.
    pub variant: Name,
    /// What it was called locally.
    pub image: String,
    /// Its identity.
    pub config_digest: Digest,
    /// Which checks they were.
    pub checks: Digest,
    /// What came of them.
    pub outcome: Outcome,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// Each of them.
    pub results: Vec<Check>,
    /// How long they took.
    pub seconds: f64,
}

impl Record {
    /// Of an image that was just tried by the checks with this digest.
    pub fn new(tried: &Tried, checks: Digest) -> Self {
        let now = OffsetDateTime::now_utc();
        let at = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
        Self {
            schema: SCHEMA,
            variant: tried.variant.clone(),
            image: tried.image.clone(),
            config_digest: tried.config_digest,
            checks,
            outcome: tried.outcome,
            at,
            results: tried.checks.clone(),
            seconds: tried.seconds,
        }
    }

    /// As it was found then.
    pub fn tried(self) -> Tried {
        Tried {
            variant: self.variant,
            image: self.image,
            config_digest: self.config_digest,
            outcome: self.outcome,
            remembered: Some(self.at),
            checks: self.results,
            seconds: self.seconds,
        }
    }

    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Passed | Outcome::Warned)
    }

    /// Whether it was tried so shortly before `now`. (What Debian has newer, and what is published, changes meanwhile.)
    pub fn is_recent(&self, age: Duration, now: OffsetDateTime) -> bool {
        let ago = OffsetDateTime::parse(&self.at, &Rfc3339).ok().and_then(|at| Duration::try_from(now - at).ok());
        ago.is_some_and(|ago| ago <= age)
    }

    fn path(places: &Places, config_digest: Digest) -> PathBuf {
        let name = config_digest.to_string().replace(':', "-");
        places.state_path().join("smoke").join(format!("{name}.json"))
    }

    /// The record of the image with this configuration. None where it was never tried, or by a version of this program whose
    /// records are not understood.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(places: &Places, config_digest: Digest) -> Result<Option<Self>, HostError> {
        let path = Self::path(places, config_digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HostError::io("read", &path)(error)),
        };
        let record = serde_json::from_slice::<Self>(&bytes).ok();
        Ok(record.filter(|record| record.schema == SCHEMA && record.config_digest == config_digest))
    }

    /// Removes what is known of images that are not `there`, but for the newest [`KEPT`]; and pieces that a run has left which
    /// was killed. What cannot be removed stays.
    pub fn trim(places: &Places, there: &BTreeSet<Digest>) {
        let Ok(folder) = fs::read_dir(places.state_path().join("smoke")) else { return };
        let now = SystemTime::now();
        let files = folder.filter_map(|entry| {
            let (path, modified) = entry.ok().and_then(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?)))?;
            let name = path.file_name()?.to_str()?;
            let digest = name.strip_suffix(".json").map(|name| name.replacen('-', ":", 1).parse::<Digest>().ok());
            let is_piece = name.ends_with(".partial") && now.duration_since(modified).is_ok_and(|age| age > ABANDONED);
            match digest {
                // Nobody else's file.
                None if !is_piece => None,
                Some(None) => None,
                digest => Some((modified, path, digest.flatten())),
            }
        });
        let mut files: Vec<_> = files.filter(|(.., digest)| digest.is_none_or(|digest| !there.contains(&digest))).collect();
        files.sort_by_key(|(modified, ..)| Reverse(*modified));
        let (records, pieces): (Vec<_>, Vec<_>) = files.into_iter().partition(|(.., digest)| digest.is_some());
        for (_, path, _) in records.into_iter().skip(KEPT).chain(pieces) {
            fs::remove_file(path).ok();
        }
    }

    /// Writes it, in place of an older one.
    ///
    /// # Errors
    /// The disk is full, the folder is somebody else's.
    pub fn write(&self, places: &Places) -> Result<(), HostError> {
        places.state_folder("smoke")?;
        let path = Self::path(places, self.config_digest);
        let failed = HostError::io("write", &path);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let beside = path.with_extension(format!("{}.partial", std::process::id()));
        fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path)).map_err(|error| {
            fs::remove_file(&beside).ok();
            failed(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Verdict;

    #[test]
    fn an_image_is_remembered_by_its_digest() {
        let home = tempfile::tempdir().expect("a folder");
        let env = |name: &str| (name == "HOME").then(|| home.path().display().to_string());
        let places = Places::from_env(&env).expect("a home");
        let digest = Digest::of("configuration");
        assert_eq!(Record::read(&places, digest).expect("nothing"), None);
        let tried = Tried {
            variant: "aws".parse().expect("a name"),
            image: "ansible-epic:aws".to_owned(),
            config_digest: digest,
            outcome: Outcome::Warned,
            remembered: None,
            checks: vec![Verdict::warned("1 update").hint("build").of("pending updates", Duration::from_millis(1500))],
            seconds: 2.5,
        };
        let record = Record::new(&tried, Digest::of("checks"));
        record.write(&places).expect("written");
        record.write(&places).expect("written again");
        let read = Record::read(&places, digest).expect("read").expect("there");
        assert_eq!(read, record);
        assert!(read.passed());
        let hour = Duration::from_secs(3600);
        let at = OffsetDateTime::parse(&read.at, &Rfc3339).expect("a time");
        assert!(read.is_recent(hour, at) && read.is_recent(hour, at + hour));
        assert!(!read.is_recent(hour, at + hour + hour) && !read.is_recent(hour, at - hour));
        assert_eq!(Record::read(&places, Digest::of("another")).expect("nothing"), None);
        let again = read.tried();
        assert_eq!((again.remembered.is_some(), again.checks), (true, tried.checks));
        // Half a file says nothing.
        fs::write(Record::path(&places, digest), "{\"schema\":1").expect("torn");
        assert_eq!(Record::read(&places, digest).expect("not understood"), None);
    }

    #[test]
    fn images_that_are_gone_are_forgotten_but_for_the_newest() {
        let home = tempfile::tempdir().expect("a folder");
        let env = |name: &str| (name == "HOME").then(|| home.path().display().to_string());
        let places = Places::from_env(&env).expect("a home");
        let folder = places.state_folder("smoke").expect("made");
        let digest = |n: usize| Digest::of(n.to_string());
        let aged = |path: PathBuf, hours: usize| {
            let file = fs::File::create(path).expect("written");
            let hours = u64::try_from(hours).expect("a number");
            file.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours)).expect("its time");
        };
        for n in 0..KEPT + 10 {
            aged(Record::path(&places, digest(n)), n);
        }
        aged(folder.join("sha256-1.partial"), 1);
        aged(folder.join("sha256-2.partial"), 25);
        aged(folder.join("notes.txt"), 1000);
        aged(folder.join("notes.json"), 1000);
        // The oldest is still in the engine, and does not count.
        Record::trim(&places, &BTreeSet::from([digest(KEPT + 9)]));
        let left = |n: usize| Record::path(&places, digest(n)).exists();
        assert_eq!((0..KEPT + 10).filter(|n| left(*n)).collect::<Vec<_>>(), (0..KEPT).chain([KEPT + 9]).collect::<Vec<_>>());
        let other = ["sha256-1.partial", "sha256-2.partial", "notes.txt", "notes.json"].map(|name| folder.join(name).exists());
        assert_eq!(other, [true, false, true, true]);
    }
}
