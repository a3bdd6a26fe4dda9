//! The one clock of a simulation.
//!
//! Everything that is simulated uses it: fault windows, delays, action timeouts, `exe_time`, values
//! that change with time. Limits that protect the process (header timeouts, idle connections,
//! shutdown) use real time, and their documentation says so. A clock runs at a multiple of real
//! time, or stands still until it is moved; then a test decides when each event happens, and no
//! test has to sleep.

mod activity;

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::SignedDuration;
/// A moment of civil time. It is jiff's type, so that users can format it and compute with it.
pub use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub use self::activity::{ActivityGuard, ActivityTracker};
use crate::limits;

/// A point of virtual time, in nanoseconds since the scenario's start (up to 584 years).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct VirtualTime(u64);

impl VirtualTime {
    /// The scenario's start.
    pub const ZERO: Self = Self(0);
    /// Later than every event: a timer that is set to it never fires by itself.
    pub const MAX: Self = Self(u64::MAX);
    /// The last point that the clock reaches.
    const LAST: Self = Self(u64::MAX - 1);

    /// Returns the point `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the seconds since the start.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64()
    }

    /// Returns the duration since the start.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Returns the duration from `earlier` to this point; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the point `duration` later, at most [`VirtualTime::MAX`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// The rate at which virtual time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// Virtual seconds per real second: above 0, at most [`Speed::FASTEST`].
    Times(f64),
    /// Time passes only by [`Clock::advance`] and [`Clock::jump`].
    Manual,
}

impl Speed {
    /// The speed of the wall clock.
    pub const REAL: Self = Self::Times(1.0);
    /// The fastest speed: a year takes some five minutes. Beyond it, timers of one simulated second
    /// are microseconds apart.
    pub const FASTEST: f64 = 100_000.0;

    /// Returns true if the clock stands still by itself.
    #[must_use]
    pub fn is_manual(self) -> bool {
        self == Self::Manual
    }

    /// Checks a multiple of real time.
    ///
    /// # Errors
    /// [`SpeedError`] if the value is not in `0 < times <= FASTEST`.
    pub fn times(times: f64) -> Result<Self, SpeedError> {
        if times > 0.0 && times <= Self::FASTEST {
            Ok(Self::Times(times))
        } else {
            Err(SpeedError(times))
        }
    }
}

/// A multiple of real time that is no speed of a clock.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("speed {0}: expected a number above 0 and at most {fastest}", fastest = Speed::FASTEST)]
pub struct SpeedError(pub f64);

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times}"),
            Self::Manual => f.write_str("manual"),
        }
    }
}

/// A clock movement after which the house did not become quiescent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock stands at {reached:?}, but what it set in motion was still under way after {:?} of real time",
    limits::QUIESCENCE_TIMEOUT
)]
pub struct NotQuiescent {
    /// The time that the clock reached.
    pub reached: Duration,
}

/// Returns the time of the wall clock, for a scenario that has no start time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the clock is where real time enters")]
pub fn real_time() -> Timestamp {
    Timestamp::now()
}

/// A clock. Cheap to clone; all clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<ClockShared>);

struct ClockShared {
    start: Timestamp,
    /// Called before each movement, see [`Clock::set_movement_hook`].
    hook: OnceLock<MovementHook>,
    activity: ActivityTracker,
    state: Mutex<ClockState>,
    /// Notifies [`Clock::drive`] that the earliest timer or the speed has changed.
    timers_changed: Notify,
    /// Held during a movement, so that only one runs at a time.
    movement: tokio::sync::Mutex<()>,
    /// Notified when the speed was set or a movement ended.
    speed_changed: watch::Sender<()>,
}

impl fmt::Debug for ClockShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("start", &self.start).finish_non_exhaustive()
    }
}

/// A function that persists the time that the clock may reach. Its future completes once that is
/// done.
pub type MovementHook = Box<dyn Fn(VirtualTime) -> MovementHookFuture + Send + Sync>;

/// The future that a [`MovementHook`] returns.
pub type MovementHookFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug)]
struct ClockState {
    /// The current speed: [`Speed::Manual`] during a movement, otherwise the clock's own speed.
    speed: Speed,
    /// The clock's own speed during a movement, to which the clock returns afterwards. `None` if
    /// there is no movement.
    own_speed: Option<Speed>,
    /// A point at which both real and virtual time are known. The real time is the runtime's, by
    /// which [`Clock::drive`] also sleeps: a test that pauses one pauses the other.
    reference: (Instant, VirtualTime),
    /// The point beyond which a running clock does not go, see [`Clock::set_limit`].
    limit: VirtualTime,
    last_jump: Jump,
    sleepers: BTreeMap<TimerKey, Option<Waker>>,
    /// Timers that have fired and whose sleeper has not noticed yet.
    fired: HashMap<TimerKey, ActivityGuard>,
    next_timer: u64,
}

/// The order in which timers fire: by deadline, and within one deadline in the order in which they
/// were set.
type TimerKey = (VirtualTime, u64);

/// Waits for changes of a clock's speed. [`Clock::speed_changes`] returns it.
#[derive(Debug)]
pub struct SpeedChanges(watch::Receiver<()>);

impl SpeedChanges {
    /// Waits for the next change since the last call. Never returns once the clock is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Clock {
    /// Creates a clock that reads `start` now and runs at `speed`.
    #[must_use]
    pub fn new(start: Timestamp, speed: Speed) -> Self {
        Self::resume(start, speed, VirtualTime::ZERO)
    }

    /// Creates a clock of a scenario that started at `start`. It reads `now` now and runs at
    /// `speed`.
    #[must_use]
    pub fn resume(start: Timestamp, speed: Speed, now: VirtualTime) -> Self {
        let now = now.min(VirtualTime::LAST);
        Self(Arc::new(ClockShared {
            start,
            hook: OnceLock::new(),
            activity: ActivityTracker::default(),
            state: Mutex::new(ClockState {
                speed,
                own_speed: None,
                reference: (Instant::now(), now),
                limit: VirtualTime::LAST,
                last_jump: Jump { from: now, to: now },
                sleepers: BTreeMap::new(),
                fired: HashMap::new(),
                next_timer: 0,
            }),
            timers_changed: Notify::new(),
            movement: tokio::sync::Mutex::new(()),
            speed_changed: watch::Sender::new(()),
        }))
    }

    /// Returns the tracker of the activity in flight in the house.
    #[must_use]
    pub fn activity(&self) -> &ActivityTracker {
        &self.0.activity
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> VirtualTime {
        self.state().now()
    }

    /// Returns the civil time at a point of virtual time, at most the latest that [`Timestamp`] can
    /// represent.
    #[must_use]
    pub fn civil(&self, time: VirtualTime) -> Timestamp {
        SignedDuration::try_from(time.since_start())
            .ok()
            .and_then(|since| self.0.start.checked_add(since).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// Returns the clock's own speed, which a movement does not change.
    #[must_use]
    pub fn speed(&self) -> Speed {
        let state = self.state();
        state.own_speed.unwrap_or(state.speed)
    }

    /// Sets the speed, effective now or at the end of a movement in progress.
    pub fn set_speed(&self, speed: Speed) {
        {
            let mut state = self.state();
            if let Some(own) = &mut state.own_speed {
                *own = speed;
            } else {
                state.resume_at(speed);
            }
        }
        self.0.timers_changed.notify_one();
        self.0.speed_changed.send_replace(());
    }

    /// Returns a waiter for each time that the speed is set or a movement ends, because time passes
    /// differently from then on.
    #[must_use]
    pub fn speed_changes(&self) -> SpeedChanges {
        SpeedChanges(self.0.speed_changed.subscribe())
    }

    /// Returns the civil time at the scenario's start.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.0.start
    }

    /// Returns the number of timers that are set. One that is set to [`VirtualTime::MAX`] counts, too.
    #[must_use]
    pub fn timer_count(&self) -> usize {
        self.state().sleepers.len()
    }

    /// Returns true if a movement is in progress.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.0.movement.try_lock().is_err()
    }

    /// Sets the point beyond which a running clock does not go. The clock stands still at the
    /// limit; once the limit is raised, it continues from the time it would have reached without
    /// the limit.
    ///
    /// The limit exists because a persistent house must not show a time that is not persisted yet.
    /// A movement is not bound by it, because the movement hook persists the target first.
    pub fn set_limit(&self, limit: VirtualTime) {
        {
            let mut state = self.state();
            // A limit in the past is raised to now, because clients have seen that time.
            state.limit = limit.clamp(state.now(), VirtualTime::LAST);
        }
        self.0.timers_changed.notify_one();
    }

    /// Returns the last jump. If the clock never jumped, both ends are the time at which it was
    /// created.
    #[must_use]
    pub fn last_jump(&self) -> Jump {
        self.state().last_jump
    }

    /// Sets the function that is called before each movement with the time it leads to, so that a
    /// process that ends on the way resumes at no earlier time than any client has seen. Only the
    /// first call has an effect.
    pub fn set_movement_hook(&self, hook: MovementHook) {
        let _ = self.0.hook.set(hook);
    }

    /// Waits for `duration` of virtual time from now.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.set_timer(|now| now.after(duration))
    }

    /// Waits until `deadline`.
    pub fn sleep_until(&self, deadline: VirtualTime) -> Sleep {
        self.set_timer(|_| deadline)
    }

    /// Waits for `future`, at most until `deadline`.
    ///
    /// # Errors
    /// [`Elapsed`] if the deadline came first.
    pub async fn timeout_at<F: Future>(
        &self,
        deadline: VirtualTime,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut sleep = pin!(self.sleep_until(deadline));
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            sleep.as_mut().poll(context).map(|()| Err(Elapsed))
        })
        .await
    }

    /// Moves time forward by `duration`, stops at every timer on the way, and returns when
    /// everything that was due has happened. A running clock continues from there. If the caller
    /// drops the future, the clock continues from the time it has reached.
    ///
    /// # Errors
    /// [`NotQuiescent`] if the house did not become quiescent in time,
    /// 10 s of real time.
    pub async fn advance(&self, duration: Duration) -> Result<VirtualTime, NotQuiescent> {
        self.move_by(duration, MoveMode::Advance, || ()).await
    }

    /// Moves time as [`Clock::advance`] does, and calls `ended` at the end of the movement, before
    /// another one can begin: also if the movement fails, and if the caller drops the future.
    ///
    /// # Errors
    /// [`NotQuiescent`], as [`Clock::advance`].
    pub async fn advance_then(
        &self,
        duration: Duration,
        ended: impl FnOnce(),
    ) -> Result<VirtualTime, NotQuiescent> {
        self.move_by(duration, MoveMode::Advance, ended).await
    }

    /// Moves time to the end of `duration` at once: every timer on the way fires there, in order,
    /// and sees the later time.
    ///
    /// # Errors
    /// [`NotQuiescent`], as [`Clock::advance`].
    pub async fn jump(&self, duration: Duration) -> Result<VirtualTime, NotQuiescent> {
        self.move_by(duration, MoveMode::Jump, || ()).await
    }

    /// Moves time as [`Clock::jump`] does, and calls `ended` as [`Clock::advance_then`] does.
    ///
    /// # Errors
    /// [`NotQuiescent`], as [`Clock::advance`].
    pub async fn jump_then(
        &self,
        duration: Duration,
        ended: impl FnOnce(),
    ) -> Result<VirtualTime, NotQuiescent> {
        self.move_by(duration, MoveMode::Jump, ended).await
    }

    /// Moves time by `duration`, as `mode` says, and calls `ended` while the movement still excludes
    /// others.
    async fn move_by(
        &self,
        duration: Duration,
        mode: MoveMode,
        ended: impl FnOnce(),
    ) -> Result<VirtualTime, NotQuiescent> {
        let _one_at_a_time = self.0.movement.lock().await;
        let _ended = CallOnDrop(Some(ended));
        let (target, restore) = {
            let mut state = self.state();
            state.own_speed = Some(state.speed);
            let now = state.resume_at(Speed::Manual);
            (now.after(duration).min(VirtualTime::LAST), RestoreSpeed(self))
        };
        if let Some(hook) = self.0.hook.get() {
            hook(target).await;
        }
        loop {
            self.wait_quiescent().await?;
            let mut state = self.state();
            if mode == MoveMode::Jump && state.last_jump.to != target {
                state.last_jump = Jump { from: state.now(), to: target };
            }
            let Some(deadline) = state.earliest().filter(|deadline| *deadline <= target) else {
                state.set(target, Speed::Manual);
                break;
            };
            let now = state.now();
            state.set(mode.visible_time(deadline, target).max(now), Speed::Manual);
            let waker = state.fire_earliest(&self.0.activity);
            drop(state);
            wake(waker);
        }
        self.wait_quiescent().await?;
        drop(restore);
        Ok(target)
    }

    async fn wait_quiescent(&self) -> Result<(), NotQuiescent> {
        if self.0.activity.wait_quiescent(limits::QUIESCENCE_TIMEOUT).await {
            Ok(())
        } else {
            Err(NotQuiescent { reached: self.now().since_start() })
        }
    }

    /// Fires the timers of a running clock, for as long as the house lives.
    pub async fn drive(&self) {
        loop {
            let notified = self.0.timers_changed.notified();
            match self.fire_due() {
                Some(real) => {
                    tokio::select! {
                        () = tokio::time::sleep(real) => {}
                        () = notified => {}
                    }
                }
                None => notified.await,
            }
        }
    }

    /// Fires the timers that are due on a running clock and returns the real time until the next
    /// one. `None` if the clock is manual or has no timer.
    fn fire_due(&self) -> Option<Duration> {
        let mut state = self.state();
        let Speed::Times(times) = state.speed else { return None };
        let now = state.now();
        while state.earliest().is_some_and(|deadline| deadline <= now) {
            let waker = state.fire_earliest(&self.0.activity);
            drop(state);
            wake(waker);
            state = self.state();
        }
        let wait = state.earliest()?.since(now).as_secs_f64() / times;
        // Waits for an hour at most, because the list may contain a timer that never fires.
        Some(Duration::from_secs_f64(wait.min(3600.0)))
    }

    /// Waits until a movement in progress has ended. No other movement begins until the returned
    /// lock is dropped.
    pub async fn lock_movement(&self) -> MovementLock<'_> {
        MovementLock { clock: self, _moving: self.0.movement.lock().await }
    }

    /// Sets a timer. `deadline` returns its time, given the current one.
    fn set_timer(&self, deadline: impl FnOnce(VirtualTime) -> VirtualTime) -> Sleep {
        let mut state = self.state();
        let now = state.now();
        let deadline = deadline(now);
        if deadline <= now {
            return Sleep { clock: self.clone(), timer: None };
        }
        let key = (deadline, state.next_timer);
        state.next_timer += 1;
        let earliest = state.earliest().is_none_or(|earliest| deadline < earliest);
        state.sleepers.insert(key, None);
        let is_manual = state.speed.is_manual();
        drop(state);
        if earliest && !is_manual {
            self.0.timers_changed.notify_one();
        }
        Sleep { clock: self.clone(), timer: Some(key) }
    }

    fn state(&self) -> MutexGuard<'_, ClockState> {
        // A panic elsewhere leaves the state consistent, because each change to it is a single
        // statement.
        self.0.state.lock()
    }
}

/// The way in which a movement handles the timers on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MoveMode {
    /// Stops at each timer.
    Advance,
    /// Fires all of them at the end.
    Jump,
}

impl MoveMode {
    /// Returns the time that a timer on the way sees.
    fn visible_time(self, timer: VirtualTime, target: VirtualTime) -> VirtualTime {
        match self {
            Self::Advance => timer,
            Self::Jump => target,
        }
    }
}

/// A jump of the clock. Nothing was simulated between its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// The time at which the jump began.
    pub from: VirtualTime,
    /// The time at which the jump ended.
    pub to: VirtualTime,
}

/// A lock that keeps movements of the clock from beginning.
#[must_use = "movements go on once this is dropped"]
#[derive(Debug)]
pub struct MovementLock<'a> {
    clock: &'a Clock,
    _moving: tokio::sync::MutexGuard<'a, ()>,
}

impl MovementLock<'_> {
    /// Resets the clock to its start, at the given speed. Timers that are still set belong to tasks
    /// from before the reset, which the house has aborted.
    pub fn reset(&self, speed: Speed) {
        let sleepers = {
            let mut state = self.clock.state();
            state.set(VirtualTime::ZERO, speed);
            state.last_jump = Jump { from: VirtualTime::ZERO, to: VirtualTime::ZERO };
            if state.limit < VirtualTime::LAST {
                // The clock stands still until the limit is raised again.
                state.limit = VirtualTime::ZERO;
            }
            std::mem::take(&mut state.sleepers)
        };
        // Dropped after the lock is released, because the drop of a waker may run code that uses the
        // clock.
        drop(sleepers);
        self.clock.0.timers_changed.notify_one();
    }
}

/// Calls a function when it is dropped.
struct CallOnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for CallOnDrop<F> {
    fn drop(&mut self) {
        if let Some(function) = self.0.take() {
            function();
        }
    }
}

/// Restores the speed of a clock when a movement ends, also if its caller dropped the future.
struct RestoreSpeed<'a>(&'a Clock);

impl Drop for RestoreSpeed<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.0.state();
            if let Some(speed) = state.own_speed.take() {
                state.resume_at(speed);
            }
        }
        self.0.0.timers_changed.notify_one();
        self.0.0.speed_changed.send_replace(());
    }
}

impl ClockState {
    fn now(&self) -> VirtualTime {
        let (real, virtual_time) = self.reference;
        match self.speed {
            Speed::Manual => virtual_time,
            Speed::Times(times) => {
                let elapsed = real.elapsed();
                // The usual speed needs no floating point, which would be a third of the time of a call.
                let is_real = self.speed == Speed::REAL;
                let passed = if is_real { elapsed } else { elapsed.mul_f64(times) };
                let reached = virtual_time.after(passed);
                // A movement may have gone beyond the limit.
                reached.min(self.limit.max(virtual_time))
            }
        }
    }

    fn set(&mut self, now: VirtualTime, speed: Speed) {
        self.reference = (Instant::now(), now);
        self.speed = speed;
    }

    /// Continues from now at another speed.
    fn resume_at(&mut self, speed: Speed) -> VirtualTime {
        let now = self.now();
        self.set(now, speed);
        now
    }

    fn earliest(&self) -> Option<VirtualTime> {
        self.sleepers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Fires the earliest timer. The caller calls the returned waker after the lock is released,
    /// because waking may run code that uses the clock.
    fn fire_earliest(&mut self, activity: &ActivityTracker) -> Option<Waker> {
        let (key, waker) = self.sleepers.pop_first()?;
        self.fired.insert(key, activity.enter());
        waker
    }
}

/// The error of a wait whose deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline reached")]
pub struct Elapsed;

/// A future that completes at a point of virtual time. The timer is set when the future is created,
/// not when it is first polled.
#[derive(Debug)]
#[must_use = "a sleep does nothing unless awaited"]
pub struct Sleep {
    clock: Clock,
    /// `None` if the deadline has passed already.
    timer: Option<TimerKey>,
}

impl Sleep {
    /// Returns a handle that ends this sleep early.
    #[must_use]
    pub fn wake_handle(&self) -> WakeHandle {
        WakeHandle { clock: self.clock.clone(), timer: self.timer }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(key) = self.timer else { return Poll::Ready(()) };
        // Cloned before the lock is taken, and the previous waker is dropped after it is released,
        // because both may run code that uses the clock.
        let waker = context.waker().clone();
        let mut state = self.clock.state();
        if let Some(registered) = state.sleepers.get_mut(&key) {
            let previous = registered.replace(waker);
            drop(state);
            drop(previous);
            return Poll::Pending;
        }
        // A fired timer counts as activity until this is dropped. If the timer is in neither list,
        // a reset has cleared it, and the house aborts this task.
        if state.fired.contains_key(&key) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            // Removed under the lock and dropped after it, because the end of the activity may wake
            // a waiting movement, and the drop of a waker may run code that uses the clock.
            let removed = {
                let mut state = self.clock.state();
                (state.sleepers.remove(&key), state.fired.remove(&key))
            };
            drop(removed);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A handle that ends one [`Sleep`] early.
#[derive(Debug, Clone)]
pub struct WakeHandle {
    clock: Clock,
    timer: Option<TimerKey>,
}

impl WakeHandle {
    /// Returns true if the sleep has ended or was dropped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.timer.is_none_or(|key| !self.clock.state().sleepers.contains_key(&key))
    }

    /// Fires the timer now. Does nothing if it has fired already.
    pub fn wake(&self) {
        let Some(key) = self.timer else { return };
        let mut state = self.clock.state();
        let Some(waker) = state.sleepers.remove(&key) else { return };
        state.fired.insert(key, self.clock.activity().enter());
        drop(state);
        wake(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn manual() -> Clock {
        Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual)
    }

    /// Spawns a task that records `name` and the time when its timer fires.
    fn record_at(
        clock: &Clock,
        log: &Arc<Mutex<Vec<(u64, &'static str)>>>,
        at: u64,
        name: &'static str,
    ) {
        let (clock, log) = (clock.clone(), Arc::clone(log));
        let sleep = clock.sleep(SECOND * u32::try_from(at).unwrap());
        tokio::spawn(clock.activity().clone().track(async move {
            sleep.await;
            log.lock().push((clock.now().since_start().as_secs(), name));
        }));
    }

    #[tokio::test]
    async fn advance_stops_at_every_timer_in_order() {
        let (clock, log) = (manual(), Arc::default());
        for (at, name) in [(3, "c"), (1, "a"), (2, "b"), (9, "late"), (2, "b2")] {
            record_at(&clock, &log, at, name);
        }
        clock.advance(SECOND * 4).await.unwrap();
        assert_eq!(*log.lock(), [(1, "a"), (2, "b"), (2, "b2"), (3, "c")]);
        assert_eq!(clock.now().since_start(), SECOND * 4);
    }

    #[tokio::test]
    async fn jump_fires_every_timer_at_its_target() {
        let (clock, log) = (manual(), Arc::default());
        for (at, name) in [(3, "c"), (1, "a")] {
            record_at(&clock, &log, at, name);
        }
        clock.jump(SECOND * 4).await.unwrap();
        assert_eq!(*log.lock(), [(4, "a"), (4, "c")]);
    }

    #[tokio::test]
    async fn advance_fires_timers_that_are_set_on_the_way() {
        let clock = manual();
        let inner = clock.clone();
        let task = tokio::spawn(clock.activity().track(async move {
            for _ in 0..5 {
                inner.sleep(SECOND).await;
            }
            inner.now()
        }));
        clock.advance(SECOND * 10).await.unwrap();
        assert!(task.is_finished(), "advance returned before what was due had happened");
        assert_eq!(task.await.unwrap().since_start(), SECOND * 5);
    }

    #[tokio::test]
    async fn timeout_at_ends_a_wait_at_its_deadline() {
        let clock = manual();
        let inner = clock.clone();
        let task = tokio::spawn(clock.activity().track(async move {
            let deadline = inner.now().after(SECOND);
            inner.timeout_at(deadline, std::future::pending::<()>()).await
        }));
        clock.advance(SECOND).await.unwrap();
        assert_eq!(task.await.unwrap(), Err(Elapsed));
    }

    #[tokio::test]
    async fn a_wake_handle_ends_a_sleep_early() {
        let clock = manual();
        let sleep = clock.sleep_until(VirtualTime::MAX);
        let wake_handle = sleep.wake_handle();
        let task = tokio::spawn(sleep);
        wake_handle.wake();
        task.await.unwrap();
        wake_handle.wake();
    }

    /// A waker that fails the test if it is dropped while the state of the clock is locked.
    struct DropsUnlocked(Clock);

    impl std::task::Wake for DropsUnlocked {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for DropsUnlocked {
        fn drop(&mut self) {
            assert!(self.0.0.state.try_lock().is_some(), "dropped under the lock");
        }
    }

    #[tokio::test]
    async fn wakers_are_dropped_without_the_lock() {
        let clock = manual();
        let poll_once = |sleep: &mut Sleep| {
            let waker = Waker::from(Arc::new(DropsUnlocked(clock.clone())));
            let mut context = Context::from_waker(&waker);
            assert!(Pin::new(sleep).poll(&mut context).is_pending());
        };
        let mut polled_twice = clock.sleep(SECOND);
        poll_once(&mut polled_twice);
        poll_once(&mut polled_twice);
        drop(polled_twice);
        let mut reset = clock.sleep(SECOND);
        poll_once(&mut reset);
        clock.lock_movement().await.reset(Speed::Manual);
    }

    #[tokio::test(start_paused = true)]
    async fn a_movement_reports_a_house_that_is_not_quiescent() {
        let clock = manual();
        let _stuck = clock.activity().enter();
        assert_eq!(clock.advance(SECOND).await, Err(NotQuiescent { reached: Duration::ZERO }));
    }

    #[tokio::test]
    async fn a_running_clock_runs_at_its_speed_until_that_changes() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Times(1000.0));
        let driver = clock.clone();
        let drive = tokio::spawn(async move { driver.drive().await });
        clock.sleep(SECOND * 10).await;
        assert!(clock.now().since_start() >= SECOND * 10);
        clock.set_speed(Speed::Manual);
        let stopped = clock.now();
        assert_eq!(clock.now(), stopped);
        clock.advance(SECOND).await.unwrap();
        assert_eq!(clock.now(), stopped.after(SECOND));
        drive.abort();
    }

    #[tokio::test]
    async fn a_clock_stops_at_its_limit_and_catches_up() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Times(Speed::FASTEST));
        let hour = VirtualTime::ZERO.after(Duration::from_hours(1));
        clock.set_limit(hour);
        let driver = clock.clone();
        let drive = tokio::spawn(async move { driver.drive().await });
        let (before, after) = (clock.sleep_until(hour), clock.sleep_until(hour.after(SECOND)));
        before.await;
        assert_eq!(clock.now(), hour);
        clock.set_limit(VirtualTime::ZERO);
        assert_eq!(clock.now(), hour, "a time that was seen stays");
        clock.jump(SECOND / 2).await.unwrap();
        assert_eq!(clock.now(), hour.after(SECOND / 2), "the limit does not bind a movement");
        clock.set_limit(hour.after(SECOND));
        after.await;
        assert_eq!(clock.now(), hour.after(SECOND));
        clock.lock_movement().await.reset(Speed::Times(1.0));
        assert_eq!(clock.now(), VirtualTime::ZERO);
        drive.abort();
    }

    #[tokio::test]
    async fn no_movement_begins_during_a_reset() {
        let clock = manual();
        let lock = clock.lock_movement().await;
        lock.reset(Speed::Manual);
        let mut movement = pin!(clock.advance(SECOND));
        tokio::select! {
            biased;
            _ = &mut movement => panic!("the reset goes on"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(clock.now(), VirtualTime::ZERO);
        drop(lock);
        assert_eq!(movement.await.unwrap().since_start(), SECOND);
    }

    #[tokio::test]
    async fn a_movement_leaves_a_running_clock_running() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::REAL);
        clock.jump(Duration::from_hours(24)).await.unwrap();
        assert_eq!(clock.speed(), Speed::REAL);
        assert!(clock.now().since_start() >= Duration::from_hours(24));
    }

    #[tokio::test]
    async fn a_speed_set_during_a_movement_counts_from_its_end() {
        for (before, after) in [(Speed::REAL, Speed::Manual), (Speed::Manual, Speed::REAL)] {
            let clock = Clock::new(Timestamp::UNIX_EPOCH, before);
            let guard = clock.activity().enter();
            let mut movement = pin!(clock.advance(SECOND));
            tokio::select! {
                biased;
                _ = &mut movement => panic!("an activity is in flight"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(clock.speed(), before);
            clock.set_speed(after);
            let before_the_movement = clock.now();
            drop(guard);
            assert_eq!(movement.await.unwrap(), before_the_movement.after(SECOND));
            assert_eq!(clock.speed(), after);
        }
    }

    #[tokio::test]
    async fn no_movement_reaches_a_timer_that_never_fires() {
        let clock = manual();
        let never = clock.sleep_until(VirtualTime::MAX);
        clock.jump(Duration::MAX).await.unwrap();
        clock.advance(Duration::MAX).await.unwrap();
        let late = clock.sleep_until(VirtualTime::MAX);
        for sleep in [never, late] {
            tokio::select! {
                biased;
                () = sleep => panic!("the timer fired"),
                () = std::future::ready(()) => {}
            }
        }
    }

    #[test]
    fn civil_time_ends_at_the_latest_timestamp() {
        assert_eq!(manual().civil(VirtualTime::ZERO), Timestamp::UNIX_EPOCH);
        assert_eq!(
            Clock::new(Timestamp::MAX, Speed::Manual).civil(VirtualTime::MAX),
            Timestamp::MAX
        );
    }
}
