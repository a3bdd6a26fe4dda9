//! What lies between the meter and the device: which telegrams become readings, and how the device
//! counts them.
//!
//! A [`ReceptionCursor`] goes forward through the changes of what befalls the meter, one at a time, and counts
//! the telegrams between two of them by arithmetic. It remembers no more than where it stands, so
//! that a moment costs what has changed since the last one, and a healthy house costs nothing. Each of
//! the first few changes asks all rules; for the many of a long way the windows are put in order once
//! ([`WindowSchedule`]), and each costs some tens of nanoseconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cadence, MeterStatus};
use crate::clock::VirtualTime;
use crate::fault::{
    ActiveFaults, Interruption, MeterState, ScheduledWindow, Silence, WindowSchedule,
};
use crate::limits;

/// How far the device has come in listening to its meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceptionCursor {
    /// The device has been up since then.
    up_since: VirtualTime,
    /// All telegrams before this moment are accounted for.
    through: VirtualTime,
    /// Nothing gets through.
    silent: bool,
    /// Telegrams from here on are readings; before, the device finds out what it hears.
    ready: VirtualTime,
    /// Since when it has been listening.
    listening: VirtualTime,
    /// Readings so far, since the boot or since the ids restarted.
    ids: u64,
    newest: Option<ReceivedTelegram>,
}

/// A telegram that became a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReceivedTelegram {
    /// Its number.
    pub n: u64,
    /// `report.id`.
    pub id: u64,
    /// The telegram that became the reading before; the one just before it where there was none.
    pub before: Option<u64>,
}

/// What a link is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceptionConditions<'a> {
    pub cadence: &'a Cadence,
    /// How long the device takes to find out what it hears.
    pub recognition: Duration,
    /// What befalls the meter.
    pub befalling: ActiveFaults<'a>,
    /// Why the device cannot read what the meter sends, with the keys that it has now.
    pub locked: Option<Silence>,
    /// From here on the meter says nothing more.
    pub ends: VirtualTime,
}

impl ReceptionConditions<'_> {
    fn at(&self, at: VirtualTime) -> MeterState {
        let mut state = self.befalling.at(at);
        if let Some(silence) = self.locked {
            state.silent = state.silent.or(Some(silence));
            state.forgets |= silence.forgets();
        }
        if at >= self.ends {
            state.silent = state.silent.or(Some(Silence::NoData));
        } else {
            state.until = state.until.min(self.ends);
        }
        state
    }

    /// What there is to hear and what not from a moment on, as [`ReceptionConditions::at`] has it.
    fn course(&self, from: VirtualTime) -> WindowSchedule {
        let mut course = self.befalling.course(from);
        let mut add = |from, forgets| {
            let cut = Interruption::Silence { forgets };
            course.add(ScheduledWindow { cut, from, to: VirtualTime::MAX });
        };
        if let Some(silence) = self.locked {
            add(from, silence.forgets());
        }
        if self.ends < VirtualTime::MAX {
            add(self.ends, Silence::NoData.forgets());
        }
        course
    }
}

impl ReceptionCursor {
    /// The link of a device that came up at `up_since`.
    #[must_use]
    pub fn new(up_since: VirtualTime) -> Self {
        Self {
            up_since,
            through: up_since,
            silent: false,
            // Known once the line is.
            ready: VirtualTime::MAX,
            listening: up_since,
            ids: 0,
            newest: None,
        }
    }

    /// When the device came up.
    #[must_use]
    pub fn up_since(&self) -> VirtualTime {
        self.up_since
    }

    /// All before this moment is accounted for.
    #[must_use]
    pub fn through(&self) -> VirtualTime {
        self.through
    }

    /// Whether it can be that of a device which came up at `up_since` and has listened to a meter of
    /// this cadence until `now` at the latest: one that was kept may be of another meter.
    pub(super) fn fits(&self, cadence: &Cadence, up_since: VirtualTime, now: VirtualTime) -> bool {
        let next = cadence.first_from(self.through);
        let sent_before = |of: ReceivedTelegram| of.n < next && of.before.is_none_or(|n| n < of.n);
        // While it listens, the newest is the last that was sent.
        let heard = |last: u64| {
            self.silent
                || cadence.time(last) < self.ready
                || self.newest.map(|of| of.n) == Some(last)
        };
        self.up_since == up_since
            && (up_since..=just_after(now)).contains(&self.through)
            && self.ids <= cadence.come_before(next)
            && self.newest.is_none_or(sent_before)
            && cadence.last_before(next).is_none_or(heard)
    }

    /// Accounts for all that came up to `now`, with `now`.
    pub(super) fn advance_to_inclusive(
        &mut self,
        line: &ReceptionConditions<'_>,
        now: VirtualTime,
    ) {
        self.advance_to(line, just_after(now));
    }

    /// Accounts for all that came before `end`.
    pub(super) fn advance_to(&mut self, line: &ReceptionConditions<'_>, end: VirtualTime) {
        for _ in 0..limits::METER_CHANGES_ASKED {
            if self.through >= end {
                return;
            }
            let state = line.at(self.through);
            self.pass(line, &state, state.until.min(end));
        }
        if self.through < end {
            self.advance_over_schedule(line, end);
        }
    }

    /// The same, over many changes.
    fn advance_over_schedule(&mut self, line: &ReceptionConditions<'_>, end: VirtualTime) {
        let mut course = line.course(self.through);
        while let Some(window) = course.next(end) {
            if self.through < window.from {
                self.receive(line, window.from);
            }
            self.interrupt(window.cut, window.to.min(end));
        }
        if self.through < end {
            self.receive(line, end);
        }
    }

    /// Accounts for the telegrams from where it stands to before `end`, during which nothing changes.
    fn pass(&mut self, line: &ReceptionConditions<'_>, state: &MeterState, end: VirtualTime) {
        if state.restart {
            self.interrupt(Interruption::Restart, end);
        }
        if state.silent.is_some() {
            self.interrupt(Interruption::Silence { forgets: state.forgets }, end);
        } else {
            self.receive(line, end);
        }
    }

    /// A window begins where it stands, or has begun in a silence that led there; one of silence goes
    /// on to before `end`.
    fn interrupt(&mut self, cut: Interruption, end: VirtualTime) {
        match cut {
            Interruption::Restart => self.ids = 0,
            Interruption::Silence { forgets } => {
                self.silent = true;
                self.ready = VirtualTime::MAX;
                self.newest = self.newest.filter(|_| !forgets);
                self.through = self.through.max(end);
            }
        }
    }

    /// Something is to be heard from where it stands to before `end`.
    fn receive(&mut self, line: &ReceptionConditions<'_>, end: VirtualTime) {
        if self.ready == VirtualTime::MAX {
            self.silent = false;
            self.listening = self.through;
            self.ready = self.through.after(line.recognition);
        }
        let from = self.through.max(self.ready);
        self.through = end;
        if from < end {
            self.deliver(line.cadence, from, end);
        }
    }

    fn deliver(&mut self, cadence: &Cadence, from: VirtualTime, end: VirtualTime) {
        let (first, beyond) = (cadence.first_from(from), cadence.first_from(end));
        let earlier = cadence.come_before(first);
        let count = cadence.come_before(beyond) - earlier;
        let Some(n) = cadence.last_before(beyond).filter(|_| count > 0) else { return };
        let before = match (count, self.newest) {
            (1, Some(newest)) => Some(newest.n),
            _ => cadence.last_before(n),
        };
        self.ids += count;
        self.newest = Some(ReceivedTelegram { n, id: self.ids, before });
    }

    /// How the device gets on with its meter right after the moment it was followed to, and what it
    /// has of it. A change at that very moment shows here before the link takes it in.
    pub(super) fn seen(
        &self,
        line: &ReceptionConditions<'_>,
    ) -> (MeterStatus, Option<ReceivedTelegram>) {
        let state = line.at(self.through);
        match state.silent {
            Some(silence) => (silence.into(), self.newest.filter(|_| !state.forgets)),
            None => (self.status(line.cadence), self.newest),
        }
    }

    /// The status of a link through which the meter is heard.
    fn status(&self, cadence: &Cadence) -> MeterStatus {
        let heard = |since: VirtualTime| {
            let first = cadence.next_from(cadence.first_from(since));
            cadence.time(first) < self.through
        };
        if self.silent {
            MeterStatus::NoData
        } else if heard(self.ready) {
            MeterStatus::Ok
        } else if heard(self.listening) {
            MeterStatus::Recognition
        } else {
            MeterStatus::NoData
        }
    }

    /// When the next reading after the moment that it was followed to comes. Where none comes before
    /// [`limits::METER_CHANGES_AHEAD`] changes of what befalls the meter, the time of the last of
    /// them, at which one may ask again; none where none will ever come.
    pub(super) fn next(mut self, line: &ReceptionConditions<'_>) -> Option<VirtualTime> {
        for _ in 0..limits::METER_CHANGES_ASKED {
            let state = line.at(self.through);
            self.pass(line, &state, self.through);
            if let Some(next) = self.next_before(line, state.until) {
                return Some(next);
            }
            if state.until == VirtualTime::MAX {
                return None;
            }
            self.pass(line, &state, state.until);
        }
        self.next_far(line)
    }

    /// The same, over many changes.
    fn next_far(mut self, line: &ReceptionConditions<'_>) -> Option<VirtualTime> {
        let mut course = line.course(self.through);
        for _ in 0..limits::METER_CHANGES_AHEAD {
            let window = course.next(VirtualTime::MAX);
            let begins = window.map_or(VirtualTime::MAX, |window| window.from);
            if self.through < begins {
                self.receive(line, self.through);
                if let Some(next) = self.next_before(line, begins) {
                    return Some(next);
                }
                self.receive(line, begins);
            }
            let window = window?;
            self.interrupt(window.cut, window.to);
            if self.through == VirtualTime::MAX {
                return None;
            }
        }
        Some(self.through)
    }

    /// The first reading before `end`, up to which nothing changes.
    fn next_before(&self, line: &ReceptionConditions<'_>, end: VirtualTime) -> Option<VirtualTime> {
        if self.silent {
            return None;
        }
        let from = self.through.max(self.ready);
        if from >= end {
            return None;
        }
        let next = line.cadence.next_from(line.cadence.first_from(from));
        Some(line.cadence.time(next)).filter(|next| *next < end)
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

    fn window(effect: MeterEffect, after: u64, lasts: u64) -> Episode {
        Episode {
            device: None,
            effect,
            when: Trigger {
                after: Duration::from_secs(after),
                lasts: Some(Duration::from_secs(lasts)),
                ..Trigger::default()
            },
            armed_at: at(0),
            until: VirtualTime::MAX,
        }
    }

    /// A line without faults; tests add theirs.
    struct ReceptionFixture {
        cadence: Cadence,
        episodes: Arc<Episodes>,
    }

    impl ReceptionFixture {
        fn new(kind: MeterKind, seed: u64, episodes: Vec<Episode>) -> Self {
            let cadence = Cadence::new(kind.facts(), seed, RandomStream::named("A"));
            Self { cadence, episodes: Episodes::new(episodes) }
        }

        fn line(&self) -> ReceptionConditions<'_> {
            ReceptionConditions {
                cadence: &self.cadence,
                recognition: Duration::from_secs(3),
                befalling: self.episodes.of("A"),
                locked: None,
                ends: VirtualTime::MAX,
            }
        }

        fn status(&self, now: VirtualTime) -> MeterStatus {
            self.at(now).seen(&self.line()).0
        }

        fn at(&self, now: VirtualTime) -> ReceptionCursor {
            let mut link = ReceptionCursor::new(VirtualTime::ZERO);
            link.advance_to_inclusive(&self.line(), now);
            link
        }
    }

    // Ruling: METER-9, METER-10.
    #[test]
    fn ids_count_what_was_heard_and_go_on_after_a_silence() {
        let silent = window(MeterEffect::Silent(Silence::NoData), 100, 50);
        let healthy = ReceptionFixture::new(MeterKind::Ensor, 1, vec![]);
        let bench = ReceptionFixture::new(MeterKind::Ensor, 1, vec![silent]);
        let before = bench.at(at(100));
        assert_eq!(before.newest.unwrap().id, healthy.at(at(100)).newest.unwrap().id);
        let during = bench.at(at(149));
        assert_eq!((during.newest, bench.status(at(149))), (before.newest, MeterStatus::NoData));
        assert_eq!(bench.status(at(152)), MeterStatus::Recognition);
        let after = bench.at(at(200));
        assert_eq!(bench.status(at(200)), MeterStatus::Ok);
        let missed = healthy.at(at(200)).newest.unwrap().id - after.newest.unwrap().id;
        assert!((52..=54).contains(&missed), "{missed}: the silence, and 3 s of recognition");
    }

    #[test]
    fn the_interval_after_a_silence_spans_it() {
        let silent = window(MeterEffect::Silent(Silence::NoData), 100, 50);
        let bench = ReceptionFixture::new(MeterKind::Ensor, 1, vec![silent]);
        let mut link = bench.at(at(152));
        let heard = link.newest.unwrap().n;
        let next = link.next(&bench.line()).unwrap();
        link.advance_to_inclusive(&bench.line(), next);
        let newest = link.newest.unwrap();
        assert_eq!((newest.before, bench.cadence.time(newest.n)), (Some(heard), next));
    }

    // Ruling: METER-10.
    #[test]
    fn a_meter_that_was_unplugged_is_not_known_any_more() {
        let out = window(MeterEffect::Silent(Silence::NotConnected), 100, 50);
        let bench = ReceptionFixture::new(MeterKind::Ensor, 1, vec![out]);
        for seconds in [101, 149, 152] {
            assert_eq!(bench.at(at(seconds)).newest, None, "{seconds}");
        }
        assert!(bench.at(at(160)).newest.unwrap().id > 90);
    }

    #[test]
    fn ids_restart_with_the_window() {
        let bench = ReceptionFixture::new(
            MeterKind::Ensor,
            1,
            vec![window(MeterEffect::RestartIds, 100, 10)],
        );
        let before = bench.at(at(99)).newest.unwrap();
        let after = bench.at(at(103)).newest.unwrap();
        assert!(before.id > 90 && after.id < 5, "{before:?} {after:?}");
        assert!(after.n > before.n);
    }

    #[test]
    fn a_silence_for_good_has_no_next_reading() {
        let mut out = window(MeterEffect::Silent(Silence::NotConnected), 100, 50);
        out.when.lasts = None;
        let bench = ReceptionFixture::new(MeterKind::Kamstrup, 1, vec![out]);
        assert!(bench.at(at(90)).next(&bench.line()).is_some());
        assert_eq!(bench.at(at(100)).next(&bench.line()), None);
    }

    #[test]
    fn a_year_of_windows_that_leave_no_room_is_walked_in_bounded_steps() {
        let mut often = window(MeterEffect::Silent(Silence::NoData), 0, 59);
        often.when.every = Some(Duration::from_mins(1));
        let bench = ReceptionFixture::new(MeterKind::LandisGyr, 1, vec![often]);
        let next = bench.at(at(10)).next(&bench.line()).unwrap();
        assert!(next > at(60), "{next:?}");
        assert_eq!(bench.at(next).newest, None);
    }

    /// A rule whose moments are whole seconds.
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
            |(effect, armed, after, lasts, every, until)| {
                let mut rule = window(effect, after, lasts);
                rule.armed_at = at(armed);
                rule.when.every = every.map(Duration::from_secs);
                rule.until = until.map_or(VirtualTime::MAX, at);
                rule
            },
        )
    }

    /// What a device has heard before each of so many seconds, found out second by second and telegram
    /// by telegram: how many readings since the ids began, and the newest.
    fn brute(bench: &ReceptionFixture, seconds: u64) -> Vec<(u64, Option<ReceivedTelegram>)> {
        let line = bench.line();
        let (mut n, mut ids, mut newest, mut ready) = (0, 0, None::<ReceivedTelegram>, None);
        let mut seen = Vec::new();
        for second in 0..seconds {
            seen.push((ids, newest));
            let state = bench.episodes.at("A", at(second));
            if state.restart {
                ids = 0;
            }
            if state.silent.is_some() {
                ready = None;
                newest = newest.filter(|_| !state.forgets);
            } else {
                ready = ready.or(Some(at(second).after(line.recognition)));
            }
            while bench.cadence.time(n) < at(second + 1) {
                if ready.is_some_and(|ready| bench.cadence.time(n) >= ready)
                    && !bench.cadence.is_skipped(n)
                {
                    ids += 1;
                    let before =
                        newest.map_or_else(|| bench.cadence.last_before(n), |last| Some(last.n));
                    newest = Some(ReceivedTelegram { n, id: ids, before });
                }
                n += 1;
            }
        }
        seen
    }

    #[test]
    fn forty_rules_and_a_year_are_counted_as_they_are_hour_by_hour() {
        let minute = |n: u64| {
            let mut rule = window(MeterEffect::Silent(Silence::NoData), n % 4 * 10, 10);
            rule.when.every = Some(Duration::from_mins(1));
            rule
        };
        let bench = ReceptionFixture::new(MeterKind::Ensor, 3, (0..40).map(minute).collect());
        let mut hourly = ReceptionCursor::new(VirtualTime::ZERO);
        for hour in 1..=365 * 24 {
            hourly.advance_to_inclusive(&bench.line(), at(hour * 3600));
        }
        assert_eq!(bench.at(at(365 * 86_400)), hourly);
        // 20 s of each minute, less what it takes to find out what is heard.
        let ids = hourly.newest.unwrap().id;
        assert!((365 * 1440 * 16..365 * 1440 * 18).contains(&ids), "{ids}");
    }

    #[test]
    fn a_link_fits_the_meter_it_has_listened_to_alone() {
        let (ensor, kamstrup) = (
            ReceptionFixture::new(MeterKind::Ensor, 1, vec![]),
            ReceptionFixture::new(MeterKind::Kamstrup, 1, vec![]),
        );
        let (up, now) = (VirtualTime::ZERO, at(1000));
        for (own, other) in [(&ensor, &kamstrup), (&kamstrup, &ensor)] {
            let link = own.at(now);
            assert!(link.fits(&own.cadence, up, now) && link.fits(&own.cadence, up, at(2000)));
            assert!(!link.fits(&other.cadence, up, now), "another meter");
            assert!(!link.fits(&own.cadence, up, at(999)), "not there yet");
            assert!(!link.fits(&own.cadence, at(1), now), "another boot");
            let of = |n| Some(ReceivedTelegram { n, id: 1, before: None });
            let torn = |newest| ReceptionCursor { newest, ..link };
            assert!(!torn(of(u64::MAX)).fits(&own.cadence, up, now));
            assert!(!ReceptionCursor { silent: true, ..torn(of(u64::MAX)) }.fits(
                &own.cadence,
                up,
                now
            ));
            assert!(!ReceptionCursor { ids: u64::MAX, ..link }.fits(&own.cadence, up, now));
        }
    }

    proptest! {
        #[test]
        fn rules_over_each_other_count_what_counting_telegram_by_telegram_does(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            rules in prop::collection::vec(rule(), 0..10),
            mut asked in prop::collection::vec(0..1500_u64, 1..10),
        ) {
            let bench = ReceptionFixture::new(kind, seed, rules);
            let (line, brute) = (bench.line(), brute(&bench, 1500));
            asked.sort_unstable();
            let mut stepwise = ReceptionCursor::new(VirtualTime::ZERO);
            for second in asked {
                stepwise.advance_to(&line, at(second));
                let counted = brute[usize::try_from(second).unwrap()];
                prop_assert_eq!((stepwise.ids, stepwise.newest), counted);
                prop_assert!(stepwise.fits(line.cadence, VirtualTime::ZERO, at(second)));
                let mut straight = ReceptionCursor::new(VirtualTime::ZERO);
                straight.advance_to(&line, at(second));
                prop_assert_eq!(straight, stepwise);
                let mut far = ReceptionCursor::new(VirtualTime::ZERO);
                far.advance_over_schedule(&line, at(second));
                prop_assert_eq!(far, stepwise);
                let soon = |next: Option<VirtualTime>| next.filter(|next| *next < at(2500));
                prop_assert_eq!(soon(far.next_far(&line)), soon(stepwise.next(&line)));
            }
        }

        #[test]
        fn whatever_was_asked_before_the_answer_is_the_same(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            silence in 0..400_u64, silent_for in 1..100_u64,
            restart in 0..400_u64,
            every in 60..200_u64,
            mut asked in prop::collection::vec(0..1000_u64, 0..20),
            last in 1000..1100_u64,
        ) {
            let mut silent = window(MeterEffect::Silent(Silence::NotRecognized), silence, silent_for);
            silent.when.every = Some(Duration::from_secs(every.max(silent_for + 1)));
            let bench = ReceptionFixture::new(kind, seed, vec![silent, window(MeterEffect::RestartIds, restart, 10)]);
            let straight = bench.at(at(last));
            asked.sort_unstable();
            let mut stepwise = ReceptionCursor::new(VirtualTime::ZERO);
            for moment in asked {
                stepwise.advance_to_inclusive(&bench.line(), at(moment));
                prop_assert_eq!(stepwise, bench.at(at(moment)));
            }
            stepwise.advance_to_inclusive(&bench.line(), at(last));
            prop_assert_eq!(stepwise, straight);
            prop_assert_eq!(stepwise.next(&bench.line()), straight.next(&bench.line()));
        }

        #[test]
        fn waiting_for_the_next_reading_meets_every_one(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            silence in 0..100_u64, silent_for in 1..100_u64,
        ) {
            let silent = window(MeterEffect::Silent(Silence::NoData), silence, silent_for);
            let bench = ReceptionFixture::new(kind, seed, vec![silent]);
            let mut link = ReceptionCursor::new(VirtualTime::ZERO);
            link.advance_to_inclusive(&bench.line(), VirtualTime::ZERO);
            let mut ids = 0;
            while let Some(next) = link.next(&bench.line()).filter(|next| *next <= at(300)) {
                link.advance_to_inclusive(&bench.line(), next);
                let newest = link.newest.unwrap();
                prop_assert_eq!((newest.id, bench.cadence.time(newest.n)), (ids + 1, next));
                ids += 1;
            }
            prop_assert_eq!(bench.at(at(300)).newest.map(|newest| newest.id), Some(ids));
        }
    }
}
