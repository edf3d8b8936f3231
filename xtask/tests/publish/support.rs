//! Real registries, a real engine and real images for the publishing tests.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::ChildStdout;
use xtask::event::{Event, Events, Sink};
use xtask::oci::{Digest, Repository};
use xtask::store::Want;

/// Runs a program; its standard output, or a panic that shows all that it said.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("DOCKER_BUILDKIT", "0").output();
    let output = output.unwrap_or_else(|error| panic!("`{program}` cannot be started: {error}"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "`{program} {}`: {}\n{said}\n{complained}", args.join(" "), output.status);
    said.trim().to_owned()
}

/// Debian's `docker-registry` on a free port of loopback.
pub(crate) struct LocalRegistry {
    pub(crate) address: String,
    folder: TempDir,
    child: Mutex<Option<Child>>,
}

impl LocalRegistry {
    /// An open one, or one that wants `user:password`.
    pub(crate) fn start(login: Option<(&str, &str)>) -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let address = format!("127.0.0.1:{port}");
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '{address}'}}\n",
            folder.path().join("data").display()
        );
        if let Some((user, password)) = login {
            let passwords = folder.path().join("htpasswd");
            fs::write(&passwords, run("htpasswd", &["-Bbn", user, password])).expect("the password file");
            config += &format!("auth: {{htpasswd: {{realm: gantry, path: {}}}}}\n", passwords.display());
        }
        fs::write(folder.path().join("config.yml"), config).expect("the configuration");
        let registry = Arc::new(Self { address, folder, child: Mutex::new(None) });
        registry.run();
        registry
    }

    /// Starts it, again if need be, on what it held; returns when it listens.
    pub(crate) fn run(&self) {
        let config = self.folder.path().join("config.yml");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("docker-registry (Debian: docker-registry) starts");
        while TcpStream::connect(&self.address).is_err() {
            assert_eq!(child.try_wait().expect("the registry's state"), None, "the registry ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        *self.child.lock().expect("the child") = Some(child);
    }

    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("the child").take() {
            child.kill().expect("the registry is killed");
            child.wait().expect("the registry is gone");
        }
    }

    pub(crate) fn repository(&self) -> Repository {
        format!("{}/team/image", self.address).parse().expect("a repository")
    }

    /// The digest that skopeo sees.
    pub(crate) fn skopeo(&self, tag: &str, login: Option<(&str, &str)>) -> Option<Digest> {
        let image = format!("docker://{}", self.repository().tag(tag));
        let mut command = Command::new("skopeo");
        command.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"]);
        if let Some((user, password)) = login {
            command.arg(format!("--creds={user}:{password}"));
        }
        let output = command.arg(image).output().expect("skopeo (Debian: skopeo) runs");
        String::from_utf8_lossy(&output.stdout).trim().parse().ok().filter(|_| output.status.success())
    }
}

impl Drop for LocalRegistry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An image in the engine: a program that says `text`, over a layer of some size.
pub(crate) struct LocalImage {
    pub(crate) name: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl LocalImage {
    pub(crate) fn build(text: &str) -> Self {
        Self::build_on("scratch", text)
    }

    /// The same with `parent`'s layers below.
    pub(crate) fn build_on(parent: &str, text: &str) -> Self {
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
        let file = format!("FROM {parent}\n{shared}COPY program /program\nCMD [\"/program\"]\n");
        write("Dockerfile", &file);
        run("docker", &["build", "-q", "--no-cache", "-t", &name, &path(context.path())]);
        Self { name }
    }

    pub(crate) fn id(&self) -> Digest {
        run("docker", &["image", "inspect", "--format", "{{.Id}}", &self.name]).parse().expect("an id")
    }

    pub(crate) fn want(&self) -> Want {
        Want { name: self.name.clone(), id: self.id() }
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
