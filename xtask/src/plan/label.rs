//! Labels: their names beside those of the OCI image specification, and those of a finished variant.

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::Request;
use crate::family::{Base, Image, Name, Profile, Published};

/// The variant's name.
pub const VARIANT: &str = "gantry.variant";
/// The name of the image in the family, on every image that Gantry makes.
pub const IMAGE: &str = "gantry.image";
/// The input digest, on every image that Gantry makes.
pub const INPUT: &str = "gantry.input-digest";
/// The profile.
pub const PROFILE: &str = "gantry.profile";
/// The platform: a listing of the engine does not tell it.
pub const PLATFORM: &str = "gantry.platform";
/// The family's name, on every image that Gantry makes (and so on every container that anybody starts from one).
pub const FAMILY: &str = "gantry.family";
/// The family's name, on every container that Gantry itself starts.
pub const CONTAINER: &str = "gantry.container";
/// Pins that were left out, separated by commas; absent when there are none.
pub const OMITTED: &str = "gantry.omitted";
/// `named` or `host`: which CA bundle the build was given; absent when none.
pub const CA_BUNDLE: &str = "gantry.ca-bundle";
/// The commit, with `-dirty` where the tree had changes (OCI image specification, annotations).
pub const REVISION: &str = "org.opencontainers.image.revision";
/// Prefix: one label for each pin, its value the version.
pub const PIN: &str = "gantry.pin.";
/// What devcontainer tools read from an image (containers.dev, image metadata).
pub const DEVCONTAINER: &str = "devcontainer.metadata";

/// The folder of the Dockerfile that puts one component on an image.
pub const COMPONENT_CONTEXT: &str = "images/component";
/// The folder of the Dockerfile that finishes a variant.
pub const FINISH_CONTEXT: &str = "images/finish";

/// The labels of a finished variant. (OCI image specification, annotations; design: labels.)
pub(super) fn of_variant(
    request: &Request<'_>,
    profile: &Profile,
    image: &Image,
    published: &Published,
    pins: &BTreeSet<Name>,
    omitted: &BTreeSet<Name>,
) -> BTreeMap<String, String> {
    let (family, facts) = (request.family, request.facts);
    let mut labels = published.labels.clone();
    let mut set = |key: &str, value: String| labels.insert(key.to_owned(), value);
    let oci = "org.opencontainers.image.";
    set(&format!("{oci}title"), format!("{} {}", family.title, image.name));
    set(&format!("{oci}description"), published.description.clone());
    set(&format!("{oci}source"), family.source.clone());
    set(&format!("{oci}created"), facts.build_date.rfc3339());
    let revision = facts.revision.as_ref();
    let commit = revision.map(|revision| format!("{}{}", revision.commit, if revision.dirty { "-dirty" } else { "" }));
    set(REVISION, commit.unwrap_or_default());
    set(&format!("{oci}version"), facts.build_date.to_string().replace('-', "."));
    if let Some(licenses) = &family.licenses {
        set(&format!("{oci}licenses"), licenses.clone());
    }
    if let Base::Image(reference) = &profile.base {
        let digest = reference.digest.or_else(|| request.lock.bases.get(&reference.to_string()).copied());
        let name = crate::oci::Reference { digest: None, ..reference.clone() };
        set(&format!("{oci}base.name"), name.to_string());
        set(&format!("{oci}base.digest"), digest.map(|digest| digest.to_string()).unwrap_or_default());
    }
    set(VARIANT, image.name.to_string());
    set(DEVCONTAINER, r#"[{"overrideCommand":false,"remoteUser":"ansible"}]"#.to_owned());
    for name in pins {
        if let Some(pin) = family.pins.get(name) {
            set(&format!("{}{name}", PIN), pin.version.clone());
        }
    }
    // Written also when empty: a published parent's label must not shine through.
    set(OMITTED, omitted.iter().map(Name::as_str).collect::<Vec<_>>().join(","));
    labels
}
