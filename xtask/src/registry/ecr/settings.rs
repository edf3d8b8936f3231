//! What a repository of ECR is to be like, what it is like, and the difference. Pure.
//!
//! **Tags.** Immutable, but for the tags that move with every release: ECR then refuses what Gantry never does itself.
//! ECR takes five exceptions; a family with more moving tags gets a mutable repository (and Gantry's own check).
//!
//! **Lifecycle.** One rule, for manifests that have no tag, some days after they were pushed. It takes nothing that a tag
//! points to, since it selects untagged manifests only, and breaks no index: ECR does not expire an image that an index
//! (manifest list) refers to as long as that index is there, and what refers to an image itself (signatures, SBOMs) goes
//! with it. What a publish has sent and not tagged yet is younger than a day. Rules about tagged images would count an
//! image by the day it was pushed, not by the day it was last tagged: none is set, and releases stay until somebody
//! removes them.
//!
//! **Encryption** is decided when a repository is created, for good.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::family::{Ecr, Encryption};

/// How many exceptions to immutability ECR takes for a repository.
pub const MOST_EXCEPTIONS: usize = 5;

/// Which tags of a repository may be set anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mutability {
    /// All.
    Mutable,
    /// All but those of these patterns (`*` is any text).
    MutableExcept(BTreeSet<String>),
    /// None.
    Immutable,
    /// Only those of these patterns.
    ImmutableExcept(BTreeSet<String>),
}

impl Mutability {
    /// Whether a tag that is there can be set to something else.
    pub fn may_move(&self, tag: &str) -> bool {
        let matches = |patterns: &BTreeSet<String>| patterns.iter().any(|pattern| matches(pattern, tag));
        match self {
            Self::Mutable => true,
            Self::MutableExcept(patterns) => !matches(patterns),
            Self::Immutable => false,
            Self::ImmutableExcept(patterns) => matches(patterns),
        }
    }
}

impl std::fmt::Display for Mutability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (words, patterns) = match self {
            Self::Mutable => return f.write_str("mutable"),
            Self::Immutable => return f.write_str("immutable"),
            Self::MutableExcept(patterns) => ("mutable", patterns),
            Self::ImmutableExcept(patterns) => ("immutable", patterns),
        };
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("`{pattern}`")).collect();
        write!(f, "{words} but for {}", patterns.join(", "))
    }
}

/// Whether a tag is one of a pattern's.
fn matches(pattern: &str, tag: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == tag,
        Some((before, after)) => {
            let Some(rest) = tag.strip_prefix(before) else { return false };
            (0..=rest.len()).filter_map(|from| rest.get(from..)).any(|rest| matches(after, rest))
        }
    }
}

/// What a repository is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its tags.
    pub mutability: Mutability,
    /// None: as it is.
    pub encryption: Option<Encryption>,
    /// ARN, id or alias; none: AWS's own.
    pub kms_key: Option<String>,
    /// After how many days untagged manifests go.
    pub untagged_days: u32,
}

impl Wanted {
    /// For a destination to which these moving tags are published.
    pub fn new(ecr: &Ecr, moving: BTreeSet<String>) -> Self {
        let mutability = match moving.len() {
            0 => Mutability::Immutable,
            1..=MOST_EXCEPTIONS => Mutability::ImmutableExcept(moving),
            _ => Mutability::Mutable,
        };
        let (encryption, kms_key) = (ecr.encryption, ecr.kms_key.clone());
        Self { mutability, encryption, kms_key, untagged_days: ecr.untagged_days }
    }

    /// The lifecycle policy, as ECR wants it.
    pub fn lifecycle(&self) -> Value {
        json!({ "rules": [{
            "rulePriority": 1,
            "description": format!("Gantry: what has no tag and nothing that refers to it goes after {} days", self.untagged_days),
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": self.untagged_days,
            },
            "action": { "type": "expire" },
        }] })
    }

    /// ECR's name of the encryption of a new repository.
    pub fn encryption_type(&self) -> &'static str {
        encryption_type(self.encryption.unwrap_or(Encryption::Aes256))
    }
}

fn encryption_type(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Aes256 => "AES256",
        Encryption::Kms => "KMS",
        Encryption::KmsDsse => "KMS_DSSE",
    }
}

/// What a repository is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its tags.
    pub mutability: Mutability,
    /// Whether what is pushed is scanned.
    pub scan_on_push: bool,
    /// `AES256`
    pub encryption: String,
    /// The ARN of the key.
    pub kms_key: Option<String>,
    /// None: there is no lifecycle policy.
    pub lifecycle: Option<Value>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Change {
    /// Create the repository. The encryption cannot be changed later.
    Create {
        /// `AES256`
        encryption: String,
        /// The key.
        #[serde(skip_serializing_if = "Option::is_none")]
        kms_key: Option<String>,
    },
    /// Scan what is pushed.
    ScanOnPush,
    /// Which tags may move.
    Mutability {
        /// As it is; none in a new repository.
        from: Option<Mutability>,
        /// As it will be.
        to: Mutability,
    },
    /// What expires.
    Lifecycle {
        /// As it is.
        from: Option<Value>,
        /// As it will be.
        to: Value,
    },
}

/// Something that differs and cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is encrypted by `{found}`, variants.toml wants `{wanted}`, and ECR does not change the encryption of a repository")]
pub struct Fixed {
    /// As it is.
    pub found: String,
    /// As it should be.
    pub wanted: String,
}

/// What there is to do; nothing where the repository is as it should be.
///
/// # Errors
/// What differs cannot be changed.
pub fn changes(wanted: &Wanted, found: Option<&Found>) -> Result<Vec<Change>, Fixed> {
    let mut changes = Vec::new();
    let Some(found) = found else {
        changes.push(Change::Create { encryption: wanted.encryption_type().to_owned(), kms_key: wanted.kms_key.clone() });
        changes.push(Change::ScanOnPush);
        changes.push(Change::Mutability { from: None, to: wanted.mutability.clone() });
        changes.push(Change::Lifecycle { from: None, to: wanted.lifecycle() });
        return Ok(changes);
    };
    if let Some(encryption) = wanted.encryption {
        let name = |encryption: &str, key: Option<&String>| match key {
            Some(key) => format!("{encryption} with {key}"),
            None => encryption.to_owned(),
        };
        let same_key = wanted.kms_key.as_ref().is_none_or(|key| found.kms_key.as_ref().is_some_and(|found| is_key(key, found)));
        if encryption_type(encryption) != found.encryption || !same_key {
            return Err(Fixed {
                found: name(&found.encryption, found.kms_key.as_ref()),
                wanted: name(encryption_type(encryption), wanted.kms_key.as_ref()),
            });
        }
    }
    if !found.scan_on_push {
        changes.push(Change::ScanOnPush);
    }
    if found.mutability != wanted.mutability {
        changes.push(Change::Mutability { from: Some(found.mutability.clone()), to: wanted.mutability.clone() });
    }
    if found.lifecycle.as_ref() != Some(&wanted.lifecycle()) {
        changes.push(Change::Lifecycle { from: found.lifecycle.clone(), to: wanted.lifecycle() });
    }
    Ok(changes)
}

/// Whether `found`, an ARN, is the key that a file names. What an alias stands for only KMS knows: it is taken as right.
fn is_key(wanted: &str, found: &str) -> bool {
    wanted == found || wanted.contains("alias/") || found.rsplit('/').next() == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::EcrRegistry;

    fn moving(tags: &[&str]) -> BTreeSet<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    fn wanted(encryption: Option<Encryption>, kms_key: Option<&str>) -> Wanted {
        let mut ecr = Ecr::new(EcrRegistry::new("271851283454", "us-west-2").expect("a registry"));
        ecr.encryption = encryption;
        ecr.kms_key = kms_key.map(str::to_owned);
        Wanted::new(&ecr, moving(&["aws", "aws-web"]))
    }

    fn found(wanted: &Wanted) -> Found {
        Found {
            mutability: wanted.mutability.clone(),
            scan_on_push: true,
            encryption: "AES256".to_owned(),
            kms_key: None,
            lifecycle: Some(wanted.lifecycle()),
        }
    }

    #[test]
    fn which_tags_may_move() {
        let except = |tags: &[&str]| Mutability::ImmutableExcept(moving(tags));
        for (mutability, tag, may) in [
            (Mutability::Mutable, "aws", true),
            (Mutability::Immutable, "aws", false),
            (except(&["aws", "aws-web"]), "aws", true),
            (except(&["aws", "aws-web"]), "aws-2026.11.20-3f2c1ab", false),
            (except(&["aws*"]), "aws-2026.11.20-3f2c1ab", true),
            (except(&["*web"]), "aws-web", true),
            (except(&["a*s*b"]), "aws-web", true),
            (except(&["a*s*b"]), "aws-we", false),
            (Mutability::MutableExcept(moving(&["*-*-*"])), "aws", true),
            (Mutability::MutableExcept(moving(&["*-*-*"])), "aws-2026-x", false),
        ] {
            assert_eq!(mutability.may_move(tag), may, "{mutability} {tag}");
        }
    }

    #[test]
    fn more_tags_than_ecr_takes_exceptions() {
        let ecr = Ecr::new(EcrRegistry::new("271851283454", "us-west-2").expect("a registry"));
        for (tags, told) in [
            (&[][..], "immutable"),
            (&["a", "b"], "immutable but for `a`, `b`"),
            (&["a", "b", "c", "d", "e"], "immutable but for `a`, `b`, `c`, `d`, `e`"),
            (&["a", "b", "c", "d", "e", "f"], "mutable"),
        ] {
            assert_eq!(Wanted::new(&ecr, moving(tags)).mutability.to_string(), told);
        }
    }

    #[test]
    fn what_there_is_to_do() {
        let plain = wanted(None, None);
        let names = |found: Option<&Found>, wanted: &Wanted| {
            let changes = changes(wanted, found).map_err(|fixed| fixed.to_string());
            let value = serde_json::to_value(changes.expect("changes")).expect("JSON");
            let changes = value.as_array().expect("an array").iter();
            changes.map(|change| change["what"].as_str().expect("a name").to_owned()).collect::<Vec<_>>().join(" ")
        };
        let other = |change: fn(&mut Found)| {
            let mut other = found(&plain);
            change(&mut other);
            other
        };
        for (what, found, told) in [
            ("there is none", None, "create scan-on-push mutability lifecycle"),
            ("it is as it should be", Some(found(&plain)), ""),
            ("it is not scanned", Some(other(|found| found.scan_on_push = false)), "scan-on-push"),
            ("its tags may move", Some(other(|found| found.mutability = Mutability::Mutable)), "mutability"),
            ("nothing expires", Some(other(|found| found.lifecycle = None)), "lifecycle"),
            ("something else expires", Some(other(|found| found.lifecycle = Some(json!({ "rules": [] })))), "lifecycle"),
            ("its encryption is nobody's wish", Some(other(|found| found.encryption = "KMS".to_owned())), ""),
        ] {
            assert_eq!(names(found.as_ref(), &plain), told, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_changed_is_said_before_anything_is_done() {
        const KEY: &str = "arn:aws:kms:us-west-2:271851283454:key/1234";
        let plain = found(&wanted(None, None));
        let kms = Found { encryption: "KMS".to_owned(), kms_key: Some(KEY.to_owned()), ..plain.clone() };
        for (wanted, found, told) in [
            (wanted(Some(Encryption::Aes256), None), &plain, None),
            (wanted(Some(Encryption::Kms), None), &plain, Some("`AES256`, variants.toml wants `KMS`")),
            (wanted(Some(Encryption::Kms), None), &kms, None),
            (wanted(Some(Encryption::Kms), Some(KEY)), &kms, None),
            (wanted(Some(Encryption::Kms), Some("1234")), &kms, None),
            (wanted(Some(Encryption::Kms), Some("alias/images")), &kms, None),
            (wanted(Some(Encryption::Kms), Some("5678")), &kms, Some("wants `KMS with 5678`")),
            (wanted(Some(Encryption::KmsDsse), None), &kms, Some("wants `KMS_DSSE`")),
        ] {
            let error = changes(&wanted, Some(found)).err().map(|fixed| fixed.to_string());
            assert_eq!(error.is_some(), told.is_some(), "{error:?}");
            assert!(error.unwrap_or_default().contains(told.unwrap_or_default()), "{told:?}");
        }
    }

    #[test]
    fn the_lifecycle_takes_nothing_with_a_tag() {
        let policy = wanted(None, None).lifecycle();
        let rules = policy["rules"].as_array().expect("rules");
        assert!(rules.iter().all(|rule| rule["selection"]["tagStatus"] == "untagged"), "{policy}");
        assert_eq!(rules[0]["selection"]["countNumber"], 30);
    }
}
