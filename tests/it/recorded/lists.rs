//! The requests: paths, bodies, frames and rules. Houses that do not play the whole list take the first
//! or the last of some of these.

/// Paths that a GET may ask for without an end of the stream.
pub(super) const PATHS: &[&str] = &[
    "/api/v1/actions",
    "/api/v1/actions/status",
    "/api/v1/system",
    "/api/v1/report",
    "/api/v1/report/objects",
    "/api/v1/modbus",
    "/api/v1/settings",
    "/api/v1/meter/settings",
    "/api/v1/wifi/sta/settings",
    "/api/v1/meter/scalers/current",
    "/api/v1/meter/scalers/custom",
    "/api/v1/wifi/wps",
    "/api/v1/eth/settings",
    "/sdcard",
    "/api/v1/berry",
    "/api/v1/mqtt/settings",
    "/api/v1/variables",
    "/api/v1/template/test",
];

pub(super) const DEFINITIONS: &[&str] = &[
    "",
    "{",
    "[]",
    "{}",
    r#"{"actions":[{"id":"a"}]}"#,
    r#"{"actions":[{"id":"a","requests":[{"http":{"url":"nowhere"}}]}]}"#,
    r#"{"actions":[{"id":"a","requests":[{"modbus":{"host":"x","func":3,"address":1,"type":"short","value":"1"}}]}]}"#,
    r#"{"actions":[{"id":"a","requests":[{"modbus":{"host":"x","func":6,"address":1,"type":"float","value":"1"}}]}]}"#,
    r#"{"actions":[{"id":"a","requests":[]},{"id":"a","requests":[]}]}"#,
    r#"{"surprise":1,"const":{"host":"nobody.local"},"actions":[
        {"id":"a","more":true,"requests":[{"http":{"url":"http://${host}/${1_7_0}?t=${report.timestamp}","method":"PUT","payload":"P=${1_7_0}"}}]},
        {"id":"b","requests":[{"modbus":{"host":"${host}","port":1502,"unit_id":3,"func":16,"address":10,"type":"double","value":"${1_8_0}","timeout":1}}]},
        {"id":"c","enable":false,"requests":[{"http":{"url":"http://192.0.2.1/"}}]}]}"#,
];

pub(super) const SETTINGS: &[(&str, &[(&str, &str)])] = &[
    (
        "/api/v1/settings",
        &[
            ("PUT", r#"{"system":{"name":"Keller"}}"#),
            ("PUT", r#"{"services":{"report_interval":10,"sd":{"enable":true,"frequency":30}}}"#),
            ("PUT", r#"{"services":{"sd":{"frequency":0}}}"#),
            ("PUT", r#"{"services":{"sd":{"frequency":"often"}},"system":{"name":7}}"#),
            ("PUT", r#"{"system":{"name":"a name that is longer than what the device takes"}}"#),
            ("PUT", r#"{"system":{"host_name":"no host name"}}"#),
            ("PUT", r#"{"system":{"power_save":true}}"#),
            (
                "PUT",
                r#"{"system":{"custom_ntp_server":"not a server","use_custom_ntp_server":true}}"#,
            ),
            ("PUT", r#"{"system":{"surprise":1},"surprise":{}}"#),
            ("PUT", r#"{"services":{"cloud":{"what_watt":false,"stromkonto":true}}}"#),
            ("PUT", "{}"),
            ("PUT", ""),
            ("PUT", "{"),
            ("PUT", "[]"),
            ("POST", r#"{"system":{"name":"Estrich"},"services":{"report_interval":60}}"#),
            ("POST", r#"{"services":{"report_interval":0}}"#),
            ("DELETE", ""),
        ],
    ),
    (
        "/api/v1/meter/settings",
        &[
            ("PUT", r#"{"conv_factor":2,"if_type":"p1"}"#),
            ("PUT", r#"{"conv_factor":0}"#),
            ("PUT", r#"{"parity":"perhaps"}"#),
            ("PUT", r#"{"encryption_key":"00112233445566778899AABBCCDDEEFF"}"#),
            ("PUT", r#"{"encryption_key":"short"}"#),
            ("POST", r#"{"baudrate":9600}"#),
        ],
    ),
    (
        "/api/v1/wifi/sta/settings",
        &[
            ("PUT", r#"{"enable":true}"#),
            ("PUT", r#"{"enable":true,"name":"home","password":"12345678"}"#),
            ("PUT", r#"{"static_ip":true}"#),
            (
                "PUT",
                r#"{"static_ip":true,"ip":"10.0.0.7","netmask":"255.0.255.0","gateway":"10.0.0.1","dns":"9.9.9.9"}"#,
            ),
            (
                "PUT",
                r#"{"static_ip":true,"ip":"10.0.0.7","netmask":"255.255.0.0","gateway":"10.0.0.1","dns":"9.9.9.9"}"#,
            ),
            ("POST", r#"{"enable":true,"name":"home","password":"12345678"}"#),
        ],
    ),
    (
        "/api/v1/eth/settings",
        &[
            ("PUT", r#"{"enable":"yes"}"#),
            (
                "PUT",
                r#"{"static_ip":true,"ip":"10.0.0.8","netmask":"255.255.0.0","gateway":"10.0.0.1","dns":"9.9.9.9"}"#,
            ),
            ("POST", r#"{"enable":true}"#),
        ],
    ),
    (
        "/api/v1/meter/scalers/custom",
        &[
            ("POST", r#"[{"obis":"1.8.255","scaler":3}]"#),
            ("POST", r#"{"scalers":[{"obis":"1.7.255","scaler":-1}]}"#),
            ("POST", r#"[{"obis":"1.8","scaler":300}]"#),
            ("POST", "[]"),
        ],
    ),
];

pub(super) const MQTT: &[(&str, &str)] = &[
    ("PUT", r#"{"enable":true}"#),
    ("PUT", r#"{"enable":true,"url":"ftp://broker.example.com"}"#),
    (
        "PUT",
        r#"{"enable":true,"url":"mqtt://broker.example.com","publish":{"topic":"lab/power","template":"P ${1_7_0}"}}"#,
    ),
    ("PUT", r#"{"publish":{"topic":"a/#"}}"#),
    ("PUT", r#"{"client":{"id":"go","key":"no key"}}"#),
    ("POST", r#"{"enable":true,"url":"mqtt://192.0.2.1:1884","username":"u","password":"p"}"#),
    ("GET", ""),
];

pub(super) const MAPS: &[&str] = &[
    "",
    "{}",
    "[]",
    r#"[{"start_address":0,"registers":[{"id":"nothing","type":"float"}]}]"#,
    r#"[{"start_address":0,"registers":[{"id":"1.7.0","type":"float"}]},{"start_address":1,"registers":[{"id":"2.7.0","type":"float"}]}]"#,
    r#"[{"start_address":65535,"registers":[{"id":"1.7.0","type":"double"}]}]"#,
    r#"[{"start_address":0,"registers":[{"id":"1.7.0","type":"float","scaler":3},{"id":"0","type":"int"},{"id":"sys.id"}]},
        {"start_address":100,"word_order":"lsw","registers":[{"id":"report.date_time"},{"id":"1.8.0","type":"long","scaler":3}]}]"#,
];

pub(super) const SCRIPTS: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/berry", ""),
    ("PUT", "/api/v1/berry?run=true", ""),
    ("PUT", "/api/v1/berry", ""),
    ("PUT", "/api/v1/berry?run=perhaps", ""),
    ("POST", "/api/v1/berry", "print('hello')\nprint(1 + 2)\n"),
    ("GET", "/api/v1/berry", ""),
    ("POST", "/api/v1/berry", ""),
    ("GET", "/api/v1/berry", ""),
    ("POST", "/api/v1/berry", "print('hello')\n"),
];

pub(super) const CARD: &[(&str, &str)] = &[
    ("GET", "/sdcard"),
    ("GET", "/sdcard/"),
    ("GET", "/sdcard/NOTHING.TXT"),
    ("GET", "/sdcard/../etc"),
    ("GET", "/sdcard/a%2Fb"),
    ("GET", "/sdcard/nothing/"),
    ("DELETE", "/sdcard/"),
    ("DELETE", "/sdcard/NOTHING.TXT"),
    ("DELETE", "/sdcard/a:b"),
];

/// Requests to the device's Modbus server.
pub(super) const MODBUS: &[(&str, &[u8])] = &[
    ("registers 1 to 42", &[4, 0, 1, 0, 42]),
    ("registers 55 to 70", &[4, 0, 55, 0, 16]),
    ("registers 205 to 220", &[4, 0, 205, 0, 16]),
    ("registers 501 to 520", &[4, 1, 245, 0, 20]),
    ("registers 549 to 556", &[4, 2, 37, 0, 8]),
    ("registers 801 to 832", &[4, 3, 33, 0, 32]),
    ("one half of a value", &[4, 0, 2, 0, 1]),
    ("registers that are not there", &[4, 0, 40, 0, 10]),
    ("holding registers", &[3, 0, 0, 0, 2]),
    ("a write", &[6, 0, 0, 0, 2]),
];

/// Requests to a slave.
pub(super) const READS: &[(&str, &[u8])] = &[
    ("holding register 10", &[3, 0, 10, 0, 1]),
    ("coils 0 to 3", &[1, 0, 0, 0, 4]),
    ("coil 0", &[1, 0, 0, 0, 1]),
    ("discrete inputs 0 to 3", &[2, 0, 0, 0, 4]),
    ("holding registers 10 to 12", &[3, 0, 10, 0, 3]),
    ("holding registers 30 to 37", &[3, 0, 30, 0, 8]),
    ("input registers 0 to 7", &[4, 0, 0, 0, 8]),
    ("input register 0", &[4, 0, 0, 0, 1]),
    ("coil 0 on", &[5, 0, 0, 0xff, 0]),
    ("coil 0 off", &[5, 0, 0, 0, 0]),
    ("coil 0 half on", &[5, 0, 0, 0x12, 0x34]),
    ("register 10 = 21", &[6, 0, 10, 0, 21]),
    ("register 10 = 32768", &[6, 0, 10, 0x80, 0]),
    ("register 11 = 1", &[6, 0, 11, 0, 1]),
    ("coils 0 to 2", &[15, 0, 0, 0, 3, 1, 5]),
    ("coils 0 to 15", &[15, 0, 0, 0, 16, 2, 0xff, 0xff]),
    ("registers 10 and 11", &[16, 0, 10, 0, 2, 4, 0, 21, 0, 22]),
    ("registers 14 and 15", &[16, 0, 14, 0, 2, 4, 0x41, 0xac, 0, 0]),
    ("registers 20 to 23", &[16, 0, 20, 0, 4, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
    ("register 12 again", &[3, 0, 12, 0, 1]),
];

/// Requests that are refused, or odd.
pub(super) const ODD: &[(&str, &[u8])] = &[
    ("address 999", &[3, 0x03, 0xe7, 0, 1]),
    ("beyond address 65535", &[3, 0xff, 0xff, 0, 2]),
    ("no registers", &[3, 0, 0, 0, 0]),
    ("too many registers", &[4, 0, 0, 0, 126]),
    ("too many coils", &[1, 0, 0, 0x07, 0xd1]),
    ("a byte count that is wrong", &[16, 0, 10, 0, 2, 3, 0, 21, 0]),
    ("a request that is cut short", &[3, 0, 10]),
    ("a function alone", &[6]),
    ("function 7", &[7]),
    ("function 23", &[23, 0, 0, 0, 1, 0, 10, 0, 1, 2, 0, 1]),
    ("function 43", &[43, 14, 1, 0]),
    ("function 100", &[100, 1, 2, 3]),
    ("function 131", &[131, 1]),
    ("function 0", &[0]),
];

/// Bytes that are no frames.
pub(super) const GARBAGE: &[(&str, &[u8])] = &[
    ("another protocol", &[0, 1, 0, 1, 0, 6, 1, 3, 0, 0, 0, 1]),
    ("a length of 0", &[0, 1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 1]),
    ("a length of 1", &[0, 1, 0, 0, 0, 1, 1]),
    ("a length of 300", &[0, 1, 0, 0, 1, 44, 1, 3, 0, 0, 0, 1]),
    ("half a header", &[0, 1, 0]),
    ("text", b"GET / HTTP/1.1\r\n\r\n"),
    ("nothing", b""),
];

pub(super) const CONTROL: &[(&str, &str, &str)] = &[
    ("POST", "state", ""),
    ("DELETE", "journal", ""),
    ("GET", "reset", ""),
    ("GET", "nothing", ""),
    ("GET", "faults/nothing", ""),
    ("DELETE", "faults/nothing", ""),
    ("PATCH", "faults/nothing", r#"{"armed":true}"#),
    ("GET", "slaves/nothing/units/1/holding/0", ""),
    ("GET", "slaves/nothing", ""),
    ("GET", "targets/nothing/requests", ""),
    ("DELETE", "targets/nothing/requests", ""),
    ("GET", "journal?limit=0", ""),
    ("GET", "journal?limit=x", ""),
    ("GET", "journal?after=-1", ""),
    ("GET", "journal?sort=t", ""),
    ("GET", "journal?limit=1&limit=2", ""),
    ("GET", "journal?timeout_ms=5", ""),
    ("GET", "journal/wait?timeout_ms=60001", ""),
    ("GET", "state?more=1", ""),
    ("POST", "faults", ""),
    ("POST", "faults", "{"),
    ("POST", "faults", "[]"),
    ("POST", "faults", "{}"),
    ("POST", "faults", "true"),
];

pub(super) const CLOCK: &[&str] = &[
    "",
    "{",
    "{}",
    r#"{"advance":"soon"}"#,
    r#"{"advance":5}"#,
    r#"{"advance":"-5s"}"#,
    r#"{"advance":"1s","jump":"1s"}"#,
    r#"{"forward":"1s"}"#,
    r#"{"jump":""}"#,
    r#"{"speed":0}"#,
    r#"{"speed":-1}"#,
    r#"{"speed":"fast"}"#,
    r#"{"speed":1e12}"#,
    r#"{"speed":"manual"}"#,
    r#"{"advance":"250ms"}"#,
    r#"{"advance":"15m"}"#,
    r#"{"jump":"2h"}"#,
];

pub(super) const UPLOADS: &[(&str, &str)] = &[
    ("", ""),
    ("application/octet-stream", "image"),
    ("multipart/form-data", "image"),
    ("multipart/form-data; boundary=x", "image"),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n1\r\n--x--\r\n",
    ),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n1\r\n--x--\r\n",
    ),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n\r\n--x--\r\n",
    ),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\nimage\r\n--x--\r\n",
    ),
];

pub(super) const BAD_RULES: &[&str] = &[
    r#"{"at":"nowhere","effect":"hang"}"#,
    r#"{"at":"api"}"#,
    r#"{"effect":"hang"}"#,
    r#"{"at":"api","effect":"silence"}"#,
    r#"{"at":{"slave":"nothing"},"effect":"silence"}"#,
    r#"{"at":{"target":"nothing"},"effect":"hang"}"#,
    r#"{"at":{"action":"nothing"},"effect":"hold"}"#,
    r#"{"at":{"api":{"route":"/nowhere","method":"FETCH"}},"effect":"hang"}"#,
    r#"{"at":"api","effect":{"status":42}}"#,
    r#"{"at":"api","effect":{"delay":"soon"}}"#,
    r#"{"at":"api","effect":{"delay":{"uniform":["2s","1s"]}}}"#,
    r#"{"at":"api","effect":"hang","when":{"probability":2}}"#,
    r#"{"at":"api","effect":"hang","when":{"nth":0}}"#,
    r#"{"at":"api","effect":"hang","when":{"every":"10s","for":"20s"}}"#,
    r#"{"at":"meter","effect":"frozen","when":{"first":1}}"#,
    r#"{"at":"queue","effect":{"occupy":-1}}"#,
    r#"{"at":"api","effect":"hang","surprise":1}"#,
    r#"{"id":"","at":"api","effect":"hang"}"#,
    r#"{"id":"probe-api","at":"api","effect":"hang"}"#,
    r#"{"at":{"api":"any","device":"000000000000"},"effect":"hang"}"#,
];

pub(super) const API_EFFECTS: &[&str] = &[
    r#"{"delay":"2s"}"#,
    r#"{"delay":{"uniform":["100ms","2s"]}}"#,
    r#"{"status":503}"#,
    r#"{"status":{"code":429,"retry_after":5}}"#,
    r#""reset""#,
    r#""hang""#,
    r#"{"cut":40}"#,
    r#""drip""#,
    r#"{"drip":{"bytes":50,"every":"100ms"}}"#,
    r#""malformed_json""#,
];

pub(super) const ACTION_EFFECTS: &[(&str, &str)] = &[
    (r#""action""#, r#""disable""#),
    (r#""action""#, r#""hold""#),
    (r#"{"action":"any"}"#, r#"{"hold":"30s"}"#),
    (r#""action""#, r#"{"result":-3}"#),
    (r#""action""#, r#"{"result":-9}"#),
    (r#""action""#, r#"{"result":-17}"#),
    (r#""action""#, r#"{"result":-102}"#),
    (r#""action""#, r#"{"result":503}"#),
    (r#""queue""#, r#"{"occupy":20}"#),
    (r#"{"queue":"any"}"#, r#"{"limit":0}"#),
];

pub(super) const MODBUS_EFFECTS: &[&str] = &[
    r#"{"delay":"2s"}"#,
    r#""silence""#,
    r#"{"exception":2}"#,
    r#""wrong_transaction_id""#,
    r#""refuse""#,
    r#"{"close":"middle"}"#,
    r#"{"reset":"after"}"#,
    r#""duplicate""#,
    r#"{"delay":{"lognormal":{"median":"800ms","p95":"3s"}}}"#,
    r#"{"delay":{"normal":{"mean":"1s","deviation":"200ms"}}}"#,
    r#""off_by_one""#,
    r#""stale_reply""#,
    r#""wrong_unit""#,
    r#""wrong_function""#,
    r#""protocol_id""#,
    r#"{"protocol_id":7}"#,
    r#""length_too_short""#,
    r#""length_too_long""#,
    r#"{"mbap_length":42}"#,
    r#""truncated""#,
    r#"{"truncated":3}"#,
    r#""extra_bytes""#,
    r#"{"extra_bytes":2}"#,
    r#""exception_without_code""#,
    r#""changed_echo""#,
    r#""dribble""#,
    r#"{"dribble":{"bytes":2,"every":"50ms"}}"#,
    r#""split""#,
    r#"{"split":{"at":7,"gap":"100ms"}}"#,
    r#""close""#,
    r#"{"close":"after"}"#,
    r#"{"reset":"before"}"#,
    r#"{"reset":"middle"}"#,
];

pub(super) const SLAVE_PLACES: &[&str] = &[
    r#""slave""#,
    r#"{"slave":"any","unit":1}"#,
    r#"{"slave":"any","unit":2}"#,
    r#"{"slave":"any","function":6}"#,
    r#"{"slave":"any","address":"10..20"}"#,
    r#"{"slave":"any","value":5}"#,
];

pub(super) const TARGET_EFFECTS: &[&str] = &[
    r#"{"delay":"2s"}"#,
    r#"{"status":503}"#,
    r#""reset""#,
    r#""hang""#,
    r#""bad_content_length""#,
    r#"{"result":-20}"#,
    r#"{"result":-17}"#,
];

pub(super) const MQTT_EFFECTS: &[&str] =
    &[r#"{"delay":"2s"}"#, r#""lose""#, r#""drop""#, r#""refuse""#];

pub(super) const METER_EFFECTS: &[&str] = &[
    r#""not_connected""#,
    r#"{"jump_back":5}"#,
    r#"{"clock_drift":{"behind":"1m","per_day":"30s"}}"#,
    r#"{"missing_phase":"l2"}"#,
    r#""no_data""#,
    r#""recognition""#,
    r#""key_required""#,
    r#""encryption_key""#,
    r#""not_recognized""#,
    r#""frozen""#,
    r#""restart_ids""#,
];

pub(super) const LIVE_EFFECTS: &[&str] = &[
    r#"{"delay":"2s"}"#,
    r#""stall""#,
    r#"{"stall":"5s"}"#,
    r#"{"cut":40}"#,
    r#""duplicate""#,
    r#""takeover""#,
];

pub(super) const TRIGGERS: &[&str] = &[
    "{}",
    r#"{"armed":false}"#,
    r#"{"first":2}"#,
    r#"{"nth":[2,5]}"#,
    r#"{"nth":3}"#,
    r#"{"probability":0.5}"#,
    r#"{"after":"10s","for":"15s"}"#,
    r#"{"for":"5s","every":"20s"}"#,
    r#"{"after":"5s","first":3,"probability":0.7}"#,
];
