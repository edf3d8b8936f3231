//! `bump build-date`: what Debian has newer is asked in a container of what is built.

use std::future::ready;

use xtask::bump::Place;
use xtask::engine::{Endpoint, Engine};
use xtask::family::{self, BuildDate, SourceText};
use xtask::relock::{self, Ground};
use xtask::smoke::Room;

use crate::broken::Broken;

/// A family of one variant, whose image is `NAME:updates`.
const FAMILY: &str = r#"schema = 1
[family]
name = "NAME"
title = "Updates"
source = "https://example.org/updates"
platforms = ["linux/amd64"]
build-date = "2020-01-01"
[tags]
moving = "{variant}"
immutable = "{variant}-{date}-{revision}"
[profiles.default]
base = { image = "docker.io/library/debian:trixie-slim" }
[variants.updates]
description = "updates"
context = "images/updates"
destinations = ["near"]
[destinations.near]
repository = "127.0.0.1:5000/updates"
"#;

#[tokio::test]
async fn a_date_moves_for_a_package_that_is_old() {
    // dpkg is told that a package is older than it is.
    let old = "RUN sed -i '/^Package: tzdata$/,/^$/s/^Version: .*/Version: 2000a-1/' /var/lib/dpkg/status";
    let image = Broken::new("updates", "aws", old);
    let name = image.tag.split(':').next().expect("a name");
    let source = SourceText { name: String::new(), text: FAMILY.replace("NAME", name) };
    let family = family::read(&source, &|_| true).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let today: BuildDate = "2020-02-01".parse().expect("a date");
    let endpoint = Endpoint::resolve(&|name| std::env::var(name).ok(), std::path::Path::new("/nowhere")).expect("an endpoint");
    let room = Room::new(Engine::connect(&endpoint).await.expect("an engine"), family.name.clone(), false).expect("a room");

    let found = relock::debian(Ground { family: &family, today: &today }, None, || ready(Ok(&room))).await;
    room.clear().await.expect("cleared");
    let found = found.expect("an answer").expect("an image");
    assert_eq!((found.from.id.as_str(), found.to.id.as_str()), ("2020-01-01", "2020-02-01"));
    assert_eq!(found.change.values.get(&Place::BuildDate).map(String::as_str), Some("2020-02-01"));
    let moved = found.details.iter().find(|moved| moved.name == "tzdata").expect("tzdata");
    assert_eq!(moved.from.as_deref(), Some("2000a-1"));
    assert!(moved.to.as_deref().is_some_and(|to| to > "2020"), "{moved:?}");
    // Those for security come first.
    assert!(found.details.is_sorted_by_key(|moved| !moved.security), "{:?}", found.details);
}
