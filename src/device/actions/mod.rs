//! Actions: their definition, their constants, their values on the wire, and the
//! places for requests in progress. Pure: no sockets, no clock of its own, no locks.

mod decode;
mod definition;
mod expand;
mod location;
mod queue;
mod value;

pub use self::definition::{
    Action, ActionRequest, Const, Definition, HttpMethod, HttpRequest, ModbusRequest,
};
pub use self::expand::{Prepared, PreparedHttp, PreparedModbus, Unprepared};
pub use self::location::Scheme;
pub use self::queue::{AdmissionRefusal, Capacity, Queue, RequestStatus};
pub use self::value::{ModbusWrite, ValueError, ValueType};

/// What the fuzzer checks, for its corpus to be replayed by the tests.
#[cfg(test)]
#[path = "../../../fuzz/properties/action_definition.rs"]
mod property;
