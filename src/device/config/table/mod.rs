//! Field tables: one statement per field of what the API takes, keeps and shows.
//!
//! An [`Object`] is what one path of the API reads and writes: a table of [`Field`]s over a typed part
//! of the [`Config`]. From the table come the reading of a PUT or POST ([`Object::apply`]), what a GET
//! shows ([`Object::print`]), the JSON Schema ([`Object::schema`]) and, from that, the documentation.
//! Defaults are not in the table: they are those of the typed configuration itself
//! ([`Config::factory`]).

mod apply;
mod kind;
mod print;
mod schema;

use super::Config;
use crate::device::DeviceId;
use crate::device::Feature;
use crate::device::network::Site;
use crate::problem::Problem;

pub use self::apply::{Applied, Write};
pub use self::kind::{FieldKind, FieldUnit, TextRule};
pub use self::schema::SchemaSide;

/// What one path of the API reads and writes.
#[derive(Debug)]
pub struct Object<T: 'static> {
    /// What the journal calls it, as `settings`.
    pub name: &'static str,
    /// Its fields, in the order in which they are shown; those of one group stand together.
    pub fields: &'static [Field<T>],
    /// What a POST puts where it names nothing.
    pub left_out: Unset,
    /// Where in the configuration it is.
    pub of: Lens<Config, T>,
    /// What holds between its fields, and between it and what is around it: the last step of a
    /// write, which may set right or refuse.
    pub rules: fn(&mut T, &WriteContext<'_>) -> Result<(), Problem>,
}

/// What a write is judged by beside itself.
#[derive(Debug, Clone, Copy)]
pub struct WriteContext<'a> {
    /// The configuration in force; none while a scenario is read.
    pub before: Option<&'a Config>,
    /// The device's id, which some defaults are made from.
    pub id: &'a DeviceId,
    /// What the device is plugged into.
    pub site: &'a Site,
}

/// A field.
#[derive(Debug)]
pub struct Field<T: 'static> {
    /// Its keys from the top of the object, as `services.sd.enable`.
    pub path: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// What it holds and where.
    pub kind: FieldKind<T>,
    /// What firmware must have for the field to be there.
    pub needs: Option<Feature>,
    /// Whether it is never shown.
    pub secret: bool,
    /// What a POST puts there that does not name it; the object's unless set.
    pub left_out: Option<Unset>,
    /// Another path that a write may call it by; the path itself wins.
    pub alias: Option<&'static str>,
    /// Whether it is kept and shown, and nothing here goes by it.
    pub stored_only: bool,
}

/// What a POST puts where it names nothing (SETTING-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// Zero, empty or false; the default where the range excludes that.
    Zero,
    /// The default.
    Default,
}

/// The way to a part of a value, for reading and for writing.
#[derive(Debug)]
pub struct Lens<T: 'static, V: 'static> {
    /// Reads it.
    pub get: fn(&T) -> &V,
    /// Gives it to be written.
    pub get_mut: fn(&mut T) -> &mut V,
}

// By hand: a derive would ask T and V to be `Copy`.
impl<T, V> Clone for Lens<T, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, V> Copy for Lens<T, V> {}

/// The [`Lens`] of a field, as `lens!(system.name)`; of the whole, `lens!()`.
macro_rules! lens {
    ($($part:ident).*) => {
        $crate::device::config::table::Lens {
            get: |whole| &whole $(.$part)*,
            get_mut: |whole| &mut whole $(.$part)*,
        }
    };
}

/// A whole number that is held in any integer type: `whole!(services.sd.frequency, 1..=1440)`.
macro_rules! whole {
    ($($part:ident).+, $range:expr) => {
        $crate::device::config::table::FieldKind::Whole {
            get: |whole| i64::from(whole.$($part).+),
            // The range lies within the type, so that nothing is ever kept back here.
            set: |whole, number| {
                if let Ok(number) = number.try_into() {
                    whole.$($part).+ = number;
                }
            },
            range: $range,
        }
    };
}

/// One of the words of an enumeration with `NAMES`: `word!(parity, Parity)`.
macro_rules! word {
    ($($part:ident).+, $type:ty) => {
        $crate::device::config::table::FieldKind::Word {
            word: |index| <$type>::NAMES.get(index).map(|(word, _)| *word),
            get: |whole| {
                <$type>::NAMES.iter().position(|(_, one)| *one == whole.$($part).+).unwrap_or(0)
            },
            set: |whole, index| {
                if let Some((_, one)) = <$type>::NAMES.get(index) {
                    whole.$($part).+ = *one;
                }
            },
        }
    };
}

pub(crate) use {lens, whole, word};

impl<T> Field<T> {
    /// A field that every firmware has and every GET shows.
    #[must_use]
    pub const fn new(path: &'static str, kind: FieldKind<T>, about: &'static str) -> Self {
        Self {
            path,
            about,
            kind,
            needs: None,
            secret: false,
            left_out: None,
            alias: None,
            stored_only: false,
        }
    }

    /// The same where only firmware with `feature` has it.
    #[must_use]
    pub const fn needs(mut self, feature: Feature) -> Self {
        self.needs = Some(feature);
        self
    }

    /// The same, never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The same, and nothing goes by it: there is nothing in a house that it could have an effect on.
    #[must_use]
    pub const fn stored_only(mut self) -> Self {
        self.stored_only = true;
        self
    }

    /// The same with its default where a POST does not name it.
    #[must_use]
    pub const fn or_default(mut self) -> Self {
        self.left_out = Some(Unset::Default);
        self
    }

    /// The same with another path that a write may call it by.
    #[must_use]
    pub const fn or_called(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// Whether a device of this firmware has it.
    #[must_use]
    pub fn exists(&self, firmware: crate::device::Firmware) -> bool {
        self.needs.is_none_or(|feature| feature.since() <= firmware)
    }

    /// Whether it stands in the group at `path`.
    #[must_use]
    pub fn is_within(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
    }
}
