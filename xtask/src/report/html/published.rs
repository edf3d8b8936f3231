//! What the destinations hold: as they say themselves, and as this machine remembers it.

use maud::{Markup, html};

use super::nothing;
use super::words::{bytes, digest, moment, ticked};
use crate::report::{Asked, Destination, PublishedTag, Report};

pub(super) fn section(report: &Report) -> Markup {
    if report.destinations.is_empty() {
        return nothing("variants.toml names no destination for these variants.");
    }
    html! { @for destination in &report.destinations { (one(destination)) } }
}

fn one(destination: &Destination) -> Markup {
    // That it has no such tag, only the destination can say.
    let is_told = |tag: &&PublishedTag| destination.asked == Asked::Answered || tag.remembered.is_some();
    let tags: Vec<&PublishedTag> = destination.tags.iter().filter(is_told).collect();
    html! {
        article.destination data-destination=(destination.name) {
            h3 { (destination.name) " " small { code { (destination.repository) } } }
            @match &destination.asked {
                Asked::Answered => {},
                Asked::Failed { why } => p.warn { "It could not be asked: " (ticked(why)) },
                Asked::NotAsked => p.muted { "It was not asked (" code { "--no-registries" } ")." },
            }
            @if tags.is_empty() {
                (nothing("Nothing is known to be published there."))
            } @else {
                div.scroll tabindex="0" role="region" aria-label={ "Tags in " (destination.repository) } {
                    table {
                        caption { "Tags" }
                        thead { tr { th scope="col" { "Tag" } th scope="col" { "Variant" } th scope="col" { "Digest" } th scope="col" { "This machine remembers" } } }
                        tbody { @for tag in tags { (row(tag, &destination.asked)) } }
                    }
                }
            }
        }
    }
}

fn row(tag: &PublishedTag, asked: &Asked) -> Markup {
    html! {
        tr data-tag=(tag.tag) {
            th scope="row" { code { (tag.tag) } @if tag.moving { " " small.muted { "moves" } } }
            td { (tag.variant) }
            td {
                @match (&tag.digest, asked) {
                    (Some(found), _) => {
                        (digest(found))
                        @if let Some(says) = &tag.says {
                            br;
                            small.muted {
                                "version " (says.version)
                                @if let Some(revision) = &says.revision { ", commit " code { (revision.get(..12).unwrap_or(revision)) } }
                                ", " (bytes(says.packed)) " to download"
                            }
                        }
                    },
                    (None, Asked::Answered) => span.muted { "no such tag" },
                    (None, _) => span.muted { "unknown" },
                }
            }
            td {
                @match &tag.remembered {
                    Some((known, at)) if Some(known) == tag.digest.as_ref() => { "the same, since " (moment(at)) },
                    Some((known, at)) => { (digest(known)) " of " (moment(at)) },
                    None => span.muted { "–" },
                }
            }
        }
    }
}
