//! Reading a blob: a break is mended by asking for the rest.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode, header};
use reqwest::Response;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::answer::{Answer, Trouble, connection};
use super::transport::Attempts;
use super::{Registry, RegistryError};
use crate::oci::Digest;

/// Failures are forgotten after so many bytes: a large blob over a bad line may break more often than a small one.
const PROGRESS: u64 = 1 << 20;

/// The bytes of a blob as they come.
pub type BlobReader = Pin<Box<dyn AsyncRead + Send>>;

impl Registry {
    /// Opens a blob for reading; none where it is not there. What breaks off is resumed where it was. The caller checks
    /// the digest; what cannot be mended is an error of the reader (of kind `Other`, with a [`RegistryError`] in it).
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn read_blob(&self, digest: Digest) -> Result<Option<BlobReader>, RegistryError> {
        let mut download = Download {
            registry: self.clone(),
            digest,
            what: format!("give blob {}", digest.short(12)),
            attempts: self.transport.attempts(),
            at: 0,
            since_failure: 0,
            total: None,
            skip: 0,
            response: None,
        };
        if !download.connect().await? {
            return Ok(None);
        }
        let pieces = stream::try_unfold(download, |mut download| async move {
            let piece = download.piece().await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(piece.map(|piece| (piece, download)))
        });
        Ok(Some(Box::pin(StreamReader::new(Box::pin(pieces)))))
    }
}

struct Download {
    registry: Registry,
    digest: Digest,
    what: String,
    attempts: Attempts,
    /// Bytes handed out.
    at: u64,
    /// Of them since the last failure.
    since_failure: u64,
    /// Bytes in all, where the registry said so.
    total: Option<u64>,
    /// Bytes to throw away, from a registry that knows no ranges.
    skip: u64,
    response: Option<Response>,
}

impl Download {
    fn patience(&self) -> Duration {
        self.registry.transport.patience.answer
    }

    async fn fail(&mut self, trouble: Trouble) -> Result<(), RegistryError> {
        self.response = None;
        if self.since_failure >= PROGRESS {
            self.attempts.reset();
        }
        self.since_failure = 0;
        self.registry.transport.wait(&mut self.attempts, trouble, &self.what).await
    }

    /// Asks for what is missing; false: the blob is not there.
    async fn connect(&mut self) -> Result<bool, RegistryError> {
        loop {
            match self.open().await {
                Ok(Ok(there)) => return Ok(there),
                Ok(Err(trouble)) => self.fail(trouble).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn open(&mut self) -> Result<Result<bool, Trouble>, RegistryError> {
        let transport = &self.registry.transport;
        let mut ask = transport.ask(Method::GET, &format!("blobs/{}", self.digest))?;
        if self.at > 0 {
            ask = ask.header(header::RANGE, format!("bytes={}-", self.at));
        }
        let Ok(opened) = tokio::time::timeout(self.patience(), transport.open(&ask)).await else {
            return Ok(Err(late(self.patience())));
        };
        let response = match opened {
            Ok(response) => response,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let length = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        match response.status() {
            StatusCode::OK => {
                self.skip = self.at;
                if self.total.is_some() && length.is_some() && self.total != length {
                    return Ok(Err(Trouble::Garbled { why: "the blob has another size than before".to_owned() }));
                }
                self.total = self.total.or(length);
            }
            StatusCode::PARTIAL_CONTENT if self.at > 0 => {
                let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let (start, total) = range.map_or((None, None), parse_range);
                if start.is_some_and(|start| start != self.at) {
                    return Ok(Err(Trouble::Garbled { why: "another part of the blob came than was asked for".to_owned() }));
                }
                if total.is_some() && self.total.is_some() && total != self.total {
                    // What was handed out came from something else, and cannot be taken back.
                    return Err(transport.protocol(&self.what, "the blob has another size than before"));
                }
                self.skip = 0;
            }
            // It was there a moment ago.
            StatusCode::NOT_FOUND if self.at > 0 => {
                return Ok(Err(Trouble::Status { status: response.status(), message: String::new(), pause: None }));
            }
            StatusCode::NOT_FOUND => return Ok(Ok(false)),
            status => {
                let answer = Answer { status, headers: response.headers().clone(), body: Bytes::new() };
                return Err(transport.unexpected(&self.what, &answer));
            }
        }
        self.response = Some(response);
        Ok(Ok(true))
    }

    /// The next bytes; none at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(response) = &mut self.response else {
                if self.total == Some(self.at) {
                    return Ok(None);
                }
                self.connect().await?;
                continue;
            };
            let patience = self.registry.transport.patience.answer;
            let trouble = match tokio::time::timeout(patience, response.chunk()).await {
                Ok(Ok(Some(mut piece))) => {
                    let skipped = self.skip.min(piece.len() as u64);
                    self.skip -= skipped;
                    let piece = piece.split_off(usize::try_from(skipped).unwrap_or_default());
                    if piece.is_empty() {
                        continue;
                    }
                    self.at += piece.len() as u64;
                    self.since_failure += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(Ok(None)) if self.total.is_none_or(|total| total == self.at) => return Ok(None),
                Ok(Ok(None)) => Trouble::Connection { why: "the blob ends too early".to_owned(), passing: true },
                Ok(Err(error)) => connection(error),
                Err(_) => late(patience),
            };
            self.fail(trouble).await?;
        }
    }
}

fn late(patience: Duration) -> Trouble {
    Trouble::Connection { why: format!("no byte came for {patience:?}"), passing: true }
}

/// Where a part begins, and the size of the whole: `bytes 100-199/200`.
fn parse_range(range: &str) -> (Option<u64>, Option<u64>) {
    let Some((part, total)) = range.trim().strip_prefix("bytes").and_then(|range| range.split_once('/')) else {
        return (None, None);
    };
    let start = part.trim_start().split('-').next().and_then(|start| start.parse().ok());
    (start, total.trim_end().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, parts) in [
            ("bytes 100-199/200", (Some(100), Some(200))),
            ("bytes 0-0/*", (Some(0), None)),
            ("bytes */200", (None, Some(200))),
            ("lines 1-2/3", (None, None)),
            ("bytes", (None, None)),
            ("", (None, None)),
        ] {
            assert_eq!(parse_range(text), parts, "{text}");
        }
    }
}
