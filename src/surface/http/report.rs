//! `/api/v1/report` and `/api/v1/report/objects` (`docs/device/meter.md`, `report_fields.csv`).

use std::sync::LazyLock;

use hyper::StatusCode;

use super::{Call, HttpReply};
use crate::decimal::Decimal;
use crate::device::{CivilTime, Device, Snapshot};
use crate::meter::{self, DlmsObject, MeterIdentity, ObjectValue, Quantity, Reading};
use crate::net::http::json::JsonWriter;

/// The newest reading with all that belongs to it.
pub(super) fn show(call: &Call<'_>) -> HttpReply {
    let device = call.device();
    HttpReply::raw_json(StatusCode::OK, report(device, &device.snapshot()))
}

/// The raw objects of the newest reading.
pub(super) fn objects(call: &Call<'_>) -> HttpReply {
    HttpReply::raw_json(StatusCode::OK, raw_objects(&call.device().snapshot()))
}

/// The order in which the device names what a reading has: by the part of the report that a quantity
/// belongs to, and within one by the table's own order.
static ORDER: LazyLock<Vec<Quantity>> = LazyLock::new(|| {
    const PARTS: [&str; 6] =
        ["instantaneous_power", "voltage", "current", "energy", "max_demand", "power_factor"];
    let part = |quantity: &Quantity| {
        let first = quantity.report_path().split('.').next();
        PARTS.iter().position(|part| Some(*part) == first)
    };
    let mut order = Quantity::ALL.to_vec();
    // Stable: what belongs together stays in its order.
    order.sort_by_key(part);
    order
});

fn report(device: &Device, snapshot: &Snapshot) -> String {
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
    json.word("id", &device.identity().id);
    write_times(&mut json, snapshot.system_time());
    json.word("boot_id", snapshot.view.boot.id);
    json.plain("time_since_boot", snapshot.uptime().as_secs());
    json.end();
    json.end();
    json.into_string()
}

fn write_reading(json: &mut JsonWriter, snapshot: &Snapshot, reading: &Reading) {
    json.plain("id", reading.id);
    json.plain("interval", seconds(reading));
    if let Some(tariff) = reading.tariff {
        json.plain("tariff", tariff);
    }
    write_times(json, snapshot.meter_time_of(reading));
    let mut nesting = Nesting::default();
    for quantity in ORDER.iter() {
        if let Some(value) = snapshot.value(*quantity) {
            let name = nesting.turn_to(json, quantity.report_path());
            json.plain(name, value);
        }
    }
    nesting.close(json, 0);
    json.plain("conv_factor", snapshot.view.config.meter.conv_factor);
    if reading.volumes.is_empty() {
        return;
    }
    json.array("volume");
    for volume in &reading.volumes {
        json.begin();
        json.plain("bus", volume.bus);
        json.text("meter_id", &volume.meter_id);
        if let Some(at) = volume.meter_time {
            json.word("date_time", CivilTime::of(at).date_time());
        }
        if let Some(cumulative) = volume.cumulative {
            json.plain("cumulative", cumulative);
        }
        json.end();
    }
    json.end_array();
}

/// The time since the reading before, in seconds.
pub(super) fn seconds(reading: &Reading) -> Decimal {
    Decimal::new(i64::try_from(reading.interval.as_millis()).unwrap_or(i64::MAX), 3)
}

fn write_times(json: &mut JsonWriter, time: CivilTime) {
    json.word("date_time", time.date_time());
    json.word("date_time_local", time.date_time_local());
    json.word("date_time_utc", time.date_time_utc());
}

/// Who the meter is, as far as it says so.
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

/// The objects that are open while values are written one after another by their paths.
#[derive(Debug, Default)]
struct Nesting {
    open: Vec<&'static str>,
}

impl Nesting {
    /// Closes what `path` does not lie in, opens what it does lie in, and returns its last part.
    fn turn_to(&mut self, json: &mut JsonWriter, path: &'static str) -> &'static str {
        let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
        let parents = || parents.split('.').filter(|part| !part.is_empty());
        let common =
            self.open.iter().zip(parents()).take_while(|(open, part)| *open == part).count();
        self.close(json, common);
        for part in parents().skip(common) {
            json.object(part);
            self.open.push(part);
        }
        name
    }

    fn close(&mut self, json: &mut JsonWriter, keep: usize) {
        while self.open.len() > keep {
            self.open.pop();
            json.end();
        }
    }
}

fn raw_objects(snapshot: &Snapshot) -> String {
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
        ObjectValue::LogicalName => octets(json, meter.logical_name.as_bytes()),
        ObjectValue::Tariff => {
            let mut rate = [0; 8];
            rate[..4].copy_from_slice(b"RATE");
            rate[4] = b'0' + reading.tariff.unwrap_or(0) % 10;
            octets(json, &rate);
        }
        ObjectValue::Text(text) => octets(json, text.as_bytes()),
        ObjectValue::PushList => {}
    }
    json.end();
}

/// An octet string: its length, and its bytes in upper-case hexadecimal digits.
fn octets(json: &mut JsonWriter, bytes: &[u8]) {
    json.plain("size", bytes.len());
    json.word("value", Hex(bytes));
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}
