//! Simulated Modbus slaves: units behind a real TCP listener.
//!
//! [`Slave`] is the interface for the control plane and for tests, which read and set registers.
//! The listener opens and closes with the fault rules ([`reconciler`]). Each accepted connection is
//! one task ([`crate::modbus::server`]) that reads requests, lets the units answer them one at a
//! time ([`session`]), and sends the replies.

mod reconciler;
mod session;

use parking_lot::{Mutex, MutexGuard};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

pub(super) use self::reconciler::SlaveListenerReconciler;
use super::{PeerContext, PeersError};
use crate::clock::Clock;
use crate::fault::Engine;
use crate::journal::Journal;
use crate::modbus::bank::{Bank, PokeError, Table, UnitLayout, WriteRecord};
use crate::problem::Problem;
use crate::rng::RandomStream;
use crate::scenario::SlavePlan;

/// A slave of the house.
#[derive(Debug)]
pub struct Slave {
    name: Arc<str>,
    address: SocketAddr,
    /// Ascending by id.
    units: Vec<SlaveUnit>,
    unknown_unit: Option<u8>,
    latency: Duration,
    max_connections: usize,
    idle: Duration,
    seed: u64,
    clock: Clock,
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    listening: AtomicBool,
    /// The generation of the fault rules that the listener follows.
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
    /// Creates the slave of a plan, bound to `address`.
    pub(super) fn new(
        plan: &SlavePlan,
        address: SocketAddr,
        context: &PeerContext,
    ) -> Result<Self, PeersError> {
        let units = plan.units.iter().map(|(id, layout)| {
            let bank = new_bank(&plan.name, *id, layout, context.seed).map_err(|errors| {
                PeersError::Layout { slave: Arc::clone(&plan.name), unit: *id, errors }
            })?;
            Ok(SlaveUnit { id: *id, layout: layout.clone(), bank: Mutex::new(bank) })
        });
        Ok(Self {
            name: Arc::clone(&plan.name),
            address,
            units: units.collect::<Result<_, PeersError>>()?,
            unknown_unit: plan.unknown_unit,
            latency: plan.latency,
            max_connections: plan.max_connections,
            idle: plan.idle,
            seed: context.seed,
            clock: context.clock.clone(),
            engine: Arc::clone(&context.engine),
            journal: Arc::clone(&context.journal),
            listening: AtomicBool::new(false),
            applied_generation: watch::Sender::new(0),
        })
    }

    /// Returns the name in the scenario.
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

    /// Waits until the listener follows the fault rules of this generation
    /// ([`Engine::generation`](crate::fault::Engine::generation)).
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

    pub(super) fn clock(&self) -> &Clock {
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
