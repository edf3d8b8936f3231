//! What refers to a manifest: signatures, SBOMs. Asked and written as every client of the OCI distribution specification
//! 1.1 does ("Listing Referrers", "Unavailable Referrers API"): by the registry's own list, and where it keeps none, by an
//! index under the tag `sha256-<hex>`.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Trouble};
use super::client::next_page;
use super::manifests::is_immutable;
use super::{Registry, RegistryError};
use crate::oci::{Digest, media_type};

/// How often a list that should show something is read before it counts as not shown.
const LOOKS: u32 = 4;
/// How often the index under the tag is written when others write it, too.
const WRITES: u32 = 6;
/// No list of referrers has more pages.
const PAGES: usize = 1000;
/// So many manifests refer to one image at most: each is read.
const MOST: usize = 1000;

/// A manifest that refers to another one, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// Of the manifest.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What it is; lists by old clients need not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifest's annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The tag that stands in for the list: `sha256-<hex>`.
pub fn fallback_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}

impl Registry {
    /// What refers to `subject`, of one type or of all, as a consumer finds it: by the registry's list, or, where it has
    /// none, by the tag that stands in for it.
    ///
    /// # Errors
    /// The registry cannot be asked, or what it has under that tag cannot be read.
    pub async fn referrers(&self, subject: Digest, artifact_type: Option<&str>) -> Result<Vec<Referrer>, RegistryError> {
        let mut listed = match self.listed(subject, artifact_type).await? {
            Some(listed) => listed,
            None => match self.under_tag(subject).await?.0 {
                Some(index) => index.referrers(),
                None => Vec::new(),
            },
        };
        // A registry may not know the filter, and the tag knows none.
        listed.retain(is(artifact_type));
        match listed.len() {
            0..=MOST => Ok(listed),
            _ => Err(self.too_many(subject)),
        }
    }

    fn too_many(&self, subject: Digest) -> RegistryError {
        let what = format!("list what refers to {}", subject.short(12));
        self.transport.protocol(&what, format!("it names more than {MOST} manifests"))
    }

    /// Whether a consumer finds `referrer` when it asks for what refers to `subject`. A list may take a moment to show what
    /// was just written.
    ///
    /// # Errors
    /// As [`Registry::referrers`].
    pub async fn shows(&self, subject: Digest, referrer: &Referrer) -> Result<bool, RegistryError> {
        let mut attempts = self.transport.attempts();
        for _ in 0..LOOKS {
            let listed = self.referrers(subject, referrer.artifact_type.as_deref()).await?;
            if listed.iter().any(|entry| entry.digest == referrer.digest) {
                return Ok(true);
            }
            if !self.transport.pause(&mut attempts, None).await {
                break;
            }
        }
        Ok(false)
    }

    /// Writes `manifest`, whose `subject` this is and whose blobs are there, and makes it known as what refers to it. Where
    /// the registry keeps no list, the index under the tag is read, completed and written; entries of others stay, and where
    /// somebody else writes at the same time it is done again.
    ///
    /// # Errors
    /// It could not be written, or the tag cannot be completed.
    pub async fn attach(&self, manifest: &Bytes, subject: Digest, referrer: &Referrer) -> Result<(), RegistryError> {
        let told = self.put_subject(manifest, &referrer.media_type).await?;
        if told == Some(subject) {
            return Ok(());
        }
        let kind = referrer.artifact_type.as_deref();
        match self.listed(subject, kind).await? {
            // What is there since another time is not told again; and an answer may have been lost.
            Some(_) if self.shows(subject, referrer).await? => Ok(()),
            _ => self.complete_tag(subject, referrer).await,
        }
    }

    /// The registry's own list, all pages of it; none where it keeps none: then consumers look at the tag.
    async fn listed(&self, subject: Digest, artifact_type: Option<&str>) -> Result<Option<Vec<Referrer>>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            manifests: Option<Vec<Value>>,
        }
        let what = format!("list what refers to {}", subject.short(12));
        let mut ask = self.transport.ask(Method::GET, &format!("referrers/{subject}"))?;
        if let Some(wanted) = artifact_type {
            ask.query("artifactType", wanted);
        }
        ask = ask.header(header::ACCEPT, media_type::INDEX);
        let (mut listed, mut pages, mut odd, mut attempts) = (Vec::new(), 0, 0, self.transport.attempts());
        loop {
            let trouble = match self.transport.once(&ask).await {
                Ok(answer) if answer.status.is_success() && !is_index(&answer) => return Ok(None),
                Ok(answer) if answer.status.is_success() => match serde_json::from_slice::<Page>(&answer.body) {
                    Ok(page) => {
                        let entries = page.manifests.iter().flatten().filter_map(|entry| Referrer::deserialize(entry).ok());
                        listed.extend(entries.filter(is(artifact_type)));
                        if listed.len() > MOST {
                            return Err(self.too_many(subject));
                        }
                        pages += 1;
                        match next_page(&answer).and_then(|next| ask.on(&next)).filter(|_| pages < PAGES) {
                            Some(next) => ask = next.header(header::ACCEPT, media_type::INDEX),
                            None => return Ok(Some(listed)),
                        }
                        continue;
                    }
                    Err(_) => Trouble::Garbled { why: "its list of referrers cannot be read".to_owned() },
                },
                // As clients do: what is no list is no API.
                Ok(answer) if pages == 0 && is_unknown(answer.status) => return Ok(None),
                Ok(answer) => return Err(self.transport.unexpected(&what, &answer)),
                Err(trouble) => trouble,
            };
            // A page for people in place of a list, again and again: consumers take that for no list, too.
            odd += u32::from(matches!(trouble, Trouble::Garbled { .. }));
            if pages == 0 && odd >= LOOKS {
                return Ok(None);
            }
            self.transport.wait(&mut attempts, trouble, &what).await?;
        }
    }

    /// The index under the tag, and what the tag points to.
    async fn under_tag(&self, subject: Digest) -> Result<(Option<Index>, Option<Digest>), RegistryError> {
        let tag = fallback_tag(subject);
        let Some(found) = self.manifest(&tag).await? else { return Ok((None, None)) };
        // GitLab takes the tag for the digest and answers with the image itself, which may be an index, too.
        if found.digest == subject {
            return Ok((None, Some(subject)));
        }
        match Index::read(&found.bytes) {
            Some(index) => Ok((Some(index), Some(found.digest))),
            None => Err(self.transport.protocol(
                &format!("list what refers to {}", subject.short(12)),
                format!("`{}` is no index", self.repository.tag(&tag)),
            )),
        }
    }

    async fn complete_tag(&self, subject: Digest, referrer: &Referrer) -> Result<(), RegistryError> {
        let tag = fallback_tag(subject);
        let what = format!("attach {}", referrer.digest.short(12));
        let (mut attempts, mut pruned) = (self.transport.attempts(), false);
        for _ in 0..WRITES {
            let (index, before) = self.under_tag(subject).await?;
            let mut index = index.unwrap_or_default();
            if index.has(referrer.digest) {
                return Ok(());
            }
            if pruned {
                self.prune(&mut index).await?;
            }
            index.add(referrer);
            match self.put_tag(&tag, &index.bytes(), media_type::INDEX, before).await {
                Ok(()) => match self.under_tag(subject).await? {
                    (Some(index), _) if index.has(referrer.digest) => return Ok(()),
                    (None, Some(_)) => {
                        let why = format!("it takes `{}` for the image itself", self.repository.tag(&tag));
                        return Err(self.transport.protocol(&what, why));
                    }
                    // Somebody else has read the same and written after us.
                    _ => {}
                },
                Err(RegistryError::Overtaken { .. }) => {}
                // An entry of others may lead nowhere by now, which registries refuse.
                Err(RegistryError::Status { status: 400 | 404, .. }) if !std::mem::replace(&mut pruned, true) => continue,
                Err(RegistryError::Immutable { reference, .. }) => return Err(RegistryError::FixedList { reference }),
                Err(error) if is_about_immutability(&error) => {
                    return Err(RegistryError::FixedList { reference: self.repository.tag(&tag).to_string() });
                }
                Err(error) => return Err(error),
            }
            if !self.transport.pause(&mut attempts, None).await {
                break;
            }
        }
        let why = format!("`{}` is written by others again and again", self.repository.tag(&tag));
        Err(self.transport.protocol(&what, why))
    }

    /// Takes out what is not there any more.
    async fn prune(&self, index: &mut Index) -> Result<(), RegistryError> {
        for entry in index.referrers() {
            if self.digest(&entry.digest.to_string()).await?.is_none() {
                index.remove(entry.digest);
            }
        }
        Ok(())
    }
}

/// A registry may refuse a tag as immutable that is not even there.
fn is_about_immutability(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Status { status: 400..500, message, .. } if is_immutable(message))
}

/// Whether an entry is of the type that is asked for.
fn is(artifact_type: Option<&str>) -> impl Fn(&Referrer) -> bool {
    move |entry| artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
}

fn is_index(answer: &Answer) -> bool {
    let kind = answer.header(header::CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(media_type::INDEX)
}

fn is_unknown(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 405 | 406 | 501)
}

/// The index under the tag, with whatever others have written into it.
#[derive(Debug, Clone, PartialEq)]
struct Index(serde_json::Map<String, Value>);

impl Default for Index {
    fn default() -> Self {
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [] });
        Self(match index {
            Value::Object(index) => index,
            _ => serde_json::Map::new(),
        })
    }
}

impl Index {
    /// None where it is something else: an image has no `manifests`.
    fn read(bytes: &[u8]) -> Option<Self> {
        let index: serde_json::Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        index.get("manifests").is_some_and(|entries| entries.is_array() || entries.is_null()).then_some(Self(index))
    }

    fn entries(&self) -> impl Iterator<Item = &Value> {
        self.0.get("manifests").and_then(Value::as_array).into_iter().flatten()
    }

    /// What can be read of it.
    fn referrers(&self) -> Vec<Referrer> {
        self.entries().filter_map(|entry| Referrer::deserialize(entry).ok()).collect()
    }

    fn has(&self, digest: Digest) -> bool {
        self.entries().any(|entry| entry.get("digest").and_then(Value::as_str) == Some(&digest.to_string()))
    }

    /// Last of all; others stay as they are, with all that they say.
    fn add(&mut self, referrer: &Referrer) {
        let mut entries: Vec<Value> = self.entries().cloned().collect();
        entries.extend(serde_json::to_value(referrer));
        self.0.insert("manifests".to_owned(), Value::Array(entries));
    }

    fn remove(&mut self, digest: Digest) {
        let digest = digest.to_string();
        let gone = |entry: &&Value| entry.get("digest").and_then(Value::as_str) != Some(&digest);
        let entries = self.entries().filter(gone).cloned().collect();
        self.0.insert("manifests".to_owned(), Value::Array(entries));
    }

    fn bytes(&self) -> Bytes {
        Bytes::from(Value::Object(self.0.clone()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referrer(text: &str) -> Referrer {
        Referrer {
            media_type: media_type::MANIFEST.to_owned(),
            digest: Digest::of(text),
            size: 7,
            artifact_type: Some("application/x".to_owned()),
            annotations: None,
        }
    }

    #[test]
    fn entries_of_others_stay_as_they_are() {
        let theirs = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"m","digest":"{}","size":3,"strange":{{"a":[1]}}}}],"annotations":{{"by":"them"}}}}"#,
            media_type::INDEX,
            Digest::of("theirs"),
        );
        let mut index = Index::read(theirs.as_bytes()).expect("an index");
        assert!(!index.has(Digest::of("ours")));
        index.add(&referrer("ours"));
        let text = String::from_utf8(index.bytes().to_vec()).expect("text");
        assert!(text.contains(r#""strange":{"a":[1]}"#) && text.contains(r#""annotations":{"by":"them"}"#), "{text}");
        let again = Index::read(text.as_bytes()).expect("an index");
        let digests: Vec<_> = again.referrers().iter().map(|entry| entry.digest).collect();
        assert_eq!(digests, [Digest::of("theirs"), Digest::of("ours")]);
        index.remove(Digest::of("theirs"));
        assert_eq!(index.referrers(), [referrer("ours")]);
    }

    #[test]
    fn what_is_no_index() {
        for (text, is) in [
            (r#"{"manifests":null}"#, true),
            (r#"{"manifests":[]}"#, true),
            (r#"{"manifests":"x"}"#, false),
            (r#"{"layers":[]}"#, false),
            ("[]", false),
            ("", false),
        ] {
            assert_eq!(Index::read(text.as_bytes()).is_some(), is, "{text}");
        }
        let mut fresh = Index::default();
        fresh.add(&referrer("a"));
        let entry = format!(
            r#"{{"mediaType":"{}","digest":"{}","size":7,"artifactType":"application/x"}}"#,
            media_type::MANIFEST,
            Digest::of("a")
        );
        let expected = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{entry}]}}"#, media_type::INDEX);
        assert_eq!(fresh.bytes(), expected);
    }
}
