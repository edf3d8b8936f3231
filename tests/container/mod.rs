//! A container without an engine: the built entrypoint as PID 1 of namespaces of its own, among a few files of
//! its own (users, homes, /run, /opt, /etc/ssh), with real programs as services. Needs root and util-linux.
#![allow(dead_code, reason = "each test file uses its part")]

mod network;

pub(crate) use network::Network;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The entrypoint as a container sees it: on a file system of its own, wherever the workspace lies.
pub(crate) const ENTRYPOINT: &str = "/mnt/entrypoint";
/// A container's files, as it sees them.
const FILES: &str = "/mnt/files";
/// Longer than anything here takes, even on a busy machine: reached only by what hangs.
const FOR_EVER: Duration = Duration::from_secs(120);

/// How a container is set up.
pub(crate) struct Setup {
    variables: BTreeMap<String, String>,
    code_server: Option<String>,
    script: String,
    held: Vec<PathBuf>,
    launch: String,
    folder: PathBuf,
    network: Network,
}

impl Setup {
    pub(crate) fn new() -> Self {
        for tool in ["unshare", "nsenter", "setpriv"] {
            let found = Command::new(tool).arg("--version").stdout(Stdio::null()).status();
            assert!(found.is_ok_and(|status| status.success()), "`{tool}` is missing: apt-get install util-linux");
        }
        assert!(nix::unistd::Uid::effective().is_root(), "these tests make namespaces: run them as root");
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("entrypoint-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fresh(&folder);
        let path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned();
        Self {
            variables: BTreeMap::from([("PATH".to_owned(), path)]),
            code_server: None,
            script: String::new(),
            held: Vec::new(),
            launch: format!("exec {ENTRYPOINT}"),
            folder,
            network: Network::new(),
        }
    }

    /// Where the container will live; doubles that it talks to listen there.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// With a web server: `program` (a script for Perl, which is in every Debian) is the code-server.
    pub(crate) fn web(program: &str) -> Self {
        let mut setup = Self::new().set("VSCODE_WEB", "1");
        setup.code_server = Some(format!("#!/usr/bin/perl\nuse strict; use warnings;\n{program}\n"));
        setup
    }

    /// The folder on the host where its files will be.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A folder of this machine as the workspace's home. (It may lie where a container has folders of its own: below `/tmp`.)
    #[allow(dead_code)]
    pub(crate) fn home(mut self, folder: &Path) -> Self {
        let held = format!("/mnt/held-{}", self.held.len());
        self.held.push(folder.to_owned());
        self.before(&format!("mount --bind {held} /home/ansible; umount {held}; rmdir {held}"))
    }

    /// More to do before the start, in shell.
    pub(crate) fn before(mut self, script: &str) -> Self {
        self.script.push_str(script);
        self.script.push('\n');
        self
    }

    /// Another way to start the entrypoint, in shell; `ENTRYPOINT` stands for its path.
    pub(crate) fn launch(mut self, script: &str) -> Self {
        self.launch = script.replace("ENTRYPOINT", ENTRYPOINT);
        self
    }

    pub(crate) fn start(self) -> Container {
        let file = |name: &str, content: &str| {
            let path = self.folder.join(name);
            fs::write(&path, content).unwrap();
            format!("{FILES}/{name}")
        };
        let passwd = file(
            "passwd",
            "root:x:0:0::/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n\
             ansible:x:1000:1000::/home/ansible:/bin/bash\nrunner:x:1001:1001::/home/runner:/bin/bash\n",
        );
        let group = file("group", "root:x:0:\nansible:x:1000:\nrunner:x:1001:\nextra:x:1234:ansible\n");
        let shadow = file("shadow", "root:*:1::::::\nsshd:*:1::::::\nansible:*:1::::::\nrunner:*:1::::::\n");
        let (built, files) = (env!("CARGO_BIN_EXE_entrypoint"), self.folder.display());
        let held = self.held.iter().enumerate();
        let held =
            held.map(|(number, from)| format!("mkdir /mnt/held-{number}; mount --bind {} /mnt/held-{number}\n", from.display()));
        let held: String = held.collect();
        let mut script = format!(
            "set -e\n\
             mount -t tmpfs -o mode=755 tmpfs /mnt\n{held}\
             install -m 711 {built} {ENTRYPOINT}\nmkdir {FILES}\nmount --bind {files} {FILES}\n\
             for folder in /run /opt /home /tmp /var/tmp /etc/ssh; do mount -t tmpfs -o mode=755 tmpfs $folder; done\n\
             chmod 1777 /tmp /var/tmp\n\
             mount --bind {passwd} /etc/passwd\nmount --bind {group} /etc/group\nmount --bind {shadow} /etc/shadow\n\
             install -d -m 755 -o 1000 -g 1000 /home/ansible\n"
        );
        if let Some(program) = &self.code_server {
            let program = file("code-server", program);
            script += &format!("install -D -m 755 {program} /opt/code-server/bin/code-server\n");
        }
        script += &self.script;
        // Last, as what a script mounts may lie there. What others on this machine have there is none of a container's.
        script += "mount -t tmpfs -o mode=1777 tmpfs /dev/shm\n";
        script += &self.launch;
        let log = self.folder.join("log");
        let output = File::create(&log).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--ipc", "sh", "-c", &script])
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        // As in a container of an engine, whatever started the tests: glibc's `posix_spawn` leaves the two signals ignored
        // that it keeps for itself, and refuses to change them.
        let default = |signal: i32| {
            let action = [0_u64; 4];
            // SAFETY: the kernel reads four words: the default action, no flags, no signals blocked.
            unsafe { nix::libc::syscall(nix::libc::SYS_rt_sigaction, signal, &action, 0, 8) };
        };
        // SAFETY: system calls only.
        unsafe {
            command.pre_exec(move || {
                [32, 33].into_iter().for_each(default);
                Ok(())
            })
        };
        let child = self.network.within(move || command.spawn().unwrap());
        Container { child, log, folder: self.folder, network: self.network }
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(self) -> (ExitStatus, String) {
        let mut container = self.start();
        let status = container.wait();
        (status, container.log())
    }
}

/// Makes an empty folder. A run that was killed may have left one, and process ids come again.
pub(crate) fn fresh(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", folder.display()),
        _ => fs::create_dir_all(folder).unwrap(),
    }
}

/// A running container; killed when dropped.
pub(crate) struct Container {
    child: Child,
    log: PathBuf,
    folder: PathBuf,
    network: Network,
}

impl Container {
    /// Where it lives.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The folder where its files are, as it sees it.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(FILES)
    }

    /// The same folder, as the host sees it.
    pub(crate) fn host_folder(&self) -> &Path {
        &self.folder
    }

    /// PID 1, as the host sees it.
    pub(crate) fn init(&self) -> i32 {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        self.until("PID 1", |_| fs::read_to_string(&path).ok()?.split_whitespace().next()?.parse().ok())
    }

    /// A command among its processes, files and ports.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.init().to_string();
        command.args(["--target", &target, "--pid", "--mount", "--net", "--wd=/", "--", program]).stdin(Stdio::null());
        command
    }

    /// Runs `script` in it and returns what it prints.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.command("sh").args(["-c", script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {text}\n{}", self.log());
        text
    }

    /// `entrypoint health`
    pub(crate) fn health(&self) -> Output {
        self.command(ENTRYPOINT).arg("health").output().unwrap()
    }

    /// Waits until it says that it is healthy.
    pub(crate) fn healthy(self) -> Self {
        self.until("a healthy container", |container| container.health().status.success().then_some(()));
        self
    }

    /// Waits until its log holds `text`.
    pub(crate) fn logged(&self, text: &str) {
        self.until(text, |container| container.log().contains(text).then_some(()));
    }

    /// Waits until `found` finds something.
    pub(crate) fn until<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(begin.elapsed() < FOR_EVER, "no {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the entrypoint.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.init()), signal).unwrap();
    }

    /// Waits for its end. Dies of SIGnal n when PID 1 does, as `unshare` passes that on.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < FOR_EVER, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its end, which somebody has asked for.
    pub(crate) fn stop_only(mut self) -> (ExitStatus, String) {
        let status = self.wait();
        (status, self.log())
    }

    /// SIGTERM, then its end.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let status = self.wait();
        (status, self.log())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With PID 1 everything inside goes along. (`--kill-child` would not see to it: the kernel forgets what to do
        // at a parent's death when a process changes its user, as the entrypoint does for a moment.)
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let init = fs::read_to_string(path).ok().and_then(|children| children.split_whitespace().next()?.parse().ok());
        if let Some(init) = init {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), nix::sys::signal::Signal::SIGKILL);
        } else {
            let _ = self.child.kill();
        }
        // `unshare` ends after PID 1, and that after everything else inside: whoever comes next finds nobody at work.
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A web server, in Perl: answers 200 to everything; `STARTED` is where more code goes.
pub(crate) fn server(started: &str) -> String {
    format!(
        r#"
use IO::Socket::INET;
my %o; while (@ARGV) {{ my $k = shift; $o{{$k}} = shift if $k =~ /^--(host|port|config|auth)$/; }}
{started}
my $listener = IO::Socket::INET->new(LocalAddr => $o{{'--host'}}, LocalPort => $o{{'--port'}}, Listen => 5, ReuseAddr => 1) or die "listen: $!";
while (1) {{
    my $client = $listener->accept or next;
    my $line = <$client>;
    print $client "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    close $client;
}}
"#
    )
}
