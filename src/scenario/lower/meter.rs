//! The meter of a device, and the house that it measures.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use jiff::civil::Weekday;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::path::FieldPath;
use super::super::raw;
use crate::limits;
use crate::meter::signal::plan::{
    BatteryPlan, ConnectionPlan, DailyWindow, Days, DemandPlan, HouseholdPlan, LoadPlan, Phases,
    Placement, PvPlan, RegisterPlan, Schedule, SignalPlan, Sky, TariffPlan,
};
use crate::meter::{
    MeterKind, MeterPlan, MeterTexts, Quantity, Recording, RegisterCut, ReplayMode, ReplayPlan,
};
use crate::notation::shortened;
use crate::problem::Problem;

/// The meter that is meant by what stands at `path`.
pub(super) fn meter(
    raw: &raw::Meter,
    path: &FieldPath,
    base_dir: Option<&std::path::Path>,
    mistakes: &mut Mistakes,
) -> MeterPlan {
    let mut judge = Judge { path, mistakes };
    let replay = judge.replay(raw, base_dir);
    let recorded = replay.as_ref().and_then(|replay| replay.recording.kind());
    let text = |text: &Option<raw::MeterText>| text.as_ref().map(|text| text.0.clone());
    MeterPlan {
        kind: match raw.kind {
            None => Some(recorded.unwrap_or_default()),
            Some(raw::MeterKind::LandisGyr) => Some(MeterKind::LandisGyr),
            Some(raw::MeterKind::Ensor) => Some(MeterKind::Ensor),
            Some(raw::MeterKind::Kamstrup) => Some(MeterKind::Kamstrup),
            Some(raw::MeterKind::None) => {
                judge.nothing_plugged(raw);
                None
            }
        },
        signal: judge.signal(raw),
        texts: MeterTexts {
            logical_name: text(&raw.logical_name),
            id: text(&raw.id),
            model: text(&raw.model),
            volume_id: text(&raw.volume_id),
        },
        registers: match raw.tariff_registers {
            None | Some(raw::TariffRegisters::Exact) => RegisterCut::Together,
            Some(raw::TariffRegisters::Separate) => {
                judge.tariff_registers(raw.kind);
                RegisterCut::Separately
            }
        },
        encryption_key: raw.encryption_key.map(|key| key.0),
        replay,
    }
}

struct Judge<'a> {
    /// The meter's own path.
    path: &'a FieldPath,
    mistakes: &'a mut Mistakes,
}

impl Judge<'_> {
    fn problems(&mut self, path: &FieldPath, problems: Vec<Problem>) {
        for Problem { path: field, message, .. } in problems {
            // A plan calls the key `phase` of a scenario `placement`.
            let field = if field == "placement" { "phase" } else { &field };
            self.mistakes.push(Mistake::new(path.key(field), message));
        }
    }

    /// What stands beside `kind: none` would never be seen.
    fn nothing_plugged(&mut self, raw: &raw::Meter) {
        let raw = raw::Meter { kind: None, ..raw.clone() };
        if raw != raw::Meter::default() {
            let message =
                "`kind: none` is a device without a meter; what else is said of it has no effect";
            let mistake = Mistake::new(self.path.key("kind"), message)
                .help("leave the other keys out; to unplug a meter for a time use a fault, as {at: meter, effect: not_connected}");
            self.mistakes.push(mistake);
        }
    }

    fn tariff_registers(&mut self, kind: Option<raw::MeterKind>) {
        if kind == Some(raw::MeterKind::LandisGyr) {
            let message = "landis_gyr sends no tariff registers, so that nothing can be cut";
            let path = self.path.key("tariff_registers");
            self.mistakes
                .push(Mistake::new(path, message).help("leave it out, or use another kind"));
        }
    }

    fn signal(&mut self, raw: &raw::Meter) -> SignalPlan {
        let plan = SignalPlan {
            household: self.household(raw.household.as_ref()),
            pv: raw.pv.as_ref().map(|pv| self.pv(pv)),
            battery: raw.battery.as_ref().map(|battery| self.battery(battery)),
            loads: self.loads(raw.loads.as_deref().unwrap_or_default()),
            connection: self.connection(raw),
            tariff: self.tariff(raw.tariff.as_ref()),
            demand: self.demand(raw.demand_period),
            registers: self.registers(raw.start.as_ref()),
        };
        self.problems(self.path, plan.problems());
        plan
    }

    fn household(&mut self, raw: Option<&raw::Household>) -> HouseholdPlan {
        let default = HouseholdPlan::default();
        let Some(raw) = raw else { return default };
        let base_watts = raw.base_watts.unwrap_or(default.base_watts);
        let plan = HouseholdPlan {
            annual_kwh: raw.annual_kwh.unwrap_or(default.annual_kwh),
            base_watts,
            // A house with a lower base is not called noisy for it.
            noise_watts: raw.noise_watts.unwrap_or(default.noise_watts.min(base_watts / 2.0)),
            ..default
        };
        self.problems(&self.path.key("household"), plan.problems());
        plan
    }

    fn pv(&mut self, raw: &raw::Pv) -> PvPlan {
        let default = PvPlan::default();
        let plan = PvPlan {
            kwp: raw.kwp.unwrap_or(default.kwp),
            tilt: raw.tilt.unwrap_or(default.tilt),
            azimuth: raw.azimuth.unwrap_or(default.azimuth),
            inverter_kw: raw.inverter_kw,
            latitude: raw.latitude.unwrap_or(default.latitude),
            longitude: raw.longitude.unwrap_or(default.longitude),
            sky: match raw.sky {
                None => default.sky,
                Some(raw::Sky::Changing) => Sky::Changing,
                Some(raw::Sky::Clear) => Sky::Clear,
                Some(raw::Sky::Overcast) => Sky::Overcast,
            },
            placement: raw.phase.map_or(default.placement, placement),
        };
        self.problems(&self.path.key("pv"), plan.problems());
        plan
    }

    fn battery(&mut self, raw: &raw::Battery) -> BatteryPlan {
        let default = BatteryPlan::default();
        let plan = BatteryPlan {
            kwh: raw.kwh.unwrap_or(default.kwh),
            kw: raw.kw.unwrap_or(default.kw),
            efficiency: raw.efficiency.unwrap_or(default.efficiency),
            initial: raw.initial.unwrap_or(default.initial),
            leave_watts: raw.leave_watts.unwrap_or(default.leave_watts),
            placement: raw.phase.map_or(default.placement, placement),
        };
        self.problems(&self.path.key("battery"), plan.problems());
        plan
    }

    fn loads(&mut self, raw: &[raw::Choice<raw::LoadWord, raw::Load>]) -> Vec<LoadPlan> {
        let base = self.path.key("loads");
        let mut plans = Vec::with_capacity(raw.len());
        for (index, load) in raw.iter().enumerate() {
            let path = base.index(index);
            let plan = match load {
                raw::Choice::Word(word) => Some(known_load(*word)),
                raw::Choice::Map(map) => self.load(map, index, &path),
            };
            if let Some(plan) = plan {
                self.problems(&path, plan.problems());
                plans.push(plan);
            }
        }
        plans
    }

    fn load(&mut self, raw: &raw::Load, index: usize, path: &FieldPath) -> Option<LoadPlan> {
        let like = raw.like.map(known_load);
        let schedule = self.schedule(raw, like.as_ref(), path)?;
        let Some(watts) = raw.watts.or(like.as_ref().map(|like| like.watts)) else {
            let mistake = Mistake::new(path.clone(), "this load does not say what it draws")
                .help("add `watts`, or `like` one that is known: heat_pump, boiler or ev");
            self.mistakes.push(mistake);
            return None;
        };
        let name = raw.name.as_ref().map(|name| name.0.clone());
        let name = name.or(like.as_ref().map(|like| like.name.clone()));
        let placement = raw.phase.map(placement).or(like.as_ref().map(|like| like.placement));
        Some(LoadPlan {
            name: name.unwrap_or_else(|| format!("load {}", index + 1)),
            watts,
            placement: placement.unwrap_or(Placement::All),
            power_factor: raw
                .power_factor
                .or(like.as_ref().map(|like| like.power_factor))
                .unwrap_or(1.0),
            schedule,
        })
    }

    /// When a load is on: in windows, once a day, or as the cold asks. Keys of one way beside those
    /// of another are a mistake.
    fn schedule(
        &mut self,
        raw: &raw::Load,
        like: Option<&LoadPlan>,
        path: &FieldPath,
    ) -> Option<Schedule> {
        let windows = [("windows", raw.windows.is_some())];
        let once = [
            ("days", raw.days.is_some()),
            ("at", raw.at.is_some()),
            ("jitter", raw.jitter.is_some()),
            ("lasts", raw.lasts.is_some()),
            ("chance", raw.chance.is_some()),
        ];
        let heating = [("annual_kwh", raw.annual_kwh.is_some()), ("run", raw.run.is_some())];
        let first = |keys: &[(&'static str, bool)]| {
            keys.iter().find(|(_, given)| *given).map(|(key, _)| *key)
        };
        let given = [first(&windows), first(&once), first(&heating)];
        let mut ways = given.into_iter().flatten();
        if let (Some(one), Some(other)) = (ways.next(), ways.next()) {
            let message = format!("`{other}` does not go with `{one}`");
            let mistake = Mistake::new(path.key(other), message)
                .help("a load is on in `windows`; or once a day `at` a time, and `lasts`; or as the cold asks, by `annual_kwh` and `run`")
                .related(path.key(one), one)
                .on_key();
            self.mistakes.push(mistake);
            return None;
        }
        let known = like.map(|like| &like.schedule);
        match given {
            [Some(_), ..] => {
                let windows = raw.windows.iter().flatten().map(window).collect();
                Some(Schedule::Windows(windows))
            }
            [_, Some(_), _] => self.once(raw, known, path),
            [.., Some(key)] => {
                let Some(Schedule::Heating { annual_kwh, run }) = known else {
                    let mistake = Mistake::new(path.key(key), format!("`{key}` is known to heating alone"))
                        .help("add `like: heat_pump`, or say when the load is on: `windows`, or `at` and `lasts`")
                        .on_key();
                    self.mistakes.push(mistake);
                    return None;
                };
                Some(Schedule::Heating {
                    annual_kwh: raw.annual_kwh.unwrap_or(*annual_kwh),
                    run: raw.run.map_or(*run, |run| run.0),
                })
            }
            [None, None, None] => {
                if known.is_none() {
                    let mistake = Mistake::new(path.clone(), "this load does not say when it is on")
                        .help("add `windows`, or `at` and `lasts`, or `like` one that is known: heat_pump, boiler or ev");
                    self.mistakes.push(mistake);
                }
                known.cloned()
            }
        }
    }

    fn once(
        &mut self,
        raw: &raw::Load,
        known: Option<&Schedule>,
        path: &FieldPath,
    ) -> Option<Schedule> {
        let known = match known {
            Some(Schedule::Once { days, at, jitter, lasts, chance }) => {
                Some((*days, *at, *jitter, *lasts, *chance))
            }
            _ => None,
        };
        let at = raw.at.map(|at| at.minutes).or(known.map(|known| known.1));
        let lasts = raw.lasts.map(|lasts| lasts.0).or(known.map(|known| known.3));
        let (Some(at), Some(lasts)) = (at, lasts) else {
            let missing = if at.is_none() { "at" } else { "lasts" };
            let message = format!("a load that is on once a day needs `{missing}`");
            self.mistakes.push(Mistake::new(path.clone(), message));
            return None;
        };
        let jitter = raw.jitter.map(|jitter| jitter.0.as_secs() / 60);
        Some(Schedule::Once {
            days: raw.days.as_ref().map_or(known.map_or(Days::ALL, |known| known.0), days),
            at,
            jitter: jitter.map_or(known.map_or(0, |known| known.2), |minutes| {
                u16::try_from(minutes).unwrap_or(u16::MAX)
            }),
            lasts,
            chance: raw.chance.or(known.map(|known| known.4)).unwrap_or(1.0),
        })
    }

    fn connection(&mut self, raw: &raw::Meter) -> ConnectionPlan {
        let default = ConnectionPlan::default();
        let grid = raw.grid.clone().unwrap_or_default();
        if raw.phases.is_some_and(|phases| phases.0 == 2) {
            let mistake = Mistake::new(self.path.key("phases"), "a house has one phase or three")
                .help("for a phase that fails use a fault, as {at: meter, effect: {missing_phase: l2}}");
            self.mistakes.push(mistake);
        }
        let plan = ConnectionPlan {
            phases: match raw.phases {
                Some(raw::PhaseCount(1)) => Phases::One,
                _ => Phases::Three,
            },
            volts: grid.volts.unwrap_or(default.volts),
            noise_volts: grid.noise_volts.unwrap_or(default.noise_volts),
            resistance: grid.resistance.unwrap_or(default.resistance),
            reactance: grid.reactance.unwrap_or(default.reactance),
        };
        self.problems(&self.path.key("grid"), plan.problems());
        plan
    }

    fn tariff(&mut self, raw: Option<&raw::Choice<raw::TariffWord, raw::TariffOf>>) -> TariffPlan {
        let plan = match raw {
            None | Some(raw::Choice::Word(raw::TariffWord::Swiss)) => TariffPlan::Swiss,
            Some(raw::Choice::Word(raw::TariffWord::Single)) => TariffPlan::Single,
            Some(raw::Choice::Word(raw::TariffWord::HtNt)) => TariffPlan::HtNt,
            Some(raw::Choice::Map(of)) => {
                TariffPlan::Windows(of.windows.iter().map(window).collect())
            }
        };
        self.problems(&self.path.key("tariff"), plan.problems());
        plan
    }

    fn demand(&mut self, period: Option<raw::DurationText>) -> DemandPlan {
        let Some(raw::DurationText(period)) = period else { return DemandPlan::default() };
        let minutes = u8::try_from(period.as_secs() / 60).ok();
        let plan = minutes.map(|period_minutes| DemandPlan { period_minutes });
        let plan = plan.filter(|plan| plan.problems().is_empty() && plan.period() == period);
        plan.unwrap_or_else(|| {
            let message =
                format!("{}: expected 5m, 10m, 15m, 30m or 60m", raw::DurationText(period));
            self.mistakes.push(Mistake::new(self.path.key("demand_period"), message));
            DemandPlan::default()
        })
    }

    fn registers(&mut self, raw: Option<&raw::Counters>) -> RegisterPlan {
        let Some(raw) = raw else { return RegisterPlan::default() };
        let path = self.path.key("start");
        let mut tariffs = |key: &str, counts: &Option<raw::OneOrMany<raw::Count>>| {
            let counts = counts.as_ref().map_or(&[][..], raw::OneOrMany::as_slice);
            if counts.len() > 2 {
                let message =
                    format!("{} counters; a meter has them for tariff 1 and 2", counts.len());
                self.mistakes.push(Mistake::new(path.key(key), message));
            }
            let wh = |index: usize| counts.get(index).map_or(0, |count| watt_hours(*count));
            [wh(0), wh(1)]
        };
        let zero = [0; 2];
        RegisterPlan {
            import: tariffs("import", &raw.import),
            export: tariffs("export", &raw.export),
            quadrants: [
                tariffs("reactive_import", &raw.reactive_import),
                zero,
                zero,
                tariffs("reactive_export", &raw.reactive_export),
            ],
        }
    }

    fn replay(
        &mut self,
        raw: &raw::Meter,
        base_dir: Option<&std::path::Path>,
    ) -> Option<ReplayPlan> {
        let (file, path, mode, interpolate) = match raw.replay.as_ref()? {
            raw::Choice::Word(file) => (file, self.path.key("replay"), None, None),
            raw::Choice::Map(of) => {
                let path = self.path.key("replay").key("file");
                (&of.file, path, of.mode, of.interpolate)
            }
        };
        self.beside_a_recording(raw);
        match recording(file.as_str(), base_dir) {
            Ok(recording) => Some(ReplayPlan {
                recording: Arc::new(recording),
                mode: match mode {
                    None | Some(raw::ReplayMode::Loop) => ReplayMode::Loop,
                    Some(raw::ReplayMode::End) => ReplayMode::End,
                },
                interpolate: interpolate.unwrap_or(true),
            }),
            Err(message) => {
                self.mistakes.push(Mistake::new(path, message));
                None
            }
        }
    }

    /// What the model is made of has no effect beside a recording.
    fn beside_a_recording(&mut self, raw: &raw::Meter) {
        let given = [
            ("household", raw.household.is_some()),
            ("pv", raw.pv.is_some()),
            ("battery", raw.battery.is_some()),
            ("loads", raw.loads.is_some()),
            ("tariff", raw.tariff.is_some()),
            ("phases", raw.phases.is_some()),
            ("grid", raw.grid.is_some()),
            ("demand_period", raw.demand_period.is_some()),
            ("start", raw.start.is_some()),
            ("tariff_registers", raw.tariff_registers.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            let message = format!("`{key}` belongs to the model, which `replay` stands in for");
            let mistake = Mistake::new(self.path.key(key), message)
                .help("remove one of them")
                .related(self.path.key("replay"), "replay")
                .on_key();
            self.mistakes.push(mistake);
        }
    }
}

fn known_load(word: raw::LoadWord) -> LoadPlan {
    match word {
        raw::LoadWord::HeatPump => LoadPlan::heat_pump(),
        raw::LoadWord::Boiler => LoadPlan::boiler(),
        raw::LoadWord::Ev => LoadPlan::ev(),
    }
}

const fn placement(word: raw::PhaseWord) -> Placement {
    match word {
        raw::PhaseWord::L1 => Placement::L1,
        raw::PhaseWord::L2 => Placement::L2,
        raw::PhaseWord::L3 => Placement::L3,
        raw::PhaseWord::All => Placement::All,
    }
}

fn window(raw: &raw::Window) -> DailyWindow {
    DailyWindow {
        days: raw.days.as_ref().map_or(Days::ALL, days),
        from: raw.from.minutes,
        to: raw.to.minutes,
    }
}

fn days(raw: &raw::OneOrMany<raw::Day>) -> Days {
    const WEEK: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let days = raw.as_slice().iter().flat_map(|day| match day {
        raw::Day::All => &WEEK[..],
        raw::Day::Weekdays => &WEEK[..5],
        raw::Day::Weekend => &WEEK[5..],
        raw::Day::Mon => &WEEK[..1],
        raw::Day::Tue => &WEEK[1..2],
        raw::Day::Wed => &WEEK[2..3],
        raw::Day::Thu => &WEEK[3..4],
        raw::Day::Fri => &WEEK[4..5],
        raw::Day::Sat => &WEEK[5..6],
        raw::Day::Sun => &WEEK[6..],
    });
    Days::of(&days.copied().collect::<Vec<_>>())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from f64 saturates, and the schema knows the range"
)]
fn watt_hours(count: raw::Count) -> u64 {
    (count.0 * 1000.0).round() as u64
}

/// A recording in a file.
fn recording(name: &str, base_dir: Option<&std::path::Path>) -> Result<Recording, String> {
    let shown = shortened(name);
    let base = base_dir
        .ok_or_else(|| "a scenario that is no file has no recordings beside it".to_owned())?;
    let file = base.join(name);
    // One byte more than allowed tells a file that is too large without reading all of it.
    let mut text = Vec::new();
    File::open(&file)
        .and_then(|file| file.take(limits::RECORDING_BYTES as u64 + 1).read_to_end(&mut text))
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let text = String::from_utf8(text).map_err(|_| format!("{shown} is not UTF-8"))?;
    let recording = Recording::parse(&text).map_err(|error| format!("{shown}: {error}"))?;
    let active =
        |quantity| matches!(quantity, Quantity::ImportPower | Quantity::ActiveImportEnergy);
    if !recording.quantities().any(active) {
        return Err(format!("{shown} has neither EAP_T nor IPAP_T: it is no recording of a meter"));
    }
    Ok(recording)
}
