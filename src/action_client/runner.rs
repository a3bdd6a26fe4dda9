//! Starts the tasks that process the requests of admitted calls, and aborts them.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

use super::requester::Requester;
use crate::device::actions::{ActionRequest, Definition};
use crate::device::{DeviceId, Execution, Run, Ticket};
use crate::tasks::Tasks;

/// Runs the admitted calls of all devices of a house. The number of its tasks is bounded by the
/// devices' limits on requests in progress. Dropping it aborts them.
#[derive(Debug)]
pub struct Runner {
    requester: Arc<Requester>,
    /// The tasks of each device.
    tasks: Mutex<HashMap<DeviceId, Arc<Tasks>>>,
}

impl Runner {
    pub(super) fn new(requester: Arc<Requester>) -> Self {
        Self { requester, tasks: Mutex::default() }
    }

    /// Starts the tasks of a run and returns at once. Each of its tickets gets exactly one result. A
    /// request that fails does not keep the following ones from being sent.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_run(&self, run: Run) {
        let Run { definition, requests, .. } = run;
        let Some(device) = requests.first().map(|(ticket, _)| Arc::clone(ticket.device())) else {
            return;
        };
        let tasks = self.device_tasks(&device.identity().id);
        match device.action_policy().execution {
            Execution::Sequential => self.spawn(&tasks, definition, requests),
            Execution::Parallel => {
                for request in requests {
                    self.spawn(&tasks, Arc::clone(&definition), vec![request]);
                }
            }
        }
    }

    /// Returns the tasks of a device. Inserts an empty set for a device that has none yet.
    fn device_tasks(&self, device: &DeviceId) -> Arc<Tasks> {
        let mut tasks = self.tasks.lock();
        Arc::clone(tasks.entry(device.clone()).or_default())
    }

    fn spawn(
        &self,
        tasks: &Tasks,
        definition: Arc<Definition>,
        requests: Vec<(Ticket, Arc<ActionRequest>)>,
    ) {
        let requester = Arc::clone(&self.requester);
        let activity = requester.clock.activity().clone();
        // Boxed, because the future is large and is moved several times before its first poll.
        tasks.spawn(activity.track(Box::pin(async move {
            for (ticket, request) in requests {
                requester.process(ticket, &definition, &request).await;
            }
        })));
    }

    /// Aborts the runs of a device and waits until their tasks have ended. The tickets of requests
    /// that have no result yet end with −1.
    pub async fn abort_device(&self, device: &DeviceId) {
        self.device_tasks(device).abort_all().await;
    }

    /// Aborts all runs and waits until their tasks have ended. The tickets of requests that have no
    /// result yet end with −1. The Modbus transaction ids of every device begin with 1 again.
    pub(super) async fn abort_all(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for tasks in tasks.values() {
            tasks.abort_all().await;
        }
        self.requester.reset_transaction_ids();
    }
}
