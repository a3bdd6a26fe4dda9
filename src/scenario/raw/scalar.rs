//! Scalars with a syntax of their own: durations, ranges, addresses, names.
//!
//! Each is parsed by `FromStr` from the text in the file, whatever its type in YAML (an id of digits
//! only is a number in YAML), and its error says what to write instead. In the schema it has the key
//! `x-scalar`, by which the structural check finds its parser in [`scalar_named`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::Timestamp;

use super::device::WhenFullText;
use super::site::{AuthText, HtText};
use crate::clock::Speed;
use crate::device::{DeviceId, Firmware, OriginPattern};
use crate::net::http::Method;
use crate::notation::scalar::{scalar, scalar_error};
use crate::notation::{DurationText, ScalarError, Seconds, Share, shortened};
use crate::outbound::HostAddress;

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
        "WhenFull" => check::<WhenFullText>,
        "Share" => check::<Share>,
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

/// A number, or a range that includes both ends: `10`, `10..20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeText {
    /// The first number.
    pub first: u16,
    /// The last number, which is included.
    pub last: u16,
}

scalar!(
    number RangeText,
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
        let excerpt = shortened(text);
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
    number SpeedText,
    "Speed",
    "Virtual seconds in a real one, above 0 and at most 100000; or manual: time moves only by a call of the control plane.",
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
            scalar_error!("speed `{}`: expected a number above 0, or `manual`", shortened(text))
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
                shortened(text)
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
    "An IP address and a port: 127.0.0.1:8080. Port 0 is any free one; other machines can reach 0.0.0.0.",
    { "type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$", "examples": ["127.0.0.1:8080"] }
);

impl FromStr for Listen {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.parse().map(Self).map_err(|_| {
            let excerpt = shortened(text);
            // Many programs accept a bare port and mean all interfaces; here that must be written.
            if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
                return scalar_error!(
                    "`{excerpt}` names no interface: write 127.0.0.1:{port}, or 0.0.0.0:{port} to be reached from outside"
                );
            }
            match meant_address(text) {
                Some(meant) => scalar_error!(
                    "`{excerpt}`: expected an IP address and a port; write {meant}"
                ),
                None => scalar_error!(
                    "`{excerpt}`: expected an IP address and a port, as 127.0.0.1:8080"
                ),
            }
        })
    }
}

/// Returns the address that was probably meant: by a URL, `localhost`, or an address without its port.
fn meant_address(text: &str) -> Option<SocketAddr> {
    let host = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    let host = host
        .strip_prefix("localhost")
        .map_or_else(|| host.to_owned(), |rest| format!("127.0.0.1{rest}"));
    let bare = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.parse().ok().or_else(|| Some(SocketAddr::new(bare.ok()?, 8080)))
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
    "A host name or address as actions write it, with or without port: heatpump.local:502. Without a port, all ports.",
    { "type": "string", "pattern": r"^[A-Za-z0-9._-]+(:[0-9]{1,5})?$", "examples": ["heatpump.local:502", "192.168.99.101"] }
);

impl FromStr for Host {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if text.contains("://") {
            let excerpt = shortened(text);
            return Err(scalar_error!(
                "host `{excerpt}`: expected no scheme and no path, as heatpump.local:502"
            ));
        }
        shortened(text).parse().map(Self).map_err(ScalarError::new)
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
                shortened(text)
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
        shortened(text).parse().map(Self).map_err(ScalarError::new)
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
    "Three numbers: 2.0.2. The functions of the device depend on it.",
    { "type": "string", "pattern": r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$", "examples": ["2.0.2", "1.6.1"] }
);

impl FromStr for FirmwareText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        shortened(text).parse().map(Self).map_err(ScalarError::new)
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
            let excerpt = shortened(text);
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
    "The origin of a page: http://localhost:5173, with `*` for any port; `null` for pages from a \
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
                            shortened(text),
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
        let excerpt = shortened(text);
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
                shortened(text)
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
        let excerpt = shortened(text);
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
    number UnitId,
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
            scalar_error!("unit `{}`: expected a number from 0 to 255", shortened(text))
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
