//! Mistakes drawn into the lines of the file, for the terminal.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::diagnostics::{Diagnostic, Diagnostics};
use super::tree::Span;

/// Lines around a mistake.
const CONTEXT: usize = 2;
/// Bytes of file shown for one mistake; beyond it (generated files of one line) only the place is.
const SHOWN_BYTES: usize = 4096;

/// All of them, then how many there are.
pub(super) fn draw(diagnostics: &Diagnostics, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for mistake in diagnostics.mistakes() {
        text.push_str(&draw_one(&renderer, diagnostics, mistake));
        text.push_str("\n\n");
    }
    let _ = writeln!(text, "{}: {}", diagnostics.file(), diagnostics.summary());
    text
}

fn draw_one(renderer: &Renderer, diagnostics: &Diagnostics, mistake: &Diagnostic) -> String {
    let source = diagnostics.source();
    let title = Level::ERROR.primary_title(mistake.message.as_str());
    let excerpt = excerpt(source, mistake.place);
    if excerpt.text.is_empty() || excerpt.text.len() > SHOWN_BYTES {
        let Span { line, column, .. } = mistake.place;
        let mut text = format!("{}\n", renderer.render(&[Group::with_title(title)]));
        let _ = write!(text, " --> {}:{line}:{column}", diagnostics.file());
        if !mistake.path.is_empty() {
            let _ = write!(text, ": {}", mistake.path);
        }
        for advice in mistake.advice() {
            let _ = write!(text, "\n  = help: {advice}");
        }
        return text;
    }
    let place = excerpt.span(mistake.place);
    let mut snippet = Snippet::source(excerpt.text)
        .line_start(excerpt.line)
        .path(diagnostics.file())
        .annotation(AnnotationKind::Visible.span(0..place.start))
        .annotation(AnnotationKind::Primary.span(place).label(mistake.path.as_str()));
    if let Some((place, note)) = &mistake.related
        && place.start >= excerpt.start
        && place.end <= excerpt.start + excerpt.text.len()
    {
        snippet = snippet
            .annotation(AnnotationKind::Context.span(excerpt.span(*place)).label(note.as_str()));
    }
    let mut group: Group<'_> = title.element(snippet);
    if let Some((place, note)) = &mistake.related
        && !(place.start >= excerpt.start && place.end <= excerpt.start + excerpt.text.len())
        && place.line > 0
    {
        let note = format!("{note}: {}:{}:{}", diagnostics.file(), place.line, place.column);
        group = group.element(Level::NOTE.message(note));
    }
    for advice in mistake.advice() {
        group = group.element(Level::HELP.message(advice));
    }
    renderer.render(&[group])
}

/// The lines around a place.
struct Excerpt<'a> {
    text: &'a str,
    /// The byte of the file it starts at.
    start: usize,
    /// Its first line.
    line: usize,
}

impl Excerpt<'_> {
    /// A place as bytes of the excerpt, one wide at least where there is something to mark.
    fn span(&self, place: Span) -> std::ops::Range<usize> {
        let begin = place.start.saturating_sub(self.start).min(self.text.len());
        let end = place.end.saturating_sub(self.start).min(self.text.len());
        let next = self.text[begin..].chars().next().map_or(0, char::len_utf8);
        begin..end.max(begin + next)
    }
}

fn excerpt(source: &str, place: Span) -> Excerpt<'_> {
    let at = place.start.min(source.len());
    let Some(before) = source.get(..at) else { return Excerpt { text: "", start: 0, line: 1 } };
    let mut start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let mut lines_before = 0;
    while lines_before < CONTEXT && start > 0 {
        start = source[..start - 1].rfind('\n').map_or(0, |newline| newline + 1);
        lines_before += 1;
    }
    let end = source[at..].find('\n').map_or(source.len(), |newline| at + newline);
    Excerpt {
        text: &source[start..end],
        start,
        line: place.line.saturating_sub(lines_before).max(1),
    }
}
