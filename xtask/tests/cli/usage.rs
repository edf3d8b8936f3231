//! Wrong words on the command line and in files: one clear message, exit code 2, nothing done.

use crate::support::family::TinyFamily;
use crate::support::xtask::ran;

#[test]
fn an_unknown_variant_is_told_with_the_one_that_was_meant() {
    let family = TinyFamily::new();
    family.run(&["build", "--variant", "aws-wep"]).ends(2).says(&["`aws-wep`", "did you mean `aws-web`?"]);
    family.run(&["build", "--variant", "gcp*"]).ends(2).says(&["`gcp*`", "`aws`"]);
    family.run(&["build", "--variant", "base"]).ends(2).says(&["`base`", "parent"]);
    family.run(&["build"]).ends(2).says(&["--all"]);
}

#[test]
fn an_unknown_profile_is_told_with_those_that_there_are() {
    let family = TinyFamily::new();
    let failed = family.run(&["build", "--all", "--profile", "ofline"]).ends(2);
    failed.says(&["`ofline`", "`default`, `offline`", "did you mean `offline`?"]);
}

#[test]
fn every_problem_of_the_file_is_told_in_one_go() {
    let family = TinyFamily::new();
    family.replace("variants.toml", "2026-11-20", "2026-13-20");
    family.replace("variants.toml", "parent = \"aws\"", "parent = \"asw\"");
    family.replace("variants.toml", "description = \"for Azure\"", "description = \"for Azure\"\ncolour = 1");
    family.replace("variants.toml", "context = \"images/azure\"", "context = \"images/gone\"");
    let failed = family.run(&["build", "--all"]).ends(2).says(&[
        "has 4 problems",
        "2026-13-20",
        "did you mean `aws`?",
        "colour",
        "images/gone/Dockerfile",
        "variants.toml:",
    ]);
    assert_eq!(failed.stdout, "");
    let as_json = family.build(&["--all"]).ends(2);
    let failure = as_json.events().pop().expect("a failure");
    assert_eq!((&failure["event"], &failure["exit"]), (&"failure".into(), &2.into()));
}

#[test]
fn an_argument_that_no_dockerfile_declares_is_a_usage_error() {
    let family = TinyFamily::new();
    family.run(&["build", "--all", "--arg", "COLOR=blue"]).ends(2).says(&["COLOR"]);
    family.run(&["build", "--all", "--arg", "COLOUR"]).ends(2).says(&["NAME=VALUE"]);
    family.run(&["build", "--all", "--arg", "PARENT=x"]).ends(2).says(&["PARENT"]);
    family.run(&["build", "--all", "--build-date", "tomorrow"]).ends(2).says(&["--build-date", "YYYY-MM-DD"]);
    family.run(&["build", "--all", "--jobs", "0"]).ends(2);
}

#[test]
fn a_folder_without_a_family_says_how_to_name_one() {
    let nowhere = tempfile::tempdir().expect("a folder");
    let mut command = crate::support::xtask::command(nowhere.path(), nowhere.path());
    command.args(["plan", "--all"]);
    ran(command).ends(2).says(&["variants.toml", "--manifest"]);
}

#[test]
fn a_lock_of_another_family_is_a_problem_of_the_lock() {
    let family = TinyFamily::new();
    family.replace("variants.lock", &format!("family = \"{}\"", family.name), "family = \"other\"");
    family.run(&["build", "--all"]).ends(2).says(&["variants.lock", "other"]);
}
