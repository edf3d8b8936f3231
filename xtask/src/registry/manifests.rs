//! Manifests and tags at a registry.

use std::sync::PoisonError;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use oci_distribution::manifest::{IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE};
use serde::Deserialize;

use super::answer::{Answer, Trouble};
use super::transport::Ask;
use super::{Registry, RegistryError};
use crate::oci::{Digest, media_type};

/// Every kind of manifest that a tag may point to.
const MANIFESTS: [&str; 4] = [media_type::MANIFEST, media_type::INDEX, IMAGE_MANIFEST_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE];
/// How often something that was written here is looked for before it counts as missing.
const LOOKS: u32 = 4;

/// A manifest as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its bytes.
    pub bytes: Bytes,
    /// Of the bytes: the one that was asked for, where one was.
    pub digest: Digest,
    /// What the registry says it is, or else the manifest itself.
    pub media_type: String,
}

impl Registry {
    /// The digest of the manifest under a tag or digest; none where there is none. One `HEAD`, and a `GET` where that
    /// finds nothing: only then a registry says why.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn digest(&self, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let mut looks = 0;
        let mut attempts = self.transport.attempts();
        loop {
            let found = self.head(reference).await?;
            let ours = self.ours(reference);
            looks += 1;
            // What was set here and is not shown may come late, or somebody else was here.
            if ours.is_none() || found == ours || looks >= LOOKS || !self.transport.pause(&mut attempts, None).await {
                return Ok(found);
            }
        }
    }

    async fn head(&self, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let what = format!("look for `{reference}`");
        let ask = accepting(self.transport.ask(Method::HEAD, &format!("manifests/{reference}"))?);
        let mut attempts = self.transport.attempts();
        loop {
            let trouble = match self.transport.once(&ask).await {
                Ok(answer) if answer.status.is_success() => match (answer.digest(), reference.parse::<Digest>()) {
                    (Some(found), Ok(asked)) if found != asked => Trouble::Garbled { why: format!("it speaks of {found}") },
                    (Some(found), _) => return Ok(Some(found)),
                    // The header is optional: then the manifest itself tells.
                    (None, _) => return Ok(self.manifest(reference).await?.map(|found| found.digest)),
                },
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    return Ok(self.manifest(reference).await?.map(|found| found.digest));
                }
                Ok(answer) => return Err(self.transport.unexpected(&what, &answer)),
                Err(trouble) => trouble,
            };
            self.transport.wait(&mut attempts, trouble, &what).await?;
        }
    }

    /// The manifest under a tag or digest; none where there is none.
    ///
    /// # Errors
    /// The registry cannot be asked, or what it answers is not what was asked for.
    pub async fn manifest(&self, reference: &str) -> Result<Option<Found>, RegistryError> {
        let what = format!("read `{reference}`");
        let ask = accepting(self.transport.ask(Method::GET, &format!("manifests/{reference}"))?);
        let (mut attempts, mut looks) = (self.transport.attempts(), 0);
        loop {
            let trouble = match self.transport.once(&ask).await {
                Ok(answer) if answer.status.is_success() => match found(reference, &answer) {
                    Ok(found) => return Ok(Some(found)),
                    Err(why) => Trouble::Garbled { why },
                },
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    looks += 1;
                    if self.ours(reference).is_none() || looks >= LOOKS || !self.transport.pause(&mut attempts, None).await {
                        return Ok(None);
                    }
                    continue;
                }
                Ok(answer) => return Err(self.transport.unexpected(&what, &answer)),
                Err(trouble) => trouble,
            };
            self.transport.wait(&mut attempts, trouble, &what).await?;
        }
    }

    /// Writes a manifest by its digest, reads it back and compares the bytes.
    ///
    /// # Errors
    /// It could not be written, or what came back is something else.
    pub async fn put_manifest(&self, bytes: &Bytes, media_type: &str) -> Result<Digest, RegistryError> {
        self.put_subject(bytes, media_type).await?;
        Ok(Digest::of(bytes))
    }

    /// The same; what the registry has taken for the manifest's `subject`, where it says so (`OCI-Subject`).
    pub(super) async fn put_subject(&self, bytes: &Bytes, media_type: &str) -> Result<Option<Digest>, RegistryError> {
        let digest = Digest::of(bytes);
        let what = format!("take manifest {}", digest.short(12));
        let ask = putting(self.transport.ask(Method::PUT, &format!("manifests/{digest}"))?, bytes, media_type);
        let (mut attempts, mut subject) = (self.transport.attempts(), None);
        loop {
            let trouble = match self.transport.once(&ask).await {
                Ok(answer) if answer.status.is_success() => {
                    subject = answer.header("oci-subject").and_then(|subject| subject.parse().ok());
                    break;
                }
                Ok(answer) => match self.refusal(&what, &answer) {
                    Ok(trouble) => trouble,
                    // Refused because it is there is as good as taken.
                    Err(_) if self.manifest(&digest.to_string()).await?.is_some() => break,
                    Err(error) => return Err(error),
                },
                Err(trouble) => trouble,
            };
            let answered = matches!(trouble, Trouble::Status { status: StatusCode::NOT_FOUND, .. });
            if answered && self.manifest(&digest.to_string()).await?.is_some() {
                break;
            }
            self.transport.wait(&mut attempts, trouble, &what).await?;
        }
        self.wrote(&digest.to_string(), digest);
        match self.manifest(&digest.to_string()).await? {
            Some(found) if found.bytes == *bytes => Ok(subject),
            found => Err(RegistryError::ReadBack {
                reference: self.repository.digest(digest).to_string(),
                found: found.map_or_else(|| "nothing".to_owned(), |found| found.digest.to_string()),
                sent: digest,
            }),
        }
    }

    /// Points `tag` to a manifest that is there by its digest. The caller has just looked and found `before`. A failed
    /// attempt is repeated only after looking again: if the tag points to what is neither `before` nor ours, somebody
    /// else has set it meanwhile, and it stays.
    ///
    /// # Errors
    /// It could not be set. It may have moved all the same when the registry does not answer any more.
    pub async fn put_tag(&self, tag: &str, bytes: &Bytes, media_type: &str, before: Option<Digest>) -> Result<(), RegistryError> {
        let digest = Digest::of(bytes);
        let what = format!("set the tag `{tag}`");
        let ask = putting(self.transport.ask(Method::PUT, &format!("manifests/{tag}"))?, bytes, media_type);
        let (mut attempts, mut lost) = (self.transport.attempts(), false);
        // What cannot be looked at after an answer was lost may be set.
        let known = |error: RegistryError, lost: bool| match lost {
            true => RegistryError::Unsure { reference: self.repository.tag(tag).to_string(), error: Box::new(error) },
            false => error,
        };
        loop {
            let (trouble, refused) = match self.transport.once(&ask).await {
                Ok(answer) if answer.status.is_success() && answer.digest().is_none_or(|found| found == digest) => break,
                Ok(answer) if answer.status.is_success() => (Trouble::Garbled { why: "it set something else".to_owned() }, None),
                // ECR refuses an immutable tag even for the digest that it has.
                Ok(answer) => match self.refusal(&what, &answer) {
                    Ok(trouble) => (trouble, None),
                    Err(error) => (Trouble::Protocol { why: String::new() }, Some((error, answer))),
                },
                Err(denied @ Trouble::Denied { .. }) => (denied, None),
                Err(trouble) => {
                    let before = std::mem::replace(&mut lost, true);
                    self.transport.wait(&mut attempts, trouble, &what).await.map_err(|error| known(error, before))?;
                    (Trouble::Stale { why: String::new() }, None)
                }
            };
            if let Trouble::Denied { .. } = trouble {
                self.transport.wait(&mut attempts, trouble, &what).await.map_err(|error| known(error, lost))?;
                continue;
            }
            let now = self.digest(tag).await.map_err(|error| known(error, lost))?;
            if now == Some(digest) {
                break;
            }
            let reference = || self.repository.tag(tag).to_string();
            match (refused, now) {
                (Some((_, answer)), Some(found)) if is_immutable(&answer.message()) => {
                    return Err(RegistryError::Immutable { reference: reference(), found, wanted: digest });
                }
                (Some((error, _)), _) => return Err(error),
                (None, Some(found)) if Some(found) != before => {
                    return Err(RegistryError::Overtaken { reference: reference(), found, wanted: digest });
                }
                (None, _) if matches!(trouble, Trouble::Stale { .. }) => {}
                (None, _) => self.transport.wait(&mut attempts, trouble, &what).await?,
            }
        }
        self.wrote(tag, digest);
        Ok(())
    }

    /// What a refused manifest comes to: something that may pass, or the error that it is.
    fn refusal(&self, what: &str, answer: &Answer) -> Result<Trouble, RegistryError> {
        let lags = answer.has_code("MANIFEST_BLOB_UNKNOWN") || answer.has_code("BLOB_UNKNOWN");
        match answer.status {
            StatusCode::NOT_FOUND if answer.has_code("NAME_UNKNOWN") => Err(self.missing(answer)),
            // Its blobs were there when they were looked for: it may need a moment. And a 404 may be a success.
            status if status == StatusCode::NOT_FOUND || lags => {
                Ok(Trouble::Status { status, message: answer.message(), pause: None })
            }
            _ => Err(self.transport.unexpected(what, answer)),
        }
    }

    fn wrote(&self, reference: &str, digest: Digest) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(reference.to_owned(), digest);
    }

    fn ours(&self, reference: &str) -> Option<Digest> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).get(reference).copied()
    }
}

/// The registry's words for a tag that it does not move.
pub(super) fn is_immutable(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("imagetagalreadyexists") || words.contains("immutable") || words.contains("tag_invalid")
}

/// The manifest in an answer, if it is the one that was asked for.
fn found(reference: &str, answer: &Answer) -> Result<Found, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        #[serde(default)]
        media_type: Option<String>,
    }
    let digest = Digest::of(&answer.body);
    let asked = reference.parse::<Digest>().ok().or_else(|| answer.digest());
    if let Some(asked) = asked.filter(|asked| *asked != digest) {
        return Err(format!("its bytes are {digest} instead of {asked}"));
    }
    let manifest: Manifest = serde_json::from_slice(&answer.body).map_err(|_| "this is no manifest".to_owned())?;
    let told = answer.header(header::CONTENT_TYPE).and_then(|told| told.split(';').next()).map(str::trim);
    let told = told.filter(|told| MANIFESTS.contains(told)).map(str::to_owned);
    let media_type = told.or(manifest.media_type).unwrap_or_else(|| media_type::MANIFEST.to_owned());
    Ok(Found { bytes: answer.body.clone(), digest, media_type })
}

fn accepting(ask: Ask) -> Ask {
    ask.header(header::ACCEPT, MANIFESTS.join(", "))
}

fn putting(ask: Ask, bytes: &Bytes, media_type: &str) -> Ask {
    ask.header(header::CONTENT_TYPE, media_type).bytes(bytes)
}
