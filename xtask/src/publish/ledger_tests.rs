//! What is remembered, and what is not written again.

use super::*;

fn tag(reference: &str, digest: &str, state: State) -> TagLine {
    TagLine {
        variant: "aws".parse().expect("a name"),
        platform: Some(Platform::LinuxAmd64),
        destination: "ghcr".to_owned(),
        reference: reference.to_owned(),
        kind: TagKind::Moving,
        digest: Digest::of(digest),
        state,
    }
}

fn lines(ledger: &Ledger) -> usize {
    fs::read_to_string(ledger.path()).expect("the ledger").lines().count()
}

#[test]
fn the_last_line_of_a_tag_counts_and_what_is_known_is_not_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::open(folder.path(), "epic-1").expect("opened");
    for (line, written) in [
        (tag("r:aws", "a", State::Pending), 1),
        (tag("r:aws", "a", State::Pending), 1),
        (tag("r:aws", "a", State::Failed), 2),
        (tag("r:aws", "a", State::Pushed), 3),
        (tag("r:aws", "a", State::AlreadyThere), 3),
        (tag("r:aws", "a", State::Pending), 3),
        (tag("r:aws", "a", State::Pushed), 4),
        (tag("r:aws", "b", State::Pending), 5),
        (tag("r:x", "a", State::AlreadyThere), 6),
    ] {
        ledger.tag(line.clone()).expect("written");
        assert_eq!(lines(&ledger), written, "{line:?}");
    }
    let again = Ledger::open(folder.path(), "epic-1").expect("opened again");
    assert_eq!(again.view(), ledger.view());
    let remembered = &again.view().tags["r:aws"];
    assert_eq!((remembered.line.digest, remembered.line.state), (Digest::of("b"), State::Pending));
    let said = remembered.to_string();
    assert!(said.starts_with(&format!("it was to be set to {} at 20", Digest::of("b"))) && said.ends_with('Z'), "{said}");
}

#[test]
fn attachments_and_kinds_that_are_not_known_yet() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::open(folder.path(), "epic-1").expect("opened");
    let line = |digest: &str, state| AttachmentLine {
        variant: "aws".parse().expect("a name"),
        platform: Platform::LinuxAmd64,
        destination: "ghcr".to_owned(),
        reference: "r@sha256:1".to_owned(),
        artifact_type: "application/x".to_owned(),
        digest: Digest::of(digest),
        state,
    };
    for (line, written) in [
        (line("a", State::Pushed), 1),
        (line("a", State::AlreadyThere), 1),
        (line("b", State::AlreadyThere), 2),
        (line("a", State::Pushed), 3),
    ] {
        ledger.attachment(line).expect("written");
        assert_eq!(lines(&ledger), written);
    }
    let text = fs::read_to_string(ledger.path()).expect("the ledger");
    assert!(text.contains(r#""attachment":{"variant":"aws""#), "{text}");
    // What a later version writes says nothing to this one, and hides nothing.
    fs::write(ledger.path(), text.replacen("\"attachment\"", "\"something\"", 1)).expect("written");
    let again = Ledger::open(folder.path(), "epic-1").expect("opened again");
    assert_eq!(again.view(), ledger.view());
}

#[test]
fn a_torn_line_says_nothing_and_hides_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::open(folder.path(), "epic-1").expect("opened");
    ledger.tag(tag("r:aws", "a", State::Pushed)).expect("written");
    ledger.tag(tag("r:azure", "a", State::Pushed)).expect("written");
    let whole = fs::read(ledger.path()).expect("the ledger");
    for cut in 0..=whole.len() {
        fs::write(ledger.path(), &whole[..cut]).expect("torn");
        let mut torn = Ledger::open(folder.path(), "epic-1").expect("a torn ledger can be read");
        assert!(torn.view().tags.len() <= 2);
        torn.tag(tag("r:new", "b", State::Pending)).expect("written");
        let again = Ledger::open(folder.path(), "epic-1").expect("opened again");
        assert_eq!(again.view(), torn.view(), "{cut}");
        assert!(again.view().tags.contains_key("r:new"), "{cut}");
    }
}

#[test]
fn all_releases_together() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(Ledger::newest(&folder.path().join("none")).expect("nothing"), View::default());
    for (release, digest) in [("epic-2", "b"), ("epic-1", "a")] {
        let mut ledger = Ledger::open(folder.path(), release).expect("opened");
        ledger.tag(tag("r:aws", digest, State::Pushed)).expect("written");
        ledger.tag(tag(&format!("r:{release}"), digest, State::Pushed)).expect("written");
    }
    let view = Ledger::newest(folder.path()).expect("read");
    assert_eq!(view.tags.keys().collect::<Vec<_>>(), ["r:aws", "r:epic-1", "r:epic-2"]);
    assert_eq!(view.pushed().count(), 3);
}
