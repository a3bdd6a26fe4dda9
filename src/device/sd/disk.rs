//! An SD card in a directory. Every function blocks on the file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use bytes::Bytes;

use super::path::is_name;
use super::{CardPlan, FileSource, SdEntry, SdError, SdFileReader};
use crate::limits;

/// The number of rows after which the size of all files is measured again, because other programs
/// may change the directory.
const ROWS_PER_MEASUREMENT: u32 = 60;

/// The directory of a card.
#[derive(Debug)]
pub(super) struct DiskCard {
    root: PathBuf,
    plan: CardPlan,
    /// The total size of all files, in bytes; `None` if it must be measured.
    used: Option<u64>,
    /// The number of rows since the last measurement.
    rows: u32,
}

impl DiskCard {
    pub(super) fn new(root: PathBuf, plan: CardPlan) -> Self {
        Self { root, plan, used: None, rows: 0 }
    }

    /// Creates the card if it does not exist, and returns the total size of its files.
    fn prepare(&mut self) -> io::Result<u64> {
        if let Some(used) = self.used {
            return Ok(used);
        }
        if !self.root.exists() {
            // The card is created under another name and then renamed, so that it never exists with
            // only some of its files.
            let incomplete = self.root.with_extension("new");
            if incomplete.exists() {
                fs::remove_dir_all(&incomplete)?;
            }
            fs::create_dir_all(&incomplete)?;
            for (name, text) in &self.plan.files {
                let path = incomplete.join(name);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::write(path, text.as_bytes())?;
            }
            fs::rename(&incomplete, &self.root)?;
        }
        let used = total_size(&self.root, 0)?;
        self.used = Some(used);
        Ok(used)
    }

    /// Resolves a path to a file or folder. Links are not followed.
    fn find(&mut self, names: &[String]) -> Result<(PathBuf, fs::Metadata), SdError> {
        self.prepare()?;
        let mut path = self.root.clone();
        // The operator chooses the root, which may be a link.
        let mut metadata = fs::metadata(&path)?;
        for name in names {
            if !metadata.is_dir() {
                return Err(SdError::NotFound);
            }
            path.push(name);
            metadata = fs::symlink_metadata(&path).map_err(map_not_found)?;
        }
        if metadata.is_dir() || metadata.is_file() {
            Ok((path, metadata))
        } else {
            Err(SdError::NotFound)
        }
    }

    pub(super) fn list(&mut self, names: &[String]) -> Result<Vec<SdEntry>, SdError> {
        let (path, metadata) = self.find(names)?;
        if !metadata.is_dir() {
            return Err(SdError::NotFound);
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)?.take(limits::SD_LISTED) {
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
        let (path, metadata) = self.find(names)?;
        if !metadata.is_file() {
            return Err(SdError::NotFound);
        }
        let file = File::open(path).map_err(map_not_found)?;
        let size = file.metadata()?.len();
        let source = FileSource::Disk { file: Some(file), remaining: size };
        Ok(SdFileReader { size, source })
    }

    pub(super) fn delete(&mut self, names: &[String], folder: bool) -> Result<(), SdError> {
        let (path, metadata) = self.find(names)?;
        if names.is_empty() || folder != metadata.is_dir() {
            return Err(SdError::NotFound);
        }
        // The next row measures the size again.
        self.used = None;
        if metadata.is_dir() {
            // This does not follow links.
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
        Ok(())
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
        let used = self.prepare()?;
        let path = self.root.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_file() => return Err(SdError::NotFound),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(&path)?;
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
                let _ = fs::remove_file(path);
            }
            return Err(SdError::Full);
        }
        if let Err(error) = file.write_all(text.as_bytes()) {
            // The disk is full, so the incomplete row is removed. An error of that is ignored,
            // because nothing more can be done.
            let _ = if size == 0 { fs::remove_file(path) } else { file.set_len(size) };
            return Err(error.into());
        }
        self.used = Some(used + text.len() as u64);
        Ok(size + text.len() as u64)
    }

    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.used = None;
        // The card is renamed before it is deleted, so that it never exists with only some of its
        // files.
        let old = self.root.with_extension("old");
        if old.exists() {
            fs::remove_dir_all(&old)?;
        }
        if self.root.exists() {
            fs::rename(&self.root, &old)?;
        }
        self.prepare()?;
        if old.exists() {
            fs::remove_dir_all(&old)?;
        }
        Ok(())
    }
}

fn map_not_found(error: io::Error) -> SdError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SdError::NotFound,
        _ => error.into(),
    }
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
fn total_size(folder: &PathBuf, depth: usize) -> io::Result<u64> {
    let mut bytes = 0;
    let Some(entries) = ignore_not_found(fs::read_dir(folder))? else { return Ok(0) };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            bytes += ignore_not_found(entry.metadata())?.map_or(0, |metadata| metadata.len());
        } else if kind.is_dir() && depth < limits::SD_DEPTH {
            bytes += total_size(&entry.path(), depth + 1)?;
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
