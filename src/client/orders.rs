//! `entrypoint start`, `stop` and `restart`: gives the order and waits for what comes of it.

use super::status::{Told, field};
use super::{ask, failure};
use crate::failure::Failure;
use crate::log::Log;
use std::time::{Duration, Instant};

/// What is wanted of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Start,
    Stop,
    Restart,
}

impl Order {
    /// The word for it, on the command line and on the socket.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    /// The order called `word`.
    pub(crate) fn named(word: &str) -> Option<Self> {
        [Self::Start, Self::Stop, Self::Restart].into_iter().find(|order| order.word() == word)
    }
}

/// How long is waited. What takes longer goes on without anybody waiting for it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// Gives the order; 0 when it came to what was wanted.
///
/// # Errors
/// No entrypoint answers, there is no such service, or it failed.
pub(crate) fn order(order: Order, service: &str, log: &Log) -> Result<u8, Failure> {
    let answer = ask(&format!("{} {service}", order.word()))?;
    let answer = answer.trim_end().trim_start_matches("ok ");
    if ["runs already", "does not run"].contains(&answer) && settled(order, service)?.is_some() {
        log.answer(&format!("{service}: {answer}\n"));
        return Ok(0);
    }
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(phase) = settled(order, service)? {
            log.answer(&format!("{service}: {phase}\n"));
            return Ok(0);
        }
        if Instant::now() >= until {
            let problem = format!("`{service}` has not come to {} within {} s", order.word(), PATIENCE.as_secs());
            return Err(failure(problem).hint("it goes on: `entrypoint status` tells how it is"));
        }
        std::thread::sleep(LOOK);
    }
}

/// The phase in which the service has come to what was wanted, if it has.
fn settled(order: Order, service: &str) -> Result<Option<String>, Failure> {
    let answer = ask("status")?;
    let told = Told::parse(&answer)?;
    let Some(found) = told.services.iter().find(|found| field(found, "name") == service) else {
        return Err(failure(format!("the entrypoint does not know `{service}`")));
    };
    let phase = field(found, "phase");
    match outcome(order, phase) {
        Some(true) => Ok(Some(phase.to_owned())),
        Some(false) => {
            let why = found.get("error").map_or(String::new(), |error| format!(": {error}"));
            Err(failure(format!("`{service}` is {phase}{why}")).hint(format!("`entrypoint logs {service}` tells more")))
        }
        None => Ok(None),
    }
}

/// Whether `phase` is what was wanted or a failure; none: it is on its way.
fn outcome(order: Order, phase: &str) -> Option<bool> {
    match (order, phase) {
        (Order::Start | Order::Restart, "ready" | "running" | "done") => Some(true),
        (Order::Stop, "stopped" | "done" | "failed" | "idle") => Some(true),
        (Order::Start | Order::Restart, "pausing" | "failed" | "stopped" | "idle") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, outcome};

    #[test]
    fn an_order_comes_to_something_or_fails() {
        let table = [
            (Order::Start, "starting", None),
            (Order::Start, "ready", Some(true)),
            (Order::Start, "running", Some(true)),
            (Order::Start, "pausing", Some(false)),
            (Order::Restart, "stopping", None),
            (Order::Restart, "done", Some(true)),
            (Order::Stop, "stopping", None),
            (Order::Stop, "stopped", Some(true)),
            (Order::Stop, "failed", Some(true)),
        ];
        for (order, phase, expected) in table {
            assert_eq!(outcome(order, phase), expected, "{order:?} {phase}");
        }
        assert_eq!(Order::named("restart"), Some(Order::Restart));
        assert_eq!(Order::named("status"), None);
    }
}
