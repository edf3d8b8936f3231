//! What `npm view … --json` prints: pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::bump::Trouble;
use crate::failure::Exit;
use crate::family::{BuildDate, Number};

/// A package, as its registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// Every version.
    pub(super) versions: Vec<String>,
    /// When each came out.
    pub(super) time: BTreeMap<String, BuildDate>,
    /// What its makers call the latest.
    pub(super) latest: Option<String>,
    /// Its repository on GitHub: `https://github.com/coder/code-server`.
    pub(super) repository: Option<String>,
}

impl Package {
    /// From the fields `versions`, `time`, `dist-tags` and `repository`. None: this is no such answer.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let versions = match value.get("versions")? {
            // Of a package with one version npm prints that.
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all.iter().filter_map(|version| Some(version.as_str()?.to_owned())).collect(),
            _ => return None,
        };
        let time = value.get("time").and_then(Value::as_object).into_iter().flatten();
        let time = time.filter_map(|(version, time)| Some((version.clone(), BuildDate::of_rfc3339(time.as_str()?)?)));
        let repository = value.get("repository");
        let repository = repository.and_then(|repository| repository.as_str().or_else(|| repository.get("url")?.as_str()));
        Some(Self {
            versions,
            time: time.collect(),
            latest: value.pointer("/dist-tags/latest").and_then(Value::as_str).map(str::to_owned),
            repository: repository.and_then(on_github),
        })
    }

    /// The releases up to what its makers call the latest: what is newer is on trial.
    pub(super) fn releases(&self) -> impl Iterator<Item = Number> {
        let latest = self.latest.as_ref().and_then(|latest| latest.parse::<Number>().ok());
        let numbers = self.versions.iter().filter_map(|version| version.parse::<Number>().ok());
        numbers.filter(move |number| !number.is_prerelease() && latest.as_ref().is_none_or(|latest| number <= latest))
    }

    /// The page about a version.
    pub(super) fn notes(&self, version: &str) -> Option<String> {
        self.repository.as_ref().map(|repository| format!("{repository}/releases/tag/v{version}"))
    }
}

/// `git+https://github.com/coder/code-server.git` as a page.
fn on_github(url: &str) -> Option<String> {
    let (_, path) = url.split_once("github.com").filter(|(before, _)| before.ends_with(['/', '@']) || before.is_empty())?;
    let path = path.trim_start_matches([':', '/']).trim_end_matches('/').trim_end_matches(".git");
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(owner), Some(name), None) if !owner.is_empty() && !name.is_empty() => {
            Some(format!("https://github.com/{owner}/{name}"))
        }
        _ => None,
    }
}

/// What npm could not do, out of its JSON (or, where it prints none, its own words). `what` is `ask for \`code-server\``.
pub(super) fn refusal(what: &str, stdout: &str, stderr: &str) -> Trouble {
    let error = serde_json::from_str::<Value>(stdout).ok().and_then(|value| value.get("error").cloned()).unwrap_or_default();
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let (code, summary, detail) = (text("code"), text("summary"), text("detail"));
    let why = match (summary.lines().next().unwrap_or_default(), code.as_str()) {
        ("", "") => super::super::client::complaint(stderr),
        // It says the conflict in its second part.
        (summary, "ERESOLVE") => super::super::client::complaint(&format!("{summary}\n{detail}")),
        (summary, _) => summary.to_owned(),
    };
    let message = format!("npm cannot {what}: {why}");
    match code.as_str() {
        "E404" => Trouble::new(Exit::Missing, message).hint("is the name in `upstream` of variants.toml the right one?"),
        "E401" | "E403" | "ENEEDAUTH" => Trouble::new(Exit::Missing, message).hint("npm login    or the token in your .npmrc"),
        "ERESOLVE" | "ETARGET" | "EJSONPARSE" => {
            Trouble::new(Exit::Usage, message).hint("`package.json` asks for what does not go together")
        }
        _ => Trouble::new(Exit::Missing, message)
            .hint("npm config get registry    says whom it asks; `https-proxy`, `cafile` and `NODE_EXTRA_CA_CERTS` say how"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer() {
        let text = r#"{"versions": ["1.0.0", "2.0.0-rc.1", "1.10.0", "1.9.0", "3.0.0", "odd"],
            "time": {"created": "2020-01-01T00:00:00.000Z", "1.10.0": "2026-09-26T17:12:12.944000+00:00"},
            "dist-tags": {"latest": "1.10.0", "next": "3.0.0"}, "repository": {"type": "git", "url": "git+https://github.com/a/b.git"}}"#;
        let package = Package::parse(text).unwrap();
        let releases: Vec<String> = package.releases().map(|number| number.to_string()).collect();
        assert_eq!(releases, ["1.0.0", "1.10.0", "1.9.0"]);
        assert_eq!(package.time.get("1.10.0").map(ToString::to_string).as_deref(), Some("2026-09-26"));
        assert_eq!(package.notes("1.10.0").as_deref(), Some("https://github.com/a/b/releases/tag/v1.10.0"));

        let one = Package::parse(r#"{"versions": "1.0.0"}"#).unwrap();
        assert_eq!((one.versions.as_slice(), one.latest, one.repository), (&["1.0.0".to_owned()][..], None, None));
        for text in ["", "[]", "{}", r#"{"versions": 1}"#, "<html>"] {
            assert_eq!(Package::parse(text), None, "{text}");
        }
    }

    #[test]
    fn repositories() {
        for (url, page) in [
            ("https://github.com/coder/code-server", Some("https://github.com/coder/code-server")),
            ("git+ssh://git@github.com/a/b.git", Some("https://github.com/a/b")),
            ("git@github.com:a/b.git", Some("https://github.com/a/b")),
            ("https://github.com/a", None),
            ("https://github.com/a/b/tree/c", None),
            ("https://notgithub.com/a/b", None),
            ("https://gitlab.com/a/b", None),
        ] {
            assert_eq!(on_github(url).as_deref(), page, "{url}");
        }
    }

    #[test]
    fn refusals() {
        for (stdout, stderr, exit, message) in [
            (
                r#"{"error": {"code": "E404", "summary": "Not Found - GET http://x/y\nmore", "detail": "…"}}"#,
                "",
                Exit::Missing,
                "npm cannot ask for `a`: Not Found - GET http://x/y",
            ),
            (
                r#"{"error": {"code": "ECONNREFUSED", "summary": "request to http://x/ failed", "detail": ""}}"#,
                "",
                Exit::Missing,
                "npm cannot ask for `a`: request to http://x/ failed",
            ),
            (
                r#"{"error": {"code": "ERESOLVE", "summary": "unable to resolve dependency tree", "detail": "\nFound: a@1\nneeds b"}}"#,
                "",
                Exit::Usage,
                "npm cannot ask for `a`: unable to resolve dependency tree Found: a@1 needs b",
            ),
            ("", "npm warn x\nnpm error broken\n", Exit::Missing, "npm cannot ask for `a`: npm error broken"),
        ] {
            let trouble = refusal("ask for `a`", stdout, stderr);
            assert_eq!((trouble.exit, trouble.message.as_str()), (exit, message));
            assert!(trouble.hint.is_some());
        }
    }
}
