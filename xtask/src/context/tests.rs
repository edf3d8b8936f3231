use std::io::Read as _;

use super::*;

/// Patterns, and paths with whether they are left out: the examples of docker's documentation of `.dockerignore`, then
/// cases of its own matcher.
#[test]
fn dockerignore_as_docker_documents_it() {
    let cases: &[(&str, &[(&str, bool)])] = &[
        ("# comment\n*/temp*", &[("some/temporary.txt", true), ("some/temp", true), ("temp", false), ("a/b/temp", false)]),
        ("*/*/temp*", &[("some/sub/temporary.txt", true), ("some/temp", false)]),
        ("temp?", &[("tempa", true), ("tempb", true), ("temp", false), ("tempab", false), ("x/tempa", false)]),
        ("**/*.go", &[("a.go", true), ("x/y/a.go", true), ("a.gox", false)]),
        ("*.md\n!README.md", &[("a.md", true), ("README.md", false)]),
        ("*.md\n!README*.md\nREADME-secret.md", &[("README-a.md", false), ("README-secret.md", true), ("x.md", true)]),
        ("*.md\nREADME-secret.md\n!README*.md", &[("README-secret.md", false), ("x.md", true)]),
        ("/foo/bar", &[("foo/bar", true), ("x/foo/bar", false)]),
        ("foo/bar/", &[("foo/bar", true), ("foo/bar/baz", true), ("foo", false)]),
        ("./foo//./bar", &[("foo/bar", true)]),
        ("a/../b", &[("b", true), ("a", false)]),
        ("../b", &[("b", false)]),
        (".", &[("a", false)]),
        ("  spaced  ", &[("spaced", true)]),
        (" # no comment", &[("# no comment", true)]),
        ("\u{feff}first", &[("first", true)]),
        ("first\r\nsecond\r\n", &[("first", true), ("second", true)]),
        ("**", &[("a", true), ("a/b", true)]),
        ("dir/**", &[("dir", false), ("dir/a", true), ("dir/a/b", true)]),
        ("**/dir", &[("dir", true), ("a/dir", true), ("a/dir/x", true), ("adir", false)]),
        ("a/**/b", &[("a/b", true), ("a/x/b", true), ("a/x/y/b", true), ("ab", false)]),
        ("*", &[("a", true), ("a/b", true)]),
        ("*\n!src", &[("a", true), ("src", false), ("src/x/y", false)]),
        ("*\n!src/keep", &[("src", true), ("src/keep", false), ("src/other", true)]),
        ("[a-c]x", &[("ax", true), ("cx", true), ("dx", false)]),
        ("[^a-c]x", &[("ax", false), ("dx", true), ("/x", false)]),
        (r"\*.x", &[("*.x", true), ("a.x", false)]),
        ("a.c", &[("a.c", true), ("abc", false)]),
        ("über*", &[("übermut", true)]),
    ];
    for (text, paths) in cases {
        let ignore = Ignore::parse(text).unwrap();
        for (path, left_out) in *paths {
            assert_eq!(ignore.leaves_out(path), *left_out, "{path:?} by {text:?}");
        }
    }
}

#[test]
fn lines_that_are_no_patterns() {
    for (text, line) in [("a\n!", 2), ("[a", 1), ("x\n\n[]", 3), ("[a-", 1), ("[a-]", 1), ("a\\", 1)] {
        assert_eq!(Ignore::parse(text).map(|_| ()).map_err(|problem| problem.line), Err(line), "{text:?}");
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// What a reader of the tar archive sees: path → kind, mode, link target or content; in its order.
fn listing(tar: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 1_700_000_000));
        let mode = header.mode().unwrap();
        let link = entry.link_name().unwrap().map(|target| format!(" -> {}", target.display())).unwrap_or_default();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (path, format!("{mode:o}{link} {text}").trim_end().to_owned())
    });
    entries.collect()
}

#[cfg(unix)]
#[test]
fn a_folder_becomes_a_sorted_archive_with_normal_modes() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder(&[
        ("Dockerfile", "FROM scratch"),
        (".dockerignore", "*\n!rootfs\n**/*.log"),
        ("notes.md", "not for the image"),
        ("rootfs/etc/a", "A"),
        ("rootfs/etc-b", "B"),
        ("rootfs/etc/x.log", "left out"),
        ("rootfs/usr/bin/run", "#!/bin/sh"),
    ]);
    fs::create_dir(dir.path().join("rootfs/empty")).unwrap();
    fs::set_permissions(dir.path().join("rootfs/usr/bin/run"), fs::Permissions::from_mode(0o4710)).unwrap();
    fs::set_permissions(dir.path().join("rootfs/etc/a"), fs::Permissions::from_mode(0o666)).unwrap();
    std::os::unix::fs::symlink("../nowhere", dir.path().join("rootfs/etc/link")).unwrap();

    let mut context = read(dir.path()).unwrap();
    assert_eq!(context.dockerfile(), b"FROM scratch");
    context.add("rootfs/usr/local/bin/entrypoint", 0o755, "ELF").unwrap();
    let listed = listing(&context.tar(1_700_000_000).unwrap());
    let expected = [
        ("Dockerfile", "644 FROM scratch"),
        ("rootfs/", "755"),
        ("rootfs/empty/", "755"),
        ("rootfs/etc/", "755"),
        ("rootfs/etc-b", "644 B"),
        ("rootfs/etc/a", "644 A"),
        ("rootfs/etc/link", "777 -> ../nowhere"),
        ("rootfs/usr/", "755"),
        ("rootfs/usr/bin/", "755"),
        ("rootfs/usr/bin/run", "755 #!/bin/sh"),
        ("rootfs/usr/local/", "755"),
        ("rootfs/usr/local/bin/", "755"),
        ("rootfs/usr/local/bin/entrypoint", "755 ELF"),
    ];
    assert_eq!(listed, expected.map(|(path, what)| (path.to_owned(), what.to_owned())));
    assert_eq!(context.tar(1_700_000_000).unwrap(), context.clone().tar(1_700_000_000).unwrap());
}

#[cfg(unix)]
#[test]
fn the_digest_changes_with_what_a_build_can_see_and_with_nothing_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = [("Dockerfile", "FROM scratch"), ("a/b", "1"), (".dockerignore", "out")];
    let dir = folder(&files);
    let before = read(dir.path()).unwrap().digest();
    assert_eq!(read(folder(&files).path()).unwrap().digest(), before);

    fs::write(dir.path().join("out"), "left out").unwrap();
    fs::set_permissions(dir.path().join("a/b"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read(dir.path()).unwrap().digest(), before, "left out, or no part of the normal modes");

    let mut seen = vec![before];
    fs::set_permissions(dir.path().join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
    seen.push(read(dir.path()).unwrap().digest());
    fs::write(dir.path().join("a/b"), "2").unwrap();
    seen.push(read(dir.path()).unwrap().digest());
    fs::rename(dir.path().join("a/b"), dir.path().join("a/c")).unwrap();
    seen.push(read(dir.path()).unwrap().digest());
    fs::create_dir(dir.path().join("empty")).unwrap();
    seen.push(read(dir.path()).unwrap().digest());
    let mut added = read(dir.path()).unwrap();
    added.add("a/d", 0o755, "entrypoint").unwrap();
    seen.push(added.digest());
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn the_dockerfile_is_needed_and_cannot_be_ignored() {
    let kept = folder(&[("Dockerfile", "FROM scratch"), (".dockerignore", "*")]);
    assert_eq!(read(kept.path()).unwrap().paths().collect::<Vec<_>>(), ["Dockerfile"]);
    let none = folder(&[("a", "")]);
    assert!(matches!(read(none.path()), Err(ContextError::NoDockerfile(_))));
    assert!(matches!(read(&none.path().join("missing")), Err(ContextError::Read { .. })));
}

#[cfg(unix)]
#[test]
fn what_no_context_can_hold() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = folder(&[("Dockerfile", "FROM scratch")]);
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    assert!(matches!(read(dir.path()), Err(ContextError::Special(path)) if path.ends_with("socket")));
    fs::write(dir.path().join(".dockerignore"), "socket").unwrap();
    read(dir.path()).unwrap();
    drop(socket);
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    assert!(matches!(read(dir.path()), Err(ContextError::Name(_))));
    fs::write(dir.path().join(".dockerignore"), "a\n[").unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert!(error.contains(".dockerignore` line 2: `[` is not a pattern"), "{error}");
}

#[test]
fn paths_that_cannot_be_added() {
    let dir = folder(&[("Dockerfile", "FROM scratch"), ("a/b", "")]);
    let mut context = read(dir.path()).unwrap();
    for path in ["", "/a", "a/../b", "./a", "a", "a/b/c", "a//c"] {
        assert!(matches!(context.add(path, 0o644, ""), Err(ContextError::Added { .. })), "{path:?}");
    }
    context.add("a/b", 0o644, "replaced").unwrap();
    assert_eq!(context.size(), 20);
}
