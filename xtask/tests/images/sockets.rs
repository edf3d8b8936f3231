//! Who may talk to what: every socket in a container, in the file system or abstract, tried by a user.

use crate::docker::Container;

const CONNECT: &str = r#"
import socket
for line in open("/proc/net/unix").read().splitlines()[1:]:
    words = line.split()
    if len(words) < 8 or words[5] != "01":
        continue
    path = words[7]
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(3)
    try:
        one.connect("\0" + path[1:] if path.startswith("@") else path)
        try:
            one.sendall(b"status\n")
        except BrokenPipeError:
            pass
        print(path, "answers", one.recv(300))
    except OSError as error:
        print(path, "refuses", error)
"#;

/// A line for each: its path, and what came of it.
pub(crate) fn as_seen_by(container: &Container, user: &str) -> String {
    container.sh(user, &format!("python3 - <<'END'\n{CONNECT}\nEND"))
}

/// Asserts that `user` may open none, but the entrypoint's, which answers everybody and tells most of them off.
pub(crate) fn assert_closed_to(container: &Container, user: &str) {
    for line in as_seen_by(container, user).lines() {
        let told_off = line.starts_with("/run/gantry/control.sock answers b'error ");
        assert!(line.contains(" refuses [Errno 13]") || told_off, "{user}: {line}");
    }
}
