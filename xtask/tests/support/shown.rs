//! What the page of a report shows, word by word, beside what its value says: the last build, what is published, and what a
//! release would change.

use serde_json::{Value, json};
use xtask::byte_size::size;

use super::browser::Browser;

/// What stands on the page, as JSON. Of a cell: its digest, its words, and the figures that it has beside them.
const PAGE: &str = r#"(() => {
  const all = (of, selector) => [...of.querySelectorAll(selector)];
  const words = of => of ? of.textContent.replace(/\s+/g, ' ').trim() : null;
  const figures = of => all(of, 'data').map(one => Number(one.value));
  const first = of => of.querySelector(':scope > p');
  return {
    sizes: all(document, 'data[title$=" bytes"]').map(one => [Number(one.value), words(one)]),
    moments: all(document, 'time').map(one => [one.dateTime, words(one)]),
    family: all(document, '#family .node:not(.end)').map(one => [one.dataset.step, figures(one)]),
    steps: all(document, '.timeline tbody tr').map(row => {
      const bar = row.querySelector('.run').style;
      return {
        step: row.dataset.step, begin: Number(row.dataset.begin), end: Number(row.dataset.end), words: words(row.querySelector('th > small')),
        left: parseFloat(bar.left), width: parseFloat(bar.width), took: [figures(row.cells[2])[0], words(row.cells[2])],
      };
    }),
    destinations: all(document, '.destination').map(one => ({
      name: one.dataset.destination, repository: words(one.querySelector('h3 code')), warning: words(one.querySelector('p.warn')),
      tags: all(one, 'tbody tr').map(row => [words(row.cells[0]), words(row.cells[1]), words(row.cells[2]), words(row.cells[3])]),
    })),
    changes: all(document, '.change').map(one => ({
      variant: one.dataset.variant, from: words(one.querySelector('h3 code')), digest: words(one.querySelector(':scope > p .digest')),
      words: words(first(one)), figures: figures(first(one)),
      rows: all(one, 'tbody tr').map(row => [...row.cells].map(words)),
    })),
  };
})()"#;

/// The rows of packages that a page has.
const ROWS: usize = 150;

/// What the page says is what the value says.
#[track_caller]
pub fn shown(browser: &mut Browser, report: &Value) {
    let page = browser.evaluate(PAGE);
    for pair in list(&page["sizes"]) {
        assert_eq!(pair[1], size(pair[0].as_u64().expect("bytes")), "bytes and their words");
    }
    for pair in list(&page["moments"]) {
        let moment = text(&pair[0]);
        assert_eq!(pair[1], format!("{} {} UTC", &moment[..10], &moment[11..16]));
    }
    let adds = |step: &Value| json!([step["id"], step["adds"].as_u64().into_iter().collect::<Vec<_>>()]);
    let nodes = list(&report["steps"]).iter().filter(|step| matches!(text(&step["kind"]), "base" | "image"));
    let mut nodes: Vec<Value> = nodes.map(adds).collect();
    let mut drawn = list(&page["family"]).to_vec();
    nodes.sort_by_key(Value::to_string);
    drawn.sort_by_key(Value::to_string);
    assert_eq!(drawn, nodes, "the family");
    timeline(&page["steps"], &report["build"]["run"]);
    let destinations: Vec<Value> = list(&report["destinations"]).iter().map(destination).collect();
    assert_eq!(page["destinations"], json!(destinations), "what is published");
    let changes: Vec<Value> = list(&report["differences"]).iter().map(change).collect();
    assert_eq!(page["changes"], json!(changes), "the difference to the last release");
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `2026-11-20 10:05 UTC`
fn moment(value: &Value) -> String {
    let moment = text(value);
    format!("{} {} UTC", &moment[..10], &moment[11..16])
}

#[track_caller]
fn timeline(rows: &Value, run: &Value) {
    let whole = run["seconds"].as_f64().unwrap_or_default().max(0.001);
    let begun: Vec<&Value> = list(&run["steps"]).iter().filter(|step| !step["begin"].is_null()).collect();
    assert_eq!(list(rows).len(), begun.len(), "{rows}");
    for (row, step) in list(rows).iter().zip(begun) {
        let begin = step["begin"].as_f64().expect("a time");
        let end = step["end"].as_f64().unwrap_or(whole).max(begin);
        let figures = ["begin", "end", "left", "width"].map(|name| row[name].as_f64().expect("a number"));
        assert_eq!((&row["step"], figures[0], figures[1]), (&step["step"], begin, end));
        // Where it is drawn, in per cent of the whole.
        for (drawn, real) in figures[2..].iter().zip([begin, end - begin]) {
            assert!((drawn - real / whole * 100.0).abs() < 0.001, "{row} {step}");
        }
        let ended = match step["outcome"].as_str() {
            Some("done" | "up-to-date") => "done",
            Some(other) => other,
            None => "not heard of any more",
        };
        let instructions = list(&step["instructions"]);
        let cached = instructions.iter().filter(|one| one["state"] == "cached").count();
        let more = match (instructions.len(), text(&step["title"])) {
            (0, "") => String::new(),
            (0, title) => format!(", {title}"),
            (all, _) => format!(", {} ran, {cached} cached", all - cached),
        };
        assert_eq!(row["words"], format!("{ended}{more}"), "{step}");
        let took = (row["took"][0].as_f64().expect("a number"), seconds(text(&row["took"][1])));
        let exact = if took.0 < 9.95 { 0.0501 } else { 0.5001 };
        // Numbers that stand in text have been rounded.
        assert!((took.0 - (end - begin)).abs() < 0.0005 && (took.0 - took.1).abs() <= exact, "{row} {step}");
    }
}

/// `2 min 5 s` → 125
fn seconds(words: &str) -> f64 {
    let words: Vec<&str> = words.split(' ').collect();
    let parts = words.chunks(2).map(|part| match part {
        [number, "min"] => 60.0 * number.parse::<f64>().expect("a number"),
        [number, "s"] => number.parse().expect("a number"),
        other => panic!("{other:?}"),
    });
    parts.sum()
}

fn destination(told: &Value) -> Value {
    let answered = told["asked"]["state"] == "answered";
    let tags = list(&told["tags"]).iter().filter(|tag| answered || !tag["remembered"].is_null());
    let row = |tag: &Value| {
        let moves = if tag["moving"] == true { " moves" } else { "" };
        let there = match (tag["digest"].as_str(), &tag["says"]) {
            (None, _) if answered => "no such tag".to_owned(),
            (None, _) => "unknown".to_owned(),
            (Some(digest), Value::Null) => digest.to_owned(),
            (Some(digest), says) => {
                let commit = says["revision"].as_str().map(|commit| format!(", commit {}", &commit[..12])).unwrap_or_default();
                let packed = size(says["packed"].as_u64().expect("bytes"));
                format!("{digest}version {}{commit}, {packed} to download", text(&says["version"]))
            }
        };
        let known = match &tag["remembered"] {
            Value::Null => "–".to_owned(),
            known if known[0] == tag["digest"] => format!("the same, since {}", moment(&known[1])),
            known => format!("{} of {}", text(&known[0]), moment(&known[1])),
        };
        json!([format!("{}{moves}", text(&tag["tag"])), tag["variant"], there, known])
    };
    let failed = told["asked"]["why"].as_str().map(|why| format!("It could not be asked: {}", why.replace('`', "")));
    json!({
        "name": told["name"], "repository": told["repository"], "warning": failed, "tags": tags.map(row).collect::<Vec<_>>(),
    })
}

fn change(told: &Value) -> Value {
    let (words, figures, rows) = match text(&told["state"]) {
        "same" => ("What is here is what is published.".to_owned(), vec![], vec![]),
        "not-compared" => (format!("Not compared: {}", text(&told["why"]).replace('`', "")), vec![], vec![]),
        _ => differs(&told["difference"]),
    };
    json!({
        "variant": told["variant"], "from": told["from"], "digest": told["digest"], "words": words, "figures": figures, "rows": rows,
    })
}

fn differs(of: &Value) -> (String, Vec<u64>, Vec<Value>) {
    let bytes = |value: &Value| value["content"].as_u64().expect("bytes");
    let (before, after) = (bytes(&of["sizes"]["before"]), bytes(&of["sizes"]["after"]));
    let [shared, fresh] = ["shared", "only-after"].map(|name| list(&of["layers"][name]));
    let new: u64 = fresh.iter().map(|layer| bytes(&layer["size"])).sum();
    let [come, go, change] = ["added", "removed", "changed"].map(|name| &of["files"][name]["number"]);
    let packages = list(&of["packages"]);
    let many = |count: usize, one: &str, more: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {more}") };
    let words = format!(
        "{} becomes {}. {} the same, {} new ({}). {come} files come, {go} go, {change} change. {}",
        size(before),
        size(after),
        many(shared.len(), "layer is", "layers are"),
        fresh.len(),
        size(new),
        if packages.is_empty() {
            "No package differs.".to_owned()
        } else {
            many(packages.len(), "package differs.", "packages differ.")
        },
    );
    let version = |installed: &Value| installed["version"].as_str().unwrap_or("–").to_owned();
    let mut rows: Vec<Value> = packages
        .iter()
        .take(ROWS)
        .map(|package| json!([package["name"], package["change"], version(&package["before"]), version(&package["after"])]))
        .collect();
    rows.extend(list(&of["configuration"]).iter().map(|setting| {
        let kind = match text(&setting["kind"]) {
            "working-dir" => "working folder",
            "health-check" => "health check",
            "environment" => "variable",
            other => other,
        };
        let name = setting["name"].as_str().map(|name| format!(" {name}")).unwrap_or_default();
        // As a browser shows it: spaces are one.
        let value = |value: &Value| match value.as_str() {
            Some(value) => value.split_whitespace().collect::<Vec<_>>().join(" "),
            None => "–".to_owned(),
        };
        json!([format!("{kind}{name}"), value(&setting["before"]), value(&setting["after"])])
    }));
    (words, vec![before, after, new], rows)
}
