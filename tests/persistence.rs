//! What outlives a container: one after the other, on the same volume.

mod container;

use container::{Container, Setup, server};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Folders of the host that several containers find, on two file systems: the volume is a tmpfs.
struct Ground {
    volume: PathBuf,
    home: PathBuf,
}

impl Ground {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("entrypoint-persistence-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let ground = Self { volume: Path::new("/dev/shm").join(&name), home: Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name) };
        container::fresh(&ground.volume);
        container::fresh(&ground.home);
        chown(&ground.home, Some(1000), Some(1000)).unwrap();
        ground
    }

    /// A workspace with the volume at /persist.
    fn setup(&self, setup: Setup) -> Setup {
        let script = format!("mkdir /mnt/persist; mount --bind {} /mnt/persist", self.volume.display());
        setup.set("PERSIST_DIR", "/mnt/persist").before(&script)
    }

    fn web(&self) -> Setup {
        self.setup(Setup::web(&server("")))
    }

    /// The same with a home that the next container finds as this one leaves it.
    fn with_home(&self) -> Setup {
        self.web().home(&self.home)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.volume);
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Runs a script as the workspace's user.
fn user(container: &Container, script: &str) -> String {
    container.sh(&format!("cd /home/ansible; setpriv --reuid=1000 --regid=1000 --clear-groups sh -c '{script}'"))
}

#[test]
fn what_one_container_leaves_the_next_one_finds() {
    let ground = Ground::new();
    let container = ground.web().start().healthy();
    // A new volume is root's: it is given to the user, who alone sees what is in it.
    assert_eq!(container.sh("stat -c '%U %a' /mnt/persist /mnt/persist/.ssh /home/ansible/.claude/."), "ansible 700\n".repeat(3));
    user(&container, "echo key > .ssh/id; echo {} > .claude.json; echo ls >> .bash_history; mkdir -p .vscode/extensions/x");
    assert_eq!(user(&container, "readlink .ssh .bash_history"), "/mnt/persist/.ssh\n/mnt/persist/.bash_history\n");
    // Where code-server keeps its settings.
    assert_eq!(
        user(&container, "readlink -f .local/share/code-server/extensions"),
        "/mnt/persist/.local/share/code-server/extensions\n"
    );
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("7 of 7 paths of the home are kept in `/mnt/persist`"), "{log}");

    let container = ground.web().start().healthy();
    assert_eq!(user(&container, "cat .ssh/id .claude.json .bash_history; ls .vscode/extensions"), "key\n{}\nls\nx\n");
    assert!(!container.log().contains("warning: persistence") && !container.log().contains("moved"), "{}", container.log());
}

#[test]
fn what_is_there_is_moved_and_nothing_is_lost() {
    let ground = Ground::new();
    fs::create_dir_all(ground.volume.join(".claude")).unwrap();
    fs::write(ground.volume.join(".claude/settings"), "volume").unwrap();
    chown(&ground.volume, Some(1000), Some(1000)).unwrap();
    let before = "cd /home/ansible; mkdir -p .ssh .claude; umask 077; echo key > .ssh/id; echo image > .claude/settings\n\
                  chmod 500 .ssh; chown -R 1000:1000 .";
    let container = ground.web().before(before).start().healthy();
    assert_eq!(user(&container, "cat .ssh/id; stat -c %a .ssh/. .ssh/id; cat .claude/settings"), "key\n500\n600\nvolume");
    assert_eq!(user(&container, "cat /mnt/persist/.claude.from-container-1/settings"), "image\n");
    assert_eq!(container.sh("ls -A /home/ansible /mnt/persist | grep -E 'gantry-(moved|link|partial)' || true"), "");
    let log = container.log();
    assert!(log.contains("what was in `~/.ssh` has been moved to `/mnt/persist/.ssh`"), "{log}");
    assert!(log.contains("both had content") && log.contains("`/mnt/persist/.claude.from-container-1`"), "{log}");
}

/// How many files are moved by the tests that interrupt it.
const FILES: usize = 3000;

/// A home with many files in `.vscode-server`.
fn fill(home: &Path) {
    for file in 0..FILES {
        let folder = home.join(format!(".vscode-server/{}", file % 50));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file.to_string()), file.to_string()).unwrap();
    }
    assert!(Command::new("chown").args(["-R", "1000:1000"]).arg(home).status().unwrap().success());
}

/// Waits until the home's `.vscode-server` is on its way, or has arrived: that may take less than from one look to the next.
fn moves(container: &Container, ground: &Ground) {
    let places = [".vscode-server.gantry-partial", ".vscode-server"].map(|name| ground.volume.join(name));
    container.until("a begin", |_| places.iter().any(|place| place.exists()).then_some(()));
}

fn count(path: &Path) -> usize {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

#[test]
fn killed_at_any_point_the_next_start_ends_right() {
    for pause in [0, 5, 20, 40, 80, 150] {
        let ground = Ground::new();
        fill(&ground.home);
        let container = ground.with_home().start();
        moves(&container, &ground);
        std::thread::sleep(Duration::from_millis(pause));
        // SIGKILL, and the end of it: a home is never that of two containers.
        drop(container);
        let container = ground.with_home().start().healthy();
        let volume = ground.volume.join(".vscode-server");
        assert_eq!(count(&volume), FILES, "{pause}: {}", container.log());
        assert_eq!(fs::read_link(ground.home.join(".vscode-server")).unwrap(), Path::new("/mnt/persist/.vscode-server"));
        assert_eq!(fs::read_to_string(volume.join("49/2999")).unwrap(), "2999");
        let left =
            container.sh("ls -A /home/ansible /mnt/persist | grep -E 'gantry-(moved|link|partial)|from-container' || true");
        assert_eq!(left, "", "{pause}");
    }
}

#[test]
fn a_stop_does_not_wait_for_it() {
    let ground = Ground::new();
    fill(&ground.home);
    let mut container = ground.with_home().start();
    moves(&container, &ground);
    container.signal(Signal::SIGTERM);
    assert_eq!(container.wait().code(), Some(0), "{}", container.log());
    drop(container);
    let container = ground.with_home().start().healthy();
    assert_eq!(count(&ground.volume.join(".vscode-server")), FILES, "{}", container.log());
}

#[test]
fn a_folder_in_the_home_serves_too() {
    // As the Coder template has it: a volume at ~/source, which is several people's, a folder in it for each.
    let ground = Ground::new();
    chown(&ground.volume, Some(1000), Some(1000)).unwrap();
    let mount = format!("mkdir /home/ansible/source; mount --bind {} /home/ansible/source", ground.volume.display());
    let setup = || Setup::web(&server("")).set("PERSIST_DIR", "/home/ansible/source/alice/").before(&mount);
    let container = setup().start().healthy();
    user(&container, "echo a > .ssh/id; test ! -e source/.ssh");
    drop(container);
    assert_eq!(user(&setup().start().healthy(), "cat .ssh/id source/alice/.ssh/id"), "a\na\n");
}

#[test]
fn a_volume_that_cannot_be_used_is_said_and_the_workspace_starts() {
    let table = [
        ("/mnt/persist", "touch /mnt/persist/x", "`/mnt/persist` cannot be written to by `ansible`: it belongs to root:root"),
        ("/mnt/persist", "mount -o remount,ro,bind /mnt/persist", "`/mnt/persist` cannot be written to by `ansible`"),
        ("/home/ansible", "", "holds the home `/home/ansible` itself"),
        ("/home/ansible/.ssh/x", "", "lies in `~/.ssh`"),
    ];
    for (volume, before, expected) in table {
        let ground = Ground::new();
        let container = ground.web().before(before).set("PERSIST_DIR", volume).start().healthy();
        let log = container.log();
        assert!(log.contains(expected) && log.contains("NOTHING OF THE HOME IS KEPT"), "{log}");
        let status = container.sh("/mnt/entrypoint status");
        assert!(status.contains("note: PERSIST_DIR: not everything of the home is kept"), "{status}");
        let (status, log) = container.stop();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn a_strict_start_is_refused_then() {
    let ground = Ground::new();
    let (status, log) = ground.web().before("touch /mnt/persist/x").set("STRICT", "1").run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("not everything of the home is kept"), "{log}");
}

#[test]
fn a_folder_on_a_new_volume_is_made_for_the_user() {
    let ground = Ground::new();
    // The second time as a start left it that was killed before it had given it away.
    for before in ["", "mkdir -m 700 /mnt/persist/deep /mnt/persist/deep/er; chmod 755 /mnt/persist/deep"] {
        let container = ground.web().before(before).set("PERSIST_DIR", "/mnt/persist/deep/er").start().healthy();
        user(&container, "echo a > .ssh/id");
        assert_eq!(
            container.sh("stat -c '%U %a' /mnt/persist /mnt/persist/deep /mnt/persist/deep/er"),
            "root 755\nroot 755\nansible 700\n"
        );
        drop(container);
        fs::remove_dir_all(ground.volume.join("deep")).unwrap();
    }
}

#[test]
fn links_that_the_user_planted_lead_nowhere() {
    let ground = Ground::new();
    // The way to the volume leads through the home, where the user can make it lead anywhere.
    let before = "mkdir /opt/roots; ln -s /opt/roots /home/ansible/way; chown -h 1000:1000 /home/ansible/way";
    let container = ground.web().before(before).set("PERSIST_DIR", "/home/ansible/way").start().healthy();
    assert_eq!(container.sh("ls -A /opt/roots; stat -c %U /opt/roots"), "root\n");
    assert!(container.log().contains("NOTHING OF THE HOME IS KEPT"), "{}", container.log());
}

#[test]
fn by_hand_for_root_and_for_the_user() {
    let ground = Ground::new();
    let container = Setup::web(&server("")).start().healthy();
    container.sh(
        "mkdir /opt/volume; chown 1000:1000 /opt/volume; cd /home/ansible; mkdir .ssh; echo a > .ssh/id; chown -R 1000:1000 .",
    );
    let said = user(&container, "HOME=/home/ansible /mnt/entrypoint persist /opt/volume");
    assert!(said.contains("7 of 7"), "{said}");
    assert_eq!(user(&container, "cat /opt/volume/.ssh/id; readlink .ssh"), "a\n/opt/volume/.ssh\n");
    let said = container.sh("PERSIST_DIR=/opt/volume /mnt/entrypoint persist");
    assert!(said.contains("7 of 7"), "{said}");
    // Another volume does not take away what lies on the first one.
    let mut other = container.command("/mnt/entrypoint");
    let said = other.args(["persist", "/opt/other"]).output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(71), "{text}");
    assert!(text.contains("`~/.ssh` is left as it is: it is a link to `/opt/volume/.ssh`"), "{text}");
    let said = container.command("/mnt/entrypoint").arg("persist").output().unwrap();
    assert_eq!(said.status.code(), Some(64), "{}", String::from_utf8_lossy(&said.stderr));
    drop(ground);
}

#[test]
fn host_keys_are_the_same_in_the_next_container() {
    let made = |folder: &Path| {
        let key = folder.join("mine");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        fs::read_to_string(key.with_extension("pub")).unwrap()
    };
    let ground = Ground::new();
    let start = || {
        let setup = Setup::new();
        let key = made(setup.folder());
        ground.setup(setup.set("AUTHORIZED_KEYS", &key)).start().healthy()
    };
    let keys = |container: &Container| container.sh("ssh-keyscan -t ed25519,ecdsa 127.0.0.1 2>/dev/null | sort");
    let login = |container: &Container| {
        container.sh(&format!(
            "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
             -i {}/mine ansible@127.0.0.1 whoami",
            container.folder().display()
        ))
    };
    let first = start();
    let known = keys(&first);
    assert_eq!(known.lines().count(), 2, "{}", first.log());
    assert_eq!(login(&first), "ansible\n");
    assert_eq!(first.sh("stat -c '%U %a' /mnt/persist/.host-keys /mnt/persist/.host-keys/*"), "root 700\nroot 600\nroot 600\n");
    drop(first);
    let second = start();
    assert_eq!(keys(&second), known, "{}", second.log());
    assert_eq!(login(&second), "ansible\n");
    drop(second);

    // Where root is nobody, or everybody one user, as on network file systems: the user's, and said.
    assert!(Command::new("chown").args(["-R", "1000:1000"]).arg(ground.volume.join(".host-keys")).status().unwrap().success());
    let third = start();
    assert_eq!(keys(&third), known, "{}", third.log());
    assert!(third.log().contains("`ansible` can read the host keys"), "{}", third.log());
    drop(third);

    // The user, whose folder it lies in, replaces it.
    let keep = ground.volume.join(".kept");
    fs::rename(ground.volume.join(".host-keys"), &keep).unwrap();
    std::os::unix::fs::symlink("/etc", ground.volume.join(".host-keys")).unwrap();
    let fourth = start();
    assert!(fourth.log().contains("the host keys are not kept"), "{}", fourth.log());
    assert_eq!(login(&fourth), "ansible\n");
}
