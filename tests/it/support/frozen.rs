//! Real time that a test advances by hand while bytes cross real sockets.
//!
//! A paused runtime advances its time as soon as no task is ready. It does not know of bytes in the
//! kernel, so timers of seconds fire before bytes that have arrived are read. It does not advance its
//! time while a blocking task runs, so [`Frozen`] keeps one running.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::task::{spawn_blocking, yield_now};
use tokio::time::Instant;

/// Real time after which a test fails because it hangs. The runtime then advances its time by itself, and
/// waits with a longer timeout fail.
const HANG_TIMEOUT: Duration = Duration::from_mins(1);

/// A guard that stops real time until it is dropped; [`Frozen::pass`] advances it.
pub(crate) struct Frozen {
    _until_dropped: mpsc::Sender<()>,
}

impl Frozen {
    /// Stops real time. The runtime has to be paused already.
    pub(crate) fn start() -> Self {
        let (until_dropped, dropped) = mpsc::channel();
        spawn_blocking(move || dropped.recv_timeout(HANG_TIMEOUT));
        Self { _until_dropped: until_dropped }
    }

    /// Advances time at once, and lets all tasks run.
    pub(crate) async fn pass(&self, duration: Duration) {
        tokio::time::advance(duration).await;
        self.run_tasks().await;
    }

    /// Lets all tasks and the kernel make progress. Time is not advanced.
    pub(crate) async fn run_tasks(&self) {
        for _ in 0..20 {
            yield_now().await;
        }
        spawn_blocking(|| thread::sleep(Duration::from_millis(1))).await.unwrap();
    }

    /// Waits until the condition is true. Time is not advanced.
    pub(crate) async fn until(&self, mut condition: impl FnMut() -> bool) {
        let mut attempts = 0;
        while !condition() {
            assert!(attempts < HANG_TIMEOUT.as_millis(), "the condition stays false");
            self.run_tasks().await;
            attempts += 1;
        }
    }

    /// Runs a future while time advances in steps, for at most `longest`. Returns its output and the time
    /// it took.
    pub(crate) async fn run<F: Future>(
        &self,
        step: Duration,
        longest: Duration,
        future: F,
    ) -> (F::Output, Duration) {
        let began = Instant::now();
        let advance = async {
            while began.elapsed() < longest {
                self.pass(step).await;
            }
        };
        tokio::select! {
            biased;
            output = future => (output, began.elapsed()),
            () = advance => panic!("not within {longest:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn time_advances_only_by_hand() {
    let (frozen, began) = (Frozen::start(), Instant::now());
    let sleeping = tokio::spawn(tokio::time::sleep(Duration::from_secs(2)));
    frozen.run_tasks().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    frozen.pass(Duration::from_secs(1)).await;
    assert!(!sleeping.is_finished());
    let (result, elapsed) = frozen.run(Duration::from_secs(1), Duration::MAX, sleeping).await;
    result.unwrap();
    let range = Duration::from_secs(1)..=Duration::from_secs(2);
    assert!(range.contains(&elapsed), "{elapsed:?}");
}
