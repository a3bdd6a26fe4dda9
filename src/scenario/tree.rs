//! A YAML document as a tree with places, of bounded size.
//!
//! serde gives no places and stops at its first error, so the file is read once into this tree and
//! everything else (the walk, the decoding, the places of mistakes) starts from it. Bytes, depth and
//! nodes are bounded while it grows, aliases included: a hostile file ends in an error, not in
//! gigabytes.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as ParserSpan, Tag};

use super::path::{FieldPath, Segment};
use crate::limits;

/// Where something stands in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The first byte.
    pub start: usize,
    /// The byte after the last one, on the same line.
    pub end: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Span,
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
    pub key_place: Span,
    pub value: Node,
}

/// A scalar: its text as written, and what the core schema of YAML 1.2 makes of it.
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
    /// Below zero.
    Signed(i64),
    Float(f64),
    Text,
}

/// A document.
#[derive(Debug)]
pub(super) struct Tree {
    pub root: Node,
    pub duplicates: Vec<Duplicate>,
}

/// A key that a mapping has twice; the first one counts.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub path: FieldPath,
    pub first: Span,
    pub second: Span,
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) struct InvalidScalar {
    pub place: Span,
    pub message: String,
    pub help: Option<String>,
}

impl InvalidScalar {
    fn new(place: Span, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), help: None }
    }

    fn help(self, help: &str) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl Node {
    fn scalar(place: Span, text: Arc<str>, kind: NodeKind) -> Self {
        Self { place, content: NodeContent::Scalar(Scalar { text, kind }) }
    }

    /// The value and, where it stands under a key, the key's place.
    pub fn locate(&self, path: &FieldPath) -> (Span, Span) {
        let (mut node, mut key) = (self, self.place);
        for segment in path.segments() {
            match (segment, &node.content) {
                (Segment::Key(name), NodeContent::Map(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *name) else {
                        break;
                    };
                    (node, key) = (&entry.value, entry.key_place);
                }
                (Segment::Index(index), NodeContent::List(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    (node, key) = (item, item.place);
                }
                _ => break,
            }
        }
        (node.place, key)
    }

    /// A tree without places, for rules that come over the control plane.
    pub fn from_json(value: &serde_json::Value) -> Self {
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
                place: Span::default(),
                content: NodeContent::List(items.iter().map(Self::from_json).collect()),
            },
            Value::Object(members) => {
                let entry = |(key, value): (&String, &Value)| MapEntry {
                    key: key.as_str().into(),
                    key_place: Span::default(),
                    value: Self::from_json(value),
                };
                let entries = members.iter().map(entry).collect();
                Self { place: Span::default(), content: NodeContent::Map(entries) }
            }
        }
    }
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Tree, InvalidScalar> {
    if text.len() > limits::SCENARIO_BYTES {
        let message = format!(
            "the text has {} bytes, more than the {} a scenario may have",
            text.len(),
            limits::SCENARIO_BYTES
        );
        return Err(InvalidScalar::new(Span { line: 1, column: 1, ..Span::default() }, message));
    }
    Builder::new(text).build()
}

/// What a node costs.
#[derive(Debug, Clone, Copy)]
struct Weight {
    nodes: usize,
    bytes: usize,
    height: usize,
}

impl Weight {
    fn of(node: &Node) -> Self {
        let children: Vec<Self> = match &node.content {
            NodeContent::Scalar(scalar) => {
                return Self { nodes: 1, bytes: scalar.text.len(), height: 0 };
            }
            NodeContent::List(items) => items.iter().map(Self::of).collect(),
            NodeContent::Map(entries) => entries
                .iter()
                .map(|entry| {
                    let value = Self::of(&entry.value);
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

/// A list or mapping that has not ended yet.
struct OpenNode {
    place: Span,
    anchor: usize,
    content: Open,
}

enum Open {
    List(Vec<Node>),
    Map { entries: Vec<MapEntry>, known: HashMap<Arc<str>, Span>, key: Option<(Arc<str>, Span)> },
}

struct Builder<'a> {
    places: Places<'a>,
    frames: Vec<OpenNode>,
    anchors: HashMap<usize, (Node, Weight)>,
    nodes: usize,
    bytes: usize,
    root: Option<Node>,
    duplicates: Vec<Duplicate>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            places: Places::new(text),
            frames: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            bytes: 0,
            root: None,
            duplicates: Vec::new(),
        }
    }

    fn build(mut self) -> Result<Tree, InvalidScalar> {
        let mut documents = 0;
        for event in Parser::new_from_str(self.places.text) {
            let (event, span) = event.map_err(|error| {
                let place = self.places.of(ParserSpan::empty(*error.marker()));
                InvalidScalar::new(place, format!("not YAML: {}", error.info()))
            })?;
            let place = self.places.of(span);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(InvalidScalar::new(place, "a second document")
                            .help("a scenario is one document; put the other into its own file"));
                    }
                }
                Event::Alias(anchor) => self.alias(anchor, place)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, anchor, tag.as_deref(), place)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(Open::List(Vec::new()), anchor, tag.as_deref(), place)?;
                }
                Event::MappingStart(anchor, tag) => {
                    let (entries, known) = (Vec::new(), HashMap::new());
                    let map = Open::Map { entries, known, key: None };
                    self.open(map, anchor, tag.as_deref(), place)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        let nothing = || {
            Node::scalar(Span { line: 1, column: 1, ..Span::default() }, "".into(), NodeKind::Null)
        };
        Ok(Tree { root: self.root.unwrap_or_else(nothing), duplicates: self.duplicates })
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        place: Span,
    ) -> Result<(), InvalidScalar> {
        let text: Arc<str> = text.into();
        let kind = match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => NodeKind::Text,
            Some(_) => return Err(tagged(place)),
            None if style == ScalarStyle::Plain => resolve(&text),
            None => NodeKind::Text,
        };
        self.charge(Weight { nodes: 1, bytes: text.len(), height: 0 }, place)?;
        if self.wants_key() {
            return self.take_key(text, place);
        }
        self.finish(Node::scalar(place, text, kind), anchor)
    }

    fn open(
        &mut self,
        content: Open,
        anchor: usize,
        tag: Option<&Tag>,
        place: Span,
    ) -> Result<(), InvalidScalar> {
        if tag.is_some() {
            return Err(tagged(place));
        }
        self.no_key_here(place)?;
        self.charge(Weight { nodes: 1, bytes: 0, height: 1 }, place)?;
        self.frames.push(OpenNode { place, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), InvalidScalar> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let content = match frame.content {
            Open::List(items) => NodeContent::List(items),
            Open::Map { entries, .. } => NodeContent::Map(entries),
        };
        self.finish(Node { place: frame.place, content }, frame.anchor)
    }

    fn alias(&mut self, anchor: usize, place: Span) -> Result<(), InvalidScalar> {
        self.no_key_here(place)?;
        let Some(weight) = self.anchors.get(&anchor).map(|(_, weight)| *weight) else {
            return Err(InvalidScalar::new(place, "an alias to something that contains it")
                .help("write the value out, or move the anchor"));
        };
        // Charged before it is copied.
        self.charge(weight, place)?;
        let node = self.anchors[&anchor].0.clone();
        self.finish(node, 0)
    }

    /// Counts what is about to be added, and refuses what would be too much.
    fn charge(&mut self, weight: Weight, place: Span) -> Result<(), InvalidScalar> {
        self.nodes += weight.nodes;
        self.bytes += weight.bytes;
        if self.frames.len() + weight.height > limits::SCENARIO_DEPTH {
            let message = format!("nested deeper than {} levels", limits::SCENARIO_DEPTH);
            return Err(InvalidScalar::new(place, message));
        }
        if self.nodes > limits::SCENARIO_NODES || self.bytes > limits::SCENARIO_EXPANDED_BYTES {
            let message = format!(
                "more than {} values or {} bytes, aliases written out",
                limits::SCENARIO_NODES,
                limits::SCENARIO_EXPANDED_BYTES
            );
            return Err(
                InvalidScalar::new(place, message).help("split the house, or use fewer aliases")
            );
        }
        Ok(())
    }

    fn wants_key(&self) -> bool {
        matches!(self.frames.last(), Some(OpenNode { content: Open::Map { key: None, .. }, .. }))
    }

    fn no_key_here(&self, place: Span) -> Result<(), InvalidScalar> {
        if self.wants_key() {
            return Err(InvalidScalar::new(place, "a key that is no plain word")
                .help("keys are words or numbers; lists, mappings and aliases cannot be keys"));
        }
        Ok(())
    }

    fn take_key(&mut self, text: Arc<str>, place: Span) -> Result<(), InvalidScalar> {
        if &*text == "<<" {
            return Err(InvalidScalar::new(place, "merge keys (`<<`) are not supported")
                .help("an anchor stands for a whole value: `units: *units`"));
        }
        if let Some(OpenNode { content: Open::Map { key, .. }, .. }) = self.frames.last_mut() {
            *key = Some((text, place));
        }
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn finish(&mut self, mut node: Node, anchor: usize) -> Result<(), InvalidScalar> {
        if anchor != 0 {
            let weight = Weight::of(&node);
            // What an anchor keeps is there twice, and within other anchors once more for each.
            self.charge(Weight { height: 0, ..weight }, node.place)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let path = || -> FieldPath {
            let mut path = FieldPath::root();
            for frame in &self.frames {
                path.push(match &frame.content {
                    Open::List(items) => Segment::Index(items.len()),
                    Open::Map { key, .. } => {
                        Segment::Key(key.as_ref().map_or_else(|| "".into(), |(key, _)| key.clone()))
                    }
                });
            }
            path
        };
        // The path is needed for duplicates only, but has to be taken before the frame is changed.
        let twice = matches!(
            self.frames.last(),
            Some(OpenNode { content: Open::Map { known, key: Some((key, _)), .. }, .. })
                if known.contains_key(key)
        );
        let twice = twice.then(path);
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map { entries, known, key }) => {
                let Some((key, key_place)) = key.take() else { return Ok(()) };
                if node.is_nothing() {
                    node.place = key_place;
                }
                if let Some(path) = twice {
                    let first = known[&key];
                    self.duplicates.push(Duplicate { path, first, second: key_place });
                } else {
                    known.insert(Arc::clone(&key), key_place);
                    entries.push(MapEntry { key, key_place, value: node });
                }
            }
        }
        Ok(())
    }
}

impl Node {
    /// Whether it is null with nothing written.
    fn is_nothing(&self) -> bool {
        matches!(&self.content, NodeContent::Scalar(scalar) if scalar.kind == NodeKind::Null && scalar.text.is_empty())
    }
}

fn tagged(place: Span) -> InvalidScalar {
    InvalidScalar::new(place, "tags are not supported")
        .help("leave the `!` out, or put the text into quotes")
}

/// What the core schema makes of a plain scalar; the same as `serde_yaml` makes of it.
fn resolve(text: &str) -> NodeKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeKind::Null,
        "true" | "True" | "TRUE" => return NodeKind::Bool(true),
        "false" | "False" | "FALSE" => return NodeKind::Bool(false),
        _ => {}
    }
    integer(text).or_else(|| float(text)).unwrap_or(NodeKind::Text)
}

/// Sign and digits; none where there are two signs.
fn unsigned_part(text: &str) -> Option<(bool, &str)> {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    (!rest.starts_with(['+', '-'])).then_some((text.starts_with('-'), rest))
}

/// Zeros in front make text of digits: `0123` may be a bus address or a telephone number.
fn is_digits_but_no_number(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn integer(text: &str) -> Option<NodeKind> {
    let (negative, rest) = unsigned_part(text)?;
    let (digits, radix) = match rest.get(..2) {
        Some("0x") => (&rest[2..], 16),
        Some("0o") => (&rest[2..], 8),
        Some("0b") => (&rest[2..], 2),
        _ if is_digits_but_no_number(rest) => return None,
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
    let (negative, rest) = unsigned_part(text)?;
    let number = match rest {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" if rest == text => f64::NAN,
        _ if is_digits_but_no_number(rest) => return None,
        _ => rest.parse().ok().filter(|number: &f64| number.is_finite())?,
    };
    Some(NodeKind::Float(if negative { -number } else { number }))
}

/// Turns the parser's character positions into byte positions.
struct Places<'a> {
    text: &'a str,
    /// The byte at which each character begins; none for ASCII, where they are the same.
    bytes: Option<Vec<u32>>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        let offset = |(offset, _)| u32::try_from(offset).unwrap_or(u32::MAX);
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(offset).collect());
        Self { text, bytes }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = match &self.bytes {
            None => character,
            Some(bytes) => bytes.get(character).map_or(self.text.len(), |byte| *byte as usize),
        };
        byte.min(self.text.len())
    }

    /// The place of a span: of several lines the first one.
    fn of(&self, span: ParserSpan) -> Span {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        let text = self.text.get(start..end.max(start)).unwrap_or_default();
        let first_line = text.find(['\n', '\r']).unwrap_or(text.len());
        let (line, column) = (span.start.line().max(1), span.start.col() + 1);
        Span { line, column, start, end: start + first_line }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn refused(text: &str) -> String {
        parse(text).map(|tree| format!("{tree:?}")).unwrap_err().message
    }

    #[test]
    fn scalars_are_what_serde_yaml_makes_of_them() {
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
    fn places_are_lines_columns_and_bytes() {
        let text = "ä: 1\nb:\n  - {c: ü, d: x}\n";
        let tree = parse(text).unwrap();
        let path = FieldPath::root().key("b").index(0).key("d");
        let (value, key) = tree.root.locate(&path);
        assert_eq!((value.line, value.column, &text[value.start..value.end]), (3, 15, "x"));
        assert_eq!((key.line, key.column, &text[key.start..key.end]), (3, 12, "d"));
    }

    #[test]
    fn an_alias_is_the_value_it_names() {
        let tree = parse("a: &x {k: 5}\nb: *x\n").unwrap();
        let (place, _) = tree.root.locate(&FieldPath::root().key("b").key("k"));
        assert_eq!((place.line, place.column), (1, 11));
    }

    #[test]
    fn duplicate_keys_have_both_places() {
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
        assert!(refused(&bomb).starts_with("more than 200000 values"));
        // Few values, but long ones.
        let long =
            format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 10_000].join(","));
        assert!(refused(&long).starts_with("more than 200000 values or"));
    }

    #[test]
    fn anchors_within_anchors_are_counted_each() {
        let anchored = |inner: String, n: usize| format!("&a{n} [{inner}]");
        let nested = (0..20).fold("x,".repeat(20_000), anchored);
        assert!(refused(&nested).starts_with("more than 200000 values"));
    }

    #[test]
    fn depth_is_bounded_through_aliases_too() {
        for opening in ["[", "- ", "{a: ", "- [", "[{"] {
            let message = refused(&opening.repeat(100_000));
            // The parser has a bound of its own for brackets, which may come first.
            assert!(
                message.starts_with("nested deeper") || message.starts_with("not YAML"),
                "{opening}: {message}"
            );
        }
        assert!(refused(&"[".repeat(40)).starts_with("nested deeper"));
        let mut chain = String::from("- &a0 x\n");
        for n in 1..200 {
            writeln!(chain, "- &a{n} [*a{}]", n - 1).unwrap();
        }
        assert!(refused(&chain).starts_with("nested deeper"));
    }

    #[test]
    fn what_is_not_supported_says_so() {
        assert!(refused("a: *a").contains("not YAML"));
        assert_eq!(refused("&a [*a]"), "an alias to something that contains it");
        assert_eq!(refused("a: {<<: {b: 1}}"), "merge keys (`<<`) are not supported");
        assert_eq!(refused("a: !include b"), "tags are not supported");
        assert_eq!(refused("? [a]\n: b"), "a key that is no plain word");
        assert_eq!(refused("a: 1\n---\nb: 2\n"), "a second document");
        assert!(refused(&"x".repeat(limits::SCENARIO_BYTES + 1)).contains("bytes, more than"));
    }
}
