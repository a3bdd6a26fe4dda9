//! `/api/v1/report` and `/api/v1/report/objects` (`docs/device/meter.md`, `report_fields.csv`).

use std::sync::LazyLock;

use hyper::StatusCode;

use super::{Call, HttpReply};
use crate::decimal::Decimal;
use crate::device::{CivilTime, Device, Snapshot};
use crate::meter::{self, DlmsObject, MeterIdentity, ObjectValue, Quantity, Reading};
use crate::net::http::json::{JsonWriter, UpperHex};

/// Returns the newest reading, with the meter and the device.
pub(super) fn show(call: &Call<'_>) -> HttpReply {
    let (device, snapshot) = (call.device(), call.device().snapshot());
    let render = || render_report(device, &snapshot).into();
    HttpReply::raw_json(StatusCode::OK, call.snapshot_body(&snapshot, None, render))
}

/// Returns the raw objects of the newest reading.
pub(super) fn objects(call: &Call<'_>) -> HttpReply {
    let snapshot = call.device().snapshot();
    let body = call.snapshot_body(&snapshot, None, || render_objects(&snapshot).into());
    HttpReply::raw_json(StatusCode::OK, body)
}

/// The quantities in the order of the report: by the part of the report to which they belong, and within
/// a part by the order of the table.
static ORDER: LazyLock<Vec<ReportField>> = LazyLock::new(|| {
    let mut order = Quantity::ALL.to_vec();
    // The sort is stable, so each part keeps the order of the table.
    order.sort_by_key(|quantity| part_position(*quantity).unwrap_or(PARTS.len()));
    order.into_iter().map(ReportField::new).collect()
});

/// The place of a quantity in the report.
#[derive(Debug)]
struct ReportField {
    quantity: Quantity,
    /// The names of the objects that contain it, from the outermost.
    parents: Vec<&'static str>,
    name: &'static str,
}

impl ReportField {
    fn new(quantity: Quantity) -> Self {
        let path = quantity.report_path();
        let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
        let parents = parents.split('.').filter(|part| !part.is_empty()).collect();
        Self { quantity, parents, name }
    }
}

/// The parts of the report that contain quantities, in order.
const PARTS: [&str; 6] =
    ["instantaneous_power", "voltage", "current", "energy", "max_demand", "power_factor"];

/// Returns the position in [`PARTS`] of the part to which a quantity belongs. A test finds each quantity
/// there.
fn part_position(quantity: Quantity) -> Option<usize> {
    let part = quantity.report_path().split('.').next();
    PARTS.iter().position(|known| Some(*known) == part)
}

fn render_report(device: &Device, snapshot: &Snapshot) -> String {
    let mut json = JsonWriter::with_capacity(2048);
    json.begin();
    json.object("report");
    if let Some(reading) = snapshot.reading() {
        write_reading(&mut json, snapshot, reading);
    }
    json.end();
    json.object("meter");
    json.word("status", snapshot.meter.status.as_str());
    if let Some(meter) = &snapshot.meter.meter {
        write_meter(&mut json, meter);
    }
    json.end();
    json.object("system");
    json.word("id", device.identity().id.as_str());
    write_times(&mut json, snapshot.system_time());
    json.word("boot_id", snapshot.view.boot.id);
    json.plain("time_since_boot", snapshot.uptime().as_secs());
    json.end();
    json.end();
    json.into_string()
}

fn write_reading(json: &mut JsonWriter, snapshot: &Snapshot, reading: &Reading) {
    json.plain("id", reading.id);
    json.plain("interval", interval_seconds(reading));
    if let Some(tariff) = reading.tariff {
        json.plain("tariff", tariff);
    }
    write_times(json, snapshot.meter_time_of(reading));
    let mut nesting = Nesting::default();
    for field in ORDER.iter() {
        if let Some(value) = snapshot.value(field.quantity) {
            nesting.enter(json, &field.parents);
            json.plain(field.name, value);
        }
    }
    nesting.close_to(json, 0);
    json.plain("conv_factor", snapshot.view.config.meter.conv_factor);
    if reading.volumes.is_empty() {
        return;
    }
    json.array("volume");
    for volume in &reading.volumes {
        json.begin();
        json.plain("bus", volume.channel);
        json.text("meter_id", &volume.meter_id);
        if let Some(at) = volume.meter_time {
            json.word("date_time", CivilTime::new(at).date_time());
        }
        if let Some(cumulative) = volume.cumulative {
            json.plain("cumulative", cumulative);
        }
        json.end();
    }
    json.end_array();
}

/// Returns the time since the previous reading, in seconds.
pub(super) fn interval_seconds(reading: &Reading) -> Decimal {
    Decimal::seconds(reading.interval)
}

fn write_times(json: &mut JsonWriter, time: CivilTime) {
    json.word("date_time", time.date_time());
    json.word("date_time_local", time.date_time_local());
    json.word("date_time_utc", time.date_time_utc());
}

/// Writes the identity of the meter. Fields that the meter does not send are left out.
fn write_meter(json: &mut JsonWriter, meter: &MeterIdentity) {
    json.word("interface", meter.interface.as_str());
    json.word("protocol", meter.protocol.as_str());
    for (key, text) in [
        ("protocol_version", &meter.protocol_version),
        ("logical_name", &meter.logical_name),
        ("id", &meter.id),
        ("model", &meter.model),
        ("vendor", &meter.vendor),
        ("prefix", &meter.prefix),
    ] {
        if !text.is_empty() {
            json.text(key, text);
        }
    }
}

/// The JSON objects that are open while values are written one by one.
#[derive(Debug, Default)]
struct Nesting {
    open: Vec<&'static str>,
}

impl Nesting {
    /// Closes and opens objects until exactly `parents` are open.
    fn enter(&mut self, json: &mut JsonWriter, parents: &[&'static str]) {
        let same = |(open, parent): &(&&str, &&str)| open == parent;
        let common = self.open.iter().zip(parents).take_while(same).count();
        self.close_to(json, common);
        for parent in &parents[common..] {
            json.object(parent);
            self.open.push(parent);
        }
    }

    /// Closes the innermost objects until `depth` are open.
    fn close_to(&mut self, json: &mut JsonWriter, depth: usize) {
        while self.open.len() > depth {
            self.open.pop();
            json.end();
        }
    }
}

fn render_objects(snapshot: &Snapshot) -> String {
    let mut json = JsonWriter::with_capacity(4096);
    json.begin();
    json.array("objects");
    if let (Some(meter), Some(reading)) = (&snapshot.meter.meter, snapshot.reading()) {
        let all = meter::objects(meter);
        for object in all {
            write_object(&mut json, object, all, meter, reading);
        }
    }
    json.end_array();
    json.end();
    json.into_string()
}

fn write_object(
    json: &mut JsonWriter,
    object: &DlmsObject,
    all: &[DlmsObject],
    meter: &MeterIdentity,
    reading: &Reading,
) {
    let number = object.number(reading);
    if matches!(object.value, ObjectValue::Register { .. }) && number.is_none() {
        return;
    }
    json.begin();
    json.word("logical_name", object.logical_name);
    json.plain("class", object.class);
    if object.value == ObjectValue::PushList {
        json.plain("size", all.len());
        json.array("push_object_list");
        for pushed in all {
            let (attribute, data_index) = DlmsObject::PUSHED;
            json.begin();
            json.word("logical_name", pushed.logical_name);
            json.plain("class", pushed.class);
            json.plain("attribute", attribute);
            json.plain("data_index", data_index);
            json.end();
        }
        json.end_array();
        json.end();
        return;
    }
    json.plain("tag", object.tag);
    match object.value {
        ObjectValue::Register { unit, scaler, .. } => {
            json.plain("size", object.size);
            json.plain("value", number.unwrap_or_default());
            json.plain("unit", unit);
            json.plain("scaler", scaler);
        }
        ObjectValue::LogicalName => write_octets(json, meter.logical_name.as_bytes()),
        ObjectValue::Tariff => {
            let mut rate = [0; 8];
            rate[..4].copy_from_slice(b"RATE");
            rate[4] = b'0' + reading.tariff.unwrap_or(0) % 10;
            write_octets(json, &rate);
        }
        ObjectValue::Text(text) => write_octets(json, text.as_bytes()),
        ObjectValue::PushList => {}
    }
    json.end();
}

/// Writes an octet string: its length, and its bytes as upper-case hexadecimal digits.
fn write_octets(json: &mut JsonWriter, bytes: &[u8]) {
    json.plain("size", bytes.len());
    json.word("value", UpperHex(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_belongs_to_a_part_of_the_report() {
        for quantity in Quantity::ALL {
            assert!(part_position(*quantity).is_some(), "{}", quantity.report_path());
        }
    }
}
