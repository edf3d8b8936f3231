//! `doctor`: who we are at the destinations, and what that identity may do there.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::support::family::TinyFamily;
use crate::support::moto::{self, CANARY, Moto, PASSWORD};
use crate::support::registry::LocalRegistry;
use crate::support::xtask::{Ran, ran};

/// `user:canary-of-docker`
const AUTH: &str = "dXNlcjpjYW5hcnktb2YtZG9ja2Vy";

fn destination<'v>(told: &'v Value, name: &str) -> &'v Value {
    let all = told["destinations"].as_array().expect("destinations");
    all.iter().find(|destination| destination["name"] == name).unwrap_or_else(|| panic!("`{name}` in {told}"))
}

/// Ends with 3 exactly when something is missing, and says no secret.
#[track_caller]
fn checked(command: Command, publish: bool) -> Ran {
    let ran = ran(command);
    for secret in [CANARY, PASSWORD, "canary-of-docker", AUTH, "canary-of-gh"] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret} in\n{}\n{}", ran.stdout, ran.stderr);
    }
    let told = ran.json();
    let requirements = told["requirements"].as_array().expect("requirements");
    let destinations = told["destinations"].as_array().expect("destinations");
    let missing = requirements.iter().any(|row| row["met"] == false)
        || (publish && destinations.iter().any(|destination| destination["push"] == false));
    let code = if missing { 3 } else { 0 };
    ran.ends(code)
}

/// A program that says `answer` to whatever it is asked, and writes down what it was given.
fn program(folder: &Path, name: &str, answer: &str) {
    let file = folder.join(name);
    let text = format!("#!/bin/sh\nenv > {0}.env\necho \"$*\" > {0}.args\ncat <<'END'\n{answer}\nEND\n", file.display());
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("mode set");
}

fn path_with(folder: &Path) -> String {
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

#[test]
fn what_each_destination_allows() {
    let (family, moto) = (TinyFamily::new(), Moto::start());
    let ecr = moto::stand_in(&family);
    let locked = LocalRegistry::start(Some(("user", "canary-of-docker")));
    let down = LocalRegistry::start(None);
    down.kill();
    let flag = |name: &str, registry: &LocalRegistry| format!("--destination={name}={}", registry.repository());
    let (one, two) = (flag("locked", &locked), flag("down", &down));
    let doctor = |auth: &str, publish: bool| {
        let mut command = family.command(&["doctor", "--format", "json", "--destination=near", "--destination=ecr", &one, &two]);
        command.args(publish.then_some("--publish"));
        command.envs(moto.environment());
        command.env("DOCKER_AUTH_CONFIG", format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, locked.address));
        checked(command, publish).json()
    };
    let told = doctor(AUTH, false);
    let of = |name| destination(&told, name);
    assert_eq!((&of("near")["push"], &of("near")["source"]), (&true.into(), &Value::Null), "{told}");
    assert_eq!((&of("locked")["push"], &of("locked")["source"]), (&true.into(), &"`DOCKER_AUTH_CONFIG`".into()), "{told}");
    assert_eq!((&of("down")["push"], &of("down")["pull"]), (&false.into(), &false.into()), "{told}");
    assert_eq!(of("ecr")["source"], "AWS (`AWS_ACCESS_KEY_ID`)", "{told}");
    assert_eq!((&of("ecr")["push"], &of("ecr")["mend"]), (&false.into(), &"cargo xtask ecr init --destination ecr".into()));
    assert_eq!(ecr.tags(), Vec::<String>::new());

    // `user:wrong`; and the repository is made.
    let mut init = family.command(&["ecr", "init", "--yes"]);
    init.envs(moto.environment());
    ran(init).ends(0);
    let told = doctor("dXNlcjp3cm9uZw==", true);
    assert_eq!(destination(&told, "ecr")["push"], true, "{told}");
    let refused = destination(&told, "locked");
    assert_eq!(refused["push"], false, "{told}");
    assert!(refused["mend"].as_str().is_some_and(|mend| mend.contains("docker login")), "{told}");
}

#[test]
fn gh_is_asked_for_ghcr_last_of_all_and_sees_no_secret_of_others() {
    let family = TinyFamily::new();
    let folder = tempfile::tempdir().expect("a folder");
    program(folder.path(), "gh", "canary-of-gh");
    let doctor = |token: Option<&str>, path: String| {
        let mut command = family.command(&["doctor", "--format", "json", "--destination=ghcr=ghcr.io/team/image"]);
        command.env("PATH", path).envs(token.map(|token| ("GITHUB_TOKEN", token)));
        command.env("AWS_SECRET_ACCESS_KEY", CANARY).env("DOCKER_AUTH_CONFIG", r#"{"auths":{"a.b":{"auth":"YTpi"}}}"#);
        checked(command, false).json()
    };
    let told = doctor(None, path_with(folder.path()));
    let ghcr = destination(&told, "ghcr");
    assert_eq!((&ghcr["source"], &ghcr["push"]), (&"`gh auth token`".into(), &false.into()), "no network: {told}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("written");
    assert_eq!(read("gh.args").trim(), "auth token --hostname github.com");
    assert!(!read("gh.env").contains(CANARY) && !read("gh.env").contains("DOCKER_AUTH_CONFIG"), "{}", read("gh.env"));

    let told = doctor(Some("canary-of-gh"), path_with(folder.path()));
    assert_eq!(destination(&told, "ghcr")["source"], "`GITHUB_TOKEN`");
    program(folder.path(), "gh", "you are not logged in");
    let told = doctor(None, path_with(folder.path()));
    assert_eq!(destination(&told, "ghcr")["source"], Value::Null);
}

/// Who only builds bumps nothing.
#[test]
fn what_bump_asks_others_by_is_told_and_missing_to_nobody() {
    let (family, folder) = (TinyFamily::new(), tempfile::tempdir().expect("a folder"));
    program(folder.path(), "uv", "");
    let doctor = |format: &str| {
        let mut command = family.command(&["doctor", "--format", format]);
        // What is needed is there, and npm is not.
        let path = std::env::var("PATH").unwrap_or_default();
        let without = std::env::split_paths(&path).filter(|folder| !folder.join("npm").exists());
        let path = std::env::join_paths(without.chain([folder.path().to_owned(), "/sbin".into()])).expect("a path");
        command.env("PATH", path);
        command
    };
    let told = checked(doctor("json"), false).json();
    let rows = told["for-bump"].as_array().expect("rows");
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} in {told}"));
    assert_eq!(row("uv")["met"], true, "{told}");
    assert!(row("npm")["mend"].as_str().is_some_and(|mend| mend.contains("apt-get install")), "{told}");
    let text = ran(doctor("human")).stdout;
    assert!(text.contains("absent   npm") && text.contains("(for `bump`: the newest version"), "{text}");
}

#[test]
fn a_helper_is_asked_on_its_standard_input_and_sees_no_secret_of_others() {
    let family = TinyFamily::new();
    let registry = LocalRegistry::start(Some(("user", "canary-of-docker")));
    let folder = tempfile::tempdir().expect("a folder");
    program(folder.path(), "docker-credential-test", r#"{"Username":"user","Secret":"canary-of-docker"}"#);
    fs::write(folder.path().join("config.json"), r#"{"credsStore":"test"}"#).expect("written");
    let to = format!("--destination=locked={}", registry.repository());
    let mut command = family.command(&["doctor", "--format", "json", &to]);
    command.env("PATH", path_with(folder.path())).env("DOCKER_CONFIG", folder.path());
    command.env("AWS_SECRET_ACCESS_KEY", CANARY).env("GITHUB_TOKEN", "canary-of-gh");
    let told = checked(command, false).json();
    let locked = destination(&told, "locked");
    assert_eq!((&locked["push"], &locked["source"]), (&true.into(), &"`docker-credential-test`".into()), "{told}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("written");
    assert_eq!(read("docker-credential-test.args").trim(), "get");
    let seen = read("docker-credential-test.env");
    assert!(!seen.contains("canary") && seen.contains("HOME="), "{seen}");
}

/// A registry in the place of ECR's that sends its clients to a token server elsewhere: the token of AWS does not go there.
#[test]
fn a_token_of_aws_goes_to_the_registry_it_is_for_and_nowhere_else() {
    let (family, moto) = (TinyFamily::new(), Moto::start());
    let (registry, elsewhere) = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port")).into();
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let (at, realm) = (port(&registry), format!("http://localhost:{}/token", port(&elsewhere)));
    family.replace(
        "variants.toml",
        "[images.base]",
        &format!(
            "[destinations.ecr]\nrepository = \"127.0.0.1:{at}/team/image\"\n\
             ecr = {{ account = \"271851283454\", region = \"us-west-2\" }}\n[images.base]"
        ),
    );
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in elsewhere.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"token\":\"t\"}");
        }
    });
    std::thread::spawn(move || {
        for mut stream in registry.incoming().flatten() {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let answer = format!(
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\",service=\"s\"\r\nContent-Length: \
                 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let mut command = family.command(&["doctor", "--format", "json", "--destination=ecr"]);
    command.envs(moto.environment());
    let told = checked(command, false).json();
    let ecr = destination(&told, "ecr");
    assert_eq!((&ecr["source"], &ecr["push"]), (&"AWS (`AWS_ACCESS_KEY_ID`)".into(), &false.into()), "{told}");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "{told}");
}
