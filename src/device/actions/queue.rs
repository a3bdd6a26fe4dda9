//! The queue of requests in progress, and the statuses of the newest requests.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::VirtualTime;
use crate::limits;

/// The least `exe_time` of a finished request: 0 would mean "not finished" (ACTION-19).
const LEAST_EXE_TIME: Duration = Duration::from_millis(1);

/// The number of status ids that a device reserves with one write of its state. It reserves again when half
/// of them are given out. After a process was killed, at most this many ids are skipped.
const RESERVED_IDS: u64 = 1000;

/// The requests in progress, and the results of the newest ones (ACTION-13, ACTION-18).
#[derive(Debug)]
pub struct Queue {
    next_id: u64,
    /// The first id that may not be given out before a higher value was persisted.
    reserved: u64,
    in_progress: usize,
    /// Ascending by id: all requests in progress, and as many finished ones as fit.
    entries: VecDeque<QueueEntry>,
}

#[derive(Debug)]
struct QueueEntry {
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

/// The capacity of the queue for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The number of slots in total, at most [`limits::REQUESTS_IN_PROGRESS`].
    pub limit: usize,
    /// True if a call with more requests than free slots is refused.
    pub all_or_nothing: bool,
}

/// The reason why a call queues nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionRefusal {
    /// A request of an earlier run of the action is in progress.
    Busy,
    /// No slot is free, or too few for a call that is admitted as a whole.
    Full,
}

/// An entry of `/api/v1/actions/status`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RequestStatus {
    /// The action.
    pub action: Arc<str>,
    /// The status id.
    pub id: u64,
    /// −1 until the request has finished, then its result.
    pub code: i32,
    /// Zero until the request has finished.
    pub exe_time: Duration,
}

impl Queue {
    /// Returns an empty queue whose first status id is `first_id`, clamped to
    /// [`limits::FIRST_STATUS_ID`] so that the ids never run out.
    #[must_use]
    pub fn new(first_id: u64) -> Self {
        let (least, most) = limits::FIRST_STATUS_ID.into_inner();
        let first_id = first_id.clamp(least, most);
        Self { next_id: first_id, reserved: first_id, in_progress: 0, entries: VecDeque::new() }
    }

    /// Returns the id that the next request gets.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Returns the first id that is not reserved. If this value is persisted, a later process that counts
    /// from it gives no id out twice.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Reserves no more ids than were given out.
    pub fn release_reserved(&mut self) {
        self.reserved = self.next_id;
    }

    /// Queues as many of the `requests` requests of `action` as there are free slots, and returns their
    /// status ids. `requests` is at least 1, and so is the number of ids.
    ///
    /// # Errors
    /// [`AdmissionRefusal`] if none is queued; nothing has changed then.
    pub fn admit(
        &mut self,
        action: &Arc<str>,
        requests: usize,
        capacity: Capacity,
    ) -> Result<Range<u64>, AdmissionRefusal> {
        if self.entries.iter().any(|entry| entry.is_in_progress() && entry.action == *action) {
            return Err(AdmissionRefusal::Busy);
        }
        let limit = capacity.limit.min(limits::REQUESTS_IN_PROGRESS);
        let free = limit.saturating_sub(self.in_progress);
        if free == 0 || (capacity.all_or_nothing && free < requests) {
            return Err(AdmissionRefusal::Full);
        }
        let first = self.next_id;
        for _ in 0..requests.min(free) {
            self.push(Arc::clone(action));
        }
        if self.next_id + RESERVED_IDS / 2 > self.reserved {
            self.reserved = self.next_id + RESERVED_IDS;
        }
        Ok(first..self.next_id)
    }

    fn push(&mut self, action: Arc<str>) {
        if self.entries.capacity() == 0 {
            // With the first call, so that a device that is never called costs nothing, and at once, so that no
            // later one takes longer.
            self.entries.reserve_exact(limits::STATUS_ENTRIES + limits::REQUESTS_IN_PROGRESS);
        }
        let entry = QueueEntry { id: self.next_id, action, phase: Phase::Queued };
        self.entries.push_back(entry);
        self.next_id += 1;
        self.in_progress += 1;
        // A request in progress is never removed. There are more entries than slots, so a finished one
        // is always found.
        if self.entries.len() > limits::STATUS_ENTRIES
            && let Some(oldest) = self.entries.iter().position(|entry| !entry.is_in_progress())
        {
            self.entries.remove(oldest);
        }
    }

    /// Starts a queued request. Returns false, with nothing changed, if it was not waiting.
    pub fn start(&mut self, id: u64, now: VirtualTime) -> bool {
        let queued = self.entry(id).filter(|entry| entry.phase == Phase::Queued);
        queued.map(|entry| entry.phase = Phase::Running { since: now }).is_some()
    }

    /// Ends a request with `code`, and returns its `exe_time`: whole milliseconds, at least one. `None`,
    /// with nothing changed, if it has ended already.
    pub fn finish(&mut self, id: u64, code: i32, now: VirtualTime) -> Option<Duration> {
        let entry = self.entry(id)?;
        let elapsed = match entry.phase {
            Phase::Finished { .. } => return None,
            Phase::Queued => Duration::ZERO,
            Phase::Running { since } => now.since(since),
        };
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let exe_time = Duration::from_millis(millis).max(LEAST_EXE_TIME);
        entry.phase = Phase::Finished { code, exe_time };
        self.in_progress -= 1;
        Some(exe_time)
    }

    /// Returns the entries of these ids in the given order, without the unknown ones.
    #[must_use]
    pub fn status(&self, ids: &[u64]) -> Vec<RequestStatus> {
        let entries = ids.iter().filter_map(|id| self.entries.iter().find(|entry| entry.id == *id));
        entries.map(QueueEntry::status).collect()
    }

    /// Returns the number of requests that are queued or running.
    #[must_use]
    pub fn in_progress(&self) -> usize {
        self.in_progress
    }

    fn entry(&mut self, id: u64) -> Option<&mut QueueEntry> {
        // Newest first, because a request that starts or ends is rarely an old one.
        self.entries.iter_mut().rev().find(|entry| entry.id == id)
    }
}

impl QueueEntry {
    fn is_in_progress(&self) -> bool {
        !matches!(self.phase, Phase::Finished { .. })
    }

    fn status(&self) -> RequestStatus {
        let (code, exe_time) = match self.phase {
            Phase::Queued | Phase::Running { .. } => (-1, Duration::ZERO),
            Phase::Finished { code, exe_time } => (code, exe_time),
        };
        RequestStatus { action: Arc::clone(&self.action), id: self.id, code, exe_time }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL_PLACES: Capacity =
        Capacity { limit: limits::REQUESTS_IN_PROGRESS, all_or_nothing: false };

    fn ms(millis: u64) -> VirtualTime {
        VirtualTime::from_nanos(millis * 1_000_000)
    }

    fn action(name: &str) -> Arc<str> {
        name.into()
    }

    // Ruling: ACTION-22.
    #[test]
    fn ids_count_up_from_the_first_one() {
        let mut queue = Queue::new(139);
        assert_eq!(queue.admit(&action("a"), 2, ALL_PLACES), Ok(139..141));
        assert_eq!(queue.admit(&action("b"), 1, ALL_PLACES), Ok(141..142));
        assert_eq!(Queue::new(0).admit(&action("a"), 1, ALL_PLACES), Ok(1..2));
        assert!(Queue::new(u64::MAX).admit(&action("a"), 20, ALL_PLACES).is_ok());
    }

    #[test]
    fn an_action_is_busy_until_the_last_of_its_requests_ended() {
        let mut queue = Queue::new(1);
        queue.admit(&action("a"), 2, ALL_PLACES).unwrap();
        queue.finish(1, 200, ms(0)).unwrap();
        assert_eq!(queue.admit(&action("a"), 1, ALL_PLACES), Err(AdmissionRefusal::Busy));
        queue.finish(2, 200, ms(0)).unwrap();
        assert_eq!(queue.admit(&action("a"), 1, ALL_PLACES), Ok(3..4));
    }

    #[test]
    fn a_busy_action_is_refused_as_busy_even_if_the_queue_is_full() {
        let mut queue = Queue::new(1);
        queue.admit(&action("a"), 20, ALL_PLACES).unwrap();
        assert_eq!(queue.admit(&action("a"), 1, ALL_PLACES), Err(AdmissionRefusal::Busy));
        assert_eq!(queue.admit(&action("b"), 1, ALL_PLACES), Err(AdmissionRefusal::Full));
    }

    #[test]
    fn a_call_queues_as_many_as_fit_or_none() {
        let mut queue = Queue::new(1);
        queue.admit(&action("a"), 18, ALL_PLACES).unwrap();
        let all = Capacity { all_or_nothing: true, ..ALL_PLACES };
        assert_eq!(queue.admit(&action("b"), 3, all), Err(AdmissionRefusal::Full));
        assert_eq!(queue.admit(&action("b"), 3, ALL_PLACES), Ok(19..21));
        assert_eq!(queue.in_progress(), 20);
    }

    #[test]
    fn a_limit_below_the_requests_in_progress_admits_nothing() {
        let mut queue = Queue::new(1);
        queue.admit(&action("a"), 5, ALL_PLACES).unwrap();
        let narrow = Capacity { limit: 3, all_or_nothing: false };
        assert_eq!(queue.admit(&action("b"), 1, narrow), Err(AdmissionRefusal::Full));
        assert_eq!(queue.in_progress(), 5);
    }

    // Ruling: ACTION-15, ACTION-19.
    #[test]
    fn exe_time_is_in_whole_milliseconds_and_never_zero() {
        let mut queue = Queue::new(1);
        queue.admit(&action("a"), 3, ALL_PLACES).unwrap();
        assert!(queue.start(1, ms(50)));
        assert!(!queue.start(1, ms(60)), "it started already");
        let end = ms(50).after(Duration::from_micros(133_999));
        assert_eq!(queue.finish(1, 200, end), Some(Duration::from_millis(133)));
        assert_eq!(queue.finish(1, 500, ms(999)), None, "it ended already");
        queue.start(2, ms(70));
        assert_eq!(queue.finish(2, 1, ms(70)), Some(LEAST_EXE_TIME));
        assert_eq!(queue.finish(3, -1, ms(900)), Some(LEAST_EXE_TIME));
        assert!(!queue.start(3, ms(950)), "it ended without having started");
        let entries = queue.status(&[1, 2, 3]);
        let results: Vec<_> = entries.iter().map(|status| (status.code, status.exe_time)).collect();
        let least = LEAST_EXE_TIME;
        assert_eq!(results, [(200, Duration::from_millis(133)), (1, least), (-1, least)]);
    }

    #[test]
    fn statuses_come_in_the_given_order_without_unknown_ids() {
        let mut queue = Queue::new(1);
        queue.admit(&action("a"), 3, ALL_PLACES).unwrap();
        let ids = |given: &[u64]| -> Vec<u64> {
            queue.status(given).iter().map(|status| status.id).collect()
        };
        assert_eq!(ids(&[3, 9, 1, 3, 0]), [3, 1, 3]);
    }

    // Ruling: ACTION-18.
    #[test]
    fn a_running_entry_outlives_forty_newer_ones() {
        let mut queue = Queue::new(1);
        queue.admit(&action("slow"), 1, ALL_PLACES).unwrap();
        for id in 2..=100 {
            queue.admit(&action("quick"), 1, ALL_PLACES).unwrap();
            queue.finish(id, 200, ms(0)).unwrap();
        }
        let ids: Vec<u64> = (1..=100).filter(|id| !queue.status(&[*id]).is_empty()).collect();
        assert_eq!(ids, std::iter::once(1).chain(62..=100).collect::<Vec<_>>());
        assert_eq!(queue.status(&[1])[0].code, -1);
        queue.finish(1, 200, ms(5)).unwrap();
        assert_eq!(queue.status(&[1])[0].code, 200, "and it stays until it is the oldest");
    }

    /// A model of `docs/device/actions.md`: a plain list of all requests that were ever admitted.
    #[derive(Default)]
    struct Model {
        requests: Vec<ModelRequest>,
    }

    #[derive(Clone)]
    struct ModelRequest {
        action: usize,
        started: Option<u64>,
        ended: Option<(i32, u64)>,
        forgotten: bool,
    }

    impl Model {
        fn running(&self) -> usize {
            self.requests.iter().filter(|request| request.ended.is_none()).count()
        }

        fn admit(
            &mut self,
            action: usize,
            requests: usize,
            capacity: Capacity,
        ) -> Option<AdmissionRefusal> {
            let is_own =
                |request: &ModelRequest| request.action == action && request.ended.is_none();
            if self.requests.iter().any(is_own) {
                return Some(AdmissionRefusal::Busy);
            }
            let room = capacity.limit.min(20).saturating_sub(self.running());
            if room == 0 || (capacity.all_or_nothing && requests > room) {
                return Some(AdmissionRefusal::Full);
            }
            for _ in 0..requests.min(room) {
                self.requests.push(ModelRequest {
                    action,
                    started: None,
                    ended: None,
                    forgotten: false,
                });
                let remembered = self.requests.iter().filter(|request| !request.forgotten).count();
                let oldest =
                    |request: &&mut ModelRequest| request.ended.is_some() && !request.forgotten;
                if remembered > 40 {
                    self.requests.iter_mut().find(oldest).unwrap().forgotten = true;
                }
            }
            None
        }

        fn finish(&mut self, index: usize, code: i32, now: u64) -> Option<u64> {
            let request = &mut self.requests[index];
            if request.ended.is_some() {
                return None;
            }
            let elapsed = (now - request.started.unwrap_or(now)).max(1);
            request.ended = Some((code, elapsed));
            Some(elapsed)
        }

        fn status(&self, index: usize, id: u64) -> Option<(u64, usize, i32, Duration)> {
            let request = &self.requests[index];
            let (code, elapsed) = request.ended.unwrap_or((-1, 0));
            (!request.forgotten).then_some((
                id,
                request.action,
                code,
                Duration::from_millis(elapsed),
            ))
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit { action: usize, requests: usize, capacity: Capacity },
        Start(prop::sample::Index),
        Finish(prop::sample::Index, i32),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let admit = (0..8_usize, 1..25_usize, prop_oneof![3 => Just(20_usize), 1 => 0..25_usize])
            .prop_flat_map(|(action, requests, limit)| {
                any::<bool>().prop_map(move |all_or_nothing| Step::Admit {
                    action,
                    requests: if limit % 2 == 0 { requests % 5 + 1 } else { requests },
                    capacity: Capacity { limit, all_or_nothing },
                })
            });
        prop_oneof![
            4 => admit,
            3 => any::<prop::sample::Index>().prop_map(Step::Start),
            6 => (any::<prop::sample::Index>(), -111..600).prop_map(|(at, code)| Step::Finish(at, code)),
            1 => (0..5_000_u64).prop_map(Step::Pass),
        ]
    }

    /// Returns the index of one of the newest 24 requests, because older ones have ended. `None` if there
    /// are none.
    fn pick(index: prop::sample::Index, requests: usize) -> Option<usize> {
        let recent = requests.min(24);
        (recent > 0).then(|| requests - 1 - index.index(recent))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn the_queue_behaves_as_its_model(
            first in 1..1_000_u64,
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let (mut queue, mut model, mut now) = (Queue::new(first), Model::default(), 0);
            let id = |index: usize| first + index as u64;
            for step in steps {
                match step {
                    Step::Admit { action: number, requests, capacity } => {
                        let before = model.requests.len();
                        let expected = match model.admit(number, requests, capacity) {
                            Some(refusal) => Err(refusal),
                            None => Ok(id(before)..id(model.requests.len())),
                        };
                        prop_assert_eq!(queue.admit(&action(&number.to_string()), requests, capacity), expected);
                    }
                    Step::Start(index) => {
                        let Some(index) = pick(index, model.requests.len()) else { continue };
                        let request = &mut model.requests[index];
                        let was_queued = request.started.is_none() && request.ended.is_none();
                        if was_queued {
                            request.started = Some(now);
                        }
                        prop_assert_eq!(queue.start(id(index), ms(now)), was_queued);
                    }
                    Step::Finish(index, code) => {
                        let Some(index) = pick(index, model.requests.len()) else { continue };
                        let expected = model.finish(index, code, now).map(Duration::from_millis);
                        prop_assert_eq!(queue.finish(id(index), code, ms(now)), expected);
                    }
                    Step::Pass(millis) => now += millis,
                }
                prop_assert_eq!(queue.in_progress(), model.running());
                prop_assert!(queue.in_progress() <= 20);
                let all_ids: Vec<u64> = (0..model.requests.len()).map(id).collect();
                let statuses = queue.status(&all_ids);
                let statuses: Vec<_> = statuses
                    .iter()
                    .map(|status| {
                        let action = status.action.parse().unwrap();
                        (status.id, action, status.code, status.exe_time)
                    })
                    .collect();
                let expected: Vec<_> =
                    (0..all_ids.len()).filter_map(|index| model.status(index, id(index))).collect();
                prop_assert!(statuses.len() <= 40);
                prop_assert_eq!(statuses, expected);
            }
        }
    }
}
