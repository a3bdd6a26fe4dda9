//! The structural check of a tree, which finds every structural mistake.
//!
//! The check follows the JSON Schema, so that the language is defined once. Its result contains the
//! valid parts of the tree, in the form that serde decodes; invalid parts are dropped, so that a
//! mistake in one place does not hide those in another.

use std::collections::HashMap;

use serde_json::Value as Schema;
use serde_yaml::{Mapping, Value};

use super::diagnostics::{Mistake, Mistakes, join_or, nearest};
use super::path::{FieldPath, Segment};
use super::raw::{EXTENSION_PATTERN, ScalarCheck, scalar_named, scalar_with_pattern};
use super::schema;
use super::tree::{MapEntry, Node, NodeContent, NodeKind, Scalar};
use crate::notation::shortened;

/// The most words that are listed beside a suggestion.
const LISTED_WORDS: usize = 8;
/// The longest list of forms, in bytes, that the help on a missing key contains. If it is longer, the
/// description of the key says more.
const LISTED_FORMS_BYTES: usize = 100;

/// The valid parts of a tree.
pub(super) struct Checked {
    pub value: Option<Value>,
    retained: RetainedItems,
}

/// The positions of the retained items, for each list of which items were dropped.
type RetainedItems = HashMap<FieldPath, Vec<usize>>;

impl Checked {
    /// Converts a path in the decoded values to the path in the file, whose lists may have more items.
    pub(super) fn path_in_file(&self, path: &FieldPath) -> FieldPath {
        let mut in_file = FieldPath::root();
        for segment in path.segments() {
            let segment = match segment {
                Segment::Index(index) => {
                    let retained = self.retained.get(&in_file);
                    let position = retained.and_then(|positions| positions.get(*index));
                    Segment::Index(*position.unwrap_or(index))
                }
                Segment::Key(_) => segment.clone(),
            };
            in_file.push(segment);
        }
        in_file
    }
}

/// Checks `node` against `schema`.
pub(super) fn check_structure(
    node: &Node,
    schema: &'static Schema,
    mistakes: &mut Mistakes,
) -> Checked {
    let path = FieldPath::root();
    let mut check = StructureCheck { path, mistakes, retained: HashMap::new() };
    let value = check.node(node, schema);
    Checked { value, retained: check.retained }
}

/// A check in progress. Its methods return the valid part of a node, or `None` if there is none.
struct StructureCheck<'m> {
    /// The path of the current node.
    path: FieldPath,
    mistakes: &'m mut Mistakes,
    retained: RetainedItems,
}

/// The forms that a value may have.
type Forms = [&'static Schema];

impl StructureCheck<'_> {
    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.path.clone(), message)
    }

    fn key_mistake(&self, key: &str, message: impl Into<String>) -> Mistake {
        Mistake::new(self.path.key(key), message).on_key()
    }

    /// Runs a check one step below the current node.
    fn below<T>(&mut self, segment: Segment, check: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let result = check(self);
        self.path.pop();
        result
    }

    fn node(&mut self, node: &Node, schema: &'static Schema) -> Option<Value> {
        if self.mistakes.is_full() {
            return None;
        }
        let forms = schema::forms(schema);
        if let Some(form) = forms.iter().find(|form| form["x-json"] == true) {
            return self.json(node, form);
        }
        match &node.content {
            NodeContent::Scalar(scalar) if scalar.kind == NodeKind::Null => self.null(&forms),
            NodeContent::Scalar(scalar) => self.scalar(scalar, &forms),
            NodeContent::List(items) => {
                match forms.iter().find(|form| schema::allows(form, "array")) {
                    Some(form) => self.list(items, form),
                    None => self.unexpected("a list", &forms),
                }
            }
            NodeContent::Map(entries) => self.map(entries, &forms),
        }
    }

    fn unexpected(&mut self, found: &str, forms: &Forms) -> Option<Value> {
        let message = format!("expected {}, found {found}", expected(forms));
        let mistake = self.mistake(message);
        self.mistakes.push(mistake);
        None
    }

    fn null(&mut self, forms: &Forms) -> Option<Value> {
        if forms.iter().any(|form| schema::allows(form, "null")) || self.path.segments().is_empty()
        {
            return Some(Value::Null);
        }
        self.unexpected("nothing", forms)
    }

    fn list(&mut self, items: &[Node], form: &'static Schema) -> Option<Value> {
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let (minimum, maximum) = (form["minItems"].as_u64(), form["maxItems"].as_u64());
        let too_few = minimum.is_some_and(|minimum| count < minimum);
        if too_few || maximum.is_some_and(|maximum| count > maximum) {
            let message = match (minimum, maximum) {
                (Some(minimum), Some(maximum)) if minimum == maximum => {
                    format!("expected {minimum} items, found {count}")
                }
                (Some(1), None) => "an empty list says nothing; leave it out".to_owned(),
                _ => format!("{count} items are too few or too many"),
            };
            let mistake = self.mistake(message);
            self.mistakes.push(mistake);
            return None;
        }
        let mut positions = Vec::with_capacity(items.len());
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Some(value) =
                self.below(Segment::Index(index), |check| check.node(item, &form["items"]))
            {
                positions.push(index);
                values.push(value);
            }
        }
        if positions.len() < items.len() {
            // A pair with one valid item is not a pair.
            if minimum.is_some_and(|minimum| (positions.len() as u64) < minimum) {
                return None;
            }
            self.retained.insert(self.path.clone(), positions);
        }
        Some(Value::Sequence(values))
    }

    fn map(&mut self, entries: &[MapEntry], forms: &Forms) -> Option<Value> {
        let objects: Vec<_> =
            forms.iter().copied().filter(|form| schema::allows(form, "object")).collect();
        match objects.as_slice() {
            [] => self.unexpected("a mapping", forms),
            [one] if schema::single_key(one).is_none() => self.object(entries, one),
            several => self.variant(entries, several, forms),
        }
    }

    /// Checks a mapping whose only key selects its form.
    fn variant(&mut self, entries: &[MapEntry], objects: &Forms, forms: &Forms) -> Option<Value> {
        let keys = || objects.iter().filter_map(|form| schema::single_key(form));
        let [entry] = entries else {
            let found: Vec<_> = entries.iter().take(5).map(|entry| shortened(&entry.key)).collect();
            let message = match found.as_slice() {
                [] => "expected exactly one key, found none".to_owned(),
                _ => format!("expected exactly one key, found `{}`", found.join("`, `")),
            };
            let mistake = self.mistake(message).help(format!("write one of {}", join_or(keys())));
            self.mistakes.push(mistake);
            return None;
        };
        let form = objects.iter().find(|form| schema::single_key(form) == Some(&entry.key));
        if let Some(form) = form {
            return self.object(entries, form);
        }
        let words = || forms.iter().flat_map(|form| schema::words(form));
        let key = shortened(&entry.key);
        let mistake = if words().any(|word| word == &*entry.key) {
            self.key_mistake(&entry.key, format!("`{key}` takes nothing more"))
                .help(format!("write the bare word `{key}`, without `:`"))
        } else {
            let near = nearest(&entry.key, keys().chain(words()));
            let mistake = self.key_mistake(&entry.key, format!("unknown `{key}`")).suggest(near);
            match near {
                Some(_) if objects.len() > LISTED_WORDS => mistake,
                _ => mistake.help(format!("expected {}", join_or(keys()))),
            }
        };
        self.mistakes.push(mistake);
        None
    }

    fn object(&mut self, entries: &[MapEntry], form: &'static Schema) -> Option<Value> {
        let mut mapping = Mapping::with_capacity(entries.len());
        for entry in entries {
            if is_extension(&entry.key, form) {
                continue;
            }
            if let Some(schema) = self.schema_of_key(entry, form) {
                let value = self.below(Segment::Key(entry.key.clone()), |check| {
                    check.node(&entry.value, schema)
                });
                if let Some(value) = value {
                    mapping.insert(Value::String(entry.key.to_string()), value);
                }
            }
        }
        let mut complete = true;
        for key in form["required"].as_array().into_iter().flatten().filter_map(Schema::as_str) {
            complete &= mapping.contains_key(key);
            if !entries.iter().any(|entry| &*entry.key == key) {
                let mistake = self.missing(key, form);
                self.mistakes.push(mistake);
            }
        }
        if form["minProperties"].as_u64().is_some_and(|minimum| minimum > entries.len() as u64) {
            let mistake = self.mistake("an empty mapping says nothing");
            self.mistakes.push(mistake);
            return None;
        }
        complete.then_some(Value::Mapping(mapping))
    }

    fn missing(&self, key: &str, form: &'static Schema) -> Mistake {
        let property = &form["properties"][key];
        let expected = expected(&schema::forms(property));
        let help = match property["description"].as_str() {
            Some(purpose) if expected.len() > LISTED_FORMS_BYTES => {
                format!("`{key}` says: {}", purpose.trim_end_matches('.').to_lowercase())
            }
            _ => format!("`{key}` is {expected}"),
        };
        self.mistake(format!("the key `{key}` is missing")).help(help)
    }

    /// Returns the schema of the value under a key. If the key is unknown or malformed, reports it and
    /// returns `None`.
    fn schema_of_key(
        &mut self,
        entry: &MapEntry,
        form: &'static Schema,
    ) -> Option<&'static Schema> {
        let properties = form["properties"].as_object();
        if let Some(schema) = properties.and_then(|properties| properties.get(&*entry.key)) {
            return Some(schema);
        }
        if let Some((check, schema)) = key_check(form) {
            return match check(&entry.key) {
                Err(error) => {
                    let mistake = self.key_mistake(&entry.key, error.to_string());
                    self.mistakes.push(mistake);
                    None
                }
                Ok(()) => Some(schema),
            };
        }
        if form["additionalProperties"].is_object() {
            return Some(&form["additionalProperties"]);
        }
        if self.mistakes.is_full() {
            self.mistakes.count_omitted();
            return None;
        }
        let known = || properties.into_iter().flat_map(|all| all.keys().map(String::as_str));
        let mistake = self
            .key_mistake(&entry.key, format!("unknown key `{}`", shortened(&entry.key)))
            .suggest(nearest(&entry.key, known()))
            .help(format!("known here: {}", known().collect::<Vec<_>>().join(", ")));
        self.mistakes.push(mistake);
        None
    }

    fn scalar(&mut self, scalar: &Scalar, forms: &Forms) -> Option<Value> {
        let check = forms.iter().find_map(|form| scalar_named(form["x-scalar"].as_str()?));
        if let Some(check) = check {
            return match check(&scalar.text) {
                Ok(()) => Some(Value::String(scalar.text.to_string())),
                Err(error) => {
                    let mistake = self.mistake(error.to_string());
                    self.mistakes.push(mistake);
                    None
                }
            };
        }
        let has = |kind: &str| forms.iter().find(|form| schema::allows(form, kind)).copied();
        match scalar.kind {
            NodeKind::Bool(flag) if has("boolean").is_some() => Some(flag.into()),
            NodeKind::Unsigned(number) => match has("integer").or_else(|| has("number")) {
                Some(form) => self.in_range(number, number.into(), form),
                None => self.wrong_scalar(scalar, forms),
            },
            NodeKind::Signed(number) => match has("integer").or_else(|| has("number")) {
                Some(form) => self.in_range(number, number.into(), form),
                None => self.wrong_scalar(scalar, forms),
            },
            NodeKind::Float(number) => match has("number") {
                Some(_) if !number.is_finite() => {
                    self.unexpected(&format!("`{}`", shortened(&scalar.text)), forms)
                }
                Some(form) => self.in_range(number, number.into(), form),
                None => self.wrong_scalar(scalar, forms),
            },
            NodeKind::Text => self.text(scalar, forms),
            NodeKind::Bool(_) | NodeKind::Null => self.wrong_scalar(scalar, forms),
        }
    }

    fn text(&mut self, scalar: &Scalar, forms: &Forms) -> Option<Value> {
        let value = || Some(Value::String(scalar.text.to_string()));
        let words: Vec<_> = forms.iter().flat_map(|form| schema::words(form)).collect();
        if words.contains(&&*scalar.text) {
            return value();
        }
        let free = forms.iter().find(|form| {
            schema::allows(form, "string") && form["const"].is_null() && form["enum"].is_null()
        });
        if free.is_some() {
            return value();
        }
        let word = shortened(&scalar.text);
        let keys: Vec<_> = forms.iter().filter_map(|form| schema::single_key(form)).collect();
        if keys.contains(&&*scalar.text) {
            let mistake = self
                .mistake(format!("`{word}` needs a value"))
                .help(format!("write {{{word}: …}}"));
            self.mistakes.push(mistake);
            return None;
        }
        if words.is_empty() {
            return self.wrong_scalar(scalar, forms);
        }
        let near = nearest(&scalar.text, words.iter().chain(&keys).copied());
        let mut mistake = self.mistake(format!("unknown word `{word}`")).suggest(near);
        if near.is_none() || words.len() <= LISTED_WORDS {
            mistake = mistake.help(format!("expected {}", expected(forms)));
        }
        self.mistakes.push(mistake);
        None
    }

    fn wrong_scalar(&mut self, scalar: &Scalar, forms: &Forms) -> Option<Value> {
        let text = shortened(&scalar.text);
        let found = match scalar.kind {
            NodeKind::Null => "nothing".to_owned(),
            NodeKind::Bool(_) => format!("the boolean {text}"),
            NodeKind::Unsigned(_) | NodeKind::Signed(_) | NodeKind::Float(_) => {
                format!("the number {text}")
            }
            NodeKind::Text => format!("the text `{text}`"),
        };
        self.unexpected(&found, forms)
    }

    fn in_range<N>(&mut self, number: N, value: Value, form: &'static Schema) -> Option<Value>
    where
        N: std::fmt::Display + PartialOrd + Copy,
        Bound: From<N>,
    {
        let bound = Bound::from(number);
        let below = form["minimum"].as_f64().is_some_and(|minimum| bound.0 < minimum);
        let above = form["maximum"].as_f64().is_some_and(|maximum| bound.0 > maximum);
        // The upper bound of 64-bit integers is not in the schema; serde reports a larger number.
        if below || above {
            let mistake = self.mistake(format!("expected {}, found {number}", expected(&[form])));
            self.mistakes.push(mistake);
            return None;
        }
        Some(value)
    }

    /// Checks a value in the device's own JSON, which is passed on as it is.
    fn json(&mut self, node: &Node, form: &'static Schema) -> Option<Value> {
        match &node.content {
            NodeContent::Scalar(scalar) => match scalar.kind {
                NodeKind::Null => Some(Value::Null),
                NodeKind::Bool(flag) => Some(flag.into()),
                NodeKind::Unsigned(number) => Some(number.into()),
                NodeKind::Signed(number) => Some(number.into()),
                NodeKind::Float(number) if number.is_finite() => Some(number.into()),
                NodeKind::Float(_) => {
                    let mistake = self.mistake("JSON has no infinite numbers");
                    self.mistakes.push(mistake);
                    None
                }
                NodeKind::Text => Some(Value::String(scalar.text.to_string())),
            },
            NodeContent::List(items) => {
                let item = |(index, item)| {
                    self.below(Segment::Index(index), |check| check.json(item, &form["items"]))
                };
                items.iter().enumerate().map(item).collect::<Option<_>>().map(Value::Sequence)
            }
            NodeContent::Map(entries) => {
                let member = |entry: &MapEntry| {
                    let form = self.json_schema_of_key(entry, form);
                    let segment = Segment::Key(entry.key.clone());
                    let value = self.below(segment, |check| check.json(&entry.value, form))?;
                    Some((Value::String(entry.key.to_string()), value))
                };
                entries.iter().map(member).collect::<Option<_>>().map(Value::Mapping)
            }
        }
    }

    /// Returns the schema of the value under a key of the device's own JSON. The device ignores
    /// unknown keys, and the JSON that a device exported may have some, but a key that is nearly a known
    /// one is reported.
    fn json_schema_of_key(&mut self, entry: &MapEntry, form: &'static Schema) -> &'static Schema {
        let Some(properties) = form["properties"].as_object() else {
            return &form["additionalProperties"];
        };
        if let Some(schema) = properties.get(&*entry.key) {
            return schema;
        }
        if let Some(known) = nearest(&entry.key, properties.keys().map(String::as_str)) {
            let message =
                format!("unknown key `{}`, which the device ignores", shortened(&entry.key));
            let mistake = self.key_mistake(&entry.key, message).suggest(Some(known));
            self.mistakes.push(mistake);
        }
        &Schema::Null
    }
}

/// A number as it is compared with the bounds of the schema. Near 2⁶⁴ it is imprecise; such numbers
/// are bounded by their type alone.
struct Bound(f64);

#[expect(clippy::cast_precision_loss, reason = "the bounds of the schema are small numbers")]
impl From<u64> for Bound {
    fn from(number: u64) -> Self {
        Self(number as f64)
    }
}

#[expect(clippy::cast_precision_loss, reason = "the bounds of the schema are small numbers")]
impl From<i64> for Bound {
    fn from(number: i64) -> Self {
        Self(number as f64)
    }
}

impl From<f64> for Bound {
    fn from(number: f64) -> Self {
        Self(number)
    }
}

/// Returns the check of a mapping's keys, if all of them have one pattern, and the schema of its values.
fn key_check(form: &'static Schema) -> Option<(ScalarCheck, &'static Schema)> {
    let (pattern, schema) = form["patternProperties"].as_object()?.iter().next()?;
    scalar_with_pattern(pattern).map(|check| (check, schema))
}

/// Returns true if the value under a key is not read, because it is a place for anchors.
fn is_extension(key: &str, form: &'static Schema) -> bool {
    !form["patternProperties"][EXTENSION_PATTERN].is_null() && key.starts_with("x-")
}

/// Describes the forms that a value may have, for a message.
fn expected(forms: &Forms) -> String {
    let words: Vec<_> = forms.iter().flat_map(|form| schema::words(form)).collect();
    let keys: Vec<_> = forms.iter().filter_map(|form| schema::single_key(form)).collect();
    let mut parts: Vec<String> = Vec::new();
    for form in forms.iter().filter(|form| schema::single_key(form).is_none()) {
        if let Some(part) = expected_form(form)
            && !parts.contains(&part)
        {
            parts.push(part);
        }
    }
    if !words.is_empty() {
        parts.insert(0, join_or(words.iter().copied()));
    }
    if !keys.is_empty() {
        let more = keys.iter().copied().filter(|key| !words.contains(key));
        parts.push(format!("a mapping with one of {}", join_or(more)));
    }
    parts.join(", or ")
}

fn expected_form(form: &'static Schema) -> Option<String> {
    if schema::words(form).next().is_some() && form["x-scalar"].is_null() {
        return None;
    }
    if form["x-scalar"].is_string() {
        let description = form["description"].as_str().unwrap_or_default();
        let mut letters = description.trim_end_matches('.').chars();
        let first = letters.next()?.to_lowercase();
        return Some(format!("{first}{}", letters.as_str()));
    }
    let allows = |kind| schema::allows(form, kind);
    let range = || match (form["minimum"].as_f64(), form["maximum"].as_f64()) {
        (Some(minimum), Some(maximum)) => format!(" from {minimum} to {maximum}"),
        (Some(minimum), None) => format!(" of {minimum} or more"),
        (None, Some(maximum)) => format!(" of at most {maximum}"),
        (None, None) => String::new(),
    };
    Some(match () {
        () if allows("object") => "a mapping".to_owned(),
        () if allows("array") => "a list".to_owned(),
        () if allows("number") && allows("string") => "a number or text".to_owned(),
        () if allows("integer") => format!("a whole number{}", range()),
        () if allows("number") => format!("a number{}", range()),
        () if allows("boolean") => "true or false".to_owned(),
        () if allows("string") => "text".to_owned(),
        () => return None,
    })
}
