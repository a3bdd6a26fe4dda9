//! What of a device outlives the process that simulates it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::actions::Definition;
use super::handle::{Device, DeviceState};
use super::network::Pairing;
use super::{Boot, Config, DeviceId, Firmware, Power};
use crate::clock::VirtualTime;
use crate::meter::{Meter, ReceptionCursor};

/// A device as it is written down. Going on from it, the device has not rebooted, and goes on with a
/// reboot or a WPS pairing that it was in: only what was known of its actions' requests is gone, and
/// the supercapacitor is full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Nanoseconds of virtual time at which it was so.
    pub at: u64,
    /// Civil time at the start of its house.
    #[serde(default)]
    pub start: Option<Timestamp>,
    /// The firmware it runs.
    firmware: String,
    /// When it came up, in nanoseconds of virtual time.
    booted_at: u64,
    /// Counts its starts from 0.
    boots: u64,
    /// A status id from which on none was given out.
    next_status_id: u64,
    config: Value,
    /// The action definition, as it was given.
    actions: Option<String>,
    /// Whether the script runs.
    #[serde(default)]
    script_runs: bool,
    /// Whether it no longer starts by itself before the next boot.
    #[serde(default, alias = "script_by_hand")]
    script_settled: bool,
    /// When it comes up again, in nanoseconds of virtual time, where it reboots.
    #[serde(default)]
    down_until: Option<u64>,
    /// Whether it has no network until its next start.
    #[serde(default)]
    offline: bool,
    /// When its WPS pairing began, in nanoseconds of virtual time, where one is under way.
    #[serde(default)]
    pairing_since: Option<u64>,
    /// How far it has come in listening to its meter; none where that cannot be read, which costs the
    /// rest nothing.
    #[serde(default, deserialize_with = "link")]
    link: Option<ReceptionCursor>,
}

fn link<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ReceptionCursor>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).unwrap_or_default())
}

/// [`Saved`], read and found right.
#[derive(Debug, Clone, PartialEq)]
pub struct Resumed {
    pub(super) firmware: Firmware,
    pub(super) booted_at: VirtualTime,
    pub(super) boots: u64,
    pub(super) next_status_id: u64,
    pub(super) config: Arc<Config>,
    pub(super) definition: Option<Arc<Definition>>,
    pub(super) script_runs: bool,
    pub(super) script_settled: bool,
    pub(super) power: Power,
    pub(super) offline: bool,
    pub(super) pairing: Option<Pairing>,
    link: Option<ReceptionCursor>,
}

impl Saved {
    /// What it says, for the device with this id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn resume(&self, id: &DeviceId) -> Result<Resumed, String> {
        // A setting that a later version added is as from the factory.
        let mut config =
            serde_json::to_value(Config::factory(id)).map_err(|error| error.to_string())?;
        merge(&mut config, &self.config);
        let config = serde_json::from_value(config).map_err(|error| format!("config: {error}"))?;
        let definition = self.actions.as_ref().map(|actions| Definition::parse(actions.as_bytes()));
        let definition = definition.transpose().map_err(|error| format!("actions: {error}"))?;
        Ok(Resumed {
            firmware: self.firmware.parse()?,
            booted_at: VirtualTime::from_nanos(self.booted_at),
            boots: self.boots,
            next_status_id: self.next_status_id,
            config: Arc::new(config),
            definition: definition.map(Arc::new),
            script_runs: self.script_runs,
            script_settled: self.script_settled,
            power: self
                .down_until
                .map_or(Power::Up, |until| Power::Down { until: VirtualTime::from_nanos(until) }),
            offline: self.offline,
            pairing: self
                .pairing_since
                .map(|since| Pairing { since: VirtualTime::from_nanos(since) }),
            link: self.link,
        })
    }
}

impl Resumed {
    /// The state of the device `id` in a house of this seed that goes on from here at `now`.
    pub(super) fn apply(
        self,
        state: &mut DeviceState,
        id: &DeviceId,
        seed: u64,
        meter: &Meter,
        now: VirtualTime,
    ) {
        state.firmware = self.firmware;
        state.boot = Boot::new(id, seed, self.boots, self.booted_at);
        state.queue = super::actions::Queue::new(self.next_status_id);
        state.config = self.config;
        state.definition = self.definition;
        state.script.runs = self.script_runs;
        state.script.settled = self.script_settled;
        state.power = self.power;
        state.offline = self.offline;
        state.pairing = self.pairing;
        // Another meter, if the scenario has changed: then it is as if it had listened to that one.
        if let Some(link) = self.link.filter(|link| meter.is_consistent(link, self.booted_at, now))
        {
            state.link = link;
        }
    }
}

/// Puts what `over` has into `base`, objects member by member.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(key) {
                    Some(member) => merge(member, value),
                    None => {
                        base.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

impl Device {
    /// What of it outlives the process, as it is now.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let (config, definition, saved) = {
            let (mut state, now) = self.caught_up();
            self.follow(&mut state, now);
            let saved = Saved {
                at: now.as_nanos(),
                start: Some(self.clock().start()),
                // What was uploaded is there, whether it came to the reboot or not.
                firmware: state.upgrade.unwrap_or(state.firmware).to_string(),
                booted_at: state.boot.at.as_nanos(),
                boots: state.boot.ordinal,
                next_status_id: state.queue.reserved(),
                config: Value::Null,
                actions: None,
                script_runs: state.script.runs,
                script_settled: state.script.settled,
                down_until: match state.power {
                    Power::Up if state.leaving => Some(now.after(self.hardware().reboot_time)),
                    Power::Up => None,
                    Power::Down { until } => Some(until),
                }
                .map(VirtualTime::as_nanos),
                offline: state.offline,
                pairing_since: state.pairing.map(|pairing| pairing.since.as_nanos()),
                link: Some(state.link),
            };
            (Arc::clone(&state.config), state.definition.clone(), saved)
        };
        // Texts and numbers always have a JSON form. After the lock: it takes a while.
        let config = serde_json::to_value(&*config).unwrap_or_default();
        let text = |json: &[u8]| String::from_utf8_lossy(json).into_owned();
        let actions = definition.map(|definition| text(&definition.to_json()));
        Saved { config, actions, ..saved }
    }

    /// Reserves no more status ids than were given out, as nobody will call it any more.
    pub fn give_back_status_ids(&self) {
        self.state().queue.give_back_reserved();
    }

    /// Says that everything up to this count of [`Device::changes`] is where it outlives the
    /// process; none where nobody takes care of that (any more).
    pub fn set_persisted(&self, changes: Option<u64>) {
        self.persisted_watermark().set(changes);
    }

    /// Waits until everything that has changed so far is where it outlives the process. At once
    /// where nobody takes care of that.
    pub async fn wait_persisted(&self) {
        let wanted = *self.changes().borrow();
        self.persisted_watermark().wait_for(wanted).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;
    use crate::device::config::{
        CustomScaler, MapWordOrder, MappedRegister, MeterKey, NumberType, RegisterId, RegisterMap,
        RegisterSet, TxPower,
    };
    use crate::meter::Quantity;

    fn id() -> DeviceId {
        "A842E39F8124".parse().unwrap()
    }

    fn saved(config: Value) -> Saved {
        Saved {
            at: 5,
            start: None,
            firmware: "2.8.2".into(),
            booted_at: 3,
            boots: 2,
            next_status_id: 139,
            config,
            actions: Some(r#"{"actions":[]}"#.into()),
            script_runs: true,
            script_settled: true,
            down_until: None,
            offline: false,
            pairing_since: None,
            link: None,
        }
    }

    #[test]
    fn every_setting_comes_back_as_it_was() {
        let mut config = Config::factory(&id());
        config.settings.system.name = "Käfer \"1\"".into();
        config.settings.services.berry_run_delay = 86_400;
        config.meter.conv_factor = Decimal::new(1_234_567, 6);
        config.meter.encryption_key = Some(MeterKey([0xA5; 16]));
        config.custom_scalers = vec![CustomScaler { obis: [1, 0, 255], scaler: -6 }];
        config.mqtt.client_key = Some("-----BEGIN".into());
        config.wifi.max_tx_power = TxPower(41);
        config.eth.address.ip = [192, 168, 0, 7].into();
        let registers = [RegisterId::Quantity(Quantity::VoltageL2), RegisterId::ActivePower(3)];
        let registers = registers
            .map(|id| MappedRegister { id, number: NumberType::Float, scaler: 3 })
            .to_vec();
        let set = RegisterSet { start_address: 9000, word_order: MapWordOrder::Lsw, registers };
        config.modbus = Some(Arc::new(RegisterMap::new(vec![set]).unwrap()));
        config.script = Some("print(1)\n".into());
        let json = serde_json::to_string(&saved(serde_json::to_value(&config).unwrap())).unwrap();
        let read: Saved = serde_json::from_str(&json).unwrap();
        let resumed = read.resume(&id()).unwrap();
        assert_eq!(*resumed.config, config);
        assert_eq!(resumed.firmware.to_string(), "2.8.2");
        assert_eq!(resumed.definition.unwrap().actions().len(), 0);
    }

    #[test]
    fn a_setting_that_was_not_known_yet_is_as_from_the_factory() {
        let resumed = saved(serde_json::json!({"settings": {"system": {"name": "a"}}}))
            .resume(&id())
            .unwrap();
        let mut expected = Config::factory(&id());
        expected.settings.system.name = "a".into();
        assert_eq!(*resumed.config, expected);
    }

    #[test]
    fn a_link_that_cannot_be_read_costs_the_rest_nothing() {
        let mut document = serde_json::to_value(saved(serde_json::json!({}))).unwrap();
        document["link"] = serde_json::json!({"through": "later"});
        let read: Saved = serde_json::from_value(document).unwrap();
        assert_eq!(read, saved(serde_json::json!({})));
    }

    #[test]
    fn what_makes_no_sense_is_not_loaded_half() {
        let wrong = saved(serde_json::json!({"settings": {"system": {"name": 1}}}));
        assert!(wrong.resume(&id()).unwrap_err().starts_with("config: "));
        let mut wrong = saved(serde_json::json!({}));
        wrong.actions = Some("{".into());
        assert!(wrong.resume(&id()).unwrap_err().starts_with("actions: "));
        wrong.actions = None;
        wrong.firmware = "2".into();
        assert!(wrong.resume(&id()).is_err());
    }
}
