//! What the policies of a release forbid, in words.

use super::ledger::Remembered;
use crate::family::Name;
use crate::oci::Digest;

/// Something that a policy forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Components were left out of the image.
    #[error("`{variant}` lacks {components}, so it does not go to `{destination}`")]
    Omitted {
        /// The variant.
        variant: Name,
        /// As in the label `gantry.omitted`.
        components: String,
        /// The destination.
        destination: String,
    },
    /// The image was built with a CA bundle that variants.toml does not name.
    #[error("`{variant}` was built with this host's CA bundle, so it does not go to `{destination}`")]
    HostBundle {
        /// The variant.
        variant: Name,
        /// The destination.
        destination: String,
    },
    /// The tag would name a revision that the image was not built from.
    #[error("`{tag}` names a revision, and {}", if *.no_git { "there is no git" } else { "the tree has changes that are not committed" })]
    Revision {
        /// The tag.
        tag: String,
        /// Whether there is no revision at all.
        no_git: bool,
    },
    /// Two images want one tag.
    #[error("`{tag}` is wanted by `{first}` and by `{second}`")]
    Clash {
        /// Repository and tag.
        tag: String,
        /// A variant and platform.
        first: String,
        /// Another.
        second: String,
    },
    /// A tag is asked to be immutable and moving.
    #[error("`{tag}` is both an immutable tag and one that moves")]
    BothKinds {
        /// Repository and tag.
        tag: String,
    },
    /// The image is not the one that was tested.
    #[error("`{image}` is {found} now, {tested} was tested")]
    OtherImage {
        /// The local name.
        image: String,
        /// Its config digest.
        found: Digest,
        /// The config digest that was recorded.
        tested: Digest,
    },
    /// The image failed when it was tried last.
    #[error("`{image}` ({config}) failed smoke at {at}: {}", checks.join(", "))]
    Failed {
        /// The local name, or the manifest.
        image: String,
        /// Its config digest.
        config: Digest,
        /// When (RFC 3339).
        at: String,
        /// The checks that failed.
        checks: Vec<String>,
    },
    /// Whether the image failed cannot be told.
    #[error("whether `{image}` failed smoke cannot be told: {why}")]
    Unjudged {
        /// The local name, or the manifest.
        image: String,
        /// Why not.
        why: String,
    },
    /// An immutable tag is there, with something else.
    #[error("`{tag}` is immutable and is {found} already; this release is {wanted}; {}", ledger_says(remembered.as_ref()))]
    Taken {
        /// Repository and tag.
        tag: String,
        /// What it points to.
        found: Digest,
        /// What it should point to.
        wanted: Wanted,
        /// What the ledger has of the tag.
        remembered: Option<Remembered>,
    },
    /// Two destinations hold two images under one immutable tag.
    #[error("`{tag}` is immutable and is {found} already, `{other}` is {wanted}; {}", ledger_says(remembered.as_ref()))]
    Split {
        /// Repository and tag.
        tag: String,
        /// What it points to.
        found: Digest,
        /// The same release's tag elsewhere.
        other: String,
        /// What that one points to.
        wanted: Digest,
        /// What the ledger has of the tag.
        remembered: Option<Remembered>,
    },
    /// A tag is not the same image everywhere, so that it names none.
    #[error("`{reference}` is not one image: {found}")]
    Ambiguous {
        /// The tag.
        reference: String,
        /// What it is where.
        found: String,
    },
    /// The image is none of the family.
    #[error("`{image}` is no image of this family: {why}")]
    Foreign {
        /// What was asked for.
        image: String,
        /// Why not.
        why: String,
    },
    /// The tag is another variant's.
    #[error("`{tag}` is a tag of the variant `{owner}`, and the image is `{variant}`")]
    OtherVariant {
        /// The tag that was asked for.
        tag: String,
        /// Whose it is.
        owner: Name,
        /// What the image is.
        variant: Name,
    },
    /// A tag that has to move may not.
    #[error("`{tag}` has to move away from {found}, and its registry says that it is immutable")]
    Frozen {
        /// Repository and tag.
        tag: String,
        /// What it points to.
        found: Digest,
    },
    /// The tag is at an image of a later commit.
    #[error("`{tag}` is at a later commit ({}) than this release", revision.get(..7).unwrap_or(revision))]
    Behind {
        /// Repository and tag.
        tag: String,
        /// The commit.
        revision: String,
    },
    /// A child is built on another parent than the one that is published.
    #[error("`{variant}` is built on another `{parent}` than `{tag}` is")]
    Torn {
        /// The child.
        variant: Name,
        /// The parent, which is not part of the release.
        parent: Name,
        /// What is published of it.
        tag: String,
    },
    /// Somebody else moves the same tags at the same time.
    #[error("`{tag}` was moved to {found} by somebody else while this release was under way")]
    Overtaken {
        /// Repository and tag.
        tag: String,
        /// What it points to now; none where it is gone.
        found: String,
    },
}

/// What a release is known by before its manifest is: until its layers are compressed, it has no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The manifest.
    Manifest(Digest),
    /// The image, as the engine calls it.
    Image(Digest),
    /// What it would be built from.
    Input(Digest),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Manifest(digest) => digest.fmt(f),
            Self::Image(digest) => write!(f, "the image {digest}"),
            Self::Input(digest) => write!(f, "built of the input {digest}"),
        }
    }
}

fn ledger_says(remembered: Option<&Remembered>) -> String {
    match remembered {
        Some(remembered) => format!("the ledger says {remembered}"),
        None => "the ledger knows nothing of it".to_owned(),
    }
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Omitted { .. } => "build where every vendor or a mirror can be reached, or push to a loopback `--destination`",
            Self::HostBundle { .. } => "name the bundle as `ca-bundle` in variants.toml and build again",
            Self::Revision { .. } => "commit first, or `--allow-dirty`, which shows in the tag",
            Self::Clash { .. } | Self::BothKinds { .. } => "change `[tags]` or the aliases in variants.toml",
            Self::OtherImage { .. } => "run `cargo xtask smoke` on what is built now",
            Self::Failed { .. } => "mend it and build again; `cargo xtask smoke --again` tries it once more",
            Self::Unjudged { .. } => "make the file readable for this user, or remove it and run `cargo xtask smoke`",
            Self::Taken { .. } => "commit, so that the release has a tag of its own: an immutable tag is never moved",
            Self::Split { .. } => "commit, so that the release has a tag of its own; `cargo xtask verify` shows what is where",
            Self::Ambiguous { .. } => "say which one with `--from NAME`, or name the digest",
            Self::Foreign { .. } => "name an image that `cargo xtask push` has published",
            Self::OtherVariant { .. } => "name an image of that variant, or a tag of this one",
            Self::Frozen { tag, .. } => {
                return format!(
                    "let `{tag}` move (in ECR `cargo xtask ecr init` makes the exception), then run the same command again"
                );
            }
            Self::Behind { .. } => {
                "`cargo xtask promote` goes back to what was published; `--force` publishes this one all the same"
            }
            Self::Torn { variant, parent, .. } => {
                return format!(
                    "build it on what is published: `--variant {variant} --parent published`; or publish both, at a new commit if \
                     `{parent}` is published of this one: `--variant {parent},{variant}`"
                );
            }
            Self::Overtaken { .. } => "let the other publisher finish, then run the same command again",
        }
        .to_owned()
    }
}
