//! The reactions of a layout, resolved to positions in the store of a running bank.

use std::ops::Range;
use std::time::Duration;

use super::Table;
use super::codec::RegisterFormat;

/// A stored value that a reaction changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ReactionTarget {
    pub(super) table: Table,
    /// The position of its first word in the store.
    pub(super) offset: usize,
    pub(super) format: RegisterFormat,
}

/// A reaction to a write to a register.
#[derive(Debug, Clone)]
pub(super) struct ReactionRule {
    pub(super) after: Duration,
    pub(super) target: ReactionTarget,
    pub(super) effect: ReactionEffect,
}

/// The way in which the target changes.
#[derive(Debug, Clone)]
pub(super) enum ReactionEffect {
    /// The target takes these words.
    Set(Vec<u16>),
    /// The target takes the value that was written.
    Copy,
    /// The target moves towards the value that was written.
    Ramp { per_second: f64 },
}

/// A value that was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenRegisters<'a> {
    pub(super) format: RegisterFormat,
    pub(super) words: &'a [u16],
}

impl ReactionTarget {
    /// Returns the positions of the value in the store.
    pub(super) fn stored(&self) -> Range<usize> {
        self.offset..self.offset + self.format.words()
    }
}

impl ReactionRule {
    /// Returns the rule for a write to the `index`-th value of its register.
    pub(super) fn for_value(&self, index: usize) -> Self {
        let offset = self.target.offset + index * self.target.format.words();
        Self { target: ReactionTarget { offset, ..self.target }, ..self.clone() }
    }
}
