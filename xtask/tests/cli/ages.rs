//! `max-age-days`: pins that are too old, or soon will be. The days are far away from whatever day it is, or in the middle of what
//! they stand for: it may be midnight meanwhile.

use crate::support::family::TinyFamily;
use crate::support::vendors::{RUNNER_VERSION, Vendors};
use crate::support::xtask::ran;
use time::{Duration, OffsetDateTime};
use xtask::family::BuildDate;
use xtask::oci::Digest;

const LONG_AGO: &str = "released = \"2001-01-01\"\n";
const FAR_AWAY: &str = "released = \"2001-01-01\"\nnewest-on = \"9000-01-01\"\n";

/// So many days ago.
fn ago(days: i64) -> BuildDate {
    BuildDate::on((OffsetDateTime::now_utc() - Duration::days(days)).date())
}

/// A family whose runner may be 30 days old, and was released as `dates` say.
fn family(vendors: &Vendors, dates: &str) -> TinyFamily {
    let family = TinyFamily::with_runner(vendors);
    family.replace("variants.toml", "build-arg = \"RUNNER_VERSION\"", "build-arg = \"RUNNER_VERSION\"\nmax-age-days = 30");
    family.replace("variants.toml", "local-suffix = \"-offline\"", "local-suffix = \"-offline\"\nwithout = [\"runner\"]");
    locked(&family, vendors, dates);
    family
}

fn locked(family: &TinyFamily, vendors: &Vendors, dates: &str) {
    let (name, version) = (&family.name, RUNNER_VERSION);
    let (arch, theirs) = if cfg!(target_arch = "aarch64") { ("arm64", "arm64") } else { ("amd64", "x64") };
    let url =
        format!("https://github.com/actions/runner/releases/download/v{version}/actions-runner-linux-{theirs}-{version}.tar.gz");
    let digest = Digest::of(vendors.file(&url));
    let lock = format!(
        "schema = 1\nfamily = \"{name}\"\n\n[[artifact]]\npin = \"runner\"\nplatform = \"linux/{arch}\"\nversion = \"{version}\"\n\
         url = \"{url}\"\ndigest = \"{digest}\"\n{dates}"
    );
    family.write("variants.lock", &lock);
}

#[test]
fn what_is_too_old_is_neither_built_nor_published() {
    let vendors = Vendors::start();
    let family = family(&vendors, LONG_AGO);
    for command in ["build", "push", "publish"] {
        let refused = family.run(&[command, "--variant", "azure", "--dry-run"]).ends(8);
        refused.says(&["`runner` 2.337.0 is too old", "on 2001-01-01", "cargo xtask bump runner", "--allow-old-pins"]);
        assert!(family.tags().is_empty());
    }
    let allowed = family.run(&["build", "--variant", "azure", "--dry-run", "--allow-old-pins"]).ends(0);
    allowed.says(&["warning", "`runner` 2.337.0 is too old", "cargo xtask bump runner"]);
    // A profile that leaves it out has nothing that could be too old.
    family.build(&["--variant", "azure", "--dry-run", "--profile", "offline"]).ends(0);
    // It takes no building to see it.
    family.run(&["plan", "--variant", "azure"]).ends(0);

    locked(&family, &vendors, FAR_AWAY);
    let good = family.build(&["--variant", "azure", "--dry-run"]).ends(0);
    assert_eq!(good.events_of("warning"), Vec::<serde_json::Value>::new());

    // What cannot be judged is not refused: a day that is missing is no day that is over. `bump` finds one.
    locked(&family, &vendors, "");
    let unknown = family.run(&["build", "--variant", "azure", "--dry-run"]).ends(0);
    unknown.says(&["nobody knows how old `runner` 2.337.0 is", "cargo xtask bump runner"]);
    ran(family.command(&["bump", "runner", "--allow-dirty"])).ends(0);
    assert!(family.read("variants.lock").is_some_and(|lock| lock.contains("newest-on = ")));
    let known = family.build(&["--variant", "azure", "--dry-run"]).ends(0);
    assert_eq!(known.events_of("warning"), Vec::<serde_json::Value>::new());
}

#[test]
fn ten_days_before_it_is_said_that_a_pin_will_be_too_old() {
    let vendors = Vendors::start();
    let family = family(&vendors, LONG_AGO);
    let lately = ago(25);
    for (dates, until) in [
        (format!("released = \"{lately}\"\n"), Some(lately.plus_days(30))),
        (format!("released = \"2001-01-01\"\nnewest-on = \"{lately}\"\n"), Some(lately.plus_days(30))),
        (format!("released = \"{}\"\n", ago(10)), None),
    ] {
        locked(&family, &vendors, &dates);
        family.commit();
        let words = until.as_ref().map(|until| format!("until {until}: cargo xtask bump runner"));
        for command in ["build", "push", "publish"] {
            let told = family.run(&[command, "--variant", "azure", "--dry-run"]);
            // Nothing was built that could be pushed.
            let told = told.ends(if command == "push" { 3 } else { 0 });
            assert_eq!(told.stderr.contains("`runner` 2.337.0 may be used for "), until.is_some(), "{}", told.stderr);
            told.says(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let age = ran(family.command(&["doctor", "--format", "json"])).json()["ages"][0].clone();
        assert_eq!(age["state"], if until.is_some() { "soon" } else { "good" }, "{dates}");
        let told = ran(family.command(&["doctor"]));
        assert_eq!(told.stdout.contains("mend: cargo xtask bump runner"), until.is_some(), "{}", told.stdout);
    }
}

#[test]
fn doctor_tells_how_old_pins_are() {
    let vendors = Vendors::start();
    let family = family(&vendors, LONG_AGO);
    for (profile, dates, state) in [
        ("default", LONG_AGO, Some("past")),
        ("offline", LONG_AGO, None),
        ("default", FAR_AWAY, Some("good")),
        ("default", "", Some("unknown")),
    ] {
        locked(&family, &vendors, dates);
        let told = ran(family.command(&["doctor", "--profile", profile, "--format", "json"]));
        let ages = told.json()["ages"].clone();
        assert_eq!(ages.get(0).map(|age| &age["state"]).and_then(|state| state.as_str()), state, "{dates}");
        let whole = told.json()["requirements"].as_array().is_some_and(|rows| rows.iter().all(|row| row["met"] == true));
        let expected = match (whole, state) {
            (false, _) => 3,
            (true, Some("past")) => 8,
            (true, _) => 0,
        };
        told.ends(expected);
    }
    locked(&family, &vendors, LONG_AGO);
    let told = ran(family.command(&["doctor"]));
    assert!(told.stdout.contains("too old") && told.stdout.contains("mend: cargo xtask bump runner"), "{}", told.stdout);
}
