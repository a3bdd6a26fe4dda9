//! The limits that a user can meet, of the device and of the simulator, each with its source.
//!
//! A limit of Modbus TCP or of the Modbus servers is defined in `modbus::limits`, every other limit that a
//! client, a scenario or a test can meet in this file. A number on which only the code of one module
//! depends, such as the size of a buffer, is defined in that module.
//!
//! `docs/limits.md` is generated from this file and from `modbus::limits` by `scripts/limits`. The first word
//! of a comment is the unit in that table ("Bytes", "Characters", "Seconds"; the list is `UNITS` in the
//! script); a `Duration` needs none. A constant's source is the citation in parentheses in its comment, or in
//! the heading of its section. An id such as HTTP-3 names a ruling of `docs/device`, a name in `.csv` one of
//! its tables; "documented" and "vendor" refer to the public documentation of the whatwatt Go. A chosen limit
//! says why it has its value: it protects the process, and a client of a healthy house never meets it.

use std::time::Duration;

// ---------------------------------------------------------------------------------------------
// The actions API (`docs/device/actions.md`, `action_fields.csv`)
// ---------------------------------------------------------------------------------------------

/// Requests in progress at once, over all actions of a device (documented: 429).
pub const REQUESTS_IN_PROGRESS: usize = 20;
/// Status entries that a device stores (ACTION-18).
pub const STATUS_ENTRIES: usize = 40;
/// The first status id that a scenario can set. JSON clients represent ids exactly up to 2⁵³; from
/// here no device ever counts that far.
pub const FIRST_STATUS_ID: std::ops::RangeInclusive<u64> = 1..=u32::MAX as u64;
/// Bytes of a whole action definition (documented: 413).
pub const DEFINITION_BYTES: usize = 8191;
/// Characters of an action id.
pub const ACTION_ID_CHARS: std::ops::RangeInclusive<usize> = 1..=15;
/// Characters of `http.url`.
pub const URL_CHARS: std::ops::RangeInclusive<usize> = 8..=255;
/// Characters of `http.payload`.
pub const PAYLOAD_CHARS: std::ops::RangeInclusive<usize> = 0..=1023;
/// Headers of one HTTP request.
pub const HEADERS: usize = 4;
/// Characters of a header's name and value together.
pub const HEADER_CHARS: usize = 253;
/// Characters of `modbus.host`.
pub const MODBUS_HOST_CHARS: std::ops::RangeInclusive<usize> = 4..=63;
/// Characters of `modbus.value`.
pub const MODBUS_VALUE_CHARS: std::ops::RangeInclusive<usize> = 1..=492;
/// Seconds of a request's `timeout`.
pub const TIMEOUT_SECONDS: std::ops::RangeInclusive<f64> = 0.1..=10.0;
/// Bytes of the head of a response to an HTTP request of an action (chosen); a longer head is no valid
/// response.
pub const RESPONSE_HEAD_BYTES: usize = 16 * 1024;
/// Bytes of the body of such a response that are read before the result code is final (chosen, ACTION-15).
pub const RESPONSE_BODY_BYTES: usize = 64 * 1024;

// ---------------------------------------------------------------------------------------------
// The device's own Modbus server (`docs/device/modbus.md`)
// ---------------------------------------------------------------------------------------------

/// Addresses of a register map.
pub const MODBUS_ADDRESSES: std::ops::RangeInclusive<u16> = 0..=9998;
/// `scaler` of a register.
pub const MODBUS_SCALER: std::ops::RangeInclusive<i8> = -6..=6;
/// Connections that the server serves at once. The vendor gives no number; this is as many as a load
/// test opens.
pub const MODBUS_CONNECTIONS: usize = 128;
/// Real idle time after which the server closes a connection, as a slave does.
pub const MODBUS_IDLE: Duration = Duration::from_mins(5);

// ---------------------------------------------------------------------------------------------
// Settings (`settings_fields.csv`, `meter_settings_fields.csv`, `wifi_sta_settings_fields.csv`)
// ---------------------------------------------------------------------------------------------

/// Characters of `system.name`, `system.host_name` and `system.password`.
pub const NAME_CHARS: usize = 31;
/// Characters of `system.custom_ntp_server`.
pub const NTP_SERVER_CHARS: usize = 127;
/// Characters of one label of a host name (RFC 1035, §2.3.4).
pub const HOST_LABEL_CHARS: usize = 63;
/// Seconds of `services.report_interval`.
pub const REPORT_INTERVAL: std::ops::RangeInclusive<i64> = 1..=3600;
/// Seconds of `services.sd.frequency`.
pub const SD_FREQUENCY: std::ops::RangeInclusive<i64> = 1..=1440;
/// TCP ports.
pub const PORTS: std::ops::RangeInclusive<i64> = 1..=65_535;
/// Seconds of `services.berry.run_delay`.
pub const BERRY_RUN_DELAY: std::ops::RangeInclusive<i64> = 60..=86_400;
/// Bits a second of `baudrate`.
pub const BAUDRATE: std::ops::RangeInclusive<i64> = 300..=115_200;
/// Bytes of `buffer_size`.
pub const METER_BUFFER: std::ops::RangeInclusive<i64> = 1..=128;
/// `conv_factor`.
pub const CONVERSION_FACTOR: std::ops::RangeInclusive<f64> = 0.001..=1000.0;
/// Seconds of `time_offset`.
pub const TIME_OFFSET: std::ops::RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;
/// The scaler of an OBIS code, a power of ten (documented).
pub const SCALER: std::ops::RangeInclusive<i8> = -6..=6;
/// Custom scalers of a device: more than fit into a body of [`JSON_BODY_BYTES`].
pub const CUSTOM_SCALERS: usize = 300;
/// Bytes of a Wi-Fi network's name (IEEE 802.11, SSID element).
pub const SSID_BYTES: usize = 32;
/// Characters of a Wi-Fi password; 64 hexadecimal digits are a raw key.
pub const WIFI_PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=64;
/// dBm of `max_tx_power`, in steps of [`TX_POWER_STEP`].
pub const TX_POWER: std::ops::RangeInclusive<f64> = 0.0..=21.0;
/// dBm of a step of [`TX_POWER`].
pub const TX_POWER_STEP: f64 = 0.5;
/// Time of a scan for Wi-Fi networks: some 240 ms on each of 13 channels (vendor: seconds).
pub const WIFI_SCAN: Duration = Duration::from_secs(3);
/// Time for which a WPS pairing waits for the router's button (NETWORK-5).
pub const WPS_WINDOW: Duration = Duration::from_mins(2);
/// Default time from a WPS router's button to the connection.
pub const WPS_PAIRING: Duration = Duration::from_secs(15);
/// Wi-Fi networks around a device in a scenario; a scan lists all of them.
pub const NETWORKS: usize = 64;

// ---------------------------------------------------------------------------------------------
// Scenario files (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of a scenario file: the largest built-in one has some 10 KiB, a generated house of a
/// hundred slaves some 300 KiB.
pub const SCENARIO_BYTES: usize = 1024 * 1024;
/// Levels of nesting of a scenario file; the language itself needs 9.
pub const SCENARIO_DEPTH: usize = 32;
/// Nodes of a scenario file with its aliases expanded, which stops an alias bomb.
pub const SCENARIO_NODES: usize = 200_000;
/// Bytes of the texts of a scenario with its aliases expanded, which stops a bomb of few but long
/// texts.
pub const SCENARIO_EXPANDED_BYTES: usize = 4 * SCENARIO_BYTES;
/// Mistakes that are reported at once; most further ones are consequences of the first.
pub const SCENARIO_MISTAKES: usize = 100;

// ---------------------------------------------------------------------------------------------
// Houses (chosen)
// ---------------------------------------------------------------------------------------------

/// Devices of one house that the scenario writes out one by one; those of a fleet are not among them.
pub const DEVICES: usize = 1000;
/// Devices of a fleet, of all its shards together: a town. In one process, on one port, they take some 2 GB.
pub const FLEET_DEVICES: u32 = 100_000;
/// Kinds of devices of a fleet: more than there are kinds of meters, versions of the firmware and licences
/// together.
pub const FLEET_MIX: usize = 100;
/// Stages of a fleet: five from each state to each other one.
pub const FLEET_STAGES: usize = 100;
/// Weight of a kind of device or of a stage of a fleet: one in a million is the rarest beside it.
pub const FLEET_WEIGHT: u32 = 1_000_000;
/// Least delay of a stage of a fleet. When the clock jumps, each device goes through all stages of the time
/// between: some 3000 a year with a delay of three hours, and three million with this one.
pub const FLEET_STAGE_DELAY: Duration = Duration::from_secs(10);
/// Time in which a fleet goes online one device after another.
pub const FLEET_RAMP: Duration = Duration::from_hours(24);
/// File descriptors that a house is said to need beyond one for each listener: those of the runtime and the
/// state directory, and some connections.
pub const SPARE_DESCRIPTORS: u64 = 64;
/// Addresses of one kind that the start prints: as many as can be taken in at a glance. The ready file has
/// all of them.
pub const WELCOME_ADDRESSES: usize = 12;
/// Fault rules of a house: those of the file and those added while it runs.
pub const FAULT_RULES: usize = 1000;
/// Longest delay of a fault: a day, far beyond every timeout of the device.
pub const FAULT_DELAY: Duration = Duration::from_hours(24);
/// Least time between two windows of a meter rule. A device whose meter is read again after a year
/// processes half a million of them.
pub const METER_FAULT_EVERY: Duration = Duration::from_mins(1);
/// Windows of all rules over one meter that may begin in a day: those of 40 rules that repeat each
/// minute, and some more. After a year the next reading takes 0.1 s, and up to 1 s if the rules have
/// different periods.
pub const METER_WINDOWS_A_DAY: u64 = 60_000;

// ---------------------------------------------------------------------------------------------
// Recordings and meters (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of a recording of the SD card: some days at the least `services.sd.frequency`, or a year at a row each
/// quarter of an hour.
pub const RECORDING_BYTES: usize = 16 * 1024 * 1024;
/// Rows of a recording; a year of quarter-hours has 35 040.
pub const RECORDING_ROWS: usize = 100_000;
/// Magnitude of a number of a recording, in the unit of its column (kWh, kW, V, A): ten times the
/// largest start of a counter. With nine decimal places, it and the sum with a start fit into 64
/// bits.
pub const RECORDED_NUMBER: i64 = 1_000_000_000;
/// Characters of a text of the meter: as many as the device's Modbus map has registers for
/// (MODBUS-12).
pub const METER_TEXT: usize = 24;

// ---------------------------------------------------------------------------------------------
// The control plane, the journal and targets (chosen)
// ---------------------------------------------------------------------------------------------

/// Entries that the journal stores. At some 200 bytes each, a full journal has 2 MB, and 40 MB if
/// each entry is a write of as many coils as one request can name.
pub const JOURNAL_ENTRIES: usize = 10_000;
/// Bytes of a text of a client in an entry of the journal, such as a path: as many as the longest URL of an
/// action has. A longer text is cut.
pub const JOURNAL_TEXT_BYTES: usize = 255;
/// Unknown keys of a write that its entry of the journal lists.
pub const JOURNAL_UNKNOWN_KEYS: usize = 16;
/// Real time that `journal/wait` waits at most; proxies and clients give up later than that.
pub const JOURNAL_WAIT: Duration = Duration::from_mins(1);
/// Bytes of a request body of the control plane: more than the largest one has, which writes 65 535
/// registers.
pub const CONTROL_BODY_BYTES: usize = 1024 * 1024;
/// Characters of a token of the control plane that a user gives: 16 hexadecimal digits have 64 bits, which
/// nobody guesses over a network.
pub const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 16..=1024;
/// Requests that a target stores, each with at most [`TARGET_BODY_BYTES`] of its body.
pub const TARGET_REQUESTS: usize = 1000;
/// Bytes of a request body that a target reads and stores.
pub const TARGET_BODY_BYTES: usize = 64 * 1024;

// ---------------------------------------------------------------------------------------------
// Authentication and browsers (chosen)
// ---------------------------------------------------------------------------------------------

/// Default time on the scenario's clock for which a Digest nonce is good (ACCESS-9). After it a client gets 401
/// with `stale=true`. Long enough that a page which polls seldom meets it, short enough that a recorded request is
/// soon worth nothing.
pub const NONCE_LIFE: Duration = Duration::from_mins(5);
/// Default number of Digest nonces that a device remembers at once: as many as there can be connections.
pub const DEFAULT_NONCES: usize = HTTP_CONNECTIONS;
/// Number of Digest nonces that a scenario can set: four times the default, some 1.5 MB if all are in use.
pub const NONCES: std::ops::RangeInclusive<usize> = 1..=4096;
/// Characters of a client's `cnonce`; real ones have 8 to 44.
pub const CNONCE_CHARS: usize = 255;
/// Bytes of a body that are read to check its `auth-int` hash, even if its endpoint accepts fewer:
/// an authenticated client gets 413, and others never learn the limit.
pub const AUTH_INT_BYTES: usize = HTTP_LINGER_BYTES;
/// Characters of an `Origin`: the longest host name, with its scheme and port.
pub const ORIGIN_CHARS: usize = 300;

// ---------------------------------------------------------------------------------------------
// HTTP servers (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of a JSON body of the device's API other than an action definition (HTTP-3).
pub const JSON_BODY_BYTES: usize = 8192;
/// Connections that a device, a target or the control plane serves at once.
pub const HTTP_CONNECTIONS: usize = 1024;
/// Connections that a port which a whole fleet shares serves at once, as far as the descriptors of the process
/// suffice; never fewer than a device alone serves.
pub const SHARED_HTTP_CONNECTIONS: usize = 100_000;
/// Connections that may wait to be accepted: as many as a load test opens at once. If there are more, the
/// kernel drops a connection attempt, and the client repeats it a second later.
pub const HTTP_BACKLOG: u32 = 4096;
/// Real time in which a client must send the head of its request.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the head of a request, including its URL with the query: some 8000 status ids, and far
/// more than any documented call.
pub const HTTP_HEAD_BYTES: usize = 16 * 1024;
/// Real time in which a client must send the body of its request.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Real time in which a client must read a part of the pending data, before its connection is reset.
/// This limit equals the time for a request, so that a client that does not read occupies a connection
/// no longer than one that does not write.
pub const HTTP_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel is to keep of what an HTTP client has not read. It says that there is room
/// again only when a good part of them is gone (measured on Linux: 130 KiB with this, 1.5 MB if it
/// may choose), so this decides how slowly a client may read that is still taken for one that does:
/// some 5 KiB a second. It also keeps a thousand clients that do not read to some 300 MB.
pub const HTTP_SEND_BUFFER: usize = 64 * 1024;
/// Real time for which a connection stays half open after a reply to a request that was not read
/// completely. If it were closed at once, the kernel would reset it because of the rest of the
/// request, and the reply would be lost.
pub const HTTP_LINGER: Duration = Duration::from_secs(1);
/// Bytes of the rest of a request that are discarded in that time; a client that sends more is
/// reset.
pub const HTTP_LINGER_BYTES: usize = 64 * 1024;

// ---------------------------------------------------------------------------------------------
// Live events (chosen)
// ---------------------------------------------------------------------------------------------

/// Live events that wait for a client to read them, about 600 bytes each, after the kernel's buffers
/// are full.
pub const LIVE_QUEUE: usize = 64;
/// Real time that a live client gets to read on when its queue is full, before it is dropped: so much
/// that a client that reads is never dropped for a clock that is moved fast.
pub const LIVE_GRACE: Duration = Duration::from_secs(1);
/// Live events that faults hold back; of more the oldest are lost.
pub const LIVE_HELD: usize = 1000;

// ---------------------------------------------------------------------------------------------
// MQTT and templates (`mqtt_settings_fields.csv`)
// ---------------------------------------------------------------------------------------------

/// Characters of the MQTT settings' `url`, `username`, `password` and `publish.topic`.
pub const MQTT_TEXT_CHARS: usize = 127;
/// Characters of the MQTT settings' `client_id`.
pub const MQTT_CLIENT_ID_CHARS: usize = 63;
/// Characters of the MQTT settings' `client.key_password`.
pub const MQTT_KEY_PASSWORD_CHARS: usize = 255;
/// Characters of `publish.template`, and of what `/api/v1/template/test` takes.
pub const TEMPLATE_CHARS: usize = 1023;
/// Real time between two signs of life that a broker is promised (chosen). The vendor names none; brokers
/// drop a client after one and a half of it.
pub const MQTT_KEEP_ALIVE: Duration = Duration::from_mins(1);
/// Real time before the first attempt after one that failed, and the longest after many (chosen).
pub const MQTT_RETRY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(10);
/// Real time of a connection after which the attempts begin at the shortest pause again (chosen). More than
/// the longest pause: otherwise two clients with one id, of which a broker drops the one when the other
/// connects, would take turns at the shortest one.
pub const MQTT_STEADY: Duration = Duration::from_secs(2 * MQTT_RETRY.end().as_secs());
/// Real time over which the MQTT clients of a fleet spread their connections, for each of its devices
/// (MQTT-14).
pub const MQTT_SPREAD: Duration = Duration::from_millis(1);
/// Real time in which a broker must accept a client: name lookup, connection and TLS included (chosen).
pub const MQTT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a rendered template (chosen): some ten times the size that a template of the longest allowed
/// length has if it consists of variables alone, each of at most some forty characters.
pub const RENDERED_BYTES: usize = 64 * 1024;

// ---------------------------------------------------------------------------------------------
// Households (chosen)
// ---------------------------------------------------------------------------------------------

/// Loads of one house in a scenario. This and the following limits bound the memory of a day.
pub const LOADS: usize = 16;
/// Windows of a week, of a load or a tariff.
pub const WEEK_WINDOWS: usize = 32;

// ---------------------------------------------------------------------------------------------
// State and SD cards (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of an SD card in memory: a day of rows every second.
pub const SD_MEMORY_BYTES: u64 = 32 * 1024 * 1024;
/// Levels of folders on an SD card.
pub const SD_DEPTH: usize = 16;
/// Bytes of a name on an SD card; long names of FAT have 255 characters.
pub const SD_NAME_BYTES: usize = 255;
/// Entries of a folder that a listing contains: three years of log files in one folder are some
/// thousand.
pub const SD_LISTED: usize = 4096;
/// Files on an SD card in a scenario.
pub const SD_FILES: usize = 1000;

// ---------------------------------------------------------------------------------------------
// Firmware and scripts (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of a firmware image: an application partition of the device's flash (FIRMWARE-5).
pub const FIRMWARE_BYTES: u64 = 4 * 1024 * 1024;
/// Real time that a whole upload may take.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);
/// Firmware images of a device in a scenario.
pub const IMAGES: usize = 100;
/// Bytes of a Berry script (documented: 413).
pub const SCRIPT_BYTES: usize = 8191;
/// Lines that wait for a client of the Berry console; a script of the largest size has as many lines
/// at most.
pub const CONSOLE_LINES: usize = 1024;

// ---------------------------------------------------------------------------------------------
// The command line (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of the lines that wait until standard output or standard error of `wwsim run` takes them; further
/// ones are left out and counted.
#[cfg(feature = "cli")]
pub const OUTPUT_BYTES: usize = 1024 * 1024;
/// Real time that the end of `wwsim run` gives the last lines at most.
#[cfg(feature = "cli")]
pub const LAST_OUTPUT: Duration = Duration::from_secs(2);
/// Real time in which a reader must take some of the last lines, before they are given up.
#[cfg(feature = "cli")]
pub const LAST_OUTPUT_STALL: Duration = Duration::from_millis(250);
/// Warnings about a scenario that the log shows at its start; `wwsim check` shows all.
#[cfg(feature = "cli")]
pub const START_WARNINGS: usize = 20;
/// Warnings or errors of one place in the code that the log shows in [`LOG_REPEAT_TIME`]: as many as it names
/// origins of refused pages, and refused hosts. Further ones are left out and counted.
pub const LOG_REPEATS: u32 = 64;
/// Real time in which [`LOG_REPEATS`] counts.
#[cfg(feature = "cli")]
pub const LOG_REPEAT_TIME: Duration = Duration::from_mins(1);
/// Real time between two looks at the parent process, with `--exit-with-parent`.
#[cfg(all(feature = "cli", unix))]
pub const PARENT_POLL: Duration = Duration::from_millis(250);
