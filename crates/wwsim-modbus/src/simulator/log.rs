//! The log of a slave's events.

use std::collections::VecDeque;

use parking_lot::Mutex;
use wwsim_time::clock::{Clock, VirtualTime};

use crate::limits;
use crate::slave::{SlaveEvent, SlaveEvents};

/// An event with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The time of the event.
    pub at: VirtualTime,
    /// The event.
    pub event: SlaveEvent,
}

/// The newest events of a slave.
#[derive(Debug)]
pub(super) struct EventLog {
    clock: Clock,
    events: Mutex<VecDeque<LoggedEvent>>,
}

impl EventLog {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, events: Mutex::default() }
    }

    pub(super) fn events(&self) -> Vec<LoggedEvent> {
        self.events.lock().iter().cloned().collect()
    }
}

impl SlaveEvents for EventLog {
    fn record(&self, event: SlaveEvent) {
        let mut events = self.events.lock();
        if events.len() >= limits::EVENTS {
            events.pop_front();
        }
        // Read under the lock, so that the events are in the order of their times.
        events.push_back(LoggedEvent { at: self.clock.now(), event });
    }
}
