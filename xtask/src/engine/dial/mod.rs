//! One dialer for every way to an engine. What it returns is a stream of bytes with HTTP/1.1 on the other side.

mod ssh;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Endpoint;

/// How long an engine may take to accept a connection. Not for ssh, which has its own limits and may ask for a password.
const PATIENCE: Duration = Duration::from_secs(15);

/// Both directions of a connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to an engine.
pub(super) type Stream = Box<dyn Io>;

/// Connects to one engine, as often as it is asked to.
#[derive(Clone)]
pub(super) struct Dialer(Arc<Way>);

enum Way {
    #[cfg(unix)]
    Unix(std::path::PathBuf),
    Tcp(String),
    Tls(tls::Tls),
    Ssh(ssh::Ssh),
    #[cfg(windows)]
    Npipe(String),
}

impl Dialer {
    /// Reads what the endpoint needs (certificates).
    ///
    /// # Errors
    /// Certificates that cannot be read or used; a kind of endpoint that this platform does not have.
    pub(super) fn new(endpoint: &Endpoint) -> io::Result<Self> {
        let way = match endpoint {
            #[cfg(unix)]
            Endpoint::Unix(path) => Way::Unix(path.clone()),
            #[cfg(windows)]
            Endpoint::Npipe(path) => Way::Npipe(path.clone()),
            Endpoint::Tcp(address) => Way::Tcp(address.clone()),
            Endpoint::Tls { address, certificates, verify } => Way::Tls(tls::Tls::new(address, certificates, *verify)?),
            Endpoint::Ssh(address) => Way::Ssh(ssh::Ssh::new(address)),
            #[cfg(not(windows))]
            Endpoint::Npipe(_) => return Err(io::Error::new(io::ErrorKind::Unsupported, "named pipes exist on Windows only")),
            #[cfg(not(unix))]
            Endpoint::Unix(_) => return Err(io::Error::new(io::ErrorKind::Unsupported, "unix sockets are not used on Windows")),
        };
        Ok(Self(Arc::new(way)))
    }

    /// A new connection.
    ///
    /// # Errors
    /// The kind tells what is wrong (`NotFound`, `PermissionDenied`, `ConnectionRefused`, `TimedOut`, …).
    pub(super) async fn dial(&self) -> io::Result<Stream> {
        match &*self.0 {
            #[cfg(unix)]
            Way::Unix(path) => in_time(async { Ok(Box::new(tokio::net::UnixStream::connect(path).await?) as Stream) }).await,
            Way::Tcp(address) => in_time(async { Ok(Box::new(tcp(address).await?) as Stream) }).await,
            Way::Tls(tls) => in_time(async { Ok(Box::new(tls.connect().await?) as Stream) }).await,
            Way::Ssh(ssh) => Ok(Box::new(ssh.connect()?)),
            #[cfg(windows)]
            Way::Npipe(path) => in_time(async { Ok(Box::new(pipe(path).await?) as Stream) }).await,
        }
    }
}

async fn in_time(connecting: impl Future<Output = io::Result<Stream>>) -> io::Result<Stream> {
    tokio::time::timeout(PATIENCE, connecting)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", PATIENCE.as_secs()))))
}

/// A TCP connection that notices, during a long build, that the other side is gone.
async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let probes = socket2::TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    socket2::SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    Ok(stream)
}

#[cfg(windows)]
async fn pipe(path: &str) -> io::Result<tokio::net::windows::named_pipe::NamedPipeClient> {
    /// `ERROR_PIPE_BUSY`: all instances of the pipe are taken; the server makes a new one at once.
    const BUSY: i32 = 231;
    loop {
        match tokio::net::windows::named_pipe::ClientOptions::new().open(path) {
            Err(error) if error.raw_os_error() == Some(BUSY) => tokio::time::sleep(Duration::from_millis(50)).await,
            opened => return opened,
        }
    }
}
