//! Modbus TCP bytes: frames, requests and replies, parsed and built without I/O.
//!
//! No input makes this code panic, and nothing between a request and its reply allocates: a request
//! borrows from the bytes it was parsed from, and a reply is filled in place.
//!
//! Sources: Modbus Application Protocol V1.1b3 (the PDU) and Modbus Messaging on TCP/IP V1.0b §3.1
//! (the MBAP header).

mod exception;
mod function;
mod mbap;
mod reply;
mod request;

pub use self::exception::Exception;
pub use self::function::FunctionCode;
pub use self::mbap::{Frame, FrameError, MbapHeader, split_frame, write_frame};
pub use self::reply::ReplyPdu;
pub use self::request::RequestPdu;
pub use self::request::{bits, words};
