//! Requests of an action that are about to connect.
//!
//! Some result codes come from the device itself, before a peer is involved, and some peers are
//! outside the house, so that no wrong answer can be had from them. Such a request fails before it is
//! sent.

use super::{
    ActionEffect, ActionOriginRef, Fault, Seam, SlaveEffect, SlaveRequest, TargetEffect,
    TargetRequest,
};
use crate::fault::Engine;

/// A failure of a request before it is sent, which only the device itself can observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectFault {
    /// The name does not resolve (−16).
    Resolve,
    /// The connection is refused (−17).
    Refused,
    /// There is no free socket (−19).
    NoSocket,
    /// The connection is lost between connect and send (−7).
    SendLost,
    /// The TLS handshake fails (−18).
    Tls,
    /// The peer is outside the house, so that no wrong answer can be had from it. The request ends
    /// with this code and is not sent; with −3 it ends when its time is up.
    Unsent(i32),
}

/// A request that is about to connect.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// The action.
    pub call: ActionOriginRef<'a>,
    /// The slave or target of the house that has the address, or the kind of a peer outside.
    pub peer: PeerRef<'a>,
}

/// The peer of an action's request, with the fields that a rule can name.
#[derive(Debug, Clone, Copy)]
pub enum PeerRef<'a> {
    /// A slave of the house.
    Slave(SlaveRequest<'a>),
    /// A target of the house.
    Target(TargetRequest<'a>),
    /// A peer outside the house, over Modbus.
    OutsideSlave,
    /// A peer outside the house, over HTTP.
    OutsideTarget,
}

impl ConnectFault {
    /// Returns the result code with which the request ends.
    #[must_use]
    pub const fn result_code(self) -> i32 {
        match self {
            Self::SendLost => -7,
            Self::Resolve => -16,
            Self::Refused => -17,
            Self::Tls => -18,
            Self::NoSocket => -19,
            Self::Unsent(code) => code,
        }
    }
}

impl Connect<'_> {
    /// Returns the failure that a rule demands for this request, if the rule affects it.
    fn fault_of(&self, fault: &Fault) -> Option<ConnectFault> {
        match (fault, &self.peer) {
            (Fault::Action(place, ActionEffect::Connect(fault)), _) => {
                place.matches(&self.call).then_some(*fault)
            }
            (
                Fault::Action(place, ActionEffect::Reply { code, slave: Some(_), .. }),
                PeerRef::OutsideSlave,
            )
            | (
                Fault::Action(place, ActionEffect::Reply { code, target: Some(_), .. }),
                PeerRef::OutsideTarget,
            ) => place.matches(&self.call).then_some(ConnectFault::Unsent(*code)),
            (Fault::Slave(place, SlaveEffect::Connect(fault)), PeerRef::Slave(request)) => {
                place.matches(request).then_some(*fault)
            }
            (Fault::Target(place, TargetEffect::Connect(fault)), PeerRef::Target(request)) => {
                place.matches(request).then_some(*fault)
            }
            _ => None,
        }
    }
}

impl Engine {
    /// Evaluates the rules on a request that is about to connect.
    #[must_use]
    pub fn connect(&self, connect: &Connect<'_>) -> Option<ConnectFault> {
        let mut found = None;
        self.evaluate(
            Seam::Connect,
            |key| {
                let key = connect.call.fields(key);
                match &connect.peer {
                    PeerRef::Slave(request) => request.fields(key),
                    PeerRef::Target(request) => request.fields(key),
                    PeerRef::OutsideSlave | PeerRef::OutsideTarget => key,
                }
            },
            || connect.call.to_string(),
            |fault, evaluation| {
                if let Some(fault) = connect.fault_of(fault)
                    && evaluation.count_and_decide(found.is_none())
                {
                    found = Some(fault);
                }
            },
        );
        found
    }
}
