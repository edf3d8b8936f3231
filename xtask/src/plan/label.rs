//! The labels that Gantry writes beside those of the OCI image specification.

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
/// The family's name, on every image and container that Gantry makes.
pub const FAMILY: &str = "gantry.family";
/// Pins that were left out, separated by commas; absent when there are none.
pub const OMITTED: &str = "gantry.omitted";
/// `named` or `host`: which CA bundle the build was given; absent when none.
pub const CA_BUNDLE: &str = "gantry.ca-bundle";
/// Prefix: one label for each pin, its value the version.
pub const PIN: &str = "gantry.pin.";
/// What devcontainer tools read from an image (containers.dev, image metadata).
pub const DEVCONTAINER: &str = "devcontainer.metadata";

/// The folder of the Dockerfile that puts one component on an image.
pub const COMPONENT_CONTEXT: &str = "images/component";
/// The folder of the Dockerfile that finishes a variant.
pub const FINISH_CONTEXT: &str = "images/finish";
