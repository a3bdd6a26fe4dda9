//! The fixed list of requests: faults.

use serde_json::Value;

use super::lists::{
    ACTION_EFFECTS, API_EFFECTS, BAD_RULES, LIVE_EFFECTS, METER_EFFECTS, MODBUS_EFFECTS,
    MQTT_EFFECTS, SLAVE_PLACES, TARGET_EFFECTS, TRIGGERS,
};
use super::player::{Device, Place, Player, Slave, frame};
use super::process::quiet;

impl Player {
    /// Rules that are not taken.
    pub(super) fn refused_rules(&mut self) {
        self.transcript.heading("Faults: rules that are refused");
        for body in BAD_RULES {
            self.control("POST", "faults", body);
        }
    }

    /// A rule of every place and effect, and what it does.
    pub(super) fn faults(&mut self) {
        let device = self.devices[0].clone();
        self.faults_of_api(&device);
        if let Some(action) = device.actions.first() {
            self.faults_of_actions(&device, action);
        }
        if let Some(slave) = self.busy_slave() {
            self.faults_of_slaves(&slave);
        }
        self.faults_of_modbus(&device);
        if let Some(target) = self.targets.first().cloned() {
            self.faults_of_targets(&target);
        }
        self.faults_of_meter(&device);
        self.faults_of_live(&device);
    }

    fn faults_of_api(&mut self, device: &Device) {
        self.transcript.heading("Faults at the API");
        for effect in self.first(4, API_EFFECTS) {
            self.add(r#"{"api":{"method":"GET","route":"/api/v1/eth/settings"}}"#, effect);
            self.http_later(&device.api, "GET", "/api/v1/eth/settings", "", "1m");
            self.remove();
        }
    }

    fn faults_of_actions(&mut self, device: &Device, action: &str) {
        self.transcript.heading("Faults at actions and the queue");
        for (at, effect) in self.first(3, ACTION_EFFECTS) {
            self.add(at, effect);
            self.call(device, action);
            self.status(device);
            self.control("PATCH", "faults/rule", r#"{"release":true}"#);
            self.advance("1m");
            self.status(device);
            self.remove();
            self.advance("1m");
        }
    }

    fn faults_of_slaves(&mut self, slave: &Slave) {
        self.transcript.heading("Faults at slaves");
        // One slave alone: several that close at once write the journal in any order.
        let at = format!(r#"{{"slave":"{}"}}"#, slave.name);
        for effect in self.first(4, MODBUS_EFFECTS) {
            self.add(&at, effect);
            self.faulty_frames(&slave.place);
            self.remove();
        }
        for at in self.first(4, SLAVE_PLACES) {
            self.add(at, r#"{"exception":4}"#);
            self.faulty_frames(&slave.place);
            self.remove();
        }
        self.add(&at, r#"{"result":-109}"#);
        self.faulty_frames(&slave.place);
        self.remove();
    }

    fn faults_of_modbus(&mut self, device: &Device) {
        self.transcript.heading("Faults at the device's Modbus server");
        let enable = r#"{"services":{"modbus":{"enable":true}}}"#;
        self.send(device, "PUT", "/api/v1/settings", enable);
        let at = format!(r#"{{"modbus":"any","device":"{}"}}"#, device.id());
        for effect in self.first(4, &MODBUS_EFFECTS[..8]) {
            self.add(&at, effect);
            self.faulty_frames(&device.modbus);
            self.remove();
        }
    }

    fn faults_of_targets(&mut self, target: &Place) {
        self.transcript.heading("Faults at targets");
        for effect in self.first(4, TARGET_EFFECTS) {
            self.add(r#""target""#, effect);
            self.http_later(target, "GET", "/light/0", "", "1m");
            self.remove();
        }
    }

    fn faults_of_meter(&mut self, device: &Device) {
        self.transcript.heading("Faults at MQTT and at the meter");
        for effect in MQTT_EFFECTS {
            self.add(r#""mqtt""#, effect);
            self.remove();
        }
        for effect in self.first(4, METER_EFFECTS) {
            self.add(r#""meter""#, effect);
            self.advance("20s");
            self.get(device, "/api/v1/report");
            self.remove();
            self.advance("20s");
        }
    }

    fn faults_of_live(&mut self, device: &Device) {
        self.transcript.heading("Faults at the live stream");
        for effect in self.first(4, LIVE_EFFECTS) {
            self.add(r#""live""#, effect);
            let stream = Self::follow(device);
            self.advance("9s");
            self.control("PATCH", "faults/rule", r#"{"release":true}"#);
            self.settle();
            self.leave(stream);
            self.remove();
        }
    }

    /// The first slave with something at holding register 10, else the first one.
    fn busy_slave(&self) -> Option<Slave> {
        let has_register = |slave: &&Slave| {
            let path = format!("slaves/{}/units/1/holding/10", slave.name);
            !self.ask_quietly("GET", &path, &Value::Null).is_null()
        };
        self.slaves.iter().find(has_register).or(self.slaves.first()).cloned()
    }

    /// When rules strike.
    pub(super) fn triggers(&mut self) {
        let device = self.devices[0].clone();
        self.transcript.heading("Faults: when they strike");
        for when in TRIGGERS {
            let body = format!(
                r#"{{"id":"when","at":{{"api":"/api/v1/eth/settings"}},"when":{when},"effect":{{"status":418}}}}"#
            );
            self.control("POST", "faults", &body);
            let mut seen = String::new();
            for _ in 0..12 {
                let (head, _) = quiet(device.api.address, "GET", "/api/v1/eth/settings", "");
                let status = head.split(' ').nth(1).unwrap();
                seen = seen + " " + status;
                self.advance("5s");
            }
            self.transcript.note(&format!("12 requests, one each 5 s:{seen}"));
            self.control("PATCH", "faults/when", r#"{"armed":false}"#);
            self.control("PATCH", "faults/when", r#"{"armed":true}"#);
            self.control("GET", "faults/when", "");
            self.control("DELETE", "faults/when", "");
        }
        for body in [r#"{"armed":1}"#, "{}", r#"{"arm":true}"#, ""] {
            self.control("PATCH", "faults/probe-api", body);
        }
    }

    /// Adds the rule `rule`.
    fn add(&mut self, at: &str, effect: &str) {
        self.control("POST", "faults", &format!(r#"{{"id":"rule","at":{at},"effect":{effect}}}"#));
    }

    /// Shows the rule `rule` with its counts, and removes it.
    fn remove(&mut self) {
        self.control("GET", "faults/rule", "");
        self.control("DELETE", "faults/rule", "");
    }

    /// A write and two reads on one connection.
    fn faulty_frames(&mut self, place: &Place) {
        let write = frame(0x0201, 1, &[6, 0, 10, 0, 5]);
        let read = frame(0x0202, 1, &[3, 0, 10, 0, 1]);
        let input = frame(0x0203, 1, &[4, 0, 0, 0, 2]);
        self.frames(place, "a write and two reads", &[write, read, input].concat(), 1);
    }
}
