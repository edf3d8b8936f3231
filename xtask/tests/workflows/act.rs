//! Workflows run by `act` on this machine: in a repository as a fork of this one would be, whose destinations are two
//! registries on loopback, and with doubles in place of the actions.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::support::registry::{LocalRegistry, run};
use super::{root, tool, workflows};

/// The fork's name, and so that of its images in the engine.
pub(super) const FAMILY: &str = "gantry-fork";

/// One at a time: what is compiled for a fork is compiled once, so that all lie in the same place.
static ALONE: Mutex<()> = Mutex::new(());

/// The repository, with all that lies around it.
pub(super) struct Fork {
    pub(super) one: Arc<LocalRegistry>,
    pub(super) two: Arc<LocalRegistry>,
    folder: PathBuf,
    /// Whether cargo is the real one also where it would compile xtask.
    real: bool,
    /// An action's name, and what stands in for it instead of its usual double.
    double: Option<(String, PathBuf)>,
    /// Flags of act and their values.
    settings: Vec<(&'static str, String)>,
    _alone: MutexGuard<'static, ()>,
}

/// What a run said.
pub(super) struct Ran {
    pub(super) success: bool,
    /// All of it.
    pub(super) log: String,
    /// What cargo was called for, and in which job: `compile: xtask compile --output target/programs`.
    pub(super) cargo: Vec<String>,
}

impl Fork {
    /// What lies in the work tree, as its one commit with the tag `v1`. `cargo xtask` is the program that this test was
    /// compiled with, unless `real`: then it is compiled again.
    pub(super) fn new(real: bool) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("act");
        for name in ["repository", "artifacts", "places", "bin"] {
            let _ = fs::remove_dir_all(folder.join(name));
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        let (one, two) = (LocalRegistry::start(None), LocalRegistry::start(None));
        let fork = Self { one, two, folder, real, double: None, settings: Vec::new(), _alone: alone };
        fork.copy();
        fork.become_another_family();
        fork.git(&["init", "-q", "-b", "main"]);
        fork.commit();
        fork.shim();
        fork.pipx();
        fork
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    pub(super) fn artifacts(&self) -> PathBuf {
        self.folder.join("artifacts")
    }

    /// A file of the newest artifact of this name.
    pub(super) fn last_artifact(&self, name: &str, file: &str) -> String {
        let list = fs::read_to_string(self.artifacts().join("list")).expect("a list");
        let line = list.lines().rev().find(|line| line.split(' ').next() == Some(name)).expect("an artifact");
        let id = line.split(' ').nth(1).expect("its id");
        run("tar", &["-xOf", &self.artifacts().join(format!("{id}.tar")).display().to_string(), &format!("./{file}")])
    }

    /// Every file that git knows or would take, as it is now and as old as it is: what cargo has compiled of it is compiled.
    fn copy(&self) {
        let listed = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z", "-co", "--exclude-standard"]).output();
        let listed = String::from_utf8(listed.expect("git runs").stdout).expect("text");
        for file in listed.split('\0').filter(|file| !file.is_empty()) {
            let (from, to) = (root().join(file), self.repository().join(file));
            // What was removed and not committed is known all the same.
            if from.is_file() {
                fs::create_dir_all(to.parent().expect("a folder")).expect("made");
                fs::copy(&from, &to).expect("copied");
                let modified = fs::metadata(from).and_then(|file| file.modified()).expect("a time");
                fs::File::options().append(true).open(to).and_then(|file| file.set_modified(modified)).expect("set");
            }
        }
    }

    /// A name and destinations of its own, and nothing that becomes too old some day, whatever lies in this machine's cache.
    fn become_another_family(&self) {
        self.replace("variants.toml", "max-age-days = 30\n", "");
        self.replace("variants.toml", "name = \"ansible-epic\"", &format!("name = \"{FAMILY}\""));
        self.replace("variants.lock", "family = \"ansible-epic\"", &format!("family = \"{FAMILY}\""));
        let file = self.read("variants.toml");
        for (line, registry) in file.lines().filter(|line| line.starts_with("repository = ")).zip([&self.one, &self.two]) {
            self.replace("variants.toml", line, &format!("repository = \"{}\"", registry.repository()));
        }
    }

    pub(super) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.repository().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    #[track_caller]
    pub(super) fn replace(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "`{from}` is in {file}");
        fs::write(self.repository().join(file), text.replacen(from, to, 1)).expect("written");
    }

    pub(super) fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.repository()).args(["-c", "user.name=Fork", "-c", "user.email=fork@example.org"]).args(args);
        let output = git.env("HOME", &self.folder).env("GIT_CONFIG_NOSYSTEM", "1").output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits all that is there, as what `v1` is.
    pub(super) fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "-m", "A fork"]);
        self.git(&["tag", "-f", "v1"]);
    }

    /// What GitHub's runners have and this machine may not: `pipx`, which here has nothing to install.
    fn pipx(&self) {
        let file = self.folder.join("bin/pipx");
        fs::write(&file, "#!/bin/sh\ntest \"$1\" = install\n").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
        std::os::unix::fs::symlink(tool("uv"), self.folder.join("bin/uv")).expect("linked");
    }

    /// A `cargo` that writes down what it is called for and by which job.
    fn shim(&self) {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let xtask = match self.real {
            true => String::new(),
            false => format!("if [ \"$1\" = xtask ]; then shift; exec '{}' \"$@\"; fi\n", env!("CARGO_BIN_EXE_xtask")),
        };
        let calls = self.folder.join("artifacts/cargo");
        let text = format!(
            "#!/bin/sh\necho \"$GITHUB_JOB: $*\" >> '{}'\nexport CARGO='{cargo}'\n{xtask}exec '{cargo}' \"$@\"\n",
            calls.display()
        );
        let file = self.folder.join("bin/cargo");
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    /// With a secret or a variable of the repository: `--secret`, `NAME=VALUE`.
    pub(super) fn with(mut self, flag: &'static str, setting: &str) -> Self {
        self.settings.push((flag, setting.to_owned()));
        self
    }

    /// With another double of an action.
    pub(super) fn with_double(mut self, action: &str, folder: &Path) -> Self {
        self.double = Some((action.to_owned(), folder.to_owned()));
        self
    }

    /// Runs a workflow, or one job of it with those that it needs.
    pub(super) fn act(&self, event: &str, payload: &Value, workflow: &str, job: Option<&str>) -> Ran {
        let file = self.folder.join("event.json");
        fs::write(&file, payload.to_string()).expect("written");
        let mut act = Command::new(tool("act"));
        act.current_dir(self.repository()).arg(event).args(["-W", &format!(".github/workflows/{workflow}")]);
        act.arg("--eventpath").arg(&file).args(["--no-skip-checkout", "--no-cache-server", "--pull=false", "--rm"]);
        act.args(["-P", "ubuntu-latest=-self-hosted", "--actor", "somebody"]);
        act.args(job.iter().flat_map(|job| ["--job", job]));
        for (flag, setting) in &self.settings {
            act.arg(flag).arg(setting);
        }
        for (_, text, _) in workflows() {
            for line in text.lines().filter_map(|line| line.trim().strip_prefix("uses: ")) {
                let pin = line.split(' ').next().expect("a pin");
                let name = pin.split(['/', '@']).nth(1).expect("a name");
                let usual = root().join("xtask/tests/workflows/actions").join(name);
                let other = self.double.as_ref().filter(|(of, _)| of == name).map(|(_, other)| other.clone());
                let double = other.unwrap_or(usual);
                act.arg("--local-repository").arg(format!("https://github.com/{pin}={}", double.display()));
            }
        }
        let home = PathBuf::from(std::env::var("HOME").expect("a home"));
        let of_home = |name: &str, folder: &str| std::env::var(name).unwrap_or_else(|_| home.join(folder).display().to_string());
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").display().to_string();
        // What a runner of GitHub's has in its environment, and where things are on this machine.
        for (name, value) in [
            ("CI", "true".to_owned()),
            ("GANTRY_PROFILE", "offline".to_owned()),
            ("ACT_REPOSITORY", self.repository().display().to_string()),
            ("ACT_REF", "v1".to_owned()),
            ("ACT_ARTIFACTS", self.artifacts().display().to_string()),
            ("CARGO_TARGET_DIR", target),
            ("CARGO_HOME", of_home("CARGO_HOME", ".cargo")),
            ("RUSTUP_HOME", of_home("RUSTUP_HOME", ".rustup")),
            ("XDG_STATE_HOME", self.folder.join("places/state").display().to_string()),
            // Layers that other tests have compressed need not be compressed again.
            ("XDG_CACHE_HOME", of_home("XDG_CACHE_HOME", ".cache")),
        ] {
            act.arg("--env").arg(format!("{name}={value}"));
        }
        let path = std::env::var("PATH").unwrap_or_default();
        act.env("PATH", format!("{}:{path}", self.folder.join("bin").display())).env("HOME", self.folder.join("home"));
        let output = act.stdin(Stdio::null()).output().expect("act (`cargo xtask setup --tests`)");
        let log = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
        let cargo = fs::read_to_string(self.artifacts().join("cargo")).unwrap_or_default();
        Ran { success: output.status.success(), log, cargo: cargo.lines().map(str::to_owned).collect() }
    }

    /// A run by hand, with a form's fields.
    pub(super) fn dispatch(&self, workflow: &str, job: &str, inputs: &Value) -> Ran {
        self.act("workflow_dispatch", &json!({ "inputs": inputs, "ref": "refs/heads/main" }), workflow, Some(job))
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        // By the family's label, as `docker` shows it: stage tags that the fork shares with this family bear another one.
        let listed = run(
            "docker",
            &["images", "--filter", &format!("label=gantry.family={FAMILY}"), "--format", "{{.Repository}}:{{.Tag}}"],
        );
        let ours: Vec<&str> = listed.lines().filter(|tag| !tag.ends_with(":<none>")).collect();
        if !ours.is_empty() {
            let _ = Command::new("docker").arg("rmi").args(ours).output();
        }
    }
}

impl Ran {
    #[track_caller]
    pub(super) fn succeeds(self) -> Self {
        assert!(self.success, "{}", self.log);
        self
    }
}
