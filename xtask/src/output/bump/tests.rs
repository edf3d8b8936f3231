//! The report as its readers see it.

use super::*;
use crate::bump::{Answer, Candidate, Change, Comment, Place, Trouble};
use crate::failure::Exit;

fn moves(name: &str, from: Version, to: Version) -> Candidate {
    let values = [(Place::Version(name.parse().unwrap()), to.id.clone())].into();
    Candidate { to, change: Change { values, ..Change::default() }, ..Candidate::unmoved(from) }
}

fn shown(id: &str, shown: &str) -> Version {
    Version { id: id.to_owned(), shown: Some(shown.to_owned()) }
}

fn report() -> Report {
    let moved = |name: &str, from: Option<&str>, to: Option<&str>, security| Moved {
        file: (name == "six").then(|| "images/x.txt".to_owned()),
        name: name.to_owned(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        security,
    };
    let runner = Candidate {
        released: "2026-11-01".parse().ok(),
        notes: Some("https://github.com/actions/runner/releases/tag/v2.338.0".to_owned()),
        held: Some(Held { version: Version::plain("3.0.0"), why: "`hold = \"<3\"` of `runner`".to_owned() }),
        ..moves("runner", Version::plain("2.337.0"), Version::plain("2.338.0"))
    };
    let commits = ["110a328ea54b42367b803ec53ee0bf52ef26b419", "210a328ea54b42367b803ec53ee0bf52ef26b419"];
    let code = moves("vscode-cli", shown(commits[0], "VS Code 1.134.0"), shown(commits[1], "VS Code 1.135.0"));
    let date = Candidate {
        details: vec![
            moved("bash", Some("5.2"), Some("5.3"), false),
            moved("openssl", Some("3.5.1"), Some("3.5.2"), true),
            moved("@evil|`x`", None, Some("1"), false),
            moved("six", Some("1.16.0"), None, false),
        ],
        ..moves("build-date", Version::plain("2026-11-20"), Version::plain("2026-12-01"))
    };
    let base = moves("base", Version::plain(""), shown("sha256:12", "trixie-slim@sha256:12"));
    let held = Candidate {
        held: Some(Held { version: Version::plain("1.22.0"), why: "`hold = \"<1.22\"` of `yaml`".to_owned() }),
        ..Candidate::unmoved(Version::plain("1.21.0"))
    };
    let answers = [
        ("runner", Ok(runner)),
        ("vscode-cli", Ok(code)),
        ("yaml", Ok(held)),
        ("python-extension", Ok(Candidate::unmoved(Version::plain("2026.4.0")))),
        ("code-server", Err(Trouble::new(Exit::Missing, "cannot reach `npm`"))),
        ("base", Ok(base)),
        ("build-date", Ok(date)),
    ]
    .map(|(name, found)| Answer { name: name.to_owned(), found });
    let mut report = Report::new(&answers, &"2026-11-20".parse().unwrap());
    report.files = vec!["variants.toml".to_owned(), "variants.lock".to_owned()];
    report.doubtful_comments = vec![Comment { line: 7, text: "# of May 2026".to_owned() }];
    report
}

#[test]
fn for_people() {
    let expected = "\
build-date        2026-11-20 → 2026-12-01, 4 packages inside
                    security: openssl 3.5.1 → 3.5.2
                    @evil|`x` 1, new
                    bash 5.2 → 5.3
                    six 1.16.0, gone (images/x.txt)
runner            2.337.0 → 2.338.0  released 2026-11-01, 19 days ago  https://github.com/actions/runner/releases/tag/v2.338.0
                  3.0.0 is there, held back by `hold = \"<3\"` of `runner`
vscode-cli        VS Code 1.134.0 → VS Code 1.135.0
base              trixie-slim@sha256:12 (was not locked)
yaml              1.21.0, 1.22.0 is there, held back by `hold = \"<1.22\"` of `yaml`
python-extension  2026.4.0, the newest
code-server       not moved: cannot reach `npm`
look at line 7 of variants.toml: is its comment still true? # of May 2026
";
    let told = text(&report());
    let (lines, summary) = told.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(format!("{lines}\n"), expected);
    assert_eq!(summary, "4 of 7 can be moved; nothing was written (it would be variants.toml, variants.lock)");
    let written = text(&Report { written: true, ..report() });
    assert!(
        written.ends_with("moved 4 of 7; wrote variants.toml, variants.lock: build and try it, and commit it\n"),
        "{written}"
    );
}

#[test]
fn for_the_body_of_a_pull_request() {
    let expected = "\
| | from | to | released | |
|---|---|---|---|---|
| `build-date` | `2026-11-20` | `2026-12-01` |  | **1 security update** |
| `runner` | `2.337.0` | `2.338.0` | 2026-11-01, 19 days ago | [notes](https://github.com/actions/runner/releases/tag/v2.338.0) |
| `vscode-cli` | `VS Code 1.134.0` (`110a328`) | `VS Code 1.135.0` (`210a328`) |  |  |
| `base` | – | `trixie-slim@sha256:12` |  |  |

**To be looked at**

- `runner`: `3.0.0 is there, held back by hold = \"<3\" of runner`
- `yaml`: `1.22.0 is there, held back by hold = \"<1.22\" of yaml`
- `code-server` was not moved: `cannot reach npm`
- line 7 of `variants.toml`: is its comment still true? `# of May 2026`

<details><summary>build-date: 4 packages</summary>

| package | from | to | |
|---|---|---|---|
| `openssl` | `3.5.1` | `3.5.2` | security |
| ``@evil\\|`x` `` | – | `1` |  |
| `bash` | `5.2` | `5.3` |  |
| `six` in `images/x.txt` | `1.16.0` | – |  |

</details>
";
    // A code span that ends with a backtick has a space there on both sides.
    assert_eq!(markdown(&report()).replace("`` @evil\\|`x` ``", "``@evil\\|`x` ``"), expected);
}

#[test]
fn a_page_is_never_longer_than_github_takes() {
    let mut report = report();
    let many = (0..3000).map(|at| Moved {
        file: None,
        name: format!("package-{at:04}"),
        from: Some("1.0.0-1+deb13u1".to_owned()),
        to: Some("1.0.0-1+deb13u2".to_owned()),
        security: true,
    });
    report.moved[0].details = many.collect();
    let page = markdown(&report);
    assert!(
        page.len() < 65_536 && page.contains("`package-0000`") && page.contains(" more: `cargo xtask bump build-date"),
        "{}",
        page.len()
    );
}

#[test]
fn each_reason_and_each_hint_is_told_once() {
    let fails = |name: &str, message: &str, hint: &str| Answer {
        name: name.to_owned(),
        found: Err(Trouble::new(Exit::Missing, message).hint(hint)),
    };
    let stays = Answer { name: "d".to_owned(), found: Ok(Candidate::unmoved(Version::plain("1"))) };
    let answers =
        [fails("a", "cannot reach `x`", "later"), fails("b", "cannot reach `x`", "later"), stays, fails("c", "no", "never")];
    let report = Report::new(&answers, &"2026-11-20".parse().unwrap());
    assert_eq!(
        text(&report),
        "d  1, the newest\na  not moved: cannot reach `x`\nb  not moved, as `a`\nc  not moved: no\nnothing was moved\n"
    );
    assert_eq!(failed(&report), "3 of 4 were not moved: `a`, `b`, `c`");
    assert_eq!(reasons(&report), "not moved: `a`, `b`: cannot reach `x`\n       `c`: no");
    assert_eq!(hints(&report).as_deref(), Some("later\nnever"));
    assert!(markdown(&report).starts_with("Nothing was moved.\n"));
    let one = Report::new(&answers[3..], &"2026-11-20".parse().unwrap());
    assert_eq!((failed(&one).as_str(), hints(&one).as_deref()), ("`c` was not moved", Some("never")));
}
