//! What the machine under us makes, for real.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::sync::Arc;

use xtask::contents;
use xtask::event::{Event, Events, Recorder};
use xtask::host::{bootstrap, entrypoint};
use xtask::oci::{Digest, Platform};

const PLATFORM: Platform = if cfg!(target_arch = "aarch64") { Platform::LinuxArm64 } else { Platform::LinuxAmd64 };

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Compiled for this machine's platform, without a path of this machine in it.
#[tokio::test]
async fn the_entrypoint_is_static_and_the_same_for_everybody() {
    let events: Events = Arc::new(Recorder::default());
    let toolchain = entrypoint::Toolchain::find(root(), PLATFORM).await.expect("a compiler");
    let target = root().join("target");
    let built = entrypoint::build(root(), &toolchain, &target, "entrypoint", &events).await.expect("it compiles");
    let bytes = std::fs::read(&built).expect("it is there");
    assert_eq!(entrypoint::given(&built, PLATFORM).expect("static"), Digest::of(&bytes));
    let path = root().display().to_string();
    assert!(!bytes.windows(path.len()).any(|window| window == path.as_bytes()), "it names {path}");

    let other = Platform::ALL.into_iter().find(|other| *other != PLATFORM).expect("another one");
    let refused = entrypoint::given(&built, other).expect_err("another machine");
    assert!(refused.to_string().contains("it is compiled for"), "{refused}");
    let ours = std::env::current_exe().expect("a path");
    let refused = entrypoint::given(&ours, PLATFORM).expect_err("dynamic");
    assert!(refused.to_string().ends_with("it is linked dynamically"), "{refused}");

    // The digest must cover every file of ours that the compiler read.
    let read = std::fs::read_to_string(built.with_extension("d")).expect("cargo writes it");
    let (_, read) = read.split_once(": ").expect("what depends on what");
    let source = root().join("src");
    for file in read.split_whitespace().map(Path::new).filter(|file| file.starts_with(root())) {
        // The list of crates is made from what Cargo.lock says, which counts.
        let counts = file.starts_with(&source) || file == root().join("build.rs") || file.starts_with(target.join("entrypoint"));
        assert!(counts, "{}", file.display());
    }
    let crates = crates(&bytes);
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("it is there");
    for (name, version) in &crates {
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "{name} {version}");
    }
    let names: Vec<&str> = crates.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["base64", "entrypoint", "libc", "nix", "serde_json"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(!names.contains(&"proptest") && !names.contains(&"indexmap"), "{names:?}");

    let digest = entrypoint::sources_digest(root(), &toolchain).expect("a digest");
    assert_eq!(digest, entrypoint::sources_digest(root(), &toolchain).expect("a digest"));
}

/// The crates that a binary tells of, as they are found in an image.
fn crates(binary: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(binary.len() as u64);
    archive.append_data(&mut header, "entrypoint", binary).expect("written");
    let tar = archive.into_inner().expect("finished");
    let layer = contents::read_layer(tar.as_slice(), Digest::of(&tar)).expect("read");
    let told = layer.evidence.into_iter().filter_map(|evidence| match evidence.says {
        contents::Says::Packages(packages) => Some(packages),
        _ => None,
    });
    told.flatten().map(|package| (package.name, package.version)).collect()
}

/// Two makings give the same bytes; a third one gives the file of the first.
#[tokio::test]
async fn a_debian_of_packages_is_the_same_every_time() {
    const EPOCH: u64 = 1_763_596_800;
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let recorder = Arc::new(Recorder::default());
    let events: Events = recorder.clone();
    let packages = ["netbase".to_owned(), "ca-certificates".to_owned()];
    let make = async |folder: &Path| {
        bootstrap::root_filesystem("trixie", &packages, PLATFORM, folder, EPOCH, "base", &events).await.expect("made")
    };
    let one = make(folders[0].path()).await;
    let two = make(folders[1].path()).await;
    let bytes = std::fs::read(&one).expect("it is there");
    assert!(bytes == std::fs::read(&two).expect("it is there"), "the bytes differ");
    let seen = recorder.events();
    let is_progress = |event: &Event| matches!(event, Event::StepProgress { current, .. } if current.contains("apt"));
    assert!(seen.iter().any(is_progress));
    assert_eq!(make(folders[0].path()).await, one);
    assert_eq!(recorder.events().len(), seen.len(), "nothing was done");
    let left: Vec<_> = folders[0].path().read_dir().expect("listed").flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".partial")), "{left:?}");

    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut files = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let kind = entry.header().entry_type();
        assert!(!kind.is_character_special() && !kind.is_block_special(), "{path}");
        assert!(entry.header().mtime().expect("a time") <= EPOCH, "{path}");
        if kind.is_file() && entry.size() > 0 {
            files.push(path.trim_start_matches("./").to_owned());
        }
    }
    for unwanted in ["etc/hostname", "etc/resolv.conf", "etc/machine-id", "var/lib/dbus/machine-id", "var/lib/dpkg/status-old"] {
        assert!(!files.iter().any(|file| file == unwanted), "{unwanted}");
    }
    for unwanted in ["var/log/", "var/lib/apt/lists/", "var/cache/apt/", "tmp/", "run/", "root/.cache"] {
        assert!(!files.iter().any(|file| file.starts_with(unwanted)), "{unwanted}");
    }
    assert!(files.iter().any(|file| file == "usr/bin/apt-get") && files.iter().any(|file| file == "etc/protocols"));
}

/// The test starts itself: signals are for whole processes.
#[tokio::test]
async fn the_first_signal_asks_and_the_second_ends() {
    use std::io::BufRead as _;
    use std::process::{Command, Stdio};
    use xtask::host::interrupt::Interrupt;

    const INSIDE: &str = "GANTRY_TEST_INTERRUPT";
    if std::env::var_os(INSIDE).is_some() {
        let interrupt = Interrupt::listen().expect("it listens");
        println!("\nready");
        assert_eq!(interrupt.or(std::future::pending::<()>()).await, None);
        assert!(interrupt.token().is_cancelled());
        println!("\nasked");
        std::future::pending::<()>().await;
    }
    for second in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--exact", "the_first_signal_asks_and_the_second_ends", "--nocapture"]).env(INSIDE, "1");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
        let pid = rustix::process::Pid::from_child(&child);
        let mut lines = std::io::BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut wait_for = |wanted: &str| assert!(lines.any(|line| line.is_ok_and(|line| line == wanted)), "{wanted}");
        wait_for("ready");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("sent");
        wait_for("asked");
        rustix::process::kill_process(pid, second).expect("sent");
        assert_eq!(child.wait().expect("waited").code(), Some(130));
    }
}
