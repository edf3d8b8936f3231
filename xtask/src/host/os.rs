//! Which system this is, who we are on it, and which programs it has.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What `/etc/os-release` says. (os-release(5))
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OsRelease {
    /// `debian`
    pub id: String,
    /// The first number of `VERSION_ID`: 12 of `12`, 24 of `24.04`.
    pub version: Option<u32>,
    /// `ID_LIKE`: `ubuntu debian`
    pub like: Vec<String>,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub name: String,
}

impl OsRelease {
    /// Reads the format of os-release(5).
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim().trim_matches(['"', '\'']).to_owned())
        };
        let id = value("ID").unwrap_or_else(|| "linux".to_owned());
        let like = value("ID_LIKE").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let version = value("VERSION_ID").and_then(|version| version.split('.').next()?.parse().ok());
        let name = value("PRETTY_NAME").unwrap_or_else(|| id.clone());
        Self { id, version, like, name }
    }

    /// This machine's.
    pub fn read() -> Self {
        let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|file| std::fs::read_to_string(file).ok());
        match text {
            Some(text) => Self::parse(&text),
            None => {
                let id = std::env::consts::OS.to_owned();
                Self { name: id.clone(), id, version: None, like: Vec::new() }
            }
        }
    }

    /// Whether packages are installed with apt-get and named as Debian names them.
    pub fn is_debian_like(&self) -> bool {
        std::iter::once(&self.id).chain(&self.like).any(|id| matches!(id.as_str(), "debian" | "ubuntu"))
    }
}

/// What looks after services on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// systemd runs.
    Systemd,
    /// Nothing that would start an engine.
    None,
}

impl Init {
    /// This machine's. (sd_booted(3): the folder exists exactly when systemd is PID 1.)
    pub fn find() -> Self {
        if Path::new("/run/systemd/system").is_dir() { Self::Systemd } else { Self::None }
    }
}

/// How commands that need root are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// We are root.
    Root,
    /// `sudo` works without a question.
    Sudo,
    /// Not at all.
    None,
}

impl Authority {
    /// Ours. Starts `sudo -n true` when we are not root.
    pub async fn find() -> Self {
        if is_root() {
            return Self::Root;
        }
        let mut sudo = tokio::process::Command::new("sudo");
        sudo.args(["-n", "true"]).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        match sudo.stderr(std::process::Stdio::null()).status().await {
            Ok(status) if status.success() => Self::Sudo,
            _ => Self::None,
        }
    }

    /// `program` as a command that runs as root. Without authority the program is run as we are.
    pub(super) fn command(self, program: &str) -> tokio::process::Command {
        match self {
            Self::Root | Self::None => tokio::process::Command::new(program),
            Self::Sudo => {
                let mut sudo = tokio::process::Command::new("sudo");
                sudo.args(["-n", "--", program]);
                sudo
            }
        }
    }
}

#[cfg(unix)]
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
pub(super) fn is_root() -> bool {
    false
}

/// Where `program` is: in the folders of `path` (the value of `PATH`), and in those of system programs, which the `PATH`
/// of people other than root often lacks.
pub fn find_program(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let folders = path.map(std::env::split_paths).into_iter().flatten().chain(system);
    folders.map(|folder| folder.join(&name)).find(|file| is_executable(file))
}

/// [`find_program`] with our own `PATH`.
pub fn installed(program: &str) -> Option<PathBuf> {
    find_program(program, std::env::var_os("PATH").as_deref())
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_packages_are_debians() {
        for (text, name, debian) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n", "Debian GNU/Linux 12 (bookworm)", true),
            ("ID=ubuntu\nID_LIKE=debian\n", "ubuntu", true),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nPRETTY_NAME='Linux Mint 22'\n", "Linux Mint 22", true),
            ("ID=fedora\nPRETTY_NAME=\"Fedora Linux 43\"\n", "Fedora Linux 43", false),
            ("ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n", "almalinux", false),
            ("", "linux", false),
        ] {
            let release = OsRelease::parse(text);
            assert_eq!((release.name.as_str(), release.is_debian_like()), (name, debian), "{text}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_program_is_an_executable_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gantry-test-program");
        std::fs::write(&file, "").expect("written");
        let path = Some(folder.path().as_os_str());
        assert_eq!(find_program("gantry-test-program", path), None);
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode set");
        assert_eq!(find_program("gantry-test-program", path), Some(file));
        assert_eq!(find_program("gantry-test-program", None), None);
    }
}
