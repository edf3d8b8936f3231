//! The supervisor with real processes: it reaps, forwards, restarts and stops.

mod container;

use container::{Container, Setup, server};
use nix::sys::signal::Signal;

/// The process id of the service, as the container sees it.
const SERVICE: &str = "pgrep -o -f '^/usr/bin/perl .*code-server'";

#[test]
fn a_requested_stop_is_clean() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut container = Setup::web(&server("")).start().healthy();
        container.signal(signal);
        let status = container.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {}", container.log());
        assert!(container.log().contains("web: stopped: signal 15"), "{}", container.log());
    }
}

#[test]
fn a_service_that_never_came_up_ends_the_container_with_its_code() {
    let codes = [0, 1, 2, 7, 126, 127, 128, 137, 255].map(|code| (format!("exit {code};"), code));
    let signals = [1, 2, 6, 9, 11, 15, 34, 64].map(|signal| (format!("kill {signal}, $$; sleep 9;"), 128 + signal));
    for (program, code) in codes.into_iter().chain(signals) {
        let (status, log) = Setup::web(&program).run();
        assert_eq!(status.code(), Some(code), "{program}: {log}");
    }
}

#[test]
fn a_program_that_is_none_is_reported_as_a_shell_would() {
    let (status, log) = Setup::web("").before("chmod 644 /opt/code-server/bin/code-server").run();
    assert_eq!(status.code(), Some(126), "{log}");
    let (status, log) = Setup::web("").before("printf '#!/nonexistent' > /opt/code-server/bin/code-server").run();
    assert_eq!(status.code(), Some(127), "{log}");
}

#[test]
fn a_service_that_was_ready_is_started_again() {
    let container = Setup::web(&server("")).start().healthy();
    let first = container.sh(SERVICE);
    container.sh(&format!("kill -9 {first}"));
    container.logged("web: ended by itself: signal 9");
    let container = container.healthy();
    assert_ne!(container.sh(SERVICE), first);
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_service_that_crashes_again_and_again_is_given_up_on_with_its_code() {
    // It serves for a moment each time: until it is called ready.
    let ready = "my $ready = sub { open my $log, '<', '/mnt/files/log' or die; scalar grep { /web: ready/ } <$log> };
                 my $before = $ready->();";
    let program =
        server(ready).replace("while (1)", "$SIG{ALRM} = sub { exit 7 if $ready->() > $before; alarm 1 }; alarm 1;\nwhile (1)");
    let (status, log) = Setup::web(&program).run();
    assert_eq!(status.code(), Some(7), "{log}");
    assert_eq!(log.matches("web: started as process").count(), 6, "{log}");
    assert!(log.contains("starts again in 16 s") && log.contains("web: given up on"), "{log}");
}

/// A server that lets a clone begin and never answers: what it holds open is returned.
fn silent(setup: &Setup) -> std::thread::JoinHandle<Vec<std::net::TcpStream>> {
    let listener = setup.network().listen(7000);
    std::thread::spawn(move || listener.incoming().take(1).map(Result::unwrap).collect())
}

#[test]
fn a_stop_while_services_wait_for_another_is_clean() {
    let setup = Setup::web(&server("")).set("ANSIBLE_REPO_URL", "http://127.0.0.1:7000/project.git");
    let server = silent(&setup);
    let mut container = setup.start();
    let _open = server.join().unwrap();
    let status = container.command(container::ENTRYPOINT).arg("status").output().unwrap();
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.contains("\nrepository  starting ") && text.contains("\nweb         waiting "), "{text}");
    assert_eq!(container.health().status.code(), Some(1));
    container.signal(Signal::SIGTERM);
    let status = container.wait();
    assert_eq!(status.code(), Some(0), "{}", container.log());
    assert!(!container.log().contains("web: started"), "{}", container.log());
}

#[test]
fn who_waits_for_another_can_be_started_by_hand() {
    let setup = Setup::web(&server("")).set("ANSIBLE_REPO_URL", "http://127.0.0.1:7000/project.git");
    let server = silent(&setup);
    let container = setup.start();
    let _open = server.join().unwrap();
    container.sh(&format!("{} start web", container::ENTRYPOINT));
    let container = container.healthy();
    container.sh(&format!("{} stop repository", container::ENTRYPOINT));
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("web: started").count(), 1, "{log}");
}

#[test]
fn a_restart_is_not_hindered_by_what_the_service_left_behind() {
    // A child in the service's group keeps the port open.
    let program = server("").replace("while (1)", "if (!fork) { sleep 1000; exit }\nwhile (1)");
    let container = Setup::web(&program).start().healthy();
    container.sh(&format!("kill -9 $({SERVICE})"));
    container.logged("starts again");
    let (status, log) = container.healthy().stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn who_has_the_number_of_a_process_group_of_before_is_left_alone() {
    let container = Setup::web(&server("")).start().healthy();
    let service = container.sh(SERVICE);
    let number: u32 = service.trim().parse().unwrap();
    container.sh(&format!("rm /opt/code-server/bin/code-server; kill -9 {number}"));
    container.logged("starts again in 1 s");
    let last = number - 1;
    container.sh(&format!("echo {last} > /proc/sys/kernel/ns_last_pid; setsid sleep 1000 > /dev/null 2>&1 & test $! = {number}"));
    let tries = |container: &Container| container.log().matches("starts again in").count();
    let before = tries(&container);
    container.until("a start that fails", |container| (tries(container) > before).then_some(()));
    assert_eq!(container.sh(&format!("cat /proc/{number}/comm")), "sleep\n", "{}", container.log());
}

#[test]
fn what_a_service_left_behind_still_has_somewhere_to_write_to() {
    // A child in a session of its own, which would die of a closed pipe.
    let stray = "if (!-e '/tmp/stray' && !fork) { setpgrp; open my $f, '>', '/tmp/stray'; $| = 1; \
                 while (1) { print \"stray $_[0]\\n\"; select undef, undef, undef, 0.05 } }";
    let container = Setup::web(&server(&stray.replace("$_[0]", "lives"))).start().healthy();
    for round in 1..=6 {
        let before = container.log().matches("web: stray lives").count();
        container.sh(&format!("{} restart web", container::ENTRYPOINT));
        container.until("a sign of life", |container| {
            (container.log().matches("web: stray lives").count() > before + 5).then_some(round)
        });
    }
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn orphans_are_reaped() {
    // Each child leaves a child behind, in a session of its own, and goes.
    let orphans = "for (1..500) { if (!fork) { setpgrp; if (!fork) { exit 3 } exit } } 1 while wait > 0;";
    let container = Setup::web(&server(orphans)).start().healthy();
    container.until("end of all zombies", |container| {
        let stats = container.sh("cat /proc/[0-9]*/stat 2>/dev/null; true");
        (!stats.contains(") Z ")).then_some(())
    });
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_stop_ends_what_ignores_it_and_what_has_left_its_group() {
    // From its first moment on, whenever that is.
    let stray = "$SIG{TERM} = 'IGNORE'; if (!fork) { setpgrp; sleep 1000; exit } $SIG{TERM} = 'DEFAULT';";
    let mut container = Setup::web(&server(stray)).set("STOP_GRACE_SECONDS", "2").start().healthy();
    container.signal(Signal::SIGTERM);
    let status = container.wait();
    assert!(container.log().contains("what is left is killed"), "{}", container.log());
    assert_eq!(status.code(), Some(0), "the service itself stopped cleanly: {}", container.log());
}

#[test]
fn a_service_that_has_to_be_killed_is_no_clean_stop() {
    let (status, log) = Setup::web(&server("$SIG{TERM} = 'IGNORE';")).set("STOP_GRACE_SECONDS", "1").start().healthy().stop();
    assert_eq!(status.code(), Some(137), "{log}");
}

#[test]
fn a_second_interrupt_does_not_wait() {
    let container = Setup::web(&server("$SIG{TERM} = 'IGNORE';")).set("STOP_GRACE_SECONDS", "3600").start();
    let mut container = container.healthy();
    container.signal(Signal::SIGINT);
    container.logged("stopping");
    container.signal(Signal::SIGINT);
    assert_eq!(container.wait().code(), Some(137), "{}", container.log());
}

#[test]
fn a_service_begins_with_a_clean_slate() {
    // Ignored and blocked by whoever starts the entrypoint.
    let launch = "trap '' USR1 PIPE; exec ENTRYPOINT";
    let container = Setup::web(&server("")).set("GH_TOKEN", "1").set("ENV", "/x").launch(launch).start().healthy();
    let pid = container.sh(SERVICE).trim().to_owned();
    let status = container.sh(&format!("cat /proc/{pid}/status"));
    for line in ["SigBlk:\t0000000000000000", "Uid:\t1000\t1000\t1000\t1000", "Groups:\t1000 1234"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let ignored =
        status.split_once("SigIgn:\t").and_then(|(_, rest)| u64::from_str_radix(rest.lines().next()?, 16).ok()).unwrap();
    for signal in [Signal::SIGUSR1, Signal::SIGPIPE] {
        assert_eq!(ignored & (1 << (signal as u32 - 1)), 0, "{signal} is ignored");
    }
    assert_eq!(container.sh(&format!("ps -o pgid= -p {pid}")).trim(), pid, "a group of its own");
    assert_eq!(container.sh(&format!("readlink /proc/{pid}/cwd")).trim(), "/home/ansible");
    let environment = container.sh(&format!("tr '\\0' '\\n' < /proc/{pid}/environ | sort"));
    let expected = "HOME=/home/ansible\nLOGNAME=ansible\nPATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n\
                    SHELL=/bin/bash\nUSER=ansible\n";
    assert_eq!(environment, expected);
    let descriptors = container.sh(&format!("readlink /proc/{pid}/fd/* | grep -v -e /dev/null -e code-server || true"));
    let pipes: Vec<_> = descriptors.lines().filter(|line| !line.starts_with("socket:")).collect();
    assert!(pipes.len() == 2 && pipes.iter().all(|line| line.starts_with("pipe:")), "only its output: {descriptors}");
}

#[test]
fn under_another_init_only_its_own_descendants_are_ended() {
    let stray = "if (!fork) { setpgrp; if (!fork) { exec '/usr/bin/sleep', '1000' } exit }";
    let launch = "set +e; sleep 2000 & ENTRYPOINT & wait $!; echo code $?; pgrep -l -x sleep; kill %1; exit 0";
    let container = Setup::web(&server(stray)).launch(launch).start().healthy();
    container.logged("not PID 1");
    container.sh("kill -TERM $(pgrep -x entrypoint)");
    container.logged("code 0");
    let mut container = container;
    container.wait();
    assert_eq!(container.log().matches(" sleep\n").count(), 1, "only the other's `sleep` is left: {}", container.log());
}

#[test]
fn health_tells_what_is_wrong() {
    // It listens, but answers nothing good.
    let program = server("").replace("200 OK", "503 Down");
    let container = Setup::web(&program).start();
    container.logged("web: ready on port 8080");
    let health = container.health();
    let text = String::from_utf8(health.stdout).unwrap();
    assert_eq!(health.status.code(), Some(1));
    assert!(text.contains("web: does not serve on port 8080: it answers `HTTP/1.1 503` to GET /healthz"), "{text}");
    drop(container);

    // It runs, but does not listen yet.
    let container = Setup::web("sleep 1000;").start();
    container.logged("started as process");
    let health = container.health();
    assert_eq!((health.status.code(), String::from_utf8(health.stdout).unwrap().contains("web: starting")), (Some(1), true));
    container.signal(Signal::SIGTERM);
}

#[test]
fn who_takes_the_port_of_a_service_is_not_taken_for_it() {
    // The service is slow; a job is not.
    let setup = Setup::web(&server("sleep 1 until -e '/home/ansible/go';"));
    let job = "use IO::Socket::INET;\n\
               my $listener = IO::Socket::INET->new(LocalAddr => '0.0.0.0:8080', Listen => 5) or die;\n\
               while (1) { my $client = $listener->accept or next; print $client qq(HTTP/1.1 200 OK\\r\\n\\r\\n); close $client }\n";
    std::fs::write(setup.folder().join("job.pl"), job).unwrap();
    let container = setup.start();
    container.logged("started as process");
    container.sh("setpriv --reuid=1001 --clear-groups perl /mnt/files/job.pl > /dev/null 2>&1 &");
    let listens = |container: &Container| container.sh("grep -E ':1F90 [0-9A-F:]+ 0A ' /proc/net/tcp || true").contains("1F90");
    container.until("the job's listener", |container| listens(container).then_some(()));
    // Before each answer it looks at what is starting.
    for _ in 0..3 {
        let text = String::from_utf8(container.health().stdout).unwrap();
        assert!(text.contains("web: starting"), "{text}");
    }
    container.sh("kill $(pgrep -f '^perl /mnt/files/job.pl')");
    container.until("a free port", |container| (!listens(container)).then_some(()));
    container.sh("touch /home/ansible/go");
    let (status, log) = container.healthy().stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn jobs_may_not_ask() {
    let container = Setup::web(&server("")).start().healthy();
    let ask = |uid: u32, arguments: &[&str]| {
        let mut command = container.command("setpriv");
        let user = format!("--reuid={uid}");
        let output = command.args([&user, "--clear-groups", container::ENTRYPOINT]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for uid in [0, 1000] {
        assert_eq!(ask(uid, &["health"]).0, Some(0), "{uid}");
    }
    for arguments in [&["status"][..], &["health"], &["stop", "web"], &["logs", "web"]] {
        let (code, text) = ask(1001, arguments);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(text.contains("not allowed"), "{arguments:?}: {text}");
    }
    assert!(container.health().status.success());
}

#[test]
fn a_second_entrypoint_is_refused() {
    let container = Setup::web(&server("")).start().healthy();
    let second = container.command(container::ENTRYPOINT).env("VSCODE_WEB", "1").output().unwrap();
    let text = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(71));
    assert!(text.contains("another entrypoint runs here already"), "{text}");
    assert!(container.health().status.success(), "the first one is not disturbed");
}

#[test]
fn an_ordinary_user_runs_the_web_server() {
    let launch = "cd /; exec setpriv --reuid=1000 --regid=1000 --clear-groups ENTRYPOINT";
    let container = Setup::web(&server("")).launch(launch).start();
    let ask = |container: &container::Container| {
        let mut command = container.command("setpriv");
        let output = command.args(["--reuid=1000", "--regid=1000", "--clear-groups", container::ENTRYPOINT, "health"]).output();
        output.unwrap().status.success().then_some(())
    };
    container.until("a healthy container", ask);
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn an_arbitrary_user_runs_the_web_server() {
    let launch = "cd /; exec setpriv --reuid=54321 --regid=0 --clear-groups ENTRYPOINT";
    let container =
        Setup::web(&server("")).set("HOME", "/home/any").before("install -d -o 54321 /home/any").launch(launch).start();
    container.logged("web: ready on port 8080");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn an_empty_volume_in_place_of_the_home_is_the_users() {
    let mount = "mount -t tmpfs -o mode=0755 tmpfs /home/ansible";
    let container = Setup::web(&server("")).before(mount).start().healthy();
    assert_eq!(container.sh("stat -c '%U %a' /home/ansible").trim(), "ansible 700");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    // What somebody has put there stays theirs.
    let (status, log) = Setup::web(&server("")).before(&format!("{mount}; touch /home/ansible/theirs")).run();
    assert_eq!(status.code(), Some(71), "{log}");
}

#[test]
fn root_without_its_rights_is_told_so() {
    let launch = "cd /; exec setpriv --bounding-set=-setuid,-setgid ENTRYPOINT";
    let (status, log) = Setup::web(&server("")).launch(launch).run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("root needs the right to act as `ansible`: EPERM") && log.contains("`--user 1000`"), "{log}");
    assert!(!log.contains("cannot be written to"), "{log}");
}

#[test]
fn folders_that_cannot_be_written_to_are_all_named() {
    let read_only = "mount -o remount,ro /home; mount -o remount,ro /tmp";
    let (status, log) = Setup::web(&server("")).before(read_only).run();
    assert_eq!(status.code(), Some(71), "{log}");
    for text in ["`/home/ansible` cannot be written to by `ansible`", "`/tmp` cannot be written to", "--tmpfs /tmp --tmpfs /run"]
    {
        assert!(log.contains(text), "{text}: {log}");
    }
    let (status, log) = Setup::web(&server("")).before("mount -o remount,ro /home").run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("a volume at `/home/ansible` that uid 1000 may write to") && !log.contains("read-only root"), "{log}");
    let (status, log) = Setup::web(&server("")).before("mount -o remount,ro /run").run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("`/run/gantry`") && log.contains("--tmpfs /run"), "{log}");
}

#[test]
fn whoever_follows_a_log_may_stop_reading() {
    let container = Setup::web(&server("syswrite STDOUT, qq(one\\n);")).start().healthy();
    // The service says nothing more.
    let line = container.sh(&format!("{} logs -f web | grep -m 1 one", container::ENTRYPOINT));
    assert_eq!(line, "one\n");
    container.until("end of the follower", |container| {
        let left = container.sh("pgrep -f '[l]ogs -f' || true");
        left.is_empty().then_some(())
    });
}
