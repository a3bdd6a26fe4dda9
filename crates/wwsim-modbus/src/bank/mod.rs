//! The coils and registers of a unit of a slave.
//!
//! A [`UnitLayout`] describes the contents; a [`Bank`] is a running unit. It knows neither sockets
//! nor faults: a request PDU and a time go in, a reply PDU comes out. A read of stored registers is
//! a binary search and a copy, and allocates nothing. Each request is one step: it is checked as a
//! whole, in the order function, length and quantity, address, access, value, and only then carried
//! out.

mod bits;
mod check;
mod codec;
mod computed;
mod layout;
mod reaction_rule;
mod reactions;
mod registers;
mod runs;

use std::collections::VecDeque;

use self::bits::Bits;
use self::check::LayoutExtent;
pub use self::codec::{EncodeError, RegisterFormat};
pub use self::layout::*;
use self::reactions::Reactions;
use self::registers::RegisterTables;
use self::runs::Selection;
use crate::limits;
use crate::problem::Problem;
use crate::wire::{self, Exception, ReplyPdu, RequestPdu};
use wwsim_time::clock::VirtualTime;
use wwsim_time::rng::RandomStream;

/// The reply to function 17 (PEER-4): our own server id `W`, the run indicator (on), and a text.
const SERVER_ID: [u8; 7] = [b'W', 0xFF, b'w', b'w', b's', b'i', b'm'];

/// A write by a client or the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// The time of the write.
    pub at: VirtualTime,
    /// The table.
    pub table: Table,
    /// The first address.
    pub address: u16,
    /// The values: registers, or bits as 0 and 1. For function 22 the resulting register.
    pub words: Vec<u16>,
}

/// The reason why [`Bank::poke`] refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PokeError {
    /// Some of the addresses do not exist.
    #[error("{} {address}..{last}: some of them do not exist", table.name())]
    Missing {
        /// The table.
        table: Table,
        /// The first address.
        address: u16,
        /// The last address.
        last: usize,
    },
    /// There is no value to set.
    #[error("{} {address}: expected at least one value", table.name())]
    Empty {
        /// The table.
        table: Table,
        /// The first address.
        address: u16,
    },
    /// A value for a bit is neither 0 nor 1.
    #[error("{} {address}: {value} is no bit, expected 0 or 1", table.name())]
    NoBit {
        /// The table.
        table: Table,
        /// The first address.
        address: u16,
        /// The value.
        value: u16,
    },
    /// One of the registers is computed.
    #[error("{} {address}: a computed value follows the clock, it cannot be set", table.name())]
    Computed {
        /// The table.
        table: Table,
        /// The first address.
        address: u16,
    },
}

/// A running unit.
#[derive(Debug)]
pub struct Bank {
    coils: Bits,
    discrete: Bits,
    registers: RegisterTables,
    reactions: Reactions,
    writes: VecDeque<WriteRecord>,
    /// The values of all `writes`.
    written_values: usize,
}

impl Bank {
    /// Returns all mistakes of a layout: addresses that overlap or do not exist, values that do not
    /// fit their type or their limits, computed values that are no function of time, reactions that
    /// can never happen or whose target cannot change. Empty for a valid layout.
    #[must_use]
    pub fn check(layout: &UnitLayout) -> Vec<Problem> {
        check::check(layout, LayoutExtent::Whole)
    }

    /// Returns the mistakes of a layout of which some registers are missing, because they have mistakes
    /// of their own. The target of a reaction may be one of them.
    #[must_use]
    pub fn check_part(layout: &UnitLayout) -> Vec<Problem> {
        check::check(layout, LayoutExtent::Part)
    }

    /// Creates a unit at its start. Its random walks depend on `seed`, `stream` and their
    /// addresses.
    ///
    /// # Errors
    /// The mistakes that [`Bank::check`] finds.
    pub fn new(layout: &UnitLayout, seed: u64, stream: RandomStream) -> Result<Self, Vec<Problem>> {
        let problems = Self::check(layout);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            coils: Bits::new(&layout.coils),
            discrete: Bits::new(&layout.discrete),
            registers: RegisterTables::new(layout, seed, stream),
            reactions: Reactions::default(),
            writes: VecDeque::new(),
            written_values: 0,
        })
    }

    /// Carries out one request PDU at `now` and writes the reply PDU, normal or exception, into
    /// `reply`.
    ///
    /// The exceptions are: 1 for an unknown function; 3 for a wrong length, quantity or coil value;
    /// 2 for an address that does not exist, or not for a write (a read-only register may have
    /// another exception); 3 for a value outside its limits; 6 for a write that would exceed
    /// [`limits::PENDING_REACTIONS`]. A request that gets an exception has changed nothing.
    pub fn handle(&mut self, pdu: &[u8], now: VirtualTime, reply: &mut ReplyPdu) {
        let done = RequestPdu::parse(pdu).and_then(|request| self.execute(&request, now, reply));
        if let Err(exception) = done {
            let function = wire::FunctionCode(pdu.first().copied().unwrap_or(0));
            reply.write_exception(function, exception);
        }
    }

    /// Returns any number of registers, or bits as 0 and 1, as a client would read them at `now`.
    /// `None` if some do not exist, or if `count` is 0.
    pub fn peek(
        &mut self,
        table: Table,
        address: u16,
        count: u16,
        now: VirtualTime,
    ) -> Option<Vec<u16>> {
        self.apply_due_reactions(now);
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

    /// Sets registers, or bits given as 0 and 1, regardless of their access and limits. A part of a
    /// value may be set. No reaction follows, because the caller decides about its own
    /// consequences.
    ///
    /// # Errors
    /// [`PokeError`] if an address does not exist or is computed, if a bit is neither 0 nor 1, or
    /// if there is no value. Nothing has changed then.
    pub fn poke(
        &mut self,
        table: Table,
        address: u16,
        words: &[u16],
        now: VirtualTime,
    ) -> Result<(), PokeError> {
        self.apply_due_reactions(now);
        let missing = || PokeError::Missing {
            table,
            address,
            last: usize::from(address) + words.len().saturating_sub(1),
        };
        if words.is_empty() {
            return Err(PokeError::Empty { table, address });
        }
        if let Some(word) = words.iter().find(|word| table.is_bits() && **word > 1) {
            return Err(PokeError::NoBit { table, address, value: *word });
        }
        let quantity = u16::try_from(words.len()).map_err(|_| missing())?;
        let selection = match table {
            Table::Coils => self.coils.select(address, quantity),
            Table::DiscreteInputs => self.discrete.select(address, quantity),
            Table::HoldingRegisters => self.registers.holding.select(address, quantity),
            Table::InputRegisters => self.registers.input.select(address, quantity),
        };
        let selection = selection.map_err(|_| missing())?;
        if self.is_computed(table, &selection) {
            return Err(PokeError::Computed { table, address });
        }
        self.write_and_record(table, address, &selection, words.to_vec(), now);
        Ok(())
    }

    /// Returns the newest writes, oldest first, at most [`limits::BANK_CHANGES`], with at most
    /// [`limits::BANK_CHANGE_VALUES`] values.
    pub fn writes(&self) -> impl Iterator<Item = &WriteRecord> {
        self.writes.iter()
    }

    fn execute(
        &mut self,
        request: &RequestPdu<'_>,
        now: VirtualTime,
        reply: &mut ReplyPdu,
    ) -> Result<(), Exception> {
        self.apply_due_reactions(now);
        let function = request.function();
        match *request {
            RequestPdu::ReadCoils { address, quantity } => {
                reply.write_bytes(function, self.coils.read(address, quantity)?);
            }
            RequestPdu::ReadDiscreteInputs { address, quantity } => {
                reply.write_bytes(function, self.discrete.read(address, quantity)?);
            }
            RequestPdu::ReadHoldingRegisters { address, quantity } => {
                reply.write_words(function, self.registers.holding.read(address, quantity, now)?);
            }
            RequestPdu::ReadInputRegisters { address, quantity } => {
                reply.write_words(function, self.registers.input.read(address, quantity, now)?);
            }
            RequestPdu::WriteSingleCoil { address, on } => {
                self.write_coils(address, vec![u16::from(on)], 1, now)?;
                reply.write_fields(function, &[address, if on { 0xFF00 } else { 0 }]);
            }
            RequestPdu::WriteSingleRegister { address, word } => {
                self.write_registers(address, vec![word], 1, now)?;
                reply.write_fields(function, &[address, word]);
            }
            RequestPdu::WriteMultipleCoils { address, quantity, bytes } => {
                let bits = wire::bits(bytes, quantity).map(u16::from).collect();
                self.write_coils(address, bits, quantity, now)?;
                reply.write_fields(function, &[address, quantity]);
            }
            RequestPdu::WriteMultipleRegisters { address, quantity, bytes } => {
                self.write_registers(address, wire::words(bytes).collect(), quantity, now)?;
                reply.write_fields(function, &[address, quantity]);
            }
            RequestPdu::ReportServerId => reply.write_bytes(function, SERVER_ID.into_iter()),
            RequestPdu::MaskWriteRegister { address, and_mask, or_mask } => {
                self.mask_write_register(address, and_mask, or_mask, now)?;
                reply.write_fields(function, &[address, and_mask, or_mask]);
            }
            RequestPdu::ReadWriteMultipleRegisters {
                read_address,
                read_quantity,
                write_address,
                write_quantity,
                bytes,
            } => {
                // Both ranges are checked before a value is written.
                self.registers.holding.select(read_address, read_quantity)?;
                let words = wire::words(bytes).collect();
                self.write_registers(write_address, words, write_quantity, now)?;
                let read = self.registers.holding.read(read_address, read_quantity, now)?;
                reply.write_words(function, read);
            }
        }
        Ok(())
    }

    /// Replaces the bits of one holding register that are 0 in `and_mask` by those of `or_mask`.
    fn mask_write_register(
        &mut self,
        address: u16,
        and_mask: u16,
        or_mask: u16,
        now: VirtualTime,
    ) -> Result<(), Exception> {
        let current = self.registers.holding.read(address, 1, now)?;
        let current = current.first().copied().unwrap_or(0);
        let masked = (current & and_mask) | (or_mask & !and_mask);
        self.write_registers(address, vec![masked], 1, now)
    }

    fn write_coils(
        &mut self,
        address: u16,
        bits: Vec<u16>,
        quantity: u16,
        now: VirtualTime,
    ) -> Result<(), Exception> {
        let selection = self.coils.select_writable(address, quantity)?;
        self.write_and_record(Table::Coils, address, &selection, bits, now);
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
        let selection = holding.select_writable(address, quantity)?;
        holding.check_limits(&selection, &words)?;
        let reactions = holding.triggered_count(&selection);
        if reactions > 0 && self.reactions.len() + reactions > limits::PENDING_REACTIONS {
            return Err(Exception::SERVER_DEVICE_BUSY);
        }
        self.write_and_record(Table::HoldingRegisters, address, &selection, words, now);
        for (rule, written) in self.registers.holding.triggered_rules(&selection) {
            self.reactions.schedule(rule, written, now);
        }
        // Immediate reactions take effect before the read of the same request.
        self.apply_due_reactions(now);
        Ok(())
    }

    /// Stores checked values and records the write.
    fn write_and_record(
        &mut self,
        table: Table,
        address: u16,
        selection: &Selection,
        words: Vec<u16>,
        now: VirtualTime,
    ) {
        let bits = words.iter().map(|word| *word != 0);
        match table {
            Table::Coils => self.coils.write(selection, bits),
            Table::DiscreteInputs => self.discrete.write(selection, bits),
            Table::HoldingRegisters => self.registers.holding.write(selection, &words),
            Table::InputRegisters => self.registers.input.write(selection, &words),
        }
        self.reactions.cancel_ramps(table, &selection.stored);
        self.record(WriteRecord { at: now, table, address, words });
    }

    /// Stores a write, and discards the oldest ones that are too many.
    fn record(&mut self, write: WriteRecord) {
        self.written_values += write.words.len();
        self.writes.push_back(write);
        while self.writes.len() > limits::BANK_CHANGES
            || self.written_values > limits::BANK_CHANGE_VALUES
        {
            let oldest = self.writes.pop_front();
            self.written_values -= oldest.map_or(0, |write| write.words.len());
        }
    }

    fn is_computed(&self, table: Table, selection: &Selection) -> bool {
        match table {
            Table::HoldingRegisters => self.registers.holding.is_computed(selection),
            Table::InputRegisters => self.registers.input.is_computed(selection),
            Table::Coils | Table::DiscreteInputs => false,
        }
    }

    /// Applies the reactions that are due at `now`.
    fn apply_due_reactions(&mut self, now: VirtualTime) {
        if !self.reactions.is_empty() {
            self.reactions.apply_due(now, &mut self.registers);
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values tested are exact in an f32")]
mod tests;
