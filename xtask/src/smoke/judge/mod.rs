//! From what was seen to verdicts. Pure: tables of cases stand beside each.

mod answer;
mod configuration;
mod layers;
mod secrets;
mod size;
mod start;
mod web;

pub use answer::answer;
pub use configuration::{configuration, labels};
pub use layers::layers;
pub use secrets::secrets;
pub use size::{PublishedSize, growth, size};
pub use start::{
    Reached, Seen, health, lacks_runner, leaks, login, password_refused, refuses, runner_waits, started, stopped, tunnel_user,
    waits, zombies,
};
pub use web::{Answer, loopback, page};

/// The first line that says something, not too long.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(160) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line.to_owned(),
    }
}

/// `3 things`, `1 thing`.
fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
