//! Ctrl-C: the first asks everything to end, the second ends us at once.

use tokio_util::sync::CancellationToken;

use crate::failure::Exit;

/// Hears SIGINT and SIGTERM (on Windows: Ctrl-C).
#[derive(Debug, Clone)]
pub struct Interrupt {
    token: CancellationToken,
}

impl Interrupt {
    /// Listens from now on, for as long as the process lives. The first signal cancels the [token](Self::token); the
    /// second ends the process with [`Exit::Interrupted`]. To be called in a tokio runtime.
    ///
    /// # Errors
    /// The system does not let us listen.
    pub fn listen() -> std::io::Result<Self> {
        let mut signals = Signals::new()?;
        let token = CancellationToken::new();
        let first = token.clone();
        tokio::spawn(async move {
            signals.next().await;
            first.cancel();
            signals.next().await;
            std::process::exit(Exit::Interrupted as i32);
        });
        Ok(Self { token })
    }

    /// Cancelled at the first signal.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// What `work` gives, or nothing when a signal comes first; `work` is dropped then.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.token.run_until_cancelled(work).await
    }
}

#[cfg(unix)]
struct Signals {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
