//! The mistakes of a scenario: all of them at once, each with its place, what was expected and, if it
//! can be guessed, what was meant.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use super::path::FieldPath;
use super::tree::{DuplicateKey, Node, ParseError, Span};
use crate::limits;
use crate::notation::join_items;
use crate::problem::Problem;

/// The longest word, in bytes, for which a near one is looked for: longer ones are no misspelt keys,
/// and the distance takes the product of the lengths.
const NEAREST_WORD_BYTES: usize = 64;
/// The names that are searched for a near one. In a house with more, a misspelt name may get no
/// suggestion.
const SUGGESTION_CANDIDATES: usize = 1000;

/// A mistake in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The place in the file.
    pub span: Span,
    /// The field, the message and the help. The path is empty for the file as a whole.
    pub problem: Problem,
    /// The word that was probably meant, to replace the one that is written.
    pub suggestion: Option<String>,
    /// Another place that the mistake concerns, and a note on it.
    pub related: Option<(Span, String)>,
}

/// The weight of what is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// A mistake, with which no house can be built.
    Error,
    /// Something that is allowed, and probably not meant.
    Warning,
}

/// All mistakes of a file, in the order of their places, or all warnings of a valid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    severity: Severity,
    file: String,
    source: Arc<str>,
    mistakes: Vec<Diagnostic>,
    omitted: usize,
}

impl Diagnostics {
    /// Creates the report of a file whose text could not be parsed.
    pub(super) fn from_parse_error(file: &str, source: &str, error: ParseError) -> Self {
        let ParseError { span, problem } = error;
        let mistake = Diagnostic { span, problem, suggestion: None, related: None };
        Self {
            severity: Severity::Error,
            file: file.into(),
            source: source.into(),
            mistakes: vec![mistake],
            omitted: 0,
        }
    }

    /// Creates the report of a file from the mistakes that were found in its tree.
    pub(super) fn from_mistakes(file: &str, source: &str, root: &Node, found: Mistakes) -> Self {
        let Mistakes { list, omitted } = found;
        let mut mistakes: Vec<_> =
            list.into_iter().map(|mistake| mistake.into_diagnostic(root)).collect();
        mistakes.sort_by_key(|mistake| mistake.span);
        let severity = Severity::Error;
        Self { severity, file: file.into(), source: source.into(), mistakes, omitted }
    }

    /// Gives the report another weight.
    pub(super) fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Returns the weight of what is reported.
    #[cfg(feature = "cli")]
    pub(super) fn severity(&self) -> Severity {
        self.severity
    }

    /// Returns the name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the mistakes, at most [`limits::SCENARIO_MISTAKES`].
    #[must_use]
    pub fn mistakes(&self) -> &[Diagnostic] {
        &self.mistakes
    }

    /// Returns the number of mistakes beyond those. There may be more: after so many the rest of the
    /// file is not checked.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Returns the text of the file, which is empty if it could not be read.
    #[cfg(feature = "cli")]
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Renders the mistakes with the lines of the file, for people; in colour if `styled`.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn human(&self, styled: bool) -> String {
        super::render::render(self, styled)
    }

    /// Returns the mistakes as objects with the keys `severity`, `file`, `line`, `column`, `path`,
    /// `message`, `help` and `suggestion`.
    pub fn to_json(&self) -> impl Iterator<Item = serde_json::Value> {
        self.mistakes.iter().map(|mistake| {
            json!({
                "severity": self.severity.name(),
                "file": self.file,
                "line": mistake.span.line,
                "column": mistake.span.column,
                "path": mistake.problem.path,
                "message": mistake.full_message(),
                "help": mistake.problem.help,
                "suggestion": mistake.suggestion,
            })
        })
    }

    /// Formats the mistakes as workflow commands that GitHub turns into annotations, escaped as in
    /// its own toolkit.
    #[must_use]
    pub fn github(&self) -> String {
        let mut text = String::new();
        for mistake in &self.mistakes {
            let Span { line, column, .. } = mistake.span;
            let mut message = mistake.full_message();
            for advice in mistake.advice() {
                let _ = write!(message, "\n{advice}");
            }
            let file = escape_github_property(&self.file);
            let severity = self.severity.name();
            let _ = write!(text, "::{severity} file={file},line={line},col={column}");
            if !mistake.problem.path.is_empty() {
                let _ = write!(text, ",title={}", escape_github_property(&mistake.problem.path));
            }
            let _ = writeln!(text, "::{}", escape_github_data(&message));
        }
        text
    }

    /// Returns the number of mistakes, as a sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let noun = match self.severity {
            Severity::Error => "mistake",
            Severity::Warning => "warning",
        };
        match self.mistakes.len() + self.omitted {
            1 => format!("1 {noun}"),
            count if self.omitted > 0 => {
                format!("{count} {noun}s, of which the first {} are shown", self.mistakes.len())
            }
            count => format!("{count} {noun}s"),
        }
    }
}

impl Severity {
    /// Returns the word in reports for programs.
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

fn escape_github_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_github_property(text: &str) -> String {
    escape_github_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Formats one line for each mistake: `file:line:column: path: message; help`.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.mistakes.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            let Span { line, column, .. } = mistake.span;
            write!(f, "{}:{line}:{column}: ", self.file)?;
            mistake.write(f, self.severity)?;
        }
        if self.omitted > 0 {
            write!(f, "\n{}: and {} more", self.file, self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    /// Returns the message, with the related place if there is one.
    #[must_use]
    pub fn full_message(&self) -> String {
        let message = &self.problem.message;
        match &self.related {
            Some((span, note)) if span.line > 0 => {
                format!("{message} ({note} at {}:{})", span.line, span.column)
            }
            _ => message.clone(),
        }
    }

    /// Returns what to do about it: the suggestion, then the help.
    pub fn advice(&self) -> impl Iterator<Item = String> {
        let suggestion = self.suggestion.as_ref().map(|word| format!("did you mean `{word}`?"));
        suggestion.into_iter().chain(self.problem.help.clone())
    }

    /// Drops the places; the suggestion becomes a part of the help.
    fn into_problem(self) -> Problem {
        let advice: Vec<String> = self.advice().collect();
        let help = (!advice.is_empty()).then(|| advice.join("; "));
        Problem { message: self.full_message(), help, path: self.problem.path }
    }
}

impl Diagnostic {
    /// Formats as `path: message; suggestion; help`.
    fn write(&self, f: &mut fmt::Formatter<'_>, severity: Severity) -> fmt::Result {
        if !self.problem.path.is_empty() {
            write!(f, "{}: ", self.problem.path)?;
        }
        if severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.full_message())?;
        for advice in self.advice() {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

/// Formats as `path: message; suggestion; help`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Severity::Error)
    }
}

/// A mistake whose span in the file is looked up later.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    pub path: FieldPath,
    message: String,
    help: Option<String>,
    suggestion: Option<String>,
    related: Option<(FieldPath, String)>,
    /// The spans of the second and the first of two equal keys, which cannot be looked up: the tree
    /// has the first one only.
    duplicate: Option<(Span, Span)>,
    on_key: bool,
}

impl Mistake {
    pub(super) fn new(path: FieldPath, message: impl Into<String>) -> Self {
        Self {
            path,
            message: message.into(),
            help: None,
            suggestion: None,
            related: None,
            duplicate: None,
            on_key: false,
        }
    }

    /// Creates a mistake from a validator's problem, whose path is relative to `base`.
    pub(super) fn from_problem(base: &FieldPath, problem: Problem) -> Self {
        let Problem { path, message, help } = problem;
        Self { help, ..Self::new(base.join(&path), message) }
    }

    /// Creates the mistake of a key that a mapping has twice.
    pub(super) fn duplicate(key: &DuplicateKey) -> Self {
        let mut mistake =
            Self::new(key.path.clone(), "the key stands here twice").help("remove one of them");
        mistake.duplicate = Some((key.second, key.first));
        mistake
    }

    /// Adds what to write instead.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the word that was probably meant.
    pub(super) fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(Into::into);
        self
    }

    /// Adds another place that the mistake concerns.
    pub(super) fn related(mut self, path: FieldPath, note: impl Into<String>) -> Self {
        self.related = Some((path, note.into()));
        self
    }

    /// Moves the mistake from the value to its key.
    pub(super) fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }

    fn into_diagnostic(self, root: &Node) -> Diagnostic {
        let (value, key) = root.locate(&self.path);
        let mut related = self.related.map(|(path, note)| (root.locate(&path).0, note));
        let mut span = if self.on_key { key } else { value };
        if let Some((second, first)) = self.duplicate {
            span = second;
            related = Some((first, "first".into()));
        }
        let path = self.path.to_string();
        let problem = Problem { path, message: self.message, help: self.help };
        Diagnostic { span, problem, suggestion: self.suggestion, related }
    }
}

/// The mistakes found so far, a bounded number of them.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    list: Vec<Mistake>,
    omitted: usize,
}

impl Mistakes {
    /// Adds a mistake, or only counts it if there are too many.
    pub(super) fn push(&mut self, mistake: Mistake) {
        if self.is_full() {
            self.omitted += 1;
        } else {
            self.list.push(mistake);
        }
    }

    /// Adds those mistakes of `others` that are to be reported.
    pub(super) fn append(&mut self, others: Self, is_reported: impl Fn(&Mistake) -> bool) {
        for mistake in others.list {
            if is_reported(&mistake) {
                self.push(mistake);
            }
        }
        self.omitted += others.omitted;
    }

    /// Adds the problems that a validator found in `value`, whose path is `base`. A message about a
    /// number or a boolean in place of a text gets the help that it needs quotes.
    pub(super) fn push_problems(
        &mut self,
        value: &serde_json::Value,
        base: &FieldPath,
        problems: impl IntoIterator<Item = Problem>,
    ) {
        for problem in problems {
            let found = FieldPath::root().join(&problem.path).find_in(value);
            let unquoted = found.is_some_and(|found| {
                (found.is_number() || found.is_boolean())
                    && crate::device::json::no_string(found) == problem.message
            });
            let mistake = Mistake::from_problem(base, problem);
            self.push(if unquoted { mistake.help("write it in quotes") } else { mistake });
        }
    }

    /// Returns true if further mistakes are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= limits::SCENARIO_MISTAKES
    }

    /// Counts a mistake without adding it.
    pub(super) fn count_omitted(&mut self) {
        self.omitted += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the paths of the mistakes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        self.list.iter().map(|mistake| &mistake.path)
    }

    /// Changes the paths of the mistakes after the first `count`.
    pub(super) fn rewrite_after(&mut self, count: usize, change: impl Fn(&FieldPath) -> FieldPath) {
        for mistake in self.list.iter_mut().skip(count) {
            mistake.path = change(&mistake.path);
            if let Some((path, _)) = &mut mistake.related {
                *path = change(path);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the mistakes without their spans, for a document that did not come from a file. If
    /// some were omitted, the last problem says how many.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let root = Node::from_json(&serde_json::Value::Null);
        let problem = |mistake: Mistake| mistake.into_diagnostic(&root).into_problem();
        let mut problems: Vec<_> = self.list.into_iter().map(problem).collect();
        if self.omitted > 0 {
            problems.push(Problem::of_document(format!("and {} more", self.omitted)));
        }
        problems
    }
}

/// Returns the known word that was probably meant. `None` if none is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > NEAREST_WORD_BYTES {
        return None;
    }
    let normalize = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = normalize(word);
    known
        .into_iter()
        .take(SUGGESTION_CANDIDATES)
        .map(|candidate| (strsim::damerau_levenshtein(&word, &normalize(candidate)), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().min(word.chars().count()) + 1) / 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Joins words for a message: "`a`, `b` or `c`".
pub(super) fn join_or<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    join_quoted(words, "or")
}

/// Joins words for a message: "`a`, `b` and `c`".
pub(super) fn join_and<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    join_quoted(words, "and")
}

fn join_quoted<'a>(words: impl IntoIterator<Item = &'a str>, conjunction: &str) -> String {
    let quoted: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    join_items(&quoted, conjunction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::shortened;

    #[test]
    fn only_near_words_are_suggested() {
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
        assert_eq!(escape_github_property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
        assert_eq!(escape_github_data("a:b,c%\r\n"), "a:b,c%25%0D%0A");
    }
}
