//! The template variables: one table, from which `/api/v1/variables` and every template take their
//! names and values (`docs/device/variables.md`, `template_variables.csv`).
//!
//! The order is that of the vendor's sample, with what the sample's older firmware lacks beside its
//! kin. Meters behind the meter follow at the end, as far as there are any.

use std::fmt::{self, Write};
use std::net::Ipv4Addr;

use super::network::{IpSettings, NetworkState, Sighting};
use super::plug::PlugVoltages;
use super::{CivilTime, Device, Identity, Snapshot};
use crate::decimal::Decimal;
use crate::meter::{MeterIdentity, MeterStatus, Quantity as Q, Volume};

/// What variables are taken from: a device at one instant.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Who it is.
    pub identity: &'a Identity,
    /// What it and its meter are at the instant.
    pub snapshot: &'a Snapshot,
    /// Its network.
    pub network: NetworkState,
    /// The voltages on its plugs.
    pub plug: PlugVoltages,
}

impl<'a> Facts<'a> {
    /// The facts about a device as it is in `snapshot`, one of its own.
    #[must_use]
    pub fn of(device: &'a Device, snapshot: &'a Snapshot) -> Self {
        let (network, plug) = (device.network(snapshot), device.plug_voltages(snapshot));
        Self { identity: device.identity(), snapshot, network, plug }
    }
}

/// A variable that has a name of its own.
#[derive(Debug)]
pub struct Variable {
    /// Its name, as in `${1_8_0}`.
    pub name: &'static str,
    shows: Shows,
}

/// Where a value comes from. A number may be unknown, and is then `null`; a text is then empty.
#[derive(Debug, Clone, Copy)]
enum Shows {
    Quantity(Q),
    Number(fn(&Facts<'_>) -> Option<Decimal>),
    Text(fn(&Facts<'_>, &mut String) -> fmt::Result),
}

/// A variable, found by its name.
#[derive(Debug, Clone, Copy)]
pub enum Reference {
    /// One with a name of its own.
    Named(&'static Variable),
    /// A field of the n-th meter behind the meter.
    Volume(usize, VolumeField),
}

/// What is known of a meter behind the meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the variable")]
pub enum VolumeField {
    Bus,
    MeterId,
    DateTime,
    Cumulative,
}

impl VolumeField {
    /// All of them, in their order, with the name behind `vol[n].`.
    const NAMES: [(&'static str, Self); 4] = [
        ("bus", Self::Bus),
        ("meter_id", Self::MeterId),
        ("date_time", Self::DateTime),
        ("cumulative", Self::Cumulative),
    ];
}

/// Meters behind the meter at the most: M-Bus has four channels.
const VOLUMES: usize = 4;

const fn quantity(name: &'static str, quantity: Q) -> Variable {
    Variable { name, shows: Shows::Quantity(quantity) }
}

const fn number(name: &'static str, value: fn(&Facts<'_>) -> Option<Decimal>) -> Variable {
    Variable { name, shows: Shows::Number(value) }
}

const fn text(name: &'static str, value: fn(&Facts<'_>, &mut String) -> fmt::Result) -> Variable {
    Variable { name, shows: Shows::Text(value) }
}

/// Every variable with a name of its own, in the order in which the device lists them.
pub static VARIABLES: &[Variable] = &[
    text("sys.name", |facts, out| out.write_str(&facts.config().settings.system.name)),
    text("sys.id", |facts, out| out.write_str(facts.identity.id.as_str())),
    text("sys.firmware", |facts, out| write!(out, "{}", facts.snapshot.view.firmware)),
    text("sys.date_time", |facts, out| write!(out, "{}", facts.time().date_time())),
    text("sys.date_time_local", |facts, out| write!(out, "{}", facts.time().date_time_local())),
    text("sys.date_time_utc", |facts, out| write!(out, "{}", facts.time().date_time_utc())),
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
    number("s31_7_0", |facts| facts.snapshot.signed_current(1)),
    number("s51_7_0", |facts| facts.snapshot.signed_current(2)),
    number("s71_7_0", |facts| facts.snapshot.signed_current(3)),
    quantity("32_7_0", Q::VoltageL1),
    quantity("52_7_0", Q::VoltageL2),
    quantity("72_7_0", Q::VoltageL3),
    quantity("13_7_0", Q::PowerFactor),
    number("tariff", |facts| {
        let tariff = facts.snapshot.reading()?.tariff?;
        Some(Decimal::new(tariff.into(), 0))
    }),
    number("conv_factor", |facts| Some(facts.config().meter.conv_factor)),
    number("timestamp", |facts| {
        let time = facts.snapshot.meter_time()?;
        // Without a sign (`template_variables.csv`).
        Some(Decimal::new(time.timestamp().as_second().max(0), 0))
    }),
    text("meter.date_time", |facts, out| facts.read_at(out, |time| time.date_time().to_string())),
    text("meter.date_time_local", |facts, out| {
        facts.read_at(out, |time| time.date_time_local().to_string())
    }),
    text("meter.date_time_utc", |facts, out| {
        facts.read_at(out, |time| time.date_time_utc().to_string())
    }),
    text("meter.id", |facts, out| facts.meter(out, |meter| &meter.id)),
    text("meter.type", |facts, out| facts.meter(out, |meter| &meter.logical_name)),
    text("meter.vendor", |facts, out| facts.meter(out, |meter| &meter.vendor)),
    text("meter.model", |facts, out| facts.meter(out, |meter| &meter.model)),
    text("meter.interface", |facts, out| facts.meter(out, |meter| meter.interface.as_str())),
    text("meter.protocol", |facts, out| facts.meter(out, |meter| meter.protocol.as_str())),
    text("meter.protocol_ver", |facts, out| facts.meter(out, |meter| &meter.protocol_version)),
    text("meter.status", |facts, out| out.write_str(facts.snapshot.meter.status.as_str())),
    text("plug.interface", |facts, out| {
        let connected = facts.snapshot.meter.status != MeterStatus::NotConnected;
        let meter = facts.snapshot.meter.meter.as_ref().filter(|_| connected);
        out.write_str(meter.map_or("NONE", |meter| meter.interface.as_str()))
    }),
    number("plug.voltage.usb", |facts| Some(facts.plug.usb)),
    number("plug.voltage.p1", |facts| Some(facts.plug.p1)),
    number("plug.voltage.mbus", |facts| Some(facts.plug.mbus)),
    text("wifi.mode", |facts, out| write!(out, "{}", facts.network.wifi.mode)),
    text("wifi.sta.status", |facts, out| {
        out.write_str(&facts.network.wifi.status.as_str().to_ascii_lowercase())
    }),
    text("wifi.sta.ssid", |facts, out| {
        out.write_str(facts.access_point().map_or("", |seen| &seen.network.ssid))
    }),
    text("wifi.sta.bssid", |facts, out| {
        out.write_str(facts.access_point().map_or("", |seen| seen.network.bssid.as_str()))
    }),
    number("wifi.sta.rssi", |facts| {
        facts.access_point().map(|seen| Decimal::new(seen.rssi.into(), 0))
    }),
    number("wifi.sta.channel", |facts| {
        facts.access_point().map(|seen| Decimal::new(seen.network.channel.into(), 0))
    }),
    text("wifi.sta.mac", |facts, out| out.write_str(facts.network.wifi.mac.as_str())),
    text("wifi.sta.ip", |facts, out| show(facts.network.wifi.address, |at| at.ip, out)),
    text("wifi.sta.mask", |facts, out| show(facts.network.wifi.address, |at| at.mask, out)),
    text("wifi.sta.gw", |facts, out| show(facts.network.wifi.address, |at| at.gateway, out)),
    text("wifi.sta.dns", |facts, out| show(facts.network.wifi.address, |at| at.dns, out)),
    text("eth.state", |facts, out| {
        out.write_str(if facts.network.eth.is_up() { "up" } else { "down" })
    }),
    text("eth.mac", |facts, out| out.write_str(facts.network.eth.mac.as_str())),
    text("eth.ip", |facts, out| show(facts.network.eth.address, |at| at.ip, out)),
    text("eth.mask", |facts, out| show(facts.network.eth.address, |at| at.mask, out)),
    text("eth.gw", |facts, out| show(facts.network.eth.address, |at| at.gateway, out)),
    text("eth.dns", |facts, out| show(facts.network.eth.address, |at| at.dns, out)),
];

/// A part of an address; nothing where there is none.
fn show(
    address: Option<IpSettings>,
    part: fn(IpSettings) -> Ipv4Addr,
    out: &mut String,
) -> fmt::Result {
    address.map_or(Ok(()), |address| write!(out, "{}", part(address)))
}

/// The variable of this name; none where there is none.
#[must_use]
pub fn find(name: &str) -> Option<Reference> {
    let named = VARIABLES.iter().find(|variable| variable.name == name);
    named.map(Reference::Named).or_else(|| volume(name))
}

/// `vol[n].field`.
fn volume(name: &str) -> Option<Reference> {
    let (index, field) = name.strip_prefix("vol[")?.split_once("].")?;
    let (_, field) = VolumeField::NAMES.into_iter().find(|(name, _)| *name == field)?;
    let index = (0..VOLUMES).find(|known| index == known.to_string())?;
    Some(Reference::Volume(index, field))
}

/// Every variable with its value, in order; of the meters behind the meter those that it reports.
pub fn each(facts: &Facts<'_>, mut show: impl FnMut(&str, &str)) {
    let mut value = String::new();
    for variable in VARIABLES {
        value.clear();
        Reference::Named(variable).write(facts, &mut value);
        show(variable.name, &value);
    }
    for index in 0..facts.volumes().len().min(VOLUMES) {
        for (name, field) in VolumeField::NAMES {
            value.clear();
            Reference::Volume(index, field).write(facts, &mut value);
            show(&format!("vol[{index}].{name}"), &value);
        }
    }
}

impl Reference {
    /// Appends the value: of an unknown number `null`, of an unknown text nothing.
    pub fn write(self, facts: &Facts<'_>, out: &mut String) {
        let number = match self {
            Self::Named(Variable { shows: Shows::Quantity(quantity), .. }) => {
                facts.snapshot.value(*quantity)
            }
            Self::Named(Variable { shows: Shows::Number(value), .. }) => value(facts),
            Self::Named(Variable { shows: Shows::Text(value), .. }) => {
                // A `String` takes whatever is written to it.
                let _ = value(facts, out);
                return;
            }
            Self::Volume(index, field) => {
                let volume = facts.volumes().get(index);
                match field {
                    VolumeField::Bus => volume.map(|volume| Decimal::new(volume.bus.into(), 0)),
                    VolumeField::Cumulative => volume.and_then(|volume| volume.cumulative),
                    VolumeField::MeterId => {
                        out.push_str(volume.map_or("", |volume| &volume.meter_id));
                        return;
                    }
                    VolumeField::DateTime => {
                        let time = volume.and_then(|volume| volume.meter_time);
                        let utc = |time| CivilTime::of(time).date_time_utc();
                        let _ = time.map_or(Ok(()), |time| write!(out, "{}", utc(time)));
                        return;
                    }
                }
            }
        };
        match number {
            Some(number) => {
                let _ = write!(out, "{number}");
            }
            None => out.push_str("null"),
        }
    }
}

impl Facts<'_> {
    fn config(&self) -> &super::Config {
        &self.snapshot.view.config
    }

    fn volumes(&self) -> &[Volume] {
        self.snapshot.reading().map_or(&[], |reading| &reading.volumes)
    }

    fn meter(&self, out: &mut String, text: fn(&MeterIdentity) -> &str) -> fmt::Result {
        out.write_str(self.snapshot.meter.meter.as_deref().map_or("", text))
    }

    fn time(&self) -> CivilTime {
        self.snapshot.system_time()
    }

    /// When the newest reading was, by the meter's clock.
    fn read_at(&self, out: &mut String, form: fn(CivilTime) -> String) -> fmt::Result {
        self.snapshot.meter_time().map_or(Ok(()), |time| out.write_str(&form(time)))
    }

    /// The network that the Wi-Fi client is connected to.
    fn access_point(&self) -> Option<&Sighting> {
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
        each(&property::facts(&identity, &snapshot), |name, value| {
            pairs.push((name.to_owned(), value.to_owned()));
        });
        pairs
    }

    #[test]
    fn every_name_is_listed_once_and_found() {
        let names: HashSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(names.len(), VARIABLES.len());
        for variable in VARIABLES {
            let found = find(variable.name);
            assert!(matches!(found, Some(Reference::Named(same)) if std::ptr::eq(same, variable)));
        }
    }

    #[test]
    fn every_quantity_of_the_meter_has_the_variable_of_its_code() {
        for quantity in Q::ALL {
            let name = quantity.obis().replace('.', "_");
            let found = VARIABLES.iter().find(|variable| variable.name == name);
            assert!(
                matches!(found, Some(Variable { shows: Shows::Quantity(of), .. }) if of == quantity),
                "{name}"
            );
        }
    }

    // Ruling: VARIABLE-1.
    #[test]
    fn volumes_are_listed_where_there_are_any() {
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
    fn times_come_in_three_forms_and_currents_with_a_sign() {
        let pairs = listed(true);
        let value = |name: &str| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        for whose in ["sys", "meter"] {
            let of = |form: &str| value(&format!("{whose}.date_time{form}"));
            assert_eq!(of(""), Some("1970-01-01T01:00:00Z"), "local, though it says Z");
            assert_eq!(of("_local"), Some("1970-01-01T01:00:00+01:00"));
            assert_eq!(of("_utc"), Some("1970-01-01T00:00:00Z"));
        }
        assert_eq!(value("timestamp"), Some("0"));
        assert_eq!((value("31_7_0"), value("s31_7_0")), (Some("0.06"), Some("-0.06")));
    }
}
