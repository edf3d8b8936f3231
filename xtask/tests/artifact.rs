//! Downloads, from a double of the vendors' hosts on loopback.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use support::vendors::{RUNNER_VERSION, Trouble, Vendors};
use xtask::artifact::{ArtifactError, Cache, Fetch, Patience, client, fetch_with, mirrored};
use xtask::event::{Event, Events, Recorder};
use xtask::oci::Digest;

/// Tries often and waits hardly.
const HASTY: Patience = Patience { attempts: 3, first_wait: Duration::from_millis(1), longest_wait: Duration::from_secs(1) };

struct Bench {
    vendors: Vendors,
    folder: tempfile::TempDir,
    cache: Cache,
    client: reqwest::Client,
    seen: Arc<Recorder>,
}

impl Bench {
    fn new() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        Self { vendors: Vendors::start(), folder, cache, client: client().unwrap(), seen: Arc::default() }
    }

    /// The runner, from the double alone.
    fn runner(&self) -> Fetch {
        let url = runner_url();
        let sha256 = Digest::of(self.vendors.file(&url));
        Fetch { name: "github-runner".to_owned(), urls: mirrored(&self.vendors.mirrors(), &url, false), sha256 }
    }

    async fn fetch(&self, request: Fetch) -> Result<PathBuf, ArtifactError> {
        let events: Events = self.seen.clone();
        fetch_with(&self.cache, &self.client, request, HASTY, &events).await
    }

    /// The files in the cache, but for lock files.
    fn files(&self) -> Vec<String> {
        names(&self.folder.path().join("cache/artifacts"))
    }

    fn downloads(&self) -> Vec<Option<String>> {
        let requests = self.vendors.requests_of("/releases/download/");
        requests.into_iter().map(|request| request.headers.get("range").cloned()).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let events = self.seen.events().into_iter();
        events.filter_map(|event| if let Event::Warning { text } = event { Some(text) } else { None }).collect()
    }
}

fn runner_url() -> String {
    let file = format!("actions-runner-linux-x64-{RUNNER_VERSION}.tar.gz");
    format!("https://github.com/actions/runner/releases/download/v{RUNNER_VERSION}/{file}")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_download_is_kept_by_its_digest_and_not_asked_for_again() {
    let bench = Bench::new();
    let request = bench.runner();
    assert!(!bench.cache.has(request.sha256));
    let path = bench.fetch(request.clone()).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), bench.vendors.file(&runner_url()));
    assert_eq!(bench.files(), [request.sha256.hex()]);
    assert!(bench.cache.has(request.sha256));
    assert_eq!(bench.cache.get(request.sha256).unwrap(), Some(path.clone()));

    assert_eq!(bench.fetch(request.clone()).await.unwrap(), path);
    assert_eq!(bench.downloads(), [None]);
    let whole = fs::metadata(&path).unwrap().len();
    let transfers: Vec<_> = bench.seen.events().into_iter().filter(|event| matches!(event, Event::Transfer { .. })).collect();
    let last = transfers.last().unwrap();
    assert!(matches!(last, Event::Transfer { bytes, total: Some(total), .. } if *bytes == whole && *total == whole), "{last:?}");
    let agent = &bench.vendors.requests()[0].headers["user-agent"];
    assert!(agent.starts_with("gantry/"), "{agent}");
}

#[tokio::test]
async fn an_interrupted_download_goes_on_where_it_ended() {
    let bench = Bench::new();
    bench.vendors.trouble("/releases/download/", Trouble::Cut { after: 1000 }, 2);
    bench.fetch(bench.runner()).await.unwrap();
    let ranges: Vec<_> = bench.downloads();
    assert_eq!(ranges, [None, Some("bytes=1000-".to_owned()), Some("bytes=2000-".to_owned())]);
    let requests = bench.vendors.requests_of("/releases/download/");
    assert!(requests[1].headers.contains_key("if-range"), "the same place: it may say that the file changed");
}

#[tokio::test]
async fn a_download_that_brings_something_every_time_is_not_given_up() {
    let bench = Bench::new();
    bench.vendors.trouble("/releases/download/", Trouble::Cut { after: 3000 }, 9);
    bench.fetch(bench.runner()).await.unwrap();
    assert_eq!(bench.downloads().len(), 10);
}

#[tokio::test]
async fn the_next_run_goes_on_too() {
    let bench = Bench::new();
    let request = bench.runner();
    bench.vendors.trouble("/releases/download/", Trouble::Cut { after: 5000 }, 1);
    bench.vendors.trouble("/releases/download/", Trouble::Status(503, vec![]), 2);
    let error = bench.fetch(request.clone()).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Refused { status: 503, .. }), "{error}");
    assert!(!bench.cache.has(request.sha256) && bench.cache.get(request.sha256).unwrap().is_none());
    bench.fetch(request.clone()).await.unwrap();
    assert_eq!(bench.downloads().last().unwrap().as_deref(), Some("bytes=5000-"));
    assert_eq!(bench.files(), [request.sha256.hex()], "no pieces are left");
}

#[tokio::test]
async fn a_file_that_was_whole_already_needs_no_request() {
    let bench = Bench::new();
    let request = bench.runner();
    let partial = bench.folder.path().join(format!("cache/artifacts/{}.partial", request.sha256.hex()));
    fs::write(partial, bench.vendors.file(&runner_url())).unwrap();
    bench.fetch(request).await.unwrap();
    assert!(bench.downloads().is_empty());
}

#[tokio::test]
async fn a_server_without_ranges_starts_over() {
    let bench = Bench::new();
    bench.vendors.trouble("/releases/download/", Trouble::Cut { after: 1000 }, 1);
    bench.vendors.trouble("/releases/download/", Trouble::NoRange, 1);
    bench.fetch(bench.runner()).await.unwrap();
    assert_eq!(bench.downloads().len(), 2);
}

#[tokio::test]
async fn pieces_of_something_else_are_thrown_away_once() {
    let bench = Bench::new();
    let request = bench.runner();
    let partial = bench.folder.path().join(format!("cache/artifacts/{}.partial", request.sha256.hex()));
    for content in ["an earlier, other file".as_bytes(), &[0; 1 << 20]] {
        fs::write(&partial, content).unwrap();
        let path = bench.fetch(request.clone()).await.unwrap();
        fs::remove_file(path).unwrap();
    }
    assert_eq!(bench.downloads(), [Some("bytes=22-".to_owned()), None, Some("bytes=1048576-".to_owned()), None]);
}

#[tokio::test]
async fn what_does_not_match_is_an_error_and_leaves_nothing() {
    let bench = Bench::new();
    let mut request = bench.runner();
    request.urls.push(format!("{}/not-asked", bench.vendors.url()));
    for (trouble, web_page) in [(Trouble::WrongBytes, false), (Trouble::Html, true)] {
        bench.vendors.trouble("/releases/download/", trouble, 1);
        let error = bench.fetch(request.clone()).await.unwrap_err();
        let ArtifactError::Mismatch { expected, found, html, .. } = &error else { panic!("{error}") };
        assert_eq!((*expected, *html), (request.sha256, web_page));
        let text = error.to_string();
        assert!(text.contains(&expected.to_string()) && text.contains(&found.to_string()), "{text}");
        assert!(bench.files().is_empty(), "{:?}", bench.files());
    }
    assert!(bench.vendors.requests_of("not-asked").is_empty(), "something wrong is not passed over");
}

#[tokio::test]
async fn a_mirror_that_fails_is_followed_by_the_vendor() {
    let bench = Bench::new();
    let request = bench.runner();
    let here = request.urls[0].clone();
    // A port that was free a moment ago: nobody listens there.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for place in [format!("http://{unused}/x"), format!("{}/gone", bench.vendors.url())] {
        let urls = vec![place, here.clone()];
        let path = bench.fetch(Fetch { urls, ..request.clone() }).await.unwrap();
        fs::remove_file(path).unwrap();
    }
    let notes = bench.seen.events().into_iter().filter(|event| matches!(event, Event::Note { text } if text.contains("asking")));
    assert_eq!(notes.count(), 2);
}

#[tokio::test]
async fn errors_tell_what_went_wrong() {
    let bench = Bench::new();
    let request = bench.runner();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (dead, gone) = (format!("http://{unused}/x"), format!("{}/gone", bench.vendors.url()));
    let with = |urls: &[&String]| Fetch { urls: urls.iter().map(|url| (*url).clone()).collect(), ..request.clone() };

    let error = bench.fetch(with(&[&dead])).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Unreachable { attempts: 3, .. }), "{error:?}");
    assert!(error.is_unreachable() && error.to_string().contains("Connection refused"), "{error}");

    let error = bench.fetch(with(&[&gone])).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Refused { status: 404, .. }), "{error:?}");
    assert_eq!(bench.vendors.requests_of("/gone").len(), 1, "a refusal is not tried again");

    let error = bench.fetch(with(&[&dead, &gone])).await.unwrap_err();
    assert!(matches!(&error, ArtifactError::Everywhere { failures, .. } if failures.len() == 2), "{error:?}");
    assert!(!error.is_unreachable() && error.to_string().contains("404"), "{error}");

    let error = bench.fetch(with(&[])).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Nowhere { .. }), "{error:?}");
    let error = bench.fetch(with(&[&"no url".to_owned()])).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Unreachable { attempts: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    for status in [408, 429, 500, 503] {
        let bench = Bench::new();
        bench.vendors.trouble("/releases/download/", Trouble::Status(status, vec![("Retry-After", "0".to_owned())]), 2);
        bench.fetch(bench.runner()).await.unwrap();
        assert_eq!(bench.downloads().len(), 3);
    }
    let bench = Bench::new();
    bench.vendors.trouble("/releases/download/", Trouble::Status(429, vec![("Retry-After", "86400".to_owned())]), 1);
    let error = bench.fetch(bench.runner()).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Refused { status: 429, .. }), "nobody waits for a day: {error}");
    assert_eq!(bench.downloads().len(), 1);
}

#[tokio::test]
async fn two_that_want_the_same_download_once() {
    let bench = Bench::new();
    let other = Cache::open(&bench.folder.path().join("cache")).unwrap();
    bench.vendors.trouble("/releases/download/", Trouble::Cut { after: 2000 }, 3);
    let events: Events = bench.seen.clone();
    let (one, two) = tokio::join!(bench.fetch(bench.runner()), fetch_with(&other, &bench.client, bench.runner(), HASTY, &events));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(bench.downloads().len(), 4, "three that were cut, one that was not");
    assert!(bench.seen.events().iter().any(|event| matches!(event, Event::Note { text } if text.contains("waiting"))));
}

#[tokio::test]
async fn a_changed_file_in_the_cache_is_removed_reported_and_downloaded_again() {
    let bench = Bench::new();
    let request = bench.runner();
    let path = bench.fetch(request.clone()).await.unwrap();
    fs::write(&path, "poison").unwrap();
    assert!(bench.cache.has(request.sha256), "a look at the name is no promise");
    let error = bench.cache.get(request.sha256).unwrap_err();
    assert!(matches!(error, ArtifactError::Damaged { found, .. } if found == Digest::of("poison")), "{error}");
    assert_eq!(bench.cache.get(request.sha256).unwrap(), None);

    fs::write(&path, "poison").unwrap();
    bench.fetch(request.clone()).await.unwrap();
    assert!(bench.cache.get(request.sha256).unwrap().is_some());
    assert!(bench.warnings()[0].contains("damaged in the cache"), "{:?}", bench.warnings());
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let bench = Bench::new();
    let (folder, request) = (bench.folder.path(), bench.runner());
    let elsewhere = folder.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();

    symlink(&elsewhere, folder.join("link")).unwrap();
    assert!(matches!(Cache::open(&folder.join("link")), Err(ArtifactError::Folder { .. })));
    fs::create_dir(folder.join("half")).unwrap();
    symlink(&elsewhere, folder.join("half/artifacts")).unwrap();
    assert!(matches!(Cache::open(&folder.join("half")), Err(ArtifactError::Folder { .. })));
    fs::write(folder.join("file"), "").unwrap();
    assert!(matches!(Cache::open(&folder.join("file")), Err(ArtifactError::Folder { .. })));

    // A link in place of a file: even with the right content behind it, it is removed and the file downloaded.
    let content = bench.vendors.file(&runner_url());
    fs::write(elsewhere.join("content"), &content).unwrap();
    let path = folder.join("cache/artifacts").join(request.sha256.hex());
    symlink(elsewhere.join("content"), &path).unwrap();
    assert!(!bench.cache.has(request.sha256));
    bench.fetch(request.clone()).await.unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert!(bench.warnings()[0].contains("symbolic link"), "{:?}", bench.warnings());

    // A link in place of the unfinished file: refused, and what it points to stays as it is.
    fs::remove_file(&path).unwrap();
    symlink(elsewhere.join("content"), path.with_extension("partial")).unwrap();
    assert!(matches!(bench.fetch(request).await, Err(ArtifactError::Io { .. })));
    assert_eq!(fs::read(elsewhere.join("content")).unwrap(), content);
}

#[cfg(unix)]
#[test]
fn the_cache_is_private_and_ones_own() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    Cache::open(&root).unwrap();
    assert_eq!((mode(&root), mode(&root.join("artifacts"))), (0o700, 0o700));
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let cache = Cache::open(&root).unwrap();
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&cache.folder("spool").unwrap()), 0o700);
    // Only root can give a folder away.
    if rustix::process::geteuid().is_root() {
        chown(&root, Some(12345), None).unwrap();
        assert!(matches!(Cache::open(&root), Err(ArtifactError::Folder { why, .. }) if why.contains("another user")));
    }
}

/// Needs the right to mount.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_told_as_such_and_leaves_nothing() {
    let bench = Bench::new();
    let disk = bench.folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=32k", "none"]).arg(&disk).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("not tried: this user cannot mount a small disk");
        return;
    }
    let cache = Cache::open(&disk.join("cache")).unwrap();
    let events: Events = bench.seen.clone();
    let result = fetch_with(&cache, &bench.client, bench.runner(), HASTY, &events).await;
    let left = names(&disk.join("cache/artifacts"));
    assert!(std::process::Command::new("umount").arg(&disk).status().unwrap().success());
    assert!(matches!(result, Err(ArtifactError::DiskFull { .. })), "{result:?}");
    assert!(left.is_empty(), "{left:?}");
}
