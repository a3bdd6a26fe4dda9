//! The largest numbers of recordings and scenarios: every surface shows them within its own range.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_modbus::client::tcp::connect;
use tokio_modbus::prelude::Reader as _;
use wwsim::house::House;
use wwsim::meter::Quantity;
use wwsim::scenario;

use crate::meter_time::next_live_event;
use crate::support::folder::Folder;
use crate::support::house::{TestHouse, http, within};

const HOUSE: &str = "
clock: {start: 2026-01-15T18:00:00+01:00, speed: manual}
device:
  sd_card: {}
  meter: {kind: landis_gyr, replay: {file: big.csv}}
";

/// Returns a recording in which all quantities have the value `first`, and a minute later `second`.
fn csv(first: &str, second: &str) -> String {
    let mut csv = String::from("TIME");
    for quantity in Quantity::ALL {
        write!(csv, ",{}", quantity.sd_column()).unwrap();
    }
    for (time, value) in [("11:00:00", first), ("11:01:00", second)] {
        write!(csv, "\n2026-06-10T{time}Z{}", format!(",{value}").repeat(Quantity::COUNT)).unwrap();
    }
    csv
}

fn load(csv: &str) -> Result<scenario::Scenario, String> {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.0.join("big.csv"), csv).unwrap();
    scenario::load(HOUSE, "house.yaml", Some(&folder.0)).map_err(|error| error.to_string())
}

async fn start_house(csv: &str) -> TestHouse {
    let house = House::builder().loaded(load(csv).unwrap()).any_port().start().await.unwrap();
    TestHouse { house }
}

/// Sets the largest factors, and switches on every service that shows numbers.
async fn set_largest_factors(house: &TestHouse) {
    let scalers: Vec<Value> = Quantity::ALL
        .iter()
        .map(|quantity| json!({"obis": quantity.obis().to_string(), "scaler": 6}))
        .collect();
    let registers = ["1.8.0", "1.7.0", "power.active", "power.reactive.l1", "current.l1", "9.7.0"]
        .map(|id| {
            ["short", "int", "long", "float", "double"]
                .map(|data_type| json!({"id": id, "type": data_type, "scaler": 6}))
        })
        .concat();
    for (method, path, body) in [
        ("POST", "/api/v1/meter/scalers/custom", json!(scalers)),
        ("PUT", "/api/v1/meter/settings", json!({"conv_factor": 1000, "scalers_set": "custom"})),
        ("POST", "/api/v1/modbus", json!([{"start_address": 0, "registers": registers}])),
        (
            "PUT",
            "/api/v1/settings",
            json!({"services": {"modbus": {"enable": true}, "sd": {"enable": true, "frequency": 1}}}),
        ),
    ] {
        let answer = http(house.api_address(), method, path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
}

/// Checks that every surface shows the numbers.
async fn assert_shown_everywhere(house: &TestHouse) {
    for path in ["/api/v1/report", "/api/v1/report/objects", "/api/v1/variables"] {
        let answer = house.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(serde_json::from_str::<Value>(&answer.body).is_ok(), "{path}: {}", answer.body);
    }
    let template = "${1_8_0} ${s31_7_0} ${9_7_0}";
    assert_eq!(house.post("/api/v1/template/test", template).await.status, 200);
    let live = next_live_event(house).await;
    house.advance(Duration::from_secs(10)).await;
    assert!(serde_json::from_str::<Value>(&live.await).is_ok());
    let mut client = connect(house.addresses().devices[0].modbus.unwrap()).await.unwrap();
    for address in 0..6 {
        let words = within(client.read_input_registers(address * 13, 13)).await.unwrap();
        assert!(words.is_ok(), "{words:?}");
    }
    assert!(house.get("/sdcard/20260115.CSV").await.body.lines().count() > 1);
}

#[tokio::test]
async fn the_largest_numbers_are_shown_everywhere() {
    for (first, second) in [
        ("1000000000", "1000000000"),
        ("1000000000.000000000", "-1000000000"),
        ("-1000000000.000000000", "1000000000"),
        ("0.000000001", "1000000000"),
    ] {
        let house = start_house(&csv(first, second)).await;
        house.advance(Duration::from_mins(2)).await;
        set_largest_factors(&house).await;
        assert_shown_everywhere(&house).await;
        // The registers of a looped recording continue for years.
        house.clock().jump(Duration::from_hours(24 * 365 * 40)).await.unwrap();
        assert_shown_everywhere(&house).await;
    }
}

#[tokio::test]
async fn the_largest_house_is_shown_everywhere() {
    let load = "{watts: 100000, power_factor: 0.1, windows: [{from: '00:00', to: '24:00'}]}";
    let loads = vec![load; 16].join(", ");
    for kind in ["landis_gyr", "ensor", "kamstrup"] {
        let house = TestHouse::start(&format!(
            "device: {{sd_card: {{}}, meter: {{kind: {kind}, loads: [{loads}], \
             household: {{annual_kwh: 100000, base_watts: 2000, noise_watts: 1000}}, \
             pv: {{kwp: 500}}, battery: {{kwh: 1000, kw: 500}}, grid: {{volts: 207, resistance: 0.5}}, \
             start: {{import: [100000000, 100000000], export: [100000000, 100000000], \
             reactive_import: [100000000, 100000000], reactive_export: [100000000, 100000000]}}}}}}"
        ))
        .await;
        house.advance(Duration::from_mins(2)).await;
        set_largest_factors(&house).await;
        assert_shown_everywhere(&house).await;
        house.add_fault(json!({"at": "meter", "effect": {"jump_back": 1_000_000}})).await;
        house
            .add_fault(json!({"at": "meter", "effect": {"missing_phase": ["l1", "l2", "l3"]}}))
            .await;
        house.clock().jump(Duration::from_hours(24 * 3)).await.unwrap();
        assert_shown_everywhere(&house).await;
    }
}

#[test]
fn a_larger_number_is_refused_with_its_row_and_column() {
    for value in ["9000000000000000000", "1000000000.1", "-1000000001", "99999999999999999999"] {
        let csv = format!(
            "TIME,EAP_T,IPAP_T\n2026-06-10T11:00:00Z,1,0\n2026-06-10T11:01:00Z,1,{value}\n"
        );
        let error = load(&csv).unwrap_err();
        let expected = format!(
            "big.csv: line 3: column IPAP_T: `{value}`: expected a number from -1000000000 to 1000000000"
        );
        assert!(error.contains(&expected), "{error}");
    }
}
