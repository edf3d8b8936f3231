//! What fails while a build runs: one clear message, the right exit code, nothing half-done.

use std::fs;
use std::io::{BufRead as _, Read as _};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::family::TinyFamily;
use crate::support::registry::run;
use crate::support::xtask::{Ran, does, ended, hold, ran, release, wait_for};

#[test]
fn a_failing_instruction_is_told_with_its_last_lines_and_a_log_that_holds_all() {
    let family = TinyFamily::new();
    family.azure_also("RUN for n in $(seq 1 300); do echo line $n; done; echo it broke; sh -c 'exit 7'");
    let failed = family.run(&["build", "--variant", "azure"]).ends(4);
    let failed = failed.says(&["`azure`", "RUN for n in", "exit code 7", "line 300\nit broke\n", "the whole log: "]);
    assert!(!failed.stderr.contains("line 1\n"), "the last lines only");
    assert_eq!(failed.stdout, "");
    let (_, path) = failed.stderr.split_once("the whole log: ").expect("a path");
    let log = fs::read_to_string(path.lines().next().expect("a path")).expect("the log is there");
    for n in 1..=300 {
        assert!(log.contains(&format!("] line {n}\n")), "line {n} in\n{log}");
    }
    assert!(!family.tags().iter().any(|tag| tag.contains("azure")), "{:?}", family.tags());
}

#[test]
fn a_failed_image_stops_only_what_depends_on_it() {
    let family = TinyFamily::new();
    family.replace("images/aws/Dockerfile", "RUN echo aws of", "RUN false && echo aws of");
    let failed = family.build(&["--all"]).ends(4);
    assert_eq!(failed.steps_that_are("failed"), ["aws"]);
    assert_eq!(failed.steps_that_are("skipped"), ["aws finished", "aws-web", "aws-web finished"]);
    assert_eq!(family.container("azure", &["/bin/cat", "/azure"]), "azure");
    let failure = failed.events().pop().expect("a failure");
    assert_eq!(failure["exit"], 4);
    let message = failure["message"].as_str().expect("a message");
    assert!(message.starts_with("`aws`: ") && message.contains("aws-web finished"), "{message}");
    assert!(!family.tags().contains(&format!("{}:aws", family.name)));

    // What was built is kept: mended, only the rest is done (and what said that it is of a changed tree is finished anew).
    family.replace("images/aws/Dockerfile", "RUN false && echo aws of", "RUN echo aws of");
    let mended = family.build(&["--all"]).ends(0);
    assert_eq!(
        mended.steps_that_are("done"),
        ["aws", "aws finished", "aws-web", "aws-web finished", "azure finished", "entrypoint"]
    );
    assert_eq!(mended.steps_that_are("up-to-date"), ["azure", "base"]);
}

#[test]
fn a_dockerfile_with_a_syntax_error_is_a_failed_build() {
    let family = TinyFamily::new();
    family.azure_also("RUNN true");
    family.run(&["build", "--variant", "azure"]).ends(4).says(&["`azure`", "RUNN"]);
}

#[test]
fn a_second_build_of_a_family_waits_or_fails_as_it_is_told() {
    let family = TinyFamily::new();
    family.azure_also("RUN sleep 3");
    let mut first = family.planning(&["build", "--format", "json", "--variant", "azure"]).spawn().expect("started");
    let rest = wait_for(&mut first, does("RUN sleep 3"));
    hold(&first);

    let refused = family.run(&["build", "--variant", "azure", "--no-wait"]).ends(3);
    refused.says(&[&format!("process {}", first.id()), &family.name]);
    let mut second = family.planning(&["build", "--format", "json", "--variant", "azure"]).spawn().expect("started");
    let waits = |event: &Value| event["text"].as_str().is_some_and(|text| text.contains("waiting for another build"));
    let mut stderr = wait_for(&mut second, waits);
    release(&first);
    let drained = std::thread::spawn(move || rest.lines().map_while(Result::ok).count());
    let mut said = String::new();
    stderr.read_to_string(&mut said).expect("text");
    let second = Ran { stderr: said, ..ended(second) }.ends(0);
    assert_eq!(second.steps_that_are("up-to-date"), ["azure finished"], "the first one made it");
    assert_eq!(ended(first).code, Some(0));
    drained.join().expect("read");
}

#[test]
fn a_full_disk_under_the_cache_is_told_as_one() {
    let vendors = crate::support::vendors::Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    let cache = family.places().join("cache");
    fs::create_dir_all(&cache).expect("a folder");
    let xtask = family.planning(&["build", "--variant", "azure"]);
    // A file system of two pages that ends with the process.
    let mut build = Command::new("unshare");
    build.args(["--mount", "sh", "-c", "mount -t tmpfs -o size=16k,mode=700 none \"$GANTRY_CACHE_DIR\" && exec \"$0\" \"$@\""]);
    build.arg(xtask.get_program()).args(xtask.get_args()).current_dir(family.root());
    build.env_clear().envs(xtask.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ran(build).ends(3).says(&["no space left", &cache.display().to_string(), "clean --cache"]);
    // With room, the next run is as if nothing had been.
    family.build(&["--variant", "azure"]).ends(0);
}

#[test]
fn a_parent_that_somebody_removes_while_its_child_waits_is_told() {
    let family = TinyFamily::new();
    // With one job, one of the two waits while the other sleeps.
    family.azure_also("RUN sleep 3");
    family.replace("images/aws/Dockerfile", "RUN echo", "RUN sleep 3 && echo");
    let args = ["build", "--format", "json", "--variant", "aws", "--variant", "azure", "--jobs", "1"];
    let mut build = family.planning(&args).spawn().expect("started");
    let rest = wait_for(&mut build, does("RUN sleep 3"));
    hold(&build);
    let base = family.stage_tags().into_iter().find(|tag| tag.starts_with("base:")).expect("the base is built");
    run("docker", &["rmi", &format!("gantry.invalid/stage/{base}")]);
    release(&build);
    let events: Vec<Value> = rest.lines().map_while(Result::ok).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    assert_eq!(ended(build).code, Some(4), "{events:#?}");
    let failure = events.last().expect("a failure");
    let message = failure["message"].as_str().expect("a message");
    assert!(message.contains(&base) && message.contains("is not in the engine any more"), "{failure}");
    assert!(failure["hint"].as_str().is_some_and(|hint| hint.contains("run the same command again")), "{failure}");
    // As the hint says.
    family.build(&args[3..]).ends(0);
}

#[test]
fn a_base_image_that_is_not_to_be_had_is_missing() {
    let family = TinyFamily::new();
    family.registry.kill();
    family.run(&["build", "--variant", "azure"]).ends(3).says(&["`external`", &family.base(), "hint:"]);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let family = TinyFamily::new();
    let mut plan = family.planning(&["plan", "--all", "--format", "json"]);
    let mut plan = plan.stdout(Stdio::piped()).spawn().expect("started");
    drop(plan.stdout.take());
    let plan = ended(plan);
    assert_eq!((plan.code, plan.stderr.as_str()), (Some(0), ""));

    let mut build = family.planning(&["build", "--variant", "azure"]);
    let mut build = build.spawn().expect("started");
    drop((build.stdout.take(), build.stderr.take()));
    assert_eq!(ended(build).code, Some(0), "nobody reads, and it is built all the same");
    assert!(family.tags().contains(&format!("{}:azure", family.name)));
}

#[test]
fn a_metadata_file_that_cannot_be_written_is_told() {
    let family = TinyFamily::new();
    let failed = family.run(&["build", "--variant", "azure", "--metadata-file", "/nonexistent/metadata.json"]);
    failed.ends(3).says(&["cannot write `/nonexistent/metadata.json`"]);
}

#[test]
fn an_image_that_does_not_stand_on_its_parent_is_a_failed_build_and_gets_no_tag() {
    let family = TinyFamily::new();
    family.write("images/azure/Dockerfile", "ARG PARENT\nFROM ${PARENT} AS below\nFROM scratch\nCOPY azure /azure\n");
    let failed = family.run(&["build", "--variant", "azure"]).ends(4);
    failed.says(&["`azure` does not stand on its parent `base`", "FROM ${PARENT}"]);
    assert!(!family.tags().iter().any(|tag| tag.contains("azure")), "{:?}", family.tags());
}

#[test]
fn an_entrypoint_that_is_no_program_of_the_platform_is_refused_before_anything_is_built() {
    let family = TinyFamily::new();
    fs::write(family.entrypoint(), "#!/bin/sh\n").expect("written");
    let failed = family.run(&["build", "--variant", "azure"]);
    assert!(matches!(failed.code, Some(2 | 3)), "{failed:?}");
    failed.says(&[&family.entrypoint().display().to_string()]);
    assert!(family.tags().is_empty(), "{:?}", family.tags());
}

#[test]
fn a_cache_that_is_a_link_is_not_used() {
    let family = TinyFamily::new();
    let elsewhere = family.places().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, family.places().join("cache")).expect("a link");
    let failed = family.run(&["build", "--variant", "azure"]).ends(2);
    failed.says(&["symbolic link", "hint:", "GANTRY_CACHE_DIR"]);
    assert_eq!(fs::read_dir(&elsewhere).expect("a folder").count(), 0);
}

#[test]
fn what_the_steps_need_of_this_machine_is_asked_before_the_first_of_them() {
    let family = TinyFamily::new();
    // No machine has the keys of a release of 1998.
    let image = format!("base = {{ image = \"{}\" }}\nvendors", family.base());
    family.replace("variants.toml", &image, "base = { bootstrap = \"hamm\", packages = [] }\nvendors");
    let refused = family.build(&["--variant", "azure", "--profile", "offline"]).ends(3);
    let failure = refused.events().pop().expect("a failure");
    assert!(failure["message"].as_str().is_some_and(|text| text.contains("hamm")), "{failure}");
    assert!(failure["hint"].as_str().is_some_and(|text| text.contains("cargo xtask setup")), "{failure}");
    assert!(refused.events_of("step-started").is_empty(), "nothing has begun");
    assert!(family.tags().is_empty());
}
