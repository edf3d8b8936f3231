//! Where Gantry keeps its files: a cache that can be thrown away, and a state that cannot.

use std::path::{Path, PathBuf};

use super::HostError;
use crate::folder;

/// Where Gantry keeps its files. Nothing is created before it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    cache: PathBuf,
    state: PathBuf,
}

impl Places {
    /// From the environment: the cache is `$GANTRY_CACHE_DIR`, else `$XDG_CACHE_HOME/gantry`, else `~/.cache/gantry`
    /// (macOS: `~/Library/Caches/gantry`, Windows: `%LOCALAPPDATA%\gantry\cache`); the state is
    /// `$XDG_STATE_HOME/gantry`, else `~/.local/state/gantry` (macOS: `~/Library/Application Support/gantry`, Windows:
    /// `%LOCALAPPDATA%\gantry\state`). Empty variables are unset ones, and so are relative XDG folders (XDG Base
    /// Directory specification).
    ///
    /// # Errors
    /// None of the variables is set.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, HostError> {
        Self::on(std::env::consts::OS, env)
    }

    fn on(os: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, HostError> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let xdg = |name: &str| set(name).filter(|folder| folder.is_absolute()).map(|folder| folder.join("gantry"));
        let own = |name: &str| set(name).and_then(|folder| std::path::absolute(folder).ok());
        let home = |folder: &str| set("HOME").map(|home| home.join(folder).join("gantry"));
        let local = |folder: &str| set("LOCALAPPDATA").map(|local| local.join("gantry").join(folder));
        let (cache, state, variables) = match os {
            "windows" => (local("cache"), local("state"), "`GANTRY_CACHE_DIR`, `XDG_CACHE_HOME`, `LOCALAPPDATA`"),
            "macos" => {
                (home("Library/Caches"), home("Library/Application Support"), "`GANTRY_CACHE_DIR`, `XDG_CACHE_HOME`, `HOME`")
            }
            _ => (home(".cache"), home(".local/state"), "`GANTRY_CACHE_DIR`, `XDG_CACHE_HOME`, `HOME`"),
        };
        let state_variables = if os == "windows" { "`XDG_STATE_HOME`, `LOCALAPPDATA`" } else { "`XDG_STATE_HOME`, `HOME`" };
        let no = |what, variables| HostError::NoHome { what, variables };
        Ok(Self {
            cache: own("GANTRY_CACHE_DIR").or_else(|| xdg("XDG_CACHE_HOME")).or(cache).ok_or_else(|| no("cache", variables))?,
            state: xdg("XDG_STATE_HOME").or(state).ok_or_else(|| no("state", state_variables))?,
        })
    }

    /// The cache folder, whether or not it is there.
    pub fn cache_path(&self) -> &Path {
        &self.cache
    }

    /// The state folder, whether or not it is there.
    pub fn state_path(&self) -> &Path {
        &self.state
    }

    /// The cache folder: there, ours alone.
    ///
    /// # Errors
    /// It cannot be created, or is a link, or belongs to somebody else, or holds what is not Gantry's.
    pub fn cache(&self) -> Result<PathBuf, HostError> {
        folder::private_cache(&self.cache)?;
        Ok(self.cache.clone())
    }

    /// The state folder: there, ours alone.
    ///
    /// # Errors
    /// As [`Places::cache`].
    pub fn state(&self) -> Result<PathBuf, HostError> {
        folder::private(&self.state)?;
        Ok(self.state.clone())
    }

    /// A folder in the cache, one of [`folder::CACHE_FOLDERS`].
    ///
    /// # Errors
    /// As [`Places::cache`].
    pub fn cache_folder(&self, name: &str) -> Result<PathBuf, HostError> {
        let folder = self.cache()?.join(name);
        folder::private(&folder)?;
        Ok(folder)
    }

    /// A folder in the state: `releases`, `locks`.
    ///
    /// # Errors
    /// As [`Places::cache`].
    pub fn state_folder(&self, name: &str) -> Result<PathBuf, HostError> {
        let folder = self.state()?.join(name);
        folder::private(&folder)?;
        Ok(folder)
    }

    /// Where build logs go.
    ///
    /// # Errors
    /// As [`Places::cache`].
    pub fn logs(&self) -> Result<PathBuf, HostError> {
        self.state_folder("logs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(os: &str, variables: &[(&str, &str)]) -> Result<(String, String), String> {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let text = |path: PathBuf| path.display().to_string();
        Places::on(os, &env).map(|places| (text(places.cache), text(places.state))).map_err(|error| error.to_string())
    }

    #[test]
    #[cfg(unix)]
    fn where_files_go() {
        let home = ("HOME", "/home/a");
        for (os, variables, cache, state) in [
            ("linux", vec![home], "/home/a/.cache/gantry", "/home/a/.local/state/gantry"),
            ("linux", vec![home, ("XDG_CACHE_HOME", "/c"), ("XDG_STATE_HOME", "/s")], "/c/gantry", "/s/gantry"),
            (
                "linux",
                vec![home, ("XDG_CACHE_HOME", "c"), ("XDG_STATE_HOME", "")],
                "/home/a/.cache/gantry",
                "/home/a/.local/state/gantry",
            ),
            ("linux", vec![home, ("XDG_CACHE_HOME", "/c"), ("GANTRY_CACHE_DIR", "/g")], "/g", "/home/a/.local/state/gantry"),
            ("linux", vec![("GANTRY_CACHE_DIR", "/g"), ("XDG_STATE_HOME", "/s")], "/g", "/s/gantry"),
            ("macos", vec![home], "/home/a/Library/Caches/gantry", "/home/a/Library/Application Support/gantry"),
            ("windows", vec![("LOCALAPPDATA", "/l")], "/l/gantry/cache", "/l/gantry/state"),
        ] {
            assert_eq!(on(os, &variables), Ok((cache.to_owned(), state.to_owned())), "{os} {variables:?}");
        }
        assert_eq!(
            on("linux", &[("HOME", "")]),
            Err("no folder for Gantry's cache: none of `GANTRY_CACHE_DIR`, `XDG_CACHE_HOME`, `HOME` is set".to_owned())
        );
        assert_eq!(
            on("linux", &[("GANTRY_CACHE_DIR", "/g")]),
            Err("no folder for Gantry's state: none of `XDG_STATE_HOME`, `HOME` is set".to_owned())
        );
    }

    #[cfg(unix)]
    mod folders {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        use super::*;

        fn places(home: &Path) -> Places {
            let home = home.display().to_string();
            Places::on("linux", &|name| (name == "HOME").then(|| home.clone())).expect("a home")
        }

        fn mode(folder: &Path) -> u32 {
            folder.metadata().expect("it is there").permissions().mode() & 0o777
        }

        #[test]
        fn nothing_is_created_before_it_is_asked_for() {
            let home = tempfile::tempdir().expect("a folder");
            let places = places(home.path());
            assert!(!places.cache_path().exists() && !places.state_path().exists());
            let logs = places.logs().expect("created");
            assert_eq!(logs, home.path().join(".local/state/gantry/logs"));
            assert_eq!((mode(&logs), mode(places.state_path()), places.cache_path().exists()), (0o700, 0o700, false));
        }

        #[test]
        fn a_folder_that_others_could_read_is_closed() {
            let home = tempfile::tempdir().expect("a folder");
            let places = places(home.path());
            std::fs::create_dir_all(places.cache_path()).expect("created");
            std::fs::set_permissions(places.cache_path(), std::fs::Permissions::from_mode(0o755)).expect("mode set");
            assert_eq!(mode(&places.cache().expect("usable")), 0o700);
        }

        #[test]
        fn neither_a_link_nor_a_file_will_do() {
            let home = tempfile::tempdir().expect("a folder");
            let places = places(home.path());
            std::fs::create_dir_all(home.path().join(".cache")).expect("created");
            std::fs::create_dir_all(home.path().join("elsewhere")).expect("created");
            symlink(home.path().join("elsewhere"), places.cache_path()).expect("linked");
            let error = places.cache().expect_err("refused").to_string();
            assert!(error.ends_with("cannot be used: it is a symbolic link"), "{error}");
            std::fs::remove_file(places.cache_path()).expect("removed");
            std::fs::write(places.cache_path(), "").expect("written");
            let error = places.cache_folder("blobs").expect_err("refused").to_string();
            assert!(error.ends_with("cannot be used: it is not a folder"), "{error}");
        }

        #[test]
        fn a_folder_of_somebody_else_is_refused() {
            if !rustix::process::geteuid().is_root() {
                return; // Only root can give a folder away.
            }
            let home = tempfile::tempdir().expect("a folder");
            let places = places(home.path());
            let cache = places.cache().expect("usable");
            std::os::unix::fs::chown(&cache, Some(12345), None).expect("given away");
            let error = places.cache().expect_err("refused").to_string();
            assert!(error.ends_with("it belongs to another user (12345, and this is 0)"), "{error}");
        }
    }
}
