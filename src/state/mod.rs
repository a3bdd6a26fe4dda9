//! The directory in which a house outlives its process.
//!
//! `house.json` says whose it is and how far time has got; each device has a folder by its id, with
//! `device.json` and its SD card. One process at a time: `wwsim.lock` is locked by the one that uses
//! it, and the system lets go of that however the process ends.

mod document;

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::VirtualTime;
use crate::device::{DeviceDocument, DeviceId, ResumePoint};
use crate::scenario::Scenario;

#[cfg(feature = "cli")]
pub(crate) use self::document::private_file;

/// The directory, which is this process's own until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    lock: File,
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // Closing alone would do, were there not a moment in which a child that this process starts
        // has the file too.
        let _ = self.lock.unlock();
    }
}

/// What is kept of a house as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HouseState {
    /// What its randomness comes from.
    pub seed: u64,
    /// Civil time at its start.
    pub start: Timestamp,
    /// Its devices.
    pub devices: BTreeSet<String>,
    /// Nanoseconds of virtual time that it goes on from: no earlier than anything it has shown.
    pub at: u64,
}

/// Where a house goes on from.
#[derive(Debug, Default)]
pub struct Continuation {
    /// Civil time at its start; none where it starts for the first time.
    pub start: Option<Timestamp>,
    /// The time.
    pub at: VirtualTime,
    /// Its devices, those that have been there.
    pub devices: HashMap<DeviceId, ResumePoint>,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has it.
    #[error("{0} is in use by another process; end that, or give another --state-dir")]
    InUse(String),
    /// It keeps another house.
    #[error(
        "{dir} keeps another house: {what}; start that one, give another --state-dir, or remove it"
    )]
    Another {
        /// The directory.
        dir: String,
        /// What is different.
        what: String,
    },
    /// The file system does not let us.
    #[error("cannot keep state in {dir}: {source}")]
    Io {
        /// The directory.
        dir: String,
        /// What the system says.
        source: io::Error,
    },
}

impl StateDir {
    /// Takes a directory into use; makes it where it is not there. Blocks on the file system.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(root: &Path) -> Result<Self, StateError> {
        let dir = || root.display().to_string();
        let lock = document::make_folder(root).and_then(|()| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).open(root.join("wwsim.lock"))
        });
        let lock = lock.map_err(|source| StateError::Io { dir: dir(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(dir())),
            Err(TryLockError::Error(source)) => Err(StateError::Io { dir: dir(), source }),
        }
    }

    /// Where the house of this scenario goes on from. Blocks on the file system.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load(&self, scenario: &Scenario) -> Result<Continuation, StateError> {
        let house: Option<HouseState> =
            document::read(&self.house(), "house").map_err(|source| self.failed(source))?;
        if let Some(house) = &house {
            self.check(house, scenario)?;
        }
        let mut going_on = Continuation {
            start: house.as_ref().map(|house| house.start),
            at: VirtualTime::from_nanos(house.as_ref().map_or(0, |house| house.at)),
            devices: HashMap::new(),
        };
        for plan in &scenario.devices {
            let id = &plan.identity.id;
            let Some(saved) = self.read_device(id)? else { continue };
            let resumed = match saved.resume_point(id) {
                Ok(resumed) => resumed,
                Err(reason) => {
                    let aside = document::set_aside(&self.device(id), &reason.to_string());
                    aside.map_err(|source| self.failed(source))?;
                    continue;
                }
            };
            going_on.at = going_on.at.max(VirtualTime::from_nanos(saved.at));
            // Each device has it too, should the house's own document be lost.
            going_on.start = going_on.start.or(saved.start);
            going_on.devices.insert(id.clone(), resumed);
        }
        Ok(going_on)
    }

    /// Refuses what belongs to another house: its numbers would not go on from those of this one.
    fn check(&self, house: &HouseState, scenario: &Scenario) -> Result<(), StateError> {
        let devices = device_ids(scenario);
        let what = if house.seed != scenario.seed {
            format!("its seed is {}, that of the scenario {}", house.seed, scenario.seed)
        } else if let Some(start) = scenario.start.filter(|start| *start != house.start) {
            format!("it started at {}, the scenario starts at {start}", house.start)
        } else if house.devices != devices {
            let list = |ids: &BTreeSet<String>| ids.iter().cloned().collect::<Vec<_>>().join(", ");
            format!(
                "its devices are {}, those of the scenario {}",
                list(&house.devices),
                list(&devices)
            )
        } else {
            return Ok(());
        };
        Err(StateError::Another { dir: self.root.display().to_string(), what })
    }

    fn read_device(&self, id: &DeviceId) -> Result<Option<DeviceDocument>, StateError> {
        document::read(&self.device(id), "device").map_err(|source| self.failed(source))
    }

    /// Writes down a house. Blocks on the file system.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_house(&self, house: &HouseState) -> io::Result<()> {
        document::write(&self.house(), "house", house)
    }

    /// Writes down a device. Blocks on the file system.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_device(&self, id: &DeviceId, saved: &DeviceDocument) -> io::Result<()> {
        document::make_folder(&self.root.join(id.as_str()))?;
        document::write(&self.device(id), "device", saved)
    }

    /// Where the SD card of a device is.
    #[must_use]
    pub fn sd_card(&self, id: &DeviceId) -> PathBuf {
        self.root.join(id.as_str()).join("sdcard")
    }

    fn house(&self) -> PathBuf {
        self.root.join("house.json")
    }

    fn device(&self, id: &DeviceId) -> PathBuf {
        self.root.join(id.as_str()).join("device.json")
    }

    fn failed(&self, source: io::Error) -> StateError {
        StateError::Io { dir: self.root.display().to_string(), source }
    }
}

/// The ids of a scenario's devices.
#[must_use]
pub fn device_ids(scenario: &Scenario) -> BTreeSet<String> {
    scenario.devices.iter().map(|plan| plan.identity.id.to_string()).collect()
}
