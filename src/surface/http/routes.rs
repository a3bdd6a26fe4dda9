//! The table of the API's routes, each with its methods and their handlers.

use std::future::Future;
use std::pin::Pin;

use super::{
    Call, HttpReply, actions, berry, firmware_upload, live, modbus, page, reboot, report, scalers,
    sd, settings, system, variables, wifi,
};
use crate::device::config::{ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS};
use crate::device::{Feature, Firmware, License, LicensedFeature};
use crate::limits;
use crate::net::http::{Method, body, method_not_allowed};

/// A path of the API.
#[derive(Debug)]
pub struct ApiRoute {
    /// The exact path. If it ends in `/*`, the route also covers everything below.
    pub path: &'static str,
    /// The first firmware that has the path.
    pub since: Firmware,
    /// True if the path needs a licence.
    pub licensed: bool,
    /// The methods of the path.
    pub endpoints: &'static [ApiEndpoint],
}

/// A method of a path.
#[derive(Debug)]
pub struct ApiEndpoint {
    /// The method.
    pub method: Method,
    /// A sentence that describes the endpoint, as clients see it.
    pub about: &'static str,
    /// Maximum bytes of the request body; more is 413.
    pub body_limit: usize,
    pub(super) handler: Handler,
}

/// The function that answers a call after all checks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Handler {
    /// Answers without waiting.
    Sync(fn(&Call<'_>) -> HttpReply),
    /// Answers after waiting.
    Async(for<'a> fn(&'a Call<'a>) -> ReplyFuture<'a>),
    /// Answers after waiting, and reads the body itself.
    Streaming(StreamingHandler),
}

/// The reply of a handler that waits.
pub(super) type ReplyFuture<'a> = Pin<Box<dyn Future<Output = HttpReply> + Send + 'a>>;

/// A handler that reads the body itself.
pub(super) type StreamingHandler = for<'a> fn(&'a Call<'a>, body::BodyStream) -> ReplyFuture<'a>;

/// Every path of the device.
pub static ROUTES: &[ApiRoute] = &[
    ApiRoute {
        path: "/",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[get("A page that says what this is.", page::show)],
    },
    ApiRoute {
        path: "/api/v1/actions",
        since: Feature::Actions.since(),
        licensed: true,
        endpoints: &[
            get("The action definition.", actions::definition),
            post("Replaces the action definition.", actions::replace)
                .with_body_limit(limits::DEFINITION_BYTES),
            delete("Deletes the action definition.", actions::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/actions/call",
        since: Feature::Actions.since(),
        licensed: true,
        endpoints: &[post("Runs the action that ?id= names.", actions::call)],
    },
    ApiRoute {
        path: "/api/v1/actions/status",
        since: Feature::Actions.since(),
        licensed: true,
        endpoints: &[get(
            "What became of the requests that ?id= names, one or several.",
            actions::status,
        )],
    },
    ApiRoute {
        path: "/api/v1/system",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[get("The device and what it is connected to.", system::show)],
    },
    ApiRoute {
        path: "/api/v1/report",
        since: ANY_FIRMWARE,
        licensed: true,
        endpoints: &[get("The newest reading of the meter.", report::show)],
    },
    ApiRoute {
        path: "/api/v1/report/objects",
        since: ANY_FIRMWARE,
        licensed: true,
        endpoints: &[get("What a DLMS meter sent, as it sent it.", report::objects)],
    },
    ApiRoute {
        path: "/api/v1/live",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[get(
            "Each reading of the meter as an event, for one client.",
            live::stream_events,
        )],
    },
    ApiRoute {
        path: "/api/v1/modbus",
        since: Feature::ModbusServer.since(),
        licensed: false,
        endpoints: &[
            get(
                "The register map, as POST takes it; with ?address_format=dec or hex, where each register stands.",
                modbus::show,
            ),
            post("Replaces the register map.", modbus::replace),
            delete("Goes back to the map of a device out of the box.", modbus::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The settings.", |call| settings::show(call, &SETTINGS)),
            put("Changes the settings it names.", |call| settings::merge(call, &SETTINGS)),
            post("Replaces the settings.", |call| settings::replace(call, &SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/meter/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("How the device talks to its meter.", |call| settings::show(call, &METER_SETTINGS)),
            put("Changes what it names of that.", |call| settings::merge(call, &METER_SETTINGS)),
            post("Replaces all of that.", |call| settings::replace(call, &METER_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/wifi/sta/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The settings of the Wi-Fi client.", |call| settings::show(call, &WIFI_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &WIFI_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &WIFI_SETTINGS)),
            delete("Forgets them; the client is off.", wifi::reset),
        ],
    },
    ApiRoute {
        path: "/api/v1/meter/scalers/current",
        since: Feature::CurrentScalers.since(),
        licensed: false,
        endpoints: &[get("The scalers in force, of a DLMS meter.", scalers::current)],
    },
    ApiRoute {
        path: "/api/v1/meter/scalers/custom",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The user's own scalers.", scalers::custom),
            post("Replaces the user's own scalers.", scalers::replace),
        ],
    },
    ApiRoute {
        path: "/api/v1/wifi/scan",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[asynchronous(Method::Get, "The Wi-Fi networks around.", wifi::scan)],
    },
    ApiRoute {
        path: "/api/v1/wifi/wps",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[post("Opens the window of a WPS pairing.", wifi::pair)],
    },
    ApiRoute {
        path: "/api/v1/eth/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The settings of Ethernet.", |call| settings::show(call, &ETH_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &ETH_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &ETH_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/sdcard/*",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            asynchronous(
                Method::Get,
                "What is on the SD card: a folder's listing, or a file.",
                sd::get,
            ),
            asynchronous(Method::Delete, "Deletes a file or folder of the SD card.", sd::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/berry",
        since: Feature::Berry.since(),
        licensed: false,
        endpoints: &[
            get("The stored Berry script.", berry::show),
            post("Replaces the script.", berry::store).with_body_limit(limits::SCRIPT_BYTES),
            put("Whether the script runs; ?run=true starts it, ?run=false stops it.", berry::run),
            delete("Deletes the script; one that runs goes on.", berry::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/berry/console",
        since: Feature::Berry.since(),
        licensed: false,
        endpoints: &[get("What the script prints, as events.", berry::console)],
    },
    ApiRoute {
        path: "/load",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[streaming(
            "Takes a firmware image, and reboots.",
            firmware_upload::UPLOAD_BYTES,
            firmware_upload::upload,
        )],
    },
    ApiRoute {
        path: "/api/v1/reboot",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[post("Reboots the device.", reboot::reboot)],
    },
    ApiRoute {
        path: "/api/v1/restore",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[post(
            "Puts everything back to what it was from the factory, and reboots.",
            reboot::restore,
        )],
    },
    ApiRoute {
        path: "/api/v1/mqtt/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The settings of the MQTT client.", |call| settings::show(call, &MQTT_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &MQTT_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &MQTT_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/variables",
        since: ANY_FIRMWARE,
        licensed: true,
        endpoints: &[get("The template variables with their values.", variables::list)],
    },
    ApiRoute {
        path: "/api/v1/template/test",
        since: ANY_FIRMWARE,
        licensed: true,
        endpoints: &[post("Renders the template in the body.", variables::render)],
    },
];

/// The oldest firmware: the path exists in every version.
const ANY_FIRMWARE: Firmware = Firmware { major: 0, minor: 0, release: 0 };

const fn get(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint {
        method: Method::Get,
        about,
        body_limit: limits::JSON_BODY_BYTES,
        handler: Handler::Sync(handler),
    }
}

const fn post(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint { method: Method::Post, ..get(about, handler) }
}

const fn put(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint { method: Method::Put, ..get(about, handler) }
}

const fn delete(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint { method: Method::Delete, ..get(about, handler) }
}

/// An endpoint whose handler waits.
const fn asynchronous(
    method: Method,
    about: &'static str,
    handler: for<'a> fn(&'a Call<'a>) -> ReplyFuture<'a>,
) -> ApiEndpoint {
    ApiEndpoint {
        method,
        about,
        body_limit: limits::JSON_BODY_BYTES,
        handler: Handler::Async(handler),
    }
}

/// An endpoint whose handler reads the body itself.
const fn streaming(
    about: &'static str,
    body_limit: usize,
    handler: StreamingHandler,
) -> ApiEndpoint {
    ApiEndpoint { method: Method::Post, about, body_limit, handler: Handler::Streaming(handler) }
}

impl ApiEndpoint {
    const fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }
}

impl ApiRoute {
    /// Returns true if the route covers this path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self.path.strip_suffix("/*") {
            Some(base) => {
                path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            None => path == self.path,
        }
    }

    /// Returns true if a device with this firmware has the path.
    #[must_use]
    pub fn exists(&self, firmware: Firmware) -> bool {
        self.since <= firmware
    }

    /// Returns true if this licence includes the path.
    #[must_use]
    pub fn open_to(&self, license: License) -> bool {
        !self.licensed || license.includes(LicensedFeature::Routes)
    }

    /// Returns the endpoint of a method.
    ///
    /// # Errors
    /// The 405 that lists the methods of the path.
    pub(super) fn endpoint(&self, method: &str) -> Result<&ApiEndpoint, HttpReply> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.method.as_str() == method);
        endpoint.ok_or_else(|| method_not_allowed(method, &self.methods()))
    }

    /// Returns the names of the methods, as in an `Allow` header.
    #[must_use]
    pub fn methods(&self) -> String {
        let names: Vec<&str> =
            self.endpoints.iter().map(|endpoint| endpoint.method.as_str()).collect();
        names.join(", ")
    }
}

/// Returns the methods of a path but one, as in an `Allow` header; empty for an unknown path.
pub(super) fn other_methods(path: &str, method: &str, firmware: Firmware) -> String {
    let route = ROUTES.iter().find(|route| route.matches(path) && route.exists(firmware));
    let endpoints = route.into_iter().flat_map(|route| route.endpoints);
    let methods = endpoints.map(|endpoint| endpoint.method.as_str());
    methods.filter(|other| *other != method).collect::<Vec<_>>().join(", ")
}
