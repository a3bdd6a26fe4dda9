//! What is under way right now, so that a clock movement can wait until the house is at rest.
//!
//! On a manual clock `advance` must return only when everything due has happened: the timer fired,
//! the slave woke and wrote its reply, the requester read it, the status is final. Part of that
//! chain crosses real sockets, where neither end can see the other. So everything that moves holds
//! a [`ActivityGuard`]: a task from its wake through its poll ([`ActivityTracker::track`]), a timer from its firing
//! until the sleeper took note, bytes between two ends inside the house from the write to the read, a
//! connect until it is decided. No motion means that nothing happens before the next timer.
//!
//! What waits for a peer outside the house holds no motion: the clock cannot wait for strangers.

use parking_lot::{Mutex, MutexGuard};
use std::future::{self, Future};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::coop;

/// Counts what is under way. Cheap to clone; all clones share the count.
#[derive(Debug, Clone, Default)]
pub struct ActivityTracker(Arc<TrackerShared>);

#[derive(Debug, Default)]
struct TrackerShared {
    count: AtomicUsize,
    at_rest: Notify,
}

impl ActivityTracker {
    /// Marks something as under way until the returned value is dropped.
    #[must_use]
    pub fn enter(&self) -> ActivityGuard {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        ActivityGuard(self.clone())
    }

    /// Wraps a task, so that it is under way from now to its first poll, during every poll, and from
    /// every wake to the poll that follows: a task that wakes another through a channel, or itself,
    /// leaves no gap in which the house would look at rest.
    pub fn track<F>(&self, future: F) -> impl Future<Output = F::Output> + use<F>
    where
        F: Future,
    {
        let tracked = Tracked(Arc::new(Wakes {
            motions: self.clone(),
            state: Mutex::new(WakeState { motion: Some(self.enter()), task: None, over: false }),
        }));
        let waker = Waker::from(Arc::clone(&tracked.0));
        async move {
            let mut future = pin!(future);
            future::poll_fn(move |context| {
                let _motion = tracked.begin(context.waker());
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                if polled.is_pending() && !coop::has_budget_remaining() {
                    // The runtime made it give way, and wakes it only once others had their turn:
                    // until then it must not look at rest.
                    waker.wake_by_ref();
                }
                polled
            })
            .await
        }
    }

    /// Waits for a moment at which nothing is under way; false when `limit` of real time passed
    /// first. What begins after that moment was not set in motion by what went before, and is not
    /// waited for: under load there is always something.
    pub async fn wait_quiescent(&self, limit: Duration) -> bool {
        // Created before the count is read: a notification in between is not lost.
        let at_rest = self.0.at_rest.notified();
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return true;
        }
        tokio::time::timeout(limit, at_rest).await.is_ok()
    }
}

/// Something under way; ends when dropped.
#[derive(Debug)]
pub struct ActivityGuard(ActivityTracker);

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        if self.0.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.at_rest.notify_waiters();
        }
    }
}

/// A task under [`ActivityTracker::track`], as its wakers see it.
#[derive(Debug)]
struct Wakes {
    motions: ActivityTracker,
    state: Mutex<WakeState>,
}

#[derive(Debug)]
struct WakeState {
    /// Held from a wake to the next poll.
    motion: Option<ActivityGuard>,
    /// The waker of the task itself, once it was polled.
    task: Option<Waker>,
    /// The task has ended or was dropped; a wake that comes later moves nothing.
    over: bool,
}

impl Wakes {
    fn state(&self) -> MutexGuard<'_, WakeState> {
        self.state.lock()
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = {
            let mut state = self.state();
            if state.over {
                return;
            }
            state.motion.get_or_insert_with(|| self.motions.enter());
            state.task.clone()
        };
        // After the lock: the runtime may drop the task right here, which takes the lock again.
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The task's own end of [`Wakes`]; whatever becomes of the task, its last wake ends with it.
#[derive(Debug)]
struct Tracked(Arc<Wakes>);

impl Tracked {
    /// A poll begins: it carries on the motion of the wake that caused it.
    fn begin(&self, task: &Waker) -> ActivityGuard {
        let mut state = self.0.state();
        if !state.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            state.task = Some(task.clone());
        }
        state.motion.take().unwrap_or_else(|| self.0.motions.enter())
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.over = true;
        let ended = (state.motion.take(), state.task.take());
        drop(state);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn rest_waits_for_the_last_motion() {
        let motions = ActivityTracker::default();
        assert!(motions.wait_quiescent(LONG).await);
        let (first, second) = (motions.enter(), motions.enter());
        drop(first);
        assert!(!motions.wait_quiescent(LONG).await, "one motion is left");
        drop(second);
        assert!(motions.wait_quiescent(LONG).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_of_rest_is_enough() {
        let motions = ActivityTracker::default();
        let first = motions.enter();
        let mut settled = pin!(motions.wait_quiescent(LONG));
        tokio::select! {
            biased;
            _ = &mut settled => panic!("the first is under way"),
            () = future::ready(()) => {}
        }
        drop(first);
        let _second = motions.enter();
        assert!(settled.await, "the second is none of its business");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tracked_task_moves_from_its_creation_and_rests_while_pending() {
        let motions = ActivityTracker::default();
        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let task = motions.track(woken);
        assert!(!motions.wait_quiescent(LONG).await, "created, not yet polled");
        let task = tokio::spawn(task);
        assert!(motions.wait_quiescent(LONG).await, "polled, waiting for the channel");
        wake.send(()).unwrap();
        task.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_gives_way_to_others_is_not_at_rest() {
        let motions = ActivityTracker::default();
        let task = tokio::spawn(motions.track(async {
            for _ in 0..10_000 {
                coop::consume_budget().await;
            }
        }));
        assert!(motions.wait_quiescent(LONG).await);
        assert!(task.is_finished(), "it had more to do");
    }

    #[tokio::test(start_paused = true)]
    async fn a_woken_task_moves_until_it_was_polled_or_dropped() {
        let motions = ActivityTracker::default();
        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(motions.track(woken));
        assert!(motions.wait_quiescent(LONG).await);
        wake.send(()).unwrap();
        let count = || motions.0.count.load(Ordering::SeqCst);
        assert_eq!(count(), 1, "woken, not yet polled");
        task.await.unwrap().unwrap();
        assert_eq!(count(), 0);

        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(motions.track(woken));
        assert!(motions.wait_quiescent(LONG).await);
        wake.send(()).unwrap();
        task.abort();
        let _ = task.await;
        assert_eq!(count(), 0, "dropped with its wake still to come");
    }
}
