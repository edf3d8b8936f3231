//! What the entrypoint is compiled from, as one digest: its part of the workspace and nothing of xtask's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use toml::{Table, Value};

use super::{NAME, PROFILE, Toolchain};
use crate::host::HostError;
use crate::oci::Digest;

/// The digest of all that the entrypoint is compiled from: the root package (Cargo.toml without what concerns others,
/// `build.rs`, `src`), cargo's settings, the packages of Cargo.lock that it reaches, compiler, target, profile and flags.
///
/// # Errors
/// A file cannot be read, or is not TOML.
pub fn sources_digest(root: &Path, toolchain: &Toolchain) -> Result<Digest, HostError> {
    let mut hasher = sha2::Sha256::new();
    // Lengths first, so that no two lists of parts look the same.
    let mut add = |name: &str, bytes: &[u8]| {
        for part in [name.as_bytes(), bytes] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    };
    // 2: with the list of crates.
    add("schema", b"2");
    add("Cargo.toml", manifest(&root.join("Cargo.toml"))?.as_bytes());
    add("Cargo.lock", packages(&root.join("Cargo.lock"))?.as_bytes());
    if let Some(settings) = settings(&root.join(".cargo/config.toml"))? {
        add(".cargo/config.toml", settings.as_bytes());
    }
    let build_script = root.join("build.rs");
    if build_script.is_file() {
        add("build.rs", &std::fs::read(&build_script).map_err(HostError::io("read", &build_script))?);
    }
    let source = root.join("src");
    for (name, file) in files(&source)? {
        add(&format!("src/{name}"), &std::fs::read(&file).map_err(HostError::io("read", &file))?);
    }
    add("rustc", toolchain.version.as_bytes());
    add("target", toolchain.target.as_bytes());
    add("profile", PROFILE.as_bytes());
    add("flags", toolchain.flags().join(" ").as_bytes());
    Ok(Digest::from_hasher(hasher))
}

fn table(path: &Path) -> Result<Table, HostError> {
    let text = std::fs::read_to_string(path).map_err(HostError::io("read", path))?;
    let malformed = |error: toml::de::Error| HostError::Malformed { path: path.to_owned(), why: error.message().to_owned() };
    text.parse().map_err(malformed)
}

/// The root manifest without what does not reach the executable: lints, tests, other profiles, who else is a member.
fn manifest(path: &Path) -> Result<String, HostError> {
    let mut manifest = table(path)?;
    for key in ["lints", "dev-dependencies", "example", "test", "bench"] {
        manifest.remove(key);
    }
    for (key, removed) in
        [("workspace", ["members", "default-members", "exclude", "lints"]), ("profile", ["dev", "test", "bench", "doc"])]
    {
        if let Some(Value::Table(table)) = manifest.get_mut(key) {
            removed.iter().for_each(|key| drop(table.remove(*key)));
        }
    }
    Ok(manifest.to_string())
}

/// cargo's settings without its aliases; none where there is no such file.
fn settings(path: &Path) -> Result<Option<String>, HostError> {
    if !path.is_file() {
        return Ok(None);
    }
    let mut settings = table(path)?;
    settings.remove("alias");
    Ok((!settings.is_empty()).then(|| settings.to_string()))
}

/// Name, version, source and checksum of every package of the lock file that the entrypoint reaches.
fn packages(path: &Path) -> Result<String, HostError> {
    let lock = table(path)?;
    let packages: Vec<&Table> =
        lock.get("package").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table).collect();
    let text = |package: &Table, key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    // A dependency is written as `name`, `name version` or `name version (source)`: as much as makes it unique.
    let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, package) in packages.iter().enumerate() {
        let (name, version, source) = (text(package, "name"), text(package, "version"), text(package, "source"));
        let versioned = format!("{name} {version}");
        for key in [format!("{versioned} ({source})"), versioned, name] {
            named.entry(key).or_default().push(index);
        }
    }
    let malformed = |why: String| HostError::Malformed { path: path.to_owned(), why };
    let find = |key: &str| named.get(key).cloned().ok_or_else(|| malformed(format!("it has no package `{key}`")));
    let (mut reached, mut open) = (BTreeSet::new(), VecDeque::from(find(NAME)?));
    while let Some(index) = open.pop_front() {
        if !reached.insert(index) {
            continue;
        }
        for dependency in packages[index].get("dependencies").and_then(Value::as_array).into_iter().flatten() {
            open.extend(find(dependency.as_str().unwrap_or_default())?);
        }
    }
    let line = |package: &Table| ["name", "version", "source", "checksum"].map(|key| text(package, key)).join(" ");
    let lines: BTreeSet<String> = reached.into_iter().map(|index| line(packages[index])).collect();
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}

/// The files below `folder`, by path with `/` between; links are followed.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, HostError> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = open.pop() {
        for entry in folder.read_dir().map_err(HostError::io("read", &folder))? {
            let entry = entry.map_err(HostError::io("read", &folder))?;
            let (name, path) = (format!("{prefix}{}", entry.file_name().to_string_lossy()), entry.path());
            if path.is_dir() {
                open.push((format!("{name}/"), path));
            } else {
                found.insert(name, path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Platform;

    const MANIFEST: &str = "[workspace]\nmembers = [\"xtask\"]\n[package]\nname = \"entrypoint\"\nversion = \"1.0.0\"\n\
        [dependencies]\nnix = \"1\"\n[profile.image]\nlto = true\n[profile.dev]\ndebug = 1\n";

    const LOCK: &str = r#"version = 4
[[package]]
name = "entrypoint"
version = "1.0.0"
dependencies = ["nix 1.0.0"]
[[package]]
name = "xtask"
version = "1.0.0"
dependencies = ["nix 2.0.0", "other"]
[[package]]
name = "nix"
version = "1.0.0"
checksum = "NIX-1"
dependencies = ["libc"]
[[package]]
name = "nix"
version = "2.0.0"
checksum = "NIX-2"
[[package]]
name = "libc"
version = "1.0.0"
checksum = "LIBC"
[[package]]
name = "other"
version = "1.0.0"
checksum = "OTHER"
"#;

    fn digest(change: impl Fn(&str, String) -> String) -> Digest {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("src/deep")).expect("created");
        std::fs::create_dir_all(root.path().join(".cargo")).expect("created");
        for (name, text) in [
            ("Cargo.toml", MANIFEST),
            ("Cargo.lock", LOCK),
            (".cargo/config.toml", "[alias]\nxtask = \"run\"\n"),
            ("src/main.rs", "fn main() {}"),
            ("src/deep/mod.rs", ""),
        ] {
            std::fs::write(root.path().join(name), change(name, text.to_owned())).expect("written");
        }
        let toolchain = Toolchain {
            platform: Platform::LinuxAmd64,
            version: change("rustc", "rustc 1.95.0".to_owned()),
            target: change("target", Platform::LinuxAmd64.rust_target().to_owned()),
            install: false,
        };
        sources_digest(root.path(), &toolchain).expect("a digest")
    }

    #[test]
    fn what_counts_and_what_does_not() {
        let before = digest(|_, text| text);
        for (file, from, to, counts) in [
            ("src/main.rs", "{}", "{ }", true),
            ("src/deep/mod.rs", "", "\n", true),
            ("Cargo.toml", "lto = true", "lto = false", true),
            ("Cargo.toml", "nix = \"1\"", "nix = \"2\"", true),
            ("Cargo.lock", "NIX-1", "changed", true),
            ("Cargo.lock", "LIBC", "changed", true),
            (".cargo/config.toml", "[alias]", "[env]\nA = \"b\"\n[alias]", true),
            ("rustc", "1.95.0", "1.96.0", true),
            ("target", "musl", "gnu", true),
            ("Cargo.toml", "debug = 1", "debug = 2", false),
            ("Cargo.toml", "[\"xtask\"]", "[\"xtask\", \"more\"]", false),
            ("Cargo.lock", "NIX-2", "changed", false),
            ("Cargo.lock", "OTHER", "changed", false),
            (".cargo/config.toml", "run", "run --quiet", false),
        ] {
            let after = digest(|name, text| if name == file { text.replacen(from, to, 1) } else { text });
            assert_eq!(after != before, counts, "{file}: {from} → {to}");
        }
    }

    #[test]
    fn a_lock_without_the_entrypoint() {
        let root = tempfile::tempdir().expect("a folder");
        let lock = root.path().join("Cargo.lock");
        std::fs::write(&lock, "version = 4\n").expect("written");
        let error = packages(&lock).expect_err("refused").to_string();
        assert!(error.ends_with("is not valid: it has no package `entrypoint`"), "{error}");
    }
}
