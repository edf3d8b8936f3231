//! How containers start, and labels. Values that may be secrets are left out here, so that no rendering can show one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Setting, SettingKind};
use crate::contents;
use crate::oci::ImageConfig;

/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "…";

/// What differs.
pub(super) fn compare(before: &ImageConfig, after: &ImageConfig) -> Vec<Setting> {
    let (one, other) = (settings(before), settings(after));
    let all: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differs = all.into_iter().filter(|setting| one.get(*setting) != other.get(*setting));
    let shown = |(kind, name): &(SettingKind, Option<String>)| {
        let hidden = name.as_deref().is_some_and(contents::is_secret_name);
        let value = |of: &BTreeMap<_, String>| {
            let value = of.get(&(*kind, name.clone()))?;
            Some(if hidden { HIDDEN.to_owned() } else { masked(value) })
        };
        Setting { kind: *kind, name: name.clone(), before: value(&one), after: value(&other), hidden }
    };
    differs.map(shown).collect()
}

/// Everything that is set.
fn settings(image: &ImageConfig) -> BTreeMap<(SettingKind, Option<String>), String> {
    let run = &image.run;
    let mut settings = BTreeMap::new();
    let list = |words: &[String]| if words.is_empty() { String::new() } else { serde_json::json!(words).to_string() };
    let one = [
        (SettingKind::Platform, image.platform.clone()),
        (SettingKind::User, run.user.clone()),
        (SettingKind::WorkingDir, run.working_dir.clone()),
        (SettingKind::Entrypoint, list(&run.entrypoint)),
        (SettingKind::Command, list(&run.cmd)),
        (SettingKind::HealthCheck, run.healthcheck.as_ref().map(ToString::to_string).unwrap_or_default()),
    ];
    // What is empty is not set: engines do not tell the two apart.
    settings.extend(one.into_iter().filter(|(_, value)| !value.is_empty()).map(|(kind, value)| ((kind, None), value)));
    for (kind, of) in [(SettingKind::Port, &run.exposed_ports), (SettingKind::Volume, &run.volumes)] {
        settings.extend(of.keys().map(|name| ((kind, Some(name.clone())), "set".to_owned())));
    }
    for variable in &run.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        settings.insert((SettingKind::Environment, Some(name.to_owned())), value.to_owned());
    }
    for (name, value) in &image.labels {
        settings.insert((SettingKind::Label, Some(name.clone())), value.clone());
    }
    settings
}

/// A text without the values of what may be secrets: `NAME=value`, `--name=value`, `--name value`, `https://user:password@host`,
/// `Bearer value`, and what tells by its form that it is one.
pub(super) fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut hide_next = false;
    for word in text.split_inclusive(|letter: char| letter.is_whitespace() || letter == ',') {
        let (word, end) = word.split_at(word.trim_end_matches(|letter: char| letter.is_whitespace() || letter == ',').len());
        let bare = word.trim_start_matches(['"', '\'', '[', '{', '(']);
        let hide = std::mem::take(&mut hide_next) && !bare.is_empty() && !bare.starts_with('-');
        match bare.split_once('=') {
            _ if hide || !contents::secrets_in(word.as_bytes()).is_empty() => masked.push_str(HIDDEN),
            Some((name, value)) if !value.is_empty() && contents::is_secret_name(name) => {
                masked.push_str(word.split_once('=').map_or("", |(before, _)| before));
                masked.push('=');
                masked.push_str(HIDDEN);
            }
            _ => {
                hide_next = (bare.starts_with("--") && contents::is_secret_name(bare)) || bare.eq_ignore_ascii_case("bearer");
                masked.push_str(&without_login(word));
            }
        }
        masked.push_str(end);
    }
    masked
}

/// An address without user and password. (What stands alone before the `@` of a web address is a token.)
fn without_login(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((login, _)) if login.contains(':') || scheme.ends_with("http") || scheme.ends_with("https") => {
            format!("{scheme}://{HIDDEN}{}", rest.strip_prefix(login).unwrap_or_default())
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_in_instructions_and_command_lines() {
        let token = format!("ghp_{}", "x7Kq2Rm9Tz4Wn8Vb3Yc6Lf1Pj5Hd0Gs2Ae4B");
        for (text, shown) in [
            ("RUN |2 NPM_TOKEN=abc DATE=2026 /bin/sh -c x", "RUN |2 NPM_TOKEN=… DATE=2026 /bin/sh -c x"),
            (r#"["run","--token=abc","--verbose"]"#, r#"["run","--token=…,"--verbose"]"#),
            (r#"["run","--token","abc","-v"]"#, r#"["run","--token",…,"-v"]"#),
            ("curl https://me:pw@host/a b", "curl https://…@host/a b"),
            ("curl https://host/a@b", "curl https://host/a@b"),
            ("git clone https://abc@host/a.git", "git clone https://…@host/a.git"),
            ("git clone ssh://git@host/a.git", "git clone ssh://git@host/a.git"),
            ("curl -H \"Authorization: Bearer abc\" -O", "curl -H \"Authorization: Bearer … -O"),
            (&format!("RUN login {token} && x"), "RUN login … && x"),
            (&format!("note={token}"), "…"),
            ("COPY rootfs/ / # buildkit", "COPY rootfs/ / # buildkit"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
