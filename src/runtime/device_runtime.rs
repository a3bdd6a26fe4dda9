//! The runtime of a device: the device with its servers, its clients and its services.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::StartError;
use super::services::{ServiceTasks, Supervision};
use crate::action_client::{ActionClient, Runner};
use crate::clock::{Clock, VirtualTime};
use crate::device::sd::CardFolder;
use crate::device::{Device, Power, ResumePoint, Run, Setup};
use crate::fault::Engine;
use crate::journal::Journal;
use crate::net::gate::ClosedGate;
use crate::net::sockets::Port;
use crate::peers::Peers;
use crate::scenario::DevicePlan;
#[cfg(feature = "mdns")]
use crate::surface::mdns;
#[cfg(feature = "mqtt")]
use crate::surface::mqtt;
use crate::surface::{http, modbus};

/// The parts of a house that its devices run with.
pub(super) struct RuntimeParts<'a> {
    pub seed: u64,
    pub clock: &'a Clock,
    pub engine: &'a Arc<Engine>,
    pub journal: &'a Arc<Journal>,
    pub peers: &'a Peers,
    pub actions: &'a ActionClient,
    /// The port that the devices of the fleet share.
    pub shared_port: Option<&'a http::SharedPort>,
    /// The spread of the connections of the fleet's MQTT clients.
    #[cfg(feature = "mqtt")]
    pub mqtt_spread: mqtt::ConnectSpread,
    #[cfg(feature = "mdns")]
    pub announcer: &'a Arc<mdns::Announcer>,
}

/// The part of a device that outlived an earlier process.
#[derive(Default)]
pub(super) struct PersistedState {
    /// The point to resume from. `None` if the device starts for the first time.
    pub resumed: Option<ResumePoint>,
    /// The directory that holds the files of the SD card. `None` if they are in memory.
    pub sd_folder: Option<CardFolder>,
}

/// The port at which the clients of a device's API come in.
pub(super) enum ApiPort<'a> {
    /// A port of the device.
    Own(Port),
    /// A port that the devices of a fleet share.
    Shared(&'a http::SharedPort),
}

/// A device with its servers, clients and services.
pub(crate) struct DeviceRuntime {
    pub device: Arc<Device>,
    pub http: http::ApiServer,
    #[cfg(feature = "mqtt")]
    pub mqtt: Arc<mqtt::MqttClient>,
    pub modbus: modbus::DeviceModbusServer,
    #[cfg(feature = "mdns")]
    pub(super) announcer: Arc<mdns::Announcer>,
    pub(super) clock: Clock,
    runner: Arc<Runner>,
    /// True if the device is off at the start of the house.
    starts_off: bool,
    pub(super) services: ServiceTasks,
    pub(super) handle: Handle,
    /// This runtime, for its tasks.
    pub(super) this: Weak<Self>,
}

impl DeviceRuntime {
    /// Creates the device and starts everything that belongs to it.
    pub(super) fn start(
        plan: &DevicePlan,
        persisted: PersistedState,
        port: ApiPort<'_>,
        parts: &RuntimeParts<'_>,
    ) -> Result<Arc<Self>, StartError> {
        let is_persisted = persisted.sd_folder.is_some();
        let is_new = persisted.resumed.is_none();
        let device = Device::new(
            Setup {
                resumed: persisted.resumed,
                sd_folder: persisted.sd_folder,
                ..plan.setup(parts.seed)
            },
            parts.clock.clone(),
            Arc::clone(parts.engine),
            Arc::clone(parts.journal),
        );
        if plan.starts_off && is_new {
            device.stay_off();
        }
        if is_persisted {
            // Before the first client: its reply waits until the persister, which starts after all
            // devices, has written what it changed.
            device.set_persisted(Some(0));
        }
        let modbus = modbus_server(plan, &device, parts)?;
        let http = http_server(plan, &device, port, parts)?;
        #[cfg(feature = "mqtt")]
        let mqtt = mqtt::MqttClient::new(mqtt::ClientParts {
            device: Arc::clone(&device),
            clock: parts.clock.clone(),
            engine: Arc::clone(parts.engine),
            journal: Arc::clone(parts.journal),
            dial: parts.actions.dialer(),
            spread: plan.fleet_index.map(|_| parts.mqtt_spread),
        });
        let runtime = Arc::new_cyclic(|this| Self {
            device,
            http,
            #[cfg(feature = "mqtt")]
            mqtt,
            modbus,
            #[cfg(feature = "mdns")]
            announcer: Arc::clone(parts.announcer),
            clock: parts.clock.clone(),
            runner: Arc::clone(parts.actions.runner()),
            starts_off: plan.starts_off,
            services: ServiceTasks::default(),
            handle: Handle::current(),
            this: this.clone(),
        });
        let observer: Weak<Self> = runtime.this.clone();
        runtime.device.set_observer(observer);
        runtime.begin();
        Ok(runtime)
    }

    /// Follows the device from now on: its services, and its reboots. A device that resumed in the middle of a
    /// reboot starts its services at the end of it.
    pub(super) fn begin(self: &Arc<Self>) {
        #[cfg(feature = "mqtt")]
        self.mqtt.begin();
        self.begin_services();
    }

    /// Starts the task that carries out a reboot.
    pub(super) fn supervise(&self) -> Supervision {
        let (halt, halted) = watch::channel(false);
        let supervise =
            supervise(self.this.clone(), Arc::clone(&self.device), self.clock.clone(), halted);
        let task = tokio::spawn(self.clock.activity().track(supervise));
        Supervision { halt, task }
    }

    /// Starts the requests of an admitted call.
    pub(crate) fn start_run(&self, run: Run) {
        self.runner.start_run(run);
    }

    /// Ends the services, drops the connections of the Modbus server, and returns when all of them are gone.
    async fn stop_services(&self) {
        self.end_services().await;
        self.modbus.drop_connections().await;
    }

    async fn end_services(&self) {
        self.services.abort_all().await;
        self.device.set_sd_log_applied(None);
    }

    /// Ends the services and the connections with a request in flight, and returns when all of them are gone.
    /// The other connections, and new ones, wait until the returned values are dropped.
    /// [`DeviceRuntime::reset`] and [`DeviceRuntime::begin`] are to follow.
    pub(super) async fn pause(&self) -> impl Iterator<Item = ClosedGate> + use<> {
        self.end_supervision().await;
        let http = self.http.pause().await;
        self.end_services().await;
        let modbus = self.modbus.pause().await;
        // The device may have been down.
        self.open();
        [http, modbus].into_iter().flatten()
    }

    /// Returns the device, its SD card and its API to the state of the first start.
    pub(super) async fn reset(&self) {
        if let Some(card) = self.device.sd()
            && let Err(error) = card.reset().await
        {
            tracing::error!(device = %self.device.identity().id, %error, "the SD card stays as it is");
        }
        self.device.reset();
        if self.starts_off {
            self.device.stay_off();
        }
        self.http.forget_clients();
        if self.device.is_offline() || self.device.power().is_off() {
            self.http.close().await;
        } else {
            self.open();
        }
    }

    /// Lets nothing start any more, and ends a reboot where it is.
    async fn end_supervision(&self) {
        let supervision = {
            let mut state = self.services.state();
            state.begun = false;
            state.supervision.take()
        };
        if let Some(Supervision { halt, task }) = supervision {
            halt.send_replace(true);
            // A panic was reported by the panic hook.
            let _ = task.await;
        }
    }

    /// Closes and ends everything, as a power failure does.
    async fn go_down(&self) {
        // The tasks that end here wake no task of ours, so without this the house would look quiescent.
        let _activity = self.clock.activity().enter();
        self.http.close().await;
        self.stop_services().await;
        self.modbus.close().await;
        self.runner.abort_device(&self.device.identity().id).await;
    }

    /// Ends the reboot and opens everything again.
    fn come_up(&self) {
        #[cfg(feature = "mqtt")]
        self.mqtt.begin();
        // The services start with this change.
        self.device.finish_reboot();
        self.open();
    }

    /// Returns true, and lets the supervision end, unless the device reboots again.
    fn has_come_up(&self) -> bool {
        let mut state = self.services.state();
        let up = self.device.power() == Power::Up;
        if up {
            state.supervision = None;
        }
        up
    }

    /// Opens the API, if the device has a network.
    fn open(&self) {
        if !self.device.is_offline()
            && let Err(error) = self.http.open()
        {
            let (device, address) = (&self.device.identity().id, self.http.address());
            tracing::error!(%device, %address, %error, "the device's API cannot listen again");
        }
    }

    /// Ends everything, and returns when the ports are free.
    pub(super) async fn close(&self) {
        self.end_supervision().await;
        self.http.release().await;
        self.stop_services().await;
        self.modbus.release().await;
    }
}

/// Binds the device's Modbus server to the address of the plan.
fn modbus_server(
    plan: &DevicePlan,
    device: &Arc<Device>,
    parts: &RuntimeParts<'_>,
) -> Result<modbus::DeviceModbusServer, StartError> {
    let server = modbus::ServerParts {
        device: Arc::clone(device),
        clock: parts.clock.clone(),
        engine: Arc::clone(parts.engine),
        journal: Arc::clone(parts.journal),
        connection_registry: parts.peers.connection_registry().clone(),
    };
    // A port in the settings of the scenario refers to the address that the scenario listens on.
    let first_port = plan.config.settings.services.modbus.port;
    modbus::DeviceModbusServer::bind(&plan.modbus, first_port, server).map_err(|source| {
        StartError::Bind {
            owner: format!("the Modbus server of device {}", plan.identity.id),
            address: plan.modbus.listen,
            source,
        }
    })
}

/// Starts the device's API; closed if the device cannot be reached.
fn http_server(
    plan: &DevicePlan,
    device: &Arc<Device>,
    port: ApiPort<'_>,
    parts: &RuntimeParts<'_>,
) -> Result<http::ApiServer, StartError> {
    let runner = Arc::clone(parts.actions.runner());
    let api = http::Api::new(
        Arc::clone(device),
        Arc::clone(parts.engine),
        parts.clock.clone(),
        move |run| runner.start_run(run),
    );
    let reachable = !device.is_offline() && device.power() == Power::Up;
    let server = match port {
        ApiPort::Own(port) if reachable => http::ApiServer::start_on(port, api),
        ApiPort::Own(port) => Ok(http::ApiServer::start_closed(port, api)),
        ApiPort::Shared(shared) => {
            let server = http::ApiServer::start_behind(shared, api);
            if reachable { server.open().map(|()| server) } else { Ok(server) }
        }
    };
    server.map_err(|source| StartError::Bind {
        owner: format!("device {}", plan.identity.id),
        address: plan.http,
        source,
    })
}

/// Carries out a reboot, and those that follow before it ends, until it is halted.
async fn supervise(
    runtime: Weak<DeviceRuntime>,
    device: Arc<Device>,
    clock: Clock,
    mut halted: watch::Receiver<bool>,
) {
    loop {
        if let Power::Down { until } = device.power() {
            let Some(up) = runtime.upgrade() else { return };
            up.go_down().await;
            drop(up);
            if !wait_for_start(&device, &clock, until, &mut halted).await {
                return;
            }
            let Some(down) = runtime.upgrade() else { return };
            down.come_up();
        }
        let Some(runtime) = runtime.upgrade() else { return };
        if runtime.has_come_up() {
            return;
        }
    }
}

/// Waits until `until`, or until a device that is off is switched on. Returns false if the wait was halted.
async fn wait_for_start(
    device: &Device,
    clock: &Clock,
    until: VirtualTime,
    halted: &mut watch::Receiver<bool>,
) -> bool {
    let start = async {
        if until < VirtualTime::MAX {
            clock.sleep_until(until).await;
        }
        // A device that was off may have been switched on, and off again.
        let mut changes = device.changes();
        while device.power().is_off() && changes.changed().await.is_ok() {}
    };
    tokio::select! {
        biased;
        _ = halted.changed() => false,
        () = start => true,
    }
}
