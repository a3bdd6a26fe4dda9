//! The runtime of a device: the device with its servers, its clients and its services.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::StartError;
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
use crate::services::{end_pairings, log_to_sd, start_script};
#[cfg(feature = "mdns")]
use crate::surface::mdns;
#[cfg(feature = "mqtt")]
use crate::surface::mqtt;
use crate::surface::{http, modbus};
use crate::tasks::Tasks;

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
    announcer: Arc<mdns::Announcer>,
    clock: Clock,
    runner: Arc<Runner>,
    /// The tasks that run while the device is up, beside its API. Each follows [`Device::changes`]: it
    /// looks at the newest state after each change, and acts on that alone.
    services: Tasks,
    supervision: Mutex<Option<Supervision>>,
}

/// The task that closes the servers of a device while it reboots. It holds the runtime only while it
/// acts. It is not aborted but halted, so that it completes a step that it has begun.
struct Supervision {
    /// Halts the task, as does the drop of this sender.
    halt: watch::Sender<bool>,
    task: JoinHandle<()>,
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
        let runtime = Arc::new(Self {
            device,
            http,
            #[cfg(feature = "mqtt")]
            mqtt,
            modbus,
            #[cfg(feature = "mdns")]
            announcer: Arc::clone(parts.announcer),
            clock: parts.clock.clone(),
            runner: Arc::clone(parts.actions.runner()),
            services: Tasks::default(),
            supervision: Mutex::default(),
        });
        runtime.begin();
        Ok(runtime)
    }

    /// Starts the services, and the supervision that follows reboots.
    pub(super) fn begin(self: &Arc<Self>) {
        // A device that resumed in the middle of a reboot starts its services at the end of it.
        if self.device.power() == Power::Up {
            self.start_services();
        }
        let (halt, halted) = watch::channel(false);
        let supervise =
            supervise(Arc::downgrade(self), Arc::clone(&self.device), self.clock.clone(), halted);
        let task = tokio::spawn(self.clock.activity().track(supervise));
        *self.supervision.lock() = Some(Supervision { halt, task });
    }

    /// Starts the services. A device that only records has no service but the SD log.
    fn start_services(&self) {
        self.spawn_service(log_to_sd(Arc::clone(&self.device)));
        if self.device.is_offline() {
            return;
        }
        self.modbus.start(&self.services);
        #[cfg(feature = "mdns")]
        self.spawn_service(Arc::clone(&self.announcer).run(
            Arc::clone(&self.device),
            self.http.address(),
            self.modbus.listen_state(),
        ));
        #[cfg(feature = "mqtt")]
        self.spawn_service(Arc::clone(&self.mqtt).run());
        self.spawn_service(start_script(Arc::clone(&self.device)));
        self.spawn_service(end_pairings(Arc::clone(&self.device), self.clock.clone()));
    }

    /// Starts the requests of an admitted call.
    pub(crate) fn start_run(&self, run: Run) {
        self.runner.start_run(run);
    }

    fn spawn_service(&self, service: impl Future<Output = ()> + Send + 'static) {
        self.services.spawn(self.clock.activity().track(service));
    }

    /// Ends the services, drops the connections of the Modbus server, and returns when all of them are gone.
    async fn stop_services(&self) {
        self.services.abort_all().await;
        self.modbus.drop_connections().await;
    }

    /// Ends the services and the connections with a request in flight, and returns when all of them are gone.
    /// The other connections, and new ones, wait until the returned values are dropped.
    /// [`DeviceRuntime::reset`] and [`DeviceRuntime::begin`] are to follow.
    pub(super) async fn pause(&self) -> impl Iterator<Item = ClosedGate> + use<> {
        self.end_supervision().await;
        let http = self.http.pause().await;
        self.services.abort_all().await;
        let modbus = self.modbus.pause().await;
        // The device may have been down.
        self.open();
        [http, Some(modbus)].into_iter().flatten()
    }

    /// Returns the device, its SD card and its API to the state of the first start.
    pub(super) async fn reset(&self) {
        if let Some(card) = self.device.sd()
            && let Err(error) = card.reset().await
        {
            tracing::error!(device = %self.device.identity().id, %error, "the SD card stays as it is");
        }
        self.device.reset();
        self.http.forget_clients();
        if self.device.is_offline() {
            self.http.close().await;
        } else {
            self.open();
        }
    }

    async fn end_supervision(&self) {
        let supervision = self.supervision.lock().take();
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
        self.device.finish_reboot();
        self.start_services();
        self.open();
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

/// Follows the reboots of a device until it is halted.
async fn supervise(
    runtime: Weak<DeviceRuntime>,
    device: Arc<Device>,
    clock: Clock,
    mut halted: watch::Receiver<bool>,
) {
    let mut changes = device.changes();
    loop {
        changes.borrow_and_update();
        if let Power::Down { until } = device.power() {
            let Some(up) = runtime.upgrade() else { return };
            up.go_down().await;
            drop(up);
            if !sleep_until(&clock, until, &mut halted).await {
                return;
            }
        } else {
            tokio::select! {
                biased;
                _ = halted.changed() => return,
                result = changes.changed() => if result.is_err() { return },
            }
            continue;
        }
        let Some(down) = runtime.upgrade() else { return };
        down.come_up();
    }
}

/// Waits until `until`. Returns false if the wait was halted.
async fn sleep_until(
    clock: &Clock,
    until: VirtualTime,
    halted: &mut watch::Receiver<bool>,
) -> bool {
    tokio::select! {
        biased;
        _ = halted.changed() => false,
        () = clock.sleep_until(until) => true,
    }
}
