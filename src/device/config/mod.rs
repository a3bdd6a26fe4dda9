//! The configuration that a user sets on a device and that survives a reboot, as one typed model.
//!
//! A [`Config`] is replaced as a whole and never changed in place, so that every surface works with
//! a consistent one.

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
pub(in crate::device) use self::modbus_map::{RegisterSlot, TEXT_BYTES};
pub use self::mqtt::{BrokerUrl, BrokerUrlError, MQTT_SETTINGS, MqttSettings};
pub use self::network::{
    ETH_SETTINGS, EthSettings, StaticIp, TxPower, WIFI_SETTINGS, WifiSettings,
};
pub use self::settings::{
    Cloud, ModbusServerSettings, SETTINGS, SdLogSettings, Services, Settings, System,
};
use crate::device::DeviceId;

/// The configuration of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The object of `/api/v1/settings`.
    pub settings: Settings,
    /// The object of `/api/v1/meter/settings`.
    pub meter: MeterSettings,
    /// The list of `/api/v1/meter/scalers/custom`.
    pub custom_scalers: Vec<CustomScaler>,
    /// The object of `/api/v1/mqtt/settings`.
    pub mqtt: MqttSettings,
    /// The object of `/api/v1/wifi/sta/settings`.
    pub wifi: WifiSettings,
    /// The object of `/api/v1/eth/settings`.
    pub eth: EthSettings,
    /// The register map of `/api/v1/modbus`; `None` if the factory map is in force.
    pub modbus: Option<Arc<RegisterMap>>,
    /// The stored script of `/api/v1/berry`; `None` if no script is stored.
    pub script: Option<Arc<str>>,
}

impl Config {
    /// Returns the configuration of a new device, to which `/api/v1/restore` resets it.
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

    /// Returns the register map in force.
    #[must_use]
    pub fn register_map(&self) -> &Arc<RegisterMap> {
        self.modbus.as_ref().unwrap_or_else(|| RegisterMap::factory())
    }
}
