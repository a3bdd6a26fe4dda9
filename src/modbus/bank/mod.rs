//! A unit's coils and registers: what a slave is made of.
//!
//! A [`UnitLayout`] says what there is; a [`Bank`] is one running. It knows neither sockets nor
//! faults: a request PDU and a time go in, a reply PDU comes out. A read of stored registers is a
//! binary search and a copy, and allocates nothing. Each request is one step: it is checked as a
//! whole, in the order function, length and quantity, address, access, value, and only then carried
//! out.

mod bits;
mod check;
mod codec;
mod computed;
mod layout;
mod reactions;
mod registers;
mod spans;

use std::collections::VecDeque;

use self::bits::Bits;
pub use self::codec::{Misfit, RegisterFormat};
pub use self::layout::*;
use self::reactions::Reactions;
use self::registers::RegisterTables;
use self::spans::Located;
use crate::clock::VirtualTime;
use crate::limits;
use crate::modbus::wire::{self, Exception, ReplyPdu, RequestPdu};
use crate::problem::Problem;
use crate::rng::RandomStream;

/// The reply to function 17 (PEER-4): a server id of our own, `W`; the run indicator, on; a text.
const SERVER_ID: [u8; 7] = [b'W', 0xFF, b'w', b'w', b's', b'i', b'm'];

/// A write that a client or the control plane made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteLog {
    /// When.
    pub at: VirtualTime,
    /// Where.
    pub table: Table,
    /// The first address.
    pub address: u16,
    /// What was written: registers, or bits as 0 and 1; by function 22 what it made of the register.
    pub words: Vec<u16>,
}

/// One unit, running.
#[derive(Debug)]
pub struct Bank {
    coils: Bits,
    discrete: Bits,
    registers: RegisterTables,
    reactions: Reactions,
    writes: VecDeque<WriteLog>,
}

impl Bank {
    /// Everything that is wrong with a layout: addresses that overlap or do not exist, values that do
    /// not fit their type or their limits, computed values that are no function of time, reactions
    /// that can never happen or change nothing that can be changed. Empty for a good one.
    #[must_use]
    pub fn check(layout: &UnitLayout) -> Vec<Problem> {
        check::check(layout)
    }

    /// A unit at the start of its time. Its random walks follow from `seed`, `stream` and their
    /// addresses.
    ///
    /// # Errors
    /// What [`Bank::check`] finds.
    pub fn new(layout: &UnitLayout, seed: u64, stream: RandomStream) -> Result<Self, Vec<Problem>> {
        let mistakes = Self::check(layout);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            coils: Bits::new(&layout.coils),
            discrete: Bits::new(&layout.discrete),
            registers: RegisterTables::new(layout, seed, stream),
            reactions: Reactions::default(),
            writes: VecDeque::new(),
        })
    }

    /// Carries out one request PDU at `now` and writes the reply PDU, normal or exception, into
    /// `reply`.
    ///
    /// Exceptions: 1 for an unknown function; 3 for a wrong length, quantity or coil value; 2 for an
    /// address that does not exist, or not for a write (a read-only register may have another); 3 for
    /// a value outside its limits; 6 for a write that would set off more reactions than
    /// [`limits::PENDING_REACTIONS`]. After an exception nothing has changed.
    pub fn handle(&mut self, pdu: &[u8], now: VirtualTime, reply: &mut ReplyPdu) {
        let done = RequestPdu::parse(pdu).and_then(|request| self.carry_out(&request, now, reply));
        if let Err(exception) = done {
            let function = wire::FunctionCode(pdu.first().copied().unwrap_or(0));
            reply.exception(function, exception);
        }
    }

    /// Registers, or bits as 0 and 1, as a client would read them at `now`, in any number; `None`
    /// where some do not exist, or where `count` is 0.
    pub fn peek(
        &mut self,
        table: Table,
        address: u16,
        count: u16,
        now: VirtualTime,
    ) -> Option<Vec<u16>> {
        self.settle(now);
        let bits = match table {
            Table::Coils => &self.coils,
            Table::DiscreteInputs => &self.discrete,
            Table::HoldingRegisters => {
                return self.registers.holding.read(address, count, now).ok().map(<[u16]>::to_vec);
            }
            Table::InputRegisters => {
                return self.registers.input.read(address, count, now).ok().map(<[u16]>::to_vec);
            }
        };
        let packed: Vec<u8> = bits.read(address, count).ok()?.collect();
        Some(wire::bits(&packed, count).map(u16::from).collect())
    }

    /// Sets registers, or bits given as 0 and 1, whatever their access and limits; a part of a value
    /// will do. It sets off no reactions: who writes here decides for himself what follows.
    ///
    /// # Errors
    /// A message where an address does not exist or is computed, where a bit is neither 0 nor 1, or
    /// where there is nothing to write; then nothing has changed.
    pub fn poke(
        &mut self,
        table: Table,
        address: u16,
        words: &[u16],
        now: VirtualTime,
    ) -> Result<(), String> {
        self.settle(now);
        let name = table.name();
        let missing = || {
            let last = usize::from(address) + words.len().saturating_sub(1);
            format!("{name} {address}..{last}: some of them do not exist")
        };
        if words.is_empty() {
            return Err(format!("{name} {address}: expected at least one value"));
        }
        if let Some(word) = words.iter().find(|word| table.is_bits() && **word > 1) {
            return Err(format!("{name} {address}: {word} is no bit, expected 0 or 1"));
        }
        let quantity = u16::try_from(words.len()).map_err(|_| missing())?;
        let located = match table {
            Table::Coils => self.coils.locate(address, quantity),
            Table::DiscreteInputs => self.discrete.locate(address, quantity),
            Table::HoldingRegisters => self.registers.holding.locate(address, quantity),
            Table::InputRegisters => self.registers.input.locate(address, quantity),
        };
        let located = located.map_err(|_| missing())?;
        if self.is_computed(table, &located) {
            return Err(format!(
                "{name} {address}: a computed value follows the clock, it cannot be set"
            ));
        }
        self.store(table, address, &located, words.to_vec(), now);
        Ok(())
    }

    /// The newest writes, oldest first, at most [`limits::BANK_CHANGES`].
    pub fn writes(&self) -> impl Iterator<Item = &WriteLog> {
        self.writes.iter()
    }

    fn carry_out(
        &mut self,
        request: &RequestPdu<'_>,
        now: VirtualTime,
        reply: &mut ReplyPdu,
    ) -> Result<(), Exception> {
        self.settle(now);
        let function = request.function();
        match *request {
            RequestPdu::ReadCoils { address, quantity } => {
                reply.bytes(function, self.coils.read(address, quantity)?);
            }
            RequestPdu::ReadDiscreteInputs { address, quantity } => {
                reply.bytes(function, self.discrete.read(address, quantity)?);
            }
            RequestPdu::ReadHoldingRegisters { address, quantity } => {
                reply.words(function, self.registers.holding.read(address, quantity, now)?);
            }
            RequestPdu::ReadInputRegisters { address, quantity } => {
                reply.words(function, self.registers.input.read(address, quantity, now)?);
            }
            RequestPdu::WriteSingleCoil { address, on } => {
                self.write_coils(address, vec![u16::from(on)], 1, now)?;
                reply.fields(function, &[address, if on { 0xFF00 } else { 0 }]);
            }
            RequestPdu::WriteSingleRegister { address, word } => {
                self.write_registers(address, vec![word], 1, now)?;
                reply.fields(function, &[address, word]);
            }
            RequestPdu::WriteMultipleCoils { address, quantity, bytes } => {
                let bits = wire::bits(bytes, quantity).map(u16::from).collect();
                self.write_coils(address, bits, quantity, now)?;
                reply.fields(function, &[address, quantity]);
            }
            RequestPdu::WriteMultipleRegisters { address, quantity, bytes } => {
                self.write_registers(address, wire::words(bytes).collect(), quantity, now)?;
                reply.fields(function, &[address, quantity]);
            }
            RequestPdu::ReportServerId => reply.bytes(function, SERVER_ID.into_iter()),
            RequestPdu::MaskWriteRegister { address, and_mask, or_mask } => {
                let current = self.registers.holding.read(address, 1, now)?;
                let current = current.first().copied().unwrap_or(0);
                let masked = (current & and_mask) | (or_mask & !and_mask);
                self.write_registers(address, vec![masked], 1, now)?;
                reply.fields(function, &[address, and_mask, or_mask]);
            }
            RequestPdu::ReadWriteMultipleRegisters {
                read_address,
                read_quantity,
                write_address,
                write_quantity,
                bytes,
            } => {
                // Both ranges are checked before anything is written.
                self.registers.holding.locate(read_address, read_quantity)?;
                let words = wire::words(bytes).collect();
                self.write_registers(write_address, words, write_quantity, now)?;
                let read = self.registers.holding.read(read_address, read_quantity, now)?;
                reply.words(function, read);
            }
        }
        Ok(())
    }

    fn write_coils(
        &mut self,
        address: u16,
        bits: Vec<u16>,
        quantity: u16,
        now: VirtualTime,
    ) -> Result<(), Exception> {
        let located = self.coils.writable(address, quantity)?;
        self.store(Table::Coils, address, &located, bits, now);
        Ok(())
    }

    fn write_registers(
        &mut self,
        address: u16,
        words: Vec<u16>,
        quantity: u16,
        now: VirtualTime,
    ) -> Result<(), Exception> {
        let holding = &self.registers.holding;
        let located = holding.writable(address, quantity)?;
        holding.admissible(&located, &words)?;
        let reactions = holding.reactions(&located);
        if reactions > 0 && self.reactions.len() + reactions > limits::PENDING_REACTIONS {
            return Err(Exception::SERVER_DEVICE_BUSY);
        }
        self.store(Table::HoldingRegisters, address, &located, words, now);
        for (consequence, written) in self.registers.holding.consequences(&located) {
            self.reactions.set_off(consequence, written, now);
        }
        // What follows at once is there for the read of the same request.
        self.settle(now);
        Ok(())
    }

    /// Stores what was found right and notes it.
    fn store(
        &mut self,
        table: Table,
        address: u16,
        located: &Located,
        words: Vec<u16>,
        now: VirtualTime,
    ) {
        let bits = words.iter().map(|word| *word != 0);
        match table {
            Table::Coils => self.coils.write(located, bits),
            Table::DiscreteInputs => self.discrete.write(located, bits),
            Table::HoldingRegisters => self.registers.holding.write(located, &words),
            Table::InputRegisters => self.registers.input.write(located, &words),
        }
        self.reactions.overwritten(table, &located.stored);
        if self.writes.len() == limits::BANK_CHANGES {
            self.writes.pop_front();
        }
        self.writes.push_back(WriteLog { at: now, table, address, words });
    }

    fn is_computed(&self, table: Table, located: &Located) -> bool {
        match table {
            Table::HoldingRegisters => self.registers.holding.is_computed(located),
            Table::InputRegisters => self.registers.input.is_computed(located),
            Table::Coils | Table::DiscreteInputs => false,
        }
    }

    /// Does what is due by `now`.
    fn settle(&mut self, now: VirtualTime) {
        if !self.reactions.is_empty() {
            self.reactions.settle(now, &mut self.registers);
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values tested are exact in an f32")]
mod tests;
