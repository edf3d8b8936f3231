//! The crates that a binary says it is made of: the section `.dep-v0` that cargo-auditable defines, JSON compressed with zlib.
//! (cargo-auditable, PARSING.md)

use std::io::Read as _;

use serde::Deserialize;

use super::{Package, PackageKind};

/// Its name.
const SECTION: &[u8] = b".dep-v0";
/// More than that is no list of crates.
const LARGEST: u64 = 16 << 20;

#[derive(Deserialize)]
struct List {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    root: bool,
}

/// Whether a file begins as ELF binaries do.
pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

/// The crates in the binary at `path`. Those that only built it are not in it.
pub(super) fn read(path: &str, elf: &[u8]) -> Vec<Package> {
    let Some(section) = section(elf) else { return Vec::new() };
    let mut json = Vec::new();
    let inflated = flate2::read::ZlibDecoder::new(section).take(LARGEST).read_to_end(&mut json);
    let Ok(list) = inflated.map_err(drop).and_then(|_| serde_json::from_slice::<List>(&json).map_err(drop)) else {
        return Vec::new();
    };
    let runs = list.packages.into_iter().filter(|package| package.kind.as_deref() != Some("build"));
    let package = |package: Crate| Package {
        kind: PackageKind::Crate,
        name: package.name,
        version: package.version,
        architecture: None,
        place: Some(path.to_owned()),
        // How much of the binary is whose is not known.
        bytes: if package.root { elf.len() as u64 } else { 0 },
        license: None,
        source: None,
        origin: (!package.source.is_empty()).then_some(package.source),
    };
    let mut packages: Vec<Package> = runs.map(package).collect();
    packages.sort();
    packages
}

/// The bytes of the section. (System V ABI, "ELF header", "Sections")
fn section(elf: &[u8]) -> Option<&[u8]> {
    let wide = match elf.get(4)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let file = Elf { bytes: elf, wide, little: *elf.get(5)? == 1 };
    let (table, sizes) = if wide { (file.word(0x28)?, 0x3a) } else { (file.word(0x20)?, 0x2e) };
    let (size, count, names) = (file.half(sizes)?, file.half(sizes + 2)?, file.half(sizes + 4)?);
    let header = |index: usize| table.checked_add(index.checked_mul(size)?);
    let names = file.content(header(names)?)?;
    (0..count).find_map(|index| {
        let at = header(index)?;
        let name = names.get(file.four(at)?..)?;
        (name.strip_prefix(SECTION)?.first() == Some(&0)).then(|| file.content(at))?
    })
}

struct Elf<'a> {
    bytes: &'a [u8],
    wide: bool,
    little: bool,
}

impl<'a> Elf<'a> {
    fn number(&self, at: usize, length: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(length)?)?.iter();
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = if self.little { bytes.rev().fold(0, add) } else { bytes.fold(0, add) };
        usize::try_from(number).ok()
    }

    fn half(&self, at: usize) -> Option<usize> {
        self.number(at, 2)
    }

    fn four(&self, at: usize) -> Option<usize> {
        self.number(at, 4)
    }

    /// A number as wide as an address.
    fn word(&self, at: usize) -> Option<usize> {
        self.number(at, if self.wide { 8 } else { 4 })
    }

    /// What the section with this header holds.
    fn content(&self, header: usize) -> Option<&'a [u8]> {
        let (offset, size) = if self.wide { (0x18, 0x20) } else { (0x10, 0x14) };
        let (start, size) = (self.word(header.checked_add(offset)?)?, self.word(header.checked_add(size)?)?);
        self.bytes.get(start..start.checked_add(size)?)
    }
}
