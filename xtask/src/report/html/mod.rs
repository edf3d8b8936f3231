//! The page: one file without anything from outside, that says everything as text. It needs no script; what looks like a
//! drawing is made of elements with text in them, so that it can be selected, searched and read aloud.

mod changes;
mod family;
mod layers;
mod packages;
mod published;
mod summary;
mod timeline;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;

/// Nothing is fetched, run or sent, whatever the page says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The page of a report.
pub fn page(report: &Report) -> String {
    let sections = [
        ("summary", "Images", summary::section(report)),
        ("family", "The family", family::section(report)),
        ("layers", "Layers", layers::section(report)),
        ("packages", "What makes it big", packages::section(report)),
        ("build", "The last build", timeline::section(report)),
        ("published", "Published", published::section(report)),
        ("changes", "Since the last release", changes::section(report)),
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (report.family) " · Gantry report" }
                style { (PreEscaped(include_str!("style.css"))) (layers::highlights(report)) }
            }
            body {
                a.skip href="#summary" { "Skip to the images" }
                (head(report))
                nav aria-label="Sections" {
                    @for (id, title, _) in &sections { a href={ "#" (id) } { (title) } }
                }
                main {
                    @for (id, title, section) in &sections {
                        section id=(id) aria-labelledby={ (id) "-title" } {
                            h2 id={ (id) "-title" } { (title) }
                            (section)
                        }
                    }
                }
                footer {
                    p { "Made " (words::moment(&report.made)) " by " code { "cargo xtask report" } ". The same as data: " code { "cargo xtask report --format json" } "." }
                }
            }
        }
    };
    page.into_string()
}

fn head(report: &Report) -> Markup {
    let revision = report.revision.as_deref().map(|revision| revision.get(..12).unwrap_or(revision));
    html! {
        header {
            h1 { (report.title) }
            dl.facts {
                div { dt { "Family" } dd { (report.family) } }
                div { dt { "Profile" } dd { (report.profile) } }
                div { dt { "Platform" } dd { (report.platform) } }
                div { dt { "Packages of" } dd { (report.build_date) } }
                div {
                    dt { "Commit" }
                    dd {
                        @match revision {
                            Some(revision) => { code { (revision) } @if report.dirty { ", with changes" } },
                            None => { "not in git" },
                        }
                    }
                }
            }
            @if !report.notes.is_empty() {
                ul.notes aria-label="Notes" { @for note in &report.notes { li { (words::ticked(note)) } } }
            }
        }
    }
}

/// What stands where there is nothing to show.
fn nothing(why: &str) -> Markup {
    html! { p.nothing { (why) } }
}

#[cfg(test)]
mod tests;
