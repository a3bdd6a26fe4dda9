//! The meter of a captured device: its kind by what it speaks or by the plug it feeds, what it
//! counted, and why it is not understood, where it is not.

use serde_json::{Map, Value, json};

use super::draft::{Captured, copy, without};
use crate::device::config::CustomScaler;
use crate::device::scalers;
use crate::meter::Quantity;

/// What is said of the meter.
#[derive(Debug, Default)]
pub(super) struct MeterDraft {
    /// `device.meter_settings`.
    pub settings: Value,
    /// `meter`; null for the default.
    pub meter: Value,
    /// `faults`; null where nothing befalls the meter.
    pub faults: Value,
}

/// Keys come back from no device; the switch that needs one stays as it is.
const SECRETS: &[&str] = &["encryption_key", "authentication_key"];
/// Stand-ins for keys: `capturedcaptured` and the same in capitals.
const KEY: &str = "63617074757265646361707475726564";
const OTHER_KEY: &str = "43415054555245444341505455524544";
/// Seconds after its boot in which a device may not have heard from its meter yet.
const SETTLED: u64 = 60;

pub(super) fn draft(captured: &Captured, notes: &mut Vec<String>) -> MeterDraft {
    let mut draft = MeterDraft {
        settings: without(captured.meter_settings.as_ref(), SECRETS),
        ..MeterDraft::default()
    };
    let of_system = &captured.system["meter"];
    if of_system["auth_en"] == true {
        notes.push(format!("{KEY} stands in for the key that the meter is authenticated with."));
        set(&mut draft.settings, "authentication_key", KEY);
    }
    let Some(kind) = kind(captured, notes) else { return draft };
    draft.meter = described(kind, captured, notes);
    match of_system["status"].as_str().unwrap_or_default() {
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
            set(&mut draft.settings, "encryption_key", OTHER_KEY);
        }
        "NOT RECOGNIZED" => draft.faults = fault("not_recognized", None),
        "NO DATA" => {
            let up = captured.system["device"]["time_since_boot"].as_u64();
            let heard = protocol(captured).is_some();
            if !heard && up.is_some_and(|up| up < SETTLED) {
                notes.push("The meter had not been heard since the boot; here it will be.".into());
            } else {
                // Whom the device has heard it knows on.
                draft.faults = fault("no_data", heard.then_some("30s"));
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

/// A fault that keeps the meter from being understood.
fn fault(effect: &str, after: Option<&str>) -> Value {
    let mut rule = json!({ "id": "captured", "at": "meter", "effect": effect });
    if let Some(after) = after {
        rule["when"] = json!({ "after": after });
    }
    json!([rule])
}

/// What the meter speaks, as far as the device knows.
fn protocol(captured: &Captured) -> Option<&str> {
    let document = captured.report.as_ref().map(|report| &report["meter"]["protocol"]);
    let told = document.into_iter().chain([&captured.system["meter"]["protocol"]]);
    told.filter_map(Value::as_str).find(|protocol| !protocol.is_empty())
}

/// The word of the scenario language for the meter; none where nothing is known of it.
fn kind(captured: &Captured, notes: &mut Vec<String>) -> Option<&'static str> {
    let of_system = &captured.system["meter"];
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
    let status = of_system["status"].as_str()?;
    if status == "NOT CONNECTED" {
        return Some("none");
    }
    let plug = |key: &str| captured.system["device"]["plug"][key].as_f64().unwrap_or(0.0);
    let kind = match of_system["interface"].as_str() {
        Some("MBUS") => "landis_gyr",
        Some("P1") => "ensor",
        Some("TTL") => "kamstrup",
        // M-Bus has some 14 V, and P1 5 V; what feeds nothing floats below 3 V.
        _ if plug("v_mbus") > 8.0 => "landis_gyr",
        _ if plug("v_p1") > 4.0 => "ensor",
        _ => "kamstrup",
    };
    notes.push(format!(
        "The device does not know its meter ({status}); that it is a {kind} is told by its plug."
    ));
    Some(kind)
}

fn described(kind: &str, captured: &Captured, notes: &mut Vec<String>) -> Value {
    let of_system = &captured.system["meter"];
    let mut meter = Map::new();
    meter.insert("kind".into(), json!(kind));
    copy(&mut meter, "id", &of_system["id"]);
    copy(&mut meter, "model", &of_system["model"]);
    copy(&mut meter, "logical_name", &of_system["type"]);
    if let Some(report) = &captured.report {
        copy(&mut meter, "volume_id", &report["report"]["volume"][0]["meter_id"]);
    } else {
        notes.push("The report could not be read: the counters begin at 0.".into());
    }
    let shown = ShownMeter::by(captured);
    if let Some(phases) = phases(&shown) {
        meter.insert("phases".into(), json!(phases));
    }
    let mut start = Map::new();
    for (key, register) in [
        ("import", "energy.active.positive"),
        ("export", "energy.active.negative"),
        ("reactive_import", "energy.reactive.positive"),
        ("reactive_export", "energy.reactive.negative"),
    ] {
        if let Some(count) = count(&shown, register) {
            start.insert(key.into(), count);
        }
    }
    let exports = |path: &str| shown.sent(path).is_some_and(|exported| exported > 0.0);
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

/// The report, and what the device made of what the meter sent: `conv_factor` and the user's scalers.
struct ShownMeter<'a> {
    report: Option<&'a Value>,
    factor: f64,
    scalers: Vec<CustomScaler>,
}

impl<'a> ShownMeter<'a> {
    fn by(captured: &'a Captured) -> Self {
        let settings = captured.meter_settings.as_ref();
        let factor = settings.and_then(|settings| settings["conv_factor"].as_f64());
        let scaled = protocol(captured) == Some("DLMS")
            && settings.is_some_and(|settings| settings["scalers_set"] == "custom");
        let own = captured.custom_scalers.as_ref().filter(|_| scaled);
        Self {
            report: captured.report.as_ref().map(|document| &document["report"]),
            factor: factor.filter(|factor| *factor > 0.0).unwrap_or(1.0),
            scalers: own.and_then(|own| scalers::parse(own).ok()).unwrap_or_default(),
        }
    }

    /// What the meter itself sent of the number at this path of the report.
    fn sent(&self, path: &str) -> Option<f64> {
        let mut shown = self.report?;
        for key in path.split('.') {
            shown = &shown[key];
        }
        let quantity = Quantity::ALL.iter().find(|quantity| quantity.report_path() == path)?;
        let factor = if quantity.unit().has_conversion_factor() { self.factor } else { 1.0 };
        let shift = scalers::shift_by(&self.scalers, *quantity);
        Some(shown.as_f64()? / factor / 10_f64.powi(shift.into()))
    }
}

/// What a register counted, in kWh to the Wh: by tariff where the meter tells them apart, else in all.
fn count(shown: &ShownMeter<'_>, register: &str) -> Option<Value> {
    let own =
        |of: &str| shown.sent(&format!("{register}.{of}")).map(|kwh| (kwh * 1e3).round() / 1e3);
    match (own("t1"), own("t2")) {
        (Some(t1), Some(t2)) => Some(json!([t1, t2])),
        _ => own("total").map(Value::from),
    }
}

/// Phases without a wire float at some 30 V, or read 0.
fn phases(shown: &ShownMeter<'_>) -> Option<u8> {
    let live = |phase: &str| shown.sent(&format!("voltage.{phase}")).is_some_and(|v| v > 100.0);
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
    fn a_meter_is_known_by_what_it_speaks_and_begins_with_what_it_counted() {
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
        let captured = Captured { system, report: Some(report), ..Captured::default() };
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
