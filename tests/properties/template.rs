//! The property that every template has, for any text. The fuzz target and the test that replays its
//! corpus share this file. Each brings the crate's modules into scope.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::clock::VirtualTime;
use super::decimal::Decimal;
use super::device::network::{NetworkInputs, Site};
use super::device::plug::PlugVoltages;
use super::device::template::Template;
use super::device::variables::{self, VariableContext};
use super::device::{Boot, Config, DeviceId, Firmware, Identity, License, Snapshot, View};
use super::limits;
use super::meter::{
    Interface, MeterIdentity, MeterStatus, Observation, Protocol, Quantity, Reading, Volume,
};

/// Panics if rendering differs from a naive implementation of the rule, or if the result is
/// unbounded.
pub(crate) fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let template = Template::parse(text);
    for snapshot in [snapshot(false), snapshot(true)] {
        let identity = identity();
        let context = context(&identity, &snapshot);
        let rendered = template.render(&context);
        assert!(rendered.len() <= limits::RENDERED_BYTES);
        let expected = render_naively(text, &context);
        assert!(expected.starts_with(&rendered), "{text:?}: {rendered:?}, not {expected:?}");
        assert!(rendered == expected || expected.len() > limits::RENDERED_BYTES);
    }
}

/// Renders a template naively, from the list of the variables endpoint and the volumes that the list
/// omits.
fn render_naively(text: &str, context: &VariableContext<'_>) -> String {
    let mut values = HashMap::new();
    for index in 0..4 {
        for field in ["bus", "cumulative"] {
            values.insert(format!("vol[{index}].{field}"), "null".to_owned());
        }
        for field in ["meter_id", "date_time"] {
            values.insert(format!("vol[{index}].{field}"), String::new());
        }
    }
    variables::for_each(context, |name, value| {
        values.insert(name.to_owned(), value.to_owned());
    });
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let name = rest.strip_prefix("${").and_then(|rest| rest.split_once('}'));
        if let Some((value, after)) = name.and_then(|(name, rest)| Some((values.get(name)?, rest)))
        {
            out.push_str(value);
            rest = after;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

pub(crate) fn identity() -> Identity {
    let id = DeviceId::from_number(0xA842_E39F_8124);
    Identity { id, license: License::Plus }
}

/// Returns the variables of a device at the default site.
pub(crate) fn context<'a>(identity: &'a Identity, snapshot: &'a Snapshot) -> VariableContext<'a> {
    let site = Site::default();
    VariableContext {
        identity,
        snapshot,
        network: NetworkInputs {
            weak: false,
            id: &identity.id,
            site: &site,
            seed: 0,
            config: &snapshot.view.config,
            pairing: false,
        }
        .state(None, snapshot.now),
        plug: PlugVoltages::new(snapshot, None, &identity.id, &site, 0),
    }
}

/// Returns a snapshot of a device, with a reading if `metered`.
pub(crate) fn snapshot(metered: bool) -> Snapshot {
    let identity = identity();
    let mut config = Config::factory(&identity.id);
    config.settings.system.name = "${sys.id} \u{1F3E0}".to_owned();
    let view = View {
        config: Arc::new(config),
        firmware: Firmware::DEFAULT,
        boot: Boot::first(&identity.id, 0),
        pairing: None,
    };
    let (now, time) = (VirtualTime::from_nanos(60_000_000_000), jiff::Timestamp::UNIX_EPOCH);
    let meter = if metered {
        Observation { status: MeterStatus::Ok, meter: Some(meter()), reading: Some(reading(now)) }
    } else {
        Observation { status: MeterStatus::NoData, meter: None, reading: None }
    };
    Snapshot { now, time, view, meter }
}

fn meter() -> Arc<MeterIdentity> {
    Arc::new(MeterIdentity {
        interface: Interface::P1,
        protocol: Protocol::Dsmr,
        protocol_version: "50".to_owned(),
        logical_name: "LGZ1".to_owned(),
        id: String::new(),
        model: String::new(),
        vendor: "Landis+Gyr".to_owned(),
        prefix: "LGZ".to_owned(),
    })
}

fn reading(at: VirtualTime) -> Arc<Reading> {
    let mut reading = Reading::new(7, at, Duration::from_secs(1), jiff::Timestamp::UNIX_EPOCH);
    reading.set(Quantity::ActiveImportEnergy, Decimal::new(24_087, 3));
    reading.set(Quantity::CurrentL1, Decimal::new(6, 2));
    reading.set(Quantity::ExportPowerL1, Decimal::new(14, 3));
    reading.volumes = vec![Volume {
        channel: 2,
        meter_id: "gas".into(),
        meter_time: Some(jiff::Timestamp::UNIX_EPOCH),
        cumulative: None,
    }];
    Arc::new(reading)
}
