//! The services of a workspace: everything that must be in place before them, and how they are run.

mod authorize;
mod coder_agent;
mod extensions;
mod repository;
mod rights;
mod runner;
mod sshd;
mod sshd_files;
mod tunnel;
mod unprivileged;
mod vscode_web;
mod web_server;
mod web_token;

pub(crate) use sshd::keep_host_keys;
pub(crate) use web_token::renew as renew_web_token;

use crate::access::Access;
use crate::account::Account;
use crate::failure::{Failure, SYSTEM, UNAVAILABLE};
use crate::log::Log;
use crate::settings::{Disabled, Settings, Sources};
use crate::supervisor::{Policy, Restart, Role, Service};
use crate::{certificates, files, persistence, places, signals};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What every service is made from.
struct Surroundings<'a> {
    settings: &'a Settings,
    /// For the workers: their environment and their secrets.
    sources: &'a Sources,
    account: Account,
    /// The folder for what lives as long as the container.
    runtime: PathBuf,
    log: &'a Log,
}

/// Prepares what the settings ask for. Nothing is started.
///
/// # Errors
/// Something asked for is not in this version or this image, or cannot be prepared.
pub(crate) fn prepare(settings: &mut Settings, sources: &Sources, log: &Log) -> Result<Vec<Service>, Failure> {
    available(settings)?;
    let account = Account::workspace(settings.home.as_deref())?;
    writable(&account)?;
    if let Some(volume) = &settings.persist {
        // What is not kept is said; a workspace without it is of more use than none.
        let kept = persistence::keep(volume, &account, log) || signals::stop_is_pending();
        if settings.strict && !kept {
            return Err(Failure::new(SYSTEM, "STRICT=1, and not everything of the home is kept"));
        }
        if !kept {
            settings.notes.push("PERSIST_DIR: not everything of the home is kept: the container's log says why".to_owned());
        }
    }
    let runtime = places::create_runtime()?;
    account.introduce()?;
    certificates::trust(settings, &runtime, log);
    rights::settle(settings, &account, log);
    let surroundings = Surroundings { settings, sources, account, runtime, log };
    let clone = settings.repository.as_ref().map(|_| Ok(repository::prepare(&surroundings)));
    let access = settings.access.iter().map(|access| match access {
        Access::Sshd => sshd::prepare(&surroundings),
        Access::Web(reach) => vscode_web::prepare(&surroundings, *reach),
        Access::CoderAgent => coder_agent::prepare(&surroundings),
        Access::Tunnel => tunnel::prepare(&surroundings),
    });
    let mut services = clone.into_iter().chain(access).collect::<Result<Vec<_>, _>>()?;
    services.extend(settings.runner.as_ref().map(|runner| runner::prepare(&surroundings, runner)));
    rights::restrict(&mut services, settings.sudo);
    Ok(services)
}

/// What is asked for beside the access, and is not in this image, stays away.
pub(crate) fn leave_out(settings: &mut Settings) {
    match runner::missing(settings) {
        None => settings.note_reach_of_jobs(),
        Some(problem) if !settings.strict => {
            settings.runner = None;
            settings.disabled.push(Disabled { service: "runner", problems: vec![problem] });
        }
        // `available` refuses the start.
        Some(_) => {}
    }
}

/// Checks that this version and this image have everything that the settings ask for.
///
/// # Errors
/// One failure that names all of it and the starts that work.
pub(crate) fn available(settings: &Settings) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for access in &settings.access {
        match access {
            // It is downloaded.
            Access::CoderAgent => {}
            Access::Tunnel => problems.extend(tunnel::missing()),
            Access::Web(_) => problems.extend(vscode_web::missing()),
            Access::Sshd => problems.extend(sshd::missing()),
        }
    }
    let hints = if problems.is_empty() { Vec::new() } else { starts() };
    if settings.strict {
        problems.extend(runner::missing(settings));
        problems.extend(certificates::missing(settings));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure { exit: UNAVAILABLE, problems, hints })
}

/// The starts that work with this version and this image.
fn starts() -> Vec<String> {
    let web = vscode_web::missing().is_none();
    let sshd = sshd::missing().is_none();
    let tunnel = tunnel::missing().is_none();
    let lines = [
        (sshd, "AUTHORIZED_KEYS=\"ssh-ed25519 AAAA…\" starts sshd"),
        (web, "VSCODE_WEB=1 starts VS Code in the browser"),
        (sshd && web, "VSCODE_WEB=1 and AUTHORIZED_KEYS start both"),
        (tunnel, "neither of them starts the VS Code tunnel"),
        (true, "CODER_AGENT_TOKEN and CODER_AGENT_URL start the agent of a Coder workspace"),
    ];
    lines.into_iter().filter(|(works, _)| *works).map(|(_, line)| line.to_owned()).collect()
}

/// Checks that the folders that programs write to can be written to, and names all that cannot.
fn writable(account: &Account) -> Result<(), Failure> {
    let become_user = |mut failure: Failure| {
        failure.problems = failure.problems.iter().map(|problem| format!("root needs the right {problem}")).collect();
        failure.hint(format!("leave root the capabilities that engines give it, or start without it: `--user {}`", account.uid))
    };
    account.act(|| Ok(())).map_err(become_user)?;
    persistence::adopt_home(account);
    let problem = |path: &Path| {
        let error = account.act(|| {
            let tried = files::writable(path);
            tried.map_err(|error| Failure::system("", error.desc()))
        });
        let error = error.err()?.problems.concat();
        Some(format!("`{}` cannot be written to by `{}`{error}", path.display(), account.name))
    };
    let problems: Vec<_> = [account.home.as_path(), Path::new("/tmp")].into_iter().filter_map(problem).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let (home, uid) = (account.home.display(), account.uid);
    let mut hints = vec![format!(
        "mount a volume at `{home}` that uid {uid} may write to: `--tmpfs {home}:exec,uid={uid}`, in Kubernetes an `emptyDir`"
    )];
    if problems.iter().any(|problem| problem.starts_with("`/tmp`")) {
        hints.insert(0, "with a read-only root: `--tmpfs /tmp --tmpfs /run`".to_owned());
    }
    Err(Failure { exit: crate::failure::SYSTEM, problems, hints })
}

/// The policy of a service that gives access.
fn main_policy(steps: usize, patience: Duration) -> Policy {
    let restart = Restart {
        limit: Some(5),
        first: Duration::from_secs(1),
        longest: Duration::from_secs(30),
        stable: Duration::from_secs(60),
    };
    Policy { role: Role::Main, steps, probed: true, once: false, autostart: true, gate: None, restart, patience }
}

/// The policy of a service that gives access with the help of others: their failures are no reason to end.
fn outside_policy(steps: usize, patience: Duration) -> Policy {
    let policy = main_policy(steps, patience);
    Policy { restart: Restart { limit: None, longest: Duration::from_secs(60), ..policy.restart }, ..policy }
}
