//! A card that is a directory. Everything here blocks on the file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use bytes::Bytes;

use super::path::is_name;
use super::{CardPlan, CardStorage, Listed, OpenedFile, SdError};
use crate::limits;

/// The directory.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    plan: CardPlan,
    /// Bytes in all files; none before they were counted.
    used: Option<u64>,
    /// Rows since they were counted: others may put files there, too.
    rows: u32,
}

impl Disk {
    pub(super) fn new(root: PathBuf, plan: CardPlan) -> Self {
        Self { root, plan, used: None, rows: 0 }
    }

    /// Makes the card where it is not there yet, and counts what is on it.
    fn ready(&mut self) -> io::Result<u64> {
        if let Some(used) = self.used {
            return Ok(used);
        }
        if !self.root.exists() {
            // Beside its place first: a card is there with all its files or not at all.
            let beside = self.root.with_extension("new");
            if beside.exists() {
                fs::remove_dir_all(&beside)?;
            }
            fs::create_dir_all(&beside)?;
            for (name, text) in &self.plan.files {
                let path = beside.join(name);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::write(path, text.as_bytes())?;
            }
            fs::rename(&beside, &self.root)?;
        }
        let used = size(&self.root, 0)?;
        self.used = Some(used);
        Ok(used)
    }

    /// Where a path leads, where nothing on the way is a link.
    fn find(&mut self, at: &[String]) -> Result<(PathBuf, fs::Metadata), SdError> {
        self.ready()?;
        let mut path = self.root.clone();
        // The card itself is where the operator has put it, a link or not.
        let mut metadata = fs::metadata(&path)?;
        for name in at {
            if !metadata.is_dir() {
                return Err(SdError::Missing);
            }
            path.push(name);
            metadata = fs::symlink_metadata(&path).map_err(missing)?;
        }
        if metadata.is_dir() || metadata.is_file() {
            Ok((path, metadata))
        } else {
            Err(SdError::Missing)
        }
    }

    pub(super) fn list(&mut self, at: &[String]) -> Result<Vec<Listed>, SdError> {
        let (path, metadata) = self.find(at)?;
        if !metadata.is_dir() {
            return Err(SdError::Missing);
        }
        let mut listed = Vec::new();
        for entry in fs::read_dir(path)?.take(limits::SD_LISTED) {
            let entry = entry?;
            let kind = entry.file_type()?;
            // What can have no such name on the card, or is a link, is not on it.
            let name = entry.file_name().into_string().ok().filter(|name| is_name(name));
            let Some(name) = name else { continue };
            if kind.is_dir() {
                listed.push(Listed { name, size: None });
            } else if kind.is_file() {
                let Some(metadata) = still_there(entry.metadata())? else { continue };
                listed.push(Listed { name, size: Some(metadata.len()) });
            }
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    pub(super) fn read(&mut self, at: &[String]) -> Result<OpenedFile, SdError> {
        let (path, metadata) = self.find(at)?;
        if !metadata.is_file() {
            return Err(SdError::Missing);
        }
        let file = File::open(path).map_err(missing)?;
        let left = file.metadata()?.len();
        Ok(OpenedFile { size: left, source: CardStorage::File { file: Some(file), left } })
    }

    pub(super) fn delete(&mut self, at: &[String], folder: bool) -> Result<(), SdError> {
        let (path, metadata) = self.find(at)?;
        if at.is_empty() || folder != metadata.is_dir() {
            return Err(SdError::Missing);
        }
        // Counted anew at the next row.
        self.used = None;
        if metadata.is_dir() {
            // It does not follow links.
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
        room: u64,
    ) -> Result<u64, SdError> {
        self.rows += 1;
        if self.rows >= limits::SD_ROWS_A_COUNT {
            (self.used, self.rows) = (None, 0);
        }
        let used = self.ready()?;
        let path = self.root.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_file() => return Err(SdError::Missing),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(&path)?;
        let size = file.metadata()?.len();
        let mut text = String::with_capacity(header.len() + line.len() + 1);
        if size == 0 {
            text.push_str(header);
        } else if !ends_with_a_line(&mut file)? {
            // The process before was killed within a row.
            text.push('\n');
        }
        text.push_str(line);
        if used + text.len() as u64 > room {
            if size == 0 {
                let _ = fs::remove_file(path);
            }
            return Err(SdError::Full);
        }
        if let Err(error) = file.write_all(text.as_bytes()) {
            // The disk beneath is full: half a row is none. What cannot be taken back either stays.
            let _ = if size == 0 { fs::remove_file(path) } else { file.set_len(size) };
            return Err(error.into());
        }
        self.used = Some(used + text.len() as u64);
        Ok(size + text.len() as u64)
    }

    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.used = None;
        // Away from its place first: a card is there with all its files or not at all.
        let aside = self.root.with_extension("old");
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        if self.root.exists() {
            fs::rename(&self.root, &aside)?;
        }
        self.ready()?;
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        Ok(())
    }
}

fn missing(error: io::Error) -> SdError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SdError::Missing,
        _ => error.into(),
    }
}

fn ends_with_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// None of what somebody has taken away meanwhile.
fn still_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bytes in all files of a folder, links not followed.
fn size(folder: &PathBuf, depth: usize) -> io::Result<u64> {
    let mut bytes = 0;
    let Some(entries) = still_there(fs::read_dir(folder))? else { return Ok(0) };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            bytes += still_there(entry.metadata())?.map_or(0, |metadata| metadata.len());
        } else if kind.is_dir() && depth < limits::SD_DEPTH {
            bytes += size(&entry.path(), depth + 1)?;
        }
    }
    Ok(bytes)
}

/// The next bytes of a file.
pub(super) fn piece(mut file: File, most: usize) -> io::Result<(File, Bytes)> {
    let mut bytes = vec![0; most];
    let read = file.read(&mut bytes)?;
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
    }
    bytes.truncate(read);
    Ok((file, bytes.into()))
}
