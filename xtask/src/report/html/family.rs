//! The family as a tree: what stands on what, and what each step adds.

use maud::{Markup, html};

use super::nothing;
use super::words::bytes;
use crate::report::{Report, Step, StepKind};

pub(super) fn section(report: &Report) -> Markup {
    let roots: Vec<&Step> = report.steps.iter().filter(|step| is_node(step) && node_below(report, step).is_none()).collect();
    if roots.is_empty() {
        return nothing("The plan has no images.");
    }
    html! {
        p.lead { "Every image stands on the layers of the one that it hangs on. What finishes a published variant (its components, the entrypoint, labels) lies on top, so that a new one rebuilds nothing below." }
        div.scroll tabindex="0" role="region" aria-label="The family as a tree" {
            ul.tree { @for root in roots { (node(report, root)) } }
        }
    }
}

/// Bases and images; what finishes them is drawn as ends.
fn is_node(step: &Step) -> bool {
    matches!(step.kind, StepKind::Base | StepKind::Image)
}

fn step<'r>(report: &'r Report, id: &str) -> Option<&'r Step> {
    report.steps.iter().find(|step| step.id == id)
}

/// The node that a step stands on.
fn node_below<'r>(report: &'r Report, of: &Step) -> Option<&'r Step> {
    chain(report, of).last().and_then(|top| step(report, top.parent.as_deref()?))
}

/// A step and what finishes below it, down to what stands on a node.
fn chain<'r>(report: &'r Report, of: &'r Step) -> Vec<&'r Step> {
    let mut chain = vec![of];
    while let Some(below) = chain.last().and_then(|top| step(report, top.parent.as_deref()?)) {
        // A plan has no circle; a value that was made by hand might.
        if is_node(below) || chain.len() > report.steps.len() {
            break;
        }
        chain.push(below);
    }
    chain
}

fn stands_on(report: &Report, child: &Step, below: &Step) -> bool {
    node_below(report, child).is_some_and(|found| found.id == below.id)
}

fn node(report: &Report, at: &Step) -> Markup {
    let ends: Vec<&Step> =
        report.steps.iter().filter(|step| step.kind == StepKind::Finish && stands_on(report, step, at)).collect();
    let children: Vec<&Step> = report.steps.iter().filter(|step| is_node(step) && stands_on(report, step, at)).collect();
    html! {
        li {
            div.node data-step=(at.id) {
                strong { (at.id) }
                span.muted { (at.what) }
                @if let Some(adds) = at.adds {
                    span.adds { @if at.kind == StepKind::Image { "+ " } (bytes(adds)) }
                }
                @if at.there == Some(false) { span.muted { "not in the engine" } }
            }
            @if !(ends.is_empty() && children.is_empty()) {
                ul {
                    @for end in ends { (variant(report, end)) }
                    @for child in children { (node(report, child)) }
                }
            }
        }
    }
}

fn variant(report: &Report, finish: &Step) -> Markup {
    let name = finish.variant.as_deref().unwrap_or(&finish.id);
    let image = report.images.iter().find(|image| image.variant == name);
    let mut chips = chain(report, finish);
    chips.reverse();
    html! {
        li {
            div.node.end data-step=(finish.id) {
                strong { (name) }
                span.chips {
                    @for chip in chips {
                        span.chip {
                            @if chip.kind == StepKind::Finish { "entrypoint, labels" } @else { (chip.what) }
                            @if let Some(adds) = chip.adds { " " small { "+ " (bytes(adds)) } }
                        }
                    }
                }
                @if let Some(built) = image.and_then(|image| image.built.as_ref()) {
                    span.adds { "= " (bytes(built.bytes)) }
                }
            }
        }
    }
}
