use super::{Done, Found, Kind, Places, Plan, Trouble, keep, plan};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn what_follows_from_what_is_found() {
    let table = [
        (Found::Linked, Plan::Nothing),
        (Found::Nothing, Plan::Link),
        (Found::Dangling, Plan::Link),
        (Found::Elsewhere("/x".into()), Plan::Leave("it is a link to `/x`".into())),
        (Found::Mounted, Plan::Leave("something is mounted there".into())),
        (Found::Content, Plan::Move),
    ];
    for (found, expected) in table {
        assert_eq!(plan(found), expected);
    }
}

/// A home and a volume on two file systems (/dev/shm is one of its own), or on one.
struct Ground {
    home: PathBuf,
    volume: PathBuf,
}

impl Ground {
    fn new(one: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("entrypoint-entry-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let home = std::env::temp_dir().join(&name);
        let volume = if one { home.join("volume") } else { Path::new("/dev/shm").join(&name) };
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&volume).unwrap();
        Self { home, volume }
    }

    fn keep(&self, name: &str, stop: &dyn Fn() -> bool) -> Result<Done, Trouble> {
        let kind = if name.ends_with("json") { Kind::File } else { Kind::Folder };
        keep(&Places { home: self.home.join(name), volume: self.volume.join(name), kind, mounts: &[] }, &self.volume, stop)
    }

    /// Everything in the home's and the volume's `.a*`, as lines.
    fn show(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (letter, root) in [("h", &self.home), ("v", &self.volume)] {
            walk(letter, root, &mut lines);
        }
        lines.retain(|line| !line.contains(".gantry-lock") && !line.starts_with("h/volume"));
        lines.sort();
        lines
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
        let _ = fs::remove_dir_all(&self.volume);
    }
}

fn walk(letter: &str, path: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(path).unwrap().flatten() {
        let name = format!("{letter}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            lines.push(format!("{name} -> v"));
        } else if kind.is_dir() {
            let before = lines.len();
            walk(&name, &entry.path(), lines);
            if lines.len() == before {
                lines.push(format!("{name}/"));
            }
        } else {
            lines.push(format!("{name}={}", fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What is in the home, what is on the volume, and everything afterwards.
type Case =
    (&'static str, &'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)], &'static [&'static str]);

const CASES: &[Case] = &[
    (".a", &[], &[], &["h/.a -> v", "v/.a/"]),
    (".a.json", &[], &[], &["h/.a.json -> v"]),
    (".a", &[(".a/x/y", "1")], &[], &["h/.a -> v", "v/.a/x/y=1"]),
    (".a", &[], &[(".a/x", "2")], &["h/.a -> v", "v/.a/x=2"]),
    (".a", &[(".a/x", "1")], &[(".a/x", "1"), (".a/y", "2")], &["h/.a -> v", "v/.a/x=1", "v/.a/y=2"]),
    (".a", &[(".a/x", "1")], &[(".a/x", "2")], &["h/.a -> v", "v/.a.from-container-1/x=1", "v/.a/x=2"]),
    (".a.json", &[(".a.json", "1")], &[], &["h/.a.json -> v", "v/.a.json=1"]),
    (".a.json", &[(".a.json", "1")], &[(".a.json", "")], &["h/.a.json -> v", "v/.a.json=1"]),
    (".a.json", &[(".a.json", "")], &[(".a.json", "2")], &["h/.a.json -> v", "v/.a.json=2"]),
    (
        ".a.json",
        &[(".a.json", "1")],
        &[(".a.json", "2"), (".a.json.from-container-1", "0")],
        &["h/.a.json -> v", "v/.a.json.from-container-1=0", "v/.a.json.from-container-2=1", "v/.a.json=2"],
    ),
    // A file where a folder is, and the other way round: neither is lost.
    (".a", &[(".a", "1")], &[(".a/x", "2")], &["h/.a -> v", "v/.a.from-container-1=1", "v/.a/x=2"]),
    (".a", &[(".a/x", "1")], &[(".a", "2")], &["h/.a -> v", "v/.a.from-container-1/x=1", "v/.a=2"]),
    // What a killed run left: the original already out of its place, the copy whole; or only the link was missing.
    (".a", &[(".a.gantry-moved/x", "1")], &[(".a/x", "1")], &["h/.a -> v", "v/.a/x=1"]),
    (".a", &[(".a.gantry-moved/x", "1")], &[], &["h/.a -> v", "v/.a/x=1"]),
    (".a", &[(".a.gantry-moved/x", "1")], &[(".a/x", "2")], &["h/.a -> v", "v/.a.from-container-1/x=1", "v/.a/x=2"]),
    (".a", &[(".a/x", "1"), (".a/y", "1")], &[(".a.gantry-partial/x", "1")], &["h/.a -> v", "v/.a/x=1", "v/.a/y=1"]),
];

#[test]
fn nothing_is_lost_whatever_is_where() {
    for one in [false, true] {
        for (name, home, volume, expected) in CASES {
            let ground = Ground::new(one);
            home.iter().for_each(|(path, text)| write(ground.home.join(path), text));
            volume.iter().for_each(|(path, text)| write(ground.volume.join(path), text));
            assert!(ground.keep(name, &|| false).unwrap().linked);
            let mut expected: Vec<_> = expected.iter().map(|line| (*line).to_owned()).collect();
            expected.sort();
            let mut found = ground.show();
            // On one file system nothing is copied, so nobody looks for what a copy left.
            found.retain(|line| !(one && line.contains("gantry-partial")));
            assert_eq!(found, expected, "{name} {home:?} {volume:?} {one}");
            let again = ground.keep(name, &|| false).unwrap();
            assert!(again.linked && !again.moved && again.beside.is_empty());
            assert_eq!(fs::read_link(ground.home.join(name)).unwrap(), ground.volume.join(name));
        }
    }
}

#[test]
fn stopped_at_any_file_the_next_run_ends_right() {
    for (name, home, volume, expected) in CASES {
        for stop_at in 0..12 {
            let ground = Ground::new(false);
            home.iter().for_each(|(path, text)| write(ground.home.join(path), text));
            volume.iter().for_each(|(path, text)| write(ground.volume.join(path), text));
            let asked = Cell::new(0);
            let stop = || asked.replace(asked.get() + 1) >= stop_at;
            let _ = ground.keep(name, &stop);
            ground.keep(name, &|| false).unwrap();
            assert_eq!(ground.show().len(), expected.len(), "{name} {home:?} {volume:?} {stop_at}: {:?}", ground.show());
        }
    }
}

#[test]
fn links_of_others_stay_and_dangling_ones_do_not() {
    let ground = Ground::new(false);
    symlink("/etc", ground.home.join(".a")).unwrap();
    let done = ground.keep(".a", &|| false).unwrap();
    assert!(!done.linked && done.elsewhere.is_some_and(|why| why.contains("`/etc`")));
    symlink("/nowhere/at/all", ground.home.join(".b")).unwrap();
    assert!(ground.keep(".b", &|| false).unwrap().linked);
    assert_eq!(fs::read_link(ground.home.join(".b")).unwrap(), ground.volume.join(".b"));
}

#[test]
fn containers_that_move_at_once_lose_nothing() {
    let ground = Ground::new(false);
    let homes: Vec<_> = (0..4).map(|number| ground.home.join(number.to_string())).collect();
    for (number, home) in homes.iter().enumerate() {
        (0..50).for_each(|file| write(home.join(format!(".a/{file}")), &number.to_string()));
    }
    std::thread::scope(|scope| {
        for home in &homes {
            let places = Places { home: home.join(".a"), volume: ground.volume.join(".a"), kind: Kind::Folder, mounts: &[] };
            let volume = &ground.volume;
            scope.spawn(move || keep(&places, volume, &|| false).unwrap());
        }
    });
    let mut found: Vec<_> = [".a", ".a.from-container-1", ".a.from-container-2", ".a.from-container-3"]
        .iter()
        .map(|name| {
            let texts: Vec<_> =
                (0..50).map(|file| fs::read_to_string(ground.volume.join(format!("{name}/{file}"))).unwrap()).collect();
            assert!(texts.windows(2).all(|two| two[0] == two[1]), "{name}: {texts:?}");
            texts[0].clone()
        })
        .collect();
    found.sort();
    assert_eq!(found, ["0", "1", "2", "3"]);
}
