//! The core of a house: its devices, peers, clock, fault engine and journal, built from a scenario.
//!
//! [`HouseCore`] is all of a house but its control plane and its clock driver. The control plane
//! operates on it; [`crate::house::House`] owns both.

pub(crate) mod descriptors;
mod device_runtime;
mod error;
mod fleet_life;
mod persistence;
mod services;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch};
use tokio::task::JoinSet;

pub(crate) use self::device_runtime::DeviceRuntime;
use self::device_runtime::{ApiPort, PersistedState, RuntimeParts};
pub use self::error::StartError;
use self::fleet_life::FleetLife;
use self::persistence::Persister;
use crate::action_client::{ActionClient, ClientContext, TlsSetupError};
use crate::clock::{self, Clock, VirtualTime};
use crate::device::{DeviceId, ResumePoint};
use crate::fault::{Engine, Rule};
use crate::journal::Journal;
use crate::limits;
use crate::net::sockets::Port;
use crate::peers::{PeerContext, Peers, PeersError};
use crate::problem::Problem;
#[cfg(not(feature = "mdns"))]
use crate::scenario::Mdns;
use crate::scenario::{self, DevicePlan, FleetListen, RouteBy, Scenario};
use crate::state::{self, Continuation, HouseState, StateDir, StateError};
use crate::surface::http::SharedPort;
#[cfg(feature = "mdns")]
use crate::surface::mdns;
#[cfg(feature = "mqtt")]
use crate::surface::mqtt::ConnectSpread;

/// The devices of a house, the peers that their actions reach, and what they share: clock, fault
/// engine and journal.
///
/// The control plane holds the core, and the core does not hold the control plane, so that dropping
/// a house drops all of it.
pub(crate) struct HouseCore {
    scenario: Scenario,
    clock: Clock,
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    devices: Vec<Arc<DeviceRuntime>>,
    /// The ramp and the stages of the fleet. `None` if it has neither.
    fleet_life: Option<FleetLife>,
    /// The port that the devices of the fleet share. `None` if they share none.
    shared_port: Option<SharedPort>,
    peers: Peers,
    actions: ActionClient,
    /// Writes the state directory. `None` if the house has none.
    persister: Option<Persister>,
    #[cfg(feature = "mdns")]
    announcer: Arc<mdns::Announcer>,
    /// The number of resets so far.
    epoch: AtomicU64,
    /// Held for writing by a reset, so that there is one at a time, and for reading by whatever a reset has to
    /// wait for.
    reset_lock: RwLock<()>,
    /// True once the house is stopping.
    stopping: watch::Sender<bool>,
}

/// The state directory of a house, locked, and the state that was read from it.
#[derive(Debug, Default)]
pub(crate) struct OpenedState {
    dir: Option<Arc<StateDir>>,
    continuation: Continuation,
}

impl OpenedState {
    /// Opens and reads the state directory of a scenario; empty if the scenario names none.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the directory cannot be used.
    pub(crate) async fn open(scenario: &Scenario) -> Result<Self, StateError> {
        let Some(root) = scenario.state_dir.clone() else { return Ok(Self::default()) };
        let (scenario, dir) = (scenario.clone(), root.display().to_string());
        let opened = tokio::task::spawn_blocking(move || {
            let dir = StateDir::open(&root)?;
            let continuation = dir.load(&scenario)?;
            Ok(Self { dir: Some(Arc::new(dir)), continuation })
        });
        opened.await.unwrap_or_else(|error| {
            Err(StateError::Io { dir, source: io::Error::other(error.to_string()) })
        })
    }
}

impl HouseCore {
    /// Builds and starts a house without its control plane, which listens on `control`. When this returns,
    /// every listener is bound and every rule of the scenario is in force.
    ///
    /// # Errors
    /// Returns a [`StartError`]; nothing is left behind.
    pub(crate) async fn start(
        scenario: Scenario,
        state: OpenedState,
        control: Option<SocketAddr>,
    ) -> Result<Arc<Self>, StartError> {
        descriptors::check(&scenario)?;
        let device_ports = bind_devices(&scenario)?;
        let shared = bind_shared_port(&scenario)?;
        let OpenedState { dir, continuation } = state;
        let Continuation { start, at, devices: resumed } = continuation;
        let start = start.or(scenario.start).unwrap_or_else(clock::real_time);
        let clock = Clock::resume(start, scenario.speed, at);
        if dir.is_some() {
            // Until the first write, no client may see a later time than the one on disk.
            clock.set_limit(at);
        }
        let journal = Arc::new(Journal::new(clock.clone()));
        let rules = scenario.faults.clone();
        let engine = Engine::new(scenario.seed, clock.clone(), Arc::clone(&journal), rules);
        let engine = Arc::new(engine);
        let peers = bind_peers(&scenario, &clock, &engine, &journal)?;
        let actions = action_client(&scenario, &clock, &engine, &journal, &peers, control)?;
        peers.start().await;
        #[cfg(not(feature = "mdns"))]
        if scenario.mdns == Mdns::Loopback {
            tracing::warn!("this build announces nothing: it was made without the feature `mdns`");
        }
        #[cfg(feature = "mdns")]
        let announcer = mdns::Announcer::new(scenario.mdns);
        let shared_port = shared.map(|(port, route_by)| {
            let connections = descriptors::for_shared_port(&scenario);
            SharedPort::new(port, route_by, connections, clock.clone())
        });
        let parts = RuntimeParts {
            seed: scenario.seed,
            clock: &clock,
            engine: &engine,
            journal: &journal,
            peers: &peers,
            actions: &actions,
            #[cfg(feature = "mqtt")]
            mqtt_spread: mqtt_spread(&scenario),
            shared_port: shared_port.as_ref(),
            #[cfg(feature = "mdns")]
            announcer: &announcer,
        };
        let devices =
            start_devices(&scenario, device_ports, dir.as_deref(), resumed, &parts).await?;
        let all = devices.iter().map(|runtime| Arc::clone(&runtime.device));
        let fleet_life = FleetLife::new(&scenario, &clock, all);
        open_shared_port(shared_port.as_ref(), &devices, &peers).await?;
        let mut core = Self {
            fleet_life,
            devices,
            shared_port,
            persister: None,
            epoch: AtomicU64::new(0),
            reset_lock: RwLock::new(()),
            stopping: watch::Sender::new(false),
            scenario,
            clock,
            engine,
            journal,
            peers,
            actions,
            #[cfg(feature = "mdns")]
            announcer,
        };
        if let Some(dir) = dir {
            core.persister = Some(core.start_persister(dir, start, at).await);
        }
        if let Some(life) = &core.fleet_life {
            life.begin();
        }
        Ok(Arc::new(core))
    }

    /// Persists the house from now on; the first write says that it is at `at`.
    async fn start_persister(
        &self,
        dir: Arc<StateDir>,
        start: Timestamp,
        at: VirtualTime,
    ) -> Persister {
        let (seed, devices) = (self.scenario.seed, state::device_ids(&self.scenario));
        let house = HouseState { seed, start, devices, at: at.as_nanos() };
        let devices = self.devices.iter().map(|runtime| Arc::clone(&runtime.device));
        Persister::start(dir, house, &self.clock, &self.journal, devices).await
    }

    /// The scenario that the house was built from.
    pub(crate) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The fault engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The journal.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The devices, in the order of the scenario.
    pub(crate) fn devices(&self) -> &[Arc<DeviceRuntime>] {
        &self.devices
    }

    /// The slaves and HTTP targets.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Returns the number of resets so far.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Parses a rule as written in scenarios. A rule without an id gets `default_id`.
    pub(crate) fn parse_rule(&self, rule: &Value, default_id: &str) -> Result<Rule, Vec<Problem>> {
        // A rule may name the actions that the devices have now, not those of the scenario.
        let actions: Vec<_> =
            self.devices().iter().map(|runtime| runtime.device.definition()).collect();
        scenario::rule_from_json(rule, self.scenario(), &actions, default_id)
    }

    /// Waits until every listener follows the rules of this generation of the engine or of a later
    /// one. The MQTT clients are not waited for: a broker that refuses is none of the house's listeners.
    pub(crate) async fn wait_rules_applied(&self, generation: u64) {
        self.peers.wait_rules_applied(generation).await;
        for runtime in &self.devices {
            runtime.modbus.wait_rules_applied(generation).await;
        }
    }

    /// Takes the house back to its start: listeners stay, and so do connections that wait for their next
    /// request; work in flight ends without a trace, with its connections; clock and counters begin anew.
    ///
    /// The caller must run this to completion: a house must not be left half reset.
    pub(crate) async fn reset(self: Arc<Self>) {
        let _one_at_a_time = self.reset_lock.write().await;
        // The surfaces first, then the client that carries out their calls. A request or a client that comes
        // meanwhile waits until the reset is done.
        if let Some(life) = &self.fleet_life {
            life.end().await;
        }
        let mut paused = Vec::with_capacity(1 + 2 * self.devices.len());
        if let Some(shared_port) = &self.shared_port {
            paused.push(shared_port.pause().await);
        }
        for runtime in &self.devices {
            paused.extend(runtime.pause().await);
        }
        for runtime in &self.devices {
            runtime.device.forget_requests();
        }
        self.actions.abort_all().await;
        paused.extend(self.peers.pause().await);
        // A movement of the clock may take long; a house that is stopping does not wait for it.
        let mut stopping = self.stopping.subscribe();
        let movement = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            movement = self.clock.lock_movement() => movement,
        };
        // Nothing is persisted until all of the house is at its start; SD cards are emptied.
        let persistence = match &self.persister {
            Some(persister) => Some((persister, persister.pause().await)),
            None => None,
        };
        if persistence.is_some() {
            self.clock.set_limit(VirtualTime::ZERO);
        }
        movement.reset(self.scenario.speed);
        // The control plane may have set registers until now.
        self.peers.reset_contents();
        for runtime in &self.devices {
            runtime.reset().await;
        }
        // Armed before the clock may run on, so that the windows of the rules begin with it.
        self.engine.replace(self.scenario.faults.clone());
        self.journal.clear();
        if let Some((persister, pause)) = persistence {
            persister.resume(pause).await;
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.peers.start().await;
        for runtime in &self.devices {
            runtime.begin();
        }
        if let Some(life) = &self.fleet_life {
            life.begin();
        }
        drop(movement);
    }

    /// Waits until no reset is in progress or waiting. None begins while the returned guard lives.
    pub(crate) async fn delay_resets(&self) -> RwLockReadGuard<'_, ()> {
        self.reset_lock.read().await
    }

    /// Makes a reset that waits for the clock give up, and returns once none is in progress. None
    /// can begin while the returned guard lives.
    pub(crate) async fn forbid_resets(&self) -> RwLockWriteGuard<'_, ()> {
        self.stopping.send_replace(true);
        self.reset_lock.write().await
    }

    /// Closes every listener but that of the control plane, and returns when the ports are free.
    pub(crate) async fn close(&self) {
        if let Some(life) = &self.fleet_life {
            life.end().await;
        }
        if let Some(shared_port) = &self.shared_port {
            shared_port.release().await;
        }
        close_devices(&self.devices).await;
        self.actions.abort_all().await;
        self.peers.shutdown().await;
        #[cfg(feature = "mdns")]
        self.announcer.close().await;
    }

    /// Writes the state directory for the last time. `closed` tells that no client can call a device
    /// any more.
    pub(crate) async fn persist_finally(&self, closed: bool) {
        let Some(persister) = &self.persister else { return };
        // Half a reset must not be persisted.
        let _no_reset = self.reset_lock.write().await;
        persister.close(closed).await;
    }
}

/// Binds the port of each device's API, unless it shares one.
fn bind_devices(scenario: &Scenario) -> Result<Vec<Port>, StartError> {
    let bind = |plan: &DevicePlan| {
        if shares_port(scenario, plan) {
            return Ok(Port::unbound(plan.http));
        }
        Port::bind(plan.http, limits::HTTP_BACKLOG).map_err(|source| {
            let owner = format!("device {}", plan.identity.id);
            StartError::Bind { owner, address: plan.http, source }
        })
    };
    scenario.devices.iter().map(bind).collect()
}

/// Returns the address of the port that the devices of the fleet share, and how requests name them.
fn shared_address(scenario: &Scenario) -> Option<(SocketAddr, RouteBy)> {
    match scenario.fleet.as_ref()?.listen {
        FleetListen::Shared { address, route_by } => Some((address, route_by)),
        FleetListen::Ports | FleetListen::Addresses => None,
    }
}

/// Returns true if the API of a device is behind the port that the devices of the fleet share.
fn shares_port(scenario: &Scenario, plan: &DevicePlan) -> bool {
    plan.fleet_index.is_some() && shared_address(scenario).is_some()
}

/// Binds the port that the devices of the fleet share.
fn bind_shared_port(scenario: &Scenario) -> Result<Option<(Port, RouteBy)>, StartError> {
    let Some((address, route_by)) = shared_address(scenario) else { return Ok(None) };
    let port = Port::bind(address, limits::HTTP_BACKLOG).map_err(|source| StartError::Bind {
        owner: "the fleet".to_owned(),
        address,
        source,
    })?;
    Ok(Some((port, route_by)))
}

/// Lets clients in, once all devices are there. If that fails, everything is closed again.
async fn open_shared_port(
    shared_port: Option<&SharedPort>,
    devices: &[Arc<DeviceRuntime>],
    peers: &Peers,
) -> Result<(), StartError> {
    let Some(shared_port) = shared_port else { return Ok(()) };
    let Err(source) = shared_port.open() else { return Ok(()) };
    close_devices(devices).await;
    peers.shutdown().await;
    let address = shared_port.address();
    Err(StartError::Bind { owner: "the fleet".to_owned(), address, source })
}

/// Returns how the MQTT clients of the fleet spread their connections.
#[cfg(feature = "mqtt")]
fn mqtt_spread(scenario: &Scenario) -> ConnectSpread {
    let devices = scenario.fleet.as_ref().map_or(0, |fleet| fleet.count);
    ConnectSpread { seed: scenario.seed, within: limits::MQTT_SPREAD * devices }
}

/// Binds the slaves and targets; they are not served yet.
fn bind_peers(
    scenario: &Scenario,
    clock: &Clock,
    engine: &Arc<Engine>,
    journal: &Arc<Journal>,
) -> Result<Peers, PeersError> {
    let context = PeerContext {
        clock: clock.clone(),
        engine: Arc::clone(engine),
        journal: Arc::clone(journal),
        seed: scenario.seed,
    };
    Peers::bind(&scenario.slaves, &scenario.http_targets, &context)
}

/// Creates the client that sends the devices' actions to these peers.
fn action_client(
    scenario: &Scenario,
    clock: &Clock,
    engine: &Arc<Engine>,
    journal: &Arc<Journal>,
    peers: &Peers,
    control: Option<SocketAddr>,
) -> Result<ActionClient, TlsSetupError> {
    ActionClient::new(ClientContext {
        clock: clock.clone(),
        engine: Arc::clone(engine),
        journal: Arc::clone(journal),
        peers: peers.peer_addresses().to_vec(),
        policy: scenario.outbound,
        control,
        brokers: scenario.mqtt_brokers.clone(),
        connection_registry: peers.connection_registry().clone(),
        root_certificates: peers.root_certificates().to_vec(),
    })
}

/// Starts each device on its port, from its resumed state if there is one. If one cannot start,
/// those that have started are closed again.
async fn start_devices(
    scenario: &Scenario,
    device_ports: Vec<Port>,
    dir: Option<&StateDir>,
    mut resumed: HashMap<DeviceId, ResumePoint>,
    parts: &RuntimeParts<'_>,
) -> Result<Vec<Arc<DeviceRuntime>>, StartError> {
    let mut started = Vec::with_capacity(device_ports.len());
    for (plan, port) in scenario.devices.iter().zip(device_ports) {
        let api_port = match parts.shared_port {
            Some(shared) if shares_port(scenario, plan) => ApiPort::Shared(shared),
            _ => ApiPort::Own(port),
        };
        let id = &plan.identity.id;
        let persisted = PersistedState {
            resumed: resumed.remove(id),
            sd_folder: dir.map(|dir| dir.sd_card(id)),
        };
        match DeviceRuntime::start(plan, persisted, api_port, parts) {
            Ok(runtime) => started.push(runtime),
            Err(error) => {
                close_devices(&started).await;
                parts.peers.shutdown().await;
                return Err(error);
            }
        }
    }
    Ok(started)
}

async fn close_devices(devices: &[Arc<DeviceRuntime>]) {
    let mut closing = JoinSet::new();
    for runtime in devices {
        let runtime = Arc::clone(runtime);
        closing.spawn(async move { runtime.close().await });
    }
    while closing.join_next().await.is_some() {}
}
