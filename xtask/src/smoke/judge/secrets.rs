//! Secrets in an image's configuration: its environment, its labels, the instructions that made it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex_lite::Regex;

use crate::contents;
use crate::oci::ImageConfig;
use crate::smoke::report::Verdict;

/// A variable or an option with a value. (`$x` is somebody else's value, `/x` the place of one.)
static ASSIGNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = "((?:--)?[A-Za-z_][A-Za-z0-9_-]*)";
    Regex::new(&format!(r#"(?:^|[\s|;&"'(]){name}=["']?[^\s"'$/]"#)).ok()
});

/// An address with a login in it.
static LOGIN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"https?://[^/\s"'$@]+@"#).ok());

/// Looks for secrets in environment, labels and history. What is found is named, never shown.
pub fn secrets(config: &ImageConfig) -> Verdict {
    let mut found = BTreeSet::new();
    let mut look = |place: &str, text: &str| {
        for what in contents::secrets_in(text.as_bytes()) {
            found.insert(format!("{what} in {place}"));
        }
        let names = ASSIGNED.iter().flat_map(|pattern| pattern.captures_iter(text)).filter_map(|found| found.get(1));
        for name in names.map(|name| name.as_str()).filter(|name| contents::is_secret_name(name)) {
            found.insert(format!("a value of `{name}` in {place}"));
        }
        if LOGIN.as_ref().is_some_and(|pattern| pattern.is_match(text)) {
            found.insert(format!("a login in an address in {place}"));
        }
    };
    for line in &config.run.env {
        look("the environment", line);
    }
    for (name, value) in &config.labels {
        look(&format!("the label `{name}`"), value);
    }
    for line in &config.history {
        look("the history", &line.created_by);
    }
    for word in config.run.entrypoint.iter().chain(&config.run.cmd) {
        look("the command", word);
    }
    match found.is_empty() {
        true => Verdict::passed("none in environment, labels and history"),
        false => Verdict::failed(found.into_iter().collect::<Vec<_>>().join("; "))
            .hint("hand it to the build as a secret: RUN --mount=type=secret; and change it, whoever has the image has it"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::oci::{Instruction, RunConfig};
    use crate::smoke::Outcome;

    #[test]
    fn secrets_are_named_and_not_shown() {
        let token = format!("ghp_{}", "x7Kq2Rm9Tz4Wn8Vb3Yc6Lf1Pj5Hd0Gs2Ae4B");
        let config = |env: &str, label: &str, history: &str| ImageConfig {
            diff_ids: Vec::new(),
            labels: BTreeMap::from([("note".to_owned(), label.to_owned())]),
            run: RunConfig { env: vec![env.to_owned()], ..RunConfig::default() },
            history: vec![Instruction { created_by: history.to_owned(), empty_layer: true }],
            platform: String::new(),
            created: None,
        };
        for (config, expected) in [
            (config("PATH=/bin", "", "RUN --mount=type=secret,id=ca true"), None),
            (config("GITHUB_TOKEN_FILE=/run/secrets/t", "", "RUN TOKEN=$TOKEN true"), None),
            (config("GITHUB_TOKEN=", "", ""), None),
            (config("GITHUB_TOKEN=abc", "", ""), Some("a value of `GITHUB_TOKEN` in the environment")),
            (config("", &token, ""), Some("GitHub token in the label `note`")),
            (config("", "", "RUN |1 NPM_TOKEN=x /bin/sh -c true"), Some("a value of `NPM_TOKEN` in the history")),
            (config("", "", "ENV DB_PASSWORD=hunter2"), Some("a value of `DB_PASSWORD` in the history")),
            (config("MYSQL_PWD=x", "", ""), Some("a value of `MYSQL_PWD` in the environment")),
            (config("", "", "RUN login --password=x"), Some("a value of `--password` in the history")),
            (config("SSH_KEY=/run/key", "", "RUN --mount=type=secret,id=key,target=/run/key PUBLIC_KEY=x true"), None),
            (config("", "", "RUN git clone https://abc@host/a.git"), Some("a login in an address in the history")),
            (config("", "", "RUN git clone https://host/a@b"), None),
        ] {
            let verdict = secrets(&config);
            let message = (verdict.outcome == Outcome::Failed).then_some(verdict.message);
            assert_eq!(message.as_deref(), expected, "{config:?}");
        }
    }
}
