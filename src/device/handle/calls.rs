//! Calls of actions, and the tickets of their requests.

use std::ops::Range;
use std::sync::Arc;

use super::Device;
use crate::device::actions::{Action, ActionRequest, CallRefusal, Definition, RequestStatus};
use crate::device::core::AdmittedRequest;

impl Device {
    /// Returns the action definition in force. `None` if none was set, or if it was deleted.
    #[must_use]
    pub fn definition(&self) -> Option<Arc<Definition>> {
        self.state().definition().cloned()
    }

    /// Replaces the action definition. Requests in progress continue with the definition of their call.
    pub fn set_definition(&self, definition: Arc<Definition>) {
        self.replace_definition(Some(definition));
    }

    /// Deletes the action definition. Requests in progress continue.
    pub fn delete_definition(&self) {
        self.replace_definition(None);
    }

    fn replace_definition(&self, definition: Option<Arc<Definition>>) {
        let mut state = self.state();
        let transition = state.replace_definition(&self.spec, definition);
        // The previous definition may be large. It is freed here, after the lock was released.
        drop(self.publish(state, transition));
    }

    /// Calls an action: all checks in their documented order, and the admission, as one step.
    ///
    /// # Errors
    /// [`CallRefusal`] if the call is refused; nothing has changed then.
    pub fn call(self: &Arc<Self>, id: &str) -> Result<Run, CallRefusal> {
        let mut state = self.state();
        let transition = state.call(&self.spec, id, |call| self.engine.admission(call));
        // The tickets are created after the lock was released, because the drop of a ticket takes it.
        let call = self.publish(state, transition)?;
        let action = &call.definition.actions()[call.action];
        let name = Arc::clone(&action.id);
        let ticket = |id| Ticket {
            device: Arc::clone(self),
            request: AdmittedRequest { action: Arc::clone(&name), epoch: call.epoch, id },
            finished: false,
        };
        let requests =
            call.status_ids.map(ticket).zip(action.enabled_requests().cloned()).collect();
        Ok(Run { definition: call.definition, action: name, requests, dropped: call.dropped })
    }

    /// Returns the status ids that the next call of `action` gets if no other call comes before it.
    #[must_use]
    pub fn next_status_ids(&self, action: &Action) -> Range<u64> {
        self.state().next_status_ids(&self.spec, action.enabled_requests().count())
    }

    /// Returns the entries of these status ids in the given order, without the unknown ones.
    #[must_use]
    pub fn status(&self, ids: &[u64]) -> Vec<RequestStatus> {
        self.state().request_statuses(ids)
    }

    /// Returns the number of requests in progress.
    #[must_use]
    pub fn in_progress(&self) -> usize {
        self.state().requests_in_progress()
    }
}

/// An admitted call: the queued requests, which are to be sent.
#[derive(Debug)]
#[must_use = "dropping a run ends its requests with -1"]
pub struct Run {
    /// The definition in force at the call, with its constants.
    pub definition: Arc<Definition>,
    /// The id of the action.
    pub action: Arc<str>,
    /// The queued requests, in order.
    pub requests: Vec<(Ticket, Arc<ActionRequest>)>,
    /// The number of requests for which there was no slot.
    pub dropped: usize,
}

/// The slot of one request in progress. Its status id gets exactly one final status: a ticket that is
/// dropped before it was finished ends with −1.
#[derive(Debug)]
pub struct Ticket {
    device: Arc<Device>,
    request: AdmittedRequest,
    finished: bool,
}

impl Ticket {
    /// Returns the status id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.request.id
    }

    /// Returns the device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Returns the id of the action.
    #[must_use]
    pub fn action(&self) -> &Arc<str> {
        &self.request.action
    }

    /// Starts the request: `exe_time` counts from here. `to` is the address that it goes to.
    pub fn start(&self, to: impl FnOnce() -> String) {
        let device = &self.device;
        let (to, now) = (to(), device.clock.now());
        let mut state = device.state();
        let transition = state.start_request(&device.spec, &self.request, to, now);
        device.publish(state, transition);
    }

    /// Ends the request with `code`. `cause` explains the code in the journal.
    pub fn finish(mut self, code: i32, cause: impl Into<String>) {
        self.end(code, cause.into());
    }

    fn end(&mut self, code: i32, cause: String) {
        self.finished = true;
        let device = &self.device;
        let now = device.clock.now();
        let mut state = device.state();
        let transition = state.finish_request(&device.spec, &self.request, code, cause, now);
        device.publish(state, transition);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.finished {
            self.end(-1, "given up".to_owned());
        }
    }
}
