//! What is wrong with a scenario: all of it at once, each mistake with its place, what was expected
//! and, where one can guess, what was meant.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use super::path::FieldPath;
use super::tree::{Duplicate, InvalidScalar, Node, Span};
use crate::limits;
use crate::problem::Problem;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it stands.
    pub place: Span,
    /// The field, as `faults[2].at.slave`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// What was probably meant, to be put in place of what stands there.
    pub suggestion: Option<String>,
    /// Another place that belongs to it, and what is there.
    pub related: Option<(Span, String)>,
}

/// All mistakes of a file, in the order in which they stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    file: String,
    source: Arc<str>,
    mistakes: Vec<Diagnostic>,
    more: usize,
}

impl Diagnostics {
    /// A file that could not be read at all.
    pub(super) fn unreadable(file: &str, place: Span, message: String) -> Self {
        let refused = InvalidScalar { place, message, help: None };
        Self::refused(file, "", refused)
    }

    /// A file of which there is no tree.
    pub(super) fn refused(file: &str, source: &str, refused: InvalidScalar) -> Self {
        let InvalidScalar { place, message, help } = refused;
        let path = String::new();
        let mistake = Diagnostic { place, path, message, help, suggestion: None, related: None };
        Self { file: file.into(), source: source.into(), mistakes: vec![mistake], more: 0 }
    }

    /// Mistakes found in a tree.
    pub(super) fn of(file: &str, source: &str, root: &Node, mistakes: Mistakes) -> Self {
        let mut placed: Vec<_> =
            mistakes.list.into_iter().map(|mistake| mistake.place_in(root)).collect();
        placed.sort_by_key(|mistake| mistake.place);
        Self { file: file.into(), source: source.into(), mistakes: placed, more: mistakes.more }
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The mistakes, at most [`limits::SCENARIO_MISTAKES`].
    #[must_use]
    pub fn mistakes(&self) -> &[Diagnostic] {
        &self.mistakes
    }

    /// Mistakes beyond those, at least: after so many the rest is not looked at closely.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    /// The text of the file, where there is one.
    #[cfg(feature = "cli")]
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The mistakes drawn into the lines of the file, for people; with colours where `styled`.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn human(&self, styled: bool) -> String {
        super::render::draw(self, styled)
    }

    /// The mistakes as objects with the keys `file`, `line`, `column`, `path`, `message`, `help` and
    /// `suggestion`.
    pub fn to_json(&self) -> impl Iterator<Item = serde_json::Value> {
        self.mistakes.iter().map(|mistake| {
            json!({
                "file": self.file,
                "line": mistake.place.line,
                "column": mistake.place.column,
                "path": mistake.path,
                "message": mistake.full_message(),
                "help": mistake.help,
                "suggestion": mistake.suggestion,
            })
        })
    }

    /// The mistakes as workflow commands that GitHub turns into annotations, escaped as its own
    /// toolkit does it.
    #[must_use]
    pub fn github(&self) -> String {
        let mut text = String::new();
        for mistake in &self.mistakes {
            let Span { line, column, .. } = mistake.place;
            let mut message = mistake.full_message();
            for extra in mistake.advice() {
                let _ = write!(message, "\n{extra}");
            }
            let file = github_property(&self.file);
            let _ = write!(text, "::error file={file},line={line},col={column}");
            if !mistake.path.is_empty() {
                let _ = write!(text, ",title={}", github_property(&mistake.path));
            }
            let _ = writeln!(text, "::{}", github_data(&message));
        }
        text
    }

    /// How many there are, as a sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.mistakes.len() + self.more {
            1 => "1 mistake".to_owned(),
            count if self.more > 0 => {
                format!("{count} mistakes, of which the first {} are shown", self.mistakes.len())
            }
            count => format!("{count} mistakes"),
        }
    }
}

fn github_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn github_property(text: &str) -> String {
    github_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// One line for each mistake: `file:line:column: path: message; help`.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.mistakes.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            let Span { line, column, .. } = mistake.place;
            write!(f, "{}:{line}:{column}: ", self.file)?;
            mistake.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\n{}: and {} more", self.file, self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    /// The message, with the other place where there is one.
    #[must_use]
    pub fn full_message(&self) -> String {
        match &self.related {
            Some((place, note)) if place.line > 0 => {
                format!("{} ({note} at {}:{})", self.message, place.line, place.column)
            }
            _ => self.message.clone(),
        }
    }

    /// What to do about it: the suggestion, the help.
    pub fn advice(&self) -> impl Iterator<Item = String> {
        let suggestion = self.suggestion.as_ref().map(|word| format!("did you mean `{word}`?"));
        suggestion.into_iter().chain(self.help.clone())
    }
}

impl Diagnostic {
    /// Drops the span and the suggestion; the help says what was probably meant.
    fn into_problem(self) -> Problem {
        let advice: Vec<String> = self.advice().collect();
        let help = (!advice.is_empty()).then(|| advice.join("; "));
        Problem { message: self.full_message(), help, path: self.path }
    }
}

/// Formats as `path: message; help`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.full_message())?;
        for advice in self.advice() {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

/// A mistake that has not got its place yet.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    pub path: FieldPath,
    message: String,
    help: Option<String>,
    suggestion: Option<String>,
    related: Option<(FieldPath, String)>,
    /// Known already where the tree does not have it: the second one of two equal keys.
    place: Option<(Span, Span)>,
    on_key: bool,
}

impl Mistake {
    pub fn new(path: FieldPath, message: impl Into<String>) -> Self {
        Self {
            path,
            message: message.into(),
            help: None,
            suggestion: None,
            related: None,
            place: None,
            on_key: false,
        }
    }

    /// A key that stands twice.
    pub fn duplicate(duplicate: &Duplicate) -> Self {
        let mut mistake = Self::new(duplicate.path.clone(), "the key stands here twice")
            .help("remove one of them");
        mistake.place = Some((duplicate.second, duplicate.first));
        mistake
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(Into::into);
        self
    }

    pub fn related(mut self, path: FieldPath, note: impl Into<String>) -> Self {
        self.related = Some((path, note.into()));
        self
    }

    /// It is about the key, not about what stands under it.
    pub fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }

    fn place_in(self, root: &Node) -> Diagnostic {
        let (value, key) = root.locate(&self.path);
        let mut related = self.related.map(|(path, note)| (root.locate(&path).0, note));
        let mut place = if self.on_key { key } else { value };
        if let Some((second, first)) = self.place {
            place = second;
            related = Some((first, "first".into()));
        }
        Diagnostic {
            place,
            path: self.path.to_string(),
            message: self.message,
            help: self.help,
            suggestion: self.suggestion,
            related,
        }
    }
}

/// Mistakes as they are found, bounded.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    list: Vec<Mistake>,
    more: usize,
}

impl Mistakes {
    pub fn push(&mut self, mistake: Mistake) {
        if self.list.len() < limits::SCENARIO_MISTAKES {
            self.list.push(mistake);
        } else {
            self.more += 1;
        }
    }

    /// Whether no more are kept.
    pub fn is_full(&self) -> bool {
        self.list.len() >= limits::SCENARIO_MISTAKES
    }

    /// Counts one that is not kept.
    pub fn miss(&mut self) {
        self.more += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where they are.
    pub fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        self.list.iter().map(|mistake| &mistake.path)
    }

    /// Changes the paths of those found later than the first `known`.
    pub fn rewrite_since(&mut self, known: usize, change: impl Fn(&FieldPath) -> FieldPath) {
        for mistake in self.list.iter_mut().skip(known) {
            mistake.path = change(&mistake.path);
            if let Some((path, _)) = &mut mistake.related {
                *path = change(path);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the mistakes without their spans, for a document that did not come from a file. If
    /// some were not kept, the last problem says how many.
    pub fn into_problems(self) -> Vec<Problem> {
        let root = Node::from_json(&serde_json::Value::Null);
        let problem = |mistake: Mistake| mistake.place_in(&root).into_problem();
        let mut problems: Vec<_> = self.list.into_iter().map(problem).collect();
        if self.more > 0 {
            problems.push(Problem::of_document(format!("and {} more", self.more)));
        }
        problems
    }
}

/// The known word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no misspelt keys, and the distance takes the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    known
        .into_iter()
        .take(limits::SUGGESTION_CANDIDATES)
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().min(word.chars().count()) + 1) / 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Words as a list for people: "`a`, `b` or `c`".
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "or")
}

/// Words as a list for people: "`a`, `b` and `c`".
pub(super) fn all_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "and")
}

fn listed<'a>(words: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let quoted: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., end] => format!("{} {last} {end}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::shortened;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["slave", "target", "call_route"];
        assert_eq!(nearest("slvae", known), Some("slave"));
        assert_eq!(nearest("Call-Route", known), Some("call_route"));
        assert_eq!(nearest("xyz", known), None);
        assert_eq!(nearest("a", ["b"]), None);
        assert_eq!(nearest("id", ["if"]), Some("if"));
    }

    #[test]
    fn messages_stay_short_and_on_one_line() {
        assert_eq!(shortened("a\nb"), "a\u{fffd}b");
        assert_eq!(shortened(&"ä".repeat(100)).chars().count(), 61);
    }

    #[test]
    fn github_commands_are_escaped() {
        assert_eq!(github_property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
        assert_eq!(github_data("a:b,c%\r\n"), "a:b,c%25%0D%0A");
    }
}
