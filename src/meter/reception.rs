//! Reception: the telegrams of a meter that become readings of the device, and the count of them.
//!
//! A [`ReceptionCursor`] advances from one change of the meter's faults to the next and counts the
//! telegrams between two changes arithmetically. It holds no more than its position, so that an advance
//! costs what changed since the last one, and a house without meter faults costs nothing. The state at
//! each of the first changes comes from all rules; over many changes, the windows are sorted once
//! ([`WindowSchedule`]), and each costs some tens of nanoseconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cadence, MeterStatus};
use crate::clock::VirtualTime;
use crate::fault::{
    ActiveFaults, Interruption, MeterState, ScheduledWindow, Silence, WindowSchedule,
};

/// Changes of the meter's state that are found one by one from all rules. Beyond, the windows are
/// sorted, which costs as much as some such changes; most advances meet one or two.
const UNSORTED_CHANGES: usize = 4;

/// Changes of the meter's state that are searched for its next reading, before the caller is told to ask
/// again: more than a day of the busiest rule.
const MAX_CHANGES_AHEAD: usize = 4000;

/// The position of a device in the telegrams of its meter.
///
/// The cursor is persisted. The serde names are those of the persisted form, which is older than the names
/// of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceptionCursor {
    /// The boot of the device.
    up_since: VirtualTime,
    /// All telegrams before this time are counted.
    #[serde(rename = "through")]
    position: VirtualTime,
    /// `true` if no telegram gets through at the position.
    silent: bool,
    /// Telegrams from here on are readings; before, the device recognizes the protocol. `None` while no
    /// telegram gets through, because the recognition begins with the first one.
    #[serde(rename = "ready", with = "none_as_max")]
    recognized_at: Option<VirtualTime>,
    /// The beginning of the recognition.
    #[serde(rename = "listening")]
    receiving_since: VirtualTime,
    /// Readings since the boot, or since the ids restarted.
    #[serde(rename = "ids")]
    reading_count: u64,
    newest: Option<ReceivedTelegram>,
}

/// The persisted form of an optional time, in which [`VirtualTime::MAX`] stands for `None`.
mod none_as_max {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::clock::VirtualTime;

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<VirtualTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.unwrap_or(VirtualTime::MAX).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<VirtualTime>, D::Error> {
        let time = VirtualTime::deserialize(deserializer)?;
        Ok(Some(time).filter(|time| *time != VirtualTime::MAX))
    }
}

/// A telegram that became a reading. Persisted with the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReceivedTelegram {
    /// The number of the telegram in the [`Cadence`].
    #[serde(rename = "n")]
    pub number: u64,
    /// `report.id`.
    pub id: u64,
    /// The telegram of the reading before. After a boot, and after the device forgot its meter, it is the
    /// telegram that was sent before this one. `None` if there is none.
    #[serde(rename = "before")]
    pub previous: Option<u64>,
}

/// The conditions under which a device receives the telegrams of its meter.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceptionConditions<'a> {
    pub cadence: &'a Cadence,
    /// The time that the device takes to recognize the protocol.
    pub recognition: Duration,
    /// The faults of the meter.
    pub faults: ActiveFaults<'a>,
    /// The reason why the device cannot read its meter with the present key.
    pub permanent_silence: Option<Silence>,
    /// The end of the meter's data.
    pub end_of_data: VirtualTime,
}

impl ReceptionConditions<'_> {
    /// Returns the state of the meter at a time, and when it changes.
    fn state_at(&self, at: VirtualTime) -> MeterState {
        let mut state = self.faults.at(at);
        if let Some(silence) = self.permanent_silence {
            state.silent = state.silent.or(Some(silence));
            state.forgets |= silence.forgets();
        }
        if at >= self.end_of_data {
            state.silent = state.silent.or(Some(Silence::NoData));
        } else {
            state.until = state.until.min(self.end_of_data);
        }
        state
    }

    /// Returns the interruptions from a time on, as [`ReceptionConditions::state_at`] has them.
    fn schedule_from(&self, from: VirtualTime) -> WindowSchedule {
        let mut schedule = self.faults.window_schedule(from);
        let mut add_silence = |from, forgets| {
            let interruption = Interruption::Silence { forgets };
            schedule.add(ScheduledWindow { interruption, from, to: VirtualTime::MAX });
        };
        if let Some(silence) = self.permanent_silence {
            add_silence(from, silence.forgets());
        }
        if self.end_of_data < VirtualTime::MAX {
            add_silence(self.end_of_data, Silence::NoData.forgets());
        }
        schedule
    }
}

impl ReceptionCursor {
    /// Returns the cursor of a device that boots at `up_since`.
    #[must_use]
    pub fn new(up_since: VirtualTime) -> Self {
        Self {
            up_since,
            position: up_since,
            silent: false,
            recognized_at: None,
            receiving_since: up_since,
            reading_count: 0,
            newest: None,
        }
    }

    /// Returns the time of the device's boot.
    #[must_use]
    pub fn up_since(&self) -> VirtualTime {
        self.up_since
    }

    /// Returns the time before which all telegrams are counted.
    #[must_use]
    pub fn position(&self) -> VirtualTime {
        self.position
    }

    /// Returns `true` if a device that booted at `up_since` and received the telegrams of this cadence
    /// until `now` at the latest can have this cursor. A persisted cursor may be that of another meter.
    pub(super) fn is_consistent(
        &self,
        cadence: &Cadence,
        up_since: VirtualTime,
        now: VirtualTime,
    ) -> bool {
        let next = cadence.first_from(self.position);
        let sent_before = |telegram: ReceivedTelegram| {
            telegram.number < next
                && telegram.previous.is_none_or(|previous| previous < telegram.number)
        };
        // While telegrams get through, the newest received one is the last that was sent.
        let received = |last: u64| {
            self.silent
                || self.recognized_at.is_none_or(|recognized| cadence.time(last) < recognized)
                || self.newest.map(|telegram| telegram.number) == Some(last)
        };
        self.up_since == up_since
            && (up_since..=just_after(now)).contains(&self.position)
            && self.reading_count <= cadence.sent_before(next)
            && self.newest.is_none_or(sent_before)
            && cadence.last_sent_before(next).is_none_or(received)
    }

    /// Counts all telegrams up to `now`, including one at `now`.
    pub(super) fn advance_to_inclusive(
        &mut self,
        conditions: &ReceptionConditions<'_>,
        now: VirtualTime,
    ) {
        self.advance_to(conditions, just_after(now));
    }

    /// Counts all telegrams before `end`.
    pub(super) fn advance_to(&mut self, conditions: &ReceptionConditions<'_>, end: VirtualTime) {
        for _ in 0..UNSORTED_CHANGES {
            if self.position >= end {
                return;
            }
            let state = conditions.state_at(self.position);
            self.apply(conditions, &state, state.until.min(end));
        }
        if self.position < end {
            self.advance_over_schedule(conditions, end);
        }
    }

    /// Counts all telegrams before `end`, over many changes.
    fn advance_over_schedule(&mut self, conditions: &ReceptionConditions<'_>, end: VirtualTime) {
        let mut schedule = conditions.schedule_from(self.position);
        while let Some(window) = schedule.next(end) {
            if self.position < window.from {
                self.receive(conditions, window.from);
            }
            self.interrupt(window.interruption, window.to.min(end));
        }
        if self.position < end {
            self.receive(conditions, end);
        }
    }

    /// Counts the telegrams from the position to before `end`, while the state of the meter is `state`.
    fn apply(
        &mut self,
        conditions: &ReceptionConditions<'_>,
        state: &MeterState,
        end: VirtualTime,
    ) {
        if state.restart {
            self.interrupt(Interruption::Restart, end);
        }
        if state.silent.is_some() {
            self.interrupt(Interruption::Silence { forgets: state.forgets }, end);
        } else {
            self.receive(conditions, end);
        }
    }

    /// Applies an interruption that begins at the position, or that began during the silence before it.
    /// A silence lasts to before `end`.
    fn interrupt(&mut self, interruption: Interruption, end: VirtualTime) {
        match interruption {
            Interruption::Restart => self.reading_count = 0,
            Interruption::Silence { forgets } => {
                self.silent = true;
                self.recognized_at = None;
                self.newest = self.newest.filter(|_| !forgets);
                self.position = self.position.max(end);
            }
        }
    }

    /// Counts the telegrams from the position to before `end`, while they get through.
    fn receive(&mut self, conditions: &ReceptionConditions<'_>, end: VirtualTime) {
        let recognized_at = if let Some(recognized_at) = self.recognized_at {
            recognized_at
        } else {
            self.silent = false;
            self.receiving_since = self.position;
            *self.recognized_at.insert(self.position.after(conditions.recognition))
        };
        let from = self.position.max(recognized_at);
        self.position = end;
        if from < end {
            self.count_readings(conditions.cadence, from, end);
        }
    }

    fn count_readings(&mut self, cadence: &Cadence, from: VirtualTime, end: VirtualTime) {
        let (first, beyond) = (cadence.first_from(from), cadence.first_from(end));
        let count = cadence.sent_before(beyond) - cadence.sent_before(first);
        let Some(number) = cadence.last_sent_before(beyond).filter(|_| count > 0) else { return };
        let previous = match (count, self.newest) {
            (1, Some(newest)) => Some(newest.number),
            _ => cadence.last_sent_before(number),
        };
        self.reading_count += count;
        self.newest = Some(ReceivedTelegram { number, id: self.reading_count, previous });
    }

    /// Returns the status of the meter at the position, and the newest telegram that the device has not
    /// forgotten. A change of the meter's state exactly at the position is already in effect here, although
    /// the cursor applies it only when it advances beyond the position.
    pub(super) fn observe(
        &self,
        conditions: &ReceptionConditions<'_>,
    ) -> (MeterStatus, Option<ReceivedTelegram>) {
        let state = conditions.state_at(self.position);
        match state.silent {
            Some(silence) => (silence.into(), self.newest.filter(|_| !state.forgets)),
            None => (self.status(conditions.cadence), self.newest),
        }
    }

    /// Returns the status while telegrams get through.
    fn status(&self, cadence: &Cadence) -> MeterStatus {
        let received_since = |since: VirtualTime| -> bool {
            let first = cadence.first_sent_from(cadence.first_from(since));
            cadence.time(first) < self.position
        };
        if self.silent {
            MeterStatus::NoData
        } else if self.recognized_at.is_some_and(received_since) {
            MeterStatus::Ok
        } else if received_since(self.receiving_since) {
            MeterStatus::Recognition
        } else {
            MeterStatus::NoData
        }
    }

    /// Returns the time of the next reading after the last advance. If there is none before
    /// [`MAX_CHANGES_AHEAD`] changes of the meter's state, returns the time of the last of them, at which
    /// the caller may ask again. `None` if there will never be a reading.
    pub(super) fn next_reading(
        mut self,
        conditions: &ReceptionConditions<'_>,
    ) -> Option<VirtualTime> {
        for _ in 0..UNSORTED_CHANGES {
            let state = conditions.state_at(self.position);
            self.apply(conditions, &state, self.position);
            if let Some(next) = self.next_reading_before(conditions, state.until) {
                return Some(next);
            }
            if state.until == VirtualTime::MAX {
                return None;
            }
            self.apply(conditions, &state, state.until);
        }
        self.next_reading_over_schedule(conditions)
    }

    /// Returns the time of the next reading, over many changes.
    fn next_reading_over_schedule(
        mut self,
        conditions: &ReceptionConditions<'_>,
    ) -> Option<VirtualTime> {
        let mut schedule = conditions.schedule_from(self.position);
        for _ in 0..MAX_CHANGES_AHEAD {
            let window = schedule.next(VirtualTime::MAX);
            let begins = window.map_or(VirtualTime::MAX, |window| window.from);
            if self.position < begins {
                self.receive(conditions, self.position);
                if let Some(next) = self.next_reading_before(conditions, begins) {
                    return Some(next);
                }
                self.receive(conditions, begins);
            }
            let window = window?;
            self.interrupt(window.interruption, window.to);
            if self.position == VirtualTime::MAX {
                return None;
            }
        }
        Some(self.position)
    }

    /// Returns the time of the first reading before `end`, if the state of the meter lasts until then.
    fn next_reading_before(
        &self,
        conditions: &ReceptionConditions<'_>,
        end: VirtualTime,
    ) -> Option<VirtualTime> {
        if self.silent {
            return None;
        }
        let from = self.position.max(self.recognized_at?);
        if from >= end {
            return None;
        }
        let next = conditions.cadence.first_sent_from(conditions.cadence.first_from(from));
        Some(conditions.cadence.time(next)).filter(|next| *next < end)
    }
}

fn just_after(now: VirtualTime) -> VirtualTime {
    now.after(Duration::from_nanos(1))
}

impl From<Silence> for MeterStatus {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::NotConnected => Self::NotConnected,
            Silence::NoData => Self::NoData,
            Silence::Recognition => Self::Recognition,
            Silence::KeyRequired => Self::KeyRequired,
            Silence::EncryptionKey => Self::EncryptionKey,
            Silence::NotRecognized => Self::NotRecognized,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::fault::{Episode, Episodes, MeterEffect, Trigger};
    use crate::meter::MeterKind;
    use crate::rng::RandomStream;

    fn at(seconds: u64) -> VirtualTime {
        VirtualTime::ZERO.after(Duration::from_secs(seconds))
    }

    fn window(effect: MeterEffect, after: u64, duration: u64) -> Episode {
        Episode {
            device: None,
            share: None,
            effect,
            when: Trigger {
                after: Duration::from_secs(after),
                duration: Some(Duration::from_secs(duration)),
                ..Trigger::default()
            },
            armed_at: at(0),
            until: VirtualTime::MAX,
        }
    }

    /// A meter with faults, and the device that receives its telegrams.
    struct ReceptionFixture {
        cadence: Cadence,
        episodes: Arc<Episodes>,
    }

    impl ReceptionFixture {
        fn new(kind: MeterKind, seed: u64, episodes: Vec<Episode>) -> Self {
            let cadence = Cadence::new(kind.profile(), seed, RandomStream::named("A"));
            Self { cadence, episodes: Episodes::new(episodes) }
        }

        fn conditions(&self) -> ReceptionConditions<'_> {
            ReceptionConditions {
                cadence: &self.cadence,
                recognition: Duration::from_secs(3),
                faults: self.episodes.of("A"),
                permanent_silence: None,
                end_of_data: VirtualTime::MAX,
            }
        }

        fn status(&self, now: VirtualTime) -> MeterStatus {
            self.cursor_at(now).observe(&self.conditions()).0
        }

        fn cursor_at(&self, now: VirtualTime) -> ReceptionCursor {
            let mut cursor = ReceptionCursor::new(VirtualTime::ZERO);
            cursor.advance_to_inclusive(&self.conditions(), now);
            cursor
        }
    }

    #[test]
    fn a_cursor_keeps_its_persisted_form() {
        let silent = window(MeterEffect::Silent(Silence::NoData), 100, 50);
        let fixture = ReceptionFixture::new(MeterKind::Ensor, 1, vec![silent]);
        let form = |seconds| serde_json::to_value(fixture.cursor_at(at(seconds))).unwrap();
        assert_eq!(form(120)["ready"], serde_json::json!(VirtualTime::MAX));
        assert_eq!(form(160)["ready"], serde_json::json!(at(153)));
        let keys = ["up_since", "through", "silent", "ready", "listening", "ids", "newest"];
        assert!(form(160).as_object().unwrap().keys().eq(keys), "{}", form(160));
        for seconds in [120, 160] {
            let read: ReceptionCursor = serde_json::from_value(form(seconds)).unwrap();
            assert_eq!(read, fixture.cursor_at(at(seconds)));
        }
    }

    // Ruling: METER-9, METER-10.
    #[test]
    fn ids_count_readings_and_continue_after_a_silence() {
        let silent = window(MeterEffect::Silent(Silence::NoData), 100, 50);
        let healthy = ReceptionFixture::new(MeterKind::Ensor, 1, vec![]);
        let fixture = ReceptionFixture::new(MeterKind::Ensor, 1, vec![silent]);
        let before = fixture.cursor_at(at(100));
        assert_eq!(before.newest.unwrap().id, healthy.cursor_at(at(100)).newest.unwrap().id);
        let during = fixture.cursor_at(at(149));
        assert_eq!((during.newest, fixture.status(at(149))), (before.newest, MeterStatus::NoData));
        assert_eq!(fixture.status(at(152)), MeterStatus::Recognition);
        let after = fixture.cursor_at(at(200));
        assert_eq!(fixture.status(at(200)), MeterStatus::Ok);
        let missed = healthy.cursor_at(at(200)).newest.unwrap().id - after.newest.unwrap().id;
        assert!((52..=54).contains(&missed), "{missed}: the silence, and 3 s of recognition");
    }

    #[test]
    fn the_interval_after_a_silence_spans_it() {
        let silent = window(MeterEffect::Silent(Silence::NoData), 100, 50);
        let fixture = ReceptionFixture::new(MeterKind::Ensor, 1, vec![silent]);
        let mut cursor = fixture.cursor_at(at(152));
        let last_received = cursor.newest.unwrap().number;
        let next = cursor.next_reading(&fixture.conditions()).unwrap();
        cursor.advance_to_inclusive(&fixture.conditions(), next);
        let newest = cursor.newest.unwrap();
        assert_eq!(
            (newest.previous, fixture.cadence.time(newest.number)),
            (Some(last_received), next)
        );
    }

    // Ruling: METER-10.
    #[test]
    fn an_unplugged_meter_is_forgotten() {
        let out = window(MeterEffect::Silent(Silence::NotConnected), 100, 50);
        let fixture = ReceptionFixture::new(MeterKind::Ensor, 1, vec![out]);
        for seconds in [101, 149, 152] {
            assert_eq!(fixture.cursor_at(at(seconds)).newest, None, "{seconds}");
        }
        assert!(fixture.cursor_at(at(160)).newest.unwrap().id > 90);
    }

    #[test]
    fn ids_restart_with_the_window() {
        let fixture = ReceptionFixture::new(
            MeterKind::Ensor,
            1,
            vec![window(MeterEffect::RestartIds, 100, 10)],
        );
        let before = fixture.cursor_at(at(99)).newest.unwrap();
        let after = fixture.cursor_at(at(103)).newest.unwrap();
        assert!(before.id > 90 && after.id < 5, "{before:?} {after:?}");
        assert!(after.number > before.number);
    }

    #[test]
    fn a_permanent_silence_has_no_next_reading() {
        let mut out = window(MeterEffect::Silent(Silence::NotConnected), 100, 50);
        out.when.duration = None;
        let fixture = ReceptionFixture::new(MeterKind::Kamstrup, 1, vec![out]);
        assert!(fixture.cursor_at(at(90)).next_reading(&fixture.conditions()).is_some());
        assert_eq!(fixture.cursor_at(at(100)).next_reading(&fixture.conditions()), None);
    }

    #[test]
    fn windows_without_gaps_are_searched_in_bounded_steps() {
        let mut often = window(MeterEffect::Silent(Silence::NoData), 0, 59);
        often.when.every = Some(Duration::from_mins(1));
        let fixture = ReceptionFixture::new(MeterKind::LandisGyr, 1, vec![often]);
        let next = fixture.cursor_at(at(10)).next_reading(&fixture.conditions()).unwrap();
        assert!(next > at(60), "{next:?}");
        assert_eq!(fixture.cursor_at(next).newest, None);
    }

    /// Generates a rule whose times are whole seconds.
    fn rule() -> impl Strategy<Value = Episode> {
        let effect = prop::sample::select(vec![
            MeterEffect::Silent(Silence::NoData),
            MeterEffect::Silent(Silence::NoData),
            MeterEffect::Silent(Silence::NotConnected),
            MeterEffect::RestartIds,
            MeterEffect::Frozen,
        ]);
        let every = prop::sample::select(vec![Some(60), Some(60), Some(60), Some(75), None]);
        let until = prop::sample::select(vec![None, None, None, Some(700)]);
        (effect, 0..300_u64, 0..300_u64, 1..50_u64, every, until).prop_map(
            |(effect, armed, after, duration, every, until)| {
                let mut rule = window(effect, after, duration);
                rule.armed_at = at(armed);
                rule.when.every = every.map(Duration::from_secs);
                rule.until = until.map_or(VirtualTime::MAX, at);
                rule
            },
        )
    }

    /// Returns the number of readings and the newest telegram before each second, counted second by
    /// second and telegram by telegram.
    fn count_by_telegram(
        fixture: &ReceptionFixture,
        seconds: u64,
    ) -> Vec<(u64, Option<ReceivedTelegram>)> {
        let conditions = fixture.conditions();
        let (mut n, mut ids, mut newest, mut ready) = (0, 0, None::<ReceivedTelegram>, None);
        let mut counted = Vec::new();
        for second in 0..seconds {
            counted.push((ids, newest));
            let state = fixture.episodes.at("A", at(second));
            if state.restart {
                ids = 0;
            }
            if state.silent.is_some() {
                ready = None;
                newest = newest.filter(|_| !state.forgets);
            } else {
                ready = ready.or(Some(at(second).after(conditions.recognition)));
            }
            while fixture.cadence.time(n) < at(second + 1) {
                if ready.is_some_and(|ready| fixture.cadence.time(n) >= ready)
                    && !fixture.cadence.is_skipped(n)
                {
                    ids += 1;
                    let previous = newest.map_or_else(
                        || fixture.cadence.last_sent_before(n),
                        |last| Some(last.number),
                    );
                    newest = Some(ReceivedTelegram { number: n, id: ids, previous });
                }
                n += 1;
            }
        }
        counted
    }

    #[test]
    fn a_year_of_forty_rules_counts_like_its_hours() {
        let minute = |n: u64| {
            let mut rule = window(MeterEffect::Silent(Silence::NoData), n % 4 * 10, 10);
            rule.when.every = Some(Duration::from_mins(1));
            rule
        };
        let fixture = ReceptionFixture::new(MeterKind::Ensor, 3, (0..40).map(minute).collect());
        let mut hourly = ReceptionCursor::new(VirtualTime::ZERO);
        for hour in 1..=365 * 24 {
            hourly.advance_to_inclusive(&fixture.conditions(), at(hour * 3600));
        }
        assert_eq!(fixture.cursor_at(at(365 * 86_400)), hourly);
        // 20 s of each minute, less the time of recognition.
        let ids = hourly.newest.unwrap().id;
        assert!((365 * 1440 * 16..365 * 1440 * 18).contains(&ids), "{ids}");
    }

    #[test]
    fn a_cursor_is_consistent_with_its_own_meter_only() {
        let (ensor, kamstrup) = (
            ReceptionFixture::new(MeterKind::Ensor, 1, vec![]),
            ReceptionFixture::new(MeterKind::Kamstrup, 1, vec![]),
        );
        let (up, now) = (VirtualTime::ZERO, at(1000));
        for (own, other) in [(&ensor, &kamstrup), (&kamstrup, &ensor)] {
            let cursor = own.cursor_at(now);
            assert!(
                cursor.is_consistent(&own.cadence, up, now)
                    && cursor.is_consistent(&own.cadence, up, at(2000))
            );
            assert!(!cursor.is_consistent(&other.cadence, up, now), "another meter");
            assert!(!cursor.is_consistent(&own.cadence, up, at(999)), "ahead of the clock");
            assert!(!cursor.is_consistent(&own.cadence, at(1), now), "another boot");
            let telegram = |number| Some(ReceivedTelegram { number, id: 1, previous: None });
            let torn = |newest| ReceptionCursor { newest, ..cursor };
            assert!(!torn(telegram(u64::MAX)).is_consistent(&own.cadence, up, now));
            assert!(!ReceptionCursor { silent: true, ..torn(telegram(u64::MAX)) }.is_consistent(
                &own.cadence,
                up,
                now
            ));
            assert!(!ReceptionCursor { reading_count: u64::MAX, ..cursor }.is_consistent(
                &own.cadence,
                up,
                now
            ));
        }
    }

    proptest! {
        #[test]
        fn overlapping_rules_count_like_single_telegrams(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            rules in prop::collection::vec(rule(), 0..10),
            mut times in prop::collection::vec(0..1500_u64, 1..10),
        ) {
            let fixture = ReceptionFixture::new(kind, seed, rules);
            let (conditions, expected) = (fixture.conditions(), count_by_telegram(&fixture, 1500));
            times.sort_unstable();
            let mut stepwise = ReceptionCursor::new(VirtualTime::ZERO);
            for second in times {
                stepwise.advance_to(&conditions, at(second));
                let counted = expected[usize::try_from(second).unwrap()];
                prop_assert_eq!((stepwise.reading_count, stepwise.newest), counted);
                prop_assert!(stepwise.is_consistent(conditions.cadence, VirtualTime::ZERO, at(second)));
                let mut straight = ReceptionCursor::new(VirtualTime::ZERO);
                straight.advance_to(&conditions, at(second));
                prop_assert_eq!(straight, stepwise);
                let mut far = ReceptionCursor::new(VirtualTime::ZERO);
                far.advance_over_schedule(&conditions, at(second));
                prop_assert_eq!(far, stepwise);
                let soon = |next: Option<VirtualTime>| next.filter(|next| *next < at(2500));
                prop_assert_eq!(soon(far.next_reading_over_schedule(&conditions)), soon(stepwise.next_reading(&conditions)));
            }
        }

        #[test]
        fn earlier_advances_do_not_change_the_result(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            silence in 0..400_u64, silent_for in 1..100_u64,
            restart in 0..400_u64,
            every in 60..200_u64,
            mut times in prop::collection::vec(0..1000_u64, 0..20),
            last in 1000..1100_u64,
        ) {
            let mut silent = window(MeterEffect::Silent(Silence::NotRecognized), silence, silent_for);
            silent.when.every = Some(Duration::from_secs(every.max(silent_for + 1)));
            let fixture = ReceptionFixture::new(kind, seed, vec![silent, window(MeterEffect::RestartIds, restart, 10)]);
            let straight = fixture.cursor_at(at(last));
            times.sort_unstable();
            let mut stepwise = ReceptionCursor::new(VirtualTime::ZERO);
            for time in times {
                stepwise.advance_to_inclusive(&fixture.conditions(), at(time));
                prop_assert_eq!(stepwise, fixture.cursor_at(at(time)));
            }
            stepwise.advance_to_inclusive(&fixture.conditions(), at(last));
            prop_assert_eq!(stepwise, straight);
            prop_assert_eq!(stepwise.next_reading(&fixture.conditions()), straight.next_reading(&fixture.conditions()));
        }

        #[test]
        fn waiting_for_the_next_reading_finds_each_one(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            silence in 0..100_u64, silent_for in 1..100_u64,
        ) {
            let silent = window(MeterEffect::Silent(Silence::NoData), silence, silent_for);
            let fixture = ReceptionFixture::new(kind, seed, vec![silent]);
            let mut cursor = ReceptionCursor::new(VirtualTime::ZERO);
            cursor.advance_to_inclusive(&fixture.conditions(), VirtualTime::ZERO);
            let mut ids = 0;
            while let Some(next) = cursor.next_reading(&fixture.conditions()).filter(|next| *next <= at(300)) {
                cursor.advance_to_inclusive(&fixture.conditions(), next);
                let newest = cursor.newest.unwrap();
                prop_assert_eq!((newest.id, fixture.cadence.time(newest.number)), (ids + 1, next));
                ids += 1;
            }
            prop_assert_eq!(fixture.cursor_at(at(300)).newest.map(|newest| newest.id), Some(ids));
        }
    }
}
