//! The services that give access: sshd, VS Code in the browser, the tunnel, the Coder agent.

use super::keys;
use super::model::{Coder, Ssh, Tunnel, Web, WebAuth};
use super::reader::{Reader, shown};
use super::secret::Secret;
use crate::access::Reach;

/// The longest name that the tunnel service accepts.
const LONGEST_TUNNEL_NAME: usize = 20;

impl Reader<'_> {
    pub(super) fn ssh(&mut self, selected: bool) -> Ssh {
        // An ordinary user may not be able to listen below 1024.
        let default = if self.sources.is_root() { 22 } else { 2222 };
        if !selected {
            return Ssh { keys: Vec::new(), port: default };
        }
        let keys = match keys::parse(&self.text("AUTHORIZED_KEYS").unwrap_or_default()) {
            Ok(keys) => keys,
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.problem("AUTHORIZED_KEYS", problem));
                Vec::new()
            }
        };
        Ssh { keys, port: self.port("SSH_PORT", default) }
    }

    pub(super) fn web(&mut self, reach: Option<Reach>) -> Web {
        let Some(reach) = reach else { return Web { port: 8080, auth: WebAuth::Nobody } };
        let port = self.port("VSCODE_WEB_PORT", 8080);
        let open = match self.word("VSCODE_WEB_AUTH").as_deref() {
            None if reach == Reach::Loopback => true,
            None | Some("token") => false,
            Some("none") => true,
            Some(other) => {
                self.problem("VSCODE_WEB_AUTH", format!("is `{}`; `token` and `none` are known", shown(other)));
                false
            }
        };
        let token = self.web_token();
        let auth = match (open, token) {
            (true, Some(_)) if reach == Reach::Everybody => {
                self.problem("VSCODE_WEB_AUTH", "is `none`, but VSCODE_WEB_TOKEN is set: leave one of them out");
                WebAuth::Nobody
            }
            (true, None) => WebAuth::Nobody,
            (_, Some(token)) => WebAuth::Token(token),
            (false, None) => WebAuth::Generated,
        };
        Web { port, auth }
    }

    pub(super) fn web_token(&mut self) -> Option<Secret> {
        let token = self.token("VSCODE_WEB_TOKEN");
        if let Some(Err(problem)) = token.as_ref().map(|token| web_token(token.expose())) {
            self.problem("VSCODE_WEB_TOKEN", problem);
        }
        token
    }

    pub(super) fn tunnel(&mut self, selected: bool) -> Tunnel {
        let default = "ansible_container".to_owned();
        let Some(name) = selected.then(|| self.word("TUNNEL_NAME")).flatten() else { return Tunnel { name: default } };
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let length = name.chars().count();
        if length > LONGEST_TUNNEL_NAME || !name.chars().all(good) {
            let shown = shown(&name);
            let rule = "at most 20 letters, digits, `_` and `-` are accepted";
            self.problem("TUNNEL_NAME", format!("is `{shown}` ({length} characters); {rule}"));
            return Tunnel { name: default };
        }
        Tunnel { name }
    }

    pub(super) fn coder(&mut self) -> Option<Coder> {
        // Only looked at: who starts the agent reads it again.
        self.token("CODER_AGENT_TOKEN");
        let Some(text) = self.word("CODER_AGENT_URL") else {
            self.problem("CODER_AGENT_URL", "is unset, but CODER_AGENT_TOKEN is set: the Coder server's address belongs there");
            return None;
        };
        if self.switch("CODER_AGENT_ALLOW_HTTP", false)
            && let Ok(url) = super::url::Url::parse(&text)
            && !url.credentials
        {
            if !url.is_private() {
                self.note("CODER_AGENT_ALLOW_HTTP is set: whoever listens on the way reads the agent's token");
            }
            return Some(Coder { url: url.to_string() });
        }
        let url = self.private_url_of("CODER_AGENT_URL", &text)?;
        Some(Coder { url: url.to_string() })
    }
}

/// Checks a token for what VS Code's server accepts, without repeating it.
fn web_token(token: &str) -> Result<(), &'static str> {
    if !token.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err("holds something else than letters, digits, `_` and `-`");
    }
    if token.len() < 8 {
        return Err("is shorter than 8 characters");
    }
    Ok(())
}
