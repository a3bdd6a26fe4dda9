//! The places of fault rules. A place has to exist, and requests have to be able to come there.

use super::super::diagnostics::{Mistake, join_or, nearest};
use super::super::raw::{self, PlaceWord};
use super::fault::RuleValidator;
use super::{NameEntry, Units, unknown_name};
use crate::device::actions::{ActionRequest, Definition};
use crate::fault::{ActionPlace, ApiPlace, FaultTarget, ModbusPlace, SlavePlace, TargetPlace};
use crate::limits;
use crate::modbus::bank::{Table, UnitLayout};
use crate::modbus::wire::FunctionCode;
use crate::notation::{Share, join_numbers, shortened};

/// The paths of the device's API (`docs/device/endpoints.md`).
const ROUTES: [&str; 25] = [
    "/",
    "/api/v1/actions",
    "/api/v1/actions/call",
    "/api/v1/actions/status",
    "/api/v1/berry",
    "/api/v1/berry/console",
    "/api/v1/eth/settings",
    "/api/v1/live",
    "/api/v1/meter/scalers/current",
    "/api/v1/meter/scalers/custom",
    "/api/v1/meter/settings",
    "/api/v1/modbus",
    "/api/v1/mqtt/settings",
    "/api/v1/reboot",
    "/api/v1/report",
    "/api/v1/report/objects",
    "/api/v1/restore",
    "/api/v1/settings",
    "/api/v1/system",
    "/api/v1/template/test",
    "/api/v1/variables",
    "/api/v1/wifi/scan",
    "/api/v1/wifi/sta/settings",
    "/api/v1/wifi/wps",
    "/load",
];

/// The kinds of requests that an action sends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RequestKinds {
    pub modbus: bool,
    pub http: bool,
}

impl RequestKinds {
    pub(super) const ANY: Self = Self { modbus: true, http: true };
}

impl RuleValidator<'_> {
    /// Lowers a place. Returns `None` after a mistake.
    pub(super) fn place(&mut self, at: &raw::At) -> Option<FaultTarget> {
        let place = match at {
            raw::Choice::Word(PlaceWord::Api) => FaultTarget::Api(ApiPlace::default()),
            raw::Choice::Word(PlaceWord::Action) => FaultTarget::Action(ActionPlace::default()),
            raw::Choice::Word(PlaceWord::Queue) => FaultTarget::Queue(None),
            raw::Choice::Word(PlaceWord::Slave) => FaultTarget::Slave(SlavePlace::default()),
            raw::Choice::Word(PlaceWord::Target) => FaultTarget::Target(TargetPlace::default()),
            raw::Choice::Word(PlaceWord::Mqtt) => FaultTarget::Mqtt(None),
            raw::Choice::Word(PlaceWord::Modbus) => FaultTarget::Modbus(ModbusPlace::default()),
            raw::Choice::Word(PlaceWord::Meter) => FaultTarget::Meter(None),
            raw::Choice::Word(PlaceWord::Live) => FaultTarget::Live(None),
            raw::Choice::Map(map) => return self.place_of_map(map),
        };
        match &place {
            FaultTarget::Slave(_) if self.names.slaves.is_empty() => self.report_none("slave"),
            FaultTarget::Target(_) if self.names.targets.is_empty() => self.report_none("target"),
            _ => Some(place),
        }
    }

    /// Reports that the house has no slave or target.
    fn report_none(&mut self, kind: &str) -> Option<FaultTarget> {
        let message = format!("this never fires: the house has no {kind}");
        self.mistake(Mistake::new(self.path.key("at"), message));
        None
    }

    fn place_of_map(&mut self, map: &raw::Place) -> Option<FaultTarget> {
        const KINDS: [&str; 8] =
            ["slave", "target", "api", "queue", "modbus", "meter", "mqtt", "live"];
        let given = keys(map);
        let mut kinds = KINDS.into_iter().filter(|kind| given.contains(kind));
        let (kind, allowed): (_, &[&str]) = match (kinds.next(), kinds.next()) {
            (Some(first), Some(second)) => {
                let message = format!("a place is a {first} or a {second}, not both");
                self.mistake(self.place_mistake(second, message).help("write two rules").on_key());
                return None;
            }
            (Some("slave"), None) => {
                ("slave", &["slave", "unit", "function", "address", "value", "action"])
            }
            (Some("target"), None) => ("target", &["target", "method", "path", "action"]),
            (Some("api"), None) => ("api", &["api", "device", "devices"]),
            (Some("modbus"), None) => {
                ("modbus", &["modbus", "device", "devices", "unit", "function", "address"])
            }
            (Some("meter"), None) => ("meter", &["meter", "device", "devices"]),
            (Some("mqtt"), None) => ("mqtt", &["mqtt", "device", "devices"]),
            (Some("live"), None) => ("live", &["live", "device", "devices"]),
            (Some(_), None) => ("queue", &["queue", "device", "devices"]),
            (None, _) if map.action.is_some() => ("action", &["action", "device", "devices"]),
            (None, _) => {
                let mistake = Mistake::new(self.path.key("at"), "this names no place")
                    .help("add one of `slave`, `target`, `api`, `queue`, `modbus`, `meter`, `mqtt`, `live` and `action`; `any` means all of them");
                self.mistake(mistake);
                return None;
            }
        };
        let mut fits = true;
        for key in given.iter().filter(|key| !allowed.contains(key)) {
            let message = format!("`{key}` says nothing about `{kind}`");
            let help =
                format!("beside `{kind}` may stand {}", join_or(allowed[1..].iter().copied()));
            self.mistake(self.place_mistake(key, message).help(help).on_key());
            fits = false;
        }
        let place = match kind {
            "slave" => self.slave_place(map),
            "target" => self.target_place(map),
            "api" => self.api_place(map),
            "queue" => self.device_of(map).map(FaultTarget::Queue),
            "mqtt" => self.device_of(map).map(FaultTarget::Mqtt),
            "modbus" => self.modbus_place(map),
            "meter" => self.device_of(map).map(FaultTarget::Meter),
            "live" => self.device_of(map).map(FaultTarget::Live),
            _ => self.action_place(map),
        };
        place.filter(|_| fits)
    }

    /// Returns the share of the devices that a place names.
    pub(super) fn devices(&mut self, at: &raw::At) -> Option<Share> {
        let raw::Choice::Map(map) = at else { return None };
        if map.device.is_some() && map.devices.is_some() {
            let mistake = self
                .place_mistake("devices", "a place names a device or a share of them, not both")
                .help("remove one of them")
                .on_key();
            self.mistake(mistake);
        }
        map.devices
    }

    /// Returns the device that a place names. `None` if it names one that does not exist.
    #[expect(clippy::option_option, reason = "no such device; every device; this one")]
    fn device_of(&mut self, map: &raw::Place) -> Option<Option<String>> {
        let Some(id) = &map.device else { return Some(None) };
        let id = id.to_string();
        let in_fleet = self.names.fleet.as_ref().is_some_and(|fleet| fleet.index_of(&id).is_some());
        let is_known = in_fleet || self.names.devices.iter().any(|(own, _)| *own == id);
        if self.names.devices_complete && !is_known {
            let ids = self.names.devices.iter().map(|(id, _)| *id);
            let mut mistake = unknown_name(self.path.key("at").key("device"), "device", &id, ids);
            if let Some(fleet) = &self.names.fleet {
                let (first, last, count) = fleet.range();
                mistake = mistake.help(format!("the fleet has {count}, {first} to {last}"));
            }
            self.mistakes.push(mistake);
            return None;
        }
        Some(Some(id))
    }

    fn api_place(&mut self, map: &raw::Place) -> Option<FaultTarget> {
        let (route, method, path) = match &map.api {
            Some(raw::Choice::Map(calls)) => {
                let route = calls.route.as_ref().map(|route| route.0.clone());
                let path = self.path.key("at").key("api").key("route");
                (route, calls.method.map(|method| method.0), path)
            }
            Some(raw::Choice::Word(route)) => {
                (named(Some(route)), None, self.path.key("at").key("api"))
            }
            None => (None, None, self.path.key("at")),
        };
        if let Some(route) = &route
            && !ROUTES.contains(&route.as_str())
            && !route.starts_with("/sdcard")
        {
            let message = format!("the device has no path `{}`", shortened(route));
            let mistake = Mistake::new(path, message)
                .suggest(nearest(route, ROUTES))
                .help("expected a path without query, as /api/v1/actions/call, or `any`");
            self.mistake(mistake);
            return None;
        }
        Some(FaultTarget::Api(ApiPlace { device: self.device_of(map)?, route, method }))
    }

    fn action_place(&mut self, map: &raw::Place) -> Option<FaultTarget> {
        let device = self.device_of(map)?;
        let action = named(map.action.as_ref());
        if let Some(id) = &action {
            self.action_kinds(id, device.as_deref())?;
        }
        Some(FaultTarget::Action(ActionPlace { device, action }))
    }

    /// Returns the kinds of requests of an action. Reports an action that does not exist or cannot be
    /// called.
    fn action_kinds(&mut self, id: &str, device: Option<&str>) -> Option<RequestKinds> {
        let devices = self.names.devices.iter();
        let devices = devices.filter(|(own, _)| device.is_none_or(|device| device == *own));
        let fleet = self.names.fleet.iter().flat_map(|fleet| fleet.definitions(device));
        let definitions = devices.map(|(_, details)| *details).chain(fleet);
        let mut ids = Vec::new();
        let (mut found, mut callable, mut certain) = (false, false, self.names.devices_complete);
        let mut kinds = RequestKinds::default();
        for details in definitions {
            let Some(definition) = details else {
                certain = false;
                continue;
            };
            let actions = definition.map_or(&[][..], Definition::actions);
            ids.extend(actions.iter().map(|action| &*action.id));
            for action in actions.iter().filter(|action| &*action.id == id) {
                found = true;
                callable |= action.enable && action.enabled_requests().next().is_some();
                for request in action.enabled_requests() {
                    kinds.modbus |= matches!(**request, ActionRequest::Modbus(_));
                    kinds.http |= matches!(**request, ActionRequest::Http(_));
                }
            }
        }
        if !certain {
            return Some(RequestKinds::ANY);
        }
        if found && callable {
            return Some(kinds);
        }
        let path = self.path.key("at").key("action");
        let mistake = if found {
            Mistake::new(
                path,
                format!("this never fires: action `{id}` is disabled as it is defined"),
            )
            .help("enable it, or one of its requests; a rule with `disable` disables it for a time")
        } else {
            unknown_name(path, "action", id, ids.into_iter())
        };
        self.mistake(mistake);
        None
    }

    /// Returns the details of the slaves or targets that a place includes. Reports a name that does not
    /// exist. `None` if the house has no slave or target at all.
    fn candidates<T: Copy>(
        &mut self,
        kind: &str,
        name: Option<&str>,
        peers: &[NameEntry<'_, T>],
    ) -> Option<Vec<Option<T>>> {
        let Some(name) = name else {
            if peers.is_empty() {
                self.report_none(kind);
                return None;
            }
            return Some(peers.iter().map(|(_, details)| *details).collect());
        };
        let found = peers.iter().find(|(own, _)| *own == name);
        if found.is_none() {
            let names = peers.iter().map(|(name, _)| *name);
            self.mistakes.push(unknown_name(self.path.key("at").key(kind), kind, name, names));
        }
        Some(found.iter().map(|(_, details)| *details).collect())
    }

    fn target_place(&mut self, map: &raw::Place) -> Option<FaultTarget> {
        let name = named(map.target.as_ref());
        let before = self.mistakes.len();
        let candidates = self.candidates("target", name.as_deref(), &self.names.targets)?;
        let text = map.path.as_ref().map(raw::UrlPath::as_str);
        let method = map.method.map(|method| method.0);
        let reached = candidates.iter().any(|routes| {
            routes.is_none_or(|routes| {
                routes.iter().any(|route| {
                    text.is_none_or(|path| route.matches_path(path))
                        && method.is_none_or(|method| route.method.is_none_or(|own| own == method))
                })
            })
        });
        if !reached && self.mistakes.len() == before && (text.is_some() || method.is_some()) {
            let key = if text.is_some() { "path" } else { "method" };
            let routes = candidates.iter().flatten().flat_map(|routes| routes.iter());
            let paths: Vec<_> = routes.map(|route| route.path.as_str()).collect();
            let near = text.and_then(|path| nearest(path, paths.iter().copied()));
            let mistake = self
                .place_mistake(
                    key,
                    "this never fires: no route of the target answers this method and path",
                )
                .suggest(near.map(str::to_owned));
            self.mistake(mistake);
        }
        let action = self.sending_action(map, "HTTP request", |kinds| kinds.http);
        if self.mistakes.len() > before {
            return None;
        }
        Some(FaultTarget::Target(TargetPlace {
            target: name,
            method,
            path: text.map(str::to_owned),
            action,
        }))
    }

    fn modbus_place(&mut self, map: &raw::Place) -> Option<FaultTarget> {
        let device = self.device_of(map)?;
        let before = self.mistakes.len();
        if let Some(address) = map.address
            && address.first > *limits::MODBUS_ADDRESSES.end()
        {
            let last = limits::MODBUS_ADDRESSES.end();
            let message = format!("this never fires: the last register is {last}");
            self.mistake(self.place_mistake("address", message));
        }
        if self.mistakes.len() > before {
            return None;
        }
        Some(FaultTarget::Modbus(ModbusPlace {
            device,
            unit: map.unit,
            function: map.function.map(FunctionCode),
            address: map.address.map(raw::RangeText::inclusive),
        }))
    }

    /// Returns the action beside a slave or a target, which is the one that sends the request.
    fn sending_action(
        &mut self,
        map: &raw::Place,
        request: &str,
        sends: impl Fn(RequestKinds) -> bool,
    ) -> Option<String> {
        let id = named(map.action.as_ref())?;
        let kinds = self.action_kinds(&id, None)?;
        if !sends(kinds) {
            let message = format!("this never fires: action `{id}` sends no {request}");
            self.mistake(self.place_mistake("action", message));
            return None;
        }
        Some(id)
    }

    fn slave_place(&mut self, map: &raw::Place) -> Option<FaultTarget> {
        let name = named(map.slave.as_ref());
        let before = self.mistakes.len();
        let candidates = self.candidates("slave", name.as_deref(), &self.names.slaves)?;
        self.check_function(map);
        if self.mistakes.len() == before {
            self.check_unit(map, &candidates);
        }
        let action = self.sending_action(map, "Modbus request", |kinds| kinds.modbus);
        if self.mistakes.len() > before {
            return None;
        }
        Some(FaultTarget::Slave(SlavePlace {
            slave: name,
            unit: map.unit,
            function: map.function.map(FunctionCode),
            address: map.address.map(raw::RangeText::inclusive),
            value: map.value.map(raw::RangeText::inclusive),
            action,
        }))
    }

    /// Checks that slaves answer the function, and that it has everything else that the place names.
    fn check_function(&mut self, map: &raw::Place) {
        let Some(function) = map.function.map(FunctionCode) else { return };
        if !FunctionCode::SUPPORTED.contains(&function) {
            let mistake = self
                .place_mistake(
                    "function",
                    format!("this never fires: slaves have no function {function}"),
                )
                .help(format!("expected {}", raw::supported_functions()));
            self.mistake(mistake);
            return;
        }
        if function == FunctionCode::REPORT_SERVER_ID && map.address.is_some() {
            let message = "this never fires: function 17 names no address";
            self.mistake(self.place_mistake("address", message).on_key());
        }
        let Some(value) = map.value else { return };
        if !function.writes_values() {
            let message = format!("this never fires: function {function} writes no values");
            let writing = FunctionCode::SUPPORTED.into_iter().filter(|code| code.writes_values());
            let writing = join_numbers(writing.map(|code| code.0), "and");
            let help = format!("values are written by functions {writing}");
            self.mistake(self.place_mistake("value", message).help(help).on_key());
        } else if matches!(
            function,
            FunctionCode::WRITE_SINGLE_COIL | FunctionCode::WRITE_MULTIPLE_COILS
        ) && value.first > 1
        {
            let message = "this never fires: a coil's value is 0 or 1";
            self.mistake(self.place_mistake("value", message));
        }
    }

    /// Checks that the unit exists, and has something at the address.
    fn check_unit(&mut self, map: &raw::Place, slaves: &[Option<Units<'_>>]) {
        if slaves.iter().any(Option::is_none) {
            return;
        }
        let units = slaves.iter().flatten().flat_map(|units| units.iter());
        let units: Vec<_> =
            units.filter(|(id, _)| map.unit.is_none_or(|unit| unit == *id)).collect();
        if units.is_empty() {
            let mut ids: Vec<_> =
                slaves.iter().flatten().flat_map(|units| units.iter()).map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids.dedup();
            let Some(unit) = map.unit else { return };
            let ids: Vec<_> = ids.iter().map(u8::to_string).collect();
            let help = match ids.as_slice() {
                [] => "it has no units".to_owned(),
                _ => format!("it has {}", ids.join(", ")),
            };
            self.mistake(
                self.place_mistake("unit", format!("this never fires: there is no unit {unit}"))
                    .help(help),
            );
            return;
        }
        let Some(address) = map.address else { return };
        if !units.iter().any(|(_, unit)| unit_has(unit, map.function.map(FunctionCode), address)) {
            let which = match map.function.map(FunctionCode) {
                None => "coils, inputs or registers",
                Some(function) => match reached_table(function) {
                    Some(Table::Coils) => "coils",
                    Some(Table::DiscreteInputs) => "discrete inputs",
                    Some(Table::InputRegisters) => "input registers",
                    Some(Table::HoldingRegisters) => "holding registers",
                    // `check_function` has reported every function that names no address.
                    None => return,
                },
            };
            let message = format!("this never fires: there are no {which} at {address}");
            self.mistake(self.place_mistake("address", message));
        }
    }

    /// Returns the kinds of requests of the action that a place names, or any kind if it names none.
    pub(super) fn request_kinds(&mut self, place: &ActionPlace) -> RequestKinds {
        let Some(action) = &place.action else { return RequestKinds::ANY };
        self.action_kinds(action, place.device.as_deref()).unwrap_or(RequestKinds::ANY)
    }
}

/// Returns the name in a place. `None` if it is `any`.
fn named(text: Option<&raw::PlainText>) -> Option<String> {
    text.map(|text| text.0.clone()).filter(|name| name != raw::NameText::ANY)
}

/// Returns the keys of a place.
fn keys(map: &raw::Place) -> Vec<&'static str> {
    let given = [
        ("slave", map.slave.is_some()),
        ("target", map.target.is_some()),
        ("api", map.api.is_some()),
        ("queue", map.queue.is_some()),
        ("mqtt", map.mqtt.is_some()),
        ("modbus", map.modbus.is_some()),
        ("meter", map.meter.is_some()),
        ("live", map.live.is_some()),
        ("action", map.action.is_some()),
        ("device", map.device.is_some()),
        ("devices", map.devices.is_some()),
        ("method", map.method.is_some()),
        ("path", map.path.is_some()),
        ("unit", map.unit.is_some()),
        ("function", map.function.is_some()),
        ("address", map.address.is_some()),
        ("value", map.value.is_some()),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
}

/// Returns whether a unit has something at an address that the function reaches.
fn unit_has(unit: &UnitLayout, function: Option<FunctionCode>, address: raw::RangeText) -> bool {
    let overlaps = |first: u16, count: u64| {
        let first = u64::from(first);
        first <= u64::from(address.last) && u64::from(address.first) < first + count
    };
    let bits = |bits: &[crate::modbus::bank::BitRange]| {
        bits.iter().any(|range| {
            let (first, last) = (*range.addresses.start(), *range.addresses.end());
            overlaps(first, u64::from(last.saturating_sub(first)) + 1)
        })
    };
    let registers = |registers: &[crate::modbus::bank::Register]| {
        registers.iter().any(|register| {
            overlaps(
                register.address,
                u64::from(register.count) * u64::from(register.value_type.words()),
            )
        })
    };
    match function.map(reached_table) {
        Some(Some(Table::Coils)) => bits(&unit.coils),
        Some(Some(Table::DiscreteInputs)) => bits(&unit.discrete),
        Some(Some(Table::InputRegisters)) => registers(&unit.input),
        Some(Some(Table::HoldingRegisters)) => registers(&unit.holding),
        Some(None) => false,
        None => {
            bits(&unit.coils)
                || bits(&unit.discrete)
                || registers(&unit.holding)
                || registers(&unit.input)
        }
    }
}

/// Returns the table that a request with this function reaches. `None` if it reaches none: function 17
/// and unsupported functions.
fn reached_table(function: FunctionCode) -> Option<Table> {
    match function {
        FunctionCode::READ_COILS
        | FunctionCode::WRITE_SINGLE_COIL
        | FunctionCode::WRITE_MULTIPLE_COILS => Some(Table::Coils),
        FunctionCode::READ_DISCRETE_INPUTS => Some(Table::DiscreteInputs),
        FunctionCode::READ_INPUT_REGISTERS => Some(Table::InputRegisters),
        FunctionCode::READ_HOLDING_REGISTERS
        | FunctionCode::WRITE_SINGLE_REGISTER
        | FunctionCode::WRITE_MULTIPLE_REGISTERS
        | FunctionCode::MASK_WRITE_REGISTER
        | FunctionCode::READ_WRITE_MULTIPLE_REGISTERS => Some(Table::HoldingRegisters),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::schema;

    #[test]
    fn every_function_reaches_a_table_or_has_no_address() {
        for function in FunctionCode::SUPPORTED {
            let has_table = reached_table(function).is_some();
            assert_eq!(has_table, function != FunctionCode::REPORT_SERVER_ID, "{function}");
        }
    }

    #[test]
    fn the_schema_lists_the_functions_of_each_table() {
        for (key, table) in [
            ("coils", Table::Coils),
            ("discrete", Table::DiscreteInputs),
            ("holding", Table::HoldingRegisters),
            ("input", Table::InputRegisters),
        ] {
            let codes: Vec<String> = FunctionCode::SUPPORTED
                .into_iter()
                .filter(|function| reached_table(*function) == Some(table))
                .map(|function| function.to_string())
                .collect();
            let noun = if codes.len() == 1 { "function" } else { "functions" };
            let listed = format!("({noun} {})", codes.join(", "));
            let description = &schema::definition("Unit")["properties"][key]["description"];
            let description = description.as_str().unwrap();
            assert!(description.contains(&listed), "{description}, expected {listed}");
        }
    }
}
