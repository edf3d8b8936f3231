//! Events as JSON, one a line, on stderr.

use crate::event::{Event, Sink};

/// Events as JSON lines.
pub(super) struct JsonLines;

impl Sink for JsonLines {
    fn emit(&self, event: Event) {
        if let Ok(line) = serde_json::to_string(&event) {
            super::print_line(&line);
        }
    }
}
