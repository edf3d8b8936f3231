//! Real registries: Debian's `docker-registry` on loopback.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpSocket;
use xtask::oci::{Digest, Repository};

/// Runs a program; its standard output, or a panic that shows all that it said.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("DOCKER_BUILDKIT", "0").output();
    let output = output.unwrap_or_else(|error| panic!("`{program}` cannot be started: {error}"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "`{program} {}`: {}\n{said}\n{complained}", args.join(" "), output.status);
    said.trim().to_owned()
}

/// Debian's `docker-registry` on a free port of loopback.
pub struct LocalRegistry {
    /// `127.0.0.1:PORT`
    pub address: String,
    /// Keeps the port from everybody else, also while the registry does not run. (Not listening; the registry reuses it.)
    _port: TcpSocket,
    folder: TempDir,
    child: Mutex<Option<Child>>,
}

impl LocalRegistry {
    /// An open one, or one that wants `user:password`.
    pub fn start(login: Option<(&str, &str)>) -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).and_then(|()| port.bind(([127, 0, 0, 1], 0).into())).expect("a free port");
        let address = port.local_addr().expect("an address").to_string();
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
        let registry = Arc::new(Self { address, _port: port, folder, child: Mutex::new(None) });
        registry.run();
        registry
    }

    /// Starts it, again if need be, on what it held; returns when it listens.
    pub fn run(&self) {
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

    /// Ends it; what it holds stays for the next [`LocalRegistry::run`].
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("the child").take() {
            child.kill().expect("the registry is killed");
            child.wait().expect("the registry is gone");
        }
    }

    /// Shortens every blob whose size is such: what a broken disk does.
    pub fn garble(&self, is: impl Fn(u64) -> bool) {
        let blobs = run("find", &[&self.folder.path().join("data").display().to_string(), "-path", "*/blobs/*", "-name", "data"]);
        for blob in blobs.lines() {
            let file = fs::OpenOptions::new().write(true).open(blob).expect("a blob");
            let size = file.metadata().expect("a blob").len();
            if is(size) {
                file.set_len(size / 2).expect("it is shortened");
            }
        }
    }

    /// The file of a blob in its storage.
    pub fn blob(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(hex.get(..2).unwrap_or_default()).join(&hex).join("data")
    }

    /// The folder of a tag of [`LocalRegistry::repository`] in its storage.
    pub fn tag_folder(&self, tag: &str) -> PathBuf {
        self.folder.path().join("data/docker/registry/v2/repositories/team/image/_manifests/tags").join(tag)
    }

    /// A repository in it.
    pub fn repository(&self) -> Repository {
        format!("{}/team/image", self.address).parse().expect("a repository")
    }

    /// Where a manifest of [`LocalRegistry::repository`] lies, by tag or digest.
    pub fn manifest_url(&self, reference: &str) -> String {
        let repository = self.repository();
        format!("http://{}/v2/{}/manifests/{reference}", repository.registry(), repository.path())
    }

    /// Writes a blob as any client does; its descriptor.
    pub fn put_blob(&self, kind: &str, text: &str) -> serde_json::Value {
        let uploads = format!("http://{}/v2/{}/blobs/uploads/", self.address, self.repository().path());
        let begun = run("curl", &["-sf", "-X", "POST", "-D", "-", "-o", "/dev/null", &uploads]);
        let to = begun.lines().find_map(|line| line.strip_prefix("Location: ")).expect("a place").trim();
        let digest = Digest::of(text).to_string();
        let bytes = "Content-Type: application/octet-stream";
        run("curl", &["-sf", "-X", "PUT", "-H", bytes, "--data-binary", text, &format!("{to}&digest={digest}")]);
        serde_json::json!({ "mediaType": kind, "digest": digest, "size": text.len() })
    }

    /// Writes a manifest or an index, under a tag or by its digest alone.
    pub fn put_manifest(&self, kind: &str, manifest: &serde_json::Value, tag: Option<&str>) -> Digest {
        let text = manifest.to_string();
        let digest = Digest::of(&text);
        let url = self.manifest_url(tag.unwrap_or(&digest.to_string()));
        run("curl", &["-sf", "-X", "PUT", "-H", &format!("Content-Type: {kind}"), "--data-binary", &text, &url]);
        digest
    }

    /// The digest that skopeo sees under a tag of [`LocalRegistry::repository`].
    pub fn skopeo(&self, tag: &str, login: Option<(&str, &str)>) -> Option<Digest> {
        let image = format!("docker://{}", self.repository().tag(tag));
        let mut command = Command::new("skopeo");
        command.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"]);
        if let Some((user, password)) = login {
            command.arg(format!("--creds={user}:{password}"));
        }
        let output = command.arg(image).output().expect("skopeo (Debian: skopeo) runs");
        String::from_utf8_lossy(&output.stdout).trim().parse().ok().filter(|_| output.status.success())
    }

    /// The tags of [`LocalRegistry::repository`] that people set, sorted.
    pub fn tags(&self) -> Vec<String> {
        self.all_tags().into_iter().filter(|tag| !tag.starts_with("sha256-")).collect()
    }

    /// All of them, with those that stand in for lists of referrers.
    pub fn all_tags(&self) -> Vec<String> {
        let image = format!("docker://{}", self.repository());
        let output = Command::new("skopeo").args(["list-tags", "--tls-verify=false", &image]).output().expect("skopeo runs");
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let tags = listed["Tags"].as_array().into_iter().flatten();
        let mut tags: Vec<String> = tags.filter_map(|tag| Some(tag.as_str()?.to_owned())).collect();
        tags.sort();
        tags
    }
}

impl Drop for LocalRegistry {
    fn drop(&mut self) {
        self.kill();
    }
}
