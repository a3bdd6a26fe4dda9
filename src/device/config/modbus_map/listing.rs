//! Writes a register map as JSON.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::{MapWordOrder, MappedRegister, RegisterMap, RegisterSet};

/// The format of addresses in the detailed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressFormat {
    /// Numbers.
    Dec,
    /// Strings such as `"0x0001"`.
    Hex,
}

/// The JSON form of a map in the API (MODBUS-5).
#[derive(Debug, Clone, Copy)]
pub enum Listing<'a> {
    /// The form that a POST accepts. The default word order is omitted, because a device omits it in
    /// a map that was sent without it.
    Compact(&'a RegisterMap),
    /// The form with the address and size of each register.
    Detailed {
        /// The map.
        map: &'a RegisterMap,
        /// The format of addresses.
        addresses: AddressFormat,
        /// `true` if the firmware supports word orders.
        word_order: bool,
    },
}

impl Serialize for Listing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Compact(map) => serializer.collect_seq(map.sets().iter().map(compact)),
            Self::Detailed { map, addresses, word_order } => {
                let mut items = serializer.serialize_seq(Some(map.sets().len()))?;
                for set in map.sets() {
                    items.serialize_element(&detailed(set, addresses, word_order))?;
                }
                items.end()
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct ListedSet<'a, R> {
    start_address: FormattedAddress,
    #[serde(skip_serializing_if = "Option::is_none")]
    word_order: Option<&'a str>,
    #[serde(flatten)]
    extent: Option<Extent>,
    registers: Vec<R>,
}

#[derive(Debug, Serialize)]
struct Extent {
    /// The address after the last register.
    end_address: FormattedAddress,
    size: u32,
}

#[derive(Debug, Serialize)]
struct ListedRegister<'a> {
    id: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scaler: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<FormattedAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
struct FormattedAddress(u32, AddressFormat);

impl Serialize for FormattedAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            AddressFormat::Dec => serializer.serialize_u32(self.0),
            AddressFormat::Hex => serializer.collect_str(&format_args!("0x{:04X}", self.0)),
        }
    }
}

fn compact(set: &RegisterSet) -> ListedSet<'static, ListedRegister<'static>> {
    ListedSet {
        start_address: FormattedAddress(set.start_address.into(), AddressFormat::Dec),
        word_order: (set.word_order != MapWordOrder::default()).then(|| set.word_order.name()),
        extent: None,
        registers: set.registers.iter().copied().map(listed).collect(),
    }
}

fn detailed(
    set: &RegisterSet,
    format: AddressFormat,
    word_order: bool,
) -> ListedSet<'static, ListedRegister<'static>> {
    let start = u32::from(set.start_address);
    let mut next = start;
    let registers = set.registers.iter().map(|register| {
        let address = Some(FormattedAddress(next, format));
        let words = register.words();
        next += u32::from(words);
        ListedRegister { address, size: Some(words), ..listed(*register) }
    });
    ListedSet {
        start_address: FormattedAddress(start, format),
        word_order: word_order.then(|| set.word_order.name()),
        registers: registers.collect(),
        extent: Some(Extent {
            end_address: FormattedAddress(start + set.words(), format),
            size: set.words(),
        }),
    }
}

/// Returns a register without address and size. Only numbers have a type and a scaler.
fn listed(register: MappedRegister) -> ListedRegister<'static> {
    let is_number = register.id.byte_len().is_none();
    ListedRegister {
        id: register.id.name(),
        number: is_number.then(|| register.number.name()),
        scaler: is_number.then_some(register.scaler),
        address: None,
        size: None,
    }
}
