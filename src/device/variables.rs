//! The template variables, in one table that `/api/v1/variables` and every template use
//! (`docs/device/variables.md`, `template_variables.csv`).
//!
//! The order is that of the vendor's sample. Variables that the sample's older firmware lacks are
//! next to related ones. The variables of submeters follow at the end, if there are any.

use std::net::Ipv4Addr;

use super::civil::FormattedTime;
use super::network::{IpSettings, NetworkState, ScanResult};
use super::plug::PlugVoltages;
use super::{CivilTime, Device, Identity, Snapshot};
use crate::decimal::Decimal;
use crate::meter::{MeterIdentity, MeterStatus, Quantity as Q, Volume};
use crate::net::http::json::AppendText;

/// The source of the variables' values: a device at one time.
#[derive(Debug, Clone)]
pub struct VariableContext<'a> {
    /// The identity of the device.
    pub identity: &'a Identity,
    /// The state of the device and its meter.
    pub snapshot: &'a Snapshot,
    /// The network state.
    pub network: NetworkState,
    /// The voltages on the plugs.
    pub plug: PlugVoltages,
}

impl<'a> VariableContext<'a> {
    /// Returns the context of a device at the time of `snapshot`, which must be a snapshot of it.
    #[must_use]
    pub fn new(device: &'a Device, snapshot: &'a Snapshot) -> Self {
        // No variable shows the supercapacitor.
        let (network, plug) = (device.network(snapshot), device.plug_voltages(snapshot, None));
        Self { identity: device.identity(), snapshot, network, plug }
    }
}

/// A variable with a fixed name.
#[derive(Debug)]
pub struct Variable {
    /// The name, such as `1_8_0` in `${1_8_0}`.
    pub name: &'static str,
    source: ValueSource,
}

/// The source of a value. An unknown number is written as `null`, an unknown text as nothing.
#[derive(Debug, Clone, Copy)]
enum ValueSource {
    Quantity(Q),
    Number(fn(&VariableContext<'_>) -> Option<Decimal>),
    Text(fn(&VariableContext<'_>, &mut String)),
}

/// A reference to a variable, by which a template writes the value.
#[derive(Debug, Clone, Copy)]
pub enum VariableRef {
    /// A variable with a fixed name.
    Named(&'static Variable),
    /// A field of the n-th submeter.
    Volume(usize, VolumeField),
}

/// A field of a submeter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as in the variable")]
pub enum VolumeField {
    Channel,
    MeterId,
    DateTime,
    Cumulative,
}

impl VolumeField {
    /// All variants in output order, with their names after `vol[n].`.
    const NAMES: [(&'static str, Self); 4] = [
        ("bus", Self::Channel),
        ("meter_id", Self::MeterId),
        ("date_time", Self::DateTime),
        ("cumulative", Self::Cumulative),
    ];
}

/// The maximum number of submeters: M-Bus has four channels.
const VOLUMES: usize = 4;

const fn quantity(name: &'static str, quantity: Q) -> Variable {
    Variable { name, source: ValueSource::Quantity(quantity) }
}

const fn number(
    name: &'static str,
    value: fn(&VariableContext<'_>) -> Option<Decimal>,
) -> Variable {
    Variable { name, source: ValueSource::Number(value) }
}

const fn text(name: &'static str, value: fn(&VariableContext<'_>, &mut String)) -> Variable {
    Variable { name, source: ValueSource::Text(value) }
}

/// The variables with fixed names, in the order in which the device lists them.
pub static VARIABLES: &[Variable] = &[
    text("sys.name", |context, out| out.push_str(&context.config().settings.system.name)),
    text("sys.id", |context, out| out.push_str(context.identity.id.as_str())),
    text("sys.firmware", |context, out| context.snapshot.view.firmware.append_to(out)),
    text("sys.date_time", |context, out| context.time().date_time().append_to(out)),
    text("sys.date_time_local", |context, out| context.time().date_time_local().append_to(out)),
    text("sys.date_time_utc", |context, out| context.time().date_time_utc().append_to(out)),
    quantity("1_8_0", Q::ActiveImportEnergy),
    quantity("energy.in", Q::ActiveImportEnergy),
    quantity("1_8_1", Q::ActiveImportEnergyT1),
    quantity("1_8_2", Q::ActiveImportEnergyT2),
    quantity("2_8_0", Q::ActiveExportEnergy),
    quantity("energy.out", Q::ActiveExportEnergy),
    quantity("2_8_1", Q::ActiveExportEnergyT1),
    quantity("2_8_2", Q::ActiveExportEnergyT2),
    quantity("3_8_0", Q::ReactiveImportEnergy),
    quantity("3_8_1", Q::ReactiveImportEnergyT1),
    quantity("3_8_2", Q::ReactiveImportEnergyT2),
    quantity("4_8_0", Q::ReactiveExportEnergy),
    quantity("4_8_1", Q::ReactiveExportEnergyT1),
    quantity("4_8_2", Q::ReactiveExportEnergyT2),
    quantity("5_8_0", Q::InductiveImportEnergy),
    quantity("5_8_1", Q::InductiveImportEnergyT1),
    quantity("5_8_2", Q::InductiveImportEnergyT2),
    quantity("6_8_0", Q::CapacitiveImportEnergy),
    quantity("6_8_1", Q::CapacitiveImportEnergyT1),
    quantity("6_8_2", Q::CapacitiveImportEnergyT2),
    quantity("7_8_0", Q::InductiveExportEnergy),
    quantity("7_8_1", Q::InductiveExportEnergyT1),
    quantity("7_8_2", Q::InductiveExportEnergyT2),
    quantity("8_8_0", Q::CapacitiveExportEnergy),
    quantity("8_8_1", Q::CapacitiveExportEnergyT1),
    quantity("8_8_2", Q::CapacitiveExportEnergyT2),
    quantity("1_6_0", Q::ImportDemand),
    quantity("1_6_1", Q::ImportDemandT1),
    quantity("1_6_2", Q::ImportDemandT2),
    quantity("2_6_0", Q::ExportDemand),
    quantity("2_6_1", Q::ExportDemandT1),
    quantity("2_6_2", Q::ExportDemandT2),
    quantity("1_7_0", Q::ImportPower),
    quantity("power.in", Q::ImportPower),
    quantity("21_7_0", Q::ImportPowerL1),
    quantity("41_7_0", Q::ImportPowerL2),
    quantity("61_7_0", Q::ImportPowerL3),
    quantity("2_7_0", Q::ExportPower),
    quantity("power.out", Q::ExportPower),
    quantity("22_7_0", Q::ExportPowerL1),
    quantity("42_7_0", Q::ExportPowerL2),
    quantity("62_7_0", Q::ExportPowerL3),
    quantity("9_7_0", Q::ApparentPower),
    quantity("3_7_0", Q::ReactiveImportPower),
    quantity("23_7_0", Q::ReactiveImportPowerL1),
    quantity("43_7_0", Q::ReactiveImportPowerL2),
    quantity("63_7_0", Q::ReactiveImportPowerL3),
    quantity("4_7_0", Q::ReactiveExportPower),
    quantity("24_7_0", Q::ReactiveExportPowerL1),
    quantity("44_7_0", Q::ReactiveExportPowerL2),
    quantity("64_7_0", Q::ReactiveExportPowerL3),
    quantity("31_7_0", Q::CurrentL1),
    quantity("51_7_0", Q::CurrentL2),
    quantity("71_7_0", Q::CurrentL3),
    number("s31_7_0", |context| context.snapshot.signed_current(1)),
    number("s51_7_0", |context| context.snapshot.signed_current(2)),
    number("s71_7_0", |context| context.snapshot.signed_current(3)),
    quantity("32_7_0", Q::VoltageL1),
    quantity("52_7_0", Q::VoltageL2),
    quantity("72_7_0", Q::VoltageL3),
    quantity("13_7_0", Q::PowerFactor),
    number("tariff", |context| {
        let tariff = context.snapshot.reading()?.tariff?;
        Some(Decimal::new(tariff.into(), 0))
    }),
    number("conv_factor", |context| Some(context.config().meter.conv_factor)),
    number("timestamp", |context| {
        let time = context.snapshot.meter_time()?;
        // Without a sign (`template_variables.csv`).
        Some(Decimal::new(time.timestamp().as_second().max(0), 0))
    }),
    text("meter.date_time", |context, out| context.write_meter_time(out, CivilTime::date_time)),
    text("meter.date_time_local", |context, out| {
        context.write_meter_time(out, CivilTime::date_time_local);
    }),
    text("meter.date_time_utc", |context, out| {
        context.write_meter_time(out, CivilTime::date_time_utc);
    }),
    text("meter.id", |context, out| context.meter(out, |meter| &meter.id)),
    text("meter.type", |context, out| context.meter(out, |meter| &meter.logical_name)),
    text("meter.vendor", |context, out| context.meter(out, |meter| &meter.vendor)),
    text("meter.model", |context, out| context.meter(out, |meter| &meter.model)),
    text("meter.interface", |context, out| context.meter(out, |meter| meter.interface.as_str())),
    text("meter.protocol", |context, out| context.meter(out, |meter| meter.protocol.as_str())),
    text("meter.protocol_ver", |context, out| context.meter(out, |meter| &meter.protocol_version)),
    text("meter.status", |context, out| out.push_str(context.snapshot.meter.status.as_str())),
    text("plug.interface", |context, out| {
        let connected = context.snapshot.meter.status != MeterStatus::NotConnected;
        let meter = context.snapshot.meter.meter.as_ref().filter(|_| connected);
        out.push_str(meter.map_or("NONE", |meter| meter.interface.as_str()));
    }),
    number("plug.voltage.usb", |context| Some(context.plug.usb)),
    number("plug.voltage.p1", |context| Some(context.plug.p1)),
    number("plug.voltage.mbus", |context| Some(context.plug.mbus)),
    text("wifi.mode", |context, out| out.push_str(context.network.wifi.mode.as_str())),
    text("wifi.sta.status", |context, out| {
        out.push_str(&context.network.wifi.status.as_str().to_ascii_lowercase());
    }),
    text("wifi.sta.ssid", |context, out| {
        out.push_str(context.access_point().map_or("", |result| &result.network.ssid));
    }),
    text("wifi.sta.bssid", |context, out| {
        out.push_str(context.access_point().map_or("", |result| result.network.bssid.as_str()));
    }),
    number("wifi.sta.rssi", |context| {
        context.access_point().map(|result| Decimal::new(result.rssi.into(), 0))
    }),
    number("wifi.sta.channel", |context| {
        context.access_point().map(|result| Decimal::new(result.network.channel.into(), 0))
    }),
    text("wifi.sta.mac", |context, out| out.push_str(context.network.wifi.mac.as_str())),
    text("wifi.sta.ip", |context, out| write_ip(context.network.wifi.address, |at| at.ip, out)),
    text("wifi.sta.mask", |context, out| write_ip(context.network.wifi.address, |at| at.mask, out)),
    text("wifi.sta.gw", |context, out| {
        write_ip(context.network.wifi.address, |at| at.gateway, out);
    }),
    text("wifi.sta.dns", |context, out| write_ip(context.network.wifi.address, |at| at.dns, out)),
    text("eth.state", |context, out| {
        out.push_str(if context.network.eth.is_up() { "up" } else { "down" });
    }),
    text("eth.mac", |context, out| out.push_str(context.network.eth.mac.as_str())),
    text("eth.ip", |context, out| write_ip(context.network.eth.address, |at| at.ip, out)),
    text("eth.mask", |context, out| write_ip(context.network.eth.address, |at| at.mask, out)),
    text("eth.gw", |context, out| write_ip(context.network.eth.address, |at| at.gateway, out)),
    text("eth.dns", |context, out| write_ip(context.network.eth.address, |at| at.dns, out)),
];

/// Writes a part of an address; nothing if there is no address.
fn write_ip(address: Option<IpSettings>, part: fn(IpSettings) -> Ipv4Addr, out: &mut String) {
    if let Some(address) = address {
        part(address).append_to(out);
    }
}

/// Returns the variable with this name; `None` if there is none.
#[must_use]
pub fn find(name: &str) -> Option<VariableRef> {
    let named = VARIABLES.iter().find(|variable| variable.name == name);
    named.map(VariableRef::Named).or_else(|| volume(name))
}

/// Returns the variable of a submeter with the name `vol[n].field`; `None` if there is none.
fn volume(name: &str) -> Option<VariableRef> {
    let (index, field) = name.strip_prefix("vol[")?.split_once("].")?;
    let (_, field) = VolumeField::NAMES.into_iter().find(|(name, _)| *name == field)?;
    let index = (0..VOLUMES).find(|candidate| index == candidate.to_string())?;
    Some(VariableRef::Volume(index, field))
}

/// Calls `visit` with the name and value of each variable, in order. Submeters are included if the
/// meter reports them.
pub fn for_each(context: &VariableContext<'_>, mut visit: impl FnMut(&str, &str)) {
    let mut value = String::new();
    for variable in VARIABLES {
        value.clear();
        VariableRef::Named(variable).write(context, &mut value);
        visit(variable.name, &value);
    }
    for index in 0..context.volumes().len().min(VOLUMES) {
        for (name, field) in VolumeField::NAMES {
            value.clear();
            VariableRef::Volume(index, field).write(context, &mut value);
            visit(&format!("vol[{index}].{name}"), &value);
        }
    }
}

impl VariableRef {
    /// Appends the value. An unknown number is `null`, an unknown text is empty.
    pub fn write(self, context: &VariableContext<'_>, out: &mut String) {
        let number = match self {
            Self::Named(Variable { source: ValueSource::Quantity(quantity), .. }) => {
                context.snapshot.value(*quantity)
            }
            Self::Named(Variable { source: ValueSource::Number(value), .. }) => value(context),
            Self::Named(Variable { source: ValueSource::Text(value), .. }) => {
                value(context, out);
                return;
            }
            Self::Volume(index, field) => {
                let volume = context.volumes().get(index);
                match field {
                    VolumeField::Channel => {
                        volume.map(|volume| Decimal::new(volume.channel.into(), 0))
                    }
                    VolumeField::Cumulative => volume.and_then(|volume| volume.cumulative),
                    VolumeField::MeterId => {
                        out.push_str(volume.map_or("", |volume| &volume.meter_id));
                        return;
                    }
                    VolumeField::DateTime => {
                        let time = volume.and_then(|volume| volume.meter_time);
                        if let Some(time) = time {
                            CivilTime::new(time).date_time_utc().append_to(out);
                        }
                        return;
                    }
                }
            }
        };
        match number {
            Some(number) => number.append_to(out),
            None => out.push_str("null"),
        }
    }
}

impl VariableContext<'_> {
    fn config(&self) -> &super::Config {
        &self.snapshot.view.config
    }

    fn volumes(&self) -> &[Volume] {
        self.snapshot.reading().map_or(&[], |reading| &reading.volumes)
    }

    fn meter(&self, out: &mut String, text: fn(&MeterIdentity) -> &str) {
        out.push_str(self.snapshot.meter.meter.as_deref().map_or("", text));
    }

    fn time(&self) -> CivilTime {
        self.snapshot.system_time()
    }

    /// Writes the time of the newest reading by the meter's clock; nothing if there is no reading.
    fn write_meter_time(&self, out: &mut String, form: fn(&CivilTime) -> FormattedTime) {
        if let Some(time) = self.snapshot.meter_time() {
            form(&time).append_to(out);
        }
    }

    /// Returns the network that the Wi-Fi client is connected to.
    fn access_point(&self) -> Option<&ScanResult> {
        self.network.wifi.network.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::template::property;
    use super::*;

    fn listed(metered: bool) -> Vec<(String, String)> {
        let (identity, snapshot) = (property::identity(), property::snapshot(metered));
        let mut pairs = Vec::new();
        for_each(&property::context(&identity, &snapshot), |name, value| {
            pairs.push((name.to_owned(), value.to_owned()));
        });
        pairs
    }

    #[test]
    fn every_name_is_unique_and_can_be_found() {
        let names: HashSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(names.len(), VARIABLES.len());
        for variable in VARIABLES {
            let found = find(variable.name);
            assert!(
                matches!(found, Some(VariableRef::Named(same)) if std::ptr::eq(same, variable))
            );
        }
    }

    #[test]
    fn every_quantity_has_a_variable_named_by_its_obis_code() {
        for quantity in Q::ALL {
            let name = quantity.obis().replace('.', "_");
            let found = VARIABLES.iter().find(|variable| variable.name == name);
            assert!(
                matches!(found, Some(Variable { source: ValueSource::Quantity(of), .. }) if of == quantity),
                "{name}"
            );
        }
    }

    // Ruling: VARIABLE-1.
    #[test]
    fn submeters_are_listed_if_the_meter_reports_them() {
        let volumes = |metered: bool| {
            let pairs = listed(metered);
            pairs.into_iter().filter(|(name, _)| name.starts_with("vol")).collect::<Vec<_>>()
        };
        assert!(volumes(false).is_empty());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            volumes(true),
            [
                pair("vol[0].bus", "2"),
                pair("vol[0].meter_id", "gas"),
                pair("vol[0].date_time", "1970-01-01T00:00:00Z"),
                pair("vol[0].cumulative", "null"),
            ]
        );
    }

    #[test]
    fn times_have_three_forms_and_signed_currents_a_sign() {
        let pairs = listed(true);
        let value = |name: &str| {
            pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
        };
        for prefix in ["sys", "meter"] {
            let time = |form: &str| value(&format!("{prefix}.date_time{form}"));
            assert_eq!(time(""), Some("1970-01-01T01:00:00Z"), "local, although it ends in Z");
            assert_eq!(time("_local"), Some("1970-01-01T01:00:00+01:00"));
            assert_eq!(time("_utc"), Some("1970-01-01T00:00:00Z"));
        }
        assert_eq!(value("timestamp"), Some("0"));
        assert_eq!((value("31_7_0"), value("s31_7_0")), (Some("0.06"), Some("-0.06")));
    }
}
