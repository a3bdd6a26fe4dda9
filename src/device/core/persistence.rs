//! The part of a device that outlives the process: written to the state directory, and read from it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{DeviceSpec, DeviceState};
use crate::clock::VirtualTime;
use crate::device::actions::{Definition, Queue};
use crate::device::network::Pairing;
use crate::device::{Boot, Config, DeviceId, Firmware, InvalidFirmware, Power};
use crate::meter::{Meter, ReceptionCursor};
use crate::problem::Problem;

/// The document of a device in the state directory. A device that resumes from it has not rebooted, and
/// continues a reboot or a WPS pairing that was in progress. Only two things are lost: the statuses of
/// its requests, and the charge of the supercapacitor, which is full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceDocument {
    /// The virtual time of the document, in nanoseconds.
    pub at: u64,
    /// The civil time at which the house started.
    #[serde(default)]
    pub start: Option<Timestamp>,
    /// The firmware that the device runs.
    firmware: String,
    /// The virtual time of the boot, in nanoseconds.
    booted_at: u64,
    /// The number of earlier boots.
    boots: u64,
    /// A status id such that neither it nor a later one was given out.
    next_status_id: u64,
    config: Value,
    /// The action definition, as the client wrote it.
    actions: Option<String>,
    /// True if the script runs.
    #[serde(default)]
    script_runs: bool,
    /// True if the script no longer starts by itself before the next boot.
    #[serde(default, rename = "script_settled", alias = "script_by_hand")]
    script_start_decided: bool,
    /// The virtual time at which a reboot in progress ends, in nanoseconds.
    #[serde(default)]
    down_until: Option<u64>,
    /// True if the device has no network until its next start.
    #[serde(default)]
    offline: bool,
    /// The virtual time at which the WPS pairing in progress began, in nanoseconds.
    #[serde(default)]
    pairing_since: Option<u64>,
    /// The position in the telegrams of the meter. `None` if the value cannot be read, so
    /// that the rest of the document is of use nevertheless.
    #[serde(default, rename = "link", deserialize_with = "lenient_cursor")]
    reception: Option<ReceptionCursor>,
}

fn lenient_cursor<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ReceptionCursor>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).unwrap_or_default())
}

/// The state that a device resumes from: a [`DeviceDocument`] that was found valid.
#[derive(Debug, Clone, PartialEq)]
pub struct ResumePoint {
    firmware: Firmware,
    booted_at: VirtualTime,
    boots: u64,
    next_status_id: u64,
    config: Arc<Config>,
    definition: Option<Arc<Definition>>,
    script_running: bool,
    script_start_decided: bool,
    power: Power,
    offline: bool,
    pairing: Option<Pairing>,
    reception: Option<ReceptionCursor>,
}

/// The reason why a device cannot resume from a [`DeviceDocument`].
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The configuration is not valid.
    #[error("config: {0}")]
    Config(serde_json::Error),
    /// The action definition is not valid.
    #[error("actions: {0}")]
    Actions(Problem),
    /// The firmware is not a version.
    #[error(transparent)]
    Firmware(#[from] InvalidFirmware),
}

impl DeviceDocument {
    /// Validates the document for the device `id`. A setting that the document does not have, because
    /// a later version added it, has its factory value.
    ///
    /// # Errors
    /// [`ResumeError`] if a part of the document is not valid.
    pub fn resume_point(&self, id: &DeviceId) -> Result<ResumePoint, ResumeError> {
        let factory = serde_json::to_value(Config::factory(id));
        let mut config = factory.map_err(ResumeError::Config)?;
        merge(&mut config, &self.config);
        let config = serde_json::from_value(config).map_err(ResumeError::Config)?;
        let definition = self.actions.as_ref().map(|actions| Definition::parse(actions.as_bytes()));
        let definition = definition.transpose().map_err(ResumeError::Actions)?;
        let time = VirtualTime::from_nanos;
        Ok(ResumePoint {
            firmware: self.firmware.parse()?,
            booted_at: time(self.booted_at),
            boots: self.boots,
            next_status_id: self.next_status_id,
            config: Arc::new(config),
            definition: definition.map(Arc::new),
            script_running: self.script_runs,
            script_start_decided: self.script_start_decided,
            power: self.down_until.map_or(Power::Up, |until| Power::Down { until: time(until) }),
            offline: self.offline,
            pairing: self.pairing_since.map(|since| Pairing { since: time(since) }),
            reception: self.reception,
        })
    }
}

/// The content of a [`DeviceDocument`], copied under the device's lock and not encoded yet: encoding
/// takes long.
#[derive(Debug)]
pub(in crate::device) struct Checkpoint {
    document: DeviceDocument,
    config: Arc<Config>,
    definition: Option<Arc<Definition>>,
}

impl Checkpoint {
    pub(in crate::device) fn encode(self) -> DeviceDocument {
        // Texts and numbers always have a JSON form.
        let config = serde_json::to_value(&*self.config).unwrap_or_default();
        let text = |json: &[u8]| String::from_utf8_lossy(json).into_owned();
        let actions = self.definition.map(|definition| text(&definition.to_json()));
        DeviceDocument { config, actions, ..self.document }
    }
}

impl DeviceState {
    /// Returns the state of a device that resumes from `point` at `now`.
    pub(in crate::device) fn resume(
        spec: &DeviceSpec,
        point: ResumePoint,
        meter: &Meter,
        now: VirtualTime,
    ) -> Self {
        let mut state = Self::new(spec);
        state.firmware = point.firmware;
        state.boot = Boot::new(&spec.identity.id, spec.seed, point.boots, point.booted_at);
        state.queue = Queue::new(point.next_status_id);
        state.config = point.config;
        state.definition = point.definition;
        state.script.running = point.script_running;
        state.script.start_decided = point.script_start_decided;
        state.power = point.power;
        state.offline = point.offline;
        state.pairing = point.pairing;
        // The scenario may have another meter now. The device then resumes as if it had received that
        // one from its boot on.
        let fits = |cursor: &ReceptionCursor| meter.is_consistent(cursor, point.booted_at, now);
        if let Some(cursor) = point.reception.filter(fits) {
            state.reception = cursor;
        }
        state
    }

    /// Returns what outlives the process, as it is at `now`, in a house that started at `start`.
    pub(in crate::device) fn checkpoint(
        &self,
        spec: &DeviceSpec,
        start: Timestamp,
        now: VirtualTime,
    ) -> Checkpoint {
        let down_until = match self.power {
            Power::Up if self.reboot_pending => Some(now.after(spec.hardware.reboot_time)),
            Power::Up => None,
            Power::Down { until } => Some(until),
        };
        let document = DeviceDocument {
            at: now.as_nanos(),
            start: Some(start),
            // A firmware that was uploaded is installed, even if the reboot never came.
            firmware: self.next_firmware.unwrap_or(self.firmware).to_string(),
            booted_at: self.boot.at.as_nanos(),
            boots: self.boot.ordinal,
            next_status_id: self.queue.reserved(),
            config: Value::Null,
            actions: None,
            script_runs: self.script.running,
            script_start_decided: self.is_script_start_decided(now),
            down_until: down_until.map(VirtualTime::as_nanos),
            offline: self.offline,
            pairing_since: self.pairing.map(|pairing| pairing.since.as_nanos()),
            reception: Some(self.reception),
        };
        Checkpoint {
            document,
            config: Arc::clone(&self.config),
            definition: self.definition.clone(),
        }
    }
}

/// Overwrites `base` with `over`, member by member in objects.
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

    fn document(config: Value) -> DeviceDocument {
        DeviceDocument {
            at: 5,
            start: None,
            firmware: "2.8.2".into(),
            booted_at: 3,
            boots: 2,
            next_status_id: 139,
            config,
            actions: Some(r#"{"actions":[]}"#.into()),
            script_runs: true,
            script_start_decided: true,
            down_until: None,
            offline: false,
            pairing_since: None,
            reception: None,
        }
    }

    #[test]
    fn every_setting_survives_a_restart() {
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
        let json =
            serde_json::to_string(&document(serde_json::to_value(&config).unwrap())).unwrap();
        let read: DeviceDocument = serde_json::from_str(&json).unwrap();
        let point = read.resume_point(&id()).unwrap();
        assert_eq!(*point.config, config);
        assert_eq!(point.firmware.to_string(), "2.8.2");
        assert_eq!(point.definition.unwrap().actions().len(), 0);
    }

    #[test]
    fn a_setting_that_is_missing_has_its_factory_value() {
        let point = document(serde_json::json!({"settings": {"system": {"name": "a"}}}))
            .resume_point(&id())
            .unwrap();
        let mut expected = Config::factory(&id());
        expected.settings.system.name = "a".into();
        assert_eq!(*point.config, expected);
    }

    #[test]
    fn an_unreadable_cursor_does_not_spoil_the_document() {
        let mut json = serde_json::to_value(document(serde_json::json!({}))).unwrap();
        json["link"] = serde_json::json!({"through": "later"});
        let read: DeviceDocument = serde_json::from_value(json).unwrap();
        assert_eq!(read, document(serde_json::json!({})));
    }

    #[test]
    fn a_document_with_an_invalid_part_is_refused_as_a_whole() {
        let wrong = document(serde_json::json!({"settings": {"system": {"name": 1}}}));
        assert!(wrong.resume_point(&id()).unwrap_err().to_string().starts_with("config: "));
        let mut wrong = document(serde_json::json!({}));
        wrong.actions = Some("{".into());
        assert!(wrong.resume_point(&id()).unwrap_err().to_string().starts_with("actions: "));
        wrong.actions = None;
        wrong.firmware = "2".into();
        assert!(wrong.resume_point(&id()).is_err());
    }
}
