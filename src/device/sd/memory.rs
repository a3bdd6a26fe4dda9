//! A card in memory.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::{CardPlan, CardStorage, Listed, OpenedFile, SdError};
use crate::limits;

/// The files of a card.
#[derive(Debug, Default)]
pub(super) struct MemoryCard {
    root: BTreeMap<String, CardNode>,
    /// Bytes in all files.
    used: u64,
}

#[derive(Debug)]
enum CardNode {
    File(CardContent),
    Folder(BTreeMap<String, CardNode>),
}

/// Bytes of a file: whole pieces, which readers share, and what is not a whole one yet.
#[derive(Debug, Default)]
struct CardContent {
    pieces: Vec<Bytes>,
    tail: BytesMut,
    size: u64,
}

impl CardContent {
    fn append(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
        while self.tail.len() >= limits::SD_PIECE_BYTES {
            self.pieces.push(self.tail.split_to(limits::SD_PIECE_BYTES).freeze());
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
            if memory.put(name, content) {
                memory.used += size;
            }
        }
        memory
    }

    /// Puts a file where its path says; false where a file stands for one of the folders.
    fn put(&mut self, path: &str, content: CardContent) -> bool {
        let (way, name) =
            path.rsplit_once('/').map_or((None, path), |(way, name)| (Some(way), name));
        let mut folder = &mut self.root;
        for part in way.into_iter().flat_map(|way| way.split('/')) {
            let node = folder.entry(part.to_owned());
            match node.or_insert_with(|| CardNode::Folder(BTreeMap::new())) {
                CardNode::Folder(nodes) => folder = nodes,
                CardNode::File(_) => return false,
            }
        }
        folder.insert(name.to_owned(), CardNode::File(content)).is_none()
    }

    fn folder(&self, at: &[String]) -> Result<&BTreeMap<String, CardNode>, SdError> {
        at.iter().try_fold(&self.root, |folder, name| match folder.get(name) {
            Some(CardNode::Folder(nodes)) => Ok(nodes),
            _ => Err(SdError::Missing),
        })
    }

    pub(super) fn list(&self, at: &[String]) -> Result<Vec<Listed>, SdError> {
        let listed = |(name, node): (&String, &CardNode)| Listed {
            name: name.clone(),
            size: match node {
                CardNode::File(content) => Some(content.size),
                CardNode::Folder(_) => None,
            },
        };
        Ok(self.folder(at)?.iter().map(listed).collect())
    }

    pub(super) fn read(&self, at: &[String]) -> Result<OpenedFile, SdError> {
        let (name, folder) = at.split_last().ok_or(SdError::Missing)?;
        let Some(CardNode::File(content)) = self.folder(folder)?.get(name) else {
            return Err(SdError::Missing);
        };
        let tail = Some(&content.tail).filter(|tail| !tail.is_empty());
        let tail = tail.map(|tail| Bytes::copy_from_slice(tail));
        let pieces = content.pieces.iter().cloned().chain(tail).collect();
        Ok(OpenedFile { size: content.size, source: CardStorage::Pieces(pieces) })
    }

    pub(super) fn delete(&mut self, at: &[String], folder: bool) -> Result<(), SdError> {
        let (name, way) = at.split_last().ok_or(SdError::Missing)?;
        let nodes =
            way.iter().try_fold(&mut self.root, |folder, name| match folder.get_mut(name) {
                Some(CardNode::Folder(nodes)) => Ok(nodes),
                _ => Err(SdError::Missing),
            })?;
        if nodes.get(name).is_none_or(|node| folder != matches!(node, CardNode::Folder(_))) {
            return Err(SdError::Missing);
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
        room: u64,
    ) -> Result<u64, SdError> {
        let header = if self.root.contains_key(name) { "" } else { header };
        let more = (header.len() + line.len()) as u64;
        if self.used + more > room {
            return Err(SdError::Full);
        }
        let node = self.root.entry(name.to_owned());
        let CardNode::File(content) =
            node.or_insert_with(|| CardNode::File(CardContent::default()))
        else {
            return Err(SdError::Missing);
        };
        content.append(header.as_bytes());
        content.append(line.as_bytes());
        self.used += more;
        Ok(content.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_card_takes_nothing_and_what_is_deleted_makes_room() {
        let mut memory = MemoryCard::default();
        assert_eq!(memory.append("A", "head\n", "row\n", 13).unwrap(), 9);
        assert_eq!(memory.append("A", "head\n", "row\n", 13).unwrap(), 13);
        assert!(matches!(memory.append("A", "head\n", "row\n", 13), Err(SdError::Full)));
        assert!(matches!(memory.append("B", "head\n", "row\n", 13), Err(SdError::Full)));
        assert_eq!(memory.list(&[]).unwrap().len(), 1, "nothing is left of what did not fit");
        memory.delete(&["A".into()], false).unwrap();
        assert_eq!(memory.append("A", "head\n", "row\n", 13).unwrap(), 9);
    }

    #[test]
    fn a_reader_sees_the_file_as_it_was_opened() {
        let mut memory = MemoryCard::default();
        let line = "x".repeat(limits::SD_PIECE_BYTES);
        memory.append("A", "", &line, u64::MAX).unwrap();
        memory.append("A", "", "tail", u64::MAX).unwrap();
        let opened = memory.read(&["A".into()]).unwrap();
        memory.append("A", "", "more", u64::MAX).unwrap();
        let CardStorage::Pieces(pieces) = opened.source else { panic!("it is in memory") };
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>() as u64, opened.size);
        assert_eq!(&pieces[1][..], b"tail");
    }
}
