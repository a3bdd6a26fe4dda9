//! The readings of a device as a stream.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::VirtualTime;
use crate::device::{Device, Snapshot};
use crate::meter::ReceptionCursor;

/// So much earlier than `services.sd.frequency` or `services.report_interval` says, a reading is in
/// time (SD-2): the device counts whole seconds, and of a meter that sends one each second, to a few
/// milliseconds, none is to be passed over.
const SECONDS_SLACK: Duration = Duration::from_millis(500);

/// Virtual time by which who follows the readings may be late, and still gets each of them; of more
/// it gets the newest: some ten seconds of real time at ×3600, and a second at the fastest.
const READINGS_LAG: Duration = Duration::from_hours(24);

/// The readings of a device, one after another. Each is returned once, however late the caller asks, as
/// it was at the instant at which it came; the settings are those at the time of the call. If the clock
/// jumps, only the newest of the readings that it passes over is returned, at the end of the jump.
#[derive(Debug)]
pub struct Readings {
    device: Arc<Device>,
    /// The position of the stream. It is behind the device's own cursor if the caller is late.
    cursor: ReceptionCursor,
    /// The key with which the device decrypted up to the cursor.
    encryption_key: Option<[u8; 16]>,
    /// No reading that came up to here is returned any more.
    last: VirtualTime,
    /// The interval of the latest [`Readings::next_after`], in seconds.
    interval: Option<u32>,
}

impl Readings {
    /// Returns the readings of `device` that come from now on.
    #[must_use]
    pub fn new(device: Arc<Device>) -> Self {
        let reception = device.reception();
        let (now, cursor, encryption_key) =
            (reception.now, reception.cursor, reception.encryption_key());
        drop(reception);
        Self { device, cursor, encryption_key, last: now, interval: None }
    }

    /// Waits for the next reading. No reading is lost if the caller drops the future.
    pub async fn next(&mut self) -> Snapshot {
        self.next_from(VirtualTime::ZERO).await
    }

    /// Waits for the first reading that comes `seconds` whole seconds after `since` or later, or for the
    /// next one if `since` is `None`. A new interval begins now: no earlier reading is returned.
    pub async fn next_after(&mut self, since: Option<VirtualTime>, seconds: u32) -> Snapshot {
        if self.interval.replace(seconds).is_some_and(|before| before != seconds) {
            *self = Self { interval: self.interval, ..Self::new(Arc::clone(&self.device)) };
        }
        let interval = Duration::from_secs(seconds.into()).saturating_sub(SECONDS_SLACK);
        self.next_from(since.map_or(VirtualTime::ZERO, |since| since.after(interval))).await
    }

    /// Waits for the first reading that comes at `due` or later, and skips those before.
    pub async fn next_from(&mut self, due: VirtualTime) -> Snapshot {
        // From here on, no change is missed. Both senders live as long as the device.
        let (mut changes, mut rules) = (self.device.changes(), self.device.rule_changes());
        self.device.clock().sleep_until(due).await;
        loop {
            // A stream that is far behind lets other tasks run in between.
            tokio::task::consume_budget().await;
            changes.borrow_and_update();
            rules.borrow_and_update();
            let next = match self.poll(due) {
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

    /// Returns the next reading that has come at `due` or later. The error is the time at which to ask
    /// again; `None` if no time is known.
    fn poll(&mut self, due: VirtualTime) -> Result<Snapshot, Option<VirtualTime>> {
        let device = Arc::clone(&self.device);
        let reception = device.reception();
        let now = reception.now;
        let key = reception.encryption_key();
        if reception.cursor.up_since() != self.cursor.up_since()
            || key != self.encryption_key
            || self.lags(&reception.cursor)
        {
            // The readings in between came under other conditions.
            (self.cursor, self.encryption_key) = (reception.cursor, key);
            if let Some(snapshot) = self.fresh(reception.observe(&self.cursor, now), due) {
                return Ok(snapshot);
            }
        }
        if due <= now {
            // A reading that comes at `due` itself is still to be returned.
            reception.receive_before(&mut self.cursor, due);
        }
        let jump = device.clock().last_jump();
        loop {
            let before_jump = self.cursor.position() <= jump.to;
            let limit = if before_jump { jump.from } else { now };
            // The readings that a jump passed over come at its end.
            let at = match reception.next_reading(&self.cursor) {
                Some(at) if at <= limit => at,
                _ if before_jump => jump.to,
                next => return Err(next),
            };
            reception.receive(&mut self.cursor, at);
            if let Some(snapshot) = self.fresh(reception.observe(&self.cursor, at), due) {
                return Ok(snapshot);
            }
        }
    }

    /// Returns whether the stream is so late that only the newest reading is of use.
    fn lags(&self, device: &ReceptionCursor) -> bool {
        device.position().since(self.cursor.position()) > READINGS_LAG
    }

    /// Returns the snapshot if its reading was not returned before and came at `due` or later.
    fn fresh(&mut self, snapshot: Snapshot, due: VirtualTime) -> Option<Snapshot> {
        let at = snapshot.reading()?.at;
        (at > self.last && at >= due).then(|| {
            self.last = at;
            snapshot
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::{Clock, Speed};
    use crate::device::config::MeterKey;
    use crate::device::{DeviceId, Identity, License, Setup};
    use crate::fault::{Engine, Fault, MeterEffect, Rule, Silence, Trigger};
    use crate::journal::Journal;
    use crate::meter::{MeterKind, MeterPlan, MeterStatus};

    const MINUTE: Duration = Duration::from_mins(1);

    struct ReadingsFixture {
        clock: Clock,
        engine: Arc<Engine>,
        device: Arc<Device>,
    }

    fn fixture(meter: MeterPlan) -> ReadingsFixture {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
        let journal = Arc::new(Journal::new(clock.clone()));
        let engine = Arc::new(Engine::new(7, clock.clone(), Arc::clone(&journal), Vec::new()));
        let id = "A842E39F8124".parse::<DeviceId>().unwrap();
        let identity = Identity { id, license: License::Plus };
        let setup = Setup { meter: meter.into(), ..Setup::new(identity) };
        let device = Device::new(setup, clock.clone(), Arc::clone(&engine), journal);
        ReadingsFixture { clock, engine, device }
    }

    impl ReadingsFixture {
        fn silence(&self, id: &str, silence: Silence, duration: Option<Duration>) {
            let effect = MeterEffect::Silent(silence);
            let fault = Fault::Meter { device: None, effect };
            let when = Trigger { duration, ..Trigger::default() };
            self.engine.add(Rule { id: id.into(), fault, devices: None, when }).unwrap();
        }

        fn status(&self) -> MeterStatus {
            self.device.snapshot().meter.status
        }

        fn id(&self) -> Option<u64> {
            self.device.snapshot().meter.reading.map(|reading| reading.id)
        }

        /// Returns a channel that gets the ids of all readings that come.
        fn listen(&self) -> mpsc::UnboundedReceiver<u64> {
            let (send, receive) = mpsc::unbounded_channel();
            let mut readings = Readings::new(Arc::clone(&self.device));
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
    async fn every_reading_is_returned_and_of_a_jump_the_newest() {
        let fixture = fixture(ensor());
        let mut readings = fixture.listen();
        assert_eq!(fixture.status(), MeterStatus::NoData);
        fixture.clock.advance(MINUTE).await.unwrap();
        let ids = received(&mut readings);
        assert!(ids.len() > 55 && ids.iter().copied().eq(1..=ids.len() as u64), "{ids:?}");
        fixture.clock.jump(MINUTE).await.unwrap();
        let jumped = received(&mut readings);
        assert_eq!(jumped, [fixture.id().unwrap()]);
        assert!(jumped[0] > 110);
    }

    #[tokio::test]
    async fn a_late_caller_gets_every_reading_as_it_was() {
        let fixture = fixture(ensor());
        let (mut late, mut prompt) = (
            Readings::new(Arc::clone(&fixture.device)),
            Readings::new(Arc::clone(&fixture.device)),
        );
        let mut expected = Vec::new();
        while expected.len() < 100 {
            let next = fixture.device.next_reading().unwrap();
            fixture.clock.advance(next.since(fixture.clock.now())).await.unwrap();
            expected.push(format!("{:?}", prompt.next().await));
        }
        for (n, expected) in expected.iter().enumerate() {
            assert_eq!(format!("{:?}", late.next().await), *expected, "reading {n}");
        }
        let due = fixture.clock.now().after(MINUTE);
        fixture.clock.advance(2 * MINUTE).await.unwrap();
        let first = late.next_from(due).await;
        assert!(first.now >= due && first.now < due.after(Duration::from_secs(2)), "{first:?}");
        let ids = [first, late.next().await].map(|snapshot| snapshot.meter.reading.unwrap().id);
        assert_eq!(ids[0] + 1, ids[1]);
    }

    #[tokio::test]
    async fn a_caller_late_at_a_jump_gets_the_readings_before_it() {
        let fixture = fixture(ensor());
        let mut late = Readings::new(Arc::clone(&fixture.device));
        fixture.clock.advance(MINUTE).await.unwrap();
        let before = fixture.id().unwrap();
        fixture.clock.jump(MINUTE).await.unwrap();
        let newest = fixture.id().unwrap();
        for expected in (1..=before).chain([newest, newest + 1]) {
            if expected > newest {
                fixture.clock.advance(Duration::from_secs(2)).await.unwrap();
            }
            assert_eq!(late.next().await.meter.reading.unwrap().id, expected);
        }
    }

    #[tokio::test]
    async fn a_very_late_caller_gets_the_newest_reading() {
        let fixture = fixture(ensor());
        let mut late = Readings::new(Arc::clone(&fixture.device));
        fixture.clock.advance(READINGS_LAG + MINUTE).await.unwrap();
        assert_eq!(late.next().await.meter.reading.unwrap().id, fixture.id().unwrap());
    }

    // Ruling: METER-10.
    #[tokio::test]
    async fn a_rule_changes_which_reading_comes_next() {
        let fixture = fixture(ensor());
        let mut readings = fixture.listen();
        fixture.clock.advance(MINUTE).await.unwrap();
        received(&mut readings);
        fixture.silence("out", Silence::NotConnected, None);
        fixture.clock.advance(MINUTE).await.unwrap();
        assert_eq!(
            (received(&mut readings), fixture.status()),
            (vec![], MeterStatus::NotConnected)
        );
        assert_eq!((fixture.id(), fixture.device.next_reading()), (None, None));
        fixture.engine.remove("out").unwrap();
        fixture.clock.advance(Duration::from_secs(1)).await.unwrap();
        assert_eq!(fixture.status(), MeterStatus::Recognition);
        fixture.clock.advance(MINUTE).await.unwrap();
        assert_eq!(fixture.status(), MeterStatus::Ok);
        let ids = received(&mut readings);
        assert!(ids.len() > 55 && ids[0] < 62, "the ids go on: {ids:?}");
    }

    #[tokio::test]
    async fn a_window_is_journaled_and_counted_once() {
        let fixture = fixture(ensor());
        fixture.silence("out", Silence::NoData, Some(MINUTE));
        for _ in 0..5 {
            assert_eq!(fixture.status(), MeterStatus::NoData);
        }
        let status = fixture.engine.get("out").unwrap();
        assert_eq!((status.evaluated, status.fired), (0, 1), "five looks, but no reading yet");
    }

    // Ruling: FAULT-6.
    #[tokio::test]
    async fn a_rule_counts_readings_and_not_who_looks() {
        let fixture = fixture(ensor());
        let evaluated = |id| fixture.engine.get(id).unwrap().evaluated;
        fixture.silence("out", Silence::NoData, None);
        fixture.clock.advance(MINUTE).await.unwrap();
        let first = evaluated("out");
        assert!((55..=60).contains(&first), "one each second, also those that are lost: {first}");
        for _ in 0..5 {
            fixture.status();
        }
        assert_eq!(evaluated("out"), first);
        fixture.engine.arm("out", false).unwrap();
        fixture.clock.advance(MINUTE).await.unwrap();
        assert_eq!(evaluated("out"), first, "not armed");
        fixture.engine.arm("out", true).unwrap();
        fixture.silence("late", Silence::NoData, None);
        fixture.clock.jump(MINUTE).await.unwrap();
        let late = evaluated("late");
        assert!((55..=60).contains(&late), "{late}");
        assert_eq!(evaluated("out"), first + late);
        let listed: Vec<u64> =
            fixture.engine.list().iter().map(|status| status.evaluated).collect();
        assert_eq!(listed, [first + late, late]);
    }

    #[tokio::test]
    async fn an_encrypted_meter_needs_its_key() {
        let key = [7; 16];
        let fixture = fixture(MeterPlan { encryption_key: Some(key), ..ensor() });
        let set = |encryption, key: Option<[u8; 16]>| {
            let changed = fixture.device.configure(|config| {
                config.meter.encryption = encryption;
                config.meter.encryption_key = key.map(MeterKey);
                Ok::<_, ()>(())
            });
            changed.unwrap();
        };
        fixture.clock.advance(MINUTE).await.unwrap();
        assert_eq!((fixture.status(), fixture.id()), (MeterStatus::KeyRequired, None));
        set(true, Some([8; 16]));
        assert_eq!(fixture.status(), MeterStatus::EncryptionKey);
        let mut readings = fixture.listen();
        set(true, Some(key));
        fixture.clock.advance(Duration::from_secs(10)).await.unwrap();
        let ids = received(&mut readings);
        assert_eq!((fixture.status(), ids[0]), (MeterStatus::Ok, 1));
        let before = fixture.id();
        set(false, Some(key));
        assert_eq!((fixture.status(), fixture.id()), (MeterStatus::KeyRequired, None));
        set(true, Some(key));
        fixture.clock.advance(Duration::from_secs(10)).await.unwrap();
        assert!(fixture.id() > before);
    }

    #[tokio::test]
    async fn a_reset_repeats_the_same_readings() {
        let fixture = fixture(ensor());
        fixture.clock.advance(MINUTE).await.unwrap();
        let before = fixture.device.snapshot().meter;
        fixture.clock.lock_movement().await.reset(Speed::Manual);
        fixture.device.reset();
        assert_eq!(fixture.id(), None);
        fixture.clock.advance(MINUTE).await.unwrap();
        assert_eq!(fixture.device.snapshot().meter, before);
    }

    #[tokio::test]
    async fn a_key_set_after_a_long_jump_applies_from_then_on() {
        let key = Some(MeterKey([7; 16]));
        let fixture = fixture(MeterPlan { encryption_key: Some([7; 16]), ..ensor() });
        let other = self::fixture(ensor());
        for fixture in [&fixture, &other] {
            fixture.clock.jump(240 * MINUTE).await.unwrap();
            let changed = fixture.device.configure(|config| {
                config.meter.encryption = true;
                config.meter.encryption_key.clone_from(&key);
                Ok::<_, ()>(())
            });
            changed.unwrap();
            fixture.clock.jump(240 * MINUTE).await.unwrap();
        }
        let (locked, open) = (fixture.id().unwrap(), other.id().unwrap());
        assert!((14_100..14_400).contains(&locked), "{locked}: of the last four hours");
        assert!((28_300..28_800).contains(&open), "{open}: of all eight");
    }

    #[test]
    fn without_a_meter_nothing_is_connected() {
        let fixture = fixture(MeterPlan { kind: None, ..MeterPlan::default() });
        assert_eq!(
            (fixture.status(), fixture.device.next_reading()),
            (MeterStatus::NotConnected, None)
        );
    }
}
