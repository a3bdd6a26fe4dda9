//! The device's own Modbus TCP server (`docs/device/modbus.md`).
//!
//! [`session`] answers the requests of a connection, [`follower`] opens, closes and moves the
//! listener as the device's settings, licence, firmware and the rules say. The port that the device
//! reports (`services.modbus.port`) and the address that is bound on the host are two things: the
//! first one that a device starts with stands for the address of the scenario, whatever it is.

mod follower;
mod session;

use parking_lot::{Mutex, MutexGuard};
use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

use serde::Serialize;
use tokio::sync::watch;

use self::follower::Follower;
use crate::clock::Clock;
use crate::device::{Device, Feature, Licensed, Profile};
use crate::fault::Engine;
use crate::journal::{Event, Journal};
use crate::modbus::server::BACKLOG;
use crate::net::inflight::ConnectionRegistry;
use crate::net::sockets::Port;
use crate::scenario::ModbusPlan;
use crate::tasks::Tasks;

/// What the server is built from.
#[derive(Debug, Clone)]
pub struct ServerParts {
    /// The device.
    pub device: Arc<Device>,
    /// The house's clock.
    pub clock: Clock,
    /// The house's rules.
    pub engine: Arc<Engine>,
    /// The house's log.
    pub journal: Arc<Journal>,
    /// The connections between ends of the house.
    pub links: ConnectionRegistry,
}

/// The Modbus server of a device. It outlives the task that serves it, and so its port does.
#[derive(Debug)]
pub struct DeviceModbusServer {
    shared: Arc<ServerShared>,
    // Not among what is shared: the connections hold that.
    connections: Arc<Tasks>,
}

#[derive(Debug)]
struct ServerShared {
    parts: ServerParts,
    function_3: bool,
    /// Where it listens while the device's port is the one it started with.
    home: SocketAddr,
    /// Whether `home` stays reserved while nothing listens there: where its port was any free one.
    keeps_home: bool,
    /// The device's port that `home` stands for.
    first_port: u16,
    port: Mutex<Port>,
    place: watch::Sender<ListenState>,
    /// The generation of the rules that the listener follows.
    applied: watch::Sender<u64>,
}

/// Where a server listens, and how it came to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenState {
    address: SocketAddr,
    listening: bool,
    note: Option<String>,
}

impl ListenState {
    /// Where connections are taken; none while none are.
    #[cfg_attr(not(feature = "mdns"), expect(dead_code, reason = "what announces it asks"))]
    pub(crate) fn listening(&self) -> Option<SocketAddr> {
        self.listening.then_some(self.address)
    }
}

/// What the control plane shows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModbusSummary {
    /// `services.modbus.enable`.
    pub enabled: bool,
    /// `services.modbus.port`, as the device reports it.
    pub port: u16,
    /// Where it listens on the host, or would.
    pub address: SocketAddr,
    /// Whether it takes connections.
    pub listening: bool,
    /// Why it does not although it is enabled, or why the address does not follow the port.
    pub note: Option<String>,
}

/// Why the server is not to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Off {
    /// As it is set.
    Disabled,
    /// The licence leaves it out.
    License,
    /// The firmware has none.
    Firmware,
    /// The device is down.
    Power,
    /// The device records, and is on no network.
    Offline,
}

impl DeviceModbusServer {
    /// A server that does not listen yet. A free port is taken and kept at once, a fixed one only
    /// when the server is to listen: one that stays off is in nobody's way.
    ///
    /// # Errors
    /// Where the server is to listen from the start and the address cannot be bound.
    pub(crate) fn bind(plan: &ModbusPlan, first_port: u16, parts: ServerParts) -> io::Result<Self> {
        let keeps_home = plan.listen.port() == 0;
        let port = match wanted(&parts.device) {
            Ok(port) if port == first_port => Port::bind(plan.listen, BACKLOG)?,
            _ if keeps_home => Port::reserve(plan.listen)?,
            _ => Port::unbound(plan.listen),
        };
        let home = port.address();
        let shared = Arc::new(ServerShared {
            parts,
            function_3: plan.function_3,
            home,
            keeps_home,
            first_port,
            port: Mutex::new(port),
            place: watch::Sender::new(ListenState { address: home, listening: false, note: None }),
            // Nobody follows the rules yet, or has to.
            applied: watch::Sender::new(u64::MAX),
        });
        Ok(Self { shared, connections: Arc::default() })
    }

    /// Serves in a task of `services`, until that ends. When this returns, the listener is as it is
    /// to be.
    pub(crate) fn start(&self, services: &Tasks) {
        let follower = Follower::new(Arc::clone(&self.shared), Arc::clone(&self.connections));
        services.spawn(self.shared.parts.clock.activity().track(follower.run()));
    }

    /// Drops what is left once the task is gone: the connections, but not the listener, at which
    /// nobody accepts any more.
    pub(crate) async fn drop_connections(&self) {
        self.connections.abort_all().await;
        self.shared.tell(|place| place.listening = false);
        // Nobody is left who could follow the rules and the device, or would have to.
        self.shared.applied.send_replace(u64::MAX);
        self.shared.parts.device.set_modbus_applied(None);
    }

    /// Closes the listener too, as a device that goes down does.
    pub(crate) async fn shut(&self) {
        self.drop_connections().await;
        self.shared.close_home();
    }

    /// Ends it for good.
    pub(crate) async fn close(&self) {
        self.drop_connections().await;
        self.shared.port().release();
    }

    /// Where it listens, or is going to when it is switched on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.place.borrow().address
    }

    /// Where it listens, as a value that can be waited on.
    #[cfg_attr(not(feature = "mdns"), expect(dead_code, reason = "what announces it asks"))]
    pub(crate) fn place(&self) -> watch::Receiver<ListenState> {
        self.shared.place.subscribe()
    }

    /// What the control plane shows.
    #[must_use]
    pub fn summary(&self) -> ModbusSummary {
        let service = self.shared.parts.device.view().config.settings.services.modbus;
        let ListenState { address, listening, note } = self.shared.place.borrow().clone();
        ModbusSummary { enabled: service.enable, port: service.port, address, listening, note }
    }

    /// Waits until the listener follows the rules of this generation
    /// ([`Engine::generation`](crate::fault::Engine::generation)).
    pub(crate) async fn applied(&self, generation: u64) {
        // The sender is a field of this, so it cannot close.
        let _ = self.shared.applied.subscribe().wait_for(|applied| *applied >= generation).await;
    }
}

impl ServerShared {
    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock()
    }

    /// The address that stands for a port of the device.
    fn place_of(&self, device_port: u16) -> SocketAddr {
        if device_port == self.first_port {
            self.home
        } else {
            SocketAddr::new(self.home.ip(), device_port)
        }
    }

    /// The address that stands for the device's port of now.
    fn place_now(&self) -> SocketAddr {
        self.place_of(self.parts.device.view().config.settings.services.modbus.port)
    }

    /// Lets a change of the place be known, where it is one; the journal is told whether it listens.
    fn tell(&self, change: impl FnOnce(&mut ListenState)) {
        let mut turned = None;
        self.place.send_if_modified(|place| {
            let before = place.clone();
            change(place);
            turned = Some(place.listening).filter(|listening| *listening != before.listening);
            *place != before
        });
        if let Some(listening) = turned {
            let device = self.parts.device.identity().id.shared();
            self.parts.journal.record(Event::ModbusListening { device, listening });
        }
    }

    fn close_home(&self) {
        let mut port = self.port();
        if self.keeps_home {
            port.close();
        } else {
            port.release();
        }
    }
}

/// The device's port where its server is to listen.
fn wanted(device: &Device) -> Result<u16, Off> {
    let view = device.view();
    let service = view.config.settings.services.modbus;
    if !Profile::of(view.firmware).has(Feature::ModbusServer) {
        Err(Off::Firmware)
    } else if !device.identity().license.includes(Licensed::ModbusServer) {
        Err(Off::License)
    } else if device.power() != crate::device::Power::Up {
        Err(Off::Power)
    } else if device.is_offline() {
        Err(Off::Offline)
    } else if service.enable {
        Ok(service.port)
    } else {
        Err(Off::Disabled)
    }
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("services.modbus.enable is false"),
            Self::License => f.write_str("the licence FREE has no Modbus server"),
            Self::Firmware => {
                write!(
                    f,
                    "the firmware has no Modbus server before {}",
                    Feature::ModbusServer.since()
                )
            }
            Self::Power => f.write_str("the device is down"),
            Self::Offline => f.write_str("the device only records, and is on no network"),
        }
    }
}
