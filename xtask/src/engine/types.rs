//! What goes into the engine and comes out of it, without bollard's types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::oci::Digest;

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `20.10.24`
    pub version: String,
    /// The API version that was negotiated: `1.41`.
    pub api_version: String,
    /// `linux`
    pub os: String,
    /// `amd64`
    pub arch: String,
    /// Whether images live in containerd's store rather than in a graph driver.
    pub containerd_store: bool,
    /// The engine's folder, where its graph driver is `overlay2` and it is reached by a socket of this machine.
    pub overlay2: Option<PathBuf>,
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalImage {
    /// The engine's id: a config digest or a manifest digest, depending on its store.
    pub id: String,
    /// `name:tag`, in full.
    pub tags: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Uncompressed size, where the engine tells.
    pub size: u64,
}

/// One image, looked at closely.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InspectedImage {
    /// As in the listing.
    pub image: LocalImage,
    /// The digests of its layers, uncompressed, lowest first.
    pub diff_ids: Vec<Digest>,
    /// `PATH=…`
    pub env: Vec<String>,
    /// `created` of the image config.
    pub created: String,
}

/// Bytes that a build's `RUN --mount=type=secret` sees. Neither printed nor serialised.
#[derive(Clone)]
pub struct SecretBytes(pub std::sync::Arc<[u8]>);

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

/// One build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// What the result is tagged with, in full; the first is the stage tag. Without any, the result stays in the build
    /// cache and is no image.
    pub tags: Vec<String>,
    /// The context: a tar archive with the Dockerfile in it.
    pub context: bytes::Bytes,
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// The stage to build.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// By id.
    pub secrets: BTreeMap<String, SecretBytes>,
    /// Ignores the engine's cache.
    pub no_cache: bool,
}

/// What a build does, as it does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A vertex (a Dockerfile instruction, mostly) began or ended.
    Vertex {
        /// BuildKit's digest of it.
        id: String,
        /// `[ide 2/5] RUN npm ci`
        name: String,
        /// What became of it.
        state: VertexState,
    },
    /// A line that a vertex printed.
    Log {
        /// The vertex.
        id: String,
        /// The line, without its end.
        line: String,
    },
}

/// The state of a vertex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VertexState {
    /// It runs.
    Started,
    /// It ran to its end.
    Done,
    /// It came from the cache.
    Cached,
    /// It failed.
    Failed(String),
}

/// How an engine is reached, after `DOCKER_HOST`, `DOCKER_CONTEXT` and docker's configuration were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket of this machine.
    Unix(PathBuf),
    /// Plain TCP: `host:port`.
    Tcp(String),
    /// TLS over TCP.
    Tls {
        /// `host:port`
        address: String,
        /// Folder with `ca.pem`, `cert.pem`, `key.pem`; each may be missing.
        certificates: PathBuf,
        /// Whether the server's certificate is verified.
        verify: bool,
    },
    /// `ssh://[user@]host[:port][/socket]`: `ssh … docker system dial-stdio`.
    Ssh(String),
    /// A named pipe of Windows.
    Npipe(String),
}
