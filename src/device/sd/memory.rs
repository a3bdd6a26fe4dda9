//! An SD card in memory.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::{CHUNK_BYTES, CardPlan, FileSource, SdEntry, SdError, SdFileReader};

/// The file tree of a card.
#[derive(Debug, Default)]
pub(super) struct MemoryCard {
    root: BTreeMap<String, CardNode>,
    /// The total size of all files, in bytes.
    used: u64,
}

#[derive(Debug)]
enum CardNode {
    File(CardContent),
    Folder(BTreeMap<String, CardNode>),
}

/// The content of a file: full chunks, which readers share, and the incomplete last chunk.
#[derive(Debug, Default)]
struct CardContent {
    chunks: Vec<Bytes>,
    tail: BytesMut,
    size: u64,
}

impl CardContent {
    fn append(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
        while self.tail.len() >= CHUNK_BYTES {
            self.chunks.push(self.tail.split_to(CHUNK_BYTES).freeze());
        }
    }
}

impl CardNode {
    fn size(&self) -> u64 {
        match self {
            Self::File(content) => content.size,
            Self::Folder(nodes) => nodes.values().map(Self::size).sum(),
        }
    }
}

impl MemoryCard {
    pub(super) fn new(plan: &CardPlan) -> Self {
        let mut memory = Self::default();
        for (name, text) in &plan.files {
            let mut content = CardContent::default();
            content.append(text.as_bytes());
            let size = content.size;
            if memory.insert(name, content) {
                memory.used += size;
            }
        }
        memory
    }

    /// Inserts a file at its path. Returns `false` if the path exists, or if a file has the name of
    /// one of the folders.
    fn insert(&mut self, path: &str, content: CardContent) -> bool {
        let (folders, name) =
            path.rsplit_once('/').map_or((None, path), |(folders, name)| (Some(folders), name));
        let mut folder = &mut self.root;
        for part in folders.into_iter().flat_map(|folders| folders.split('/')) {
            let node = folder.entry(part.to_owned());
            match node.or_insert_with(|| CardNode::Folder(BTreeMap::new())) {
                CardNode::Folder(nodes) => folder = nodes,
                CardNode::File(_) => return false,
            }
        }
        folder.insert(name.to_owned(), CardNode::File(content)).is_none()
    }

    fn folder(&self, path: &[String]) -> Result<&BTreeMap<String, CardNode>, SdError> {
        path.iter().try_fold(&self.root, |folder, name| match folder.get(name) {
            Some(CardNode::Folder(nodes)) => Ok(nodes),
            _ => Err(SdError::NotFound),
        })
    }

    pub(super) fn list(&self, path: &[String]) -> Result<Vec<SdEntry>, SdError> {
        let entry = |(name, node): (&String, &CardNode)| SdEntry {
            name: name.clone(),
            size: match node {
                CardNode::File(content) => Some(content.size),
                CardNode::Folder(_) => None,
            },
        };
        Ok(self.folder(path)?.iter().map(entry).collect())
    }

    pub(super) fn read(&self, path: &[String]) -> Result<SdFileReader, SdError> {
        let (name, folder) = path.split_last().ok_or(SdError::NotFound)?;
        let Some(CardNode::File(content)) = self.folder(folder)?.get(name) else {
            return Err(SdError::NotFound);
        };
        let tail = Some(&content.tail).filter(|tail| !tail.is_empty());
        let tail = tail.map(|tail| Bytes::copy_from_slice(tail));
        let chunks = content.chunks.iter().cloned().chain(tail).collect();
        Ok(SdFileReader { size: content.size, source: FileSource::Memory(chunks) })
    }

    pub(super) fn delete(&mut self, path: &[String], folder: bool) -> Result<(), SdError> {
        let (name, folders) = path.split_last().ok_or(SdError::NotFound)?;
        let nodes =
            folders.iter().try_fold(&mut self.root, |folder, name| match folder.get_mut(name) {
                Some(CardNode::Folder(nodes)) => Ok(nodes),
                _ => Err(SdError::NotFound),
            })?;
        if nodes.get(name).is_none_or(|node| folder != matches!(node, CardNode::Folder(_))) {
            return Err(SdError::NotFound);
        }
        let size = nodes.remove(name).map_or(0, |node| node.size());
        self.used -= size;
        Ok(())
    }

    pub(super) fn append(
        &mut self,
        name: &str,
        header: &str,
        line: &str,
        capacity: u64,
    ) -> Result<u64, SdError> {
        let header = if self.root.contains_key(name) { "" } else { header };
        let added = (header.len() + line.len()) as u64;
        if self.used + added > capacity {
            return Err(SdError::Full);
        }
        let node = self.root.entry(name.to_owned());
        let CardNode::File(content) =
            node.or_insert_with(|| CardNode::File(CardContent::default()))
        else {
            return Err(SdError::NotFound);
        };
        content.append(header.as_bytes());
        content.append(line.as_bytes());
        self.used += added;
        Ok(content.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_card_refuses_rows_until_a_file_is_deleted() {
        let mut memory = MemoryCard::default();
        assert_eq!(memory.append("A", "head\n", "row\n", 13).unwrap(), 9);
        assert_eq!(memory.append("A", "head\n", "row\n", 13).unwrap(), 13);
        assert!(matches!(memory.append("A", "head\n", "row\n", 13), Err(SdError::Full)));
        assert!(matches!(memory.append("B", "head\n", "row\n", 13), Err(SdError::Full)));
        assert_eq!(memory.list(&[]).unwrap().len(), 1, "a refused row leaves no file");
        memory.delete(&["A".into()], false).unwrap();
        assert_eq!(memory.append("A", "head\n", "row\n", 13).unwrap(), 9);
    }

    #[test]
    fn a_reader_reads_the_file_as_it_was_when_opened() {
        let mut memory = MemoryCard::default();
        let line = "x".repeat(CHUNK_BYTES);
        memory.append("A", "", &line, u64::MAX).unwrap();
        memory.append("A", "", "tail", u64::MAX).unwrap();
        let reader = memory.read(&["A".into()]).unwrap();
        memory.append("A", "", "more", u64::MAX).unwrap();
        let FileSource::Memory(chunks) = reader.source else { panic!("the card is in memory") };
        assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>() as u64, reader.size);
        assert_eq!(&chunks[1][..], b"tail");
    }
}
