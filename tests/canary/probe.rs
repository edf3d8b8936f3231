//! What a user of the container can get hold of, tried by a program that this user runs.

use super::Needles;
use crate::container::Container;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

const PROGRAM: &str = include_str!("probe.pl");

/// Who tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Workspace,
    Job,
    /// The workspace's user with sudo: root with the capabilities that a container has by default.
    Root,
}

impl User {
    fn arguments(self) -> &'static [&'static str] {
        const CAPABILITIES: &str = "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,\
                                    +net_bind_service,+sys_chroot,+kill,+audit_write";
        match self {
            Self::Workspace => &["--reuid=1000", "--regid=1000", "--groups=1000,1234"],
            Self::Job => &["--reuid=1001", "--regid=1001", "--clear-groups"],
            Self::Root => &["--inh-caps=-all", "--bounding-set", CAPABILITIES],
        }
    }
}

/// Tries everything as `user` and returns what was got hold of, a line each. What is to be found goes there by standard input, since whoever runs beside would see it
/// elsewhere.
pub(crate) fn probe(container: &Container, user: User, needles: &Needles) -> BTreeSet<String> {
    let mut command = container.command("setpriv");
    command.args(user.arguments()).args(["perl", "-e", PROGRAM]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for (name, bytes) in &needles.0 {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(stdin, "{name}\t{hex}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let errors = format!("{} {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{user:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
