use super::page;
use crate::report::sample::{self, BAD};
use crate::report::{Image, Report};

/// The elements that have this attribute, each with its value.
fn values<'p>(page: &'p str, attribute: &str) -> Vec<&'p str> {
    let begin = format!(" {attribute}=\"");
    page.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn text_stays_text() {
    let page = page(&sample::report());
    assert!(!page.contains("<script"), "there is no script, whatever a package is called");
    assert!(!page.contains(BAD) && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"));
    // All that has an attribute is what it was meant to be.
    assert!(!page.contains(" onerror=") && !page.contains("alert(1)</script>"));
}

#[test]
fn nothing_is_asked_for() {
    let page = page(&sample::report());
    assert!(page.contains("default-src 'none'"));
    for from in ["src=", "@import", "url(", "http-equiv=\"refresh\""] {
        assert!(!page.contains(from), "{from}");
    }
    let links = values(&page, "href");
    assert!(links.iter().all(|link| link.starts_with('#') || *link == "data:,"), "{links:?}");
}

#[test]
fn the_page_says_what_the_value_says() {
    let report = sample::report();
    let page = page(&report);
    let numbers: Vec<u64> = values(&page, "data-bytes").iter().filter_map(|bytes| bytes.parse().ok()).collect();
    for layer in &report.layers {
        // In the bars, and in the legend.
        let shown = numbers.iter().filter(|bytes| **bytes == layer.bytes).count();
        assert!(shown > layer.images.len(), "{}: {shown}", layer.letter);
        assert!(page.contains(&layer.diff_id.to_string()));
    }
    for (letter, bars) in [("A", 2), ("B", 1), ("C", 1)] {
        assert_eq!(page.matches(&format!("l-{letter}\" title=")).count(), bars, "{letter} in the bars");
    }
    for image in &report.images {
        let built = image.built.as_ref().expect("built");
        assert!(page.contains(&built.config_digest.to_string()) && numbers.contains(&built.bytes));
    }
    assert!(page.contains("could not be asked"));
    for ending in ["failed after", "Not begun: aws-web", "1 ran, 1 cached", "not heard of any more"] {
        assert!(page.contains(ending), "{ending}");
    }
}

#[test]
fn every_end_of_the_family_hangs_on_what_it_stands_on() {
    let page = page(&sample::report());
    // The tree comes before the timeline.
    assert_eq!(values(&page, "data-step")[..6], ["bootstrap", "base", "aws", "aws finished", "azure", "azure finished"]);
}

#[test]
fn an_empty_report_is_a_page_that_says_so() {
    let report = sample::report();
    let nothing = Report {
        images: report.images.iter().map(|image| Image { built: None, ..image.clone() }).collect(),
        layers: vec![],
        steps: vec![],
        build: None,
        destinations: vec![],
        differences: vec![],
        ..report
    };
    let page = page(&nothing);
    for said in ["Not built.", "no layers to show", "No build of this family", "names no destination", "nothing to compare with"]
    {
        assert!(page.contains(said), "{said}");
    }
}
