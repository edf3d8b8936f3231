//! Variables that were most likely meant for the entrypoint, and that it does not know.

use super::reader::Reader;
use super::table::{VARIABLES, find};

/// Nobody else's variables begin like this.
const OURS: [&str; 5] = ["ANSIBLE_REPO_", "AUTHORISED_KEY", "AUTHORIZED_KEY", "GITHUB_RUNNER_", "VSCODE_WEB_"];
/// Part of what Kubernetes sets for a service that happens to be called like one of ours.
const OF_KUBERNETES: [&str; 2] = ["_SERVICE_", "_PORT"];

impl Reader<'_> {
    /// Notes variables that are written wrong.
    pub(super) fn unknown(&mut self) {
        let names = self.sources.environment().iter().filter(|(_, value)| !value.is_empty());
        let notes: Vec<_> = names.filter_map(|(name, _)| remark(name.to_str()?)).collect();
        notes.into_iter().for_each(|note| self.note(note));
    }
}

/// What is wrong with a variable of this name, if anything is.
fn remark(name: &str) -> Option<String> {
    let known = |name: &str| VARIABLES.iter().any(|variable| variable.name == name);
    let ours = OURS.iter().any(|prefix| name.starts_with(prefix)) && !OF_KUBERNETES.iter().any(|part| name.contains(part));
    match name.strip_suffix("_FILE") {
        Some(bare) if find(bare).is_some_and(|variable| !variable.secret) && !known(name) => {
            Some(format!("{name} is set and means nothing: only secrets are read from files, {bare} is none"))
        }
        Some(bare) if known(bare) => None,
        _ if ours && !known(name) => {
            Some(format!("{name} is set and means nothing: no variable is called so (`entrypoint --help` lists them)"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::remark;

    #[test]
    fn names_that_are_nearly_right() {
        let table = [
            ("AUTHORIZED_KEYS", ""),
            ("AUTHORIZED_KEY", "no variable is called so"),
            ("AUTHORISED_KEYS", "no variable is called so"),
            ("AUTHORIZED_KEYS_FILE", "only secrets are read from files"),
            ("GITHUB_RUNNER_PAT", ""),
            ("GITHUB_RUNNER_PAT_FILE", ""),
            ("GITHUB_RUNNER_TOKN", "no variable is called so"),
            ("GITHUB_RUNNER_URL_FILE", "only secrets are read from files"),
            ("EXTRA_CA_FILE", ""),
            ("VSCODE_WEB_SERVICE_HOST", ""),
            ("VSCODE_WEB_PORT_8080_TCP_ADDR", ""),
            ("ANSIBLE_CONFIG", ""),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
            ("", ""),
        ];
        for (name, expected) in table {
            match remark(name) {
                None => assert_eq!(expected, "", "{name}"),
                Some(text) => assert!(!expected.is_empty() && text.contains(expected), "{name}: {text}"),
            }
        }
    }
}
