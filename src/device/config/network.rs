//! `/api/v1/wifi/sta/settings` and `/api/v1/eth/settings` (contract §2).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

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
