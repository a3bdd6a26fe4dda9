//! Field tables: one description of each settings field, from which parsing, output, schema and
//! documentation follow.
//!
//! A [`SettingsObject`] is the object that one path of the API reads and writes: a table of
//! [`Field`]s over a typed part of the [`Config`]. The table parses a PUT or POST
//! ([`SettingsObject::apply`]), writes the reply to a GET ([`SettingsObject::to_json`]) and generates
//! the JSON Schema ([`SettingsObject::schema`]), from which the documentation is generated. The
//! table contains no defaults. They are those of the typed configuration ([`Config::factory`]).

mod apply;
mod kind;
mod schema;
mod to_json;

use super::Config;
use crate::device::{DeviceId, Feature, Firmware};
use crate::problem::Problem;

pub use self::apply::{WriteMode, WriteOutcome};
pub use self::kind::{FieldKind, LengthUnit, TextRule};
pub use self::schema::SchemaSide;

/// The object that one path of the API reads and writes.
#[derive(Debug)]
pub struct SettingsObject<T: 'static> {
    /// The object's name in the journal, such as `settings`.
    pub name: &'static str,
    /// The fields, in output order. Fields of one group are adjacent.
    pub fields: &'static [Field<T>],
    /// The value that a POST gives to a field that it does not contain.
    pub unset: Unset,
    /// The object's place in the configuration.
    pub accessor: Accessor<Config, T>,
    /// The rules between fields, and between the object and its context. They run as the last step
    /// of a write and may correct the object or refuse the write.
    pub normalize: fn(&mut T, &WriteContext<'_>) -> Result<(), Problem>,
}

/// The state beside the object itself that a write depends on.
#[derive(Debug, Clone, Copy)]
pub struct WriteContext<'a> {
    /// The device's id, from which some defaults are derived.
    pub id: &'a DeviceId,
    /// `true` if the Ethernet link is up with the configuration in force. `false` while a scenario is
    /// loaded, because no configuration is in force yet.
    pub ethernet_up: bool,
}

/// A field of a settings object.
#[derive(Debug)]
pub struct Field<T: 'static> {
    /// The keys from the top of the object, such as `services.sd.enable`.
    pub path: &'static str,
    /// One sentence of documentation.
    pub description: &'static str,
    /// The type of the field's value and its place in the object.
    pub kind: FieldKind<T>,
    /// The feature that the firmware must have; `None` if every firmware has the field.
    pub required_feature: Option<Feature>,
    /// `true` if replies omit the field.
    pub secret: bool,
    /// The value that a POST without the field gives to it; `None` for that of the object.
    pub unset: Option<Unset>,
    /// A second path that a write may use. If a write contains both, the path itself wins.
    pub alias: Option<&'static str>,
    /// `true` if the field is stored and returned, but has no effect.
    pub stored_only: bool,
}

/// The value that a POST gives to a field that it does not contain (SETTING-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// Zero, empty or false; the default if the range excludes that.
    Zero,
    /// The default.
    Default,
}

/// The functions that read and write a part of a value.
#[derive(Debug)]
pub struct Accessor<T: 'static, V: 'static> {
    /// Returns the part.
    pub get: fn(&T) -> &V,
    /// Returns the part for writing.
    pub get_mut: fn(&mut T) -> &mut V,
}

// Written by hand, because a derive would require `T` and `V` to be `Copy`.
impl<T, V> Clone for Accessor<T, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, V> Copy for Accessor<T, V> {}

/// Creates the [`Accessor`] of a field, such as `accessor!(system.name)`; `accessor!()` is that of
/// the whole value.
macro_rules! accessor {
    ($($part:ident).*) => {
        $crate::device::config::table::Accessor {
            get: |object| &object $(.$part)*,
            get_mut: |object| &mut object $(.$part)*,
        }
    };
}

/// Creates the [`FieldKind::Int`] of a field of any integer type:
/// `int!(services.sd.frequency, 1..=1440)`.
macro_rules! int {
    ($($part:ident).+, $range:expr) => {
        $crate::device::config::table::FieldKind::Int {
            get: |object| i64::from(object.$($part).+),
            // The range lies within the type, which a test checks, so the conversion never fails.
            set: |object, number| {
                if let Ok(number) = number.try_into() {
                    object.$($part).+ = number;
                }
            },
            range: $range,
        }
    };
}

/// Creates the [`FieldKind::Enum`] of a field whose type has `NAMES`:
/// `enumeration!(parity, Parity)`.
macro_rules! enumeration {
    ($($part:ident).+, $type:ty) => {
        $crate::device::config::table::FieldKind::Enum {
            name: |index| <$type>::NAMES.get(index).map(|(name, _)| *name),
            get: |object| {
                let mut variants = <$type>::NAMES.iter().map(|(_, variant)| *variant);
                variants.position(|variant| variant == object.$($part).+).unwrap_or(0)
            },
            set: |object, index| {
                if let Some((_, variant)) = <$type>::NAMES.get(index) {
                    object.$($part).+ = *variant;
                }
            },
        }
    };
}

pub(crate) use {accessor, enumeration, int};

impl<T> Field<T> {
    /// Creates a field that every firmware has and every GET returns.
    #[must_use]
    pub const fn new(path: &'static str, kind: FieldKind<T>, description: &'static str) -> Self {
        Self {
            path,
            description,
            kind,
            required_feature: None,
            secret: false,
            unset: None,
            alias: None,
            stored_only: false,
        }
    }

    /// Restricts the field to firmware with `feature`.
    #[must_use]
    pub const fn requires(mut self, feature: Feature) -> Self {
        self.required_feature = Some(feature);
        self
    }

    /// Removes the field from replies.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Marks the field as without effect, because a house has nothing that it could act on.
    #[must_use]
    pub const fn stored_only(mut self) -> Self {
        self.stored_only = true;
        self
    }

    /// Gives the field its default if a POST does not contain it.
    #[must_use]
    pub const fn default_if_unset(mut self) -> Self {
        self.unset = Some(Unset::Default);
        self
    }

    /// Adds a second path that a write may use.
    #[must_use]
    pub const fn with_alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// Returns `true` if a device with this firmware has the field.
    #[must_use]
    pub fn exists_in(&self, firmware: Firmware) -> bool {
        self.required_feature.is_none_or(|feature| feature.since() <= firmware)
    }

    /// Returns `true` if the field is in the group at `path`.
    #[must_use]
    pub fn is_in_group(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::config::{
        ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS,
    };

    /// Sets each integer field to the ends of its range, and returns the number of these fields.
    fn check_ranges<T>(table: &SettingsObject<T>) -> usize {
        let mut config = Config::factory(&DeviceId::from_number(1));
        let object = (table.accessor.get_mut)(&mut config);
        let mut fields = 0;
        for field in table.fields {
            let FieldKind::Int { get, set, range } = &field.kind else { continue };
            fields += 1;
            for bound in [*range.start(), *range.end()] {
                set(object, bound);
                assert_eq!(get(object), bound, "{}", field.path);
            }
        }
        fields
    }

    #[test]
    fn the_type_of_each_integer_field_holds_its_range() {
        let fields = check_ranges(&SETTINGS)
            + check_ranges(&METER_SETTINGS)
            + check_ranges(&MQTT_SETTINGS)
            + check_ranges(&WIFI_SETTINGS)
            + check_ranges(&ETH_SETTINGS);
        assert!(fields >= 7, "only {fields} integer fields");
    }
}
