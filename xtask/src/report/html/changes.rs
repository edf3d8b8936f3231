//! What a release of the images that are here would change.

use maud::{Markup, html};

use super::nothing;
use super::words::{bytes, count, digest, kind, ticked};
use crate::diff::{Difference, Installed, PackageChange};
use crate::report::{Change, ChangeFound, Report};

/// Lines of a table; the command `diff` tells them all.
const ROWS: usize = 150;

pub(super) fn section(report: &Report) -> Markup {
    if report.differences.is_empty() {
        return nothing("Nothing that is published is known, so there is nothing to compare with.");
    }
    html! { @for change in &report.differences { (one(change)) } }
}

fn one(change: &Change) -> Markup {
    html! {
        article.change data-variant=(change.variant) {
            h3 { (change.variant) " " small { "since " code { (change.from) } } }
            @match &change.found {
                ChangeFound::Same => p { "What is here is what is published." },
                ChangeFound::NotCompared { why } => p.muted { "Not compared: " (ticked(why)) },
                ChangeFound::Different { difference } => (differs(&change.variant, difference)),
            }
            @if let Some(published) = &change.digest { p { (digest(published)) } }
        }
    }
}

fn differs(variant: &str, difference: &Difference) -> Markup {
    let Difference { sizes, layers, files, packages, configuration, .. } = difference;
    let new: u64 = layers.only_after.iter().map(|layer| layer.size.content).sum();
    html! {
        p {
            (bytes(sizes.before.content)) " becomes " strong { (bytes(sizes.after.content)) } ". "
            (count(layers.shared.len() as u64, "layer is", "layers are")) " the same, "
            (layers.only_after.len()) " new (" (bytes(new)) "). "
            (files.total.added.number) " files come, " (files.total.removed.number) " go, " (files.total.changed.number) " change. "
            @if packages.is_empty() { "No package differs." } @else { (count(packages.len() as u64, "package differs.", "packages differ.")) }
        }
        @if !packages.is_empty() {
            details open[packages.len() <= 25] {
                summary { "Packages" }
                div.scroll tabindex="0" role="region" aria-label={ "Packages of " (variant) " that differ" } { (table(packages)) }
            }
        }
        @if !configuration.is_empty() {
            details {
                summary { "Settings" }
                div.scroll tabindex="0" role="region" aria-label={ "Settings of " (variant) " that differ" } {
                    table {
                        caption { "Settings that differ" }
                        thead { tr { th scope="col" { "Setting" } th scope="col" { "Published" } th scope="col" { "Here" } } }
                        tbody {
                            @for setting in configuration {
                                tr {
                                    th scope="row" { (setting.kind.as_str()) @if let Some(name) = &setting.name { " " code { (name) } } }
                                    td { (value(setting.before.as_deref())) }
                                    td { (value(setting.after.as_deref())) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn table(packages: &[PackageChange]) -> Markup {
    let version = |of: Option<&Installed>| of.map_or("–", |installed| installed.version.as_str()).to_owned();
    html! {
        table {
            caption { "Packages that differ" }
            thead { tr { th scope="col" { "Package" } th scope="col" { "What" } th scope="col" { "Published" } th scope="col" { "Here" } } }
            tbody {
                @for package in packages.iter().take(ROWS) {
                    tr {
                        th scope="row" { i class={ "swatch " (kind(Some(package.kind)).1) } title=(kind(Some(package.kind)).0) {} (package.name) }
                        td { (package.change.as_str()) }
                        td { (version(package.before.as_ref())) }
                        td { (version(package.after.as_ref())) }
                    }
                }
            }
        }
        @if packages.len() > ROWS { p.muted { "and " (packages.len() - ROWS) " more: " code { "cargo xtask diff" } } }
    }
}

fn value(value: Option<&str>) -> Markup {
    html! { @match value { Some(value) => code { (value) }, None => span.muted { "–" } } }
}
