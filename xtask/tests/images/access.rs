//! The ways in, as the person at the other end sees them: ssh, its keys and its environment; what stays on a volume.

use crate::docker::{Container, Recipe, Volume, docker};
use crate::family::{VARIANTS, image};
use crate::ssh::Key;

/// A container with sshd for `key`.
fn sshd(variant: &str, key: &Key) -> Recipe {
    Recipe::new(&image(variant)).set("AUTHORIZED_KEYS", &key.public()).publish(22)
}

#[test]
fn every_variant_takes_a_login_with_the_key() {
    let key = Key::new();
    for variant in VARIANTS {
        let container = sshd(variant, &key).start().healthy();
        let text = Key::new().run(container.port(22), "true");
        assert!(!text.status.success(), "{variant}: another key is refused");
        let known = Key::new();
        let text =
            String::from_utf8_lossy(&known.ssh(container.port(22), "ansible").output().expect("ssh runs").stderr).into_owned();
        assert!(text.contains("Permission denied (publickey)"), "{variant}: {text}");
        // Each container has host keys of its own.
        std::fs::remove_file(key.file().with_file_name("known")).ok();
        let text = key.prints(container.port(22), "id -un && ansible --version | head -1");
        assert!(text.starts_with("ansible\nansible [core"), "{variant}: {text}");
    }
}

#[test]
fn a_login_gives_a_shell_and_root_has_none() {
    let key = Key::new();
    let container = sshd("aws", &key).start().healthy();
    let port = container.port(22);
    // A terminal, as a person has it.
    let mut login = key.ssh(port, "ansible");
    login.args(["-tt"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut login = login.spawn().expect("ssh runs");
    std::io::Write::write_all(&mut login.stdin.take().expect("a pipe"), b"echo $((6 * 7)) $TERM; pwd; exit\n").expect("typed");
    let seen = String::from_utf8_lossy(&login.wait_with_output().expect("ssh ends").stdout).into_owned();
    assert!(seen.contains("42 ") && seen.contains("\n/home/ansible\r\n"), "{seen}");

    for user in ["root", "runner"] {
        let refused = key.ssh(port, user).arg("true").output().expect("ssh runs");
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && text.contains("Permission denied (publickey)"), "{user}: {text}");
    }
    // Not with a password, either: none is asked for.
    let mut password = key.ssh(port, "ansible");
    password.args(["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive", "true"]);
    let text = String::from_utf8_lossy(&password.output().expect("ssh runs").stderr).into_owned();
    assert!(text.contains("Permission denied (publickey)"), "{text}");
    // Files, too.
    let mut copy = std::process::Command::new("scp");
    copy.args([
        "-F/dev/null",
        "-q",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    copy.arg("-i").arg(key.file()).args(["-P", &port.to_string()]).arg(key.file()).arg("ansible@127.0.0.1:copied");
    assert!(copy.status().expect("scp runs").success());
    assert!(key.prints(port, "cat copied").contains("OPENSSH PRIVATE KEY"));
}

#[test]
fn a_session_sees_its_surroundings_and_no_secret() {
    let key = Key::new();
    let shown = [
        ("MY_OWN_VARIABLE", "with blanks and \"quotes\""),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1"),
        ("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/1"),
        ("LC_TIME", "C.UTF-8"),
    ];
    let secrets = ["GITHUB_TOKEN", "GITHUB_RUNNER_PAT", "GITHUB_RUNNER_TOKEN", "GH_TOKEN", "CLAUDE_POOL_SECRET", "GIT_BOT_TOKEN"];
    let recipe = shown.iter().fold(sshd("aws", &key), |recipe, (name, value)| recipe.set(name, value));
    let recipe = secrets.iter().fold(recipe, |recipe, name| recipe.set(name, "canary"));
    let container = recipe.start().healthy();
    // A command and a login shell.
    for command in ["env", "bash -lc env"] {
        let environment = key.prints(container.port(22), command);
        for (name, value) in shown {
            assert!(environment.contains(&format!("{name}={value}\n")), "{command}: {name}: {environment}");
        }
        assert!(!environment.contains("canary"), "{command}: {environment}");
        assert!(environment.contains("/opt/ansible/bin"), "{command}: {environment}");
    }
}

#[test]
fn what_matters_stays_on_the_volume_from_one_container_to_the_next() {
    let (key, volume) = (Key::new(), Volume::new());
    let start = || sshd("aws", &key).set("PERSIST_DIR", "/persist").options(&[&volume.at("/persist")]).start().healthy();
    let first = start();
    let port = first.port(22);
    key.prints(port, "ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519 && echo echo kept > .bash_history && mkdir -p .claude && echo 1 > .claude/x");
    let own = key.prints(port, "cat .ssh/id_ed25519.pub");
    assert_eq!(first.stop(), 0, "{}", first.log());
    drop(first);

    let second = start();
    // ssh has seen the host before: another host key would be refused.
    let port = second.port(22);
    assert_eq!(key.prints(port, "cat .ssh/id_ed25519.pub .bash_history .claude/x"), format!("{own}echo kept\n1\n"));
    assert_eq!(key.prints(port, "stat -L -c %a .ssh .ssh/id_ed25519 .ssh/authorized_keys"), "700\n600\n600\n");
    assert_eq!(second.stop(), 0, "{}", second.log());
}

/// Kills sshd itself, not its sessions.
fn kill_sshd(container: &Container) {
    container.sh("root", "kill -9 $(pgrep -P 1 -x sshd)");
}

#[test]
fn a_main_service_that_crashes_is_started_again_and_at_last_given_up_on_with_its_code() {
    let key = Key::new();
    let container = sshd("aws", &key).start().healthy();
    kill_sshd(&container);
    container.logged("starts again");
    container.until("another sshd", |container| key.run(container.port(22), "true").status.success().then_some(()));
    // From now on it cannot start any more.
    container.sh("root", "rm /usr/sbin/sshd; printf '#!/bin/sh\\nexit 43\\n' > /usr/sbin/sshd; chmod 755 /usr/sbin/sshd");
    kill_sshd(&container);
    assert_eq!(container.ended(), 43, "{}", container.log());
    assert!(container.log().contains("sshd: given up on"), "{}", container.log());
}

#[test]
fn under_the_engines_own_init_it_is_the_same() {
    let key = Key::new();
    let container = sshd("aws", &key).options(&["--init"]).start().healthy();
    assert!(container.log().contains("not PID 1"), "{}", container.log());
    // The engine's init hands it on; as PID 1 it would mean nothing.
    docker(&["kill", "--signal", "USR1", &container.name]);
    let port = container.port(22);
    // What a session leaves behind.
    key.prints(port, "setsid --fork sleep 1000 > /dev/null 2>&1; setsid --fork sleep 0");
    container.until("reaping", |container| (!container.sh("root", "ps -eo stat=").contains('Z')).then_some(()));
    assert_eq!(container.stop(), 0, "{}", container.log());
    assert!(!container.log().contains("killed"), "{}", container.log());
}
