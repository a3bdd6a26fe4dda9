//! The device's surroundings, and its network state as a function of them and the configuration.
//!
//! The functions are pure: the same configuration, site, seed and time give the same network state.
//! The state is computed on each request. Only the configuration and [`Pairing`] persist.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::DeviceId;
use super::config::{Config, StaticIp};
use crate::clock::VirtualTime;
use crate::limits;
use crate::meter::Interface;
use crate::rng::{Draws, RandomStream};

/// The maximum deviation of a network's signal strength from its mean, in dB.
const RSSI_DEVIATION: u8 = 4;
/// The time between two draws of that deviation.
const RSSI_PERIOD: Duration = Duration::from_mins(1);

/// The loss of a network's signal strength while the Wi-Fi of a device is weak, in dB.
const WEAK_WIFI: i8 = 30;
/// The signal strength below which that loss takes no network, in dBm: a receiver gets hardly
/// weaker ones.
const WEAKEST_WIFI: i8 = -92;

/// The surroundings of a device: its plugs and the networks in range. The scenario defines them;
/// clients cannot change them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// `true` if USB supplies power. Otherwise only the meter's plug powers the device.
    pub usb: bool,
    /// `true` if an Ethernet cable connects the device to a network.
    pub cable: bool,
    /// The Wi-Fi networks in range. If `None`, some are generated, and the network that the device is
    /// set to is always among them.
    pub networks: Option<Arc<[Network]>>,
    /// The router whose WPS button is pressed after a pairing starts; `None` if nobody presses one.
    pub wps: Option<WpsRouter>,
}

impl Default for Site {
    fn default() -> Self {
        Self { usb: true, cable: true, networks: None, wps: None }
    }
}

impl Site {
    /// Returns `true` if the Ethernet link is up with this configuration (NETWORK-6): a cable is
    /// plugged in, USB supplies power, `enable` is on and `power_save` is off.
    #[must_use]
    pub fn ethernet_up(&self, config: &Config) -> bool {
        self.usb && self.cable && config.eth.enable && !config.settings.system.power_save
    }

    /// Returns `true` if the router's network offers WPS and accepts the password that the router
    /// supplies.
    fn accepts_wps(&self, router: &WpsRouter) -> bool {
        self.networks.as_ref().is_none_or(|networks| {
            let mut own = networks.iter().filter(|network| network.ssid == router.network);
            own.any(|network| network.wps && network.accepts_password(&router.password))
        })
    }

    /// Returns `true` if Wi-Fi sleeps between beacons (vendor, settings page): always if
    /// `power_save` is on, and on meter power unless a P1 plug supplies enough.
    #[must_use]
    pub fn wifi_saves_power(&self, config: &Config, plug: Option<Interface>) -> bool {
        let system = &config.settings.system;
        let boosted = system.p1_wifi_boost && plug == Some(Interface::P1);
        system.power_save || !(self.usb || boosted)
    }
}

/// The router that a WPS pairing connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WpsRouter {
    /// The SSID of the router's network.
    pub network: String,
    /// The password that the router supplies.
    pub password: String,
    /// The time from the start of the pairing until the router's button is pressed.
    pub after: Duration,
}

/// A WPS pairing in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairing {
    /// The start time.
    pub since: VirtualTime,
}

impl Pairing {
    /// Returns the end time, and whether the pairing succeeds.
    #[must_use]
    pub fn end(self, site: &Site) -> (VirtualTime, bool) {
        match &site.wps {
            Some(router) if router.after < limits::WPS_WINDOW && site.accepts_wps(router) => {
                (self.since.after(router.after), true)
            }
            _ => (self.since.after(limits::WPS_WINDOW), false),
        }
    }
}

/// A Wi-Fi network in range of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The name, 1 to 32 bytes.
    pub ssid: String,
    /// The MAC address of the access point.
    pub bssid: DeviceId,
    /// The channel, 1..=13.
    pub channel: u8,
    /// The channel width (`ht`).
    pub ht: Ht,
    /// The mean signal strength in dBm, −127..=0.
    pub rssi: i8,
    /// The authentication mode (`auth_mode`).
    pub auth_mode: AuthMode,
    /// `true` if the network offers WPS.
    pub wps: bool,
    /// The country code, two letters.
    pub country: String,
    /// The password; `None` if the network accepts any.
    pub password: Option<String>,
}

impl Network {
    /// Returns `true` if a client with this password can connect.
    fn accepts_password(&self, given: &str) -> bool {
        // A passphrase has at most 63 characters; 64 hexadecimal digits are a key (IEEE 802.11).
        let is_key = given.len() == 64 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
        match &self.password {
            _ if self.auth_mode == AuthMode::Open => true,
            _ if !self.auth_mode.uses_password() || given.is_empty() => false,
            _ if given.chars().count() == 64 && !is_key => false,
            Some(password) => password == given,
            None => true,
        }
    }

    /// Generates a network with this name, the `index`-th of a device's list.
    #[must_use]
    pub fn generate(ssid: String, index: usize) -> Self {
        let stream = RandomStream::named("network").child(hash(&ssid));
        let mut draws = Draws::new(0, stream, u64::try_from(index).unwrap_or(0));
        draw_network(ssid, &mut draws)
    }
}

/// The values of `ht`: the width of the channel and the position of the second half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub enum Ht {
    #[default]
    Ht20,
    Ht40Above,
    Ht40Below,
}

impl Ht {
    /// All variants with their names in the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("20", Self::Ht20), ("40+", Self::Ht40Above), ("40-", Self::Ht40Below)];
}

/// The values of `auth_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named as in the API")]
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
    /// All variants with their names in the API.
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

    /// Returns `pairwise_cipher` and `group_cipher`.
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

    /// Returns `true` if the mode uses one password. The other modes use none, or further
    /// credentials.
    const fn uses_password(self) -> bool {
        !matches!(self, Self::Open | Self::Eap | Self::Wpa3Ent)
    }
}

macro_rules! impl_as_str {
    ($($type:ty),*) => {$(
        impl $type {
            /// Returns the name in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                // The list contains every variant.
                Self::NAMES.iter().find(|(_, other)| *other == self).map_or("", |(name, _)| name)
            }
        }
    )*};
}

impl_as_str!(Ht, AuthMode);

/// A network found by a scan, with its signal strength at the time of the scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanResult {
    /// The network.
    pub network: Network,
    /// The signal strength, in dBm.
    pub rssi: i8,
}

impl ScanResult {
    /// Returns the signal strength in percent, on the line through the pairs of the vendor's API
    /// description (−51 dBm is 86 %, −71 dBm is 56 %).
    #[must_use]
    pub fn signal_percent(&self) -> u8 {
        let percent = i32::midpoint(i32::from(self.rssi) * 3, 325);
        u8::try_from(percent.clamp(0, 100)).unwrap_or(0)
    }
}

/// The state of the device's network at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkState {
    /// The state of Wi-Fi.
    pub wifi: WifiState,
    /// The state of Ethernet.
    pub eth: EthState,
}

/// The state of Wi-Fi at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WifiState {
    /// The mode.
    pub mode: WifiMode,
    /// The status of the client.
    pub status: WifiStatus,
    /// The MAC address, which is the device's id.
    pub mac: DeviceId,
    /// The network that the client is connected to.
    pub network: Option<ScanResult>,
    /// The address in that network.
    pub address: Option<IpSettings>,
    /// `true` if Wi-Fi sleeps between beacons.
    pub power_save: bool,
}

/// The mode of Wi-Fi; `Display` writes the variable `wifi.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WifiMode {
    /// Off.
    Off,
    /// A client, connected or not.
    Sta,
    /// An access point.
    Ap,
}

impl WifiMode {
    /// Returns the name in the variables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Sta => "sta",
            Self::Ap => "ap",
        }
    }
}

/// The status of the Wi-Fi client. The variables contain it in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WifiStatus {
    /// Connected.
    Ok,
    /// The network refuses the client, because its password is wrong.
    Error,
    /// Off.
    Disabled,
    /// The network is out of range, or a pairing is in progress.
    Disconnected,
}

impl WifiStatus {
    /// Returns the name in `/system`.
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

/// The state of Ethernet at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EthState {
    /// The MAC address: the device's id plus three (observed).
    pub mac: DeviceId,
    /// The address; `None` if the link is down.
    pub address: Option<IpSettings>,
}

impl EthState {
    /// Returns `true` if the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.address.is_some()
    }
}

/// The IP settings of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct IpSettings {
    pub ip: Ipv4Addr,
    pub mask: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub dns: Ipv4Addr,
}

impl NetworkState {
    /// Returns `true` if the device is connected, by Ethernet or Wi-Fi.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.eth.is_up() || self.wifi.address.is_some()
    }
}

/// The inputs of a device's network state, other than the time.
#[derive(Debug, Clone, Copy)]
pub struct NetworkInputs<'a> {
    /// The device's id.
    pub id: &'a DeviceId,
    /// The device's surroundings.
    pub site: &'a Site,
    /// The seed of the random draws.
    pub seed: u64,
    /// The configuration in force.
    pub config: &'a Config,
    /// `true` if a WPS pairing is in progress.
    pub pairing: bool,
    /// `true` if all networks are [`WEAK_WIFI`] weaker.
    pub weak: bool,
}

impl NetworkInputs<'_> {
    /// Returns the network state at `now`. `plug` is the interface of the meter's plug, if any.
    #[must_use]
    pub fn state(&self, plug: Option<Interface>, now: VirtualTime) -> NetworkState {
        let Self { id, site, config, .. } = *self;
        let (mode, status, network) = self.client(now);
        let address = network.is_some().then(|| ip_settings(&config.wifi.address, id, Lease::Wifi));
        let up = site.ethernet_up(config);
        NetworkState {
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
                address: up.then(|| ip_settings(&config.eth.address, id, Lease::Ethernet)),
            },
        }
    }

    /// Returns the networks in range at `now`, the strongest first.
    #[must_use]
    pub fn scan(&self, now: VirtualTime) -> Vec<ScanResult> {
        let mut results: Vec<_> =
            self.networks().into_iter().map(|network| self.receive(network, now)).collect();
        results.sort_by_key(|result| std::cmp::Reverse(result.rssi));
        results
    }

    /// Computes a network's signal strength at `now`.
    fn receive(&self, network: Network, now: VirtualTime) -> ScanResult {
        let stream =
            RandomStream::named("rssi").child(self.id.number()).child(network.bssid.number());
        let deviation = f64::from(RSSI_DEVIATION) * smooth_noise(self.seed, stream, now);
        #[expect(clippy::cast_possible_truncation, reason = "a few dB")]
        let deviation = libm::round(deviation) as i8;
        let weaker = if self.weak { WEAK_WIFI } else { 0 };
        let strength = network.rssi.saturating_add(deviation).min(0);
        // A network at the edge of its range does not become weaker.
        let rssi = strength.saturating_sub(weaker).max(strength.min(WEAKEST_WIFI));
        ScanResult { network, rssi }
    }

    fn networks(&self) -> Vec<Network> {
        if let Some(networks) = &self.site.networks {
            return networks.to_vec();
        }
        let mut networks = neighbour_networks(self.seed);
        if let Some(router) = &self.site.wps {
            networks.insert(0, Network { wps: true, ..self.near_network(&router.network, true) });
        }
        let wifi = &self.config.wifi;
        if !wifi.name.is_empty() && !networks.iter().any(|network| network.ssid == wifi.name) {
            networks.insert(0, self.near_network(&wifi.name, !wifi.password.is_empty()));
        }
        networks
    }

    /// Generates a network with this name and a strong signal.
    fn near_network(&self, ssid: &str, secured: bool) -> Network {
        let mut draws = Draws::new(self.seed, RandomStream::named("network").child(hash(ssid)), 0);
        Network {
            auth_mode: if secured { AuthMode::Wpa2 } else { AuthMode::Open },
            rssi: draw_dbm(&mut draws, -58, -42),
            ..draw_network(ssid.to_owned(), &mut draws)
        }
    }

    /// Returns `true` if the client is connected or able to connect, which does not depend on the
    /// time.
    pub(super) fn wifi_connects(&self) -> bool {
        self.client(VirtualTime::ZERO).2.is_some()
    }

    fn client(&self, now: VirtualTime) -> (WifiMode, WifiStatus, Option<ScanResult>) {
        let wifi = &self.config.wifi;
        if self.pairing {
            return (WifiMode::Sta, WifiStatus::Disconnected, None);
        }
        if wifi.access_point {
            return (WifiMode::Ap, WifiStatus::Disabled, None);
        }
        if !wifi.is_client() {
            return (WifiMode::Off, WifiStatus::Disabled, None);
        }
        let mut candidates = self.scan(now);
        candidates.retain(|result| result.network.ssid == wifi.name);
        let out_of_range = candidates.is_empty();
        let mut candidates = candidates.into_iter();
        match candidates.find(|result| result.network.accepts_password(&wifi.password)) {
            Some(result) => (WifiMode::Sta, WifiStatus::Ok, Some(result)),
            None if out_of_range => (WifiMode::Sta, WifiStatus::Disconnected, None),
            None => (WifiMode::Sta, WifiStatus::Error, None),
        }
    }
}

/// Generates the neighbours' networks, the same for all devices of a house.
fn neighbour_networks(seed: u64) -> Vec<Network> {
    let stream = RandomStream::named("neighbours");
    let count = 3 + Draws::new(seed, stream, 0).bits() % 4;
    let neighbour = |ordinal| {
        let mut draws = Draws::new(seed, stream, ordinal);
        let number = draws.bits() % 0x1_0000;
        let modes = [AuthMode::Wpa2, AuthMode::Wpa2, AuthMode::Wpa2Wpa3, AuthMode::WpaWpa2];
        let (ssid, auth_mode) = match draws.bits() % 5 {
            0 => (format!("guest-{number:04x}"), AuthMode::Open),
            1 | 2 => (format!("WLAN {number:04X}"), modes[draw_index(&mut draws, modes.len())]),
            _ => (format!("internet-{number:04X}"), modes[draw_index(&mut draws, modes.len())]),
        };
        let rssi = draw_dbm(&mut draws, -89, -62);
        Network { rssi, auth_mode, ..draw_network(ssid, &mut draws) }
    };
    (1..=count).map(neighbour).collect()
}

/// Draws the parameters of a network with this name.
fn draw_network(ssid: String, draws: &mut Draws) -> Network {
    let ht = [Ht::Ht20, Ht::Ht20, Ht::Ht40Above, Ht::Ht40Below][draw_index(draws, 4)];
    // A second half above a 40 MHz channel needs four channels above it, one below four below.
    let channels: &[u8] = match ht {
        Ht::Ht20 => &[1, 6, 11, 13],
        Ht::Ht40Above => &[1, 6],
        Ht::Ht40Below => &[6, 11, 13],
    };
    Network {
        ssid,
        // Not multicast and not locally administered, like the address of a real access point.
        bssid: DeviceId::from_number(draws.bits() & 0xFCFF_FFFF_FFFF),
        channel: channels[draw_index(draws, channels.len())],
        ht,
        rssi: -60,
        auth_mode: AuthMode::default(),
        wps: draws.chance(0.5),
        country: "CH".to_owned(),
        password: None,
    }
}

/// Draws an index below `count`.
#[expect(clippy::cast_possible_truncation, reason = "below a few")]
fn draw_index(draws: &mut Draws, count: usize) -> usize {
    (draws.bits() % count as u64) as usize
}

/// Draws a signal strength from `min` to `max`, in dBm.
#[expect(clippy::cast_possible_truncation, reason = "the value lies between two of the type")]
fn draw_dbm(draws: &mut Draws, min: i8, max: i8) -> i8 {
    libm::round(draws.uniform(f64::from(min), f64::from(max))) as i8
}

/// Returns slow noise from −1 to 1: one draw each [`RSSI_PERIOD`], interpolated linearly from second to
/// second (NETWORK-7).
fn smooth_noise(seed: u64, stream: RandomStream, now: VirtualTime) -> f64 {
    let second = Duration::from_secs(now.since_start().as_secs());
    let periods = second.as_secs_f64() / RSSI_PERIOD.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "time counts up")]
    let index = periods as u64;
    let mut previous = Draws::new(seed, stream, index);
    let mut next = Draws::new(seed, stream, index.saturating_add(1));
    let fraction = periods.fract();
    previous.uniform(-1.0, 1.0) * (1.0 - fraction) + next.uniform(-1.0, 1.0) * fraction
}

fn hash(text: &str) -> u64 {
    RandomStream::named(text).number()
}

fn ethernet_mac(id: &DeviceId) -> DeviceId {
    DeviceId::from_number(id.number().wrapping_add(3))
}

/// The range from which the DHCP server leases an address.
#[derive(Debug, Clone, Copy)]
enum Lease {
    Wifi,
    Ethernet,
}

/// Returns the static address, or the one that the house's router leases: in 192.168.1.0/24, derived
/// from the last byte of the id, so that up to a hundred devices with consecutive ids do not
/// collide.
fn ip_settings(address: &StaticIp, id: &DeviceId, lease: Lease) -> IpSettings {
    if address.static_ip {
        let StaticIp { ip, netmask, gateway, dns, .. } = *address;
        return IpSettings { ip, mask: netmask, gateway, dns };
    }
    #[expect(clippy::cast_possible_truncation, reason = "the last byte")]
    let last = id.number() as u8;
    let host = match lease {
        Lease::Wifi => 100 + last % 100,
        Lease::Ethernet => 2 + last % 98,
    };
    let router = Ipv4Addr::new(192, 168, 1, 1);
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    IpSettings { ip: Ipv4Addr::new(192, 168, 1, host), mask, gateway: router, dns: router }
}
