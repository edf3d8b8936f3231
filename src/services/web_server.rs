//! The programs that are VS Code in the browser, and how they differ.

use crate::places;
use crate::supervisor::Probe;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The servers, in the order in which they are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Microsoft's own.
    VscodeServer,
    /// Coder's.
    CodeServer,
    /// VS Code's command line program, which downloads Microsoft's at the first visit.
    ServeWeb,
}

impl Kind {
    /// The one that is installed.
    pub(super) fn installed() -> Option<Self> {
        [Self::VscodeServer, Self::CodeServer, Self::ServeWeb].into_iter().find(|kind| Path::new(kind.path()).exists())
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::VscodeServer => places::VSCODE_SERVER,
            Self::CodeServer => places::CODE_SERVER,
            Self::ServeWeb => places::VSCODE_CLI,
        }
    }

    /// What shows that it serves.
    pub(super) fn probe(self, port: u16) -> Probe {
        match self {
            Self::VscodeServer => Probe::Http(port, "/version"),
            Self::CodeServer => Probe::Http(port, "/healthz"),
            // Any request would have it download a server, and keep that one from resting.
            Self::ServeWeb => Probe::Port(port),
        }
    }

    /// What ends it in good order.
    pub(super) fn stop(self) -> Signal {
        match self {
            Self::VscodeServer | Self::CodeServer => Signal::SIGTERM,
            // It knows no other, and would leave its server behind.
            Self::ServeWeb => Signal::SIGINT,
        }
    }

    /// Where it keeps its data, in the user's home.
    pub(super) fn data(self) -> &'static str {
        match self {
            Self::VscodeServer | Self::ServeWeb => ".vscode-server",
            Self::CodeServer => ".local/share/code-server",
        }
    }

    /// The file, in the runtime folder, by which it learns its token.
    pub(super) fn secret_file(self) -> &'static str {
        match self {
            Self::VscodeServer | Self::ServeWeb => "web-token",
            Self::CodeServer => "code-server.yaml",
        }
    }

    /// Variables that count more for it than that file. It hands them to nobody, either.
    pub(super) fn secret_variables(self) -> &'static [&'static str] {
        match self {
            Self::VscodeServer | Self::ServeWeb => &[],
            Self::CodeServer => &["PASSWORD", "HASHED_PASSWORD"],
        }
    }

    /// What belongs in that file; nothing where it is not read.
    pub(super) fn secret(self, token: Option<&str>) -> Option<String> {
        match (self, token) {
            (Self::VscodeServer | Self::ServeWeb, token) => token.map(str::to_owned),
            // Settings (in the user's folder or anywhere else) must not open what is closed here.
            (Self::CodeServer, None) => Some("auth: none\ncert: false\n".to_owned()),
            (Self::CodeServer, Some(token)) => Some(format!("auth: password\npassword: \"{token}\"\ncert: false\n")),
        }
    }

    /// Where a browser finds it, and what it asks for there.
    pub(super) fn address(self, port: u16, token: Option<&str>) -> (String, Option<String>) {
        let plain = format!("http://localhost:{port}/");
        match (self, token) {
            (_, None) => (plain, None),
            (Self::VscodeServer | Self::ServeWeb, Some(token)) => (format!("{plain}?tkn={token}"), None),
            (Self::CodeServer, Some(token)) => (plain, Some(token.to_owned())),
        }
    }
}

/// What the command line depends on.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) host: &'static str,
    pub(super) port: u16,
    pub(super) open: bool,
    pub(super) data: PathBuf,
    /// Of VS Code's command line program.
    pub(super) cli_data: PathBuf,
    pub(super) extensions: PathBuf,
    pub(super) secret_file: PathBuf,
}

impl Launch {
    pub(super) fn arguments(&self, kind: Kind) -> Vec<OsString> {
        let port = self.port.to_string();
        let (data, extensions, cli_data) = (self.data.as_os_str(), self.extensions.as_os_str(), self.cli_data.as_os_str());
        let plain = |text: &'static str| OsString::from(text);
        let host_and_port = || [plain("--host"), self.host.into(), plain("--port"), port.clone().into()];
        let mut arguments: Vec<OsString> = Vec::new();
        match kind {
            Kind::VscodeServer => {
                arguments.extend(host_and_port());
                arguments.extend(["--accept-server-license-terms", "--telemetry-level", "off"].map(plain));
                arguments.extend([plain("--server-data-dir"), data.into(), plain("--extensions-dir"), extensions.into()]);
            }
            Kind::CodeServer => {
                let auth = if self.open { "none" } else { "password" };
                // Its variables PORT and CODE_SERVER_HOST count more than `--bind-addr`, and less than these.
                arguments.extend(host_and_port());
                arguments.extend([plain("--auth"), plain(auth)]);
                arguments.extend(["--disable-telemetry", "--disable-update-check"].map(plain));
                arguments.extend([plain("--user-data-dir"), data.into(), plain("--extensions-dir"), extensions.into()]);
            }
            Kind::ServeWeb => {
                arguments.push(plain("serve-web"));
                arguments.extend(host_and_port());
                arguments.push(plain("--accept-server-license-terms"));
                arguments.extend([plain("--server-data-dir"), data.into(), plain("--cli-data-dir"), cli_data.into()]);
            }
        }
        match (kind, self.open) {
            (Kind::VscodeServer | Kind::ServeWeb, true) => arguments.push(plain("--without-connection-token")),
            (Kind::VscodeServer | Kind::ServeWeb, false) => {
                arguments.extend([plain("--connection-token-file"), self.secret_file.clone().into()]);
            }
            (Kind::CodeServer, _) => arguments.extend([plain("--config"), self.secret_file.clone().into()]),
        }
        arguments
    }
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
            cli_data: "/home/u/cli".into(),
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
                "--host 127.0.0.1 --port 9000 --auth {auth} --disable-telemetry --disable-update-check --user-data-dir \
                 /home/u/data --extensions-dir /home/u/data/extensions --config /run/gantry/secret"
            )
        };
        assert_eq!(arguments(Kind::CodeServer, true), code("none"));
        assert_eq!(arguments(Kind::CodeServer, false), code("password"));
        let serve = "serve-web --host 127.0.0.1 --port 9000 --accept-server-license-terms --server-data-dir /home/u/data \
                     --cli-data-dir /home/u/cli";
        assert_eq!(arguments(Kind::ServeWeb, true), format!("{serve} --without-connection-token"));
        assert_eq!(arguments(Kind::ServeWeb, false), format!("{serve} --connection-token-file /run/gantry/secret"));
    }

    #[test]
    fn addresses() {
        assert_eq!(Kind::VscodeServer.address(80, Some("t")), ("http://localhost:80/?tkn=t".into(), None));
        assert_eq!(Kind::CodeServer.address(80, Some("t")), ("http://localhost:80/".into(), Some("t".into())));
        assert_eq!(Kind::ServeWeb.address(80, None), ("http://localhost:80/".into(), None));
    }
}
