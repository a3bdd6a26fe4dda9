//! The listener of a slave, from binding its port to releasing it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use wwsim_time::gate::ClosedGate;
use wwsim_time::inflight::ConnectionRegistry;
use wwsim_time::sockets::Port;
use wwsim_time::tasks::Tasks;

use super::reconciler::SlaveListenerReconciler;
use super::{Slave, SlaveConfig, SlaveContext};
use crate::limits::MODBUS_BACKLOG;
use crate::problem::Problem;
use crate::server::Connections;

/// A slave with its listener. Dropping this aborts its tasks and frees its port; [`SlaveServer::stop`] also
/// waits for the tasks.
#[derive(Debug)]
pub struct SlaveServer {
    slave: Arc<Slave>,
    port: Arc<Mutex<Port>>,
    connection_registry: ConnectionRegistry,
    /// The task of the listener's reconciler. It is aborted before the connections, because it adds to
    /// them.
    reconciler_task: Tasks,
    connections: Arc<Connections>,
}

/// An error that prevents a slave from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlaveError {
    /// The address cannot be bound.
    #[error("slave `{name}` cannot listen on {address}: {source}; free the port or give another")]
    Bind {
        /// The slave.
        name: Arc<str>,
        /// The address that it should listen on.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// A unit's layout is invalid.
    #[error("slave `{name}`, unit {unit}: {}", joined(problems))]
    Layout {
        /// The slave.
        name: Arc<str>,
        /// The unit id.
        unit: u8,
        /// All mistakes of the layout.
        problems: Vec<Problem>,
    },
    /// A rule can never fire, or would change nothing.
    #[error("slave `{name}`: a rule cannot be used: {}", problem.to_line())]
    Rule {
        /// The slave.
        name: Arc<str>,
        /// The first reason.
        problem: Problem,
    },
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl SlaveServer {
    /// Binds the port. Until [`SlaveServer::start`], the kernel holds the connections to it.
    ///
    /// # Errors
    /// [`SlaveError`]; nothing is bound then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(config: &SlaveConfig, context: SlaveContext) -> Result<Self, SlaveError> {
        let port = Port::bind(config.listen, MODBUS_BACKLOG).map_err(|source| {
            SlaveError::Bind { name: Arc::clone(&config.name), address: config.listen, source }
        })?;
        let slave = Arc::new(Slave::new(config, port.address(), &context)?);
        let activity = context.clock.activity().clone();
        Ok(Self {
            slave,
            port: Arc::new(Mutex::new(port)),
            connection_registry: context.connections,
            reconciler_task: Tasks::default(),
            connections: Arc::new(Connections::new(activity, config.max_connections)),
        })
    }

    /// Returns the slave.
    #[must_use]
    pub fn slave(&self) -> &Arc<Slave> {
        &self.slave
    }

    /// Serves connections, and returns when the listener is open or closed as the rules require.
    pub async fn start(&self) {
        let activity = self.slave.clock().activity().clone();
        let mut reconciler = SlaveListenerReconciler::new(
            Arc::clone(&self.slave),
            Arc::clone(&self.port),
            self.connection_registry.clone(),
            Arc::clone(&self.connections),
        );
        let verdict = reconciler.reconcile().await;
        self.reconciler_task.spawn(activity.track(reconciler.run(verdict)));
    }

    /// Ends the connections with a request in progress or half received, and returns when they have ended.
    /// The listener stays open. Connections that wait for their next request, and new ones, wait until the
    /// next [`SlaveServer::start`] and until the returned value is dropped.
    pub async fn pause(&self) -> ClosedGate {
        self.reconciler_task.abort_all().await;
        self.connections.pause().await
    }

    /// Drops all connections, and returns when their tasks have ended. The listener stays open, but new
    /// connections wait until the next [`SlaveServer::start`].
    pub async fn stop(&self) {
        self.reconciler_task.abort_all().await;
        self.connections.drop_all().await;
    }

    /// Frees the port. The reconciler holds it, too, so [`SlaveServer::stop`] comes before. Nobody waits
    /// for rules any more.
    pub fn release(&self) {
        self.slave.applied_generation.send_replace(u64::MAX);
        self.port.lock().release();
    }
}

impl Drop for SlaveServer {
    fn drop(&mut self) {
        self.release();
    }
}
