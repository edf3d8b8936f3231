use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::family::Unpack;

const EPOCH: u64 = 1_700_000_000;

/// An entry of an archive: kind, name, link target or content.
type Item<'a> = (EntryType, &'a str, &'a str);

fn tarball(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, text) in items {
        let mut header = Header::new_gnu();
        // As a hostile archive would: names that the crate's own `set_path` refuses.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o4750);
        header.set_uid(1234);
        header.set_gid(1234);
        header.set_mtime(42);
        let link = kind.is_symlink() || kind.is_hard_link();
        if link {
            header.set_link_name_literal(text).unwrap();
        }
        let content = if link { "" } else { text };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn spec() -> ImageSpec {
    ImageSpec {
        tag: "gantry.invalid/artifact/x:1".to_owned(),
        platform: Platform::LinuxAmd64,
        created: "2023-11-14T00:00:00Z".to_owned(),
        epoch: EPOCH,
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        env: vec!["PATH=/bin".to_owned()],
        cmd: vec!["/bin/sh".to_owned()],
    }
}

fn place(path: &str, unpack: Unpack, strip: u32) -> Place {
    Place { path: path.to_owned(), unpack, strip, owner: (1001, 1002) }
}

/// Makes the image; gives it whole.
fn made(content: &[u8], source: impl FnOnce(PathBuf) -> LayerSource) -> Result<(Digest, Vec<u8>), ImageError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("download");
    fs::write(&file, content).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let archive = archive(source(file), spec(), dir.path()).await?;
        let (diff_id, length) = (archive.diff_id, archive.length);
        let mut bytes = Vec::new();
        archive.into_reader().read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes.len() as u64, length);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but the download is left");
        Ok((diff_id, bytes))
    })
}

fn unpacked(items: &[Item<'_>], place: Place) -> Result<(Digest, Vec<u8>), ImageError> {
    made(&gzipped(&tarball(items)), |file| LayerSource::Artifact { file, place })
}

/// Path → content of the archive's files.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    files.collect()
}

fn layer_of(archive: &[u8]) -> Vec<u8> {
    files(archive).into_iter().find(|(path, _)| path.ends_with("/layer.tar")).unwrap().1
}

/// What lies in a layer: path, mode, owner, then ` -> target`, ` = hard link` or the content's length.
fn listing(layer: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(layer);
    let lines = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.mtime().unwrap(), EPOCH);
        let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned()).unwrap_or_default();
        let what = match header.entry_type() {
            EntryType::Symlink => format!("-> {link}"),
            EntryType::Link => format!("= {link}"),
            _ => entry.size().to_string(),
        };
        let (mode, uid, gid) = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
        format!("{} {mode:o} {uid}:{gid} {what}", String::from_utf8_lossy(&entry.path_bytes()))
    });
    lines.collect()
}

#[test]
fn an_archive_is_laid_at_its_place() {
    use EntryType as E;
    let long = format!("top/{}", "n".repeat(90));
    let items: [Item<'_>; 9] = [
        (E::Directory, "top/", ""),
        (E::Regular, "top/bin/run", "run it"),
        (E::Directory, "top/bin/", ""),
        (E::Symlink, "top/bin/again", "./run/../run"),
        (E::Link, "top/bin/same", "top/bin/run"),
        (E::Symlink, "top/outside", "/etc/passwd"),
        (E::XGlobalHeader, "pax_global_header", ""),
        (E::Regular, "./top//b", ""),
        (E::Regular, &long, "long"),
    ];
    let (diff_id, archive) = unpacked(&items, place("/opt/very/far", Unpack::TarGz, 1)).unwrap();
    let layer = layer_of(&archive);
    assert_eq!(Digest::of(&layer), diff_id);
    let long = format!("opt/very/far/{} 750 1001:1002 4", "n".repeat(90));
    assert_eq!(
        listing(&layer),
        [
            "opt/ 755 0:0 0",
            "opt/very/ 755 0:0 0",
            "opt/very/far/ 755 1001:1002 0",
            "opt/very/far/bin/ 755 1001:1002 0",
            "opt/very/far/bin/run 750 1001:1002 6",
            "opt/very/far/bin/again 777 1001:1002 -> ./run/../run",
            "opt/very/far/bin/same 750 1001:1002 = opt/very/far/bin/run",
            "opt/very/far/outside 777 1001:1002 -> /etc/passwd",
            "opt/very/far/b 750 1001:1002 0",
            &long,
        ]
    );
    assert_eq!(unpacked(&items, place("/opt/very/far", Unpack::TarGz, 1)).unwrap(), (diff_id, archive), "the same bytes again");
}

#[test]
fn a_single_file_is_laid_at_its_place() {
    for (content, mode) in [("#!/bin/sh", "755"), ("\x7fELF…", "755"), ("PK", "644"), ("", "644")] {
        let place = place("/opt/x/y", Unpack::File, 0);
        let (_, archive) = made(content.as_bytes(), |file| LayerSource::Artifact { file, place }).unwrap();
        let expected = format!("opt/x/y {mode} 1001:1002 {}", content.len());
        assert_eq!(listing(&layer_of(&archive)), ["opt/ 755 0:0 0", "opt/x/ 755 0:0 0", &expected]);
    }
}

#[test]
fn what_an_archive_may_not_hold() {
    use EntryType as E;
    let cases: &[(&[Item<'_>], &str)] = &[
        (&[(E::Regular, "/etc/passwd", "x")], "absolute"),
        (&[(E::Regular, "a/../../x", "x")], "leads out"),
        (&[(E::Regular, "a/..", "x")], "leads out"),
        (&[(E::Char, "null", "")], "device node"),
        (&[(E::Block, "sda", "")], "device node"),
        (&[(E::Fifo, "pipe", "")], "neither a file"),
        (&[(E::Regular, "a/.wh.b", "")], "meaning of its own"),
        (&[(E::Directory, ".wh..wh..opq", "")], "meaning of its own"),
        (&[(E::Symlink, "etc", "/etc"), (E::Regular, "etc/passwd", "x")], "no folder"),
        (&[(E::Symlink, "etc", "/etc"), (E::Directory, "etc", ""), (E::Regular, "etc/passwd", "x")], "no folder"),
        (&[(E::Symlink, "empty", "")], "link to nothing"),
        (&[(E::Link, "hard", "/etc/passwd")], "absolute"),
        (&[(E::Link, "hard", "../../etc/passwd")], "leads out"),
        (&[(E::Link, "hard", "later"), (E::Regular, "later", "x")], "no file before it"),
        (&[(E::Symlink, "soft", "/etc/passwd"), (E::Link, "hard", "soft")], "no file before it"),
        (&[(E::Regular, "a/b", "x"), (E::Regular, "a", "x")], "a folder stands there"),
    ];
    for (items, why) in cases {
        let error = unpacked(items, place("/opt/x", Unpack::TarGz, 0)).map(|_| ()).unwrap_err();
        assert!(matches!(error, ImageError::Entry { .. }) && error.to_string().contains(why), "{items:?}: {error}");
    }
    let error = unpacked(&[(E::Regular, "README", "x")], place("/opt/x", Unpack::TarGz, 1)).unwrap_err().to_string();
    assert!(error.contains("nothing is left of its name"), "{error}");
}

#[test]
fn what_is_no_archive_or_no_place() {
    let whole = gzipped(&tarball(&[(EntryType::Regular, "a", &"x".repeat(100_000))]));
    for content in [b"<html>".as_slice(), &whole[..whole.len() / 2], b""] {
        let error = made(content, |file| LayerSource::Artifact { file, place: place("/x", Unpack::TarGz, 0) }).unwrap_err();
        assert!(matches!(error, ImageError::Archive { .. } | ImageError::Empty(_)), "{error}");
    }
    for path in ["", "/", "opt", "/opt/../etc", "/opt/", "/./x", "//x"] {
        let error = unpacked(&[(EntryType::Regular, "a", "x")], place(path, Unpack::TarGz, 0)).unwrap_err();
        assert!(matches!(error, ImageError::Place(_)), "{path:?}: {error}");
    }
}

#[test]
fn a_root_file_system_loses_its_device_nodes_and_nothing_else() {
    let mut builder = Builder::new(Vec::new());
    let append = |builder: &mut Builder<Vec<u8>>, kind, name: &str, content: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(9);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    };
    append(&mut builder, EntryType::Directory, "dev/", b"");
    builder.append_pax_extensions([("SCHILY.xattr.security.capability", b"\x01cap".as_slice())]).unwrap();
    append(&mut builder, EntryType::Regular, "usr/bin/ping", b"ping");
    let kept = builder.get_ref().clone();
    builder.append_pax_extensions([("SCHILY.xattr.user.x", b"of the node".as_slice())]).unwrap();
    append(&mut builder, EntryType::Char, "dev/null", b"");
    append(&mut builder, EntryType::Block, "dev/sda", b"");
    let root = builder.into_inner().unwrap();

    let (_, archive) = made(&root, |file| LayerSource::Root { file }).unwrap();
    assert_eq!(layer_of(&archive), [kept, vec![0; 1024]].concat());
    let empty = made(&tarball(&[]), |file| LayerSource::Root { file }).unwrap_err();
    assert!(matches!(empty, ImageError::Empty(_)));
}

#[test]
fn around_the_layer_lies_what_docker_load_wants() {
    let (diff_id, archive) = unpacked(&[(EntryType::Regular, "a", "x")], place("/x", Unpack::TarGz, 0)).unwrap();
    let files = files(&archive);
    let json = |path: &str| serde_json::from_slice::<serde_json::Value>(&files[path]).unwrap();
    let manifest = &json("manifest.json")[0];
    assert_eq!(manifest["RepoTags"], serde_json::json!(["gantry.invalid/artifact/x:1"]));
    let config_path = manifest["Config"].as_str().unwrap();
    assert_eq!(config_path, format!("{}.json", Digest::of(&files[config_path]).hex()));
    let config = json(config_path);
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([diff_id]));
    assert_eq!((config["architecture"].as_str(), config["created"].as_str()), (Some("amd64"), Some("2023-11-14T00:00:00Z")));
    assert_eq!(config["config"]["Labels"]["a"], "b");
}
