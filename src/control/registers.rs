//! `slaves/{name}/units/{unit}/{coils|discrete|holding|input}/{address}`: the registers of a slave.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::{ControlRequest, ControlResult, bad_request, not_found};
use crate::journal::Event;
use crate::modbus::bank::Table;
use crate::net::http::HttpReply;
use crate::peers::Slave;
use crate::runtime::HouseCore;

/// The start of a range of registers, or of bits, of a slave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegisterAddress {
    /// The name of the slave.
    pub(super) slave: String,
    pub(super) unit: u8,
    pub(super) table: Table,
    pub(super) address: u16,
}

/// The body of a PUT.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewValues {
    values: Vec<Value>,
}

/// Reads `count` registers, by default one, as a client would read them.
pub(super) fn get(
    house: &HouseCore,
    start: &RegisterAddress,
    request: &ControlRequest<'_>,
) -> ControlResult {
    request.allow_only(&["count"])?;
    let count = request.number("count", 1, u16::MAX)?;
    if count == 0 {
        return Err(bad_request("`count=0`: expected 1 or more"));
    }
    start.check_end(count.into())?;
    start.read(start.slave(house)?, count)
}

/// Writes registers, also those that a client may not write, and returns their values after that.
/// If one value is refused, nothing is written.
pub(super) fn put(
    house: &HouseCore,
    start: &RegisterAddress,
    request: &ControlRequest<'_>,
) -> ControlResult {
    request.allow_only(&[])?;
    let NewValues { values } = request.json(r#"{"values": [20, 21]}"#)?;
    let values: Result<Vec<u16>, HttpReply> =
        values.iter().enumerate().map(|(index, value)| start.parse(index, value)).collect();
    let values = values?;
    start.check_end(values.len())?;
    let Some(count) = u16::try_from(values.len()).ok().filter(|count| *count > 0) else {
        return Err(bad_request("`values`: expected 1 to 65535 of them"));
    };
    let slave = start.slave(house)?;
    start.peek(slave, count)?;
    let RegisterAddress { unit, table, address, .. } = *start;
    slave.poke(unit, table, address, &values).map_err(|error| bad_request(&error.to_string()))?;
    house.journal().record(Event::SlaveValuesSet {
        slave: start.slave.as_str().into(),
        unit,
        table: table.name(),
        address,
        count: values.len(),
    });
    start.read(slave, count)
}

/// The body of a reply. There may be 65535 values, so no tree is made of them.
#[derive(Debug, Serialize)]
struct RegisterValues<'a> {
    slave: &'a str,
    unit: u8,
    table: &'static str,
    address: u16,
    values: Vec<u16>,
}

impl RegisterAddress {
    /// Returns the slave of the address, or a 404 if the slave or its unit does not exist.
    fn slave<'a>(&self, house: &'a HouseCore) -> Result<&'a Slave, HttpReply> {
        let slave = house.peers().slave(&self.slave).ok_or_else(|| {
            let names: Vec<String> =
                house.peers().slaves().map(|slave| slave.name().to_owned()).collect();
            not_found("slave", &self.slave, &names)
        })?;
        if slave.units().any(|unit| unit == self.unit) {
            return Ok(slave);
        }
        let units: Vec<String> = slave.units().map(|unit| unit.to_string()).collect();
        Err(not_found("unit", &self.unit.to_string(), &units))
    }

    fn read(&self, slave: &Slave, count: u16) -> ControlResult {
        let values = self.peek(slave, count)?;
        let body = RegisterValues {
            slave: &self.slave,
            unit: self.unit,
            table: self.table.name(),
            address: self.address,
            values,
        };
        Ok(HttpReply::json(StatusCode::OK, &body))
    }

    /// Returns the values of `count` registers, bits as 0 and 1, or a 404 if one does not exist.
    fn peek(&self, slave: &Slave, count: u16) -> Result<Vec<u16>, HttpReply> {
        slave.peek(self.unit, self.table, self.address, count).ok_or_else(|| {
            let message = format!(
                "unit {} of `{}` has not all of these {}, from address {} on",
                self.unit,
                self.slave,
                if self.table.is_bits() { "bits" } else { "registers" },
                self.address
            );
            HttpReply::error(StatusCode::NOT_FOUND, "not_found", &message)
        })
    }

    /// Checks that `count` registers end within the table.
    fn check_end(&self, count: usize) -> Result<(), HttpReply> {
        let start = self.address;
        if usize::from(start) + count <= 0x1_0000 {
            return Ok(());
        }
        Err(bad_request(&format!("{count} from address {start} on: the last address is 65535")))
    }

    /// Parses a word, which is a number, or a bit, which is 0, 1, false or true.
    fn parse(&self, index: usize, value: &Value) -> Result<u16, HttpReply> {
        let bits = self.table.is_bits();
        let maximum = if bits { 1 } else { u64::from(u16::MAX) };
        let number = match value {
            Value::Bool(bit) if bits => Some(u64::from(*bit)),
            value => value.as_u64(),
        };
        let number = number.filter(|number| *number <= maximum);
        number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| {
            let expected = if bits {
                "a bit: 0, 1, false or true"
            } else {
                "a word: a whole number, 0 to 65535, -1 as 65535"
            };
            bad_request(&format!("`values[{index}]`: {value}: expected {expected}"))
        })
    }
}
