//! Every layer of every image, as the engine exports it: what must be in none.

use std::collections::BTreeSet;
use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};

use crate::family::{VARIANTS, image};

/// Why a file may not be in a layer; none where it may.
fn forbidden(path: &str, size: u64, is_file: bool) -> Option<&'static str> {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let starts = |prefix: &str| path.starts_with(prefix);
    if path.contains("ssh_host_") {
        return Some("host key");
    }
    if !is_file || size == 0 {
        return None;
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    match path {
        _ if starts("var/lib/apt/lists/") && last != "lock" => Some("package list"),
        _ if starts("var/cache/apt/") => Some("package cache"),
        _ if starts("var/log/") => Some("log"),
        _ if starts("root/.cache/") || starts("root/.npm/") || path.contains("/.cache/") => Some("cache"),
        "etc/machine-id" | "var/lib/dbus/machine-id" => Some("machine id"),
        _ if starts("tmp/") || starts("run/secrets") => Some("leftover"),
        _ if last == "id_rsa" || last == "id_ed25519" => Some("private key"),
        _ => None,
    }
}

/// One export of all images serves both questions.
#[test]
fn no_layer_holds_host_keys_caches_logs_machine_ids_or_the_hosts_ca() {
    let (mut found, mut layers) = (BTreeSet::new(), BTreeSet::new());
    let mut authorities = Authorities::look();
    for_each_layer(|name, layer| {
        if !layers.insert(name.to_owned()) {
            return;
        }
        let mut archive = tar::Archive::new(authorities.over(layer));
        for entry in archive.entries().expect("a layer is a tar archive") {
            let entry = entry.expect("an entry");
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let is_file = entry.header().entry_type().is_file();
            if let Some(why) = forbidden(&path, entry.header().size().unwrap_or_default(), is_file) {
                found.insert(format!("{why}: {path} in {name}"));
            }
        }
    });
    assert!(layers.len() > 8, "{layers:?}");
    assert!(found.is_empty(), "{found:#?}");
    authorities.assert_absent();
}

/// Calls `look` with the name and the bytes of each layer of an export of all variants: `…/layer.tar` of a graph driver,
/// a blob (compressed or not, between those that are JSON) of containerd's store.
fn for_each_layer(mut look: impl FnMut(&str, &mut dyn Read)) {
    let images: Vec<String> = VARIANTS.iter().map(|variant| image(variant)).collect();
    let mut save = Command::new("docker").arg("save").args(&images).stdout(Stdio::piped()).spawn().expect("docker runs");
    let mut export = tar::Archive::new(save.stdout.take().expect("a pipe"));
    for entry in export.entries().expect("an export is a tar archive") {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut head = Vec::new();
        (&mut entry).take(512).read_to_end(&mut head).expect("its first block");
        let is_tar = head.get(257..262) == Some(b"ustar");
        let is_gzip = head.starts_with(&[0x1f, 0x8b]);
        let mut whole = std::io::Cursor::new(head).chain(entry);
        if is_gzip {
            look(&name, &mut flate2::read::MultiGzDecoder::new(whole));
        } else if is_tar {
            look(&name, &mut whole);
        }
    }
    assert!(save.wait().expect("docker ends").success());
}

/// The certificates that this machine trusts beyond the stock ones, as one line of base64 each: enough to tell them.
fn own_authorities() -> Vec<String> {
    let stock: String = std::fs::read_dir("/usr/share/ca-certificates/mozilla")
        .into_iter()
        .flatten()
        .filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok())
        .collect();
    let bundle = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    let bodies = bundle.split("-----BEGIN CERTIFICATE-----").skip(1).filter_map(|body| body.trim_start().lines().nth(3));
    bodies.filter(|line| !stock.contains(*line)).map(str::to_owned).collect()
}

/// A look for them in everything that is read: grep, because a debug build of ours would take minutes over these bytes.
struct Authorities {
    /// None: this machine has none of its own.
    grep: Option<Child>,
    bytes: u64,
}

/// A layer on its way, of which grep gets a copy.
struct Over<'a> {
    layer: &'a mut dyn Read,
    looking: &'a mut Authorities,
}

impl Read for Over<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.layer.read(buffer)?;
        self.looking.bytes += count as u64;
        if let Some(into) = self.looking.grep.as_mut().and_then(|grep| grep.stdin.as_mut()) {
            into.write_all(&buffer[..count])?;
        }
        Ok(count)
    }
}

impl Authorities {
    fn look() -> Self {
        let lines = own_authorities();
        if lines.is_empty() {
            // Then no bundle was handed to the builds, and the images say so.
            let label = crate::docker::inspect(&image("aws"))["Config"]["Labels"]["gantry.ca-bundle"].clone();
            assert!(label.is_null(), "{label}");
            return Self { grep: None, bytes: 0 };
        }
        let mut grep = Command::new("grep");
        grep.args(["--text", "--count", "--fixed-strings"]).args(lines.iter().flat_map(|line| ["-e", line]));
        let grep = grep.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("grep runs");
        Self { grep: Some(grep), bytes: 0 }
    }

    fn over<'a>(&'a mut self, layer: &'a mut dyn Read) -> Over<'a> {
        Over { layer, looking: self }
    }

    fn assert_absent(self) {
        assert!(self.bytes > 1_000_000_000, "the layers of four images are more than {} bytes", self.bytes);
        // Which closes its input first.
        let Some(grep) = self.grep else { return };
        let found = grep.wait_with_output().expect("grep ends");
        assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), "0");
    }
}
