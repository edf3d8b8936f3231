//! The referrers API in front of a real `docker-registry`, which lacks it. A double, written from the OCI distribution
//! specification 1.1 ("Listing Referrers", "Pushing Manifests with Subject").

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{HeaderValue, Method, Response, header};
use serde_json::{Value, json};

use super::front::{Asked, Behind, Front, Say, answer};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What the registry makes of its list.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Entries on a page.
    pub page: usize,
    /// Whether it knows the filter by type (it need not).
    pub filters: bool,
    /// Whether it lists anything, and says that it does: one is known that answers with empty lists.
    pub lists: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self { page: 2, filters: true, lists: true }
    }
}

/// Per image: what refers to it.
type Lists = BTreeMap<String, Vec<Value>>;

/// The double.
pub struct Referrers {
    /// Where it listens, and what it saw.
    pub front: Front,
}

impl Referrers {
    /// In front of the registry at `address`.
    pub fn before(address: &str, habits: Habits) -> Self {
        let lists = Arc::new(Mutex::new(Lists::new()));
        let front = Front::before(address, move |asked, behind| {
            let path = asked.uri().path();
            if let Some((_, subject)) = path.split_once("/referrers/") {
                let lists = lists.lock().expect("the lists");
                return Say::Answer(list(asked, subject, lists.get(subject).map_or(&[], Vec::as_slice), habits));
            }
            if *asked.method() == Method::PUT && path.contains("/manifests/") && habits.lists {
                return Say::Answer(take(asked, behind, &mut lists.lock().expect("the lists")));
            }
            Say::Answer(behind.answer(asked))
        });
        Self { front }
    }
}

fn take(asked: &Asked, behind: &Behind, lists: &mut Lists) -> Response<bytes::Bytes> {
    let mut taken = behind.answer(asked);
    let manifest: Value = serde_json::from_slice(asked.body()).unwrap_or_default();
    let Some(subject) = manifest["subject"]["digest"].as_str().filter(|_| taken.status().is_success()) else { return taken };
    let entry = json!({
        "mediaType": manifest["mediaType"],
        "digest": xtask::oci::Digest::of(asked.body()),
        "size": asked.body().len(),
        "artifactType": manifest.get("artifactType").unwrap_or(&manifest["config"]["mediaType"]),
        "annotations": manifest["annotations"],
    });
    let list = lists.entry(subject.to_owned()).or_default();
    if !list.iter().any(|known| known["digest"] == entry["digest"]) {
        list.push(entry);
    }
    taken.headers_mut().insert("oci-subject", HeaderValue::from_str(subject).expect("a digest"));
    taken
}

fn list(asked: &Asked, subject: &str, known: &[Value], habits: Habits) -> Response<bytes::Bytes> {
    let query = asked.uri().query().unwrap_or_default();
    let parameter = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
        found.map(|value| value.replace("%2F", "/").replace("%2B", "+"))
    };
    let wanted = parameter("artifactType").filter(|_| habits.filters);
    let fitting = known.iter().filter(|entry| wanted.as_deref().is_none_or(|wanted| entry["artifactType"] == *wanted));
    let start: usize = parameter("n").and_then(|start| start.parse().ok()).unwrap_or_default();
    let rest: Vec<&Value> = fitting.skip(start).collect();
    let page: Vec<&&Value> = rest.iter().take(habits.page).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": page});
    let mut listed = answer(200, INDEX, index.to_string());
    if wanted.is_some() {
        listed.headers_mut().insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    if rest.len() > habits.page {
        let filter = parameter("artifactType").map(|wanted| format!("&artifactType={}", wanted.replace('+', "%2B")));
        let repository = asked.uri().path().split("/referrers/").next().unwrap_or_default();
        let next =
            format!("<{repository}/referrers/{subject}?n={}{}>; rel=\"next\"", start + habits.page, filter.unwrap_or_default());
        listed.headers_mut().insert(header::LINK, HeaderValue::from_str(&next).expect("a link"));
    }
    listed
}
