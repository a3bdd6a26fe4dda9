//! The timer of the heads of one connection's requests.
//!
//! hyper makes a new timer for each head and drops it as soon as the head is there. The runtime would enter and
//! remove each of them under a lock that all connections share. Here one timer of the runtime serves all heads of
//! a connection: it stays where it is, and is moved on only when it fires too early for the head that waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use tokio::time::{Sleep as RuntimeSleep, sleep_until};

/// The timer of a connection. Real time, because it protects the process.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Pin<Box<RuntimeSleep>>>>>);

/// The wait for the end of one head's time. A connection has one at a time, each with a later deadline.
#[derive(Debug)]
struct HeadDeadline {
    timer: HeadTimer,
    deadline: Instant,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadDeadline { timer: self.clone(), deadline })
    }

    fn now(&self) -> Instant {
        // That of the runtime, which tests can pause.
        tokio::time::Instant::now().into_std()
    }
}

impl Sleep for HeadDeadline {}

impl Future for HeadDeadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        let mut timer = self.timer.0.lock();
        let sleep = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            // The timer was set for an earlier head, which came in time.
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn each_head_has_all_of_its_time() {
        let timer = HeadTimer::default();
        let elapsed = |since: tokio::time::Instant| since.elapsed().as_millis();
        let start = tokio::time::Instant::now();
        for _ in 0..5 {
            let mut head = timer.sleep(LIMIT);
            let early = tokio::time::timeout(Duration::from_secs(7), &mut head).await;
            assert!(early.is_err(), "the head before has used up none of its time");
        }
        let last = tokio::time::Instant::now();
        timer.sleep(LIMIT).await;
        assert!((10_000..10_010).contains(&elapsed(last)), "{} ms", elapsed(last));
        assert!((45_000..45_010).contains(&elapsed(start)), "{} ms", elapsed(start));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_after_a_long_reply_has_all_of_its_time() {
        let timer = HeadTimer::default();
        assert!(tokio::time::timeout(LIMIT / 2, timer.sleep(LIMIT)).await.is_err());
        // Nobody waits for the timer while it fires.
        tokio::time::sleep(3 * LIMIT).await;
        let start = tokio::time::Instant::now();
        timer.sleep(LIMIT).await;
        assert!(start.elapsed() >= LIMIT);
    }
}
