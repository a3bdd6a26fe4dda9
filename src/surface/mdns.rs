//! The mDNS announcements of the devices (`docs/device/discovery.md`).
//!
//! One [`Announcer`] serves all devices of a house with the one thread that the mDNS library needs. It
//! starts the thread with the first announcement: a house that only this machine can reach announces
//! nothing, unless its scenario has `mdns: loopback`. All timers use real time, because the caches of
//! the network do.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::modbus;
use crate::device::{Device, View};
use crate::scenario::Mdns;

/// Real time before another attempt if the library's queue is full, which a house of many devices fills
/// at its start.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Real time after which a changed set of announcements is sent once more, as RFC 6762 §8.3 requires. The
/// library (0.21) does not do so for names with capitals, leaves out records that it sent less than
/// a second ago, and repeats a goodbye over an announcement that came after it; probing, the goodbye
/// and that second are over by then.
const REPEAT_DELAY: Duration = Duration::from_millis(2100);
/// Real time that the library has to say goodbye at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(300);

/// Announces the services of the devices of a house.
pub struct Announcer {
    mode: Mdns,
    daemon: Mutex<Option<ServiceDaemon>>,
    withdrawals: Mutex<PendingWithdrawals>,
}

/// Withdrawals that wait for room in the library's queue. Bounded by the announcements, because each name
/// is in it once.
#[derive(Default)]
struct PendingWithdrawals {
    fullnames: BTreeSet<String>,
    /// True if a task retries.
    retrying: bool,
}

/// A service at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AnnouncedService {
    /// The service type, such as `_http._tcp.local.`, after its subtype if it has one.
    kind: &'static str,
    instance: String,
    host: String,
    address: SocketAddr,
    properties: Vec<(&'static str, String)>,
}

/// The result of a reconciliation.
struct ReconcileResult {
    /// True if a service was announced or withdrawn.
    changed: bool,
    /// The first announcement that failed and has to be tried again.
    failure: Option<(String, mdns_sd::Error)>,
}

/// The announcement of a service, which is withdrawn when this is dropped.
struct Announcement {
    announcer: Arc<Announcer>,
    fullname: String,
    service: AnnouncedService,
}

impl Announcer {
    /// Makes an announcer without announcements.
    #[must_use]
    pub fn new(mode: Mdns) -> Arc<Self> {
        Arc::new(Self { mode, daemon: Mutex::default(), withdrawals: Mutex::default() })
    }

    /// Withdraws all announcements, and returns when the library's thread has ended.
    pub async fn close(&self) {
        let daemon = self.daemon.lock().take();
        let Some(ended) = daemon.and_then(|daemon| daemon.shutdown().ok()) else { return };
        // The library's channel blocks. The timeout keeps a stuck network from blocking the shutdown.
        let wait = move || ended.recv_timeout(SHUTDOWN_TIMEOUT).is_ok();
        let _ = tokio::task::spawn_blocking(wait).await;
    }

    /// Returns the library's handle, and starts its thread if necessary.
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

    /// Returns true if services at this address are announced.
    fn announces(&self, address: SocketAddr) -> bool {
        match self.mode {
            Mdns::Off => false,
            Mdns::Auto => !address.ip().to_canonical().is_loopback(),
            Mdns::Loopback => true,
        }
    }

    /// Announces a service. Returns its full name.
    fn announce(&self, service: &AnnouncedService) -> mdns_sd::Result<String> {
        let ip = service.address.ip().to_canonical();
        let host = format!("{}.local.", service.host);
        let addresses = if ip.is_unspecified() { String::new() } else { ip.to_string() };
        let port = service.address.port();
        let (kind, name) = (service.kind, &service.instance);
        let mut info =
            ServiceInfo::new(kind, name, &host, &*addresses, port, &service.properties[..])?;
        if ip.is_unspecified() {
            info = info.enable_addr_auto();
        }
        info.set_interfaces(vec![match ip {
            IpAddr::V4(ip) if ip.is_unspecified() => IfKind::IPv4,
            // A socket that listens on all IPv6 addresses also accepts IPv4.
            IpAddr::V6(ip) if ip.is_unspecified() => IfKind::All,
            IpAddr::V4(ip) if ip.is_loopback() => IfKind::LoopbackV4,
            IpAddr::V6(ip) if ip.is_loopback() => IfKind::LoopbackV6,
            ip => IfKind::Addr(ip),
        }]);
        let fullname = info.get_fullname().to_owned();
        let daemon = self.daemon()?;
        let mut withdrawals = self.withdrawals();
        daemon.register(info)?;
        // The new announcement replaces the old one, which must not be withdrawn any more.
        withdrawals.fullnames.remove(&fullname);
        Ok(fullname)
    }

    /// Withdraws an announcement, now or as soon as the library's queue has room.
    fn withdraw(self: &Arc<Self>, fullname: String) {
        self.withdrawals().fullnames.insert(fullname);
        if self.send_withdrawals() || std::mem::replace(&mut self.withdrawals().retrying, true) {
            return;
        }
        // Without a runtime the process is about to end.
        let Ok(runtime) = Handle::try_current() else { return };
        let announcer = Arc::downgrade(self);
        runtime.spawn(async move {
            while let Some(announcer) = announcer.upgrade() {
                if announcer.send_withdrawals() {
                    return;
                }
                drop(announcer);
                sleep(RETRY_INTERVAL).await;
            }
        });
    }

    /// Sends the pending withdrawals until the library's queue is full. Returns true if none is left, so
    /// that no retry is necessary.
    fn send_withdrawals(&self) -> bool {
        // Without a daemon there are no announcements to withdraw.
        let daemon = self.daemon.lock().clone();
        let mut withdrawals = self.withdrawals();
        while let Some(fullname) = withdrawals.fullnames.pop_first() {
            let result = daemon.as_ref().map(|daemon| daemon.unregister(&fullname));
            if let Some(Err(mdns_sd::Error::Again)) = result {
                withdrawals.fullnames.insert(fullname);
                return false;
            }
        }
        withdrawals.retrying = false;
        true
    }

    fn withdrawals(&self) -> MutexGuard<'_, PendingWithdrawals> {
        self.withdrawals.lock()
    }

    /// Returns true if a device with services at these addresses has something to announce.
    pub(crate) fn has_to_announce(&self, view: &View, ips: [IpAddr; 2]) -> bool {
        view.config.settings.services.broadcast
            && ips.into_iter().any(|ip| self.announces(SocketAddr::new(ip, 0)))
    }

    /// Keeps the announcements of a device up to date until `services.broadcast` is off, and withdraws them
    /// when this ends or is dropped.
    pub(crate) async fn run(
        self: Arc<Self>,
        device: Arc<Device>,
        http: SocketAddr,
        mut modbus: watch::Receiver<modbus::ListenState>,
    ) {
        let mut changes = device.changes();
        let mut announcements: Vec<Announcement> = Vec::new();
        // The instant at which all announcements are repeated.
        let mut repeat_at = None;
        // So that the log says the first failure of many.
        let mut failed = false;
        loop {
            changes.borrow_and_update();
            if !device.view().config.settings.services.broadcast {
                return;
            }
            let modbus_address = modbus.borrow_and_update().listening();
            let mut services = services(&device, http, modbus_address);
            services.retain(|service| self.announces(service.address));
            let ReconcileResult { changed, failure } = self.reconcile(&mut announcements, services);
            let failed_before = std::mem::replace(&mut failed, failure.is_some());
            if let Some((service, error)) = failure.filter(|_| !failed_before) {
                tracing::warn!(%service, %error, "cannot announce, trying on");
            }
            if changed {
                repeat_at = Some(Instant::now() + REPEAT_DELAY);
            }
            tokio::select! {
                biased;
                result = changes.changed() => if result.is_err() { return },
                result = modbus.changed() => if result.is_err() { return },
                () = sleep(RETRY_INTERVAL), if failed => {}
                () = sleep_until(repeat_at.unwrap_or_else(Instant::now)), if repeat_at.is_some() => {
                    let mut repeated = announcements.iter();
                    let failed = repeated.any(|known| self.announce(&known.service).is_err());
                    repeat_at = failed.then(|| Instant::now() + RETRY_INTERVAL);
                }
            }
        }
    }

    /// Withdraws announcements of services that are gone, and announces services that are new or have
    /// changed.
    fn reconcile(
        self: &Arc<Self>,
        announcements: &mut Vec<Announcement>,
        services: Vec<AnnouncedService>,
    ) -> ReconcileResult {
        let before = announcements.len();
        announcements.retain(|known| {
            services.iter().any(|service| service.instance == known.service.instance)
        });
        let (mut changed, mut failure) = (announcements.len() < before, None);
        for service in services {
            let index =
                announcements.iter().position(|known| known.service.instance == service.instance);
            if index.is_some_and(|index| announcements[index].service == service) {
                continue;
            }
            match self.announce(&service) {
                Ok(fullname) => {
                    changed = true;
                    if let Some(index) = index {
                        // The new announcement has the same name, so it replaces the old one.
                        announcements[index].service = service;
                    } else {
                        let announcer = Arc::clone(self);
                        announcements.push(Announcement { announcer, fullname, service });
                    }
                }
                Err(error) => {
                    failure.get_or_insert((service.instance, error));
                }
            }
        }
        ReconcileResult { changed, failure }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        let daemon = self.daemon.get_mut().take();
        // The library says goodbye for the announcements that are left. Nothing waits for that.
        let _ = daemon.map(|daemon| daemon.shutdown());
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.announcer.withdraw(std::mem::take(&mut self.fullname));
    }
}

/// Returns the services that a device announces in its present state (DISCOVERY-1 to DISCOVERY-3).
fn services(
    device: &Device,
    http: SocketAddr,
    modbus: Option<SocketAddr>,
) -> Vec<AnnouncedService> {
    let config = device.view().config;
    if !config.settings.services.broadcast {
        return Vec::new();
    }
    let id = &device.identity().id;
    let host = config.settings.system.host_name.clone();
    let mut services = vec![AnnouncedService {
        kind: "_server._sub._http._tcp.local.",
        instance: format!("whatwatt Go {} WebUI", id.short()),
        host: host.clone(),
        address: http,
        properties: vec![("id", id.to_string()), ("type", "100".to_owned())],
    }];
    services.extend(modbus.map(|address| AnnouncedService {
        kind: "_modbus._tcp.local.",
        instance: format!("ModbusTCP Slave {}", id.short()),
        host,
        address,
        properties: Vec::new(),
    }));
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The burst is longer than the library's queue, as that of a house that loses power.
    #[tokio::test]
    async fn a_burst_of_withdrawals_is_sent_completely() {
        let announcer = Announcer::new(Mdns::Loopback);
        let services = (0..500_u16).map(|number| AnnouncedService {
            kind: "_wwsim-burst._tcp.local.",
            instance: format!("burst {number}"),
            host: "burst".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 1000 + number)),
            properties: Vec::new(),
        });
        let (services, mut announcements) = (services.collect::<Vec<_>>(), Vec::new());
        while announcer.reconcile(&mut announcements, services.clone()).failure.is_some() {
            sleep(RETRY_INTERVAL).await;
        }
        let daemon = announcer.daemon().unwrap();
        assert_eq!(registered(&daemon).await, 500);
        drop(announcements);
        let begun = Instant::now();
        while registered(&daemon).await > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "a service is left");
            sleep(RETRY_INTERVAL).await;
        }
        announcer.close().await;
    }

    /// Returns the number of services that the library announces.
    async fn registered(daemon: &ServiceDaemon) -> i64 {
        loop {
            if let Ok(metrics) = daemon.get_metrics() {
                let metrics = metrics.recv_timeout(Duration::from_secs(10)).unwrap();
                let count = |key: &str| metrics.get(key).copied().unwrap_or_default();
                return count("register") - count("unregister");
            }
            sleep(RETRY_INTERVAL).await;
        }
    }
}
