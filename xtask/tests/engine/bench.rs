//! What the tests of the engine stand on: the engine itself, an image that they load themselves, small contexts.

use std::collections::BTreeMap;
use std::env;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use xtask::engine::{BuildEvent, BuildRequest, Endpoint, Engine, EngineError};
use xtask::oci::Digest;

/// A test that hangs is broken, however slow the machine.
pub(crate) const HANGS: Duration = Duration::from_secs(120);
/// `created` of the image that the tests load.
pub(crate) const CREATED: &str = "2026-01-02T03:04:05Z";

/// The engine under test: `DOCKER_HOST` and docker's contexts, as everywhere.
pub(crate) fn endpoint() -> Endpoint {
    let config = env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")).unwrap_or_default();
    Endpoint::resolve(&|name| env::var(name).ok(), &config).expect("an engine is named")
}

/// One test's own corner of the engine, emptied by [`Bench::clean`].
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    prefix: String,
    tags: Mutex<Vec<String>>,
    containers: Mutex<Vec<String>>,
}

/// Runs a test against the engine and removes what it made, whatever becomes of it.
pub(crate) fn with_engine<F: Future<Output = ()>>(test: impl FnOnce(&'static Bench) -> F) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let engine = Engine::connect(&endpoint()).await.expect("these tests need a Docker Engine");
        let bench: &'static Bench = Box::leak(Box::new(Bench::new(engine)));
        let test = std::panic::AssertUnwindSafe(tokio::time::timeout(HANGS, test(bench)));
        let result = futures_util::FutureExt::catch_unwind(test).await;
        bench.clean().await;
        match result {
            Ok(ended) => ended.expect("the test hangs"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
}

impl Bench {
    fn new(engine: Engine) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { engine, prefix, tags: Mutex::default(), containers: Mutex::default() }
    }

    /// A word that no other test has.
    pub(crate) fn unique(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A tag of this test under the host that cannot exist; removed at the end.
    pub(crate) fn tag(&self, name: &str) -> String {
        let tag = format!("gantry.invalid/test/{name}:{}", self.prefix);
        self.tags.lock().unwrap().push(tag.clone());
        tag
    }

    /// A tag that this test makes in another way.
    pub(crate) fn remove_at_the_end(&self, tag: &str) {
        self.tags.lock().unwrap().push(tag.to_owned());
    }

    /// A container name of this test; removed at the end.
    pub(crate) fn container(&self, name: &str) -> String {
        let name = self.unique(name);
        self.containers.lock().unwrap().push(name.clone());
        name
    }

    /// Loads busybox as an image of one layer and returns its tag. `salt` makes it another image.
    pub(crate) async fn busybox(&self, salt: &str) -> String {
        let tag = self.tag("busybox");
        self.engine.load(Cursor::new(archive(&tag, &busybox_layer(salt)))).await.expect("the image is loaded");
        tag
    }

    /// Builds `dockerfile` with nothing beside it; returns what happened and how it ended.
    pub(crate) async fn build(
        &self,
        dockerfile: &str,
        change: impl FnOnce(&mut BuildRequest),
    ) -> (Vec<BuildEvent>, Result<(), EngineError>) {
        let mut request = request(dockerfile, &[]);
        change(&mut request);
        let mut events = Vec::new();
        let result = self.engine.build(request, &mut |event| events.push(event)).await;
        (events, result)
    }

    async fn clean(&self) {
        let containers = self.containers.lock().unwrap().split_off(0);
        for name in containers {
            self.engine.stop_and_remove(&name, 0).await.expect("the container is removed");
        }
        let tags = self.tags.lock().unwrap().split_off(0);
        for tag in tags {
            self.engine.untag(&tag).await.expect("the tag is removed");
        }
    }
}

/// A file of a tar archive.
pub(crate) struct File<'a> {
    pub(crate) path: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) owner: u64,
}

/// An archive whose entries have one time.
pub(crate) fn tar(files: &[File<'_>], links: &[(&str, &str)], time: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.bytes.len() as u64);
        header.set_mode(file.mode);
        header.set_mtime(time);
        header.set_uid(file.owner);
        header.set_gid(file.owner);
        if file.path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        tar.append_data(&mut header, file.path, file.bytes).unwrap();
    }
    for (path, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o777);
        header.set_mtime(time);
        header.set_entry_type(tar::EntryType::Symlink);
        tar.append_link(&mut header, path, target).unwrap();
    }
    tar.into_inner().unwrap()
}

fn busybox_layer(salt: &str) -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok());
    let busybox = busybox.expect("these tests need Debian's package `busybox-static`");
    let file = |path, bytes, mode| File { path, bytes, mode, owner: 0 };
    let files = [
        file("bin/", b"" as &[u8], 0o755),
        file("bin/busybox", &busybox, 0o755),
        file("etc/", b"", 0o755),
        file("etc/salt", salt.as_bytes(), 0o644),
        file("tmp/", b"", 0o1777),
    ];
    let applets = ["sh", "cat", "echo", "sleep", "seq", "stat", "ls", "test", "date", "true", "httpd", "wget", "mkdir", "rm"];
    let links: Vec<String> = applets.iter().map(|applet| format!("bin/{applet}")).collect();
    let links: Vec<(&str, &str)> = links.iter().map(|link| (link.as_str(), "busybox")).collect();
    tar(&files, &links, 1_700_000_000)
}

/// An archive as `docker save` writes it, made by hand: one image of one layer.
pub(crate) fn archive(tag: &str, layer: &[u8]) -> Vec<u8> {
    let config = config(layer);
    let manifest = json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"] }]).to_string();
    let file = |path, bytes| File { path, bytes, mode: 0o644, owner: 0 };
    let files = [file("config.json", config.as_bytes()), file("layer.tar", layer), file("manifest.json", manifest.as_bytes())];
    tar(&files, &[], 0)
}

/// The configuration of an image of one layer.
pub(crate) fn config(layer: &[u8]) -> String {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    json!({
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": { "Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": { "test.of": "gantry" } },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(layer).to_string()] },
        "history": [{ "created": CREATED, "created_by": "by hand" }],
    })
    .to_string()
}

/// A context of a Dockerfile and files.
pub(crate) fn context(dockerfile: &str, files: &[File<'_>]) -> Bytes {
    let mut all = vec![File { path: "Dockerfile", bytes: dockerfile.as_bytes(), mode: 0o644, owner: 0 }];
    all.extend(files.iter().map(|file| File { ..*file }));
    tar(&all, &[], 1_700_000_000).into()
}

/// A build without a tag of `dockerfile` and files.
pub(crate) fn request(dockerfile: &str, files: &[File<'_>]) -> BuildRequest {
    BuildRequest {
        tags: Vec::new(),
        context: context(dockerfile, files),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        secrets: BTreeMap::new(),
        no_cache: false,
    }
}

/// The lines that a build printed.
pub(crate) fn lines<'a>(events: &'a [BuildEvent]) -> Vec<&'a str> {
    let line = |event: &'a BuildEvent| if let BuildEvent::Log { line, .. } = event { Some(line.as_str()) } else { None };
    events.iter().filter_map(line).collect()
}
