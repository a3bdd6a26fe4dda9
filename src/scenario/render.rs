//! Renders mistakes with the lines of the file, for the terminal.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::diagnostics::{Diagnostic, Diagnostics, Severity};
use super::tree::Span;

/// Lines before a mistake that are shown with it.
const CONTEXT_LINES: usize = 2;
/// Bytes of the file that are shown for one mistake. If there are more, as in a generated file of one
/// line, only the line and column are shown.
const EXCERPT_BYTES: usize = 4096;

/// Renders all mistakes, then their number. The number of warnings stands where the file is called valid.
pub(super) fn render(diagnostics: &Diagnostics, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for mistake in diagnostics.mistakes() {
        text.push_str(&render_mistake(&renderer, diagnostics, mistake));
        text.push_str("\n\n");
    }
    if diagnostics.severity() == Severity::Error {
        let _ = writeln!(text, "{}: {}", diagnostics.file(), diagnostics.summary());
    }
    text
}

fn render_mistake(renderer: &Renderer, diagnostics: &Diagnostics, mistake: &Diagnostic) -> String {
    let source = diagnostics.source();
    let level = match diagnostics.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(mistake.problem.message.as_str());
    let excerpt = excerpt(source, mistake.span);
    if excerpt.text.is_empty() || excerpt.text.len() > EXCERPT_BYTES {
        let Span { line, column, .. } = mistake.span;
        let mut text = format!("{}\n", renderer.render(&[Group::with_title(title)]));
        let _ = write!(text, " --> {}:{line}:{column}", diagnostics.file());
        if !mistake.problem.path.is_empty() {
            let _ = write!(text, ": {}", mistake.problem.path);
        }
        for advice in mistake.advice() {
            let _ = write!(text, "\n  = help: {advice}");
        }
        return text;
    }
    let span = excerpt.range(mistake.span);
    let mut snippet = Snippet::source(excerpt.text)
        .line_start(excerpt.line)
        .path(diagnostics.file())
        .annotation(AnnotationKind::Visible.span(0..span.start))
        .annotation(AnnotationKind::Primary.span(span).label(mistake.problem.path.as_str()));
    let mut related_note = None;
    match &mistake.related {
        Some((related, note)) if excerpt.contains(*related) => {
            let range = excerpt.range(*related);
            snippet = snippet.annotation(AnnotationKind::Context.span(range).label(note.as_str()));
        }
        Some((Span { line, column, .. }, note)) if *line > 0 => {
            related_note = Some(format!("{note}: {}:{line}:{column}", diagnostics.file()));
        }
        _ => {}
    }
    let mut group: Group<'_> = title.element(snippet);
    if let Some(note) = related_note {
        group = group.element(Level::NOTE.message(note));
    }
    for advice in mistake.advice() {
        group = group.element(Level::HELP.message(advice));
    }
    renderer.render(&[group])
}

/// The lines of a file that show a mistake.
struct Excerpt<'a> {
    text: &'a str,
    /// The first byte, counted from the start of the file.
    start: usize,
    /// The first line, counted from 1.
    line: usize,
}

impl Excerpt<'_> {
    fn contains(&self, span: Span) -> bool {
        span.start >= self.start && span.end <= self.start + self.text.len()
    }

    /// Returns the span as a byte range of the excerpt. The range has at least one character, unless
    /// it is at the end.
    fn range(&self, span: Span) -> std::ops::Range<usize> {
        let begin = span.start.saturating_sub(self.start).min(self.text.len());
        let end = span.end.saturating_sub(self.start).min(self.text.len());
        let next = self.text[begin..].chars().next().map_or(0, char::len_utf8);
        begin..end.max(begin + next)
    }
}

fn excerpt(source: &str, span: Span) -> Excerpt<'_> {
    let at = span.start.min(source.len());
    let Some(before) = source.get(..at) else { return Excerpt { text: "", start: 0, line: 1 } };
    let mut start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let mut lines_before = 0;
    while lines_before < CONTEXT_LINES && start > 0 {
        start = source[..start - 1].rfind('\n').map_or(0, |newline| newline + 1);
        lines_before += 1;
    }
    let end = source[at..].find('\n').map_or(source.len(), |newline| at + newline);
    Excerpt {
        text: &source[start..end],
        start,
        line: span.line.saturating_sub(lines_before).max(1),
    }
}
