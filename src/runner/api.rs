//! GitHub's REST API as far as runners need it: addresses, and answers, which are foreign bytes.

use super::Trouble;
use crate::http::Answer;
use crate::settings::{Credentials, RunnerTarget, Scope, Secret};
use serde_json::Value;
use std::fmt::Write as _;

/// Runners on a page of a list: the most that GitHub gives.
pub(super) const PAGE: usize = 100;

/// A runner on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) online: bool,
}

/// `https://api.github.com/repos/o/r`
pub(super) fn owner(target: &RunnerTarget) -> String {
    let path = match &target.scope {
        Scope::Repository { owner, name } => format!("repos/{}/{}", segment(owner), segment(name)),
        Scope::Organization(name) => format!("orgs/{}", segment(name)),
        Scope::Enterprise(name) => format!("enterprises/{}", segment(name)),
    };
    format!("{}/{path}", target.api)
}

/// `…/actions/runners`
pub(super) fn runners(target: &RunnerTarget) -> String {
    format!("{}/actions/runners", owner(target))
}

/// A segment of a path, whatever it holds.
fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(byte.into());
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

fn value(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

/// A page of the list of runners.
pub(super) fn page(body: &[u8]) -> Option<Vec<Listed>> {
    value(body)?.get("runners")?.as_array()?.iter().map(listed).collect()
}

/// One runner.
pub(super) fn runner(body: &[u8]) -> Option<Listed> {
    listed(&value(body)?)
}

fn listed(value: &Value) -> Option<Listed> {
    let online = value.get("status").and_then(Value::as_str) == Some("online");
    Some(Listed { id: value.get("id")?.as_u64()?, name: value.get("name")?.as_str()?.to_owned(), online })
}

/// The token of an answer that holds one.
pub(super) fn token(body: &[u8]) -> Option<Secret> {
    secret(value(body)?.get("token")?)
}

/// A secret: one line of something.
fn secret(value: &Value) -> Option<Secret> {
    let text = value.as_str()?;
    let good = !text.is_empty() && text != "null" && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    good.then(|| Secret::new(text))
}

/// A runner's id and its just-in-time configuration.
pub(super) fn jit(body: &[u8]) -> Option<(u64, Secret)> {
    let value = value(body)?;
    Some((value.get("runner")?.get("id")?.as_u64()?, secret(value.get("encoded_jit_config")?)?))
}

/// What is sent for a just-in-time configuration.
pub(super) fn jit_request(name: &str, group: u64, labels: &[String], work: &str) -> String {
    serde_json::json!({ "name": name, "runner_group_id": group, "labels": labels, "work_folder": work }).to_string()
}

/// Whether everybody can see the repository, and so propose what its runners execute.
pub(super) fn public(body: &[u8]) -> Option<bool> {
    let value = value(body)?;
    match value.get("visibility").and_then(Value::as_str) {
        Some(visibility) => Some(visibility == "public"),
        // Older Enterprise Servers.
        None => Some(!value.get("private")?.as_bool()?),
    }
}

/// The id of an installation of an App.
pub(super) fn installation(body: &[u8]) -> Option<u64> {
    value(body)?.get("id")?.as_u64()
}

/// The groups on a page, by name.
pub(super) fn groups(body: &[u8]) -> Option<Vec<(String, u64)>> {
    let group = |value: &Value| Some((value.get("name")?.as_str()?.to_owned(), value.get("id")?.as_u64()?));
    value(body)?.get("runner_groups")?.as_array()?.iter().map(group).collect()
}

/// What `.runner`, which the runner writes when it is configured, says of whom it is.
pub(super) fn configured(bytes: &[u8]) -> Option<(u64, String)> {
    // .NET begins its files with a mark.
    let value = value(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))?;
    // Names differ in case between versions of the runner.
    let field = |name: &str| value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v);
    let id = field("agentId")?;
    let id = id.as_u64().or_else(|| id.as_str()?.parse().ok())?;
    Some((id, field("agentName")?.as_str()?.to_owned()))
}

/// The ECS task's id in the answer of the container's metadata endpoint.
pub(super) fn task(body: &[u8]) -> Option<String> {
    let value = value(body)?;
    let (_, id) = value.get("TaskARN")?.as_str()?.rsplit_once('/')?;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')).then(|| id.to_owned())
}

/// GitHub's own words in an answer, fit for a log line.
fn words(answer: &Answer) -> String {
    let message = value(&answer.body).and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
    let message: String = message.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    if message.is_empty() { String::new() } else { format!(" (`{message}`)") }
}

/// `doing` was answered with something else than what was hoped for, and asking again brings the same.
pub(super) fn refused(doing: &str, answer: &Answer, target: &RunnerTarget, credentials: &Credentials) -> Trouble {
    let (who, rights) = (name(credentials), rights(&target.scope, credentials));
    let what = match answer.status {
        401 => "GitHub does not accept the credentials",
        403 => "GitHub forbids it",
        404 => "GitHub knows no such thing, or does not show it",
        300..=399 => "the address leads elsewhere",
        _ => "GitHub refuses",
    };
    let hint = match answer.status {
        401 => format!("{who} has expired, was revoked, or belongs to another server"),
        403 | 404 => format!("{who} needs {rights}; and is GITHUB_RUNNER_URL right: `{}`?", target.url),
        _ => format!("is GITHUB_RUNNER_URL right: `{}`?", target.url),
    };
    Trouble::Refused { why: format!("{doing}: {what}: {}{}", answer.status, words(answer)), hint }
}

/// What is registered with, for messages.
fn name(credentials: &Credentials) -> &'static str {
    match credentials {
        Credentials::Pat(name) => name,
        Credentials::App { .. } => "the App of GITHUB_APP_ID",
        Credentials::RegistrationToken => "GITHUB_RUNNER_TOKEN",
    }
}

/// The permissions that registering takes.
fn rights(scope: &Scope, credentials: &Credentials) -> &'static str {
    let app = matches!(credentials, Credentials::App { .. });
    match scope {
        Scope::Repository { .. } if app => "the repository permission `Administration: write`, and has to be installed there",
        Scope::Organization(_) if app => {
            "the organization permission `Self-hosted runners: write`, and has to be installed there"
        }
        Scope::Enterprise(_) if app => "the enterprise permission `Self-hosted runners: write`, and has to be installed there",
        Scope::Repository { .. } => "the scope `repo` (classic) or `Administration: write` (fine-grained)",
        Scope::Organization(_) => "the scope `admin:org` (classic) or `Organization self-hosted runners: write` (fine-grained)",
        Scope::Enterprise(_) => "the scope `manage_runners:enterprise` (classic)",
    }
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
