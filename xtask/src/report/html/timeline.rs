//! What the last build did, and when: what ran beside what, what came from the cache.

use maud::{Markup, html};

use super::nothing;
use super::words::{count, duration, moment, percent};
use crate::build::{InstructionRun, Run, StepRun};
use crate::event::{InstructionState, Outcome};
use crate::report::{Build, Report};

pub(super) fn section(report: &Report) -> Markup {
    let Some(Build { run, since }) = &report.build else {
        return nothing("No build of this family and profile was recorded on this machine.");
    };
    let begun: Vec<&StepRun> = run.steps.iter().filter(|step| step.begin.is_some()).collect();
    let there = run.steps.iter().filter(|step| step.outcome == Some(Outcome::UpToDate)).count() as u64;
    let whole = run.seconds.max(0.001);
    html! {
        p.lead {
            "Begun " (moment(&run.began)) ", " (ending(run)) " after "
            strong { data value=(run.seconds) { (duration(run.seconds)) } } ": "
            (count(begun.len() as u64, "step", "steps")) " carried out, " (there) " up to date, at most "
            (count(run.jobs as u64, "image", "images")) " at a time."
            @if run.no_cache { " The engine's cache was not used." }
        }
        @if let Some(since) = since {
            p { "The newest run, of " (moment(&since.began)) ", found everything there and took " (duration(since.seconds)) "." }
        }
        div.scroll tabindex="0" role="region" aria-label="Timeline of the build" {
            table.timeline {
                caption { "Steps, as they began. Solid: instructions that ran. Ticks: instructions that came from the cache." }
                thead { tr { th scope="col" { "Step" } th.track scope="col" { (axis(whole)) } th.num scope="col" { "Took" } } }
                tbody { @for step in &begun { (row(step, whole)) } }
            }
        }
        (not_begun(run))
        @if run.left_out > 0 { p.muted { (run.left_out) " steps and instructions were too many to be kept." } }
    }
}

fn ending(run: &Run) -> &'static str {
    match run.outcome {
        Some(Outcome::Done | Outcome::UpToDate) => "done",
        Some(Outcome::Cancelled) => "interrupted",
        Some(_) => "failed",
        None => "not heard of any more",
    }
}

/// A step between 1, 2 and 5 times a power of ten that makes at most `most` of `whole`.
fn tick(whole: f64, most: f64) -> f64 {
    let mut power = 0.1;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if whole / (power * factor) <= most {
                return power * factor;
            }
        }
        power *= 10.0;
    }
}

fn axis(whole: f64) -> Markup {
    let step = tick(whole, 5.0);
    let at = (0..=5).map(|number| f64::from(number) * step).filter(|at| *at < whole * 0.95);
    html! {
        span.axis {
            @for at in at { span style={ "left:" (percent(at, whole)) } { (ticked(at)) } }
        }
    }
}

/// `0.5 s`, `20 s`, `3 min`
fn ticked(seconds: f64) -> String {
    if seconds < 5.0 && seconds.fract() > 0.01 { format!("{seconds:.1} s") } else { duration(seconds).replace(".0 s", " s") }
}

fn outcome(step: &StepRun) -> (&'static str, &'static str) {
    match step.outcome {
        Some(Outcome::Done | Outcome::UpToDate) => ("done", "done"),
        Some(Outcome::Failed) => ("failed", "failed"),
        Some(Outcome::Skipped) => ("stopped", "skipped"),
        Some(Outcome::Cancelled) => ("stopped", "cancelled"),
        None => ("stopped", "not heard of any more"),
    }
}

fn row(step: &StepRun, whole: f64) -> Markup {
    let begin = step.begin.unwrap_or_default();
    let end = step.end.unwrap_or(whole).max(begin);
    let (class, ended) = outcome(step);
    let whole_of_it = if step.instructions.is_empty() { " whole" } else { "" };
    let cached = step.instructions.iter().filter(|one| one.state == InstructionState::Cached).count();
    let ran = step.instructions.len() - cached;
    html! {
        tr data-step=(step.step) data-begin=(begin) data-end=(end) data-outcome=(class) {
            th scope="row" {
                span { (step.step) }
                small.muted {
                    (ended)
                    @if ran + cached > 0 { ", " (ran) " ran, " (cached) " cached" } @else if !step.title.is_empty() { ", " (step.title) }
                }
                @if class == "failed" && !step.detail.is_empty() { small.warn { (step.detail) } }
                @if !step.instructions.is_empty() { (instructions(step)) }
            }
            td.track {
                span class={ "run " (class) (whole_of_it) } style={ "left:" (percent(begin, whole)) ";width:" (percent(end - begin, whole)) }
                    title={ (step.step) ": " (ended) ", from " (duration(begin)) " to " (duration(end)) } {}
                @for one in &step.instructions { (mark(one, end, whole)) }
            }
            td.num { data value=(end - begin) { (duration(end - begin)) } }
        }
    }
}

fn mark(one: &InstructionRun, step_end: f64, whole: f64) -> Markup {
    let end = one.end.unwrap_or(step_end).max(one.begin);
    let (class, how) = state(one.state);
    let width = if one.state == InstructionState::Cached { String::new() } else { percent(end - one.begin, whole) };
    html! {
        span class={ "did " (class) } style={ "left:" (percent(one.begin, whole)) @if !width.is_empty() { ";width:" (width) } }
            title={ (one.name) ": " (how) ", " (duration(end - one.begin)) } {}
    }
}

fn state(state: InstructionState) -> (&'static str, &'static str) {
    match state {
        InstructionState::Started => ("ran", "not ended"),
        InstructionState::Done => ("ran", "ran"),
        InstructionState::Cached => ("cached", "from the cache"),
        InstructionState::Failed => ("broke", "failed"),
    }
}

fn instructions(step: &StepRun) -> Markup {
    html! {
        details {
            summary { "instructions" }
            ol.instructions {
                @for one in &step.instructions {
                    @let took = one.end.map(|end| duration(end - one.begin));
                    li { code { (one.name) } " " small.muted { (state(one.state).1) @if one.state != InstructionState::Cached { @if let Some(took) = took { ", " (took) } } } }
                }
            }
        }
    }
}

/// Steps that were skipped or cancelled before they began.
fn not_begun(run: &Run) -> Markup {
    let left = run.steps.iter().filter(|step| step.begin.is_none() && step.outcome.is_some_and(|of| of != Outcome::UpToDate));
    let left: Vec<&str> = left.map(|step| step.step.as_str()).collect();
    html! { @if !left.is_empty() { p.warn { "Not begun: " (left.join(", ")) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (whole, step) in [(0.3, 0.1), (2.0, 0.5), (9.0, 2.0), (47.0, 10.0), (250.0, 50.0), (3600.0, 1000.0)] {
            assert!((tick(whole, 5.0) - step).abs() < 1e-9, "{whole}: {}", tick(whole, 5.0));
        }
        assert_eq!([ticked(0.5), ticked(2.0), ticked(50.0), ticked(100.0)], ["0.5 s", "2 s", "50 s", "1 min 40 s"]);
    }
}
