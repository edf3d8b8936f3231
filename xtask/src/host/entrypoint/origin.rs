//! What a compiled entrypoint was compiled from, told by a file beside it: an image counts as built from the same whether the
//! entrypoint was compiled here or is a file that another machine compiled.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::elf;
use crate::host::HostError;
use crate::oci::{Digest, Platform};

/// The file beside an entrypoint `program`: `entrypoint.sources`.
pub fn beside(program: &Path) -> PathBuf {
    let mut name = program.as_os_str().to_owned();
    name.push(".sources");
    name.into()
}

/// The content of that file: the digest of the program, then [`super::sources_digest`] of what it was compiled from.
pub fn written(program: Digest, sources: Digest) -> String {
    format!("{program} {sources}\n")
}

/// Takes a file as the entrypoint for `platform` (`--entrypoint FILE`): gives the digest of what it was compiled from, as the
/// file beside it tells, or of its bytes, where there is none.
///
/// # Errors
/// It cannot be read, or is no static executable for the platform, or the file beside it is about another one.
pub fn given(program: &Path, platform: Platform) -> Result<Digest, HostError> {
    elf::check(program, platform)?;
    let bytes = std::fs::read(program).map_err(HostError::io("read", program))?;
    let (digest, path) = (Digest::of(bytes), beside(program));
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(digest),
        text => text.map_err(HostError::io("read", &path))?,
    };
    let malformed = |why: &str| HostError::Malformed { path: path.clone(), why: why.to_owned() };
    let digests: Option<Vec<Digest>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    match digests.as_deref() {
        Some([of, sources]) if *of == digest => Ok(*sources),
        Some([_, _]) => Err(malformed("it tells of another entrypoint than the one beside it; remove it, or compile both again")),
        _ => Err(malformed("it does not hold two digests; `cargo xtask compile` writes it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrypoint_goes_by_what_it_was_compiled_from_where_that_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("entrypoint");
        let bytes = elf::tests::executable();
        std::fs::write(&program, &bytes).expect("written");
        let (own, sources) = (Digest::of(&bytes), Digest::of("sources"));
        let platform = Platform::LinuxAmd64;
        assert_eq!(given(&program, platform).expect("read"), own);
        let beside = folder.path().join("entrypoint.sources");
        std::fs::write(&beside, written(own, sources)).expect("written");
        assert_eq!(given(&program, platform).expect("read"), sources);
        for (text, why) in [
            (written(sources, sources), "another entrypoint"),
            (format!("{own}\n"), "two digests"),
            (format!("{own} {sources} {sources}"), "two digests"),
            ("torn".to_owned(), "two digests"),
        ] {
            std::fs::write(&beside, text).expect("written");
            let error = given(&program, platform).expect_err("refused").to_string();
            assert!(error.contains("entrypoint.sources") && error.contains(why), "{error}");
        }
    }
}
