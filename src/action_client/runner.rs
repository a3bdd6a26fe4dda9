//! Carries out what a device admitted: holds, sends and finishes the requests of a run.

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

/// Carries out runs of all devices of a house. Its tasks are bounded by the devices' places for
/// requests in progress, and end with it.
#[derive(Debug)]
pub struct Runner {
    requester: Arc<Requester>,
    /// The runs of each device.
    tasks: Mutex<HashMap<DeviceId, Arc<Tasks>>>,
}

impl Runner {
    pub(super) fn new(requester: Arc<Requester>) -> Self {
        Self { requester, tasks: Mutex::default() }
    }

    /// Begins to carry out a run, and returns at once. Each of its tickets ends with exactly one
    /// result; a request that fails does not keep the ones after it from being sent.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run(&self, run: Run) {
        let Run { definition, requests, .. } = run;
        let Some(device) = requests.first().map(|(ticket, _)| Arc::clone(ticket.device())) else {
            return;
        };
        let tasks = self.of(&device.identity().id);
        match device.action_policy().execution {
            Execution::Sequential => self.spawn(&tasks, definition, requests),
            Execution::Parallel => {
                for request in requests {
                    self.spawn(&tasks, Arc::clone(&definition), vec![request]);
                }
            }
        }
    }

    fn of(&self, device: &DeviceId) -> Arc<Tasks> {
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
        let motions = requester.clock.activity().clone();
        tasks.spawn(motions.track(async move {
            for (ticket, request) in requests {
                requester.see_through(ticket, &definition, &request).await;
            }
        }));
    }

    /// Ends the runs of a device, unfinished, and waits until nothing of them is left.
    pub async fn end(&self, device: &DeviceId) {
        self.of(device).end_all().await;
    }

    /// Ends all runs, unfinished, and waits until nothing of them is left. Transaction ids count
    /// from 1 again.
    pub(super) async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for tasks in tasks.values() {
            tasks.end_all().await;
        }
        self.requester.reset();
    }
}

impl Requester {
    /// One request from its ticket to its result.
    async fn see_through(&self, ticket: Ticket, definition: &Definition, request: &ActionRequest) {
        let caller = ActionOrigin {
            device: ticket.device().identity().id.shared(),
            action: Arc::clone(ticket.action()),
        };
        if let Some(hold) = self.engine.hold(&ActionCall::from(&caller)) {
            hold.sleep.await;
        }
        let prepared = definition.prepare(request);
        ticket.start(|| destination(&prepared, request));
        let outcome = match &prepared {
            Ok(prepared) => self.carry_out(&caller, prepared).await,
            Err(unprepared) => not_sent(unprepared),
        };
        let zero = ticket.device().action_policy().http_failure_is_zero
            && matches!(prepared, Ok(PreparedRequest::Http(_)))
            && !matches!(outcome.code, ResultCode::Status(_));
        ticket.finish(if zero { 0 } else { outcome.code.code() }, outcome.cause);
    }
}

fn not_sent(unprepared: &PrepareError) -> RequestOutcome {
    RequestOutcome { code: ResultCode::Generic, cause: format!("not sent: {unprepared}") }
}

/// Where a request goes, as the journal has it: as it was typed where it cannot be sent.
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
