//! Whether a file is a static executable for a platform: PID 1 may not depend on an image's C library.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::host::HostError;
use crate::oci::Platform;

/// Much more than any header and its program headers need.
const HEADERS: u64 = 64 * 1024;

/// `PT_INTERP`: the program needs a dynamic linker. (elf(5))
const INTERPRETER: u32 = 3;

/// # Errors
/// It cannot be read, or is anything but a static executable for `platform`.
pub(super) fn check(file: &Path, platform: Platform) -> Result<(), HostError> {
    let mut head = Vec::new();
    let opened = File::open(file).map_err(HostError::io("read", file))?;
    opened.take(HEADERS).read_to_end(&mut head).map_err(HostError::io("read", file))?;
    let machine = match platform {
        Platform::LinuxAmd64 => 62,
        Platform::LinuxArm64 => 183,
    };
    why_not(&head, machine).map_or(Ok(()), |why| Err(HostError::Entrypoint { path: file.to_owned(), platform, why }))
}

/// Why the file that begins with `head` is no static executable for `machine`; none: it is one.
fn why_not(head: &[u8], machine: u16) -> Option<String> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let not_elf = || Some("it is no executable of Linux (ELF, 64 bits, little-endian)".to_owned());
    // Magic, then class (64 bits) and byte order (little-endian).
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return not_elf();
    }
    let (Some(kind), Some(found), Some(entry)) = (u16_at(16), u16_at(18), u64_at(24)) else { return not_elf() };
    let (Some(table), Some(size), Some(count)) = (u64_at(32), u16_at(54), u16_at(56)) else { return not_elf() };
    if found != machine {
        let name = match found {
            62 => "amd64".to_owned(),
            183 => "arm64".to_owned(),
            other => format!("ELF machine {other}"),
        };
        return Some(format!("it is compiled for {name}"));
    }
    // ET_EXEC, ET_DYN (a static-pie executable, or a library, which has nowhere to start).
    if !matches!(kind, 2 | 3) || entry == 0 {
        return Some("it is an object or a library, not an executable".to_owned());
    }
    for index in 0..u64::from(count) {
        let at = index.checked_mul(u64::from(size)).and_then(|at| at.checked_add(table));
        match at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < head.len()).and_then(u32_at) {
            Some(INTERPRETER) => return Some("it is linked dynamically".to_owned()),
            Some(_) => {}
            None => return Some("it is cut off or damaged".to_owned()),
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As small as one gets.
    pub(in super::super) fn executable() -> Vec<u8> {
        elf(2, 62, 0x1000, 1)
    }

    /// A header with one program header.
    fn elf(kind: u16, machine: u16, entry: u64, program_header: u32) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[16..18].copy_from_slice(&kind.to_le_bytes());
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head[24..32].copy_from_slice(&entry.to_le_bytes());
        head[32..40].copy_from_slice(&64u64.to_le_bytes());
        head[54..56].copy_from_slice(&56u16.to_le_bytes());
        head[56..58].copy_from_slice(&1u16.to_le_bytes());
        head.extend(program_header.to_le_bytes());
        head.extend([0; 52]);
        head
    }

    #[test]
    fn what_may_be_pid_1() {
        let interpreted = "it is linked dynamically";
        let library = "it is an object or a library, not an executable";
        for (head, why) in [
            (elf(2, 62, 0x1000, 1), None),
            (elf(3, 62, 0x1000, 2), None),
            (elf(3, 62, 0x1000, 3), Some(interpreted)),
            (elf(3, 62, 0, 1), Some(library)),
            (elf(1, 62, 0, 1), Some(library)),
            (elf(2, 183, 0x1000, 1), Some("it is compiled for arm64")),
            (elf(2, 243, 0x1000, 1), Some("it is compiled for ELF machine 243")),
            (elf(2, 62, 0x1000, 1)[..64].to_vec(), Some("it is cut off or damaged")),
            (b"#!/bin/sh\n".to_vec(), Some("it is no executable of Linux (ELF, 64 bits, little-endian)")),
            (b"\x7fELF\x02\x01".to_vec(), Some("it is no executable of Linux (ELF, 64 bits, little-endian)")),
        ] {
            assert_eq!(why_not(&head, 62).as_deref(), why, "{:?}", &head[..head.len().min(20)]);
        }
        let mut far = elf(2, 62, 0x1000, 1);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(why_not(&far, 62).as_deref(), Some("it is cut off or damaged"));
    }
}
