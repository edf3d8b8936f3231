//! Real images of a real engine for the publishing tests, beside the registries that all share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::process::ChildStdout;
use xtask::event::{Event, Events, Sink};
use xtask::oci::Digest;
use xtask::publish::Built;
use xtask::store::Want;

#[path = "../support/front.rs"]
#[allow(dead_code, unreachable_pub)]
pub(crate) mod front;
#[path = "../support/referrers.rs"]
#[allow(dead_code, unreachable_pub)]
pub(crate) mod referrers;
#[path = "../support/registry.rs"]
#[allow(dead_code, unreachable_pub)]
mod registry;

pub(crate) use registry::{LocalRegistry, run};

/// An image in the engine: a program that says `text`, over a layer of some size.
pub(crate) struct LocalImage {
    pub(crate) name: String,
    /// What it says that it was built from.
    pub(crate) input: Digest,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl LocalImage {
    pub(crate) fn build(text: &str) -> Self {
        Self::build_on("scratch", text)
    }

    /// The same with `parent`'s layers below.
    pub(crate) fn build_on(parent: &str, text: &str) -> Self {
        Self::make(parent, text, text)
    }

    /// What was built from the same as `text`, and came out otherwise: it says `said`.
    pub(crate) fn build_again(text: &str, said: &str) -> Self {
        Self::make("scratch", text, said)
    }

    fn make(parent: &str, from: &str, text: &str) -> Self {
        let input = Digest::of(format!("{parent} {from}"));
        let name = format!("gantry-publish-test:{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let context = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| fs::write(context.path().join(file), text).expect("a file");
        // The only program that is certain to be here is the compiler that compiled this.
        write("main.rs", "fn main() { print!(\"{}\", include_str!(\"said.txt\")) }");
        write("said.txt", text);
        // Several blocks of text that gzip makes smaller, but not to nothing.
        let numbers: String = (0..200_000_u32).map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761))).collect();
        write("shared", &numbers);
        let target = ["--edition=2024", "--target", "x86_64-unknown-linux-musl", "-Cstrip=symbols", "-o"];
        let (program, source) = (context.path().join("program"), context.path().join("main.rs"));
        let path = |path: &Path| path.display().to_string();
        run("rustc", &[&target[..], &[&path(&program), &path(&source)]].concat());
        let shared = if parent == "scratch" { "COPY shared /shared\n" } else { "" };
        let file =
            format!("FROM {parent}\n{shared}COPY program /program\nCMD [\"/program\"]\nLABEL gantry.input-digest={input}\n");
        write("Dockerfile", &file);
        run("docker", &["build", "-q", "--no-cache", "-t", &name, &path(context.path())]);
        Self { name, input }
    }

    pub(crate) fn id(&self) -> Digest {
        run("docker", &["image", "inspect", "--format", "{{.Id}}", &self.name]).parse().expect("an id")
    }

    /// The digest of its configuration, as `docker save` names it: of both of docker's stores.
    pub(crate) fn config_digest(&self) -> Digest {
        let saved = run("sh", &["-c", "docker save \"$0\" | tar -xOf - manifest.json", &self.name]);
        let manifest: serde_json::Value = serde_json::from_str(&saved).expect("JSON");
        let config = manifest[0]["Config"].as_str().expect("a file");
        // `HEX.json` from docker's own store, `blobs/sha256/HEX` from containerd's.
        let hex = config.rsplit('/').next().unwrap_or(config).trim_end_matches(".json");
        format!("sha256:{hex}").parse().expect("a digest")
    }

    /// As the engine has it; none once it was removed from there.
    pub(crate) fn built(&self) -> Option<Built> {
        let output = Command::new("docker").args(["image", "inspect", &self.name]).output().expect("docker runs");
        let inspected: serde_json::Value = serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())?;
        let digest = |value: &serde_json::Value| value.as_str().expect("a digest").parse().expect("a digest");
        let diff_ids = inspected[0]["RootFS"]["Layers"].as_array().expect("layers").iter().map(digest).collect();
        let labels = serde_json::from_value(inspected[0]["Config"]["Labels"].clone()).expect("labels");
        let want = Want { name: self.name.clone(), id: digest(&inspected[0]["Id"]) };
        Some(Built { image: self.name.clone(), want, manifest: None, diff_ids, labels })
    }

    /// Removes it from the engine.
    pub(crate) fn remove(&self) {
        run("docker", &["rmi", "-f", &self.name]);
    }
}

impl Drop for LocalImage {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "-f", &self.name]).output();
    }
}

/// `docker save`, as the engine streams it.
pub(crate) struct Saving {
    _child: tokio::process::Child,
    out: ChildStdout,
}

pub(crate) async fn save(names: &[String]) -> Result<Saving, std::io::Error> {
    let mut command = tokio::process::Command::new("docker");
    let mut child = command.arg("save").args(names).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let out = child.stdout.take().expect("its output is piped");
    Ok(Saving { _child: child, out })
}

impl tokio::io::AsyncRead for Saving {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.out).poll_read(context, buffer)
    }
}

/// Keeps events, and calls back on the first one that matches: how a test does something at a certain moment.
pub(crate) struct Trigger {
    seen: Mutex<Vec<Event>>,
    when: Box<dyn Fn(&Event) -> bool + Send + Sync>,
    action: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Trigger {
    pub(crate) fn new(
        when: impl Fn(&Event) -> bool + Send + Sync + 'static,
        action: impl FnOnce() + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), when: Box::new(when), action: Mutex::new(Some(Box::new(action))) })
    }

    pub(crate) fn never() -> Arc<Self> {
        Self::new(|_| false, || {})
    }

    pub(crate) fn events(self: &Arc<Self>) -> Events {
        let sink: Arc<Self> = Arc::clone(self);
        sink
    }

    pub(crate) fn seen(&self) -> Vec<Event> {
        self.seen.lock().expect("the events").clone()
    }

    /// How a step ended, in words.
    pub(crate) fn ended(&self, wanted: &str) -> Option<String> {
        self.seen().into_iter().find_map(|event| match event {
            Event::StepFinished { step, outcome, detail, .. } if step == wanted => Some(format!("{outcome:?}: {detail}")),
            _ => None,
        })
    }
}

impl Sink for Trigger {
    fn emit(&self, event: Event) {
        let hit = (self.when)(&event);
        self.seen.lock().expect("the events").push(event);
        if hit && let Some(action) = self.action.lock().expect("the action").take() {
            action();
        }
    }
}

/// A folder with a `config.json` for docker's clients.
pub(crate) fn docker_config(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.json"), text).expect("the configuration");
    let path = folder.path().to_owned();
    (folder, path)
}
