//! The device's own Modbus TCP server (`docs/device/modbus.md`).
//!
//! [`session`] replies to the requests of a connection. [`reconciler`] opens, closes and moves the listener
//! as the device's settings, licence and firmware and the fault rules require.
//!
//! The port that the device reports (`services.modbus.port`) is not always the port on the host: the
//! port with which the device starts stands for the scenario's listen address, whatever that is.

mod reconciler;
mod session;

use parking_lot::{Mutex, MutexGuard};
use std::io;
#[cfg(feature = "mdns")]
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use tokio::sync::watch;

use self::reconciler::DeviceListenerReconciler;
use crate::clock::Clock;
use crate::device::{Device, Feature, LicensedFeature, Profile};
use crate::fault::Engine;
use crate::journal::{Event, Journal};
use crate::limits;
use crate::modbus::limits::MODBUS_BACKLOG;
use crate::modbus::server::Connections;
use crate::net::gate::ClosedGate;
use crate::net::inflight::ConnectionRegistry;
use crate::net::sockets::Port;
use crate::scenario::ModbusPlan;

/// The parts from which a server is built.
#[derive(Debug, Clone)]
pub struct ServerParts {
    /// The device.
    pub device: Arc<Device>,
    /// The house's clock.
    pub clock: Clock,
    /// The house's rules.
    pub engine: Arc<Engine>,
    /// The house's journal.
    pub journal: Arc<Journal>,
    /// The registry of connections with both endpoints in the house.
    pub connection_registry: ConnectionRegistry,
}

/// The Modbus server of a device. It outlives the task that serves it, and so does its port.
#[derive(Debug)]
pub struct DeviceModbusServer {
    shared: Arc<ServerShared>,
    /// Empty until the server listens for the first time. Not part of `shared`, because each connection holds
    /// that.
    connections: OnceLock<Arc<Connections>>,
    /// The address whose connections a pause has kept. `None` if there are none.
    paused_at: Mutex<Option<SocketAddr>>,
}

#[derive(Debug)]
struct ServerShared {
    parts: ServerParts,
    plan: ModbusPlan,
    /// The device's port at its start, which stands for the address of the plan.
    first_port: u16,
    /// The port of the plan.
    port: Mutex<Port>,
    /// Empty until somebody follows the listener.
    published: OnceLock<Box<Published>>,
}

/// The values that others wait for.
#[derive(Debug)]
struct Published {
    state: watch::Sender<ListenState>,
    /// The generation of the fault rules that the listener follows.
    applied_generation: watch::Sender<u64>,
}

/// The state of a server's listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListenState {
    /// The address of the listener. `None` if it is closed.
    listening: Option<SocketAddr>,
    note: Option<String>,
}

impl ListenState {
    /// Returns the address of the listener. `None` if it is closed.
    pub(crate) fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }
}

/// A summary of the server for the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModbusSummary {
    /// `services.modbus.enable`.
    pub enabled: bool,
    /// `services.modbus.port`, as the device reports it.
    pub port: u16,
    /// The address of the listener on the host, or the address that it would have. `None` if the system chooses
    /// it once the server is switched on.
    pub address: Option<SocketAddr>,
    /// True if connections are accepted.
    pub listening: bool,
    /// The reason for which an enabled server does not listen, or listens at another address.
    pub note: Option<String>,
}

/// The reason for which the server must not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum OffReason {
    #[error("services.modbus.enable is false")]
    Disabled,
    #[error("the licence FREE has no Modbus server")]
    License,
    #[error("the firmware has no Modbus server before {}", Feature::ModbusServer.since())]
    Firmware,
    #[error("the device is down")]
    Power,
    #[error("the device only records, and is on no network")]
    Offline,
}

impl DeviceModbusServer {
    /// Makes a server that does not listen yet. If the scenario asks for any free port, one is reserved
    /// at once, unless the plan says otherwise. A fixed port is bound only if the server has to listen, so that
    /// a server that stays off does not block a port.
    ///
    /// # Errors
    /// If the server has to listen from the start and the address cannot be bound.
    pub(crate) fn bind(plan: &ModbusPlan, first_port: u16, parts: ServerParts) -> io::Result<Self> {
        let port = match desired_port(&parts.device) {
            Ok(port) if port == first_port => Port::bind(plan.listen, MODBUS_BACKLOG)?,
            _ if plan.reserves_port() => Port::reserve(plan.listen)?,
            _ => Port::unbound(plan.listen),
        };
        let shared = Arc::new(ServerShared {
            parts,
            plan: *plan,
            first_port,
            port: Mutex::new(port),
            published: OnceLock::new(),
        });
        Ok(Self { shared, connections: OnceLock::new(), paused_at: Mutex::default() })
    }

    /// Returns true if the device has to listen, unless a fault rule has it refuse.
    pub(crate) fn has_to_listen(&self) -> bool {
        desired_port(&self.shared.parts.device).is_ok()
    }

    /// Serves until the returned future ends, because the device must not listen any more, or is dropped. When
    /// this returns, the listener is in its desired state. Connections that a pause has kept are reset if the
    /// listener has moved.
    pub(crate) fn start(&self) -> impl Future<Output = ()> + Send + use<> {
        let connections = Arc::clone(self.connections.get_or_init(|| {
            let activity = self.shared.parts.clock.activity().clone();
            Arc::new(Connections::new(activity, limits::MODBUS_CONNECTIONS))
        }));
        let paused_at = self.paused_at.lock().take();
        let shared = Arc::clone(&self.shared);
        let reconciler = DeviceListenerReconciler::new(shared, Arc::clone(&connections));
        if paused_at.is_some() && paused_at != reconciler.address() {
            connections.reset_all();
        }
        reconciler.run()
    }

    /// Closes what a pause has kept open, because the device must not listen.
    pub(crate) fn stay_closed(&self) {
        if let Some(connections) = self.connections.get()
            && self.paused_at.lock().take().is_some()
        {
            connections.reset_all();
        }
        self.shared.close_scenario_port();
    }

    /// Drops the connections after the task has ended. The listener stays open, but no connection is
    /// accepted.
    pub(crate) async fn drop_connections(&self) {
        if let Some(connections) = self.connections.get() {
            connections.drop_all().await;
        }
        self.mark_unserved();
    }

    /// Ends the connections with a request in progress or half received, after the task has ended. The
    /// listener stays open. Connections that wait for their next request, and new ones, wait until the next
    /// [`DeviceModbusServer::start`] and until the returned value is dropped.
    pub(crate) async fn pause(&self) -> Option<ClosedGate> {
        let paused = match self.connections.get() {
            Some(connections) => Some(connections.pause().await),
            None => None,
        };
        *self.paused_at.lock() = self.listening();
        self.mark_unserved();
        paused
    }

    /// Says that no task serves.
    pub(crate) fn mark_unserved(&self) {
        if let Some(published) = self.shared.published.get() {
            self.shared.update_state(ListenState::default());
            // Without a reconciler, every change of the rules and the device counts as applied.
            published.applied_generation.send_replace(u64::MAX);
        }
        self.shared.parts.device.set_modbus_applied(None);
    }

    fn listening(&self) -> Option<SocketAddr> {
        self.shared.published.get().and_then(|published| published.state.borrow().listening())
    }

    /// Drops the connections and closes the listener, as a device that goes down does.
    pub(crate) async fn close(&self) {
        self.drop_connections().await;
        self.shared.close_scenario_port();
    }

    /// Drops the connections, closes the listener and frees the port.
    pub(crate) async fn release(&self) {
        self.drop_connections().await;
        self.shared.port().release();
    }

    /// Returns the address of the listener, or the address that it has once it is switched on. `None` if the
    /// system chooses that.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let address = self.listening().unwrap_or_else(|| self.shared.desired_address());
        Some(address).filter(|address| address.port() != 0)
    }

    /// Returns the address of the host at which it listens, without the port.
    #[cfg(feature = "mdns")]
    pub(crate) fn ip(&self) -> IpAddr {
        self.shared.plan.listen.ip()
    }

    /// Subscribes to the state of the listener.
    #[cfg(feature = "mdns")]
    pub(crate) fn listen_state(&self) -> watch::Receiver<ListenState> {
        self.shared.published().state.subscribe()
    }

    /// Returns a summary for the control plane.
    #[must_use]
    pub fn summary(&self) -> ModbusSummary {
        let device = &self.shared.parts.device;
        let service = device.view().config.settings.services.modbus;
        let published = self.shared.published.get();
        let note = published.and_then(|published| published.state.borrow().note.clone());
        let off = || desired_port(device).err().filter(|_| service.enable);
        ModbusSummary {
            enabled: service.enable,
            port: service.port,
            address: self.address(),
            listening: self.listening().is_some(),
            note: note.or_else(|| off().map(|reason| reason.to_string())),
        }
    }

    /// Waits until the listener follows the fault rules of this generation
    /// ([`Engine::generation`](crate::fault::Engine::generation)).
    pub(crate) async fn wait_rules_applied(&self, generation: u64) {
        let Some(published) = self.shared.published.get() else { return };
        let mut applied = published.applied_generation.subscribe();
        // The sender is a field of this server, so it cannot be dropped.
        let _ = applied.wait_for(|applied| *applied >= generation).await;
    }
}

impl ServerShared {
    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock()
    }

    fn published(&self) -> &Published {
        self.published.get_or_init(|| {
            Box::new(Published {
                state: watch::Sender::default(),
                // Without a reconciler, every generation of the rules counts as applied.
                applied_generation: watch::Sender::new(u64::MAX),
            })
        })
    }

    /// Returns the address of the plan, with the port that the system has chosen if it has.
    fn scenario_address(&self) -> SocketAddr {
        self.port().address()
    }

    /// Returns the address on the host for a port of the device: the first one stands for the plan's.
    fn address_of(&self, device_port: u16) -> SocketAddr {
        if device_port == self.first_port {
            self.scenario_address()
        } else {
            SocketAddr::new(self.plan.listen.ip(), device_port)
        }
    }

    /// Returns the address on the host for the device's port in force.
    fn desired_address(&self) -> SocketAddr {
        self.address_of(self.parts.device.view().config.settings.services.modbus.port)
    }

    /// Sets the state, notifies subscribers if it differs, and records if the listener opened or closed.
    fn update_state(&self, new: ListenState) {
        let mut switched = None;
        self.published().state.send_if_modified(|state| {
            let before = std::mem::replace(state, new);
            let listening = state.listening.is_some();
            switched = Some(listening).filter(|listening| *listening != before.listening.is_some());
            *state != before
        });
        if let Some(listening) = switched {
            let device = self.parts.device.identity().id.shared();
            self.parts.journal.record(Event::DeviceModbusListening { device, listening });
        }
    }

    /// Closes the port of the plan. It stays reserved if its number has to stay, and while the device listens
    /// there but for a fault rule or a reboot.
    fn close_scenario_port(&self) {
        let service = self.parts.device.view().config.settings.services.modbus;
        let mut port = self.port();
        if self.plan.reserves_port() || (service.enable && service.port == self.first_port) {
            port.close();
        } else {
            port.release();
            // With port 0, the system chooses anew.
            *port = Port::unbound(self.plan.listen);
        }
    }
}

/// Returns the device's port at which its server has to listen.
///
/// # Errors
/// The reason, if it must not listen.
fn desired_port(device: &Device) -> Result<u16, OffReason> {
    let view = device.view();
    let service = view.config.settings.services.modbus;
    if !Profile::new(view.firmware).has(Feature::ModbusServer) {
        Err(OffReason::Firmware)
    } else if !device.identity().license.includes(LicensedFeature::ModbusServer) {
        Err(OffReason::License)
    } else if device.power() != crate::device::Power::Up {
        Err(OffReason::Power)
    } else if device.is_offline() {
        Err(OffReason::Offline)
    } else if service.enable {
        Ok(service.port)
    } else {
        Err(OffReason::Disabled)
    }
}
