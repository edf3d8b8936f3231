//! The layer store, on exports that are written here in both forms that engines write. Needs `unshare` and `mount` for the
//! disks that are full or cannot be written. (With a real engine's exports: `publish.rs`.)

#[path = "store/export.rs"]
mod export;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use export::{Export, Layer, gzip, layer, zstd};
use xtask::event::{Event, Events, Sink};
use xtask::oci::Digest;
use xtask::store::{Blobs, Compression, Exported, LayerBlob, StoreError, obtain};

const GZIP: Compression = Compression::Gzip { level: 6 };
const ZSTD: Compression = Compression::Zstd { level: 3 };

struct Quiet;

impl Sink for Quiet {
    fn emit(&self, _: Event) {}
}

fn runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(work)
}

fn open(folder: &Path) -> Arc<Blobs> {
    Arc::new(Blobs::open(folder).expect("a store"))
}

/// The images of an export, by the store in `folder`; how often it was asked for, and what was told on the way.
struct Obtained {
    images: Result<Vec<Exported>, StoreError>,
    exports: u32,
    told: Vec<LayerBlob>,
}

impl Obtained {
    fn images(&self) -> &[Exported] {
        self.images.as_ref().expect("the images")
    }

    fn layers(&self) -> Vec<&LayerBlob> {
        self.images().iter().flat_map(|image| &image.layers).collect()
    }
}

fn get(blobs: &Arc<Blobs>, compression: Compression, export: &Export) -> Obtained {
    let exports = AtomicU32::new(0);
    let (finished, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let events: Events = Arc::new(Quiet);
    let bytes = async |_: &[String]| {
        exports.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(std::io::Cursor::new(export.bytes()))
    };
    let images = runtime(obtain(&export.wants(), compression, blobs, &events, finished, bytes));
    let mut told = Vec::new();
    while let Ok(layer) = heard.try_recv() {
        told.push(layer);
    }
    Obtained { images, exports: exports.into_inner(), told }
}

fn unpacked(blob: &LayerBlob) -> Digest {
    let bytes = fs::read(&blob.path).expect("the blob");
    assert_eq!((Digest::of(&bytes), bytes.len() as u64), (blob.digest, blob.size));
    Digest::of(export::unpack(&bytes))
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

fn nothing_half(folder: &Path) {
    assert_eq!(files(&folder.join("spool")), 0, "the spool is empty");
    for blob in fs::read_dir(folder.join("blobs/sha256")).expect("the blobs").flatten() {
        let bytes = fs::read(blob.path()).expect("a blob");
        assert_eq!(Digest::of(bytes).hex(), blob.file_name().to_string_lossy(), "every blob is whole");
    }
}

#[test]
fn layers_are_compressed_once_told_at_once_and_known_afterwards() {
    let (shared, one, other) = (layer(1, 3 << 20), layer(2, 5 << 20), layer(3, 70_000));
    let export = Export::legacy(&[("a:one", &[&shared, &one]), ("a:other", &[&shared, &other])]);
    for (compression, media_type) in [(GZIP, "tar+gzip"), (ZSTD, "tar+zstd")] {
        let folder = tempfile::tempdir().expect("a folder");
        let first = get(&open(folder.path()), compression, &export);
        let expected: Vec<_> = [&shared, &one, &shared, &other].map(|layer| layer.diff_id()).into();
        assert_eq!(first.layers().iter().map(|layer| layer.diff_id).collect::<Vec<_>>(), expected);
        for blob in first.layers() {
            assert_eq!(unpacked(blob), blob.diff_id);
            assert!(blob.media_type.ends_with(media_type), "{}", blob.media_type);
        }
        assert_eq!((first.exports, first.told.len()), (1, 3), "each layer is told once");

        // Another process, later: nothing is exported, all is told.
        let again = get(&open(folder.path()), compression, &export);
        assert_eq!((again.exports, again.images()), (0, first.images()));
        let digests = |layers: &[LayerBlob]| layers.iter().map(|layer| layer.digest.hex()).collect::<BTreeSet<_>>();
        assert_eq!(digests(&again.told), digests(&first.told));
        nothing_half(folder.path());

        // The same bytes in another store.
        let elsewhere = tempfile::tempdir().expect("a folder");
        let elsewhere = get(&open(elsewhere.path()), compression, &export);
        assert_eq!(digests(&elsewhere.told), digests(&first.told));
    }
}

#[test]
fn every_compression_is_kept_beside_the_others() {
    let export = Export::legacy(&[("a:one", &[&layer(1, 2 << 20)])]);
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = open(folder.path());
    let asked = [GZIP, ZSTD, Compression::Gzip { level: 9 }];
    let made = asked.map(|compression| get(&blobs, compression, &export));
    assert!(made.iter().all(|made| made.exports == 1), "each had to be made");
    let digests: BTreeSet<_> = made.iter().map(|made| made.layers()[0].digest.hex()).collect();
    assert_eq!(digests.len(), 3);
    for (compression, made) in asked.into_iter().zip(&made) {
        let again = get(&blobs, compression, &export);
        assert_eq!((again.exports, again.images()), (0, made.images()), "{compression}");
    }
}

#[test]
fn a_layer_that_is_known_stays_what_it_is_in_another_image_and_one_of_its_size_is_its_own() {
    // Large ones are taken for what they look like, at first.
    let (shared, one) = (layer(1, 17 << 20), layer(2, 1 << 20));
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = open(folder.path());
    let first = get(&blobs, GZIP, &Export::legacy(&[("a:one", &[&shared, &one])]));
    // In the old form a layer's digest is known when all of it was read, in the new one by its name.
    for (form, exports) in [(Export::legacy as fn(&[(&str, &[&Layer])]) -> Export, 2), (Export::layout, 1)] {
        let before = fs::read_to_string(folder.path().join("index.jsonl")).expect("the index");
        let size_alone = layer(before.len() as u64, 17 << 20);
        let second = get(&blobs, GZIP, &form(&[("a:other", &[&shared, &size_alone])]));
        assert_eq!(second.exports, exports);
        assert_eq!(second.layers()[0], first.layers()[0]);
        assert_eq!(unpacked(second.layers()[1]), size_alone.diff_id());
        let after = fs::read_to_string(folder.path().join("index.jsonl")).expect("the index");
        let lines = |text: &str| text.lines().filter(|line| line.contains("\"layer\"")).count();
        assert_eq!(lines(&after), lines(&before) + 1, "one layer is new");
        nothing_half(folder.path());
    }
}

#[test]
fn what_an_engine_holds_compressed_is_taken_as_it_is_whatever_is_asked() {
    let (plain, one, other) = (layer(1, 300_000), layer(2, 300_000), layer(3, 300_000));
    let export = Export::layout(&[("a:one", &[&plain, &gzip(&one), &zstd(&other)])]);
    for compression in [GZIP, ZSTD] {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = open(folder.path());
        let taken = get(&blobs, compression, &export);
        let layers = taken.layers();
        assert_eq!(layers[0].media_type, compression.media_type());
        assert_eq!((layers[1].digest, layers[2].digest), (gzip(&one).digest(), zstd(&other).digest()));
        assert!(layers[1].media_type.ends_with("tar+gzip") && layers[2].media_type.ends_with("tar+zstd"));
        assert_eq!(get(&blobs, compression, &export).exports, 0);
        // In another image they are known by their names, and nothing is unpacked again.
        let second = get(&blobs, compression, &Export::layout(&[("a:two", &[&zstd(&other), &gzip(&one)])]));
        assert_eq!(second.layers(), [layers[2], layers[1]]);
        nothing_half(folder.path());
    }
}

#[test]
fn an_export_that_lies_is_told_and_nothing_of_it_is_used() {
    let (one, other) = (layer(1, 300_000), layer(2, 300_000));
    for (what, export) in [
        (
            "a compressed layer is another one than the configuration says",
            Export::layout(&[("a:one", &[&zstd(&one).called(&other)])]),
        ),
        ("a layer's name is not its digest", Export::layout(&[("a:one", &[&one.clone().named(other.digest())])])),
        ("a layer is another one than the configuration says", Export::legacy(&[("a:one", &[&one.clone().called(&other)])])),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = open(folder.path());
        let error = get(&blobs, GZIP, &export).images.expect_err(what);
        assert!(matches!(error, StoreError::Mismatch { .. }), "{what}: {error}");
        assert_eq!(blobs.layer(other.diff_id(), &GZIP), None, "{what}");
    }
}

#[test]
fn a_torn_index_costs_an_export_and_nothing_else() {
    let export = Export::legacy(&[("a:one", &[&layer(1, 400_000), &layer(2, 40_000)])]);
    let folder = tempfile::tempdir().expect("a folder");
    let first = get(&open(folder.path()), GZIP, &export);
    let index = folder.path().join("index.jsonl");
    let whole = fs::read(&index).expect("the index");
    for torn in (0..whole.len()).step_by(97) {
        fs::write(&index, &whole[..torn]).expect("written");
        assert_eq!(get(&open(folder.path()), GZIP, &export).images(), first.images(), "{torn} bytes");
        assert_eq!(get(&open(folder.path()), GZIP, &export).exports, 0, "{torn} bytes");
    }
    // A blob that a power cut took, or cut off, is made again.
    for size in [0, 100] {
        fs::File::options().write(true).open(&first.layers()[0].path).and_then(|file| file.set_len(size)).expect("cut off");
        let again = get(&open(folder.path()), GZIP, &export);
        assert_eq!((again.exports, again.images()), (1, first.images()));
    }
    nothing_half(folder.path());
}

#[test]
fn several_at_once_in_one_folder_do_not_disturb_each_other() {
    let layers: Vec<_> = (0..6).map(|seed| layer(seed, 1_500_000)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let made: Vec<_> = std::thread::scope(|scope| {
        let one = |number: usize| {
            let (layers, folder) = (&layers, folder.path());
            scope.spawn(move || {
                let export = Export::legacy(&[("a:one", &[&layers[number], &layers[number + 1], &layers[5]])]);
                get(&open(folder), GZIP, &export).images.expect("the images")
            })
        };
        let threads: Vec<_> = (0..4).map(one).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    });
    for (number, images) in made.iter().enumerate() {
        assert_eq!(images[0].layers[1].diff_id, layers[number + 1].diff_id());
        assert!(images[0].layers.iter().all(|layer| unpacked(layer) == layer.diff_id));
    }
    nothing_half(folder.path());
    let all: Vec<&Layer> = layers.iter().take(5).collect();
    assert!(all.iter().all(|layer| open(folder.path()).layer(layer.diff_id(), &GZIP).is_some()), "all are known");
}

#[test]
fn a_blob_is_read_once_per_process_and_not_by_the_one_that_made_it() {
    let export = Export::legacy(&[("a:one", &[&layer(1, 400_000)])]);
    let folder = tempfile::tempdir().expect("a folder");
    let maker = open(folder.path());
    let blob = get(&maker, GZIP, &export).layers()[0].clone();
    let other = open(folder.path());
    other.verify(blob.digest).expect("it is whole");
    let bytes = fs::read(&blob.path).expect("the blob");
    fs::remove_file(&blob.path).expect("removed");
    maker.verify(blob.digest).expect("it was made here");
    other.verify(blob.digest).expect("it was read before");

    let mut damaged = bytes;
    damaged[1000] ^= 1;
    fs::write(&blob.path, damaged).expect("written");
    let error = open(folder.path()).verify(blob.digest).expect_err("it is damaged");
    assert!(matches!(error, StoreError::Mismatch { expected, .. } if expected == blob.digest), "{error}");
    assert!(!blob.path.exists(), "the next run makes it anew");
}

#[test]
fn a_published_layer_is_trusted_after_it_was_unpacked() {
    let (one, other) = (layer(1, 400_000), layer(2, 400_000));
    let packed = gzip(&one);
    let (digest, size, bytes) = (packed.digest(), packed.bytes().len() as u64, packed.bytes().to_vec());
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = open(folder.path());
    let take = |size, bytes: &[u8]| runtime(blobs.take_in(digest, size, bytes)).map_err(|error| error.to_string());
    let flipped: Vec<u8> = bytes.iter().map(|byte| byte ^ 1).collect();
    for (what, size, bytes) in [
        ("it broke off", size, &bytes[..100]),
        ("it is longer", 100, &bytes[..]),
        ("it is empty", size, &bytes[..0]),
        ("it is something else", size, &flipped[..]),
    ] {
        take(size, bytes).expect_err(what);
        assert!(!blobs.path(digest).exists(), "{what}");
        nothing_half(folder.path());
    }
    take(size, &bytes).expect("it is what it should be");

    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    blobs.seed(other.diff_id(), digest, size, docker).expect_err("it is another layer");
    blobs.seed(one.diff_id(), digest, size, "application/vnd.oci.image.layer.v1.tar").expect_err("no compression");
    assert_eq!(open(folder.path()).layer(one.diff_id(), &GZIP), None, "nothing was written");
    let seeded = blobs.seed(one.diff_id(), digest, size, docker).expect("it is the layer");
    assert!(seeded.media_type.ends_with("v1.tar+gzip"));
    let reopened = open(folder.path());
    assert_eq!(reopened.layer(one.diff_id(), &GZIP), Some(seeded));
    assert_eq!(reopened.layer(one.diff_id(), &ZSTD), None, "gzip is not what was asked for");
    // Of an image that has it, the other layer is new.
    let image = get(&reopened, GZIP, &Export::legacy(&[("a:one", &[&one, &other])]));
    assert_eq!((image.layers()[0].digest, image.told.len()), (digest, 2));
}

/// Runs the test `name` again, in a mount namespace with a file system of its own of `size` at `GANTRY_TEST_DISK`.
fn on_a_disk(name: &str, size: &str) {
    let disk = tempfile::tempdir().expect("a folder");
    let script = r#"mount -t tmpfs -o "size=$1,mode=700" none "$GANTRY_TEST_DISK" && exec "$2" --exact "$3" --nocapture"#;
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-ec", script, "sh", size]).arg(this).arg(name);
    let output = command.env("GANTRY_TEST_DISK", disk.path()).output().expect("`unshare` runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

#[test]
fn a_full_disk_is_told_and_the_next_run_works() {
    let Some(disk) = std::env::var_os("GANTRY_TEST_DISK") else {
        return on_a_disk("a_full_disk_is_told_and_the_next_run_works", "6m");
    };
    let folder = Path::new(&disk).join("layers");
    // Half of it stays when it is compressed: the first fits twice, the second does not.
    let (fits, large) = (layer(1, 3 << 20), layer(2, 24 << 20));
    let export = Export::legacy(&[("a:one", &[&fits, &large])]);
    for compression in [GZIP, ZSTD] {
        let error = get(&open(&folder), compression, &export).images.expect_err("the disk is full");
        let hint = error.hint().expect("a hint");
        assert!(
            matches!(&error, StoreError::Folder { what: "write", source, .. }
            if source.kind() == std::io::ErrorKind::StorageFull),
            "{error:?}"
        );
        assert!(hint.contains("GANTRY_CACHE_DIR"), "{hint}");
        nothing_half(&folder);
    }
    let works = get(&open(&folder), ZSTD, &Export::legacy(&[("a:one", &[&fits])]));
    assert_eq!(unpacked(works.layers()[0]), fits.diff_id());
}

#[test]
fn a_cache_that_cannot_be_written_is_good_for_what_is_in_it() {
    let Some(disk) = std::env::var_os("GANTRY_TEST_DISK") else {
        return on_a_disk("a_cache_that_cannot_be_written_is_good_for_what_is_in_it", "50m");
    };
    let folder = Path::new(&disk).join("layers");
    let known = Export::legacy(&[("a:one", &[&layer(1, 2 << 20)])]);
    let made = get(&open(&folder), GZIP, &known);
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().expect("`mount` runs");
    assert!(remount.success());
    let blobs = open(&folder);
    let again = get(&blobs, GZIP, &known);
    assert_eq!((again.exports, again.images()), (0, made.images()));
    blobs.verify(again.layers()[0].digest).expect("it can be read");
    let error = get(&blobs, GZIP, &Export::legacy(&[("a:two", &[&layer(2, 2 << 20)])])).images.expect_err("it is new");
    assert!(error.hint().expect("a hint").contains("cannot be written: set `GANTRY_CACHE_DIR`"), "{error:?}");
}
