//! A person's ssh client, with a key of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A key, and the folder that holds it and the hosts it knows.
pub(crate) struct Key {
    folder: tempfile::TempDir,
}

impl Key {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path().join("key")).status();
        assert!(made.expect("ssh-keygen runs").success());
        Self { folder }
    }

    /// As it belongs into AUTHORIZED_KEYS.
    pub(crate) fn public(&self) -> String {
        fs::read_to_string(self.folder.path().join("key.pub")).expect("a public key").trim().to_owned()
    }

    /// The private key's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// A client that trusts a new host once, and afterwards only the same.
    pub(crate) fn ssh(&self, port: u16, user: &str) -> Command {
        let mut ssh = Command::new("ssh");
        let known = format!("UserKnownHostsFile={}", self.folder.path().join("known").display());
        ssh.arg("-F/dev/null").arg("-i").arg(self.file()).args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "HostKeyAlias=workspace", "-o", &known]);
        ssh.args(["-p", &port.to_string(), &format!("{user}@127.0.0.1")]);
        ssh
    }

    /// Runs a command over ssh as the workspace's user.
    pub(crate) fn run(&self, port: u16, command: &str) -> Output {
        self.ssh(port, "ansible").arg(command).output().expect("ssh runs")
    }

    /// What a command that succeeds prints.
    pub(crate) fn prints(&self, port: u16, command: &str) -> String {
        let output = self.run(port, command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}
