//! The handle over one device: a short lock, and tickets that cannot be lost.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Identity;
use super::actions::{Action, Capacity, Definition, Queue, Refusal, Request, Status};
use crate::clock::Clock;
use crate::fault::{ActionCall, Engine};
use crate::journal::{Event, Journal};
use crate::limits;

/// How a device's actions behave where the contract leaves a choice (contract §3, rulings).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionSettings {
    /// How a call is answered.
    pub call_route: CallRoute,
    /// What happens to a call with fewer free places than requests.
    pub admission: Admission,
    /// How the requests of one action run.
    pub execution: Execution,
    /// The first status id; counting begins at 1 where none.
    pub first_status_id: Option<u64>,
    /// Whether an HTTP request without response ends with 0, as in the device's script client, in
    /// place of the Modbus family's negative codes.
    pub http_failure_is_zero: bool,
}

/// How a call is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CallRoute {
    /// `Location`, no body.
    #[default]
    Page,
    /// `{"status_ids": […]}`.
    Rest,
}

/// What happens to a call with fewer free places than requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// As many as fit are queued, the rest is dropped.
    #[default]
    Fit,
    /// All or nothing.
    All,
}

/// How the requests of one action run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Execution {
    /// One after another, in the order written.
    #[default]
    Sequential,
    /// Beside each other.
    Parallel,
}

/// Why a call was refused (contract §3, call).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallRefused {
    /// 404.
    #[error("no such action")]
    Unknown,
    /// 400.
    #[error("the action is disabled")]
    Disabled,
    /// 400.
    #[error("the action has no enabled request")]
    NothingEnabled,
    /// 409.
    #[error("the action is already executing")]
    Busy,
    /// 429.
    #[error("too many requests in progress")]
    Full,
}

impl CallRefused {
    /// The HTTP status of the refusal.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::Disabled | Self::NothingEnabled => 400,
            Self::Busy => 409,
            Self::Full => 429,
        }
    }

    /// The reason, as the journal has it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::NothingEnabled => "nothing enabled",
            Self::Busy => "busy",
            Self::Full => "full",
        }
    }
}

/// A device of the house.
#[derive(Debug)]
pub struct Device {
    identity: Identity,
    settings: ActionSettings,
    initial: Option<Arc<Definition>>,
    clock: Clock,
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    // A std mutex: it is held for some hundred nanoseconds and never across an await. The rules are
    // asked and the journal is written while it is held, so that both know the order in which things
    // happened, and whoever sees a final status finds it in the journal. Neither of them ever calls
    // a device.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    definition: Option<Arc<Definition>>,
    queue: Queue,
    /// Counts the resets; what comes from before one is discarded.
    epoch: u64,
}

impl State {
    fn new(definition: Option<Arc<Definition>>, settings: ActionSettings, epoch: u64) -> Self {
        let queue = Queue::new(settings.first_status_id.unwrap_or(1));
        Self { definition, queue, epoch }
    }
}

impl Device {
    /// A device as it comes up, with the actions it starts with.
    #[must_use]
    pub fn new(
        identity: Identity,
        settings: ActionSettings,
        initial: Option<Arc<Definition>>,
        clock: Clock,
        engine: Arc<Engine>,
        journal: Arc<Journal>,
    ) -> Arc<Self> {
        let state = Mutex::new(State::new(initial.clone(), settings, 0));
        Arc::new(Self { identity, settings, initial, clock, engine, journal, state })
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How its actions behave.
    #[must_use]
    pub fn settings(&self) -> ActionSettings {
        self.settings
    }

    /// The action definition in force; none where none was set or it was deleted.
    #[must_use]
    pub fn definition(&self) -> Option<Arc<Definition>> {
        self.state().definition.clone()
    }

    /// Replaces the action definition. Requests under way go on with the one they began with.
    pub fn store(&self, definition: Arc<Definition>) {
        let actions = definition.actions().len();
        let device = self.identity.id.shared();
        self.replace(Some(definition), Event::DefinitionStored { device, actions });
    }

    /// Deletes the action definition. Requests under way go on.
    pub fn delete_definition(&self) {
        let device = self.identity.id.shared();
        self.replace(None, Event::DefinitionDeleted { device });
    }

    fn replace(&self, definition: Option<Arc<Definition>>, event: Event) {
        let mut state = self.state();
        let replaced = std::mem::replace(&mut state.definition, definition);
        self.journal.write(event);
        drop(state);
        // Freed only now, as it may be large.
        drop(replaced);
    }

    /// Calls an action: all of contract §3's checks in their order, and the admission, as one step.
    ///
    /// # Errors
    /// [`CallRefused`], with nothing changed.
    pub fn call(self: &Arc<Self>, id: &str) -> Result<Run, CallRefused> {
        let mut state = self.state();
        let definition = state.definition.clone();
        let action = definition.as_deref().and_then(|definition| definition.action(id));
        let (Some(definition), Some(action)) = (&definition, action) else {
            return Err(self.refused(id, CallRefused::Unknown));
        };
        let ids =
            self.admit(&mut state.queue, action).map_err(|refused| self.refused(id, refused))?;
        let status_ids: Vec<u64> = ids.clone().collect();
        let dropped = action.enabled().count() - status_ids.len();
        self.journal.write(Event::CallAdmitted {
            device: self.identity.id.shared(),
            action: Arc::clone(&action.id),
            status_ids,
            dropped,
        });
        let epoch = state.epoch;
        // Before there is a ticket: dropping one takes the lock.
        drop(state);
        let ticket = |id| Ticket {
            device: Arc::clone(self),
            action: Arc::clone(&action.id),
            epoch,
            id,
            finished: false,
        };
        let requests = ids.map(ticket).zip(action.enabled().cloned()).collect();
        let definition = Arc::clone(definition);
        Ok(Run { definition, action: Arc::clone(&action.id), requests, dropped })
    }

    /// The checks of a known action, and its admission. The rules are asked here, so that a call of
    /// an unknown action counts for none of them.
    fn admit(&self, queue: &mut Queue, action: &Action) -> Result<Range<u64>, CallRefused> {
        let call = ActionCall { device: self.identity.id.as_str(), action: &action.id };
        let verdict = self.engine.admission(&call);
        if verdict.disabled || !action.enable {
            return Err(CallRefused::Disabled);
        }
        let wanted = action.enabled().count();
        if wanted == 0 {
            return Err(CallRefused::NothingEnabled);
        }
        let capacity = Capacity {
            limit: verdict.limit.saturating_sub(verdict.occupied),
            all_or_nothing: self.settings.admission == Admission::All,
        };
        queue.admit(&action.id, wanted, capacity).map_err(|refusal| match refusal {
            Refusal::Busy => CallRefused::Busy,
            Refusal::Full => CallRefused::Full,
        })
    }

    fn refused(&self, id: &str, refused: CallRefused) -> CallRefused {
        self.journal.write(Event::CallRefused {
            device: self.identity.id.shared(),
            action: shortened(id).into(),
            status: refused.status(),
            reason: refused.reason(),
        });
        refused
    }

    /// The entries of these status ids, in the order asked; unknown ones are left out.
    #[must_use]
    pub fn status(&self, ids: &[u64]) -> Vec<Status> {
        self.state().queue.status(ids)
    }

    /// How many requests are in progress.
    #[must_use]
    pub fn in_progress(&self) -> usize {
        self.state().queue.in_progress()
    }

    /// Back to how it came up. What is still under way ends without a trace.
    pub fn reset(&self) {
        let mut state = self.state();
        *state = State::new(self.initial.clone(), self.settings, state.epoch + 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An admitted call: the requests that were queued, to be carried out.
#[derive(Debug)]
#[must_use = "dropping a run ends its requests with -1"]
pub struct Run {
    /// The definition in force at the call, with its constants.
    pub definition: Arc<Definition>,
    /// The action's id.
    pub action: Arc<str>,
    /// The queued requests, in order.
    pub requests: Vec<(Ticket, Arc<Request>)>,
    /// Requests that found no place.
    pub dropped: usize,
}

/// The place of one request in progress. Whatever becomes of its holder, the status id ends with
/// exactly one final status: a ticket that is dropped unfinished ends with −1.
#[derive(Debug)]
pub struct Ticket {
    device: Arc<Device>,
    action: Arc<str>,
    epoch: u64,
    id: u64,
    finished: bool,
}

impl Ticket {
    /// The status id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The action's id.
    #[must_use]
    pub fn action(&self) -> &Arc<str> {
        &self.action
    }

    /// The request starts now: `exe_time` counts from here. `to` is where it goes.
    pub fn start(&self, to: impl FnOnce() -> String) {
        let to = to();
        let now = self.device.clock.now();
        let mut state = self.device.state();
        if state.epoch == self.epoch && state.queue.start(self.id, now) {
            self.device.journal.write(Event::RequestStarted {
                device: self.device.identity.id.shared(),
                action: Arc::clone(&self.action),
                id: self.id,
                to,
            });
        }
    }

    /// The request ended with `code`; `cause` says what stands behind it.
    pub fn finish(mut self, code: i32, cause: impl Into<String>) {
        self.end(code, cause.into());
    }

    fn end(&mut self, code: i32, cause: String) {
        self.finished = true;
        let now = self.device.clock.now();
        let mut state = self.device.state();
        if state.epoch != self.epoch {
            return;
        }
        if let Some(exe_time) = state.queue.finish(self.id, code, now) {
            self.device.journal.write(Event::RequestFinished {
                device: self.device.identity.id.shared(),
                action: Arc::clone(&self.action),
                id: self.id,
                code,
                exe_time: exe_time.as_secs_f64(),
                cause,
            });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.finished {
            self.end(-1, "given up".to_owned());
        }
    }
}

/// An id from a client, cut to what the journal is willing to carry: no known id is longer.
fn shortened(id: &str) -> &str {
    id.char_indices().nth(*limits::ACTION_ID_CHARS.end() + 1).map_or(id, |(end, _)| &id[..end])
}
