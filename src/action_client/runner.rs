//! Runs the requests that a device admitted: holds, sends and finishes them.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

use super::classifier::ResultCode;
use super::requester::{RequestOutcome, Requester};
use crate::device::actions::{ActionRequest, Definition, PrepareError, PreparedRequest, Scheme};
use crate::device::{DeviceId, Execution, Run, Ticket};
use crate::fault::ActionCall;
use crate::net::inflight::ActionOrigin;
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

    /// Starts a run and returns at once. Each of its tickets gets exactly one result. A request
    /// that fails does not keep the following ones from being sent.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run(&self, run: Run) {
        let Run { definition, requests, .. } = run;
        let Some(device) = requests.first().map(|(ticket, _)| Arc::clone(ticket.device())) else {
            return;
        };
        let tasks = self.tasks_of(&device.identity().id);
        match device.action_policy().execution {
            Execution::Sequential => self.spawn(&tasks, definition, requests),
            Execution::Parallel => {
                for request in requests {
                    self.spawn(&tasks, Arc::clone(&definition), vec![request]);
                }
            }
        }
    }

    fn tasks_of(&self, device: &DeviceId) -> Arc<Tasks> {
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
        tasks.spawn(activity.track(async move {
            for (ticket, request) in requests {
                requester.process(ticket, &definition, &request).await;
            }
        }));
    }

    /// Aborts the runs of a device and waits until their tasks have ended.
    pub async fn abort(&self, device: &DeviceId) {
        self.tasks_of(device).abort_all().await;
    }

    /// Aborts all runs and waits until their tasks have ended. Transaction ids count from 1 again.
    pub(super) async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for tasks in tasks.values() {
            tasks.abort_all().await;
        }
        self.requester.reset();
    }
}

impl Requester {
    /// Processes one request from its ticket to its result.
    async fn process(&self, ticket: Ticket, definition: &Definition, request: &ActionRequest) {
        let origin = ActionOrigin {
            device: ticket.device().identity().id.shared(),
            action: Arc::clone(ticket.action()),
        };
        if let Some(hold) = self.engine.hold(&ActionCall::from(&origin)) {
            hold.sleep.await;
        }
        let prepared = definition.prepare(request);
        ticket.start(|| destination(&prepared, request));
        let outcome = match &prepared {
            Ok(prepared) => self.send(&origin, prepared).await,
            Err(unprepared) => not_sent(unprepared),
        };
        let is_zero = ticket.device().action_policy().http_failure_is_zero
            && matches!(prepared, Ok(PreparedRequest::Http(_)))
            && !matches!(outcome.code, ResultCode::Status(_));
        ticket.finish(if is_zero { 0 } else { outcome.code.code() }, outcome.cause);
    }
}

fn not_sent(unprepared: &PrepareError) -> RequestOutcome {
    RequestOutcome { code: ResultCode::Generic, cause: format!("not sent: {unprepared}") }
}

/// Returns the destination of a request, as the journal shows it: as it was written if it cannot be
/// sent.
fn destination(
    prepared: &Result<PreparedRequest, PrepareError>,
    request: &ActionRequest,
) -> String {
    match (prepared, request) {
        (Ok(PreparedRequest::Http(http)), _) => {
            let scheme = match http.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            };
            format!("{scheme}://{}{}", http.authority, http.target)
        }
        (Ok(PreparedRequest::Modbus(modbus)), _) => {
            format!("modbus {}:{}", modbus.host, modbus.port)
        }
        (Err(_), ActionRequest::Http(http)) => http.url.clone(),
        (Err(_), ActionRequest::Modbus(modbus)) => {
            format!("modbus {}:{}", modbus.host, modbus.port)
        }
    }
}
