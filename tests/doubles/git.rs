//! A Git server: the real `git http-backend` behind the double's plain HTTP, with tokens as GitHub takes them.

use super::{Answer, Request};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// Repositories in a folder, each `NAME.git`.
#[derive(Debug, Clone)]
pub(crate) struct Repositories {
    folder: PathBuf,
    /// Who does not have it gets 401.
    token: Option<String>,
}

impl Repositories {
    pub(crate) fn new(folder: &Path, token: Option<&str>) -> Self {
        Self { folder: folder.to_owned(), token: token.map(str::to_owned) }
    }

    /// Makes the repository `name` with the given commits on `main`, each one file with its own name as content, and
    /// one more on the branch `feat/x`.
    pub(crate) fn with(self, name: &str, files: &[&str]) -> Self {
        let work = self.folder.join(format!("{name}-work"));
        std::fs::create_dir_all(&work).unwrap();
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main"];
            let mut git = Command::new("/usr/bin/git");
            let output = git.current_dir(&work).args(identity).args(arguments).output().unwrap();
            assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        git(&["init", "-q"]);
        let commit = |file: &str| {
            std::fs::write(work.join(file), file).unwrap();
            git(&["add", file]);
            git(&["commit", "-q", "-m", file]);
        };
        files.iter().for_each(|file| commit(file));
        git(&["checkout", "-q", "-b", "feat/x"]);
        commit("on-branch");
        if !files.is_empty() {
            git(&["checkout", "-q", "main"]);
        }
        let bare = self.folder.join(format!("{name}.git"));
        git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
        std::fs::remove_dir_all(&work).unwrap();
        self
    }

    /// What the server answers.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        if let Some(token) = &self.token {
            match request.header("authorization") {
                None => return Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"GitHub\""),
                Some(given) if given != format!("Basic {}", base64(&format!("x-access-token:{token}"))) => {
                    return Answer::new(401, "Invalid username or token").header("WWW-Authenticate", "Basic realm=\"GitHub\"");
                }
                Some(_) => {}
            }
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let mut backend = Command::new("/usr/bin/git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.folder)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &request.method)
            .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", request.header("content-encoding").unwrap_or_default())
            .env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = backend.stdin.take().unwrap();
        let body = request.body.clone();
        // It may answer before it has read everything.
        let writer = thread::spawn(move || stdin.write_all(&body));
        let output = backend.wait_with_output().unwrap().stdout;
        let _ = writer.join();
        let split = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&output[..split]).into_owned();
        let mut answer = Answer::new(200, &output[split + 4..]);
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            match name {
                "Status" => answer.status = value.split(' ').next().unwrap().parse().unwrap(),
                _ => answer = answer.header(name, value),
            }
        }
        answer
    }
}

/// Standard Base64.
pub(crate) fn base64(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let triples = text.as_bytes().chunks(3).map(|bytes| {
        let number = bytes.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
        (0..4).map(|at| if at > bytes.len() { '=' } else { LETTERS[(number >> (18 - 6 * at)) as usize & 63].into() }).collect()
    });
    triples.collect::<Vec<String>>().concat()
}
