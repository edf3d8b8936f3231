//! `bump` when something goes wrong: what is said, and that nothing is written but what was found.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};

use super::bump::{BEFORE, NEWER_COMMIT, Pinned};
use crate::support::front::{Say, answer};
use crate::support::secure::SecureSite;
use crate::support::vendors::{Trouble, VSCODE_COMMIT};
use crate::support::xtask::{ended, ran};
use ::xtask::oci::Digest;

/// The table of bad days: what goes wrong where, for a run that names `runner` and `ansible` → what is said. The other one moves.
#[test]
fn a_bad_day_of_one_upstream_does_not_hide_the_other() {
    let body = |text: &str| Trouble::Body(text.to_owned());
    let release = |assets: &str| format!(r#"[{{"tag_name": "v2.400.0", "assets": [{assets}], "body": ""}}]"#);
    let asset = |arch: &str, digest: &str| {
        let name = format!("actions-runner-linux-{arch}-2.400.0.tar.gz");
        format!(r#"{{"name": "{name}", "browser_download_url": "https://github.com/{name}", "digest": {digest}}}"#)
    };
    let stated = format!("\"{}\"", Digest::of("x"));
    let listed = |notes: &str| {
        let noted = format!("<!-- BEGIN SHA linux-x64 -->{notes}<!-- END SHA linux-x64 -->");
        release(&[asset("x64", &stated), asset("arm64", &stated)].join(", "))
            .replace("\"body\": \"\"", &format!("\"body\": \"{noted}\""))
    };
    for (part, trouble, words) in [
        ("/releases?", Trouble::rate_limit(), &["answers no more requests until 2033-05-18T03:33:20Z", "again then"][..]),
        (
            "/releases?",
            Trouble::Status(403, vec![("retry-after", "60".to_owned())]),
            &["answers no more requests until 2", "again then"],
        ),
        ("/releases?", Trouble::secondary_limit(429, None), &["answers no more requests", "wait some minutes"]),
        ("/releases?", Trouble::Status(404, vec![]), &["there is no repository `actions/runner`, or it is private"]),
        ("/releases?", Trouble::Html, &["a web page came, not JSON"]),
        ("/releases?", body("[]"), &["`actions/runner` has no release with a tag as in `v1.2.3`"]),
        ("/releases?", body("{\"message\": 1}"), &["odd answer", "/releases?per_page="]),
        ("/releases?", body("[{\"tag_name\": \"v2.400.0\""), &["odd answer", "EOF"]),
        ("/releases?", body(&release("")), &["release `v2.400.0` has no file `actions-runner-linux-x64-2.400.0.tar.gz`"]),
        ("/releases?", body(&release(&asset("x64", &stated))), &["has no file `actions-runner-linux-arm64-2.400.0.tar.gz`"]),
        ("/releases?", body(&release(&asset("x64", "null"))), &["no digest is published", "never guesses one"]),
        ("/releases?", body(&release(&asset("x64", "\"md5:1\""))), &["`md5:1` is not a SHA-256 digest"]),
        ("/releases?", body(&listed(&Digest::of("y").hex())), &["and its notes"]),
    ] {
        let pinned = Pinned::with_newer();
        pinned.vendors.trouble(part, trouble, usize::MAX);
        let said = pinned.bump(&["runner", "ansible"]).ends(3).tells(&["`runner` was not moved", "hint:"]).tells(words);
        let [table, lock] = pinned.files();
        assert!(
            table.contains("version = \"2.337.0\"") && lock.contains("\"2.337.0\"") && table.contains("26.10.2"),
            "{}",
            said.stdout
        );
        assert!(said.stdout.contains("runner   not moved: "), "{}", said.stdout);
    }
}

#[test]
fn builds_of_vscode_move_together_or_not_at_all() {
    for (part, trouble, code, words) in [
        (
            "cli-alpine-x64",
            Trouble::Status(404, vec![]),
            3,
            &["not moved, as `cli`", "2 of 2 were not moved: `cli`, `server`"][..],
        ),
        (&format!("commit:{NEWER_COMMIT}/server"), Trouble::Status(204, vec![]), 3, &["knows no build `server-linux-x64-web`"]),
        (
            &format!("commit:{VSCODE_COMMIT}"),
            Trouble::Status(404, vec![]),
            8,
            &["of commit `110a328", "nobody can tell whether VS Code 1.129.1 is newer", "into `version` of `cli` and `server`"],
        ),
        ("/stable/latest", Trouble::Body("{\"url\": \"\", \"version\": \"1\"}".to_owned()), 3, &["`1` is not a commit"]),
    ] {
        let pinned = Pinned::with_newer();
        pinned.vendors.trouble(part, trouble, usize::MAX);
        let files = pinned.files();
        let said = pinned.bump(&["server"]).ends(code).tells(words);
        assert_eq!(pinned.files(), files, "{}", said.stdout);
    }
}

/// The service does not tell of every build what it is: then nobody can tell whether a version that is named is older, and its
/// digest is that of what comes.
#[test]
fn builds_of_vscode_that_the_service_does_not_know() {
    let pinned = Pinned::with_newer();
    let silent = |commit: &str| {
        let part = format!("/api/versions/commit:{commit}");
        pinned.vendors.trouble(&part, Trouble::Status(404, vec![]), usize::MAX);
    };
    silent(VSCODE_COMMIT);
    let files = pinned.files();
    for to in ["1.129.1", NEWER_COMMIT] {
        let words = ["nobody can tell whether VS Code 1.129.1 is newer", "by hand"];
        pinned.bump(&["cli", "--to", to]).ends(8).tells(&words);
        assert_eq!(pinned.files(), files);
    }
    // The one that is pinned is not older than itself.
    let said = pinned.bump(&["cli", "--to", "1.128.0"]).ends(0).says(&["no digest is published for `https://update.code"]);
    let [table, lock] = pinned.files();
    let url = format!("https://update.code.visualstudio.com/commit:{VSCODE_COMMIT}/cli-alpine-x64/stable");
    let entry = format!("url = \"{url}\"\ndigest = \"{}\"", Digest::of(pinned.vendors.file(&url)));
    assert!(table == files[0] && lock.contains(&entry), "{}\n{lock}", said.stderr);
}

#[test]
fn what_an_upstream_withdrew_is_not_gone_back_from() {
    let pinned = Pinned::new();
    pinned.vendors.trouble("/releases?", Trouble::Body(r#"[{"tag_name": "v2.336.0", "assets": []}]"#.to_owned()), usize::MAX);
    let files = pinned.files();
    pinned.bump(&["runner"]).ends(8).tells(&["2.337.0 is newer than the newest release, 2.336.0", "withdrawn"]);
    assert_eq!(pinned.files(), files);
}

#[test]
fn offline_is_told_for_everything_at_once() {
    let pinned = Pinned::with_newer();
    let offline = pinned.table(BEFORE).replace(&pinned.vendors.url(), "http://127.0.0.1:9");
    pinned.write("variants.toml", &offline);
    pinned.commit();
    let files = pinned.files();
    let names = ["runner", "ansible"];
    let said = pinned.bump(&names).ends(3).tells(&["not moved: cannot reach", "2 of 2 were not moved", "[mirrors]"]);
    let whole = format!("{}{}", said.stdout, said.stderr);
    // Each reason and each hint once.
    assert_eq!(whole.matches("127.0.0.1:9/api.github.com").count(), 1, "{whole}");
    assert_eq!(whole.matches("hint:").count(), 1, "{whole}");
    assert!(!whole.contains("cannot resolve"), "{whole}");
    // Where the result is a page or for a program, the reasons are said beside it as well.
    let page = pinned.bump(&["runner", "--format", "markdown"]).ends(3).says(&["not moved: `runner`: cannot reach"]);
    assert!(page.stdout.starts_with("Nothing was moved.\n"), "{}", page.stdout);
    assert_eq!(pinned.files(), files);
}

/// A pin of npm, with a registry that takes connections and says nothing.
#[test]
fn an_interrupt_leaves_nothing_behind() {
    let pinned = Pinned::new();
    let npm = "\n[pins.pad]\nversion = \"1.1.3\"\nupstream = { npm = \"left-pad\" }\n\n[mirrors]";
    let table = pinned.table(BEFORE).replace("\n[mirrors]", npm);
    pinned.write("variants.toml", &table.replace("[images.base]\n", "[images.base]\npins = [\"pad\"]\n"));
    pinned.write("images/base/package.json", "{ \"dependencies\": { \"left-pad\": \"1.1.3\" } }\n");
    pinned.write("images/base/package-lock.json", "{}\n");
    pinned.commit();
    let (files, temporary) = (pinned.files(), tempfile::tempdir().expect("a folder"));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = pinned.command(&["pad"]);
    command.env("npm_config_registry", format!("http://{}", silent.local_addr().expect("an address")));
    command.env("npm_config_cache", pinned.folder.path().join("npm")).env("TMPDIR", temporary.path());
    let bump = command.spawn().expect("started");
    let (mut npm, _) = silent.accept().expect("npm asks");
    // npm may keep something of its own there.
    let ours = || {
        let names = fs::read_dir(temporary.path()).expect("a folder").flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().starts_with("gantry-")).count()
    };
    assert_eq!(ours(), 1);
    kill_process(Pid::from_child(&bump), Signal::INT).expect("it runs");
    ended(bump).ends(130);
    // npm is gone as well: what it said ends.
    npm.read_to_end(&mut Vec::new()).expect("the end");
    assert_eq!(ours(), 0);
    assert_eq!((pinned.files(), pinned.left()), (files, Vec::new()));
}

#[test]
fn the_token_goes_to_github_and_one_that_is_none_is_told() {
    let pinned = Pinned::with_newer();
    let releases = pinned.vendors.file("https://api.github.com/repos/actions/runner/releases");
    let used_up = || {
        let mut answer = answer(403, "application/json", "{\"message\": \"API rate limit exceeded\"}");
        for (name, value) in [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2000000000")] {
            answer.headers_mut().insert(name, value.parse().expect("a value"));
        }
        answer
    };
    let site = SecureSite::start("api.github.com", move |asked| {
        let told = asked.headers().get("authorization").and_then(|value| value.to_str().ok());
        Say::Answer(match told {
            Some("Bearer narrow") => answer(403, "application/json", "{\"message\": \"Resource not accessible\"}"),
            // Too much at once, which GitHub says in words alone.
            Some("Bearer busy") => {
                answer(403, "application/json", "{\"message\": \"You have exceeded a secondary rate limit.\"}")
            }
            Some("Bearer hunter2") => answer(200, "application/json", releases.clone()),
            Some(_) => answer(401, "application/json", "{\"message\": \"Bad credentials\"}"),
            None => used_up(),
        })
    });
    let text = pinned.table(BEFORE).replace("\"https://api.github.com/\"", "\"https://api.invalid/\"");
    pinned.write("variants.toml", &text.replace("vendors = false\n", ""));
    pinned.commit();
    let run = |token: &str| {
        let mut command = pinned.command(&["runner", "--dry-run", "-vv"]);
        command.env("HTTPS_PROXY", &site.proxy).env("https_proxy", &site.proxy).env("SSL_CERT_FILE", site.ca());
        command.env("GITHUB_TOKEN", token);
        ran(command)
    };
    let said = run("hunter2").ends(0);
    assert!(said.stdout.contains("2.337.0 → 2.338.1") && !said.stderr.contains("hunter2"), "{}", said.stderr);
    let refused = run("hunter3").ends(3).tells(&["does not accept the token", "GITHUB_TOKEN"]);
    assert!(!refused.stderr.contains("hunter3"), "{}", refused.stderr);
    run("narrow").ends(3).tells(&["does not accept the token", "may not read this"]);
    run("busy").ends(3).tells(&["`api.github.com` answers no more requests", "wait some minutes"]);
    run("").ends(3).tells(&["answers no more requests until 2033-05-18T03:33:20Z", "set GITHUB_TOKEN"]);
}

#[test]
fn a_pin_without_an_upstream_is_a_problem_of_the_file() {
    let pinned = Pinned::with_newer();
    let text = pinned.table(BEFORE).replace("upstream.vscode = \"cli-alpine-{arch}\"\n", "hold = \"now\"\n");
    pinned.write("variants.toml", &text);
    pinned.commit();
    pinned.bump(&[]).ends(2).tells(&["missing `upstream` in `pins.cli`", "`now` is not a range of versions"]);
    assert!(pinned.vendors.requests().is_empty());
}
