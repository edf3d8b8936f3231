//! What a plan must know of the world beside the family and the lock. Gathered by `cmd`, before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use crate::family::{BuildDate, Name};
use crate::oci::{Digest, Platform, Reference};

/// The world, as far as a plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The platform to build for.
    pub platform: Platform,
    /// `--build-date`, else the pinned one.
    pub build_date: BuildDate,
    /// `--arg NAME=VALUE`.
    pub args: BTreeMap<String, String>,
    /// The commit that is built, if there is one.
    pub revision: Option<Revision>,
    /// By folder, `images/aws`: every context that the family names, and those of [`super::COMPONENT_CONTEXT`] and
    /// [`super::FINISH_CONTEXT`].
    pub contexts: BTreeMap<String, ContextFact>,
    /// The digest of all that the entrypoint is compiled from (or of the file given with `--entrypoint`).
    pub entrypoint: Digest,
    /// Artifact pins whose bytes cannot be had under this profile, each with the reason.
    pub unavailable: BTreeMap<Name, String>,
    /// The CA bundle that builds are given.
    pub ca_bundle: Option<BundleFact>,
    /// With `--parent published`: what each parent that is a variant is published as.
    pub parents: BTreeMap<Name, ParentFact>,
}

/// A build context, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFact {
    /// The digest of paths, modes and contents, the Dockerfile included.
    pub digest: Digest,
    /// The build arguments that the Dockerfile declares.
    pub declared_args: BTreeSet<String>,
}

/// The commit that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Whether the work tree differs from it.
    pub dirty: bool,
}

/// The CA bundle that builds are given as a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFact {
    /// Whether variants.toml names it. Images built with any other are not published.
    pub named: bool,
    /// For people: the file.
    pub file: String,
}

/// A published parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentFact {
    /// By digest.
    pub reference: Reference,
}

/// The build arguments that a Dockerfile declares: the words of its `ARG` instructions, without their defaults.
pub fn declared_args(dockerfile: &str) -> BTreeSet<String> {
    let joined = dockerfile.replace("\\\n", " ");
    joined
        .lines()
        .filter_map(|line| {
            let (instruction, words) = line.trim_start().split_once(char::is_whitespace)?;
            instruction.eq_ignore_ascii_case("ARG").then_some(words)
        })
        .flat_map(str::split_whitespace)
        .map(|word| word.split('=').next().unwrap_or(word).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_what_arg_instructions_name() {
        let dockerfile = "# ARG NOT\nARG PARENT\nFROM ${PARENT}\n  arg A=1 B \\\n  C=x\nRUN ARG=2 true\n";
        let declared = declared_args(dockerfile);
        assert_eq!(declared.iter().map(String::as_str).collect::<Vec<_>>(), ["A", "B", "C", "PARENT"]);
    }
}
