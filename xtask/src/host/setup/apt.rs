//! apt-get, without questions.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::event::{Event, Events};
use crate::failure::Exit;
use crate::host::program::Call;
use crate::host::{Authority, HostError};

/// Package lists that are older are fetched anew: mirrors remove the versions that they name.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// Where apt keeps the package lists.
const LISTS: &str = "/var/lib/apt/lists";

/// Installs packages.
///
/// # Errors
/// apt-get fails.
pub(super) async fn install(
    packages: &[&str],
    authority: Authority,
    log: &Path,
    step: &str,
    events: &Events,
) -> Result<(), HostError> {
    let apt = Apt { authority, log, step, events };
    File::create(log).map_err(HostError::io("create", log))?;
    let simulated = [&["install", "--simulate", "--no-install-recommends"], packages].concat();
    if !are_fresh(Path::new(LISTS)) || apt.get("apt-get install --simulate", &simulated).await.is_err() {
        // A source of somebody else's that cannot be reached is no reason to stop: what matters is found or not, below.
        if let Err(error) = apt.get("apt-get update", &["update"]).await {
            let text = format!("{error}; going on with the package lists that are there");
            events.emit(Event::Warning { text });
        }
    }
    apt.get("apt-get install", &[&["install", "--yes", "--no-install-recommends"], packages].concat()).await
}

struct Apt<'a> {
    authority: Authority,
    log: &'a Path,
    step: &'a str,
    events: &'a Events,
}

impl Apt<'_> {
    async fn get(&self, program: &str, args: &[&str]) -> Result<(), HostError> {
        let mut log = OpenOptions::new().append(true).open(self.log).map_err(HostError::io("open", self.log))?;
        // `sudo` hands no variables on; `env` sets them behind it.
        let mut command = self.authority.command("env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get"]);
        // Somebody else's apt may be at work; configuration files that were edited stay as they are.
        command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold", "-o", "Acquire::Retries=3"]);
        command.args(args);
        let progress = |current: &str| {
            let (step, current) = (self.step.to_owned(), current.to_owned());
            self.events.emit(Event::StepProgress { step, current, done: 0, total: 0 });
        };
        progress(program);
        let line = |_, line: &str| {
            let _ = writeln!(log, "{line}");
            self.events.emit(Event::StepLog { step: self.step.to_owned(), line: line.to_owned() });
            if ["Get:", "Unpacking ", "Setting up "].iter().any(|word| line.starts_with(word)) {
                progress(line);
            }
        };
        let call = Call { program, needed_for: "installing packages", exit: Exit::Missing };
        call.run(command, line).await.map_err(|error| match error {
            HostError::Program { program, status, output, exit, .. } => {
                let hint = output.iter().find_map(|line| hint(line));
                HostError::Program { program, status, output, log: Some(self.log.to_owned()), exit, hint }
            }
            other => other,
        })
    }
}

fn hint(line: &str) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|word| line.contains(word));
    if says(&["Unable to locate package", "has no installation candidate"]) {
        Some("a package is not in the sources of this machine: look at /etc/apt/sources.list.d".to_owned())
    } else if says(&["Temporary failure resolving", "Could not connect", "Could not resolve"]) {
        Some("the mirror cannot be reached: check the network, or apt's proxy (`Acquire::http::Proxy`)".to_owned())
    } else if says(&["dpkg was interrupted"]) {
        Some("dpkg --configure -a".to_owned())
    } else if says(&["No space left on device"]) {
        Some("the disk is full".to_owned())
    } else {
        None
    }
}

/// Whether there are package lists, fetched not long ago.
fn are_fresh(lists: &Path) -> bool {
    let is_recent = |path: &Path| {
        let changed = path.metadata().and_then(|metadata| metadata.modified());
        changed.is_ok_and(|changed| changed.elapsed().unwrap_or_default() < FRESH)
    };
    let mut files = lists.read_dir().into_iter().flatten().flatten();
    // apt touches the folder at every update, and leaves the times of the lists as the mirror has them.
    is_recent(lists) && files.any(|file| file.file_name().to_string_lossy().contains("_Packages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_to_be_fetched() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!are_fresh(&folder.path().join("none")), "no folder");
        assert!(!are_fresh(folder.path()), "no lists");
        std::fs::write(folder.path().join("mirror_dists_trixie_main_binary-amd64_Packages.lz4"), "").expect("written");
        assert!(are_fresh(folder.path()));
        let old = File::open(folder.path()).expect("opened");
        old.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("time set");
        assert!(!are_fresh(folder.path()), "old lists");
    }
}
