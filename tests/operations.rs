//! What people do with a running container: look at it, follow its services, start and stop one of them.

mod container;

use container::{Container, ENTRYPOINT, Setup, server};
use nix::sys::signal::Signal;
use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

/// A server that writes the first line of every request to its standard output.
fn talkative() -> String {
    server("$| = 1; print \"begins\\n\"; print STDERR \"warns\\n\";")
        .replace("my $line = <$client>;", "my $line = <$client>; print $line;")
}

/// A command of the entrypoint, as the user `uid`.
fn entrypoint(container: &Container, uid: u32, arguments: &[&str]) -> Output {
    let mut command = container.command("setpriv");
    command.args([&format!("--reuid={uid}"), "--clear-groups", ENTRYPOINT]).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Checks with somebody else's reader that every line is a JSON object, and returns what `expression` makes of them.
fn json(lines: &str, expression: &str) -> String {
    let program = format!("import json,sys; l=[json.loads(line) for line in sys.stdin]; print({expression})");
    let mut python = std::process::Command::new("python3");
    let mut child = python.args(["-c", &program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{lines}");
    text(&output).trim_end().to_owned()
}

#[test]
fn what_services_write_stands_behind_their_names() {
    let program = talkative().replace("begins", "be\\e[1mgins\\e[0m\\tnow\\r");
    let container = Setup::web(&program).start().healthy();
    for line in ["\nweb: begins\tnow\n", "\nweb: warns\n", "\nweb: GET /healthz HTTP/1.0\n", "\ngantry: web: ready on port 8080"]
    {
        container.logged(line);
    }
    let (_, log) = container.stop();
    assert!(log.lines().all(|line| line.starts_with("gantry: ") || line.starts_with("web: ")), "{log}");
}

#[test]
fn every_line_of_a_json_log_is_json() {
    let bytes = "print join('', map { chr } 0 .. 255), \"\\n\"; print 'x' x 20000, \"\\nhalf\";";
    let container = Setup::web(&talkative().replace("print STDERR", &format!("{bytes} print STDERR"))).set("LOG_FORMAT", "json");
    let (status, log) = container.start().healthy().stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let streams = json(&log, "sorted({line['stream'] for line in l if 'stream' in line})");
    assert_eq!(streams, "['stderr', 'stdout']");
    assert_eq!(json(&log, "[line['service'] for line in l if line['message'] == 'warns']"), "['web']");
    let longest = json(&log, "[len(line['message']) for line in l if line['message'].startswith('xxx')]");
    assert_eq!(longest, "[8192, 8192, 3616]");
    assert_eq!(
        json(&log, "[line['message'] for line in l if line['message'].startswith('half')]"),
        "['halfGET /healthz HTTP/1.0']"
    );
}

#[test]
fn the_last_words_are_not_lost() {
    let program = "print STDERR \"no newline behind it: \" . ('y' x 30000); exit 9;";
    let (status, log) = Setup::web(program).run();
    assert_eq!(status.code(), Some(9), "{log}");
    let said: String = log.lines().filter_map(|line| line.strip_prefix("web: ")).collect();
    assert_eq!(said, "no newline behind it: ".to_owned() + &"y".repeat(30000));
}

/// Ways to have a standard error that nobody reads: a pipe, one that cannot be opened anew, a socket.
const UNREAD: [&str; 3] = [
    "exec bash -c 'exec ENTRYPOINT 2> >(exec sleep 1000) >&2'",
    "exec bash -c 'exec setpriv --reuid=1000 --regid=1000 --clear-groups ENTRYPOINT 2> >(exec sleep 1000) >&2'",
    "exec perl -MSocket -e 'socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, 0; $^F = 99; open STDERR, \">&\", $a; exec shift' ENTRYPOINT",
];

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let noise = "for (1 .. 50000) { print STDERR 'line ' x 10, $_, \"\\n\" }";
    for launch in UNREAD {
        let mut container = Setup::web(&server(noise)).launch(launch).start().healthy();
        assert_eq!(text(&entrypoint(&container, 0, &["stop", "web"])), "web: stopped\n", "{launch}");
        container.signal(Signal::SIGTERM);
        assert_eq!(container.wait().code(), Some(0), "{launch}");
    }
}

#[test]
fn a_log_that_is_read_slowly_is_whole() {
    let noise = "for (1 .. 50000) { print STDERR 'line ' x 10, $_, \"\\n\" }";
    let reader =
        "mkdir q(/tmp/reads); while (sysread STDIN, my $b, 65536) { syswrite STDOUT, $b; select undef, undef, undef, 0.01 }";
    let launch = format!(
        "exec bash -c 'exec 2> >(exec perl -e \"{}\"); until [ -e /tmp/reads ]; do sleep 0.02; done; exec ENTRYPOINT'",
        reader.replace('$', "\\$")
    );
    let container = Setup::web(&server(noise)).launch(&launch).start().healthy();
    container.until("the last line", |container| container.log().contains(&"line ".repeat(10)).then_some(()));
    container.logged("line line 50000\n");
    let log = container.log();
    assert!(!log.contains("were dropped"));
    let found = log.lines().filter(|line| line.starts_with("web: line ")).count();
    assert_eq!(found, 50000);
}

#[test]
fn what_was_dropped_is_counted_when_somebody_reads_again() {
    // It is read only once there is a file `/tmp/read`.
    let reader = "until (-e \"/tmp/read\") { select undef, undef, undef, 0.02 } $| = 1; print while <STDIN>";
    let launch =
        format!("exec bash -c \"exec ENTRYPOINT 2> >(exec perl -e '{}')\"", reader.replace('"', "\\\"").replace('$', "\\$"));
    let noise = "for (1 .. 50000) { print STDERR 'line ' x 10, $_, \"\\n\" }";
    let container = Setup::web(&server(noise)).launch(&launch).start().healthy();
    container.sh("touch /tmp/read");
    container.logged("lines of this log were dropped");
    // What comes behind that is still on its way.
    container.until("all lines", |container| {
        let log = container.log();
        let shown = log.lines().filter(|line| line.starts_with("web: line ")).count();
        let dropped = log.lines().filter(|line| line.contains("were dropped"));
        let dropped: usize = dropped.filter_map(|line| line.split_whitespace().find_map(|word| word.parse::<usize>().ok())).sum();
        (dropped + shown >= 50000).then_some(())
    });
}

#[test]
fn status_for_people_and_for_programs() {
    let container = Setup::web(&talkative()).start().healthy();
    for uid in [0, 1000] {
        let status = text(&entrypoint(&container, uid, &["status"]));
        let row: Vec<_> = status.lines().find(|line| line.starts_with("web ")).unwrap().split_whitespace().collect();
        assert_eq!((row[1], row[4], row[5]), ("ready", "0", "8080"), "{status}");
    }
    container.sh("kill -9 $(pgrep -o -f '^/usr/bin/perl .*code-server')");
    container.logged("starts again");
    let status = text(&entrypoint(&container.healthy(), 0, &["status", "--json"]));
    let expression = "[(s['name'],s['phase'],s['restarts'],s['port'],s['last_error']) for s in l[0]['services']]";
    assert_eq!(json(&status, expression), "[('web', 'ready', 1, 8080, 'ended by itself: signal 9')]");
    assert_eq!(json(&status, "l[0]['schema'], l[0]['state']"), "1 running");
}

#[test]
fn a_service_is_stopped_and_started_while_the_container_runs_on() {
    let container = Setup::web(&talkative()).start().healthy();
    let order = |uid, order: &str| {
        let output = entrypoint(&container, uid, &[order, "web"]);
        (output.status.code().unwrap(), text(&output))
    };
    for uid in [0, 1000] {
        assert_eq!(order(uid, "start"), (0, "web: runs already\n".into()));
        assert_eq!(order(uid, "stop"), (0, "web: stopped\n".into()));
        assert_eq!(container.sh("pgrep -f '^/usr/bin/perl .*code-server' || echo nobody"), "nobody\n");
        assert_eq!(order(uid, "stop"), (0, "web: does not run\n".into()));
        assert!(container.health().status.success(), "somebody stopped it on purpose");
        assert_eq!(order(uid, "start"), (0, "web: ready\n".into()));
        let before = container.sh("pgrep -o -f '^/usr/bin/perl .*code-server'");
        assert_eq!(order(uid, "restart"), (0, "web: ready\n".into()));
        assert_ne!(container.sh("pgrep -o -f '^/usr/bin/perl .*code-server'"), before);
    }
    let (code, why) = order(1000, "halt");
    assert_eq!(code, 64, "{why}");
    let unknown = entrypoint(&container, 1000, &["start", "runner"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("no service is called `runner`; there are `web`"), "{}", text(&unknown));
    assert_eq!(order(0, "stop").0, 0);
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_start_that_fails_says_so() {
    let program = talkative().replace("use IO", "exit 3 if -e '/tmp/broken'; use IO");
    let container = Setup::web(&program).start().healthy();
    container.sh("touch /tmp/broken");
    let failed = entrypoint(&container, 0, &["restart", "web"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed).contains("`web` is pausing: ended by itself: exit code 3"), "{}", text(&failed));
    container.sh("rm /tmp/broken");
    assert_eq!(text(&entrypoint(&container, 0, &["start", "web"])), "web: ready\n");
}

#[test]
fn a_service_that_ignores_its_stop_is_killed() {
    let program = server("$SIG{TERM} = 'IGNORE';");
    let container = Setup::web(&program).start().healthy();
    assert_eq!(text(&entrypoint(&container, 1000, &["restart", "web"])), "web: ready\n");
    container.logged("did not stop in time and is killed");
    container.signal(Signal::SIGINT);
    container.logged("gantry: stopping");
    container.signal(Signal::SIGINT);
}

#[test]
fn logs_tell_what_was_and_follow_what_comes() {
    let container = Setup::web(&talkative()).start().healthy();
    let logs = text(&entrypoint(&container, 1000, &["logs", "web"]));
    for line in ["begins", "warns", "gantry: ready on port 8080", "GET /healthz HTTP/1.0"] {
        assert!(logs.lines().any(|found| found.starts_with(line)), "{line}: {logs}");
    }
    let mut follower = container.command("setpriv");
    follower.args(["--reuid=1000", "--clear-groups", ENTRYPOINT, "logs", "-f", "web"]);
    let mut follower = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "begins"));
    container
        .sh("perl -MIO::Socket::INET -e 'IO::Socket::INET->new(\"127.0.0.1:8080\")->print(\"GET /new HTTP/1.0\\r\\n\\r\\n\")'");
    assert!(lines.any(|line| line.starts_with("GET /new")), "it comes while it is followed");
    assert_eq!(text(&entrypoint(&container, 0, &["restart", "web"])), "web: ready\n");
    assert!(lines.any(|line| line == "gantry: stopped: signal 15") && lines.any(|line| line == "begins"), "over a restart, too");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!follower.wait().unwrap().success(), "the end of the container is no end of the log");
}

#[test]
fn callers_that_do_not_read_or_do_not_ask_hold_nothing_up() {
    let program = talkative().replace("print $line;", "print $line; print 'noise ' x 20, \"\\n\" for 1 .. 20000;");
    let container = Setup::web(&program).start().healthy();
    // More than are served at a time: half of them say nothing, half follow and do not read.
    let caller = "my @c = map { IO::Socket::UNIX->new(\"/run/gantry/control.sock\") } 1 .. 40; \
                  for (0 .. 19) { my $c = $c[$_]; print $c \"follow web\\n\"; $c->flush } $| = 1; print \"calling\\n\"; sleep 1000";
    let mut callers = container.command("setpriv");
    callers.args(["--reuid=1000", "--clear-groups", "perl", "-MIO::Socket::UNIX", "-e", caller]);
    let mut callers = callers.stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(callers.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    // The silent ones are dropped after a while.
    container.until("an answer", |container| container.health().status.success().then_some(()));
    container.until("the end of all who do not read", |container| {
        container.health();
        let sockets = container.sh("ls -l /proc/1/fd | grep -c socket: || true");
        (sockets.trim() == "1").then_some(())
    });
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    callers.kill().unwrap();
    callers.wait().unwrap();
}

#[test]
fn a_service_that_this_image_lacks_is_told_of() {
    let runner = [("GITHUB_RUNNER_URL", "https://github.com/owner/project"), ("GITHUB_RUNNER_PAT", "canary")];
    let setup = runner.into_iter().fold(Setup::web(&server("")), |setup, (name, value)| setup.set(name, value));
    let container = setup.start().healthy();
    let why = "this image has no GitHub runner";
    let status = text(&entrypoint(&container, 1000, &["status"]));
    assert!(status.contains(&format!("\nrunner: disabled: GITHUB_RUNNER_URL is set, but {why}")), "{status}");
    let started = entrypoint(&container, 1000, &["start", "runner"]);
    assert_eq!(started.status.code(), Some(1));
    assert!(text(&started).contains("`runner` is disabled: ") && text(&started).contains(why), "{}", text(&started));
}
