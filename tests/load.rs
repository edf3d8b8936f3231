//! PID 1 under load, and side by side with `tini`: storms of orphans and signals, every exit code, every deadly signal.

mod container;

use container::{Container, ENTRYPOINT, Setup, server};
use nix::sys::signal::Signal;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the service of these tests is, which under `tini` is started by that.
const SERVICE: &str = "/opt/code-server/bin/code-server --host 127.0.0.1 --port 8080";

/// Beside the service, waves of orphans and of every signal but those that ask for a stop and those that nobody survives:
/// each wave's hundred orphans are adopted by the init, then all end at once. Tells how many orphans and signals there were.
const STORM: &str = r#"
use POSIX ();
my ($waves, $init) = (WAVES, getppid);
my @spared = (1, 2, 3, 9, 15, 19, FAULTS);
my @signals = grep { my $signal = $_; !grep { $_ == $signal } @spared } 1 .. 64;
# tini hands every signal on.
for (@signals) { POSIX::sigaction($_, POSIX::SigAction->new('IGNORE')) unless $_ == 17 || $_ == 32 || $_ == 33 }
if (!fork) {
    setpgrp;
    pipe(my $counted, my $count) or die "pipe: $!";
    my ($orphans, $sent) = (0, 0);
    for my $wave (1 .. $waves) {
        pipe(my $wait, my $go) or die "pipe: $!";
        defined(my $parent = fork) or die "fork: $!";
        if (!$parent) {
            close $go;
            for my $number (1 .. 100) {
                next if fork;
                setpgrp if $number % 2;
                sysread $wait, my $byte, 1;
                syswrite $count, 'x' if getppid == $init;
                POSIX::_exit($number);
            }
            POSIX::_exit(0);
        }
        waitpid $parent, 0;
        close $wait;
        $sent += kill $signals[$_ % @signals], $init for 1 .. 500;
        close $go;
        $sent += kill $signals[$_ % @signals], $init for 1 .. 500;
        my $left = 100;
        while ($left) { my $read = sysread $counted, my $bytes, $left or die "read: $!"; $left -= $read; $orphans += $read }
    }
    syswrite STDOUT, "the storm is over: $orphans orphans, $sent signals\n";
    exit;
}
"#;

/// A storm beside a service that serves. The init has the storm's user, so that it may be signalled.
fn storm(waves: u32, spared: &str, init: &str) -> Setup {
    let launch = format!("cd /; exec setpriv --reuid=1000 --regid=1000 --clear-groups {init}");
    let program = STORM.replace("WAVES", &waves.to_string()).replace("FAULTS", spared);
    Setup::web(&server(&program)).launch(&launch)
}

/// The other init.
fn tini() -> String {
    let found = Command::new("tini").arg("--version").stdout(Stdio::null()).status();
    assert!(found.is_ok_and(|status| status.success()), "`tini` is missing: apt-get install tini");
    format!("/usr/bin/tini -s -- {SERVICE}")
}

/// Process `pid`'s children that have ended, and those that have not.
fn children(pid: i32) -> (usize, usize) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let stats = children.split_whitespace().filter_map(|child| fs::read_to_string(format!("/proc/{child}/stat")).ok());
    let (ended, living): (Vec<_>, Vec<_>) = stats.partition(|stat| stat.contains(") Z "));
    (ended.len(), living.len())
}

/// Waits for the end of the storm, and tells how long after it there still was a zombie.
fn weather(container: &Container, init: i32) -> Duration {
    container.logged("the storm is over: 10000 orphans, 100000 signals");
    let over = Instant::now();
    container.until("end of all zombies", |_| (children(init).0 == 0).then(|| over.elapsed()))
}

#[test]
fn ten_thousand_orphans_and_a_hundred_thousand_signals_leave_nothing_behind() {
    for (name, init) in [("entrypoint", "ENTRYPOINT".to_owned()), ("tini", tini())] {
        let container = storm(100, "", &init).start();
        let init = container.init();
        let after = weather(&container, init);
        println!("{name}: no zombie {after:?} after the storm");
        container.until("only the service is left", |_| (children(init) == (0, 1)).then_some(()));
        let (status, log) = container.stop();
        // tini ends as its child did.
        assert_eq!(status.code(), Some(if name == "tini" { 143 } else { 0 }), "{name}: {log}");
    }
}

#[test]
fn under_another_init_the_storm_is_the_same() {
    // Nobody but PID 1 survives those of faults, nor the two that the C library keeps for itself.
    let container = storm(100, "4 .. 8, 11, 31 .. 33", "sh -c 'ENTRYPOINT & wait $!; echo code $?; exit 0'").start();
    // The entrypoint is what the shell has started last.
    container.logged("web: ready");
    let parent = container.init();
    let children_of = format!("/proc/{parent}/task/{parent}/children");
    let entrypoint =
        container.until("the entrypoint", |_| fs::read_to_string(&children_of).ok()?.split_whitespace().next()?.parse().ok());
    weather(&container, entrypoint);
    let (mut container, pid) = (container, nix::unistd::Pid::from_raw(entrypoint));
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    container.wait();
    assert!(container.log().contains("code 0\n"), "{}", container.log());
}

#[test]
fn no_stop_is_missed_in_the_middle_of_a_storm() {
    for (signal, waves) in [(Signal::SIGTERM, 1), (Signal::SIGINT, 3), (Signal::SIGHUP, 7), (Signal::SIGTERM, 20)] {
        // It would go on for longer than the test.
        let mut container = storm(100_000, "", "ENTRYPOINT").start();
        let init = container.init();
        container.logged("web: ready");
        // From outside, too, and in the middle of adopted orphans.
        for _ in 0..waves {
            container.until("orphans", |_| (children(init).1 > 50).then_some(()));
            for signal in [Signal::SIGCHLD, Signal::SIGUSR1, Signal::SIGWINCH, Signal::SIGALRM] {
                container.signal(signal);
            }
        }
        container.signal(signal);
        let status = container.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {}", container.log());
        assert!(container.log().contains("web: stopped: "), "{signal}: {}", container.log());
    }
}

/// A service that ends as the file says.
const CASE: &str = r#"
open my $file, '<', '/tmp/case' or die "the case: $!";
my ($how, $number) = split ' ', <$file>;
exit $number if $how eq 'exit';
$SIG{FPE} = 'DEFAULT';
kill $number, $$;
die "alive";
"#;

/// Starts the init that is its arguments for each case, and prints `case: code`.
const CASES: &str = r#"
use strict; use warnings;
# What stops, continues or is ignored ends nothing: CHLD CONT STOP TSTP TTIN TTOU URG WINCH.
my @deadly = grep { my $signal = $_; !grep { $_ == $signal } 17 .. 23, 28 } 1 .. 64;
# Who was started in the background of a shell ignores them, and so would everybody below.
$SIG{INT} = $SIG{QUIT} = 'DEFAULT';
for my $case ((map { "exit $_" } 0 .. 255), (map { "signal $_" } @deadly)) {
    open my $file, '>', '/tmp/case' or die "the case: $!";
    print $file $case;
    close $file;
    system { $ARGV[0] } @ARGV;
    syswrite STDOUT, "case $case: " . ($? & 127 ? "killed by " . ($? & 127) : $? >> 8) . "\n";
}
"#;

/// What `init` reports wrongly, all cases in one container.
fn wrong(init: &str) -> Vec<String> {
    let setup = Setup::web(CASE);
    fs::write(setup.folder().join("cases"), CASES).unwrap();
    let launch = format!("ulimit -c 0; exec perl /mnt/files/cases {init}");
    let (status, log) = setup.launch(&launch).run();
    assert_eq!(status.code(), Some(0), "{log}");
    let codes = (0..=255).map(|code| format!("case exit {code}: {code}"));
    let deadly = (1..=64).filter(|signal| !matches!(signal, 17..=23 | 28));
    let right: Vec<_> = codes.chain(deadly.map(|signal| format!("case signal {signal}: {}", 128 + signal))).collect();
    let reported: Vec<_> = log.lines().filter(|line| line.starts_with("case ")).collect();
    assert_eq!(reported.len(), right.len(), "{log}");
    reported
        .into_iter()
        .zip(right)
        .filter(|(reported, right)| reported != right)
        .map(|(reported, _)| reported.to_owned())
        .collect()
}

#[test]
fn every_exit_code_and_every_deadly_signal_is_reported_by_pid_1() {
    assert_eq!(wrong(&format!("/usr/bin/unshare --pid --fork --mount-proc {ENTRYPOINT}")), [""; 0]);
}

#[test]
fn every_exit_code_and_every_deadly_signal_is_reported_under_another_init() {
    assert_eq!(wrong(ENTRYPOINT), [""; 0]);
}

#[test]
fn tini_reports_the_same() {
    assert_eq!(wrong(&tini()), [""; 0]);
}
