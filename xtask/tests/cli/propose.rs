//! `propose`, with the real binary, a real work tree, and a double of GitHub with a real repository behind it.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::github::{Github, TOKEN};
use crate::support::xtask::{Ran, command, git_that_tells, ran};

/// What it is that goes wrong; status, headers and words of the answer; how the command ends, and what it says.
type Refusal<'a> = (&'a str, u16, &'a [(&'static str, &'static str)], &'a str, i32, &'a [&'a str]);

/// A clone of `main` with a change in it, and GitHub.
struct Desk {
    folder: tempfile::TempDir,
    github: Github,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("tree");
        std::fs::create_dir_all(root.join("images/web")).expect("folders");
        git(&root, &["init", "-q", "-b", "main"]);
        std::fs::write(root.join("variants.toml"), "version = 1\n").expect("written");
        std::fs::write(root.join("images/web/package-lock.json"), "{}\n").expect("written");
        std::fs::write(root.join("gone.txt"), "gone\n").expect("written");
        git(&root, &["add", "."]);
        git(&root, &["commit", "-q", "-m", "one"]);
        let desk = Self { github: Github::with(&root), folder };
        desk.write("variants.toml", "version = 2\r\n");
        desk.write("new file.txt", "new\n");
        desk.write("../body.md", "| old | new |\n");
        std::fs::remove_file(root.join("gone.txt")).expect("removed");
        desk
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("tree")
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.root().join(file), text).expect("written");
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = command(&self.root(), &self.folder.path().join("places"));
        command.args(["propose", "--branch", "gantry/bump", "--title", "Move pins", "--body-file", "../body.md"]).args(more);
        command.args(["variants.toml", "images/web/package-lock.json", "gone.txt", "new file.txt"]);
        command.envs(self.github.environment());
        command
    }

    fn propose(&self, more: &[&str]) -> Ran {
        let ran = ran(self.command(more));
        assert!(!format!("{ran:?}").contains(TOKEN), "{ran:?}");
        ran
    }
}

fn git(root: &Path, args: &[&str]) {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]).args(args);
    if args.first() == Some(&"init") {
        std::fs::create_dir_all(root).expect("a folder");
    }
    assert!(git.status().expect("git starts").success(), "{args:?}");
}

#[test]
fn a_pull_request_is_opened_kept_updated_and_brought_to_a_new_base() {
    let desk = Desk::new();
    let shown = desk.propose(&["--dry-run"]).ends(0);
    for words in ["changed variants.toml", "removed gone.txt", "added new file.txt", "opens a pull request"] {
        assert!(shown.stdout.contains(words), "{}", shown.stdout);
    }
    assert!(!shown.stdout.contains("package-lock") && desk.github.changes().is_empty());

    // git has nothing to send: the token is for the API alone.
    let mut command = desk.command(&["--dry-run"]);
    let told = git_that_tells(&mut command, desk.folder.path(), TOKEN);
    ran(command).ends(0);
    let told = std::fs::read_to_string(told).expect("git was called");
    assert!(told.contains(" hash-object ") && !told.contains(TOKEN), "{told}");

    let opened = desk.propose(&["--format", "json"]).ends(0).json();
    assert_eq!(
        (&opened["schema"], &opened["pull-request"]["act"], &opened["commit"]["made"]),
        (&json!(1), &json!("opened"), &json!(true))
    );
    // One commit on main with just these bytes, by nobody that we name.
    assert_eq!(
        desk.github.git(&["diff", "--name-status", "main", "gantry/bump"]),
        "D\tgone.txt\nA\tnew file.txt\nM\tvariants.toml"
    );
    assert_eq!(desk.github.git(&["rev-list", "--count", "main..gantry/bump"]), "1");
    assert_eq!(desk.github.git(&["cat-file", "-s", "gantry/bump:variants.toml"]), "13");
    let commits = desk.github.front.seen().into_iter().filter(|seen| seen.path.ends_with("/git/commits"));
    let sent: serde_json::Value = serde_json::from_slice(&commits.last().expect("a commit").body).expect("JSON");
    assert!(sent["message"].as_str().is_some_and(|text| text.starts_with("Move pins\n\n")));
    assert!(sent.get("author").is_none() && sent.get("committer").is_none());
    assert_eq!(desk.github.pulls()[0]["body"], "| old | new |");

    // The same again: nothing is moved.
    desk.github.front.forget();
    let again = desk.propose(&["--format", "json"]).ends(0).json();
    assert_eq!((&again["pull-request"]["act"], &again["commit"]["made"]), (&json!("left"), &json!(false)));
    assert_eq!(desk.github.changes().iter().filter(|line| line.contains("refs") || line.contains("pulls")).count(), 0);

    // Other words: the same commit, the same pull request.
    desk.write("../body.md", "other\n");
    let updated = desk.propose(&["--format", "json"]).ends(0).json();
    assert_eq!((&updated["pull-request"]["act"], &updated["commit"]["made"]), (&json!("updated"), &json!(false)));

    // main moves, elsewhere: a new commit on it.
    desk.github.commit("main", "README.md", "by others\n");
    desk.propose(&[]).ends(0);
    assert_eq!(desk.github.git(&["rev-list", "--count", "gantry/bump..main"]), "0");
    assert_eq!(desk.github.git(&["rev-list", "--count", "main..gantry/bump"]), "1");
    assert_eq!(desk.github.pulls().len(), 1);
    // Merged, and the branch forgotten: its next life is an own one, once what is checked out is of the new main.
    desk.github.git(&["update-ref", "refs/heads/main", "gantry/bump"]);
    let nothing = desk.propose(&[]).ends(0);
    assert!(nothing.stdout.contains("nothing to propose") && nothing.stdout.contains("pull/1"), "{}", nothing.stdout);
}

#[test]
fn what_people_pushed_to_the_branch_stays() {
    let desk = Desk::new();
    desk.propose(&[]).ends(0);
    desk.github.commit("gantry/bump", "variants.toml", "by hand\n");
    let before = desk.github.git(&["rev-parse", "gantry/bump"]);
    desk.propose(&[]).ends(8).says(&["`gantry/bump` holds commits that are not this command's", "--force", &before]);
    desk.propose(&["--dry-run"]).ends(8);
    assert_eq!(desk.github.git(&["rev-parse", "gantry/bump"]), before);
    desk.propose(&["--force"]).ends(0);
    assert_eq!(desk.github.git(&["rev-list", "--count", "main..gantry/bump"]), "1");
}

#[test]
fn what_others_changed_on_main_is_not_taken_back() {
    let desk = Desk::new();
    desk.github.commit("main", "variants.toml", "version = 1 # by others\n");
    desk.propose(&[]).ends(8).says(&["`main` has moved", "changed `variants.toml`", "git pull origin main"]);
    // A commit that GitHub does not have.
    git(&desk.root(), &["commit", "-q", "--allow-empty", "-m", "mine"]);
    desk.propose(&[]).ends(8).says(&["is not of the branch `main`"]);
    assert!(desk.github.changes().is_empty());
}

#[test]
fn what_is_missing_or_wrong_is_told_at_once() {
    let desk = Desk::new();
    let words = [
        "`GITHUB_TOKEN` is not set",
        "which repository",
        "`a..b` is not the name of a branch",
        "`none.md` cannot be read",
        "`images` is a folder",
        "`../outside.txt` is not in the work tree",
        "`never.txt` is neither in the work tree nor in its commit",
        "gh auth token",
        "--repository OWNER/NAME",
    ];
    let mut single = command(&desk.root(), &desk.folder.path().join("places"));
    single.args([
        "propose",
        "--branch",
        "a..b",
        "--title",
        "x",
        "--body-file",
        "none.md",
        "images",
        "../outside.txt",
        "never.txt",
    ]);
    ran(single).ends(2).says(&words);
    let mut without = desk.command(&[]);
    without.env_remove("GITHUB_TOKEN");
    ran(without).ends(3).says(&["no token for GitHub"]);
    let mut plain = desk.command(&[]);
    plain.env("GITHUB_API_URL", "http://api.github.example");
    ran(plain).ends(2).says(&["without encryption"]);
    assert!(desk.github.front.seen().is_empty());
}

#[test]
fn what_github_refuses_is_told_with_what_it_asks_for() {
    let desk = Desk::new();
    let mut wrong = desk.command(&[]);
    wrong.env("GITHUB_TOKEN", "ghs_other");
    ran(wrong).ends(3).says(&["does not accept the token (`GITHUB_TOKEN`)"]);
    let mut other = desk.command(&[]);
    other.env("GITHUB_REPOSITORY", "team/other");
    ran(other).ends(3).says(&["does not let this token read the repository (`team/other`): 404"]);
    desk.propose(&["--base", "trunk"]).ends(2).says(&["`team/image` has no branch `trunk`"]);

    let needs = [("x-accepted-github-permissions", "contents=write; contents=write,workflows=write")];
    let refusals: [Refusal<'_>; 6] = [
        (
            "POST /repos/team/image/git/blobs",
            403,
            &needs,
            "Resource not accessible by integration",
            3,
            &["does not let this token take `", "`contents=write` or `contents=write,workflows=write`"],
        ),
        (
            "git/ref/heads/main",
            403,
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2000000000")],
            "API rate limit exceeded",
            3,
            &["answers no more requests of this token until 2033-05-18T03:33:20Z"],
        ),
        (
            "POST /repos/team/image/git/refs",
            422,
            &[],
            "Repository rule violations found",
            8,
            &["Repository rule violations found"],
        ),
        (
            "POST /repos/team/image/pulls",
            403,
            &[],
            "GitHub Actions is not permitted to create or approve pull requests.",
            3,
            &["Settings → Actions → General"],
        ),
        (
            "GET /repos/team/image/pulls",
            301,
            &[("location", "https://api.github.com/repositories/1/pulls")],
            "Moved Permanently",
            2,
            &["has moved on GitHub"],
        ),
        ("git/ref/heads/main", 200, &[], "odd", 1, &["answer cannot be used", "missing field `object`"]),
    ];
    for (part, status, headers, message, code, words) in refusals {
        desk.github.trouble(part, status, headers, message);
        desk.propose(&[]).ends(code).says(words);
    }
    // What passes is tried again.
    desk.github.trouble("POST /repos/team/image/git/trees", 502, &[("retry-after", "0")], "Server Error");
    desk.propose(&[]).ends(0);
    assert_eq!(desk.github.pulls().len(), 1);
}

#[test]
fn files_that_another_machine_made_are_taken_as_text_alone() {
    let desk = Desk::new();
    for (file, text) in [("variants.toml", "version = 3\n"), ("images/web/package-lock.json", "{}\n"), ("images/new", "new\n")] {
        let file = desk.folder.path().join("bumped").join(file);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
        std::fs::write(file, text).expect("written");
    }
    std::os::unix::fs::symlink(desk.folder.path().join("body.md"), desk.folder.path().join("bumped/body.md")).expect("a link");
    let propose_with = |body: &str, files: &[&str]| {
        let mut command = command(&desk.root(), &desk.folder.path().join("places"));
        command.args(["propose", "--branch", "gantry/bump", "--title", "Move pins", "--body-file", body]);
        command.args(["--from", "../bumped"]).args(files).envs(desk.github.environment());
        ran(command)
    };
    let propose = |files: &[&str]| propose_with("../body.md", files);
    propose_with("../bumped/body.md", &["variants.toml"]).ends(2).says(&["`../bumped/body.md` is neither a file nor a folder"]);
    propose(&["variants.toml", "../body.md", "gone.txt"]).ends(2).says(&["`../body.md` is no name", "`gone.txt` cannot be read"]);
    propose(&["variants.toml", "images"]).ends(0);
    // What differs, from there and not from the work tree; nothing is removed.
    let changed = desk.github.git(&["diff", "--name-status", "main", "gantry/bump"]);
    assert_eq!(changed, "A\timages/new\nM\tvariants.toml");
    assert_eq!(desk.github.git(&["show", "gantry/bump:variants.toml"]), "version = 3");
}

#[test]
fn a_release_is_made_once_for_a_tag_that_is_there() {
    let desk = Desk::new();
    let announce = |tag: &str, more: &[&str]| {
        let mut command = command(&desk.root(), &desk.folder.path().join("places"));
        command.args(["announce", tag, "--notes", "../body.md"]).args(more).envs(desk.github.environment());
        ran(command)
    };
    announce("v1", &[]).ends(3).says(&["has no tag `v1`", "git push origin v1"]);
    desk.github.git(&["tag", "v1", "main"]);
    let shown = announce("v1", &["--dry-run"]).ends(0);
    assert!(shown.stdout.contains("| old | new |"), "{}", shown.stdout);
    assert_eq!(desk.github.releases().len(), 0);
    let made = announce("v1", &["--format", "json"]).ends(0).json();
    assert_eq!((&made["act"], &made["url"]), (&"made".into(), &"https://github.com/team/image/releases/tag/v1".into()));
    assert_eq!(desk.github.releases()[0]["body"], "| old | new |");
    let again = announce("v1", &[]).ends(0);
    assert!(again.stdout.contains("left as it is"), "{}", again.stdout);
    assert_eq!(desk.github.releases().len(), 1);
}
