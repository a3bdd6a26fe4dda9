//! The paths of the control plane.

use hyper::StatusCode;
use percent_encoding::percent_decode_str;

use super::registers::RegisterAddress;
use crate::modbus::bank::Table;
use crate::net::http::HttpReply;
use crate::net::http::Method;

/// A resource of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    Health,
    Description,
    State,
    Scenario,
    Faults,
    Fault(String),
    Registers(RegisterAddress),
    Requests(String),
    Journal,
    JournalWait,
    Clock,
    Reset,
}

impl Resource {
    /// Returns the resource at a path.
    ///
    /// # Errors
    /// Returns a 404 for an unknown path, and a 400 for one with an invalid number or table.
    pub(super) fn parse(path: &str) -> Result<Self, HttpReply> {
        let parts: Option<Vec<String>> =
            path.split('/').skip(1).map(|part| Some(decode(part)?.to_string())).collect();
        let parts = parts.unwrap_or_default();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            ["healthz"] => Ok(Self::Health),
            ["openapi.json"] => Ok(Self::Description),
            ["control", "v1", ref rest @ ..] => match *rest {
                ["state"] => Ok(Self::State),
                ["scenario"] => Ok(Self::Scenario),
                ["faults"] => Ok(Self::Faults),
                ["faults", id] => Ok(Self::Fault(id.to_owned())),
                ["slaves", slave, "units", unit, table, address] => {
                    registers(slave, unit, table, address).map(Self::Registers)
                }
                ["targets", target, "requests"] => Ok(Self::Requests(target.to_owned())),
                ["journal"] => Ok(Self::Journal),
                ["journal", "wait"] => Ok(Self::JournalWait),
                ["clock"] => Ok(Self::Clock),
                ["reset"] => Ok(Self::Reset),
                _ => Err(unknown(path)),
            },
            _ => Err(unknown(path)),
        }
    }

    /// Returns true if a reset of the house changes this resource. The reset itself waits for others on its
    /// own.
    pub(super) fn concerns_house(&self) -> bool {
        !matches!(self, Self::Health | Self::Description | Self::Scenario | Self::Reset)
    }

    /// Returns true if a request for this resource may be in progress for as long as its client likes.
    pub(super) fn may_take_long(&self) -> bool {
        matches!(self, Self::JournalWait | Self::Clock)
    }

    /// Returns the methods of this resource.
    pub(super) fn methods(&self) -> &'static [Method] {
        match self {
            Self::Health
            | Self::Description
            | Self::State
            | Self::Scenario
            | Self::Journal
            | Self::JournalWait => &[Method::Get],
            Self::Faults | Self::Clock => &[Method::Get, Method::Post],
            Self::Fault(_) => &[Method::Get, Method::Patch, Method::Delete],
            Self::Registers(_) => &[Method::Get, Method::Put],
            Self::Requests(_) => &[Method::Get, Method::Delete],
            Self::Reset => &[Method::Post],
        }
    }
}

fn decode(part: &str) -> Option<std::borrow::Cow<'_, str>> {
    percent_decode_str(part).decode_utf8().ok()
}

fn unknown(path: &str) -> HttpReply {
    let message = format!(
        "there is nothing at `{path}`; below /control/v1 there are state, scenario, faults, \
         faults/{{id}}, slaves/{{name}}/units/{{unit}}/{{coils|discrete|holding|input}}/{{address}}, \
         targets/{{name}}/requests, journal, journal/wait, clock and reset"
    );
    HttpReply::error(StatusCode::NOT_FOUND, "not_found", &message)
}

fn registers(
    slave: &str,
    unit: &str,
    table: &str,
    address: &str,
) -> Result<RegisterAddress, HttpReply> {
    let invalid =
        |message: String| HttpReply::error(StatusCode::BAD_REQUEST, "invalid_path", &message);
    let tables =
        [Table::Coils, Table::DiscreteInputs, Table::HoldingRegisters, Table::InputRegisters];
    let found = tables.into_iter().find(|known| known.name() == table);
    Ok(RegisterAddress {
        slave: slave.to_owned(),
        unit: unit
            .parse()
            .map_err(|_| invalid(format!("unit `{unit}`: expected a unit id, 0 to 255")))?,
        table: found.ok_or_else(|| {
            invalid(format!("table `{table}`: expected coils, discrete, holding or input"))
        })?,
        address: address
            .parse()
            .map_err(|_| invalid(format!("address `{address}`: expected a number, 0 to 65535")))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> u16 {
        Resource::parse(path).unwrap_err().status().as_u16()
    }

    #[test]
    fn paths_are_exact_and_their_names_decoded() {
        let at = |path| Resource::parse(path).unwrap();
        assert_eq!(at("/healthz"), Resource::Health);
        assert_eq!(at("/openapi.json"), Resource::Description);
        assert_eq!(at("/control/v1/state"), Resource::State);
        assert_eq!(at("/control/v1/journal/wait"), Resource::JournalWait);
        assert_eq!(at("/control/v1/faults/a%2Fb%20c"), Resource::Fault("a/b c".into()));
        assert_eq!(
            at("/control/v1/slaves/heat_pump/units/1/holding/10"),
            Resource::Registers(RegisterAddress {
                slave: "heat_pump".into(),
                unit: 1,
                table: Table::HoldingRegisters,
                address: 10,
            })
        );
        for unknown in
            ["", "/", "/control/v1", "/control/v1/", "/control/v1/state/", "/state", "/%ff"]
        {
            assert_eq!(refused(unknown), 404, "{unknown:?}");
        }
    }

    #[test]
    fn invalid_units_tables_and_addresses_are_400() {
        for wrong in ["256/coils/0", "x/coils/0", "1/coil/0", "1/coils/65536", "1/coils/-1"] {
            assert_eq!(refused(&format!("/control/v1/slaves/p/units/{wrong}")), 400, "{wrong}");
        }
    }
}
