//! `entrypoint check`: tries the settings strictly, and says what would run with them.

use crate::access::{Access, Reach};
use crate::account::WORKSPACE_USER;
use crate::failure::Failure;
use crate::log::{Format, Log, quote};
use crate::services;
use crate::settings::{Credentials, Repository, Runner, Settings, Sources, WebAuth, log_format};
use nix::unistd::Uid;

/// One thing that would run or hold, and what there is to know about it.
type Part = (&'static str, Vec<(&'static str, String)>);

/// Answers `check`.
///
/// # Errors
/// Those of a start, as far as they can be known without one; a service that would stay away is one of them.
pub(crate) fn check(log: &Log) -> Result<u8, Failure> {
    let sources = Sources::plain();
    let mut settings = Settings::read_strictly(&sources)?;
    services::leave_out(&mut settings);
    // First, since a name that is nearly right may be all that is wrong.
    settings.say(log);
    services::available(&settings)?;
    let user = if sources.is_root() { WORKSPACE_USER.to_owned() } else { Uid::effective().to_string() };
    let parts = plan(&settings, &user);
    log.answer(&match log_format() {
        Format::Text => text(&parts),
        Format::Json => json(&parts),
    });
    Ok(0)
}

/// What would run, in the order in which it starts.
fn plan(settings: &Settings, user: &str) -> Vec<Part> {
    let mut parts = vec![("workspace", vec![("user", user.to_owned()), ("sudo", switch(settings.sudo))])];
    if let Some(folder) = &settings.persist {
        parts.push(("persistence", vec![("folder", folder.display().to_string())]));
    }
    if let Some(file) = &settings.extra_ca {
        parts.push(("certificates", vec![("file", file.display().to_string())]));
    }
    parts.extend(settings.repository.as_ref().map(repository));
    parts.extend(settings.access.iter().map(|access| of_access(*access, settings)));
    parts.extend(settings.runner.as_ref().map(runner));
    parts.push(("stop", vec![("grace", format!("{} s", settings.grace.as_secs()))]));
    parts
}

fn of_access(access: Access, settings: &Settings) -> Part {
    match access {
        Access::Sshd => {
            let (port, keys) = (settings.ssh.port.to_string(), settings.ssh.keys.len().to_string());
            ("sshd", vec![("port", port), ("keys", keys)])
        }
        Access::Web(reach) => {
            let host = if reach == Reach::Loopback { "127.0.0.1" } else { "0.0.0.0" };
            let auth = match settings.web.auth {
                WebAuth::Nobody => "none",
                WebAuth::Generated => "a generated token",
                WebAuth::Token(_) => "VSCODE_WEB_TOKEN",
            };
            ("web", vec![("address", format!("{host}:{}", settings.web.port)), ("auth", auth.to_owned())])
        }
        Access::Tunnel => ("tunnel", vec![("name", settings.tunnel.name.clone())]),
        Access::CoderAgent => {
            let url = settings.coder.as_ref().map(|coder| coder.url.clone()).unwrap_or_default();
            ("agent", vec![("server", url), ("credentials", "CODER_AGENT_TOKEN".to_owned())])
        }
    }
}

fn repository(repository: &Repository) -> Part {
    let Repository { url, branch, depth, folder, authenticate, before, after } = repository;
    let folder = if folder.is_absolute() { folder.display().to_string() } else { format!("~/{}", folder.display()) };
    let mut facts = vec![("url", url.clone()), ("folder", folder)];
    facts.extend(branch.clone().map(|branch| ("branch", branch)));
    facts.extend(depth.map(|depth| ("depth", depth.to_string())));
    facts.extend(authenticate.then(|| ("credentials", "GITHUB_TOKEN".to_owned())));
    let scripts = [("ANSIBLE_REPO_PRE_CLONE", before), ("ANSIBLE_REPO_POST_CLONE", after)];
    // One fact: in JSON, a name stands there once.
    let scripts: Vec<_> = scripts.into_iter().filter(|(_, script)| script.is_some()).map(|(name, _)| name).collect();
    facts.extend((!scripts.is_empty()).then(|| ("scripts", scripts.join(" and "))));
    ("repository", facts)
}

fn runner(runner: &Runner) -> Part {
    let credentials = match &runner.credentials {
        Credentials::Pat(name) => (*name).to_owned(),
        Credentials::App { id, .. } => format!("GITHUB_APP_PRIVATE_KEY of the App {id}"),
        Credentials::RegistrationToken => "GITHUB_RUNNER_TOKEN".to_owned(),
    };
    let mut facts = vec![
        ("url", runner.target.url.clone()),
        ("api", runner.target.api.clone()),
        ("name", runner.name.clone().unwrap_or_else(|| "the ECS task's ID or the hostname".to_owned())),
        ("labels", runner.labels.join(",")),
        ("user", runner.user.clone()),
        ("credentials", credentials),
    ];
    facts.extend(runner.group.clone().map(|group| ("group", group)));
    facts.extend(runner.work_folder.as_ref().map(|folder| ("folder", folder.display().to_string())));
    let switches = [("ephemeral", runner.ephemeral), ("public", runner.allow_public), ("debug", runner.debug)];
    facts.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, on)| (name, switch(on))));
    if !runner.autostart {
        facts.push(("start", "by `entrypoint start runner`".to_owned()));
    }
    ("runner", facts)
}

fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// A line for each part.
fn text(parts: &[Part]) -> String {
    let line = |(name, facts): &Part| {
        let facts: Vec<_> = facts.iter().map(|(fact, value)| format!("{fact} {value}")).collect();
        format!("{name}: {}\n", facts.join(", "))
    };
    parts.iter().map(line).collect()
}

/// `{"sshd":{"port":"22",…},…}`
fn json(parts: &[Part]) -> String {
    let mut text = String::from("{");
    for (at, (name, facts)) in parts.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "," });
        quote(name, &mut text);
        text.push_str(":{");
        for (at, (fact, value)) in facts.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "," });
            quote(fact, &mut text);
            text.push(':');
            quote(value, &mut text);
        }
        text.push('}');
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::{json, plan, text};
    use crate::settings::{Settings, Sources};

    fn planned(variables: &[(&str, &str)]) -> String {
        let settings = Settings::read_strictly(&Sources::for_test(variables)).expect("good settings");
        text(&plan(&settings, "ansible"))
    }

    #[test]
    fn everything_that_would_run_is_said_and_no_secret() {
        let found = planned(&[
            ("CODER_AGENT_TOKEN", "canary"),
            ("CODER_AGENT_URL", "https://coder.example.com/"),
            ("VSCODE_WEB", "1"),
            ("ANSIBLE_REPO_URL", "https://me:canary@github.com/o/r/tree/main"),
            ("ANSIBLE_REPO_DEPTH", "1"),
            ("ANSIBLE_REPO_PRE_CLONE", "echo canary"),
            ("ANSIBLE_REPO_POST_CLONE", "echo canary"),
            ("GITHUB_TOKEN", "canary"),
            ("GITHUB_RUNNER_URL", "https://github.com/o"),
            ("GITHUB_RUNNER_NAME", "mine"),
            ("GITHUB_RUNNER_PAT", "canary"),
            ("GITHUB_RUNNER_EPHEMERAL", "1"),
            ("GITHUB_RUNNER_AUTOSTART", "0"),
            ("PERSIST_DIR", "/data"),
            ("WORKSPACE_SUDO", "0"),
            ("STOP_GRACE_SECONDS", "20"),
        ]);
        let expected = "\
            workspace: user ansible, sudo off\n\
            persistence: folder /data\n\
            repository: url https://github.com/o/r, folder ~/r, branch main, depth 1, credentials GITHUB_TOKEN, \
            scripts ANSIBLE_REPO_PRE_CLONE and ANSIBLE_REPO_POST_CLONE\n\
            agent: server https://coder.example.com, credentials CODER_AGENT_TOKEN\n\
            web: address 127.0.0.1:8080, auth none\n\
            runner: url https://github.com/o, api https://api.github.com, name mine, labels self-hosted,linux, user runner, \
            credentials GITHUB_RUNNER_PAT, ephemeral on, start by `entrypoint start runner`\n\
            stop: grace 20 s\n";
        assert_eq!(found, expected);
        assert!(planned(&[("VSCODE_WEB", "1")]).contains("\nweb: address 0.0.0.0:8080, auth a generated token\n"));
        assert!(planned(&[("TUNNEL_NAME", "mine")]).contains("\ntunnel: name mine\n"));
    }

    #[test]
    fn both_formats() {
        let parts = vec![("sshd", vec![("port", "22".to_owned()), ("keys", "1".to_owned())]), ("stop", Vec::new())];
        assert_eq!(text(&parts), "sshd: port 22, keys 1\nstop: \n");
        assert_eq!(json(&parts), "{\"sshd\":{\"port\":\"22\",\"keys\":\"1\"},\"stop\":{}}\n");
    }
}
