//! The names of all checks of an image. Pure.

use super::promise::Promise;
use super::question::{Inquiry, inquiries};
use super::start::{self, Given};

/// The names of all checks of an image, in their order.
pub fn checks(promise: &Promise) -> Vec<String> {
    let still = [
        "entrypoint",
        "user",
        "health check",
        "environment",
        "labels",
        "secrets in the configuration",
        "layers",
        "size",
        "growth",
    ];
    let asked = inquiries(promise).into_iter().map(|inquiry| match inquiry {
        Inquiry::Said(name, _) => name,
        Inquiry::Ask(question) => question.name,
    });
    let starts = start::starts(promise, Given { key: "", password: "" });
    let started = starts.iter().flat_map(|start| start.checks().into_iter().map(|check| format!("{}: {check}", start.name)));
    still.into_iter().map(str::to_owned).chain(asked).chain(started).collect()
}
