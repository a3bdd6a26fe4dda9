//! A YAML document as a tree of bounded size, with the span of each node.
//!
//! serde gives no spans and stops at its first error. Therefore the file is parsed once into this
//! tree, and the structural check, the decoding and the spans of mistakes are based on it. Bytes, depth
//! and nodes are bounded while the tree grows, with aliases expanded: a hostile file ends in an error,
//! not in gigabytes.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as ParserSpan, Tag};

use super::path::{FieldPath, Segment};
use super::surrogates::{self, JoinedText};
use crate::limits;
use crate::problem::Problem;

/// A range of the file, within one line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

/// A value and its span.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub span: Span,
    pub content: NodeContent,
}

#[derive(Debug, Clone)]
pub(super) enum NodeContent {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<MapEntry>),
}

#[derive(Debug, Clone)]
pub(super) struct MapEntry {
    pub key: Arc<str>,
    pub key_span: Span,
    pub value: Node,
}

/// A scalar: its text as written, and its kind by the core schema of YAML 1.2.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar {
    pub text: Arc<str>,
    pub kind: NodeKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum NodeKind {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// A number below zero.
    Signed(i64),
    Float(f64),
    Text,
}

/// A document.
#[derive(Debug)]
pub(super) struct Tree {
    pub root: Node,
    pub duplicates: Vec<DuplicateKey>,
}

/// A key that a mapping has twice; the first one counts.
#[derive(Debug)]
pub(super) struct DuplicateKey {
    pub path: FieldPath,
    pub first: Span,
    pub second: Span,
}

/// An error because of which there is no tree.
#[derive(Debug)]
pub(super) struct ParseError {
    pub span: Span,
    pub problem: Problem,
}

impl ParseError {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, problem: Problem::of_document(message) }
    }

    fn help(self, help: &str) -> Self {
        Self { problem: self.problem.with_help(help), ..self }
    }
}

impl Node {
    fn scalar(span: Span, text: Arc<str>, kind: NodeKind) -> Self {
        Self { span, content: NodeContent::Scalar(Scalar { text, kind }) }
    }

    /// Returns the span of the value at a path, or of the nearest one above it, and the span of its
    /// key. A value without a key is its own key.
    pub(super) fn locate(&self, path: &FieldPath) -> (Span, Span) {
        let (mut node, mut key) = (self, self.span);
        for segment in path.segments() {
            match (segment, &node.content) {
                (Segment::Key(name), NodeContent::Map(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *name) else {
                        break;
                    };
                    (node, key) = (&entry.value, entry.key_span);
                }
                (Segment::Index(index), NodeContent::List(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    (node, key) = (item, item.span);
                }
                _ => break,
            }
        }
        (node.span, key)
    }

    /// Creates the tree of a text without a document.
    pub(super) fn nothing() -> Self {
        Self::scalar(Span { line: 1, column: 1, ..Span::default() }, "".into(), NodeKind::Null)
    }

    /// Returns the value under a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let NodeContent::Map(entries) = &self.content else { return None };
        entries.iter().find(|entry| &*entry.key == key).map(|entry| &entry.value)
    }

    /// Returns the value at a path.
    pub(super) fn find(&self, path: &FieldPath) -> Option<&Self> {
        path.segments().iter().try_fold(self, |node, segment| match (segment, &node.content) {
            (Segment::Key(key), _) => node.get(key),
            (Segment::Index(index), NodeContent::List(items)) => items.get(*index),
            (Segment::Index(_), _) => None,
        })
    }

    /// Creates a tree without spans, for rules from the control plane.
    pub(super) fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        let scalar = |text: &str, kind| Self::scalar(Span::default(), text.into(), kind);
        match value {
            Value::Null => scalar("null", NodeKind::Null),
            Value::Bool(flag) => {
                scalar(if *flag { "true" } else { "false" }, NodeKind::Bool(*flag))
            }
            Value::Number(number) => {
                let text = number.to_string();
                let kind = number
                    .as_u64()
                    .map(NodeKind::Unsigned)
                    .or_else(|| number.as_i64().map(NodeKind::Signed))
                    .or_else(|| number.as_f64().map(NodeKind::Float));
                scalar(&text, kind.unwrap_or(NodeKind::Text))
            }
            Value::String(text) => scalar(text, NodeKind::Text),
            Value::Array(items) => Self {
                span: Span::default(),
                content: NodeContent::List(items.iter().map(Self::from_json).collect()),
            },
            Value::Object(members) => {
                let entry = |(key, value): (&String, &Value)| MapEntry {
                    key: key.as_str().into(),
                    key_span: Span::default(),
                    value: Self::from_json(value),
                };
                let entries = members.iter().map(entry).collect();
                Self { span: Span::default(), content: NodeContent::Map(entries) }
            }
        }
    }
}

/// Parses one document.
pub(super) fn parse(text: &str) -> Result<Tree, ParseError> {
    if text.len() > limits::SCENARIO_BYTES {
        let message = format!(
            "the text has {} bytes, more than the {} a scenario may have",
            text.len(),
            limits::SCENARIO_BYTES
        );
        return Err(ParseError::new(Span { line: 1, column: 1, ..Span::default() }, message));
    }
    match surrogates::join(text) {
        Some(JoinedText { text: parsed, bytes, escapes }) => {
            Builder::new(SpanLocator { text, bytes: Some(bytes), escapes }).build(&parsed)
        }
        None => Builder::new(SpanLocator::new(text)).build(text),
    }
}

/// The size of a node with all nodes below it.
#[derive(Debug, Clone, Copy)]
struct Weight {
    nodes: usize,
    bytes: usize,
    height: usize,
}

impl Weight {
    fn measure(node: &Node) -> Self {
        let children: Vec<Self> = match &node.content {
            NodeContent::Scalar(scalar) => {
                return Self { nodes: 1, bytes: scalar.text.len(), height: 0 };
            }
            NodeContent::List(items) => items.iter().map(Self::measure).collect(),
            NodeContent::Map(entries) => entries
                .iter()
                .map(|entry| {
                    let value = Self::measure(&entry.value);
                    Self { bytes: value.bytes + entry.key.len(), ..value }
                })
                .collect(),
        };
        Self {
            nodes: 1 + children.iter().map(|child| child.nodes).sum::<usize>(),
            bytes: children.iter().map(|child| child.bytes).sum(),
            height: 1 + children.iter().map(|child| child.height).max().unwrap_or(0),
        }
    }
}

/// A list or mapping whose end has not been read.
struct OpenNode {
    span: Span,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Node>),
    Map(OpenMap),
}

/// A mapping whose end has not been read.
#[derive(Default)]
struct OpenMap {
    entries: Vec<MapEntry>,
    keys: HashMap<Arc<str>, Span>,
    /// The key whose value comes next.
    key: Option<OpenKey>,
    /// The entries of the mappings under merge keys, which give way to the mapping's own.
    merged: Vec<MapEntry>,
}

struct OpenKey {
    text: Arc<str>,
    span: Span,
    /// True for `<<`, whose value is merged into the mapping.
    is_merge: bool,
}

struct Builder<'a> {
    locator: SpanLocator<'a>,
    frames: Vec<OpenNode>,
    anchors: HashMap<usize, (Node, Weight)>,
    nodes: usize,
    bytes: usize,
    root: Option<Node>,
    duplicates: Vec<DuplicateKey>,
}

impl<'a> Builder<'a> {
    fn new(locator: SpanLocator<'a>) -> Self {
        Self {
            locator,
            frames: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            bytes: 0,
            root: None,
            duplicates: Vec::new(),
        }
    }

    /// Builds the tree of a text, whose spans are those of the locator's text.
    fn build(mut self, parsed: &str) -> Result<Tree, ParseError> {
        let mut documents = 0;
        for event in Parser::new_from_str(parsed) {
            let (event, span) = event.map_err(|error| self.syntax_error(&error))?;
            let span = self.locator.locate(span);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(ParseError::new(span, "a second document")
                            .help("a scenario is one document; put the other into its own file"));
                    }
                }
                Event::Alias(anchor) => self.alias(anchor, span)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, anchor, tag.as_deref(), span)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(OpenContent::List(Vec::new()), anchor, tag.as_deref(), span)?;
                }
                Event::MappingStart(anchor, tag) => {
                    let map = OpenContent::Map(OpenMap::default());
                    self.open(map, anchor, tag.as_deref(), span)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(Tree { root: self.root.unwrap_or_else(Node::nothing), duplicates: self.duplicates })
    }

    fn syntax_error(&self, error: &ScanError) -> ParseError {
        let span = self.locator.locate(ParserSpan::empty(*error.marker()));
        let mistake = ParseError::new(span, format!("not YAML: {}", error.info()));
        let (before, behind) = self.locator.text.split_at_checked(span.start).unwrap_or_default();
        if before.ends_with('$') && behind.starts_with('{') {
            return mistake.help(
                "between braces or brackets a text with `${…}` needs quotes, as \"http://${bulb}/\"",
            );
        }
        if error.info().contains("Unicode character escape") {
            return mistake.help(
                "write a character beyond U+FFFF as itself, or as one escape, \"\\U0001F600\"; only a file \
                 that is JSON as a whole has pairs, \"\\ud83d\\ude00\"",
            );
        }
        mistake
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), ParseError> {
        let text: Arc<str> = text.into();
        let kind = match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => NodeKind::Text,
            Some(_) => return Err(tag_error(span)),
            None if style == ScalarStyle::Plain => resolve(&text),
            None => NodeKind::Text,
        };
        self.charge(Weight { nodes: 1, bytes: text.len(), height: 0 }, span)?;
        if self.expects_key() {
            let is_merge = &*text == "<<" && style == ScalarStyle::Plain;
            self.set_key(OpenKey { text, span, is_merge });
            return Ok(());
        }
        self.insert(Node::scalar(span, text, kind), anchor)
    }

    fn open(
        &mut self,
        content: OpenContent,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), ParseError> {
        if tag.is_some() {
            return Err(tag_error(span));
        }
        self.check_no_key_expected(span)?;
        self.charge(Weight { nodes: 1, bytes: 0, height: 1 }, span)?;
        self.frames.push(OpenNode { span, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), ParseError> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let content = match frame.content {
            OpenContent::List(items) => NodeContent::List(items),
            OpenContent::Map(map) => NodeContent::Map(map.close()),
        };
        self.insert(Node { span: frame.span, content }, frame.anchor)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), ParseError> {
        self.check_no_key_expected(span)?;
        let Some(weight) = self.anchors.get(&anchor).map(|(_, weight)| *weight) else {
            return Err(ParseError::new(span, "an alias to something that contains it")
                .help("write the value out, or move the anchor"));
        };
        // The size is checked before the copy is made.
        self.charge(weight, span)?;
        let node = self.anchors[&anchor].0.clone();
        self.insert(node, 0)
    }

    /// Adds to the size of the tree, and fails if it becomes too large.
    fn charge(&mut self, weight: Weight, span: Span) -> Result<(), ParseError> {
        self.nodes += weight.nodes;
        self.bytes += weight.bytes;
        if self.frames.len() + weight.height > limits::SCENARIO_DEPTH {
            let message = format!("nested deeper than {} levels", limits::SCENARIO_DEPTH);
            return Err(ParseError::new(span, message));
        }
        if self.nodes > limits::SCENARIO_NODES || self.bytes > limits::SCENARIO_EXPANDED_BYTES {
            let message = format!(
                "more than {} values or {} bytes, aliases written out",
                limits::SCENARIO_NODES,
                limits::SCENARIO_EXPANDED_BYTES
            );
            return Err(
                ParseError::new(span, message).help("split the house, or use fewer aliases")
            );
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.frames.last(),
            Some(OpenNode { content: OpenContent::Map(OpenMap { key: None, .. }), .. })
        )
    }

    fn check_no_key_expected(&self, span: Span) -> Result<(), ParseError> {
        if self.expects_key() {
            return Err(ParseError::new(span, "a key that is no plain word")
                .help("keys are words or numbers; lists, mappings and aliases cannot be keys"));
        }
        Ok(())
    }

    fn set_key(&mut self, key: OpenKey) {
        if let Some(OpenNode { content: OpenContent::Map(map), .. }) = self.frames.last_mut() {
            map.key = Some(key);
        }
    }

    /// Adds a complete value to the node that contains it.
    fn insert(&mut self, mut node: Node, anchor: usize) -> Result<(), ParseError> {
        if anchor != 0 {
            let weight = Weight::measure(&node);
            // The value of an anchor is stored twice, and within other anchors once more for each.
            self.charge(Weight { height: 0, ..weight }, node.span)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let path = || -> FieldPath {
            let mut path = FieldPath::root();
            for frame in &self.frames {
                path.push(match &frame.content {
                    OpenContent::List(items) => Segment::Index(items.len()),
                    OpenContent::Map(map) => {
                        let key = map.key.as_ref().map(|key| Arc::clone(&key.text));
                        Segment::Key(key.unwrap_or_else(|| "".into()))
                    }
                });
            }
            path
        };
        // The path is needed for duplicates only, but must be built before the frame is changed.
        let is_duplicate = matches!(
            self.frames.last(),
            Some(OpenNode { content: OpenContent::Map(OpenMap { keys, key: Some(key), .. }), .. })
                if keys.contains_key(&key.text)
        );
        let duplicate = is_duplicate.then(path);
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(OpenContent::List(items)) => items.push(node),
            Some(OpenContent::Map(map)) => {
                let Some(OpenKey { text: key, span: key_span, is_merge }) = map.key.take() else {
                    return Ok(());
                };
                if node.is_empty_scalar() {
                    node.span = key_span;
                }
                if let Some(path) = duplicate {
                    let first = map.keys[&key];
                    self.duplicates.push(DuplicateKey { path, first, second: key_span });
                } else {
                    map.keys.insert(Arc::clone(&key), key_span);
                    if is_merge {
                        map.merge(node)?;
                    } else {
                        map.entries.push(MapEntry { key, key_span, value: node });
                    }
                }
            }
        }
        Ok(())
    }
}

impl OpenMap {
    /// Takes the value of a merge key: a mapping, or a list of mappings of which an earlier one counts
    /// before a later one.
    fn merge(&mut self, value: Node) -> Result<(), ParseError> {
        let span = value.span;
        let mappings = match value {
            Node { content: NodeContent::List(items), .. } => items,
            other => vec![other],
        };
        for mapping in mappings {
            let NodeContent::Map(entries) = mapping.content else {
                return Err(ParseError::new(span, "`<<` merges mappings alone")
                    .help("write the alias of a mapping, as `<<: *unit`, or a list of them"));
            };
            self.merged.extend(entries);
        }
        Ok(())
    }

    /// Returns the entries: its own, then those that are merged and that it does not have itself.
    fn close(self) -> Vec<MapEntry> {
        let Self { mut entries, mut keys, merged, .. } = self;
        for entry in merged {
            if !keys.contains_key(&entry.key) {
                keys.insert(Arc::clone(&entry.key), entry.key_span);
                entries.push(entry);
            }
        }
        entries
    }
}

impl Node {
    /// Returns true if this is null because nothing is written.
    fn is_empty_scalar(&self) -> bool {
        matches!(&self.content, NodeContent::Scalar(scalar) if scalar.kind == NodeKind::Null && scalar.text.is_empty())
    }
}

fn tag_error(span: Span) -> ParseError {
    ParseError::new(span, "tags are not supported")
        .help("leave the `!` out, or put the text into quotes")
}

/// Returns the kind of a plain scalar by the core schema, as `serde_yaml` resolves it.
fn resolve(text: &str) -> NodeKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeKind::Null,
        "true" | "True" | "TRUE" => return NodeKind::Bool(true),
        "false" | "False" | "FALSE" => return NodeKind::Bool(false),
        _ => {}
    }
    integer(text).or_else(|| float(text)).unwrap_or(NodeKind::Text)
}

/// Splits a number into its sign (true if negative) and digits. `None` if it has two signs.
fn split_sign(text: &str) -> Option<(bool, &str)> {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    (!rest.starts_with(['+', '-'])).then_some((text.starts_with('-'), rest))
}

/// Returns true if leading zeros make the digits a text: `0123` may be a bus address or a telephone
/// number.
fn has_leading_zeros(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn integer(text: &str) -> Option<NodeKind> {
    let (negative, rest) = split_sign(text)?;
    let (digits, radix) = match rest.get(..2) {
        Some("0x") => (&rest[2..], 16),
        Some("0o") => (&rest[2..], 8),
        Some("0b") => (&rest[2..], 2),
        _ if has_leading_zeros(rest) => return None,
        _ => (rest, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        let number = i64::try_from(-i128::from(number)).ok()?;
        return Some(u64::try_from(number).map_or(NodeKind::Signed(number), NodeKind::Unsigned));
    }
    Some(NodeKind::Unsigned(number))
}

fn float(text: &str) -> Option<NodeKind> {
    let (negative, rest) = split_sign(text)?;
    let number = match rest {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" if rest == text => f64::NAN,
        _ if has_leading_zeros(rest) => return None,
        _ => rest.parse().ok().filter(|number: &f64| number.is_finite())?,
    };
    Some(NodeKind::Float(if negative { -number } else { number }))
}

/// Converts the parser's character positions to byte positions.
struct SpanLocator<'a> {
    text: &'a str,
    /// The byte at which each character begins. `None` for ASCII text, in which they are the same.
    bytes: Option<Vec<u32>>,
    /// The positions of escapes that are shorter in the parsed text, in its characters.
    escapes: Vec<usize>,
}

impl<'a> SpanLocator<'a> {
    fn new(text: &'a str) -> Self {
        let offset = |(offset, _)| u32::try_from(offset).unwrap_or(u32::MAX);
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(offset).collect());
        Self { text, bytes, escapes: Vec::new() }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = match &self.bytes {
            None => character,
            Some(bytes) => bytes.get(character).map_or(self.text.len(), |byte| *byte as usize),
        };
        byte.min(self.text.len())
    }

    /// Returns the column of a position in the original, counted from 1.
    fn column(&self, at: Marker) -> usize {
        let (position, before) = (at.index(), at.col());
        let count = |end: usize| self.escapes.partition_point(|escape| *escape < end);
        let shorter = count(position) - count(position.saturating_sub(before)).min(count(position));
        before + 1 + shorter * surrogates::SHORTER_BY
    }

    /// Returns the part of a parser's span that is on its first line.
    fn locate(&self, span: ParserSpan) -> Span {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        let text = self.text.get(start..end.max(start)).unwrap_or_default();
        let first_line = text.find(['\n', '\r']).unwrap_or(text.len());
        let (line, column) = (span.start.line().max(1), self.column(span.start));
        Span { line, column, start, end: start + first_line }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn error(text: &str) -> String {
        parse(text).map(|tree| format!("{tree:?}")).unwrap_err().problem.message
    }

    #[test]
    fn scalars_are_resolved_as_by_serde_yaml() {
        let texts = [
            "",
            "~",
            "null",
            "Null",
            "nUll",
            "true",
            "True",
            "TRUE",
            "yes",
            "on",
            "0",
            "-0",
            "+0",
            "1",
            "+1",
            "-1",
            "++1",
            "-+1",
            "01",
            "-01",
            "00",
            "0x1F",
            "-0x1F",
            "+0x1f",
            "0x",
            "0x+1",
            "0o17",
            "0b101",
            "0b2",
            "1_000",
            "18446744073709551615",
            "-9223372036854775808",
            "1.5",
            "-1.5",
            "+1.5",
            "1e3",
            "1E-3",
            ".5",
            "5.",
            "1e400",
            ".inf",
            "-.inf",
            "+.Inf",
            ".nan",
            "-.nan",
            "inf",
            "nan",
            "infinity",
            "2.0.2",
            "10..20",
            "250ms",
            "127.0.0.1:80",
            "-",
            "+",
            ".",
            "1.0",
            "00.5",
            "0.5",
            "A842E39F8124",
            "123456789012",
            "2026-01-15",
        ];
        for text in texts {
            use serde_yaml::Value;
            // In a list, so that an empty text or a lone dash stays a scalar.
            let listed = format!("[{text}]");
            let Ok(Value::Sequence(items)) = serde_yaml::from_str(&listed) else { continue };
            let theirs = items.first().cloned().unwrap_or(Value::Null);
            let ours = match resolve(text) {
                NodeKind::Null => Value::Null,
                NodeKind::Bool(flag) => flag.into(),
                NodeKind::Unsigned(number) => number.into(),
                NodeKind::Signed(number) => number.into(),
                NodeKind::Float(number) => number.into(),
                NodeKind::Text => text.into(),
            };
            assert_eq!(ours, theirs, "{text:?}");
        }
    }

    #[test]
    fn spans_are_lines_columns_and_bytes() {
        let text = "ä: 1\nb:\n  - {c: ü, d: x}\n";
        let tree = parse(text).unwrap();
        let path = FieldPath::root().key("b").index(0).key("d");
        let (value, key) = tree.root.locate(&path);
        assert_eq!((value.line, value.column, &text[value.start..value.end]), (3, 15, "x"));
        assert_eq!((key.line, key.column, &text[key.start..key.end]), (3, 12, "d"));
    }

    #[test]
    fn an_alias_is_the_value_of_its_anchor() {
        let tree = parse("a: &x {k: 5}\nb: *x\n").unwrap();
        let (span, _) = tree.root.locate(&FieldPath::root().key("b").key("k"));
        assert_eq!((span.line, span.column), (1, 11));
    }

    #[test]
    fn duplicate_keys_have_both_spans() {
        let tree = parse("a: {k: 1, k: 2}\n").unwrap();
        let [duplicate] = tree.duplicates.as_slice() else { panic!("{tree:?}") };
        assert_eq!(duplicate.path.to_string(), "a.k");
        assert_eq!((duplicate.first.column, duplicate.second.column), (5, 11));
    }

    #[test]
    fn alias_bombs_end_early() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let list = vec![format!("*a{}", n - 1); 10].join(", ");
            writeln!(bomb, "a{n}: &a{n} [{list}]").unwrap();
        }
        assert!(error(&bomb).starts_with("more than 200000 values"));
        // Few values, but long ones.
        let long =
            format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 10_000].join(","));
        assert!(error(&long).starts_with("more than 200000 values or"));
    }

    #[test]
    fn nested_anchors_are_counted_each() {
        let anchored = |inner: String, n: usize| format!("&a{n} [{inner}]");
        let nested = (0..20).fold("x,".repeat(20_000), anchored);
        assert!(error(&nested).starts_with("more than 200000 values"));
    }

    #[test]
    fn depth_is_bounded_through_aliases_too() {
        for opening in ["[", "- ", "{a: ", "- [", "[{"] {
            let message = error(&opening.repeat(100_000));
            // The parser has a bound of its own for brackets, which may come first.
            assert!(
                message.starts_with("nested deeper") || message.starts_with("not YAML"),
                "{opening}: {message}"
            );
        }
        assert!(error(&"[".repeat(40)).starts_with("nested deeper"));
        let mut chain = String::from("- &a0 x\n");
        for n in 1..200 {
            writeln!(chain, "- &a{n} [*a{}]", n - 1).unwrap();
        }
        assert!(error(&chain).starts_with("nested deeper"));
    }

    #[test]
    fn unsupported_syntax_is_named() {
        assert!(error("a: *a").contains("not YAML"));
        assert_eq!(error("&a [*a]"), "an alias to something that contains it");
        assert_eq!(error("a: {<<: 5}"), "`<<` merges mappings alone");
        assert_eq!(error("a: {<<: [{b: 1}, 5]}"), "`<<` merges mappings alone");
        assert_eq!(error("a: !include b"), "tags are not supported");
        assert_eq!(error("? [a]\n: b"), "a key that is no plain word");
        assert_eq!(error("a: 1\n---\nb: 2\n"), "a second document");
        assert!(error(&"x".repeat(limits::SCENARIO_BYTES + 1)).contains("bytes, more than"));
    }
}
