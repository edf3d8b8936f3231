//! A difference as people read it.

use super::markdown::code;
use super::{markdown, text};
use crate::contents::PackageKind;
use crate::diff::{Difference, compare, made};

fn example() -> Difference {
    let mut before = made::with_packages(vec![
        made::package(PackageKind::Debian, "libc6", "2.41-1", ""),
        made::package(PackageKind::Npm, "@types/node", "1.0.0", "usr/lib/node_modules/@types/node"),
    ]);
    let mut after = made::with_packages(vec![
        made::package(PackageKind::Debian, "libc6", "2.41-2", ""),
        made::package(PackageKind::Debian, "git", "1:2.47-1", ""),
        made::package(PackageKind::Npm, "@types/node", "1.0.0", "opt/node_modules/@types/node"),
    ]);
    before.config.run.env = vec!["API_TOKEN=canary-1".to_owned(), "LANG=C".to_owned()];
    after.config.run.env = vec!["API_TOKEN=canary-2".to_owned(), "LANG=C|`<b>`".to_owned()];
    let before = made::layer(before, "COPY rootfs/ /", &[("etc/a", "1"), ("usr/b", "22")]);
    let after = made::layer(after, "RUN |1 NPM_TOKEN=canary-3 make", &[("etc/a", "1"), ("usr/b", "333"), ("usr/c", "4444")]);
    compare(&before, &after).named("team:old", "team:new")
}

#[test]
fn for_people() {
    let difference = example();
    let digests = [&difference.before, &difference.after].map(|side| format!("sha256:{}", side.config.short(12)));
    let expected = "\
before  team:old  BEFORE  linux/amd64
after   team:new  AFTER  linux/amd64

                 before  after  difference
size                3 B    8 B        +5 B
compressed        513 B  772 B      +259 B
Debian packages       1      2          +1
npm packages          1      1

Debian packages: 1 added, 1 upgraded
  added     git    1:2.47-1         +1.00 kB
  upgraded  libc6  2.41-1 → 2.41-2

npm packages: 1 moved
  moved  @types/node  1.0.0 in /usr/lib/node_modules/@types/node → 1.0.0 in /opt/node_modules/@types/node

configuration:
  variable  API_TOKEN  another value (not shown)
  variable  LANG       `C` → `C|`<b>``

layers: none in both
only in before: 1 layer (3 B, 513 B compressed)
  #1  3 B  513 B compressed  COPY rootfs/ /
only in after: 1 layer (8 B, 772 B compressed)
  #1  8 B  772 B compressed  RUN |1 NPM_TOKEN=… make

files, folders and links: 1 added (4 B), 1 changed (2 B → 3 B)
        added  removed  changed  difference
  /usr      1                 1        +5 B

packages that make the difference:
  +1.00 kB  git  (Debian packages)
";
    let expected = expected.replace("BEFORE", &digests[0]).replace("AFTER", &digests[1]);
    assert_eq!(text(&difference.clone().without_list()), expected);
    assert!(
        text(&difference).contains("\n  added    +4 B  /usr/c\n  content  +1 B  /usr/b\n")
            || text(&difference).contains("/usr/c")
    );
}

#[test]
fn for_release_notes() {
    let difference = example();
    let digests = [&difference.before, &difference.after].map(|side| format!("sha256:{}", side.config.short(12)));
    let expected = "\
## `team:old` → `team:new`

| | before | after | difference |
|---|---:|---:|---:|
| image | `BEFORE` | `AFTER` | |
| size | 3 B | 8 B | +5 B |
| compressed | 513 B | 772 B | +259 B |
| Debian packages | 1 | 2 | +1 |
| npm packages | 1 | 1 |  |

**Debian packages: 1 added, 1 upgraded**

| | package | before | after | size |
|---|---|---|---|---:|
| added | `git` | – | `1:2.47-1` | +1.00 kB |
| upgraded | `libc6` | `2.41-1` | `2.41-2` |  |

**npm packages: 1 moved**

| | package | before | after | size |
|---|---|---|---|---:|
| moved | `@types/node` | `1.0.0 in /usr/lib/node_modules/@types/node` | `1.0.0 in /opt/node_modules/@types/node` |  |

**Configuration**

| | name | before | after |
|---|---|---|---|
| variable | `API_TOKEN` | (not shown) | (not shown) |
| variable | `LANG` | `C` | `` C\\|`<b>` `` |

**Layers: 0 layers (0 B) in both, 1 layer (3 B, 513 B compressed) only before, 1 layer (8 B, 772 B compressed) only after**

| only | layer | size | compressed | made by |
|---|---:|---:|---:|---|
| before | 1 | 3 B | 513 B | `COPY rootfs/ /` |
| after | 1 | 8 B | 772 B | `RUN \\|1 NPM_TOKEN=… make` |

**Files, folders and links: 1 added (4 B), 1 changed (2 B → 3 B)**

| folder | added | removed | changed | size |
|---|---:|---:|---:|---:|
| `/usr` | 1 | 0 | 1 | +5 B |

**Packages that make the difference**

| package | | before | after | difference |
|---|---|---:|---:|---:|
| `git` | Debian packages | 0 B | 1.00 kB | +1.00 kB |
";
    let expected = expected.replace("BEFORE", &digests[0]).replace("AFTER", &digests[1]);
    assert_eq!(markdown(&difference.without_list(), 2), expected);
}

#[test]
fn no_form_shows_a_secret() {
    let difference = example();
    let json = serde_json::to_string(&difference).expect("JSON");
    for shown in [json, text(&difference), markdown(&difference, 2)] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn nothing_in_an_image_speaks_to_the_terminal() {
    let after = made::layer(made::image(), "COPY", &[("\u{1b}[2J\nfake", "a")]);
    assert!(text(&compare(&made::image(), &after)).contains("/\u{fffd}[2J\u{fffd}fake\n"));
}

#[test]
fn what_is_the_same_is_told_in_a_line() {
    let one = made::layer(made::image(), "COPY", &[("a", "a")]);
    let same = compare(&one, &one.clone()).named("a", "b");
    assert_eq!(text(&same), "the same image: a and b\n");
    assert_eq!(markdown(&same, 3), "### `a` → `b`\n\nNothing differs: the same image.\n");
    let rebuilt = crate::contents::Contents { config_digest: crate::oci::Digest::of("another"), ..one.clone() };
    assert_eq!(text(&compare(&one, &rebuilt).named("a", "b")), "the same packages, files, layers and configuration: a and b\n");
}

#[test]
fn long_lists_are_cut_for_people_and_folded_up_in_markdown() {
    let packages = (0..100).map(|at| made::package(PackageKind::Python, &format!("p{at:03}"), "1", "opt")).collect();
    let difference = compare(&made::image(), &made::with_packages(packages)).without_list();
    let shown = text(&difference);
    assert!(shown.contains("p059") && !shown.contains("p060"), "{shown}");
    assert!(shown.contains("… and 40 more (`--format json` and `--format markdown` tell all)"), "{shown}");
    let shown = markdown(&difference, 2);
    assert!(shown.contains("<details><summary>Python packages: 100 added</summary>\n\n| | package |"), "{shown}");
    assert!(shown.contains("`p099`") && shown.contains("|\n\n</details>\n"), "{shown}");
}

#[test]
fn code_spans_hold_anything() {
    for (text, span) in [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a|b", "`a\\|b`"),
        ("two\nlines", "`two lines`"),
        ("", "`  `"),
    ] {
        assert_eq!(code(text), span);
    }
}
