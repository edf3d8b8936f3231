//! How figures and names are written on the page. What a program may want to read has its exact value beside the words.

use maud::{Markup, html};

use crate::byte_size::size;
use crate::contents::PackageKind;
use crate::oci::Digest;
use crate::report::Group;

/// Bytes, with the exact number beside the words.
pub(super) fn bytes(bytes: u64) -> Markup {
    html! { data value=(bytes) title={ (bytes) " bytes" } { (size(bytes)) } }
}

/// A time that something took: `0.4 s`, `34 s`, `2 min 5 s`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 60, whole % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// A moment (RFC 3339, UTC), as people read it.
pub(super) fn moment(text: &str) -> Markup {
    let words = match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text.to_owned(),
    };
    html! { time datetime=(text) { (words) } }
}

/// A digest: as much of it as fits, all of it to be copied.
pub(super) fn digest(digest: &Digest) -> Markup {
    html! { code.digest title="digest" { (digest) } }
}

/// A sentence in which names stand between backticks.
pub(super) fn ticked(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// `1 layer`, `7 layers`.
pub(super) fn count(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A kind of package, as a heading, and its class in the style sheet.
pub(super) fn kind(kind: Option<PackageKind>) -> (&'static str, &'static str) {
    match kind {
        Some(PackageKind::Debian) => ("Debian packages", "k-debian"),
        Some(PackageKind::Python) => ("Python packages", "k-python"),
        Some(PackageKind::Npm) => ("npm packages", "k-npm"),
        Some(PackageKind::Collection) => ("Ansible collections", "k-collection"),
        Some(PackageKind::Pin) => ("pinned downloads", "k-pin"),
        Some(PackageKind::Crate) => ("Rust crates", "k-crate"),
        None => ("other files", "k-other"),
    }
}

/// `1 pinned download`, `9 Ansible collections`, `other files`.
pub(super) fn of_kind(group: &Group) -> String {
    let (many, _) = kind(group.kind);
    match (group.kind, group.count) {
        (None, _) => many.to_owned(),
        (Some(_), 1) => format!("1 {}", many.trim_end_matches('s')),
        (Some(_), count) => format!("{count} {many}"),
    }
}

/// A share in per cent, as a style sheet reads it.
pub(super) fn percent(part: f64, whole: f64) -> String {
    let share = if whole > 0.0 { part / whole * 100.0 } else { 0.0 };
    format!("{share:.3}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_sentences_are_code() {
        assert_eq!(ticked("the `<a>` of `b`").into_string(), "the <code>&lt;a&gt;</code> of <code>b</code>");
    }

    #[test]
    fn figures_are_short() {
        for (seconds, words) in [(0.04, "0.0 s"), (9.96, "10 s"), (60.0, "1 min"), (125.2, "2 min 5 s")] {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
        assert_eq!(
            moment("2026-11-20T10:05:06Z").into_string(),
            r#"<time datetime="2026-11-20T10:05:06Z">2026-11-20 10:05 UTC</time>"#
        );
        assert_eq!(moment("é").into_string(), r#"<time datetime="é">é</time>"#);
    }
}
