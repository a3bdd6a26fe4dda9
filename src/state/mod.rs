//! The state directory, by which a house continues after its process has ended.
//!
//! `house.json` contains the identity of the house and its virtual time. Each device has a folder named
//! by its id, with `device.json` and its SD card. Links in it are not followed (STATE-4). One process uses
//! the directory at a time: it locks `wwsim.lock`, and the system releases the lock however the process
//! ends.

mod document;

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::VirtualTime;
use crate::device::sd::CardFolder;
use crate::device::{DeviceDocument, DeviceId, ResumePoint};
use crate::folder::Folder;
use crate::scenario::Scenario;

/// A state directory that this process has locked until this is dropped.
#[derive(Debug)]
pub struct StateDir {
    /// The path that the user gave, for messages.
    path: PathBuf,
    root: Arc<Folder>,
    lock: File,
}

/// The devices of a house that a message lists.
const LISTED_DEVICES: usize = 10;
/// The document of the house.
const HOUSE: &str = "house.json";
/// The document of a device, in the folder of the device.
const DEVICE: &str = "device.json";

impl Drop for StateDir {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is being started may have it, too.
        let _ = self.lock.unlock();
    }
}

/// The persistent state of a house as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HouseState {
    /// The seed of its randomness.
    pub seed: u64,
    /// The civil time of its start.
    pub start: Timestamp,
    /// The ids of its devices.
    pub devices: BTreeSet<String>,
    /// The virtual time in nanoseconds at which it continues: no earlier than any time it has shown.
    pub at: u64,
}

/// The state from which a house continues.
#[derive(Debug, Default)]
pub struct Continuation {
    /// The civil time of its start. `None` if it starts for the first time.
    pub start: Option<Timestamp>,
    /// The virtual time.
    pub at: VirtualTime,
    /// The state of the devices that have one.
    pub devices: HashMap<DeviceId, ResumePoint>,
}

/// An error of using a state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process uses it.
    #[error("{0} is in use by another process; end that, or give another --state-dir")]
    InUse(String),
    /// The directory belongs to another house.
    #[error(
        "{dir} keeps another house: {difference}; start that one, give another --state-dir, or remove it"
    )]
    OtherHouse {
        /// The directory.
        dir: String,
        /// The difference between the two houses.
        difference: String,
    },
    /// The file system returned an error.
    #[error("cannot keep state in {dir}: {source}")]
    Io {
        /// The directory.
        dir: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl StateDir {
    /// Locks a directory, and creates it if it does not exist. Blocks on the file system.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the directory is in use or the file system fails.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let dir = || path.display().to_string();
        let opened = Folder::create(path)
            .and_then(|root| Ok((root.lock_file("wwsim.lock")?, Arc::new(root))));
        let (lock, root) = opened.map_err(|source| StateError::Io { dir: dir(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), root, lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(dir())),
            Err(TryLockError::Error(source)) => Err(StateError::Io { dir: dir(), source }),
        }
    }

    /// Reads the state from which the house of this scenario continues. Blocks on the file system.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the directory belongs to another house or the file system fails.
    pub fn load(&self, scenario: &Scenario) -> Result<Continuation, StateError> {
        let house: Option<HouseState> =
            document::read(&self.root, HOUSE, "house").map_err(|source| self.io_error(source))?;
        if let Some(house) = &house {
            self.check_same_house(house, scenario)?;
        }
        let mut continuation = Continuation {
            start: house.as_ref().map(|house| house.start),
            at: VirtualTime::from_nanos(house.as_ref().map_or(0, |house| house.at)),
            devices: HashMap::new(),
        };
        for plan in &scenario.devices {
            let id = &plan.identity.id;
            let Some(folder) = self.device_folder(id)? else { continue };
            let saved: Option<DeviceDocument> = document::read(&folder, DEVICE, "device")
                .map_err(|source| self.io_error(source))?;
            let Some(saved) = saved else { continue };
            let resumed = match saved.resume_point(id) {
                Ok(resumed) => resumed,
                Err(reason) => {
                    document::set_aside(&folder, DEVICE, &reason)
                        .map_err(|source| self.io_error(source))?;
                    continue;
                }
            };
            continuation.at = continuation.at.max(VirtualTime::from_nanos(saved.at));
            // Each device has the start, too, in case the document of the house is lost.
            continuation.start = continuation.start.or(saved.start);
            continuation.devices.insert(id.clone(), resumed);
        }
        Ok(continuation)
    }

    /// Checks that the state belongs to the house of this scenario: counters and ids of another one would
    /// not continue those of this one.
    fn check_same_house(&self, house: &HouseState, scenario: &Scenario) -> Result<(), StateError> {
        let devices = device_ids(scenario);
        let difference = if house.seed != scenario.seed {
            format!("its seed is {}, that of the scenario {}", house.seed, scenario.seed)
        } else if let Some(start) = scenario.start.filter(|start| *start != house.start) {
            format!("it started at {}, the scenario starts at {start}", house.start)
        } else if house.devices != devices {
            let list = |ids: &BTreeSet<String>| {
                let first: Vec<&str> =
                    ids.iter().map(String::as_str).take(LISTED_DEVICES).collect();
                let more = match ids.len().saturating_sub(LISTED_DEVICES) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("{}{more}", first.join(", "))
            };
            format!(
                "its devices are {}, those of the scenario {}",
                list(&house.devices),
                list(&devices)
            )
        } else {
            return Ok(());
        };
        Err(StateError::OtherHouse { dir: self.path.display().to_string(), difference })
    }

    /// Opens the folder of a device. `None` if there is none yet.
    fn device_folder(&self, id: &DeviceId) -> Result<Option<Folder>, StateError> {
        match self.root.folder(id.as_str()) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io_error(error)),
        }
    }

    /// Writes the state of the house. Blocks on the file system.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn write_house(&self, house: &HouseState) -> io::Result<()> {
        document::write(&self.root, HOUSE, "house", house)
    }

    /// Writes the state of a device. Blocks on the file system.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn write_device(&self, id: &DeviceId, saved: &DeviceDocument) -> io::Result<()> {
        let folder = self.root.add_folder_synced(id.as_str())?;
        document::write(&folder, DEVICE, "device", saved)
    }

    /// Returns the folder that is the SD card of a device.
    #[must_use]
    pub fn sd_card(&self, id: &DeviceId) -> CardFolder {
        CardFolder { state: Arc::clone(&self.root), device: id.as_str().into() }
    }

    fn io_error(&self, source: io::Error) -> StateError {
        StateError::Io { dir: self.path.display().to_string(), source }
    }
}

/// Returns the ids of the devices of a scenario.
#[must_use]
pub fn device_ids(scenario: &Scenario) -> BTreeSet<String> {
    scenario.devices.iter().map(|plan| plan.identity.id.to_string()).collect()
}
