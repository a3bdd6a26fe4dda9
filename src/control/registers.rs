//! `slaves/{name}/units/{unit}/{coils|discrete|holding|input}/{address}`: what is in a slave.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Controls;
use super::request::{ControlRequest, bad, missing};
use crate::journal::Event;
use crate::modbus::bank::Table;
use crate::net::http::HttpReply;

/// A place in a slave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterRange {
    /// The slave's name.
    pub slave: String,
    /// The unit id.
    pub unit: u8,
    /// The table.
    pub table: Table,
    /// The first register or bit.
    pub address: u16,
}

/// Why registers could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The house has no such slave.
    #[error("no such slave")]
    NoSlave,
    /// The slave has no such unit.
    #[error("no such unit")]
    NoUnit,
    /// Some of them do not exist.
    #[error("some of these do not exist")]
    NoRegister,
    /// They do not take these values, and why.
    #[error("{0}")]
    Refused(String),
}

/// New values.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    values: Vec<Value>,
}

/// Reads `count` registers, or one.
pub(super) fn get(
    house: &dyn Controls,
    at: &RegisterRange,
    request: &ControlRequest<'_>,
) -> Result<HttpReply, HttpReply> {
    request.only(&["count"])?;
    let count = request.number("count", 1, u16::MAX)?;
    if count == 0 {
        return Err(bad("`count=0`: expected 1 or more"));
    }
    at.check_end(count.into())?;
    show(house, at, count)
}

/// Writes registers, and shows what is there then.
pub(super) fn put(
    house: &dyn Controls,
    at: &RegisterRange,
    request: &ControlRequest<'_>,
) -> Result<HttpReply, HttpReply> {
    request.only(&[])?;
    let Values { values } = request.json(r#"{"values": [20, 21]}"#)?;
    let values: Result<Vec<u16>, HttpReply> =
        values.iter().enumerate().map(|(index, value)| at.value(index, value)).collect();
    let values = values?;
    at.check_end(values.len())?;
    let Some(count) = u16::try_from(values.len()).ok().filter(|count| *count > 0) else {
        return Err(bad("`values`: expected 1 to 65535 of them"));
    };
    house.poke(at, &values).map_err(|error| at.refused(house, error))?;
    house.journal().record(Event::RegistersSet {
        slave: at.slave.as_str().into(),
        unit: at.unit,
        table: at.table.name(),
        address: at.address,
        count: values.len(),
    });
    show(house, at, count)
}

fn show(house: &dyn Controls, at: &RegisterRange, count: u16) -> Result<HttpReply, HttpReply> {
    let values = house.peek(at, count).map_err(|error| at.refused(house, error))?;
    Ok(HttpReply::json(
        StatusCode::OK,
        &json!({
            "slave": at.slave,
            "unit": at.unit,
            "table": at.table.name(),
            "address": at.address,
            "values": values,
        }),
    ))
}

impl RegisterRange {
    /// Whether `count` of them end within the table.
    fn check_end(&self, count: usize) -> Result<(), HttpReply> {
        let first = self.address;
        if usize::from(first) + count <= 0x1_0000 {
            return Ok(());
        }
        Err(bad(&format!("{count} from address {first} on: the last address is 65535")))
    }

    /// A word as a number, a bit as 0, 1, false or true.
    fn value(&self, index: usize, value: &Value) -> Result<u16, HttpReply> {
        let bits = self.table.is_bits();
        let most = if bits { 1 } else { u64::from(u16::MAX) };
        let number = match value {
            Value::Bool(bit) if bits => Some(u64::from(*bit)),
            value => value.as_u64(),
        };
        let number = number.filter(|number| *number <= most);
        number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| {
            let expected = if bits {
                "a bit: 0, 1, false or true"
            } else {
                "a word: a whole number, 0 to 65535, -1 as 65535"
            };
            bad(&format!("`values[{index}]`: {value}: expected {expected}"))
        })
    }

    fn refused(&self, house: &dyn Controls, error: RegisterError) -> HttpReply {
        let slaves = house.summary().slaves;
        match error {
            RegisterError::NoSlave => {
                let names: Vec<String> = slaves.into_iter().map(|slave| slave.name).collect();
                missing("slave", &self.slave, &names)
            }
            RegisterError::NoUnit => {
                let slave = slaves.into_iter().find(|slave| slave.name == self.slave);
                let units: Vec<String> =
                    slave.iter().flat_map(|slave| &slave.units).map(u8::to_string).collect();
                missing("unit", &self.unit.to_string(), &units)
            }
            RegisterError::NoRegister => {
                let message = format!(
                    "unit {} of `{}` has not all of these {}, from address {} on",
                    self.unit,
                    self.slave,
                    if self.table.is_bits() { "bits" } else { "registers" },
                    self.address
                );
                HttpReply::error(StatusCode::NOT_FOUND, "not_found", &message)
            }
            RegisterError::Refused(message) => bad(&message),
        }
    }
}
