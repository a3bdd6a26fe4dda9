//! The life of a device of a fleet, as a function of seed, device and time.
//!
//! A device goes online at its place in the ramp. In each state it draws one of the stages that lead on from it, by
//! weight, and the time until it follows that. All is drawn from the seed, the id of the device and the number of
//! the draw: no client changes it, and a process that continues goes through it again up to its time.

use std::time::Duration;

use super::fleet::{FleetPlan, LifeState, StagePlan, draw_by_weight, draws};
use super::model::DevicePlan;
use crate::clock::VirtualTime;
use crate::device::{DeviceId, Firmware};
use crate::rng::RandomStream;

/// A device in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    state: LifeState,
    /// The firmware that the stages have given it.
    firmware: Firmware,
    reboot_time: Duration,
    draws: u64,
    next: Option<NextStep>,
}

/// The step that a device takes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NextStep {
    at: VirtualTime,
    /// The position of the stage. `None` if the device goes online for the first time.
    stage: Option<usize>,
}

/// A step in the life of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifeStep {
    /// The time.
    pub at: VirtualTime,
    /// The state before. `None` if the device goes online for the first time.
    pub from: Option<LifeState>,
    /// The state that it enters.
    pub to: LifeState,
    /// The firmware of an update. `None` if it is none.
    pub update: Option<Firmware>,
}

impl LifeStep {
    /// Returns true if the device boots in this step.
    #[must_use]
    pub fn is_boot(&self) -> bool {
        match self.to {
            LifeState::Rebooting | LifeState::Updated => true,
            LifeState::Online => self.from.is_none_or(|from| from == LifeState::Gone),
            LifeState::WeakWifi | LifeState::Gone => false,
        }
    }
}

impl Life {
    /// Returns a device before it goes online.
    #[must_use]
    pub fn new(plan: &FleetPlan, device: &DevicePlan) -> Self {
        let at = plan.online_at(device.fleet_index.unwrap_or(0));
        Self {
            state: LifeState::Gone,
            firmware: device.firmware,
            reboot_time: device.hardware.reboot_time,
            draws: 0,
            next: Some(NextStep { at: VirtualTime::ZERO.after(at), stage: None }),
        }
    }

    /// Returns the time of the next step. `None` if the device stays as it is.
    #[must_use]
    pub fn next_at(&self) -> Option<VirtualTime> {
        self.next.map(|next| next.at)
    }

    /// Takes the next step if it is due at `now`, and returns it.
    pub fn step(
        &mut self,
        plan: &FleetPlan,
        seed: u64,
        id: &DeviceId,
        now: VirtualTime,
    ) -> Option<LifeStep> {
        let NextStep { at, stage } = self.next.filter(|next| next.at <= now)?;
        let stage = stage.and_then(|position| plan.stages.get(position));
        let to = stage.map_or(LifeState::Online, |stage| stage.to);
        let update = stage.and_then(|stage| stage.update);
        let step = LifeStep { at, from: stage.map(|_| self.state), to, update };
        self.firmware = update.unwrap_or(self.firmware);
        // A reboot ends by itself.
        let (entered, since) = match to {
            LifeState::Rebooting => (LifeState::Online, at.after(self.reboot_time)),
            LifeState::Updated => (LifeState::Updated, at.after(self.reboot_time)),
            other => (other, at),
        };
        self.state = entered;
        self.next = self.draw(plan, seed, id, since);
        Some(step)
    }

    /// Draws the step after the state that the device has entered.
    fn draw(
        &mut self,
        plan: &FleetPlan,
        seed: u64,
        id: &DeviceId,
        since: VirtualTime,
    ) -> Option<NextStep> {
        let weights = plan.stages.iter().enumerate().map(|(position, stage)| {
            if self.concerns(stage, position, seed, id) { stage.weight } else { 0 }
        });
        let mut draws = draws(seed, "fleet-stages", id, self.draws);
        let position = draw_by_weight(weights, &mut draws)?;
        self.draws += 1;
        let stage = plan.stages.get(position)?;
        let wait = stage.delay + stage.jitter.mul_f64(draws.unit());
        let at = since.after(wait);
        (at < VirtualTime::MAX).then_some(NextStep { at, stage: Some(position) })
    }

    fn concerns(&self, stage: &StagePlan, position: usize, seed: u64, id: &DeviceId) -> bool {
        stage.from.contains(&self.state)
            && stage.firmware.is_none_or(|firmware| firmware == self.firmware)
            && stage.devices.is_none_or(|share| {
                let stream = RandomStream::named("fleet-stage-share").child(position as u64);
                share.includes(seed, stream, id.number())
            })
    }
}
