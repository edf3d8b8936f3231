//! VS Code in the browser: Microsoft's server or code-server, whichever the image has, or the one that VS Code's
//! command line program downloads.

use super::web_server::{Kind, Launch};
use super::{Surroundings, extensions, main_policy, tunnel, unprivileged, web_token};
use crate::access::Reach;
use crate::failure::{Failure, UNAVAILABLE};
use crate::process::Program;
use crate::settings::{Secret, WebAuth};
use crate::supervisor::{Seen, Service, Shown, Step};
use crate::worker::Worker;
use crate::{files, places};
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
    if kind == Kind::ServeWeb {
        tunnel::data_folder(on)?;
    }
    web_token::write_down(kind, web.port, token.as_ref(), account, &on.runtime)?;
    announce(on, kind, reach, token.as_ref());
    // A file is read again at each start of the server: who renews a token starts that again.
    let renew = on.sources.in_file(web_token::TOKEN).then(|| Worker::WebToken.program(on.sources, &[web_token::TOKEN]));
    let steps: Vec<_> = renew.into_iter().map(|program| Step { program, makes: None }).collect();
    let mut environment = account.environment(&on.settings.session);
    environment.retain(|(name, _)| kind.secret_variables().iter().all(|other| name != other));
    let launch = Launch {
        host: host(reach),
        port: web.port,
        open: token.is_none(),
        data,
        cli_data: crate::tunnel::data(&account.home),
        extensions,
        secret_file: web_token::file(kind, &on.runtime),
    };
    Ok(Service {
        name: "web",
        policy: main_policy(steps.len(), Duration::from_secs(10)),
        steps,
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
fn announce(on: &Surroundings<'_>, kind: Kind, reach: Reach, token: Option<&Secret>) {
    let given = matches!(on.settings.web.auth, WebAuth::Token(_));
    let shown = if given { Some("<VSCODE_WEB_TOKEN>") } else { token.map(Secret::expose) };
    let (address, password) = kind.address(on.settings.web.port, shown);
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
}

/// 128 bits of the kernel's randomness, in hexadecimal.
fn generate() -> std::io::Result<Secret> {
    Ok(Secret::new(format!("{:016x}{:016x}", files::random()?, files::random()?)))
}
