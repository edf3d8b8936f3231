//! The docker client: a second opinion on what the engine holds.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What the client prints on stdout and stderr; it must succeed.
pub(crate) fn docker(args: &[&str]) -> String {
    let (success, text) = try_docker(args);
    assert!(success, "docker {args:?}: {text}");
    text
}

/// Whether the client succeeds, and what it prints.
pub(crate) fn try_docker(args: &[&str]) -> (bool, String) {
    let output = Command::new("docker").args(args).output().expect("docker runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// One image or container, inspected.
pub(crate) fn inspect(name: &str) -> Value {
    let text = docker(&["inspect", name]);
    serde_json::from_str::<Value>(&text).expect("inspect prints JSON")[0].clone()
}

/// Runs a command line in an image, as the user `ansible` in a login shell.
pub(crate) fn shell(image: &str, command: &str) -> String {
    docker(&["run", "--rm", "--user", "ansible", "--entrypoint", "bash", image, "-lc", command])
}

/// How a container is started.
pub(crate) struct Recipe {
    image: String,
    options: Vec<String>,
    command: Vec<String>,
    files: tar::Builder<Vec<u8>>,
}

impl Recipe {
    pub(crate) fn new(image: &str) -> Self {
        let files = tar::Builder::new(Vec::new());
        Self { image: image.to_owned(), options: Vec::new(), command: Vec::new(), files }
    }

    /// With a variable.
    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.options(&["--env", &format!("{name}={value}")])
    }

    /// With options of `docker run`.
    pub(crate) fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    /// With `port` published on loopback.
    pub(crate) fn publish(self, port: u16) -> Self {
        self.options(&["--publish", &format!("127.0.0.1::{port}")])
    }

    /// With another first process.
    pub(crate) fn first(mut self, program: &str, arguments: &[&str]) -> Self {
        self.command = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.options(&["--entrypoint", program])
    }

    /// With a file in it before it starts. Given to the engine, which may be anywhere: nothing is mounted.
    pub(crate) fn file(mut self, path: &str, owner: u64, mode: u32, content: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        self.add(&mut header, path, owner, mode, content);
        self
    }

    /// With a folder in it before it starts.
    pub(crate) fn folder(mut self, path: &str, owner: u64, mode: u32) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        self.add(&mut header, path, owner, mode, "");
        self
    }

    fn add(&mut self, header: &mut tar::Header, path: &str, owner: u64, mode: u32, content: &str) {
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mode(mode);
        self.files.append_data(header, path.trim_start_matches('/'), content.as_bytes()).expect("a tar archive");
    }

    /// Starts it.
    pub(crate) fn start(self) -> Container {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gantry-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut create = Command::new("docker");
        create.args(["create", "--name", &name]).args(&self.options).arg(&self.image).args(&self.command);
        let output = create.output().expect("docker runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let container = Container { name };
        let archive = self.files.into_inner().expect("a tar archive");
        // An empty one ends in two empty blocks, and nothing else; a read-only container takes none.
        if archive.len() > 1024 {
            let mut copy = Command::new("docker");
            copy.args(["cp", "-", &format!("{}:/", container.name)]).stdin(Stdio::piped()).stdout(Stdio::null());
            let mut copy = copy.spawn().expect("docker runs");
            copy.stdin.take().expect("a pipe").write_all(&archive).expect("docker reads");
            assert!(copy.wait().expect("docker ends").success());
        }
        docker(&["start", &container.name]);
        container
    }
}

/// A volume that goes away with the value.
pub(crate) struct Volume {
    pub(crate) name: String,
}

impl Volume {
    pub(crate) fn new() -> Self {
        Self { name: docker(&["volume", "create"]).trim().to_owned() }
    }

    /// As an option of `docker run`.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("--volume={}:{path}", self.name)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        try_docker(&["volume", "rm", "--force", &self.name]);
    }
}

/// A container that goes away with the value.
pub(crate) struct Container {
    pub(crate) name: String,
}

impl Container {
    /// Starts an image as a user would, with variables and a port on loopback.
    pub(crate) fn start(image: &str, variables: &[&str], port: Option<u16>) -> Self {
        let mut recipe = Recipe::new(image);
        for variable in variables {
            recipe = recipe.options(&["--env", variable]);
        }
        if let Some(port) = port {
            recipe = recipe.publish(port);
        }
        recipe.start()
    }

    /// Runs a script in it as `user`, with nothing of the container's environment; whether it succeeds, and what it prints.
    pub(crate) fn attempt(&self, user: &str, script: &str) -> (bool, String) {
        let path = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
        try_docker(&["exec", "--user", user, &self.name, "env", "-i", path, "bash", "-c", script])
    }

    /// Whether a script succeeds that becomes `user` (who may be root no more) inside. `docker exec --user` would show that
    /// user the container's configuration: whoever may ask the engine sees it anyway.
    pub(crate) fn does(&self, user: &str, script: &str) -> bool {
        let user = format!("setpriv --reuid={user} --regid={user} --init-groups bash -c \"$0\"");
        try_docker(&["exec", &self.name, "env", "-i", "bash", "-c", &user, script]).0
    }

    /// What a script prints that must succeed, run as [`Self::attempt`] does.
    pub(crate) fn sh(&self, user: &str, script: &str) -> String {
        let (success, text) = self.attempt(user, script);
        assert!(success, "{script}: {text}\n{}", self.log());
        text
    }

    /// Stops it as `docker stop` does, and gives its exit code.
    pub(crate) fn stop(&self) -> i64 {
        docker(&["stop", "--time", "20", &self.name]);
        self.state()["ExitCode"].as_i64().expect("an exit code")
    }

    /// Waits until it has ended by itself, and gives its exit code.
    pub(crate) fn ended(&self) -> i64 {
        self.until("end", |container| {
            let state = container.state();
            (state["Running"] == false).then(|| state["ExitCode"].as_i64().expect("an exit code"))
        })
    }

    /// Waits until its log holds `text`.
    pub(crate) fn logged(&self, text: &str) {
        self.until(text, |container| container.log().contains(text).then_some(()));
    }

    /// Waits until `found` finds something.
    pub(crate) fn until<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what}: {}\n{}", self.state(), self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The port on loopback that leads to `port` in the container.
    pub(crate) fn port(&self, port: u16) -> u16 {
        let text = docker(&["port", &self.name, &format!("{port}/tcp")]);
        text.lines().next().and_then(|line| line.rsplit(':').next()).and_then(|port| port.parse().ok()).expect("a port")
    }

    pub(crate) fn state(&self) -> Value {
        inspect(&self.name)["State"].clone()
    }

    pub(crate) fn log(&self) -> String {
        docker(&["logs", &self.name])
    }

    /// Waits until the image's own health check passes.
    pub(crate) fn healthy(self) -> Self {
        self.until("health", |container| {
            let state = container.state();
            assert!(state["Running"] == true, "ended: {state}\n{}", container.log());
            match state["Health"]["Status"].as_str() {
                Some("healthy") => Some(()),
                Some("unhealthy") => panic!("unhealthy: {state}\n{}", container.log()),
                _ => None,
            }
        });
        self
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        try_docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
