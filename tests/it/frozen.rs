//! Real time that a test moves by hand, while bytes cross real sockets.
//!
//! A paused runtime moves its time on as soon as it finds nothing to do, and what is on its way
//! through the kernel is nothing it knows of: timers of seconds go off before bytes that are there
//! already are looked at. It leaves its time alone while a blocking task runs, so one is kept.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::task::{spawn_blocking, yield_now};
use tokio::time::Instant;

/// Real time after which a test is stuck. The runtime then moves its time on again, and what waits
/// for more than that fails.
const STUCK: Duration = Duration::from_mins(1);

/// Time stands still but for [`Frozen::pass`], until this is dropped.
pub struct Frozen {
    _until_dropped: mpsc::Sender<()>,
}

impl Frozen {
    /// In a runtime whose time is paused.
    pub fn start() -> Self {
        let (until_dropped, dropped) = mpsc::channel();
        spawn_blocking(move || dropped.recv_timeout(STUCK));
        Self { _until_dropped: until_dropped }
    }

    /// Lets time pass at once, and has everything take note of it.
    pub async fn pass(&self, duration: Duration) {
        tokio::time::advance(duration).await;
        self.turns().await;
    }

    /// Lets everyone go on, and the machine with them. No time passes.
    pub async fn turns(&self) {
        for _ in 0..20 {
            yield_now().await;
        }
        spawn_blocking(|| thread::sleep(Duration::from_millis(1))).await.unwrap();
    }

    /// Waits until the condition holds, without time passing.
    pub async fn until(&self, mut condition: impl FnMut() -> bool) {
        let mut turns = 0;
        while !condition() {
            assert!(turns < STUCK.as_millis(), "stuck");
            self.turns().await;
            turns += 1;
        }
    }

    /// Returns the output of the future and the time it took. The time passes in steps, at most up to
    /// `longest`.
    pub async fn passing<F: Future>(
        &self,
        step: Duration,
        longest: Duration,
        future: F,
    ) -> (F::Output, Duration) {
        let began = Instant::now();
        let passing = async {
            while began.elapsed() < longest {
                self.pass(step).await;
            }
        };
        tokio::select! {
            biased;
            output = future => (output, began.elapsed()),
            () = passing => panic!("not within {longest:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn time_passes_when_it_is_told_to_and_not_otherwise() {
    let (frozen, began) = (Frozen::start(), Instant::now());
    let sleeping = tokio::spawn(tokio::time::sleep(Duration::from_secs(2)));
    frozen.turns().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    frozen.pass(Duration::from_secs(1)).await;
    assert!(!sleeping.is_finished());
    let (slept, took) = frozen.passing(Duration::from_secs(1), Duration::MAX, sleeping).await;
    slept.unwrap();
    assert!(took >= Duration::from_secs(1) && took <= Duration::from_secs(2), "{took:?}");
}
