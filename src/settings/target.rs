//! What a runner is registered at: `GITHUB_RUNNER_URL` and the REST API that belongs to it.

use super::model::{RunnerTarget, Scope};
use super::reader::shown;
use super::url::Url;

/// What an address has to look like.
const EXAMPLES: &str = "`https://github.com/OWNER/REPOSITORY`, `https://github.com/ORGANISATION` or \
                        `https://HOST/enterprises/ENTERPRISE` belongs there";

impl RunnerTarget {
    /// The target of an address. `api`: another place of its API.
    ///
    /// The error continues a sentence that begins with the variable's name.
    pub(super) fn of(mut url: Url, api: Option<&Url>) -> Result<Self, String> {
        if let Some(host) = url.host.strip_prefix("api.").filter(|host| is_hosted(host)) {
            return Err(format!("is the address of the API; that of a page on `{host}` belongs there"));
        }
        if url.host == "www.github.com" {
            "github.com".clone_into(&mut url.host);
        }
        let segments = url.segments();
        if let Some(bad) = segments.iter().find(|segment| !is_name(segment)) {
            return Err(format!("holds `{}`, which is no name on GitHub; {EXAMPLES}", shown(bad)));
        }
        let scope = match segments[..] {
            [] | ["enterprises" | "orgs"] => return Err(format!("names no owner; {EXAMPLES}")),
            // The page of an organisation; GitHub gives nobody this name.
            [owner] | ["orgs", owner] => Scope::Organization(owner.to_owned()),
            ["enterprises", enterprise] => Scope::Enterprise(enterprise.to_owned()),
            [owner, name] => match name.strip_suffix(".git").unwrap_or(name) {
                "" => return Err(format!("names no repository; {EXAMPLES}")),
                name => Scope::Repository { owner: owner.to_owned(), name: name.to_owned() },
            },
            _ => return Err(format!("has more parts than it should; {EXAMPLES}")),
        };
        let path = match &scope {
            Scope::Repository { owner, name } => format!("{owner}/{name}"),
            Scope::Organization(owner) => owner.clone(),
            Scope::Enterprise(enterprise) => format!("enterprises/{enterprise}"),
        };
        let api = match api {
            Some(api) => api.to_string(),
            None if is_hosted(&url.host) => url.origin_of(&format!("api.{}", url.host)),
            None => format!("{}/api/v3", url.origin()),
        };
        Ok(Self { url: format!("{}/{path}", url.origin()), api, scope })
    }
}

/// Whether GitHub runs it; else it is an Enterprise Server.
fn is_hosted(host: &str) -> bool {
    host == "github.com" || host.ends_with(".ghe.com")
}

fn is_name(segment: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    segment != "." && segment != ".." && segment.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::{RunnerTarget, Scope, Url};

    fn target(text: &str, api: Option<&str>) -> Result<RunnerTarget, String> {
        let api = api.map(|api| Url::parse(api).expect("an address"));
        RunnerTarget::of(Url::parse(text)?, api.as_ref())
    }

    #[test]
    fn targets() {
        let repository = || Scope::Repository { owner: "o".to_owned(), name: "r".to_owned() };
        let organisation = || Scope::Organization("o".to_owned());
        let enterprise = || Scope::Enterprise("e".to_owned());
        let github = "https://api.github.com";
        let table = [
            ("https://github.com/o/r", "https://github.com/o/r", github, repository()),
            ("https://github.com/o/r.git/", "https://github.com/o/r", github, repository()),
            ("https://GitHub.com//o//r?tab=x", "https://github.com/o/r", github, repository()),
            ("https://www.github.com/o/r", "https://github.com/o/r", github, repository()),
            ("https://github.com/o/", "https://github.com/o", github, organisation()),
            ("https://github.com/orgs/o", "https://github.com/o", github, organisation()),
            ("https://github.com/enterprises/e", "https://github.com/enterprises/e", github, enterprise()),
            ("https://x.ghe.com/o/r", "https://x.ghe.com/o/r", "https://api.x.ghe.com", repository()),
            ("https://ghe.com/o", "https://ghe.com/o", "https://ghe.com/api/v3", organisation()),
            ("https://notgithub.com/o", "https://notgithub.com/o", "https://notgithub.com/api/v3", organisation()),
            ("https://git.corp:8443/o/r", "https://git.corp:8443/o/r", "https://git.corp:8443/api/v3", repository()),
            ("https://git.corp:443/enterprises/e", "https://git.corp/enterprises/e", "https://git.corp/api/v3", enterprise()),
            ("http://127.0.0.1:80/o", "http://127.0.0.1/o", "http://127.0.0.1/api/v3", organisation()),
        ];
        for (text, url, api, scope) in table {
            let expected = RunnerTarget { url: url.to_owned(), api: api.to_owned(), scope };
            assert_eq!(target(text, None), Ok(expected), "{text}");
        }
        let elsewhere = target("https://github.com/o/r", Some("http://127.0.0.1:9/api/")).expect("a target");
        assert_eq!(elsewhere.api, "http://127.0.0.1:9/api");
    }

    #[test]
    fn no_targets() {
        for (text, expected) in [
            ("https://github.com", "names no owner"),
            ("https://github.com/", "names no owner"),
            ("https://github.com/enterprises", "names no owner"),
            ("https://github.com/o/.git", "names no repository"),
            ("https://github.com/o/r/settings", "more parts"),
            ("https://github.com/o/../r", "is no name"),
            ("https://github.com/o/r%20", "is no name"),
            ("https://api.github.com/o", "address of the API"),
            ("ftp://github.com/o", "begins with `ftp://`"),
        ] {
            let error = target(text, None).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
