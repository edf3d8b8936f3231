//! "Did you mean": the name that was probably meant.

/// The candidate that `text` is most likely a misspelling of, if one is near enough: an edit for every three letters.
pub fn closest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let typed = text.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&typed, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (typed.len().max(candidate.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between the two; a different separator is none.
fn distance(typed: &str, candidate: &str) -> usize {
    let plain = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    strsim::damerau_levenshtein(&plain(typed), &plain(candidate))
}

/// `` `a`, `b` or `c` ``: at most eight of them, then how many there are.
pub fn one_of<'c>(names: impl IntoIterator<Item = &'c str>) -> String {
    let mut names = names.into_iter();
    let first: Vec<String> = names.by_ref().take(9).map(|name| format!("`{name}`")).collect();
    match first.as_slice() {
        [] => "nothing: there is none in this file".to_owned(),
        [one] => one.clone(),
        [most @ .., _] if first.len() == 9 => format!("{}, … ({} in all)", most.join(", "), first.len() + names.count()),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant() {
        let names = ["aws", "aws-web", "azure", "github-runner"];
        for (typed, meant) in [
            ("asw", Some("aws")),
            ("AWS", Some("aws")),
            ("aws_web", Some("aws-web")),
            ("awsweb", Some("aws-web")),
            ("github-runer", Some("github-runner")),
            ("gcp", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, names), meant, "{typed}");
        }
    }

    #[test]
    fn what_is_accepted_is_listed_but_not_without_end() {
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(one_of(["a"; 9]), "`a`, `a`, `a`, `a`, `a`, `a`, `a`, `a`, … (9 in all)");
    }
}
