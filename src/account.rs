//! The user whose workspace it is.

mod names;

use crate::failure::{Failure, UNAVAILABLE};
use crate::files;
use crate::settings::{Environment, hide};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist, getgroups, setegid, seteuid, setgroups};
use std::ffi::{CString, OsString};
use std::path::{Path, PathBuf};

/// The name of the workspace's user, when the entrypoint runs as root.
pub(crate) const WORKSPACE_USER: &str = "ansible";
/// What `PATH` is where the container sets none.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A user, as programs and files need it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// All groups, the first one included.
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: PathBuf,
    pub(crate) shell: PathBuf,
    /// What tells programs of this user who it is, where `/etc/passwd` does not.
    names: Vec<(&'static str, OsString)>,
}

impl Account {
    /// The workspace's user: `ansible` when root starts the container, else whoever does. An arbitrary uid
    /// without an entry in `/etc/passwd` plays the part of `ansible` as far as names go; its home is that of the
    /// environment, or else the one of `ansible`.
    ///
    /// # Errors
    /// The image has no user `ansible`.
    pub(crate) fn workspace(home: Option<&Path>) -> Result<Self, Failure> {
        let own = Uid::effective();
        let user = if own.is_root() { User::from_name(WORKSPACE_USER) } else { User::from_uid(own) };
        match user.map_err(|error| Failure::system("to read /etc/passwd", error))? {
            Some(user) => Ok(Self::of(user)),
            None if own.is_root() => Err(Failure::new(UNAVAILABLE, format!("this image has no user `{WORKSPACE_USER}`"))),
            None => Ok(Self::stranger(own, home)),
        }
    }

    /// An arbitrary uid.
    fn stranger(own: Uid, home: Option<&Path>) -> Self {
        let ansible = User::from_name(WORKSPACE_USER).ok().flatten();
        // Engines set HOME to `/` for a uid that they do not find in `/etc/passwd`.
        let given = home.filter(|home| *home != Path::new("/") && files::writable(home).is_ok());
        let usual = ansible.as_ref().map_or(Path::new("/"), |user| user.dir.as_path());
        let names = names::variables();
        Self {
            name: if names.is_empty() { own.to_string() } else { WORKSPACE_USER.to_owned() },
            uid: own,
            gid: Gid::effective(),
            groups: Vec::new(),
            home: given.unwrap_or(usual).to_owned(),
            shell: ansible.as_ref().map_or_else(|| "/bin/sh".into(), |user| user.shell.clone()),
            names,
        }
    }

    /// Whether programs find a name for this user.
    pub(crate) fn named(&self) -> bool {
        !self.names.is_empty() || matches!(User::from_uid(self.uid), Ok(Some(_)))
    }

    /// What tells programs of this user who it is, where `/etc/passwd` does not: they do not start without.
    pub(crate) fn names(&self) -> Environment {
        self.names.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    /// Writes down who this user is, for [`Self::names`], in the runtime folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn introduce(&self) -> Result<(), Failure> {
        if self.names.is_empty() { Ok(()) } else { names::write(self) }
    }

    /// The user called `name`; none when the image has no such user.
    ///
    /// # Errors
    /// `/etc/passwd` cannot be read.
    pub(crate) fn called(name: &str) -> Result<Option<Self>, Failure> {
        let user = User::from_name(name).map_err(|error| Failure::system("to read /etc/passwd", error))?;
        Ok(user.map(Self::of))
    }

    fn of(user: User) -> Self {
        let name = CString::new(user.name.as_str()).unwrap_or_default();
        let groups = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
        Self { name: user.name, uid: user.uid, gid: user.gid, groups, home: user.dir, shell: user.shell, names: Vec::new() }
    }

    /// The variables that a program of this user finds: `session` and who and where the user is.
    pub(crate) fn environment(&self, session: &[(OsString, OsString)]) -> Environment {
        let mut environment = session.to_vec();
        if !environment.iter().any(|(name, _)| name == "PATH") {
            environment.push(("PATH".into(), DEFAULT_PATH.into()));
        }
        let own = [
            ("HOME", self.home.clone().into_os_string()),
            ("USER", self.name.clone().into()),
            ("LOGNAME", self.name.clone().into()),
            ("SHELL", self.shell.clone().into_os_string()),
        ];
        environment.extend(own.map(|(name, value)| (name.into(), value)));
        // Behind those of the session, and so before them: what is set last holds.
        environment.extend(self.names());
        environment
    }

    /// Does `work` with this user's rights, so that the kernel refuses what the user may not do: a link that
    /// the user planted leads nowhere else.
    ///
    /// # Errors
    /// Those of `work`, and the rights cannot be changed.
    pub(crate) fn act<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        if !Uid::effective().is_root() || self.uid.is_root() {
            return work();
        }
        let refused = |error| Failure::system(format!("to act as `{}`", self.name), error);
        let before = (getgroups().map_err(refused)?, Gid::effective());
        setgroups(&self.groups).and_then(|()| setegid(self.gid)).and_then(|()| seteuid(self.uid)).map_err(refused)?;
        let result = work();
        seteuid(Uid::from_raw(0)).and_then(|()| setegid(before.1)).and_then(|()| setgroups(&before.0)).map_err(refused)?;
        // Changing the user resets this.
        hide()?;
        result
    }
}

/// `user:group` for messages.
pub(crate) fn owner_name(uid: u32, gid: u32) -> String {
    let user = User::from_uid(uid.into()).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let group = Group::from_gid(gid.into()).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
    format!("{user}:{group}")
}
