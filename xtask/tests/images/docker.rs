//! The docker client: a second opinion on what the engine holds.

use std::process::Command;
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

/// A container that goes away with the value.
pub(crate) struct Container {
    pub(crate) name: String,
}

impl Container {
    /// Starts an image as a user would, with variables and a port on loopback.
    pub(crate) fn start(image: &str, variables: &[&str], port: Option<u16>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gantry-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut args = vec!["run", "--detach", "--name", &name];
        for variable in variables {
            args.extend(["--env", variable]);
        }
        let published = port.map(|port| format!("127.0.0.1::{port}"));
        if let Some(published) = &published {
            args.extend(["--publish", published]);
        }
        args.push(image);
        docker(&args);
        Self { name }
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
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let state = self.state();
            match state["Health"]["Status"].as_str() {
                Some("healthy") => return self,
                Some("unhealthy") => panic!("unhealthy: {state}\n{}", self.log()),
                _ if state["Running"] != true => panic!("ended: {state}\n{}", self.log()),
                _ if Instant::now() > deadline => panic!("not healthy in time: {state}\n{}", self.log()),
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        try_docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
