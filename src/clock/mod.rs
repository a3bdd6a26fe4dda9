//! The one clock of a house.
//!
//! Everything simulated goes by it: fault windows, delays, action timeouts, `exe_time`, values that
//! change with time. What protects the process (header limits, idle connections, shutdown) goes by
//! real time and says so where it does. A clock runs at a multiple of real time, or stands still
//! until told to move: then a test decides when each thing happens, and nothing is slept for.

mod activity;

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub use self::activity::{ActivityGuard, ActivityTracker};
use crate::limits;

/// A point of virtual time: how long after the scenario's start, in nanoseconds (584 years).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct VirtualTime(u64);

impl VirtualTime {
    /// The scenario's start.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens: a timer set to it never goes off by itself.
    pub const MAX: Self = Self(u64::MAX);
    /// Where the clock stops.
    const LAST: Self = Self(u64::MAX - 1);

    /// The point `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the start.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64()
    }

    /// Time since the start.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time from `earlier` to this point; zero where `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved on by `duration`, at most to [`VirtualTime::MAX`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// How virtual time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many virtual seconds in a real one; above 0, at most [`Speed::FASTEST`].
    Times(f64),
    /// Only when [`Clock::advance`] or [`Clock::jump`] says so.
    Manual,
}

impl Speed {
    /// As fast as the wall clock.
    pub const REAL: Self = Self::Times(1.0);
    /// A year in some five minutes: beyond it timers of one simulated second crowd into microseconds.
    pub const FASTEST: f64 = 100_000.0;

    /// Whether the clock stands still by itself.
    #[must_use]
    pub fn is_manual(self) -> bool {
        self == Self::Manual
    }

    /// The speed as a positive number, or why it is none.
    ///
    /// # Errors
    /// A message naming the value where it is not in `0 < times <= FASTEST`.
    pub fn times(times: f64) -> Result<Self, String> {
        if times > 0.0 && times <= Self::FASTEST {
            Ok(Self::Times(times))
        } else {
            Err(format!("speed {times}: expected a number above 0 and at most {}", Self::FASTEST))
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times}"),
            Self::Manual => f.write_str("manual"),
        }
    }
}

/// A clock movement that did not come to rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock stands at {reached:?}, but what it set in motion was still under way after {:?} of real time",
    limits::SETTLE
)]
pub struct NotQuiescent {
    /// How far the clock got.
    pub reached: Duration,
}

/// The wall clock's time, for a scenario that does not say when it starts.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the clock is where real time enters")]
pub fn real_time() -> Timestamp {
    Timestamp::now()
}

/// The time zone of the devices, at all times by one rule (METER-4).
#[must_use]
pub fn local_zone() -> &'static TimeZone {
    static ZONE: LazyLock<TimeZone> =
        // A test holds the rule against the time zone database.
        LazyLock::new(|| TimeZone::posix(limits::ZONE).unwrap_or(TimeZone::UTC));
    &ZONE
}

/// The clock. Cheap to clone; all clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<ClockShared>);

struct ClockShared {
    start: Timestamp,
    /// Asked before a movement, see [`Clock::set_keeper`].
    keeper: OnceLock<MovementHook>,
    motions: ActivityTracker,
    state: Mutex<ClockState>,
    /// Tells [`Clock::drive`] that the earliest timer or the speed changed.
    changed: Notify,
    /// One movement at a time.
    moving: tokio::sync::Mutex<()>,
    /// Tells that the speed was set, or that a movement ended.
    speeds: watch::Sender<()>,
}

impl fmt::Debug for ClockShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("start", &self.start).finish_non_exhaustive()
    }
}

/// Writes down that time may get as far as a point, and returns when that is done.
pub type MovementHook = Box<dyn Fn(VirtualTime) -> MovementHookFuture + Send + Sync>;

/// What a [`MovementHook`] does.
pub type MovementHookFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug)]
struct ClockState {
    /// Manual during a movement, whatever the clock's own speed is.
    speed: Speed,
    /// The clock's own speed during a movement, which it goes back to.
    own_speed: Option<Speed>,
    /// A moment at which real and virtual time are known. The runtime's real time, which
    /// [`Clock::drive`] sleeps by: where a test holds the one it holds the other.
    anchor: (Instant, VirtualTime),
    /// A running clock stands still here, see [`Clock::hold_at`].
    bound: VirtualTime,
    jumped: Jump,
    sleepers: BTreeMap<TimerKey, Option<Waker>>,
    /// Timers that went off and whose sleeper has not taken note yet.
    fired: HashMap<TimerKey, ActivityGuard>,
    next_timer: u64,
}

/// Timers go off by deadline, and within one deadline in the order they were set.
type TimerKey = (VirtualTime, u64);

impl Clock {
    /// A clock that reads `start` now and goes on at `speed`.
    #[must_use]
    pub fn new(start: Timestamp, speed: Speed) -> Self {
        Self::resume(start, speed, VirtualTime::ZERO)
    }

    /// A clock that reads `now` now, in a scenario that started at `start`, and goes on at `speed`.
    #[must_use]
    pub fn resume(start: Timestamp, speed: Speed, now: VirtualTime) -> Self {
        let now = now.min(VirtualTime::LAST);
        Self(Arc::new(ClockShared {
            start,
            keeper: OnceLock::new(),
            motions: ActivityTracker::default(),
            state: Mutex::new(ClockState {
                speed,
                own_speed: None,
                anchor: (Instant::now(), now),
                bound: VirtualTime::LAST,
                jumped: Jump { from: now, to: now },
                sleepers: BTreeMap::new(),
                fired: HashMap::new(),
                next_timer: 0,
            }),
            changed: Notify::new(),
            moving: tokio::sync::Mutex::new(()),
            speeds: watch::Sender::new(()),
        }))
    }

    /// What is under way in the house.
    #[must_use]
    pub fn activity(&self) -> &ActivityTracker {
        &self.0.motions
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> VirtualTime {
        self.state().now()
    }

    /// The civil time at a point of virtual time, at most the latest that can be written.
    #[must_use]
    pub fn civil(&self, time: VirtualTime) -> Timestamp {
        SignedDuration::try_from(time.since_start())
            .ok()
            .and_then(|since| self.0.start.checked_add(since).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// How time passes, a movement under way aside.
    #[must_use]
    pub fn speed(&self) -> Speed {
        let state = self.state();
        state.own_speed.unwrap_or(state.speed)
    }

    /// Lets time pass differently from now on, or from the end of a movement under way.
    pub fn set_speed(&self, speed: Speed) {
        {
            let mut state = self.state();
            if let Some(own) = &mut state.own_speed {
                *own = speed;
            } else {
                state.go_on(speed);
            }
        }
        self.0.changed.notify_one();
        self.0.speeds.send_replace(());
    }

    /// Tells each time that the speed was set or a movement ended: time passes differently from then
    /// on.
    #[must_use]
    pub fn speed_changes(&self) -> watch::Receiver<()> {
        self.0.speeds.subscribe()
    }

    /// Civil time at the scenario's start.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.0.start
    }

    /// Whether a movement is under way.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.0.moving.try_lock().is_err()
    }

    /// Lets a running clock get as far as `bound` and stand still there until it may go further, to
    /// where it would be then: time that is kept must not be shown before it is written down. A
    /// movement has its keeper for that, and is not bound.
    pub fn hold_at(&self, bound: VirtualTime) {
        {
            let mut state = self.state();
            // What has been shown has been shown.
            state.bound = bound.clamp(state.now(), VirtualTime::LAST);
        }
        self.0.changed.notify_one();
    }

    /// The last jump; from where this clock began to there, where it never jumped.
    #[must_use]
    pub fn last_jump(&self) -> Jump {
        self.state().jumped
    }

    /// Has `keeper` asked before each movement, with the time it leads to, so that a process that
    /// ends on the way goes on from no earlier time than anybody has seen. Only the first one is
    /// taken.
    pub fn set_movement_hook(&self, keeper: MovementHook) {
        let _ = self.0.keeper.set(keeper);
    }

    /// Waits for `duration` of virtual time from now.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let mut state = self.state();
        let deadline = state.now().after(duration);
        self.set_timer(&mut state, deadline)
    }

    /// Waits until `deadline`.
    pub fn sleep_until(&self, deadline: VirtualTime) -> Sleep {
        self.set_timer(&mut self.state(), deadline)
    }

    /// Waits for `future`, but not beyond `deadline`.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline came first.
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

    /// Moves time on by `duration`, stopping at every timer on the way, and returns when all that
    /// was due has happened. A running clock goes on from there, as it does from wherever the time
    /// stood when the caller gave up on this.
    ///
    /// # Errors
    /// [`NotQuiescent`] when the house did not come to rest within [`limits::SETTLE`] of real time.
    pub async fn advance(&self, duration: Duration) -> Result<VirtualTime, NotQuiescent> {
        self.move_by(duration, MoveMode::Advance).await
    }

    /// Moves time to the end of `duration` at once: every timer on the way goes off there, in its
    /// order, and sees the later time.
    ///
    /// # Errors
    /// [`NotQuiescent`], as [`Clock::advance`].
    pub async fn jump(&self, duration: Duration) -> Result<VirtualTime, NotQuiescent> {
        self.move_by(duration, MoveMode::Jump).await
    }

    /// What `advance` and `jump` have in common.
    async fn move_by(
        &self,
        duration: Duration,
        way: MoveMode,
    ) -> Result<VirtualTime, NotQuiescent> {
        let _one_at_a_time = self.0.moving.lock().await;
        let (target, resume) = {
            let mut state = self.state();
            state.own_speed = Some(state.speed);
            let now = state.go_on(Speed::Manual);
            (now.after(duration).min(VirtualTime::LAST), Resume(self))
        };
        if let Some(keeper) = self.0.keeper.get() {
            keeper(target).await;
        }
        loop {
            self.wait_quiescent().await?;
            let mut state = self.state();
            if way == MoveMode::Jump && state.jumped.to != target {
                state.jumped = Jump { from: state.now(), to: target };
            }
            let Some(deadline) = state.earliest().filter(|deadline| *deadline <= target) else {
                state.set(target, Speed::Manual);
                break;
            };
            let now = state.now();
            state.set(way.seen(deadline, target).max(now), Speed::Manual);
            let waker = state.fire_first(&self.0.motions);
            drop(state);
            wake(waker);
        }
        self.wait_quiescent().await?;
        drop(resume);
        Ok(target)
    }

    async fn wait_quiescent(&self) -> Result<(), NotQuiescent> {
        if self.0.motions.wait_quiescent(limits::SETTLE).await {
            Ok(())
        } else {
            Err(NotQuiescent { reached: self.now().since_start() })
        }
    }

    /// Sets off the timers of a running clock, for as long as the house lives.
    pub async fn drive(&self) {
        loop {
            let changed = self.0.changed.notified();
            match self.fire_due() {
                Some(real) => {
                    tokio::select! {
                        () = tokio::time::sleep(real) => {}
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Fires what is due on a running clock, and says how long until the next timer.
    fn fire_due(&self) -> Option<Duration> {
        let mut state = self.state();
        let Speed::Times(times) = state.speed else { return None };
        let now = state.now();
        while state.earliest().is_some_and(|deadline| deadline <= now) {
            let waker = state.fire_first(&self.0.motions);
            drop(state);
            wake(waker);
            state = self.state();
        }
        let wait = state.earliest()?.since(now).as_secs_f64() / times;
        // A timer that never goes off still sits in the list: look again within the hour.
        Some(Duration::from_secs_f64(wait.min(3600.0)))
    }

    /// Waits until a movement under way has ended; no other begins until the returned value is
    /// dropped.
    pub async fn lock_movement(&self) -> MovementLock<'_> {
        MovementLock { clock: self, _moving: self.0.moving.lock().await }
    }

    fn set_timer(&self, state: &mut ClockState, deadline: VirtualTime) -> Sleep {
        if deadline <= state.now() {
            return Sleep { clock: self.clone(), timer: None };
        }
        let key = (deadline, state.next_timer);
        state.next_timer += 1;
        let earliest = state.earliest().is_none_or(|earliest| deadline < earliest);
        state.sleepers.insert(key, None);
        if earliest && !state.speed.is_manual() {
            self.0.changed.notify_one();
        }
        Sleep { clock: self.clone(), timer: Some(key) }
    }

    fn state(&self) -> MutexGuard<'_, ClockState> {
        // A panic elsewhere leaves the state whole: each change to it is a single statement.
        self.0.state.lock()
    }
}

/// How a movement treats what lies on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MoveMode {
    /// Stops at each timer.
    Advance,
    /// Has all of them go off at the end.
    Jump,
}

impl MoveMode {
    /// The time that a timer on the way sees.
    fn seen(self, timer: VirtualTime, target: VirtualTime) -> VirtualTime {
        match self {
            Self::Advance => timer,
            Self::Jump => target,
        }
    }
}

/// A jump of the clock: what lies between was not lived through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// Where it began.
    pub from: VirtualTime,
    /// Where it ended.
    pub to: VirtualTime,
}

/// No movement of the clock begins while this lives.
#[must_use = "movements go on once this is dropped"]
#[derive(Debug)]
pub struct MovementLock<'a> {
    clock: &'a Clock,
    _moving: tokio::sync::MutexGuard<'a, ()>,
}

impl MovementLock<'_> {
    /// Takes the clock back to its start, at the given speed. Timers that are still set belong to
    /// tasks of the time before, which the house has ended.
    pub fn reset(&self, speed: Speed) {
        {
            let mut state = self.clock.state();
            state.sleepers.clear();
            state.set(VirtualTime::ZERO, speed);
            state.jumped = Jump { from: VirtualTime::ZERO, to: VirtualTime::ZERO };
            if state.bound < VirtualTime::LAST {
                // Until it is let go on again.
                state.bound = VirtualTime::ZERO;
            }
        }
        self.clock.0.changed.notify_one();
    }
}

/// Gives a clock its speed back when a movement ends, also when its caller gave up on it.
struct Resume<'a>(&'a Clock);

impl Drop for Resume<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.0.state();
            if let Some(speed) = state.own_speed.take() {
                state.go_on(speed);
            }
        }
        self.0.0.changed.notify_one();
        self.0.0.speeds.send_replace(());
    }
}

impl ClockState {
    fn now(&self) -> VirtualTime {
        let (real, virtual_time) = self.anchor;
        match self.speed {
            Speed::Manual => virtual_time,
            Speed::Times(times) => {
                let reached = virtual_time.after(real.elapsed().mul_f64(times));
                // A movement may have gone beyond the bound.
                reached.min(self.bound.max(virtual_time))
            }
        }
    }

    fn set(&mut self, now: VirtualTime, speed: Speed) {
        self.anchor = (Instant::now(), now);
        self.speed = speed;
    }

    /// Goes on from now at another speed.
    fn go_on(&mut self, speed: Speed) -> VirtualTime {
        let now = self.now();
        self.set(now, speed);
        now
    }

    fn earliest(&self) -> Option<VirtualTime> {
        self.sleepers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Sets off the earliest timer. Its waker is for the caller, without the lock: what waking runs
    /// may come back to the clock.
    fn fire_first(&mut self, motions: &ActivityTracker) -> Option<Waker> {
        let (key, waker) = self.sleepers.pop_first()?;
        self.fired.insert(key, motions.enter());
        waker
    }
}

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline reached")]
pub struct Elapsed;

/// Waits for a point of virtual time. The timer is set when this is made, not when first polled.
#[derive(Debug)]
#[must_use = "a sleep does nothing unless awaited"]
pub struct Sleep {
    clock: Clock,
    /// None once there is nothing to wait for.
    timer: Option<TimerKey>,
}

impl Sleep {
    /// A handle that ends this sleep early.
    #[must_use]
    pub fn alarm(&self) -> Alarm {
        Alarm { clock: self.clock.clone(), timer: self.timer }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(key) = self.timer else { return Poll::Ready(()) };
        let mut state = self.clock.state();
        if let Some(waker) = state.sleepers.get_mut(&key) {
            *waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        // It went off, and its motion lasts until this is dropped. Otherwise a reset cleared the
        // list, and the house ends this task.
        if state.fired.contains_key(&key) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            // Taken out under the lock, dropped after it: the motion may wake a waiting movement.
            let motion = {
                let mut state = self.clock.state();
                state.sleepers.remove(&key);
                state.fired.remove(&key)
            };
            drop(motion);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Ends one [`Sleep`] early.
#[derive(Debug, Clone)]
pub struct Alarm {
    clock: Clock,
    timer: Option<TimerKey>,
}

impl Alarm {
    /// Whether the sleep has ended or was given up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.timer.is_none_or(|key| !self.clock.state().sleepers.contains_key(&key))
    }

    /// Sets the timer off now; nothing happens where it went off already.
    pub fn ring(&self) {
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

    /// Spawns a task that writes `name` and the time down when its timer goes off.
    fn note(
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
            note(&clock, &log, at, name);
        }
        clock.advance(SECOND * 4).await.unwrap();
        assert_eq!(*log.lock(), [(1, "a"), (2, "b"), (2, "b2"), (3, "c")]);
        assert_eq!(clock.now().since_start(), SECOND * 4);
    }

    #[tokio::test]
    async fn jump_lets_every_timer_see_the_end() {
        let (clock, log) = (manual(), Arc::default());
        for (at, name) in [(3, "c"), (1, "a")] {
            note(&clock, &log, at, name);
        }
        clock.jump(SECOND * 4).await.unwrap();
        assert_eq!(*log.lock(), [(4, "a"), (4, "c")]);
    }

    #[tokio::test]
    async fn a_timer_set_on_the_way_goes_off_on_the_way() {
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
    async fn timeout_ends_what_takes_longer() {
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
    async fn an_alarm_ends_a_sleep_early() {
        let clock = manual();
        let sleep = clock.sleep_until(VirtualTime::MAX);
        let alarm = sleep.alarm();
        let task = tokio::spawn(sleep);
        alarm.ring();
        task.await.unwrap();
        alarm.ring();
    }

    #[tokio::test(start_paused = true)]
    async fn a_movement_says_so_when_the_house_does_not_come_to_rest() {
        let clock = manual();
        let _stuck = clock.activity().enter();
        assert_eq!(clock.advance(SECOND).await, Err(NotQuiescent { reached: Duration::ZERO }));
    }

    #[tokio::test]
    async fn a_running_clock_goes_on_by_itself_and_faster_when_told() {
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
    async fn a_held_clock_waits_and_catches_up() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Times(Speed::FASTEST));
        let hour = VirtualTime::ZERO.after(Duration::from_hours(1));
        clock.hold_at(hour);
        let driver = clock.clone();
        let drive = tokio::spawn(async move { driver.drive().await });
        let (before, after) = (clock.sleep_until(hour), clock.sleep_until(hour.after(SECOND)));
        before.await;
        assert_eq!(clock.now(), hour);
        clock.hold_at(VirtualTime::ZERO);
        assert_eq!(clock.now(), hour, "what was shown has been shown");
        clock.jump(SECOND / 2).await.unwrap();
        assert_eq!(clock.now(), hour.after(SECOND / 2), "a movement is not bound");
        clock.hold_at(hour.after(SECOND));
        after.await;
        assert_eq!(clock.now(), hour.after(SECOND));
        clock.lock_movement().await.reset(Speed::Times(1.0));
        assert_eq!(clock.now(), VirtualTime::ZERO);
        drive.abort();
    }

    #[tokio::test]
    async fn no_movement_begins_while_a_reset_goes_on() {
        let clock = manual();
        let still = clock.lock_movement().await;
        still.reset(Speed::Manual);
        let mut movement = pin!(clock.advance(SECOND));
        tokio::select! {
            biased;
            _ = &mut movement => panic!("the reset goes on"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(clock.now(), VirtualTime::ZERO);
        drop(still);
        assert_eq!(movement.await.unwrap().since_start(), SECOND);
    }

    #[tokio::test]
    async fn moving_a_running_clock_leaves_it_running() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::REAL);
        clock.jump(Duration::from_hours(24)).await.unwrap();
        assert_eq!(clock.speed(), Speed::REAL);
        assert!(clock.now().since_start() >= Duration::from_hours(24));
    }

    #[tokio::test]
    async fn a_speed_set_during_a_movement_counts_from_its_end() {
        for (before, after) in [(Speed::REAL, Speed::Manual), (Speed::Manual, Speed::REAL)] {
            let clock = Clock::new(Timestamp::UNIX_EPOCH, before);
            let motion = clock.activity().enter();
            let mut movement = pin!(clock.advance(SECOND));
            tokio::select! {
                biased;
                _ = &mut movement => panic!("something is under way"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(clock.speed(), before);
            clock.set_speed(after);
            let stands = clock.now();
            drop(motion);
            assert_eq!(movement.await.unwrap(), stands.after(SECOND));
            assert_eq!(clock.speed(), after);
        }
    }

    #[tokio::test]
    async fn the_clock_stops_before_what_never_happens() {
        let clock = manual();
        let never = clock.sleep_until(VirtualTime::MAX);
        clock.jump(Duration::MAX).await.unwrap();
        clock.advance(Duration::MAX).await.unwrap();
        let late = clock.sleep_until(VirtualTime::MAX);
        for sleep in [never, late] {
            tokio::select! {
                biased;
                () = sleep => panic!("it went off"),
                () = std::future::ready(()) => {}
            }
        }
    }

    #[test]
    fn civil_time_ends_where_writing_ends() {
        assert_eq!(manual().civil(VirtualTime::ZERO), Timestamp::UNIX_EPOCH);
        assert_eq!(
            Clock::new(Timestamp::MAX, Speed::Manual).civil(VirtualTime::MAX),
            Timestamp::MAX
        );
    }
}
