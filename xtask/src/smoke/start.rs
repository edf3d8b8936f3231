//! The ways in which an image is started, and what has to come of each: the decision table of the design. Pure.

use std::collections::BTreeMap;

use super::promise::{Component, Promise};
use crate::engine::Confinement;

/// The ports of the entrypoint. (`images/finish/Dockerfile`)
pub(super) const SSH_PORT: u16 = 22;
/// Where the container does not run as root.
pub(super) const SSH_PORT_UNPRIVILEGED: u16 = 2222;
pub(super) const WEB_PORT: u16 = 8080;
/// The exit code of the entrypoint where an image does not contain what was asked for (`EX_UNAVAILABLE`).
pub(super) const UNAVAILABLE: i64 = 69;
/// The workspace's user.
const UID: u32 = 1000;
/// A Coder server that cannot be reached: the discard service's port on the container's own loopback.
const NO_SERVER: &str = "http://127.0.0.1:9/";

/// A way in which an image is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// `ssh`, `web + ssh`: also in the names of its checks.
    pub(super) name: &'static str,
    /// The variables.
    pub(super) env: BTreeMap<String, String>,
    /// Whom it runs as, where not as the image says.
    pub(super) user: Option<String>,
    /// What it may not do.
    pub(super) confinement: Confinement,
    /// Where it takes a login.
    pub(super) ssh: Option<u16>,
    /// Where it serves VS Code.
    pub(super) web: Option<Web>,
    /// What has to come of it.
    pub(super) end: End,
    /// Where it is asked for the runner, which is not in it: it says so.
    pub(super) lacks_runner: bool,
}

impl Start {
    /// The names of its checks, in their order, where nothing keeps one from being tried.
    pub(super) fn checks(&self) -> Vec<&'static str> {
        let serves = self.end == End::Serves;
        let ends = matches!(self.end, End::Refuses { .. });
        let all = [
            ("says so", !serves),
            ("starts", serves),
            ("health", serves),
            ("login", self.ssh.is_some()),
            ("password refused", self.ssh.is_some()),
            ("page", self.web == Some(Web::Password)),
            ("page on loopback", self.web == Some(Web::Loopback)),
            ("runner, left out", self.lacks_runner),
            ("password in no process", self.web == Some(Web::Password)),
            ("zombies", serves),
            ("stops", !ends),
        ];
        all.into_iter().filter(|(_, is_tried)| *is_tried).map(|(name, _)| name).collect()
    }
}

/// Who reaches VS Code, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Web {
    /// Whoever has the password, on the container's address.
    Password,
    /// Whoever is in the container.
    Loopback,
}

/// What has to come of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It turns healthy and serves until it is stopped.
    Serves,
    /// It waits for something that it cannot reach and says so, until it is stopped.
    Waits {
        /// What it says.
        says: &'static str,
    },
    /// It ends at once and says why, and which starts work.
    Refuses {
        /// All of it.
        says: Vec<&'static str>,
    },
}

/// What containers of a run are given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// A public key, as it belongs into AUTHORIZED_KEYS.
    pub(super) key: &'a str,
    /// The password of VS Code.
    pub(super) password: &'a str,
}

/// All starts of an image, in the order in which they are told.
pub(super) fn starts(promise: &Promise, given: Given<'_>) -> Vec<Start> {
    let has_web = matches!(promise.web, Component::Here(_));
    let keys = ("AUTHORIZED_KEYS", given.key);
    let web = [("VSCODE_WEB", "1"), ("VSCODE_WEB_TOKEN", given.password)];
    let coder = [("CODER_AGENT_URL", NO_SERVER), ("CODER_AGENT_TOKEN", "00000000-0000-4000-8000-000000000000")];
    let serving = |name, env: &[(&str, &str)]| Start {
        name,
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        user: None,
        confinement: Confinement::default(),
        ssh: None,
        web: None,
        end: End::Serves,
        lacks_runner: false,
    };
    let refused = |says: &[&'static str]| End::Refuses { says: [says, &["AUTHORIZED_KEYS=", "CODER_AGENT_TOKEN"]].concat() };
    let waiting = End::Waits { says: "cannot be downloaded" };

    // Nobody is asked: there is no GitHub at this address.
    let runner = [("GITHUB_RUNNER_URL", "https://127.0.0.1:9/team/repository"), ("GITHUB_RUNNER_PAT", "not-a-token")];
    let lacks_runner = !matches!(promise.runner, Component::Here(_));
    let env = if lacks_runner { [&[keys][..], &runner].concat() } else { vec![keys] };
    let mut starts = vec![Start { ssh: Some(SSH_PORT), lacks_runner, ..serving("ssh", &env) }];
    if has_web {
        let both = [&web[..], &[keys]].concat();
        starts.push(Start { web: Some(Web::Password), ..serving("web", &web) });
        starts.push(Start { ssh: Some(SSH_PORT), web: Some(Web::Password), ..serving("web + ssh", &both) });
    } else if !matches!(promise.tunnel, Component::Here(_)) {
        // VS Code's command line program could serve it, from what it downloads.
        starts.push(Start { end: refused(&["VSCODE_WEB"]), ..serving("web, not in it", &web) });
    }
    starts.push(Start { end: waiting.clone(), ..serving("coder", &coder) });
    if has_web {
        let both = [&coder[..], &web[..1]].concat();
        starts.push(Start { end: waiting, web: Some(Web::Loopback), ..serving("coder + web", &both) });
    }
    starts.push(match promise.tunnel {
        Component::Here(_) => Start { end: End::Waits { says: "tunnel" }, ..serving("tunnel", &[]) },
        _ => Start { end: refused(&["/usr/local/bin/code"]), ..serving("tunnel, left out", &[]) },
    });
    let restricted = match has_web {
        true => [&web[..], &[keys]].concat(),
        false => vec![keys],
    };
    starts.push(Start {
        user: Some(UID.to_string()),
        confinement: Confinement {
            read_only: true,
            powerless: true,
            tmpfs: BTreeMap::from([
                ("/tmp".to_owned(), "noexec".to_owned()),
                ("/home/ansible".to_owned(), format!("exec,mode=0700,uid={UID}")),
            ]),
        },
        ssh: Some(SSH_PORT_UNPRIVILEGED),
        web: has_web.then_some(Web::Password),
        ..serving("restricted", &restricted)
    });
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(web: Component, tunnel: Component) -> Promise {
        Promise {
            variant: "aws".parse().expect("a name"),
            labels: BTreeMap::new(),
            tools: BTreeMap::new(),
            env: BTreeMap::new(),
            checks: Vec::new(),
            max_size: None,
            max_growth: None,
            web,
            tunnel,
            runner: Component::None,
        }
    }

    #[test]
    fn every_row_of_the_decision_table_that_the_image_can_have_and_a_refusal_of_the_others() {
        let here = || Component::Here("1".to_owned());
        for (web, tunnel, expected) in [
            (here(), here(), "ssh, web, web + ssh, coder, coder + web, tunnel, restricted"),
            (here(), Component::Omitted, "ssh, web, web + ssh, coder, coder + web, tunnel, left out, restricted"),
            (Component::None, here(), "ssh, coder, tunnel, restricted"),
            (Component::None, Component::Omitted, "ssh, web, not in it, coder, tunnel, left out, restricted"),
        ] {
            let starts = starts(&promise(web, tunnel), Given { key: "ssh-ed25519 A", password: "secret-1" });
            let names: Vec<_> = starts.iter().map(|start| start.name).collect();
            assert_eq!(names.join(", "), expected);
            for start in &starts {
                let given = |name: &str| start.env.contains_key(name);
                assert_eq!(start.ssh.is_some(), given("AUTHORIZED_KEYS"), "{}", start.name);
                assert_eq!(start.user.is_some(), start.confinement.read_only, "{}", start.name);
                let opens = given("VSCODE_WEB") && !matches!(start.end, End::Refuses { .. });
                assert_eq!(start.web.is_some(), opens, "{}", start.name);
                assert_eq!(start.web == Some(Web::Loopback), opens && given("CODER_AGENT_TOKEN"), "{}", start.name);
            }
        }
    }
}
