//! `/api/v1/wifi/sta/settings` and `/api/v1/eth/settings` (`docs/device/settings.md`).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::table::{Field, FieldKind, Object, TextRule, Unset, lens};
use crate::decimal::Decimal;
use crate::device::json;
use crate::limits;
use crate::problem::Problem;

/// The Wi-Fi client (`wifi_sta_settings_fields.csv`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub struct WifiSettings {
    pub enable: bool,
    /// The network's name.
    pub name: String,
    pub password: String,
    pub address: StaticIp,
    pub max_tx_power: TxPower,
    /// Whether the device is an access point of its own, as before its first setup; the client being
    /// on ends it. No field of the API.
    pub access_point: bool,
}

impl WifiSettings {
    /// Whether the client has a network to look for.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.enable && !self.name.is_empty()
    }
}

/// dBm in halves, so that steps of 0.5 are whole: 0..=42.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxPower(pub u8);

impl Default for TxPower {
    /// 17 dBm.
    fn default() -> Self {
        Self(34)
    }
}

/// Ethernet (`eth_settings_fields.csv`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub struct EthSettings {
    pub enable: bool,
    pub address: StaticIp,
}

impl Default for EthSettings {
    fn default() -> Self {
        Self { enable: true, address: StaticIp::default() }
    }
}

/// An address that is set by hand; in force where `static_ip` is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
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

/// `/api/v1/wifi/sta/settings`, field by field.
pub static WIFI_SETTINGS: Object<WifiSettings> = Object {
    name: "wifi/sta/settings",
    fields: WIFI_FIELDS,
    left_out: Unset::Zero,
    of: lens!(wifi),
    rules: |wifi, _| settle_wifi(wifi),
};

type WifiRow = Field<WifiSettings>;

const WIFI_FIELDS: &[WifiRow] = &[
    WifiRow::new("enable", FieldKind::Flag(lens!(enable)), "Whether the Wi-Fi client is on."),
    WifiRow::new(
        "name",
        FieldKind::Text(lens!(name), TextRule::up_to_bytes(limits::SSID_BYTES)),
        "The network; not empty while the client is on.",
    ),
    WifiRow::new(
        "password",
        FieldKind::Text(
            lens!(password),
            TextRule::up_to(*limits::WIFI_PASSWORD_CHARS.end())
                .that(password, "empty for an open network, or 8 to 64 characters; 64 are a raw key of hexadecimal digits")
                .matching("^$|^[\\s\\S]{8,}$"),
        ),
        "The password of the network.",
    )
    .secret(),
    WifiRow::new("static_ip", FieldKind::Flag(lens!(address.static_ip)), STATIC_IP),
    WifiRow::new("ip", FieldKind::Address(lens!(address.ip)), IP),
    WifiRow::new("netmask", FieldKind::Address(lens!(address.netmask)), NETMASK),
    WifiRow::new("gateway", FieldKind::Address(lens!(address.gateway)), GATEWAY),
    WifiRow::new("dns", FieldKind::Address(lens!(address.dns)), DNS),
    WifiRow::new(
        "max_tx_power",
        FieldKind::Number {
            get: |wifi| Decimal::new(i64::from(wifi.max_tx_power.0) * 5, 1),
            set: |wifi, power| wifi.max_tx_power = TxPower::of(power),
            range: limits::TX_POWER,
            step: limits::TX_POWER_STEP,
            places: 1,
        },
        "dBm that are sent with at the most.",
    )
    .stored_only()
    .or_called("max_power"),
];

const STATIC_IP: &str = "Whether the address is set here, in place of DHCP.";
const IP: &str = "The address; needed where `static_ip` is true.";
const NETMASK: &str = "The mask of its network; needed where `static_ip` is true.";
const GATEWAY: &str = "The router; needed where `static_ip` is true.";
const DNS: &str = "The name server; needed where `static_ip` is true.";

/// `/api/v1/eth/settings`, field by field.
pub static ETH_SETTINGS: Object<EthSettings> = Object {
    name: "eth/settings",
    fields: &[
        Field::new("enable", FieldKind::Flag(lens!(enable)), "Whether Ethernet is on."),
        Field::new("static_ip", FieldKind::Flag(lens!(address.static_ip)), STATIC_IP),
        Field::new("ip", FieldKind::Address(lens!(address.ip)), IP),
        Field::new("netmask", FieldKind::Address(lens!(address.netmask)), NETMASK),
        Field::new("gateway", FieldKind::Address(lens!(address.gateway)), GATEWAY),
        Field::new("dns", FieldKind::Address(lens!(address.dns)), DNS),
    ],
    left_out: Unset::Zero,
    of: lens!(eth),
    rules: |eth, _| check_static(&eth.address),
};

fn settle_wifi(wifi: &mut WifiSettings) -> Result<(), Problem> {
    if wifi.enable && wifi.name.is_empty() {
        let message = "empty: expected the name of a network while `enable` is true";
        return Err(Problem::new("name", message));
    }
    check_static(&wifi.address)?;
    wifi.access_point &= !wifi.enable;
    Ok(())
}

/// A static address is whole or none (vendor, Wi-Fi and Ethernet pages), and its mask is one
/// (SETTING-12).
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

fn password(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { json::check_length(text, &limits::WIFI_PASSWORD_CHARS) }
}

impl TxPower {
    /// The step that is nearest to `dbm`.
    #[must_use]
    pub fn of(dbm: Decimal) -> Self {
        let halves = Decimal::from_f64(dbm.to_f64() / limits::TX_POWER_STEP, 0).mantissa();
        Self(u8::try_from(halves).unwrap_or(0))
    }
}
