//! The limits of Modbus TCP, and those of the Modbus servers that the simulator chose. `docs/limits.md` lists
//! them beside the limits of `crate::limits`, whose header states the form of a comment.

use std::time::Duration;

// ---------------------------------------------------------------------------------------------
// Modbus (Modbus Application Protocol V1.1b3, §4.1 and §6; Modbus Messaging on TCP/IP V1.0b, §3.1)
// ---------------------------------------------------------------------------------------------

/// Bytes of a protocol data unit.
pub const PDU_BYTES: usize = 253;
/// Bytes of the MBAP header.
pub const MBAP_BYTES: usize = 7;
/// Bytes of a whole frame.
pub const ADU_BYTES: usize = MBAP_BYTES + PDU_BYTES;
/// The length field of the MBAP header, which counts the unit id and the PDU.
pub const MBAP_LENGTH: std::ops::RangeInclusive<u16> = 2..=254;
/// Coils or discrete inputs of one read.
pub const READ_BITS: std::ops::RangeInclusive<u16> = 1..=2000;
/// Registers of one read.
pub const READ_REGISTERS: std::ops::RangeInclusive<u16> = 1..=125;
/// Coils of one write (function 15).
pub const WRITE_BITS: std::ops::RangeInclusive<u16> = 1..=1968;
/// Registers of one write (function 16).
pub const WRITE_REGISTERS: std::ops::RangeInclusive<u16> = 1..=123;
/// Registers of the write half of function 23.
pub const WRITE_REGISTERS_OF_23: std::ops::RangeInclusive<u16> = 1..=121;

// ---------------------------------------------------------------------------------------------
// Modbus servers and slaves (chosen)
// ---------------------------------------------------------------------------------------------

/// Requests on one connection that are not answered yet, before no further request is read. The same for
/// slaves and the device's own server.
pub const OUTSTANDING_REQUESTS: usize = 16;
/// Connections of one listener that may wait to be accepted.
pub const MODBUS_BACKLOG: u32 = 1024;
/// Writes that a register bank stores.
pub const BANK_CHANGES: usize = 1000;
/// Values in the writes that a register bank stores: as many as [`BANK_CHANGES`] requests can write.
pub const BANK_CHANGE_VALUES: usize = BANK_CHANGES * 1968;
/// Pending reactions to writes of one unit.
pub const PENDING_REACTIONS: usize = 1000;
/// Default number of connections that a slave serves at once.
pub const SLAVE_CONNECTIONS: usize = 32;
/// Default real idle time after which a slave closes a connection.
pub const SLAVE_IDLE: Duration = Duration::from_mins(5);

// ---------------------------------------------------------------------------------------------
// Fault rules (chosen)
// ---------------------------------------------------------------------------------------------

/// Matches that `nth` of one rule can name.
pub const NTH_MATCHES: usize = 1000;
/// Events of a slave that runs by itself, of which the oldest are dropped.
pub const EVENTS: usize = 10_000;
