//! The written forms of effects.
//!
//! A seam lists its effects once, as a table of forms: the word, the text of the schema, and the way
//! between the figures and the effect. Everything that concerns the scenario language follows from
//! these tables: the schema and the reference, parsing, error texts, and the form in which the
//! control plane returns a rule.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::delay::DelayFigures;
use super::effect::{EffectFigures, EffectWord, WrittenEffect};
use super::engine::SeamEffect;
use crate::notation::Choice;
use crate::problem::Problem;

/// One way to write an effect.
pub(super) struct EffectForm<E> {
    word: &'static str,
    /// The text of the schema, without the name of the place.
    text: &'static str,
    kind: FormKind<E>,
}

enum FormKind<E> {
    /// A bare word.
    Word(E),
    /// A mapping of the word to figures.
    Figures { figures: FigureType, read: ReadFigures<E>, write: WriteFigures<E> },
    /// Figures that another seam takes under this word, and the error text that says so.
    Refused(&'static str),
}

type ReadFigures<E> = Box<dyn Fn(&Value) -> Result<E, Problem> + Send + Sync>;
type WriteFigures<E> = Box<dyn Fn(&E) -> Option<Value> + Send + Sync>;

/// The type of an effect's figures.
#[derive(Clone)]
pub(super) struct FigureType {
    subschema: fn(&mut SchemaGenerator) -> Schema,
    least: Option<Value>,
    most: Option<Value>,
    normalize: fn(Value) -> serde_json::Result<Value>,
}

impl FigureType {
    fn new<T: Serialize + DeserializeOwned + JsonSchema>() -> Self {
        Self {
            subschema: SchemaGenerator::subschema_for::<T>,
            least: None,
            most: None,
            normalize: |value| serde_json::to_value(serde_json::from_value::<T>(value)?),
        }
    }

    /// Returns the schema of the figures.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let mut schema = (self.subschema)(generator);
        for (keyword, bound) in [("minimum", &self.least), ("maximum", &self.most)] {
            if let Some(bound) = bound {
                schema.insert(keyword.to_owned(), bound.clone());
            }
        }
        schema
    }

    /// Parses figures and writes them again, so that equal figures are equal values.
    pub fn normalize(&self, value: Value) -> serde_json::Result<Value> {
        (self.normalize)(value)
    }
}

impl<E> EffectForm<E> {
    /// A bare word.
    pub fn word(word: &'static str, text: &'static str, effect: E) -> Self {
        Self { word, text, kind: FormKind::Word(effect) }
    }

    /// A mapping of `word` to figures of type `T`. `write` returns `None` for every effect that this
    /// form does not express.
    pub fn figures<T: Serialize + DeserializeOwned + JsonSchema>(
        word: &'static str,
        text: &'static str,
        read: impl Fn(T) -> Result<E, Problem> + Send + Sync + 'static,
        write: impl Fn(&E) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let read = move |value: &Value| {
            let figures = T::deserialize(value);
            read(figures.map_err(|error| Problem::of_document(error.to_string()))?)
        };
        let write = move |effect: &E| serde_json::to_value(write(effect)?).ok();
        let kind = FormKind::Figures {
            figures: FigureType::new::<T>(),
            read: Box::new(read),
            write: Box::new(write),
        };
        Self { word, text, kind }
    }

    /// The form of a delay, which is the same at every seam.
    pub fn delay(
        text: &'static str,
        effect: impl Fn(super::Delay) -> E + Send + Sync + 'static,
    ) -> Self
    where
        E: SeamEffect,
    {
        Self::figures(
            "delay",
            text,
            move |figures: DelayFigures| Ok(effect(figures.try_into()?)),
            |effect| effect.delay().map(DelayFigures::from),
        )
    }

    /// Figures that another seam takes under `word`, and the error text for whoever writes them here.
    pub fn refused(word: &'static str, message: &'static str) -> Self {
        Self { word, text: "", kind: FormKind::Refused(message) }
    }

    /// Sets the smallest number that the figures may be.
    pub fn at_least(mut self, least: impl Into<Value>) -> Self {
        if let FormKind::Figures { figures, .. } = &mut self.kind {
            figures.least = Some(least.into());
        }
        self
    }

    /// Sets the largest number that the figures may be.
    pub fn at_most(mut self, most: impl Into<Value>) -> Self {
        if let FormKind::Figures { figures, .. } = &mut self.kind {
            figures.most = Some(most.into());
        }
        self
    }

    /// The word.
    pub fn name(&self) -> &'static str {
        self.word
    }
}

/// All forms of the effects of one kind of place.
pub(super) struct EffectForms<E> {
    place: &'static str,
    noun: &'static str,
    forms: Vec<EffectForm<E>>,
}

/// A form without its effect, for the schema of all seams together.
pub(super) struct FormEntry {
    /// The word of the place, such as `slave`.
    pub place: &'static str,
    pub word: &'static str,
    pub text: &'static str,
    /// `None` for a bare word.
    pub figures: Option<FigureType>,
}

impl<E: Clone + PartialEq> EffectForms<E> {
    /// Lists the forms of a place. `place` is its word and `noun` its name in error texts. An effect
    /// is written in the first form that expresses it.
    pub fn new(place: &'static str, noun: &'static str, forms: Vec<EffectForm<E>>) -> Self {
        Self { place, noun, forms }
    }

    /// The name of the place in error texts.
    pub fn noun(&self) -> &'static str {
        self.noun
    }

    /// Returns the words, each once.
    pub fn words(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        for form in &self.forms {
            if !words.contains(&form.word) {
                words.push(form.word);
            }
        }
        words
    }

    /// Returns the effect that is written.
    ///
    /// # Errors
    /// The problem of the figures, or that the place does not know this form.
    pub fn read(&self, written: &WrittenEffect) -> Result<E, Problem> {
        let forms = || self.forms.iter().filter(|form| form.word == written.word());
        match written {
            Choice::Word(_) => {
                for form in forms() {
                    if let FormKind::Word(effect) = &form.kind {
                        return Ok(effect.clone());
                    }
                }
            }
            Choice::Map(EffectFigures { figures, .. }) => {
                for form in forms() {
                    match &form.kind {
                        FormKind::Figures { read, .. } => return read(figures),
                        FormKind::Refused(message) => return Err(Problem::of_document(*message)),
                        FormKind::Word(_) => {}
                    }
                }
            }
        }
        Err(Problem::of_document("this form of the effect does not fit here"))
    }

    /// Returns the written form of an effect.
    pub fn write(&self, effect: &E) -> WrittenEffect {
        let written = self.forms.iter().find_map(|form| match &form.kind {
            FormKind::Word(own) => (own == effect).then_some(Choice::Word(EffectWord(form.word))),
            FormKind::Figures { write, .. } => {
                write(effect).map(|figures| Choice::Map(EffectFigures { word: form.word, figures }))
            }
            FormKind::Refused(_) => None,
        });
        // Each effect has a form; a test writes and reads all of them.
        written.unwrap_or(Choice::Word(EffectWord("")))
    }

    /// Returns the forms without their effects.
    pub fn entries(&self) -> impl Iterator<Item = FormEntry> {
        self.forms.iter().filter_map(|form| {
            let figures = match &form.kind {
                FormKind::Word(_) => None,
                FormKind::Figures { figures, .. } => Some(figures.clone()),
                FormKind::Refused(_) => return None,
            };
            Some(FormEntry { place: self.place, word: form.word, text: form.text, figures })
        })
    }
}
