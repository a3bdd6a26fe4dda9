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
use std::net::SocketAddr;
use std::sync::Arc;

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
use crate::tasks::Tasks;

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
    // Not part of `shared`, because each connection holds that.
    connections: Arc<Connections>,
    /// The address whose connections a pause has kept. `None` if there are none.
    paused_at: Mutex<Option<SocketAddr>>,
}

#[derive(Debug)]
struct ServerShared {
    parts: ServerParts,
    function_3: bool,
    /// The scenario's listen address, for which [`Self::first_port`] stands.
    scenario_address: SocketAddr,
    /// True if the port of `scenario_address` stays reserved while nothing listens there, because the
    /// scenario asks for any free port.
    reserves_port: bool,
    /// The device's port at its start.
    first_port: u16,
    port: Mutex<Port>,
    state: watch::Sender<ListenState>,
    /// The generation of the fault rules that the listener follows.
    applied_generation: watch::Sender<u64>,
}

/// The state of a server's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenState {
    address: SocketAddr,
    listening: bool,
    note: Option<String>,
}

impl ListenState {
    /// Returns the address of the listener. `None` if it is closed.
    pub(crate) fn listening(&self) -> Option<SocketAddr> {
        self.listening.then_some(self.address)
    }
}

/// A summary of the server for the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModbusSummary {
    /// `services.modbus.enable`.
    pub enabled: bool,
    /// `services.modbus.port`, as the device reports it.
    pub port: u16,
    /// The address of the listener on the host, or the address that it would have.
    pub address: SocketAddr,
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
    /// at once. A fixed port is bound only if the server has to listen, so that a server that stays
    /// off does not block a port.
    ///
    /// # Errors
    /// If the server has to listen from the start and the address cannot be bound.
    pub(crate) fn bind(plan: &ModbusPlan, first_port: u16, parts: ServerParts) -> io::Result<Self> {
        let reserves_port = plan.listen.port() == 0;
        let port = match desired_port(&parts.device) {
            Ok(port) if port == first_port => Port::bind(plan.listen, MODBUS_BACKLOG)?,
            _ if reserves_port => Port::reserve(plan.listen)?,
            _ => Port::unbound(plan.listen),
        };
        let address = port.address();
        let activity = parts.clock.activity().clone();
        let connections = Connections::new(activity, limits::MODBUS_CONNECTIONS);
        let shared = Arc::new(ServerShared {
            parts,
            function_3: plan.function_3,
            scenario_address: address,
            reserves_port,
            first_port,
            port: Mutex::new(port),
            state: watch::Sender::new(ListenState { address, listening: false, note: None }),
            // Without a reconciler, every generation of the rules counts as applied.
            applied_generation: watch::Sender::new(u64::MAX),
        });
        Ok(Self { shared, connections: Arc::new(connections), paused_at: Mutex::default() })
    }

    /// Starts a task in `services` that serves until it is aborted. When this returns, the listener is
    /// in its desired state. Connections that a pause has kept are reset if the listener has moved.
    pub(crate) fn start(&self, services: &Tasks) {
        let connections = Arc::clone(&self.connections);
        let reconciler = DeviceListenerReconciler::new(Arc::clone(&self.shared), connections);
        let paused_at = self.paused_at.lock().take();
        if paused_at.is_some() && paused_at != reconciler.address() {
            self.connections.reset_all();
        }
        services.spawn(self.shared.parts.clock.activity().track(reconciler.run()));
    }

    /// Drops the connections after the task has ended. The listener stays open, but no connection is
    /// accepted.
    pub(crate) async fn drop_connections(&self) {
        self.connections.drop_all().await;
        self.mark_unserved();
    }

    /// Ends the connections with a request in progress or half received, after the task has ended. The
    /// listener stays open. Connections that wait for their next request, and new ones, wait until the next
    /// [`DeviceModbusServer::start`] and until the returned value is dropped.
    pub(crate) async fn pause(&self) -> ClosedGate {
        let paused = self.connections.pause().await;
        *self.paused_at.lock() = self.shared.state.borrow().listening();
        self.mark_unserved();
        paused
    }

    /// Says that no task serves.
    fn mark_unserved(&self) {
        self.shared.update_state(|state| state.listening = false);
        // Without a reconciler, every change of the rules and the device counts as applied.
        self.shared.applied_generation.send_replace(u64::MAX);
        self.shared.parts.device.set_modbus_applied(None);
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

    /// Returns the address of the listener, or the address that it has once it is switched on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.state.borrow().address
    }

    /// Subscribes to the state of the listener.
    #[cfg_attr(not(feature = "mdns"), expect(dead_code, reason = "only the announcer uses it"))]
    pub(crate) fn listen_state(&self) -> watch::Receiver<ListenState> {
        self.shared.state.subscribe()
    }

    /// Returns a summary for the control plane.
    #[must_use]
    pub fn summary(&self) -> ModbusSummary {
        let service = self.shared.parts.device.view().config.settings.services.modbus;
        let ListenState { address, listening, note } = self.shared.state.borrow().clone();
        ModbusSummary { enabled: service.enable, port: service.port, address, listening, note }
    }

    /// Waits until the listener follows the fault rules of this generation
    /// ([`Engine::generation`](crate::fault::Engine::generation)).
    pub(crate) async fn wait_rules_applied(&self, generation: u64) {
        let mut applied = self.shared.applied_generation.subscribe();
        // The sender is a field of this server, so it cannot be dropped.
        let _ = applied.wait_for(|applied| *applied >= generation).await;
    }
}

impl ServerShared {
    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock()
    }

    /// Returns the address on the host for a port of the device.
    fn address_of(&self, device_port: u16) -> SocketAddr {
        if device_port == self.first_port {
            self.scenario_address
        } else {
            SocketAddr::new(self.scenario_address.ip(), device_port)
        }
    }

    /// Returns the address on the host for the device's port in force.
    fn desired_address(&self) -> SocketAddr {
        self.address_of(self.parts.device.view().config.settings.services.modbus.port)
    }

    /// Changes the state, notifies subscribers if it differs, and records if the listener opened or
    /// closed.
    fn update_state(&self, change: impl FnOnce(&mut ListenState)) {
        let mut switched = None;
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            switched = Some(state.listening).filter(|listening| *listening != before.listening);
            *state != before
        });
        if let Some(listening) = switched {
            let device = self.parts.device.identity().id.shared();
            self.parts.journal.record(Event::DeviceModbusListening { device, listening });
        }
    }

    fn close_scenario_port(&self) {
        let mut port = self.port();
        if self.reserves_port {
            port.close();
        } else {
            port.release();
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
