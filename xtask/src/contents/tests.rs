//! Layers by hand, and what is read of them.

use std::io::Write as _;

use super::*;
use crate::oci::Digest;

/// A tar with these files; a name that ends in `/` is a folder, `a -> b` a symbolic link, `a = b` a hard link.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        if let Some((name, target)) = name.split_once(" -> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, name, target).unwrap();
        } else if let Some((name, target)) = name.split_once(" = ") {
            header.set_entry_type(tar::EntryType::Link);
            archive.append_link(&mut header, name, target).unwrap();
        } else if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            archive.append_data(&mut header, name, std::io::empty()).unwrap();
        } else {
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, *bytes).unwrap();
        }
    }
    archive.into_inner().unwrap()
}

fn layer(files: &[(&str, &[u8])]) -> Layer {
    let bytes = tar(files);
    read_layer(bytes.as_slice(), Digest::of(&bytes)).unwrap()
}

fn image(layers: &[&[(&str, &[u8])]], labels: &[(&str, &str)]) -> Contents {
    let layers: Vec<_> = layers.iter().map(|files| (Arc::new(layer(files)), None)).collect();
    let labels: serde_json::Map<String, serde_json::Value> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let config = serde_json::json!({
        "config": { "Labels": labels },
        "rootfs": { "diff_ids": layers.iter().map(|(layer, _)| layer.diff_id).collect::<Vec<_>>() },
    });
    let bytes = serde_json::to_vec(&config).unwrap();
    assemble(Digest::of(&bytes), ImageConfig::read(&bytes).unwrap(), layers)
}

fn named(contents: &Contents) -> Vec<String> {
    contents.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
}

fn found(layer: &Layer) -> Vec<String> {
    layer.findings.iter().map(|finding| format!("{}: {}", finding.what, finding.path)).collect()
}

const STATUS: &[u8] = b"Package: git\nStatus: install ok installed\nInstalled-Size: 10\nArchitecture: amd64\nVersion: 1:2.47-1\n\
Description: a\n tool: with a colon\n\nPackage: old\nStatus: deinstall ok config-files\nVersion: 1\n\n\
Package: libssl3t64\nStatus: hold ok installed\nArchitecture: amd64\nSource: openssl (3.5.1-1)\nVersion: 3.5.1-1+b2\n";

#[test]
fn entries_are_told_as_they_are_and_a_layer_that_is_another_one_is_refused() {
    let layer = layer(&[
        ("./", b""),
        ("./usr/", b""),
        ("./usr/a", b"text"),
        ("./usr/b", b"text"),
        ("./usr/c -> a", b""),
        ("./usr/d = ./usr/a", b""),
        ("./usr/.wh.gone", b""),
        ("./var/.wh..wh..opq", b""),
        ("./.wh..wh.plnk", b""),
    ]);
    let paths: Vec<_> = layer.entries.iter().map(|entry| (entry.path.as_str(), entry.kind, entry.bytes)).collect();
    use EntryKind::{File, Folder, HardLink, Link};
    let expected = [("usr", Folder, 0), ("usr/a", File, 4), ("usr/b", File, 4), ("usr/c", Link, 0), ("usr/d", HardLink, 0)];
    assert_eq!(paths, expected);
    let content = |at: usize| layer.entries[at].content.as_str();
    assert_eq!((content(1), content(4)), (content(2), content(1)));
    assert_eq!(content(1), Digest::of("text").short(16));
    assert_eq!((layer.removed, layer.hidden), (vec!["usr/gone".to_owned()], vec!["var".to_owned()]));

    let bytes = tar(&[("a", b"")]);
    assert_eq!(layer.bytes % 512, 0);
    let error = read_layer(bytes.as_slice(), Digest::of("else")).unwrap_err();
    assert!(error.to_string().contains(&Digest::of(&bytes).to_string()), "{error}");
}

#[test]
fn packages_are_what_their_managers_wrote_down() {
    let metadata =
        b"Metadata-Version: 2.4\nName: Ruamel.yaml_clib\nVersion: 0.2\nLicense-Expression: MIT\nLicense: no\n\nVersion: 9\n";
    let classified = b"Name: b\nVersion: 1\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n";
    let record = b"r/__init__.py,sha256=x,5\nruamel-0.2.dist-info/METADATA,,\n../../../bin/r,,\n\"r/with,comma\",,\n";
    let contents = image(
        &[&[
            ("var/lib/dpkg/status", STATUS),
            (
                "usr/share/doc/git/copyright",
                b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
              License: GPL-2\n\nFiles: x\nLicense: Expat\n\nLicense: GPL-2\n text\n",
            ),
            ("usr/share/doc/libssl3t64 -> git", b""),
            ("opt/v/lib/python3.13/site-packages/ruamel-0.2.dist-info/METADATA", metadata),
            ("opt/v/lib/python3.13/site-packages/ruamel-0.2.dist-info/RECORD", record),
            ("opt/v/lib/python3.13/site-packages/r/__init__.py", b"12345"),
            ("opt/v/lib/python3.13/site-packages/r/with,comma", b"1"),
            ("opt/v/bin/r", b"1234567"),
            ("opt/v/lib/python3.13/site-packages/b.egg-info/PKG-INFO", classified),
            ("opt/c/node_modules/@s/n/package.json", br#"{"name":"@s/n","version":"3.0.0","license":{"type":"ISC"}}"#),
            ("opt/c/node_modules/@s/n/node_modules/m/package.json", br#"{"name":"m","version":"1.0.0"}"#),
            ("opt/c/node_modules/@s/n/lib/package.json", br#"{"name":"inner","version":"1.0.0"}"#),
            ("opt/c/package.json", br#"{"name":"not-installed","version":"1.0.0"}"#),
            (
                "s/ansible_collections/a/b/MANIFEST.json",
                br#"{"collection_info":{"namespace":"a","name":"b","version":"2","license":["MIT"]}}"#,
            ),
            ("s/ansible_collections/a/b/plugins/x.py", b"1234"),
        ]],
        &[("gantry.pin.code-server", "4.1"), ("other", "label")],
    );
    let told: Vec<_> = contents
        .packages
        .iter()
        .map(|package| {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            format!(
                "{:?} {} {} {} {} [{}] {}",
                package.kind,
                package.name,
                package.version,
                text(&package.source),
                package.bytes,
                text(&package.license),
                text(&package.place)
            )
        })
        .collect();
    let json = 58;
    assert_eq!(
        told,
        [
            "Debian git 1:2.47-1 - 10240 [Expat, GPL-2] -".to_owned(),
            "Debian libssl3t64 3.5.1-1+b2 openssl 3.5.1-1 0 [Expat, GPL-2] -".to_owned(),
            "Python b 1 - 0 [MIT License] opt/v/lib/python3.13/site-packages".to_owned(),
            format!("Python ruamel-yaml-clib 0.2 - {} [MIT] opt/v/lib/python3.13/site-packages", 5 + 7 + 1 + metadata.len()),
            format!("Npm @s/n 3.0.0 - {} [ISC] opt/c/node_modules/@s/n", json + 34),
            "Npm m 1.0.0 - 30 [-] opt/c/node_modules/@s/n/node_modules/m".to_owned(),
            "Collection a.b 2 - 84 [MIT] s/ansible_collections/a/b".to_owned(),
            "Pin code-server 4.1 - 0 [-] -".to_owned(),
        ]
    );
}

#[test]
fn evidence_may_be_longer_than_what_is_read_at_once() {
    let mut status = STATUS.to_vec();
    for number in 0..8000 {
        write!(status, "\nPackage: p{number}\nStatus: install ok installed\nVersion: 1\n").unwrap();
    }
    let mut record = String::from("boto3/__init__.py,,\n");
    for number in 0..20_000 {
        record += &format!("boto3/data/{number}.json,sha256=x,1\n");
    }
    let contents = image(
        &[&[
            ("var/lib/dpkg/status", &status),
            ("opt/boto3-1.dist-info/METADATA", b"Name: boto3\nVersion: 1\n"),
            ("opt/boto3-1.dist-info/RECORD", record.as_bytes()),
            ("opt/boto3/__init__.py", b"12345"),
        ]],
        &[],
    );
    assert_eq!(contents.packages.len(), 2 + 8000 + 1);
    let boto3 = contents.packages.iter().find(|package| package.name == "boto3");
    assert_eq!(boto3.map(|package| package.bytes), Some(5));
}

#[test]
fn what_a_later_layer_replaces_or_removes_does_not_count() {
    let below: &[(&str, &[u8])] = &[
        ("var/lib/dpkg/status", STATUS),
        ("p/site-packages/a-1.dist-info/METADATA", b"Name: a\nVersion: 1\n"),
        ("p/site-packages/b-1.dist-info/METADATA", b"Name: b\nVersion: 1\n"),
        ("q/node_modules/", b""),
        ("q/node_modules/n/package.json", br#"{"name":"n","version":"1"}"#),
    ];
    type Case<'a> = (&'a str, &'a [(&'a str, &'a [u8])], &'a [&'a str]);
    let all = ["git 1:2.47-1", "libssl3t64 3.5.1-1+b2", "a 1", "b 1", "n 1"];
    let cases: &[Case<'_>] = &[
        ("something else", &[("x", b"")], &all),
        (
            "an upgrade",
            &[("p/site-packages/.wh.a-1.dist-info", b""), ("p/site-packages/a-2.dist-info/METADATA", b"Name: a\nVersion: 2\n")],
            &["git 1:2.47-1", "libssl3t64 3.5.1-1+b2", "a 2", "b 1", "n 1"],
        ),
        (
            "another list",
            &[("var/lib/dpkg/status", b"Package: z\nStatus: install ok installed\nVersion: 1\n")],
            &["z 1", "a 1", "b 1", "n 1"],
        ),
        ("a folder removed", &[("p/.wh.site-packages", b"")], &["git 1:2.47-1", "libssl3t64 3.5.1-1+b2", "n 1"]),
        (
            "a folder hidden",
            &[("p/site-packages/c-1.dist-info/METADATA", b"Name: c\nVersion: 1\n"), ("p/.wh..wh..opq", b"")],
            &["git 1:2.47-1", "libssl3t64 3.5.1-1+b2", "c 1", "n 1"],
        ),
        ("a folder replaced by a file", &[("q/node_modules", b"")], &["git 1:2.47-1", "libssl3t64 3.5.1-1+b2", "a 1", "b 1"]),
        ("everything hidden", &[(".wh..wh..opq", b"")], &[]),
    ];
    for (what, above, expected) in cases {
        assert_eq!(named(&image(&[below, above], &[])), *expected, "{what}");
    }
}

#[test]
fn what_dpkg_installed_is_told_once() {
    let files: &[(&str, &[u8])] = &[
        ("var/lib/dpkg/status", b"Package: python3-yaml\nStatus: install ok installed\nVersion: 6.0.2-1\n"),
        ("var/lib/dpkg/info/python3-yaml.list", b"/.\n/usr\n/usr/lib/python3/dist-packages/PyYAML-6.0.2.dist-info/METADATA\n"),
        ("usr/lib/python3/dist-packages/PyYAML-6.0.2.dist-info/METADATA", b"Name: PyYAML\nVersion: 6.0.2\n"),
        ("usr/local/lib/python3.13/dist-packages/PyYAML-6.0.3.dist-info/METADATA", b"Name: PyYAML\nVersion: 6.0.3\n"),
    ];
    assert_eq!(named(&image(&[files], &[])), ["python3-yaml 6.0.2-1", "pyyaml 6.0.3"]);
}

const KEY: &str = "MHcCAQEEIIUG6YcJ3uYk9yFp3mTqWb1VQz0e7Xn5RkC2sLhDgA8ZoAoGCCqGSM49";

#[test]
fn findings() {
    let key = format!("-----BEGIN EC PRIVATE KEY-----\n{KEY}\n-----END EC PRIVATE KEY-----\n");
    let escaped = format!("key = \"-----BEGIN PRIVATE KEY-----\\n{KEY}\\n\"");
    let locked = format!("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0\n\n{KEY}\n");
    let late = format!("{}{key}", "x\n".repeat(300_000));
    let token = "q3Zx8LpV0nRt5YwK2mBd7HsJ4cFg9TuE1oAi";
    let ghp = format!("export T=ghp_{token}\n");
    let npmrc = format!("//registry.example/:_authToken={token}\n");
    let cases: &[(&str, &str, &[&str])] = &[
        ("etc/ssh/ssh_host_ed25519_key", "", &["host key"]),
        ("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 …", &["host key"]),
        ("var/lib/apt/lists/deb_Packages", "x", &["package list"]),
        ("var/lib/apt/lists/lock", "x", &[]),
        ("var/log/dpkg.log", "x", &["log"]),
        ("var/log/dpkg.log", "", &[]),
        ("home/u/.cache/pip/x", "x", &["cache"]),
        ("etc/machine-id", "1", &["machine id"]),
        ("tmp/x", "x", &["leftover"]),
        ("home/u/.ssh/id_rsa", "x", &["private key"]),
        ("home/u/key.pem", &key, &["private key"]),
        ("home/u/settings.json", &escaped, &["private key"]),
        ("home/u/far-inside", &late, &["private key"]),
        ("usr/share/doc/x/key.pem", &key, &[]),
        ("v/lib/python3.13/site-packages/x/tests/key.pem", &key, &[]),
        ("home/u/tests/key.pem", &key, &["private key"]),
        ("home/u/readme", "it begins with -----BEGIN PRIVATE KEY----- and …", &[]),
        ("home/u/readme", "-----BEGIN PRIVATE KEY-----\nMIIE...\n-----END PRIVATE KEY-----", &[]),
        (
            "home/u/parse.js",
            "/^-----BEGIN RSA PRIVATE KEY-----(?:\\r\\n|\\n)([A-Za-z]+)/\nAbcdefghijklmnopqrstuvwxyzAbcdefghijklmnopqrstuvwxyz",
            &[],
        ),
        ("home/u/key.ppk", "PuTTY-User-Key-File-2: ssh-rsa\n", &["private key"]),
        ("home/u/parse.js", "/^PuTTY-User-Key-File-2: (ssh-(?:rsa|dss))/", &[]),
        ("home/u/locked.pem", &locked, &["private key"]),
        ("home/u/a", "id=AKIAQ3ZXLPVRTYWKMBDH\n", &["AWS access key"]),
        ("home/u/a", "id=AKIAIOSFODNN7EXAMPLE\n", &[]),
        ("home/u/a", "XAKIAQ3ZXLPVRTYWKMBDH\n", &[]),
        ("home/u/.profile", &ghp, &["GitHub token"]),
        ("home/u/a", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", &[]),
        ("home/u/a", "npm_config_registry_is_set_here_for_all_1", &[]),
        ("home/u/.npmrc", &npmrc, &["npm token"]),
        ("home/u/.npmrc", "//registry.example/:_authToken=${NPM_TOKEN}\n", &[]),
        ("root/.docker/config.json", r#"{"auths":{"ghcr.io":{"auth":"dTpw"}}}"#, &["registry credential"]),
        ("root/.docker/config.json", r#"{"auths":{"ghcr.io":{}}}"#, &[]),
        ("root/.git-credentials", "https://u:p@github.com", &["git credential"]),
        ("etc/shadow", "root:*:1:0:::::\n", &[]),
        ("etc/shadow", "root:$y$j9T$abc:1:0:::::\n", &["password hash"]),
    ];
    for (path, text, expected) in cases {
        let findings = found(&layer(&[(path, text.as_bytes())]));
        let expected: Vec<_> = expected.iter().map(|what| format!("{what}: {path}")).collect();
        assert_eq!(findings, expected, "{}", &text[..text.len().min(60)]);
    }
}

#[test]
fn binaries_are_not_searched_for_text() {
    let binary = format!("\0\0-----BEGIN PRIVATE KEY-----\n{KEY}\n");
    assert_eq!(found(&layer(&[("usr/bin/x", binary.as_bytes())])), [""; 0]);
}

/// The least ELF binary with a section `.dep-v0`.
fn elf(json: &str) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(json.as_bytes()).unwrap();
    let section = zlib.finish().unwrap();
    let names = b"\0.shstrtab\0.dep-v0\0";
    let mut file = vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let at = file.len();
    file.extend(&section);
    let names_at = file.len();
    file.extend(names);
    let table = file.len() as u64;
    for (name, offset, size) in [(0u32, 0, 0), (1, names_at, names.len()), (11, at, section.len())] {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[0x18..0x20].copy_from_slice(&(offset as u64).to_le_bytes());
        header[0x20..0x28].copy_from_slice(&(size as u64).to_le_bytes());
        file.extend(header);
    }
    file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
    for (at, value) in [(0x3a, 64u16), (0x3c, 3), (0x3e, 1)] {
        file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    file
}

#[test]
fn a_binary_tells_the_crates_that_it_is_made_of() {
    let json = r#"{"packages":[{"name":"nix","version":"0.31.0","source":"crates.io"},
        {"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"},
        {"name":"entrypoint","version":"0.1.0","source":"local","dependencies":[0],"root":true}]}"#;
    let elf = elf(json);
    assert_eq!(named(&image(&[&[("usr/local/bin/entrypoint", &elf)]], &[])), ["entrypoint 0.1.0", "nix 0.31.0"]);
    // Whatever is cut off or turned round is no list, and harms nothing.
    for length in 0..elf.len() {
        let _ = layer(&[("x", &elf[..length])]);
        let mut other = elf.clone();
        other[length] ^= 0xff;
        let _ = layer(&[("x", &other)]);
    }
}

#[test]
fn a_shelf_gives_back_what_was_put_there_and_nothing_that_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let layer = layer(&[("var/lib/dpkg/status", STATUS), ("etc/machine-id", b"1")]);
    let shelf = Shelf::open(folder.path()).unwrap();
    assert!(shelf.layer(layer.diff_id).is_none());
    shelf.put(layer.clone()).unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let again = || Shelf::open(folder.path()).unwrap();
    assert_eq!(again().layer(layer.diff_id).as_deref(), Some(&layer));
    let [file] = &files()[..] else { panic!("{:?}", files()) };
    for damaged in [&b"no"[..], &std::fs::read(file).unwrap()[..100]] {
        std::fs::write(file, damaged).unwrap();
        assert!(again().layer(layer.diff_id).is_none());
    }
    again().put(layer.clone()).unwrap();
    assert_eq!(again().layer(layer.diff_id).as_deref(), Some(&layer));
    again().trim();
    assert_eq!(files().len(), 1);
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(24 * 40);
    std::fs::File::options().append(true).open(file).unwrap().set_modified(long_ago).unwrap();
    again().trim();
    assert_eq!(files().len(), 0);
}

#[test]
fn layers_are_read_once_and_come_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(folder.path()).unwrap();
    let tars: Vec<Vec<u8>> = ["a", "b", "c", "a"].iter().map(|name| tar(&[(name, b"x")])).collect();
    let wanted = |fails: bool| -> Vec<(Digest, Open)> {
        let open = |bytes: Vec<u8>| -> Open {
            Box::new(move || match fails {
                true => Err(std::io::Error::other("opened")),
                false => Ok(Box::new(std::io::Cursor::new(bytes))),
            })
        };
        tars.iter().map(|bytes| (Digest::of(bytes), open(bytes.clone()))).collect()
    };
    assert!(matches!(read_layers(&shelf, wanted(true)), Err(ContentsError::Layer { .. })));
    for fails in [false, true] {
        let layers = read_layers(&shelf, wanted(fails)).unwrap();
        let names: String = layers.iter().map(|layer| layer.entries[0].path.as_str()).collect();
        assert_eq!(names, "abca");
    }
}
