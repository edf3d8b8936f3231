use super::{
    Listed, Trouble, configured, groups, installation, jit, jit_request, page, public, refused, runner, runners, task, token,
};
use crate::http::Answer;
use crate::settings::{Credentials, RunnerTarget, Scope};
use proptest::prelude::*;

fn target(scope: Scope) -> RunnerTarget {
    RunnerTarget { url: "https://github.com/x".into(), api: "https://api.github.com".into(), scope }
}

#[test]
fn addresses_by_scope() {
    let repository = |owner: &str, name: &str| Scope::Repository { owner: owner.into(), name: name.into() };
    let table = [
        (repository("o", "r.x_y"), "repos/o/r.x_y"),
        (repository("../o", "r?a=b"), "repos/..%2Fo/r%3Fa%3Db"),
        (Scope::Organization("o".into()), "orgs/o"),
        (Scope::Enterprise("e".into()), "enterprises/e"),
    ];
    for (scope, path) in table {
        assert_eq!(runners(&target(scope)), format!("https://api.github.com/{path}/actions/runners"));
    }
}

#[test]
fn answers_are_read() {
    let list = br#"{"total_count":2,"runners":[{"id":7,"name":"a","os":"linux","status":"online","busy":true},
                    {"id":8,"name":"b","status":"offline","labels":[]}]}"#;
    let a = Listed { id: 7, name: "a".into(), online: true };
    let b = Listed { id: 8, name: "b".into(), online: false };
    assert_eq!(page(list), Some(vec![a.clone(), b]));
    assert_eq!(page(br#"{"total_count":0,"runners":[]}"#), Some(vec![]));
    assert_eq!(runner(br#"{"id":7,"name":"a","status":"online"}"#), Some(a));
    assert_eq!(token(br#"{"token":"AB","expires_at":"x"}"#).unwrap().expose(), "AB");
    for nonsense in [r#"{"token":""}"#, r#"{"token":"null"}"#, r#"{"token":null}"#, r#"{"token":"a\nb"}"#, "[]", ""] {
        assert_eq!(token(nonsense.as_bytes()), None, "{nonsense}");
    }
    let (id, config) = jit(br#"{"runner":{"id":9,"name":"n"},"encoded_jit_config":"e30="}"#).unwrap();
    assert_eq!((id, config.expose()), (9, "e30="));
    assert_eq!(public(br#"{"private":false}"#), Some(true));
    assert_eq!(public(br#"{"private":true,"visibility":"internal"}"#), Some(false));
    assert_eq!(public(br#"{"private":true}"#), Some(false));
    assert_eq!(public(b"{}"), None);
    assert_eq!(installation(br#"{"id":5}"#), Some(5));
    assert_eq!(groups(br#"{"runner_groups":[{"id":1,"name":"Default"}]}"#), Some(vec![("Default".into(), 1)]));
    let arn = br#"{"TaskARN":"arn:aws:ecs:eu-west-1:1:task/cluster/0123456789abcdef0123456789abcdef"}"#;
    assert_eq!(task(arn).as_deref(), Some("0123456789abcdef0123456789abcdef"));
    assert_eq!(task(br#"{"TaskARN":"x/../.."}"#), None);
    let sent = jit_request("n\"", 1, &["a".into()], "_work");
    let expected = serde_json::json!({"labels": ["a"], "name": "n\"", "runner_group_id": 1, "work_folder": "_work"});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&sent).unwrap(), expected);
}

#[test]
fn the_runners_own_file() {
    let table = [
        ("\u{feff}{\"agentId\": 12, \"agentName\": \"a\", \"poolId\": 1}", Some((12, "a".to_owned()))),
        ("{\"AgentId\": \"12\", \"AgentName\": \"a\"}", Some((12, "a".to_owned()))),
        ("{\"agentId\": -1, \"agentName\": \"a\"}", None),
        ("{\"agentId\": 1}", None),
        ("", None),
    ];
    for (text, expected) in table {
        assert_eq!(configured(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn a_refusal_says_which_permission_is_missing() {
    let repository = || Scope::Repository { owner: "o".into(), name: "r".into() };
    let app = || Credentials::App { id: "1".into(), installation: None };
    let pat = || Credentials::Pat("GITHUB_RUNNER_PAT");
    let table = [
        (404, repository(), pat(), "`repo` (classic) or `Administration: write`"),
        (403, Scope::Organization("o".into()), pat(), "`admin:org` (classic) or `Organization self-hosted runners: write`"),
        (403, Scope::Enterprise("o".into()), pat(), "`manage_runners:enterprise`"),
        (404, repository(), app(), "`Administration: write`, and has to be installed"),
        (404, Scope::Organization("o".into()), app(), "`Self-hosted runners: write`, and has to be installed"),
        (401, repository(), Credentials::Pat("GH_TOKEN"), "GH_TOKEN has expired, was revoked"),
        (422, repository(), pat(), "is GITHUB_RUNNER_URL right"),
    ];
    for (status, scope, credentials, expected) in table {
        let answer = Answer::of(status, &[], r#"{"message":"Not\u000aFound"}"#);
        let Trouble::Refused { why, hint } = refused("x", &answer, &target(scope), &credentials) else { panic!("{status}") };
        assert!(hint.contains(expected), "{status}: {hint}");
        assert!(why.contains(&format!(": {status} (`NotFound`)")), "{why}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        every_parser(&bytes);
    }

    #[test]
    fn no_document_makes_a_parser_panic(
        text in r#"(\{|\[|"(id|token|name|runners|runner|runner_groups|agentId|TaskARN|status|private)"|:|,|\]|\}|"[a-z/]*"|-?[0-9]{1,25}|null|true){0,40}"#,
    ) {
        every_parser(text.as_bytes());
    }
}

fn every_parser(bytes: &[u8]) {
    let _ = (page(bytes), runner(bytes), token(bytes), jit(bytes), public(bytes), installation(bytes), groups(bytes));
    let _ = (configured(bytes), task(bytes));
}
