//! The electrical model of a house: everything that its plan fixes for all days.

use super::battery::BatteryModel;
use super::edges::add_balanced;
use super::household::HouseholdModel;
use super::loads::LoadModel;
use super::noise::Noise;
use super::plan::{DailyWindow, Phases, Placement, SharedSignalPlan};
use super::pv::PvModel;
use super::voltage::VoltageModel;
use crate::rng::RandomStream;

/// The electrical model of a house.
#[derive(Debug)]
pub(super) struct SiteModel {
    pub phases: usize,
    pub household: HouseholdModel,
    pub noise: Noise,
    pub loads: Box<[LoadModel]>,
    pub pv: Option<PvModel>,
    pv_placement: Placement,
    pub battery: Option<BatteryModel>,
    battery_placement: Placement,
    pub voltage: VoltageModel,
    /// The windows of tariff 1.
    pub high_tariff: Box<[DailyWindow]>,
    /// Seconds of a demand period.
    pub demand_period: u32,
}

impl SiteModel {
    pub(super) fn new(plan: &SharedSignalPlan, seed: u64, device: &str) -> Self {
        let stream = RandomStream::named(device);
        let phases = plan.connection.phases.count();
        let household = HouseholdModel::new(plan, seed, stream.child(0));
        let noise = Noise::new(household.noise(), seed, stream.child(1));
        let loads = stream.child(2);
        let placement = |placement: Option<Placement>| match plan.connection.phases {
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
            pv: plan.pv.as_ref().map(|pv| PvModel::new(pv, seed)),
            pv_placement: placement(plan.pv.as_ref().map(|pv| pv.placement)),
            battery: plan.battery.as_ref().map(BatteryModel::new),
            battery_placement: placement(plan.battery.as_ref().map(|battery| battery.placement)),
            voltage: VoltageModel::new(&plan.connection, seed, stream.child(3)),
            high_tariff: plan.tariff.windows().into(),
            demand_period: u32::from(plan.demand.period_minutes.clamp(1, 60)) * 60,
        }
    }

    /// Subtracts the power of panels and battery, in mW, from the phases that they feed.
    pub(super) fn subtract_generation(&self, pv: i64, battery: i64, active: &mut [i64; 3]) {
        for (power, placement) in [(pv, self.pv_placement), (battery, self.battery_placement)] {
            match placement {
                Placement::L1 => active[0] -= power,
                Placement::L2 => active[1] -= power,
                Placement::L3 => active[2] -= power,
                Placement::All => add_balanced(-power, active),
            }
        }
    }

    /// Returns the bytes allocated on the heap.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.loads)
            + self.loads.iter().map(LoadModel::heap_bytes).sum::<usize>()
            + size_of_val(&*self.high_tariff)
    }
}
