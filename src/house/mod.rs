//! A house: builds everything a scenario describes, starts it, takes it back to its start, ends it.

mod device_runtime;
mod persistence;
mod pairing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use self::device_runtime::{DeviceRuntime, PersistedState, RuntimeParts};
use self::persistence::Persister;
use crate::action_client::{ActionClient, ClientContext, TlsSetupError};
use crate::clock::{self, Clock, VirtualTime};
use crate::control::{
    self, Controls, DeviceSummary, HouseSummary, Pending, RegisterError, RegisterRange,
    SlaveSummary, TargetSummary, Token,
};
use crate::device::actions::Definition;
use crate::device::{Device, DeviceId, Resumed};
use crate::fault::{Engine, Rule};
use crate::journal::Journal;
use crate::limits;
use crate::net::http::bind_listener;
use crate::net::sockets::Port;
use crate::peers::{PeerContext, Peers, PeersError, Slave, Target};
use crate::scenario::{self, Scenario};
use crate::state::{self, Continuation, HouseState, StateDir, StateError};
#[cfg(feature = "mdns")]
use crate::surface::mdns;
use crate::tasks::Tasks;

/// A running house. It ends when this is dropped; [`House::stop`] also waits until its ports are
/// free again.
pub struct House {
    core: Arc<HouseCore>,
    control: control::ControlServer,
    addresses: Addresses,
    /// Sets off the clock's timers, and carries out resets.
    tasks: Tasks,
}

/// Why a house did not start. Nothing is left behind: no listener, no task.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener of the house itself cannot be bound.
    #[error(
        "{who} cannot listen on {address}: {source}; free the port, or give another (--any-port takes free ones)"
    )]
    Bind {
        /// Whose listener.
        who: String,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A slave or a target cannot be built.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The actions get no TLS configuration.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The control plane needs a token, and the system gives no random bytes.
    #[error("no token for the control plane: {0}")]
    Token(io::Error),
}

/// Where everything of a house listens: what the ready file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The control plane's URL.
    pub control: String,
    /// The token that the control plane asks for, where others than this machine reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What the house's randomness comes from.
    pub seed: u64,
    /// The devices.
    pub devices: Vec<DeviceAddress>,
    /// The slaves, by name.
    pub slaves: BTreeMap<String, SocketAddr>,
    /// The URLs of the HTTP targets, by name.
    pub http_targets: BTreeMap<String, String>,
}

/// Where a device listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceAddress {
    /// Its id.
    pub id: String,
    /// The URL of its API.
    pub http: String,
    /// Where its own Modbus server listens, or will once the device's settings switch it on.
    pub modbus: SocketAddr,
}

/// What a house consists of. The control plane holds it too, but not the other way round, so that a
/// dropped house goes as a whole.
struct HouseCore {
    scenario: Scenario,
    clock: Clock,
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    devices: Vec<Arc<DeviceRuntime>>,
    peers: Peers,
    actions: ActionClient,
    /// Keeps the state directory, where there is one.
    keeper: Option<Persister>,
    #[cfg(feature = "mdns")]
    announcer: Arc<mdns::Announcer>,
    /// Counts the resets.
    epoch: AtomicU64,
    /// One reset at a time.
    resetting: Mutex<()>,
    /// Whether the house is told to end.
    ending: watch::Sender<bool>,
}

/// The house's own listeners, bound before anything is served.
struct Bound {
    control: TcpListener,
    devices: Vec<Port>,
}

impl House {
    /// Builds and starts a house. When this returns, every listener is bound and every rule of the
    /// scenario in force.
    ///
    /// # Errors
    /// [`StartError`], with nothing left behind.
    pub async fn start(scenario: Scenario) -> Result<Self, StartError> {
        let (dir, going_on) = open_state(&scenario).await?;
        let Bound { control, devices } = Bound::bind(&scenario)?;
        let token = token(&control)?;
        let core = HouseCore::start(scenario, devices, dir, going_on).await?;
        let tasks = Tasks::default();
        tasks.spawn({
            let clock = core.clock.clone();
            async move { clock.drive().await }
        });
        let mut addresses = core.addresses();
        addresses.token = token.as_ref().map(|token| token.as_str().to_owned());
        let control = match control::ControlServer::start(control, core.clone(), token) {
            Ok(control) => control,
            Err(source) => {
                tasks.abort_all().await;
                core.close().await;
                return Err(core.no_control(source));
            }
        };
        addresses.control = url(control.address());
        Ok(Self { core, control, addresses, tasks })
    }

    /// Where everything listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What the scenario calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.scenario.name
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.core.clock
    }

    /// Its log of decisions.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.core.journal
    }

    /// Its fault engine. A rule that closes a slave's listener is in force a moment after it was
    /// added here; the control plane waits for that.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.core.engine
    }

    /// Its devices, in the order of the scenario; at least one.
    pub fn devices(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.core.devices.iter().map(|gateway| &gateway.device)
    }

    /// A slave, by name.
    #[must_use]
    pub fn slave(&self, name: &str) -> Option<&Arc<Slave>> {
        self.core.peers.slave(name)
    }

    /// A target, by name.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.core.peers.target(name)
    }

    /// Takes the house back to its start: connections drop, what is under way ends without a trace,
    /// registers, definitions, rules, counters, journal and clock begin anew. Listeners stay. A
    /// reset once begun goes on to its end, also where the caller gives up waiting.
    pub async fn reset(&self) {
        self.tasks.run_to_completion(Arc::clone(&self.core).reset()).await;
    }

    /// Ends the house, and returns when all its ports are free again and all that is kept of it is
    /// written.
    pub async fn stop(self) {
        self.end().await;
        self.close(true).await;
    }

    /// The same for a process that is to end soon: connections and tasks get `grace` of real time, and
    /// may go on after it until the process ends; what is kept is written then, after a reset that is
    /// under way.
    pub async fn stop_within(self, grace: Duration) {
        // What does not end by then ends with the process.
        let ended = tokio::time::timeout(grace, self.end()).await;
        self.close(ended.is_ok()).await;
    }

    async fn end(&self) {
        let Self { core, control, tasks, .. } = self;
        control.hang_up().await;
        // A reset that has begun goes on to its end; one that still waits, and others, are given up.
        core.ending.send_replace(true);
        let _no_reset = core.resetting.lock().await;
        control.end_resets().await;
        tasks.abort_all().await;
        core.close().await;
    }

    async fn close(&self, ended: bool) {
        let Some(keeper) = &self.core.keeper else { return };
        // Half a reset is not to be written down.
        let _no_reset = self.core.resetting.lock().await;
        keeper.close(ended).await;
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = &self.addresses;
        f.debug_struct("House").field("addresses", addresses).finish_non_exhaustive()
    }
}

impl Bound {
    fn bind(scenario: &Scenario) -> Result<Self, StartError> {
        let control = listener("the control plane", scenario.control)?;
        let mut devices = Vec::with_capacity(scenario.devices.len());
        for plan in &scenario.devices {
            let port = Port::bind(plan.http, limits::HTTP_BACKLOG);
            devices.push(port.map_err(|source| {
                let who = format!("device {}", plan.identity.id);
                StartError::Bind { who, address: plan.http, source }
            })?);
        }
        Ok(Self { control, devices })
    }
}

/// The state directory of a house, and where it goes on from.
async fn open_state(
    scenario: &Scenario,
) -> Result<(Option<Arc<StateDir>>, Continuation), StateError> {
    let Some(root) = scenario.state_dir.clone() else { return Ok((None, Continuation::default())) };
    let (scenario, dir) = (scenario.clone(), root.display().to_string());
    let opened = tokio::task::spawn_blocking(move || {
        let dir = StateDir::open(&root)?;
        let going_on = dir.load(&scenario)?;
        Ok((Some(Arc::new(dir)), going_on))
    });
    opened.await.unwrap_or_else(|error| {
        Err(StateError::Io { dir, source: io::Error::other(error.to_string()) })
    })
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
    Peers::bind(&scenario.slaves, &scenario.http_targets, context)
}

/// Creates the client that sends the devices' actions to these peers.
fn action_client(
    scenario: &Scenario,
    clock: &Clock,
    engine: &Arc<Engine>,
    journal: &Arc<Journal>,
    peers: &Peers,
) -> Result<ActionClient, TlsSetupError> {
    ActionClient::new(ClientContext {
        clock: clock.clone(),
        engine: Arc::clone(engine),
        journal: Arc::clone(journal),
        peers: peers.peer_list().to_vec(),
        policy: scenario.outbound,
        brokers: scenario.mqtt_brokers.clone(),
        connections: peers.connections().clone(),
        roots: peers.roots().to_vec(),
    })
}

/// The devices, each on its port, from where it was where it goes on. Where one cannot start, all
/// that has is closed again.
async fn start_devices(
    scenario: &Scenario,
    listening: Vec<Port>,
    dir: Option<&StateDir>,
    mut resumed: HashMap<DeviceId, Resumed>,
    parts: &RuntimeParts<'_>,
) -> Result<Vec<Arc<DeviceRuntime>>, StartError> {
    let mut started = Vec::with_capacity(listening.len());
    for (plan, port) in scenario.devices.iter().zip(listening) {
        let id = &plan.identity.id;
        let kept =
            PersistedState { resumed: resumed.remove(id), sd_dir: dir.map(|dir| dir.sd_card(id)) };
        match DeviceRuntime::start(plan, kept, port, parts) {
            Ok(gateway) => started.push(gateway),
            Err(error) => {
                close_devices(&started).await;
                parts.peers.close().await;
                return Err(error);
            }
        }
    }
    Ok(started)
}

async fn close_devices(devices: &[Arc<DeviceRuntime>]) {
    let mut closing = JoinSet::new();
    for gateway in devices {
        let gateway = Arc::clone(gateway);
        closing.spawn(async move { gateway.close().await });
    }
    while closing.join_next().await.is_some() {}
}

fn listener(who: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    bind_listener(address).map_err(|source| StartError::Bind {
        who: who.to_owned(),
        address,
        source,
    })
}

/// A token where others than this machine reach the control plane.
fn token(control: &TcpListener) -> Result<Option<Token>, StartError> {
    let loopback = control.local_addr().is_ok_and(|own| own.ip().to_canonical().is_loopback());
    if loopback { Ok(None) } else { Token::random().map(Some).map_err(StartError::Token) }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

impl HouseCore {
    /// All of a house but its control plane and what drives its clock.
    async fn start(
        scenario: Scenario,
        listening: Vec<Port>,
        dir: Option<Arc<StateDir>>,
        going_on: Continuation,
    ) -> Result<Arc<Self>, StartError> {
        let Continuation { start, at, devices: resumed } = going_on;
        let start = start.or(scenario.start).unwrap_or_else(clock::real_time);
        let clock = Clock::resume(start, scenario.speed, at);
        if dir.is_some() {
            // Until the first write, nobody is to see a later time than what is kept.
            clock.set_limit(at);
        }
        let journal = Arc::new(Journal::new(clock.clone()));
        let rules = scenario.faults.clone();
        let engine = Engine::new(scenario.seed, clock.clone(), Arc::clone(&journal), rules);
        let engine = Arc::new(engine);
        let peers = bind_peers(&scenario, &clock, &engine, &journal)?;
        let actions = action_client(&scenario, &clock, &engine, &journal, &peers)?;
        peers.start().await;
        #[cfg(not(feature = "mdns"))]
        if scenario.mdns == scenario::Mdns::Loopback {
            tracing::warn!("this build announces nothing: it was made without the feature `mdns`");
        }
        #[cfg(feature = "mdns")]
        let announcer = mdns::Announcer::new(scenario.mdns);
        let parts = RuntimeParts {
            seed: scenario.seed,
            clock: &clock,
            engine: &engine,
            journal: &journal,
            peers: &peers,
            actions: &actions,
            #[cfg(feature = "mdns")]
            announcer: &announcer,
        };
        let devices = start_devices(&scenario, listening, dir.as_deref(), resumed, &parts).await;
        let mut core = Self {
            devices: devices?,
            keeper: None,
            epoch: AtomicU64::new(0),
            resetting: Mutex::new(()),
            ending: watch::Sender::new(false),
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
            core.keeper = Some(core.keep(dir, start, at).await);
        }
        Ok(Arc::new(core))
    }

    /// Keeps the house from now on, as it was at `at`.
    async fn keep(&self, dir: Arc<StateDir>, start: Timestamp, at: VirtualTime) -> Persister {
        let (seed, devices) = (self.scenario.seed, state::ids(&self.scenario));
        let house = HouseState { seed, start, devices, at: at.as_nanos() };
        let devices = self.devices.iter().map(|gateway| Arc::clone(&gateway.device));
        Persister::start(dir, house, &self.clock, &self.journal, devices).await
    }

    /// Where everything but the control plane listens.
    fn addresses(&self) -> Addresses {
        let devices = self.devices.iter().map(|gateway| DeviceAddress {
            id: gateway.device.identity().id.to_string(),
            http: url(gateway.http.address()),
            modbus: gateway.modbus.address(),
        });
        let slaves = self.peers.slaves().map(|slave| (slave.name().to_owned(), slave.address()));
        let targets = self.peers.targets().map(|target| (target.name().to_owned(), target.url()));
        Addresses {
            control: String::new(),
            token: None,
            seed: self.scenario.seed,
            devices: devices.collect(),
            slaves: slaves.collect(),
            http_targets: targets.collect(),
        }
    }

    fn no_control(&self, source: io::Error) -> StartError {
        let address = self.scenario.control;
        StartError::Bind { who: "the control plane".to_owned(), address, source }
    }

    /// Ends all that listens but the control plane, and returns when its ports are free.
    async fn close(&self) {
        close_devices(&self.devices).await;
        self.actions.stop().await;
        self.peers.close().await;
        #[cfg(feature = "mdns")]
        self.announcer.close().await;
    }

    async fn reset(self: Arc<Self>) {
        let _one_at_a_time = self.resetting.lock().await;
        // What clients see of the house first, then what carries their calls out. Who connects
        // meanwhile waits for the new beginning.
        let mut paused = Vec::with_capacity(self.devices.len());
        for gateway in &self.devices {
            paused.push(gateway.pause().await);
        }
        self.actions.stop().await;
        paused.extend(self.peers.stop().await);
        // A movement may take its time.
        let mut ending = self.ending.subscribe();
        let still = tokio::select! {
            biased;
            _ = ending.wait_for(|ending| *ending) => return,
            still = self.clock.lock_movement() => still,
        };
        // From here until all of it is at its start, nothing is written down; cards are emptied.
        let kept = match &self.keeper {
            Some(keeper) => Some((keeper, keeper.pause().await)),
            None => None,
        };
        if kept.is_some() {
            self.clock.set_limit(VirtualTime::ZERO);
        }
        still.reset(self.scenario.speed);
        for gateway in &self.devices {
            gateway.reset().await;
        }
        if let Some((keeper, paused)) = kept {
            keeper.restart(paused).await;
        }
        self.engine.replace(self.scenario.faults.clone());
        self.journal.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.peers.start().await;
        for gateway in &self.devices {
            gateway.begin();
        }
        drop(still);
    }
}

impl Controls for HouseCore {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn summary(&self) -> HouseSummary {
        HouseSummary {
            name: self.scenario.name.clone(),
            seed: self.scenario.seed,
            epoch: self.epoch.load(Ordering::Acquire),
            devices: self.devices.iter().map(show_device).collect(),
            slaves: self.peers.slaves().map(|slave| self.show_slave(slave)).collect(),
            http_targets: self.peers.targets().map(|target| self.show_target(target)).collect(),
        }
    }

    fn scenario(&self) -> &str {
        &self.scenario.source
    }

    fn peek(&self, at: &RegisterRange, count: u16) -> Result<Vec<u16>, RegisterError> {
        let slave = self.slave_with(at)?;
        slave.peek(at.unit, at.table, at.address, count).ok_or(RegisterError::NoRegister)
    }

    fn poke(&self, at: &RegisterRange, values: &[u16]) -> Result<(), RegisterError> {
        let slave = self.slave_with(at)?;
        let count = u16::try_from(values.len()).map_err(|_| RegisterError::NoRegister)?;
        if slave.peek(at.unit, at.table, at.address, count).is_none() {
            return Err(RegisterError::NoRegister);
        }
        slave
            .poke(at.unit, at.table, at.address, values)
            .map_err(|error| RegisterError::Refused(error.to_string()))
    }

    fn requests(&self, target: &str) -> Option<Vec<Value>> {
        let received = self.peers.target(target)?.received_requests();
        // Texts and numbers always have a JSON form.
        Some(received.iter().filter_map(|request| serde_json::to_value(request).ok()).collect())
    }

    fn forget_requests(&self, target: &str) -> bool {
        self.peers.target(target).map(|target| target.clear_received()).is_some()
    }

    fn parse_rule(&self, rule: &Value) -> Result<Rule, Vec<String>> {
        // Rules may name the actions that the devices have now.
        let mut house = self.scenario.clone();
        for (plan, gateway) in house.devices.iter_mut().zip(&self.devices) {
            plan.actions = gateway.device.definition();
        }
        scenario::rule_from_json(rule, &house, &self.free_rule_id())
    }

    fn show_rule(&self, rule: &Rule) -> Value {
        scenario::rule_to_json(rule)
    }

    fn parse_duration(&self, text: &str) -> Result<Duration, String> {
        scenario::parse_duration(text)
    }

    fn follows(&self, generation: u64) -> Pending<'_, ()> {
        Box::pin(async move {
            self.peers.wait_applied(generation).await;
            for gateway in &self.devices {
                gateway.modbus.applied(generation).await;
            }
        })
    }

    fn reset(self: Arc<Self>) -> Pending<'static, ()> {
        Box::pin(self.reset())
    }
}

impl HouseCore {
    /// `fault-1`, or the next of its kind that no rule has.
    fn free_rule_id(&self) -> String {
        let ids: HashSet<Arc<str>> =
            self.engine.list().into_iter().map(|status| status.rule.id).collect();
        let names = (1..).map(|n| format!("fault-{n}"));
        // There are fewer rules than numbers.
        names.into_iter().find(|name| !ids.contains(name.as_str())).unwrap_or_default()
    }

    fn slave_with(&self, at: &RegisterRange) -> Result<&Arc<Slave>, RegisterError> {
        let slave = self.peers.slave(&at.slave).ok_or(RegisterError::NoSlave)?;
        if slave.units().any(|unit| unit == at.unit) {
            Ok(slave)
        } else {
            Err(RegisterError::NoUnit)
        }
    }

    fn show_slave(&self, slave: &Slave) -> SlaveSummary {
        SlaveSummary {
            name: slave.name().to_owned(),
            address: slave.address(),
            hosts: self.hosts(slave.name(), slave.address()),
            units: slave.units().collect(),
            listening: slave.is_listening(),
        }
    }

    fn show_target(&self, target: &Target) -> TargetSummary {
        TargetSummary {
            name: target.name().to_owned(),
            address: target.address(),
            hosts: self.hosts(target.name(), target.address()),
            requests: target.received_count(),
        }
    }

    /// What actions know a slave or target by. No two share an address.
    fn hosts(&self, name: &str, address: SocketAddr) -> Vec<String> {
        let peers = self.peers.peer_list().iter();
        let peer = peers.filter(|peer| peer.address == address).find(|peer| peer.name == name);
        peer.map(|peer| peer.hosts.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }
}

fn show_device(gateway: &Arc<DeviceRuntime>) -> DeviceSummary {
    let DeviceRuntime { device, http, .. } = &**gateway;
    let identity = device.identity();
    let ids = |definition: &Definition| {
        definition.actions().iter().map(|action| action.id.to_string()).collect()
    };
    DeviceSummary {
        id: identity.id.to_string(),
        firmware: device.view().firmware.to_string(),
        license: identity.license.name(),
        http: http.address(),
        modbus: gateway.modbus.summary(),
        in_progress: device.in_progress(),
        actions: device.definition().map(|definition| ids(&definition)),
        #[cfg(feature = "mqtt")]
        mqtt: gateway.mqtt.status(),
    }
}
