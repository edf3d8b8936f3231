//! What the texts of variants.toml and variants.lock may look like, where `oci` and the model have no type for them.

/// An absolute http(s) URL with a host, without white space, quotes and control characters.
pub(super) fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`'))
}

/// A version as it stands in file names, tags and build arguments: `2.337.0`, a commit, `1.0.0-rc.1+x`.
pub(super) fn is_version(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-');
    text.len() <= 128 && text.bytes().all(ok) && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// A git commit: 40 lower-case hexadecimal digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name of a build argument: `[A-Z_][A-Z0-9_]*`.
pub(super) fn is_build_arg(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_uppercase() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether the pipeline sets this build argument itself.
pub(super) fn is_reserved_build_arg(text: &str) -> bool {
    matches!(text, "PARENT" | "BASE" | "BUILD_DATE") || text.starts_with("ARTIFACT")
}

/// A label's key: `com.example.team`.
pub(super) fn is_label(text: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    ends(text.as_bytes().first()) && ends(text.as_bytes().last()) && text.bytes().all(ok)
}

/// Whether the pipeline sets this label itself.
pub(super) fn is_reserved_label(text: &str) -> bool {
    const OURS: [&str; 10] =
        ["base.digest", "base.name", "created", "description", "licenses", "ref.name", "revision", "source", "title", "version"];
    text == "devcontainer.metadata"
        || text.starts_with("gantry.")
        || text.strip_prefix("org.opencontainers.image.").is_some_and(|key| OURS.contains(&key))
}

/// The name of a build stage, as BuildKit takes it.
pub(super) fn is_stage(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    text.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && text.bytes().all(ok)
}

/// `images/aws`: folders joined by `/`, none of them `.` or `..`, no spaces and nothing that means something to a shell.
pub(super) fn is_relative_path(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'@');
    text.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(ok))
}

/// `/opt/actions-runner`: as a relative path behind a `/`.
pub(super) fn is_absolute_path(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(is_relative_path)
}

/// `1001:1001`: uid and gid.
pub(super) fn owner(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (uid, gid) = text.split_once(':')?;
    Some((number(uid)?, number(gid)?))
}

/// A GitHub repository: `actions/runner`.
pub(super) fn is_github_repository(text: &str) -> bool {
    text.split_once('/').is_some_and(|(owner, name)| is_word(owner) && is_word(name))
}

/// An extension: `redhat.ansible`.
pub(super) fn is_extension(text: &str) -> bool {
    text.split_once('.').is_some_and(|(publisher, name)| is_word(publisher) && is_word(name) && !name.contains('.'))
}

/// An npm package: `code-server`, `@scope/name`.
pub(super) fn is_npm_package(text: &str) -> bool {
    let name = |text: &str| is_word(text) && !text.bytes().any(|b| b.is_ascii_uppercase());
    match text.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, package)| name(scope) && name(package)),
        None => name(text),
    }
}

/// A PyPI project: letters, digits and `.`, `_`, `-` between them.
pub(super) fn is_pypi_package(text: &str) -> bool {
    is_word(text) && text.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric)
}

/// A Debian package: `ca-certificates`, `g++`.
pub(super) fn is_debian_package(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'.' | b'-');
    text.len() >= 2 && text.bytes().all(ok) && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

fn is_word(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) && text.bytes().all(ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_text_may_look_like() {
        type Check = fn(&str) -> bool;
        let cases: [(&str, Check, &[&str], &[&str]); 12] = [
            (
                "URL",
                is_url,
                &["https://github.com/", "http://127.0.0.1:8080/a?b"],
                &["", "github.com", "https://", "https:///a", "https://a b", "ftp://a", "https://me@host/", "https://a/\"b"],
            ),
            (
                "version",
                is_version,
                &["2.337.0", "1.0.0-rc.1+x", "110a328ea54b42367b803ec53ee0bf52ef26b419"],
                &["", "v 1", "^1.2", "-1", "1/2"],
            ),
            ("commit", is_commit, &["110a328ea54b42367b803ec53ee0bf52ef26b419"], &["110a328", "", "1.134.0"]),
            ("build argument", is_build_arg, &["A", "_A1", "WEB_IDE"], &["", "1A", "web_ide", "WEB-IDE"]),
            ("label", is_label, &["team", "com.example/team_1"], &["", ".a", "a.", "a b"]),
            ("stage", is_stage, &["final", "build-1.x_y"], &["", "Final", "1st", "a b"]),
            ("relative path", is_relative_path, &["images/aws", "a"], &["", "/a", "a/", "a//b", "./a", "a/../b", "a\\b", "a b"]),
            ("absolute path", is_absolute_path, &["/opt/a"], &["/", "opt", "/a/", "/a/../b", "//a"]),
            ("repository", is_github_repository, &["actions/runner"], &["actions", "/runner", "a/b/c", "https://github.com/a/b"]),
            ("extension", is_extension, &["redhat.ansible"], &["ansible", "redhat.", "a.b.c", "a/b"]),
            ("npm package", is_npm_package, &["code-server", "@a/b"], &["", "Code", "a/b", "@a"]),
            ("Debian package", is_debian_package, &["ca-certificates", "g++"], &["", "a", "A2", "a b", "-a"]),
        ];
        for (what, check, good, bad) in cases {
            good.iter().for_each(|text| assert!(check(text), "{text} is a {what}"));
            bad.iter().for_each(|text| assert!(!check(text), "{text} is no {what}"));
        }
    }

    #[test]
    fn owners_are_two_numbers() {
        assert_eq!(owner("1001:1002"), Some((1001, 1002)));
        for text in ["", "1001", "root:root", "1:2:3", "+1:2", "4294967296:0", ":"] {
            assert_eq!(owner(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_pipeline_sets_itself() {
        for arg in ["PARENT", "BASE", "BUILD_DATE", "ARTIFACT", "ARTIFACT_VSCODE_CLI"] {
            assert!(is_reserved_build_arg(arg), "{arg}");
        }
        assert!(!is_reserved_build_arg("BASE_PACKAGES"));
        assert!(is_reserved_label("org.opencontainers.image.revision"));
        assert!(is_reserved_label("gantry.variant"));
        assert!(!is_reserved_label("org.opencontainers.image.vendor"));
    }
}
