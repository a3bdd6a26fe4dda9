//! What a device announces of itself on the network (`docs/device/discovery.md`).
//!
//! One [`Announcer`] serves all devices of a house with the one thread that the mDNS library needs,
//! and starts it with the first announcement: a house that only this machine can reach announces
//! nothing, unless its scenario says `mdns: loopback`. All of this goes by real time: the network's
//! caches know no other.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::modbus;
use crate::device::Device;
use crate::limits;
use crate::scenario::Mdns;

/// Announces what the devices of a house offer.
pub struct Announcer {
    mode: Mdns,
    daemon: Mutex<Option<ServiceDaemon>>,
    owed: Mutex<Owed>,
}

/// What is to be taken back and could not be yet, because the library's queue was full. At most what
/// is announced, once each.
#[derive(Default)]
struct Owed {
    fullnames: BTreeSet<String>,
    /// Whether a task tries on.
    tried: bool,
}

/// Something that is offered at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AnnouncedService {
    /// `_http._tcp.local.`, with its subtype before it where it has one.
    kind: &'static str,
    instance: String,
    host: String,
    at: SocketAddr,
    properties: Vec<(&'static str, String)>,
}

/// What came of a comparison of what is announced with what is offered.
struct Reconciled {
    /// Something was announced or taken back.
    changed: bool,
    /// Something is left to be tried again.
    failed: bool,
}

/// A service that is announced; taken back when dropped.
struct Announced {
    owner: Arc<Announcer>,
    fullname: String,
    service: AnnouncedService,
}

impl Announcer {
    /// An announcer that has announced nothing yet.
    #[must_use]
    pub fn new(mode: Mdns) -> Arc<Self> {
        Arc::new(Self { mode, daemon: Mutex::default(), owed: Mutex::default() })
    }

    /// Takes everything back that is still announced, and returns when the library's thread is gone.
    pub async fn close(&self) {
        let daemon = self.daemon.lock().take();
        let Some(ended) = daemon.and_then(|daemon| daemon.shutdown().ok()) else { return };
        // The library's channel blocks. It is bounded in time: a stuck network holds up no shutdown.
        let wait = move || ended.recv_timeout(limits::MDNS_SHUTDOWN).is_ok();
        let _ = tokio::task::spawn_blocking(wait).await;
    }

    fn daemon(&self) -> mdns_sd::Result<ServiceDaemon> {
        let mut daemon = self.daemon.lock();
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

    fn announce(&self, service: &AnnouncedService) -> mdns_sd::Result<String> {
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
        let mut owed = self.owed();
        daemon.register(info)?;
        // It comes in the place of the one before.
        owed.fullnames.remove(&fullname);
        Ok(fullname)
    }

    /// Takes back what was announced under a name, now or as soon as the library's queue has room.
    fn take_back(self: &Arc<Self>, fullname: String) {
        self.owed().fullnames.insert(fullname);
        if self.is_even() || std::mem::replace(&mut self.owed().tried, true) {
            return;
        }
        // Outside a runtime the process is about to end.
        let Ok(runtime) = Handle::try_current() else { return };
        let announcer = Arc::downgrade(self);
        runtime.spawn(async move {
            while let Some(announcer) = announcer.upgrade() {
                if announcer.is_even() {
                    return;
                }
                drop(announcer);
                sleep(limits::MDNS_RETRY).await;
            }
        });
    }

    /// Takes back what is owed as far as the library's queue has room; whether nothing is left, and
    /// so nobody needs to try on.
    fn is_even(&self) -> bool {
        // Where the daemon is gone, so are its announcements.
        let daemon = self.daemon.lock().clone();
        let mut owed = self.owed();
        while let Some(fullname) = owed.fullnames.pop_first() {
            let taken_back = daemon.as_ref().map(|daemon| daemon.unregister(&fullname));
            if let Some(Err(mdns_sd::Error::Again)) = taken_back {
                owed.fullnames.insert(fullname);
                return false;
            }
        }
        owed.tried = false;
        true
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock()
    }

    /// Keeps what is announced of a device as the device is; taken back when this is dropped.
    pub(crate) async fn follow(
        self: Arc<Self>,
        device: Arc<Device>,
        http: SocketAddr,
        mut modbus: watch::Receiver<modbus::ListenState>,
    ) {
        if self.mode == Mdns::Off {
            return;
        }
        let mut changes = device.changes();
        let mut announced: Vec<Announced> = Vec::new();
        // When all of it is announced once more.
        let mut again = None;
        loop {
            changes.borrow_and_update();
            let modbus_at = modbus.borrow_and_update().listening();
            let mut offered = offered(&device, http, modbus_at);
            offered.retain(|service| self.announces(service.at));
            let Reconciled { changed, failed } = self.reconcile(&mut announced, offered);
            if changed {
                again = Some(Instant::now() + limits::MDNS_AGAIN);
            }
            tokio::select! {
                biased;
                seen = changes.changed() => if seen.is_err() { return },
                seen = modbus.changed() => if seen.is_err() { return },
                () = sleep(limits::MDNS_RETRY), if failed => {}
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    let failed = announced.iter().any(|known| self.announce(&known.service).is_err());
                    again = failed.then(|| Instant::now() + limits::MDNS_RETRY);
                }
            }
        }
    }

    /// Takes back what is no longer offered and announces what is new or has changed.
    fn reconcile(
        self: &Arc<Self>,
        announced: &mut Vec<Announced>,
        offered: Vec<AnnouncedService>,
    ) -> Reconciled {
        let before = announced.len();
        announced.retain(|known| {
            offered.iter().any(|service| service.instance == known.service.instance)
        });
        let (mut changed, mut failed) = (announced.len() < before, false);
        for service in offered {
            let known =
                announced.iter().position(|known| known.service.instance == service.instance);
            if known.is_some_and(|index| announced[index].service == service) {
                continue;
            }
            match self.announce(&service) {
                Ok(fullname) => {
                    changed = true;
                    if let Some(index) = known {
                        // The same name: announced anew in its place, not taken back before.
                        announced[index].service = service;
                    } else {
                        let owner = Arc::clone(self);
                        announced.push(Announced { owner, fullname, service });
                    }
                }
                Err(error) => {
                    failed = true;
                    tracing::warn!(service = %service.instance, %error, "cannot announce, trying on");
                }
            }
        }
        Reconciled { changed, failed }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        let daemon = self.daemon.get_mut().take();
        // Nobody waits for it; it says goodbye for what is left.
        let _ = daemon.map(|daemon| daemon.shutdown());
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.owner.take_back(std::mem::take(&mut self.fullname));
    }
}

/// What a device offers now (DISCOVERY-1 to DISCOVERY-3).
fn offered(device: &Device, http: SocketAddr, modbus: Option<SocketAddr>) -> Vec<AnnouncedService> {
    let config = device.view().config;
    if !config.settings.services.broadcast {
        return Vec::new();
    }
    let id = &device.identity().id;
    let host = config.settings.system.host_name.clone();
    let mut offered = vec![AnnouncedService {
        kind: "_server._sub._http._tcp.local.",
        instance: format!("whatwatt Go {} WebUI", id.short()),
        host: host.clone(),
        at: http,
        properties: vec![("id", id.to_string()), ("type", "100".to_owned())],
    }];
    offered.extend(modbus.map(|at| AnnouncedService {
        kind: "_modbus._tcp.local.",
        instance: format!("ModbusTCP Slave {}", id.short()),
        host,
        at,
        properties: Vec::new(),
    }));
    offered
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// More than the library's queue holds, taken back at once, as by a house that loses power.
    #[tokio::test]
    async fn what_is_taken_back_in_a_burst_is_taken_back_to_the_last() {
        let announcer = Announcer::new(Mdns::Loopback);
        let offered = (0..500_u16).map(|number| AnnouncedService {
            kind: "_wwsim-burst._tcp.local.",
            instance: format!("burst {number}"),
            host: "burst".to_owned(),
            at: SocketAddr::from(([127, 0, 0, 1], 1000 + number)),
            properties: Vec::new(),
        });
        let (offered, mut known) = (offered.collect::<Vec<_>>(), Vec::new());
        while announcer.reconcile(&mut known, offered.clone()).failed {
            sleep(limits::MDNS_RETRY).await;
        }
        let daemon = announcer.daemon().unwrap();
        assert_eq!(registered(&daemon).await, 500);
        drop(known);
        let begun = Instant::now();
        while registered(&daemon).await > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "something is left");
            sleep(limits::MDNS_RETRY).await;
        }
        announcer.close().await;
    }

    /// How many services the library has.
    async fn registered(daemon: &ServiceDaemon) -> i64 {
        loop {
            if let Ok(metrics) = daemon.get_metrics() {
                let metrics = metrics.recv_timeout(Duration::from_secs(10)).unwrap();
                let count = |key: &str| metrics.get(key).copied().unwrap_or_default();
                return count("register") - count("unregister");
            }
            sleep(limits::MDNS_RETRY).await;
        }
    }
}
