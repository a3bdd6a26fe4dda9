//! Calls of actions: their admission, and the start and end of their requests.

use std::ops::Range;
use std::sync::Arc;

use super::{DeviceSpec, DeviceState, Transition};
use crate::clock::VirtualTime;
use crate::device::Power;
use crate::device::actions::{
    Action, Admission, AdmissionRefusal, CallRefusal, Capacity, Definition,
};
use crate::fault::{ActionOriginRef, AdmissionVerdict};
use crate::journal::Event;
use crate::limits;
use crate::notation::first_chars;

/// A call whose requests are in the queue.
#[derive(Debug)]
pub(in crate::device) struct AdmittedCall {
    /// The definition in force at the call.
    pub definition: Arc<Definition>,
    /// The index of the called action in the definition.
    pub action: usize,
    /// The ids of the queued requests, in the order of the action's enabled requests.
    pub status_ids: Range<u64>,
    /// The number of enabled requests for which there was no slot.
    pub dropped: usize,
    /// The epoch in which the call was admitted.
    pub epoch: u64,
}

/// A request in the queue.
#[derive(Debug)]
pub(in crate::device) struct AdmittedRequest {
    /// The id of the action.
    pub action: Arc<str>,
    /// The epoch in which the request was admitted.
    pub epoch: u64,
    /// The status id.
    pub id: u64,
}

impl DeviceState {
    /// Calls the action `id`: all checks in their documented order, and the admission. `rules` is asked
    /// only about an action that exists, so that a call of an unknown action counts for no rule
    /// (FAULT-4). The change counts if more status ids were reserved: a caller may learn of an id only
    /// when a process that is killed would not give it out again (STATE-1).
    pub(in crate::device) fn call(
        &mut self,
        spec: &DeviceSpec,
        id: &str,
        rules: impl FnOnce(&ActionOriginRef<'_>) -> AdmissionVerdict,
    ) -> Transition<Result<AdmittedCall, CallRefusal>, [Event; 1]> {
        let reserved = self.queue.reserved();
        let (outcome, event) = match self.admit(spec, id, rules) {
            Ok((call, event)) => (Ok(call), event),
            Err(refusal) => (Err(refusal), refused(spec, id, refusal)),
        };
        Transition { outcome, events: [event], counts: self.queue.reserved() != reserved }
    }

    fn admit(
        &mut self,
        spec: &DeviceSpec,
        id: &str,
        rules: impl FnOnce(&ActionOriginRef<'_>) -> AdmissionVerdict,
    ) -> Result<(AdmittedCall, Event), CallRefusal> {
        let definition = self.definition.clone().ok_or(CallRefusal::Unknown)?;
        let index = definition.actions().iter().position(|action| &*action.id == id);
        let index = index.ok_or(CallRefusal::Unknown)?;
        let action = &definition.actions()[index];
        let device = &spec.identity.id;
        let verdict = rules(&ActionOriginRef { device: device.as_str(), action: &action.id });
        let requests = action.enabled_requests().count();
        let ids = self.reserve_slots(spec, action, requests, &verdict)?;
        let status_ids: Vec<u64> = ids.clone().collect();
        let dropped = requests - status_ids.len();
        let event = Event::CallAdmitted {
            device: device.shared(),
            action: Arc::clone(&action.id),
            status_ids,
            dropped,
        };
        let epoch = self.epoch;
        Ok((AdmittedCall { definition, action: index, status_ids: ids, dropped, epoch }, event))
    }

    fn reserve_slots(
        &mut self,
        spec: &DeviceSpec,
        action: &Action,
        requests: usize,
        verdict: &AdmissionVerdict,
    ) -> Result<Range<u64>, CallRefusal> {
        if verdict.disabled || !action.enable {
            return Err(CallRefusal::Disabled);
        }
        if requests == 0 {
            return Err(CallRefusal::NothingEnabled);
        }
        let capacity = Capacity {
            limit: verdict.limit.saturating_sub(verdict.occupied),
            all_or_nothing: spec.action_policy.admission == Admission::AllOrNothing,
        };
        self.queue.admit(&action.id, requests, capacity).map_err(|refusal| match refusal {
            AdmissionRefusal::Busy => CallRefusal::Busy,
            AdmissionRefusal::Full => CallRefusal::Full,
        })
    }

    /// Starts a request: its `exe_time` counts from `now`. `to` is the address that it goes to.
    pub(in crate::device) fn start_request(
        &mut self,
        spec: &DeviceSpec,
        request: &AdmittedRequest,
        to: String,
        now: VirtualTime,
    ) -> Transition<(), Option<Event>> {
        let started = self.epoch == request.epoch && self.queue.start(request.id, now);
        let event = started.then(|| Event::RequestStarted {
            device: spec.identity.id.shared(),
            action: Arc::clone(&request.action),
            id: request.id,
            to,
        });
        Transition { outcome: (), events: event, counts: false }
    }

    /// Ends a request with `code`. A request that has ended, or that was admitted in an earlier epoch,
    /// leaves no trace.
    pub(in crate::device) fn finish_request(
        &mut self,
        spec: &DeviceSpec,
        request: &AdmittedRequest,
        code: i32,
        cause: String,
        now: VirtualTime,
    ) -> Transition<(), Option<Event>> {
        if self.epoch != request.epoch {
            return Transition::unchanged(());
        }
        let exe_time = self.queue.finish(request.id, code, now);
        let event = exe_time.map(|exe_time| Event::RequestFinished {
            device: spec.identity.id.shared(),
            action: Arc::clone(&request.action),
            id: request.id,
            code,
            exe_time: exe_time.as_secs_f64(),
            cause,
        });
        Transition { outcome: (), events: event, counts: false }
    }

    /// Returns the status ids that the next call of an action with `requests` enabled requests gets if
    /// nothing else is called before. A reboot in progress restarts the ids.
    pub(in crate::device) fn next_status_ids(
        &self,
        spec: &DeviceSpec,
        requests: usize,
    ) -> Range<u64> {
        let (first, in_progress) = match self.power {
            Power::Up => (self.queue.next_id(), self.queue.in_progress()),
            Power::Down { .. } => (spec.action_policy.first_status_id(), 0),
        };
        let free = limits::REQUESTS_IN_PROGRESS.saturating_sub(in_progress);
        first..first + requests.min(free) as u64
    }

    /// Reserves no more status ids than were given out, because no call follows.
    pub(in crate::device) fn release_reserved_status_ids(&mut self) {
        self.queue.release_reserved();
    }

    /// Replaces the action definition, and returns the previous one. Requests in progress continue with
    /// the definition of their call.
    pub(in crate::device) fn replace_definition(
        &mut self,
        spec: &DeviceSpec,
        definition: Option<Arc<Definition>>,
    ) -> Transition<Option<Arc<Definition>>, Option<Event>> {
        let device = spec.identity.id.shared();
        let event = match &definition {
            Some(definition) => {
                Event::DefinitionStored { device, actions: definition.actions().len() }
            }
            None => Event::DefinitionDeleted { device },
        };
        Transition::counted(std::mem::replace(&mut self.definition, definition), event)
    }
}

fn refused(spec: &DeviceSpec, id: &str, refusal: CallRefusal) -> Event {
    // One character more than the longest valid id, so that the entry stays small and shows that the id
    // is too long.
    let shown_id = first_chars(id, *limits::ACTION_ID_CHARS.end() + 1);
    Event::CallRefused {
        device: spec.identity.id.shared(),
        action: shown_id.into(),
        status: refusal.status(),
        reason: refusal.reason(),
    }
}
