//! The server kit that all Modbus servers of a house use, the slaves and the device's own server:
//! a listener with limits ([`Acceptor`]), connections ([`Connection`]), and the bytes that are still to
//! be sent on them.
//!
//! A [`ModbusHandler`] decides the meaning of the requests. Faults apply here, between the handler
//! and the bytes.

mod connection;
mod acceptor;
mod outbox;

pub use self::acceptor::{Acceptor, Connections};
pub use self::connection::{Connection, ModbusHandler, OUTCOME_OK, ReceivedRequest};
