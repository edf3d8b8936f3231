//! The VS Code tunnel, with a double of VS Code's command line program: it says what that one says, in its words.

mod container;

use container::Setup;

/// The double. `/opt/login` is how a login goes: `wait` until `/opt/granted` is there, or `fail`; `/opt/tunnel` how the
/// tunnel goes: `crash`, or nothing special.
const CODE: &str = r#"#!/bin/sh
data=$VSCODE_CLI_DATA_DIR
{ echo "$@"; id -un; env | grep '^VSCODE_CLI'; } >> /home/ansible/calls
case "$1 $2 $3" in
"tunnel user show")
    if [ -e "$data/token.json" ]; then echo "logged in"; else echo "not logged in"; exit 1; fi ;;
"tunnel user login")
    if [ "$(cat /opt/login)" = fail ]; then echo "error sending request for url (https://login.microsoftonline.com/)" >&2; exit 1; fi
    for code in AAAA1111 BBBB2222; do
        echo "To sign in, use a web browser to open the page https://microsoft.com/devicelogin and enter the code $code to authenticate."
        until [ -e "/opt/granted-$code" ] || [ -e /opt/granted ]; do sleep 0.02; done
    done
    umask 077
    echo '"{}"' > "$data/token.json" ;;
"tunnel --accept-server-license-terms --name")
    if [ "$(cat /opt/tunnel 2>/dev/null)" = crash ]; then echo "error: no tunnel" >&2; exit 1; fi
    trap 'echo "tunnel closed"; exit 0' INT
    echo "*"
    echo "* Visual Studio Code Server"
    echo "[2026-11-20 12:00:00] info Creating tunnel with the name: $4" >&2
    echo "Open this link in your browser https://vscode.dev/tunnel/$4/home/ansible"
    while :; do sleep 0.05; done ;;
*)
    echo "unknown: $*" >&2; exit 2 ;;
esac
"#;

fn setup(login: &str) -> Setup {
    let setup = Setup::new();
    std::fs::write(setup.folder().join("code"), CODE).unwrap();
    setup.before(&format!(
        "mount -t tmpfs -o mode=755 tmpfs /usr/local; install -D -m 755 /mnt/files/code /usr/local/bin/code\n\
         echo {login} > /opt/login"
    ))
}

#[test]
fn a_tunnel_that_waits_for_its_login_is_healthy_and_shows_each_code() {
    let container = setup("wait").set("TUNNEL_NAME", "my-tunnel").start();
    container.logged("enter the code AAAA1111");
    let container = container.healthy();
    assert!(container.sh("/mnt/entrypoint status").contains("enter the code AAAA1111"), "{}", container.log());
    container.sh("touch /opt/granted-AAAA1111");
    container.logged("enter the code BBBB2222");
    assert!(container.health().status.success());
    container.sh("touch /opt/granted");
    container.logged("https://vscode.dev/tunnel/my-tunnel/home/ansible");
    assert!(container.health().status.success());
    // For its user alone, where `code` in a terminal finds it, too.
    let files = container.sh("cd /home/ansible/.vscode; stat -c '%n %a %U' cli cli/token.json");
    assert_eq!(files, "cli 700 ansible\ncli/token.json 600 ansible\n");
    let calls = container.sh("cat /home/ansible/calls");
    let environment = "VSCODE_CLI_USE_FILE_KEYCHAIN=1\nVSCODE_CLI_DISABLE_KEYCHAIN_ENCRYPT=1\n\
                       VSCODE_CLI_DATA_DIR=/home/ansible/.vscode/cli\n";
    for command in
        ["tunnel user show", "tunnel user login --provider microsoft", "tunnel --accept-server-license-terms --name my-tunnel"]
    {
        assert!(calls.contains(&format!("{command}\nansible\n")), "{calls}");
    }
    for line in environment.lines() {
        assert_eq!(calls.matches(line).count(), 3, "{line}: {calls}");
    }
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("tunnel closed"), "it is asked by SIGINT, which it knows: {log}");
}

#[test]
fn a_login_that_was_kept_is_used_again() {
    let kept =
        "install -d -o 1000 -g 1000 /home/ansible/.vscode /home/ansible/.vscode/cli; touch /home/ansible/.vscode/cli/token.json";
    let container = setup("wait").before(kept).start();
    container.logged("https://vscode.dev/tunnel/ansible_container");
    let (status, log) = container.healthy().stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("enter the code"), "{log}");
}

#[test]
fn a_login_that_fails_is_tried_again_and_ends_nothing() {
    let container = setup("fail").start();
    container.logged("the login failed (exit code 1)");
    assert!(!container.health().status.success(), "nobody can get in");
    container.sh("echo wait > /opt/login; touch /opt/granted");
    container.logged("https://vscode.dev/tunnel/ansible_container");
    let (status, log) = container.healthy().stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_tunnel_that_breaks_is_started_again_even_if_it_never_came_up() {
    let container = setup("wait").before("echo crash > /opt/tunnel; touch /opt/granted").start();
    container.logged("tunnel: ended by itself: exit code 1");
    container.logged("starts again in");
    container.sh("rm /opt/tunnel");
    container.logged("https://vscode.dev/tunnel/ansible_container");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_stop_ends_the_wait_for_a_login() {
    for login in ["wait", "fail"] {
        let container = setup(login).start();
        container.logged(if login == "wait" { "AAAA1111" } else { "the login failed" });
        let (status, log) = container.stop();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("killed"), "{log}");
    }
}

#[test]
fn an_ordinary_user_has_a_tunnel_too() {
    let launch = "cd /; exec setpriv --reuid=1000 --regid=1000 --clear-groups --no-new-privs ENTRYPOINT";
    let container = setup("wait").before("touch /opt/granted").launch(launch).start();
    container.logged("https://vscode.dev/tunnel/ansible_container");
    let (status, log) = container.healthy().stop();
    assert_eq!(status.code(), Some(0), "{log}");
}
