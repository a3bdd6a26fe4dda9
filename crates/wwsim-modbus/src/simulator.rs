//! A slave that runs by itself: the slave, its clock, rules that are injected, and a log of its events.

mod log;
mod rules;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use wwsim_time::clock::{Clock, Speed};
use wwsim_time::inflight::ConnectionRegistry;
use wwsim_time::tasks::Tasks;

use self::log::EventLog;
pub use self::log::LoggedEvent;
use self::rules::RuleSet;
pub use self::rules::{InjectedRule, SlaveRule};
use crate::bank::{Table, UnitLayout};
use crate::slave::{Slave, SlaveConfig, SlaveContext, SlaveError, SlaveRules, SlaveServer};
use crate::wire::Exception;

/// A running slave. Dropping it ends the slave; [`SlaveSimulator::stop`] also waits until the port is free.
#[derive(Debug)]
pub struct SlaveSimulator {
    server: SlaveServer,
    rules: Arc<RuleSet>,
    log: Arc<EventLog>,
    clock: Clock,
    /// The task that drives the clock, if the clock is the simulator's own.
    clock_task: Tasks,
}

/// The error of a wait in which too few requests arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{arrived} requests arrived within {timeout:?}, expected {requests}")]
pub struct NotArrived {
    /// The number that was waited for.
    pub requests: u64,
    /// The number that arrived.
    pub arrived: u64,
    /// The real time that was waited.
    pub timeout: Duration,
}

/// A slave that is being described.
#[derive(Debug, Clone)]
pub struct SlaveBuilder {
    config: SlaveConfig,
    rules: Vec<SlaveRule>,
    seed: u64,
    clock: Option<Clock>,
}

impl SlaveSimulator {
    /// Describes a slave. Without further calls it listens on a free port of the loopback interface, has no
    /// unit, and runs in real time.
    #[must_use]
    pub fn builder() -> SlaveBuilder {
        SlaveBuilder { config: SlaveConfig::default(), rules: Vec::new(), seed: 0, clock: None }
    }

    /// Returns the address of the listener, also while a rule closes it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.slave().address()
    }

    /// Returns the registers and coils, which a test reads and sets.
    #[must_use]
    pub fn slave(&self) -> &Slave {
        self.server.slave()
    }

    /// Returns a holding register as a client would read it now. `None` if it does not exist.
    #[must_use]
    pub fn holding(&self, unit: u8, address: u16) -> Option<u16> {
        let words = self.slave().peek(unit, Table::HoldingRegisters, address, 1)?;
        words.first().copied()
    }

    /// Returns the clock of computed registers, delays and windows.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Adds a rule, which acts from the next request on until the returned guard is dropped. A rule that
    /// closes the listener acts a moment later; [`InjectedRule::applied`] waits for it, and
    /// [`InjectedRule::remove`] until it is open again.
    ///
    /// # Panics
    /// If the rule can never fire, such as with a probability of 0 or above 1, or `nth([0])`, or would change
    /// nothing, such as a reply in pieces of 0 bytes.
    #[must_use = "the rule is removed when the guard is dropped"]
    #[track_caller]
    pub fn inject(&self, rule: SlaveRule) -> InjectedRule {
        if let Some(problem) = rule.problems().first() {
            panic!("the rule cannot be injected: {}", problem.to_line());
        }
        let (id, generation) = self.rules.add(rule);
        InjectedRule::new(Arc::clone(&self.rules), Arc::clone(self.server.slave()), id, generation)
    }

    /// Waits until this many requests have arrived since the start, those in their delay included, for at
    /// most `timeout` of real time. On a manual clock, a test waits for a request of its client before it
    /// moves the clock past the request's delay.
    ///
    /// # Errors
    /// [`NotArrived`] if fewer have arrived by then.
    pub async fn wait_arrived(&self, requests: u64, timeout: Duration) -> Result<(), NotArrived> {
        let mut arrived = self.rules.arrived();
        // The sender lives as long as the rules.
        let reached = async { drop(arrived.wait_for(|arrived| *arrived >= requests).await) };
        let waited = tokio::time::timeout(timeout, reached).await;
        waited.map_err(|_| NotArrived {
            requests,
            arrived: *self.rules.arrived().borrow(),
            timeout,
        })
    }

    /// Returns the newest events, oldest first, at most [`EVENTS`](crate::limits::EVENTS).
    #[must_use]
    pub fn events(&self) -> Vec<LoggedEvent> {
        self.log.events()
    }

    /// Resets all registers and coils to their first values. Rules, events and clock stay.
    pub fn reset(&self) {
        self.slave().reset();
    }

    /// Ends the slave, and returns when its connections have ended and its port is free.
    pub async fn stop(self) {
        self.server.stop().await;
        self.clock_task.abort_all().await;
        self.server.release();
    }
}

impl SlaveBuilder {
    /// Sets the name, for messages and for the random values of registers.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.config.name = name.into();
        self
    }

    /// Sets the address at which the slave listens. Port 0 takes a free port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.config.listen = address;
        self
    }

    /// Adds a unit. A second layout for the same unit id replaces the first.
    #[must_use]
    pub fn unit(mut self, id: u8, layout: UnitLayout) -> Self {
        self.config.units.retain(|(unit, _)| *unit != id);
        self.config.units.push((id, layout));
        self
    }

    /// Lets requests to unknown units get this exception. Without this call they get no reply.
    #[must_use]
    pub fn unknown_unit(mut self, exception: Exception) -> Self {
        self.config.unknown_unit = Some(exception.0);
        self
    }

    /// Sets the time that each reply takes.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.config.latency = latency;
        self
    }

    /// Sets the maximum number of connections; further ones are closed immediately.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.config.max_connections = max;
        self
    }

    /// Sets the real idle time after which a connection is closed.
    #[must_use]
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.config.idle = idle;
        self
    }

    /// Adds a rule that acts from the start on, and stays.
    #[must_use]
    pub fn rule(mut self, rule: SlaveRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets the seed of random registers and of rules with a probability. The same seed and the same
    /// requests give the same replies.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Stops time, so that it moves by [`Clock::advance`] alone.
    #[must_use]
    pub fn manual_clock(mut self) -> Self {
        self.clock = Some(Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual));
        self
    }

    /// Lets the slave share a clock with others. The owner of the clock drives it ([`Clock::drive`]).
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Starts the slave, and returns when it accepts connections.
    ///
    /// # Errors
    /// [`SlaveError`] if the port cannot be bound, with all mistakes of a layout, or if a rule can never
    /// fire.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<SlaveSimulator, SlaveError> {
        if let Some(problem) = self.rules.iter().flat_map(SlaveRule::problems).next() {
            return Err(SlaveError::Rule { name: self.config.name, problem });
        }
        let clock_task = Tasks::default();
        let clock = self.clock.unwrap_or_else(|| {
            let clock = Clock::new(wwsim_time::clock::real_time(), Speed::REAL);
            let driven = clock.clone();
            clock_task.spawn(async move { driven.drive().await });
            clock
        });
        let rules = Arc::new(RuleSet::new(clock.clone(), self.seed, self.rules));
        let log = Arc::new(EventLog::new(clock.clone()));
        let context = SlaveContext {
            clock: clock.clone(),
            seed: self.seed,
            connections: ConnectionRegistry::new(clock.activity().clone()),
            rules: Arc::clone(&rules) as Arc<dyn SlaveRules>,
            events: Arc::clone(&log) as _,
        };
        let server = SlaveServer::bind(&self.config, context)?;
        server.start().await;
        Ok(SlaveSimulator { server, rules, log, clock, clock_task })
    }
}
