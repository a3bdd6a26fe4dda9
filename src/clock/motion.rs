//! What is under way right now, so that a clock movement can wait until the house is at rest.
//!
//! On a manual clock `advance` must return only when everything due has happened: the timer fired,
//! the slave woke and wrote its reply, the requester read it, the status is final. Part of that
//! chain crosses real sockets, where neither end can see the other. So everything that moves holds
//! a [`Motion`]: a task while it is polled ([`Motions::track`]), a timer from its firing until the
//! sleeper took note, bytes between two ends inside the house from the write to the read, a connect
//! until it is decided. No motion means that nothing happens before the next timer.
//!
//! What waits for a peer outside the house holds no motion: the clock cannot wait for strangers.

use std::future::{self, Future};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Counts what is under way. Cheap to clone; all clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Motions(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: AtomicUsize,
    at_rest: Notify,
}

impl Motions {
    /// Marks something as under way until the returned value is dropped.
    #[must_use]
    pub fn enter(&self) -> Motion {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        Motion(self.clone())
    }

    /// Wraps a task, so that it is under way from now to its first poll and during every poll.
    pub fn track<F>(&self, future: F) -> impl Future<Output = F::Output> + use<F>
    where
        F: Future,
    {
        let motions = self.clone();
        let mut until_first_poll = Some(self.enter());
        async move {
            let mut future = pin!(future);
            future::poll_fn(move |context| {
                let _motion = until_first_poll.take().unwrap_or_else(|| motions.enter());
                future.as_mut().poll(context)
            })
            .await
        }
    }

    /// Waits until nothing is under way; false when `limit` of real time passed first.
    pub async fn settled(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, async {
            loop {
                // Created before the count is read: a notification in between is not lost.
                let at_rest = self.0.at_rest.notified();
                if self.0.count.load(Ordering::SeqCst) == 0 {
                    return;
                }
                at_rest.await;
            }
        })
        .await
        .is_ok()
    }
}

/// Something under way; ends when dropped.
#[derive(Debug)]
pub struct Motion(Motions);

impl Drop for Motion {
    fn drop(&mut self) {
        if self.0.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.at_rest.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn rest_waits_for_the_last_motion() {
        let motions = Motions::default();
        assert!(motions.settled(LONG).await);
        let (first, second) = (motions.enter(), motions.enter());
        drop(first);
        assert!(!motions.settled(LONG).await, "one motion is left");
        drop(second);
        assert!(motions.settled(LONG).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tracked_task_moves_from_its_creation_and_rests_while_pending() {
        let motions = Motions::default();
        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let task = motions.track(woken);
        assert!(!motions.settled(LONG).await, "created, not yet polled");
        let task = tokio::spawn(task);
        assert!(motions.settled(LONG).await, "polled, waiting for the channel");
        wake.send(()).unwrap();
        task.await.unwrap().unwrap();
    }
}
