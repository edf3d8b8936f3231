//! `tar-split.json.gz`: what a graph driver keeps of a layer's tar beside its files, so that the tar can be put together
//! again, byte for byte. Lines of JSON: bytes of the tar as they are (headers, padding), or a file whose content follows.
//! (github.com/vbatts/tar-split, `tar/storage`.)

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::Deserialize;

/// No line is longer: the longest are a few hundred kilobytes, where a tar has much between two files.
const LONGEST_LINE: u64 = 64 << 20;
/// How Go's encoder begins a line with bytes of the tar: nearly all of the text is in such lines.
const SEGMENT: &[u8] = br#"{"type":2,"payload":""#;

/// The tar of a layer, put together while it is read. Whether it is what it should be is told by its digest only.
pub(super) struct TarSplit {
    lines: BufReader<GzDecoder<File>>,
    line: Vec<u8>,
    /// The folder that the layer's files lie in.
    files: File,
    segment: Vec<u8>,
    /// How much of the segment was read.
    taken: usize,
    /// The file that is being read, and how much of it is left.
    file: Option<(File, u64)>,
}

/// A line.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    name: String,
    /// The name where it is not UTF-8, in base64.
    #[serde(default)]
    name_raw: Option<String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    payload: Option<String>,
}

impl TarSplit {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// One of the two cannot be opened.
    pub(super) fn open(description: &Path, files: &Path) -> io::Result<Self> {
        let lines = BufReader::with_capacity(256 << 10, GzDecoder::new(File::open(description)?));
        let files = File::open(files)?;
        Ok(Self { lines, line: Vec::new(), files, segment: Vec::new(), taken: 0, file: None })
    }

    /// Goes on to the next line; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        self.line.clear();
        if self.lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(false);
        }
        self.segment.clear();
        self.taken = 0;
        if let Some(rest) = self.line.strip_prefix(SEGMENT) {
            // Slices of bytes are searched byte by byte in a debug build.
            let rest = std::str::from_utf8(rest).map_err(broken)?;
            let (payload, _) = rest.split_once('"').ok_or_else(|| broken("a line does not end"))?;
            STANDARD.decode_vec(payload, &mut self.segment).map_err(broken)?;
            return Ok(true);
        }
        let entry: Entry = serde_json::from_slice(&self.line)?;
        match entry.kind {
            1 if entry.size > 0 => self.file = Some((self.regular(&name(&entry)?, entry.size)?, entry.size)),
            // A folder, a link, an empty file: its header was a segment.
            1 => {}
            2 => STANDARD.decode_vec(entry.payload.unwrap_or_default(), &mut self.segment).map_err(broken)?,
            kind => return Err(broken(format!("a line is of the unknown kind {kind}"))),
        }
        Ok(true)
    }

    /// Opens a file of the layer: nothing outside of its folder, whatever the layer links to.
    fn regular(&self, name: &Path, size: u64) -> io::Result<File> {
        let inside = name.strip_prefix("/").unwrap_or(name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(rustix::fs::openat2(&self.files, inside, flags, Mode::empty(), resolve)?);
        let found = file.metadata()?;
        if found.is_file() && found.len() == size {
            return Ok(file);
        }
        Err(broken(format!("`{}` is not the file of {size} bytes that it was", name.display())))
    }
}

impl Read for TarSplit {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some((file, left)) = &mut self.file {
                let room = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let read = file.read(&mut buffer[..room])?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= read as u64;
                if *left == 0 {
                    self.file = None;
                }
                return Ok(read);
            }
            let rest = self.segment.get(self.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let read = rest.len().min(buffer.len());
                buffer[..read].copy_from_slice(&rest[..read]);
                self.taken += read;
                return Ok(read);
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}

fn name(entry: &Entry) -> io::Result<PathBuf> {
    match &entry.name_raw {
        Some(raw) => Ok(OsString::from_vec(STANDARD.decode(raw).map_err(broken)?).into()),
        None => Ok(PathBuf::from(&entry.name)),
    }
}

fn broken(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// What is read of a layer whose files are `abc` (3 bytes), a link to a file outside, and a pipe.
    fn read(lines: &str) -> Result<String, io::ErrorKind> {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        std::fs::create_dir_all(files.join("below")).unwrap();
        std::fs::write(files.join("below/abc"), "ABC").unwrap();
        std::fs::write(folder.path().join("outside"), "out").unwrap();
        std::os::unix::fs::symlink("../outside", files.join("link")).unwrap();
        std::os::unix::fs::symlink("..", files.join("up")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, files.join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let description = folder.path().join("tar-split.json.gz");
        let mut gzip = flate2::write::GzEncoder::new(File::create(&description).unwrap(), flate2::Compression::fast());
        gzip.write_all(lines.as_bytes()).unwrap();
        gzip.finish().unwrap();
        let mut text = String::new();
        TarSplit::open(&description, &files).unwrap().read_to_string(&mut text).map_err(|error| error.kind())?;
        Ok(text)
    }

    #[test]
    fn segments_and_files_come_in_their_order() {
        let header = |text: &str| format!("{{\"type\":2,\"payload\":\"{}\",\"position\":0}}\n", STANDARD.encode(text));
        let raw = STANDARD.encode("below/abc");
        for (lines, expected) in [
            (String::new(), ""),
            (header("one ") + &header("two"), "one two"),
            (
                header("<") + "{\"type\":1,\"name\":\"below/abc\",\"size\":3,\"payload\":\"x\",\"position\":1}\n" + &header(">"),
                "<ABC>",
            ),
            (header("<") + "{\"type\":1,\"name\":\"./below/abc\",\"size\":3,\"position\":1}\n", "<ABC"),
            (format!("{{\"type\":1,\"name_raw\":\"{raw}\",\"size\":3}}"), "ABC"),
            ("{\"type\":1,\"name\":\"below/\",\"payload\":null,\"position\":1}\n".to_owned(), ""),
            // Another order of the keys is as good.
            (format!("{{\"payload\":\"{}\",\"type\":2}}\n", STANDARD.encode("x")), "x"),
        ] {
            assert_eq!(read(&lines).as_deref(), Ok(expected), "{lines}");
        }
    }

    #[test]
    fn what_is_not_a_file_of_the_layer_is_not_read() {
        let file = |name: &str, size: u64| format!("{{\"type\":1,\"name\":\"{name}\",\"size\":{size}}}\n");
        for lines in [
            file("below/abc", 4),
            file("below/gone", 3),
            file("link", 3),
            file("up/outside", 3),
            file("../outside", 3),
            file("pipe", 3),
            file("below", 3),
            "{\"type\":3}\n".to_owned(),
            "{\"type\":2,\"payload\":\"?\"}\n".to_owned(),
            "no JSON\n".to_owned(),
        ] {
            assert!(read(&lines).is_err(), "{lines}");
        }
    }
}
