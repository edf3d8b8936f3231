//! The web server's token: where it is written down for the server and for those who may know it, and what becomes of a
//! file that holds another one by now.

use super::web_server::Kind;
use crate::account::Account;
use crate::failure::{Failure, UNAVAILABLE};
use crate::settings::{Secret, Settings, Sources};
use crate::worker::Report;
use crate::{files, places, web_url};
use std::path::{Path, PathBuf};

/// The variable, and with `_FILE` behind it that of the file.
pub(super) const TOKEN: &str = "VSCODE_WEB_TOKEN";

/// The file by which the server learns its token.
pub(super) fn file(kind: Kind, runtime: &Path) -> PathBuf {
    runtime.join(kind.secret_file())
}

/// Writes `token` (none: whoever comes is let in) down for the server of this kind, and for `entrypoint web-url`.
///
/// # Errors
/// Those of the file system.
pub(super) fn write_down(
    kind: Kind,
    port: u16,
    token: Option<&Secret>,
    account: &Account,
    runtime: &Path,
) -> Result<(), Failure> {
    let refused = |path: &Path, error| Failure::system(format!("to write `{}`", path.display()), error);
    let exposed = token.map(Secret::expose);
    if let Some(content) = kind.secret(exposed) {
        let file = file(kind, runtime);
        files::write(&file, content.as_bytes(), 0o600, Some((account.uid, account.gid)))
            .map_err(|error| refused(&file, error))?;
    }
    if let (Kind::ServeWeb, Some(token)) = (kind, exposed) {
        let copy = crate::tunnel::data(&account.home).join("serve-web-token");
        // Versions that do not know the option with the file keep theirs here.
        account.act(|| files::write(&copy, token.as_bytes(), 0o600, None).map_err(|error| refused(&copy, error)))?;
    }
    let (address, password) = kind.address(port, exposed);
    web_url::keep(runtime, account, &address, password.as_deref())
}

/// The worker `web-token`: writes down what the token's file holds now, before the server begins with it.
///
/// # Errors
/// The image has no server or no such user.
pub(crate) fn renew(settings: &Settings, sources: &Sources, report: &Report) -> Result<u8, Failure> {
    let kind = Kind::installed().ok_or_else(|| Failure::new(UNAVAILABLE, "there is no web server"))?;
    let account = Account::workspace(settings.home.as_deref())?;
    let renewed = Settings::web_token(sources).and_then(|token| {
        let written = write_down(kind, settings.web.port, Some(&token), &account, &places::runtime());
        written.map_err(|failure| failure.problems.concat())
    });
    if let Err(problem) = renewed {
        report.error(format!("{problem}: the server keeps the token of before"));
    }
    // A workspace that nobody gets into is of no use to whoever renews a token.
    Ok(0)
}
