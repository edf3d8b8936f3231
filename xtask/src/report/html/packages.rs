//! What makes an image big: a treemap of kinds and packages, and the biggest of them as a table.

use maud::{Markup, html};

use super::nothing;
use super::words::{bytes, count, kind, of_kind, percent};
use crate::byte_size::size;
use crate::contents::PackageKind;
use crate::report::treemap::{Area, squarify};
use crate::report::{Built, Group, Item, Report};

/// What a treemap is laid out for. It may be stretched: areas stay in proportion.
const WHOLE: Area = Area { x: 0.0, y: 0.0, width: 1000.0, height: 520.0 };
/// Rows of a table.
const ROWS: usize = 15;

pub(super) fn section(report: &Report) -> Markup {
    let built: Vec<_> = report.images.iter().filter_map(|image| Some((&image.variant, image.built.as_ref()?))).collect();
    if built.is_empty() {
        return nothing("No image is built here, so there is nothing to look into.");
    }
    html! {
        p.lead { "Areas are bytes of the files that a container sees; what a higher layer removed or replaced is not in them. Packages are as large as their manager says; dpkg rounds every file up." }
        @for (variant, built) in built {
            article.image data-variant=(variant) {
                h3 { (variant) " " small { (bytes(built.files)) " in " (count(built.file_count, "file", "files")) } }
                (map(variant, built))
                (sums(built))
                details {
                    summary { "The biggest packages and files of " (variant) }
                    div.pair { (packages(built)) (files(built)) }
                }
            }
        }
    }
}

fn map(variant: &str, built: &Built) -> Markup {
    let groups: Vec<&Group> = built.groups.iter().filter(|group| group.bytes > 0).collect();
    let areas = squarify(WHOLE, &groups.iter().map(|group| group.bytes).collect::<Vec<_>>());
    html! {
        div.treemap role="group" aria-label={ "What is in " (variant) ", by size" } {
            @for (group, area) in groups.iter().zip(areas) {
                div class={ "group " (kind(group.kind).1) } style=(place(&area, &WHOLE)) data-bytes=(group.bytes) {
                    @for (item, area) in tiles(group, &area) { (tile(group.kind, &item, &area)) }
                }
            }
        }
    }
}

/// The pieces of a group, in its own rectangle: what is not listed is the last of them.
fn tiles(group: &Group, area: &Area) -> Vec<(Item, Area)> {
    let mut items = group.items.clone();
    if group.rest > 0 {
        let more = group.count.saturating_sub(items.len() as u64);
        let name = if group.kind.is_none() { "others".to_owned() } else { format!("{more} more") };
        items.push(Item { name, version: None, bytes: group.rest });
    }
    items.sort_by_key(|item| std::cmp::Reverse(item.bytes));
    let inside = Area { x: 0.0, y: 0.0, ..*area };
    let areas = squarify(inside, &items.iter().map(|item| item.bytes).collect::<Vec<_>>());
    let shares = areas.into_iter().map(|piece| Area {
        x: piece.x / inside.width.max(f64::MIN_POSITIVE),
        y: piece.y / inside.height.max(f64::MIN_POSITIVE),
        width: piece.width / inside.width.max(f64::MIN_POSITIVE),
        height: piece.height / inside.height.max(f64::MIN_POSITIVE),
    });
    items.into_iter().zip(shares).collect()
}

fn tile(of: Option<PackageKind>, item: &Item, area: &Area) -> Markup {
    const UNIT: Area = Area { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
    let version = item.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let title = format!("{}{version}: {} ({})", item.name, size(item.bytes), kind(of).0);
    html! {
        div.tile style=(place(area, &UNIT)) title=(title) data-bytes=(item.bytes) {
            span.label { span { (item.name) } small { (size(item.bytes)) } }
        }
    }
}

/// Where a piece lies. The style sheet turns all of it where a page is narrow, so that pieces stay as square.
fn place(area: &Area, whole: &Area) -> String {
    format!(
        "--x:{};--y:{};--w:{};--h:{}",
        percent(area.x, whole.width),
        percent(area.y, whole.height),
        percent(area.width, whole.width),
        percent(area.height, whole.height)
    )
}

/// The kinds with their sums: the key of the colours.
fn sums(built: &Built) -> Markup {
    html! {
        ul.sums {
            @for group in &built.groups {
                @let class = kind(group.kind).1;
                li data-kind=(class) data-bytes=(group.bytes) data-count=(group.count) {
                    i class={ "swatch " (class) } {}
                    @if group.bytes > 0 { (bytes(group.bytes)) " " }
                    (of_kind(group))
                }
            }
        }
    }
}

fn packages(built: &Built) -> Markup {
    let mut all: Vec<(Option<PackageKind>, &Item)> = Vec::new();
    for group in built.groups.iter().filter(|group| group.kind.is_some()) {
        all.extend(group.items.iter().map(|item| (group.kind, item)));
    }
    all.sort_by(|(_, a), (_, b)| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    html! {
        table {
            caption { "Packages" }
            thead { tr { th scope="col" { "Name" } th scope="col" { "Version" } th.num scope="col" { "Size" } } }
            tbody {
                @for (of, item) in all.into_iter().take(ROWS) {
                    tr data-bytes=(item.bytes) {
                        th scope="row" { i class={ "swatch " (kind(of).1) } title=(kind(of).0) {} (item.name) }
                        td { (item.version.as_deref().unwrap_or_default()) }
                        td.num { (bytes(item.bytes)) }
                    }
                }
            }
        }
    }
}

fn files(built: &Built) -> Markup {
    html! {
        table {
            caption { "Files" }
            thead { tr { th scope="col" { "Path" } th.num scope="col" { "Size" } } }
            tbody {
                @for item in built.biggest.iter().take(ROWS) {
                    tr data-bytes=(item.bytes) { th scope="row" { code { "/" (item.name) } } td.num { (bytes(item.bytes)) } }
                }
            }
        }
    }
}
