//! The network settings of `/api/v1/wifi/sta/settings` and `/api/v1/eth/settings`
//! (`docs/device/settings.md`).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::table::{Field, FieldKind, SettingsObject, TextRule, Unset, accessor};
use crate::decimal::Decimal;
use crate::device::json;
use crate::limits;
use crate::problem::Problem;

/// The settings of the Wi-Fi client (`wifi_sta_settings_fields.csv`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct WifiSettings {
    pub enable: bool,
    /// The network's SSID.
    pub name: String,
    pub password: String,
    pub address: StaticIp,
    pub max_tx_power: TxPower,
    /// `true` if the device is an access point, as before its first setup. Enabling the client ends
    /// that. The API has no such field.
    pub access_point: bool,
}

impl WifiSettings {
    /// Returns `true` if the client is on and a network is set.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.enable && !self.name.is_empty()
    }
}

/// A transmit power in units of 0.5 dBm, the step of the API: 0..=42.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxPower(pub u8);

impl Default for TxPower {
    /// 17 dBm.
    fn default() -> Self {
        Self(34)
    }
}

/// The Ethernet settings (`eth_settings_fields.csv`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct EthSettings {
    pub enable: bool,
    pub address: StaticIp,
}

impl Default for EthSettings {
    fn default() -> Self {
        Self { enable: true, address: StaticIp::default() }
    }
}

/// A static address, in force if `static_ip` is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct StaticIp {
    pub static_ip: bool,
    pub ip: Ipv4Addr,
    pub netmask: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub dns: Ipv4Addr,
}

impl Default for StaticIp {
    fn default() -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        Self { static_ip: false, ip: none, netmask: none, gateway: none, dns: none }
    }
}

/// The field table of `/api/v1/wifi/sta/settings`.
pub static WIFI_SETTINGS: SettingsObject<WifiSettings> = SettingsObject {
    name: "wifi/sta/settings",
    fields: WIFI_FIELDS,
    unset: Unset::Zero,
    accessor: accessor!(wifi),
    normalize: |wifi, _| normalize_wifi(wifi),
};

type WifiField = Field<WifiSettings>;

const WIFI_FIELDS: &[WifiField] = &[
    WifiField::new("enable", FieldKind::Bool(accessor!(enable)), "Turns the Wi-Fi client on."),
    WifiField::new(
        "name",
        FieldKind::Text(accessor!(name), TextRule::max_bytes(limits::SSID_BYTES)),
        "The network's name (SSID); required while the client is on.",
    ),
    WifiField::new(
        "password",
        FieldKind::Text(
            accessor!(password),
            TextRule::max_chars(*limits::WIFI_PASSWORD_CHARS.end())
                .with_check(check_password, "empty for an open network, or 8 to 64 characters; 64 are a raw key of hexadecimal digits")
                .with_pattern("^$|^[\\s\\S]{8,}$"),
        ),
        "The password of the network.",
    )
    .secret(),
    WifiField::new("static_ip", FieldKind::Bool(accessor!(address.static_ip)), STATIC_IP),
    WifiField::new("ip", FieldKind::Address(accessor!(address.ip)), IP),
    WifiField::new("netmask", FieldKind::Address(accessor!(address.netmask)), NETMASK),
    WifiField::new("gateway", FieldKind::Address(accessor!(address.gateway)), GATEWAY),
    WifiField::new("dns", FieldKind::Address(accessor!(address.dns)), DNS),
    WifiField::new(
        "max_tx_power",
        FieldKind::Number {
            get: |wifi| Decimal::new(i64::from(wifi.max_tx_power.0) * 5, 1),
            set: |wifi, power| wifi.max_tx_power = TxPower::from_dbm(power),
            range: limits::TX_POWER,
            step: limits::TX_POWER_STEP,
            places: 1,
        },
        "The maximum transmit power, in dBm.",
    )
    .stored_only()
    .with_alias("max_power"),
];

const STATIC_IP: &str = "Uses the address set here instead of DHCP.";
const IP: &str = "The address; required if `static_ip` is true.";
const NETMASK: &str = "The network mask; required if `static_ip` is true.";
const GATEWAY: &str = "The router; required if `static_ip` is true.";
const DNS: &str = "The name server; required if `static_ip` is true.";

/// The field table of `/api/v1/eth/settings`.
pub static ETH_SETTINGS: SettingsObject<EthSettings> = SettingsObject {
    name: "eth/settings",
    fields: &[
        Field::new("enable", FieldKind::Bool(accessor!(enable)), "Turns Ethernet on."),
        Field::new("static_ip", FieldKind::Bool(accessor!(address.static_ip)), STATIC_IP),
        Field::new("ip", FieldKind::Address(accessor!(address.ip)), IP),
        Field::new("netmask", FieldKind::Address(accessor!(address.netmask)), NETMASK),
        Field::new("gateway", FieldKind::Address(accessor!(address.gateway)), GATEWAY),
        Field::new("dns", FieldKind::Address(accessor!(address.dns)), DNS),
    ],
    unset: Unset::Zero,
    accessor: accessor!(eth),
    normalize: |eth, _| check_static(&eth.address),
};

fn normalize_wifi(wifi: &mut WifiSettings) -> Result<(), Problem> {
    if wifi.enable && wifi.name.is_empty() {
        let message = "empty: expected the name of a network while `enable` is true";
        return Err(Problem::new("name", message));
    }
    check_static(&wifi.address)?;
    wifi.access_point &= !wifi.enable;
    Ok(())
}

/// Checks that a static address is complete (vendor, Wi-Fi and Ethernet pages) and that the mask is
/// contiguous (SETTING-12).
fn check_static(address: &StaticIp) -> Result<(), Problem> {
    let StaticIp { static_ip, ip, netmask, gateway, dns } = *address;
    let bits = netmask.to_bits();
    if bits.leading_ones() + bits.trailing_zeros() < u32::BITS {
        let message = format!("{netmask}: expected a mask whose ones are at its beginning");
        return Err(Problem::new("netmask", message));
    }
    let parts = [("ip", ip), ("netmask", netmask), ("gateway", gateway), ("dns", dns)];
    match parts.iter().find(|(_, part)| part.is_unspecified()) {
        Some((field, _)) if static_ip => {
            let message = "0.0.0.0: expected an address while `static_ip` is true";
            Err(Problem::new(*field, message))
        }
        _ => Ok(()),
    }
}

fn check_password(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { json::check_length(text, &limits::WIFI_PASSWORD_CHARS) }
}

impl TxPower {
    /// Returns the step nearest to `dbm`.
    #[must_use]
    pub fn from_dbm(dbm: Decimal) -> Self {
        let halves = Decimal::from_f64(dbm.to_f64() / limits::TX_POWER_STEP, 0).mantissa();
        Self(u8::try_from(halves).unwrap_or(0))
    }
}
