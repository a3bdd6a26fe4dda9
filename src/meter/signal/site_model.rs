//! A house made ready to be asked for its days: everything of the plan that does not change.

use super::battery::BatteryModel;
use super::household::HouseholdModel;
use super::loads::LoadModel;
use super::noise::Noise;
use super::plan::{DailyWindow, Phases, Placement, SignalPlan};
use super::pulse::spread;
use super::pv::Panels;
use super::voltage::Voltage;
use crate::rng::RandomStream;

/// A house.
#[derive(Debug)]
pub(super) struct SiteModel {
    pub phases: usize,
    pub household: HouseholdModel,
    pub noise: Noise,
    pub loads: Box<[LoadModel]>,
    pub panels: Option<Panels>,
    panels_on: Placement,
    pub battery: Option<BatteryModel>,
    battery_on: Placement,
    pub voltage: Voltage,
    /// The windows of tariff 1.
    pub high: Box<[DailyWindow]>,
    /// Seconds of a demand period.
    pub period: u32,
}

impl SiteModel {
    pub(super) fn new(plan: &SignalPlan, seed: u64, device: &str) -> Self {
        let stream = RandomStream::named(device);
        let phases = plan.connection.phases.count();
        let household = HouseholdModel::new(&plan.household, phases, seed, stream.child(0));
        let noise = Noise::new(household.noise, seed, stream.child(1));
        let loads = stream.child(2);
        let on = |placement: Option<Placement>| match plan.connection.phases {
            Phases::One => Placement::L1,
            Phases::Three => placement.unwrap_or_default(),
        };
        Self {
            phases,
            household,
            noise,
            loads: plan
                .loads
                .iter()
                .zip(0_u64..)
                .map(|(load, index)| LoadModel::new(load, seed, loads.child(index)))
                .collect(),
            panels: plan.pv.as_ref().map(|pv| Panels::new(pv, seed)),
            panels_on: on(plan.pv.as_ref().map(|pv| pv.placement)),
            battery: plan.battery.as_ref().map(BatteryModel::new),
            battery_on: on(plan.battery.as_ref().map(|battery| battery.placement)),
            voltage: Voltage::new(&plan.connection, seed, stream.child(3)),
            high: plan.tariff.windows().into(),
            period: u32::from(plan.demand.period_minutes.clamp(1, 60)) * 60,
        }
    }

    /// Takes what panels and battery give off the phases they are on, in mW.
    pub(super) fn give(&self, panels: i64, battery: i64, active: &mut [i64; 3]) {
        for (power, placement) in [(panels, self.panels_on), (battery, self.battery_on)] {
            match placement {
                Placement::L1 => active[0] -= power,
                Placement::L2 => active[1] -= power,
                Placement::L3 => active[2] -= power,
                Placement::All => spread(-power, active),
            }
        }
    }

    /// Bytes that it takes beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        self.household.heap_bytes()
            + size_of_val(&*self.loads)
            + self.loads.iter().map(LoadModel::heap_bytes).sum::<usize>()
            + size_of_val(&*self.high)
    }
}
