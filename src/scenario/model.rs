//! A house as it is to be built: what a scenario means once it was found right.
//!
//! Everything here is valid by construction of [`super::load`]: names are unique and known, no two
//! listeners share a port, no rule is one that can never fire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::bank::UnitLayout;
use crate::clock::Speed;
use crate::device::actions::Definition;
use crate::device::{ActionSettings, Identity};
use crate::fault::{Method, Rule};
use crate::outbound::{HostAddress, Policy};

/// A house.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What all its randomness comes from.
    pub seed: u64,
    /// When it starts.
    pub start: Timestamp,
    /// How its time passes.
    pub speed: Speed,
    /// Where the control plane listens; loopback port 8090 unless the scenario says otherwise.
    pub control: SocketAddr,
    /// What the actions may reach beside the house itself.
    pub outbound: Policy,
    /// The devices, one or more.
    pub devices: Vec<DevicePlan>,
    /// The Modbus slaves.
    pub slaves: Vec<SlavePlan>,
    /// The HTTP targets.
    pub http_targets: Vec<TargetPlan>,
    /// The faults, in the order of the file.
    pub faults: Vec<Rule>,
}

/// A device.
#[derive(Debug, Clone)]
pub struct DevicePlan {
    /// Who it is.
    pub identity: Identity,
    /// Where its API listens.
    pub http: SocketAddr,
    /// How its actions behave where the contract leaves a choice.
    pub settings: ActionSettings,
    /// The actions it starts with; none is as deleted.
    pub actions: Option<Arc<Definition>>,
}

/// A Modbus slave: one listener, several units.
#[derive(Debug, Clone)]
pub struct SlavePlan {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The names and addresses that actions reach it by.
    pub hosts: Vec<HostAddress>,
    /// Its units, by unit id, ascending. Requests to other unit ids get no answer, as on a bus
    /// behind a gateway, unless `unknown_unit` says otherwise.
    pub units: Vec<(u8, UnitLayout)>,
    /// The exception for a unit id that is not there; silence where none.
    pub unknown_unit: Option<u8>,
    /// How long a healthy reply takes.
    pub latency: Duration,
    /// Connections it serves at once; more are closed at once.
    pub max_connections: usize,
    /// Real idle time after which it closes a connection.
    pub idle: Duration,
}

/// An HTTP target.
#[derive(Debug, Clone)]
pub struct TargetPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it speaks TLS, with a certificate the devices of the house trust.
    pub tls: bool,
    /// The names and addresses that actions reach it by.
    pub hosts: Vec<HostAddress>,
    /// What it answers, the first match; 404 where none matches.
    pub routes: Vec<Route>,
}

/// One answer of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The method; any where none.
    pub method: Option<Method>,
    /// The path without its query; a `*` at the end matches what follows.
    pub path: String,
    /// The answers: one, or those it goes through one after another, beginning anew at the end (a
    /// light that toggles).
    pub replies: Vec<Reply>,
}

/// What a target answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The status, 200..=599.
    pub status: u16,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// How long it takes.
    pub latency: Duration,
}
