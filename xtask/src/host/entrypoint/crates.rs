//! The list of crates that the entrypoint is made of, as cargo-auditable defines it: whoever looks into an image finds it in
//! the binary's section `.dep-v0`. (cargo-auditable, "cargo_auditable.schema.json")

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;

use super::{NAME, Toolchain, read};
use crate::host::HostError;

/// What the compiler is told when there is a list, and the variable that names its file.
pub(super) const FLAG: &str = "--cfg=gantry_crates";
pub(super) const VARIABLE: &str = "GANTRY_CRATES";

#[derive(Debug, PartialEq, Eq, Serialize)]
struct List {
    packages: Vec<Crate>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Crate {
    name: String,
    version: String,
    source: &'static str,
    /// Positions in the list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<usize>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    root: bool,
}

/// Writes what the section is to hold into a file in `folder`, and gives its path. A file that holds it is left as it is, so
/// that nothing is compiled anew.
///
/// # Errors
/// cargo does not tell, or the file cannot be written.
pub(super) async fn write(root: &Path, toolchain: &Toolchain, folder: &Path) -> Result<PathBuf, HostError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // What is in the binary: no build scripts, no tests, no other target's, and the features of this package alone.
    let args = ["tree", "--locked", "--package", NAME, "--target", &toolchain.target, "--edges", "normal"];
    let shape = ["--no-dedupe", "--prefix", "depth", "--format", "{p}", "--quiet"];
    let tree = read(Path::new(&cargo), &[&args[..], &shape].concat(), root).await?;
    let path = folder.join(format!("crates-{}", toolchain.target));
    let bytes = packed(&list(&tree)).map_err(HostError::io("write", &path))?;
    if std::fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(path);
    }
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, &bytes)).map_err(HostError::io("write", &path))?;
    Ok(path)
}

/// zlib without compression, which makes the same bytes whoever's it is.
fn packed(list: &List) -> std::io::Result<Vec<u8>> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::none());
    zlib.write_all(&serde_json::to_vec(list)?)?;
    zlib.finish()
}

/// From lines as `1nix v0.31.3`, which say how deep they stand.
fn list(tree: &str) -> List {
    let (mut found, mut above) = (BTreeMap::<(String, String), (bool, Vec<(String, String)>)>::new(), Vec::new());
    // How deep a procedural macro stands: it and what it stands on run in the compiler.
    let mut within = None;
    for line in tree.lines() {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let (depth, line) = line.split_at(digits);
        let mut words = line.split(' ');
        let (Ok(depth), Some(name), Some(version)) = (depth.parse::<usize>(), words.next(), words.next()) else { continue };
        let rest: Vec<&str> = words.collect();
        if within.is_some_and(|macro_depth| depth > macro_depth) {
            continue;
        }
        within = rest.contains(&"(proc-macro)").then_some(depth);
        if within.is_some() {
            continue;
        }
        let key = (name.to_owned(), version.trim_start_matches('v').to_owned());
        above.truncate(depth);
        if let Some((_, dependencies)) = above.last().and_then(|parent| found.get_mut(parent)) {
            dependencies.push(key.clone());
        }
        // A path stands behind those of this workspace.
        found.entry(key.clone()).or_insert((rest.iter().any(|word| word.starts_with("(/")), Vec::new()));
        above.push(key);
    }
    let places: BTreeMap<(String, String), usize> = found.keys().cloned().zip(0..).collect();
    let packages = found.into_iter().map(|((name, version), (local, dependencies))| {
        let mut dependencies: Vec<usize> = dependencies.iter().filter_map(|key| places.get(key).copied()).collect();
        dependencies.sort_unstable();
        dependencies.dedup();
        Crate { root: name == NAME, name, version, source: if local { "local" } else { "crates.io" }, dependencies }
    });
    List { packages: packages.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_stands_on_what() {
        let tree = "0entrypoint v0.1.0 (/home/u/gantry)\n1nix v0.31.3\n2libc v0.2.1\n1derive v1.0.0 (proc-macro)\n2syn v2.0.0\n\
            1other v1.0.0\n2libc v0.2.1\n";
        let json = serde_json::to_value(list(tree)).expect("JSON");
        let expected = serde_json::json!({ "packages": [
            { "name": "entrypoint", "version": "0.1.0", "source": "local", "dependencies": [2, 3], "root": true },
            { "name": "libc", "version": "0.2.1", "source": "crates.io" },
            { "name": "nix", "version": "0.31.3", "source": "crates.io", "dependencies": [1] },
            { "name": "other", "version": "1.0.0", "source": "crates.io", "dependencies": [1] },
        ] });
        assert_eq!(json, expected);
    }
}
