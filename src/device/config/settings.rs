//! The settings object of `/api/v1/settings` (`docs/device/settings.md`, `settings_fields.csv`).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::table::{
    Field, FieldKind, SettingsObject, TextRule, Unset, WriteContext, accessor, int,
};
use crate::device::{DeviceId, Feature, json};
use crate::limits;
use crate::problem::Problem;

/// The device's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct Settings {
    pub system: System,
    pub services: Services,
}

/// The group `system`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
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

/// The group `services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
#[expect(clippy::struct_excessive_bools, reason = "the device's own shape")]
pub struct Services {
    pub cloud: Cloud,
    /// `local.solar_manager`.
    pub local_solar_manager: bool,
    pub broadcast: bool,
    pub other_energy_provider: bool,
    /// In seconds.
    pub report_interval: u16,
    pub low_power_report: bool,
    pub log: bool,
    pub meter_proxy: bool,
    pub sd: SdLogSettings,
    pub modbus: ModbusServerSettings,
    /// `berry.auto_run`.
    pub berry_auto_run: bool,
    /// `berry.run_delay`, in seconds.
    pub berry_run_delay: u32,
}

/// The group `services.cloud`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
#[expect(clippy::struct_excessive_bools, reason = "the device's own shape")]
pub struct Cloud {
    pub what_watt: bool,
    pub solar_manager: bool,
    pub mystrom: bool,
    pub stromkonto: bool,
}

/// The group `services.sd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct SdLogSettings {
    pub enable: bool,
    /// In seconds.
    pub frequency: u16,
    pub recorder_mode: bool,
}

/// The group `services.modbus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct ModbusServerSettings {
    pub enable: bool,
    pub port: u16,
}

impl Settings {
    /// Returns the host name of a device on which none is set (ACCESS-3).
    #[must_use]
    pub fn default_host_name(id: &DeviceId) -> String {
        format!("whatwatt-{}", id.short())
    }

    /// Returns the settings of a new device.
    #[must_use]
    pub fn factory(id: &DeviceId) -> Self {
        Self {
            system: System {
                name: String::new(),
                host_name: Self::default_host_name(id),
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
                sd: SdLogSettings { enable: false, frequency: 15, recorder_mode: false },
                modbus: ModbusServerSettings { enable: false, port: 502 },
                berry_auto_run: false,
                berry_run_delay: 300,
            },
        }
    }
}

/// The field table of `/api/v1/settings`.
pub static SETTINGS: SettingsObject<Settings> = SettingsObject {
    name: "settings",
    fields: FIELDS,
    unset: Unset::Zero,
    accessor: accessor!(settings),
    normalize,
};

type SettingsField = Field<Settings>;

const FIELDS: &[SettingsField] = &[
    SettingsField::new(
        "system.name",
        FieldKind::Text(accessor!(system.name), TextRule::max_chars(limits::NAME_CHARS)),
        "The device's display name, which `/api/v1/system` returns.",
    ),
    SettingsField::new(
        "system.host_name",
        FieldKind::Text(
            accessor!(system.host_name),
            TextRule::max_chars(limits::NAME_CHARS)
                .with_check(check_host_label, "a host name; empty for the default")
                .with_pattern("^$|^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?$"),
        ),
        "The host name on the network, the realm of the authentication and the host of allowed origins.",
    )
    .default_if_unset(),
    SettingsField::new(
        "system.protection",
        FieldKind::Bool(accessor!(system.protection)),
        "Requires the password for the API, if a password is set.",
    ),
    SettingsField::new(
        "system.password",
        FieldKind::Text(accessor!(system.password), TextRule::max_chars(limits::NAME_CHARS)),
        "The password of the API.",
    )
    .secret(),
    SettingsField::new(
        "system.power_save",
        FieldKind::Bool(accessor!(system.power_save)),
        "Saves power: Wi-Fi sleeps between beacons, and Ethernet is off. Refused while the Ethernet link is up.",
    ),
    SettingsField::new(
        "system.p1_wifi_boost",
        FieldKind::Bool(accessor!(system.p1_wifi_boost)),
        "Keeps Wi-Fi awake while a P1 plug powers the device.",
    ),
    SettingsField::new(
        "system.use_dhcp_ntp_server",
        FieldKind::Bool(accessor!(system.use_dhcp_ntp_server)),
        "Also uses the time server that DHCP names.",
    )
    .stored_only(),
    SettingsField::new(
        "system.custom_ntp_server",
        FieldKind::Text(accessor!(system.custom_ntp_server), TextRule::max_chars(limits::NTP_SERVER_CHARS)),
        "A time server, as a host name or an IP address. An invalid value is dropped and turns `use_custom_ntp_server` off.",
    )
    .stored_only(),
    SettingsField::new(
        "system.use_custom_ntp_server",
        FieldKind::Bool(accessor!(system.use_custom_ntp_server)),
        "Uses `custom_ntp_server`, if it is set.",
    )
    .stored_only(),
    SettingsField::new(
        "system.password_len",
        FieldKind::Length(|settings| Some(settings.system.password.chars().count())),
        "The number of characters in `system.password`.",
    ),
    SettingsField::new(
        "services.cloud.what_watt",
        FieldKind::Bool(accessor!(services.cloud.what_watt)),
        "The whatwatt cloud.",
    ),
    SettingsField::new(
        "services.cloud.solar_manager",
        FieldKind::Bool(accessor!(services.cloud.solar_manager)),
        "The Solar Manager cloud.",
    ),
    SettingsField::new(
        "services.cloud.mystrom",
        FieldKind::Bool(accessor!(services.cloud.mystrom)),
        "The myStrom cloud; inactive with the licence FREE.",
    ),
    SettingsField::new(
        "services.cloud.stromkonto",
        FieldKind::Bool(accessor!(services.cloud.stromkonto)),
        "The Stromkonto cloud.",
    ),
    SettingsField::new(
        "services.local.solar_manager",
        FieldKind::Bool(accessor!(services.local_solar_manager)),
        "The local API for Solar Manager.",
    )
    .stored_only(),
    SettingsField::new("services.broadcast", FieldKind::Bool(accessor!(services.broadcast)), "Discovery by mDNS."),
    SettingsField::new(
        "services.other_energy_provider",
        FieldKind::Bool(accessor!(services.other_energy_provider)),
        "Features for other energy providers.",
    )
    .stored_only(),
    SettingsField::new(
        "services.report_interval",
        int!(services.report_interval, limits::REPORT_INTERVAL),
        "Seconds between two reports to clouds and MQTT.",
    ),
    SettingsField::new(
        "services.low_power_report",
        FieldKind::Bool(accessor!(services.low_power_report)),
        "Reports in the low-power mode, if `if_type` of the meter is not `auto`.",
    )
    .stored_only(),
    SettingsField::new("services.log", FieldKind::Bool(accessor!(services.log)), "The internal log.")
    .stored_only(),
    SettingsField::new(
        "services.meter_proxy",
        FieldKind::Bool(accessor!(services.meter_proxy)),
        "The meter proxy; inactive with the licence FREE.",
    )
    .stored_only(),
    SettingsField::new(
        "services.sd.enable",
        FieldKind::Bool(accessor!(services.sd.enable)),
        "Writes readings to the SD card.",
    ),
    SettingsField::new(
        "services.sd.frequency",
        int!(services.sd.frequency, limits::SD_FREQUENCY),
        "Seconds between two rows on the SD card.",
    ),
    SettingsField::new(
        "services.sd.recorder_mode",
        FieldKind::Bool(accessor!(services.sd.recorder_mode)),
        "Runs the device as a recorder without a network.",
    )
    .requires(Feature::RecorderMode),
    SettingsField::new(
        "services.modbus.enable",
        FieldKind::Bool(accessor!(services.modbus.enable)),
        "The Modbus TCP server; inactive with the licence FREE.",
    )
    .requires(Feature::ModbusServer),
    SettingsField::new(
        "services.modbus.port",
        int!(services.modbus.port, limits::PORTS),
        "The port of the Modbus TCP server.",
    )
    .requires(Feature::ModbusServer),
    SettingsField::new(
        "services.berry.auto_run",
        FieldKind::Bool(accessor!(services.berry_auto_run)),
        "Starts the stored script after a boot; not with the licence FREE.",
    )
    .requires(Feature::Berry),
    SettingsField::new(
        "services.berry.run_delay",
        int!(services.berry_run_delay, limits::BERRY_RUN_DELAY),
        "Seconds between a boot and that start.",
    )
    .requires(Feature::Berry),
];

/// Applies the rules of the settings page: an empty host name becomes the default, an invalid time
/// server is dropped, and `power_save` is refused while the Ethernet link is up.
fn normalize(settings: &mut Settings, context: &WriteContext<'_>) -> Result<(), Problem> {
    let system = &mut settings.system;
    if system.host_name.is_empty() {
        system.host_name = Settings::default_host_name(context.id);
    }
    if !system.custom_ntp_server.is_empty() && !is_host(&system.custom_ntp_server) {
        system.custom_ntp_server.clear();
        system.use_custom_ntp_server = false;
    }
    if system.power_save && context.ethernet_up {
        return Err(Problem::new(
            "system.power_save",
            "true: expected false while the Ethernet link is up; switch Ethernet off first",
        ));
    }
    Ok(())
}

/// Checks that `text` is one label of a host name. Users of the name append `.local`. `_` is
/// accepted, because the vendor's own default contains one (SETTING-6).
fn check_host_label(text: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-') {
        Ok(())
    } else {
        let shown = json::shortened(text);
        Err(format!("`{shown}`: expected letters, digits, - and _, and no - at either end"))
    }
}

/// Returns `true` if `text` is an IP address or a host name of labels joined by dots.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=limits::HOST_LABEL_CHARS).contains(&label.len()) && check_host_label(label).is_ok()
    };
    // A text of digits and dots only is an IPv4 address or invalid.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<IpAddr>().is_ok() || (!numeric && text.split('.').all(label))
}
