//! What may be in no layer, told by its path.

use super::EntryKind;

/// Why something may not be in a layer; none where it may.
pub(super) fn forbidden(path: &str, kind: EntryKind, bytes: u64) -> Option<&'static str> {
    let starts = |prefix: &str| path.starts_with(prefix);
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.starts_with("ssh_host_") && last.contains("_key") {
        return Some("host key");
    }
    if kind != EntryKind::File || bytes == 0 {
        return None;
    }
    match path {
        _ if starts("var/lib/apt/lists/") && last != "lock" => Some("package list"),
        _ if starts("var/cache/apt/") => Some("package cache"),
        _ if starts("var/log/") => Some("log"),
        _ if starts("root/.cache/") || starts("root/.npm/") || path.contains("/.cache/") => Some("cache"),
        "etc/machine-id" | "var/lib/dbus/machine-id" => Some("machine id"),
        _ if starts("tmp/") || starts("run/secrets") => Some("leftover"),
        _ if matches!(last, "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" | "id_ecdsa_sk" | "id_ed25519_sk") => {
            Some("private key")
        }
        _ => None,
    }
}
