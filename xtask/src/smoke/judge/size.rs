//! How large an image is, and how much it has grown.

use crate::byte_size::size as told;
use crate::family::Growth;
use crate::smoke::report::Verdict;

/// What the last release has, in bytes, compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedSize {
    /// Where it is: `ghcr.io/team/image:aws`.
    pub reference: String,
    /// The bytes of its layers.
    pub bytes: u64,
}

/// `bytes` of all layers, compressed; as many as are allowed.
pub fn size(bytes: Result<u64, &str>, max: Option<u64>) -> Verdict {
    match (bytes, max) {
        (Err(why), _) => Verdict::skipped(format!("not known: {why}")),
        (Ok(bytes), None) => Verdict::passed(format!("{} compressed; variants.toml sets no `smoke.max-size`", told(bytes))),
        (Ok(bytes), Some(max)) if bytes > max => Verdict::failed(format!(
            "{} compressed, {} more than the {} of `smoke.max-size`",
            told(bytes),
            told(bytes - max),
            told(max)
        ))
        .hint("cargo xtask report    shows what makes it big"),
        (Ok(bytes), Some(max)) => Verdict::passed(format!("{} compressed, of {}", told(bytes), told(max))),
    }
}

/// `bytes` now, and what is published; nothing where nothing is.
pub fn growth(bytes: Result<u64, &str>, published: Result<Option<&PublishedSize>, &str>, max: Option<Growth>) -> Verdict {
    let (bytes, published) = match (bytes, published) {
        (Err(why), _) => return Verdict::skipped(format!("the size is not known: {why}")),
        (_, Err(why)) => return Verdict::skipped(why),
        (_, Ok(None)) => return Verdict::skipped("nothing is published yet"),
        (Ok(bytes), Ok(Some(published))) => (bytes, published),
    };
    let difference = match bytes.checked_sub(published.bytes) {
        Some(more) => format!("{} more", told(more)),
        None => format!("{} less", told(published.bytes - bytes)),
    };
    let difference = format!("{difference} than the {} of `{}`", told(published.bytes), published.reference);
    match max {
        Some(max) if bytes > max.allowed(published.bytes) => {
            Verdict::failed(format!("{difference}, and `smoke.max-growth` is {max}"))
                .hint(format!("cargo xtask diff {} IMAGE    shows what was added", published.reference))
        }
        _ => Verdict::passed(difference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Outcome::{self, Failed, Passed, Skipped};

    fn same(verdict: &Verdict, outcome: Outcome, message: &str) {
        assert_eq!((verdict.outcome, verdict.message.as_str()), (outcome, message));
    }

    #[test]
    fn sizes() {
        same(&size(Ok(1_250_000), Some(1_250_000)), Passed, "1.25 MB compressed, of 1.25 MB");
        same(
            &size(Ok(2_500_000), Some(1_000_000)),
            Failed,
            "2.50 MB compressed, 1.50 MB more than the 1.00 MB of `smoke.max-size`",
        );
        same(&size(Ok(2_500_000), None), Passed, "2.50 MB compressed; variants.toml sets no `smoke.max-size`");
        same(&size(Err("x"), Some(1)), Skipped, "not known: x");
    }

    #[test]
    fn growths() {
        let published = PublishedSize { reference: "r:aws".to_owned(), bytes: 100_000_000 };
        let now = |bytes, max| growth(Ok(bytes), Ok(Some(&published)), max);
        let ten = Some(Growth::Percent(10));
        same(&now(110_000_000, ten), Passed, "10.0 MB more than the 100 MB of `r:aws`");
        same(&now(110_000_001, ten), Failed, "10.0 MB more than the 100 MB of `r:aws`, and `smoke.max-growth` is 10 %");
        same(&now(90_000_000, ten), Passed, "10.0 MB less than the 100 MB of `r:aws`");
        same(&now(900_000_000, None), Passed, "800 MB more than the 100 MB of `r:aws`");
        same(&growth(Ok(1), Ok(None), ten), Skipped, "nothing is published yet");
        same(&growth(Ok(1), Err("no answer"), ten), Skipped, "no answer");
    }
}
