//! VS Code in the browser: who is told where it is, and how each of the three servers is started.

mod container;

use container::{Container, ENTRYPOINT, Setup, server};
use std::process::Output;

const GIVEN: &str = "canary-0123456789";

/// `entrypoint web-url`, asked by somebody.
fn web_url(container: &Container, user: &str) -> Output {
    let mut command = container.command("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", ENTRYPOINT, "web-url"]).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A server like Microsoft's, whose program it is that is called here: takes its token from a file, answers 403
/// without it, and says where it is, token and all.
const TOKENS: &str = r#"
my %o; for (my $i = 0; $i < @ARGV; $i++) { $o{$1} = $ARGV[$i + 1] // '' if $ARGV[$i] =~ /^--([a-z-]+)$/ }
open my $calls, '>>', '/home/ansible/calls'; print $calls "@ARGV\n"; close $calls;
my $token = '';
if (defined $o{'connection-token-file'}) { open my $f, '<', $o{'connection-token-file'} or die "token: $!"; $token = <$f>; }
use IO::Socket::INET;
my $listener = IO::Socket::INET->new(LocalAddr => $o{host}, LocalPort => $o{port}, Listen => 5, ReuseAddr => 1) or die "listen: $!";
$| = 1;
print "Web UI available at http://localhost:$o{port}" . ($token ? "?tkn=$token" : '') . "\n";
while (1) {
    my $client = $listener->accept or next;
    my $line = <$client>;
    my $status = !$token || $line =~ m{^GET /version } || $line =~ /tkn=\Q$token\E / ? '200 OK' : '403 Forbidden';
    print $client "HTTP/1.1 $status\r\nContent-Length: 0\r\n\r\n";
    close $client;
}
"#;

/// A container with `program` at `path` as the web server.
fn with(path: &str, program: &str) -> Setup {
    let setup = Setup::new().set("VSCODE_WEB", "1");
    std::fs::write(setup.folder().join("server"), format!("#!/usr/bin/perl\nuse strict; use warnings;\n{program}")).unwrap();
    setup.before(&format!("mount -t tmpfs -o mode=755 tmpfs /usr/local; install -D -m 755 /mnt/files/server {path}"))
}

fn status(container: &Container, query: &str) -> String {
    container.sh(&format!("curl -s -o /dev/null -w '%{{http_code}}' 'http://127.0.0.1:8080/{query}'"))
}

#[test]
fn a_generated_token_is_told_once_and_to_those_who_may_know_it() {
    let container = Setup::web(&server("")).start().healthy();
    let told = text(&web_url(&container, "0"));
    let (address, password) = told.trim_end().split_once("\npassword ").expect("a password");
    assert_eq!((address, password.len()), ("http://localhost:8080/", 32));
    assert_eq!(text(&web_url(&container, "1000")), told);
    let other = web_url(&container, "1001");
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other).contains("only root and `ansible` are told") && !text(&other).contains(password), "{}", text(&other));
    assert_eq!(container.log().matches(password).count(), 1, "{}", container.log());
    // It outlives the server.
    container.sh("kill -9 $(pgrep -o -f '^/usr/bin/perl .*code-server')");
    container.logged("starts again");
    let container = container.healthy();
    assert_eq!(text(&web_url(&container, "0")), told);
    assert!(container.sh("cat /run/gantry/code-server.yaml").contains(password));
}

#[test]
fn a_token_that_was_given_is_in_no_log() {
    let container = Setup::web(&server("")).set("VSCODE_WEB_TOKEN", GIVEN).start().healthy();
    assert_eq!(text(&web_url(&container, "1000")), format!("http://localhost:8080/\npassword {GIVEN}\n"));
    assert!(!container.log().contains("canary"), "{}", container.log());
}

#[test]
fn a_token_that_is_renewed_in_its_file_counts_when_the_server_is_started_again() {
    let setup = with("/opt/vscode-server/bin/code-server", TOKENS).set("VSCODE_WEB_TOKEN_FILE", "/run/token");
    let container = setup.before("echo canary-of-before > /run/token; chmod 600 /run/token").start().healthy();
    assert_eq!(status(&container, "?tkn=canary-of-before"), "200");
    let renew = |token: &str| container.sh(&format!("echo {token} > /run/token; {ENTRYPOINT} restart web"));
    renew(GIVEN);
    assert_eq!(
        (status(&container, "?tkn=canary-of-before"), status(&container, &format!("?tkn={GIVEN}"))),
        ("403".into(), "200".into())
    );
    assert_eq!(text(&web_url(&container, "1000")), format!("http://localhost:8080/?tkn={GIVEN}\n"));
    // Whoever gets it wrong is told, and not locked out.
    renew("canary");
    container.logged("error: web: VSCODE_WEB_TOKEN is shorter than 8 characters: the server keeps the token of before");
    assert_eq!(status(&container, &format!("?tkn={GIVEN}")), "200");
    assert!(!container.log().contains("canary"), "{}", container.log());
}

#[test]
fn code_server_s_own_variables_change_neither_where_it_listens_nor_what_it_asks_for() {
    let setup = Setup::web(&server("")).set("VSCODE_WEB_TOKEN", GIVEN);
    let theirs = [("PASSWORD", "another"), ("HASHED_PASSWORD", "x"), ("PORT", "3000"), ("CODE_SERVER_HOST", "::")];
    let container = theirs.into_iter().fold(setup, |setup, (name, value)| setup.set(name, value)).start().healthy();
    // It would take the password from there, and the address unless these two options say another.
    let of_server =
        |what: &str| container.sh(&format!("tr '\\0' ' ' < /proc/$(pgrep -o -f '^/usr/bin/perl .*code-server')/{what}"));
    assert!(!of_server("environ").contains("PASSWORD="), "{}", of_server("environ"));
    assert!(of_server("cmdline").contains(" --host 0.0.0.0 --port 8080 "), "{}", of_server("cmdline"));
    assert_eq!(status(&container, ""), "200");
}

#[test]
fn microsoft_s_server_asks_for_the_token_and_its_own_line_with_it_is_not_shown() {
    let container = with("/opt/vscode-server/bin/code-server", TOKENS).start().healthy();
    let address = text(&web_url(&container, "0"));
    let token = address.trim_end().strip_prefix("http://localhost:8080/?tkn=").expect("an address with a token").to_owned();
    assert_eq!(status(&container, ""), "403");
    assert_eq!(status(&container, &format!("?tkn={token}")), "200");
    assert_eq!(container.log().matches(&token).count(), 1, "{}", container.log());
    assert!(!container.sh("/mnt/entrypoint logs web").contains(&token));
    let calls = container.sh("cat /home/ansible/calls; tr '\\0' ' ' < /proc/$(pgrep -o -f vscode-server)/cmdline");
    assert!(calls.contains("--connection-token-file /run/gantry/web-token") && !calls.contains(&token), "{calls}");
    assert_eq!(container.sh("stat -c '%a %U' /run/gantry/web-token"), "600 ansible\n");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn without_a_baked_server_vs_code_s_command_line_program_serves() {
    // On SIGTERM it would die and leave its server behind.
    let program = format!("$SIG{{INT}} = sub {{ print \"closed\\n\"; exit 0 }}; $SIG{{TERM}} = 'IGNORE';\n{TOKENS}");
    let container = with("/usr/local/bin/code", &program).set("VSCODE_WEB_TOKEN", GIVEN).start().healthy();
    let calls = container.sh("cat /home/ansible/calls");
    let expected = "serve-web --host 0.0.0.0 --port 8080 --accept-server-license-terms --server-data-dir /home/ansible/.vscode-server \
                    --cli-data-dir /home/ansible/.vscode/cli --connection-token-file /run/gantry/web-token\n";
    assert_eq!(calls, expected);
    assert_eq!(text(&web_url(&container, "1000")), format!("http://localhost:8080/?tkn={GIVEN}\n"));
    let files = container.sh("cd /home/ansible/.vscode; stat -c '%n %a %U' cli cli/serve-web-token");
    assert_eq!(files, "cli 700 ansible\ncli/serve-web-token 600 ansible\n");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("closed") && !log.contains("canary"), "{log}");
}

#[test]
fn the_open_behaviour_has_its_warning() {
    let container = with("/opt/vscode-server/bin/code-server", TOKENS).set("VSCODE_WEB_AUTH", "none").start().healthy();
    assert_eq!(status(&container, ""), "200");
    assert!(container.log().contains("WHOEVER REACHES THIS PORT HAS A SHELL"), "{}", container.log());
    assert_eq!(text(&web_url(&container, "1000")), "http://localhost:8080/\n");
}

#[test]
fn behind_coder_it_listens_on_loopback_alone_and_says_when_jobs_could_reach_it() {
    let behind = |auth: &str| {
        with("/opt/vscode-server/bin/code-server", TOKENS)
            .set("CODER_AGENT_TOKEN", "token")
            .set("CODER_AGENT_URL", "http://127.0.0.1:1")
            .set("VSCODE_WEB_AUTH", auth)
    };
    let note = "jobs of the runner can reach the web server on port 8080";
    let asked = |setup: Setup| setup.set("GITHUB_RUNNER_URL", "https://github.com/o/r").set("GITHUB_RUNNER_TOKEN", "AAAA");
    let there = "install -d /opt/actions-runner/bin; touch /opt/actions-runner/bin/Runner.Listener";
    let runner = |setup: Setup| asked(setup).before(there);

    let container = behind("").start();
    container.logged("web: ready on port 8080");
    assert_eq!(status(&container, ""), "200");
    assert!(container.sh("cat /home/ansible/calls").starts_with("--host 127.0.0.1 --port 8080 "));
    assert!(!container.log().contains(note) && !container.log().contains("HAS A SHELL"), "{}", container.log());

    let container = runner(behind("")).start();
    container.logged("web: ready on port 8080");
    assert!(container.log().contains(note), "{}", container.log());
    assert!(container.sh("/mnt/entrypoint status").contains(note));
    assert!(container.sh("/mnt/entrypoint status --json").contains(note));

    // No runner, no jobs.
    let container = asked(behind("")).start();
    container.logged("web: ready on port 8080");
    assert!(container.log().contains("this image has no GitHub runner"), "{}", container.log());
    assert!(!container.log().contains(note), "{}", container.log());

    let container = runner(behind("token")).start();
    container.logged("web: ready on port 8080");
    assert_eq!(status(&container, ""), "403");
    assert!(!container.log().contains(note), "{}", container.log());
}

#[test]
fn an_ordinary_or_arbitrary_user_has_a_web_server_too() {
    for uid in ["1000", "12345"] {
        let launch = format!("cd /; exec setpriv --reuid={uid} --regid={uid} --groups=2000 --no-new-privs ENTRYPOINT");
        let volume = "chown 0:2000 /home/ansible; chmod 2775 /home/ansible";
        let container = with("/opt/vscode-server/bin/code-server", TOKENS).before(volume).launch(&launch).start().healthy();
        let told = text(&web_url(&container, uid));
        assert!(told.starts_with("http://localhost:8080/?tkn="), "{told}");
        // Whoever looks after the container is root, or comes as the user that it was started as.
        assert_eq!(text(&web_url(&container, "0")), told);
        assert_eq!(web_url(&container, "1001").status.code(), Some(1));
        let (status, log) = container.stop();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn an_address_that_somebody_planted_is_not_told() {
    let plant = "install -d -o 1001 -g 1001 /tmp/gantry-1000; echo http://evil.example > /tmp/gantry-1000/web-url\n\
                 chown 1001 /tmp/gantry-1000/web-url; chmod 644 /tmp/gantry-1000/web-url";
    let setup = Setup::web(&server("")).before(plant);
    let container = setup.start().healthy();
    container.sh("rm /run/gantry/web-url");
    let told = web_url(&container, "1000");
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told).contains("no web server was started here"), "{}", text(&told));
}
