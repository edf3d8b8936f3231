//! How the GitHub runner gets onto GitHub's list, and how it does not.

mod container;
mod doubles;
mod github;

use container::{Setup, server};
use doubles::Answer;
use github::{
    GitHub, INSTALLATION_TOKEN, LISTENER, PAT, REGISTRATION, WORKER, app_key, leaves, online, status, with_pat, with_runner,
};

#[test]
fn a_runner_is_registered_runs_jobs_and_is_removed() {
    let (setup, github) = with_pat();
    let container = setup.start().healthy();
    online(&container, &github, &["fixed"]);
    container.logged("runner: registered as `fixed` (id 21) at https://github.com/o/r");
    container.logged("runner: ready");
    let doing = |text: &str| container.until(text, |container| status(container).contains(text).then_some(()));
    doing("waits for jobs");
    github.job("fixed", "build");
    doing("runs job build");
    github.finish("fixed");
    doing("waits for jobs");
    assert_eq!(github.runners()[0].labels, "self-hosted,linux");
    assert_eq!(github.most(), 1);
    let log = leaves(container, &github);
    assert!(log.contains("runner: removed `fixed` (id 21) from GitHub"), "{log}");
    let asked = github.asked();
    assert!(asked.iter().all(|request| request.header("authorization") == Some(&format!("Bearer {PAT}"))));
    assert!(asked.iter().all(|request| request.header("x-github-api-version").is_some()));
}

#[test]
fn organizations_and_enterprises_have_runners_too() {
    for (url, owner) in [("https://github.com/o", "/orgs/o/"), ("https://github.com/enterprises/e", "/enterprises/e/")] {
        let (setup, github) = with_pat();
        let setup = setup.set("GITHUB_RUNNER_URL", url).set("GITHUB_RUNNER_GROUP", "builders");
        let container = setup.start().healthy();
        online(&container, &github, &["fixed"]);
        leaves(container, &github);
        assert!(github.asked().iter().all(|request| request.path.starts_with(owner)), "{:?}", github.asked());
    }
}

#[test]
fn an_enterprise_server_has_its_api_below_its_own_address() {
    let (setup, github) = with_pat();
    let setup = setup.set("GITHUB_RUNNER_API_URL", "").set("GITHUB_RUNNER_URL", "http://127.0.0.1:7000/o/r");
    let container = setup.start().healthy();
    online(&container, &github, &["fixed"]);
    leaves(container, &github);
    assert!(github.asked().iter().all(|request| request.path.starts_with("/api/v3/repos/o/r")), "{:?}", github.asked());
}

#[test]
fn an_app_registers_with_a_token_of_its_installation() {
    let (key, public) = app_key();
    // In a file; on one line; with the installation's id.
    for way in 0..3 {
        let (setup, github) = with_runner(Setup::web(&server("")));
        github.key(&public);
        std::fs::write(setup.folder().join("app.pem"), &key).unwrap();
        let setup = setup.set("GITHUB_APP_ID", "7");
        let setup = match way {
            0 => setup.set("GITHUB_APP_PRIVATE_KEY_FILE", "/mnt/files/app.pem"),
            1 => setup.set("GITHUB_APP_PRIVATE_KEY", &key.trim().replace('\n', "\\n")),
            _ => setup.set("GITHUB_APP_PRIVATE_KEY", &key).set("GITHUB_APP_INSTALLATION_ID", "42"),
        };
        let container = setup.start().healthy();
        online(&container, &github, &["fixed"]);
        leaves(container, &github);
        let as_app = github.asked().iter().filter(|request| request.path.contains("/installation")).count();
        assert_eq!(as_app, if way == 2 { 1 } else { 2 }, "the installation's token is used again");
        let token = format!("Bearer {INSTALLATION_TOKEN}");
        let rest = |request: &&doubles::Request| !request.path.contains("/installation");
        assert!(github.asked().iter().filter(rest).all(|request| request.header("authorization") == Some(&token)));
    }
}

#[test]
fn a_key_that_is_none_and_an_app_that_is_not_installed_are_said() {
    let (setup, _github) = with_runner(Setup::web(&server("")));
    let none = "-----BEGIN RSA PRIVATE KEY-----\\ncanary\\n-----END RSA PRIVATE KEY-----";
    let container = setup.set("GITHUB_APP_ID", "7").set("GITHUB_APP_PRIVATE_KEY", none).start().healthy();
    container.logged("GITHUB_APP_PRIVATE_KEY is no private key that `openssl` can sign with");
    assert!(!container.log().contains("canary"), "{}", container.log());

    let (key, public) = app_key();
    let (setup, github) = with_runner(Setup::web(&server("")));
    github.key(&public);
    github.prepare("GET", "/installation", 1, Answer::new(404, r#"{"message":"Not Found"}"#));
    let container = setup.set("GITHUB_APP_ID", "7").set("GITHUB_APP_PRIVATE_KEY", &key).start().healthy();
    container.logged("the App of GITHUB_APP_ID needs the repository permission `Administration: write`, and has to be installed");
}

/// The token of somebody who has copied it from GitHub's page.
fn with_token() -> (Setup, GitHub) {
    let (setup, github) = with_runner(Setup::web(&server("")));
    (setup.set("GITHUB_RUNNER_TOKEN", &format!("{REGISTRATION}0")), github)
}

#[test]
fn a_registration_token_alone_registers_and_removes_while_it_is_good() {
    let (setup, github) = with_token();
    let container = setup.set("STOP_GRACE_SECONDS", "25").start().healthy();
    online(&container, &github, &["fixed"]);
    // A crash keeps the registration: there may be no other.
    container.sh(&format!("kill -9 $({LISTENER})"));
    container.logged("runs again in 5 s");
    online(&container, &github, &["fixed"]);
    // What a job leaves behind could read the token while it is used.
    github.job("fixed", "build");
    container.until("the job", |container| (!container.sh("pgrep -u 1001 -x sleep || true").is_empty()).then_some(()));
    github.finish("fixed");
    container.until("its end", |container| status(container).contains("waits for jobs").then_some(()));
    let log = leaves(container, &github);
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text}: {log}"));
    assert!(at("ended what jobs have left behind") < at("runner: removed `fixed` from GitHub"), "{log}");
    assert_eq!(github.count("DELETE", ""), 0, "there is nothing to ask the API with");
}

#[test]
fn a_registration_that_cannot_be_had_again_outlives_the_worker() {
    let (setup, github) = with_token();
    let container = setup.set("STOP_GRACE_SECONDS", "25").start().healthy();
    online(&container, &github, &["fixed"]);
    container.sh(&format!("kill -9 $({WORKER})"));
    container.logged("goes on as `fixed`, which is registered already");
    online(&container, &github, &["fixed"]);
    assert_eq!(github.runners()[0].id, 21);
    leaves(container, &github);
}

#[test]
fn a_registration_token_that_is_too_old_is_said() {
    let (setup, github) = with_runner(Setup::web(&server("")));
    let container = setup.set("GITHUB_RUNNER_TOKEN", "REGISTRATIONcanaryOLD").start().healthy();
    container.logged("NotFound from 'POST /actions/runner-registration'` (a registration token is good for an hour");
    assert_eq!(github.names(), [""; 0]);
    assert!(!container.log().contains("canary"), "{}", container.log());
}

#[test]
fn a_runner_for_one_job_finds_nothing_of_the_one_before_with_a_registration_token_too() {
    let (setup, github) = with_token();
    let container = setup.set("GITHUB_RUNNER_EPHEMERAL", "1").start().healthy();
    online(&container, &github, &["fixed"]);
    github.job("fixed", "build");
    let user = "cat /opt/actions-runner/_work/user 2>/dev/null || true";
    container.until("the job", |container| (container.sh(user) == "1001\n").then_some(()));
    github.finish("fixed");
    container.logged("its job is done: registers for the next one");
    container.until("the next runner", |_| github.runners().first().is_some_and(|r| r.id == 22 && r.online).then_some(()));
    assert_eq!(container.sh(user), "");
    leaves(container, &github);
}

#[test]
fn an_offline_namesake_is_replaced() {
    let (setup, github) = with_pat();
    // On the second page of the list.
    for number in 0..120 {
        github.plant(&format!("other-{number}"), true, false);
    }
    github.plant("Fixed", false, false);
    let container = setup.start().healthy();
    container.logged("runner: removed the offline runner `Fixed` (id 141)");
    container.until("the runner", |_| github.names().contains(&"fixed".to_owned()).then_some(()));
    container.stop();
    assert_eq!(github.names().len(), 120, "nobody else is removed");
}

#[test]
fn an_online_namesake_keeps_its_name() {
    let (setup, github) = with_pat();
    github.plant("fixed", true, false);
    let container = setup.start().healthy();
    container.logged("runner: a runner called `fixed` is online: this one is called `fixed-");
    container.until("the runner", |_| (github.names().len() == 2).then_some(()));
    container.logged("runner: ready");
    container.stop();
    assert_eq!(github.names(), ["fixed"]);
}

#[test]
fn a_name_that_is_taken_in_the_last_moment_is_given_up() {
    let (setup, github) = with_pat();
    github.hold("register");
    let container = setup.start().healthy();
    container.until("config.sh", |_| github.arrived("register").then_some(()));
    let other = github.plant("fixed", true, false);
    github.release();
    container.logged("another runner has taken the name");
    container.logged("runner: ready");
    assert_eq!(github.runners()[0].id, other);
    container.stop();
    assert_eq!(github.names(), ["fixed"], "the other one is left alone");
}

#[test]
fn a_public_repository_is_refused_unless_allowed() {
    let refused = |setup: Setup, github: &GitHub| {
        github.visibility("public");
        let container = setup.start().healthy();
        container.logged("https://github.com/o/r is public: whoever proposes a change there could run anything");
        container.logged("GITHUB_RUNNER_ALLOW_PUBLIC=1");
        assert_eq!(github.count("POST", ""), 0);
        leaves(container, github);
    };
    let (setup, github) = with_pat();
    refused(setup, &github);
    let (setup, github) = with_token();
    refused(setup, &github);

    for (visibility, allow) in [("public", "1"), ("internal", "")] {
        let (setup, github) = with_pat();
        github.visibility(visibility);
        let container = setup.set("GITHUB_RUNNER_ALLOW_PUBLIC", allow).start().healthy();
        online(&container, &github, &["fixed"]);
    }
}

#[test]
fn what_asking_again_cannot_mend_is_said_and_not_asked_again() {
    let table = [
        (401, "GITHUB_RUNNER_PAT has expired, was revoked, or belongs to another server"),
        (403, "GITHUB_RUNNER_PAT needs the scope `repo` (classic) or `Administration: write` (fine-grained)"),
        (404, "GITHUB_RUNNER_PAT needs the scope `repo` (classic) or `Administration: write` (fine-grained)"),
    ];
    for (status, message) in table {
        let (setup, github) = with_pat();
        github.prepare("POST", "registration-token", 100, Answer::new(status, r#"{"message":"No"}"#));
        let container = setup.start().healthy();
        container.logged(message);
        container.logged("to get a registration token: ");
        leaves(container, &github);
        assert_eq!(github.count("POST", "registration-token"), 1, "{status}");
    }
}

#[test]
fn what_passes_is_asked_again() {
    let answers = [
        Answer::new(500, ""),
        Answer::new(503, "").header("Retry-After", "1"),
        Answer::new(429, "{}"),
        Answer::new(403, r#"{"message":"API rate limit exceeded"}"#).header("X-RateLimit-Remaining", "0"),
        // Somebody else answers: a proxy.
        Answer::new(201, "<html>"),
    ];
    for answer in answers {
        let (setup, github) = with_pat();
        github.prepare("POST", "registration-token", 1, answer.clone());
        let container = setup.start().healthy();
        container.logged("tries again in");
        online(&container, &github, &["fixed"]);
        leaves(container, &github);
        assert_eq!(github.count("POST", "registration-token"), 2, "{answer:?}");
    }
}

#[test]
fn a_github_that_is_down_when_the_container_starts_is_waited_for() {
    let (setup, github) = with_pat();
    github.down(true);
    let container = setup.start().healthy();
    container.logged("GitHub was not reached");
    github.down(false);
    online(&container, &github, &["fixed"]);
    leaves(container, &github);
}

#[test]
fn a_runner_is_called_after_its_ecs_task_or_its_host() {
    let (setup, github) = with_pat();
    let listener = setup.network().listen(7002);
    let arn = "arn:aws:ecs:eu-west-1:123456789012:task/workspaces/0123456789abcdef0123456789abcdef";
    let _agent = doubles::Server::start(listener, move |_| Answer::new(200, format!(r#"{{"TaskARN":"{arn}"}}"#)));
    let setup = setup.set("GITHUB_RUNNER_NAME", "").set("ECS_CONTAINER_METADATA_URI_V4", "http://127.0.0.1:7002/v4/x");
    let container = setup.start().healthy();
    online(&container, &github, &["0123456789abcdef0123456789abcdef"]);
    leaves(container, &github);

    let (setup, github) = with_pat();
    // Nobody answers there.
    let setup = setup.set("GITHUB_RUNNER_NAME", "").set("ECS_CONTAINER_METADATA_URI_V4", "http://127.0.0.1:7002/v4/x");
    let container = setup.start().healthy();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    container.logged("the ECS agent does not tell the task's id");
    online(&container, &github, &[host.trim()]);
    leaves(container, &github);
}

#[test]
fn an_ephemeral_runner_gets_a_configuration_for_each_job() {
    let (setup, github) = with_pat();
    let setup = setup.set("GITHUB_RUNNER_URL", "https://github.com/o").set("GITHUB_RUNNER_GROUP", "Builders");
    let container = setup.set("GITHUB_RUNNER_EPHEMERAL", "1").set("GITHUB_RUNNER_LABELS", "aws").start().healthy();
    let file = "/opt/actions-runner/_work/environment";
    // What cannot be removed as it is, which a cache of Go's modules is by design.
    let leave = [
        (21, "install -d -o 1001 a a/b; install -o 1001 /dev/null a/b/c; chmod 500 a/b a ."),
        (22, "chmod 000 ."),
        (23, "cd ..; rm -r _work; install -o 1001 /dev/null _work"),
    ];
    for (id, leave) in leave {
        container.until("a runner", |_| (github.runners().first().is_some_and(|r| r.id == id && r.online)).then_some(()));
        assert!(!container.sh(&format!("ls {file} || true")).starts_with(file), "the work of the job before is gone");
        assert_eq!(container.sh("pgrep -u 1001 -x sleep || true"), "", "and all that it has started");
        assert_eq!(github.runners()[0].labels, r#""aws","self-hosted","Linux","X64" in 5"#);
        github.job("fixed", "build");
        container.until("the job", |container| container.sh(&format!("ls {file} || true")).starts_with(file).then_some(()));
        container.sh(&format!("cd /opt/actions-runner/_work; {leave}"));
        github.finish("fixed");
    }
    container.until("a fourth runner", |_| (github.runners().first().is_some_and(|r| r.id == 24 && r.online)).then_some(()));
    assert_eq!(github.most(), 1);
    leaves(container, &github);
    assert_eq!(github.count("POST", "registration-token"), 0);
}

#[test]
fn a_codespace_says_where_it_belongs_with_variables_of_its_own() {
    let (setup, github) = with_runner(Setup::web(&server("")));
    let setup = setup.set("GITHUB_RUNNER_URL", "").set("GH_OWNER", "o").set("GH_REPOSITORY", "r").set("GH_TOKEN", PAT);
    let container = setup.start().healthy();
    online(&container, &github, &["fixed"]);
    let log = leaves(container, &github);
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn a_group_that_is_not_there_is_said() {
    let (setup, _github) = with_pat();
    let setup = setup.set("GITHUB_RUNNER_URL", "https://github.com/o").set("GITHUB_RUNNER_GROUP", "nobody");
    setup.set("GITHUB_RUNNER_EPHEMERAL", "1").start().healthy().logged("there is no runner group `nobody`");
}

#[test]
fn an_image_without_a_runner_says_so_and_goes_on() {
    let (setup, github) = with_pat();
    let container = setup.before("rm -r /opt/actions-runner").start().healthy();
    container.logged("this image has no GitHub runner in `/opt/actions-runner`");
    assert!(status(&container).contains("no GitHub runner"), "{}", status(&container));
    leaves(container, &github);

    let (setup, _github) = with_pat();
    let (status, log) = setup.before("rm -r /opt/actions-runner").set("STRICT", "1").run();
    assert_eq!(status.code(), Some(69), "{log}");
    assert!(log.contains("this image has no GitHub runner"), "{log}");
}
