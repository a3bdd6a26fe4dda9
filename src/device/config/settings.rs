//! `/api/v1/settings` (contract §2, `settings_fields.csv`).

use serde::{Deserialize, Serialize};

use crate::device::DeviceId;

/// The device's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub struct Settings {
    pub system: System,
    pub services: Services,
}

/// `system`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
#[expect(clippy::struct_excessive_bools, reason = "the device's own shape")]
pub struct System {
    pub name: String,
    pub host_name: String,
    pub protection: bool,
    pub password: String,
    pub power_save: bool,
    pub p1_wifi_boost: bool,
    pub use_dhcp_ntp_server: bool,
    pub custom_ntp_server: String,
    pub use_custom_ntp_server: bool,
}

/// `services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
#[expect(clippy::struct_excessive_bools, reason = "the device's own shape")]
pub struct Services {
    pub cloud: Cloud,
    /// `local.solar_manager`.
    pub local_solar_manager: bool,
    pub broadcast: bool,
    pub other_energy_provider: bool,
    /// Seconds.
    pub report_interval: u16,
    pub low_power_report: bool,
    pub log: bool,
    pub meter_proxy: bool,
    pub sd: SdService,
    pub modbus: ModbusService,
    /// `berry.auto_run`.
    pub berry_auto_run: bool,
    /// `berry.run_delay`, seconds.
    pub berry_run_delay: u32,
}

/// `services.cloud`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
#[expect(clippy::struct_excessive_bools, reason = "the device's own shape")]
pub struct Cloud {
    pub what_watt: bool,
    pub solar_manager: bool,
    pub mystrom: bool,
    pub stromkonto: bool,
}

/// `services.sd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub struct SdService {
    pub enable: bool,
    /// Seconds.
    pub frequency: u16,
    pub recorder_mode: bool,
}

/// `services.modbus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub struct ModbusService {
    pub enable: bool,
    pub port: u16,
}

impl Settings {
    /// What a device leaves the factory with.
    #[must_use]
    pub fn factory(id: &DeviceId) -> Self {
        Self {
            system: System {
                name: String::new(),
                host_name: format!("whatwatt-{}", id.short()),
                protection: false,
                password: String::new(),
                power_save: false,
                p1_wifi_boost: true,
                use_dhcp_ntp_server: false,
                custom_ntp_server: String::new(),
                use_custom_ntp_server: false,
            },
            services: Services {
                cloud: Cloud {
                    what_watt: true,
                    solar_manager: false,
                    mystrom: true,
                    stromkonto: false,
                },
                local_solar_manager: false,
                broadcast: true,
                other_energy_provider: false,
                report_interval: 30,
                low_power_report: false,
                log: false,
                meter_proxy: false,
                sd: SdService { enable: false, frequency: 15, recorder_mode: false },
                modbus: ModbusService { enable: false, port: 502 },
                berry_auto_run: false,
                berry_run_delay: 300,
            },
        }
    }
}
