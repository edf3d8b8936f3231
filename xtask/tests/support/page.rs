//! A page of `report`, looked at in a real browser: wide and narrow, light and dark, without scripts.

use std::path::Path;

use serde_json::{Value, json};

use super::browser::Browser;
use super::shown::shown;

/// Text that is hard to read, as `contrast: text`; nothing where there is none. (WCAG 2.2, 1.4.3: 4.5 to 1.)
const HARD_TO_READ: &str = r#"(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => {
    const part = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter(node => node.nodeType === 3).map(node => node.data.trim()).join('');
    if (!text || !element.checkVisibility() || element.closest('.skip, .vh')) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  return [...new Set(bad)].slice(0, 10).join('; ');
})()"#;

/// What is wider than the window without being in something that scrolls.
const TOO_WIDE: &str = "document.documentElement.scrollWidth <= innerWidth ? '' : \
    [...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.scroll')) \
    .map(one => one.tagName + '.' + one.className).slice(0, 5).join(' ')  || 'something'";

/// Looks at the page in `file`, whose value is `report`; screenshots are called after `name`.
pub fn look_at(file: &Path, report: &Value, name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut browser = Browser::start(folder.path());
    browser.open("about:blank");
    for domain in ["Page", "Runtime", "Log", "Network"] {
        browser.call(&format!("{domain}.enable"), json!({}));
    }
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        let what = format!("{name}-{width}-{scheme}");
        let screen = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500 });
        browser.call("Emulation.setDeviceMetricsOverride", screen);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        go(&mut browser, file);
        assert_eq!(browser.evaluate(TOO_WIDE), "", "{what}");
        assert_eq!(browser.evaluate(HARD_TO_READ), "", "{what}");
        figures(&mut browser, report);
        browser.screenshot(&what);
    }
    selected(&mut browser, report);
    by_keyboard(&mut browser);
    quiet(&mut browser, file);

    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    go(&mut browser, file);
    figures(&mut browser, report);
    quiet(&mut browser, file);
}

fn go(browser: &mut Browser, file: &Path) {
    browser.call("Page.navigate", json!({ "url": "about:blank" }));
    browser.until("location.href === 'about:blank'");
    let url = format!("file://{}", file.display());
    browser.call("Page.navigate", json!({ "url": url }));
    browser.until("location.protocol === 'file:' && document.readyState === 'complete'");
}

/// No error, no warning, no request but the one for the page.
#[track_caller]
fn quiet(browser: &mut Browser, file: &Path) {
    for event in ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"] {
        assert_eq!(browser.heard(event), Vec::<Value>::new(), "{event}");
    }
    let url = format!("file://{}", file.display());
    for request in browser.heard("Network.requestWillBeSent") {
        let asked = request["params"]["request"]["url"].as_str().unwrap_or_default();
        assert!(asked == url || asked.starts_with("data:"), "{asked}");
    }
}

/// The numbers on the page are those of the value.
#[track_caller]
fn figures(browser: &mut Browser, report: &Value) {
    let mut numbers = |selector: &str, attribute: &str| {
        let list = format!("[...document.querySelectorAll({selector:?})].map(one => Number(one.getAttribute({attribute:?})))");
        browser.evaluate(&list)
    };
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let layers = list(report, "layers");
    let sizes: Vec<&Value> = layers.iter().map(|layer| &layer["bytes"]).collect();
    assert_eq!(numbers("#layers .legend tbody tr", "data-bytes"), json!(sizes), "the legend");
    assert_eq!(numbers("#layers .legend tbody td.num:nth-of-type(2) data", "value"), json!(sizes), "and its words");
    for image in list(report, "images") {
        let of = |section: &str, rest: &str| format!("#{section} [data-variant={}] {rest}", image["variant"]);
        let built = &image["built"];
        assert_eq!(numbers(&of("summary", ".figure"), "data-bytes"), json!([built["bytes"]]), "{}", image["variant"]);
        let bars: Vec<Value> = list(built, "layers")
            .iter()
            .map(|letter| layers.iter().find(|layer| layer["letter"] == *letter).expect("a layer")["bytes"].clone())
            .collect();
        assert_eq!(numbers(&of("layers", ".layer"), "data-bytes"), json!(bars), "{}", image["variant"]);
        let groups = list(built, "groups");
        let (bytes, counts): (Vec<_>, Vec<_>) = groups.iter().map(|group| (&group["bytes"], &group["count"])).unzip();
        assert_eq!(numbers(&of("packages", ".sums li"), "data-bytes"), json!(bytes), "{}", image["variant"]);
        assert_eq!(numbers(&of("packages", ".sums li"), "data-count"), json!(counts), "{}", image["variant"]);
        let tiles = numbers(&of("packages", ".tile"), "data-bytes");
        let tiles: u64 = tiles.as_array().expect("numbers").iter().filter_map(Value::as_u64).sum();
        assert_eq!(tiles, bytes.iter().filter_map(|bytes| bytes.as_u64()).sum::<u64>(), "all of it is drawn");
    }
    shown(browser, report);
}

/// Text can be taken from the page, of tables and of drawings.
#[track_caller]
fn selected(browser: &mut Browser, report: &Value) {
    let mut select = |selector: &str| {
        let select = format!(
            "(() => {{ const all = getSelection(); all.removeAllRanges(); \
             all.selectAllChildren(document.querySelector({selector:?})); return all.toString(); }})()"
        );
        browser.evaluate(&select).as_str().unwrap_or_default().to_owned()
    };
    assert!(select("h1").contains(report["title"].as_str().unwrap_or("?")));
    if let Some(image) = report["images"].as_array().and_then(|images| images.iter().find(|image| !image["built"].is_null())) {
        let digest = image["built"]["config-digest"].as_str().unwrap_or("?");
        assert!(select("#summary").contains(digest), "{digest}");
        assert!(select("#layers .bar").contains('A') && select("#layers .legend").contains(" MB"));
        assert!(!select("#packages .treemap").trim().is_empty(), "words of the treemap");
    }
}

/// The first thing that Tab reaches is the way past the navigation, and everything that scrolls can be reached.
#[track_caller]
fn by_keyboard(browser: &mut Browser) {
    browser.evaluate("getSelection().removeAllRanges(); document.activeElement.blur(); scrollTo(0, 0)");
    for kind in ["keyDown", "keyUp"] {
        browser.call("Input.dispatchKeyEvent", json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 }));
    }
    browser.until("document.activeElement.matches('a') || document.activeElement.matches('nav')");
    assert_eq!(
        browser.evaluate("[...document.querySelectorAll('.scroll')].every(one => one.tabIndex === 0 && !!one.ariaLabel)"),
        true
    );
    let unnamed = "[...document.querySelectorAll('table')].filter(one => !one.caption).length";
    assert_eq!(browser.evaluate(unnamed), 0, "tables without a caption");
}
