//! A unit's registers and coils. STUB body, types in layout.rs are final.
mod layout;
pub use self::layout::*;
use crate::clock::VirtualTime;
use crate::rng::Stream;
use crate::wire::Reply;

/// Why a layout makes no bank: where in it (`holding[2].address`) and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
#[allow(missing_docs)]
pub struct LayoutError {
    pub place: String,
    pub message: String,
}

/// A write that a client or the control plane made; what the change log keeps.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct WriteLog {
    pub at: VirtualTime,
    pub table: Table,
    pub address: u16,
    pub words: Vec<u16>,
}

/// One unit, running.
#[derive(Debug)]
#[allow(missing_docs, unused)]
pub struct Bank {}
#[allow(missing_docs, unused)]
impl Bank {
    /// All problems of a layout: overlaps, addresses past 65535, values that do not fit their type, reactions to nowhere, limits on text…
    pub fn check(layout: &UnitLayout) -> Vec<LayoutError> {
        todo!()
    }
    pub fn new(layout: &UnitLayout, seed: u64, stream: Stream) -> Result<Self, Vec<LayoutError>> {
        todo!()
    }
    /// Carries out one request PDU and writes the reply PDU (normal or exception). No allocation for reads.
    pub fn handle(&mut self, pdu: &[u8], now: VirtualTime, reply: &mut Reply) {
        todo!()
    }
    /// Registers (or bits as 0/1) as a client would read them; None where some do not exist.
    pub fn peek(
        &mut self,
        table: Table,
        address: u16,
        count: u16,
        now: VirtualTime,
    ) -> Option<Vec<u16>> {
        todo!()
    }
    /// Sets registers or bits regardless of access (control plane, tests). Partial values of a multi-word register are allowed.
    pub fn poke(
        &mut self,
        table: Table,
        address: u16,
        words: &[u16],
        now: VirtualTime,
    ) -> Result<(), String> {
        todo!()
    }
    /// The newest writes, oldest first.
    pub fn writes(&self) -> impl Iterator<Item = &WriteLog> {
        [].iter()
    }
}
