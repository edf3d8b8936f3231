//! A double of the vendors' download hosts: GitHub, VS Code's update service and its downloads, Open VSX. It answers on
//! loopback what shared facts about those hosts say, for small archives that it makes itself, and has bad days on
//! demand.
//!
//! ```ignore
//! let vendors = Vendors::start();
//! // in a test's variants.toml:
//! let text = format!("{}\n{}", family, vendors.mirrors_toml());
//! vendors.trouble("actions-runner", Trouble::Cut { after: 1000 }, 2);
//! assert_eq!(vendors.requests_of("/releases/tags/").len(), 1);
//! ```
//!
//! Every host is a first folder: `https://github.com/x` is `http://127.0.0.1:PORT/github.com/x`. Answers name the real
//! hosts, so that what is downloaded afterwards goes through the mirrors again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use xtask::oci::Digest;

use super::archives;

/// The newest runner.
pub const RUNNER_VERSION: &str = "2.337.0";
/// The commit of the newest VS Code.
pub const VSCODE_COMMIT: &str = "110a328ea54b42367b803ec53ee0bf52ef26b419";
/// Its version.
pub const VSCODE_VERSION: &str = "1.128.0";
/// The newest Ansible extension.
pub const EXTENSION_VERSION: &str = "26.9.0";

/// The hosts that the double stands for.
const HOSTS: [&str; 5] =
    ["api.github.com", "github.com", "open-vsx.org", "update.code.visualstudio.com", "vscode.download.prss.microsoft.com"];

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The connection ends after so many bytes of the body.
    Cut {
        /// Bytes of the body that are sent.
        after: usize,
    },
    /// This status, with these headers, instead of the answer.
    Status(u16, Vec<(&'static str, String)>),
    /// The same with these words, as GitHub has them.
    Says(u16, Vec<(&'static str, String)>, &'static str),
    /// The right length, wrong bytes.
    WrongBytes,
    /// A web page with status 200, as a log-in of a proxy.
    Html,
    /// `Range` is not understood: the whole comes.
    NoRange,
    /// Another body with status 200.
    Body(String),
}

impl Trouble {
    /// GitHub's answer when a machine asked too often, until 2033-05-18T03:33:20Z.
    pub fn rate_limit() -> Self {
        let headers = [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2000000000")];
        Self::Status(403, headers.map(|(name, value)| (name, value.to_owned())).into())
    }

    /// GitHub's answer to too much at once: there are requests left in this hour. `wait`: how long, where it says.
    pub fn secondary_limit(status: u16, wait: Option<&str>) -> Self {
        let headers = [("x-ratelimit-remaining", "4711"), ("x-ratelimit-reset", "2000000000")];
        let headers = headers.into_iter().chain(wait.map(|wait| ("retry-after", wait)));
        let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
        Self::Says(status, headers.map(|(name, value)| (name, value.to_owned())).collect(), message)
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    /// With the host as its first folder, and the query.
    pub path: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
}

/// What is served, and what was asked.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    troubles: Vec<(String, Trouble, usize)>,
    requests: Vec<Request>,
    /// What lists hold, newest first, by path.
    lists: BTreeMap<&'static str, Vec<Value>>,
}

/// The double. It ends when it is dropped.
pub struct Vendors {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Vendors {
    /// Starts it, with a runner, a VS Code CLI and server (both architectures) and the Ansible extension.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (state, ends) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (state, ends) = (state.clone(), ends.clone());
            move || {
                for connection in listener.incoming() {
                    if ends.load(Ordering::SeqCst) {
                        break;
                    }
                    let state = state.clone();
                    std::thread::spawn(move || connection.and_then(|connection| serve(connection, &state)));
                }
            }
        });
        let vendors = Self { address, state, ends, thread: Some(thread) };
        vendors.publish_runner(RUNNER_VERSION);
        vendors.publish_vscode(VSCODE_COMMIT, VSCODE_VERSION);
        vendors.publish_extension(EXTENSION_VERSION);
        vendors
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every vendor's host → its folder here, as `[mirrors]` has it.
    pub fn mirrors(&self) -> BTreeMap<String, String> {
        HOSTS.iter().map(|host| (format!("https://{host}/"), format!("{}/{host}/", self.url()))).collect()
    }

    /// The table `[mirrors]` for a test's variants.toml.
    pub fn mirrors_toml(&self) -> String {
        self.mirrors().iter().fold("[mirrors]\n".to_owned(), |text, (from, to)| text + &format!("\"{from}\" = \"{to}\"\n"))
    }

    /// The next `times` requests whose path has `part` in it go wrong.
    pub fn trouble(&self, part: &str, trouble: Trouble, times: usize) {
        self.state().troubles.push((part.to_owned(), trouble, times));
    }

    /// What was asked so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// What was asked so far of paths that have `part` in them.
    pub fn requests_of(&self, part: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.path.contains(part)).collect()
    }

    /// Serves `bytes` at `path`, whose first folder is the host.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state().files.insert(path.to_owned(), bytes.into());
    }

    /// The file that is served for a vendor's `url`.
    pub fn file(&self, url: &str) -> Vec<u8> {
        let path = url.strip_prefix("https:/").unwrap();
        self.state().files.get(path).unwrap_or_else(|| panic!("nothing is served for {url}")).clone()
    }

    /// Releases a runner, now the newest.
    pub fn publish_runner(&self, version: &str) {
        let mut assets = Vec::new();
        let mut notes = "## SHA-256 Checksums\n".to_owned();
        for arch in ["x64", "arm64"] {
            let name = format!("actions-runner-linux-{arch}-{version}.tar.gz");
            let url = format!("https://github.com/actions/runner/releases/download/v{version}/{name}");
            let bytes = archives::runner(version, arch);
            let digest = Digest::of(&bytes);
            let hex = digest.hex();
            notes += &format!("- {name} <!-- BEGIN SHA linux-{arch} -->{hex}<!-- END SHA linux-{arch} -->\n");
            assets.push(json!({ "name": name, "browser_download_url": url, "digest": digest, "size": bytes.len() }));
            self.put(url.strip_prefix("https:/").unwrap(), bytes);
        }
        let release = json!({
            "tag_name": format!("v{version}"), "published_at": "2026-08-26T15:00:00Z", "prerelease": false, "draft": false,
            "html_url": format!("https://github.com/actions/runner/releases/tag/v{version}"), "assets": assets, "body": notes,
        });
        self.list("/api.github.com/repos/actions/runner/releases", release.clone(), |all| json!(all));
        let releases = "/api.github.com/repos/actions/runner/releases";
        self.put(&format!("{releases}/tags/v{version}"), release.to_string());
        self.put(&format!("{releases}/latest"), release.to_string());
    }

    /// Releases a VS Code, now the newest.
    pub fn publish_vscode(&self, commit: &str, version: &str) {
        for arch in ["x64", "arm64"] {
            let server = format!("vscode-server-linux-{arch}-web");
            for (build, file, bytes) in [
                (
                    format!("cli-alpine-{arch}"),
                    format!("vscode_cli_alpine_{arch}_cli.tar.gz"),
                    archives::vscode_cli(commit, version, arch),
                ),
                (
                    format!("server-linux-{arch}-web"),
                    format!("{server}.tar.gz"),
                    archives::vscode_server(commit, version, &server),
                ),
            ] {
                let url = format!("https://vscode.download.prss.microsoft.com/dbazure/download/stable/{commit}/{file}");
                let answer = json!({
                    "url": url, "name": version, "version": commit, "productVersion": version, "hash": "",
                    "timestamp": 1_787_000_000_000_u64, "sha256hash": Digest::of(&bytes).hex(),
                })
                .to_string();
                self.put(url.strip_prefix("https:/").unwrap(), bytes.clone());
                let host = "/update.code.visualstudio.com";
                self.put(&format!("{host}/commit:{commit}/{build}/stable"), bytes);
                self.put(&format!("{host}/api/versions/commit:{commit}/{build}/stable"), answer.clone());
                self.put(&format!("{host}/api/versions/{version}/{build}/stable"), answer.clone());
                self.put(&format!("{host}/api/update/{build}/stable/latest"), answer);
            }
        }
        self.list("/update.code.visualstudio.com/api/releases/stable", json!(version), |all| json!(all));
    }

    /// Releases an Ansible extension, now the newest.
    pub fn publish_extension(&self, version: &str) {
        self.publish_extension_for(version, "^1.96.0", false);
    }

    /// Releases an Ansible extension that runs in a VS Code of this range, now the newest.
    pub fn publish_extension_for(&self, version: &str, engine: &str, prerelease: bool) {
        let bytes = archives::extension(version);
        let base = format!("https://open-vsx.org/api/redhat/ansible/{version}/file/redhat.ansible-{version}");
        let engines = json!({ "vscode": engine });
        let answer = json!({
            "namespace": "redhat", "name": "ansible", "version": version, "targetPlatform": "universal",
            "preRelease": prerelease, "timestamp": "2026-09-01T08:00:00.000000Z", "engines": engines,
            "files": { "download": format!("{base}.vsix"), "sha256": format!("{base}.sha256") },
        })
        .to_string();
        let reference = json!({ "version": version, "targetPlatform": "universal", "engines": engines });
        self.list(
            "/open-vsx.org/api/redhat/ansible/version-references",
            reference,
            |all| json!({ "offset": 0, "totalSize": all.len(), "versionReferences": all }),
        );
        let base = base.strip_prefix("https:/").unwrap();
        self.put(&format!("{base}.sha256"), Digest::of(&bytes).hex());
        self.put(&format!("{base}.vsix"), bytes);
        self.put(&format!("/open-vsx.org/api/redhat/ansible/{version}"), answer.clone());
        self.put("/open-vsx.org/api/redhat/ansible/latest", answer);
    }

    /// Adds something to what is listed at `path`, as the newest.
    fn list(&self, path: &'static str, item: Value, page: impl Fn(&[Value]) -> Value) {
        let listed = {
            let mut state = self.state();
            let list = state.lists.entry(path).or_default();
            list.insert(0, item);
            page(list).to_string()
        };
        self.put(path, listed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Vendors {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request, one answer, and the connection ends.
fn serve(mut connection: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let (file, trouble) = {
        let mut state = state.lock().unwrap();
        state.requests.push(Request { path: path.clone(), headers: headers.clone() });
        let trouble = state.troubles.iter_mut().find(|(part, _, times)| path.contains(part.as_str()) && *times > 0);
        let trouble = trouble.map(|(_, trouble, times)| {
            *times -= 1;
            trouble.clone()
        });
        (state.files.get(path.split('?').next().unwrap_or_default()).cloned(), trouble)
    };
    let mut answer = Answer::of(file, &headers, !matches!(trouble, Some(Trouble::NoRange)));
    let mut sent = usize::MAX;
    match trouble {
        None | Some(Trouble::NoRange) => {}
        Some(Trouble::Cut { after }) => sent = after,
        Some(Trouble::Status(status, headers)) => {
            answer = Answer { status, headers, body: b"{\"message\":\"no\"}".to_vec() };
        }
        Some(Trouble::Says(status, headers, message)) => {
            answer = Answer { status, headers, body: json!({ "message": message }).to_string().into() };
        }
        Some(Trouble::WrongBytes) => answer.body.iter_mut().for_each(|byte| *byte ^= 0xff),
        Some(Trouble::Html) => answer = Answer::page("<!DOCTYPE html>\n<title>Please log in</title>"),
        Some(Trouble::Body(text)) => answer = Answer::page(&text),
    }
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    connection.write_all((head + "\r\n").as_bytes())?;
    connection.write_all(&answer.body[..answer.body.len().min(sent)])?;
    connection.flush()
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn page(text: &str) -> Self {
        Self { status: 200, headers: vec![("Content-Type", "text/html".to_owned())], body: text.into() }
    }

    fn of(file: Option<Vec<u8>>, headers: &BTreeMap<String, String>, ranges: bool) -> Self {
        let Some(body) = file else {
            return Self { status: 404, headers: Vec::new(), body: b"{\"message\":\"Not Found\"}".to_vec() };
        };
        let tag = format!("\"{}\"", Digest::of(&body).short(16));
        let whole = body.len();
        let unchanged = headers.get("if-range").is_none_or(|validator| *validator == tag);
        let from = headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match from.filter(|_| ranges && unchanged) {
            None => Self { status: 200, headers: vec![("ETag", tag)], body },
            Some(from) if from >= whole => {
                Self { status: 416, headers: vec![("Content-Range", format!("bytes */{whole}"))], body: Vec::new() }
            }
            Some(from) => {
                let range = format!("bytes {from}-{}/{whole}", whole - 1);
                Self { status: 206, headers: vec![("ETag", tag), ("Content-Range", range)], body: body[from..].to_vec() }
            }
        }
    }
}
