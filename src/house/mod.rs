//! A running house: the core that a scenario describes, its control plane and its clock driver.
//!
//! Tests begin with [`House::builder`]. They look at the house through views ([`House::device`],
//! [`House::slave`], [`House::target`]), inject faults ([`inject`]), move the clock, and wait for entries of
//! the journal ([`House::wait_for`]).

mod builder;
pub mod inject;
mod views;
mod wait;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

pub use self::builder::{BuildError, HouseBuilder};
use self::inject::{FaultRule, InjectedFault};
pub use self::views::{DeviceView, SlaveView, TargetView};
pub use self::wait::WaitTimeout;
use self::wait::excerpt;
use crate::clock::Clock;
pub use crate::control::TokenError;
use crate::control::{ControlServer, ControlStartError, Token};
use crate::device::Device;
use crate::fault::Engine;
use crate::journal::{Journal, JournalEntry};
use crate::net::http::bind_listener;
use crate::net::sockets::reachable_address;
pub use crate::runtime::StartError;
use crate::runtime::{HouseCore, OpenedState, descriptors};
use crate::scenario::Scenario;
use crate::tasks::Tasks;

/// A running house. Dropping it ends the house; [`House::stop`] also waits until its ports are free
/// again.
pub struct House {
    core: Arc<HouseCore>,
    control: ControlServer,
    addresses: Addresses,
    /// The clock driver, and resets in progress.
    tasks: Tasks,
    /// The number of faults that were injected.
    injected: AtomicU64,
}

/// The addresses of all listeners of a house, as the ready file contains them. A listener that is bound to
/// every address is named by that under which this machine reaches it, 127.0.0.1 or `[::1]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Addresses {
    /// The URL of the control plane.
    pub control: String,
    /// The token that the control plane requires. `None` if none was given and only this machine can reach
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The seed of the house's randomness.
    pub seed: u64,
    /// The devices.
    pub devices: Vec<DeviceAddress>,
    /// The addresses of the slaves, by name.
    pub slaves: BTreeMap<String, SocketAddr>,
    /// The URLs of the HTTP targets, by name.
    pub http_targets: BTreeMap<String, String>,
}

/// The addresses of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeviceAddress {
    /// The id of the device.
    pub id: String,
    /// The URL of its API; on a port that is shared by path, with the prefix of the device.
    pub http: String,
    /// The `Host` that a request needs so that it reaches the device. `None` if any will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The address of its Modbus server, which listens once the device's settings switch it on. `None` if the
    /// system chooses its port then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modbus: Option<SocketAddr>,
}

impl DeviceAddress {
    /// Returns a URL that curl and browsers take on this machine: with the host, if a request needs it.
    pub(crate) fn url_with_host(&self) -> String {
        match (&self.host, self.http.rsplit_once(':')) {
            (Some(host), Some((_, port))) => format!("http://{host}:{port}"),
            _ => self.http.clone(),
        }
    }
}

impl House {
    /// Describes a house that a test starts. Without further calls it is the built-in scenario `default`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wwsim::house::{House, inject};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let house = House::builder().manual_clock().any_port().start().await?;
    /// let fault = house.inject(inject::action("1").hold(Duration::from_secs(5)));
    /// let ids = house.device().call("1").unwrap();
    /// house.clock().advance(Duration::from_secs(4)).await.unwrap();
    /// assert_eq!(house.device().status(&ids)[0].code, -1, "in progress");
    /// house.clock().advance(Duration::from_secs(1)).await.unwrap();
    /// fault.assert_fired(1);
    /// # drop(fault);
    /// # house.stop().await;
    /// # Ok::<(), wwsim::house::BuildError>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn builder() -> HouseBuilder {
        HouseBuilder::new()
    }

    /// Builds and starts a house. When this returns, every listener is bound and every rule of the
    /// scenario is in force.
    ///
    /// # Errors
    /// Returns a [`StartError`]; nothing is left behind.
    pub async fn start(scenario: Scenario) -> Result<Self, StartError> {
        Self::start_with_token(scenario, None).await
    }

    /// Starts a house as [`House::start`] does. Clients of its control plane must send `token` if there is
    /// one.
    pub(crate) async fn start_with_token(
        scenario: Scenario,
        token: Option<Token>,
    ) -> Result<Self, StartError> {
        let needed = descriptors::needed(&scenario);
        Self::start_all(scenario, token).await.map_err(|error| error.or_descriptors(needed))
    }

    async fn start_all(scenario: Scenario, token: Option<Token>) -> Result<Self, StartError> {
        let state = OpenedState::open(&scenario).await?;
        let address = scenario.control;
        let no_control = |source| {
            let owner = "the control plane".to_owned();
            StartError::Bind { owner, address, source }
        };
        let listener = bind_listener(address).map_err(no_control)?;
        let bound = listener.local_addr().map_err(no_control)?;
        let core = HouseCore::start(scenario, state, Some(bound)).await?;
        let tasks = Tasks::default();
        tasks.spawn({
            let clock = core.clock().clone();
            async move { clock.drive().await }
        });
        match ControlServer::start(listener, Arc::clone(&core), token) {
            Ok(control) => {
                let addresses = Addresses::new(&core, &control);
                Ok(Self { core, control, addresses, tasks, injected: AtomicU64::new(0) })
            }
            Err(error) => {
                tasks.abort_all().await;
                core.close().await;
                core.persist_finally(true).await;
                Err(match error {
                    ControlStartError::Listener(source) => no_control(source),
                    ControlStartError::Token(source) => StartError::Token(source),
                })
            }
        }
    }

    /// Returns the addresses of all listeners.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns the name of the scenario.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.scenario().name
    }

    /// Returns the scenario that the house was built from.
    #[cfg(feature = "cli")]
    pub(crate) fn scenario(&self) -> &Scenario {
        self.core.scenario()
    }

    /// Returns the clock of the house.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.core.clock()
    }

    /// Returns the journal of the house.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        self.core.journal()
    }

    // For tests, benches and the command line of this package: a user cannot name the types.
    /// Returns the fault engine of the house. A rule that closes a slave's listener takes effect a
    /// moment after it is added here; the control plane waits for that.
    #[doc(hidden)]
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.core.engine()
    }

    /// Returns the devices, in the order of the scenario; at least one.
    #[doc(hidden)]
    pub fn devices(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.core.devices().iter().map(|runtime| &runtime.device)
    }

    /// Returns the first device.
    #[must_use]
    pub fn device(&self) -> DeviceView<'_> {
        // A scenario has at least one device.
        DeviceView::new(self, &self.core.devices()[0])
    }

    /// Returns the device with this id.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn device_with_id(&self, id: &str) -> DeviceView<'_> {
        let devices = self.core.devices();
        let found = devices.iter().find(|runtime| runtime.device.identity().id.as_str() == id);
        let Some(runtime) = found else {
            let ids: Vec<&str> =
                devices.iter().map(|runtime| runtime.device.identity().id.as_str()).collect();
            panic!("no device `{id}`; the house has {ids:?}")
        };
        DeviceView::new(self, runtime)
    }

    /// Returns the slave of this name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn slave(&self, name: &str) -> SlaveView<'_> {
        let Some(slave) = self.core.peers().slave(name) else {
            let names: Vec<&str> = self.core.peers().slaves().map(|slave| slave.name()).collect();
            panic!("no slave `{name}`; the house has {names:?}")
        };
        SlaveView::new(self, slave)
    }

    /// Returns the HTTP target of this name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn target(&self, name: &str) -> TargetView<'_> {
        let Some(target) = self.core.peers().target(name) else {
            let names: Vec<&str> =
                self.core.peers().targets().map(|target| target.name()).collect();
            panic!("no target `{name}`; the house has {names:?}")
        };
        TargetView::new(self, target)
    }

    /// Adds a fault, which acts from the next request on until the returned guard is dropped.
    ///
    /// # Panics
    /// If a scenario could not have the fault: it can never fire, names something that the house does not
    /// have, or has a value out of its range; or if the house has too many rules.
    #[must_use = "the fault is removed when the guard is dropped"]
    #[track_caller]
    pub fn inject(&self, fault: FaultRule) -> InjectedFault<'_> {
        let number = self.injected.fetch_add(1, Ordering::Relaxed) + 1;
        InjectedFault::new(self, format!("injected-{number}"), fault)
    }

    /// Returns the first entry of the journal that matches, or waits for it, for at most `timeout` of real
    /// time.
    ///
    /// # Errors
    /// [`WaitTimeout`], which shows the newest entries.
    pub async fn wait_for(
        &self,
        matches: impl FnMut(&JournalEntry) -> bool,
        timeout: Duration,
    ) -> Result<JournalEntry, WaitTimeout> {
        wait::wait_for(self, matches, timeout).await
    }

    /// Takes the house back to its start: registers, definitions, rules, counters, journal and clock begin
    /// anew. Listeners stay, and so do connections that wait for their next request; work in flight ends
    /// without a trace, with its connection. A reset that has begun runs to completion even if the caller
    /// stops waiting.
    pub async fn reset(&self) {
        self.tasks.run_to_completion(Arc::clone(&self.core).reset()).await;
    }

    /// Ends the house, and returns when all its ports are free again and its state is persisted.
    pub async fn stop(self) {
        self.close().await;
        self.core.persist_finally(true).await;
    }

    /// Ends the house of a process that exits soon. Connections and tasks get `grace` of real time;
    /// those that take longer end with the process. The state is persisted then, after a reset that
    /// is in progress.
    pub async fn stop_within(self, grace: Duration) {
        let closed = tokio::time::timeout(grace, self.close()).await.is_ok();
        self.core.persist_finally(closed).await;
    }

    async fn close(&self) {
        let Self { core, control, tasks, .. } = self;
        control.close().await;
        // A reset that has begun runs to completion; one that still waits is given up.
        let _no_reset = core.forbid_resets().await;
        control.abort_resets().await;
        tasks.abort_all().await;
        core.close().await;
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = &self.addresses;
        f.debug_struct("House").field("addresses", addresses).finish_non_exhaustive()
    }
}

impl Addresses {
    fn new(core: &HouseCore, control: &ControlServer) -> Self {
        let devices = core.devices().iter().map(|runtime| DeviceAddress {
            id: runtime.device.identity().id.to_string(),
            http: runtime.http.url(),
            host: runtime.http.host(),
            modbus: runtime.modbus.address().map(reachable_address),
        });
        let peers = core.peers();
        let slaves = peers
            .slaves()
            .map(|slave| (slave.name().to_owned(), reachable_address(slave.address())));
        let targets = peers.targets().map(|target| (target.name().to_owned(), target.url()));
        Self {
            control: url(control.address()),
            token: control.token().map(|token| token.as_str().to_owned()),
            seed: core.scenario().seed,
            devices: devices.collect(),
            slaves: slaves.collect(),
            http_targets: targets.collect(),
        }
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{}", reachable_address(address))
}
