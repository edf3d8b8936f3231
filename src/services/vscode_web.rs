//! VS Code in the browser: Microsoft's server or code-server, whichever the image has.

use super::extensions;
use super::{Surroundings, main_policy, unprivileged};
use crate::access::Reach;
use crate::failure::Failure;
use crate::process::Program;
use crate::settings::{Secret, WebAuth};
use crate::supervisor::{Probe, Service, Shown};
use crate::{files, places};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The servers, and how they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    VscodeServer,
    CodeServer,
}

impl Kind {
    /// The one that is installed.
    fn installed() -> Option<Self> {
        [Self::VscodeServer, Self::CodeServer].into_iter().find(|kind| Path::new(kind.path()).exists())
    }

    fn path(self) -> &'static str {
        match self {
            Self::VscodeServer => places::VSCODE_SERVER,
            Self::CodeServer => places::CODE_SERVER,
        }
    }

    /// What answers 200 when it serves.
    fn health(self) -> &'static str {
        match self {
            Self::VscodeServer => "/version",
            Self::CodeServer => "/healthz",
        }
    }

    /// Where it keeps its data, in the user's home.
    fn data(self) -> &'static str {
        match self {
            Self::VscodeServer => ".vscode-server",
            Self::CodeServer => ".local/share/code-server",
        }
    }
}

/// Why it cannot be started here at all.
pub(super) fn missing() -> Option<String> {
    Kind::installed().is_none().then(|| {
        let (first, second) = (places::VSCODE_SERVER, places::CODE_SERVER);
        format!("VSCODE_WEB is set, but this image has neither `{first}` nor `{second}`: the images with one end in `-web`")
    })
}

pub(super) fn prepare(on: &Surroundings<'_>, reach: Reach) -> Result<Service, Failure> {
    let kind = Kind::installed().ok_or_else(|| Failure::new(crate::failure::UNAVAILABLE, missing().unwrap_or_default()))?;
    let (web, account) = (&on.settings.web, &on.account);
    unprivileged::port("VSCODE_WEB_PORT", web.port, 8080)?;
    let token = match &web.auth {
        WebAuth::Nobody => None,
        WebAuth::Generated => Some(generate().map_err(|error| Failure::system("to generate a token", error))?),
        WebAuth::Token(token) => Some(token.clone()),
    };
    let data = account.home.join(kind.data());
    let extensions = data.join("extensions");
    account.act(|| {
        let made = std::fs::create_dir_all(&extensions);
        made.map_err(|error| Failure::system(format!("the folder `{}`", extensions.display()), error))?;
        for note in extensions::offer(Path::new(places::BAKED_EXTENSIONS), &extensions) {
            on.log.service("warning", "web", &note);
        }
        Ok(())
    })?;
    let secret_file = on.runtime.join(match kind {
        Kind::VscodeServer => "web-token",
        Kind::CodeServer => "code-server.yaml",
    });
    let content = match (kind, &token) {
        (Kind::VscodeServer, token) => token.as_ref().map(|token| token.expose().to_owned()),
        // Settings (in the user's folder or anywhere else) must not open what is closed here.
        (Kind::CodeServer, None) => Some("auth: none\ncert: false\n".to_owned()),
        (Kind::CodeServer, Some(token)) => Some(format!("auth: password\npassword: \"{}\"\ncert: false\n", token.expose())),
    };
    if let Some(content) = content {
        files::write(&secret_file, content.as_bytes(), 0o600, Some((account.uid, account.gid)))
            .map_err(|error| Failure::system(format!("to write `{}`", secret_file.display()), error))?;
    }
    announce(on, kind, reach, token.as_ref());
    let launch = Launch { host: host(reach), port: web.port, open: token.is_none(), data, extensions, secret_file };
    Ok(Service {
        name: "web",
        policy: main_policy(0, Duration::from_secs(10)),
        steps: Vec::new(),
        program: Program {
            path: kind.path().into(),
            arguments: launch.arguments(kind),
            environment: account.environment(&on.settings.session),
            user: Some(account.clone()),
            folder: account.home.clone(),
            ..Program::default()
        },
        stop: Signal::SIGTERM,
        probe: Probe::Http(web.port, kind.health()),
        shown: Shown::Log,
        watch: None,
    })
}

fn host(reach: Reach) -> &'static str {
    match reach {
        Reach::Loopback => "127.0.0.1",
        Reach::Everybody => "0.0.0.0",
    }
}

/// What the command line depends on.
struct Launch {
    host: &'static str,
    port: u16,
    open: bool,
    data: PathBuf,
    extensions: PathBuf,
    secret_file: PathBuf,
}

impl Launch {
    fn arguments(&self, kind: Kind) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = match kind {
            Kind::VscodeServer => vec![
                "--host".into(),
                self.host.into(),
                "--port".into(),
                self.port.to_string().into(),
                "--accept-server-license-terms".into(),
                "--telemetry-level".into(),
                "off".into(),
                "--server-data-dir".into(),
                self.data.clone().into(),
            ],
            Kind::CodeServer => vec![
                "--bind-addr".into(),
                format!("{}:{}", self.host, self.port).into(),
                "--auth".into(),
                if self.open { "none" } else { "password" }.into(),
                "--disable-telemetry".into(),
                "--disable-update-check".into(),
                "--user-data-dir".into(),
                self.data.clone().into(),
            ],
        };
        arguments.extend(["--extensions-dir".into(), self.extensions.clone().into()]);
        match (kind, self.open) {
            (Kind::VscodeServer, true) => arguments.push("--without-connection-token".into()),
            (Kind::VscodeServer, false) => {
                arguments.extend(["--connection-token-file".into(), self.secret_file.clone().into()]);
            }
            (Kind::CodeServer, _) => arguments.extend(["--config".into(), self.secret_file.clone().into()]),
        }
        arguments
    }
}

/// Says where it is and who gets in. A token that was given is known and not repeated.
fn announce(on: &Surroundings<'_>, kind: Kind, reach: Reach, token: Option<&Secret>) {
    let port = on.settings.web.port;
    let given = matches!(on.settings.web.auth, WebAuth::Token(_));
    let told = |token: &Secret| if given { "<VSCODE_WEB_TOKEN>".to_owned() } else { token.expose().to_owned() };
    let message = match (token, kind) {
        (Some(token), Kind::VscodeServer) => format!("open http://localhost:{port}/?tkn={} (or the published port)", told(token)),
        (Some(token), Kind::CodeServer) => {
            format!("open http://localhost:{port}/ (or the published port), password {}", told(token))
        }
        (None, _) => format!("open http://localhost:{port}/ (or the published port)"),
    };
    on.log.service("info", "web", &message);
    if token.is_none() && reach == Reach::Everybody {
        let warning = "VSCODE_WEB_AUTH=none: WHOEVER REACHES THIS PORT HAS A SHELL. Publish it to loopback only, or put a proxy \
                       that authenticates before it";
        on.log.service("warning", "web", warning);
    }
}

/// 128 bits of the kernel's randomness, in hexadecimal.
fn generate() -> std::io::Result<Secret> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::{Kind, Launch};

    fn arguments(kind: Kind, open: bool) -> String {
        let launch = Launch {
            host: "127.0.0.1",
            port: 9000,
            open,
            data: "/home/u/data".into(),
            extensions: "/home/u/data/extensions".into(),
            secret_file: "/run/gantry/secret".into(),
        };
        let arguments = launch.arguments(kind);
        arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn command_lines() {
        let server = "--host 127.0.0.1 --port 9000 --accept-server-license-terms --telemetry-level off --server-data-dir \
                      /home/u/data --extensions-dir /home/u/data/extensions";
        assert_eq!(arguments(Kind::VscodeServer, true), format!("{server} --without-connection-token"));
        assert_eq!(arguments(Kind::VscodeServer, false), format!("{server} --connection-token-file /run/gantry/secret"));
        let code = |auth: &str| {
            format!(
                "--bind-addr 127.0.0.1:9000 --auth {auth} --disable-telemetry --disable-update-check --user-data-dir \
                 /home/u/data --extensions-dir /home/u/data/extensions --config /run/gantry/secret"
            )
        };
        assert_eq!(arguments(Kind::CodeServer, true), code("none"));
        assert_eq!(arguments(Kind::CodeServer, false), code("password"));
    }
}
