//! The HTTP server kit of the house: the device's API, the control plane and the HTTP targets are
//! built from it. It knows nothing of what they serve.

mod acceptor;
pub(crate) mod body;
pub(crate) mod json;
pub(crate) mod query;
mod reply;
mod header_case;
mod stream;
mod write_limit;

pub use self::acceptor::ListenerPause;
pub(crate) use self::acceptor::{BACKLOG, TcpAcceptor, bind_listener, http_builder};
pub use self::reply::{BodyInterrupted, HttpReply, ReplyBody};
pub(crate) use self::reply::{StreamBreaker, method_not_allowed};
pub(crate) use self::stream::{
    BodyConsumed, DeliveryControl, DeliveryEnd, DeliveryPlan, FaultyStream,
};
pub(crate) use self::write_limit::{Resettable, WriteLimited};
