//! What a device announces of itself on the network (contract §7).
//!
//! One [`Announcer`] serves all devices of a house with the one thread that the mDNS library needs,
//! and starts it with the first announcement: a house that only this machine can reach announces
//! nothing, unless its scenario says `mdns: loopback`. All of this goes by real time: the network's
//! caches know no other.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use tokio::sync::watch;

use super::modbus;
use crate::device::Device;
use crate::limits;
use crate::scenario::Mdns;

/// Announces what the devices of a house offer.
pub struct Announcer {
    mode: Mdns,
    daemon: Mutex<Option<ServiceDaemon>>,
}

/// Something that is offered at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    /// `_http._tcp.local.`, with its subtype before it where it has one.
    kind: &'static str,
    instance: String,
    host: String,
    at: SocketAddr,
    properties: Vec<(&'static str, String)>,
}

/// A service that is announced; taken back when dropped.
struct Announced {
    daemon: ServiceDaemon,
    fullname: String,
    service: Service,
}

impl Announcer {
    /// An announcer that has announced nothing yet.
    #[must_use]
    pub fn new(mode: Mdns) -> Arc<Self> {
        Arc::new(Self { mode, daemon: Mutex::default() })
    }

    /// Takes everything back that is still announced, and returns when the library's thread is gone.
    pub async fn close(&self) {
        let daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ended) = daemon.and_then(|daemon| daemon.shutdown().ok()) else { return };
        // The library's channel blocks. It is bounded in time: a stuck network holds up no shutdown.
        let wait = move || ended.recv_timeout(limits::MDNS_SHUTDOWN).is_ok();
        let _ = tokio::task::spawn_blocking(wait).await;
    }

    fn daemon(&self) -> mdns_sd::Result<ServiceDaemon> {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(daemon) = &*daemon {
            return Ok(daemon.clone());
        }
        let started = ServiceDaemon::new()?;
        if self.mode == Mdns::Loopback {
            started.enable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        }
        Ok(daemon.insert(started).clone())
    }

    /// Whether something at this address is announced.
    fn announces(&self, at: SocketAddr) -> bool {
        match self.mode {
            Mdns::Off => false,
            Mdns::Auto => !at.ip().to_canonical().is_loopback(),
            Mdns::Loopback => true,
        }
    }

    fn announce(&self, service: &Service) -> mdns_sd::Result<(ServiceDaemon, String)> {
        let ip = service.at.ip().to_canonical();
        let host = format!("{}.local.", service.host);
        let addresses = if ip.is_unspecified() { String::new() } else { ip.to_string() };
        let port = service.at.port();
        let (kind, name) = (service.kind, &service.instance);
        let mut info =
            ServiceInfo::new(kind, name, &host, &*addresses, port, &service.properties[..])?;
        if ip.is_unspecified() {
            info = info.enable_addr_auto();
        }
        info.set_interfaces(vec![match ip {
            IpAddr::V4(ip) if ip.is_unspecified() => IfKind::IPv4,
            // A socket that listens on all addresses of IPv6 hears IPv4 too.
            IpAddr::V6(ip) if ip.is_unspecified() => IfKind::All,
            IpAddr::V4(ip) if ip.is_loopback() => IfKind::LoopbackV4,
            IpAddr::V6(ip) if ip.is_loopback() => IfKind::LoopbackV6,
            ip => IfKind::Addr(ip),
        }]);
        let fullname = info.get_fullname().to_owned();
        let daemon = self.daemon()?;
        daemon.register(info)?;
        Ok((daemon, fullname))
    }

    /// Keeps what is announced of a device as the device is; taken back when this is dropped.
    pub(crate) async fn follow(
        self: Arc<Self>,
        device: Arc<Device>,
        http: SocketAddr,
        mut modbus: watch::Receiver<modbus::Place>,
    ) {
        if self.mode == Mdns::Off {
            return;
        }
        let mut changes = device.changes();
        let mut announced: Vec<Announced> = Vec::new();
        loop {
            changes.borrow_and_update();
            let modbus_at = modbus.borrow_and_update().listening();
            let mut offered = offered(&device, http, modbus_at);
            offered.retain(|service| self.announces(service.at));
            let failed = self.reconcile(&mut announced, offered);
            tokio::select! {
                biased;
                seen = changes.changed() => if seen.is_err() { return },
                seen = modbus.changed() => if seen.is_err() { return },
                () = tokio::time::sleep(limits::MDNS_RETRY), if failed => {}
            }
        }
    }

    /// Takes back what is no longer offered and announces what is new or has changed; says whether
    /// something is left to be tried again.
    fn reconcile(&self, announced: &mut Vec<Announced>, offered: Vec<Service>) -> bool {
        announced.retain(|known| {
            offered.iter().any(|service| service.instance == known.service.instance)
        });
        let mut failed = false;
        for service in offered {
            let known =
                announced.iter().position(|known| known.service.instance == service.instance);
            if known.is_some_and(|index| announced[index].service == service) {
                continue;
            }
            match self.announce(&service) {
                Ok((daemon, fullname)) => match known {
                    // The same name: announced anew in its place, not taken back before.
                    Some(index) => announced[index].service = service,
                    None => announced.push(Announced { daemon, fullname, service }),
                },
                Err(error) => {
                    failed = true;
                    tracing::warn!(service = %service.instance, %error, "cannot announce, trying on");
                }
            }
        }
        failed
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        let daemon = self.daemon.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody waits for it; it says goodbye for what is left.
        let _ = daemon.map(|daemon| daemon.shutdown());
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Where the daemon is gone, so is the announcement.
        let _ = self.daemon.unregister(&self.fullname);
    }
}

/// What a device offers now (contract §7).
fn offered(device: &Device, http: SocketAddr, modbus: Option<SocketAddr>) -> Vec<Service> {
    let config = device.view().config;
    if !config.settings.services.broadcast {
        return Vec::new();
    }
    let id = &device.identity().id;
    let host = config.settings.system.host_name.clone();
    let mut offered = vec![Service {
        kind: "_server._sub._http._tcp.local.",
        instance: format!("whatwatt Go {} WebUI", id.short()),
        host: host.clone(),
        at: http,
        properties: vec![("id", id.to_string()), ("type", "100".to_owned())],
    }];
    offered.extend(modbus.map(|at| Service {
        kind: "_modbus._tcp.local.",
        instance: format!("ModbusTCP Slave {}", id.short()),
        host,
        at,
        properties: Vec::new(),
    }));
    offered
}
