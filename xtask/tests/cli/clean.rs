//! `clean` removes what Gantry left, and nothing else.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;

use crate::support::family::TinyFamily;
use crate::support::registry::run;
use crate::support::xtask::{does, ended, hold, ran, release, wait_for};

#[test]
fn clean_removes_stage_tags_and_keeps_the_variants() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    let before = family.tags();
    let promised = family.command(&["clean", "--dry-run", "--format", "json"]);
    let promised = ran(promised).ends(0).json();
    assert_eq!(family.tags(), before, "a dry run removes nothing");
    let tags = promised["tags"].as_array().expect("tags").len();
    assert_eq!(tags, 4, "base, azure, its finished image and what was pulled: {promised}");
    ran(family.command(&["clean"])).ends(0);
    assert_eq!(family.tags(), [format!("{}:azure", family.name)]);
    ran(family.command(&["clean", "--images", "--cache"])).ends(0);
    assert!(family.tags().is_empty());
    let pulled = run("docker", &["images", "--digests", "-q", &family.base().replace(":1", "")]);
    assert_eq!(pulled, "", "what was pulled is not held by its digest");
    assert!(!family.places().join("cache").exists());
}

#[test]
fn a_cache_that_holds_a_persons_files_is_neither_used_nor_removed() {
    let family = TinyFamily::new();
    let cache = family.places().join("cache");
    std::fs::create_dir(&cache).expect("a folder");
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o755)).expect("open");
    std::fs::write(cache.join("thesis"), "").expect("a file");
    let (build, clean) = (family.planning(&["build", "--variant", "azure"]), family.command(&["clean", "--cache"]));
    for command in [build, clean] {
        ran(command).ends(2).says(&["is no cache of Gantry's", "`thesis`", "hint:", "GANTRY_CACHE_DIR"]);
    }
    let mode = std::fs::metadata(&cache).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode, std::fs::read_dir(&cache).expect("a folder").count()), (0o755, 1));

    // What a person puts into a cache later stays, too.
    std::fs::remove_file(cache.join("thesis")).expect("removed");
    family.build(&["--variant", "azure"]).ends(0);
    std::fs::write(cache.join("thesis"), "").expect("a file");
    ran(family.command(&["clean", "--cache"])).ends(0);
    let left: Vec<_> = std::fs::read_dir(&cache).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["thesis"]);
}

#[test]
fn clean_keeps_another_familys_images() {
    let (one, other) = (TinyFamily::new(), TinyFamily::new());
    one.build(&["--variant", "azure"]).ends(0);
    other.build(&["--variant", "azure"]).ends(0);
    let before = one.tags();
    ran(other.command(&["clean", "--images"])).ends(0);
    assert_eq!(one.tags(), before);
    // What it was built on is still there, too: it is not pulled again.
    one.registry.kill();
    one.azure_also("ENV CHANGED=1");
    one.build(&["--variant", "azure"]).ends(0);
}

/// A container that somebody started by hand; it goes when this is dropped.
struct Container(String);

impl Container {
    fn of(family: &TinyFamily) -> Self {
        let name = format!("{}-of-somebody", family.name);
        let image = format!("{}:azure", family.name);
        run("docker", &["run", "-d", "--name", &name, "--network=none", "--entrypoint", "/bin/sleep", &image, "600"]);
        Self(name)
    }

    fn runs(&self) -> bool {
        !run("docker", &["ps", "-q", "--filter", &format!("name=^{}$", self.0)]).is_empty()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rm", "-f", &self.0]).output();
    }
}

#[test]
fn a_container_that_somebody_started_from_a_variant_is_not_gantrys_to_remove() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    let container = Container::of(&family);
    ran(family.command(&["clean"])).ends(0);
    assert!(container.runs());
    // Its image is in use: said, and everything else goes.
    ran(family.command(&["clean", "--images"])).ends(0);
    assert!(container.runs());
    assert!(family.stage_tags().is_empty(), "{:?}", family.tags());
}

#[test]
fn clean_waits_for_a_build_of_the_family() {
    let family = TinyFamily::new();
    family.azure_also("RUN sleep 3");
    let mut build = family.planning(&["build", "--format", "json", "--variant", "azure"]).spawn().expect("started");
    let rest = wait_for(&mut build, does("RUN sleep 3"));
    hold(&build);
    let mut clean = family.command(&["clean"]).spawn().expect("started");
    let mut stderr = BufReader::new(clean.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("waiting for a build") {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("text") > 0, "it ended");
    }
    release(&build);
    let drained = std::thread::spawn(move || rest.lines().map_while(Result::ok).count());
    std::io::copy(&mut stderr, &mut std::io::sink()).expect("read");
    ended(clean).ends(0);
    assert_eq!(ended(build).code, Some(0));
    drained.join().expect("read");
    assert_eq!(family.tags(), [format!("{}:azure", family.name)], "what that build made is cleaned as well");
}
