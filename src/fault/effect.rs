//! Effects as they are written, those of all seams together.
//!
//! A rule's effect is read before its place is known, so the language has one list of keywords. The
//! list is composed from the tables of the seams. A keyword of several seams is one entry, whose text says
//! what it does at each place; all of them take the same type of parameters, which a test checks.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::seam;
use super::written_form::{FormEntry, ParameterType};
use crate::notation::Choice;

/// An effect as it is written.
pub type WrittenEffect = Choice<EffectKeyword, EffectWithParameters>;

/// An effect that needs no parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectKeyword(pub(super) &'static str);

/// An effect with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectWithParameters {
    pub(super) keyword: &'static str,
    /// The parameters, as their type serializes them.
    pub(super) parameters: Value,
}

/// The keywords that the schema and the reference list first. The others follow in the order of the
/// seams.
const FIRST_KEYWORDS: [&str; 12] = [
    "disable",
    "hold",
    "hang",
    "silence",
    "refuse",
    "lose",
    "drop",
    "reset",
    "close",
    "drip",
    "malformed_json",
    "bad_content_length",
];

/// The keywords with parameters that are listed first.
const FIRST_WITH_PARAMETERS: [&str; 12] = [
    "delay",
    "status",
    "result",
    "hold",
    "occupy",
    "limit",
    "exception",
    "reset",
    "close",
    "stall",
    "cut",
    "drip",
];

/// A keyword, with the text of each place that has it.
struct KeywordEntry {
    keyword: &'static str,
    /// The places in the order of the seams, each with its text.
    texts: Vec<(&'static str, &'static str)>,
    parameters: Option<ParameterType>,
}

impl KeywordEntry {
    /// Returns the text of the schema. Places with the same text share it.
    fn description(&self) -> String {
        let mut shared: Vec<(String, &str)> = Vec::new();
        for (place, text) in &self.texts {
            match shared.iter_mut().find(|(_, other)| other == text) {
                Some((places, _)) => *places = format!("{places}, {place}"),
                None => shared.push(((*place).to_owned(), text)),
            }
        }
        let texts: Vec<_> =
            shared.into_iter().map(|(places, text)| format!("{places}: {text}")).collect();
        texts.join(" ")
    }
}

static KEYWORDS: LazyLock<Vec<KeywordEntry>> = LazyLock::new(|| {
    compose(seam::forms().filter(|form| form.parameters.is_none()), &FIRST_KEYWORDS)
});

static KEYWORDS_WITH_PARAMETERS: LazyLock<Vec<KeywordEntry>> = LazyLock::new(|| {
    compose(seam::forms().filter(|form| form.parameters.is_some()), &FIRST_WITH_PARAMETERS)
});

fn compose(forms: impl Iterator<Item = FormEntry>, first: &[&str]) -> Vec<KeywordEntry> {
    let mut entries: Vec<KeywordEntry> = Vec::new();
    for FormEntry { place, keyword, text, parameters } in forms {
        match entries.iter_mut().find(|entry| entry.keyword == keyword) {
            Some(entry) => entry.texts.push((place, text)),
            None => entries.push(KeywordEntry { keyword, texts: vec![(place, text)], parameters }),
        }
    }
    let rank = |keyword| first.iter().position(|listed| *listed == keyword).unwrap_or(first.len());
    entries.sort_by_key(|entry| rank(entry.keyword));
    entries
}

impl WrittenEffect {
    /// Returns the keyword of the effect.
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Word(EffectKeyword(keyword))
            | Self::Map(EffectWithParameters { keyword, .. }) => keyword,
        }
    }
}

impl EffectKeyword {
    /// Returns the effect with this keyword. `None` if there is none.
    #[must_use]
    pub fn named(keyword: &str) -> Option<Self> {
        KEYWORDS.iter().find(|entry| entry.keyword == keyword).map(|entry| Self(entry.keyword))
    }
}

impl EffectWithParameters {
    /// Returns the effect of `keyword` with these parameters. `None` if no such keyword has parameters, or
    /// if they are not of its type.
    #[must_use]
    pub fn new(keyword: &str, parameters: impl Serialize) -> Option<Self> {
        let entry = KEYWORDS_WITH_PARAMETERS.iter().find(|entry| entry.keyword == keyword)?;
        let parameters = serde_json::to_value(parameters).ok()?;
        let parameters = entry.parameters.as_ref()?.normalize(parameters).ok()?;
        Some(Self { keyword: entry.keyword, parameters })
    }
}

impl Serialize for EffectKeyword {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for EffectKeyword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keyword = Cow::<str>::deserialize(deserializer)?;
        Self::named(&keyword)
            .ok_or_else(|| D::Error::custom(format_args!("unknown word `{keyword}`")))
    }
}

impl Serialize for EffectWithParameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.keyword, &self.parameters)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for EffectWithParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EffectWithParametersVisitor)
    }
}

struct EffectWithParametersVisitor;

impl<'de> Visitor<'de> for EffectWithParametersVisitor {
    type Value = EffectWithParameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping with exactly one key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EffectWithParameters, A::Error> {
        let keyword: String = map.next_key()?.ok_or_else(|| A::Error::custom("expected a key"))?;
        let entry = KEYWORDS_WITH_PARAMETERS.iter().find(|entry| entry.keyword == keyword);
        let Some(KeywordEntry { keyword, parameters: Some(parameters), .. }) = entry else {
            return Err(A::Error::custom(format_args!("unknown `{keyword}`")));
        };
        // A seed, so that an error has the path of the parameters.
        let parameters = map.next_value_seed(ParametersSeed(parameters))?;
        Ok(EffectWithParameters { keyword, parameters })
    }
}

struct ParametersSeed<'a>(&'a ParameterType);

impl<'de> DeserializeSeed<'de> for ParametersSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = Value::deserialize(deserializer)?;
        self.0.normalize(value).map_err(D::Error::custom)
    }
}

impl JsonSchema for EffectKeyword {
    fn schema_name() -> Cow<'static, str> {
        "EffectWord".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let keyword = |entry: &KeywordEntry| {
            json!({
                "type": "string",
                "const": entry.keyword,
                "description": entry.description(),
            })
        };
        let keywords: Vec<_> = KEYWORDS.iter().map(keyword).collect();
        json_schema!({ "oneOf": keywords, "description": "An effect without parameters." })
    }
}

impl JsonSchema for EffectWithParameters {
    fn schema_name() -> Cow<'static, str> {
        "EffectOf".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut forms = Vec::with_capacity(KEYWORDS_WITH_PARAMETERS.len());
        for entry in &*KEYWORDS_WITH_PARAMETERS {
            let Some(parameters) = &entry.parameters else { continue };
            let parameters = parameters.schema(generator).to_value();
            forms.push(json!({
                "type": "object",
                "properties": { entry.keyword: parameters },
                "required": [entry.keyword],
                "additionalProperties": false,
                "description": entry.description(),
            }));
        }
        json_schema!({ "oneOf": forms, "description": "An effect with its parameters; exactly one." })
    }
}
