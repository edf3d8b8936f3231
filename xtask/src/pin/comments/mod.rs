//! Where the comments of a file are: told by just as much of its grammar as that takes.

mod hcl;
mod json;
mod yaml;

use std::ops::Range;
use std::path::Path;

/// The grammar of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Terraform and Coder templates: `.tf`, `.tfvars`, `.hcl`
    Hcl,
    /// Compose, Kubernetes, workflows: `.yml`, `.yaml`
    Yaml,
    /// devcontainer.json, task definitions: `.json`, `.jsonc`, comments or not
    Json,
}

impl Kind {
    /// By the file's name; none: a file of which we do not know what a comment is.
    pub fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "tf" | "tfvars" | "hcl" => Some(Self::Hcl),
            "yml" | "yaml" => Some(Self::Yaml),
            "json" | "jsonc" => Some(Self::Json),
            _ => None,
        }
    }

    /// The comments, in order, without the ends of their lines.
    pub fn comments(self, text: &str) -> Vec<Range<usize>> {
        match self {
            Self::Hcl => hcl::comments(text),
            Self::Yaml => yaml::comments(text),
            Self::Json => json::comments(text),
        }
    }
}

/// The end of the line that `at` is on.
fn line_end(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.find(['\r', '\n'])).map_or(text.len(), |length| at + length)
}

/// The end of a comment that `/*` at `at` opens.
fn block_end(text: &str, at: usize) -> usize {
    text.get(at + 2..).and_then(|rest| rest.find("*/")).map_or(text.len(), |length| at + 2 + length + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the comments.
    fn told(kind: Kind, text: &str) -> Vec<&str> {
        kind.comments(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn kinds() {
        for (file, kind) in [
            ("coder/dev-container/dev-container.tf", Some(Kind::Hcl)),
            ("terraform.tfvars", Some(Kind::Hcl)),
            ("main.tf.json", Some(Kind::Json)),
            ("compose.yaml", Some(Kind::Yaml)),
            (".devcontainer/devcontainer.json", Some(Kind::Json)),
            (".devcontainer.json", Some(Kind::Json)),
            ("Dockerfile", None),
            ("README.md", None),
        ] {
            assert_eq!(Kind::of(Path::new(file)), kind, "{file}");
        }
    }

    #[test]
    fn of_hcl() {
        for (text, comments) in [
            ("a = 1 # one\nb = 2 // two\r\n/* three\n */ c = 3", &["# one", "// two", "/* three\n */"][..]),
            (r#"a = "x # y // z /* w" # c"#, &["# c"]),
            (r#"a = "\" # no" # c"#, &["# c"]),
            (r#"a = "${b ? "x # y" : "z"} # no" # c"#, &["# c"]),
            (r#"a = "${ { x = "y" } } # no" # c"#, &["# c"]),
            (r#"a = "$${ # no" # c"#, &["# c"]),
            ("a = <<-EOT\n  # no\n  \"\n  EOT\n# c", &["# c"]),
            ("a = jsonencode(<<EOT\n# no\nEOT\n) # c", &["# c"]),
            ("a = 1 << 2 # c", &["# c"]),
            ("a = \"torn # no\nb = 1 # c", &["# c"]),
            ("/* torn", &["/* torn"]),
        ] {
            assert_eq!(told(Kind::Hcl, text), comments, "{text}");
        }
    }

    #[test]
    fn of_yaml() {
        for (text, comments) in [
            ("a: 1 # one\n# two\n  # three\r\n", &["# one", "# two", "# three"][..]),
            ("a: x#y\nb: 'x # y' # c", &["# c"]),
            ("a: \"x \\\" # y\" # c", &["# c"]),
            ("a: 'it''s # no' # c", &["# c"]),
            ("a: don't # c", &["# c"]),
            ("a: rock 'n roll # c\nb: say \"it # d", &["# c", "# d"]),
            ("{\"a\":\"x # y\", \"b\":1} # c", &["# c"]),
            ("- 'x # y' # c\n- ! 'x # y' # d\n- &e \"x # y\"", &["# c", "# d"]),
            ("a: 'one\n  # no\n  two' # c", &["# c"]),
            ("a: |\n  # no\n\n  # no\nb: 1 # c", &["# c"]),
            ("- run: |-\n    # no\n  env: 1 # c", &["# c"]),
            ("- - a: >2\n      # no\n    b: 1 # c", &["# c"]),
            ("a: | # c\n  # no\n# d", &["# c", "# d"]),
            ("a: !!str |\n  # no\nb: # c", &["# c"]),
            ("a: [x, 'y # z'] # c", &["# c"]),
            ("a: b | # c\n  # d", &["# c", "# d"]),
        ] {
            assert_eq!(told(Kind::Yaml, text), comments, "{text}");
        }
    }

    #[test]
    fn of_json() {
        for (text, comments) in [
            ("{ // one\n\"a\": \"x // y\", /* two */ \"b\": \"\\\" // z\" }", &["// one", "/* two */"][..]),
            ("{\"a\": \"https://x\"}", &[]),
        ] {
            assert_eq!(told(Kind::Json, text), comments, "{text}");
        }
    }
}
