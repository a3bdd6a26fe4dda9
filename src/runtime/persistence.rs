//! Persistence: keeps the state directory of a house up to date.
//!
//! Each device has a task that writes its document after every change. The document is always the
//! newest one, so ten changes during a write lead to one more write. Another task writes the time at
//! short intervals, a little ahead, and the clock stops at the written time. So the time of a house that
//! resumes is never earlier than a time that it has shown, even after it was killed. The writes run on
//! threads that may block, and count as activity: a movement of the clock returns when its effects are
//! on disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{
    Mutex as AsyncMutex, Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch,
};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use crate::clock::{Clock, Speed, VirtualTime};
use crate::device::Device;
use crate::journal::{Event, Journal};
use crate::state::{HouseState, StateDir};

/// The interval between two writes of the time, in real time.
const TIME_INTERVAL: Duration = Duration::from_millis(250);
/// The real time by which the written time is ahead, in seconds. A house that was killed resumes so much
/// later. If the next write takes longer than that, the clock waits for it.
const TIME_AHEAD: f64 = 1.0;
/// The number of devices that are written at the same time.
const WRITERS: u32 = 4;

/// The persister of a house, which works until it is closed or dropped.
pub(super) struct Persister {
    shared: Arc<PersisterShared>,
    halt: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The state that the tasks of a persister share.
struct PersisterShared {
    dir: Arc<StateDir>,
    clock: Clock,
    journal: Arc<Journal>,
    devices: Vec<PersistedDevice>,
    /// Locked until a write has ended, even if its caller does not wait for it any more.
    house: Arc<AsyncMutex<WrittenHouse>>,
    writers: Arc<Semaphore>,
}

/// A pause of the persister: nothing is written while it exists. A pause that is dropped without
/// [`Persister::resume`] belongs to a reset that was interrupted halfway; nothing is written after it.
pub(super) struct PersistencePause {
    house: Option<OwnedMutexGuard<WrittenHouse>>,
    writers: Arc<Semaphore>,
    /// The permits of all writers.
    _permits: Option<OwnedSemaphorePermit>,
}

impl Drop for PersistencePause {
    fn drop(&mut self) {
        if self.house.is_some() {
            self.writers.close();
        }
    }
}

/// The document of the house, and its state on disk.
struct WrittenHouse {
    house: HouseState,
    /// The time on disk. `None` if nothing was written, or if the last write failed.
    written_at: Option<u64>,
    failing: bool,
}

/// A device, and the state of its document on disk.
struct PersistedDevice {
    device: Arc<Device>,
    failing: AtomicBool,
    /// Wakes the task of the device to try again after a failure.
    retry: Notify,
}

impl Persister {
    /// Starts to persist these devices. `house` is written before this returns, and the clock, which the
    /// caller holds at the time of `house`, moves again.
    pub(super) async fn start(
        dir: Arc<StateDir>,
        house: HouseState,
        clock: &Clock,
        journal: &Arc<Journal>,
        devices: impl Iterator<Item = Arc<Device>>,
    ) -> Self {
        let persisted = |device: Arc<Device>| {
            device.set_persisted(Some(0));
            PersistedDevice { device, failing: AtomicBool::new(false), retry: Notify::new() }
        };
        let shared = Arc::new(PersisterShared {
            dir,
            clock: clock.clone(),
            journal: Arc::clone(journal),
            devices: devices.map(persisted).collect(),
            house: Arc::new(AsyncMutex::new(WrittenHouse {
                house,
                written_at: None,
                failing: false,
            })),
            writers: Arc::new(Semaphore::new(WRITERS as usize)),
        });
        let house = shared.lock_house().await;
        shared.allow_time_from(house, clock.now()).await;
        let (halt, halted) = watch::channel(false);
        let mut tasks = vec![tokio::spawn(Arc::clone(&shared).persist_time(halted.clone()))];
        for index in 0..shared.devices.len() {
            let persist = Arc::clone(&shared).persist_device(index, halted.clone());
            tasks.push(tokio::spawn(clock.activity().track(persist)));
        }
        let weak = Arc::downgrade(&shared);
        clock.set_movement_hook(Box::new(move |to| {
            let shared = weak.upgrade();
            Box::pin(async move {
                if let Some(shared) = shared {
                    let house = shared.lock_house().await;
                    shared.allow_time_from(house, to).await;
                }
            })
        }));
        Self { shared, halt, tasks: Mutex::new(tasks) }
    }

    /// Writes nothing until the returned pause is given to [`Persister::resume`]. No movement of the clock
    /// may be in progress: it would wait for a write.
    pub(super) async fn pause(&self) -> PersistencePause {
        let PersisterShared { house, writers, .. } = &*self.shared;
        let house = Some(Arc::clone(house).lock_owned().await);
        let permits = Arc::clone(writers).acquire_many_owned(WRITERS).await.ok();
        PersistencePause { house, writers: Arc::clone(writers), _permits: permits }
    }

    /// Ends a pause: writes the current time, which may be earlier than before the pause, and returns
    /// when the current state of each device is on disk.
    pub(super) async fn resume(&self, mut paused: PersistencePause) {
        if let Some(house) = paused.house.take() {
            self.shared.allow_time_from(house, self.shared.clock.now()).await;
        }
        drop(paused);
        for persisted in &self.shared.devices {
            persisted.device.wait_persisted().await;
        }
    }

    /// Writes everything for the last time, and returns when that is done. `calls_ended` says that no
    /// device can be called any more, so that reserved status ids can be released.
    pub(super) async fn close(&self, calls_ended: bool) {
        self.halt.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // A panic was reported by the panic hook.
            let _ = task.await;
        }
        let mut writing = JoinSet::new();
        for (index, persisted) in self.shared.devices.iter().enumerate() {
            if calls_ended {
                persisted.device.release_reserved_status_ids();
            }
            // Even a device without a change is written: it has received more of its meter.
            let shared = Arc::clone(&self.shared);
            writing.spawn(async move { shared.write_device(index).await });
        }
        while writing.join_next().await.is_some() {}
        let (house, now) = (self.shared.lock_house().await, self.shared.clock.now());
        self.shared.write_house(house, now).await;
    }
}

impl PersisterShared {
    /// Writes the document of a device after each change, until `halted`.
    async fn persist_device(self: Arc<Self>, index: usize, mut halted: watch::Receiver<bool>) {
        let Some(persisted) = self.devices.get(index) else { return };
        let mut changes = persisted.device.changes();
        loop {
            let count = *changes.borrow_and_update();
            self.write_device(index).await;
            if self.writers.is_closed() {
                break;
            }
            persisted.device.set_persisted(Some(count));
            tokio::select! {
                biased;
                _ = halted.changed() => break,
                result = changes.changed() => if result.is_err() { break },
                () = persisted.retry.notified() => {}
            }
        }
        // No caller may wait for a write that does not come any more.
        persisted.device.set_persisted(None);
    }

    /// Writes the time at short intervals, and wakes the tasks of devices whose last write failed.
    async fn persist_time(self: Arc<Self>, mut halted: watch::Receiver<bool>) {
        let mut speeds = self.clock.speed_changes();
        loop {
            tokio::select! {
                biased;
                _ = halted.changed() => return,
                () = speeds.changed() => {}
                // Real time, because it bounds what a killed process loses.
                () = tokio::time::sleep(TIME_INTERVAL) => {}
            }
            let house = self.lock_house().await;
            // A movement of the clock has written the time of its end.
            if !self.clock.is_moving() {
                self.allow_time_from(house, self.clock.now()).await;
            }
            for persisted in
                self.devices.iter().filter(|persisted| persisted.failing.load(Ordering::Acquire))
            {
                persisted.retry.notify_one();
            }
        }
    }

    async fn lock_house(&self) -> OwnedMutexGuard<WrittenHouse> {
        Arc::clone(&self.house).lock_owned().await
    }

    /// Writes the time until which the clock may move by itself from `from` on before the next write, and
    /// lets the clock move until then.
    async fn allow_time_from(
        self: &Arc<Self>,
        house: OwnedMutexGuard<WrittenHouse>,
        from: VirtualTime,
    ) {
        let at = from.after(match self.clock.speed() {
            Speed::Manual => Duration::ZERO,
            Speed::Times(times) => Duration::from_secs_f64(TIME_AHEAD * times),
        });
        self.write_house(house, at).await;
    }

    /// Writes the document of the house with the time `at`, and holds the clock there. The write runs to
    /// completion even if the caller drops the future: a client may abandon a movement of the clock.
    async fn write_house(
        self: &Arc<Self>,
        mut house: OwnedMutexGuard<WrittenHouse>,
        at: VirtualTime,
    ) {
        let (shared, activity) = (Arc::clone(self), self.clock.activity().enter());
        let write = move || {
            let _activity = activity;
            if house.written_at != Some(at.as_nanos()) && !shared.writers.is_closed() {
                house.house.at = at.as_nanos();
                let written = shared.dir.write_house(&house.house);
                let failed = written.is_err();
                house.written_at = (!failed).then_some(at.as_nanos());
                if std::mem::replace(&mut house.failing, failed) != failed {
                    shared.record_outcome("the house", written);
                }
            }
            // The clock moves on even if the write failed: the failure is in the journal.
            shared.clock.set_limit(at);
        };
        // A panic was reported by the panic hook.
        let _ = spawn_blocking(write).await;
    }

    /// Writes the current document of a device. Waits until the write is done.
    async fn write_device(self: &Arc<Self>, index: usize) {
        let activity = self.clock.activity().enter();
        // The semaphore is closed after a reset that was interrupted halfway.
        let Ok(permit) = Arc::clone(&self.writers).acquire_owned().await else { return };
        let shared = Arc::clone(self);
        let write = move || {
            let _held = (activity, permit);
            let Some(persisted) = shared.devices.get(index) else { return };
            let id = &persisted.device.identity().id;
            let written = shared.dir.write_device(id, &persisted.device.document());
            let failed = written.is_err();
            if persisted.failing.swap(failed, Ordering::AcqRel) != failed {
                shared.record_outcome(id.as_str(), written);
            }
        };
        // A panic was reported by the panic hook.
        let _ = spawn_blocking(write).await;
    }

    /// Records that something cannot be written, or can be written again.
    fn record_outcome(&self, what: &str, written: io::Result<()>) {
        match written {
            Ok(()) => self.journal.record(Event::StateWriteRecovered { what: what.into() }),
            Err(error) => {
                tracing::error!(%what, %error, "state could not be written; it would be lost now");
                let (what, error) = (what.into(), error.to_string());
                self.journal.record(Event::StateWriteFailed { what, error });
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
    async fn nothing_is_written_during_a_pause() {
        let folder = std::env::temp_dir().join(format!("wwsim-persistence-{}", std::process::id()));
        let yaml = "control: 127.0.0.1:0\nclock: {speed: manual}\ndevice: {http: 127.0.0.1:0}";
        let mut scenario = scenario::load(yaml, "test.yaml", None).unwrap();
        scenario.any_port();
        scenario.state_dir = Some(folder.clone());
        let state = OpenedState::open(&scenario).await.unwrap();
        let core = HouseCore::start(scenario, state, None).await.unwrap();
        let (device, persister) = (&core.devices()[0].device, core.persister.as_ref());
        let document = folder.join(device.identity().id.as_str()).join("device.json");
        let is_written =
            || std::fs::read_to_string(&document).is_ok_and(|text| text.contains("changed"));
        device.wait_persisted().await;
        let paused = persister.unwrap().pause().await;
        let Ok(()) = device.configure(|config| {
            config.settings.system.name = "changed".into();
            Ok::<_, Infallible>(())
        });
        for _ in 0..100 {
            // A write on such a thread would have had enough time, too.
            let waited = tokio::task::spawn_blocking(|| ()).await;
            assert!(waited.is_ok() && !is_written());
        }
        persister.unwrap().resume(paused).await;
        assert!(is_written());
        core.close().await;
        core.persist_finally(true).await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}
