//! How single variables are read, and where problems and notes are gathered.

use super::model::Disabled;
use super::secret::Secret;
use super::sources::Sources;
use super::url::Url;
use std::ops::RangeInclusive;

/// The longest value that a message repeats, in characters.
const LONGEST_SHOWN: usize = 60;

/// Reads variables one by one.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    pub(super) problems: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) disabled: Vec<Disabled>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self { sources, problems: Vec::new(), notes: Vec::new(), disabled: Vec::new() }
    }

    pub(super) fn problem(&mut self, variable: &str, message: impl std::fmt::Display) {
        let problem = format!("{variable} {message}");
        // A variable may be asked for twice.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Reads a service that the workspace can do without: what is wrong with it keeps it away, and nothing else.
    pub(super) fn beside<T>(&mut self, service: &'static str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = std::mem::take(&mut self.problems);
        let found = read(self);
        let problems = std::mem::replace(&mut self.problems, before);
        if problems.is_empty() {
            return found;
        }
        self.disabled.push(Disabled { service, problems });
        None
    }

    /// The variable's text as it is; none when unset, empty or (a problem) not UTF-8.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        #[cfg(test)]
        assert!(super::table::find(name).is_some(), "`{name}` is not in the table of variables");
        match self.sources.text(name)? {
            Ok(text) => Some(text),
            Err(_) => {
                self.problem(name, "is not UTF-8");
                None
            }
        }
    }

    /// The variable's text without blanks around it; none when nothing is left.
    pub(super) fn word(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Whether something that any value switches on is on.
    pub(super) fn any_value(&mut self, name: &str) -> bool {
        let Some(text) = self.word(name) else { return false };
        if is_no(&text) {
            self.note(format!("{name} is `{text}`, and any value but an empty one switches it on"));
        }
        true
    }

    pub(super) fn switch(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.word(name) else { return default };
        let no = is_no(&text);
        if !no && !["1", "true", "yes", "on"].contains(&text.to_lowercase().as_str()) {
            self.problem(name, format!("is `{}`; `1` (true, yes, on) and `0` (false, no, off) are known", shown(&text)));
        }
        !no
    }

    pub(super) fn number(&mut self, name: &str, accepted: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(text) = self.word(name) else { return default };
        match text.parse() {
            Ok(number) if accepted.contains(&number) => number,
            _ => {
                let (first, last) = accepted.into_inner();
                self.problem(name, format!("is `{}`; a whole number from {first} to {last} belongs there", shown(&text)));
                default
            }
        }
    }

    pub(super) fn port(&mut self, name: &str, default: u16) -> u16 {
        if self.word(name).is_some_and(|text| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme))) {
            // Kubernetes sets `<SERVICE>_PORT=tcp://ADDRESS:PORT` for every service of the namespace.
            let service = name.trim_end_matches("_PORT").to_lowercase().replace('_', "-");
            self.note(format!(
                "{name} comes from a Kubernetes service called `{service}` and is taken as unset: port {default} \
                 (`enableServiceLinks: false` keeps Kubernetes from setting it)"
            ));
            return default;
        }
        u16::try_from(self.number(name, 1..=65535, default.into())).unwrap_or(default)
    }

    /// An address without credentials in it. `http` is a problem unless nobody else can listen.
    pub(super) fn private_url(&mut self, name: &str) -> Option<Url> {
        let text = self.word(name)?;
        self.private_url_of(name, &text)
    }

    /// The same with the text of the variable.
    pub(super) fn private_url_of(&mut self, name: &str, text: &str) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(problem) => {
                self.problem(name, problem);
                return None;
            }
        };
        if url.credentials {
            self.problem(name, "holds credentials; everybody sees addresses: take them out, and replace them");
            return None;
        }
        if !url.is_private() {
            self.problem(
                name,
                format!("begins with `http://`, and others than `{}` could listen: `https://` it has to be", url.host),
            );
            return None;
        }
        Some(url)
    }

    /// A secret from `name` or from the file that `name`_FILE names, if it looks like one token.
    pub(super) fn token(&mut self, name: &str) -> Option<Secret> {
        let secret = self.secret(name)?;
        match plain_token(secret.expose()) {
            Ok(()) => Some(secret),
            Err(problem) => {
                self.problem(name, problem);
                None
            }
        }
    }

    /// The same, whatever it looks like.
    pub(super) fn secret(&mut self, name: &str) -> Option<Secret> {
        #[cfg(test)]
        assert!(super::table::is_secret(name), "`{name}` is no secret in the table of variables");
        match self.sources.secret(name) {
            Ok(secret) => secret,
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }
}

fn is_no(text: &str) -> bool {
    ["0", "false", "no", "off"].contains(&text.to_lowercase().as_str())
}

/// A value for a message: not too long, on one line.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Explains what is no token, without repeating it. The error continues a sentence that begins with the variable's name.
pub(super) fn plain_token(text: &str) -> Result<(), &'static str> {
    let lower = text.to_ascii_lowercase();
    if text.starts_with(['{', '[']) {
        return Err("is a JSON object where the plain token belongs: store the secret as a plain string, or name its key \
                    in the task definition's `valueFrom`");
    }
    if text.starts_with(['"', '\'']) {
        return Err("begins with a quotation mark: files for `--env-file` have none, the token alone belongs there");
    }
    if lower.starts_with("arn:aws") {
        return Err("is the ARN of a secret instead of the secret: in a task definition it belongs into `secrets`, not into \
                    `environment`");
    }
    if ["bearer ", "token ", "basic "].iter().any(|scheme| lower.starts_with(scheme)) {
        return Err("begins with the scheme of a header (`Bearer`, `token`): the token alone belongs there");
    }
    if lower.starts_with("export ") || lower.starts_with("github_token=") || lower.starts_with("token=") {
        return Err("begins with an assignment: the token alone belongs there");
    }
    if text.starts_with("-----BEGIN") {
        return Err("is a key in PEM where a token belongs");
    }
    if ["null", "none", "undefined"].contains(&lower.as_str()) {
        return Err("is a word for nothing, which some program wrote in place of a token");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("holds a blank or a line break: one token, and nothing else, belongs there");
    }
    if !text.is_ascii() {
        return Err("holds characters that no token has");
    }
    Ok(())
}
