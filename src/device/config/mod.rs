//! Everything that a user sets on a device and that outlives a reboot: one typed model.
//!
//! A [`Config`] is replaced as a whole, never changed in place, so that every surface works with one
//! that fits together.

mod meter;
mod modbus_map;
mod mqtt;
mod network;
pub mod pem;
mod settings;
pub mod table;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::meter::{
    CustomScaler, InterfaceMode, InterfaceType, METER_SETTINGS, MeterKey, MeterProtocol,
    MeterSettings, Parity, ScalersSet, StopBits,
};
pub use self::modbus_map::{
    AddressFormat, Listing, MapWordOrder, MappedRegister, NumberType, RegisterId, RegisterMap,
    RegisterSet,
};
pub(in crate::device) use self::modbus_map::{Span, TEXT_BYTES};
pub use self::mqtt::{BrokerUrl, MQTT_SETTINGS, MqttSettings};
pub use self::network::{
    ETH_SETTINGS, EthSettings, StaticIp, TxPower, WIFI_SETTINGS, WifiSettings,
};
pub use self::settings::{Cloud, ModbusService, SETTINGS, SdService, Services, Settings, System};
use crate::device::DeviceId;

/// The configuration of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// `/api/v1/settings`.
    pub settings: Settings,
    /// `/api/v1/meter/settings`.
    pub meter: MeterSettings,
    /// `/api/v1/meter/scalers/custom`.
    pub custom_scalers: Vec<CustomScaler>,
    /// `/api/v1/mqtt/settings`.
    pub mqtt: MqttSettings,
    /// `/api/v1/wifi/sta/settings`.
    pub wifi: WifiSettings,
    /// `/api/v1/eth/settings`.
    pub eth: EthSettings,
    /// `/api/v1/modbus`; the default map where none.
    pub modbus: Option<Arc<RegisterMap>>,
    /// `/api/v1/berry`: the stored script; none where there is none.
    pub script: Option<Arc<str>>,
}

impl Config {
    /// What a device leaves the factory with, and goes back to by `/api/v1/restore`.
    #[must_use]
    pub fn factory(id: &DeviceId) -> Self {
        Self {
            settings: Settings::factory(id),
            meter: MeterSettings::default(),
            custom_scalers: Vec::new(),
            mqtt: MqttSettings::default(),
            wifi: WifiSettings::default(),
            eth: EthSettings::default(),
            modbus: None,
            script: None,
        }
    }

    /// The register map in force.
    #[must_use]
    pub fn register_map(&self) -> &Arc<RegisterMap> {
        self.modbus.as_ref().unwrap_or_else(|| RegisterMap::factory())
    }
}
