//! `pin`, on files as people have them, against two real registries. What comes out is compared byte for byte, and what other
//! parsers read in it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use xtask::host::places::Places;
use xtask::host::setup::python;

use crate::support::family::TinyFamily;
use crate::support::registry::{LocalRegistry, run};
use crate::support::xtask::{Ran, ran};

const FILES: [(&str, &str); 4] = [
    ("dev-container.tf", include_str!("pinned/dev-container.tf")),
    ("compose.yaml", include_str!("pinned/compose.yaml")),
    ("deployment.yaml", include_str!("pinned/deployment.yaml")),
    ("devcontainer.json", include_str!("pinned/devcontainer.json")),
];
/// A digest of long ago.
const EMPTY: &str = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A family with the base image as all that is published, under these tags, in two registries.
struct Published {
    family: TinyFamily,
    far: Arc<LocalRegistry>,
}

impl Published {
    fn new() -> Self {
        let (family, far) = (TinyFamily::new(), LocalRegistry::start(None));
        let base = format!("docker://{}", family.base());
        for (registry, tags) in [(&*family.registry, &["aws", "aws-coder", "aws-web", "azure"][..]), (&*far, &["aws", "azure"])] {
            for tag in tags {
                let to = format!("docker://{}", registry.repository().tag(*tag));
                // Not the same in both: which is asked is to be seen.
                let format = if std::ptr::eq(registry, &*far) { "oci" } else { "v2s2" };
                run(
                    "skopeo",
                    &["copy", "-q", "--format", format, "--src-tls-verify=false", "--dest-tls-verify=false", &base, &to],
                );
            }
        }
        let table = format!("[destinations.far]\nrepository = \"{}\"\n[images.base]", far.repository());
        family.replace("variants.toml", "[images.base]", &table);
        let published = Self { family, far };
        for (name, text) in FILES {
            published.family.write(name, &published.filled(text));
        }
        published
    }

    fn filled(&self, text: &str) -> String {
        let near = self.family.registry.repository().to_string();
        text.replace("@NEAR@", &near).replace("@FAR@", &self.far.repository().to_string())
    }

    fn pin(&self, args: &[&str]) -> Ran {
        let files = FILES.map(|(name, _)| name);
        self.run(&[args, &files[..]].concat())
    }

    fn run(&self, args: &[&str]) -> Ran {
        ran(self.family.command(&[&["pin"], args].concat()))
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).expect("text")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.family.root().join(file)
    }

    fn near(&self, tag: &str) -> String {
        let digest = self.family.registry.skopeo(tag, None).expect("a digest");
        format!("{}@{digest}", self.family.registry.repository().tag(tag))
    }

    fn far(&self, tag: &str) -> String {
        format!("{}@{}", self.far.repository().tag(tag), self.far.skopeo(tag, None).expect("a digest"))
    }

    /// The files as they are to be: what is pinned, by what stands on its line.
    fn wanted(&self) -> Vec<String> {
        let (near, far) = (self.family.registry.repository().to_string(), self.far.repository().to_string());
        let pins: [&[(String, String)]; 4] = [
            &[
                (format!("? \"{near}:aws-web\""), format!("? \"{}\"", self.near("aws-web"))),
                (format!("image     =   \"{near}:aws-coder\""), format!("image     =   \"{}\"", self.near("aws-coder"))),
                (format!("\"image\": \"{far}:aws{EMPTY}\""), format!("\"image\": \"{}\"", self.far("aws"))),
            ],
            &[
                (format!("\"{near}:aws-web\""), format!("\"{}\"", self.near("aws-web"))),
                (format!("&shell   {near}:aws"), format!("&shell   {}", self.near("aws"))),
                (format!("# docker pull {near}:azure"), format!("# docker pull {}", self.near("azure"))),
            ],
            &[
                (format!("image: \"{near}:azure\""), format!("image: \"{}\"", self.near("azure"))),
                (format!("image: {far}:azure"), format!("image: {}", self.far("azure"))),
            ],
            &[(format!("\t\"image\": \"{near}:aws-coder\""), format!("\t\"image\": \"{}\"", self.near("aws-coder")))],
        ];
        let pinned = |((_, text), pins): (&(&str, &str), &[(String, String)])| {
            pins.iter().fold(self.filled(text), |text, (from, to)| {
                assert_eq!(text.matches(from.as_str()).count(), 1, "{from} in\n{text}");
                text.replace(from.as_str(), to)
            })
        };
        FILES.iter().zip(pins).map(pinned).collect()
    }
}

#[test]
fn references_become_digests_and_every_other_byte_stays() {
    let published = Published::new();
    let before = FILES.map(|(name, _)| published.text(name));
    // Line ends of another system stay, too.
    let compose = published.text("compose.yaml").replace('\n', "\r\n");
    published.family.write("compose.yaml", &compose);

    let checked = published.pin(&["--check"]).ends(10).says(&["4 of 4 files are not pinned"]);
    assert!(checked.stdout.contains("would become"), "{}", checked.stdout);
    let patch = published.pin(&["--dry-run"]).ends(0).stdout;
    assert_eq!(published.text("compose.yaml"), compose);
    let told = published.pin(&["--format", "json", "--check"]).ends(10).json();
    let list = |name: &str| told[name].as_array().expect("a list").clone();
    assert_eq!((told["schema"].clone(), list("references").len()), (json!(1), 9));
    assert!(list("references").iter().all(|step| step["differs"] == true && step["written"] == false));
    let left = |word: &str| list("left").iter().filter(|left| left["why"].as_str().is_some_and(|why| why.contains(word))).count();
    assert_eq!((left("comment"), left("variables"), left("no tag")), (6, 3, 1), "{told:#}");

    published.pin(&[]).ends(0);
    let after = FILES.map(|(name, _)| published.text(name));
    let wanted = published.wanted();
    for ((text, wanted), (name, _)) in after.iter().zip(&wanted).zip(FILES) {
        let wanted = if name == "compose.yaml" { wanted.replace('\n', "\r\n") } else { wanted.clone() };
        assert_eq!(*text, wanted, "{name}");
    }
    published.pin(&["--check"]).ends(0);
    let again = published.pin(&["--dry-run"]).ends(0);
    assert_eq!(again.stdout, "");

    // The patch is what was done, to git as well.
    for (name, text) in FILES.iter().map(|(name, _)| *name).zip(&before) {
        let text = if name == "compose.yaml" { compose.clone() } else { text.clone() };
        published.family.write(name, &text);
    }
    published.family.write("../the.patch", &patch);
    published.family.git(&["apply", "--unidiff-zero", "--whitespace=nowarn", "../the.patch"]);
    assert_eq!(FILES.map(|(name, _)| published.text(name)), after);
    others_read_the_same(&published, &before, &after);
}

/// What other parsers read, file by file: python-hcl2 (without the comments that it gives beside the values), PyYAML, and
/// Python's json, which knows neither comments nor a comma at the end.
const READ: &str = r#"
import hcl2, json, re, sys, yaml
def without(value):
    if isinstance(value, dict):
        return {key: without(of) for key, of in value.items() if key != "__comments__"}
    return [without(of) for of in value] if isinstance(value, list) else value
def jsonc(text):
    text = re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', lambda found: found[1] or "", text, flags=re.S)
    return json.loads(re.sub(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', lambda found: found[1] or "", text))
terraform, compose, kubernetes, devcontainer = json.load(sys.stdin)
documents = lambda text: list(yaml.safe_load_all(text))
print(json.dumps([without(hcl2.loads(terraform)), documents(compose), documents(kubernetes), jsonc(devcontainer)]))
"#;

/// Other parsers read the same in both, but for the references.
fn others_read_the_same(published: &Published, before: &[String; 4], after: &[String; 4]) {
    let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
    let read = |texts: &[String; 4]| -> Value {
        published.family.write("../texts.json", &json!(texts).to_string());
        let file = std::fs::File::open(published.path("../texts.json")).expect("a file");
        let mut python = Command::new(python::folder(&places).join("bin/python"));
        let output = python.args(["-c", READ]).stdin(file).output().expect("python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let (mut one, other) = (read(before), read(after));
    let (near, far) = (published.family.registry.repository().to_string(), published.far.repository().to_string());
    for (place, from, to) in [
        ("/0/locals/0/web", format!("{near}:aws-web"), published.near("aws-web")),
        (
            "/0/resource/0/\"aws_ecs_task_definition\"/\"workspace\"/container_definitions",
            format!("{near}:aws-coder"),
            published.near("aws-coder"),
        ),
        (
            "/0/resource/1/\"aws_ecs_task_definition\"/\"runner\"/container_definitions",
            format!("{far}:aws{EMPTY}"),
            published.far("aws"),
        ),
        ("/1/0/services/workspace/image", format!("{near}:aws-web"), published.near("aws-web")),
        ("/1/0/services/shell/image", format!("{near}:aws"), published.near("aws")),
        ("/1/0/services/shell/command", format!("{near}:azure"), published.near("azure")),
        ("/2/0/spec/template/spec/initContainers/0/image", format!("{near}:azure"), published.near("azure")),
        ("/2/0/spec/template/spec/containers/0/image", format!("{far}:azure"), published.far("azure")),
        ("/3/image", format!("{near}:aws-coder"), published.near("aws-coder")),
    ] {
        let value = one.pointer_mut(place).unwrap_or_else(|| panic!("{place}"));
        let text = value.as_str().expect("text");
        assert_eq!(text.matches(&from).count(), 1, "{place}: {text}");
        *value = json!(text.replace(&from, &to));
    }
    assert_eq!(one, other);
}

#[test]
fn references_move_to_another_destination_which_has_to_have_them() {
    let published = Published::new();
    let names = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let before = names(&published.text("deployment.yaml"));
    published.run(&["--to", "far", "deployment.yaml"]).ends(0);
    let after = names(&published.text("deployment.yaml"));
    let changed: Vec<&String> =
        after.iter().zip(&before).filter(|(after, before)| after != before).map(|(after, _)| after).collect();
    assert_eq!(changed.len(), 2);
    assert!(changed.iter().all(|line| line.contains(&published.far("azure"))), "{changed:?}");

    // `far` has neither `aws-coder` nor `aws-web`: everything that is wrong is told, nothing is done.
    let compose = published.text("compose.yaml");
    published.family.write("binary.json", "");
    std::fs::write(published.path("binary.json"), [0xff, 0xfe]).expect("written");
    let files = ["compose.yaml", "devcontainer.json", "gone.tf", "README.md", "binary.json"];
    let failed = published.run(&[&["--to", "far"], &files[..]].concat()).ends(2);
    let failed = failed.says(&[
        "5 problems; no file was changed",
        "aws-web` is not published",
        "devcontainer.json:4:",
        "gone.tf: cannot be read",
    ]);
    failed.says(&[
        "README.md: what a comment is",
        "binary.json: is not text",
        "the family has `aws`, `aws-coder`, `aws-web`, `azure`",
    ]);
    assert_eq!(published.text("compose.yaml"), compose);
    published.run(&["--to", "fra", "compose.yaml"]).ends(2).says(&["`near`"]);
}

#[test]
#[cfg(unix)]
fn links_and_permissions_stay_and_a_silent_registry_changes_nothing() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let published = Published::new();
    let file = published.path("devcontainer.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("permissions");
    let link = published.path("link.json");
    symlink("devcontainer.json", &link).expect("a link");
    published.run(&["link.json", "devcontainer.json"]).ends(0);
    assert!(link.is_symlink());
    assert!(published.text("devcontainer.json").contains(&published.near("aws-coder")));
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o640);

    let compose = published.text("compose.yaml");
    published.family.registry.kill();
    published.run(&["compose.yaml"]).ends(3).says(&["3 problems; no file was changed", "compose.yaml:7:"]);
    assert_eq!(published.text("compose.yaml"), compose);
}
