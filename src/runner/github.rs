//! The client of GitHub's API: who it says it is, what it asks, and what it makes of the answers.

use super::{Trouble, api, jwt};
use crate::http::retry::{Verdict, verdict};
use crate::http::{self, Answer, Request};
use crate::settings::{self, Credentials, Environment, Secret, Sources};
use crate::worker::Runtime;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An installation token is good for an hour; it is used for this long.
const INSTALLATION_TOKEN: Duration = Duration::from_secs(45 * 60);
/// More pages than any list has.
const MOST_PAGES: usize = 200;

/// How a request is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Whether a stop of the worker ends it.
    pub(super) heed_stop: bool,
    pub(super) patience: Duration,
}

impl Way {
    /// In the usual course of things.
    pub(super) const USUAL: Self = Self { heed_stop: true, patience: Duration::from_secs(30) };
}

/// The client.
#[derive(Debug)]
pub(super) struct GitHub<'a> {
    pub(super) runner: &'a settings::Runner,
    sources: &'a Sources,
    fetch: &'a Environment,
    /// An App's token, and when it was given.
    installation: Option<(Secret, Instant)>,
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl<'a> GitHub<'a> {
    pub(super) fn new(runner: &'a settings::Runner, sources: &'a Sources, fetch: &'a Environment) -> Self {
        Self { runner, sources, fetch, installation: None }
    }

    /// Whether there is more than a registration token: something to ask the API with.
    pub(super) fn asks(&self) -> bool {
        self.runner.credentials != Credentials::RegistrationToken
    }

    /// The secret `name`, read anew: whoever mounts it as a file may have changed it.
    pub(super) fn secret(&self, name: &str) -> Result<Secret, Trouble> {
        match self.sources.secret(name) {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(Trouble::Refused { why: format!("{name} is unset"), hint: format!("set {name} or {name}_FILE") }),
            Err(why) => Err(Trouble::Later { why, after: None }),
        }
    }

    /// Asks with what the settings give for it.
    pub(super) fn ask(
        &mut self,
        runtime: &mut Runtime,
        method: &'static str,
        url: &str,
        body: Option<String>,
        way: Way,
    ) -> Result<Answer, Trouble> {
        let held = self.installation.is_some();
        let token = self.token(runtime, way)?;
        let answer = self.send(runtime, method, url, body.clone(), token.as_ref(), way)?;
        if answer.status == 401 && held {
            // The installation's token was taken back before its time.
            self.installation = None;
            let token = self.token(runtime, way)?;
            return self.send(runtime, method, url, body, token.as_ref(), way);
        }
        Ok(answer)
    }

    /// What goes into `Authorization`; nothing where there is a registration token alone.
    fn token(&mut self, runtime: &mut Runtime, way: Way) -> Result<Option<Secret>, Trouble> {
        match &self.runner.credentials {
            Credentials::Pat(name) => self.secret(name).map(Some),
            Credentials::RegistrationToken => Ok(None),
            Credentials::App { id, installation } => {
                if let Some((token, given)) = &self.installation
                    && given.elapsed() < INSTALLATION_TOKEN
                {
                    return Ok(Some(token.clone()));
                }
                let key = self.secret("GITHUB_APP_PRIVATE_KEY")?;
                let jwt = jwt::sign(runtime, self.fetch, id, &key, now(), way.heed_stop)?;
                let given = Instant::now();
                let token = self.installation_token(runtime, &jwt, *installation, way)?;
                self.installation = Some((token.clone(), given));
                Ok(Some(token))
            }
        }
    }

    /// Exchanges the App's own token for one of its installation.
    fn installation_token(
        &self,
        runtime: &mut Runtime,
        jwt: &Secret,
        installation: Option<u64>,
        way: Way,
    ) -> Result<Secret, Trouble> {
        let installation = match installation {
            Some(id) => id,
            None => {
                let doing = "to look up the App's installation";
                let url = format!("{}/installation", api::owner(&self.runner.target));
                let answer = self.send(runtime, "GET", &url, None, Some(jwt), way)?;
                self.expect(doing, &answer, 200)?;
                api::installation(&answer.body).ok_or_else(|| strange(doing))?
            }
        };
        let doing = "to get a token of the App's installation";
        let url = format!("{}/app/installations/{installation}/access_tokens", self.runner.target.api);
        let answer = self.send(runtime, "POST", &url, None, Some(jwt), way)?;
        self.expect(doing, &answer, 201)?;
        api::token(&answer.body).ok_or_else(|| strange(doing))
    }

    fn send(
        &self,
        runtime: &mut Runtime,
        method: &'static str,
        url: &str,
        body: Option<String>,
        token: Option<&Secret>,
        way: Way,
    ) -> Result<Answer, Trouble> {
        let mut request = Request::new(method, url)
            .header("Accept", "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28")
            .within(way.patience);
        request.heed_stop = way.heed_stop;
        if let Some(token) = token {
            request = request.bearer(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let asked = http::send(runtime, self.fetch, &request);
        match (verdict(&asked), asked) {
            (_, Err(http::Error::Stopped)) => Err(Trouble::Stopped),
            (Verdict::Again(after), Ok(answer)) => {
                Err(Trouble::Later { why: format!("GitHub answers {}", answer.status), after })
            }
            (_, Err(error)) => Err(Trouble::Later { why: format!("GitHub was not reached: {error}"), after: None }),
            (Verdict::Good | Verdict::Final, Ok(answer)) => Ok(answer),
        }
    }

    /// Checks that `doing` was answered with `status`.
    pub(super) fn expect(&self, doing: &str, answer: &Answer, status: u16) -> Result<(), Trouble> {
        if answer.status == status {
            return Ok(());
        }
        Err(api::refused(doing, answer, &self.runner.target, &self.runner.credentials))
    }

    /// Everybody on the list at `url`.
    pub(super) fn list(&mut self, runtime: &mut Runtime, url: &str, way: Way) -> Result<Vec<api::Listed>, Trouble> {
        let doing = "to list the runners";
        let mut all = Vec::new();
        for number in 1..=MOST_PAGES {
            let answer = self.ask(runtime, "GET", &format!("{url}?per_page={}&page={number}", api::PAGE), None, way)?;
            self.expect(doing, &answer, 200)?;
            let page = api::page(&answer.body).ok_or_else(|| strange(doing))?;
            let last = page.len() < api::PAGE;
            all.extend(page);
            if last {
                break;
            }
        }
        Ok(all)
    }

    /// The id of the group that the settings name; 1 is that of `Default`, and the only one of a repository.
    pub(super) fn group(&mut self, runtime: &mut Runtime, name: Option<&str>) -> Result<u64, Trouble> {
        let repository = matches!(self.runner.target.scope, settings::Scope::Repository { .. });
        let Some(name) = name.filter(|_| !repository) else { return Ok(1) };
        let doing = "to look up the runner group";
        for number in 1..=MOST_PAGES {
            let list = format!("{}/actions/runner-groups", api::owner(&self.runner.target));
            let url = format!("{list}?per_page={}&page={number}", api::PAGE);
            let answer = self.ask(runtime, "GET", &url, None, Way::USUAL)?;
            self.expect(doing, &answer, 200)?;
            let groups = api::groups(&answer.body).ok_or_else(|| strange(doing))?;
            if let Some((_, id)) = groups.iter().find(|(group, _)| group.eq_ignore_ascii_case(name)) {
                return Ok(*id);
            }
            if groups.len() < api::PAGE {
                break;
            }
        }
        Err(Trouble::Refused {
            why: format!("there is no runner group `{name}`"),
            hint: "GITHUB_RUNNER_GROUP names one that exists already; unset, it is `Default`".to_owned(),
        })
    }
}

/// An answer of the right status with something else in it: a proxy's, perhaps.
pub(super) fn strange(doing: &str) -> Trouble {
    Trouble::Later { why: format!("{doing}: the answer cannot be understood"), after: None }
}
