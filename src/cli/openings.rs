//! The text that the start prints about a house that is open to more than this machine: the hosts that its
//! devices may reach, and the listeners that other machines can reach.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::outbound::Policy;
use crate::scenario::Scenario;

/// Returns a pair of words and a text for each opening; none for a house that is closed.
pub(super) fn openings(scenario: &Scenario) -> Vec<(String, String)> {
    let mut openings = Vec::new();
    if let Some(reach) = match scenario.outbound {
        Policy::Deny => None,
        Policy::Loopback => Some("actions and MQTT clients reach what listens on this machine"),
        Policy::Allow => Some("actions and MQTT clients reach any host"),
    } {
        openings.push((format!("outbound {}", scenario.outbound.name()), reach.to_owned()));
    }
    for broker in &scenario.mqtt_brokers {
        let text = format!("MQTT clients reach {}", broker.address);
        openings.push((format!("broker {}", broker.name), text));
    }
    for (ip, listeners) in beyond_loopback(scenario) {
        let listeners: Vec<String> = listeners.iter().map(Listeners::describe).collect();
        let text = format!("other machines can reach {}", listeners.join(", "));
        openings.push((format!("on {ip}"), text));
    }
    openings
}

/// Listeners of a kind.
struct Listeners {
    kind: ListenerKind,
    count: usize,
}

/// The name of one listener of a kind, and of several.
type ListenerKind = (&'static str, &'static str);

impl Listeners {
    fn describe(&self) -> String {
        let (one, several) = self.kind;
        match self.count {
            1 => format!("the {one}"),
            count => format!("{count} {several}"),
        }
    }
}

/// Returns the listeners that are bound beyond loopback, by their address.
fn beyond_loopback(scenario: &Scenario) -> BTreeMap<String, Vec<Listeners>> {
    let devices = scenario.devices.iter();
    let slaves = scenario.slaves.iter().map(|slave| (("slave", "slaves"), slave.listen));
    let targets = scenario.http_targets.iter();
    let targets = targets.map(|target| (("HTTP target", "HTTP targets"), target.listen));
    let modbus = ("Modbus server once it is on", "Modbus servers once they are on");
    let all = [(("control plane", "control planes"), scenario.control)]
        .into_iter()
        .chain(devices.clone().map(|device| (("API", "APIs"), device.http)))
        .chain(devices.map(move |device| (modbus, device.modbus.listen)))
        .chain(slaves)
        .chain(targets);
    let is_open =
        |(_, address): &(ListenerKind, SocketAddr)| !address.ip().to_canonical().is_loopback();
    let mut found: BTreeMap<String, Vec<Listeners>> = BTreeMap::new();
    for (kind, address) in all.filter(is_open) {
        let listeners = found.entry(address.ip().to_string()).or_default();
        match listeners.iter_mut().find(|listeners| listeners.kind == kind) {
            Some(listeners) => listeners.count += 1,
            None => listeners.push(Listeners { kind, count: 1 }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    fn said(yaml: &str) -> Vec<String> {
        let scenario = scenario::load(yaml, "house.yaml", None).unwrap();
        let openings = openings(&scenario).into_iter();
        openings.map(|(what, text)| format!("{what}: {text}")).collect()
    }

    #[test]
    fn a_closed_house_says_nothing() {
        assert_eq!(said("control: '[::1]:8090'\n"), [""; 0]);
    }

    #[test]
    fn everything_that_a_scenario_opens_is_said() {
        let yaml = "\
outbound: allow
control: 0.0.0.0:8090
mqtt_brokers: {lab: {address: '192.0.2.7:1883'}}
devices:
  - {id: A842E39F8124, http: 0.0.0.0:8080}
  - {id: A842E39F8125, http: 0.0.0.0:8081, modbus: {listen: '[::]:1502'}}
";
        assert_eq!(
            said(yaml),
            [
                "outbound allow: actions and MQTT clients reach any host",
                "broker lab: MQTT clients reach 192.0.2.7:1883",
                "on 0.0.0.0: other machines can reach the control plane, 2 APIs",
                "on ::: other machines can reach the Modbus server once it is on",
            ]
        );
        assert_eq!(said("outbound: loopback")[0].split(':').next(), Some("outbound loopback"));
    }
}
