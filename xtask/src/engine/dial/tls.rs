//! TLS over TCP, with the files that docker keeps: `ca.pem`, `cert.pem`, `key.pem`.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A way to an engine that speaks TLS.
pub(super) struct Tls {
    address: String,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Tls {
    /// `certificates` is the folder; a missing `ca.pem` means the system's authorities, a missing `cert.pem` no client certificate.
    pub(super) fn new(address: &str, certificates: &Path, verify: bool) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let verifier: Arc<dyn ServerCertVerifier> = match (verify, present(&certificates.join("ca.pem"))) {
            (false, _) => Arc::new(Anybody(provider)),
            (true, Some(path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in read_certificates(&path)? {
                    roots.add(certificate).map_err(|error| in_file(&path, error))?;
                }
                rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| in_file(&path, error))?
            }
            (true, None) => Arc::new(rustls_platform_verifier::Verifier::new(provider).map_err(io::Error::other)?),
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match present(&certificates.join("cert.pem")) {
            Some(path) => {
                let key_path = certificates.join("key.pem");
                let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| in_file(&key_path, error))?;
                builder.with_client_auth_cert(read_certificates(&path)?, key).map_err(|error| in_file(&path, error))?
            }
            None => builder.with_no_client_auth(),
        };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Self { address: address.to_owned(), name, connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(super) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = super::tcp(&self.address).await?;
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn present(path: &Path) -> Option<std::path::PathBuf> {
    fs::exists(path).unwrap_or(true).then(|| path.to_owned())
}

fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| in_file(path, error))?.collect();
    let certificates = certificates.map_err(|error| in_file(path, error))?;
    if certificates.is_empty() { Err(in_file(path, "no certificate in it")) } else { Ok(certificates) }
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {error}", path.display()))
}

/// Accepts every server: what `DOCKER_TLS` without `DOCKER_TLS_VERIFY` and a context's `SkipTLSVerify` ask for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
