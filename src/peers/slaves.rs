//! The slaves of a house: their rules are those of the house's engine, and their events go to its journal.

use std::sync::Arc;

use super::PeerContext;
use crate::fault::{ActionOrigin, ActionOriginRef, Engine, FaultListener, SlaveRequest};
use crate::journal::{Event, Journal};
use crate::modbus::fault::ReplyDecision;
use crate::modbus::slave::{
    ListenerVerdict, RequestDetails, SlaveContext, SlaveEvent, SlaveEvents, SlaveRules,
};
use crate::net::inflight::ConnectionRegistry;
use crate::scenario::SlavePlan;

/// A slave as the house sees it.
#[derive(Debug)]
pub(super) struct HouseSlave {
    name: Arc<str>,
    engine: Arc<Engine>,
    journal: Arc<Journal>,
}

impl HouseSlave {
    /// Returns the context in which the slave of a plan runs.
    pub(super) fn context(
        plan: &SlavePlan,
        house: &PeerContext,
        connections: &ConnectionRegistry,
    ) -> SlaveContext {
        let slave = Arc::new(Self {
            name: Arc::clone(&plan.name),
            engine: Arc::clone(&house.engine),
            journal: Arc::clone(&house.journal),
        });
        SlaveContext {
            clock: house.clock.clone(),
            seed: house.seed,
            connections: connections.clone(),
            rules: Arc::clone(&slave) as Arc<dyn SlaveRules>,
            events: slave,
        }
    }
}

impl SlaveRules for HouseSlave {
    fn decide(&self, request: &RequestDetails<'_>) -> ReplyDecision {
        let origin = request.peer.origin::<ActionOrigin>();
        self.engine.slave(&SlaveRequest {
            slave: &self.name,
            unit: request.unit,
            function: request.function,
            address: request.address,
            quantity: request.quantity,
            values: request.values,
            from: origin.as_deref().map(ActionOriginRef::from),
        })
    }

    fn listener(&self, refusing: bool) -> ListenerVerdict {
        self.engine.listener(FaultListener::Slave(&self.name), refusing)
    }
}

impl SlaveEvents for HouseSlave {
    fn record(&self, event: SlaveEvent) {
        let slave = Arc::clone(&self.name);
        self.journal.record(match event {
            SlaveEvent::Request { unit, function, address, quantity, values, outcome } => {
                Event::SlaveRequest { slave, unit, function, address, quantity, values, outcome }
            }
            SlaveEvent::InvalidFrame { reason } => Event::SlaveInvalidFrame { slave, reason },
            SlaveEvent::Listening { listening } => Event::SlaveListening { slave, listening },
            // The events of a later version of the crate are not in the journal.
            _ => return,
        });
    }
}
