//! `/api/v1/report` and `/api/v1/report/objects`, byte for byte.

use std::time::Duration;

use serde_json::Value;
use wwsim::device::{License, Snapshot};
use wwsim::meter::{MeterKind, MeterPlan, Quantity};

use crate::support::device::{Setup, TestDevice, body, header, request, status};

const REPORT: &str = "/api/v1/report";
const OBJECTS: &str = "/api/v1/report/objects";
const MINUTE: Duration = Duration::from_mins(1);

async fn start_device(kind: Option<MeterKind>) -> TestDevice {
    let meter = MeterPlan { kind, ..MeterPlan::default() };
    let from = "2026-01-15T18:00:00+01:00".parse().unwrap();
    TestDevice::start(Setup { meter, from, ..Setup::default() }).await
}

/// Returns the value of a quantity, as the report has to show it.
fn value(snapshot: &Snapshot, quantity: Quantity) -> String {
    snapshot.value(quantity).unwrap().to_string()
}

/// Returns an object with these quantities, each under the last part of its path.
fn group<const N: usize>(snapshot: &Snapshot, quantities: [Quantity; N]) -> String {
    let name = |quantity: Quantity| quantity.report_path().rsplit('.').next().unwrap();
    let member = |quantity| format!("\"{}\":{}", name(quantity), value(snapshot, quantity));
    format!("{{{}}}", quantities.map(member).join(","))
}

/// Returns the members from `report.id` to `report.date_time_utc`.
fn beginning(snapshot: &Snapshot) -> String {
    let reading = snapshot.reading().unwrap();
    let time = snapshot.meter_time().unwrap();
    let millis = reading.interval.as_millis();
    let interval = format!("{}.{:03}", millis / 1000, millis % 1000);
    let interval = interval.trim_end_matches('0').trim_end_matches('.');
    format!(
        "\"id\":{},\"interval\":{interval},\"tariff\":{},\"date_time\":\"{}\",\
         \"date_time_local\":\"{}\",\"date_time_utc\":\"{}\"",
        reading.id,
        reading.tariff.unwrap(),
        time.date_time(),
        time.date_time_local(),
        time.date_time_utc()
    )
}

// Ruling: METER-8.
#[tokio::test]
async fn before_the_first_reading_the_report_is_empty() {
    let test = start_device(Some(MeterKind::Ensor)).await;
    let answer = test.get(REPORT).await;
    assert_eq!((status(&answer), header(&answer, "Content-Length")), (200, Some("234")));
    let boot_id = test.device.view().boot.id;
    assert_eq!(
        body(&answer),
        format!(
            "{{\"report\":{{}},\"meter\":{{\"status\":\"NO DATA\"}},\"system\":{{\
             \"id\":\"A842E39F8124\",\"date_time\":\"2026-01-15T18:00:00Z\",\
             \"date_time_local\":\"2026-01-15T18:00:00+01:00\",\
             \"date_time_utc\":\"2026-01-15T17:00:00Z\",\"boot_id\":\"{boot_id}\",\
             \"time_since_boot\":0}}}}"
        )
    );
}

#[tokio::test]
async fn without_a_meter_the_status_is_not_connected() {
    let test = start_device(None).await;
    test.clock.advance(MINUTE).await.unwrap();
    let json: Value = serde_json::from_str(body(&test.get(REPORT).await)).unwrap();
    assert_eq!(json["meter"], serde_json::json!({ "status": "NOT CONNECTED" }));
    assert_eq!(json["report"], serde_json::json!({}));
    assert_eq!(json["system"]["time_since_boot"], 60);
}

#[tokio::test]
async fn a_p1_report_has_the_order_of_the_vendors_sample() {
    use Quantity as Q;
    let test = start_device(Some(MeterKind::Ensor)).await;
    test.clock.advance(MINUTE).await.unwrap();
    let answer = test.get(REPORT).await;
    assert_eq!(header(&answer, "Content-Type"), Some("application/json; charset=utf-8"));
    let snapshot = test.device.snapshot();
    let meter = snapshot.meter.meter.as_ref().unwrap();
    let expected = format!(
        "{{\"report\":{{{},\"instantaneous_power\":{{\"active\":{{\"positive\":{},\"negative\":{}}}}},\
         \"voltage\":{},\"current\":{},\"energy\":{{\"active\":{{\"positive\":{},\"negative\":{}}}}},\
         \"conv_factor\":1,\"volume\":[{{\"bus\":1,\"meter_id\":\"{}\"}}]}},\
         \"meter\":{{\"status\":\"OK\",\"interface\":\"P1\",\"protocol\":\"DSMR\",\
         \"protocol_version\":\"5.0\",\"logical_name\":\"{}\",\"id\":\"{}\",\"model\":\"{}\",\
         \"vendor\":\"Ensor\",\"prefix\":\"ESR\"}},\
         \"system\":{{\"id\":\"A842E39F8124\",\"date_time\":\"2026-01-15T18:01:00Z\",\
         \"date_time_local\":\"2026-01-15T18:01:00+01:00\",\
         \"date_time_utc\":\"2026-01-15T17:01:00Z\",\"boot_id\":\"{}\",\"time_since_boot\":60}}}}",
        beginning(&snapshot),
        group(&snapshot, [Q::ImportPower, Q::ImportPowerL1, Q::ImportPowerL2, Q::ImportPowerL3]),
        group(&snapshot, [Q::ExportPower, Q::ExportPowerL1, Q::ExportPowerL2, Q::ExportPowerL3]),
        group(&snapshot, [Q::VoltageL1, Q::VoltageL2, Q::VoltageL3]),
        group(&snapshot, [Q::CurrentL1, Q::CurrentL2, Q::CurrentL3]),
        group(&snapshot, [Q::ActiveImportEnergy, Q::ActiveImportEnergyT1, Q::ActiveImportEnergyT2]),
        group(&snapshot, [Q::ActiveExportEnergy, Q::ActiveExportEnergyT1, Q::ActiveExportEnergyT2]),
        snapshot.reading().unwrap().volumes[0].meter_id,
        meter.logical_name,
        meter.id,
        meter.model,
        snapshot.view.boot.id,
    );
    assert_eq!(body(&answer), expected);
}

#[tokio::test]
async fn a_dlms_report_has_only_values_that_the_meter_sends() {
    use Quantity as Q;
    let test = start_device(Some(MeterKind::LandisGyr)).await;
    test.clock.advance(MINUTE).await.unwrap();
    let answer = test.get(REPORT).await;
    let snapshot = test.device.snapshot();
    let expected = format!(
        "{{\"report\":{{{},\"instantaneous_power\":{{\"active\":{{\"positive\":{},\"negative\":{}}},\
         \"reactive\":{{\"positive\":{},\"negative\":{}}}}},\"voltage\":{},\"current\":{},\
         \"energy\":{{\"active\":{{\"positive\":{},\"negative\":{}}},\
         \"reactive\":{{\"positive\":{},\"negative\":{}}}}},\"conv_factor\":1}},\
         \"meter\":{{\"status\":\"OK\",\"interface\":\"MBUS\",\"protocol\":\"DLMS\",\
         \"logical_name\":\"{}\",\"vendor\":\"Landis+Gyr\",\"prefix\":\"LGZ\"}},\"system\":",
        beginning(&snapshot),
        group(&snapshot, [Q::ImportPower, Q::ImportPowerL1, Q::ImportPowerL2, Q::ImportPowerL3]),
        group(&snapshot, [Q::ExportPower, Q::ExportPowerL1, Q::ExportPowerL2, Q::ExportPowerL3]),
        group(
            &snapshot,
            [Q::ReactiveImportPowerL1, Q::ReactiveImportPowerL2, Q::ReactiveImportPowerL3]
        ),
        group(
            &snapshot,
            [Q::ReactiveExportPowerL1, Q::ReactiveExportPowerL2, Q::ReactiveExportPowerL3]
        ),
        group(&snapshot, [Q::VoltageL1, Q::VoltageL2, Q::VoltageL3]),
        group(&snapshot, [Q::CurrentL1, Q::CurrentL2, Q::CurrentL3]),
        group(&snapshot, [Q::ActiveImportEnergy]),
        group(&snapshot, [Q::ActiveExportEnergy]),
        group(&snapshot, [Q::ReactiveImportEnergy]),
        group(&snapshot, [Q::ReactiveExportEnergy]),
        snapshot.meter.meter.as_ref().unwrap().logical_name,
    );
    assert_eq!(&body(&answer)[..expected.len()], expected);
}

// Ruling: METER-13.
#[tokio::test]
async fn demand_and_power_factor_follow_energy() {
    let test = start_device(Some(MeterKind::Kamstrup)).await;
    test.clock.advance(MINUTE).await.unwrap();
    let answer = test.get(REPORT).await;
    let snapshot = test.device.snapshot();
    let expected = format!(
        "\"max_demand\":{{\"active\":{{\"positive\":{{\"total\":{}}}}}}},\"power_factor\":{},\
         \"conv_factor\":1}},\"meter\":{{\"status\":\"OK\",\"interface\":\"TTL\"",
        value(&snapshot, Quantity::ImportDemand),
        value(&snapshot, Quantity::PowerFactor),
    );
    assert!(body(&answer).contains(&expected), "{answer}\n{expected}");
}

#[tokio::test]
async fn the_factor_applies_to_power_energy_and_current() {
    let test = start_device(Some(MeterKind::Ensor)).await;
    test.clock.advance(MINUTE).await.unwrap();
    let report = || async {
        let answer = test.get(REPORT).await;
        serde_json::from_str::<Value>(body(&answer)).unwrap()["report"].clone()
    };
    let before = report().await;
    let set = request("PUT", "/api/v1/meter/settings", "{\"conv_factor\":40}");
    assert_eq!(status(&test.exchange_one(&set).await), 200);
    let after = report().await;
    let number = |report: &Value, path: &str| report.pointer(path).unwrap().as_f64().unwrap();
    for path in
        ["/instantaneous_power/active/positive/l1", "/energy/active/positive/total", "/current/l1"]
    {
        let expected = number(&before, path) * 40.0;
        assert!((number(&after, path) - expected).abs() < 1e-9, "{path}");
        assert!(expected > 0.0, "{path}");
    }
    assert_eq!(after.pointer("/voltage/l1"), before.pointer("/voltage/l1"));
    assert_eq!(after["conv_factor"], 40);
}

// Ruling: METER-6.
#[tokio::test]
async fn dlms_objects_have_the_values_of_the_reading() {
    let test = start_device(Some(MeterKind::LandisGyr)).await;
    assert_eq!(body(&test.get(OBJECTS).await), "{\"objects\":[]}", "no reading yet");
    test.clock.advance(MINUTE).await.unwrap();
    let answer = test.get(OBJECTS).await;
    let snapshot = test.device.snapshot();
    let start = "{\"objects\":[{\"logical_name\":\"0-8:25.9.0\",\"class\":40,\"size\":28,\
         \"push_object_list\":[{\"logical_name\":\"0-8:25.9.0\",\"class\":40,\"attribute\":2,\
         \"data_index\":0},{\"logical_name\":\"0-0:42.0.0\",\"class\":1,\"attribute\":2,";
    assert_eq!(&body(&answer)[..start.len()], start);
    let name = &snapshot.meter.meter.as_ref().unwrap().logical_name;
    let hex: String = crate::support::house::hex(name.as_bytes());
    let watt_hours = snapshot.value(Quantity::ActiveImportEnergy).unwrap().mantissa();
    let tariff = snapshot.reading().unwrap().tariff.unwrap();
    let current = snapshot.value(Quantity::CurrentL1).unwrap();
    assert_eq!(current.places(), 2);
    for object in [
        format!(
            "{{\"logical_name\":\"0-0:42.0.0\",\"class\":1,\"tag\":9,\"size\":{},\"value\":\"{hex}\"}}",
            name.len()
        ),
        format!(
            "{{\"logical_name\":\"1-1:1.8.0\",\"class\":3,\"tag\":21,\"size\":8,\
             \"value\":{watt_hours},\"unit\":30,\"scaler\":0}}"
        ),
        format!(
            "{{\"logical_name\":\"0-0:96.14.0\",\"class\":1,\"tag\":9,\"size\":8,\
             \"value\":\"524154453{tariff}000000\"}}"
        ),
        format!(
            "{{\"logical_name\":\"1-0:31.7.0\",\"class\":3,\"tag\":20,\"size\":8,\
             \"value\":{},\"unit\":33,\"scaler\":-2}}",
            current.mantissa()
        ),
        "\"logical_name\":\"0-0:96.13.0\",\"class\":1,\"tag\":9,\"size\":21,\
         \"value\":\"436F6E73756D6572204D6573736167652054657874\"}]}"
            .to_owned(),
    ] {
        assert!(body(&answer).contains(&object), "{object}\n{answer}");
    }
    // The factor does not change what the meter sent.
    let set = request("PUT", "/api/v1/meter/settings", "{\"conv_factor\":40}");
    test.exchange_one(&set).await;
    assert_eq!(test.get(OBJECTS).await, answer);
}

#[tokio::test]
async fn other_meters_have_no_objects() {
    for kind in [MeterKind::Ensor, MeterKind::Kamstrup] {
        let test = start_device(Some(kind)).await;
        test.clock.advance(MINUTE).await.unwrap();
        assert_eq!(body(&test.get(OBJECTS).await), "{\"objects\":[]}");
    }
}

// Ruling: ACCESS-1.
#[tokio::test]
async fn report_and_objects_need_a_licence() {
    let test = TestDevice::start(Setup { license: License::Free, ..Setup::default() }).await;
    for path in [REPORT, OBJECTS] {
        let answer = test.get(path).await;
        assert_eq!((status(&answer), body(&answer)), (404, "License required"));
        assert_eq!(status(&test.post(path, "").await), 405);
    }
}
