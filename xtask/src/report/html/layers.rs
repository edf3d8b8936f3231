//! The layers of each image, to one scale. A layer has the same letter and colour wherever it lies; one that only one image
//! has is hatched.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::nothing;
use super::words::{bytes, count, percent};
use crate::byte_size::size;
use crate::report::{Image, Layer, Report};

/// Colours in the style sheet.
const COLOURS: usize = 8;

pub(super) fn section(report: &Report) -> Markup {
    let built: Vec<(&Image, u64, Vec<&Layer>)> = report.images.iter().filter_map(|image| placed(report, image)).collect();
    let Some(largest) = built.iter().map(|(_, total, _)| *total).max() else {
        return nothing("No image is built here, so there are no layers to show.");
    };
    html! {
        p.lead {
            "All bars are to one scale. The same letter is the same layer: it is stored and sent once."
            @if let Some(thin) = too_thin(report, largest) { " " (thin) }
        }
        p.keys {
            span { i.own.c0 {} "in this image alone" }
            span { i.c0 {} "shared" }
            span { i.c0 {} i.alt.c0 {} "one colour: made by one step" }
        }
        @for (image, total, layers) in &built {
            div.image data-variant=(image.variant) {
                h3 { (image.variant) " " small { (bytes(*total)) } }
                ol.bar aria-label={ "Layers of " (image.variant) ", the lowest first" } style={ "width:" (percent(*total as f64, largest as f64)) } {
                    @for layer in layers { (segment(report, layer, *total)) }
                }
            }
        }
        (legend(report))
    }
}

/// The layers that no eye finds in a bar.
fn too_thin(report: &Report, largest: u64) -> Option<String> {
    let thin = report.layers.iter().filter(|layer| layer.bytes.saturating_mul(500) < largest);
    let letters: Vec<&str> = thin.map(|layer| layer.letter.as_str()).collect();
    match letters.as_slice() {
        [] => None,
        [only] => Some(format!("{only} is too thin to be seen.")),
        [some @ .., last] => Some(format!("{} and {last} are too thin to be seen.", some.join(", "))),
    }
}

fn placed<'r>(report: &'r Report, image: &'r Image) -> Option<(&'r Image, u64, Vec<&'r Layer>)> {
    let built = image.built.as_ref()?;
    let layers = built.layers.iter().filter_map(|letter| report.layers.iter().find(|layer| layer.letter == *letter));
    Some((image, built.bytes, layers.collect()))
}

/// Layers of one step have one hue, each other one a little darker.
fn look(report: &Report, layer: &Layer) -> String {
    let key = |layer: &Layer| layer.step.clone().unwrap_or_else(|| layer.images.join(" "));
    let mut keys: Vec<String> = Vec::new();
    let mut among = 0;
    for other in &report.layers {
        let of = key(other);
        if !keys.contains(&of) {
            keys.push(of.clone());
        }
        if other.letter == layer.letter {
            break;
        }
        among += usize::from(of == key(layer));
    }
    let hue = keys.iter().position(|of| *of == key(layer)).unwrap_or_default() % COLOURS;
    let own = if layer.images.len() == 1 && report.images.len() > 1 { " own" } else { "" };
    let alternate = if among % 2 == 1 { " alt" } else { "" };
    format!("c{hue}{alternate}{own}")
}

fn segment(report: &Report, layer: &Layer, total: u64) -> Markup {
    let title = format!("{}: {}, {}\n{}", layer.letter, size(layer.bytes), among(layer, report), layer.instruction);
    html! {
        li class={ "layer " (look(report, layer)) " l-" (layer.letter) } title=(title) data-layer=(layer.letter) data-bytes=(layer.bytes)
            style={ "width:" (percent(layer.bytes as f64, total as f64)) } {
            b { (layer.letter) }
            span.vh { " " (size(layer.bytes)) }
        }
    }
}

/// `in all 4 images`, `only in aws`
fn among(layer: &Layer, report: &Report) -> String {
    let built = report.images.iter().filter(|image| image.built.is_some()).count();
    match layer.images.as_slice() {
        [only] if built > 1 => format!("only in {only}"),
        all if all.len() == built && built > 2 => format!("in all {built}"),
        some => format!("in {}", some.join(", ")),
    }
}

fn legend(report: &Report) -> Markup {
    let packed = report.layers.iter().any(|layer| layer.packed.is_some());
    html! {
        div.scroll tabindex="0" role="region" aria-label="All layers" {
            table.legend {
                caption { (count(report.layers.len() as u64, "layer", "layers")) ", from the bottom up" }
                thead { tr {
                    th scope="col" { "Layer" } th scope="col" { "Made by" }
                    th.num scope="col" { "Size" } @if packed { th.num scope="col" { "To download" } }
                    th scope="col" { "In" }
                } }
                tbody {
                    @for layer in &report.layers {
                        tr id={ "layer-" (layer.letter) } class={ "l-" (layer.letter) } data-layer=(layer.letter) data-bytes=(layer.bytes) {
                            th scope="row" { span class={ "swatch " (look(report, layer)) } { (layer.letter) } }
                            td.made {
                                @if let Some(step) = &layer.step { strong { (step) } " " }
                                details {
                                    summary { code { (shortened(&layer.instruction)) } }
                                    code.whole { (layer.instruction) }
                                    p { code.digest { (layer.diff_id) } }
                                }
                            }
                            td.num { (bytes(layer.bytes)) }
                            @if packed { td.num { @if let Some(packed) = layer.packed { (bytes(packed)) } @else { "–" } } }
                            td { (among(layer, report)) }
                        }
                    }
                }
            }
        }
    }
}

/// The beginning of an instruction, on one line.
fn shortened(instruction: &str) -> String {
    let words = instruction.split_whitespace().collect::<Vec<_>>().join(" ");
    // BuildKit writes the build arguments and the shell before a command.
    let words = match words.split_once(" /bin/sh -c ") {
        Some((arguments, command)) if arguments.starts_with("RUN |") => format!("RUN {command}"),
        _ => words,
    };
    let short: String = words.chars().take(72).collect();
    if short.len() < words.len() { format!("{short}…") } else { words }
}

/// Rules that raise a layer wherever it lies while one is pointed at.
pub(super) fn highlights(report: &Report) -> PreEscaped<String> {
    let mut rules = String::new();
    for letter in report.layers.iter().map(|layer| &layer.letter).filter(|letter| letter.bytes().all(|b| b.is_ascii_uppercase()))
    {
        let _ = write!(rules, "#layers:has(.l-{letter}:hover) .layer.l-{letter},");
    }
    match rules.pop() {
        Some(_) => PreEscaped(rules + "{outline:3px solid var(--text);outline-offset:-1px;z-index:1}"),
        None => PreEscaped(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn an_instruction_begins_with_what_it_does() {
        let long = format!("RUN {}", "x ".repeat(99));
        for (instruction, short) in [
            ("RUN |1 BUILD_DATE=2026-11-20 /bin/sh -c apt-get update", "RUN apt-get update"),
            ("COPY rootfs/ /", "COPY rootfs/ /"),
            ("RUN sh -c 'a\n\tb'", "RUN sh -c 'a b'"),
            (long.as_str(), &format!("RUN {}…", "x ".repeat(34))),
        ] {
            assert_eq!(shortened(instruction), short);
        }
    }
}
