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
