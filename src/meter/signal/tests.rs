//! Properties of the signal, over random houses, seeds and times.

use crate::problem::Problem;
use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::plan::*;
use super::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(seconds: u64) -> VirtualTime {
    VirtualTime::ZERO.after(Duration::from_secs(seconds))
}

fn after(millis: u64) -> VirtualTime {
    VirtualTime::ZERO.after(Duration::from_millis(millis))
}

fn start(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zurich() -> TimeZone {
    TimeZone::get("Europe/Zurich").unwrap()
}

/// Returns a plan with panels, battery and three loads.
fn everything() -> SignalPlan {
    SignalPlan {
        pv: Some(PvPlan::default()),
        battery: Some(BatteryPlan::default()),
        loads: vec![LoadPlan::heat_pump(), LoadPlan::boiler(), LoadPlan::ev()],
        ..SignalPlan::default()
    }
}

fn windows() -> impl Strategy<Value = Vec<DailyWindow>> {
    let days = prop::sample::select(vec![
        Days::ALL,
        Days::WORKDAYS,
        Days::WEEKEND,
        Days::from_weekdays(&[Weekday::Sunday, Weekday::Wednesday]),
    ]);
    let window = (days, 0..DAY_MINUTES, 0..=DAY_MINUTES).prop_map(|(days, from, to)| DailyWindow {
        days,
        from,
        to,
    });
    prop::collection::vec(window, 0..4)
}

fn plans() -> impl Strategy<Value = SignalPlan> {
    let household = (2500.0..12_000.0_f64, 60.0..150.0_f64).prop_map(|(annual_kwh, base_watts)| {
        HouseholdPlan { annual_kwh, base_watts, ..HouseholdPlan::default() }
    });
    let sky = prop::sample::select(vec![Sky::Changing, Sky::Changing, Sky::Clear, Sky::Overcast]);
    let place =
        || prop::sample::select(vec![Placement::L1, Placement::L2, Placement::L3, Placement::All]);
    let pv = (
        1.0..30.0_f64,
        0.0..90.0_f64,
        0.0..360.0_f64,
        prop::option::of(1.0..10.0_f64),
        sky,
        place(),
    )
        .prop_map(|(kwp, tilt, azimuth, inverter_kw, sky, placement)| PvPlan {
            kwp,
            tilt,
            azimuth,
            inverter_kw,
            sky,
            placement,
            ..PvPlan::default()
        });
    let battery = (1.0..20.0_f64, 0.5..10.0_f64, 0.0..1.0_f64, 0.0..100.0_f64, place()).prop_map(
        |(kwh, kw, initial, leave_watts, placement)| BatteryPlan {
            kwh,
            kw,
            initial,
            leave_watts,
            placement,
            ..BatteryPlan::default()
        },
    );
    let timer = (windows(), place()).prop_map(|(windows, placement)| LoadPlan {
        name: "timer".to_owned(),
        watts: 700.0,
        placement,
        power_factor: 0.7,
        schedule: Schedule::Windows(windows),
    });
    let known = prop::sample::subsequence(
        vec![LoadPlan::heat_pump(), LoadPlan::boiler(), LoadPlan::ev()],
        0..=3,
    );
    let tariff = prop_oneof![
        Just(TariffPlan::Swiss),
        Just(TariffPlan::Single),
        Just(TariffPlan::HtNt),
        windows().prop_map(TariffPlan::Windows),
    ];
    let phases = prop::sample::select(vec![Phases::One, Phases::Three, Phases::Three]);
    let period = prop::sample::select(vec![5_u8, 10, 15, 30, 60]);
    (
        household,
        prop::option::of(pv),
        prop::option::of(battery),
        (timer, known),
        tariff,
        (phases, period),
    )
        .prop_map(|(household, pv, battery, (timer, known), tariff, (phases, period))| {
            SignalPlan {
                household,
                pv,
                battery,
                loads: [known, vec![timer]].concat(),
                connection: ConnectionPlan { phases, ..ConnectionPlan::default() },
                tariff,
                demand: DemandPlan { period_minutes: period },
                registers: RegisterPlan {
                    import: [24_087_000, 11_003],
                    export: [5, 0],
                    quadrants: [[1, 2], [3, 4], [5, 6], [7, 8]],
                },
            }
        })
}

/// Generates a start at any time, half of them near a clock change.
fn starts() -> impl Strategy<Value = Timestamp> {
    let changes = prop::sample::select(vec![
        "2026-03-28T23:00:00Z",
        "2026-10-24T22:00:00Z",
        "2024-02-28T23:00:00Z",
        "2027-10-30T22:00:00Z",
    ]);
    let near = (changes, 0_i64..30 * 3600 * 1000)
        .prop_map(|(text, millis)| start(text) + SignedDuration::from_millis(millis));
    // From 1996 on, because the device's rule is that of the time zone database since then (METER-4).
    let any = (820_454_400_000_i64..4_000_000_000_000)
        .prop_map(|millis| Timestamp::from_millisecond(millis).unwrap());
    prop_oneof![near, any]
}

/// Generates a house, a seed and a start.
fn signals() -> impl Strategy<Value = (SignalPlan, u64, Timestamp)> {
    (plans(), any::<u64>(), starts())
}

fn signal((plan, seed, start): &(SignalPlan, u64, Timestamp)) -> Signal {
    Signal::new(plan, *seed, "A842E39F8124", *start)
}

/// Returns all registers, in mW·ms.
fn registers(energies: &Energies) -> Vec<u128> {
    let pairs = [
        [energies.import, energies.export],
        [energies.quadrants[0], energies.quadrants[1]],
        [energies.quadrants[2], energies.quadrants[3]],
    ];
    pairs.as_flattened().as_flattened().iter().map(|energy| energy.mw_ms()).collect()
}

/// Returns the growth of the registers from `from` to `to` (ms), as the sum over the power of each second.
fn sum_by_second(signal: &Signal, house: &Timestamp, from: u64, to: u64) -> Vec<u128> {
    let mut sums = vec![0; 12];
    let offset =
        u64::try_from(house.as_nanosecond().div_euclid(1_000_000).rem_euclid(1000)).unwrap();
    let mut now = from;
    while now < to {
        let end = (to).min(now + 1000 - (now + offset) % 1000);
        let SignalSample { powers, tariff, .. } = signal.sample(after(now));
        let tariff = usize::from(tariff - 1);
        let lasts = u128::from(end - now);
        sums[tariff] += u128::from(powers.import()) * lasts;
        sums[2 + tariff] += u128::from(powers.export()) * lasts;
        let reactive = powers.total_reactive();
        let quadrant = match (powers.total_active() >= 0, reactive >= 0) {
            (true, true) => 0,
            (false, true) => 1,
            (false, false) => 2,
            (true, false) => 3,
        };
        sums[4 + 2 * quadrant + tariff] += u128::from(reactive.unsigned_abs()) * lasts;
        now = end;
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // Ruling: SIGNAL-2, SIGNAL-3.
    #[test]
    fn energy_is_the_integral_of_power(
        house in signals(), from in 0_u64..4 * DAY * 1000, lasts in 0_u64..HOUR * 1000,
    ) {
        let signal = signal(&house);
        let to = from + lasts;
        let (before, now) = (signal.energy(after(from)), signal.energy(after(to)));
        let counted: Vec<u128> = registers(&now)
            .iter()
            .zip(registers(&before))
            .map(|(now, before)| now - before)
            .collect();
        prop_assert_eq!(counted, sum_by_second(&signal, &house.2, from, to));
    }

    #[test]
    fn registers_start_as_planned_and_never_decrease(
        house in signals(), mut times in prop::collection::vec(0_u64..5 * DAY * 1000, 2..20),
    ) {
        let signal = signal(&house);
        times.push(0);
        times.sort_unstable();
        let all: Vec<Vec<u128>> =
            times.iter().map(|time| registers(&signal.energy(after(*time)))).collect();
        prop_assert_eq!(&all[0], &registers(&Energies::initial(&house.0)));
        for pair in all.windows(2) {
            prop_assert!(pair[0].iter().zip(&pair[1]).all(|(before, now)| before <= now));
        }
        let last = signal.energy(after(*times.last().unwrap()));
        let [import, export] = [last.import, last.export];
        prop_assert_eq!(last.total_import().mw_ms(), import[0].mw_ms() + import[1].mw_ms());
        prop_assert_eq!(last.total_export().mw_ms(), export[0].mw_ms() + export[1].mw_ms());
    }

    // Ruling: METER-7.
    #[test]
    fn powers_currents_and_voltages_are_consistent(house in signals(), time in 0_u64..3 * DAY * 1000) {
        let powers = signal(&house).powers_and_voltages(after(time));
        prop_assert_eq!(powers.total_active(), powers.active.iter().sum::<i64>());
        prop_assert!(powers.import() == 0 || powers.export() == 0);
        prop_assert_eq!(
            powers.import().cast_signed() - powers.export().cast_signed(),
            powers.total_active()
        );
        let square = |x: i64| u128::from(x.unsigned_abs()).pow(2);
        for phase in 0..powers.phases {
            let apparent = u128::from(powers.apparent(phase));
            let sum = square(powers.active[phase]) + square(powers.reactive[phase]);
            prop_assert!(apparent.pow(2).abs_diff(sum) <= apparent, "S² = P² + Q² to the mVA");
            let millivolts = u64::from(powers.voltage[phase]);
            prop_assert!((195_500..=253_000).contains(&millivolts));
            let power = powers.current(phase) * millivolts / 1000;
            prop_assert!(power.abs_diff(powers.apparent(phase)) <= millivolts / 1000, "I = S/V to the mA");
        }
        for phase in powers.phases..3 {
            prop_assert_eq!(
                (powers.active[phase], powers.reactive[phase], powers.voltage[phase]),
                (0, 0, 0)
            );
        }
    }

    #[test]
    fn samples_do_not_depend_on_earlier_samples(
        house in signals(), times in prop::collection::vec(0_u64..40 * DAY * 1000, 1..6),
    ) {
        let one = signal(&house);
        let forth: Vec<SignalSample> = times.iter().map(|time| one.sample(after(*time))).collect();
        let other = signal(&house);
        let mut back: Vec<SignalSample> =
            times.iter().rev().map(|time| other.sample(after(*time))).collect();
        back.reverse();
        prop_assert_eq!(&forth, &back);
        let fresh = signal(&house);
        prop_assert_eq!(fresh.sample(after(times[0])), forth[0]);
        prop_assert_eq!(fresh.energy(after(times[0])), forth[0].energies);
        prop_assert_eq!(fresh.powers_and_voltages(after(times[0])), forth[0].powers);
    }

    #[test]
    fn the_tariff_follows_the_wall_clock(house in signals(), time in 0_u64..3 * DAY) {
        let now = house.2 + SignedDuration::from_secs(time.cast_signed());
        let civil = zurich().to_datetime(now);
        let minute = u16::try_from(i32::from(civil.hour()) * 60 + i32::from(civil.minute())).unwrap();
        let high = house.0.tariff.windows();
        let high = high.iter().any(|window| window.contains(civil.weekday(), minute));
        prop_assert_eq!(signal(&house).tariff(at(time)), if high { 1 } else { 2 });
    }

    #[test]
    fn a_house_is_the_same_whenever_its_scenario_starts(
        plan in plans(), seed: u64, starts in starts(), time in 0_u64..3 * DAY,
    ) {
        // Everything but a battery is a function of civil time.
        let plan = SignalPlan { battery: None, ..plan };
        let now = Signal::new(&plan, seed, "d", starts).powers_and_voltages(at(time));
        let later = starts + SignedDuration::from_secs(time.cast_signed());
        prop_assert_eq!(now, Signal::new(&plan, seed, "d", later).powers_and_voltages(VirtualTime::ZERO));
    }
}

/// Computes the mean of each whole quarter of an hour, for the tariff at its begin.
// Ruling: SIGNAL-1.
#[test]
fn maximum_demand_is_the_highest_mean_of_a_period() {
    for (begins, quarters) in
        [("2026-03-29T00:00:00+01:00", 92), ("2026-10-25T00:00:00+02:00", 100)]
    {
        let signal = Signal::new(everything(), 11, "d", start(begins));
        let mut most = [[0_u64; 2]; 2];
        for quarter in 0..quarters {
            let (from, to) = (at(quarter * 900), at((quarter + 1) * 900));
            let (before, now) = (signal.energy(from), signal.energy(to));
            assert_eq!(before.import_demand, most[0]);
            let mean = |before: Energy, now: Energy| {
                u64::try_from((now.mw_ms() - before.mw_ms()) / 1000 / 900).unwrap()
            };
            let tariff = usize::from(signal.tariff(from) - 1);
            let import = mean(before.total_import(), now.total_import());
            let export = mean(before.total_export(), now.total_export());
            most[0][tariff] = most[0][tariff].max(import);
            most[1][tariff] = most[1][tariff].max(export);
        }
        let midnight = at(quarters * 900);
        let energies = signal.energy(midnight);
        assert_eq!([energies.import_demand, energies.export_demand], most);
        let civil = zurich()
            .to_datetime(start(begins) + SignedDuration::from_mins((quarters * 15).cast_signed()));
        assert_eq!(
            (civil.hour(), civil.minute()),
            (0, 0),
            "after {quarters} quarters it is midnight"
        );
    }
}

// Ruling: SIGNAL-1.
#[test]
fn maximum_demand_restarts_with_the_month() {
    let signal = Signal::new(everything(), 11, "d", start("2026-01-10T00:00:00+01:00"));
    let end = at(22 * DAY);
    let january = signal.energy(VirtualTime::ZERO.after(Duration::from_secs(22 * DAY - 1)));
    assert!(january.import_demand[0] > 2_000_000);
    assert_eq!(signal.energy(end).import_demand, [0, 0]);
    assert_eq!(signal.energy(end).demand_period, Duration::from_mins(15));
}

/// Checks the Swiss tariff around a Saturday and the night in which clocks go back.
#[test]
fn the_swiss_high_tariff_ends_on_saturday_at_one() {
    let signal = Signal::new(SignalPlan::default(), 1, "d", start("2026-10-23T19:59:59+02:00"));
    let tariffs =
        [0, 1, 11 * HOUR, 11 * HOUR + 1, 17 * HOUR, 17 * HOUR + 1, 60 * HOUR, 60 * HOUR + 1]
            .map(|seconds| signal.tariff(at(seconds)));
    // Changes on Friday at 20:00, on Saturday at 07:00 and 13:00, and on Monday at 07:00, an hour later
    // because of the clock change.
    assert_eq!(tariffs, [1, 2, 2, 1, 1, 2, 2, 1]);
}

fn kwh(energy: Energy) -> f64 {
    f64::from(u32::try_from(energy.wh()).unwrap()) / 1000.0
}

fn year_of(plan: &SignalPlan, seed: u64) -> Energies {
    let signal = Signal::new(plan, seed, "d", start("2026-01-01T00:00:00+01:00"));
    signal.energy(at(365 * DAY))
}

#[test]
fn a_year_takes_the_planned_energy() {
    for (seed, annual_kwh) in [(1, 2500.0), (2, 4500.0), (4, 9000.0)] {
        let household = HouseholdPlan { annual_kwh, ..HouseholdPlan::default() };
        let plan = SignalPlan { household, ..SignalPlan::default() };
        let year = kwh(year_of(&plan, seed).total_import());
        assert!((year / annual_kwh - 1.0).abs() < 0.04, "seed {seed}: {year} of {annual_kwh} kWh");
    }
    let empty = HouseholdPlan { annual_kwh: 0.0, ..HouseholdPlan::default() };
    let empty = SignalPlan { household: empty, ..SignalPlan::default() };
    assert_eq!(year_of(&empty, 1).total_import().wh(), 0);
    let bare = HouseholdPlan { appliances: Vec::new(), ..HouseholdPlan::default() };
    let bare = SignalPlan { household: bare, ..SignalPlan::default() };
    let year = kwh(year_of(&bare, 1).total_import());
    assert!((year / 4500.0 - 1.0).abs() < 0.01, "a base load alone: {year} kWh");
}

#[test]
fn a_heat_pump_takes_most_of_its_energy_in_winter() {
    let household = HouseholdPlan { annual_kwh: 0.0, ..HouseholdPlan::default() };
    let plan =
        SignalPlan { household, loads: vec![LoadPlan::heat_pump()], ..SignalPlan::default() };
    let mut sum = 0.0;
    for seed in 1..=2 {
        let year = kwh(year_of(&plan, seed).total_import());
        assert!((3600.0..5400.0).contains(&year), "a mild or a hard winter: {year} kWh");
        sum += year / 2.0;
    }
    assert!((sum / 4500.0 - 1.0).abs() < 0.08, "{sum} kWh");
    let signal = Signal::new(&plan, 1, "d", start("2026-01-01T00:00:00+01:00"));
    let quarter = |index: u64| kwh(signal.energy(at(index * 91 * DAY)).total_import());
    assert!(quarter(1) > 4.0 * (quarter(3) - quarter(2)));
}

#[test]
fn panels_in_zurich_yield_about_1000_kwh_a_kwp() {
    let household = HouseholdPlan { annual_kwh: 0.0, ..HouseholdPlan::default() };
    let plan = SignalPlan { household, pv: Some(PvPlan::default()), ..SignalPlan::default() };
    let mut sum = 0.0;
    for seed in 1..=2 {
        let hours = kwh(year_of(&plan, seed).total_export()) / 6.0;
        assert!((900.0..1250.0).contains(&hours), "{hours} kWh per kWp");
        sum += hours / 2.0;
    }
    assert!((1000.0..1130.0).contains(&sum), "{sum} kWh per kWp");
}

#[test]
fn a_battery_saves_import_with_losses() {
    let pv =
        SignalPlan { pv: Some(PvPlan { kwp: 8.0, ..PvPlan::default() }), ..SignalPlan::default() };
    let with = SignalPlan { battery: Some(BatteryPlan::default()), ..pv.clone() };
    let (without, with) = (year_of(&pv, 3), year_of(&with, 3));
    let saved = kwh(without.total_import()) - kwh(with.total_import());
    let stored = kwh(without.total_export()) - kwh(with.total_export());
    assert!(saved > 1000.0, "{saved} kWh saved");
    assert!((0.85..0.95).contains(&(saved / stored)), "{saved} of {stored} kWh come out again");
}

#[test]
fn a_year_takes_less_than_32_kb_of_memory() {
    let signal = Signal::new(everything(), 5, "d", start("2026-01-15T18:00:00+01:00"));
    assert!(signal.memory() < 6 * 1024, "an idle device: {} bytes", signal.memory());
    for day in 0..=366 {
        let _ = signal.sample(at(day * DAY));
        assert!(signal.memory() < 32 * 1024, "day {day}: {} bytes", signal.memory());
    }
}

#[test]
fn a_sample_of_a_cached_day_allocates_nothing() {
    let signal = Signal::new(everything(), 5, "d", start("2026-06-15T00:00:00+02:00"));
    let _ = signal.sample(at(HOUR));
    let info = allocation_counter::measure(|| {
        for minute in 0..23 * 60 {
            std::hint::black_box(signal.sample(at(minute * 60)));
        }
    });
    assert_eq!(info.count_total, 0);
}

// Ruling: SIGNAL-7.
#[test]
fn devices_of_a_house_share_the_sky_only() {
    let plan = SignalPlan { pv: Some(PvPlan::default()), ..SignalPlan::default() };
    let start = start("2026-06-15T00:00:00+02:00");
    let noon = at(12 * HOUR);
    let [one, other] = ["a", "b"].map(|device| Signal::new(&plan, 1, device, start));
    assert_ne!(one.powers_and_voltages(noon), other.powers_and_voltages(noon));
    let empty = SignalPlan {
        household: HouseholdPlan { annual_kwh: 0.0, ..HouseholdPlan::default() },
        ..plan
    };
    let [one, other] = ["a", "b"].map(|device| Signal::new(&empty, 1, device, start));
    assert_eq!(one.powers_and_voltages(noon).active, other.powers_and_voltages(noon).active);
}

/// Samples the first and the last timestamps.
#[test]
fn the_limits_of_time_have_signals() {
    for begins in ["9999-12-29T00:00:00Z", "1800-01-01T00:00:00Z", "1894-05-30T00:00:00Z"] {
        let signal = Signal::new(everything(), 5, "d", start(begins));
        let (first, later) = (signal.energy(VirtualTime::ZERO), signal.energy(at(10 * DAY)));
        assert!(later.total_import() > first.total_import(), "{begins}");
    }
    let last = Signal::new(everything(), 5, "d", Timestamp::MAX);
    assert_eq!(last.sample(VirtualTime::ZERO), last.sample(VirtualTime::MAX));
    let _ = Signal::new(everything(), 5, "d", Timestamp::MIN).sample(at(10));
}

#[test]
fn default_plans_are_valid_and_mistakes_have_their_field() {
    let plan = SignalPlan::default();
    assert_eq!(plan.problems(), []);
    assert_eq!(plan.household.problems(), []);
    assert!(plan.household.appliances.iter().all(|appliance| appliance.problems().is_empty()));
    assert_eq!(plan.connection.problems(), []);
    assert_eq!(plan.tariff.problems(), []);
    assert_eq!(plan.demand.problems(), []);
    assert_eq!(plan.registers.problems(), []);
    assert_eq!(PvPlan::default().problems(), []);
    assert_eq!(BatteryPlan::default().problems(), []);
    for load in [LoadPlan::heat_pump(), LoadPlan::boiler(), LoadPlan::ev()] {
        assert_eq!(load.problems(), [], "{}", load.name);
    }
    let fields = |problems: Vec<Problem>| -> Vec<String> {
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let small = HouseholdPlan { annual_kwh: 500.0, ..HouseholdPlan::default() };
    assert_eq!(fields(small.problems()), ["annual_kwh"]);
    let loud = HouseholdPlan { noise_watts: f64::NAN, ..HouseholdPlan::default() };
    assert_eq!(fields(loud.problems()), ["noise_watts"]);
    let pv = PvPlan { kwp: 0.0, tilt: 91.0, inverter_kw: Some(-1.0), ..PvPlan::default() };
    assert_eq!(fields(pv.problems()), ["kwp", "tilt", "inverter_kw"]);
    let greedy = LoadPlan {
        schedule: Schedule::Heating { annual_kwh: 50_000.0, run: Duration::from_mins(1) },
        ..LoadPlan::heat_pump()
    };
    assert_eq!(fields(greedy.problems()), ["run", "annual_kwh"]);
    let single = SignalPlan {
        connection: ConnectionPlan { phases: Phases::One, ..ConnectionPlan::default() },
        loads: vec![LoadPlan { placement: Placement::L2, ..LoadPlan::ev() }],
        ..SignalPlan::default()
    };
    assert_eq!(fields(single.problems()), ["loads"]);
    assert_eq!(fields(DemandPlan { period_minutes: 7 }.problems()), ["period_minutes"]);
}

#[test]
fn the_cache_is_the_same_after_a_jump_and_after_each_day() {
    let signal = || Signal::new(everything(), 7, "A", start("2026-01-15T17:00:00Z"));
    let (jumped, daily) = (signal(), signal());
    let _ = jumped.sample(at(400 * DAY));
    for day in 0..=400 {
        let _ = daily.sample(at(day * DAY));
    }
    assert_eq!(daily.memory(), jumped.memory());
}
