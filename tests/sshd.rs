//! sshd, for real: OpenSSH's server and client.

mod container;

use container::{Container, Setup};
use std::process::{Command, Output};

/// A key pair in the container's folder; returns the public key.
fn key(setup: &std::path::Path, name: &str) -> String {
    let path = setup.join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status();
    assert!(made.is_ok_and(|made| made.success()), "`ssh-keygen` is missing: apt-get install openssh-client");
    std::fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
}

/// A setup whose `AUTHORIZED_KEYS` is the key `mine` in its folder.
fn setup() -> Setup {
    assert!(std::path::Path::new("/usr/sbin/sshd").exists(), "sshd is missing: apt-get install openssh-server");
    let setup = Setup::new();
    let mine = key(setup.folder(), "mine");
    setup.set("AUTHORIZED_KEYS", &mine)
}

fn ssh(container: &Container, key: &str, user: &str, command: &str) -> Output {
    ssh_to(container, "22", key, user, command)
}

fn ssh_to(container: &Container, port: &str, key: &str, user: &str, command: &str) -> Output {
    let mut ssh = container.command("ssh");
    ssh.args(["-F", "/dev/null", "-p", port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]);
    ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i"]).arg(container.folder().join(key));
    ssh.arg(format!("{user}@127.0.0.1")).arg(command).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_login_with_the_key_works_and_no_other() {
    let setup = setup();
    key(setup.folder(), "other");
    let container = setup.start().healthy();
    let login = ssh(&container, "mine", "ansible", "whoami; pwd");
    assert_eq!(text(&login), "ansible\n/home/ansible\n", "{}", container.log());
    for (key, user) in [("other", "ansible"), ("mine", "root"), ("mine", "runner")] {
        let login = ssh(&container, key, user, "true");
        assert_eq!(login.status.code(), Some(255), "{key} {user}: {}", text(&login));
        assert!(text(&login).contains("Permission denied (publickey)"), "{}", text(&login));
    }
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_session_sees_its_surroundings_and_no_secret() {
    let container = setup()
        .set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1234")
        .set("ECS_AGENT_URI", "http://169.254.170.2/a b\"c\\d")
        .set("AWS_REGION", "eu-central-1")
        .set("ANSIBLE_CONFIG", "/etc/ansible #1.cfg")
        .set("OTHER", "the user's own")
        .set("GITHUB_TOKEN", "canary")
        .set("GITHUB_RUNNER_PAT", "canary")
        .set("ANSIBLE_REPO_BRANCH", "canary")
        .set("LD_CANARY", "1")
        .start()
        .healthy();
    let environment = text(&ssh(&container, "mine", "ansible", "env"));
    for line in [
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/1234",
        "ECS_AGENT_URI=http://169.254.170.2/a b\"c\\d",
        "AWS_REGION=eu-central-1",
        "ANSIBLE_CONFIG=/etc/ansible #1.cfg",
        "OTHER=the user's own",
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    ] {
        assert!(environment.lines().any(|found| found == line), "{line}: {environment}");
    }
    assert!(!environment.to_lowercase().contains("canary"), "{environment}");
    assert_eq!(container.sh("grep -l -a '[c]anary' /proc/[0-9]*/cmdline /run/gantry/* 2>/dev/null || true"), "");
    assert!(!container.log().contains("canary"), "{}", container.log());
}

#[test]
fn files_have_the_owners_and_modes_that_sshd_demands() {
    let container = setup().start().healthy();
    let found = container
        .sh("cd /; stat -c '%n %a %U' run/sshd run/gantry/sshd_config etc/ssh/ssh_host_ed25519_key etc/ssh/ssh_host_ecdsa_key \
         home/ansible/.ssh home/ansible/.ssh/authorized_keys");
    let expected = "run/sshd 755 root\nrun/gantry/sshd_config 600 root\netc/ssh/ssh_host_ed25519_key 600 root\n\
                    etc/ssh/ssh_host_ecdsa_key 600 root\nhome/ansible/.ssh 700 ansible\n\
                    home/ansible/.ssh/authorized_keys 600 ansible\n";
    assert_eq!(found, expected);
}

#[test]
fn other_keys_and_host_keys_stay() {
    let before = "mkdir -m 700 /home/ansible/.ssh\n\
                  printf 'theirs\\n# BEGIN gantry: from AUTHORIZED_KEYS, replaced at every start\\nold\\n# END gantry\\n' \
                  > /home/ansible/.ssh/authorized_keys; chown -R 1000:1000 /home/ansible/.ssh\n\
                  ssh-keygen -q -t rsa -b 2048 -N '' -f /etc/ssh/ssh_host_rsa_key; chmod 644 /etc/ssh/ssh_host_rsa_key\n\
                  ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key\n\
                  : > /etc/ssh/ssh_host_ecdsa_key\n\
                  cp /etc/ssh/ssh_host_ed25519_key /tmp/before";
    let container = setup().before(before).start().healthy();
    let keys = container.sh("cat /home/ansible/.ssh/authorized_keys");
    assert!(keys.starts_with("theirs\n# BEGIN gantry") && !keys.contains("old"), "{keys}");
    assert_eq!(text(&ssh(&container, "mine", "ansible", "whoami")), "ansible\n");
    container.sh("cmp /tmp/before /etc/ssh/ssh_host_ed25519_key");
    assert_eq!(container.sh("stat -c %a /etc/ssh/ssh_host_rsa_key"), "600\n");
    assert_eq!(container.sh("grep -c HostKey /run/gantry/sshd_config"), "3\n");
}

#[test]
fn a_file_of_keys_in_any_encoding_stays_as_it_is() {
    let before = "mkdir -m 700 /home/ansible/.ssh; printf '# J\\303\\266rg, J\\366rg\\n' > /home/ansible/.ssh/authorized_keys\n\
                  chown -R 1000:1000 /home/ansible/.ssh";
    let container = setup().before(before).start().healthy();
    assert_eq!(text(&ssh(&container, "mine", "ansible", "whoami")), "ansible\n", "{}", container.log());
    container.sh("printf '# J\\303\\266rg, J\\366rg\\n' | cmp -n 13 - /home/ansible/.ssh/authorized_keys");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let before =
        "mkdir -m 700 /home/ansible/.ssh; mkfifo /home/ansible/.ssh/authorized_keys; chown -R 1000:1000 /home/ansible/.ssh";
    let (status, log) = setup().before(before).run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("`/home/ansible/.ssh/authorized_keys`: is no file"), "{log}");
}

#[test]
fn a_link_that_the_user_planted_leads_nowhere() {
    let before = "mkdir -m 700 /opt/roots; ln -s /opt/roots /home/ansible/.ssh";
    let (status, log) = setup().before(before).run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("/home/ansible/.ssh"), "{log}");

    let before = "mkdir -m 700 /home/ansible/.ssh; echo precious > /opt/precious; chmod 600 /opt/precious\n\
                  ln -s /opt/precious /home/ansible/.ssh/authorized_keys.gantry-new\n\
                  chown -R -h 1000:1000 /home/ansible/.ssh";
    let container = setup().before(before).start().healthy();
    assert_eq!(container.sh("cat /opt/precious; stat -c %U /opt/precious"), "precious\nroot\n");
}

#[test]
fn a_read_only_root_is_no_hindrance() {
    let container = setup().before("mount -o remount,ro /etc/ssh").start().healthy();
    assert_eq!(text(&ssh(&container, "mine", "ansible", "whoami")), "ansible\n");
    assert!(container.log().contains("the host keys are new at every start"), "{}", container.log());
}

#[test]
fn sessions_outlive_a_crash_of_the_listener_but_not_a_stop() {
    let container = setup().start().healthy();
    let mut session = container.command("ssh");
    session.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
    session.args(["-o", "UserKnownHostsFile=/dev/null", "-i"]).arg(container.folder().join("mine"));
    let mut session = session.args(["ansible@127.0.0.1", "exec sleep 1000"]).spawn().unwrap();
    container.until("session", |container| container.sh("pgrep -x sleep || true").contains(char::is_numeric).then_some(()));
    container.sh("kill -9 $(cat /proc/1/task/1/children)");
    container.logged("starts again");
    let container = container.healthy();
    assert!(session.try_wait().unwrap().is_none(), "the session goes on");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!session.wait().unwrap().success());
}

#[test]
fn what_sshd_would_refuse_is_said_before() {
    // The bound file cannot be replaced by `sed -i`.
    let locked = "sed 's/ansible:[*]/ansible:!/' /etc/shadow > /opt/s; cat /opt/s > /etc/shadow";
    let (status, log) = setup().before(locked).run();
    assert_eq!(status.code(), Some(69), "{log}");
    assert!(log.contains("is locked"), "{log}");
    // Something that only sshd itself finds.
    let broken = "for kind in ed25519 ecdsa; do echo nonsense > /etc/ssh/ssh_host_${kind}_key; done";
    let (status, log) = setup().before(broken).run();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("`/usr/sbin/sshd`, which comes before it, failed") && log.contains("ssh_host_ed25519_key"), "{log}");
}

#[test]
fn both_services_run_side_by_side() {
    let setup = setup();
    let web = Setup::web(&container::server(""));
    let container = web.set("AUTHORIZED_KEYS", &key(setup.folder(), "both")).start().healthy();
    let health = text(&container.health());
    assert!(health.contains("web: serves on port 8080") && health.contains("sshd: serves on port 22"), "{health}");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_home_that_others_may_write_to_keeps_nobody_out() {
    let container = setup().before("chmod 777 /home/ansible").start().healthy();
    assert_eq!(text(&ssh(&container, "mine", "ansible", "whoami")), "ansible\n", "{}", container.log());
    assert!(container.log().contains("`/home/ansible` is writable by others than its owner"), "{}", container.log());
    assert_eq!(container.sh("grep -c BEGIN /home/ansible/.ssh/authorized_keys"), "1\n");
}

#[test]
fn variables_arrive_letter_by_letter() {
    let values = [
        ("QUOTES", "q\"uo'te"),
        ("SHELL_WORDS", "$HOME `x` $(y) ~ *"),
        ("HASH", "#a # b"),
        ("UNICODE", "ünïcødé ✓"),
        ("BACKSLASH", "back\\"),
        ("BACKSLASHES", "a\\\\b\\\"c\\n"),
        ("TAB", "a\tb"),
        ("BLANKS", "  a  "),
        ("PERCENT", "%h %u %%"),
        ("EQUALS", "a=b=c"),
    ];
    let setup = values.iter().fold(setup(), |setup, (name, value)| setup.set(name, value));
    let container = setup.set("LINES_", "a\nPermitRootLogin yes").start().healthy();
    let environment = ssh(&container, "mine", "ansible", "env -0");
    let environment = String::from_utf8(environment.stdout).unwrap();
    for (name, value) in values {
        assert!(environment.split('\0').any(|found| found == format!("{name}={value}")), "{name}={value}: {environment}");
    }
    assert!(!environment.contains("LINES_"), "{environment}");
    assert!(container.log().contains("LINES_ has more than one line"), "{}", container.log());
}

#[test]
fn an_environment_that_is_too_large_for_sshd_loses_its_largest_variables_only() {
    let large = (0..40).map(|n| (format!("LARGE_{n}"), "x".repeat(5_000))).chain([("HUGE".to_owned(), "y".repeat(120_000))]);
    let setup = large.fold(setup(), |setup, (name, value)| setup.set(&name, &value));
    let container = setup.start().healthy();
    let environment = text(&ssh(&container, "mine", "ansible", "env"));
    assert_eq!(environment.matches("LARGE_").count(), 40, "{}", container.log());
    assert!(!environment.contains("HUGE"));
    assert!(container.log().contains("HUGE is too long"), "{}", container.log());
}

/// Debian's libraries called `name`.
fn glob(name: &str) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    folders.map(|folder| folder.path().join(name)).filter(|path| path.exists()).collect()
}

/// What Kubernetes' restricted profile leaves of a process: no capability, and no way to one.
const RESTRICTED: &str = "--no-new-privs --bounding-set=-all --inh-caps=-all";

/// A container that `uid` starts, in a group that may write to the volume which is its home; nothing can be executed
/// in /tmp.
fn restricted(uid: u32) -> Setup {
    let launch = format!("cd /; exec setpriv --reuid={uid} --regid={uid} --groups=2000 {RESTRICTED} ENTRYPOINT");
    let before = "chown 0:2000 /home/ansible; chmod 2775 /home/ansible; mount -o remount,noexec /tmp";
    setup().set("SSH_PORT", "2222").before(before).launch(&launch)
}

#[test]
fn an_ordinary_or_arbitrary_user_gets_in_too() {
    for uid in [1000, 12345] {
        let setup = restricted(uid).set("OWN", "a b");
        if uid != 1000 && glob("libnss_wrapper.so").is_empty() {
            // Not installed here (Debian: libnss-wrapper), as in an image without it.
            let (status, log) = setup.run();
            assert_eq!(status.code(), Some(69), "{log}");
            assert!(log.contains("sshd lets nobody in whom it does not know; uid 1000 (`ansible`) works"), "{log}");
            return;
        }
        key(setup.folder(), "other");
        let container = setup.start();
        container.logged("ready on port 2222");
        let login =
            ssh_to(&container, "2222", "mine", "ansible", "whoami; id -u; pwd; echo $OWN; ssh-keygen -q -N '' -f k && echo made");
        let expected = format!("ansible\n{uid}\n/home/ansible\na b\nmade\n");
        assert_eq!(text(&login), expected, "{}", container.log());
        for (key, user) in [("other", "ansible"), ("mine", "root"), ("mine", "runner")] {
            let login = ssh_to(&container, "2222", key, user, "true");
            assert!(text(&login).contains("Permission denied (publickey)"), "{}", text(&login));
        }
        let files =
            container.sh(&format!("cd /tmp/gantry-{uid}; stat -c '%n %a %u' . host_keys/ssh_host_ed25519_key authorized_keys"));
        let expected = format!(". 700 {uid}\nhost_keys/ssh_host_ed25519_key 600 {uid}\nauthorized_keys 644 {uid}\n");
        assert_eq!(files, expected);
        let (status, log) = container.stop();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn what_an_ordinary_user_may_not_do_is_said() {
    let before = "echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let (status, log) = restricted(1000).before(before).set("SSH_PORT", "22").run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("uid 1000 may not listen on a port below 1024") && log.contains("hint: SSH_PORT=2222"), "{log}");
}
