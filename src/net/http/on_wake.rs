//! A future beside the requests of a connection that has something to do once in the connection's life.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// A future that is polled only if it was woken itself. A task that is woken for each request does not ask it
/// each time.
#[derive(Debug)]
pub(crate) struct OnWake<F> {
    future: Pin<Box<F>>,
    waker: Waker,
    wake: Arc<WakeState>,
}

#[derive(Debug)]
struct WakeState {
    woken: AtomicBool,
    /// The waker of the task that polled last.
    task: Mutex<Option<Waker>>,
}

impl Wake for WakeState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // First, so that a poll that does not see it has not set its waker yet.
        self.woken.store(true, Ordering::Release);
        let task = self.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future> OnWake<F> {
    pub(crate) fn new(future: F) -> Self {
        // The first poll is to reach the future.
        let wake = Arc::new(WakeState { woken: AtomicBool::new(true), task: Mutex::default() });
        Self { future: Box::pin(future), waker: Waker::from(Arc::clone(&wake)), wake }
    }
}

impl<F: Future> Future for OnWake<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut task = self.wake.task.lock();
            if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
                *task = Some(context.waker().clone());
            }
        }
        if !self.wake.woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.wake.woken.store(false, Ordering::Release);
        let this = &mut *self;
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_not_otherwise() {
        let (polls, notify) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let counted = {
            let (polls, notify) = (Arc::clone(&polls), Arc::clone(&notify));
            async move {
                let mut notified = std::pin::pin!(notify.notified());
                poll_fn(|context| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    notified.as_mut().poll(context)
                })
                .await;
            }
        };
        let mut on_wake = OnWake::new(counted);
        for _ in 0..10 {
            tokio::select! {
                biased;
                () = &mut on_wake => panic!("nobody woke it"),
                () = yield_now() => {}
            }
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        // In a task of its own now, whose waker it has to use.
        let waiting = tokio::spawn(on_wake);
        yield_now().await;
        notify.notify_one();
        waiting.await.unwrap();
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
