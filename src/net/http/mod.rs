//! The HTTP server kit of the house: the device's API, the control plane and the HTTP targets are
//! built from it.
//!
//! The kit knows no paths and no contents. The common headers and the error format of [`HttpReply`] are
//! those of the device; the control plane uses them too. The replies of targets come from the
//! scenario and have neither.

mod acceptor;
mod connection;
pub(crate) mod body;
pub(crate) mod cors;
pub(crate) mod json;
pub(crate) mod query;
mod reply;
pub(crate) mod status;
mod head_timer;
mod header_case;
mod method;
mod on_wake;
mod pages;
mod stream;
mod write_timeout;

pub(crate) use self::acceptor::{TcpAcceptor, bind_listener, http_builder};
pub(crate) use self::connection::{Served, serve_requests};
pub use self::method::Method;
pub(crate) use self::on_wake::OnWake;
pub(crate) use self::pages::{
    BodyStart, PAGE_BYTES, PageError, PageProgress, PageSource, PageWriter, Parts,
};
pub use self::reply::{BodyInterrupted, HttpReply, ReplyBody};
pub(crate) use self::reply::{EventStreamControl, method_not_allowed};
pub(crate) use self::stream::{
    BodyConsumed, DeliveryControl, DeliveryEnd, DeliveryPlan, FaultyStream,
};
pub(crate) use self::write_timeout::{Resettable, WriteTimeoutStream};
