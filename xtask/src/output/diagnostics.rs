//! Problems of a file as text: where it stands, the line with the offending text underlined, what is accepted, and a hint.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::family::{Problem, SourceText};

/// All `problems` of `source`, one after the other with an empty line between.
pub fn render(source: &SourceText, problems: &[Problem], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Unicode);
    let lines = Lines::of(&source.text);
    let rendered = problems.iter().map(|problem| {
        let (range, number) = lines.around(problem);
        let place = |span: &Range<usize>| {
            let end = span.end.clamp(range.start, range.end) - range.start;
            (span.start.clamp(range.start, range.end) - range.start).min(end)..end
        };
        let primary = AnnotationKind::Primary.span(place(&problem.span)).label(problem.accepted.as_str());
        let related =
            problem.related.iter().map(|other| AnnotationKind::Context.span(place(&other.span)).label(other.label.as_str()));
        let snippet = Snippet::source(&source.text[range.clone()])
            .path(source.name.as_str())
            .line_start(number)
            .annotation(primary)
            .annotations(related);
        let group = Level::ERROR.primary_title(problem.message.as_str()).element(snippet);
        renderer.render(&[match &problem.hint {
            Some(hint) => group.element(Level::HELP.message(hint.as_str())),
            None => group,
        }])
    });
    rendered.collect::<Vec<_>>().join("\n\n")
}

/// Where the lines of a text begin.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The lines that a problem is about, and the number of the first: a large file is not laid out anew for each problem.
    fn around(&self, problem: &Problem) -> (Range<usize>, usize) {
        let spans = || std::iter::once(&problem.span).chain(problem.related.iter().map(|other| &other.span));
        let start = spans().map(|span| span.start).min().unwrap_or_default().min(self.text.len());
        let end = spans().map(|span| span.end).max().unwrap_or_default().clamp(start, self.text.len());
        let first = self.starts.partition_point(|line| *line <= start).saturating_sub(1);
        let after = self.starts.partition_point(|line| *line <= end);
        (self.starts[first]..self.starts.get(after).copied().unwrap_or(self.text.len()), first + 1)
    }
}
