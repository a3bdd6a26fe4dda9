//! `/api/v1/settings` (`docs/device/settings.md`, `settings_fields.csv`).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Config;
use super::table::{Field, FieldKind, Object, TextRule, Unset, WriteContext, lens, whole};
use crate::device::{DeviceId, Feature, json};
use crate::limits;
use crate::problem::Problem;

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
    /// The host name of a device that was given none (ACCESS-3).
    #[must_use]
    pub fn default_host_name(id: &DeviceId) -> String {
        format!("whatwatt-{}", id.short())
    }

    /// What a device leaves the factory with.
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
                sd: SdService { enable: false, frequency: 15, recorder_mode: false },
                modbus: ModbusService { enable: false, port: 502 },
                berry_auto_run: false,
                berry_run_delay: 300,
            },
        }
    }
}

/// `/api/v1/settings`, field by field.
pub static SETTINGS: Object<Settings> = Object {
    name: "settings",
    fields: FIELDS,
    left_out: Unset::Zero,
    of: lens!(settings),
    rules: settle,
};

type SettingsField = Field<Settings>;

const FIELDS: &[SettingsField] = &[
    SettingsField::new(
        "system.name",
        FieldKind::Text(lens!(system.name), TextRule::up_to(limits::NAME_CHARS)),
        "What the device is called, for people; shown in `/api/v1/system`.",
    ),
    SettingsField::new(
        "system.host_name",
        FieldKind::Text(
            lens!(system.host_name),
            TextRule::up_to(limits::NAME_CHARS)
                .that(host_label, "a host name; empty for the default")
                .matching("^$|^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?$"),
        ),
        "Its name on the network, the realm of its authentication and the host of allowed origins.",
    )
    .or_default(),
    SettingsField::new(
        "system.protection",
        FieldKind::Flag(lens!(system.protection)),
        "Whether the API asks for the password; only where there is one.",
    ),
    SettingsField::new(
        "system.password",
        FieldKind::Text(lens!(system.password), TextRule::up_to(limits::NAME_CHARS)),
        "The password of the API.",
    )
    .secret(),
    SettingsField::new(
        "system.power_save",
        FieldKind::Flag(lens!(system.power_save)),
        "Saves power: Wi-Fi sleeps between beacons, Ethernet is off. Refused while the Ethernet link is up.",
    ),
    SettingsField::new(
        "system.p1_wifi_boost",
        FieldKind::Flag(lens!(system.p1_wifi_boost)),
        "Whether Wi-Fi stays awake while a P1 plug feeds the device.",
    ),
    SettingsField::new(
        "system.use_dhcp_ntp_server",
        FieldKind::Flag(lens!(system.use_dhcp_ntp_server)),
        "Whether the time server that DHCP names is asked, too.",
    )
    .stored_only(),
    SettingsField::new(
        "system.custom_ntp_server",
        FieldKind::Text(lens!(system.custom_ntp_server), TextRule::up_to(limits::NTP_SERVER_CHARS)),
        "A time server, a host name or an IP address. What is neither is dropped, and `use_custom_ntp_server` switched off.",
    )
    .stored_only(),
    SettingsField::new(
        "system.use_custom_ntp_server",
        FieldKind::Flag(lens!(system.use_custom_ntp_server)),
        "Whether `custom_ntp_server` is asked, where there is one.",
    )
    .stored_only(),
    SettingsField::new(
        "system.password_len",
        FieldKind::Length(|settings| Some(settings.system.password.chars().count())),
        "How many characters `system.password` has.",
    ),
    SettingsField::new(
        "services.cloud.what_watt",
        FieldKind::Flag(lens!(services.cloud.what_watt)),
        "The whatwatt cloud.",
    ),
    SettingsField::new(
        "services.cloud.solar_manager",
        FieldKind::Flag(lens!(services.cloud.solar_manager)),
        "The Solar Manager cloud.",
    ),
    SettingsField::new(
        "services.cloud.mystrom",
        FieldKind::Flag(lens!(services.cloud.mystrom)),
        "The myStrom cloud; off with the licence FREE.",
    ),
    SettingsField::new(
        "services.cloud.stromkonto",
        FieldKind::Flag(lens!(services.cloud.stromkonto)),
        "The Stromkonto cloud.",
    ),
    SettingsField::new(
        "services.local.solar_manager",
        FieldKind::Flag(lens!(services.local_solar_manager)),
        "The local API for Solar Manager.",
    )
    .stored_only(),
    SettingsField::new("services.broadcast", FieldKind::Flag(lens!(services.broadcast)), "Discovery by mDNS."),
    SettingsField::new(
        "services.other_energy_provider",
        FieldKind::Flag(lens!(services.other_energy_provider)),
        "Features for other energy providers.",
    )
    .stored_only(),
    SettingsField::new(
        "services.report_interval",
        whole!(services.report_interval, limits::REPORT_INTERVAL),
        "Seconds between two reports to clouds and MQTT.",
    ),
    SettingsField::new(
        "services.low_power_report",
        FieldKind::Flag(lens!(services.low_power_report)),
        "Reports in the low-power way, where `if_type` of the meter is not `auto`.",
    )
    .stored_only(),
    SettingsField::new("services.log", FieldKind::Flag(lens!(services.log)), "The internal log.")
    .stored_only(),
    SettingsField::new(
        "services.meter_proxy",
        FieldKind::Flag(lens!(services.meter_proxy)),
        "The meter proxy; off with the licence FREE.",
    )
    .stored_only(),
    SettingsField::new(
        "services.sd.enable",
        FieldKind::Flag(lens!(services.sd.enable)),
        "Whether readings are written to the SD card.",
    ),
    SettingsField::new(
        "services.sd.frequency",
        whole!(services.sd.frequency, limits::SD_FREQUENCY),
        "Seconds between two rows on the SD card.",
    ),
    SettingsField::new(
        "services.sd.recorder_mode",
        FieldKind::Flag(lens!(services.sd.recorder_mode)),
        "The device as a recorder without a network.",
    )
    .needs(Feature::RecorderMode),
    SettingsField::new(
        "services.modbus.enable",
        FieldKind::Flag(lens!(services.modbus.enable)),
        "The Modbus TCP server; off with the licence FREE.",
    )
    .needs(Feature::ModbusServer),
    SettingsField::new(
        "services.modbus.port",
        whole!(services.modbus.port, limits::PORTS),
        "The port of the Modbus TCP server.",
    )
    .needs(Feature::ModbusServer),
    SettingsField::new(
        "services.berry.auto_run",
        FieldKind::Flag(lens!(services.berry_auto_run)),
        "Whether the stored script starts after a boot; not with the licence FREE.",
    )
    .needs(Feature::Berry),
    SettingsField::new(
        "services.berry.run_delay",
        whole!(services.berry_run_delay, limits::BERRY_RUN_DELAY),
        "Seconds after a boot until then.",
    )
    .needs(Feature::Berry),
];

/// The rules of the settings page: an empty host name is the default one, an unusable time server is
/// dropped, and Ethernet has to be down before power is saved.
fn settle(settings: &mut Settings, around: &WriteContext<'_>) -> Result<(), Problem> {
    let system = &mut settings.system;
    if system.host_name.is_empty() {
        system.host_name = Settings::default_host_name(around.id);
    }
    if !system.custom_ntp_server.is_empty() && !is_server(&system.custom_ntp_server) {
        system.custom_ntp_server.clear();
        system.use_custom_ntp_server = false;
    }
    let up = |config: &Config| around.site.ethernet_up(config);
    if system.power_save && around.before.is_some_and(up) {
        return Err(Problem::new(
            "system.power_save",
            "true: expected false while the Ethernet link is up; switch Ethernet off first",
        ));
    }
    Ok(())
}

/// Whether a text is one label of a host name; `.local` is added where the name is used, and `_` is
/// taken because the vendor's own default has one (SETTING-6).
fn host_label(text: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-') {
        Ok(())
    } else {
        let shown = json::shortened(text);
        Err(format!("`{shown}`: expected letters, digits, - and _, and no - at either end"))
    }
}

/// Whether a text names a server: an IP address, or labels joined by dots.
pub(super) fn is_server(text: &str) -> bool {
    let label = |label: &str| {
        (1..=limits::HOST_LABEL_CHARS).contains(&label.len()) && host_label(label).is_ok()
    };
    // Digits and dots alone are an IPv4 address or nothing.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<IpAddr>().is_ok() || (!numeric && text.split('.').all(label))
}
