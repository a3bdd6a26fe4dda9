//! Keeps a house's state directory up to date.
//!
//! Each device has a task that writes it down after every change, always as it is then, so that ten
//! changes during a write are one more write. Another one writes the time down again and again, a
//! little ahead, and the clock gets no further than what is written: what a house has shown stays in
//! its past, however it ends. All of them work on threads that may block, and hold a motion
//! meanwhile: a movement of the clock returns when what it brought about is on disk.

use parking_lot::Mutex as Locked;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use crate::clock::{Clock, Speed, VirtualTime};
use crate::device::Device;
use crate::journal::{Event, Journal};
use crate::state::{HouseState, StateDir};

/// How often the time is written down, in real time.
const EVERY: Duration = Duration::from_millis(250);
/// How much real time ahead, in seconds: so much later a house goes on that was killed. The next
/// write is to come before that time has passed; where it does not, the clock waits for it.
const AHEAD: f64 = 1.0;
/// Devices written at once.
const WRITERS: u32 = 4;

/// Keeps a house until this is closed or dropped.
pub(super) struct Persister {
    keeping: Arc<PersisterShared>,
    halt: watch::Sender<bool>,
    tasks: Locked<Vec<JoinHandle<()>>>,
}

/// What the tasks of a keeper share.
struct PersisterShared {
    dir: Arc<StateDir>,
    clock: Clock,
    journal: Arc<Journal>,
    devices: Vec<PersistedDevice>,
    /// Locked until a write has ended, also where nobody waits for that any more.
    house: Arc<Mutex<WrittenHouse>>,
    writers: Arc<Semaphore>,
}

/// Nothing is written down while this lives. Where it is dropped without [`Persister::restart`], what it
/// was for was broken off halfway, and nothing is written any more.
pub(super) struct PersistencePause {
    house: Option<OwnedMutexGuard<WrittenHouse>>,
    writers: Arc<Semaphore>,
    /// All there are.
    _permits: Option<OwnedSemaphorePermit>,
}

impl Drop for PersistencePause {
    fn drop(&mut self) {
        if self.house.is_some() {
            self.writers.close();
        }
    }
}

/// The house, and what was written of it.
struct WrittenHouse {
    house: HouseState,
    /// The time that was written last; none where nothing was, or the last write failed.
    at: Option<u64>,
    failing: bool,
}

/// A device as it is written.
struct PersistedDevice {
    device: Arc<Device>,
    failing: AtomicBool,
    /// Wakes its task to try once more.
    again: Notify,
}

impl Persister {
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
            device.set_persisted(Some(0));
            PersistedDevice { device, failing: AtomicBool::new(false), again: Notify::new() }
        };
        let keeping = Arc::new(PersisterShared {
            dir,
            clock: clock.clone(),
            journal: Arc::clone(journal),
            devices: devices.map(kept).collect(),
            house: Arc::new(Mutex::new(WrittenHouse { house, at: None, failing: false })),
            writers: Arc::new(Semaphore::new(WRITERS as usize)),
        });
        let (house, from) = (keeping.locked().await, clock.now());
        keeping.keep_house(house, from).await;
        let (halt, halted) = watch::channel(false);
        let mut tasks = vec![tokio::spawn(Arc::clone(&keeping).watch_time(halted.clone()))];
        for index in 0..keeping.devices.len() {
            let follow = Arc::clone(&keeping).follow(index, halted.clone());
            tasks.push(tokio::spawn(clock.activity().track(follow)));
        }
        let weak = Arc::downgrade(&keeping);
        clock.set_movement_hook(Box::new(move |to| {
            let keeping = weak.upgrade();
            Box::pin(async move {
                if let Some(keeping) = keeping {
                    let house = keeping.locked().await;
                    keeping.keep_house(house, to).await;
                }
            })
        }));
        Self { keeping, halt, tasks: Locked::new(tasks) }
    }

    /// Writes nothing down until [`Persister::restart`] is given what this returns. No movement of the
    /// clock may be under way: it would wait for what is not written.
    pub(super) async fn pause(&self) -> PersistencePause {
        let PersisterShared { house, writers, .. } = &*self.keeping;
        let house = Some(Arc::clone(house).lock_owned().await);
        let permits = Arc::clone(writers).acquire_many_owned(WRITERS).await.ok();
        PersistencePause { house, writers: Arc::clone(writers), _permits: permits }
    }

    /// Writes down that time begins anew, and returns when each device is on disk as it is now.
    pub(super) async fn restart(&self, mut paused: PersistencePause) {
        if let Some(house) = paused.house.take() {
            self.keeping.keep_house(house, self.keeping.clock.now()).await;
        }
        drop(paused);
        for kept in &self.keeping.devices {
            kept.device.wait_persisted().await;
        }
    }

    /// Writes all of it down for the last time, and returns when that is done. Where `ended`, nobody
    /// can call a device any more.
    pub(super) async fn close(&self, ended: bool) {
        self.halt.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // What a panic had to say, the panic hook has said.
            let _ = task.await;
        }
        let mut writing = JoinSet::new();
        for (index, kept) in self.keeping.devices.iter().enumerate() {
            if ended {
                kept.device.give_back_status_ids();
            }
            // Also where nothing was changed: it has come further in listening to its meter.
            let keeping = Arc::clone(&self.keeping);
            writing.spawn(async move { keeping.write_device(index).await });
        }
        while writing.join_next().await.is_some() {}
        let (house, now) = (self.keeping.locked().await, self.keeping.clock.now());
        self.keeping.write_house(house, now).await;
    }
}

impl PersisterShared {
    /// Writes a device down after each of its changes.
    async fn follow(self: Arc<Self>, index: usize, mut halted: watch::Receiver<bool>) {
        let Some(kept) = self.devices.get(index) else { return };
        let mut changes = kept.device.changes();
        loop {
            let count = *changes.borrow_and_update();
            self.write_device(index).await;
            if self.writers.is_closed() {
                break;
            }
            kept.device.set_persisted(Some(count));
            tokio::select! {
                biased;
                _ = halted.changed() => break,
                seen = changes.changed() => if seen.is_err() { break },
                () = kept.again.notified() => {}
            }
        }
        // Nobody is to wait for what does not come any more.
        kept.device.set_persisted(None);
    }

    /// Writes the time down again and again, and has devices written once more where that failed.
    async fn watch_time(self: Arc<Self>, mut halted: watch::Receiver<bool>) {
        let mut speeds = self.clock.speed_changes();
        loop {
            tokio::select! {
                biased;
                _ = halted.changed() => return,
                seen = speeds.changed() => if seen.is_err() { return },
                // Real time: it bounds what a killed process loses.
                () = tokio::time::sleep(EVERY) => {}
            }
            let house = self.locked().await;
            // Whoever moves the clock has written down where to.
            if !self.clock.is_moving() {
                self.keep_house(house, self.clock.now()).await;
            }
            for kept in self.devices.iter().filter(|kept| kept.failing.load(Ordering::Acquire)) {
                kept.again.notify_one();
            }
        }
    }

    async fn locked(&self) -> OwnedMutexGuard<WrittenHouse> {
        Arc::clone(&self.house).lock_owned().await
    }

    /// Writes down that time may get from `from` on by itself until the next write, and lets it.
    async fn keep_house(self: &Arc<Self>, house: OwnedMutexGuard<WrittenHouse>, from: VirtualTime) {
        let at = from.after(match self.clock.speed() {
            Speed::Manual => Duration::ZERO,
            Speed::Times(times) => Duration::from_secs_f64(AHEAD * times),
        });
        self.write_house(house, at).await;
    }

    /// Goes on to its end, also where the caller gives up on it: a movement of the clock may be given
    /// up on by its client.
    async fn write_house(
        self: &Arc<Self>,
        mut house: OwnedMutexGuard<WrittenHouse>,
        at: VirtualTime,
    ) {
        let (keeping, motion) = (Arc::clone(self), self.clock.activity().enter());
        let write = move || {
            let _motion = motion;
            if house.at != Some(at.as_nanos()) && !keeping.writers.is_closed() {
                house.house.at = at.as_nanos();
                let written = keeping.dir.write_house(&house.house);
                let failed = written.is_err();
                house.at = (!failed).then_some(at.as_nanos());
                if std::mem::replace(&mut house.failing, failed) != failed {
                    keeping.tell("the house", written);
                }
            }
            // Also where it could not be written: that was told, and the house goes on.
            keeping.clock.set_limit(at);
        };
        // What a panic had to say, the panic hook has said.
        let _ = spawn_blocking(write).await;
    }

    async fn write_device(self: &Arc<Self>, index: usize) {
        let motion = self.clock.activity().enter();
        // Closed where the house was left halfway in a reset.
        let Ok(permit) = Arc::clone(&self.writers).acquire_owned().await else { return };
        let keeping = Arc::clone(self);
        let write = move || {
            let _under_way = (motion, permit);
            let Some(kept) = keeping.devices.get(index) else { return };
            let id = &kept.device.identity().id;
            let written = keeping.dir.write_device(id, &kept.device.saved());
            let failed = written.is_err();
            if kept.failing.swap(failed, Ordering::AcqRel) != failed {
                keeping.tell(id.as_str(), written);
            }
        };
        // What a panic had to say, the panic hook has said.
        let _ = spawn_blocking(write).await;
    }

    /// Tells that something cannot be written, or can again.
    fn tell(&self, what: &str, written: io::Result<()>) {
        match written {
            Ok(()) => self.journal.record(Event::StateGoesOn { what: what.into() }),
            Err(error) => {
                tracing::error!(%what, %error, "state could not be written; it would be lost now");
                let (what, error) = (what.into(), error.to_string());
                self.journal.record(Event::StateNotWritten { what, error });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use crate::runtime::{HouseCore, OpenedState};
    use crate::scenario;

    #[tokio::test]
    async fn nothing_is_written_while_a_keeper_pauses() {
        let folder = std::env::temp_dir().join(format!("wwsim-keeping-{}", std::process::id()));
        let yaml = "control: 127.0.0.1:0\nclock: {speed: manual}\ndevice: {http: 127.0.0.1:0}";
        let mut scenario = scenario::load(yaml, "test.yaml", None).unwrap();
        scenario.any_port();
        scenario.state_dir = Some(folder.clone());
        let state = OpenedState::open(&scenario).await.unwrap();
        let core = HouseCore::start(scenario, state).await.unwrap();
        let (device, keeper) = (&core.devices()[0].device, core.persister.as_ref());
        let document = folder.join(device.identity().id.as_str()).join("device.json");
        let is_written =
            || std::fs::read_to_string(&document).is_ok_and(|text| text.contains("changed"));
        device.wait_persisted().await;
        let paused = keeper.unwrap().pause().await;
        let Ok(()) = device.configure(|config| {
            config.settings.system.name = "changed".into();
            Ok::<_, Infallible>(())
        });
        for _ in 0..100 {
            // Time enough for what writes on such a thread, too.
            let looked = tokio::task::spawn_blocking(|| ()).await;
            assert!(looked.is_ok() && !is_written());
        }
        keeper.unwrap().restart(paused).await;
        assert!(is_written());
        core.close().await;
        core.persist_finally(true).await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}
