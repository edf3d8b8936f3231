//! Which services give access to the workspace: the decision table, and nothing else.

/// Which of the deciding variables are set (empty is unset).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `CODER_AGENT_TOKEN`
    pub(crate) coder_agent: bool,
    /// `VSCODE_WEB`
    pub(crate) web: bool,
    /// `AUTHORIZED_KEYS`
    pub(crate) keys: bool,
}

/// A way into the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The agent of a Coder workspace.
    CoderAgent,
    /// VS Code in the browser.
    Web(Reach),
    /// OpenSSH.
    Sshd,
    /// The VS Code tunnel.
    Tunnel,
}

/// Who reaches a listening service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// 127.0.0.1: something in the container hands it on.
    Loopback,
    /// 0.0.0.0: whoever reaches the container.
    Everybody,
}

/// The services for what was asked, in the order in which they start.
pub(crate) fn decide(asked: Asked) -> Vec<Access> {
    match (asked.coder_agent, asked.web, asked.keys) {
        (true, false, _) => vec![Access::CoderAgent],
        (true, true, _) => vec![Access::CoderAgent, Access::Web(Reach::Loopback)],
        (false, true, false) => vec![Access::Web(Reach::Everybody)],
        (false, true, true) => vec![Access::Web(Reach::Everybody), Access::Sshd],
        (false, false, true) => vec![Access::Sshd],
        (false, false, false) => vec![Access::Tunnel],
    }
}

#[cfg(test)]
mod tests {
    use super::Access::{CoderAgent, Sshd, Tunnel, Web};
    use super::Reach::{Everybody, Loopback};
    use super::{Asked, decide};

    #[test]
    fn the_decision_table() {
        let table = [
            // agent, web, keys → services
            ((true, false, false), vec![CoderAgent]),
            ((true, false, true), vec![CoderAgent]),
            ((true, true, false), vec![CoderAgent, Web(Loopback)]),
            ((true, true, true), vec![CoderAgent, Web(Loopback)]),
            ((false, true, false), vec![Web(Everybody)]),
            ((false, true, true), vec![Web(Everybody), Sshd]),
            ((false, false, true), vec![Sshd]),
            ((false, false, false), vec![Tunnel]),
        ];
        for ((coder_agent, web, keys), services) in table {
            let asked = Asked { coder_agent, web, keys };
            assert_eq!(decide(asked), services, "{asked:?}");
        }
    }
}
