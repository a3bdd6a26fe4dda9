//! An SD card in a directory. Every function blocks on the file system.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use bytes::Bytes;

use super::path::is_name;
use super::{CardPlan, FileSource, SdEntry, SdError, SdFileReader};
use crate::folder::{EntryKind, Folder};
use crate::limits;

/// The number of rows after which the size of all files is measured again, because other programs
/// may change the directory.
const ROWS_PER_MEASUREMENT: u32 = 60;

/// The name of a card in the folder of its device.
const CARD: &str = "sdcard";
/// The name of a card that does not have all of its files yet.
const INCOMPLETE: &str = "sdcard.new";
/// The name of a card that is being deleted.
const OLD: &str = "sdcard.old";

/// The folder of a card on disk: `sdcard` in the folder of its device.
#[derive(Debug, Clone)]
pub struct CardFolder {
    /// The state directory.
    pub state: Arc<Folder>,
    /// The name of the device's folder in it.
    pub device: Arc<str>,
}

/// The directory of a card.
#[derive(Debug)]
pub(super) struct DiskCard {
    folder: CardFolder,
    plan: CardPlan,
    /// The total size of all files, in bytes; `None` if it must be measured.
    used: Option<u64>,
    /// The number of rows since the last measurement.
    rows: u32,
}

impl DiskCard {
    pub(super) fn new(folder: CardFolder, plan: CardPlan) -> Self {
        Self { folder, plan, used: None, rows: 0 }
    }

    /// Opens the folder of the device, or creates it.
    fn home(&self) -> io::Result<Folder> {
        self.folder.state.add_folder_synced(&*self.folder.device)
    }

    /// Opens the card, or creates it. The operator may have put a link in its place (SD-8).
    fn root(&mut self) -> io::Result<Folder> {
        let home = self.home()?;
        if home.kind(CARD)?.is_none() {
            self.used = None;
            self.create(&home)?;
        }
        home.folder_or_link(CARD)
    }

    /// Creates the card. It is created under another name and then renamed, so that it never exists with
    /// only some of its files.
    fn create(&self, home: &Folder) -> io::Result<()> {
        remove_leftover(home, INCOMPLETE)?;
        home.add_folder(INCOMPLETE)?;
        for (path, text) in &self.plan.files {
            let mut folder = home.folder(INCOMPLETE)?;
            let mut names = path.split('/').peekable();
            while let Some(name) = names.next() {
                if names.peek().is_some() {
                    folder = folder.add_folder(name)?;
                } else {
                    folder.create_file(name)?.write_all(text.as_bytes())?;
                }
            }
        }
        home.rename(INCOMPLETE, CARD)
    }

    /// Returns the total size of the files on the card, in bytes.
    fn used(&mut self, root: &Folder) -> io::Result<u64> {
        let used = match self.used {
            Some(used) => used,
            None => total_size(root, 0)?,
        };
        self.used = Some(used);
        Ok(used)
    }

    /// Opens a folder on the card. Links are not followed.
    fn open_folder(&mut self, names: &[String]) -> Result<Folder, SdError> {
        let mut folder = self.root()?;
        for name in names {
            folder = folder.folder(name).map_err(map_not_found)?;
        }
        Ok(folder)
    }

    pub(super) fn list(&mut self, names: &[String]) -> Result<Vec<SdEntry>, SdError> {
        let mut entries = Vec::new();
        for entry in self.open_folder(names)?.entries()?.take(limits::SD_LISTED) {
            let entry = entry?;
            let kind = entry.file_type()?;
            // Links, and names that are not valid on the card, are skipped.
            let name = entry.file_name().into_string().ok().filter(|name| is_name(name));
            let Some(name) = name else { continue };
            if kind.is_dir() {
                entries.push(SdEntry { name, size: None });
            } else if kind.is_file() {
                let Some(metadata) = ignore_not_found(entry.metadata())? else { continue };
                entries.push(SdEntry { name, size: Some(metadata.len()) });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub(super) fn read(&mut self, names: &[String]) -> Result<SdFileReader, SdError> {
        let (name, folders) = names.split_last().ok_or(SdError::NotFound)?;
        let file = self.open_folder(folders)?.read(name).map_err(map_not_found)?;
        let size = file.metadata()?.len();
        let source = FileSource::Disk { file: Some(file), remaining: size };
        Ok(SdFileReader { size, source })
    }

    pub(super) fn delete(&mut self, names: &[String], folder: bool) -> Result<(), SdError> {
        let (name, folders) = names.split_last().ok_or(SdError::NotFound)?;
        let parent = self.open_folder(folders)?;
        let expected = if folder { EntryKind::Folder } else { EntryKind::File };
        if parent.kind(name)? != Some(expected) {
            return Err(SdError::NotFound);
        }
        // The next row measures the size again.
        self.used = None;
        let removed = if folder { parent.remove_folder(name) } else { parent.remove(name) };
        Ok(removed?)
    }

    pub(super) fn append(
        &mut self,
        name: &str,
        header: &str,
        line: &str,
        capacity: u64,
    ) -> Result<u64, SdError> {
        self.rows += 1;
        if self.rows >= ROWS_PER_MEASUREMENT {
            (self.used, self.rows) = (None, 0);
        }
        let root = self.root()?;
        let used = self.used(&root)?;
        let mut file = root.append(name).map_err(map_not_found)?;
        let size = file.metadata()?.len();
        let mut text = String::with_capacity(header.len() + line.len() + 1);
        if size == 0 {
            text.push_str(header);
        } else if !ends_with_newline(&mut file)? {
            // The previous process was killed while it wrote a row.
            text.push('\n');
        }
        text.push_str(line);
        if used + text.len() as u64 > capacity {
            if size == 0 {
                let _ = root.remove(name);
            }
            return Err(SdError::Full);
        }
        if let Err(error) = file.write_all(text.as_bytes()) {
            // The disk is full, so the incomplete row is removed. An error of that is ignored,
            // because nothing more can be done.
            let _ = if size == 0 { root.remove(name) } else { file.set_len(size) };
            return Err(error.into());
        }
        self.used = Some(used + text.len() as u64);
        Ok(size + text.len() as u64)
    }

    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.used = None;
        let home = self.home()?;
        // The card is renamed before it is deleted, so that it never exists with only some of its
        // files. If it is a link, that is removed, and what it leads to is not ours to delete.
        remove_leftover(&home, OLD)?;
        if home.kind(CARD)?.is_some() {
            home.rename(CARD, OLD)?;
        }
        self.create(&home)?;
        remove_leftover(&home, OLD)
    }
}

/// Removes the folder of an operation that was interrupted, or the link that was in its place.
fn remove_leftover(home: &Folder, name: &str) -> io::Result<()> {
    match home.kind(name)? {
        None => Ok(()),
        Some(EntryKind::Link) => home.remove(name),
        Some(_) => {
            home.expect_kind(name, EntryKind::Folder)?;
            home.remove_folder(name)
        }
    }
}

/// Returns [`SdError::NotFound`] if there is no such entry, or one of another kind.
fn map_not_found(error: io::Error) -> SdError {
    if is_missing(&error) { SdError::NotFound } else { error.into() }
}

/// Returns true if there is no such entry, or one of another kind.
fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidInput)
}

fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Returns `None` if the file is not found, because another program deleted it meanwhile.
fn ignore_not_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the total size of all files below a folder, in bytes. Links are not followed.
fn total_size(folder: &Folder, depth: usize) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in folder.entries()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            bytes += ignore_not_found(entry.metadata())?.map_or(0, |metadata| metadata.len());
        } else if kind.is_dir() && depth < limits::SD_DEPTH {
            match folder.folder(entry.file_name()) {
                Ok(below) => bytes += total_size(&below, depth + 1)?,
                // Another program deleted or replaced it meanwhile.
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

/// Reads the next bytes of a file, at most `max_bytes`.
pub(super) fn read_chunk(mut file: File, max_bytes: usize) -> io::Result<(File, Bytes)> {
    let mut bytes = vec![0; max_bytes];
    let read = file.read(&mut bytes)?;
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
    }
    bytes.truncate(read);
    Ok((file, bytes.into()))
}
