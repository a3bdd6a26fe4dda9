//! The device and its meter: what it has heard, and when it hears more.

use parking_lot::MutexGuard;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

use super::handle::DeviceState;
use super::{Config, Device, Snapshot};
use crate::clock::VirtualTime;
use crate::fault::Episodes;
use crate::limits;
use crate::meter::{MeterListener, ReceptionCursor};

impl Device {
    /// What it is at this moment, with what it knows of its meter: what every surface shows of one
    /// instant.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (mut state, now) = self.caught_up();
        let episodes = self.follow(&mut state, now);
        let (link, view) = (state.link, state.view());
        drop(state);
        let meter = self.meter.observe(&link, listener(&view.config, &episodes));
        Snapshot { now, time: self.clock.civil(now), view, meter }
    }

    /// When the next reading of the meter comes; none where none will come. With rules over the meter
    /// that change very often it may be a moment at which there is none: then one asks again.
    #[must_use]
    pub fn next_reading(&self) -> Option<VirtualTime> {
        let (mut state, now) = self.caught_up();
        let episodes = self.follow(&mut state, now);
        let (link, config) = (state.link, Arc::clone(&state.config));
        drop(state);
        self.meter.next_reading(&link, listener(&config, &episodes))
    }

    /// The readings that come from now on.
    #[must_use]
    pub fn readings(self: &Arc<Self>) -> Readings {
        let (mut state, now) = self.caught_up();
        self.follow(&mut state, now);
        let (link, key) = (state.link, key(&state.config).copied());
        drop(state);
        Readings { device: Arc::clone(self), link, key, last: now, pause: None }
    }

    /// Brings the link to the meter up to `now`, and says what befalls the meter. Due before every
    /// change of what the link depends on: the configuration's keys, and boots.
    pub(super) fn follow(&self, state: &mut DeviceState, now: VirtualTime) -> Arc<Episodes> {
        let episodes = self.engine.meter(self.identity.id.as_str(), now);
        state.current_link();
        self.meter.advance_to_inclusive(&mut state.link, now, listener(&state.config, &episodes));
        episodes
    }

    /// The state, and now, which its link is not far behind: a long way is gone without the lock and
    /// beside the runtime, so that it holds nobody up.
    pub(super) fn caught_up(&self) -> (MutexGuard<'_, DeviceState>, VirtualTime) {
        let caught_up = || {
            let state = self.state();
            // Read under the lock, so that no link goes back.
            let now = self.clock.now();
            (state, now)
        };
        let (mut state, now) = caught_up();
        if !state.is_far_behind(now) {
            return (state, now);
        }
        drop(state);
        beside_the_runtime(|| self.catch_up());
        caught_up()
    }

    /// Brings the link up to now, and makes the meter's days up to there.
    fn catch_up(&self) {
        // One goes the way, and the others who came meanwhile find it gone.
        let _turn = self.turn.lock();
        let mut state = self.state();
        let now = self.clock.now();
        if !state.is_far_behind(now) {
            return;
        }
        let (before, epoch, view) = (state.link, state.epoch, state.view());
        drop(state);
        let mut link = before;
        let episodes = self.engine.episodes();
        let listener = listener(&view.config, &episodes);
        self.meter.advance_to_inclusive(&mut link, now, listener);
        // Kept by the meter for all who look.
        let _ = self.meter.observe(&link, listener);
        let mut state = self.state();
        if state.link == before
            && state.epoch == epoch
            && state.boot == view.boot
            && Arc::ptr_eq(&state.config, &view.config)
        {
            state.link = link;
        }
    }
}

impl DeviceState {
    /// The link to the meter, which is a new one where the device has come up anew since.
    fn current_link(&mut self) -> &mut ReceptionCursor {
        if self.link.up_since() != self.boot.at {
            self.link = ReceptionCursor::new(self.boot.at);
        }
        &mut self.link
    }

    fn is_far_behind(&mut self, now: VirtualTime) -> bool {
        now.since(self.current_link().position()) > limits::LINK_BEHIND
    }
}

/// Does what takes its time, on a runtime of several threads so that its other tasks go on meanwhile.
fn beside_the_runtime(work: impl FnOnce()) {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if flavor.is_ok_and(|flavor| flavor == RuntimeFlavor::MultiThread) {
        tokio::task::block_in_place(work);
    } else {
        work();
    }
}

/// The readings of a device, one after another: each is given out once, however late one asks, at the
/// instant at which it came; the settings are those of asking. Of those that a jump of the clock led
/// over, it is the newest one, at the end of the jump.
#[derive(Debug)]
pub struct Readings {
    device: Arc<Device>,
    /// How far one has come; behind the device's own where one is late.
    link: ReceptionCursor,
    /// What the device decrypts with up to there.
    key: Option<[u8; 16]>,
    /// No reading that came up to here is given out any more.
    last: VirtualTime,
    /// The pause that was asked for last, in seconds.
    pause: Option<u32>,
}

impl Readings {
    /// Waits for the next one. Nothing is lost where the caller gives up.
    pub async fn next(&mut self) -> Snapshot {
        self.next_from(VirtualTime::ZERO).await
    }

    /// Waits for the first one that comes so many whole seconds after `since`, at once where there was
    /// none before. Where that is another pause than the one before, nothing that is past is due.
    pub async fn next_after(&mut self, since: Option<VirtualTime>, seconds: u32) -> Snapshot {
        if self.pause.replace(seconds).is_some_and(|before| before != seconds) {
            *self = Self { pause: self.pause, ..self.device.readings() };
        }
        let pause = Duration::from_secs(seconds.into()).saturating_sub(limits::SECONDS_SLACK);
        self.next_from(since.map_or(VirtualTime::ZERO, |since| since.after(pause))).await
    }

    /// Waits for the first one that comes at `due` or later; those before are passed over.
    pub async fn next_from(&mut self, due: VirtualTime) -> Snapshot {
        // Both senders live as long as the device. From here on, no change is overlooked.
        let (mut changes, mut rules) = (self.device.changes(), self.device.engine.changes());
        self.device.clock().sleep_until(due).await;
        loop {
            // Who is far behind must not keep others from their turn.
            tokio::task::consume_budget().await;
            changes.borrow_and_update();
            rules.borrow_and_update();
            let next = match self.step(due) {
                Ok(snapshot) => return snapshot,
                Err(next) => next.unwrap_or(VirtualTime::MAX),
            };
            tokio::select! {
                () = self.device.clock().sleep_until(next.max(due)) => {}
                _ = changes.changed() => {}
                _ = rules.changed() => {}
            }
        }
    }

    /// The next one that has come, at `due` or later; otherwise when to ask again, where ever.
    fn step(&mut self, due: VirtualTime) -> Result<Snapshot, Option<VirtualTime>> {
        let device = Arc::clone(&self.device);
        let (mut state, now) = device.caught_up();
        let episodes = device.follow(&mut state, now);
        let (link, view) = (state.link, state.view());
        drop(state);
        let (meter, listener) = (&device.meter, listener(&view.config, &episodes));
        let come = |link: &ReceptionCursor, at| {
            let (time, view) = (device.clock.civil(at), view.clone());
            Snapshot { now: at, time, view, meter: meter.observe(link, listener) }
        };
        let key = key(&view.config).copied();
        if link.up_since() != self.link.up_since() || key != self.key || self.lags(&link) {
            // What came meanwhile came under other conditions.
            (self.link, self.key) = (link, key);
            if let Some(snapshot) = self.fresh(come(&self.link, now), due) {
                return Ok(snapshot);
            }
        }
        if due <= now {
            // Nothing that comes at `due` itself.
            meter.advance_to(&mut self.link, due, listener);
        }
        let jumped = device.clock.last_jump();
        loop {
            let before_jump = self.link.position() <= jumped.to;
            let lived = if before_jump { jumped.from } else { now };
            // What a jump led over comes at its end.
            let at = match meter.next_reading(&self.link, listener) {
                Some(at) if at <= lived => at,
                _ if before_jump => jumped.to,
                next => return Err(next),
            };
            meter.advance_to_inclusive(&mut self.link, at, listener);
            if let Some(snapshot) = self.fresh(come(&self.link, at), due) {
                return Ok(snapshot);
            }
        }
    }

    /// Whether one is so late that only the newest reading is worth anything.
    fn lags(&self, link: &ReceptionCursor) -> bool {
        link.position().since(self.link.position()) > limits::READINGS_LAG
    }

    /// A snapshot whose reading was not given out yet and came at `due` or later.
    fn fresh(&mut self, snapshot: Snapshot, due: VirtualTime) -> Option<Snapshot> {
        let at = snapshot.reading()?.at;
        (at > self.last && at >= due).then(|| {
            self.last = at;
            snapshot
        })
    }
}

fn key(config: &Config) -> Option<&[u8; 16]> {
    config.meter.encryption_key.as_ref().filter(|_| config.meter.encryption).map(|key| &key.0)
}

fn listener<'a>(config: &'a Config, episodes: &'a Arc<Episodes>) -> MeterListener<'a> {
    MeterListener { episodes, key: key(config) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::{Clock, Speed};
    use crate::device::config::MeterKey;
    use crate::device::{DeviceId, Firmware, Identity, License, Setup};
    use crate::fault::{Engine, Fault, MeterEffect, Rule, Silence, Trigger};
    use crate::journal::Journal;
    use crate::meter::{MeterKind, MeterPlan, MeterStatus};

    const MINUTE: Duration = Duration::from_mins(1);

    struct ReadingsFixture {
        clock: Clock,
        engine: Arc<Engine>,
        device: Arc<Device>,
    }

    fn bench(meter: MeterPlan) -> ReadingsFixture {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
        let journal = Arc::new(Journal::new(clock.clone()));
        let engine = Arc::new(Engine::new(7, clock.clone(), Arc::clone(&journal), Vec::new()));
        let identity = Identity {
            id: "A842E39F8124".parse::<DeviceId>().unwrap(),
            firmware: Firmware::DEFAULT,
            license: License::Plus,
        };
        let setup = Setup { meter, ..Setup::of(identity) };
        let device = Device::new(setup, clock.clone(), Arc::clone(&engine), journal);
        ReadingsFixture { clock, engine, device }
    }

    impl ReadingsFixture {
        fn silence(&self, id: &str, silence: Silence, lasts: Option<Duration>) {
            let effect = MeterEffect::Silent(silence);
            let fault = Fault::Meter { device: None, effect };
            let when = Trigger { lasts, ..Trigger::default() };
            self.engine.add(Rule { id: id.into(), fault, when }).unwrap();
        }

        fn status(&self) -> MeterStatus {
            self.device.snapshot().meter.status
        }

        fn id(&self) -> Option<u64> {
            self.device.snapshot().meter.reading.map(|reading| reading.id)
        }

        /// Sends the ids of all readings that come.
        fn listen(&self) -> mpsc::UnboundedReceiver<u64> {
            let (send, receive) = mpsc::unbounded_channel();
            let mut readings = self.device.readings();
            tokio::spawn(self.clock.activity().track(async move {
                loop {
                    let snapshot = readings.next().await;
                    let reading = snapshot.meter.reading.unwrap();
                    assert!(snapshot.now >= reading.at);
                    if send.send(reading.id).is_err() {
                        return;
                    }
                }
            }));
            receive
        }
    }

    fn received(readings: &mut mpsc::UnboundedReceiver<u64>) -> Vec<u64> {
        std::iter::from_fn(|| readings.try_recv().ok()).collect()
    }

    fn ensor() -> MeterPlan {
        MeterPlan { kind: Some(MeterKind::Ensor), ..MeterPlan::default() }
    }

    #[tokio::test]
    async fn who_listens_gets_every_reading_and_after_a_jump_only_the_newest() {
        let bench = bench(ensor());
        let mut readings = bench.listen();
        assert_eq!(bench.status(), MeterStatus::NoData);
        bench.clock.advance(MINUTE).await.unwrap();
        let ids = received(&mut readings);
        assert!(ids.len() > 55 && ids.iter().copied().eq(1..=ids.len() as u64), "{ids:?}");
        bench.clock.jump(MINUTE).await.unwrap();
        let jumped = received(&mut readings);
        assert_eq!(jumped, [bench.id().unwrap()]);
        assert!(jumped[0] > 110);
    }

    #[tokio::test]
    async fn who_is_late_gets_every_reading_as_it_was_when_it_came() {
        let bench = bench(ensor());
        let (mut late, mut prompt) = (bench.device.readings(), bench.device.readings());
        let mut expected = Vec::new();
        while expected.len() < 100 {
            let next = bench.device.next_reading().unwrap();
            bench.clock.advance(next.since(bench.clock.now())).await.unwrap();
            expected.push(format!("{:?}", prompt.next().await));
        }
        for (n, expected) in expected.iter().enumerate() {
            assert_eq!(format!("{:?}", late.next().await), *expected, "reading {n}");
        }
        let due = bench.clock.now().after(MINUTE);
        bench.clock.advance(2 * MINUTE).await.unwrap();
        let first = late.next_from(due).await;
        assert!(first.now >= due && first.now < due.after(Duration::from_secs(2)), "{first:?}");
        let ids = [first, late.next().await].map(|snapshot| snapshot.meter.reading.unwrap().id);
        assert_eq!(ids[0] + 1, ids[1]);
    }

    #[tokio::test]
    async fn who_is_late_at_a_jump_gets_what_came_before_it() {
        let bench = bench(ensor());
        let mut late = bench.device.readings();
        bench.clock.advance(MINUTE).await.unwrap();
        let before = bench.id().unwrap();
        bench.clock.jump(MINUTE).await.unwrap();
        let newest = bench.id().unwrap();
        for expected in (1..=before).chain([newest, newest + 1]) {
            if expected > newest {
                bench.clock.advance(Duration::from_secs(2)).await.unwrap();
            }
            assert_eq!(late.next().await.meter.reading.unwrap().id, expected);
        }
    }

    #[tokio::test]
    async fn who_is_very_late_gets_the_newest_reading() {
        let bench = bench(ensor());
        let mut late = bench.device.readings();
        bench.clock.advance(limits::READINGS_LAG + MINUTE).await.unwrap();
        assert_eq!(late.next().await.meter.reading.unwrap().id, bench.id().unwrap());
    }

    // Ruling: METER-10.
    #[tokio::test]
    async fn rules_change_what_a_listener_waits_for() {
        let bench = bench(ensor());
        let mut readings = bench.listen();
        bench.clock.advance(MINUTE).await.unwrap();
        received(&mut readings);
        bench.silence("out", Silence::NotConnected, None);
        bench.clock.advance(MINUTE).await.unwrap();
        assert_eq!((received(&mut readings), bench.status()), (vec![], MeterStatus::NotConnected));
        assert_eq!((bench.id(), bench.device.next_reading()), (None, None));
        bench.engine.remove("out").unwrap();
        bench.clock.advance(Duration::from_secs(1)).await.unwrap();
        assert_eq!(bench.status(), MeterStatus::Recognition);
        bench.clock.advance(MINUTE).await.unwrap();
        assert_eq!(bench.status(), MeterStatus::Ok);
        let ids = received(&mut readings);
        assert!(ids.len() > 55 && ids[0] < 62, "the ids go on: {ids:?}");
    }

    #[tokio::test]
    async fn a_window_is_journaled_and_counted_once() {
        let bench = bench(ensor());
        bench.silence("out", Silence::NoData, Some(MINUTE));
        for _ in 0..5 {
            assert_eq!(bench.status(), MeterStatus::NoData);
        }
        let status = bench.engine.get("out").unwrap();
        assert_eq!((status.evaluated, status.fired), (5, 1));
    }

    #[tokio::test]
    async fn an_encrypted_meter_asks_for_its_key() {
        let key = [7; 16];
        let bench = bench(MeterPlan { encryption_key: Some(key), ..ensor() });
        let set = |encryption, key: Option<[u8; 16]>| {
            let changed = bench.device.configure(|config| {
                config.meter.encryption = encryption;
                config.meter.encryption_key = key.map(MeterKey);
                Ok::<_, ()>(())
            });
            changed.unwrap();
        };
        bench.clock.advance(MINUTE).await.unwrap();
        assert_eq!((bench.status(), bench.id()), (MeterStatus::KeyRequired, None));
        set(true, Some([8; 16]));
        assert_eq!(bench.status(), MeterStatus::EncryptionKey);
        let mut readings = bench.listen();
        set(true, Some(key));
        bench.clock.advance(Duration::from_secs(10)).await.unwrap();
        let ids = received(&mut readings);
        assert_eq!((bench.status(), ids[0]), (MeterStatus::Ok, 1));
        let heard = bench.id();
        set(false, Some(key));
        assert_eq!((bench.status(), bench.id()), (MeterStatus::KeyRequired, None));
        set(true, Some(key));
        bench.clock.advance(Duration::from_secs(10)).await.unwrap();
        assert!(bench.id() > heard);
    }

    #[tokio::test]
    async fn a_reset_begins_anew_with_the_same_readings() {
        let bench = bench(ensor());
        bench.clock.advance(MINUTE).await.unwrap();
        let before = bench.device.snapshot().meter;
        bench.clock.lock_movement().await.reset(Speed::Manual);
        bench.device.reset();
        assert_eq!(bench.id(), None);
        bench.clock.advance(MINUTE).await.unwrap();
        assert_eq!(bench.device.snapshot().meter, before);
    }

    #[test]
    fn a_long_way_holds_up_neither_the_device_nor_the_runtime() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let bench = bench(ensor());
        runtime.block_on(bench.clock.jump(365 * 24 * 60 * MINUTE)).unwrap();
        // Whoever looks now waits for the way to be gone.
        let turn = bench.device.turn.lock();
        let device = Arc::clone(&bench.device);
        let look = runtime.spawn(async move { device.snapshot().meter.reading.unwrap().id });
        // The only worker has something else to do meanwhile, and the device is not locked.
        runtime.block_on(runtime.spawn(async {})).unwrap();
        assert_eq!(bench.device.view().boot.at, VirtualTime::ZERO);
        assert!(!look.is_finished());
        drop(turn);
        assert_eq!(runtime.block_on(look).unwrap(), bench.id().unwrap());
    }

    #[tokio::test]
    async fn what_is_changed_after_a_long_way_counts_from_then_on() {
        let key = Some(MeterKey([7; 16]));
        let bench = bench(MeterPlan { encryption_key: Some([7; 16]), ..ensor() });
        let other = self::bench(ensor());
        for bench in [&bench, &other] {
            bench.clock.jump(240 * MINUTE).await.unwrap();
            let changed = bench.device.configure(|config| {
                config.meter.encryption = true;
                config.meter.encryption_key.clone_from(&key);
                Ok::<_, ()>(())
            });
            changed.unwrap();
            bench.clock.jump(240 * MINUTE).await.unwrap();
        }
        let (locked, open) = (bench.id().unwrap(), other.id().unwrap());
        assert!((14_100..14_400).contains(&locked), "{locked}: of the last four hours");
        assert!((28_300..28_800).contains(&open), "{open}: of all eight");
    }

    #[test]
    fn without_a_meter_nothing_is_connected() {
        let bench = bench(MeterPlan { kind: None, ..MeterPlan::default() });
        assert_eq!(
            (bench.status(), bench.device.next_reading()),
            (MeterStatus::NotConnected, None)
        );
    }
}
