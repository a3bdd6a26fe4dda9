//! The meter of a captured device: its kind, by its protocol or by the plug that it feeds; its counters;
//! and the fault or key because of which the device does not read it.

use serde_json::{Map, Value, json};

use super::draft::{CapturedDevice, copy, without};
use crate::device::config::CustomScaler;
use crate::device::scalers;
use crate::meter::Quantity;

/// The parts of the scenario that concern the meter.
#[derive(Debug, Default)]
pub(super) struct MeterDraft {
    /// `device.meter_settings`.
    pub settings: Value,
    /// `meter`. Null for the default.
    pub meter: Value,
    /// `faults`. Null if no fault affects the meter.
    pub faults: Value,
}

/// The secrets among the meter settings, which no device reveals. The switches that need one are copied.
const SECRETS: &[&str] = &["encryption_key", "authentication_key"];
/// The placeholder of a key: `capturedcaptured`.
const KEY: &str = "63617074757265646361707475726564";
/// The placeholder of a wrong key: the same in capitals.
const WRONG_KEY: &str = "43415054555245444341505455524544";
/// Seconds after its boot within which a device may not have received a telegram yet.
const FIRST_TELEGRAM_SECONDS: u64 = 60;

/// Drafts the meter of a device.
pub(super) fn draft(captured: &CapturedDevice, notes: &mut Vec<String>) -> MeterDraft {
    let mut draft = MeterDraft {
        settings: without(captured.meter_settings.as_ref(), SECRETS),
        ..MeterDraft::default()
    };
    let status = &captured.system["meter"];
    if status["auth_en"] == true {
        notes.push(format!("{KEY} stands in for the key that the meter is authenticated with."));
        set(&mut draft.settings, "authentication_key", KEY);
    }
    let Some(kind) = kind(captured, notes) else { return draft };
    draft.meter = meter(kind, captured, notes);
    match status["status"].as_str().unwrap_or_default() {
        "KEY REQUIRED" => {
            notes.push(format!("The meter asks for a key; here {KEY} stands in for it."));
            draft.meter["encryption_key"] = json!(KEY);
        }
        "ENCRYPTION KEY" => {
            notes.push(format!(
                "The device has a wrong key of its meter; here {KEY} stands in for the right one."
            ));
            draft.meter["encryption_key"] = json!(KEY);
            set(&mut draft.settings, "encryption", true);
            set(&mut draft.settings, "encryption_key", WRONG_KEY);
        }
        "NOT RECOGNIZED" => draft.faults = fault("not_recognized", None),
        "NO DATA" => {
            let up = captured.system["device"]["time_since_boot"].as_u64();
            let is_known = protocol(captured).is_some();
            if !is_known && up.is_some_and(|up| up < FIRST_TELEGRAM_SECONDS) {
                notes.push("The meter had not been heard since the boot; here it will be.".into());
            } else {
                // The device keeps the protocol of a meter that it has received once.
                draft.faults = fault("no_data", is_known.then_some("30s"));
            }
        }
        _ => {}
    }
    draft
}

fn set(settings: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(settings) = settings.as_object_mut() {
        settings.insert(key.into(), value.into());
    }
}

/// Returns the rules that keep the device from reading the meter.
fn fault(effect: &str, after: Option<&str>) -> Value {
    let mut rule = json!({ "id": "captured", "at": "meter", "effect": effect });
    if let Some(after) = after {
        rule["when"] = json!({ "after": after });
    }
    json!([rule])
}

/// Returns the protocol of the meter. `None` if the device does not know it.
fn protocol(captured: &CapturedDevice) -> Option<&str> {
    let document = captured.report.as_ref().map(|report| &report["meter"]["protocol"]);
    let reported = document.into_iter().chain([&captured.system["meter"]["protocol"]]);
    reported.filter_map(Value::as_str).find(|protocol| !protocol.is_empty())
}

/// Returns the kind of the meter, as named in scenarios. `None` if nothing is known of the meter.
fn kind(captured: &CapturedDevice, notes: &mut Vec<String>) -> Option<&'static str> {
    let status = &captured.system["meter"];
    match protocol(captured) {
        Some("DLMS") => return Some("landis_gyr"),
        Some("DSMR") => return Some("ensor"),
        Some("KMP") => return Some("kamstrup"),
        Some(other) => {
            notes
                .push(format!("A meter that speaks {other} is not simulated; here it is another."));
            return None;
        }
        None => {}
    }
    let state = status["status"].as_str()?;
    if state == "NOT CONNECTED" {
        return Some("none");
    }
    let plug = |key: &str| captured.system["device"]["plug"][key].as_f64().unwrap_or(0.0);
    let kind = match status["interface"].as_str() {
        Some("MBUS") => "landis_gyr",
        Some("P1") => "ensor",
        Some("TTL") => "kamstrup",
        // M-Bus has about 14 V and P1 has 5 V; an unused plug floats below 3 V.
        _ if plug("v_mbus") > 8.0 => "landis_gyr",
        _ if plug("v_p1") > 4.0 => "ensor",
        _ => "kamstrup",
    };
    notes.push(format!(
        "The device does not know its meter ({state}); that it is a {kind} is told by its plug."
    ));
    Some(kind)
}

/// Returns the meter of the scenario.
fn meter(kind: &str, captured: &CapturedDevice, notes: &mut Vec<String>) -> Value {
    let status = &captured.system["meter"];
    let mut meter = Map::new();
    meter.insert("kind".into(), json!(kind));
    copy(&mut meter, "id", &status["id"]);
    copy(&mut meter, "model", &status["model"]);
    copy(&mut meter, "logical_name", &status["type"]);
    if let Some(document) = &captured.report {
        copy(&mut meter, "volume_id", &document["report"]["volume"][0]["meter_id"]);
    } else {
        notes.push("The report could not be read: the counters begin at 0.".into());
    }
    let report = MeterReport::new(captured);
    if let Some(phases) = phases(&report) {
        meter.insert("phases".into(), json!(phases));
    }
    let mut start = Map::new();
    for (key, register) in [
        ("import", "energy.active.positive"),
        ("export", "energy.active.negative"),
        ("reactive_import", "energy.reactive.positive"),
        ("reactive_export", "energy.reactive.negative"),
    ] {
        if let Some(count) = counter(&report, register) {
            start.insert(key.into(), count);
        }
    }
    let exports = |path: &str| report.sent(path).is_some_and(|exported| exported > 0.0);
    if exports("energy.active.negative.total")
        || exports("instantaneous_power.active.negative.total")
    {
        notes.push(
            "The house exports: a device cannot tell its panels; `pv` and `battery` of the meter say \
             what they are."
                .into(),
        );
    }
    if !start.is_empty() {
        meter.insert("start".into(), Value::Object(start));
    }
    Value::Object(meter)
}

/// The report, and the conversions that the device applied to the meter's numbers: `conv_factor` and
/// the user's scalers.
struct MeterReport<'a> {
    report: Option<&'a Value>,
    factor: f64,
    scalers: Vec<CustomScaler>,
}

impl<'a> MeterReport<'a> {
    fn new(captured: &'a CapturedDevice) -> Self {
        let settings = captured.meter_settings.as_ref();
        let factor = settings.and_then(|settings| settings["conv_factor"].as_f64());
        let scaled = protocol(captured) == Some("DLMS")
            && settings.is_some_and(|settings| settings["scalers_set"] == "custom");
        let custom = captured.custom_scalers.as_ref().filter(|_| scaled);
        Self {
            report: captured.report.as_ref().map(|document| &document["report"]),
            factor: factor.filter(|factor| *factor > 0.0).unwrap_or(1.0),
            scalers: custom.and_then(|custom| scalers::parse(custom).ok()).unwrap_or_default(),
        }
    }

    /// Returns the number that the meter sent for the number at this path of the report.
    fn sent(&self, path: &str) -> Option<f64> {
        let mut value = self.report?;
        for key in path.split('.') {
            value = &value[key];
        }
        let quantity = Quantity::ALL.iter().find(|quantity| quantity.report_path() == path)?;
        let factor = if quantity.unit().has_conversion_factor() { self.factor } else { 1.0 };
        let shift = scalers::shift_from_custom(&self.scalers, *quantity);
        Some(value.as_f64()? / factor / 10_f64.powi(shift.into()))
    }
}

/// Returns the counter of a register in kWh, rounded to the Wh: by tariff if the meter has tariffs, else
/// the total.
fn counter(report: &MeterReport<'_>, register: &str) -> Option<Value> {
    let kwh = |part: &str| {
        report.sent(&format!("{register}.{part}")).map(|kwh| (kwh * 1e3).round() / 1e3)
    };
    match (kwh("t1"), kwh("t2")) {
        (Some(t1), Some(t2)) => Some(json!([t1, t2])),
        _ => kwh("total").map(Value::from),
    }
}

/// Returns the number of phases. An unconnected phase floats at about 30 V, or reads 0.
fn phases(report: &MeterReport<'_>) -> Option<u8> {
    let live = |phase: &str| report.sent(&format!("voltage.{phase}")).is_some_and(|v| v > 100.0);
    match (live("l1"), live("l2") || live("l3")) {
        (_, true) => Some(3),
        (true, false) => Some(1),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_gives_the_kind_and_the_report_the_counters() {
        let report = json!({
            "report": {
                "voltage": {"l1": 234.01, "l2": 36.12, "l3": 36.48},
                "energy": {"active": {
                    "positive": {"total": 190.01, "t1": 120.133, "t2": 69.877},
                    "negative": {"total": 0},
                }},
            },
            "meter": {"protocol": "DSMR"},
        });
        let system = json!({"meter": {"type": "ESR51030712084367", "id": "", "model": "1ESR"}});
        let captured = CapturedDevice { system, report: Some(report), ..CapturedDevice::default() };
        let expected = json!({
            "kind": "ensor",
            "model": "1ESR",
            "logical_name": "ESR51030712084367",
            "phases": 1,
            "start": {"import": [120.133, 69.877], "export": 0.0},
        });
        assert_eq!(draft(&captured, &mut Vec::new()).meter, expected);
    }
}
