//! HTTP for workers: `/usr/bin/curl` is executed, which knows TLS, proxies and certificates. What is secret goes
//! to it on standard input, as its configuration, and so into no argument and no environment.

mod curl;
pub(crate) mod retry;

pub(crate) use curl::Answer;

use crate::process::{End, Program};
use crate::settings::{Environment, Secret};
use crate::worker::{Runtime, Trouble};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The program.
const CURL: &str = "/usr/bin/curl";
/// The largest answer that is read into memory, in bytes.
const LARGEST_ANSWER: u64 = 3 * 1024 * 1024;
/// How long curl may take at most to notice by itself that its time is over.
const RESERVE: Duration = Duration::from_secs(1);

/// What to ask a server for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// `https://…`, or `http://…` where that was decided to be fine.
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, Secret)>,
    pub(crate) body: Option<Secret>,
    /// Until the whole answer is there.
    pub(crate) patience: Duration,
    /// Whether a stop of the worker ends it; on the way out, some things are still to be asked for.
    pub(crate) heed_stop: bool,
}

impl Request {
    /// A request without headers and body, which takes 30 seconds at most.
    pub(crate) fn new(method: &'static str, url: impl Into<String>) -> Self {
        let patience = Duration::from_secs(30);
        Self { method, url: url.into(), headers: Vec::new(), body: None, patience, heed_stop: true }
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Secret::new(value)));
        self
    }

    /// The same with a token in `Authorization`.
    pub(crate) fn bearer(self, token: &Secret) -> Self {
        self.header("Authorization", format!("Bearer {}", token.expose()))
    }

    /// The same with a document as its body.
    pub(crate) fn json(mut self, body: impl Into<String>) -> Self {
        self.body = Some(Secret::new(body));
        self.header("Content-Type", "application/json")
    }

    /// The same with another patience.
    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// The worker was asked to stop.
    Stopped,
    /// Nobody was reached, or the connection broke: worth another try.
    Unreachable(String),
    /// It took too long: worth another try.
    TimedOut,
    /// The other end could not show who it is: worth another try, as it may be a proxy that has just woken up.
    Tls(String),
    /// More than was to be expected came.
    TooLarge,
    /// Nothing was asked: the request is none, or curl could not be executed.
    NotAsked(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => f.write_str("asked to stop"),
            Self::Unreachable(why) | Self::Tls(why) | Self::NotAsked(why) => f.write_str(why),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::TooLarge => f.write_str("the answer is larger than it may be"),
        }
    }
}

/// Asks, and reads the answer into memory. `environment`: proxies, certificates (`Settings::fetch`).
/// Redirects are not followed: who is asked gets the token, and nobody else.
///
/// # Errors
/// See [`Error`]. An answer is none, whatever its status.
pub(crate) fn send(runtime: &mut Runtime, environment: &Environment, request: &Request) -> Result<Answer, Error> {
    let config = curl::config(request, LARGEST_ANSWER, None).map_err(Error::NotAsked)?;
    execute(runtime, environment, request, &config)
}

/// Asks, and writes the body, which may be `most` bytes large, to the file `to`, in a folder where nobody else can
/// plant a link. Where the answer is not 200 there is no file. Redirects are not followed.
///
/// # Errors
/// See [`Error`]; there is no file then.
pub(crate) fn download(
    runtime: &mut Runtime,
    environment: &Environment,
    request: &Request,
    to: &Path,
    most: u64,
) -> Result<Answer, Error> {
    let answer = curl::config(request, most, Some(to))
        .map_err(Error::NotAsked)
        .and_then(|config| execute(runtime, environment, request, &config));
    if !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
        // Mostly there is nothing to remove.
        let _ = std::fs::remove_file(to);
    }
    answer
}

fn execute(runtime: &mut Runtime, environment: &Environment, request: &Request, config: &Secret) -> Result<Answer, Error> {
    let program = Program {
        path: CURL.into(),
        // First of all `-q`: no ~/.curlrc.
        arguments: ["-q", "--config", "-"].map(OsString::from).to_vec(),
        environment: environment.clone(),
        folder: "/".into(),
        no_new_privileges: true,
        dies_with_parent: true,
        ..Program::default()
    };
    let patience = request.patience + RESERVE.min(request.patience / 4);
    let finished = match runtime.run(&program, config.expose().as_bytes(), patience, request.heed_stop) {
        Ok(finished) => finished,
        Err(Trouble::Stopped) => return Err(Error::Stopped),
        Err(Trouble::TimedOut) => return Err(Error::TimedOut),
        Err(Trouble::NotStarted(error)) => return Err(Error::NotAsked(format!("`{CURL}`: {error}"))),
    };
    match finished.end {
        End::Code(0) => Answer::parse(&finished.output).ok_or_else(|| Error::Unreachable("no answer of a web server".to_owned())),
        End::Code(code) => Err(curl::explain(code, &finished.errors)),
        End::Signal(signal) => Err(Error::Unreachable(format!("`{CURL}` ended with signal {signal}"))),
    }
}
