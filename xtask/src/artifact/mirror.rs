//! Mirrors: other places for what a vendor serves, by URL prefix.

use std::collections::BTreeMap;

/// The places to ask for `url`, in order: the mirror with the longest prefix of it, then, if `vendors`, the URL itself.
/// A prefix ends where a part of the path does: `https://a.org/x` does not stand for `https://a.org/xy`.
pub fn mirrored(mirrors: &BTreeMap<String, String>, url: &str, vendors: bool) -> Vec<String> {
    let mirror = mirrors
        .iter()
        .filter_map(|(prefix, place)| {
            let prefix = prefix.trim_end_matches('/');
            let rest = url.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))?;
            Some((prefix.len(), format!("{}{rest}", place.trim_end_matches('/'))))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, place)| place);
    let vendor = vendors.then(|| url.to_owned()).filter(|url| mirror.as_ref() != Some(url));
    mirror.into_iter().chain(vendor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_vendors_come_last() {
        let mirrors = BTreeMap::from(
            [
                ("https://github.com", "http://mirror/gh"),
                ("https://github.com/actions/", "http://mirror/actions/"),
                ("https://same.org", "https://same.org"),
            ]
            .map(|(from, to)| (from.to_owned(), to.to_owned())),
        );
        for (url, vendors, expected) in [
            ("https://github.com/cli/x", false, vec!["http://mirror/gh/cli/x"]),
            ("https://github.com/actions/x?y", true, vec!["http://mirror/actions/x?y", "https://github.com/actions/x?y"]),
            ("https://github.com", false, vec!["http://mirror/gh"]),
            ("https://github.company.com/x", false, vec![]),
            ("https://github.com.evil.org/x", true, vec!["https://github.com.evil.org/x"]),
            ("https://same.org/x", true, vec!["https://same.org/x"]),
        ] {
            assert_eq!(mirrored(&mirrors, url, vendors), expected, "{url}");
        }
    }
}
