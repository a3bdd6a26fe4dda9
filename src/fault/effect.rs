//! Effects as they are written, those of all seams together.
//!
//! A rule's effect is read before its place is known, so the language has one list of words. It is
//! composed from the tables of the seams: a word that several of them know is one entry, and its text
//! says what the word does at each place.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::form::{FigureType, FormEntry};
use super::seam;
use crate::notation::Choice;

/// An effect as it is written.
pub type WrittenEffect = Choice<EffectWord, EffectFigures>;

/// An effect that needs no figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectWord(pub(super) &'static str);

/// An effect with its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectFigures {
    pub(super) word: &'static str,
    /// The figures in the form in which their type writes them.
    pub(super) figures: Value,
}

/// The words that the schema and the reference list first. The others follow in the order of the
/// seams.
const FIRST_WORDS: [&str; 12] = [
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

/// The words with figures that are listed first.
const FIRST_FIGURES: [&str; 12] = [
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

/// A word with what it does at each place that knows it.
struct WordEntry {
    word: &'static str,
    /// Places in the order of the seams, and their text.
    texts: Vec<(&'static str, &'static str)>,
    figures: Option<FigureType>,
}

impl WordEntry {
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

static WORDS: LazyLock<Vec<WordEntry>> =
    LazyLock::new(|| compose(seam::forms().filter(|form| form.figures.is_none()), &FIRST_WORDS));

static FIGURES: LazyLock<Vec<WordEntry>> =
    LazyLock::new(|| compose(seam::forms().filter(|form| form.figures.is_some()), &FIRST_FIGURES));

fn compose(forms: impl Iterator<Item = FormEntry>, first: &[&str]) -> Vec<WordEntry> {
    let mut entries: Vec<WordEntry> = Vec::new();
    for FormEntry { place, word, text, figures } in forms {
        match entries.iter_mut().find(|entry| entry.word == word) {
            Some(entry) => entry.texts.push((place, text)),
            None => entries.push(WordEntry { word, texts: vec![(place, text)], figures }),
        }
    }
    let rank = |word| first.iter().position(|listed| *listed == word).unwrap_or(first.len());
    entries.sort_by_key(|entry| rank(entry.word));
    entries
}

impl WrittenEffect {
    /// Returns the word of the effect.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Word(EffectWord(word)) | Self::Map(EffectFigures { word, .. }) => word,
        }
    }
}

impl EffectWord {
    /// Returns the effect of this word, or `None` if there is none.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        WORDS.iter().find(|entry| entry.word == word).map(|entry| Self(entry.word))
    }
}

impl EffectFigures {
    /// Returns the effect of `word` with these figures. `None` if no such word takes figures, or not
    /// these.
    #[must_use]
    pub fn new(word: &str, figures: impl Serialize) -> Option<Self> {
        let entry = FIGURES.iter().find(|entry| entry.word == word)?;
        let figures = serde_json::to_value(figures).ok()?;
        let figures = entry.figures.as_ref()?.normalize(figures).ok()?;
        Some(Self { word: entry.word, figures })
    }
}

impl Serialize for EffectWord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for EffectWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<str>::deserialize(deserializer)?;
        Self::named(&word).ok_or_else(|| D::Error::custom(format_args!("unknown word `{word}`")))
    }
}

impl Serialize for EffectFigures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.word, &self.figures)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for EffectFigures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EffectFiguresVisitor)
    }
}

struct EffectFiguresVisitor;

impl<'de> Visitor<'de> for EffectFiguresVisitor {
    type Value = EffectFigures;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping with exactly one key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EffectFigures, A::Error> {
        let word: String = map.next_key()?.ok_or_else(|| A::Error::custom("expected a key"))?;
        let entry = FIGURES.iter().find(|entry| entry.word == word);
        let Some(WordEntry { word, figures: Some(figures), .. }) = entry else {
            return Err(A::Error::custom(format_args!("unknown `{word}`")));
        };
        // A seed, so that an error has the path of the figures.
        let figures = map.next_value_seed(FiguresSeed(figures))?;
        Ok(EffectFigures { word, figures })
    }
}

struct FiguresSeed<'a>(&'a FigureType);

impl<'de> DeserializeSeed<'de> for FiguresSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = Value::deserialize(deserializer)?;
        self.0.normalize(value).map_err(D::Error::custom)
    }
}

impl JsonSchema for EffectWord {
    fn schema_name() -> Cow<'static, str> {
        "EffectWord".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let word = |entry: &WordEntry| {
            json!({
                "type": "string",
                "const": entry.word,
                "description": entry.description(),
            })
        };
        let words: Vec<_> = WORDS.iter().map(word).collect();
        json_schema!({ "oneOf": words, "description": "An effect that needs no figures." })
    }
}

impl JsonSchema for EffectFigures {
    fn schema_name() -> Cow<'static, str> {
        "EffectOf".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut forms = Vec::with_capacity(FIGURES.len());
        for entry in &*FIGURES {
            let Some(figures) = &entry.figures else { continue };
            let figures = figures.schema(generator).to_value();
            forms.push(json!({
                "type": "object",
                "properties": { entry.word: figures },
                "required": [entry.word],
                "additionalProperties": false,
                "description": entry.description(),
            }));
        }
        json_schema!({ "oneOf": forms, "description": "An effect with its figures; exactly one." })
    }
}
