//! The places for requests in progress, and the statuses of the newest ones.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::VirtualTime;
use crate::limits;

/// Requests in progress, and what became of the newest ones (contract §3, call and status).
#[derive(Debug)]
pub struct Queue {
    next_id: u64,
    in_progress: usize,
    /// Ascending by id; all that are in progress, and as many finished ones as fit.
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    action: Arc<str>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queued,
    Running { since: VirtualTime },
    Finished { code: i32, exe_time: Duration },
}

/// How many requests a call finds room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Places in all, at most [`limits::REQUESTS_IN_PROGRESS`].
    pub limit: usize,
    /// Whether a call that does not fit as a whole is refused.
    pub all_or_nothing: bool,
}

/// Why nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A request of an earlier run of the action has not finished.
    Busy,
    /// There is no place.
    Full,
}

/// One entry of `/api/v1/actions/status`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The action.
    pub action: Arc<str>,
    /// The status id.
    pub id: u64,
    /// −1 until finished, then the result.
    pub code: i32,
    /// Zero until finished.
    pub exe_time: Duration,
}

impl Queue {
    /// An empty queue whose first status id is `first_id`.
    #[must_use]
    pub fn new(first_id: u64) -> Self {
        Self {
            next_id: first_id,
            in_progress: 0,
            entries: VecDeque::with_capacity(limits::STATUS_ENTRIES + limits::REQUESTS_IN_PROGRESS),
        }
    }

    /// Queues as many of `wanted` requests of `action` as there is room for, and gives out their
    /// status ids, one or more.
    ///
    /// # Errors
    /// [`Refusal`], with nothing changed.
    pub fn admit(
        &mut self,
        action: &Arc<str>,
        wanted: usize,
        capacity: Capacity,
    ) -> Result<Range<u64>, Refusal> {
        if self.entries.iter().any(|entry| entry.is_in_progress() && entry.action == *action) {
            return Err(Refusal::Busy);
        }
        let limit = capacity.limit.min(limits::REQUESTS_IN_PROGRESS);
        let free = limit.saturating_sub(self.in_progress);
        if free == 0 || (capacity.all_or_nothing && free < wanted) {
            return Err(Refusal::Full);
        }
        let first = self.next_id;
        for _ in 0..wanted.min(free) {
            self.push(Arc::clone(action));
        }
        Ok(first..self.next_id)
    }

    fn push(&mut self, action: Arc<str>) {
        let entry = Entry { id: self.next_id, action, phase: Phase::Queued };
        self.entries.push_back(entry);
        self.next_id += 1;
        self.in_progress += 1;
        // One still running is never dropped; there are fewer of them than entries, so that a
        // finished one is always found.
        if self.entries.len() > limits::STATUS_ENTRIES
            && let Some(oldest) = self.entries.iter().position(|entry| !entry.is_in_progress())
        {
            self.entries.remove(oldest);
        }
    }

    /// A queued request starts.
    pub fn start(&mut self, id: u64, now: VirtualTime) {
        if let Some(entry) = self.entry(id)
            && entry.phase == Phase::Queued
        {
            entry.phase = Phase::Running { since: now };
        }
    }

    /// A request ends with `code`; returns its `exe_time`, whole milliseconds and at least one.
    /// Nothing changes where it had ended before.
    pub fn finish(&mut self, id: u64, code: i32, now: VirtualTime) -> Duration {
        let Some(entry) = self.entry(id) else { return limits::LEAST_EXE_TIME };
        let took = match entry.phase {
            Phase::Finished { exe_time, .. } => return exe_time,
            Phase::Queued => Duration::ZERO,
            Phase::Running { since } => now.since(since),
        };
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let exe_time = Duration::from_millis(millis).max(limits::LEAST_EXE_TIME);
        entry.phase = Phase::Finished { code, exe_time };
        self.in_progress -= 1;
        exe_time
    }

    /// The entries of these ids, in the order asked; unknown ones are left out.
    #[must_use]
    pub fn status(&self, ids: &[u64]) -> Vec<Status> {
        let known = ids.iter().filter_map(|id| self.entries.iter().find(|entry| entry.id == *id));
        known.map(Entry::status).collect()
    }

    /// How many requests are queued or running.
    #[must_use]
    pub fn in_progress(&self) -> usize {
        self.in_progress
    }

    fn entry(&mut self, id: u64) -> Option<&mut Entry> {
        // Newest first: a request that starts or ends is rarely an old one.
        self.entries.iter_mut().rev().find(|entry| entry.id == id)
    }
}

impl Entry {
    fn is_in_progress(&self) -> bool {
        !matches!(self.phase, Phase::Finished { .. })
    }

    fn status(&self) -> Status {
        let (code, exe_time) = match self.phase {
            Phase::Queued | Phase::Running { .. } => (-1, Duration::ZERO),
            Phase::Finished { code, exe_time } => (code, exe_time),
        };
        Status { action: Arc::clone(&self.action), id: self.id, code, exe_time }
    }
}
