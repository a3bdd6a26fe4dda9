//! Which device of a shared port a request is for, by its host or by the first part of its path (HTTP-12).

use std::borrow::Cow;
use std::collections::HashMap;

use hyper::Uri;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;

use crate::device::{Device, DeviceId};
use crate::scenario::RouteBy;

/// Endings of a host name that no other machine can have.
const LOCAL_ENDINGS: [&str; 2] = [".local", ".localhost"];

/// The names of the devices behind a shared port, in lower case.
#[derive(Debug)]
pub(super) struct DeviceNames {
    route_by: RouteBy,
    names: HashMap<Box<str>, Named>,
    /// The device that error texts take as their example.
    example: Option<DeviceId>,
    count: usize,
}

/// The meaning of a name. Devices are numbered in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// The device with this id.
    Id(usize),
    /// The only device with this host name.
    HostName(usize),
    /// Several devices have this host name.
    Several,
}

/// The path of a request as its client wrote it, with the prefix that named the device. Kept in the
/// extensions of a request whose prefix was removed.
#[derive(Debug, Clone)]
pub(super) struct ClientPath {
    pub(super) path_and_query: PathAndQuery,
    /// The prefix: a slash and the name.
    pub(super) prefix: Box<str>,
}

/// The target of a request to a shared port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// The device with this number.
    Device(usize),
    /// A path that is only the name of a device: the page with relative links is one slash further.
    PageWithoutSlash { location: String },
    /// No device.
    Unknown { message: String },
}

impl DeviceNames {
    pub(super) fn new(route_by: RouteBy) -> Self {
        Self { route_by, names: HashMap::new(), example: None, count: 0 }
    }

    /// Adds a device, with the host name that it has now.
    pub(super) fn add(&mut self, device: &Device) {
        let (number, id) = (self.count, &device.identity().id);
        self.count += 1;
        self.example.get_or_insert_with(|| id.clone());
        let host_name = device.view().config.settings.system.host_name.to_ascii_lowercase();
        for name in [&*host_name, &format!("whatwatt-{}", id.short().to_ascii_lowercase())] {
            let name = without_local_ending(name);
            if !name.is_empty() {
                let named = self.names.entry(name.into()).or_insert(Named::HostName(number));
                if *named != Named::HostName(number) && !matches!(named, Named::Id(_)) {
                    *named = Named::Several;
                }
            }
        }
        // An id is unique. A host name that looks like the id of another device does not hide it.
        self.names.insert(id.as_str().to_ascii_lowercase().into(), Named::Id(number));
    }

    /// Returns the device that a request is for, and removes what named it from the path.
    pub(super) fn take_destination(&self, head: &mut Parts) -> Destination {
        match self.route_by {
            RouteBy::Host => self.destination_by_host(head),
            RouteBy::Path => self.take_destination_by_path(head),
        }
    }

    fn destination_by_host(&self, head: &Parts) -> Destination {
        // The authority of a target in absolute form counts more than the header (RFC 9112, section 3.2.2).
        let header = || head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let Some(host) = head.uri.host().or_else(|| header().map(without_port)) else {
            return self.unknown("the request has no host");
        };
        let host = lower_case(host.strip_suffix('.').unwrap_or(host));
        let label = host.split('.').next().unwrap_or_default();
        match (self.names.get(label), self.names.get(without_local_ending(&host))) {
            (Some(Named::Id(device)), _)
            | (_, Some(Named::Id(device) | Named::HostName(device))) => {
                Destination::Device(*device)
            }
            (_, Some(Named::Several)) => self.several(&host),
            (_, None) => self.unknown(&format!("no device has the host name `{}`", shown(&host))),
        }
    }

    fn take_destination_by_path(&self, head: &mut Parts) -> Destination {
        let Some(target) = head.uri.path_and_query() else {
            return self.unknown("the request has no path");
        };
        let path = target.path();
        let first = path.strip_prefix('/').unwrap_or(path);
        let end = first.find('/');
        let name = lower_case(&first[..end.unwrap_or(first.len())]);
        let device = match self.names.get(&*name) {
            Some(Named::Id(device) | Named::HostName(device)) => *device,
            Some(Named::Several) => return self.several(&name),
            None => {
                let name = shown(&name);
                return self.unknown(&format!("no device has the name `{name}`"));
            }
        };
        let Some(end) = end else {
            let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
            return Destination::PageWithoutSlash { location: format!("{path}/{query}") };
        };
        let (prefix, rest) = target.as_str().split_at(1 + end);
        // A part of a target that begins with a slash is a target.
        let Ok(rest) = rest.parse::<PathAndQuery>() else {
            return self.unknown("the request has no path behind the name of the device");
        };
        let client_path = ClientPath { path_and_query: target.clone(), prefix: prefix.into() };
        head.uri = Uri::from(rest);
        head.extensions.insert(client_path);
        Destination::Device(device)
    }

    fn several(&self, name: &str) -> Destination {
        self.unknown(&format!("several devices have the name `{}`", shown(name)))
    }

    fn unknown(&self, problem: &str) -> Destination {
        let Some(id) = &self.example else {
            return Destination::Unknown {
                message: format!("{problem}; this port serves no device yet"),
            };
        };
        let (count, devices) = (self.count, if self.count == 1 { "device" } else { "devices" });
        let how = match self.route_by {
            RouteBy::Host => format!("its host to name one, as `Host: {id}.local`"),
            RouteBy::Path => format!("its path to begin with one, as /{id}/api/v1/system"),
        };
        let message =
            format!("{problem}; this port serves {count} {devices}, and a request needs {how}");
        Destination::Unknown { message }
    }
}

/// Returns true if `host` names this device so that no other machine can have the name: by the id, bare or
/// with an ending of this machine or its network. A host such as `<id>.example.com` is routed to the device,
/// but it belongs to the owner of `example.com`, whose pages are not the device's.
pub(super) fn is_local_name_of(device: &Device, host: &str) -> bool {
    without_local_ending(&lower_case(host)).eq_ignore_ascii_case(device.identity().id.as_str())
}

/// Returns a name without an ending that no other machine can have. `name` is in lower case.
fn without_local_ending(name: &str) -> &str {
    LOCAL_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Returns a host without its port. An IPv6 address in brackets stays whole.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

/// Returns as much of a client's text as an error shows.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}
