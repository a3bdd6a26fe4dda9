//! The SD card of a device (SD-1 to SD-7): its files, in memory or in a directory, and the log.

mod disk;
mod log;
mod memory;
mod path;
mod row;

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use self::disk::Disk;
use self::memory::MemoryCard;
pub(crate) use self::path::is_name;
pub use self::path::{InvalidPath, SdPath};
use crate::clock::VirtualTime;
use crate::limits;

/// How long after a change the listed size of a file that is being written lags behind at the most
/// (SD-4).
const LISTED: Duration = Duration::from_mins(1);

/// A card as a scenario describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardPlan {
    /// Its size, in MiB (`/system`, `sd_card.size`).
    pub size: u32,
    /// Files that a new card begins with, by their paths without a slash in front; none of them is a
    /// folder of another.
    pub files: BTreeMap<String, Arc<str>>,
}

impl CardPlan {
    /// [`CardPlan::size`] where the scenario does not say: the card of the vendor's sample.
    pub const SIZE: u32 = 7618;
}

impl Default for CardPlan {
    fn default() -> Self {
        Self { size: Self::SIZE, files: BTreeMap::new() }
    }
}

/// What `/system` says of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdSummary {
    /// `type`.
    pub kind: &'static str,
    /// `size`, MiB.
    pub size: u32,
    /// `speed`, MHz.
    pub speed: u32,
}

/// A card. Its operations may block on the file system where it is a directory; they are done where
/// that is allowed.
#[derive(Debug)]
pub struct SdCard {
    plan: CardPlan,
    store: Arc<Store>,
    /// Counts the resets: a row of before one is not to come after it.
    resets: Arc<AtomicU64>,
    /// The file that is being written, and the size it is listed with since when.
    open: Mutex<Option<OpenFile>>,
}

#[derive(Debug)]
enum Store {
    Memory(Mutex<MemoryCard>),
    Disk(Mutex<Disk>),
}

#[derive(Debug)]
struct OpenFile {
    name: String,
    listed: u64,
    since: VirtualTime,
}

/// A file or folder in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes; none of a folder.
    pub size: Option<u64>,
}

/// Why something of a card could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SdError {
    /// There is nothing, or no file, or no folder there.
    #[error("there is no such file")]
    Missing,
    /// There is no room left.
    #[error("the card is full")]
    Full,
    /// The directory that stands for the card fails.
    #[error("the card cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// A file, to be read from its beginning to where it ended when it was opened.
#[derive(Debug)]
pub struct OpenedFile {
    /// Its size.
    pub size: u64,
    source: CardStorage,
}

#[derive(Debug)]
enum CardStorage {
    Pieces(VecDeque<Bytes>),
    /// None while a piece is read.
    File {
        file: Option<File>,
        left: u64,
    },
}

impl SdCard {
    /// A card: in `folder` where there is one, as it was left there, otherwise a new one in memory.
    #[must_use]
    pub fn new(plan: CardPlan, folder: Option<PathBuf>) -> Self {
        let store = match folder {
            Some(folder) => Store::Disk(Mutex::new(Disk::new(folder, plan.clone()))),
            None => Store::Memory(Mutex::new(MemoryCard::new(&plan))),
        };
        Self { plan, store: Arc::new(store), resets: Arc::default(), open: Mutex::default() }
    }

    /// What `/system` says of it.
    #[must_use]
    pub fn summary(&self) -> SdSummary {
        SdSummary { kind: "SDHC/SDXC", size: self.plan.size, speed: 20 }
    }

    /// What is in a folder, by name. Of the file that is being written, the size may be an earlier
    /// one.
    ///
    /// # Errors
    /// [`SdError`]
    pub async fn list(&self, path: &SdPath) -> Result<Vec<Listed>, SdError> {
        let (at, root) = (path.clone(), path.parts().is_empty());
        let mut listed = self.store.run(move |store| store.list(at.parts())).await?;
        if let Some(open) = self.open().as_ref().filter(|_| root) {
            for file in listed.iter_mut().filter(|file| file.name == open.name) {
                file.size = file.size.map(|size| size.min(open.listed));
            }
        }
        Ok(listed)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`SdError`]
    pub async fn read(&self, path: &SdPath) -> Result<OpenedFile, SdError> {
        let at = path.clone();
        self.store.run(move |store| store.read(at.parts())).await
    }

    /// Deletes a file, or a folder with all that is in it.
    ///
    /// # Errors
    /// [`SdError`]
    pub async fn delete(&self, path: &SdPath) -> Result<(), SdError> {
        let at = path.clone();
        self.store.run(move |store| store.delete(at.parts(), at.is_folder())).await
    }

    /// Appends a line to a file of the root, behind `header` where the file is new. Nothing of it is
    /// written where there is no room.
    ///
    /// # Errors
    /// [`SdError`]
    pub async fn append(
        &self,
        name: &str,
        header: &'static str,
        line: String,
        now: VirtualTime,
    ) -> Result<(), SdError> {
        let (file, room) = (name.to_owned(), self.capacity());
        let (resets, before) = (Arc::clone(&self.resets), self.resets.load(Ordering::Acquire));
        let still_due = move || resets.load(Ordering::Acquire) == before;
        let append = move |store: &Store| store.append(&file, header, &line, room, &still_due);
        let Some(size) = self.store.run(append).await? else { return Ok(()) };
        let mut open = self.open();
        match open.as_mut().filter(|open| open.name == name) {
            Some(open) if now.since(open.since) < LISTED => {}
            Some(open) => (open.listed, open.since) = (size, now),
            None => *open = Some(OpenFile { name: name.to_owned(), listed: size, since: now }),
        }
        Ok(())
    }

    /// Nothing is being written any more.
    pub fn close(&self) {
        *self.open() = None;
    }

    /// Back to the card it was at the start.
    ///
    /// # Errors
    /// [`SdError`]
    pub async fn reset(&self) -> Result<(), SdError> {
        self.close();
        self.resets.fetch_add(1, Ordering::AcqRel);
        let plan = self.plan.clone();
        self.store.run(move |store| store.reset(&plan)).await
    }

    /// Bytes that fit on it.
    fn capacity(&self) -> u64 {
        let size = u64::from(self.plan.size) * 1024 * 1024;
        match &*self.store {
            Store::Memory(_) => size.min(limits::SD_MEMORY_BYTES),
            Store::Disk(_) => size,
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<OpenFile>> {
        self.open.lock()
    }
}

impl Store {
    /// Does something at once where it cannot block, otherwise on a thread that may.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        what: impl FnOnce(&Self) -> Result<T, SdError> + Send + 'static,
    ) -> Result<T, SdError> {
        match &**self {
            Self::Memory(_) => what(self),
            Self::Disk(_) => {
                let store = Arc::clone(self);
                tokio::task::spawn_blocking(move || what(&store))
                    .await
                    .unwrap_or_else(|error| Err(io::Error::other(error.to_string()).into()))
            }
        }
    }

    fn list(&self, at: &[String]) -> Result<Vec<Listed>, SdError> {
        match self {
            Self::Memory(memory) => locked(memory).list(at),
            Self::Disk(disk) => locked(disk).list(at),
        }
    }

    fn read(&self, at: &[String]) -> Result<OpenedFile, SdError> {
        match self {
            Self::Memory(memory) => locked(memory).read(at),
            Self::Disk(disk) => locked(disk).read(at),
        }
    }

    fn delete(&self, at: &[String], folder: bool) -> Result<(), SdError> {
        match self {
            Self::Memory(memory) => locked(memory).delete(at, folder),
            Self::Disk(disk) => locked(disk).delete(at, folder),
        }
    }

    /// None where it is not due any more, which is asked while nothing else changes the card.
    fn append(
        &self,
        name: &str,
        header: &str,
        line: &str,
        room: u64,
        still_due: &impl Fn() -> bool,
    ) -> Result<Option<u64>, SdError> {
        match self {
            Self::Memory(memory) => {
                let mut memory = locked(memory);
                still_due().then(|| memory.append(name, header, line, room)).transpose()
            }
            Self::Disk(disk) => {
                let mut disk = locked(disk);
                still_due().then(|| disk.append(name, header, line, room)).transpose()
            }
        }
    }

    fn reset(&self, plan: &CardPlan) -> Result<(), SdError> {
        match self {
            Self::Memory(memory) => *locked(memory) = MemoryCard::new(plan),
            Self::Disk(disk) => locked(disk).reset()?,
        }
        Ok(())
    }
}

fn locked<T>(store: &Mutex<T>) -> MutexGuard<'_, T> {
    store.lock()
}

impl OpenedFile {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// [`SdError`]
    pub async fn piece(&mut self) -> Result<Option<Bytes>, SdError> {
        match &mut self.source {
            CardStorage::Pieces(pieces) => Ok(pieces.pop_front()),
            CardStorage::File { left: 0, .. } => Ok(None),
            CardStorage::File { file, left } => {
                // It is there unless a caller gave up on the piece before.
                let Some(opened) = file.take() else { return Ok(None) };
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(limits::SD_PIECE_BYTES);
                let read = tokio::task::spawn_blocking(move || disk::piece(opened, most)).await;
                let (opened, bytes) =
                    read.map_err(|error| io::Error::other(error.to_string()))??;
                *left -= bytes.len() as u64;
                *file = Some(opened);
                Ok(Some(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_row_of_before_a_reset_does_not_come_after_it() {
        let folder = std::env::temp_dir().join(format!("wwsim-sd-{}", std::process::id()));
        for _ in 0..20 {
            let card = SdCard::new(CardPlan::default(), Some(folder.clone()));
            card.reset().await.unwrap();
            let Store::Disk(disk) = &*card.store else { panic!("the card is no folder") };
            let held = locked(disk);
            let row = "1\n".to_owned();
            let mut append = pin!(card.append("A.CSV", "RID\n", row, VirtualTime::ZERO));
            let mut reset = pin!(card.reset());
            // Both are on their way to the disk.
            let mut context = Context::from_waker(Waker::noop());
            assert!(append.as_mut().poll(&mut context).is_pending());
            assert!(reset.as_mut().poll(&mut context).is_pending());
            drop(held);
            append.await.unwrap();
            reset.await.unwrap();
            let root = card.list(&SdPath::parse("/").unwrap()).await.unwrap();
            assert_eq!(root, []);
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
