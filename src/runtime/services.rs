//! The tasks of a device beside its API: each runs only while there is something for it to do.
//!
//! A device with everything switched off has no task. It tells its runtime of each change
//! ([`ChangeObserver`]), on the thread that made the change, and the runtime starts the services that the newest state
//! asks for. So a reply to the client that made the change can wait for them. A service ends by itself once
//! nothing asks for it. That decision is made under the lock under which services are started, so that no
//! change falls between the two.

use std::future::Future;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::DeviceRuntime;
use crate::device::{ChangeObserver, Power, View};
use crate::services::{end_pairing, is_logging, log_to_sd, start_script};
use crate::tasks::Tasks;

/// A service of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    SdLog,
    Modbus,
    #[cfg(feature = "mdns")]
    Announcements,
    #[cfg(feature = "mqtt")]
    Mqtt,
    ScriptStart,
    PairingEnd,
}

impl Service {
    /// All services, in the order in which they start.
    const ALL: &[Self] = &[
        Self::SdLog,
        Self::Modbus,
        #[cfg(feature = "mdns")]
        Self::Announcements,
        #[cfg(feature = "mqtt")]
        Self::Mqtt,
        Self::ScriptStart,
        Self::PairingEnd,
    ];
}

/// The services of a device, and the task that carries out its reboot.
#[derive(Default)]
pub(super) struct ServiceTasks {
    tasks: Tasks,
    state: Mutex<ServicesState>,
}

/// The tasks that run.
#[derive(Default)]
pub(super) struct ServicesState {
    /// True from [`DeviceRuntime::begin`] until a reset or the end of the house. Nothing starts else.
    pub begun: bool,
    /// The services that run.
    running: Vec<Service>,
    /// `None` while the device is up.
    pub supervision: Option<Supervision>,
}

/// The task that closes the servers of a device, and opens them again at the end of its reboot. It holds the
/// runtime only while it acts. It is not aborted but halted, so that it completes a step that it has begun.
pub(super) struct Supervision {
    /// Halts the task, as does the drop of this sender.
    pub halt: watch::Sender<bool>,
    pub task: JoinHandle<()>,
}

impl ServiceTasks {
    pub(super) fn state(&self) -> MutexGuard<'_, ServicesState> {
        self.state.lock()
    }

    /// Ends the services, and returns when they are gone. The caller sees to it that none starts meanwhile.
    pub(super) async fn abort_all(&self) {
        self.tasks.abort_all().await;
        self.state().running.clear();
    }
}

impl ChangeObserver for DeviceRuntime {
    fn device_changed(&self) {
        if let Some(runtime) = self.this.upgrade() {
            let mut state = runtime.services.state();
            runtime.follow(&mut state);
        }
    }
}

impl DeviceRuntime {
    /// Follows the device from now on.
    pub(super) fn begin_services(self: &Arc<Self>) {
        let mut state = self.services.state();
        state.begun = true;
        self.follow(&mut state);
        if !state.running.contains(&Service::Modbus) {
            self.modbus.stay_closed();
        }
    }

    /// Starts what the device's state asks for and does not run yet.
    fn follow(self: &Arc<Self>, state: &mut ServicesState) {
        if !state.begun {
            return;
        }
        // A change may come from a thread without a runtime.
        let _runtime = self.handle.enter();
        if self.device.power() != Power::Up {
            if state.supervision.is_none() {
                state.supervision = Some(self.supervise());
            }
            return;
        }
        let view = self.device.view();
        for service in Service::ALL {
            if !state.running.contains(service) && self.asks_for(*service, &view) {
                state.running.push(*service);
                self.start_service(*service);
            }
        }
    }

    /// Returns true if a device that is up has something to do for this service.
    fn asks_for(&self, service: Service, view: &View) -> bool {
        // A device that only records has no service but the SD log.
        if service != Service::SdLog && self.device.is_offline() {
            return false;
        }
        match service {
            Service::SdLog => is_logging(&self.device, view),
            Service::Modbus => self.modbus.has_to_listen(),
            #[cfg(feature = "mdns")]
            Service::Announcements => {
                let addresses = [self.http.address().ip(), self.modbus.ip()];
                self.announcer.has_to_announce(view, addresses)
            }
            #[cfg(feature = "mqtt")]
            Service::Mqtt => self.mqtt.has_to_connect(view),
            Service::ScriptStart => self.device.script_start().is_some(),
            Service::PairingEnd => view.pairing.is_some(),
        }
    }

    fn start_service(self: &Arc<Self>, service: Service) {
        match service {
            Service::SdLog => {
                // A reply waits for the log from now on.
                self.device.set_sd_log_applied(Some(0));
                self.run_service(service, |runtime| log_to_sd(Arc::clone(&runtime.device)));
            }
            Service::Modbus => self.run_service(service, |runtime| runtime.modbus.start()),
            #[cfg(feature = "mdns")]
            Service::Announcements => self.run_service(service, |runtime| {
                Arc::clone(&runtime.announcer).run(
                    Arc::clone(&runtime.device),
                    runtime.http.address(),
                    runtime.modbus.listen_state(),
                )
            }),
            #[cfg(feature = "mqtt")]
            Service::Mqtt => self.run_service(service, |runtime| Arc::clone(&runtime.mqtt).run()),
            Service::ScriptStart => {
                self.run_service(service, |runtime| start_script(Arc::clone(&runtime.device)));
            }
            Service::PairingEnd => self.run_service(service, |runtime| {
                end_pairing(Arc::clone(&runtime.device), runtime.clock.clone())
            }),
        }
    }

    /// Runs a service until nothing asks for it. The part of it that is no future is done when this returns.
    fn run_service<F>(
        self: &Arc<Self>,
        service: Service,
        begin: impl Fn(&Arc<Self>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (runtime, mut next) = (Arc::downgrade(self), begin(self));
        self.services.tasks.spawn(self.clock.activity().track(async move {
            loop {
                next.await;
                // A service does not keep its device.
                let Some(runtime) = runtime.upgrade() else { return };
                if runtime.has_ended(service) {
                    return;
                }
                next = begin(&runtime);
            }
        }));
    }

    /// Returns true, and counts the service as ended, unless it is asked for again.
    fn has_ended(&self, service: Service) -> bool {
        let mut state = self.services.state();
        if self.device.power() == Power::Up && self.asks_for(service, &self.device.view()) {
            return false;
        }
        state.running.retain(|running| *running != service);
        match service {
            Service::SdLog => self.device.set_sd_log_applied(None),
            Service::Modbus => self.modbus.mark_unserved(),
            _ => {}
        }
        true
    }
}
