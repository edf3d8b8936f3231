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

/// A repository on a GitHub that cannot be reached, neither.
const NO_GITHUB: &str = "https://127.0.0.1:9/team/repository";

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
    /// The GitHub runner, where it is asked for one beside.
    pub(super) runner: Option<Robot>,
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
            ("runner, left out", self.runner == Some(Robot::Absent)),
            ("runner waits", self.runner == Some(Robot::Waits)),
            ("token kept secret", self.runner == Some(Robot::Waits)),
            ("password in no process", self.web == Some(Web::Password)),
            ("user", self.tunnels()),
            ("zombies", serves),
            ("stops", !ends),
        ];
        all.into_iter().filter(|(_, is_tried)| *is_tried).map(|(name, _)| name).collect()
    }

    /// Whether VS Code's own program is what it starts.
    pub(super) fn tunnels(&self) -> bool {
        self.end == End::Waits { says: Words::Login }
    }
}

/// The GitHub runner of an image that is asked for one, where GitHub cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Robot {
    /// It is not in it: that is said.
    Absent,
    /// It waits and disturbs nobody.
    Waits,
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
        says: Words,
    },
    /// It ends at once and says why, and which starts work.
    Refuses {
        /// All of it.
        says: Vec<&'static str>,
    },
}

/// What somebody who waits has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// This.
    Text(&'static str),
    /// How to log in; or, in the words of VS Code's own program, why nobody can, and that it is tried again.
    Login,
}

impl Words {
    /// The line of a log that says it.
    pub(super) fn line(self, log: &str) -> Option<&str> {
        let line = |text: &str| log.lines().find(|line| line.contains(text));
        match self {
            Self::Text(text) => line(text),
            Self::Login => line("enter the code ").or_else(|| {
                // What starts with the service's name is what its program has written.
                log.lines().find(|line| line.starts_with("tunnel: "))?;
                line("tunnel: the login failed (exit code 1); tried again")
            }),
        }
    }

    /// For a message: what is missing.
    pub(super) fn told(self) -> String {
        match self {
            Self::Text(text) => format!("`{text}`"),
            Self::Login => "which code to log in with, or why there is none".to_owned(),
        }
    }
}

/// What containers of a run are given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// A public key, as it belongs into AUTHORIZED_KEYS.
    pub(super) key: &'a str,
    /// The password of VS Code, and what stands in for a token of GitHub's.
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
        runner: None,
    };
    let refused = |says: &[&'static str]| End::Refuses { says: [says, &["AUTHORIZED_KEYS=", "CODER_AGENT_TOKEN"]].concat() };
    let waiting = End::Waits { says: Words::Text("cannot be downloaded") };

    // Nobody is asked: there is no GitHub at this address.
    let runner = [("GITHUB_RUNNER_URL", NO_GITHUB), ("GITHUB_RUNNER_PAT", given.password)];
    let asked = [&[keys][..], &runner].concat();
    let mut starts = match promise.runner {
        Component::Here(_) => vec![
            Start { ssh: Some(SSH_PORT), ..serving("ssh", &[keys]) },
            Start { ssh: Some(SSH_PORT), runner: Some(Robot::Waits), ..serving("ssh + runner", &asked) },
        ],
        // The one start shows both.
        _ => vec![Start { ssh: Some(SSH_PORT), runner: Some(Robot::Absent), ..serving("ssh", &asked) }],
    };
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
        Component::Here(_) => Start { end: End::Waits { says: Words::Login }, ..serving("tunnel", &[]) },
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

    #[test]
    fn a_tunnel_tells_how_to_log_in_or_why_nobody_can() {
        let tries = "gantry: warning: tunnel: the login failed (exit code 1); tried again in 1 s";
        let code =
            "tunnel: To sign in, use a web browser to open the page https://microsoft.com/devicelogin and enter the code A1";
        for (log, expected) in [
            (vec!["gantry: tunnel: started as process 8"], None),
            // It cannot be anything but a program that says nothing.
            (vec!["gantry: tunnel: started as process 8", tries], None),
            (vec!["tunnel: error: no network", tries], Some(tries)),
            (vec!["tunnel: error: no network", tries, code], Some(code)),
            (vec!["tunnel: what?", "gantry: warning: tunnel: the login failed (exit code 127); tried again in 1 s"], None),
            (vec!["tunnel: what?", "gantry: warning: tunnel: the login failed (killed by signal 11); tried again in 1 s"], None),
        ] {
            assert_eq!(Words::Login.line(&log.join("\n")), expected, "{log:?}");
        }
        assert_eq!(Words::Text("b").line("a\nabc"), Some("abc"));
    }

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
                assert_eq!(start.runner.is_some(), given("GITHUB_RUNNER_PAT"), "{}", start.name);
                assert_eq!(start.user.is_some(), start.confinement.read_only, "{}", start.name);
                let opens = given("VSCODE_WEB") && !matches!(start.end, End::Refuses { .. });
                assert_eq!(start.web.is_some(), opens, "{}", start.name);
                assert_eq!(start.web == Some(Web::Loopback), opens && given("CODER_AGENT_TOKEN"), "{}", start.name);
            }
        }
    }

    #[test]
    fn a_runner_is_asked_for_where_there_is_one_and_where_there_is_none() {
        for (runner, expected) in [
            (Component::Here("2".to_owned()), vec![("ssh", None), ("ssh + runner", Some(Robot::Waits))]),
            (Component::Omitted, vec![("ssh", Some(Robot::Absent))]),
            (Component::None, vec![("ssh", Some(Robot::Absent))]),
        ] {
            let promise = Promise { runner, ..promise(Component::None, Component::Omitted) };
            let starts = starts(&promise, Given { key: "ssh-ed25519 A", password: "secret-1" });
            let asked: Vec<_> = starts.iter().take(expected.len()).map(|start| (start.name, start.runner)).collect();
            assert_eq!(asked, expected);
            assert!(starts.iter().skip(expected.len()).all(|start| start.runner.is_none()));
        }
    }
}
