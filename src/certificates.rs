//! `EXTRA_CA_FILE`: certificates that a company's proxy or servers are signed with, for everything that fetches.
//!
//! Programs differ in which variable they look at, and most of them take one bundle and no other: so the bundle is
//! the image's with the extra ones behind it, for the container's life, readable by everybody.

use crate::files;
use crate::log::Log;
use crate::places;
use crate::settings::{Environment, Settings};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};

/// What is written into the runtime folder.
const BUNDLE: &str = "ca-bundle.crt";
const EXTRA: &str = "extra-ca.crt";
/// More than the bundle of any company.
const LARGEST: u64 = 4 * 1024 * 1024;
/// Variables that name a bundle in place of the image's.
const BUNDLE_VARIABLES: [&str; 5] = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE"];
/// Node has its own and takes more.
const EXTRA_VARIABLE: &str = "NODE_EXTRA_CA_CERTS";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Writes the bundle into the folder `runtime` and has everything use it. Where that fails it is said: a workspace
/// that trusts too little is of more use than none.
pub(crate) fn trust(settings: &mut Settings, runtime: &Path, log: &Log) {
    let (bundle, extra) = (runtime.join(BUNDLE), runtime.join(EXTRA));
    let Some(path) = &settings.extra_ca else { return };
    let written = certificates(path).and_then(|certificates| {
        let image = std::fs::read_to_string(places::CERTIFICATES).unwrap_or_default();
        let write = |path: &PathBuf, text: &str| {
            files::write(path, text.as_bytes(), 0o644, None).map_err(|error| format!("`{}`: {error}", path.display()))
        };
        write(&extra, &certificates.concat())?;
        write(&bundle, &(image + "\n" + &certificates.concat()))?;
        Ok(certificates.len())
    });
    match written {
        Ok(count) => {
            let (path, bundle) = (path.display(), bundle.display());
            log.service("info", "certificates", &format!("{count} of `{path}` are trusted too: `{bundle}`"));
        }
        Err(problem) => {
            // What a start before this one wrote must not be taken for it.
            let _ = std::fs::remove_file(&bundle);
            let problem = format!("EXTRA_CA_FILE: {problem}: NONE OF IT IS TRUSTED");
            log.service("error", "certificates", &problem);
            settings.notes.push(problem);
        }
    }
    apply(settings, runtime);
}

/// What is wrong with the file, if one is named.
pub(crate) fn missing(settings: &Settings) -> Option<String> {
    let problem = certificates(settings.extra_ca.as_deref()?).err()?;
    Some(format!("EXTRA_CA_FILE: {problem}"))
}

/// Has everything use the bundle in the folder `runtime`, if there is one: in workers too, which read the settings
/// themselves.
pub(crate) fn apply(settings: &mut Settings, runtime: &Path) {
    let bundle = runtime.join(BUNDLE);
    if settings.extra_ca.is_none() || !bundle.exists() {
        return;
    }
    for environment in [&mut settings.session, &mut settings.job, &mut settings.fetch] {
        point(environment, &bundle, &runtime.join(EXTRA));
    }
}

/// Sets the variables that are not set.
fn point(environment: &mut Environment, bundle: &Path, extra: &Path) {
    let variables = BUNDLE_VARIABLES.into_iter().map(|name| (name, bundle)).chain([(EXTRA_VARIABLE, extra)]);
    for (name, path) in variables {
        if !environment.iter().any(|(other, _)| other == name) {
            environment.push((name.into(), path.into()));
        }
    }
}

/// The certificates in the file at `path`; the error says what is wrong with it.
fn certificates(path: &Path) -> Result<Vec<String>, String> {
    let refused = |error: std::io::Error| format!("`{}` cannot be read: {error}", path.display());
    let text = files::read(path, LARGEST).map_err(refused)?;
    parse(&String::from_utf8_lossy(&text)).map_err(|problem| format!("`{}` {problem}", path.display()))
}

/// The certificates in a PEM text, each with its newline. What stands around them (names, even keys) is left out.
fn parse(text: &str) -> Result<Vec<String>, String> {
    let mut certificates = Vec::new();
    let mut rest = text;
    while let Some((before, begun)) = rest.split_once(BEGIN) {
        let line = text.len() - rest.len() + before.len();
        let line = text.get(..line).map_or(0, |before| before.matches('\n').count()) + 1;
        let Some((body, after)) = begun.split_once(END) else {
            return Err(format!("has a certificate in line {line} that does not end"));
        };
        let plain: String = body.split_whitespace().collect();
        // A sequence, as ASN.1 writes it.
        if !STANDARD.decode(&plain).is_ok_and(|bytes| bytes.len() > 64 && bytes.first() == Some(&0x30)) {
            return Err(format!("has something in line {line} that is no certificate"));
        }
        certificates.push(format!("{BEGIN}\n{}\n{END}\n", body.trim()));
        rest = after;
    }
    if certificates.is_empty() {
        return Err(format!("has no certificate in it: PEM (`{BEGIN}`) belongs there"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::{parse, point};
    use base64::Engine as _;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn only_certificates_are_taken() {
        let block = |kind: &str, first: u8| {
            let mut bytes = vec![7; 90];
            bytes[0] = first;
            let body = base64::engine::general_purpose::STANDARD.encode(bytes);
            format!("-----BEGIN {kind}-----\n{}\n{}\n-----END {kind}-----\n", &body[..64], &body[64..])
        };
        let good = block("CERTIFICATE", 0x30);
        let table = [
            (good.clone(), Ok(1)),
            (format!("# a company's\n{good}\n{}{good}", block("PRIVATE KEY", 0x30)), Ok(2)),
            (good.replace('\n', "\r\n"), Ok(1)),
            (String::new(), Err("has no certificate in it")),
            ("\u{30}\u{82}".to_owned(), Err("has no certificate in it")),
            (block("PRIVATE KEY", 0x30), Err("has no certificate in it")),
            (format!("{good}{}", block("CERTIFICATE", 0x31)), Err("in line 5 that is no certificate")),
            (format!("\n{}", good.replace("END", "end")), Err("in line 2 that does not end")),
        ];
        for (text, expected) in table {
            match (parse(&text), expected) {
                (Ok(found), Ok(count)) => {
                    assert_eq!(found.len(), count, "{text}");
                    assert!(!found.concat().contains("PRIVATE"));
                }
                (Err(found), Err(part)) => assert!(found.contains(part), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_somebody_set_stays() {
        let mut environment = vec![("SSL_CERT_FILE".into(), "/mine".into())];
        point(&mut environment, Path::new("/b"), Path::new("/e"));
        let find = |name: &str| environment.iter().find(|(other, _)| other == name).map(|(_, value)| value.to_str());
        assert_eq!(find("SSL_CERT_FILE"), Some(Some("/mine")));
        assert_eq!(find("CURL_CA_BUNDLE"), Some(Some("/b")));
        assert_eq!(find("NODE_EXTRA_CA_CERTS"), Some(Some("/e")));
        assert_eq!(environment.len(), 6);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(-----(BEGIN|END) CERTIFICATE-----|[A-Za-z0-9+/=]{0,80}|\\s|\\PC){0,12}") {
            for certificate in parse(&text).unwrap_or_default() {
                prop_assert!(certificate.starts_with("-----BEGIN") && certificate.ends_with("-----\n"));
            }
        }
    }
}
