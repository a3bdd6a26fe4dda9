//! Keeps a house's state directory up to date.
//!
//! Each device has a task that writes it down after every change, always as it is then, so that ten
//! changes during a write are one more write. Another one writes the time down again and again, a
//! little ahead, and the clock gets no further than what is written: what a house has shown stays in
//! its past, however it ends. All of them work on threads that may block, and hold a motion
//! meanwhile: a movement of the clock returns when what it brought about is on disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Locked, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Speed, VirtualTime};
use crate::device::{Device, DeviceId};
use crate::journal::{Event, Journal};
use crate::state::{HouseState, StateDir};

/// How often the time is written down, in real time.
const EVERY: Duration = Duration::from_millis(250);
/// How much real time ahead, in seconds: so much later a house goes on that was killed. The next
/// write is to come before that time has passed; where it does not, the clock waits for it.
const AHEAD: f64 = 1.0;
/// Devices written at once.
const WRITERS: usize = 4;

/// Keeps a house until this is closed or dropped.
pub(super) struct Keeper {
    keeping: Arc<Keeping>,
    halt: watch::Sender<bool>,
    tasks: Locked<Vec<JoinHandle<()>>>,
}

/// What the tasks of a keeper share.
struct Keeping {
    dir: Arc<StateDir>,
    clock: Clock,
    journal: Arc<Journal>,
    devices: Vec<Kept>,
    /// What was written last; locked during a write.
    house: Mutex<HouseState>,
    writers: Semaphore,
}

/// A device as it is written.
struct Kept {
    device: Arc<Device>,
    /// The next status id that was written down; 0 where a write failed and is to be repeated.
    status_id: AtomicU64,
    /// Wakes its task for what is not counted among the device's changes.
    again: Notify,
}

impl Keeper {
    /// Keeps these devices from now on; `house` is written before this returns, and the clock, which
    /// is to be held at its time, goes on.
    pub(super) async fn start(
        dir: Arc<StateDir>,
        house: HouseState,
        clock: &Clock,
        journal: &Arc<Journal>,
        devices: impl Iterator<Item = Arc<Device>>,
    ) -> Self {
        let kept = |device: Arc<Device>| {
            device.set_kept(Some(0));
            let status_id = device.next_status_id().into();
            Kept { device, status_id, again: Notify::new() }
        };
        let keeping = Arc::new(Keeping {
            dir,
            clock: clock.clone(),
            journal: Arc::clone(journal),
            devices: devices.map(kept).collect(),
            house: Mutex::new(house),
            writers: Semaphore::new(WRITERS),
        });
        keeping.keep_up(None).await;
        let (halt, halted) = watch::channel(false);
        let mut tasks = vec![tokio::spawn(Arc::clone(&keeping).watch_time(halted.clone()))];
        for index in 0..keeping.devices.len() {
            let follow = Arc::clone(&keeping).follow(index, halted.clone());
            tasks.push(tokio::spawn(clock.motions().track(follow)));
        }
        let weak = Arc::downgrade(&keeping);
        clock.set_keeper(Box::new(move |to| {
            let keeping = weak.upgrade();
            Box::pin(async move {
                if let Some(keeping) = keeping {
                    keeping.keep_up(Some(to)).await;
                }
            })
        }));
        Self { keeping, halt, tasks: Locked::new(tasks) }
    }

    /// Writes down that time begins anew, while the clock is held at its start.
    pub(super) async fn restart(&self) {
        self.keeping.keep_up(Some(VirtualTime::ZERO)).await;
    }

    /// Writes everything down for the last time, and returns when that is done.
    pub(super) async fn close(&self) {
        self.halt.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // What a panic had to say, the panic hook has said.
            let _ = task.await;
        }
        for kept in &self.keeping.devices {
            self.keeping.write_device(kept).await;
        }
        let mut house = self.keeping.house.lock().await;
        let now = self.keeping.clock.now().as_nanos();
        self.keeping.write_house(&mut house, now, true).await;
    }
}

impl Keeping {
    /// Writes a device down after each of its changes.
    async fn follow(self: Arc<Self>, index: usize, mut halted: watch::Receiver<bool>) {
        let Some(kept) = self.devices.get(index) else { return };
        let mut changes = kept.device.changes();
        loop {
            let count = *changes.borrow_and_update();
            self.write_device(kept).await;
            kept.device.set_kept(Some(count));
            tokio::select! {
                biased;
                _ = halted.changed() => break,
                seen = changes.changed() => if seen.is_err() { break },
                () = kept.again.notified() => {}
            }
        }
        // Nobody is to wait for what does not come any more.
        kept.device.set_kept(None);
    }

    /// Writes the time down again and again, and has devices written whose status ids went on.
    async fn watch_time(self: Arc<Self>, mut halted: watch::Receiver<bool>) {
        let mut speeds = self.clock.speeds();
        loop {
            tokio::select! {
                biased;
                _ = halted.changed() => return,
                seen = speeds.changed() => if seen.is_err() { return },
                // Real time: it bounds what a killed process loses.
                () = tokio::time::sleep(EVERY) => {}
            }
            self.keep_up(None).await;
            for kept in &self.devices {
                if kept.device.next_status_id() != kept.status_id.load(Ordering::Acquire) {
                    kept.again.notify_one();
                }
            }
        }
    }

    /// Writes down how far time may get and lets it: to `to` by a movement or a reset, and from there
    /// or from now on by itself until the next write.
    async fn keep_up(&self, to: Option<VirtualTime>) {
        let mut house = self.house.lock().await;
        let from = match to {
            Some(to) => to,
            // Whoever moves it has written down where to.
            None if self.clock.is_moving() => return,
            None => self.clock.now(),
        };
        let at = from.after(match self.clock.speed() {
            Speed::Manual => Duration::ZERO,
            Speed::Times(times) => Duration::from_secs_f64(AHEAD * times),
        });
        if house.at != at.as_nanos() || house.ended {
            self.write_house(&mut house, at.as_nanos(), false).await;
        }
        // Also where it could not be written: that was told, and the house goes on.
        self.clock.hold_at(at);
    }

    async fn write_house(&self, house: &mut HouseState, at: u64, ended: bool) {
        let _motion = self.clock.motions().enter();
        let new = HouseState { at, ended, ..house.clone() };
        let (dir, written) = (Arc::clone(&self.dir), new.clone());
        if self.blocking("the house", move || dir.write_house(&written)).await {
            *house = new;
        }
    }

    async fn write_device(&self, kept: &Kept) {
        let _motion = self.clock.motions().enter();
        // The semaphore is never closed.
        let Ok(_permit) = self.writers.acquire().await else { return };
        let next = kept.device.next_status_id();
        let (dir, saved) = (Arc::clone(&self.dir), kept.device.saved());
        let id: DeviceId = kept.device.identity().id.clone();
        let what = id.shared();
        let written = self.blocking(&what, move || dir.write_device(&id, &saved)).await;
        let next = if written { next } else { 0 };
        kept.status_id.store(next, Ordering::Release);
    }

    /// Does what may block where that is allowed; a failure is told, and the house goes on.
    async fn blocking(
        &self,
        what: &str,
        write: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) -> bool {
        let error = match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(%what, %error, "state could not be written; it would be lost now");
        self.journal.write(Event::StateNotWritten { what: what.into(), error });
        false
    }
}
