//! The certificate authorities that this machine trusts beyond those that everybody trusts: behind an intercepting proxy,
//! builds need them.

mod name;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::HostError;
use crate::oci::Digest;

/// Where systems keep their bundle: Debian and Alpine, Fedora, openSUSE, BSD and macOS.
const BUNDLES: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// What Debian's `ca-certificates` brings, one file each.
const STOCK: &str = "/usr/share/ca-certificates/mozilla";

/// Where Fedora's administrators put the others.
const ANCHORS: &str = "/etc/pki/ca-trust/source/anchors";

/// A bundle that builds are given as a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaBundle {
    /// The file.
    pub path: PathBuf,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// The certificates in it that are not among the system's stock ones (in a file named by the user: all of its
    /// certificates where the stock is not known).
    pub extra: Vec<Authority>,
}

/// A certificate authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The name in its certificate: common name, else organisation.
    pub name: Option<String>,
    /// The digest of its certificate (DER): what browsers call its SHA-256 fingerprint.
    pub fingerprint: Digest,
}

/// The bundle that builds are given: the file `named` by the user, else the machine's own (`$SSL_CERT_FILE`, else the
/// system's) where that holds certificates beyond the stock ones. None: nothing is needed, or it cannot be told.
///
/// # Errors
/// A file cannot be read or has no certificate. For the machine's own bundle that is so only where `$SSL_CERT_FILE` names
/// it.
pub fn extra_bundle(named: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<CaBundle>, HostError> {
    let stock = certificates_below(Path::new(STOCK));
    if let Some(path) = named {
        return read(path, |certificate| !stock.contains(certificate)).map(Some);
    }
    let variable = env("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = variable.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file())) else {
        return Ok(None);
    };
    let anchors = certificates_below(Path::new(ANCHORS));
    let bundle =
        read(&path, |certificate| if stock.is_empty() { anchors.contains(certificate) } else { !stock.contains(certificate) })?;
    Ok((!bundle.extra.is_empty()).then_some(bundle))
}

fn read(path: &Path, is_extra: impl Fn(&Digest) -> bool) -> Result<CaBundle, HostError> {
    let bytes = std::fs::read(path).map_err(HostError::io("read", path))?;
    let malformed = |why: String| HostError::Malformed { path: path.to_owned(), why };
    let certificates = certificates(&bytes).map_err(malformed)?;
    if certificates.is_empty() {
        return Err(malformed("it has no certificate (`-----BEGIN CERTIFICATE-----`)".into()));
    }
    let mut seen = BTreeSet::new();
    let mut extra = Vec::new();
    for certificate in &certificates {
        let fingerprint = Digest::of(certificate);
        if is_extra(&fingerprint) && seen.insert(fingerprint) {
            extra.push(Authority { name: name::subject(certificate), fingerprint });
        }
    }
    Ok(CaBundle { path: path.to_owned(), bytes, extra })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// The fingerprints of all certificates in the files of `folder`; files that hold none are passed over.
fn certificates_below(folder: &Path) -> BTreeSet<Digest> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let pems = files.filter_map(|file| std::fs::read(file.path()).ok());
    pems.filter_map(|pem| certificates(&pem).ok()).flatten().map(Digest::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A self-signed certificate, made by openssl.
    fn authority(folder: &Path, subject: &str) -> Vec<u8> {
        let file = folder.join("made.pem");
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]);
        openssl.arg(folder.join("key.pem")).arg("-out").arg(&file).args(["-days", "1", "-subj", subject]);
        assert!(openssl.output().expect("openssl runs").status.success());
        std::fs::read(file).expect("written")
    }

    #[test]
    fn what_a_named_bundle_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bundle.pem");
        let one = authority(folder.path(), "/O=A Company/CN=A Company Root");
        let two = authority(folder.path(), "/O=Nameless");
        std::fs::write(&file, [b"# ours\n".as_slice(), &one, &two, &one].concat()).expect("written");
        let bundle = extra_bundle(Some(&file), &|_| None).expect("valid").expect("named");
        let names: Vec<_> = bundle.extra.iter().map(|authority| authority.name.as_deref()).collect();
        assert_eq!(names, [Some("A Company Root"), Some("Nameless")]);
        let by_variable = extra_bundle(None, &|name| (name == "SSL_CERT_FILE").then(|| file.display().to_string()));
        let by_variable = by_variable.expect("valid");
        if Path::new(STOCK).is_dir() {
            assert_eq!(by_variable, Some(bundle), "they are not among the stock ones");
        }
    }

    #[test]
    fn a_file_without_certificates() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bundle.pem");
        std::fs::write(&file, "hello").expect("written");
        let error = extra_bundle(Some(&file), &|_| None).expect_err("refused").to_string();
        assert!(error.ends_with("is not valid: it has no certificate (`-----BEGIN CERTIFICATE-----`)"), "{error}");
        let missing = extra_bundle(Some(&folder.path().join("none")), &|_| None).expect_err("refused");
        assert!(matches!(missing, HostError::Io { doing: "read", .. }));
    }

    #[test]
    fn the_stock_alone_is_nothing_extra() {
        if !Path::new(STOCK).is_dir() {
            return; // Not a Debian, or without `ca-certificates`.
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("stock.pem");
        let files = std::fs::read_dir(STOCK).expect("listed").flatten();
        let stock: Vec<u8> = files.filter_map(|file| std::fs::read(file.path()).ok()).flatten().collect();
        std::fs::write(&file, stock).expect("written");
        let env = |name: &str| (name == "SSL_CERT_FILE").then(|| file.display().to_string());
        assert_eq!(extra_bundle(None, &env).expect("valid"), None);
    }
}
