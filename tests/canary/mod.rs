//! Planted secrets: one of its own for every variable that holds one, and where they are found again.
#![allow(dead_code, reason = "each test file uses its part")]

mod probe;
mod sampler;

pub(crate) use probe::{User, probe};
pub(crate) use sampler::{Hit, Sampler};

use crate::container::Setup;
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Every variable that holds a secret.
pub(crate) const SECRETS: [&str; 10] = [
    "CLAUDE_POOL_SECRET",
    "CODER_AGENT_TOKEN",
    "CODER_SELF_TOKEN",
    "GH_TOKEN",
    "GITHUB_APP_PRIVATE_KEY",
    "GITHUB_RUNNER_PAT",
    "GITHUB_RUNNER_TOKEN",
    "GITHUB_TOKEN",
    "GIT_BOT_TOKEN",
    "VSCODE_WEB_TOKEN",
];

/// How secrets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Value,
    File,
}

/// What is looked for: a name, and the bytes.
#[derive(Debug, Clone)]
pub(crate) struct Needles(pub(crate) Vec<(String, Vec<u8>)>);

impl Needles {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn with(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push((name.to_owned(), bytes.as_ref().to_vec()));
        self
    }

    /// The names of those that `bytes` hold.
    pub(crate) fn found<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(|(_, needle)| contains(bytes, needle)).map(|(name, _)| name.as_str())
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    // SAFETY: both are read within their lengths. (The C library's search is fast in a debug build, too.)
    let found = unsafe { nix::libc::memmem(bytes.as_ptr().cast(), bytes.len(), needle.as_ptr().cast(), needle.len()) };
    !found.is_null()
}

/// The value that is planted for `name`.
pub(crate) fn canary(name: &str) -> String {
    match name {
        "GITHUB_APP_PRIVATE_KEY" => "-----BEGIN RSA PRIVATE KEY-----\ncanary0APP0KEY\n-----END RSA PRIVATE KEY-----".to_owned(),
        // The one that the double of GitHub knows.
        "GITHUB_RUNNER_PAT" => crate::github::PAT.to_owned(),
        name => format!("canary-{name}-0123456789"),
    }
}

/// Plants `secrets` (name and value), and tells what to look for. By file, each is root's alone.
pub(crate) fn planted<'a>(mut setup: Setup, way: Way, secrets: impl IntoIterator<Item = (&'a str, String)>) -> (Setup, Needles) {
    let mut needles = Needles::new();
    for (name, value) in secrets {
        needles = match name {
            "GITHUB_APP_PRIVATE_KEY" => needles.with(name, value.lines().nth(1).expect("a second line")),
            _ => needles.with(name, &value),
        };
        setup = match way {
            Way::Value => setup.set(name, &value),
            Way::File => {
                let file = setup.folder().join(name);
                std::fs::write(&file, format!("{value}\n")).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
                setup.set(&format!("{name}_FILE"), &format!("/mnt/files/{name}"))
            }
        };
    }
    // As git sends it, and what the doubles hand out.
    let basic = crate::doubles::git::base64(&format!("x-access-token:{}", canary("GITHUB_TOKEN")));
    let needles = needles.with("GITHUB_TOKEN in Base64", basic).with("registration token", crate::github::REGISTRATION);
    let needles = needles.with("installation token", crate::github::INSTALLATION_TOKEN);
    (setup, needles.with("just-in-time configuration", "jitcanary.2").with("the App's own token", "eyJhbGci"))
}

/// All that is written into the usual folders stays on the host, in `kept`, so that it can be looked at when the
/// container is gone.
pub(crate) fn kept(setup: Setup) -> Setup {
    let folder = setup.folder().join("kept");
    for (name, mode) in [("run", 0o755), ("opt", 0o755), ("home", 0o755), ("tmp", 0o1777)] {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    setup.before(
        "for name in run opt home tmp; do mount --bind /mnt/files/kept/$name /$name; done
         install -d -m 755 -o 1000 -g 1000 /home/ansible
         if [ -e /mnt/files/code-server ]; then
             install -D -m 755 /mnt/files/code-server /opt/code-server/bin/code-server
         fi",
    )
}

/// Every file below `folder` that holds a needle: `run/x 600 1000: NAME`.
pub(crate) fn files(folder: &Path, needles: &Needles) -> BTreeSet<String> {
    fn walk(folder: &Path, each: &mut impl FnMut(&Path)) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                walk(&entry.path(), each);
            } else if kind.is_file() {
                each(&entry.path());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(folder, &mut |path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        for name in needles.found(&bytes) {
            let (file, shown) = (std::fs::metadata(path).unwrap(), path.strip_prefix(folder).unwrap().display());
            found.insert(format!("{shown} {:o} {}: {name}", file.mode() & 0o7777, file.uid()));
        }
    });
    found
}
