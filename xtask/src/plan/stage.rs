//! Stage tags: how an image is handed to its children.
//!
//! BuildKit refuses `FROM <image id>` and may ask a registry for a plain local name, so every image gets a tag under
//! a host that cannot exist (RFC 2606 reserves `.invalid`).

use crate::oci::Digest;

/// What every stage tag begins with.
pub const STAGE_PREFIX: &str = "gantry.invalid/stage/";

/// `gantry.invalid/stage/aws:0123456789abcdef`
pub fn stage_reference(name: &str, input: &Digest) -> String {
    format!("{STAGE_PREFIX}{name}:{}", input.short(16))
}

/// The `name` of a stage tag; none for any other tag.
pub fn stage_name(tag: &str) -> Option<&str> {
    tag.strip_prefix(STAGE_PREFIX)?.rsplit_once(':').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_tag_is_a_reference_and_names_its_image() {
        let tag = stage_reference("aws.github-runner", &Digest::of(""));
        assert_eq!(tag, "gantry.invalid/stage/aws.github-runner:e3b0c44298fc1c14");
        assert!(tag.parse::<crate::oci::Reference>().is_ok());
        assert_eq!(stage_name(&tag), Some("aws.github-runner"));
        assert_eq!(stage_name("ansible-epic:aws"), None);
    }
}
