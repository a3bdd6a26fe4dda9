//! The device and its meter: what it has heard, and when it hears more.

use std::sync::Arc;

use super::handle::State;
use super::{Config, Device, Snapshot};
use crate::clock::VirtualTime;
use crate::fault::Episodes;
use crate::meter::{Link, Listener};

/// Tells the readings of one device apart: a later one is greater, also where `report.id` began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadingKey(VirtualTime);

impl Snapshot {
    /// The key of its reading; none where there is none.
    #[must_use]
    pub fn reading_key(&self) -> Option<ReadingKey> {
        self.meter.reading.as_ref().map(|reading| ReadingKey(reading.at))
    }
}

impl Device {
    /// What it is at this moment, with what it knows of its meter: what every surface shows of one
    /// instant.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.state();
        let (now, episodes) = self.follow(&mut state);
        let (link, view) = (state.link, state.view());
        drop(state);
        let meter = self.meter.observe(&link, listener(&view.config, &episodes));
        Snapshot { now, time: self.clock.civil(now), view, meter }
    }

    /// When the next reading of the meter comes; none where none will come. With rules over the meter
    /// that change very often it may be a moment at which there is none: then one asks again.
    #[must_use]
    pub fn next_reading(&self) -> Option<VirtualTime> {
        let mut state = self.state();
        let (_, episodes) = self.follow(&mut state);
        let (link, config) = (state.link, Arc::clone(&state.config));
        drop(state);
        self.meter.next_reading(&link, listener(&config, &episodes))
    }

    /// Waits until the next reading comes, or until what is known of it may have changed: rules over
    /// the meter, the configuration, a boot. Then one looks again.
    pub async fn next_reading_or_change(&self) {
        // Taken before the question, so that no change between it and the wait is lost.
        let (mut changes, mut rules) = (self.changes(), self.engine.changes());
        let sleep = self.clock.sleep_until(self.next_reading().unwrap_or(VirtualTime::MAX));
        // Both senders live as long as the device.
        tokio::select! {
            () = sleep => {}
            _ = changes.changed() => {}
            _ = rules.changed() => {}
        }
    }

    /// Waits for a reading newer than the one of `after`, any where none, and gives the device as it
    /// is at that moment. Of several that came meanwhile, because time jumped or the caller was
    /// slow, it is the newest.
    pub async fn reading(&self, after: Option<ReadingKey>) -> Snapshot {
        loop {
            // Before the look: what changes after it ends the wait.
            let change = self.next_reading_or_change();
            let mut change = std::pin::pin!(change);
            // The first poll sets the timer.
            tokio::select! {
                biased;
                () = &mut change => continue,
                () = std::future::ready(()) => {}
            }
            let snapshot = self.snapshot();
            if snapshot.reading_key() > after {
                return snapshot;
            }
            change.await;
        }
    }

    /// Brings the link to the meter up to now, and says when that is and what befalls the meter. Due
    /// before every change of what the link depends on: the configuration's keys, and boots.
    pub(super) fn follow(&self, state: &mut State) -> (VirtualTime, Arc<Episodes>) {
        // Read under the lock, so that no link goes back.
        let now = self.clock.now();
        let episodes = self.engine.meter(self.identity.id.as_str(), now);
        if state.link.up_since() != state.boot.at {
            state.link = Link::new(state.boot.at);
        }
        self.meter.follow(&mut state.link, now, listener(&state.config, &episodes));
        (now, episodes)
    }
}

fn listener<'a>(config: &'a Config, episodes: &'a Arc<Episodes>) -> Listener<'a> {
    let key = config.meter.encryption_key.as_ref().filter(|_| config.meter.encryption);
    Listener { episodes, key: key.map(|key| &key.0) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::{Clock, Speed};
    use crate::device::config::Key;
    use crate::device::{DeviceId, Firmware, Identity, License, Setup};
    use crate::fault::{Engine, Fault, MeterEffect, Rule, Silence, Trigger};
    use crate::journal::Journal;
    use crate::meter::{Kind, MeterPlan, Status};

    const MINUTE: Duration = Duration::from_mins(1);

    struct Bench {
        clock: Clock,
        engine: Arc<Engine>,
        device: Arc<Device>,
    }

    fn bench(meter: MeterPlan) -> Bench {
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
        Bench { clock, engine, device }
    }

    impl Bench {
        fn silence(&self, id: &str, silence: Silence, lasts: Option<Duration>) {
            let effect = MeterEffect::Silent(silence);
            let fault = Fault::Meter { device: None, effect };
            let when = Trigger { lasts, ..Trigger::default() };
            self.engine.add(Rule { id: id.into(), fault, when }).unwrap();
        }

        fn status(&self) -> Status {
            self.device.snapshot().meter.status
        }

        fn id(&self) -> Option<u64> {
            self.device.snapshot().meter.reading.map(|reading| reading.id)
        }

        /// Sends the ids of all readings that come.
        fn listen(&self) -> mpsc::UnboundedReceiver<u64> {
            let (send, receive) = mpsc::unbounded_channel();
            let device = Arc::clone(&self.device);
            tokio::spawn(self.clock.motions().track(async move {
                let mut after = None;
                loop {
                    let snapshot = device.reading(after).await;
                    after = snapshot.reading_key();
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
        MeterPlan { kind: Some(Kind::Ensor), ..MeterPlan::default() }
    }

    #[tokio::test]
    async fn who_listens_gets_every_reading_and_after_a_jump_only_the_newest() {
        let bench = bench(ensor());
        let mut readings = bench.listen();
        assert_eq!(bench.status(), Status::NoData);
        bench.clock.advance(MINUTE).await.unwrap();
        let ids = received(&mut readings);
        assert!(ids.len() > 55 && ids.iter().copied().eq(1..=ids.len() as u64), "{ids:?}");
        bench.clock.jump(MINUTE).await.unwrap();
        let jumped = received(&mut readings);
        assert_eq!(jumped, [bench.id().unwrap()]);
        assert!(jumped[0] > 110);
    }

    #[tokio::test]
    async fn rules_change_what_a_listener_waits_for() {
        let bench = bench(ensor());
        let mut readings = bench.listen();
        bench.clock.advance(MINUTE).await.unwrap();
        received(&mut readings);
        bench.silence("out", Silence::NotConnected, None);
        bench.clock.advance(MINUTE).await.unwrap();
        assert_eq!((received(&mut readings), bench.status()), (vec![], Status::NotConnected));
        assert_eq!((bench.id(), bench.device.next_reading()), (None, None));
        bench.engine.remove("out").unwrap();
        bench.clock.advance(Duration::from_secs(1)).await.unwrap();
        assert_eq!(bench.status(), Status::Recognition);
        bench.clock.advance(MINUTE).await.unwrap();
        assert_eq!(bench.status(), Status::Ok);
        let ids = received(&mut readings);
        assert!(ids.len() > 55 && ids[0] < 62, "the ids go on: {ids:?}");
    }

    #[tokio::test]
    async fn a_window_is_journaled_and_counted_once() {
        let bench = bench(ensor());
        bench.silence("out", Silence::NoData, Some(MINUTE));
        for _ in 0..5 {
            assert_eq!(bench.status(), Status::NoData);
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
                config.meter.encryption_key = key.map(Key);
                Ok::<_, ()>(())
            });
            changed.unwrap();
        };
        bench.clock.advance(MINUTE).await.unwrap();
        assert_eq!((bench.status(), bench.id()), (Status::KeyRequired, None));
        set(true, Some([8; 16]));
        assert_eq!(bench.status(), Status::EncryptionKey);
        let mut readings = bench.listen();
        set(true, Some(key));
        bench.clock.advance(Duration::from_secs(10)).await.unwrap();
        let ids = received(&mut readings);
        assert_eq!((bench.status(), ids[0]), (Status::Ok, 1));
        let heard = bench.id();
        set(false, Some(key));
        assert_eq!((bench.status(), bench.id()), (Status::KeyRequired, None));
        set(true, Some(key));
        bench.clock.advance(Duration::from_secs(10)).await.unwrap();
        assert!(bench.id() > heard);
    }

    #[tokio::test]
    async fn a_reset_begins_anew_with_the_same_readings() {
        let bench = bench(ensor());
        bench.clock.advance(MINUTE).await.unwrap();
        let before = bench.device.snapshot().meter;
        bench.clock.reset(Speed::Manual).await;
        bench.device.reset();
        assert_eq!(bench.id(), None);
        bench.clock.advance(MINUTE).await.unwrap();
        assert_eq!(bench.device.snapshot().meter, before);
    }

    #[test]
    fn without_a_meter_nothing_is_connected() {
        let bench = bench(MeterPlan { kind: None, ..MeterPlan::default() });
        assert_eq!((bench.status(), bench.device.next_reading()), (Status::NotConnected, None));
    }
}
