//! The variants: how big they are, what they are called, what they are.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::words::{bytes, count, digest, moment};
use crate::report::{Built, Image, Report};

pub(super) fn section(report: &Report) -> Markup {
    html! {
        (together(report))
        div.cards { @for image in &report.images { (card(report, image)) } }
    }
}

/// What the layers that images share come to.
fn together(report: &Report) -> Markup {
    let built: Vec<&Built> = report.images.iter().filter_map(|image| image.built.as_ref()).collect();
    let apart: u64 = built.iter().map(|built| built.bytes).sum();
    let once: u64 = report.layers.iter().map(|layer| layer.bytes).sum();
    if built.len() < 2 {
        return html! {};
    }
    let layers = count(report.layers.len() as u64, "layer", "layers");
    html! {
        p.lead {
            (built.len()) " images would be " (bytes(apart)) " apart. They share layers, and are "
            strong { (bytes(once)) } " together, in " (layers) "."
        }
    }
}

fn card(report: &Report, image: &Image) -> Markup {
    html! {
        article.card data-variant=(image.variant) {
            h3 { (image.variant) }
            @if !image.description.is_empty() { p.muted { (image.description) } }
            @match &image.built {
                Some(built) => (facts(built)),
                None => p.nothing { "Not built. " code { "cargo xtask build --variant " (image.variant) " --profile " (report.profile) } },
            }
            @if !image.omitted.is_empty() {
                p.warn { "Left out by this profile: " (image.omitted.join(", ")) }
            }
            @if !image.tags.is_empty() {
                p.tags { @for tag in &image.tags { code { (tag) } " " } }
            }
        }
    }
}

fn facts(built: &Built) -> Markup {
    let counts: BTreeMap<_, _> = built.groups.iter().filter_map(|group| Some((group.kind?, group.count))).collect();
    let packages: u64 = counts.values().sum();
    html! {
        p.figure data-bytes=(built.bytes) { (bytes(built.bytes)) }
        p.muted {
            @if let Some(packed) = built.packed { (bytes(packed)) " to download, " }
            (count(built.layers.len() as u64, "layer", "layers")) ", "
            (count(packages, "package", "packages"))
        }
        @match &built.smoke {
            Some(smoke) if smoke.passed => p.good { "Smoke-tested: all " (smoke.checks) " checks passed, " (moment(&smoke.at)) },
            Some(smoke) => p.bad { "Smoke-tested: it failed, " (moment(&smoke.at)) },
            None => p.muted { "Not smoke-tested on this machine" },
        }
        @if built.outdated {
            p.warn { "variants.toml, a Dockerfile or the entrypoint has changed since it was built." }
        }
        p { (digest(&built.config_digest)) }
    }
}
