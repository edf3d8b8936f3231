//! The few endpoints of GitHub's REST API that `propose` needs, in front of a real bare git repository. A double, written
//! from the public documentation ("Git database", "Pulls", "Repositories", "Rate limits"): nobody asked GitHub itself.
//!
//! - Only one token is good; what it may do is `contents=write` and `pull_requests=write`, unless told otherwise.
//! - 404 for what is not there and for what the token does not see.
//! - `POST git/refs` of a branch that is there, and a second pull request of a branch, are 422.
//! - Requests go wrong on demand.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use super::front::{Asked, Front, Say, answer};

/// The token that is good.
pub const TOKEN: &str = "ghs_canary4Zp9";
/// The repository that it sees.
pub const REPOSITORY: &str = "team/image";

/// A request that goes wrong: what its `METHOD path` has in it, and the answer.
type Trouble = (String, Response<Bytes>);

#[derive(Default)]
struct State {
    pulls: Vec<Value>,
    releases: Vec<Value>,
    troubles: Vec<Trouble>,
}

/// The double.
pub struct Github {
    /// Where it listens, and what it saw.
    pub front: Front,
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

impl Github {
    /// With the history of the work tree at `origin`, as its branch `main`.
    pub fn with(origin: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bare = folder.path().join("bare");
        let cloned = Command::new("git").args(["clone", "-q", "--bare"]).arg(origin).arg(&bare).status();
        assert!(cloned.expect("git starts").success());
        git(&bare, &["update-ref", "refs/heads/main", "HEAD"], b"");
        let state = Arc::new(Mutex::new(State::default()));
        let kept = Arc::clone(&state);
        let front = Front::alone(move |asked| Say::Answer(Github::answer(asked, &bare, &mut state.lock().expect("the state"))));
        Self { front, folder, state: kept }
    }

    /// What a program is told in its environment.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let api = format!("http://{}", self.front.address);
        [("GITHUB_API_URL", api), ("GITHUB_REPOSITORY", REPOSITORY.to_owned()), ("GITHUB_TOKEN", TOKEN.to_owned())]
    }

    /// The next request whose `METHOD path` has `part` in it is answered so.
    pub fn trouble(&self, part: &str, status: u16, headers: &[(&'static str, &'static str)], message: &str) {
        let mut said = answer(status, "application/json", json!({ "message": message }).to_string());
        for (name, value) in headers {
            said.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        self.state.lock().expect("the state").troubles.push((part.to_owned(), said));
    }

    /// What git says of the repository.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.folder.path().join("bare"), arguments, b"")
    }

    /// Somebody commits `text` as `file` to `branch`.
    pub fn commit(&self, branch: &str, file: &str, text: &str) {
        let bare = self.folder.path().join("bare");
        let blob = git(&bare, &["hash-object", "-w", "--stdin"], text.as_bytes());
        let tree = make_tree(
            &bare,
            &json!({
                "base_tree": git(&bare, &["rev-parse", &format!("{branch}^{{tree}}")], b""),
                "tree": [{ "path": file, "mode": "100644", "sha": blob }],
            }),
        );
        let commit = git(&bare, &["commit-tree", &tree, "-p", branch, "-m", "by hand"], b"");
        git(&bare, &["update-ref", &format!("refs/heads/{branch}"), &commit], b"");
    }

    /// All pull requests.
    pub fn pulls(&self) -> Vec<Value> {
        self.state.lock().expect("the state").pulls.clone()
    }

    /// All releases.
    pub fn releases(&self) -> Vec<Value> {
        self.state.lock().expect("the state").releases.clone()
    }

    /// The requests that changed something: `POST git/commits`.
    pub fn changes(&self) -> Vec<String> {
        let lines = self.front.lines().into_iter().filter(|line| !line.starts_with("GET "));
        lines.map(|line| line.replace(&format!("/repos/{REPOSITORY}/"), "")).collect()
    }

    fn answer(asked: &Asked, bare: &Path, state: &mut State) -> Response<Bytes> {
        let line = format!("{} {}", asked.method(), asked.uri().path());
        if let Some(at) = state.troubles.iter().position(|(part, _)| line.contains(part)) {
            return state.troubles.remove(at).1;
        }
        let token = asked.headers().get("authorization").and_then(|value| value.to_str().ok());
        if token != Some(&format!("Bearer {TOKEN}")) {
            return said(401, &json!({ "message": "Bad credentials" }));
        }
        let Some(path) = asked.uri().path().strip_prefix(&format!("/repos/{REPOSITORY}")) else { return nothing() };
        let path = path.trim_start_matches('/').to_owned();
        let body: Value = serde_json::from_slice(asked.body()).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let is_get = asked.method() == Method::GET;
        let (place, rest) = [
            "git/ref/heads/",
            "git/ref/tags/",
            "git/refs/heads/",
            "git/commits/",
            "git/trees/",
            "compare/",
            "pulls/",
            "releases/tags/",
        ]
        .into_iter()
        .find_map(|place| Some((place, path.strip_prefix(place)?)))
        .unwrap_or((path.as_str(), ""));
        let reference = |name: &str| {
            let sha = try_git(bare, &["rev-parse", "--verify", "-q", &format!("refs/heads/{name}")], b"")?;
            Some(json!({ "ref": format!("refs/heads/{name}"), "object": { "type": "commit", "sha": sha } }))
        };
        match (place, is_get) {
            ("", true) => said(200, &json!({ "full_name": REPOSITORY, "default_branch": "main" })),
            ("git/ref/heads/", true) => reference(rest).map_or_else(nothing, |found| said(200, &found)),
            ("git/ref/tags/", true) => {
                let sha = try_git(bare, &["rev-parse", "--verify", "-q", &format!("refs/tags/{rest}")], b"");
                sha.map_or_else(nothing, |sha| {
                    said(200, &json!({ "ref": format!("refs/tags/{rest}"), "object": { "sha": sha } }))
                })
            }
            ("releases/tags/", true) => {
                let found = state.releases.iter().find(|release| release["tag_name"] == rest);
                found.map_or_else(nothing, |release| said(200, release))
            }
            ("releases", false) => {
                if state.releases.iter().any(|release| release["tag_name"] == body["tag_name"]) {
                    let errors = json!([{ "resource": "Release", "code": "already_exists", "field": "tag_name" }]);
                    return said(422, &json!({ "message": "Validation Failed", "errors": errors }));
                }
                let url = format!("https://github.com/{REPOSITORY}/releases/tag/{}", text("tag_name"));
                state.releases.push(json!({ "html_url": url, "tag_name": text("tag_name"), "body": text("body") }));
                said(201, state.releases.last().expect("the new one"))
            }
            ("git/refs/heads/", false) => {
                if reference(rest).is_none() {
                    return said(422, &json!({ "message": "Reference does not exist" }));
                }
                git(bare, &["update-ref", &format!("refs/heads/{rest}"), &text("sha")], b"");
                said(200, &reference(rest).unwrap_or_default())
            }
            ("git/refs", false) => {
                let name = text("ref").replace("refs/heads/", "");
                if reference(&name).is_some() {
                    return said(422, &json!({ "message": "Reference already exists" }));
                }
                git(bare, &["update-ref", &text("ref"), &text("sha")], b"");
                said(201, &reference(&name).unwrap_or_default())
            }
            ("git/commits/", true) => said(200, &commit(bare, rest)),
            ("git/commits", false) => {
                let tree = text("tree");
                let parent = body["parents"][0].as_str().unwrap_or_default();
                let sha = git(bare, &["commit-tree", &tree, "-p", parent], text("message").as_bytes());
                said(201, &commit(bare, &sha))
            }
            ("git/trees/", true) => {
                let listed = git(bare, &["ls-tree", rest], b"");
                let entry = |line: &str| {
                    let (facts, path) = line.split_once('\t')?;
                    let facts: Vec<&str> = facts.split(' ').collect();
                    Some(json!({ "path": path, "mode": facts[0], "type": facts[1], "sha": facts[2] }))
                };
                said(
                    200,
                    &json!({ "sha": rest, "truncated": false, "tree": listed.lines().filter_map(entry).collect::<Vec<_>>() }),
                )
            }
            ("git/trees", false) => said(201, &json!({ "sha": make_tree(bare, &body) })),
            ("git/blobs", false) => {
                let bytes = STANDARD.decode(text("content")).expect("base64");
                said(201, &json!({ "sha": git(bare, &["hash-object", "-w", "--stdin"], &bytes) }))
            }
            ("compare/", true) => {
                let (base, head) = rest.split_once("...").expect("two commits");
                if try_git(bare, &["cat-file", "-e", head], b"").is_none() {
                    return nothing();
                }
                let contained = try_git(bare, &["merge-base", "--is-ancestor", head, base], b"").is_some();
                let status = if base == head {
                    "identical"
                } else if contained {
                    "behind"
                } else {
                    "diverged"
                };
                said(200, &json!({ "status": status }))
            }
            ("pulls", true) => {
                let query: Vec<(String, String)> =
                    reqwest::Url::parse(&format!("http://x/?{}", asked.uri().query().unwrap_or_default()))
                        .expect("a query")
                        .query_pairs()
                        .into_owned()
                        .collect();
                let head = query.iter().find(|(name, _)| name == "head").map(|(_, value)| value.clone()).unwrap_or_default();
                let open = |pull: &&Value| pull["state"] == "open" && pull["head"]["label"] == head.as_str();
                said(200, &state.pulls.iter().filter(open).cloned().collect())
            }
            ("pulls", false) => {
                let head = format!("team:{}", text("head"));
                if state.pulls.iter().any(|pull| pull["state"] == "open" && pull["head"]["label"] == head.as_str()) {
                    let errors = json!([{ "resource": "PullRequest", "code": "custom", "message": format!("A pull request already exists for {head}.") }]);
                    return said(422, &json!({ "message": "Validation Failed", "errors": errors }));
                }
                let number = state.pulls.len() + 1;
                state.pulls.push(json!({
                    "number": number, "state": "open", "html_url": format!("https://github.com/{REPOSITORY}/pull/{number}"),
                    "title": text("title"), "body": text("body"), "head": { "label": head }, "base": { "ref": text("base") },
                }));
                said(201, state.pulls.last().expect("the new one"))
            }
            ("pulls/", false) => {
                let number: usize = rest.parse().expect("a number");
                let Some(pull) = state.pulls.get_mut(number - 1) else { return nothing() };
                (pull["title"], pull["body"], pull["base"]["ref"]) =
                    (text("title").into(), text("body").into(), text("base").into());
                said(200, pull)
            }
            _ => nothing(),
        }
    }
}

fn commit(bare: &Path, sha: &str) -> Value {
    let told = git(bare, &["show", "-s", "--format=%T%n%P%n%B", sha], b"");
    let mut lines = told.splitn(3, '\n');
    let tree = lines.next().unwrap_or_default();
    let parents: Vec<Value> = lines.next().unwrap_or_default().split_whitespace().map(|sha| json!({ "sha": sha })).collect();
    json!({ "sha": sha, "tree": { "sha": tree }, "parents": parents, "message": lines.next().unwrap_or_default() })
}

fn make_tree(bare: &Path, wanted: &Value) -> String {
    let index = tempfile::NamedTempFile::new().expect("a file");
    std::fs::remove_file(index.path()).expect("git makes its own");
    let run = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(bare).args(arguments).env("GIT_INDEX_FILE", index.path());
        let output = git.output().expect("git starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    run(&["read-tree", wanted["base_tree"].as_str().expect("a base")]);
    for entry in wanted["tree"].as_array().expect("entries") {
        let path = entry["path"].as_str().expect("a path");
        match entry["sha"].as_str() {
            Some(sha) => run(&[
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("{},{sha},{path}", entry["mode"].as_str().expect("a mode")),
            ]),
            None => run(&["rm", "-q", "--cached", "--", path]),
        };
    }
    run(&["write-tree"])
}

fn said(status: u16, value: &Value) -> Response<Bytes> {
    answer(status, "application/json; charset=utf-8", value.to_string())
}

fn nothing() -> Response<Bytes> {
    said(404, &json!({ "message": "Not Found" }))
}

fn git(folder: &Path, arguments: &[&str], input: &[u8]) -> String {
    try_git(folder, arguments, input).unwrap_or_else(|| panic!("git {arguments:?} failed"))
}

fn try_git(folder: &Path, arguments: &[&str], input: &[u8]) -> Option<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args([
        "-c",
        "user.name=double",
        "-c",
        "user.email=double@example.org",
        "-c",
        "commit.gpgsign=false",
    ]);
    git.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = git.spawn().expect("git starts");
    child.stdin.take().expect("piped").write_all(input).expect("git reads");
    let output = child.wait_with_output().expect("git ends");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
