//! The activity that is in flight, so that a clock movement can wait until the house is quiescent.
//!
//! On a manual clock `advance` must return only after everything that was due has happened: the
//! timer has fired, the slave has woken and written its reply, the requester has read it, the
//! status is final. Part of that chain crosses real sockets, where neither end can see the other.
//! Therefore every activity holds an [`ActivityGuard`]: a task from its wake-up through its poll
//! ([`ActivityTracker::track`]), a timer from the moment it fires until its sleeper has noticed,
//! bytes between two endpoints of the house from the write to the read, and a connection attempt
//! until it is decided. The house is quiescent if no guard is held: then nothing happens before the
//! next timer.
//!
//! A wait for a peer outside the house holds no guard, because the clock cannot know whether such a
//! peer will ever answer.

use parking_lot::{Mutex, MutexGuard};
use std::future::{self, Future};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::coop;

/// Counts the activity in flight. Cheap to clone; all clones share the count.
#[derive(Debug, Clone, Default)]
pub struct ActivityTracker(Arc<TrackerShared>);

#[derive(Debug, Default)]
struct TrackerShared {
    count: AtomicUsize,
    quiescent: Notify,
}

impl ActivityTracker {
    /// Counts an activity as in flight until the returned guard is dropped.
    #[must_use]
    pub fn enter(&self) -> ActivityGuard {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        ActivityGuard(self.clone())
    }

    /// Wraps a task so that it counts as in flight from now to its first poll, during every poll,
    /// and from every wake-up to the poll that follows. A task that wakes another task through a
    /// channel, or wakes itself, therefore leaves no gap in which the house would look quiescent.
    pub fn track<F>(&self, future: F) -> impl Future<Output = F::Output> + use<F>
    where
        F: Future,
    {
        let task_handle = TrackedTask(Arc::new(TaskWaker {
            activity: self.clone(),
            state: Mutex::new(TaskWakerState {
                guard: Some(self.enter()),
                task: None,
                finished: false,
            }),
        }));
        let waker = Waker::from(Arc::clone(&task_handle.0));
        async move {
            let mut future = pin!(future);
            future::poll_fn(move |context| {
                let _activity = task_handle.begin_poll(context.waker());
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                if polled.is_pending() && !coop::has_budget_remaining() {
                    // The task used up its budget of the runtime, which wakes it only after other
                    // tasks have run. It counts as in flight until then.
                    waker.wake_by_ref();
                }
                polled
            })
            .await
        }
    }

    /// Waits until no activity is in flight. Returns false if `limit` of real time passed first.
    ///
    /// Activity that begins after that moment is not waited for, because earlier activity did not
    /// cause it: under load there is always some.
    pub async fn wait_quiescent(&self, limit: Duration) -> bool {
        // Created before the count is read, so that no notification in between is lost.
        let quiescent = self.0.quiescent.notified();
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return true;
        }
        tokio::time::timeout(limit, quiescent).await.is_ok()
    }
}

/// An activity in flight. It ends when the guard is dropped.
#[derive(Debug)]
pub struct ActivityGuard(ActivityTracker);

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        if self.0.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.quiescent.notify_waiters();
        }
    }
}

/// The part of a tracked task that its wakers share.
#[derive(Debug)]
struct TaskWaker {
    activity: ActivityTracker,
    state: Mutex<TaskWakerState>,
}

#[derive(Debug)]
struct TaskWakerState {
    /// Held from a wake-up to the next poll.
    guard: Option<ActivityGuard>,
    /// The waker of the task itself. `None` before its first poll.
    task: Option<Waker>,
    /// Set once the task has ended or was dropped. A later wake-up then causes no activity.
    finished: bool,
}

impl TaskWaker {
    fn state(&self) -> MutexGuard<'_, TaskWakerState> {
        self.state.lock()
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = {
            let mut state = self.state();
            if state.finished {
                return;
            }
            state.guard.get_or_insert_with(|| self.activity.enter());
            state.task.clone()
        };
        // After the lock is released, because the runtime may drop the task right here, which takes
        // the lock again.
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The task's handle to [`TaskWaker`]. Dropping the task also ends the activity of its last
/// wake-up.
#[derive(Debug)]
struct TrackedTask(Arc<TaskWaker>);

impl TrackedTask {
    /// Begins a poll, which continues the activity of the wake-up that caused it.
    fn begin_poll(&self, task: &Waker) -> ActivityGuard {
        let mut state = self.0.state();
        if !state.task.as_ref().is_some_and(|current| current.will_wake(task)) {
            state.task = Some(task.clone());
        }
        state.guard.take().unwrap_or_else(|| self.0.activity.enter())
    }
}

impl Drop for TrackedTask {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.finished = true;
        let ended = (state.guard.take(), state.task.take());
        drop(state);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn quiescence_waits_for_the_last_guard() {
        let activity = ActivityTracker::default();
        assert!(activity.wait_quiescent(LONG).await);
        let (first, second) = (activity.enter(), activity.enter());
        drop(first);
        assert!(!activity.wait_quiescent(LONG).await, "one guard is held");
        drop(second);
        assert!(activity.wait_quiescent(LONG).await);
    }

    #[tokio::test(start_paused = true)]
    async fn one_quiescent_moment_is_enough() {
        let activity = ActivityTracker::default();
        let first = activity.enter();
        let mut waiting = pin!(activity.wait_quiescent(LONG));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("the first guard is held"),
            () = future::ready(()) => {}
        }
        drop(first);
        let _second = activity.enter();
        assert!(waiting.await, "the second guard came later");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tracked_task_is_active_until_it_is_pending() {
        let activity = ActivityTracker::default();
        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let task = activity.track(woken);
        assert!(!activity.wait_quiescent(LONG).await, "created, not yet polled");
        let task = tokio::spawn(task);
        assert!(activity.wait_quiescent(LONG).await, "polled, waiting for the channel");
        wake.send(()).unwrap();
        task.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_yields_to_others_stays_active() {
        let activity = ActivityTracker::default();
        let task = tokio::spawn(activity.track(async {
            for _ in 0..10_000 {
                coop::consume_budget().await;
            }
        }));
        assert!(activity.wait_quiescent(LONG).await);
        assert!(task.is_finished(), "the task had more to do");
    }

    #[tokio::test(start_paused = true)]
    async fn a_woken_task_is_active_until_it_is_polled_or_dropped() {
        let activity = ActivityTracker::default();
        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(activity.track(woken));
        assert!(activity.wait_quiescent(LONG).await);
        wake.send(()).unwrap();
        let count = || activity.0.count.load(Ordering::SeqCst);
        assert_eq!(count(), 1, "woken, not yet polled");
        task.await.unwrap().unwrap();
        assert_eq!(count(), 0);

        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(activity.track(woken));
        assert!(activity.wait_quiescent(LONG).await);
        wake.send(()).unwrap();
        task.abort();
        let _ = task.await;
        assert_eq!(count(), 0, "dropped before its poll");
    }
}
