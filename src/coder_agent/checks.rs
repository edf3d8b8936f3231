//! What a Coder server offers as its agent, looked at before anything of it is executed: decisions only.

use std::env::consts::ARCH;

/// How much of a file's beginning is looked at.
pub(super) const HEAD: u64 = 512;

/// What Coder calls the agent for this machine.
pub(super) fn file_name() -> String {
    let machine = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armv7",
        other => other,
    };
    format!("coder-linux-{machine}")
}

/// Why there is nothing to look at.
pub(super) fn refused(url: &str, status: u16, location: Option<&str>) -> String {
    let why = match (status, location) {
        (300..=399, Some(location)) => format!("leads to `{location}`: CODER_AGENT_URL has to be that server's own address"),
        (401 | 403, _) => "may not be downloaded: something in front of the Coder server refuses it".to_owned(),
        (404 | 410, _) => "is not there: CODER_AGENT_URL has to be the address of a Coder server".to_owned(),
        _ => "is not to be had at the moment".to_owned(),
    };
    format!("`{url}` {why} (status {status})")
}

/// The SHA-1 that an ETag holds, in lower case.
pub(super) fn sha1_of_etag(etag: &str) -> Option<String> {
    let text = etag.trim().trim_start_matches("W/").trim_matches('"');
    (text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// A file as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered<'a> {
    pub(super) url: &'a str,
    /// Its `Content-Type`.
    pub(super) kind: Option<&'a str>,
    /// How long it should be.
    pub(super) length: Option<&'a str>,
    /// Its beginning.
    pub(super) head: &'a [u8],
    /// How long it is.
    pub(super) size: u64,
}

impl Offered<'_> {
    /// Whether it can be the agent for this machine.
    ///
    /// # Errors
    /// What it is instead.
    pub(super) fn check(&self) -> Result<(), String> {
        let url = self.url;
        let Some(elf) = Elf::of(self.head) else {
            let html = self.kind.is_some_and(|kind| kind.contains("html")) || self.head.trim_ascii_start().starts_with(b"<");
            let what = match (self.size, html) {
                (0, _) => "is empty",
                (_, true) => "is a web page, not a program",
                (_, false) => "is not a program for Linux",
            };
            return Err(format!("`{url}` {what}: CODER_AGENT_URL has to be the address of a Coder server itself"));
        };
        if elf.machine != machine(ARCH) {
            return Err(format!("`{url}` is a program for {}, and this is {ARCH}", name(elf.machine)));
        }
        let expected = self.length.and_then(|length| length.trim().parse().ok()).unwrap_or(self.size);
        if self.size != expected || self.size < elf.end {
            let whole = expected.max(elf.end);
            return Err(format!("`{url}` did not arrive whole: {} of {whole} bytes", self.size));
        }
        Ok(())
    }
}

/// What the header of an executable says.
#[derive(Debug, PartialEq, Eq)]
struct Elf {
    machine: u16,
    /// Where the table of sections ends, which linkers put last.
    end: u64,
}

impl Elf {
    /// Reads the header of a little-endian executable.
    fn of(head: &[u8]) -> Option<Self> {
        let bytes = |at: usize, length: usize| head.get(at..at + length);
        let half = |at| Some(u16::from_le_bytes(bytes(at, 2)?.try_into().ok()?));
        if bytes(0, 4)? != b"\x7fELF" || bytes(5, 1)? != [1] {
            return None;
        }
        let (sections, size, number) = match bytes(4, 1)? {
            [1] => (u64::from(u32::from_le_bytes(bytes(0x20, 4)?.try_into().ok()?)), half(0x2e)?, half(0x30)?),
            [2] => (u64::from_le_bytes(bytes(0x28, 8)?.try_into().ok()?), half(0x3a)?, half(0x3c)?),
            _ => return None,
        };
        let end = sections.saturating_add(u64::from(size) * u64::from(number));
        Some(Self { machine: half(0x12)?, end })
    }
}

/// Machines that there are agents for: Rust's name, the number in an executable.
const MACHINES: [(&str, u16); 3] = [("x86_64", 62), ("aarch64", 183), ("arm", 40)];

fn machine(arch: &str) -> u16 {
    MACHINES.into_iter().find(|(name, _)| *name == arch).map_or(0, |(_, machine)| machine)
}

fn name(machine: u16) -> String {
    let known = MACHINES.into_iter().find(|(_, number)| *number == machine);
    known.map_or_else(|| format!("another machine (number {machine})"), |(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{ARCH, Elf, MACHINES, Offered, machine, refused, sha1_of_etag};

    /// The header of an executable for `machine` whose last byte is `end`.
    fn elf(machine: u16, end: u64) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[0x12..0x14].copy_from_slice(&machine.to_le_bytes());
        head[0x28..0x30].copy_from_slice(&(end - 128).to_le_bytes());
        head[0x3a..0x3e].copy_from_slice(&[64, 0, 2, 0]);
        head
    }

    #[test]
    fn only_a_whole_program_for_this_machine_passes() {
        let (own, other) = (machine(ARCH), MACHINES.into_iter().find(|(name, _)| *name != ARCH).map_or(0, |(_, m)| m));
        let (unsaid, html) = (None::<&str>, Some("text/html; charset=utf-8"));
        let table = [
            (elf(own, 1000), 1000, unsaid, unsaid, ""),
            (elf(own, 1000), 1000, Some("1000"), Some("application/octet-stream"), ""),
            (elf(own, 900), 1000, Some("1000"), None, ""),
            (elf(own, 1000), 999, None, None, "did not arrive whole: 999 of 1000 bytes"),
            (elf(own, 900), 1000, Some("2000"), None, "did not arrive whole: 1000 of 2000 bytes"),
            (elf(other, 1000), 1000, None, None, "is a program for "),
            (b" <!doctype html>".to_vec(), 16, None, None, "is a web page"),
            (b"Sign in".to_vec(), 7, None, html, "is a web page"),
            (Vec::new(), 0, None, None, "is empty"),
            (b"\x7fELF".to_vec(), 4, None, None, "is not a program for Linux"),
        ];
        for (head, size, length, kind, expected) in table {
            let found = Offered { url: "U", kind, length, head: &head, size }.check();
            match expected {
                "" => assert_eq!(found, Ok(())),
                expected => assert!(found.as_ref().is_err_and(|found| found.contains(expected)), "{expected}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_header_that_is_cut_or_lies_is_no_reason_to_panic() {
        let whole = elf(62, u64::MAX);
        for length in 0..whole.len() {
            let _ = Elf::of(&whole[..length]);
        }
        assert_eq!(Elf::of(&whole).map(|elf| elf.end), Some(u64::MAX));
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_server_sends_is_judged(
            mut head in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            size in proptest::num::u64::ANY,
            length in ".{0,20}",
            etag in ".{0,60}",
            is_elf in proptest::bool::ANY,
        ) {
            if is_elf && head.len() > 6 {
                head[..6].copy_from_slice(b"\x7fELF\x02\x01");
            }
            let offered = Offered { url: "U", kind: Some(&etag), length: Some(&length), head: &head, size };
            let _ = offered.check();
            if let Some(sha1) = sha1_of_etag(&etag) {
                proptest::prop_assert_eq!(sha1.len(), 40);
            }
        }
    }

    #[test]
    fn etags() {
        let sha1 = "0123456789abcdef0123456789abcdef01234567";
        for etag in [format!("\"{sha1}\""), format!("W/\"{}\"", sha1.to_uppercase()), sha1.to_owned()] {
            assert_eq!(sha1_of_etag(&etag).as_deref(), Some(sha1), "{etag}");
        }
        for etag in ["", "\"abc\"", "\"g123456789abcdef0123456789abcdef01234567\""] {
            assert_eq!(sha1_of_etag(etag), None, "{etag}");
        }
    }

    #[test]
    fn what_a_server_s_refusal_means() {
        assert!(refused("U", 404, None).contains("has to be the address of a Coder server (status 404)"));
        assert!(refused("U", 302, Some("https://x/login")).contains("`https://x/login`"));
        assert!(refused("U", 503, None).contains("at the moment (status 503)"));
    }
}
