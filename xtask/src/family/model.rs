//! The family as a value. Whoever holds a [`Family`] knows that it is valid: names resolve, parents have no cycle,
//! tags do not clash, templates have known placeholders only.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{BuildDate, Name, Smoke, VersionRange};
use crate::oci::{Compression, Digest, EcrRegistry, Platform, Reference, Repository};

/// A text with placeholders, `{variant}-{date}`, checked when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Template(String);

impl Template {
    /// A template whose placeholders are all in `known`.
    ///
    /// # Errors
    /// The placeholder (or the unbalanced brace) that is not, with its bytes in `text`.
    pub fn new(text: &str, known: &[&str]) -> Result<Self, (String, std::ops::Range<usize>)> {
        let mut from = 0;
        while let Some(open) = text[from..].find(['{', '}']).map(|at| at + from) {
            let close = text[open..].find('}').map(|at| at + open);
            match close {
                Some(close) if text[open..].starts_with('{') => {
                    let name = &text[open + 1..close];
                    if !known.contains(&name) {
                        return Err((name.to_owned(), open..close + 1));
                    }
                    from = close + 1;
                }
                _ => return Err((text[open..=open].to_owned(), open..open + 1)),
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The text with every placeholder replaced by what `value` gives for it (nothing where it gives nothing).
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> String {
        let mut filled = String::with_capacity(self.0.len() * 2);
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            filled.push_str(before);
            filled.push_str(value(name).unwrap_or_default());
            rest = after;
        }
        filled + rest
    }

    /// Whether `{name}` stands in it.
    pub fn uses(&self, name: &str) -> bool {
        self.0.contains(&format!("{{{name}}}"))
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The whole family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// `family.name`: the local repository, `ansible-epic:aws`.
    pub name: Name,
    /// `family.title`: `org.opencontainers.image.title`, before the variant's name.
    pub title: String,
    /// `family.source`: URL of the repository, `org.opencontainers.image.source`.
    pub source: String,
    /// `family.licenses`: SPDX expression, `org.opencontainers.image.licenses`.
    pub licenses: Option<String>,
    /// `family.platforms`, in their order; never empty.
    pub platforms: Vec<Platform>,
    /// `family.build-date`: the pinned `BUILD_DATE`.
    pub build_date: BuildDate,
    /// `family.ca-bundle`: a CA bundle (path relative to variants.toml) with which published images may be built.
    pub ca_bundle: Option<String>,
    /// `family.compression` and `family.compression-level`: how published layers are compressed.
    pub compression: Compression,
    /// `[tags]`
    pub tags: Tags,
    /// `[mirrors]`: URL prefix → URL prefix, the longest match wins.
    pub mirrors: BTreeMap<String, String>,
    /// `[pins.NAME]`
    pub pins: BTreeMap<Name, Pin>,
    /// `[profiles.NAME]`; always has `default`.
    pub profiles: BTreeMap<Name, Profile>,
    /// `[images.NAME]` and `[variants.NAME]`, the latter with `published`. One name space.
    pub images: BTreeMap<Name, Image>,
    /// `[destinations.NAME]`
    pub destinations: BTreeMap<Name, Destination>,
}

/// `[tags]`: templates with `{variant}`, `{date}` and `{revision}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// The tag that moves with every release. Also the local tag; has no `{revision}`.
    pub moving: Template,
    /// The tag that is set once and never again.
    pub immutable: Template,
}

impl Tags {
    /// The placeholders of the tag templates.
    pub const PLACEHOLDERS: [&'static str; 3] = ["variant", "date", "revision"];
}

/// Something from an upstream, by version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The version (for VS Code the commit).
    pub version: String,
    /// `hold`: versions (of VS Code: its own, not commits) that `bump` may move it to; none: all.
    pub hold: Option<VersionRange>,
    /// Where it comes from.
    pub upstream: Upstream,
    /// The build argument that carries the version to every image that uses the pin: `GITHUB_RUNNER_VERSION`.
    pub build_arg: Option<String>,
    /// How a downloaded artifact lies in its image; none for pins that a package manager installs.
    pub place: Option<Place>,
    /// What upstreams call the architectures, where not `amd64` and `arm64`: key is [`Platform::arch`].
    pub arch: BTreeMap<String, String>,
    /// For how many days it may be used once there may be a newer one: see [`super::age`]. None: for ever.
    pub max_age_days: Option<u32>,
}

/// Where a pin's newest version, its digest and its bytes come from (shared vocabulary with `upstream`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// An asset of a GitHub release tagged `v{version}`. `asset` has `{version}` and `{arch}`.
    GithubRelease {
        /// `actions/runner`
        repository: String,
        /// `actions-runner-linux-{arch}-{version}.tar.gz`
        asset: Template,
    },
    /// A build of VS Code by commit. `build` has `{arch}`: `cli-alpine-{arch}`, `server-linux-{arch}-web`.
    Vscode {
        /// The update service's name of the build.
        build: Template,
    },
    /// An extension of the Open VSX registry: `redhat.ansible`.
    OpenVsx {
        /// `publisher.name`
        extension: String,
    },
    /// An npm package; its lock file lies in the build context.
    Npm {
        /// The package's name.
        package: String,
    },
    /// A PyPI package; its hashes lie in the build context.
    Pypi {
        /// The package's name.
        package: String,
    },
}

impl Upstream {
    /// Whether Gantry downloads it (a digest belongs into the lock), rather than a package manager in the build.
    pub fn is_artifact(&self) -> bool {
        !matches!(self, Self::Npm { .. } | Self::Pypi { .. })
    }
}

/// How an artifact lies in its image of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Absolute folder that the archive is unpacked in, or absolute path of the file.
    pub path: String,
    /// Whether the download is unpacked.
    pub unpack: Unpack,
    /// Leading folders dropped from the archive's names.
    pub strip: u32,
    /// Owner of everything, uid and gid.
    pub owner: (u32, u32),
}

/// How a download is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// Not at all: one file.
    File,
    /// A gzipped tar.
    TarGz,
}

/// `[profiles.NAME]`: the same family under other circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What images without a parent are built on.
    pub base: Base,
    /// Build arguments for every image, over those of the image.
    pub args: BTreeMap<String, String>,
    /// Whether vendors' hosts are asked. If not, artifacts come from the cache or a mirror, or are left out, visibly.
    pub vendors: bool,
    /// Appended to local tags: `-offline`.
    pub local_suffix: String,
    /// Pins that this profile does not use at all (`vscode-server` where code-server is the web IDE).
    pub without: BTreeSet<Name>,
}

/// What images without a parent are built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// An image of a registry; its digest per profile stands in the lock.
    Image(Reference),
    /// Debian, made by mmdebstrap from packages.
    Bootstrap {
        /// `trixie`
        suite: String,
        /// Packages beside the minimal ones.
        packages: Vec<String>,
    },
}

/// An image: `[images.NAME]` is for others to build on, `[variants.NAME]` is finished and published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: Name,
    /// The image it is built on; none: the profile's base. (Parentage; not the inheritance of settings.)
    pub parent: Option<Name>,
    /// The folder of its Dockerfile, relative to variants.toml, `/` between. None: it is its parent, finished otherwise.
    pub context: Option<String>,
    /// The stage to build; the last one if none.
    pub target: Option<String>,
    /// Its own build arguments.
    pub args: BTreeMap<String, String>,
    /// Pins whose artifact image or version its Dockerfile uses.
    pub pins: BTreeSet<Name>,
    /// What it is tried for once it is built; its parent's as well.
    pub smoke: Smoke,
    /// What makes it a variant.
    pub published: Option<Published>,
}

/// What a variant has beyond an image; inherited by `inherits`, table by table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// `description`: one line.
    pub description: String,
    /// Pins that become a layer each when the variant is finished, in this order.
    pub components: Vec<Name>,
    /// Further names under which every tag is published (`aws-coder` for `aws`).
    pub aliases: Vec<Name>,
    /// Where it goes.
    pub destinations: BTreeSet<Name>,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
}

/// `[destinations.NAME]`: a repository to publish to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Registry and repository.
    pub repository: Repository,
    /// Plain http is spoken even though it is not loopback.
    pub insecure: bool,
    /// What it is in Amazon ECR, where it is there.
    pub ecr: Option<Ecr>,
}

/// A repository of Amazon ECR, as `ecr init` makes it: `ecr = { … }` of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ecr {
    /// Whose it is: told by the host, or by `account` and `region` where a registry on this machine stands in for ECR.
    pub registry: EcrRegistry,
    /// `encryption`; none: as it is, or ECR's default (AES-256) for a new one.
    pub encryption: Option<Encryption>,
    /// `kms-key`: ARN, id or alias; none: the key that AWS manages.
    pub kms_key: Option<String>,
    /// `untagged-days`: manifests without a tag, which no index and no image holds, go after so many days.
    pub untagged_days: u32,
}

impl Ecr {
    /// With the settings of a file that gives none.
    pub fn new(registry: EcrRegistry) -> Self {
        Self { registry, encryption: None, kms_key: None, untagged_days: 30 }
    }
}

/// How ECR encrypts what lies in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// With a key that nobody sees.
    Aes256,
    /// With a key of AWS KMS.
    Kms,
    /// Twice, with keys of AWS KMS.
    KmsDsse,
}

/// What `variants.lock` holds: what the pins resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// Per pin and platform.
    pub artifacts: BTreeMap<(Name, Platform), LockedArtifact>,
    /// Per external base image reference.
    pub bases: BTreeMap<String, Digest>,
}

/// A download that is known to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedArtifact {
    /// The pin's version that this belongs to. An entry of another version is stale.
    pub version: String,
    /// Where the bytes come from.
    pub url: String,
    /// What they are.
    pub sha256: Digest,
    /// The day of the release, where the upstream says.
    pub released: Option<BuildDate>,
    /// A later day on which it was seen that there was no newer release.
    pub newest_on: Option<BuildDate>,
}

impl Lock {
    /// The entry of a pin at the version that the family names; none when it lacks or is stale.
    pub fn artifact(&self, family: &Family, pin: &Name, platform: Platform) -> Option<&LockedArtifact> {
        let version = &family.pins.get(pin)?.version;
        self.artifacts.get(&(pin.clone(), platform)).filter(|artifact| artifact.version == *version)
    }
}

impl Family {
    /// The variants, by name.
    pub fn variants(&self) -> impl Iterator<Item = (&Image, &Published)> {
        self.images.values().filter_map(|image| Some((image, image.published.as_ref()?)))
    }
}
