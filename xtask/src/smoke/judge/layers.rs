//! What must be in no layer.

use std::collections::BTreeSet;

use super::count;
use crate::contents::Finding;
use crate::smoke::report::Verdict;

/// How many findings the message itself names.
const NAMED: usize = 3;

/// What the findings of all layers come to: every one of them is a failure.
pub fn layers<'a>(findings: impl Iterator<Item = &'a Finding>, layers: usize) -> Verdict {
    let found: BTreeSet<String> = findings.map(|finding| format!("{}: `/{}`", finding.what, finding.path)).collect();
    if found.is_empty() {
        return Verdict::passed(format!("nothing in {} that should not be there", count(layers, "layer")));
    }
    let named: Vec<&str> = found.iter().take(NAMED).map(String::as_str).collect();
    let more = if found.len() > NAMED { format!(", and {} more", found.len() - NAMED) } else { String::new() };
    Verdict::failed(format!("{}{more}", named.join(", ")))
        .hint("what a later instruction removes is still in its layer: never write it, or remove it in the same RUN")
        .detail(found.into_iter().collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Outcome;

    #[test]
    fn every_finding_is_a_failure() {
        let finding = |path: &str| Finding { path: path.to_owned(), what: "host key".to_owned() };
        assert_eq!(layers([].iter(), 9).message, "nothing in 9 layers that should not be there");
        let found: Vec<Finding> = ["e", "a", "b", "c", "a"].map(finding).into();
        let verdict = layers(found.iter(), 2);
        assert_eq!(verdict.outcome, Outcome::Failed);
        assert_eq!(verdict.message, "host key: `/a`, host key: `/b`, host key: `/c`, and 1 more");
    }
}
