//! `package.json` and `package-lock.json` as texts: pure.

use serde_json::Value;

use super::super::moved::Packages;

/// Whether a `package.json` asks for a package, and for which versions of it.
pub(super) fn asked_for(manifest: &str, package: &str) -> Option<String> {
    let value: Value = serde_json::from_str(manifest).ok()?;
    Some(value.get("dependencies")?.get(package)?.as_str()?.to_owned())
}

/// A `package.json` that asks for another version, everything else as it is written. None: it cannot be told where that is
/// to be written.
pub(super) fn asking_for(manifest: &str, package: &str, from: &str, to: &str) -> Option<String> {
    let key = Value::from(package).to_string();
    let value = Value::from(from).to_string();
    // The key, a colon and the value, with whatever space between them.
    let mut places = manifest.match_indices(&key).filter_map(|(at, _)| {
        let mut here = at + key.len();
        for part in [":", value.as_str()] {
            let rest = manifest.get(here..)?;
            here += rest.len() - rest.trim_start().len();
            here += manifest.get(here..)?.strip_prefix(part).map(|_| part.len())?;
        }
        Some((here - value.len(), here))
    });
    let (start, end) = places.next()?;
    let text = format!("{}{}{}", manifest.get(..start)?, Value::from(to), manifest.get(end..)?);
    let written = places.next().is_none() && asked_for(&text, package).as_deref() == Some(to);
    written.then_some(text)
}

/// The version of its format; 3 where it does not say.
pub(super) fn format_of(lock: &str) -> u64 {
    serde_json::from_str::<Value>(lock).ok().and_then(|value| value.get("lockfileVersion")?.as_u64()).unwrap_or(3)
}

/// The packages that a lock installs, and their versions. None: it is no lock.
pub(super) fn packages(lock: &str) -> Option<Packages> {
    let value: Value = serde_json::from_str(lock).ok()?;
    let mut packages = Packages::new();
    for (path, entry) in value.get("packages")?.as_object()? {
        // `node_modules/a/node_modules/@b/c`; the first one is the package itself.
        let Some((_, name)) = path.rsplit_once("node_modules/") else { continue };
        let version = entry.get("version").and_then(Value::as_str).unwrap_or_default();
        packages.entry(name.to_owned()).or_default().insert(version.to_owned());
    }
    Some(packages)
}

/// An address of this machine's mirror, or a path of this machine, that a lock has in it.
pub(super) fn address(lock: &str) -> Option<String> {
    let value: Value = serde_json::from_str(lock).ok()?;
    let entries = value.get("packages")?.as_object()?;
    entries.values().find_map(|entry| Some(entry.get("resolved")?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "{\n  \"name\": \"ide\",\n  \"dependencies\": {\n    \"code-server\" :  \"4.139.1\"\n  },\n  \
                            \"allowScripts\": { \"code-server\": true }\n}\n";

    #[test]
    fn a_manifest_is_changed_where_it_asks_for_the_package() {
        assert_eq!(asked_for(MANIFEST, "code-server").as_deref(), Some("4.139.1"));
        let changed = asking_for(MANIFEST, "code-server", "4.139.1", "4.140.0").unwrap();
        assert_eq!(changed, MANIFEST.replace("4.139.1", "4.140.0"));
        for (manifest, package, from) in [
            (MANIFEST, "code-server", "4.139.0"),
            (MANIFEST, "ide", "4.139.1"),
            ("{\"a\": \"1\", \"dependencies\": {\"a\": \"1\"}}", "a", "1"),
            ("nonsense \"a\": \"1\"", "a", "1"),
        ] {
            assert_eq!(asking_for(manifest, package, from, "2"), None, "{manifest}");
        }
    }

    #[test]
    fn what_a_lock_has_in_it() {
        let lock = r#"{"lockfileVersion": 3, "packages": {
            "": {"name": "ide"},
            "node_modules/a": {"version": "1.0.0"},
            "node_modules/b/node_modules/a": {"version": "2.0.0"},
            "node_modules/@c/d": {"version": "1.0.0", "integrity": "sha512-"}
        }}"#;
        let told: Vec<String> = packages(lock).unwrap().iter().map(|(name, versions)| format!("{name} {versions:?}")).collect();
        assert_eq!(told, [r#"@c/d {"1.0.0"}"#, r#"a {"1.0.0", "2.0.0"}"#]);
        assert_eq!((format_of(lock), address(lock)), (3, None));
        let with = lock.replace("\"integrity\"", "\"resolved\": \"http://mirror/d.tgz\", \"integrity\"");
        assert_eq!(address(&with).as_deref(), Some("http://mirror/d.tgz"));
        assert_eq!(packages("{}"), None);
    }
}
