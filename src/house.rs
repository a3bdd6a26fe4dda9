//! A running house: the core that a scenario describes, its control plane and its clock driver.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::control::{ControlServer, ControlStartError};
use crate::device::Device;
use crate::fault::Engine;
use crate::journal::Journal;
use crate::net::http::bind_listener;
use crate::peers::{Slave, Target};
pub use crate::runtime::StartError;
use crate::runtime::{HouseCore, OpenedState};
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
}

/// The addresses of all listeners of a house, as the ready file contains them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The URL of the control plane.
    pub control: String,
    /// The token that the control plane requires. `None` if only this machine can reach it.
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
pub struct DeviceAddress {
    /// The id of the device.
    pub id: String,
    /// The URL of its API.
    pub http: String,
    /// The address of its Modbus server, which listens once the device's settings switch it on.
    pub modbus: SocketAddr,
}

impl House {
    /// Builds and starts a house. When this returns, every listener is bound and every rule of the
    /// scenario is in force.
    ///
    /// # Errors
    /// Returns a [`StartError`]; nothing is left behind.
    pub async fn start(scenario: Scenario) -> Result<Self, StartError> {
        let state = OpenedState::open(&scenario).await?;
        let address = scenario.control;
        let no_control = |source| {
            let owner = "the control plane".to_owned();
            StartError::Bind { owner, address, source }
        };
        let listener = bind_listener(address).map_err(no_control)?;
        let core = HouseCore::start(scenario, state).await?;
        let tasks = Tasks::default();
        tasks.spawn({
            let clock = core.clock().clone();
            async move { clock.drive().await }
        });
        match ControlServer::start(listener, Arc::clone(&core)) {
            Ok(control) => {
                let addresses = Addresses::new(&core, &control);
                Ok(Self { core, control, addresses, tasks })
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

    /// Returns the fault engine of the house. A rule that closes a slave's listener takes effect a
    /// moment after it is added here; the control plane waits for that.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.core.engine()
    }

    /// Returns the devices, in the order of the scenario; at least one.
    pub fn devices(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.core.devices().iter().map(|runtime| &runtime.device)
    }

    /// Returns a slave by its name.
    #[must_use]
    pub fn slave(&self, name: &str) -> Option<&Arc<Slave>> {
        self.core.peers().slave(name)
    }

    /// Returns an HTTP target by its name.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.core.peers().target(name)
    }

    /// Takes the house back to its start: connections drop, work in flight ends without a trace,
    /// registers, definitions, rules, counters, journal and clock begin anew. Listeners stay. A reset
    /// that has begun runs to completion even if the caller stops waiting.
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
            http: url(runtime.http.address()),
            modbus: runtime.modbus.address(),
        });
        let peers = core.peers();
        let slaves = peers.slaves().map(|slave| (slave.name().to_owned(), slave.address()));
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
    format!("http://{address}")
}
