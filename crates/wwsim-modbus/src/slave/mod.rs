//! Simulated slaves: units behind a real TCP listener.
//!
//! [`SlaveServer`] listens. [`Slave`] is its contents, which a test reads and sets. [`SlaveRules`] decides
//! what happens to requests and to the listener, and [`SlaveEvents`] receives its events.
//! Each accepted connection is one task ([`crate::server`]) that reads requests, lets the units answer them
//! one at a time, and sends the replies.

mod reconciler;
mod server;
mod session;

use parking_lot::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use wwsim_time::clock::{Clock, Sleep};
use wwsim_time::inflight::{ConnectionRegistry, PeerInfo};
use wwsim_time::rng::RandomStream;

pub use self::server::{SlaveError, SlaveServer};
use crate::bank::{Bank, PokeError, Table, UnitLayout, WriteRecord};
use crate::fault::ReplyDecision;
use crate::limits;
use crate::problem::Problem;
use crate::wire::FunctionCode;

/// The description of a slave: one listener with several units.
#[derive(Debug, Clone, PartialEq)]
pub struct SlaveConfig {
    /// The name, for messages and for the random values of its registers.
    pub name: Arc<str>,
    /// The address at which it listens. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// The units, by unit id, ascending.
    pub units: Vec<(u8, UnitLayout)>,
    /// The exception for an unknown unit id. `None` if it gets no reply, as on a bus behind a gateway.
    pub unknown_unit: Option<u8>,
    /// The time that a reply takes without a fault.
    pub latency: Duration,
    /// The maximum number of connections; further ones are closed immediately.
    pub max_connections: usize,
    /// The real idle time after which it closes a connection.
    pub idle: Duration,
}

impl Default for SlaveConfig {
    fn default() -> Self {
        Self {
            name: "slave".into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            units: Vec::new(),
            unknown_unit: None,
            latency: Duration::ZERO,
            max_connections: limits::SLAVE_CONNECTIONS,
            idle: limits::SLAVE_IDLE,
        }
    }
}

/// Everything that a slave shares with its surroundings.
#[derive(Debug, Clone)]
pub struct SlaveContext {
    /// The clock of computed registers, delays and windows.
    pub clock: Clock,
    /// The seed of random registers.
    pub seed: u64,
    /// The registry of connections whose both ends are in this process.
    pub connections: ConnectionRegistry,
    /// The rules over its requests and its listener.
    pub rules: Arc<dyn SlaveRules>,
    /// The receiver of its events.
    pub events: Arc<dyn SlaveEvents>,
}

/// The rules over a slave: they decide what happens to its requests and to its listener.
pub trait SlaveRules: fmt::Debug + Send + Sync {
    /// Decides on a request whose turn has come, before it is carried out. The latency of the slave is
    /// added to the delay.
    fn decide(&self, request: &RequestDetails<'_>) -> ReplyDecision;

    /// Decides on the listener. `refusing` is true if the previous verdict was to refuse. The verdict is
    /// asked for again when its `until` ends.
    fn listener(&self, refusing: bool) -> ListenerVerdict;
}

/// The receiver of a slave's events.
pub trait SlaveEvents: fmt::Debug + Send + Sync {
    /// Records an event. It is called before a byte of the reply is sent, and must not block.
    fn record(&self, event: SlaveEvent);
}

/// A request to a slave, as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct RequestDetails<'a> {
    /// The unit id.
    pub unit: u8,
    /// The function code.
    pub function: FunctionCode,
    /// The first address that the request writes, or reads if it writes nothing; 0 if it has none.
    pub address: u16,
    /// The number of registers or coils from `address` on; 0 if the request has none.
    pub quantity: u16,
    /// The values that the request writes: registers, or coils as 0 and 1.
    pub values: &'a [u16],
    /// The other end of the connection.
    pub peer: &'a PeerInfo,
}

/// The decision on a listener.
#[derive(Debug)]
pub struct ListenerVerdict {
    /// True if the listener refuses connections.
    pub refuse: bool,
    /// The generation of the rules that were evaluated; see [`Slave::wait_rules_applied`].
    pub generation: u64,
    /// A sleep that ends when the decision may be another.
    pub until: Sleep,
}

/// An event of a slave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlaveEvent {
    /// A request was answered, or not.
    Request {
        /// The unit id.
        unit: u8,
        /// The function code.
        function: FunctionCode,
        /// As [`RequestDetails::address`].
        address: u16,
        /// As [`RequestDetails::quantity`].
        quantity: u16,
        /// As [`RequestDetails::values`].
        values: Vec<u16>,
        /// `ok`, `exception n`, `no such unit`, or the fault.
        outcome: Cow<'static, str>,
    },
    /// The bytes on a connection are no Modbus frame. Nothing more is read from it.
    InvalidFrame {
        /// The first reason.
        reason: String,
    },
    /// The listener closed, or opened again.
    Listening {
        /// True if it opened.
        listening: bool,
    },
}

/// A slave: its units with their registers.
#[derive(Debug)]
pub struct Slave {
    name: Arc<str>,
    address: SocketAddr,
    /// Ascending by id.
    units: Vec<SlaveUnit>,
    unknown_unit: Option<u8>,
    latency: Duration,
    idle: Duration,
    seed: u64,
    clock: Clock,
    rules: Arc<dyn SlaveRules>,
    events: Arc<dyn SlaveEvents>,
    listening: AtomicBool,
    /// The generation of the rules that the listener follows.
    applied_generation: watch::Sender<u64>,
}

/// The reason why [`Slave::poke`] refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlavePokeError {
    /// The unit does not exist.
    #[error("slave {slave} has no unit {unit}; it has {units:?}")]
    NoUnit {
        /// The slave.
        slave: Arc<str>,
        /// The unit id.
        unit: u8,
        /// The unit ids of the slave.
        units: Vec<u8>,
    },
    /// The registers cannot be set.
    #[error(transparent)]
    Registers(#[from] PokeError),
}

/// A unit of a slave.
#[derive(Debug)]
struct SlaveUnit {
    id: u8,
    layout: UnitLayout,
    /// Held for the duration of one request, never across an await.
    bank: Mutex<Bank>,
}

impl Slave {
    /// Creates the slave of a description, bound to `address`.
    fn new(
        config: &SlaveConfig,
        address: SocketAddr,
        context: &SlaveContext,
    ) -> Result<Self, SlaveError> {
        let units = config.units.iter().map(|(id, layout)| {
            let bank = new_bank(&config.name, *id, layout, context.seed).map_err(|problems| {
                SlaveError::Layout { name: Arc::clone(&config.name), unit: *id, problems }
            })?;
            Ok(SlaveUnit { id: *id, layout: layout.clone(), bank: Mutex::new(bank) })
        });
        let mut units = units.collect::<Result<Vec<_>, SlaveError>>()?;
        units.sort_by_key(|unit| unit.id);
        Ok(Self {
            name: Arc::clone(&config.name),
            address,
            units,
            unknown_unit: config.unknown_unit,
            latency: config.latency,
            idle: config.idle,
            seed: context.seed,
            clock: context.clock.clone(),
            rules: Arc::clone(&context.rules),
            events: Arc::clone(&context.events),
            listening: AtomicBool::new(false),
            applied_generation: watch::Sender::new(0),
        })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address of the listener, also while a rule closes it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its unit ids, ascending.
    pub fn units(&self) -> impl Iterator<Item = u8> {
        self.units.iter().map(|unit| unit.id)
    }

    /// Returns `count` registers from `address` on, or bits as 0 and 1, as a client would read them
    /// now. `None` if the unit or one of them does not exist.
    #[must_use]
    pub fn peek(&self, unit: u8, table: Table, address: u16, count: u16) -> Option<Vec<u16>> {
        let mut bank = self.unit(unit)?.bank();
        bank.peek(table, address, count, self.clock.now())
    }

    /// Sets registers from `address` on, or bits by 0 and 1, regardless of the access of clients.
    ///
    /// # Errors
    /// [`SlavePokeError`] if the unit or one of them does not exist, or cannot be set.
    pub fn poke(
        &self,
        unit: u8,
        table: Table,
        address: u16,
        words: &[u16],
    ) -> Result<(), SlavePokeError> {
        let unit = self.unit(unit).ok_or_else(|| SlavePokeError::NoUnit {
            slave: Arc::clone(&self.name),
            unit,
            units: self.units().collect(),
        })?;
        let mut bank = unit.bank();
        Ok(bank.poke(table, address, words, self.clock.now())?)
    }

    /// Returns the newest writes to a unit, oldest first. `None` if there is no such unit.
    #[must_use]
    pub fn writes(&self, unit: u8) -> Option<Vec<WriteRecord>> {
        Some(self.unit(unit)?.bank().writes().cloned().collect())
    }

    /// Waits until the listener follows the rules of this generation or a later one
    /// ([`ListenerVerdict::generation`]). Returns at once if the listener was released.
    pub async fn wait_rules_applied(&self, generation: u64) {
        let mut applied = self.applied_generation.subscribe();
        // The sender is a field of `self`, so it cannot close.
        let _ = applied.wait_for(|applied| *applied >= generation).await;
    }

    /// Resets all registers and coils to their first values.
    pub fn reset(&self) {
        for unit in &self.units {
            // A layout that was valid once is valid again.
            if let Ok(bank) = new_bank(&self.name, unit.id, &unit.layout, self.seed) {
                *unit.bank() = bank;
            }
        }
    }

    /// Returns true if the listener is open: false while a rule makes it refuse.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn unit(&self, id: u8) -> Option<&SlaveUnit> {
        let index = self.units.binary_search_by_key(&id, |unit| unit.id).ok()?;
        Some(&self.units[index])
    }
}

impl SlaveUnit {
    fn bank(&self) -> MutexGuard<'_, Bank> {
        self.bank.lock()
    }
}

fn new_bank(slave: &str, unit: u8, layout: &UnitLayout, seed: u64) -> Result<Bank, Vec<Problem>> {
    Bank::new(layout, seed, RandomStream::named(slave).child(u64::from(unit)))
}
