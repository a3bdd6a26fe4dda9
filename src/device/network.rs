//! What the device is plugged into, and its network as it follows from that and the configuration.
//!
//! Pure: the same configuration, site, seed and moment give the same network. Nothing of it is kept;
//! what lasts is in the configuration and in [`Pairing`].

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::config::{Config, StaticIp, WifiSettings};
use super::{DeviceId, Snapshot};
use crate::clock::VirtualTime;
use crate::limits;
use crate::meter::Interface;
use crate::rng::{Draws, RandomStream};

/// What a device is plugged into and what is around it; a scenario says it, no client can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Whether there is power on USB; the meter's plug alone feeds the device otherwise.
    pub usb: bool,
    /// Whether an Ethernet cable is plugged in, with a network at its other end.
    pub cable: bool,
    /// The Wi-Fi networks around. Where none are named, some are made up, and the network that the
    /// device is set to is always among them.
    pub networks: Option<Arc<[Network]>>,
    /// The router whose WPS button is pressed when a pairing is started; none where nobody does.
    pub wps: Option<WpsRouter>,
}

impl Default for Site {
    fn default() -> Self {
        Self { usb: true, cable: true, networks: None, wps: None }
    }
}

impl Site {
    /// Whether the Ethernet link is up with these settings (NETWORK-6): with USB power, `enable`,
    /// and `power_save` off.
    #[must_use]
    pub fn ethernet_up(&self, config: &Config) -> bool {
        self.usb && self.cable && config.eth.enable && !config.settings.system.power_save
    }

    /// Whether the router's network offers WPS and takes the password that the router hands over.
    fn lets_in_by_wps(&self, router: &WpsRouter) -> bool {
        self.networks.as_ref().is_none_or(|networks| {
            let mut own = networks.iter().filter(|network| network.ssid == router.network);
            own.any(|network| network.wps && network.opens_with(&router.password))
        })
    }

    /// Whether Wi-Fi sleeps between beacons (vendor, settings page): always where power is saved, and
    /// on meter power unless a P1 plug gives enough of it.
    #[must_use]
    pub fn wifi_saves_power(&self, config: &Config, plug: Option<Interface>) -> bool {
        let system = &config.settings.system;
        let boosted = system.p1_wifi_boost && plug == Some(Interface::P1);
        system.power_save || !(self.usb || boosted)
    }
}

/// The router that a WPS pairing finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WpsRouter {
    /// Its network.
    pub network: String,
    /// The password it hands over.
    pub password: String,
    /// When its button is pressed, counted from the start of the pairing.
    pub after: Duration,
}

/// A WPS pairing that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairing {
    /// When it was started.
    pub since: VirtualTime,
}

impl Pairing {
    /// When it ends, and whether it succeeds.
    #[must_use]
    pub fn end(self, site: &Site) -> (VirtualTime, bool) {
        match &site.wps {
            Some(router) if router.after < limits::WPS_WINDOW && site.lets_in_by_wps(router) => {
                (self.since.after(router.after), true)
            }
            _ => (self.since.after(limits::WPS_WINDOW), false),
        }
    }
}

/// A Wi-Fi network, as it is where the device stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name, 1 to 32 bytes.
    pub ssid: String,
    /// The address of its access point.
    pub bssid: DeviceId,
    /// 1..=13.
    pub channel: u8,
    /// `ht`.
    pub ht: Ht,
    /// dBm, −127..=0, about which the signal wavers.
    pub rssi: i8,
    /// `auth_mode`.
    pub auth_mode: AuthMode,
    /// Whether it offers WPS.
    pub wps: bool,
    /// Two letters.
    pub country: String,
    /// Its password; any is right where none.
    pub password: Option<String>,
}

impl Network {
    /// Whether a password opens it.
    fn opens_with(&self, given: &str) -> bool {
        // A passphrase has 63 at the most; what is longer is a key (IEEE 802.11).
        let is_key = given.len() == 64 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
        match &self.password {
            _ if self.auth_mode == AuthMode::Open => true,
            _ if !self.auth_mode.takes_password() || given.is_empty() => false,
            _ if given.chars().count() == 64 && !is_key => false,
            Some(password) => password == given,
            None => true,
        }
    }

    /// A network of which only the name is known, the `index`-th of those around a device.
    #[must_use]
    pub fn near(ssid: String, index: usize) -> Self {
        let stream = RandomStream::named("network").child(hash(&ssid));
        let mut draws = Draws::new(0, stream, u64::try_from(index).unwrap_or(0));
        network(ssid, &mut draws)
    }
}

/// `ht`: the width of the channel and where its other half lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub enum Ht {
    #[default]
    Ht20,
    Ht40Above,
    Ht40Below,
}

impl Ht {
    /// All of them, by the words of the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("20", Self::Ht20), ("40+", Self::Ht40Above), ("40-", Self::Ht40Below)];
}

/// `auth_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub enum AuthMode {
    Open,
    Wep,
    Wpa,
    #[default]
    Wpa2,
    WpaWpa2,
    Eap,
    Wpa3,
    Wpa2Wpa3,
    Wpa3Ent,
}

impl AuthMode {
    /// All of them, by the words of the API.
    pub const NAMES: &[(&'static str, Self)] = &[
        ("open", Self::Open),
        ("WEP", Self::Wep),
        ("WPA", Self::Wpa),
        ("WPA2", Self::Wpa2),
        ("WPA-WPA2", Self::WpaWpa2),
        ("EAP", Self::Eap),
        ("WPA3", Self::Wpa3),
        ("WPA2-WPA3", Self::Wpa2Wpa3),
        ("WPA3-ENT", Self::Wpa3Ent),
    ];

    /// `pairwise_cipher` and `group_cipher`.
    #[must_use]
    pub const fn ciphers(self) -> (&'static str, &'static str) {
        match self {
            Self::Open => ("none", "none"),
            Self::Wep => ("WEP40", "WEP40"),
            Self::Wpa => ("TKIP", "TKIP"),
            Self::WpaWpa2 => ("TKIP-CCMP", "TKIP"),
            Self::Wpa2 | Self::Eap | Self::Wpa3 | Self::Wpa2Wpa3 => ("CCMP", "CCMP"),
            Self::Wpa3Ent => ("GCMP256", "GCMP256"),
        }
    }

    /// Whether a password opens it; others want none, or more than one.
    const fn takes_password(self) -> bool {
        !matches!(self, Self::Open | Self::Eap | Self::Wpa3Ent)
    }
}

macro_rules! words {
    ($($type:ty),*) => {$(
        impl $type {
            /// As the API writes it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                // Each of them has a name.
                Self::NAMES.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
            }
        }
    )*};
}

words!(Ht, AuthMode);

/// A network as it is received at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The network.
    pub network: Network,
    /// dBm at this moment.
    pub rssi: i8,
}

impl Sighting {
    /// Percent. The line through the pairs of the vendor's API description (−51 is 86, −71 is 56).
    #[must_use]
    pub fn signal(&self) -> u8 {
        let percent = i32::midpoint(i32::from(self.rssi) * 3, 325);
        u8::try_from(percent.clamp(0, 100)).unwrap_or(0)
    }
}

/// What the device's network is at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkState {
    /// Wi-Fi.
    pub wifi: WifiState,
    /// Ethernet.
    pub eth: EthState,
}

/// Wi-Fi at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WifiState {
    /// What it is doing.
    pub mode: WifiMode,
    /// How the client gets on.
    pub status: WifiStatus,
    /// Its MAC address, which is the device's id.
    pub mac: DeviceId,
    /// The network it is connected to.
    pub network: Option<Sighting>,
    /// Its address there.
    pub address: Option<IpSettings>,
    /// Whether it sleeps between beacons.
    pub power_save: bool,
}

/// What Wi-Fi is doing; `Display` writes `wifi.mode` of the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WifiMode {
    /// Nothing.
    Off,
    /// It is a client, or wants to be.
    Sta,
    /// It is an access point of its own.
    Ap,
}

impl fmt::Display for WifiMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Sta => "sta",
            Self::Ap => "ap",
        })
    }
}

/// How the Wi-Fi client gets on; in lower case in the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WifiStatus {
    /// Connected.
    Ok,
    /// The network does not take it: a wrong password.
    Error,
    /// Off.
    Disabled,
    /// The network is not there, or a pairing is under way.
    Disconnected,
}

impl WifiStatus {
    /// As `/system` writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Error => "Error",
            Self::Disabled => "Disabled",
            Self::Disconnected => "Disconnected",
        }
    }
}

/// Ethernet at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EthState {
    /// Its MAC address: the device's id and three, as seen.
    pub mac: DeviceId,
    /// Whether the link is up; then it has an address.
    pub address: Option<IpSettings>,
}

impl EthState {
    /// Whether the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.address.is_some()
    }
}

/// An address on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub struct IpSettings {
    pub ip: Ipv4Addr,
    pub mask: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub dns: Ipv4Addr,
}

impl NetworkState {
    /// The network of a device that is `id`, stands at `site` and whose randomness comes from
    /// `seed`, as it is in `snapshot`.
    #[must_use]
    pub fn of(
        snapshot: &Snapshot,
        plug: Option<Interface>,
        id: &DeviceId,
        site: &Site,
        seed: u64,
    ) -> Self {
        let config = &snapshot.view.config;
        let neighbourhood = Neighbourhood { id, site, seed, wifi: &config.wifi };
        let pairing = snapshot.view.pairing.is_some();
        let (mode, status, network) = neighbourhood.client(pairing, snapshot.now);
        let address = network.is_some().then(|| address_of(&config.wifi.address, id, Lease::Wifi));
        let up = site.ethernet_up(config);
        Self {
            wifi: WifiState {
                mode,
                status,
                mac: id.clone(),
                network,
                address,
                power_save: site.wifi_saves_power(config, plug),
            },
            eth: EthState {
                mac: ethernet_mac(id),
                address: up.then(|| address_of(&config.eth.address, id, Lease::Ethernet)),
            },
        }
    }

    /// Whether it has a network, by cable or not.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.eth.is_up() || self.wifi.address.is_some()
    }
}

/// The networks around a device.
#[derive(Debug, Clone, Copy)]
pub struct Neighbourhood<'a> {
    /// The device.
    pub id: &'a DeviceId,
    /// Where it stands.
    pub site: &'a Site,
    /// What all its randomness comes from.
    pub seed: u64,
    /// What its client is set to.
    pub wifi: &'a WifiSettings,
}

impl Neighbourhood<'_> {
    /// What a scan finds, the strongest first.
    #[must_use]
    pub fn scan(&self, now: VirtualTime) -> Vec<Sighting> {
        let mut found: Vec<_> =
            self.networks().into_iter().map(|network| self.sight(network, now)).collect();
        found.sort_by_key(|sighting| std::cmp::Reverse(sighting.rssi));
        found
    }

    fn sight(&self, network: Network, now: VirtualTime) -> Sighting {
        let stream =
            RandomStream::named("rssi").child(number(self.id)).child(number(&network.bssid));
        let waver = f64::from(limits::RSSI_WAVER) * wavering(self.seed, stream, now);
        #[expect(clippy::cast_possible_truncation, reason = "a few dB")]
        let waver = libm::round(waver) as i8;
        let rssi = network.rssi.saturating_add(waver).min(0);
        Sighting { network, rssi }
    }

    fn networks(&self) -> Vec<Network> {
        if let Some(networks) = &self.site.networks {
            return networks.to_vec();
        }
        let mut networks = made_up(self.seed);
        if let Some(router) = &self.site.wps {
            networks.insert(0, Network { wps: true, ..self.known(&router.network, true) });
        }
        let wanted = &self.wifi.name;
        if !wanted.is_empty() && !networks.iter().any(|network| network.ssid == *wanted) {
            networks.insert(0, self.known(wanted, !self.wifi.password.is_empty()));
        }
        networks
    }

    /// A network near by of which only the name matters.
    fn known(&self, ssid: &str, secured: bool) -> Network {
        let mut draws = Draws::new(self.seed, RandomStream::named("network").child(hash(ssid)), 0);
        Network {
            auth_mode: if secured { AuthMode::Wpa2 } else { AuthMode::Open },
            rssi: between(&mut draws, -58, -42),
            ..network(ssid.to_owned(), &mut draws)
        }
    }

    /// Whether the client is in its network, or gets into it; that does not depend on the time.
    pub(super) fn lets_in(&self, pairing: bool) -> bool {
        self.client(pairing, VirtualTime::ZERO).2.is_some()
    }

    fn client(&self, pairing: bool, now: VirtualTime) -> (WifiMode, WifiStatus, Option<Sighting>) {
        if pairing {
            return (WifiMode::Sta, WifiStatus::Disconnected, None);
        }
        if self.wifi.access_point {
            return (WifiMode::Ap, WifiStatus::Disabled, None);
        }
        if !self.wifi.is_client() {
            return (WifiMode::Off, WifiStatus::Disabled, None);
        }
        let mut heard = self.scan(now);
        heard.retain(|sighting| sighting.network.ssid == self.wifi.name);
        let silent = heard.is_empty();
        match heard.into_iter().find(|sighting| sighting.network.opens_with(&self.wifi.password)) {
            Some(sighting) => (WifiMode::Sta, WifiStatus::Ok, Some(sighting)),
            None if silent => (WifiMode::Sta, WifiStatus::Disconnected, None),
            None => (WifiMode::Sta, WifiStatus::Error, None),
        }
    }
}

/// Networks of neighbours that nobody named: the same for all devices of a house.
fn made_up(seed: u64) -> Vec<Network> {
    let stream = RandomStream::named("neighbours");
    let count = 3 + Draws::new(seed, stream, 0).bits() % 4;
    let neighbour = |ordinal| {
        let mut draws = Draws::new(seed, stream, ordinal);
        let number = draws.bits() % 0x1_0000;
        let modes = [AuthMode::Wpa2, AuthMode::Wpa2, AuthMode::Wpa2Wpa3, AuthMode::WpaWpa2];
        let (ssid, auth_mode) = match draws.bits() % 5 {
            0 => (format!("guest-{number:04x}"), AuthMode::Open),
            1 | 2 => (format!("WLAN {number:04X}"), modes[at(&mut draws, modes.len())]),
            _ => (format!("internet-{number:04X}"), modes[at(&mut draws, modes.len())]),
        };
        let rssi = between(&mut draws, -89, -62);
        Network { rssi, auth_mode, ..network(ssid, &mut draws) }
    };
    (1..=count).map(neighbour).collect()
}

/// A network with everything but its name drawn.
fn network(ssid: String, draws: &mut Draws) -> Network {
    let ht = [Ht::Ht20, Ht::Ht20, Ht::Ht40Above, Ht::Ht40Below][at(draws, 4)];
    // The upper half of a channel of 40 MHz needs four channels above, the lower four below.
    let channels: &[u8] = match ht {
        Ht::Ht20 => &[1, 6, 11, 13],
        Ht::Ht40Above => &[1, 6],
        Ht::Ht40Below => &[6, 11, 13],
    };
    Network {
        ssid,
        // Neither multicast nor locally administered, as the address of a real access point.
        bssid: DeviceId::from_number(draws.bits() & 0xFCFF_FFFF_FFFF),
        channel: channels[at(draws, channels.len())],
        ht,
        rssi: -60,
        auth_mode: AuthMode::default(),
        wps: draws.chance(0.5),
        country: "CH".to_owned(),
        password: None,
    }
}

/// An index below `count`.
#[expect(clippy::cast_possible_truncation, reason = "below a few")]
fn at(draws: &mut Draws, count: usize) -> usize {
    (draws.bits() % count as u64) as usize
}

/// dBm from `least` to `most`.
#[expect(clippy::cast_possible_truncation, reason = "it lies between two of the type")]
fn between(draws: &mut Draws, least: i8, most: i8) -> i8 {
    libm::round(draws.uniform(f64::from(least), f64::from(most))) as i8
}

/// A slow wavering from −1 to 1: drawn every [`limits::RSSI_PERIOD`], and straight between.
fn wavering(seed: u64, stream: RandomStream, now: VirtualTime) -> f64 {
    let periods = now.since_start().as_secs_f64() / limits::RSSI_PERIOD.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "time counts up")]
    let index = periods as u64;
    let mut one = Draws::new(seed, stream, index);
    let mut other = Draws::new(seed, stream, index.saturating_add(1));
    let part = periods.fract();
    one.uniform(-1.0, 1.0) * (1.0 - part) + other.uniform(-1.0, 1.0) * part
}

fn number(id: &DeviceId) -> u64 {
    // An id is twelve hexadecimal digits.
    u64::from_str_radix(id.as_str(), 16).unwrap_or(0)
}

fn hash(text: &str) -> u64 {
    RandomStream::named(text).number()
}

fn ethernet_mac(id: &DeviceId) -> DeviceId {
    DeviceId::from_number(number(id).wrapping_add(3))
}

/// Where a DHCP server takes an address from.
#[derive(Debug, Clone, Copy)]
enum Lease {
    Wifi,
    Ethernet,
}

/// The address that is set, or the one that the router of the house gives: in 192.168.1.0/24, by the
/// last byte of the MAC address, so that up to a hundred devices with ids in a row do not collide.
fn address_of(set: &StaticIp, id: &DeviceId, lease: Lease) -> IpSettings {
    if set.static_ip {
        let StaticIp { ip, netmask, gateway, dns, .. } = *set;
        return IpSettings { ip, mask: netmask, gateway, dns };
    }
    #[expect(clippy::cast_possible_truncation, reason = "its last byte")]
    let last = number(id) as u8;
    let host = match lease {
        Lease::Wifi => 100 + last % 100,
        Lease::Ethernet => 2 + last % 98,
    };
    let router = Ipv4Addr::new(192, 168, 1, 1);
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    IpSettings { ip: Ipv4Addr::new(192, 168, 1, host), mask, gateway: router, dns: router }
}
