//! A container of an image that does nothing by itself: what is asked in it is asked of the image alone.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::checks::Choice;
use super::enter;
use super::judge;
use super::question::Inquiry;
use super::report::{Check, Verdict};
use super::room::Room;
use super::run::{AT_ONCE, Subject};
use crate::engine::{ContainerRequest, Engine};

/// What is asked inside, in a container that does nothing else.
pub(super) async fn ask(room: &Room, subject: &Subject, choice: &Choice) -> Vec<Check> {
    let inquiries = choice.inquiries(&subject.promise);
    if inquiries.is_empty() {
        return Vec::new();
    }
    let request = ContainerRequest {
        entrypoint: Some(vec!["sleep".to_owned()]),
        command: vec!["infinity".to_owned()],
        user: Some("0".to_owned()),
        ..room.container(&subject.reference, &subject.promise.variant, "inside")
    };
    let name = request.name.clone();
    let error = room.run(request).await.err().map(|error| format!("no container to ask in: {error}"));
    let places = Semaphore::new(AT_ONCE);
    let asking = inquiries.into_iter().map(|inquiry| {
        let asked = Asked { engine: room.engine(), container: &name, error: error.as_deref(), places: &places };
        asked.about(inquiry)
    });
    let checks = join_all(asking).await;
    // Its process has nothing to say to a stop.
    room.done(&name).await;
    checks
}

/// A container that is asked.
struct Asked<'a> {
    engine: &'a Engine,
    container: &'a str,
    /// Why there is none.
    error: Option<&'a str>,
    places: &'a Semaphore,
}

impl Asked<'_> {
    async fn about(self, inquiry: Inquiry) -> Check {
        let _place = self.places.acquire().await;
        match (inquiry, self.error) {
            (Inquiry::Said(name, verdict), _) => verdict.of(name, Duration::ZERO),
            (Inquiry::Ask(question), Some(error)) => Verdict::failed(error).of(question.name, Duration::ZERO),
            (Inquiry::Ask(question), None) => {
                let started = Instant::now();
                let output = enter::within(question.patience, self.engine.exec(self.container, question.command())).await;
                judge::answer(&question.about, &output).of(question.name, started.elapsed())
            }
        }
    }
}
