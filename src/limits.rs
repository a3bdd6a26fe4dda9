//! The limits that a user can meet, of the device and of the simulator, each with its source.
//!
//! `docs/limits.md` is generated from this file by `scripts/limits`. A constant's source is the citation in
//! parentheses in its comment, or in the heading of its section. An id such as HTTP-3 names a ruling of
//! `docs/device`, a name in `.csv` one of its tables; "documented" and "vendor" refer to the public
//! documentation of the whatwatt Go. A chosen limit says why it has its value: it protects the process, and
//! a client of a healthy house never meets it. A number that concerns one module alone is defined there.

use std::time::Duration;

// ---------------------------------------------------------------------------------------------
// The actions API (`docs/device/actions.md`, `action_fields.csv`)
// ---------------------------------------------------------------------------------------------

/// Requests in progress at once, over all actions of a device (documented: 429).
pub const REQUESTS_IN_PROGRESS: usize = 20;
/// Status entries a device keeps (ACTION-18).
pub const STATUS_ENTRIES: usize = 40;
/// The first status id a scenario may ask for. Every JSON client reads ids exactly up to 2⁵³; from
/// here no device ever counts that far.
pub const FIRST_STATUS_ID: std::ops::RangeInclusive<u64> = 1..=u32::MAX as u64;
/// Bytes of a whole action definition (documented; larger is 413).
pub const DEFINITION_BYTES: usize = 8191;
/// Characters of the MQTT settings' `url`, `username`, `password` and `publish.topic`
/// (`mqtt_settings_fields.csv`).
pub const MQTT_TEXT_CHARS: usize = 127;
/// Characters of the MQTT settings' `client_id`.
pub const MQTT_CLIENT_ID_CHARS: usize = 63;
/// Characters of the MQTT settings' `client.key_password`.
pub const MQTT_KEY_PASSWORD_CHARS: usize = 255;
/// Characters of `publish.template`, and of what `/api/v1/template/test` takes
/// (`mqtt_settings_fields.csv`).
pub const TEMPLATE_CHARS: usize = 1023;
/// Bytes of any other JSON body (HTTP-3).
pub const JSON_BODY_BYTES: usize = 8192;
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
/// Default of `timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of `modbus.port`.
pub const DEFAULT_MODBUS_PORT: u16 = 502;
/// Default of `modbus.unit_id`.
pub const DEFAULT_UNIT_ID: u8 = 0;
/// The least `exe_time` of a finished request: 0 would read as "not finished" (ACTION-19).
pub const LEAST_EXE_TIME: Duration = Duration::from_millis(1);

// ---------------------------------------------------------------------------------------------
// The device's own Modbus server (`docs/device/modbus.md`)
// ---------------------------------------------------------------------------------------------

/// Addresses a register map may use.
pub const MODBUS_ADDRESSES: std::ops::RangeInclusive<u16> = 0..=9998;
/// `scaler` of a register.
pub const MODBUS_SCALER: std::ops::RangeInclusive<i8> = -6..=6;
/// Connections it serves at once; the vendor names no number. As many as a load test opens, and a
/// fraction of what an idle HTTP server takes.
pub const MODBUS_CONNECTIONS: usize = 128;
/// Real idle time after which it closes a connection, as a slave does.
pub const MODBUS_IDLE: Duration = SLAVE_IDLE;

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
/// Decimal places of `conv_factor` that are kept (SETTING-10).
pub const CONVERSION_FACTOR_PLACES: u8 = 6;
/// Seconds of `time_offset`.
pub const TIME_OFFSET: std::ops::RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;
/// The scaler of an OBIS code, a power of ten (documented).
pub const SCALER: std::ops::RangeInclusive<i8> = -6..=6;
/// Scalers of the user's own: more than a body of [`JSON_BODY_BYTES`] has room for.
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
/// dB by which the signal of a Wi-Fi network wavers either way.
pub const RSSI_WAVER: u8 = 4;
/// Time after which that changes its direction.
pub const RSSI_PERIOD: Duration = Duration::from_mins(1);
/// The share by which the voltages of the plugs waver either way.
pub const PLUG_NOISE: f64 = 0.005;
/// Wi-Fi networks that a scenario may put around a device; a scan shows them all.
pub const NETWORKS: usize = 64;

// ---------------------------------------------------------------------------------------------
// Modbus (Modbus Application Protocol V1.1b3, §4.1 and §6; Modbus Messaging on TCP/IP V1.0b, §3.1)
// ---------------------------------------------------------------------------------------------

/// Bytes of a protocol data unit at the most.
pub const PDU_BYTES: usize = 253;
/// Bytes of the MBAP header.
pub const MBAP_BYTES: usize = 7;
/// Bytes of a whole frame at the most.
pub const ADU_BYTES: usize = MBAP_BYTES + PDU_BYTES;
/// The MBAP length field counts the unit id and the PDU, so this much at the most.
pub const MBAP_LENGTH: std::ops::RangeInclusive<u16> = 2..=254;
/// Coils or discrete inputs one read may ask for.
pub const READ_BITS: std::ops::RangeInclusive<u16> = 1..=2000;
/// Registers one read may ask for.
pub const READ_REGISTERS: std::ops::RangeInclusive<u16> = 1..=125;
/// Coils one function 15 may write.
pub const WRITE_BITS: std::ops::RangeInclusive<u16> = 1..=1968;
/// Registers one function 16 may write.
pub const WRITE_REGISTERS: std::ops::RangeInclusive<u16> = 1..=123;
/// Registers the write half of function 23 may carry.
pub const READ_WRITE_REGISTERS: std::ops::RangeInclusive<u16> = 1..=121;

// ---------------------------------------------------------------------------------------------
// Scenario files (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of a scenario file: the largest shipped one has some 10 KiB, a generated house of a
/// hundred slaves some 300 KiB.
pub const SCENARIO_BYTES: usize = 1024 * 1024;
/// Nesting of a scenario file; the language itself needs 9.
pub const SCENARIO_DEPTH: usize = 32;
/// Nodes of a scenario file after its aliases are expanded: what stops an alias bomb.
pub const SCENARIO_NODES: usize = 200_000;
/// Bytes of a scenario's texts after its aliases are expanded: what stops a bomb of few but long
/// texts.
pub const SCENARIO_EXPANDED_BYTES: usize = 4 * SCENARIO_BYTES;
/// Mistakes reported at once; what follows is mostly an echo of the first ones.
pub const SCENARIO_MISTAKES: usize = 100;

// ---------------------------------------------------------------------------------------------
// Houses (chosen)
// ---------------------------------------------------------------------------------------------

/// Devices of one house.
pub const DEVICES: usize = 1000;
/// Fault rules, those of the file and those added while running.
pub const FAULT_RULES: usize = 1000;
/// Least time between two windows of a meter rule. A device that looks again after a year goes through
/// half a million of them.
pub const METER_FAULT_EVERY: Duration = Duration::from_mins(1);
/// Windows of all rules over one meter that may begin in a day: of 40 rules that come round each
/// minute, and some more. A year of them takes the next look 0.1 s, and up to 1 s if
/// each comes round in another time.
pub const METER_WINDOWS_A_DAY: u64 = 60_000;
/// Virtual time that a device may be behind in listening to its meter for it to catch up at once: with
/// as many windows as there may be this takes a tenth of a millisecond or so. A longer way is gone
/// without the device's lock, and not on a worker of the runtime.
pub const LINK_BEHIND: Duration = Duration::from_hours(1);

// ---------------------------------------------------------------------------------------------
// Recordings and meters (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of a recording of the SD card: some days at the least frequency, a quarter of an hour's rows
/// of a year.
pub const RECORDING_BYTES: usize = 16 * 1024 * 1024;
/// Rows of a recording; a year of quarter-hours has 35 040.
pub const RECORDING_ROWS: usize = 100_000;
/// A number of a recording, either way, in the unit of its column (kWh, kW, V, A): ten times what a
/// counter may start at, and with nine decimal places it and what it is added to fit into 64 bits.
pub const RECORDED_NUMBER: i64 = 1_000_000_000;
/// Characters of a text of the meter: as many as the device's Modbus map has room for (MODBUS-12).
pub const METER_TEXT: usize = 24;
/// The device's time zone, Europe/Zurich, by the rule that the vendor documents (METER-4): that of
/// the time zone database since 1996.
pub const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
/// So much earlier than `services.sd.frequency` or `services.report_interval` says, a reading is in
/// time (SD-2): the device counts whole seconds, and of a meter that sends one each second, to a few
/// milliseconds, none is to be passed over.
pub const SECONDS_SLACK: Duration = Duration::from_millis(500);
/// Virtual time by which who follows the readings may be late, and still gets each of them; of more
/// it gets the newest: some ten seconds of real time at ×3600, and a second at the fastest.
pub const READINGS_LAG: Duration = Duration::from_hours(24);
/// Meter rules that were disarmed or removed and whose windows the report ids still count: as many
/// as rules. What befell a meter before the oldest of them is in the count of a device that was
/// looked at since.
pub const PAST_EPISODES: usize = FAULT_RULES;

// ---------------------------------------------------------------------------------------------
// The journal, slaves and targets (chosen)
// ---------------------------------------------------------------------------------------------

/// Journal entries kept; at some 200 bytes each this is 2 MB when full, and 40 MB if each is a write
/// of as many coils as one request can name.
pub const JOURNAL_ENTRIES: usize = 10_000;
/// Keys a write named that the device does not know, as its journal entry lists them; more are left
/// out.
pub const JOURNAL_UNKNOWN_KEYS: usize = 16;
/// Requests a target remembers, each with at most [`TARGET_BODY_BYTES`] of its body.
pub const TARGET_REQUESTS: usize = 1000;
/// Bytes of a request body that a target reads and remembers.
pub const TARGET_BODY_BYTES: usize = 64 * 1024;
/// Writes a register bank remembers.
pub const BANK_CHANGES: usize = 1000;
/// Reactions to writes that may be pending in one unit.
pub const PENDING_REACTIONS: usize = 1000;
/// Default number of connections that a slave serves at once.
pub const SLAVE_CONNECTIONS: usize = 32;
/// Default real idle time after which a slave closes a connection.
pub const SLAVE_IDLE: Duration = Duration::from_mins(5);

// ---------------------------------------------------------------------------------------------
// Authentication and browsers (chosen)
// ---------------------------------------------------------------------------------------------

/// Real time a Digest nonce is good for; then a client is told that it is stale. Long enough that a
/// page which polls seldom meets it, short enough that a recorded request is soon worth nothing.
pub const NONCE_LIFE: Duration = Duration::from_mins(5);
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

/// Connections the device's HTTP server, a target or the control plane serves at once.
pub const HTTP_CONNECTIONS: usize = 1024;
/// Real time an HTTP client has to send the head of its request.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head, its URL with the query among them: some 8000 status ids, and far
/// beyond every documented call.
pub const HTTP_HEAD_BYTES: usize = 16 * 1024;
/// Real time an HTTP client has to send the body of its request.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Real time an HTTP client has to take something of what waits for it, before its connection is
/// reset. As long as for its request: who takes the places of others by not reading has them no longer
/// than who takes them by not asking.
pub const HTTP_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel is to keep of what an HTTP client has not read. It says that there is room
/// again only when a good part of them is gone (measured on Linux: 130 KiB with this, 1.5 MB if it
/// may choose), so this decides how slowly a client may read that is still taken for one that does:
/// some 5 KiB a second. It also keeps a thousand clients that do not read to some 300 MB.
pub const HTTP_SEND_BUFFER: usize = 64 * 1024;
/// Real time a connection is kept half open after a reply to a request that was not read to its end:
/// closed at once, the rest of that request would make the kernel reset it and lose the reply.
pub const HTTP_LINGER: Duration = Duration::from_secs(1);
/// Bytes thrown away in that time; a client that goes on beyond them is reset.
pub const HTTP_LINGER_BYTES: usize = 64 * 1024;

// ---------------------------------------------------------------------------------------------
// Live events and MQTT (chosen)
// ---------------------------------------------------------------------------------------------

/// Live events that wait for a client to read them, about 600 bytes each, after the kernel's buffers
/// are full.
pub const LIVE_QUEUE: usize = 64;
/// Real time that a live client gets to read on when its queue is full, before it is dropped: so much
/// that a client that reads is never dropped for a clock that is moved fast.
pub const LIVE_GRACE: Duration = Duration::from_secs(1);
/// Live events that faults hold back; of more the oldest are lost.
pub const LIVE_HELD: usize = 1000;
/// Rounds of PBKDF2 that an encrypted client key may ask for: some hundred times what OpenSSL writes.
pub const KEY_ROUNDS: u32 = 1_000_000;
/// Bytes that scrypt may take to decrypt a client key.
pub const KEY_BYTES: u64 = 64 * 1024 * 1024;
/// Real time between two signs of life that a broker is promised. The vendor names none; brokers drop
/// a client after one and a half of it.
pub const MQTT_KEEP_ALIVE: Duration = Duration::from_mins(1);
/// Real time until a broker has to have taken a client, with all of name, connect and TLS.
pub const MQTT_CONNECT: Duration = Duration::from_secs(10);
/// Real time before the first try after one that failed, and the longest after many.
pub const MQTT_RETRY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(10);
/// Real time of a connection after which the tries begin at the shortest pause again. More than the
/// longest pause: two clients of one id, of which a broker drops the one when the other comes, would
/// else take turns at the shortest one.
pub const MQTT_STEADY: Duration = Duration::from_secs(2 * MQTT_RETRY.end().as_secs());
/// Bytes of a rendered template: some ten times what one of the longest allowed length has when it
/// consists of variables alone, none of which shows more than some forty characters.
pub const RENDERED_BYTES: usize = 64 * 1024;
/// Real time a clock movement waits for everything it set in motion. A house that has not come to
/// rest by then is stuck on something outside it.
pub const QUIESCENCE_TIMEOUT: Duration = Duration::from_secs(10);

// ---------------------------------------------------------------------------------------------
// Households (chosen)
// ---------------------------------------------------------------------------------------------

/// Loads that a scenario names for one house: with what follows, what a day of it takes of memory.
pub const LOADS: usize = 16;
/// Windows of a week, of a load or a tariff.
pub const WEEK_WINDOWS: usize = 32;

// ---------------------------------------------------------------------------------------------
// State and SD cards (chosen)
// ---------------------------------------------------------------------------------------------

/// Status ids that a device reserves with one write of its state, the next one when half of them are
/// given out. So many are passed over at the most after a process that was killed.
pub const STATUS_IDS_RESERVED: u64 = 1000;
/// Bytes on an SD card that is in memory: a day of rows every second.
pub const SD_MEMORY_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of a file that are read and sent at a time.
pub const SD_PIECE_BYTES: usize = 64 * 1024;
/// Folders within each other on an SD card.
pub const SD_DEPTH: usize = 16;
/// Rows of an SD log after which the files on a card that is a directory are counted anew.
pub const SD_ROWS_A_COUNT: u32 = 60;
/// Bytes of a name on an SD card (long names of FAT have 255 characters).
pub const SD_NAME_BYTES: usize = 255;
/// Entries of a folder that a listing shows: three years of log files in one are some thousand.
pub const SD_LISTED: usize = 4096;
/// Files that a scenario puts on a card.
pub const SD_FILES: usize = 1000;

// ---------------------------------------------------------------------------------------------
// Firmware and scripts (chosen)
// ---------------------------------------------------------------------------------------------

/// Bytes of a firmware image: an application partition of the device's flash (FIRMWARE-5).
pub const FIRMWARE_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of an upload beside the image: the heads of its parts, and small fields.
pub const UPLOAD_EXTRA_BYTES: u64 = 16 * 1024;
/// Bytes of a whole upload.
#[expect(clippy::cast_possible_truncation, reason = "some megabytes")]
pub const UPLOAD_BYTES: usize = (FIRMWARE_BYTES + UPLOAD_EXTRA_BYTES) as usize;
/// Real time an upload may take in all.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);
/// Images that a scenario knows.
pub const IMAGES: usize = 100;
/// Bytes of a Berry script (documented; larger is 413).
pub const SCRIPT_BYTES: usize = 8191;
/// Lines that wait for a client of the Berry console; as many as a script of that size can have.
pub const CONSOLE_LINES: usize = 1024;
