//! The page of the real family, in a browser.

use serde_json::Value;

use crate::family::{VARIANTS, image, xtask};
use crate::support::page::look_at;

#[test]
fn the_page_of_the_family() {
    image("aws");
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("report.html");
    let file = page.display().to_string();
    let ran = xtask(&["--format", "json", "report", "--profile", "offline", "--no-registries", "--output", &file]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let report: Value = serde_json::from_slice(&ran.stdout).expect("a report is JSON");
    let images = report["images"].as_array().expect("images");
    assert!(VARIANTS.iter().all(|variant| images.iter().any(|image| image["variant"] == *variant && !image["built"].is_null())));
    // What makes these images big is known by name.
    let packages = report.to_string();
    for name in ["azure-cli", "awscli", "ansible-core", "code-server", "community.general"] {
        assert!(packages.contains(&format!("\"name\":\"{name}\"")), "{name}");
    }
    let size = std::fs::metadata(&page).expect("the page").len();
    assert!(size < 1_000_000, "{size} bytes");
    look_at(&page, &report, "report-family");
}
