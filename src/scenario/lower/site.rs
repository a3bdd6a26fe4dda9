//! What a device is set to, judged by the tables that judge a PUT, and what it is plugged into.

use serde_json::Value;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::path::FieldPath;
use super::super::raw;
use super::{refused, unknown};
use crate::device::config::table::{Object, Write, WriteContext};
use crate::device::config::{
    Config, ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS,
};
use crate::device::network::{AuthMode, Network, Site, WpsRouter};
use crate::device::{Identity, scalers};
use crate::limits;
use crate::notation::shortened;
use crate::problem::Problem;

/// The configuration that the device starts with: that of the factory, with what the file names.
pub(super) fn config(
    raw: &raw::Device,
    identity: &Identity,
    site: &Site,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Config {
    let config = Config::factory(&identity.id);
    let mut start = Start { config, identity, site, path, mistakes };
    start.object("settings", raw.settings.as_ref().map(|given| &given.0), &SETTINGS);
    let meter = raw.meter_settings.as_ref().map(|given| &given.0);
    start.object("meter_settings", meter, &METER_SETTINGS);
    start.object("wifi", raw.wifi.as_ref().map(|given| &given.0), &WIFI_SETTINGS);
    start.object("eth", raw.eth.as_ref().map(|given| &given.0), &ETH_SETTINGS);
    start.object("mqtt", raw.mqtt.as_ref().map(|given| &given.0), &MQTT_SETTINGS);
    if let Some(given) = raw.scalers.as_ref().map(|given| &given.0).filter(|all| !all.is_null()) {
        match scalers::parse(given) {
            Ok(own) => start.config.custom_scalers = own,
            Err(errors) => start.refused("scalers", given, errors),
        }
    }
    if raw.access_point == Some(true) {
        if start.config.wifi.enable {
            let message =
                "an access point whose Wi-Fi client is on: the device is one or the other";
            let mistake = Mistake::new(path.key("access_point"), message)
                .help("remove it, or `enable` of `wifi`")
                .related(path.key("wifi"), "wifi");
            start.mistakes.push(mistake);
        }
        start.config.wifi.access_point = true;
    }
    start.config
}

struct Start<'a> {
    config: Config,
    identity: &'a Identity,
    site: &'a Site,
    path: &'a FieldPath,
    mistakes: &'a mut Mistakes,
}

impl Start<'_> {
    fn object<T: Clone>(&mut self, key: &str, given: Option<&Value>, object: &Object<T>) {
        let Some(given) = given.filter(|given| !given.is_null()) else { return };
        let Identity { id, firmware, .. } = self.identity;
        let around = WriteContext { before: None, id, site: self.site };
        let now = (object.of.get)(&self.config);
        match object.apply(now, given, Write::Merge, *firmware, &around) {
            Ok(applied) => {
                // A field of a later firmware, or a whole group of them.
                let known = |path: &&String| {
                    object.fields.iter().any(|field| field.path == **path || field.is_within(path))
                };
                for field in applied.unknown.iter().filter(known) {
                    let message = format!("firmware {firmware} has no `{field}`");
                    self.mistakes.push(Mistake::new(self.path.key(key).join(field), message));
                }
                *(object.of.get_mut)(&mut self.config) = applied.value;
            }
            Err(errors) => self.refused(key, given, errors),
        }
    }

    fn refused(&mut self, key: &str, given: &Value, errors: Vec<Problem>) {
        let errors = errors.into_iter().map(|error| (error.path, error.message));
        refused(given, &self.path.key(key), errors, self.mistakes);
    }
}

/// What the device is plugged into and what is around it.
pub(super) fn site(raw: &raw::Device, path: &FieldPath, mistakes: &mut Mistakes) -> Site {
    let default = Site::default();
    let usb = raw.power.as_ref().and_then(|power| power.usb).unwrap_or(default.usb);
    let cable = raw.cable.unwrap_or(default.cable);
    let networks = raw.networks.as_ref().map(|all| {
        let path = path.key("networks");
        if all.len() > limits::NETWORKS {
            let message = format!("{} networks; a scan finds {}", all.len(), limits::NETWORKS);
            mistakes.push(Mistake::new(path.clone(), message).on_key());
        }
        let networks = all.iter().enumerate();
        networks.map(|(index, one)| network(one, index, &path.index(index), mistakes)).collect()
    });
    let around = networks.as_deref().unwrap_or_default();
    let wps = raw.wps.as_ref().map(|wps| router(wps, around, &path.key("wps"), mistakes));
    if let (Some(around), Some(router)) = (&raw.networks, &wps) {
        let mut names = around.iter().map(|network| network.ssid.as_str());
        if !names.clone().any(|name| name == router.network) {
            let place = path.key("wps").key("network");
            mistakes.push(unknown(place, "network", &router.network, &mut names));
        }
    }
    Site { usb, cable, networks, wps }
}

fn network(raw: &raw::Network, index: usize, path: &FieldPath, mistakes: &mut Mistakes) -> Network {
    let auth_mode = raw.auth_mode.map_or_else(AuthMode::default, |mode| mode.0);
    let ssid = ssid(&raw.ssid, &path.key("ssid"), mistakes);
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
    let drawn = Network::near(ssid, index);
    Network {
        bssid: raw.bssid.as_ref().map_or(drawn.bssid, |bssid| bssid.0.clone()),
        channel: raw.channel.unwrap_or(drawn.channel),
        ht: raw.ht.map_or_else(Default::default, |ht| ht.0),
        rssi: raw.rssi.unwrap_or(drawn.rssi),
        auth_mode,
        wps: raw.wps.unwrap_or(true),
        country: raw.country.as_ref().map_or(drawn.country, |country| country.0.clone()),
        password: raw.password.as_ref().map(|password| password.0.clone()),
        ssid: drawn.ssid,
    }
}

fn router(
    raw: &raw::Wps,
    around: &[Network],
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> WpsRouter {
    if let Some(password) = &raw.password {
        check_password(password, &path.key("password"), mistakes);
    }
    let network = ssid(&raw.network, &path.key("network"), mistakes);
    // It hands over its network's own where nothing else is said.
    let own = || around.iter().find(|around| around.ssid == network)?.password.clone();
    let password = raw.password.as_ref().map(|given| given.0.clone()).or_else(own);
    WpsRouter {
        network,
        password: password.unwrap_or_else(|| "wps-made-up".into()),
        after: raw.after.map_or(limits::WPS_PAIRING, |after| after.0),
    }
}

fn ssid(raw: &raw::PlainText, path: &FieldPath, mistakes: &mut Mistakes) -> String {
    let bytes = raw.0.len();
    if !(1..=limits::SSID_BYTES).contains(&bytes) {
        let most = limits::SSID_BYTES;
        let message = format!("a name of {bytes} bytes: expected 1 to {most}");
        mistakes.push(Mistake::new(path.clone(), message));
    }
    raw.0.clone()
}

fn check_password(raw: &raw::PlainText, path: &FieldPath, mistakes: &mut Mistakes) {
    let (chars, range) = (raw.0.chars().count(), limits::WIFI_PASSWORD_CHARS);
    if !range.contains(&chars) {
        let (least, most) = range.into_inner();
        let message = format!("a password of {chars} characters: expected {least} to {most}");
        mistakes.push(Mistake::new(path.clone(), message));
    }
}
