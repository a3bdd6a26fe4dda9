//! The written forms of effects.
//!
//! A seam lists its effects once, as a table of written forms: the keyword, the text of the schema, and
//! the conversion between the parameters and the effect. Everything that concerns the scenario language
//! follows from these tables: the schema and the reference, parsing, error texts, and the rules that the
//! control plane returns.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::delay::DelayParameters;
use super::effect::{EffectKeyword, EffectWithParameters, WrittenEffect};
use super::engine::SeamEffect;
use crate::notation::Choice;
use crate::problem::Problem;

/// One way to write an effect.
pub(super) struct WrittenForm<E> {
    keyword: &'static str,
    /// The text of the schema, without the name of the place.
    text: &'static str,
    kind: FormKind<E>,
}

enum FormKind<E> {
    /// The keyword alone.
    Keyword(E),
    /// A mapping of the keyword to parameters.
    Parameters { parameters: ParameterType, read: ReadParameters<E>, write: WriteParameters<E> },
    /// Parameters that this keyword has at other seams only, and the error text that says so.
    Refused(&'static str),
}

type ReadParameters<E> = Box<dyn Fn(&Value) -> Result<E, Problem> + Send + Sync>;
type WriteParameters<E> = Box<dyn Fn(&E) -> Option<Value> + Send + Sync>;

/// The type of an effect's parameters.
#[derive(Clone)]
pub(super) struct ParameterType {
    subschema: fn(&mut SchemaGenerator) -> Schema,
    least: Option<Value>,
    most: Option<Value>,
    normalize: fn(Value) -> serde_json::Result<Value>,
}

impl ParameterType {
    fn new<T: Serialize + DeserializeOwned + JsonSchema>() -> Self {
        Self {
            subschema: SchemaGenerator::subschema_for::<T>,
            least: None,
            most: None,
            normalize: |value| serde_json::to_value(serde_json::from_value::<T>(value)?),
        }
    }

    /// Returns the schema of the parameters.
    pub(super) fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let mut schema = (self.subschema)(generator);
        for (keyword, bound) in [("minimum", &self.least), ("maximum", &self.most)] {
            if let Some(bound) = bound {
                schema.insert(keyword.to_owned(), bound.clone());
            }
        }
        schema
    }

    /// Parses parameters and serializes them again, so that equal parameters are equal values.
    pub(super) fn normalize(&self, value: Value) -> serde_json::Result<Value> {
        (self.normalize)(value)
    }
}

impl<E> WrittenForm<E> {
    /// Creates the form of a keyword alone.
    pub(super) fn keyword(keyword: &'static str, text: &'static str, effect: E) -> Self {
        Self { keyword, text, kind: FormKind::Keyword(effect) }
    }

    /// Creates the form of a mapping of `keyword` to parameters of type `T`. `write` returns `None` for each
    /// effect that this form does not express.
    pub(super) fn with_parameters<T: Serialize + DeserializeOwned + JsonSchema>(
        keyword: &'static str,
        text: &'static str,
        read: impl Fn(T) -> Result<E, Problem> + Send + Sync + 'static,
        write: impl Fn(&E) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let read = move |value: &Value| {
            let parameters = T::deserialize(value);
            read(parameters.map_err(|error| Problem::of_document(error.to_string()))?)
        };
        let write = move |effect: &E| serde_json::to_value(write(effect)?).ok();
        let kind = FormKind::Parameters {
            parameters: ParameterType::new::<T>(),
            read: Box::new(read),
            write: Box::new(write),
        };
        Self { keyword, text, kind }
    }

    /// Creates the form of a delay, which is the same at every seam.
    pub(super) fn delay(
        text: &'static str,
        effect: impl Fn(super::Delay) -> E + Send + Sync + 'static,
    ) -> Self
    where
        E: SeamEffect,
    {
        Self::with_parameters(
            "delay",
            text,
            move |parameters: DelayParameters| Ok(effect(parameters.try_into()?)),
            |effect| effect.delay().map(DelayParameters::from),
        )
    }

    /// Refuses the parameters that `keyword` has at other seams, with this error text.
    pub(super) fn refused(keyword: &'static str, message: &'static str) -> Self {
        Self { keyword, text: "", kind: FormKind::Refused(message) }
    }

    /// Sets the smallest number that the parameters may be.
    pub(super) fn at_least(mut self, least: impl Into<Value>) -> Self {
        if let FormKind::Parameters { parameters, .. } = &mut self.kind {
            parameters.least = Some(least.into());
        }
        self
    }

    /// Sets the largest number that the parameters may be.
    pub(super) fn at_most(mut self, most: impl Into<Value>) -> Self {
        if let FormKind::Parameters { parameters, .. } = &mut self.kind {
            parameters.most = Some(most.into());
        }
        self
    }

    /// Returns the keyword.
    pub(super) fn keyword_name(&self) -> &'static str {
        self.keyword
    }
}

/// All written forms of the effects of one kind of place.
pub(super) struct WrittenForms<E> {
    place: &'static str,
    noun: &'static str,
    forms: Vec<WrittenForm<E>>,
}

/// A written form without its effect, for the schema of all seams together.
pub(super) struct FormEntry {
    /// The keyword of the place, such as `slave`.
    pub place: &'static str,
    pub keyword: &'static str,
    pub text: &'static str,
    /// `None` if the form is the keyword alone.
    pub parameters: Option<ParameterType>,
}

impl<E: Clone + PartialEq> WrittenForms<E> {
    /// Creates the list of the written forms of a place. `place` is its keyword and `noun` its name in error
    /// texts. An effect is written in the first form that expresses it.
    pub(super) fn new(place: &'static str, noun: &'static str, forms: Vec<WrittenForm<E>>) -> Self {
        Self { place, noun, forms }
    }

    /// Returns the name of the place in error texts.
    pub(super) fn noun(&self) -> &'static str {
        self.noun
    }

    /// Returns the keywords, each once.
    pub(super) fn keywords(&self) -> Vec<&'static str> {
        let mut keywords = Vec::new();
        for form in &self.forms {
            if !keywords.contains(&form.keyword) {
                keywords.push(form.keyword);
            }
        }
        keywords
    }

    /// Parses a written effect.
    ///
    /// # Errors
    /// The problem of the parameters, or that the place does not have this form.
    pub(super) fn read(&self, written: &WrittenEffect) -> Result<E, Problem> {
        let forms = || self.forms.iter().filter(|form| form.keyword == written.keyword());
        match written {
            Choice::Word(_) => {
                for form in forms() {
                    if let FormKind::Keyword(effect) = &form.kind {
                        return Ok(effect.clone());
                    }
                }
            }
            Choice::Map(EffectWithParameters { parameters, .. }) => {
                for form in forms() {
                    match &form.kind {
                        FormKind::Parameters { read, .. } => return read(parameters),
                        FormKind::Refused(message) => return Err(Problem::of_document(*message)),
                        FormKind::Keyword(_) => {}
                    }
                }
            }
        }
        Err(Problem::of_document("this form of the effect does not fit here"))
    }

    /// Returns the written form of an effect.
    pub(super) fn write(&self, effect: &E) -> WrittenEffect {
        let written = self.forms.iter().find_map(|form| match &form.kind {
            FormKind::Keyword(own) => {
                (own == effect).then_some(Choice::Word(EffectKeyword(form.keyword)))
            }
            FormKind::Parameters { write, .. } => write(effect).map(|parameters| {
                Choice::Map(EffectWithParameters { keyword: form.keyword, parameters })
            }),
            FormKind::Refused(_) => None,
        });
        // A variant that no form reads or writes cannot come from a scenario.
        written.unwrap_or(Choice::Word(EffectKeyword("")))
    }

    /// Returns the forms without their effects.
    pub(super) fn entries(&self) -> impl Iterator<Item = FormEntry> {
        self.forms.iter().filter_map(|form| {
            let parameters = match &form.kind {
                FormKind::Keyword(_) => None,
                FormKind::Parameters { parameters, .. } => Some(parameters.clone()),
                FormKind::Refused(_) => return None,
            };
            Some(FormEntry {
                place: self.place,
                keyword: form.keyword,
                text: form.text,
                parameters,
            })
        })
    }
}
