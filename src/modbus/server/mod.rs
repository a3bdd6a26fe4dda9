//! What every Modbus server of the house has in common, the slaves' and the device's own: a port that
//! opens and closes ([`Acceptor`]), connections ([`Connection`]), and what is still to be sent on them.
//!
//! What the requests mean is behind [`ModbusService`]; faults strike here, between it and the bytes.

mod connection;
mod acceptor;
mod outbox;

pub(crate) use self::acceptor::{Acceptor, BACKLOG, RETRY};
pub(crate) use self::connection::{Connection, ModbusService, OK, ReceivedRequest};
