//! VS Code in the browser: Microsoft's server or code-server, whichever the image has, or the one that VS Code's
//! command line program downloads.

use super::web_server::{Kind, Launch};
use super::{Surroundings, extensions, main_policy, tunnel, unprivileged};
use crate::access::Reach;
use crate::failure::{Failure, UNAVAILABLE};
use crate::process::Program;
use crate::settings::{Secret, WebAuth};
use crate::supervisor::{Seen, Service, Shown};
use crate::{files, places, web_url};
use std::path::Path;
use std::time::Duration;

/// Why it cannot be started here at all.
pub(super) fn missing() -> Option<String> {
    Kind::installed().is_none().then(|| {
        let (first, second, third) = (places::VSCODE_SERVER, places::CODE_SERVER, places::VSCODE_CLI);
        format!(
            "VSCODE_WEB is set, but this image has neither `{first}` nor `{second}` nor `{third}`: the images with one of the \
             first two end in `-web`"
        )
    })
}

pub(super) fn prepare(on: &Surroundings<'_>, reach: Reach) -> Result<Service, Failure> {
    let kind = Kind::installed().ok_or_else(|| Failure::new(UNAVAILABLE, missing().unwrap_or_default()))?;
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
    let secret_file = on.runtime.join(kind.secret_file());
    if let Some(content) = kind.secret(token.as_ref().map(Secret::expose)) {
        files::write(&secret_file, content.as_bytes(), 0o600, Some((account.uid, account.gid)))
            .map_err(|error| Failure::system(format!("to write `{}`", secret_file.display()), error))?;
    }
    let cli_data = crate::tunnel::data(&account.home);
    if kind == Kind::ServeWeb {
        tunnel::data_folder(on)?;
        let copy = cli_data.join("serve-web-token");
        if let Some(token) = &token {
            // Versions that do not know the option with the file keep theirs here.
            account.act(|| {
                let written = files::write(&copy, token.expose().as_bytes(), 0o600, None);
                written.map_err(|error| Failure::system(format!("to write `{}`", copy.display()), error))
            })?;
        }
    }
    announce(on, kind, reach, token.as_ref())?;
    let mut environment = account.environment(&on.settings.session);
    environment.retain(|(name, _)| kind.secret_variables().iter().all(|other| name != other));
    let launch = Launch { host: host(reach), port: web.port, open: token.is_none(), data, cli_data, extensions, secret_file };
    Ok(Service {
        name: "web",
        policy: main_policy(0, Duration::from_secs(10)),
        steps: Vec::new(),
        program: Program {
            path: kind.path().into(),
            arguments: launch.arguments(kind),
            environment,
            user: Some(account.clone()),
            folder: account.home.clone(),
            ..Program::default()
        },
        stop: kind.stop(),
        probe: kind.probe(web.port),
        shown: Shown::Log,
        watch: Some(watch),
    })
}

/// What a line of its output means: the servers say where they are, token and all, which the log says once itself.
fn watch(line: &str) -> Option<Seen> {
    line.contains("?tkn=").then_some(Seen::Hidden)
}

fn host(reach: Reach) -> &'static str {
    match reach {
        Reach::Loopback => "127.0.0.1",
        Reach::Everybody => "0.0.0.0",
    }
}

/// Says where it is and who gets in. A token that was given is known and not repeated; `entrypoint web-url` tells
/// either to whoever may know it.
fn announce(on: &Surroundings<'_>, kind: Kind, reach: Reach, token: Option<&Secret>) -> Result<(), Failure> {
    let port = on.settings.web.port;
    let (address, password) = kind.address(port, token.map(Secret::expose));
    web_url::keep(&on.runtime, &on.account, &address, password.as_deref())?;
    let given = matches!(on.settings.web.auth, WebAuth::Token(_));
    let (address, password) = if given { kind.address(port, Some("<VSCODE_WEB_TOKEN>")) } else { (address, password) };
    let password = password.map_or(String::new(), |password| format!(", password {password}"));
    on.log.service("info", "web", &format!("open {address} (or the published port){password}"));
    if kind == Kind::ServeWeb {
        on.log.service("info", "web", "VS Code itself is downloaded at the first visit: this image has none");
    }
    if token.is_none() && reach == Reach::Everybody {
        let warning = "VSCODE_WEB_AUTH=none: WHOEVER REACHES THIS PORT HAS A SHELL. Publish it to loopback only, or put a \
                           proxy that authenticates before it";
        on.log.service("warning", "web", warning);
    }
    Ok(())
}

/// 128 bits of the kernel's randomness, in hexadecimal.
fn generate() -> std::io::Result<Secret> {
    Ok(Secret::new(format!("{:016x}{:016x}", files::random()?, files::random()?)))
}
