//! Scalars with a syntax of their own: durations, ranges, addresses, names.
//!
//! Each is parsed by `FromStr` from the text in the file, whatever its type in YAML (an id of digits
//! only is a number in YAML), and its error says what to write instead. In the schema it has the key
//! `x-scalar`, by which the structural check finds its parser in [`scalar_named`].

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserializer, Serializer};

use super::super::diagnostics::shorten;
use super::site::{AuthText, HtText};
use crate::clock::Speed;
use crate::device::{DeviceId, Firmware, OriginPattern};
use crate::fault::Method;
use crate::outbound::HostAddress;

/// Implements serde and the schema for a type with `FromStr` and `Display`.
macro_rules! scalar {
    ($type:ident, $name:literal, $description:literal, $schema:tt) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::scenario::raw::scalar::serialize_scalar(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::scenario::raw::scalar::deserialize_scalar(deserializer)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!($schema);
                schema.insert("description".into(), $description.into());
                schema.insert("x-scalar".into(), $name.into());
                schema
            }
        }
    };
}

pub(super) use scalar;

/// An error of parsing a scalar: the text, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScalarError(String);

impl ScalarError {
    /// Creates an error with this message.
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

/// Formats a [`ScalarError`].
macro_rules! scalar_error {
    ($($argument:tt)*) => {
        ScalarError(format!($($argument)*))
    };
}

/// Serializes whole numbers as numbers, everything else as text.
pub(super) fn serialize_scalar<S: Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = value.to_string();
    match text.parse::<u64>() {
        // Only if the number has the same text: `007` and `+7` stay texts.
        Ok(number) if number.to_string() == text => serializer.serialize_u64(number),
        _ => serializer.serialize_str(&text),
    }
}

pub(super) fn deserialize_scalar<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    deserializer.deserialize_any(ScalarVisitor(std::marker::PhantomData))
}

struct ScalarVisitor<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word or a number")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<T, E> {
        self.visit_str(&flag.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// A function that checks the text of a scalar.
pub type ScalarCheck = fn(&str) -> Result<(), ScalarError>;

fn check<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<(), ScalarError> {
    text.parse::<T>().map(drop).map_err(ScalarError::new)
}

/// Returns the check of a scalar by its `x-scalar`. `None` if there is no such scalar.
#[must_use]
pub fn scalar_named(name: &str) -> Option<ScalarCheck> {
    Some(match name {
        "Duration" => check::<DurationText>,
        "Range" => check::<RangeText>,
        "Speed" => check::<SpeedText>,
        "Timestamp" => check::<TimestampText>,
        "SocketAddress" => check::<Listen>,
        "Host" => check::<Host>,
        "Text" => check::<PlainText>,
        "Name" => check::<NameText>,
        "DeviceId" => check::<DeviceIdText>,
        "Firmware" => check::<FirmwareText>,
        "Origin" => check::<OriginText>,
        "Method" => check::<MethodWord>,
        "UrlPath" => check::<UrlPath>,
        "Seconds" => check::<Seconds>,
        "UnitId" => check::<UnitId>,
        "Mac" => check::<Mac>,
        "Ht" => check::<HtText>,
        "AuthMode" => check::<AuthText>,
        "TimeOfDay" => check::<TimeOfDay>,
        "Key" => check::<KeyText>,
        "MeterText" => check::<MeterText>,
        _ => return None,
    })
}

/// Returns the check of a mapping's keys by the pattern that the schema has for them. `None` if there
/// is no such pattern.
#[must_use]
pub fn scalar_with_pattern(pattern: &str) -> Option<ScalarCheck> {
    match pattern {
        NameText::PATTERN => Some(check::<NameText>),
        UnitId::PATTERN => Some(check::<UnitId>),
        _ => None,
    }
}

/// A duration: `250ms`, `30s`, `5m`, `2h`, `30d`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurationText(pub Duration);

scalar!(
    DurationText,
    "Duration",
    "A time with its unit: 250ms, 1.5s, 30s, 5m, 2h, 30d. Only 0 goes without.",
    {
        "type": ["string", "integer"],
        "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$|^0$",
        "minimum": 0,
        "maximum": 0,
        "examples": ["250ms", "30s", "5m"],
    }
);

impl DurationText {
    const UNITS: [(&'static str, u128); 5] = [
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60 * 1_000_000_000),
        ("h", 3600 * 1_000_000_000),
        ("d", 86400 * 1_000_000_000),
    ];
    /// The longest duration. Virtual time ends after 584 years, so that several can be added.
    const LONGEST: Duration = Duration::from_hours(36_525 * 24);
}

impl FromStr for DurationText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let excerpt = shorten(text);
        let invalid = || {
            scalar_error!(
                "`{excerpt}` is no time: expected a number with ms, s, m, h or d, as 250ms or 30s"
            )
        };
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, unit) = text.split_at(digits);
        if !number.is_empty() && unit.is_empty() {
            return Err(scalar_error!(
                "`{excerpt}` has no unit: write {excerpt}s for seconds, {excerpt}ms for milliseconds"
            ));
        }
        let (_, nanos) = Self::UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || whole.len() > 18 || fraction.len() > 15 {
            return Err(invalid());
        }
        let whole: u128 = whole.parse().map_err(|_| invalid())?;
        let parts: u128 = fraction.parse().map_err(|_| invalid())?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        if !(parts * nanos).is_multiple_of(scale) {
            return Err(scalar_error!("`{excerpt}` is finer than a nanosecond"));
        }
        let total = whole * nanos + parts * nanos / scale;
        u64::try_from(total)
            .ok()
            .map(Duration::from_nanos)
            .filter(|duration| *duration <= Self::LONGEST)
            .map(Self)
            .ok_or_else(|| scalar_error!("`{excerpt}` is longer than 100 years"))
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0");
        }
        let whole = Self::UNITS.iter().rev().find(|(_, unit)| nanos.is_multiple_of(*unit));
        if let Some((name, unit)) = whole {
            return write!(f, "{}{name}", nanos / unit);
        }
        let fraction = format!("{:06}", nanos % 1_000_000);
        write!(f, "{}.{}ms", nanos / 1_000_000, fraction.trim_end_matches('0'))
    }
}

/// Whole seconds, as in HTTP's `Retry-After`: `30` or `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub u32);

scalar!(Seconds, "Seconds", "Whole seconds: 30, 30s or 5m.", {
    "type": ["integer", "string"],
    "minimum": 0,
    "maximum": u32::MAX,
    "pattern": "^[0-9]+(s|m|h|d)?$",
    "examples": [30, "30s"],
});

impl FromStr for Seconds {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if let Ok(seconds) = text.parse::<u32>() {
            return Ok(Self(seconds));
        }
        let duration = text.parse::<DurationText>()?.0;
        u32::try_from(duration.as_secs())
            .ok()
            .filter(|_| duration.subsec_nanos() == 0)
            .map(Self)
            .ok_or_else(|| {
                scalar_error!("`{}`: expected whole seconds, as 30 or 30s", shorten(text))
            })
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number, or a range that includes both ends: `10`, `10..20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeText {
    /// The first number.
    pub first: u16,
    /// The last number, which is included.
    pub last: u16,
}

scalar!(
    RangeText,
    "Range",
    "A number from 0 to 65535, or a range with both ends included: 10..20.",
    {
        "type": ["integer", "string"],
        "minimum": 0,
        "maximum": 65535,
        "pattern": r"^(0x[0-9A-Fa-f]{1,4}|[0-9]{1,5})(\.\.(0x[0-9A-Fa-f]{1,4}|[0-9]{1,5}))?$",
        "examples": [10, "10..20"],
    }
);

impl RangeText {
    /// Returns the numbers of the range.
    #[must_use]
    pub const fn inclusive(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for RangeText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let excerpt = shorten(text);
        let invalid = || {
            scalar_error!("`{excerpt}`: expected a number from 0 to 65535, or a range as 10..20")
        };
        let number = |text: &str| {
            let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
            u16::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
        };
        let (first, last) = match text.split_once("..") {
            None => (text, text),
            Some((_, last)) if last.starts_with('=') => {
                return Err(scalar_error!("`{excerpt}`: ranges include both ends, write 10..20"));
            }
            Some(ends) => ends,
        };
        let (first, last) = (number(first).ok_or_else(invalid)?, number(last).ok_or_else(invalid)?);
        if first > last {
            return Err(scalar_error!(
                "`{excerpt}` is empty: write the smaller number first, {last}..{first}"
            ));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for RangeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first == self.last { Ok(()) } else { write!(f, "..{}", self.last) }
    }
}

/// The speed of the clock: a number, or `manual`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeedText(pub Speed);

scalar!(
    SpeedText,
    "Speed",
    "Virtual seconds in a real one, above 0 and at most 100000; or manual, and time moves only when told to.",
    {
        "type": ["number", "string"],
        "exclusiveMinimum": 0,
        "maximum": Speed::FASTEST,
        "pattern": "^manual$",
        "examples": [1, 60, "manual"],
    }
);

impl FromStr for SpeedText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if text == "manual" {
            return Ok(Self(Speed::Manual));
        }
        let times = text.parse().map_err(|_| {
            scalar_error!("speed `{}`: expected a number above 0, or `manual`", shorten(text))
        })?;
        Speed::times(times).map(Self).map_err(ScalarError::new)
    }
}

impl fmt::Display for SpeedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampText(pub Timestamp);

scalar!(
    TimestampText,
    "Timestamp",
    "A moment with its offset: 2026-01-15T18:00:00+01:00.",
    { "type": "string", "format": "date-time", "examples": ["2026-01-15T18:00:00+01:00"] }
);

impl FromStr for TimestampText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.parse().map(Self).map_err(|_| {
            scalar_error!(
                "`{}`: expected a date and time with offset, as 2026-01-15T18:00:00+01:00",
                shorten(text)
            )
        })
    }
}

impl fmt::Display for TimestampText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

scalar!(
    Listen,
    "SocketAddress",
    "An IP address and a port: 127.0.0.1:8080. Port 0 is any free one; 0.0.0.0 is reached from outside.",
    { "type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$", "examples": ["127.0.0.1:8080"] }
);

impl FromStr for Listen {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.parse().map(Self).map_err(|_| {
            let excerpt = shorten(text);
            // Many programs accept a bare port and mean all interfaces; here that must be written.
            match text.trim_start_matches(':').parse::<u16>() {
                Ok(port) => scalar_error!(
                    "`{excerpt}` names no interface: write 127.0.0.1:{port}, or 0.0.0.0:{port} to be reached from outside"
                ),
                Err(_) => scalar_error!("`{excerpt}`: expected an IP address and a port, as 127.0.0.1:8080"),
            }
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name or address by which actions reach a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(pub HostAddress);

scalar!(
    Host,
    "Host",
    "A host name or address as actions write it, with or without port: heatpump.local:502. Without, all ports.",
    { "type": "string", "pattern": r"^[A-Za-z0-9._-]+(:[0-9]{1,5})?$", "examples": ["heatpump.local:502", "192.168.99.101"] }
);

impl FromStr for Host {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if text.contains("://") {
            let excerpt = shorten(text);
            return Err(scalar_error!(
                "host `{excerpt}`: expected no scheme and no path, as heatpump.local:502"
            ));
        }
        shorten(text).parse().map(Self).map_err(ScalarError::new)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text, which may be a number or a boolean in YAML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainText(pub String);

scalar!(
    PlainText,
    "Text",
    "Text; a number or a boolean counts as the text it is written as.",
    { "type": ["string", "number", "boolean"] }
);

impl PlainText {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlainText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PlainText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a slave, a target or a rule, which is also part of the control plane's URLs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameText(pub String);

scalar!(
    NameText,
    "Name",
    "A name: 1 to 64 letters, digits, `_`, `-` or `.`.",
    { "type": "string", "pattern": NameText::PATTERN }
);

impl NameText {
    const PATTERN: &'static str = "^[A-Za-z0-9_.-]{1,64}$";
    /// The name that means all slaves or targets in the `at` of a rule.
    pub const ANY: &'static str = "any";

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NameText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if (1..=64).contains(&text.len()) && text.chars().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(scalar_error!(
                "name `{}`: expected 1 to 64 letters, digits, `_`, `-` or `.`",
                shorten(text)
            ))
        }
    }
}

impl fmt::Display for NameText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceIdText(pub DeviceId);

scalar!(
    DeviceIdText,
    "DeviceId",
    "Twelve hexadecimal digits, the MAC address: A842E39F8124.",
    { "type": ["string", "integer"], "pattern": "^[0-9A-Fa-f]{12}$", "examples": ["A842E39F8124"] }
);

impl FromStr for DeviceIdText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        shorten(text).parse().map(Self).map_err(ScalarError::new)
    }
}

impl fmt::Display for DeviceIdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A firmware version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirmwareText(pub Firmware);

scalar!(
    FirmwareText,
    "Firmware",
    "Three numbers: 2.0.2. What the device can do follows from it.",
    { "type": "string", "pattern": r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$", "examples": ["2.0.2", "1.6.1"] }
);

impl FromStr for FirmwareText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        shorten(text).parse().map(Self).map_err(ScalarError::new)
    }
}

impl fmt::Display for FirmwareText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A MAC address, written as the device shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mac(pub DeviceId);

scalar!(
    Mac,
    "Mac",
    "A MAC address: 12 hexadecimal digits.",
    { "type": ["string", "integer"], "pattern": "^[0-9A-Fa-f]{12}$" }
);

impl FromStr for Mac {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.parse().map(Self).map_err(|_| {
            let excerpt = shorten(text);
            scalar_error!(
                "`{excerpt}`: expected a MAC address, 12 hexadecimal digits, as DC15C84FBAB6"
            )
        })
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An origin, or several origins that differ in their port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginText(pub OriginPattern);

scalar!(
    OriginText,
    "Origin",
    "Where a page comes from: http://localhost:5173, with `*` for any port; `null` for pages from a \
     file, `*` for all pages.",
    {
        "type": "string",
        "pattern": r"^(\*|null|[A-Za-z][A-Za-z0-9+.-]*://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:([0-9]{1,5}|\*))?)$",
        "examples": ["http://localhost:5173", "http://localhost:*"],
    }
);

impl FromStr for OriginText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.parse().map(Self).map_err(ScalarError::new)
    }
}

impl fmt::Display for OriginText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodWord(pub Method);

scalar!(
    MethodWord,
    "Method",
    "An HTTP method.",
    {
        "type": "string",
        "enum": [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
            "get", "head", "post", "put", "patch", "delete", "options"
        ],
    }
);

impl FromStr for MethodWord {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let lower = text.to_ascii_lowercase();
        Method::ALL
            .into_iter()
            .find(|method| method.as_str() == text || method.as_str().to_ascii_lowercase() == text)
            .map(Self)
            .ok_or_else(|| {
                let known = Method::ALL.map(Method::as_str);
                match Method::ALL.into_iter().find(|m| m.as_str().eq_ignore_ascii_case(&lower)) {
                    Some(method) => scalar_error!("method `{text}`: write {}", method.as_str()),
                    None => {
                        scalar_error!(
                            "method `{}`: expected one of {}",
                            shorten(text),
                            known.join(", ")
                        )
                    }
                }
            })
    }
}

impl fmt::Display for MethodWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// The path of a URL, without its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPath(pub String);

scalar!(UrlPath, "UrlPath", "A path without its query: /light/0.", {
    "type": "string",
    // Visible ASCII without `#` and `?`.
    "pattern": r"^/[!-\x22$->@-~]*$",
    "examples": ["/light/0"],
});

impl UrlPath {
    /// Returns the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UrlPath {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let excerpt = shorten(text);
        if !text.starts_with('/') {
            Err(scalar_error!("path `{excerpt}`: expected a path that begins with `/`"))
        } else if text.contains(['?', '#']) {
            Err(scalar_error!(
                "path `{excerpt}`: expected a path without query; every query matches"
            ))
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(scalar_error!(
                "path `{excerpt}`: expected visible ASCII only; write %20 for a space"
            ))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A time of day: `07:00`, `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Minutes since midnight, 0 to 1440.
    pub minutes: u16,
}

scalar!(
    TimeOfDay,
    "TimeOfDay",
    "A time of the day, local time: 07:00, 23:30; 24:00 is its end.",
    {
        "type": "string",
        "pattern": "^([01]?[0-9]|2[0-3]):[0-5][0-9]$|^24:00$",
        "examples": ["07:00", "23:30"],
    }
);

impl FromStr for TimeOfDay {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let invalid = || {
            scalar_error!(
                "`{}`: expected a time of the day from 00:00 to 24:00, as 07:00",
                shorten(text)
            )
        };
        let number = |digits: &str, max_digits: usize| {
            let valid = (1..=max_digits).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|_| valid)
        };
        let (hour, minute) = text.split_once(':').ok_or_else(invalid)?;
        let hour = number(hour, 2).ok_or_else(invalid)?;
        let minute = number(minute, 2).filter(|_| minute.len() == 2).ok_or_else(invalid)?;
        let minutes = hour * 60 + minute;
        if minute < 60 && minutes <= 24 * 60 { Ok(Self { minutes }) } else { Err(invalid()) }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

/// A key of 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyText(pub [u8; 16]);

scalar!(KeyText, "Key", "A key of 128 bits: 32 hexadecimal digits, in quotes.", {
    "type": "string",
    "pattern": "^[0-9A-Fa-f]{32}$",
    "examples": ["0123456789ABCDEF0123456789ABCDEF"],
});

impl FromStr for KeyText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let invalid = || {
            let count = text.chars().count();
            // The text is left out, because it may be a secret with a typing error.
            scalar_error!("a key of {count} characters: expected 32 hexadecimal digits, in quotes")
        };
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut key = [0; 16];
        for (index, byte) in key.iter_mut().enumerate() {
            *byte =
                u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| invalid())?;
        }
        if key == [0; 16] {
            return Err(scalar_error!(
                "32 zeros are no key: the device takes them for a cleared one"
            ));
        }
        Ok(Self(key))
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// A text of a meter, short enough for the device's Modbus registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterText(pub String);

scalar!(MeterText, "MeterText", "Up to 24 visible ASCII characters.", {
    "type": ["string", "integer"],
    "pattern": "^[ -~]{0,24}$",
    "minimum": 0,
    "examples": ["LGZ1030784855204"],
});

impl FromStr for MeterText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if text.len() <= 24 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Ok(Self(text.to_owned()));
        }
        let excerpt = shorten(text);
        Err(scalar_error!(
            "`{excerpt}`: expected up to 24 visible ASCII characters, as a meter sends them"
        ))
    }
}

impl fmt::Display for MeterText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A unit id, as the key of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitId(pub u8);

scalar!(
    UnitId,
    "UnitId",
    "A Modbus unit id, 0 to 255.",
    { "type": "string", "pattern": UnitId::PATTERN }
);

impl UnitId {
    const PATTERN: &'static str = "^(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$";
}

impl FromStr for UnitId {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.parse::<u8>().ok().filter(|id| id.to_string() == text).map(Self).ok_or_else(|| {
            scalar_error!("unit `{}`: expected a number from 0 to 255", shorten(text))
        })
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Result<Duration, String> {
        text.parse().map(|DurationText(duration)| duration).map_err(|error| error.to_string())
    }

    #[test]
    fn durations_are_parsed_with_their_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0.000001ms"), Ok(Duration::from_nanos(1)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(duration("30d"), Ok(Duration::from_hours(720)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1 s",
            "1S",
            "1.s",
            ".5s",
            "1..5s",
            "1e3s",
            "400000d",
            "0.0000001ms",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            duration("5"),
            Err("`5` has no unit: write 5s for seconds, 5ms for milliseconds".into())
        );
    }

    #[test]
    fn durations_are_formatted_in_the_largest_whole_unit() {
        for text in ["250ms", "1500ms", "30s", "5m", "2h", "30d", "0", "0.25ms", "1.000001ms"] {
            assert_eq!(text.parse::<DurationText>().unwrap().to_string(), text);
        }
        assert_eq!("90s".parse::<DurationText>().unwrap().to_string(), "90s");
        assert_eq!("60s".parse::<DurationText>().unwrap().to_string(), "1m");
    }

    #[test]
    fn times_of_day_end_at_24_00() {
        for (text, minutes) in [("00:00", 0), ("7:05", 425), ("07:05", 425), ("24:00", 1440)] {
            assert_eq!(text.parse(), Ok(TimeOfDay { minutes }));
        }
        for wrong in ["", "7", "7:5", "24:01", "25:00", "12:60", "-1:00", "+7:00", "007:00", ":00"]
        {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_32_digits_and_not_all_zero() {
        let key = "0123456789abcdef0123456789ABCDEF".parse::<KeyText>().unwrap();
        assert_eq!(key.to_string(), "0123456789ABCDEF0123456789ABCDEF");
        for wrong in
            ["", "0123", "0123456789abcdef0123456789ABCDEX", &"0".repeat(32), &"ä".repeat(16)]
        {
            assert!(wrong.parse::<KeyText>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_include_both_ends() {
        assert_eq!("10..20".parse(), Ok(RangeText { first: 10, last: 20 }));
        assert_eq!("7".parse(), Ok(RangeText { first: 7, last: 7 }));
        assert_eq!("0x10..0xffff".parse(), Ok(RangeText { first: 16, last: 65535 }));
        for wrong in ["", "20..10", "10..=20", "10..", "..5", "70000", "+5", "-1", "1.5"] {
            assert!(wrong.parse::<RangeText>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_listener_needs_an_interface() {
        assert!("127.0.0.1:0".parse::<Listen>().is_ok() && "[::1]:80".parse::<Listen>().is_ok());
        for port in [":8080", "8080"] {
            assert!(port.parse::<Listen>().unwrap_err().to_string().contains("127.0.0.1:8080"));
        }
        assert!("localhost:80".parse::<Listen>().is_err());
    }
}
