//! One gateway of the house: the device, its API on a socket, and what it does by itself.

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{StartError, pairing};
use crate::action_client::{ActionClient, Runner};
use crate::clock::{Clock, VirtualTime};
use crate::device::{Device, Power, Resumed, Setup};
use crate::fault::Engine;
use crate::journal::Journal;
use crate::net::sockets::Port;
use crate::peers::Peers;
use crate::scenario::DevicePlan;
#[cfg(feature = "mdns")]
use crate::surface::mdns;
#[cfg(feature = "mqtt")]
use crate::surface::mqtt;
use crate::surface::{http, modbus};
use crate::tasks::Tasks;

/// What gateways are built from.
pub(super) struct RuntimeParts<'a> {
    pub seed: u64,
    pub clock: &'a Clock,
    pub engine: &'a Arc<Engine>,
    pub journal: &'a Arc<Journal>,
    pub peers: &'a Peers,
    pub actions: &'a ActionClient,
    #[cfg(feature = "mdns")]
    pub announcer: &'a Arc<mdns::Announcer>,
}

/// What of a device outlives the process.
#[derive(Default)]
pub(super) struct PersistedState {
    /// Where it goes on from.
    pub resumed: Option<Resumed>,
    /// The directory that is its SD card.
    pub sd_dir: Option<PathBuf>,
}

/// A device with its surfaces.
pub struct DeviceRuntime {
    pub device: Arc<Device>,
    pub http: http::ApiServer,
    #[cfg(feature = "mqtt")]
    pub mqtt: Arc<mqtt::MqttClient>,
    pub modbus: modbus::DeviceModbusServer,
    #[cfg(feature = "mdns")]
    announcer: Arc<mdns::Announcer>,
    clock: Clock,
    runner: Arc<Runner>,
    /// What the device does beside answering its API. Each task follows [`Device::changes`]: it
    /// looks at the newest state after each, and acts on that alone.
    services: Tasks,
    supervision: Mutex<Option<Supervision>>,
}

/// The task that takes the surfaces of a device away while it reboots. It holds its gateway only
/// while it acts, and it is not aborted but told to end: what it has begun, it ends.
struct Supervision {
    /// Ends the task, as does its being dropped.
    halt: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl DeviceRuntime {
    pub(super) fn start(
        plan: &DevicePlan,
        kept: PersistedState,
        port: Port,
        parts: &RuntimeParts<'_>,
    ) -> Result<Arc<Self>, StartError> {
        let device = Device::new(
            Setup { resumed: kept.resumed, sd_dir: kept.sd_dir, ..plan.setup(parts.seed) },
            parts.clock.clone(),
            Arc::clone(parts.engine),
            Arc::clone(parts.journal),
        );
        let modbus = modbus_server(plan, &device, parts)?;
        let http = http_server(plan, &device, port, parts)?;
        #[cfg(feature = "mqtt")]
        let mqtt = mqtt::MqttClient::new(mqtt::ClientParts {
            device: Arc::clone(&device),
            clock: parts.clock.clone(),
            engine: Arc::clone(parts.engine),
            journal: Arc::clone(parts.journal),
            dial: parts.actions.dialer(),
        });
        let gateway = Arc::new(Self {
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
        gateway.begin();
        Ok(gateway)
    }

    /// Starts what the device does by itself, and what follows its reboots.
    pub(super) fn begin(self: &Arc<Self>) {
        // One that went on in the middle of a reboot starts them when it comes up.
        if self.device.power() == Power::Up {
            self.start_services();
        }
        let (halt, halted) = watch::channel(false);
        let supervise =
            supervise(Arc::downgrade(self), Arc::clone(&self.device), self.clock.clone(), halted);
        let task = tokio::spawn(self.clock.activity().track(supervise));
        *self.supervision.lock() = Some(Supervision { halt, task });
    }

    /// Starts what the device does by itself; the API is served all along. A device that only
    /// records does nothing else.
    fn start_services(&self) {
        self.service(Arc::clone(&self.device).log_to_sd());
        if self.device.is_offline() {
            return;
        }
        self.modbus.start(&self.services);
        #[cfg(feature = "mdns")]
        self.service(Arc::clone(&self.announcer).follow(
            Arc::clone(&self.device),
            self.http.address(),
            self.modbus.place(),
        ));
        #[cfg(feature = "mqtt")]
        self.service(Arc::clone(&self.mqtt).run());
        self.service(Arc::clone(&self.device).run_script_after_boot());
        self.service(pairing::follow(Arc::clone(&self.device), self.clock.clone()));
    }

    fn service(&self, service: impl Future<Output = ()> + Send + 'static) {
        self.services.spawn(self.clock.activity().track(service));
    }

    /// Ends what the device does by itself, and returns when all of it is gone.
    async fn stop_services(&self) {
        self.services.abort_all().await;
        self.modbus.drop_connections().await;
    }

    /// Ends what the device does by itself and drops its connections, and returns when all of it is
    /// gone; whoever connects waits until the returned value is dropped. [`DeviceRuntime::reset`] and
    /// [`DeviceRuntime::begin`] go on from there.
    pub(super) async fn pause(&self) -> http::ListenerPause {
        self.end_supervision().await;
        let paused = self.http.pause().await;
        self.stop_services().await;
        // It may have been down.
        self.open();
        paused
    }

    /// Takes the device back to how it came up, its SD card among it, and its API with it.
    pub(super) async fn reset(&self) {
        if let Some(card) = self.device.sd()
            && let Err(error) = card.reset().await
        {
            tracing::error!(device = %self.device.identity().id, %error, "the SD card stays as it is");
        }
        self.device.reset();
        if self.device.is_offline() {
            self.http.shut().await;
        } else {
            self.open();
        }
    }

    async fn end_supervision(&self) {
        let supervision = self.supervision.lock().take();
        if let Some(Supervision { halt, task }) = supervision {
            halt.send_replace(true);
            // What a panic had to say, the panic hook has said.
            let _ = task.await;
        }
    }

    /// Takes all of it away, as power does when it fails.
    async fn go_down(&self) {
        // What is ended gives no wake of ours: without this the house would look at rest meanwhile.
        let _motion = self.clock.activity().enter();
        self.http.shut().await;
        self.stop_services().await;
        self.modbus.shut().await;
        self.runner.abort(&self.device.identity().id).await;
    }

    /// Brings all of it back.
    fn come_up(&self) {
        self.device.come_up();
        self.start_services();
        self.open();
    }

    /// Takes connections, where the device has a network.
    fn open(&self) {
        if !self.device.is_offline()
            && let Err(error) = self.http.open()
        {
            let (device, address) = (&self.device.identity().id, self.http.address());
            tracing::error!(%device, %address, %error, "the device's API cannot listen again");
        }
    }

    /// Ends all of it, and returns when its ports are free.
    pub(super) async fn close(&self) {
        self.end_supervision().await;
        self.http.close().await;
        self.stop_services().await;
        self.modbus.close().await;
    }
}

/// The device's Modbus server, bound where the plan says.
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
        links: parts.peers.connections().clone(),
    };
    // What a scenario says of the port stands for what it says of the address.
    let first_port = plan.config.settings.services.modbus.port;
    modbus::DeviceModbusServer::bind(&plan.modbus, first_port, server).map_err(|source| {
        StartError::Bind {
            who: format!("the Modbus server of device {}", plan.identity.id),
            address: plan.modbus.listen,
            source,
        }
    })
}

/// The device's API on its port, shut where the device is not to be reached.
fn http_server(
    plan: &DevicePlan,
    device: &Arc<Device>,
    port: Port,
    parts: &RuntimeParts<'_>,
) -> Result<http::ApiServer, StartError> {
    let runner = Arc::clone(parts.actions.runner());
    let api = http::Api::new(
        Arc::clone(device),
        Arc::clone(parts.engine),
        parts.clock.clone(),
        move |run| runner.run(run),
    );
    if device.is_offline() || device.power() != Power::Up {
        return Ok(http::ApiServer::start_shut(port, api));
    }
    http::ApiServer::start_on(port, api).map_err(|source| StartError::Bind {
        who: format!("device {}", plan.identity.id),
        address: plan.http,
        source,
    })
}

/// Follows the reboots of a device until it is told to end.
async fn supervise(
    gateway: Weak<DeviceRuntime>,
    device: Arc<Device>,
    clock: Clock,
    mut halted: watch::Receiver<bool>,
) {
    let mut changes = device.changes();
    loop {
        changes.borrow_and_update();
        if let Power::Down { until } = device.power() {
            let Some(gateway) = gateway.upgrade() else { return };
            gateway.go_down().await;
            drop(gateway);
            if !passes(&clock, until, &mut halted).await {
                return;
            }
        } else {
            tokio::select! {
                biased;
                _ = halted.changed() => return,
                seen = changes.changed() => if seen.is_err() { return },
            }
            continue;
        }
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.come_up();
    }
}

/// Waits for a moment; false where the wait was broken off.
async fn passes(clock: &Clock, until: VirtualTime, halted: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        _ = halted.changed() => false,
        () = clock.sleep_until(until) => true,
    }
}
