//! The bytes of an export on their way from the engine to the thread that reads them.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::blobs::CHUNK;
use crate::event::{Event, Events};

/// Longer than this no engine takes for the next bytes of an export. (The first ones take it seconds per gigabyte.)
pub(super) const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// From the engine to the parser. A parser that ends early says why itself, an engine that gives nothing for
/// longer than `patience` is given up.
pub(super) async fn pump(
    mut export: impl AsyncRead + Send + Unpin,
    to: mpsc::Sender<io::Result<Bytes>>,
    events: &Events,
    patience: Duration,
) {
    let (mut total, mut told) = (0_u64, 0_u64);
    let tell = |bytes, total| {
        events.emit(Event::Transfer { id: "export".to_owned(), what: "export from the engine".to_owned(), bytes, total });
    };
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let read = tokio::time::timeout(patience, export.read_buf(&mut chunk)).await;
        match read.unwrap_or_else(|_| Err(stalled(patience))) {
            Ok(0) => break,
            Ok(read) => total += read as u64,
            Err(error) => {
                let _ = to.send(Err(error)).await;
                return;
            }
        }
        if to.send(Ok(chunk.freeze())).await.is_err() {
            return;
        }
        if total - told >= 4 << 20 {
            told = total;
            tell(total, None);
        }
    }
    tell(total, Some(total));
}

/// The error where the engine gives nothing for so long.
pub(super) fn stalled(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no byte of it came for {} s", patience.as_secs()))
}

/// The chunks as a blocking reader. It ends where the sender is dropped.
pub(super) struct Incoming {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Incoming {
    pub(super) fn new(chunks: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { chunks, current: Bytes::new() }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let take = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..take]);
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Sink;

    struct Deaf;

    impl Sink for Deaf {
        fn emit(&self, _event: Event) {}
    }

    #[test]
    fn an_export_that_stalls_is_given_up() {
        let (to, mut from) = mpsc::channel(1);
        let (export, _engine) = tokio::io::duplex(1);
        let events: Events = Arc::new(Deaf);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(pump(export, to, &events, Duration::from_millis(1)));
        let said = from.try_recv().unwrap().map_err(|error| error.kind());
        assert_eq!(said, Err(io::ErrorKind::TimedOut));
    }
}
