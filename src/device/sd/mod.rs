//! The SD card of a device (SD-1 to SD-8): the files, in memory or in a directory, and the log of
//! readings.

mod disk;
mod log;
mod memory;
mod path;
mod row;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

pub use self::disk::CardFolder;
use self::disk::DiskCard;
use self::memory::MemoryCard;
pub(crate) use self::path::is_name;
pub use self::path::{InvalidPath, SdPath};
use crate::clock::VirtualTime;
use crate::limits;

/// The maximum time by which the listed size of the log file lags behind its real size (SD-4).
const LISTED_SIZE_LAG: Duration = Duration::from_mins(1);

/// The number of bytes of a file that are read and sent at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// The description of a card in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardPlan {
    /// The size in MiB (`/system`, `sd_card.size`).
    pub size: u32,
    /// The files of a new card by path, without a leading slash. No path is a folder of another.
    pub files: BTreeMap<String, Arc<str>>,
}

impl CardPlan {
    /// The default of [`CardPlan::size`]: the card of the vendor's sample.
    pub const SIZE: u32 = 7618;
}

impl Default for CardPlan {
    fn default() -> Self {
        Self { size: Self::SIZE, files: BTreeMap::new() }
    }
}

/// The description of a card in `/system`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdSummary {
    /// `type`.
    pub kind: &'static str,
    /// `size`, in MiB.
    pub size: u32,
    /// `speed`, in MHz.
    pub speed: u32,
}

/// An SD card. Operations on a card in a directory run on a thread that may block.
#[derive(Debug)]
pub struct SdCard {
    plan: CardPlan,
    storage: Arc<SdStorage>,
    /// The number of resets. An append or a deletion that began before a reset has no effect after it.
    resets: Arc<AtomicU64>,
    /// The log file that is being written, if any.
    log_file: Mutex<Option<LogFile>>,
}

#[derive(Debug)]
enum SdStorage {
    Memory(Mutex<MemoryCard>),
    Disk(Mutex<DiskCard>),
}

/// The log file that is being written, with the size that a listing shows.
#[derive(Debug)]
struct LogFile {
    name: String,
    listed_size: u64,
    /// The time of `listed_size`.
    since: VirtualTime,
}

/// A file or folder in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdEntry {
    /// The name.
    pub name: String,
    /// The size in bytes; `None` for a folder.
    pub size: Option<u64>,
}

/// The error of an operation on a card.
#[derive(Debug, thiserror::Error)]
pub enum SdError {
    /// The file or folder does not exist, or is not of the required kind.
    #[error("there is no such file")]
    NotFound,
    /// The card is full.
    #[error("the card is full")]
    Full,
    /// The card's directory cannot be read or written.
    #[error("the card cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// A reader of a file, from the beginning to the end at the time of opening.
#[derive(Debug)]
pub struct SdFileReader {
    /// The size in bytes at the time of opening.
    pub size: u64,
    source: FileSource,
}

#[derive(Debug)]
enum FileSource {
    Memory(VecDeque<Bytes>),
    Disk {
        /// `None` while a chunk is being read.
        file: Option<File>,
        /// The number of bytes not read yet.
        remaining: u64,
    },
}

impl SdCard {
    /// Opens the card in `folder`, with the files that are there, or creates a new card in memory if
    /// `folder` is `None`.
    #[must_use]
    pub fn new(plan: CardPlan, folder: Option<CardFolder>) -> Self {
        let storage = match folder {
            Some(folder) => SdStorage::Disk(Mutex::new(DiskCard::new(folder, plan.clone()))),
            None => SdStorage::Memory(Mutex::new(MemoryCard::new(&plan))),
        };
        Self {
            plan,
            storage: Arc::new(storage),
            resets: Arc::default(),
            log_file: Mutex::default(),
        }
    }

    /// Returns the card's description in `/system`.
    #[must_use]
    pub fn summary(&self) -> SdSummary {
        SdSummary { kind: "SDHC/SDXC", size: self.plan.size, speed: 20 }
    }

    /// Returns the entries of a folder by name. The size of the log file that is being written may be up
    /// to a minute old (SD-4).
    ///
    /// # Errors
    /// [`SdError`], if the folder does not exist or the directory cannot be read.
    pub async fn list(&self, path: &SdPath) -> Result<Vec<SdEntry>, SdError> {
        let (folder, is_root) = (path.clone(), path.is_root());
        let mut entries = self.storage.run(move |storage| storage.list(folder.parts())).await?;
        if let Some(log_file) = self.log_file.lock().as_ref().filter(|_| is_root) {
            for entry in entries.iter_mut().filter(|entry| entry.name == log_file.name) {
                entry.size = entry.size.map(|size| size.min(log_file.listed_size));
            }
        }
        Ok(entries)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`SdError`], if the file does not exist or cannot be read.
    pub async fn read(&self, path: &SdPath) -> Result<SdFileReader, SdError> {
        let path = path.clone();
        self.storage.run(move |storage| storage.read(path.parts())).await
    }

    /// Deletes a file, or a folder with its contents. Deletes nothing if the card is reset meanwhile.
    ///
    /// # Errors
    /// [`SdError`], if the path does not exist, is of the other kind, or cannot be deleted.
    pub async fn delete(&self, path: &SdPath) -> Result<(), SdError> {
        let (path, is_current) = (path.clone(), self.until_reset());
        let delete =
            move |storage: &SdStorage| storage.delete(path.parts(), path.is_folder(), &is_current);
        self.storage.run(delete).await
    }

    /// Returns a function that returns `false` after the next reset of the card.
    fn until_reset(&self) -> impl Fn() -> bool + Send + 'static {
        let (resets, before) = (Arc::clone(&self.resets), self.resets.load(Ordering::Acquire));
        move || resets.load(Ordering::Acquire) == before
    }

    /// Appends a line to a file in the root. A new file begins with `header`. If the card is full,
    /// nothing is written.
    ///
    /// # Errors
    /// [`SdError`], if the card is full or cannot be written.
    pub async fn append(
        &self,
        name: &str,
        header: &'static str,
        line: String,
        now: VirtualTime,
    ) -> Result<(), SdError> {
        let (file, capacity) = (name.to_owned(), self.capacity());
        let is_current = self.until_reset();
        let append =
            move |storage: &SdStorage| storage.append(&file, header, &line, capacity, &is_current);
        let Some(size) = self.storage.run(append).await? else { return Ok(()) };
        let mut log_file = self.log_file.lock();
        match log_file.as_mut().filter(|file| file.name == name) {
            Some(file) if now.since(file.since) < LISTED_SIZE_LAG => {}
            Some(file) => (file.listed_size, file.since) = (size, now),
            None => {
                let name = name.to_owned();
                *log_file = Some(LogFile { name, listed_size: size, since: now });
            }
        }
        Ok(())
    }

    /// Closes the log file. Listings contain its real size, until the next row is appended.
    pub fn close(&self) {
        *self.log_file.lock() = None;
    }

    /// Restores the card that the plan describes.
    ///
    /// # Errors
    /// [`SdError`], if the directory cannot be written.
    pub async fn reset(&self) -> Result<(), SdError> {
        self.close();
        self.resets.fetch_add(1, Ordering::AcqRel);
        let plan = self.plan.clone();
        self.storage.run(move |storage| storage.reset(&plan)).await
    }

    /// Returns the capacity in bytes.
    fn capacity(&self) -> u64 {
        let size = u64::from(self.plan.size) * 1024 * 1024;
        match &*self.storage {
            SdStorage::Memory(_) => size.min(limits::SD_MEMORY_BYTES),
            SdStorage::Disk(_) => size,
        }
    }
}

impl SdStorage {
    /// Runs an operation: at once in memory, where it cannot block, otherwise on a thread that may.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        operation: impl FnOnce(&Self) -> Result<T, SdError> + Send + 'static,
    ) -> Result<T, SdError> {
        match &**self {
            Self::Memory(_) => operation(self),
            Self::Disk(_) => {
                let storage = Arc::clone(self);
                tokio::task::spawn_blocking(move || operation(&storage))
                    .await
                    .unwrap_or_else(|error| Err(io::Error::other(error.to_string()).into()))
            }
        }
    }

    fn list(&self, names: &[String]) -> Result<Vec<SdEntry>, SdError> {
        match self {
            Self::Memory(memory) => memory.lock().list(names),
            Self::Disk(disk) => disk.lock().list(names),
        }
    }

    fn read(&self, names: &[String]) -> Result<SdFileReader, SdError> {
        match self {
            Self::Memory(memory) => memory.lock().read(names),
            Self::Disk(disk) => disk.lock().read(names),
        }
    }

    /// Deletes a file or folder. Deletes nothing if `is_current` returns `false`, which is checked under
    /// the lock.
    fn delete(
        &self,
        names: &[String],
        folder: bool,
        is_current: &impl Fn() -> bool,
    ) -> Result<(), SdError> {
        match self {
            Self::Memory(memory) => {
                let mut memory = memory.lock();
                if is_current() { memory.delete(names, folder) } else { Ok(()) }
            }
            Self::Disk(disk) => {
                let mut disk = disk.lock();
                if is_current() { disk.delete(names, folder) } else { Ok(()) }
            }
        }
    }

    /// Appends a line and returns the size of the file. `None` if `is_current` returns `false`, which
    /// is checked under the lock, so that no reset can come between the check and the write.
    fn append(
        &self,
        name: &str,
        header: &str,
        line: &str,
        capacity: u64,
        is_current: &impl Fn() -> bool,
    ) -> Result<Option<u64>, SdError> {
        match self {
            Self::Memory(memory) => {
                let mut memory = memory.lock();
                is_current().then(|| memory.append(name, header, line, capacity)).transpose()
            }
            Self::Disk(disk) => {
                let mut disk = disk.lock();
                is_current().then(|| disk.append(name, header, line, capacity)).transpose()
            }
        }
    }

    fn reset(&self, plan: &CardPlan) -> Result<(), SdError> {
        match self {
            Self::Memory(memory) => *memory.lock() = MemoryCard::new(plan),
            Self::Disk(disk) => disk.lock().reset()?,
        }
        Ok(())
    }
}

impl SdFileReader {
    /// Reads the next chunk; `None` at the end.
    ///
    /// # Errors
    /// [`SdError::Io`], if the file cannot be read or became shorter.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, SdError> {
        match &mut self.source {
            FileSource::Memory(chunks) => Ok(chunks.pop_front()),
            FileSource::Disk { remaining: 0, .. } => Ok(None),
            FileSource::Disk { file, remaining } => {
                // The file is missing only if the caller dropped the future of the previous chunk.
                let Some(opened) = file.take() else { return Ok(None) };
                let max_bytes = usize::try_from(*remaining).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                let read = move || disk::read_chunk(opened, max_bytes);
                let read = tokio::task::spawn_blocking(read).await;
                let (opened, bytes) =
                    read.map_err(|error| io::Error::other(error.to_string()))??;
                *remaining -= bytes.len() as u64;
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
    use crate::folder::Folder;

    #[tokio::test]
    async fn an_append_that_began_before_a_reset_is_dropped() {
        let folder = std::env::temp_dir().join(format!("wwsim-sd-{}", std::process::id()));
        let state = Arc::new(Folder::create(&folder).unwrap());
        for _ in 0..20 {
            let card_folder = CardFolder { state: Arc::clone(&state), device: "device".into() };
            let card = SdCard::new(CardPlan::default(), Some(card_folder));
            card.reset().await.unwrap();
            let SdStorage::Disk(disk) = &*card.storage else { panic!("the card is no folder") };
            let guard = disk.lock();
            let row = "1\n".to_owned();
            let mut append = pin!(card.append("A.CSV", "RID\n", row, VirtualTime::ZERO));
            let mut reset = pin!(card.reset());
            // Both operations wait for the lock.
            let mut context = Context::from_waker(Waker::noop());
            assert!(append.as_mut().poll(&mut context).is_pending());
            assert!(reset.as_mut().poll(&mut context).is_pending());
            drop(guard);
            append.await.unwrap();
            reset.await.unwrap();
            let root = card.list(&SdPath::parse("/").unwrap()).await.unwrap();
            assert_eq!(root, []);
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
