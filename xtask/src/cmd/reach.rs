//! What `doctor` says of the destinations: who we are there, and what that identity may do, tried. All at once, and each
//! within a bound: a network that is down is told, not waited for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::destinations::Target;
use crate::registry::ecr::EcrApi;
use crate::registry::{Access, Configured, Identity, Patience, Registry, RegistryError, Sources};
use crate::retry::{Policy, SystemClock};

/// For one destination, everything included.
const PATIENCE: Duration = Duration::from_secs(25);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// One more attempt, soon: `doctor` is asked by somebody who waits.
const POLICY: Policy =
    Policy { attempts: 2, base: Duration::from_millis(300), cap: Duration::from_secs(1), total: Duration::from_secs(10) };

/// What was found out about a destination.
pub(super) struct Reached {
    name: String,
    repository: String,
    /// `` `GITHUB_TOKEN` ``; none: anonymous.
    source: Option<String>,
    /// When the credential ends.
    ends: Option<String>,
    /// Whether something can be read; false: nothing is there yet.
    pull: Result<bool, String>,
    push: Result<(), String>,
    /// What to do about it.
    mend: Option<String>,
}

/// Looks at all of them at once.
pub(super) async fn all(targets: &[Target], sources: &Sources) -> Vec<Reached> {
    join_all(targets.iter().map(|target| async {
        let looking = tokio::time::timeout(PATIENCE, look(target, sources));
        looking.await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", PATIENCE.as_secs());
            Reached { mend: Some(NETWORK.to_owned()), ..Reached::unreached(target, why) }
        })
    }))
    .await
}

const NETWORK: &str = "check the network, and HTTPS_PROXY and NO_PROXY";

async fn look(target: &Target, sources: &Sources) -> Reached {
    let identity = Arc::new(Configured::new(sources.clone(), target.repository.registry()));
    let found = match identity.credential(false).await {
        Ok(found) => found,
        Err(error) => {
            let error = RegistryError::from(error);
            return Reached { mend: error.hint(), ..Reached::unreached(target, error.to_string()) };
        }
    };
    let client = |access| {
        let identity: Arc<dyn Identity> = identity.clone();
        let clock = Arc::new(SystemClock::default());
        let client = Registry::identified(&target.repository, target.insecure, access, identity, POLICY, clock);
        client.map(|client| client.patient(Patience { answer: ANSWER, blob: ANSWER }))
    };
    let (pull, push) = match (client(Access::Pull), client(Access::Push)) {
        (Ok(pull), Ok(push)) => tokio::join!(pull.probe_pull(), push.probe_push()),
        (Err(error), _) | (_, Err(error)) => return Reached::unreached(target, error.to_string()),
    };
    let missing = missing_in_ecr(target).await;
    let mend = match &push {
        _ if missing => Some(format!("cargo xtask ecr init --destination {}", target.flag())),
        Ok(()) => None,
        Err(error) => mend(target, error, found.is_none()),
    };
    let push = match push {
        Ok(()) if missing => Err("the repository does not exist, and a push does not create it".to_owned()),
        push => push.map_err(|error| error.to_string()),
    };
    Reached {
        name: target.name.clone(),
        repository: target.repository.to_string(),
        ends: found.as_ref().and_then(|found| found.ends?.format(&Rfc3339).ok()),
        source: found.map(|found| found.origin),
        pull: pull.map_err(|error| error.to_string()),
        push,
        mend,
    }
}

/// Whether ECR says that there is no such repository. (Where it does not say, the registry has.)
async fn missing_in_ecr(target: &Target) -> bool {
    let Some(ecr) = &target.ecr else { return false };
    match EcrApi::connect(&ecr.registry).await {
        Ok(api) => matches!(api.mutability(target.repository.path()).await, Ok(None)),
        Err(_) => false,
    }
}

fn mend(target: &Target, error: &RegistryError, anonymous: bool) -> Option<String> {
    let host = target.repository.registry();
    match error {
        RegistryError::Denied { .. } if anonymous && host == "ghcr.io" => {
            Some("`gh auth login --scopes write:packages`, or GITHUB_TOKEN (in Actions with `packages: write`), or `docker login ghcr.io`".to_owned())
        }
        RegistryError::Denied { .. } if host == "public.ecr.aws" => {
            Some("tokens for ECR Public are not asked for by Gantry: `docker login public.ecr.aws` with one of your own".to_owned())
        }
        RegistryError::NoRepository { .. } if target.ecr.is_some() => {
            Some(format!("cargo xtask ecr init --destination {}", target.flag()))
        }
        RegistryError::Unreachable { .. } => Some(NETWORK.to_owned()),
        error => error.hint(),
    }
}

impl Reached {
    fn unreached(target: &Target, why: String) -> Self {
        Self {
            name: target.name.clone(),
            repository: target.repository.to_string(),
            source: None,
            ends: None,
            pull: Err(why.clone()),
            push: Err(why),
            mend: None,
        }
    }

    /// Whether a release can go there.
    pub(super) fn takes_pushes(&self) -> bool {
        self.push.is_ok()
    }

    pub(super) fn text(&self) -> String {
        let ends = self.ends.as_ref().map(|ends| format!(", until {ends}")).unwrap_or_default();
        let source = match &self.source {
            Some(source) => format!("with the credential of {source}{ends}"),
            None => "without a credential".to_owned(),
        };
        let (state, found) = match (&self.pull, &self.push) {
            (Ok(true), Ok(())) => ("ok", format!("pull and push, {source}")),
            (Ok(false), Ok(())) => ("ok", format!("push, {source}; nothing is there yet")),
            (Err(why), Ok(())) => ("ok", format!("push, {source}; no pull: {why}")),
            (Ok(true), Err(why)) => ("no push", format!("only pull, {source}: {why}")),
            (_, Err(why)) => ("no push", format!("{source}: {why}")),
        };
        let mut text = format!("{state:8} {:20} {}: {found}\n", self.name, self.repository);
        for line in self.mend.iter().flat_map(|mend| mend.lines()) {
            text += &format!("{:9}{:20} mend: {line}\n", "", "");
        }
        text
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "repository": self.repository,
            "source": self.source,
            "ends": self.ends,
            "pull": self.pull.is_ok(),
            "why-no-pull": self.pull.as_ref().err(),
            "empty": self.pull.as_ref().is_ok_and(|there| !there),
            "push": self.push.is_ok(),
            "why-no-push": self.push.as_ref().err(),
            "mend": self.mend,
        })
    }
}
