//! Lowering of a device's settings, which the tables of the API validate, and of its surroundings.

use serde_json::Value;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::path::FieldPath;
use super::super::raw;
use super::unknown_name;
use crate::device::config::table::{SettingsObject, WriteContext, WriteMode};
use crate::device::config::{
    Config, ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS,
};
use crate::device::network::{AuthMode, Network, Site, WpsRouter};
use crate::device::{DeviceId, Firmware, scalers};
use crate::limits;
use crate::notation::shortened;
use crate::problem::Problem;

/// Lowers the configuration at the start: the factory settings, with those of the file on top.
pub(super) fn config(
    raw: &raw::Device,
    (id, firmware): (&DeviceId, Firmware),
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Config {
    let config = Config::factory(id);
    let mut lowering = ConfigLowering { config, id, firmware, path, mistakes };
    lowering.lower_object("settings", raw.settings.as_ref().map(|given| &given.0), &SETTINGS);
    let meter = raw.meter_settings.as_ref().map(|given| &given.0);
    lowering.lower_object("meter_settings", meter, &METER_SETTINGS);
    lowering.lower_object("wifi", raw.wifi.as_ref().map(|given| &given.0), &WIFI_SETTINGS);
    lowering.lower_object("eth", raw.eth.as_ref().map(|given| &given.0), &ETH_SETTINGS);
    lowering.lower_object("mqtt", raw.mqtt.as_ref().map(|given| &given.0), &MQTT_SETTINGS);
    if let Some(given) = raw.scalers.as_ref().map(|given| &given.0).filter(|all| !all.is_null()) {
        match scalers::parse(given) {
            Ok(own) => lowering.config.custom_scalers = own,
            Err(errors) => lowering.report("scalers", given, errors),
        }
    }
    if raw.access_point == Some(true) {
        if lowering.config.wifi.enable {
            let message =
                "an access point whose Wi-Fi client is on: the device is one or the other";
            let mistake = Mistake::new(path.key("access_point"), message)
                .help("remove it, or `enable` of `wifi`")
                .related(path.key("wifi"), "wifi");
            lowering.mistakes.push(mistake);
        }
        lowering.config.wifi.access_point = true;
    }
    lowering.config
}

/// The lowering of one configuration.
struct ConfigLowering<'a> {
    config: Config,
    id: &'a DeviceId,
    firmware: Firmware,
    path: &'a FieldPath,
    mistakes: &'a mut Mistakes,
}

impl ConfigLowering<'_> {
    /// Applies the settings of one object as a PUT would, and reports the fields that it refuses.
    fn lower_object<T: Clone>(
        &mut self,
        key: &str,
        given: Option<&Value>,
        object: &SettingsObject<T>,
    ) {
        let Some(given) = given.filter(|given| !given.is_null()) else { return };
        let firmware = self.firmware;
        let context = WriteContext { id: self.id, ethernet_up: false };
        let current = (object.accessor.get)(&self.config);
        match object.apply(current, given, WriteMode::Merge, firmware, &context) {
            Ok(applied) => {
                // A field or a group of fields that a later firmware has.
                let known = |path: &&String| {
                    object
                        .fields
                        .iter()
                        .any(|field| field.path == **path || field.is_in_group(path))
                };
                for field in applied.unknown.iter().filter(known) {
                    let message = format!("firmware {firmware} has no `{field}`");
                    self.mistakes.push(Mistake::new(self.path.key(key).join(field), message));
                }
                *(object.accessor.get_mut)(&mut self.config) = applied.value;
            }
            Err(errors) => self.report(key, given, errors),
        }
    }

    fn report(&mut self, key: &str, given: &Value, errors: Vec<Problem>) {
        self.mistakes.push_problems(given, &self.path.key(key), errors);
    }
}

/// Lowers the surroundings of a device: power, cable, and the Wi-Fi networks in reach.
pub(super) fn site(raw: &raw::Device, path: &FieldPath, mistakes: &mut Mistakes) -> Site {
    let default = Site::default();
    let usb = raw.power.as_ref().and_then(|power| power.usb).unwrap_or(default.usb);
    let cable = raw.cable.unwrap_or(default.cable);
    let networks = raw.networks.as_ref().map(|networks| {
        let path = path.key("networks");
        if networks.len() > limits::NETWORKS {
            let message = format!("{} networks; a scan finds {}", networks.len(), limits::NETWORKS);
            mistakes.push(Mistake::new(path.clone(), message).on_key());
        }
        let networks = networks.iter().enumerate();
        networks
            .map(|(index, raw)| lower_network(raw, index, &path.index(index), mistakes))
            .collect()
    });
    let in_reach = networks.as_deref().unwrap_or_default();
    let wps = raw.wps.as_ref().map(|wps| lower_wps(wps, in_reach, &path.key("wps"), mistakes));
    if let (Some(networks), Some(router)) = (&raw.networks, &wps) {
        let mut names = networks.iter().map(|network| network.ssid.as_str());
        if !names.clone().any(|name| name == router.network) {
            let path = path.key("wps").key("network");
            mistakes.push(unknown_name(path, "network", &router.network, &mut names));
        }
    }
    Site { usb, cable, networks, wps }
}

fn lower_network(
    raw: &raw::Network,
    index: usize,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Network {
    let auth_mode = raw.auth_mode.map_or_else(AuthMode::default, |mode| mode.0);
    let ssid = lower_ssid(&raw.ssid, &path.key("ssid"), mistakes);
    if let Some(country) = &raw.country
        && !(country.0.len() == 2 && country.0.bytes().all(|byte| byte.is_ascii_alphabetic()))
    {
        let message = format!("`{}`: expected two letters, as CH", shortened(&country.0));
        mistakes.push(Mistake::new(path.key("country"), message));
    }
    if let Some(password) = &raw.password {
        if auth_mode == AuthMode::Open {
            let mistake = Mistake::new(path.key("password"), "an open network has no password")
                .help("remove it, or say `auth_mode: WPA2`");
            mistakes.push(mistake);
        }
        check_password(password, &path.key("password"), mistakes);
    }
    let default = Network::generate(ssid, index);
    Network {
        bssid: raw.bssid.as_ref().map_or(default.bssid, |bssid| bssid.0.clone()),
        channel: raw.channel.unwrap_or(default.channel),
        ht: raw.ht.map_or_else(Default::default, |ht| ht.0),
        rssi: raw.rssi.unwrap_or(default.rssi),
        auth_mode,
        wps: raw.wps.unwrap_or(true),
        country: raw.country.as_ref().map_or(default.country, |country| country.0.clone()),
        password: raw.password.as_ref().map(|password| password.0.clone()),
        ssid: default.ssid,
    }
}

fn lower_wps(
    raw: &raw::Wps,
    networks: &[Network],
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> WpsRouter {
    if let Some(password) = &raw.password {
        check_password(password, &path.key("password"), mistakes);
    }
    let network = lower_ssid(&raw.network, &path.key("network"), mistakes);
    // By default, the router hands over the password of its network.
    let own = || networks.iter().find(|candidate| candidate.ssid == network)?.password.clone();
    let password = raw.password.as_ref().map(|given| given.0.clone()).or_else(own);
    WpsRouter {
        network,
        password: password.unwrap_or_else(|| "wps-made-up".into()),
        after: raw.after.map_or(limits::WPS_PAIRING, |after| after.0),
    }
}

fn lower_ssid(raw: &raw::PlainText, path: &FieldPath, mistakes: &mut Mistakes) -> String {
    let bytes = raw.0.len();
    if !(1..=limits::SSID_BYTES).contains(&bytes) {
        let max = limits::SSID_BYTES;
        let message = format!("a name of {bytes} bytes: expected 1 to {max}");
        mistakes.push(Mistake::new(path.clone(), message));
    }
    raw.0.clone()
}

fn check_password(raw: &raw::PlainText, path: &FieldPath, mistakes: &mut Mistakes) {
    let (chars, range) = (raw.0.chars().count(), limits::WIFI_PASSWORD_CHARS);
    if !range.contains(&chars) {
        let (min, max) = range.into_inner();
        let message = format!("a password of {chars} characters: expected {min} to {max}");
        mistakes.push(Mistake::new(path.clone(), message));
    }
}
