//! The name in a certificate: as much of X.509 as it takes to tell a person which one is meant. Nothing depends on it.

/// 2.5.4.3, common name (RFC 5280, appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// 2.5.4.10, organisation.
const ORGANISATION: &[u8] = &[0x55, 4, 10];

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// The subject's common name, else its organisation.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, after)) = expect(rest, VERSION) {
        rest = after;
    }
    // serial number, signature algorithm, issuer, validity; then the subject
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
        rest = expect(rest, tag)?.1;
    }
    let (subject, _) = expect(rest, SEQUENCE)?;
    attribute(subject, COMMON_NAME).or_else(|| attribute(subject, ORGANISATION))
}

fn attribute(mut names: &[u8], wanted: &[u8]) -> Option<String> {
    while let Some((set, rest)) = expect(names, SET) {
        names = rest;
        let (pair, _) = expect(set, SEQUENCE)?;
        let (kind, value) = expect(pair, OBJECT_IDENTIFIER)?;
        if kind == wanted {
            let (_, value, _) = element(value)?;
            return Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    None
}

/// The content of the first element, which has `tag`, and what follows it.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// Tag, content and what follows. (X.690: one byte of tag, then a length of one byte, or of as many as its low bits say.)
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&first, mut der) = der.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (bytes, rest) = der.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.is_empty() || bytes.len() > 4 {
            return None;
        }
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        der = rest;
    }
    let (content, rest) = der.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_name() {
        for der in [&b""[..], &[0x30], &[0x30, 0x80], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 5, 1], &[0x30, 2, 0x30, 0], b"hello"]
        {
            assert_eq!(subject(der), None, "{der:?}");
        }
    }
}
