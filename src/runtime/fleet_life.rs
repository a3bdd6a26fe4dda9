//! The life of the fleet: one task that takes the devices through their ramp and their stages.
//!
//! The task waits for the earliest step of all devices. What a device does, and when, is a function of the seed and
//! the time ([`Life`]), so that nothing of it is persisted: a house that continues goes through the steps until its
//! time again, and catches up on those that the process before did not carry out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::{Clock, VirtualTime};
use crate::device::{Device, RebootCause};
use crate::journal::Event;
use crate::scenario::{FleetPlan, Life, LifeState, LifeStep, Scenario};

/// The steps after which the task lets others run, when many are due at once.
const STEPS_AT_A_TIME: usize = 256;

/// The life of a fleet.
pub(super) struct FleetLife {
    shared: Arc<LifeParts>,
    task: Mutex<Option<Running>>,
}

struct LifeParts {
    plan: FleetPlan,
    seed: u64,
    clock: Clock,
    /// The devices of the fleet, each as it is before it goes online.
    devices: Vec<(Arc<Device>, Life)>,
}

/// The running task. It is halted, not aborted, so that it completes a step that it has begun.
struct Running {
    halt: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The devices with their next steps.
struct Lives {
    lives: Vec<Life>,
    /// The time of each device's next step, and its position.
    due: BinaryHeap<Reverse<(VirtualTime, usize)>>,
}

impl FleetLife {
    /// Returns the life of the fleet of a scenario, whose devices are `devices`. `None` if nothing ever happens in
    /// it.
    pub(super) fn new(
        scenario: &Scenario,
        clock: &Clock,
        devices: impl Iterator<Item = Arc<Device>>,
    ) -> Option<Self> {
        let plan = scenario.fleet.as_ref()?;
        if plan.stages.is_empty() && plan.ramp.is_zero() {
            return None;
        }
        let of_fleet = scenario.devices.iter().zip(devices);
        let of_fleet = of_fleet.filter(|(plan, _)| plan.fleet_index.is_some());
        let shared = LifeParts {
            devices: of_fleet.map(|(own, device)| (device, Life::new(plan, own))).collect(),
            plan: plan.clone(),
            seed: scenario.seed,
            clock: clock.clone(),
        };
        Some(Self { shared: Arc::new(shared), task: Mutex::default() })
    }

    /// Brings each device to where it is in its life now, and follows it from there on.
    pub(super) fn begin(&self) {
        let lives = self.shared.lives_now();
        let (halt, halted) = watch::channel(false);
        let run = Arc::clone(&self.shared).run(lives, halted);
        let task = tokio::spawn(self.shared.clock.activity().track(run));
        *self.task.lock() = Some(Running { halt, task });
    }

    /// Lets nothing happen any more, and returns when a step that has begun is done.
    pub(super) async fn end(&self) {
        let running = self.task.lock().take();
        if let Some(Running { halt, task }) = running {
            halt.send_replace(true);
            // A panic was reported by the panic hook.
            let _ = task.await;
        }
    }
}

impl LifeParts {
    /// Returns the devices as they are now. Steps of the past are in force already, unless the process ended before
    /// it carried them out.
    fn lives_now(&self) -> Lives {
        let now = self.clock.now();
        let mut lives =
            Lives { lives: Vec::with_capacity(self.devices.len()), due: BinaryHeap::new() };
        for (position, (device, life)) in self.devices.iter().enumerate() {
            let mut life = life.clone();
            let past = self.steps(&mut life, position, now);
            if let Some(past) = past {
                past.restore(device);
            }
            lives.due.extend(life.next_at().map(|at| Reverse((at, position))));
            lives.lives.push(life);
        }
        lives
    }

    async fn run(self: Arc<Self>, mut lives: Lives, mut halted: watch::Receiver<bool>) {
        loop {
            let Some(Reverse((next, _))) = lives.due.peek().copied() else { return };
            tokio::select! {
                biased;
                _ = halted.changed() => return,
                () = self.clock.sleep_until(next) => {}
            }
            let now = self.clock.now();
            let mut done = 0;
            while let Some(Reverse((at, position))) = lives.due.peek().copied()
                && at <= now
            {
                lives.due.pop();
                let Some(life) = lives.lives.get_mut(position) else { continue };
                if let (Some(past), Some((device, _))) =
                    (self.steps(life, position, now), self.devices.get(position))
                {
                    past.carry_out(device);
                }
                lives.due.extend(life.next_at().map(|at| Reverse((at, position))));
                done += 1;
                if done % STEPS_AT_A_TIME == 0 {
                    if *halted.borrow() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Takes all steps of a device that are due. `None` if none is.
    fn steps(&self, life: &mut Life, position: usize, now: VirtualTime) -> Option<PastSteps> {
        let (device, _) = self.devices.get(position)?;
        let id = &device.identity().id;
        let mut past: Option<PastSteps> = None;
        while let Some(step) = life.step(&self.plan, self.seed, id, now) {
            let past = past.get_or_insert_with(|| PastSteps::new(step));
            past.add(step);
        }
        past
    }
}

/// The steps of a device that became due together: one, unless the clock has jumped. Only their outcome counts.
struct PastSteps {
    first_from: Option<LifeState>,
    last: LifeStep,
    /// The time of the newest boot. `None` if there was none.
    boot: Option<VirtualTime>,
    /// The newest update, with its time. `None` if there was none.
    update: Option<(VirtualTime, crate::device::Firmware)>,
}

impl PastSteps {
    fn new(first: LifeStep) -> Self {
        Self { first_from: first.from, last: first, boot: None, update: None }
    }

    fn add(&mut self, step: LifeStep) {
        if step.is_boot() {
            self.boot = Some(step.at);
        }
        if let Some(firmware) = step.update {
            self.update = Some((step.at, firmware));
        }
        self.last = step;
    }

    /// Lets the device do what the steps say, and records it.
    fn carry_out(&self, device: &Device) {
        let to = self.last.to.name();
        let from = self.first_from.map_or("off", LifeState::name);
        device.record(|device| Event::StageEntered { device, from, to });
        self.apply(device, |_| true);
    }

    /// Lets a device be where the steps have brought it. One that continues from its state has carried them out,
    /// unless its newest boot is older than they say.
    fn restore(&self, device: &Device) {
        let booted_at = device.view().boot.at;
        self.apply(device, |at| at > VirtualTime::ZERO && booted_at < at);
    }

    /// Brings a device to the outcome of the steps. Updates and reboots are carried out if they are due, by their
    /// time.
    fn apply(&self, device: &Device, is_due: impl Fn(VirtualTime) -> bool) {
        device.set_weak_wifi(self.last.to == LifeState::WeakWifi);
        if let Some((_, firmware)) = self.update.filter(|(at, _)| is_due(*at)) {
            device.stage_firmware(firmware);
        }
        if self.last.to == LifeState::Gone {
            device.switch_off();
        } else if device.power().is_off() {
            device.switch_on();
        } else if self.boot.is_some_and(is_due) {
            device.reboot(RebootCause::Stage);
        }
    }
}
