//! Actions: their definition, their constants, their values on the wire, the policy of calls, and the
//! queue of requests in progress. Pure: no sockets, no clock, no locks.

mod decode;
mod definition;
mod expand;
mod policy;
mod url;
mod queue;
mod value;

pub use self::definition::{
    Action, ActionRequest, Const, Definition, HttpMethod, HttpRequest, ModbusRequest,
};
pub use self::expand::{
    PrepareError, PreparedHttpRequest, PreparedModbusRequest, PreparedRequest, UndefinedConstant,
};
pub use self::policy::{
    ActionPolicy, Admission, CallRefusal, CallReplyFormat, Execution, HttpFailureCode,
};
pub use self::queue::{AdmissionRefusal, Capacity, Queue, RequestStatus};
pub use self::url::Scheme;
pub use self::value::{ModbusWrite, ValueError, ValueType};

/// The property that the fuzzer checks, so that the tests can replay its corpus.
#[cfg(test)]
#[path = "../../../tests/properties/action_definition.rs"]
mod property;
