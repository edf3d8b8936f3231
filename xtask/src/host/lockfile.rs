//! One lock per family for builds and one for publishing: two commands of the same family do not get in each other's
//! way. The kernel holds the lock, so it ends with the process, however that ends.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use super::HostError;
use super::places::Places;
use crate::family::Name;

/// How often a lock that somebody else holds is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// What is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Everything that builds images or removes them.
    Build,
    /// Everything that writes to registries.
    Publish,
    /// Everything that writes variants.lock. Held for as long as that takes.
    Pins,
}

impl fmt::Display for LockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Build => "build",
            Self::Publish => "publish",
            Self::Pins => "pins",
        })
    }
}

/// What to do when somebody else holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenHeld {
    /// Wait for it.
    Wait,
    /// Fail at once.
    Fail,
}

/// The lock of a family. Released when dropped.
#[derive(Debug)]
pub struct FamilyLock {
    file: File,
}

impl FamilyLock {
    /// Takes the lock. `on_wait` is told who holds it (``process 4711 (`cargo xtask build`)``), again when that changes.
    /// Can be cancelled by dropping the future.
    ///
    /// # Errors
    /// The lock file cannot be created, or somebody holds it and we should not wait.
    pub async fn acquire(
        places: &Places,
        kind: LockKind,
        family: &Name,
        when_held: WhenHeld,
        mut on_wait: impl FnMut(&str),
    ) -> Result<Self, HostError> {
        let path = places.state_folder("locks")?.join(format!("{family}.{kind}.lock"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(HostError::io("open", &path))?;
        let mut told = None;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(HostError::io("lock", &path)(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = holder(&mut file);
            if when_held == WhenHeld::Fail {
                return Err(HostError::Held { family: family.to_string(), holder });
            }
            if told.as_ref() != Some(&holder) {
                on_wait(&holder);
                told = Some(holder);
            }
            tokio::time::sleep(RETRY).await;
        }
        sign(&mut file).map_err(HostError::io("write", &path))?;
        Ok(Self { file })
    }
}

impl Drop for FamilyLock {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes lock two files of the same name. The signature goes, so
        // that nobody reads of a process that has long ended.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// Takes the lock of the file `path`, which is created where it is missing; waits for it. `on_wait` is told once.
///
/// # Errors
/// The file cannot be created or locked.
pub(super) async fn exclusively(path: &Path, on_wait: impl FnOnce()) -> Result<File, HostError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(path).map_err(HostError::io("open", path))?;
    let mut on_wait = Some(on_wait);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(HostError::io("lock", path)(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if let Some(on_wait) = on_wait.take() {
            on_wait();
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Writes who we are into the lock file.
fn sign(file: &mut File) -> std::io::Result<()> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("cargo xtask {}", command.join(" "));
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}\n{}", std::process::id(), command.trim_end())
}

/// Who holds the lock, as far as can be told (between locking and signing, nobody can).
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match (read, text.split_once('\n')) {
        (Ok(_), Some((pid, command))) if !pid.is_empty() => format!("process {pid} (`{}`)", command.trim_end()),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(home: &Path) -> Places {
        let home = home.display().to_string();
        Places::from_env(&|name| matches!(name, "HOME" | "LOCALAPPDATA").then(|| home.clone())).expect("a home")
    }

    fn family(name: &str) -> Name {
        name.parse().expect("a name")
    }

    #[tokio::test]
    async fn a_lock_per_family_and_kind() {
        let home = tempfile::tempdir().expect("a folder");
        let places = places(home.path());
        let never = |holder: &str| panic!("{holder} holds it");
        let epic = FamilyLock::acquire(&places, LockKind::Build, &family("epic"), WhenHeld::Fail, never).await.expect("free");
        FamilyLock::acquire(&places, LockKind::Publish, &family("epic"), WhenHeld::Fail, never).await.expect("free");
        FamilyLock::acquire(&places, LockKind::Build, &family("other"), WhenHeld::Fail, never).await.expect("free");
        let error = FamilyLock::acquire(&places, LockKind::Build, &family("epic"), WhenHeld::Fail, never).await;
        let error = error.expect_err("held").to_string();
        let us = format!("process {} (`cargo xtask", std::process::id());
        assert!(error.starts_with(&us) && error.ends_with("is at work on family `epic`"), "{error}");
        drop(epic);
        FamilyLock::acquire(&places, LockKind::Build, &family("epic"), WhenHeld::Fail, never).await.expect("free again");
    }

    #[tokio::test]
    async fn whoever_waits_is_told_and_gets_it() {
        let home = tempfile::tempdir().expect("a folder");
        let places = places(home.path());
        let epic = family("epic");
        let held = FamilyLock::acquire(&places, LockKind::Build, &epic, WhenHeld::Wait, |_| ()).await.expect("free");
        let mut held = Some(held);
        let mut told = 0;
        FamilyLock::acquire(&places, LockKind::Build, &epic, WhenHeld::Wait, |_| {
            told += 1;
            drop(held.take());
        })
        .await
        .expect("free in the end");
        assert_eq!(told, 1);
    }

    /// The other process is flock(1): the same kernel lock, and it can be killed.
    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_killed_process_holds_nothing() {
        use std::io::BufRead as _;
        let home = tempfile::tempdir().expect("a folder");
        let places = places(home.path());
        let path = places.state_folder("locks").expect("a folder").join("epic.build.lock");
        let mut other = std::process::Command::new("flock");
        other.arg("--no-fork").arg(&path).args(["sh", "-c", "echo 4711 > $0; echo a b >> $0; echo ready; exec sleep 600"]);
        let mut other = other.arg(&path).stdout(std::process::Stdio::piped()).spawn().expect("flock(1) runs");
        let mut ready = String::new();
        std::io::BufReader::new(other.stdout.take().expect("piped")).read_line(&mut ready).expect("it has the lock");
        let epic = family("epic");
        let refused = FamilyLock::acquire(&places, LockKind::Build, &epic, WhenHeld::Fail, |_| ()).await;
        assert_eq!(refused.expect_err("held").to_string(), "process 4711 (`a b`) is at work on family `epic`");
        let mut kill = || other.kill().and_then(|()| other.wait());
        FamilyLock::acquire(&places, LockKind::Build, &epic, WhenHeld::Wait, |_| drop(kill())).await.expect("free");
        assert!(!std::fs::read_to_string(&path).expect("it stays").contains("4711"));
    }
}
