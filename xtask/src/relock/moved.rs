//! What differs between two locks: pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::bump::Moved;

/// The packages of a lock, each with the versions of it (npm installs more than one).
pub(super) type Packages = BTreeMap<String, BTreeSet<String>>;

/// What moves from `old` to `new`, by name; `file` is where, if that is to be told.
pub(super) fn moved(old: &Packages, new: &Packages, file: Option<&str>) -> Vec<Moved> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let versions = |packages: &Packages, name: &str| {
        let versions = packages.get(name)?;
        Some(versions.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let moved = names.into_iter().filter(|name| old.get(*name) != new.get(*name)).map(|name| Moved {
        file: file.map(str::to_owned),
        name: name.clone(),
        from: versions(old, name),
        to: versions(new, name),
        security: false,
    });
    moved.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(text: &str) -> Packages {
        let mut packages = Packages::new();
        for (name, version) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            packages.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
        packages
    }

    #[test]
    fn what_moves() {
        let moved = moved(&packages("a=1 b=1 c=1 d=1 d=2"), &packages("a=1 b=2 d=2 d=3 e=1"), Some("x"));
        assert!(moved.iter().all(|moved| moved.file.as_deref() == Some("x")));
        let told: Vec<_> = moved.iter().map(|moved| (moved.name.as_str(), moved.from.as_deref(), moved.to.as_deref())).collect();
        assert_eq!(
            told,
            [("b", Some("1"), Some("2")), ("c", Some("1"), None), ("d", Some("1, 2"), Some("2, 3")), ("e", None, Some("1"))]
        );
    }
}
