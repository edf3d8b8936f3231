//! BuildKit's status messages as [`BuildEvent`]s, and what they tell about a failure. Pure.

use std::collections::{HashMap, VecDeque};

use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};

use super::super::{BuildEvent, VertexState};

/// Lines of a step that are kept for the message about its failure.
const TAIL: usize = 30;
/// A line without an end is cut here: programs exist that never print a newline.
const LINE_LIMIT: usize = 16 * 1024;

/// What is known of a running build.
#[derive(Default)]
pub(super) struct Progress {
    vertices: HashMap<String, Known>,
    /// Beginnings of lines, by vertex and stream.
    partial: HashMap<(String, i64), Vec<u8>>,
}

#[derive(Default)]
struct Known {
    name: String,
    state: Option<VertexState>,
    tail: VecDeque<String>,
}

/// The step that a build failed at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FailedStep {
    /// `[2/3] RUN false`
    pub(super) name: String,
    /// What BuildKit says.
    pub(super) error: String,
    /// The last lines that it printed.
    pub(super) tail: Vec<String>,
}

impl Progress {
    /// Takes a message in and tells what is new.
    pub(super) fn take(&mut self, status: StatusResponse) -> Vec<BuildEvent> {
        let mut events = Vec::new();
        for vertex in status.vertexes {
            events.extend(self.vertex(vertex));
        }
        for log in status.logs {
            self.log(log, &mut events);
        }
        events
    }

    /// The lines that never came to an end.
    pub(super) fn finish(&mut self) -> Vec<BuildEvent> {
        let mut rest: Vec<_> = std::mem::take(&mut self.partial).into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        rest.sort();
        rest.into_iter().map(|((id, _), bytes)| self.line(&id, &bytes)).collect()
    }

    /// The step that failed by itself, rather than because another one did.
    pub(super) fn failed(&self) -> Option<FailedStep> {
        let mut failed: Vec<_> = self
            .vertices
            .values()
            .filter_map(|known| match &known.state {
                Some(VertexState::Failed(error)) => Some((error.contains("context canceled"), known, error)),
                _ => None,
            })
            .collect();
        failed.sort_by_key(|(cancelled, known, _)| (*cancelled, known.name.as_str()));
        failed.first().map(|(_, known, error)| FailedStep {
            name: known.name.clone(),
            error: (*error).clone(),
            tail: known.tail.iter().cloned().collect(),
        })
    }

    fn vertex(&mut self, vertex: Vertex) -> Option<BuildEvent> {
        let known = self.vertices.entry(vertex.digest.clone()).or_default();
        known.name.clone_from(&vertex.name);
        let state = match (vertex.completed, vertex.started) {
            (None, None) => return None,
            (None, Some(_)) => VertexState::Started,
            (Some(_), _) if !vertex.error.is_empty() => VertexState::Failed(vertex.error),
            (Some(_), _) if vertex.cached => VertexState::Cached,
            (Some(_), _) => VertexState::Done,
        };
        // BuildKit goes through a step's parts one after the other and repeats itself; a person wants to read it once.
        if known.state.as_ref() == Some(&state) || (state == VertexState::Started && known.state.is_some()) {
            return None;
        }
        known.state = Some(state.clone());
        Some(BuildEvent::Vertex { id: vertex.digest, name: vertex.name, state })
    }

    fn log(&mut self, log: VertexLog, events: &mut Vec<BuildEvent>) {
        let key = (log.vertex, log.stream);
        let mut bytes = self.partial.remove(&key).unwrap_or_default();
        bytes.extend(log.msg);
        let mut rest = bytes.as_slice();
        loop {
            let (line, after) = match rest.iter().position(|b| *b == b'\n') {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None if rest.len() > LINE_LIMIT => rest.split_at(LINE_LIMIT),
                None => break,
            };
            events.push(self.line(&key.0, line));
            rest = after;
        }
        if !rest.is_empty() {
            let rest = rest.to_vec();
            self.partial.insert(key, rest);
        }
    }

    fn line(&mut self, id: &str, bytes: &[u8]) -> BuildEvent {
        let text = String::from_utf8_lossy(bytes);
        // A carriage return means that what follows is printed over what stood there.
        let text = text.trim_end_matches('\r');
        let line = text.rsplit('\r').next().unwrap_or_default().to_owned();
        let tail = &mut self.vertices.entry(id.to_owned()).or_default().tail;
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line.clone());
        BuildEvent::Log { id: id.to_owned(), line }
    }
}

/// The number after the last `exit code: ` of BuildKit's message; there is no field for it.
pub(super) fn exit_code(message: &str) -> Option<i64> {
    let (_, rest) = message.rsplit_once("exit code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_buildkit_proto::google::protobuf::Timestamp;

    const NOW: Option<Timestamp> = Some(Timestamp { seconds: 1, nanos: 0 });

    fn vertex(id: &str, started: bool, completed: bool, cached: bool, error: &str) -> StatusResponse {
        let vertex = Vertex {
            digest: id.into(),
            name: format!("[{id}] RUN x"),
            started: NOW.filter(|_| started),
            completed: NOW.filter(|_| completed),
            cached,
            error: error.into(),
            ..Vertex::default()
        };
        StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() }
    }

    fn log(id: &str, stream: i64, text: &[u8]) -> StatusResponse {
        let log = VertexLog { vertex: id.into(), timestamp: None, stream, msg: text.to_vec() };
        StatusResponse { logs: vec![log], ..StatusResponse::default() }
    }

    fn lines(events: Vec<BuildEvent>) -> Vec<String> {
        let line = |event| if let BuildEvent::Log { line, .. } = event { Some(line) } else { None };
        events.into_iter().filter_map(line).collect()
    }

    fn states(events: Vec<BuildEvent>) -> Vec<VertexState> {
        let state = |event| if let BuildEvent::Vertex { state, .. } = event { Some(state) } else { None };
        events.into_iter().filter_map(state).collect()
    }

    #[test]
    fn a_vertex_is_told_once_per_state() {
        let mut progress = Progress::default();
        assert_eq!(states(progress.take(vertex("a", false, false, false, ""))), []);
        assert_eq!(states(progress.take(vertex("a", true, false, false, ""))), [VertexState::Started]);
        assert_eq!(states(progress.take(vertex("a", true, false, false, ""))), []);
        assert_eq!(states(progress.take(vertex("a", true, true, false, ""))), [VertexState::Done]);
        assert_eq!(states(progress.take(vertex("a", true, false, false, ""))), []);
        assert_eq!(states(progress.take(vertex("a", true, true, false, ""))), []);
        assert_eq!(states(progress.take(vertex("b", true, true, true, ""))), [VertexState::Cached]);
        assert_eq!(states(progress.take(vertex("c", true, true, false, "no"))), [VertexState::Failed("no".into())]);
    }

    #[test]
    fn lines_are_put_together_per_stream() {
        let mut progress = Progress::default();
        assert_eq!(lines(progress.take(log("a", 1, b"one\ntw"))), ["one"]);
        assert_eq!(lines(progress.take(log("a", 2, b"error\r\n"))), ["error"]);
        assert_eq!(lines(progress.take(log("a", 1, b"o\n\n10%\r20%\r100%\nend"))), ["two", "", "100%"]);
        assert_eq!(lines(progress.finish()), ["end"]);
        assert_eq!(lines(progress.finish()), [""; 0]);
        assert_eq!(lines(progress.take(log("a", 1, &vec![b'x'; LINE_LIMIT + 1]))), ["x".repeat(LINE_LIMIT)]);
    }

    #[test]
    fn the_step_that_failed_is_not_one_that_was_cancelled() {
        let mut progress = Progress::default();
        assert_eq!(progress.failed(), None);
        progress.take(vertex("a", true, true, false, "process did not complete: context canceled"));
        for number in 0..TAIL + 5 {
            progress.take(log("b", 1, format!("line {number}\n").as_bytes()));
        }
        progress.take(vertex("b", true, true, false, "exit code: 7"));
        let failed = progress.failed().unwrap();
        assert_eq!((failed.name.as_str(), failed.error.as_str()), ("[b] RUN x", "exit code: 7"));
        assert_eq!((failed.tail.len(), failed.tail.first().map(String::as_str)), (TAIL, Some("line 5")));
    }

    #[test]
    fn exit_codes() {
        for (message, code) in [
            ("executor failed running [/bin/sh -c echo exit code: 1; exit 3]: exit code: 3", Some(3)),
            ("process \"/bin/sh -c x\" did not complete successfully: exit code: 137: out of memory", Some(137)),
            ("failed to compute cache key: \"/gone\" not found", None),
            ("exit code: many", None),
        ] {
            assert_eq!(exit_code(message), code, "{message}");
        }
    }
}
