//! Releases, as GitHub calls what it shows of a tag. (REST API: "Releases")

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Github, GithubError, Path};

/// A release on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// Its page.
    #[serde(rename = "html_url")]
    pub url: String,
}

impl Github {
    /// The release of a tag; none: there is none yet.
    ///
    /// # Errors
    /// There is no such tag, or GitHub does not tell.
    pub async fn release(&self, tag: &str) -> Result<Option<Release>, GithubError> {
        // GitHub would make the tag, at whatever the default branch is by then.
        let what = format!("read the tag `{tag}`");
        let found = self.get::<Value>(&Path::of("git/ref/tags").parts(tag), &what).await?;
        found.ok_or_else(|| GithubError::NoTag { repository: self.repository().to_owned(), tag: tag.to_owned() })?;
        self.get(&Path::of("releases/tags").parts(tag), "read its release").await
    }

    /// Makes the release of a tag that is there.
    ///
    /// # Errors
    /// GitHub refuses.
    pub async fn make_release(&self, tag: &str, notes: &str) -> Result<Release, GithubError> {
        let new = json!({ "tag_name": tag, "name": tag, "body": notes });
        let made = self.made(Method::POST, &Path::of("releases"), &new, "make a release").await;
        match made {
            // Our own request may have got through although its answer did not.
            Err(error @ GithubError::Invalid { .. }) => self.release(tag).await?.ok_or(error),
            made => made,
        }
    }
}
