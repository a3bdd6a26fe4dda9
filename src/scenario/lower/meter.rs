//! Lowering of a meter and of the house that it measures.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Weekday;
use thiserror::Error;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::path::FieldPath;
use super::super::raw;
use crate::limits;
use crate::meter::signal::plan::{
    BatteryPlan, ConnectionPlan, DailyWindow, Days, DemandPlan, HouseholdPlan, LoadPlan, Phases,
    Placement, PvPlan, RegisterPlan, Schedule, SignalPlan, Sky, TariffPlan,
};
use crate::meter::{
    MeterKind, MeterPlan, MeterTexts, Quantity, Recording, RecordingError, RegisterRounding,
    ReplayMode, ReplayPlan,
};
use crate::notation::shortened;
use crate::problem::Problem;

/// Lowers the meter at `path`. `base_dir` is the directory of the scenario file, if it is a file.
pub(super) fn meter(
    raw: &raw::Meter,
    path: &FieldPath,
    base_dir: Option<&Path>,
    mistakes: &mut Mistakes,
) -> MeterPlan {
    let mut lowering = MeterLowering { path, mistakes };
    let replay = lowering.replay(raw, base_dir);
    let recorded = replay.as_ref().and_then(|replay| replay.recording.kind());
    let text = |text: &Option<raw::MeterText>| text.as_ref().map(|text| text.0.clone());
    MeterPlan {
        kind: match raw.kind {
            None => Some(recorded.unwrap_or_default()),
            Some(raw::MeterKind::LandisGyr) => Some(MeterKind::LandisGyr),
            Some(raw::MeterKind::Ensor) => Some(MeterKind::Ensor),
            Some(raw::MeterKind::Kamstrup) => Some(MeterKind::Kamstrup),
            Some(raw::MeterKind::None) => {
                lowering.check_without_meter(raw);
                None
            }
        },
        signal: lowering.signal(raw).into(),
        texts: MeterTexts {
            logical_name: text(&raw.logical_name),
            id: text(&raw.id),
            model: text(&raw.model),
            volume_id: text(&raw.volume_id),
        },
        rounding: match raw.tariff_registers {
            None | Some(raw::TariffRegisters::Exact) => RegisterRounding::Exact,
            Some(raw::TariffRegisters::Separate) => {
                lowering.check_tariff_registers(raw.kind);
                RegisterRounding::Separate
            }
        },
        encryption_key: raw.encryption_key.map(|key| key.0),
        replay,
    }
}

/// The lowering of one meter.
struct MeterLowering<'a> {
    /// The path of the meter.
    path: &'a FieldPath,
    mistakes: &'a mut Mistakes,
}

impl MeterLowering<'_> {
    fn report(&mut self, path: &FieldPath, problems: Vec<Problem>) {
        for Problem { path: field, message, .. } in problems {
            // The scenario's key for `placement` is `phase`.
            let field = if field == "placement" { "phase" } else { &field };
            self.mistakes.push(Mistake::new(path.key(field), message));
        }
    }

    /// Reports keys beside `kind: none`, because they have no effect.
    fn check_without_meter(&mut self, raw: &raw::Meter) {
        let raw = raw::Meter { kind: None, ..raw.clone() };
        if raw != raw::Meter::default() {
            let message =
                "`kind: none` is a device without a meter; what else is said of it has no effect";
            let mistake = Mistake::new(self.path.key("kind"), message)
                .help("leave the other keys out; to unplug a meter for a time use a fault, as {at: meter, effect: not_connected}");
            self.mistakes.push(mistake);
        }
    }

    /// Reports `tariff_registers` for a kind that has none.
    fn check_tariff_registers(&mut self, kind: Option<raw::MeterKind>) {
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
        self.report(self.path, plan.problems());
        plan
    }

    fn household(&mut self, raw: Option<&raw::Household>) -> HouseholdPlan {
        let default = HouseholdPlan::default();
        let Some(raw) = raw else { return default };
        let base_watts = raw.base_watts.unwrap_or(default.base_watts);
        let plan = HouseholdPlan {
            annual_kwh: raw.annual_kwh.unwrap_or(default.annual_kwh),
            base_watts,
            // A base load below the default must not make the default noise a mistake.
            noise_watts: raw.noise_watts.unwrap_or(default.noise_watts.min(base_watts / 2.0)),
            ..default
        };
        self.report(&self.path.key("household"), plan.problems());
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
        self.report(&self.path.key("pv"), plan.problems());
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
        self.report(&self.path.key("battery"), plan.problems());
        plan
    }

    fn loads(&mut self, raw: &[raw::Choice<raw::LoadWord, raw::Load>]) -> Vec<LoadPlan> {
        let base = self.path.key("loads");
        let mut plans = Vec::with_capacity(raw.len());
        for (index, load) in raw.iter().enumerate() {
            let path = base.index(index);
            let plan = match load {
                raw::Choice::Word(word) => Some(preset_load(*word)),
                raw::Choice::Map(map) => self.load(map, index, &path),
            };
            if let Some(plan) = plan {
                self.report(&path, plan.problems());
                plans.push(plan);
            }
        }
        plans
    }

    fn load(&mut self, raw: &raw::Load, index: usize, path: &FieldPath) -> Option<LoadPlan> {
        let preset = raw.like.map(preset_load);
        let schedule = self.schedule(raw, preset.as_ref(), path)?;
        let Some(watts) = raw.watts.or(preset.as_ref().map(|preset| preset.watts)) else {
            let mistake = Mistake::new(path.clone(), "this load does not say what it draws")
                .help("add `watts`, or `like` one that is known: heat_pump, boiler or ev");
            self.mistakes.push(mistake);
            return None;
        };
        let name = raw.name.as_ref().map(|name| name.0.clone());
        let name = name.or(preset.as_ref().map(|preset| preset.name.clone()));
        let placement = raw.phase.map(placement).or(preset.as_ref().map(|preset| preset.placement));
        Some(LoadPlan {
            name: name.unwrap_or_else(|| format!("load {}", index + 1)),
            watts,
            placement: placement.unwrap_or(Placement::All),
            power_factor: raw
                .power_factor
                .or(preset.as_ref().map(|preset| preset.power_factor))
                .unwrap_or(1.0),
            schedule,
        })
    }

    /// Returns the first given key of each schedule: windows, once a day, and heating. Reports keys of two
    /// schedules together, and returns `None`.
    fn given_schedule(
        &mut self,
        raw: &raw::Load,
        path: &FieldPath,
    ) -> Option<[Option<&'static str>; 3]> {
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
        let mut schedules = given.into_iter().flatten();
        if let (Some(one), Some(other)) = (schedules.next(), schedules.next()) {
            let message = format!("`{other}` does not go with `{one}`");
            let mistake = Mistake::new(path.key(other), message)
                .help("a load is on in `windows`; or once a day `at` a time, and `lasts`; or as the cold asks, by `annual_kwh` and `run`")
                .related(path.key(one), one)
                .on_key();
            self.mistakes.push(mistake);
            return None;
        }
        Some(given)
    }

    /// Lowers the schedule of a load. `preset` is the load that it is like.
    fn schedule(
        &mut self,
        raw: &raw::Load,
        preset: Option<&LoadPlan>,
        path: &FieldPath,
    ) -> Option<Schedule> {
        let given = self.given_schedule(raw, path)?;
        let preset = preset.map(|preset| &preset.schedule);
        match given {
            [Some(_), ..] => {
                let windows = raw.windows.iter().flatten().map(window).collect();
                Some(Schedule::Windows(windows))
            }
            [_, Some(_), _] => self.daily_run(raw, preset, path),
            [.., Some(key)] => {
                let Some(Schedule::Heating { annual_kwh, run }) = preset else {
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
                if preset.is_none() {
                    let mistake = Mistake::new(path.clone(), "this load does not say when it is on")
                        .help("add `windows`, or `at` and `lasts`, or `like` one that is known: heat_pump, boiler or ev");
                    self.mistakes.push(mistake);
                }
                preset.cloned()
            }
        }
    }

    /// Lowers a run once a day.
    fn daily_run(
        &mut self,
        raw: &raw::Load,
        preset: Option<&Schedule>,
        path: &FieldPath,
    ) -> Option<Schedule> {
        let preset = match preset {
            Some(Schedule::Once { days, at, jitter, lasts, chance }) => {
                Some((*days, *at, *jitter, *lasts, *chance))
            }
            _ => None,
        };
        let at = raw.at.map(|at| at.minutes).or(preset.map(|preset| preset.1));
        let lasts = raw.lasts.map(|lasts| lasts.0).or(preset.map(|preset| preset.3));
        let (Some(at), Some(lasts)) = (at, lasts) else {
            let missing = if at.is_none() { "at" } else { "lasts" };
            let message = format!("a load that is on once a day needs `{missing}`");
            self.mistakes.push(Mistake::new(path.clone(), message));
            return None;
        };
        let jitter = raw.jitter.map(|jitter| jitter.0.as_secs() / 60);
        Some(Schedule::Once {
            days: raw.days.as_ref().map_or(preset.map_or(Days::ALL, |preset| preset.0), days),
            at,
            jitter: jitter.map_or(preset.map_or(0, |preset| preset.2), |minutes| {
                u16::try_from(minutes).unwrap_or(u16::MAX)
            }),
            lasts,
            chance: raw.chance.or(preset.map(|preset| preset.4)).unwrap_or(1.0),
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
        self.report(&self.path.key("grid"), plan.problems());
        plan
    }

    fn tariff(&mut self, raw: Option<&raw::Choice<raw::TariffWord, raw::TariffOf>>) -> TariffPlan {
        let plan = match raw {
            None | Some(raw::Choice::Word(raw::TariffWord::Swiss)) => TariffPlan::Swiss,
            Some(raw::Choice::Word(raw::TariffWord::Single)) => TariffPlan::Single,
            Some(raw::Choice::Word(raw::TariffWord::HtNt)) => TariffPlan::HtNt,
            Some(raw::Choice::Map(tariff)) => {
                TariffPlan::Windows(tariff.windows.iter().map(window).collect())
            }
        };
        self.report(&self.path.key("tariff"), plan.problems());
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

    fn replay(&mut self, raw: &raw::Meter, base_dir: Option<&Path>) -> Option<ReplayPlan> {
        let (file, path, mode, interpolate) = match raw.replay.as_ref()? {
            raw::Choice::Word(file) => (file, self.path.key("replay"), None, None),
            raw::Choice::Map(replay) => {
                let path = self.path.key("replay").key("file");
                (&replay.file, path, replay.mode, replay.interpolate)
            }
        };
        self.check_beside_replay(raw);
        match read_recording(file.as_str(), base_dir) {
            Ok(recording) => Some(ReplayPlan {
                recording: Arc::new(recording),
                mode: match mode {
                    None | Some(raw::ReplayMode::Loop) => ReplayMode::Loop,
                    Some(raw::ReplayMode::End) => ReplayMode::End,
                },
                interpolate: interpolate.unwrap_or(true),
            }),
            Err(error) => {
                self.mistakes.push(Mistake::new(path, error.to_string()));
                None
            }
        }
    }

    /// Reports keys of the model beside `replay`, because they have no effect.
    fn check_beside_replay(&mut self, raw: &raw::Meter) {
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

fn preset_load(word: raw::LoadWord) -> LoadPlan {
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
    Days::from_weekdays(&days.copied().collect::<Vec<_>>())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from f64 saturates, and the schema knows the range"
)]
fn watt_hours(count: raw::Count) -> u64 {
    (count.0 * 1000.0).round() as u64
}

/// The reason why a recording cannot be used.
#[derive(Debug, Error)]
enum ReplayFileError {
    #[error("a scenario that is no file has no recordings beside it")]
    NoDirectory,
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{0} is not UTF-8")]
    Encoding(String),
    #[error("{file}: {error}")]
    Content { file: String, error: RecordingError },
    #[error("{0} has neither EAP_T nor IPAP_T: it is no recording of a meter")]
    NoActivePower(String),
}

/// Reads the recording in a file of the scenario's directory.
fn read_recording(name: &str, base_dir: Option<&Path>) -> Result<Recording, ReplayFileError> {
    let file = shortened(name);
    let path = base_dir.ok_or(ReplayFileError::NoDirectory)?.join(name);
    // One byte more than the limit is enough to detect a file that is too large.
    let mut text = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(limits::RECORDING_BYTES as u64 + 1).read_to_end(&mut text))
        .map_err(|error| ReplayFileError::Read { path, error })?;
    let text = String::from_utf8(text).map_err(|_| ReplayFileError::Encoding(file.clone()))?;
    let recording = Recording::parse(&text)
        .map_err(|error| ReplayFileError::Content { file: file.clone(), error })?;
    let active =
        |quantity| matches!(quantity, Quantity::ImportPower | Quantity::ActiveImportEnergy);
    if !recording.quantities().any(active) {
        return Err(ReplayFileError::NoActivePower(file));
    }
    Ok(recording)
}
