//! The image's configuration and labels.

use std::collections::BTreeMap;

use super::count;
use crate::oci::ImageConfig;
use crate::plan;
use crate::smoke::report::Verdict;

/// What `images/finish/Dockerfile` gives every variant.
const ENTRYPOINT: &str = "/usr/local/bin/entrypoint";
const HEALTH: [&str; 3] = ["CMD", ENTRYPOINT, "healthcheck"];
const PORTS: [&str; 3] = ["22/tcp", "2222/tcp", "8080/tcp"];

/// The checks of a configuration, each with its name; `env` is what each variable has to contain.
pub fn configuration(config: &ImageConfig, env: &BTreeMap<String, String>) -> Vec<(&'static str, Verdict)> {
    vec![
        ("entrypoint", entrypoint(config)),
        ("user", user(config)),
        ("health check", health_check(config)),
        ("environment", environment(config, env)),
    ]
}

fn words(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { format!("`{}`", words.join(" ")) }
}

fn entrypoint(config: &ImageConfig) -> Verdict {
    let run = &config.run;
    let missing: Vec<&str> = PORTS.into_iter().filter(|port| !run.exposed_ports.contains_key(*port)).collect();
    if run.entrypoint != [ENTRYPOINT] {
        Verdict::failed(format!("the image starts {}, expected is `{ENTRYPOINT}`", words(&run.entrypoint)))
            .hint("ENTRYPOINT is set by images/finish/Dockerfile, above everything else")
    } else if !run.cmd.is_empty() {
        Verdict::failed(format!("the entrypoint is given {}, expected is nothing", words(&run.cmd)))
    } else if !missing.is_empty() {
        Verdict::failed(format!("the ports {} are not exposed", missing.join(", ")))
    } else {
        Verdict::passed(format!("`{ENTRYPOINT}`, without arguments"))
    }
}

fn user(config: &ImageConfig) -> Verdict {
    match config.run.user.as_str() {
        "" | "root" | "0" | "root:root" | "0:0" => Verdict::passed("starts as root, which gives each service its own user"),
        other => Verdict::failed(format!("the image starts as `{other}`, expected is `root`"))
            .hint("the entrypoint gives each service the user it runs as: USER root comes last in images/finish/Dockerfile"),
    }
}

fn health_check(config: &ImageConfig) -> Verdict {
    let test = config.run.healthcheck.as_ref().and_then(|check| check.get("Test")?.as_array());
    let test: Vec<String> = test.into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect();
    match test.first().map(String::as_str) {
        None | Some("NONE") => Verdict::failed(format!("there is no health check, expected is `{}`", HEALTH.join(" ")))
            .hint("HEALTHCHECK is set by images/finish/Dockerfile"),
        _ if test == HEALTH => Verdict::passed(format!("`{}`", HEALTH.join(" "))),
        _ => Verdict::failed(format!("the health check is {}, expected is `{}`", words(&test), HEALTH.join(" "))),
    }
}

fn environment(config: &ImageConfig, promised: &BTreeMap<String, String>) -> Verdict {
    let value = |name: &str| config.run.env.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let wrong = promised.iter().filter_map(|(name, part)| match value(name) {
        None => Some(format!("`{name}` is not set, expected is `{part}`")),
        Some(value) if !value.contains(part.as_str()) => Some(format!("`{name}` is `{value}`, expected in it is `{part}`")),
        Some(_) => None,
    });
    let wrong: Vec<String> = wrong.collect();
    match wrong.is_empty() {
        true if promised.is_empty() => Verdict::skipped("variants.toml promises nothing of it (`smoke.env`)"),
        true => Verdict::passed(format!("{} as promised", count(promised.len(), "variable"))),
        false => Verdict::failed(wrong.join("; ")),
    }
}

/// Compares an image's labels with those of the plan.
pub fn labels(found: &BTreeMap<String, String>, planned: &BTreeMap<String, String>) -> Verdict {
    let ours =
        |name: &str| name.starts_with("gantry.") || name.starts_with("org.opencontainers.image.") || name == plan::DEVCONTAINER;
    let mut wrong = Vec::new();
    for (name, expected) in planned {
        match found.get(name) {
            None => wrong.push(format!("`{name}` is missing, expected is `{expected}`")),
            // An image of the same input is the same image, whichever commit it was first built at.
            Some(found) if name == plan::REVISION && found.is_empty() == expected.is_empty() => {}
            Some(found) if found != expected => wrong.push(format!("`{name}` is `{found}`, expected is `{expected}`")),
            Some(_) => {}
        }
    }
    let unplanned = |name: &str| ours(name) && !planned.contains_key(name) && name != plan::INPUT;
    for (name, value) in found.iter().filter(|(name, _)| unplanned(name)) {
        wrong.push(format!("`{name}` is `{value}`, and the plan has no such label"));
    }
    match wrong.len() {
        0 => Verdict::passed(format!("{} as planned", count(planned.len(), "label"))),
        _ => Verdict::failed(wrong.join("; ")).hint("cargo xtask plan --format json    shows the labels of the plan"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::RunConfig;
    use crate::smoke::Outcome::{Failed, Passed};

    fn good() -> ImageConfig {
        ImageConfig {
            diff_ids: Vec::new(),
            labels: BTreeMap::new(),
            run: RunConfig {
                user: "root".to_owned(),
                env: vec!["PATH=/bin:/opt/ansible/bin".to_owned()],
                entrypoint: vec![ENTRYPOINT.to_owned()],
                exposed_ports: PORTS.map(|port| (port.to_owned(), serde_json::Value::Null)).into(),
                healthcheck: Some(serde_json::json!({ "Test": HEALTH })),
                ..RunConfig::default()
            },
            history: Vec::new(),
            platform: "linux/amd64".to_owned(),
            created: None,
        }
    }

    #[test]
    fn what_is_wrong_with_a_configuration_and_nothing_else() {
        type Edit = fn(&mut RunConfig);
        let cases: [(&str, Edit, &str); 9] = [
            ("entrypoint", |run| run.entrypoint.clear(), "the image starts nothing, expected is `/usr/local/bin/entrypoint`"),
            ("entrypoint", |run| run.cmd = vec!["check".to_owned()], "the entrypoint is given `check`, expected is nothing"),
            ("entrypoint", |run| drop(run.exposed_ports.remove("22/tcp")), "the ports 22/tcp are not exposed"),
            ("user", |run| run.user = "ansible".to_owned(), "the image starts as `ansible`, expected is `root`"),
            (
                "health check",
                |run| run.healthcheck = None,
                "there is no health check, expected is `CMD /usr/local/bin/entrypoint healthcheck`",
            ),
            (
                "health check",
                |run| run.healthcheck = Some(serde_json::json!({ "Test": ["NONE"] })),
                "there is no health check, expected is `CMD /usr/local/bin/entrypoint healthcheck`",
            ),
            (
                "health check",
                |run| run.healthcheck = Some(serde_json::json!({ "Test": ["CMD", "true"] })),
                "the health check is `CMD true`, expected is `CMD /usr/local/bin/entrypoint healthcheck`",
            ),
            ("environment", |run| run.env.clear(), "`PATH` is not set, expected is `/opt/ansible/bin`"),
            (
                "environment",
                |run| run.env = vec!["PATH=/bin".to_owned()],
                "`PATH` is `/bin`, expected in it is `/opt/ansible/bin`",
            ),
        ];
        let env = BTreeMap::from([("PATH".to_owned(), "/opt/ansible/bin".to_owned())]);
        assert!(configuration(&good(), &env).iter().all(|(_, verdict)| verdict.outcome == Passed));
        for (name, edit, message) in cases {
            let mut config = good();
            edit(&mut config.run);
            let failed = configuration(&config, &env).into_iter().filter(|(_, verdict)| verdict.outcome == Failed);
            let failed: Vec<_> = failed.map(|(name, verdict)| (name, verdict.message)).collect();
            assert_eq!(failed, [(name, message.to_owned())]);
        }
    }

    #[test]
    fn labels_are_those_of_the_plan() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let planned: BTreeMap<_, _> = map(&[("gantry.variant", "aws"), (plan::REVISION, "abc")]);
        for (found, wrong) in [
            (&[("gantry.variant", "aws"), (plan::REVISION, "abc")][..], None),
            (&[("gantry.variant", "aws"), (plan::REVISION, "of another commit"), ("mine", "x")], None),
            (&[("gantry.variant", "azure"), (plan::REVISION, "abc")], Some("`gantry.variant` is `azure`, expected is `aws`")),
            (&[("gantry.variant", "aws")], Some("`org.opencontainers.image.revision` is missing, expected is `abc`")),
            (
                &[("gantry.variant", "aws"), (plan::REVISION, "abc"), ("gantry.pin.x", "1")],
                Some("`gantry.pin.x` is `1`, and the plan has no such label"),
            ),
        ] {
            let verdict = labels(&map(found), &planned);
            let message = (verdict.outcome == Failed).then_some(verdict.message);
            assert_eq!(message.as_deref(), wrong, "{found:?}");
        }
    }
}
