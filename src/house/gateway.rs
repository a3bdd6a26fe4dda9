//! One gateway of the house: the device, its API on a socket, and what it does by itself.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::StartError;
use crate::clock::Clock;
use crate::device::Device;
use crate::fault::Engine;
use crate::journal::Journal;
use crate::outside::Outside;
use crate::scenario::DevicePlan;
use crate::surface::http;
#[cfg(feature = "mqtt")]
use crate::surface::mqtt;
use crate::tasks::Tasks;

/// What gateways are built from.
pub(super) struct Parts<'a> {
    pub seed: u64,
    pub clock: &'a Clock,
    pub engine: &'a Arc<Engine>,
    pub journal: &'a Arc<Journal>,
    pub outside: &'a Outside,
}

/// A device with its surfaces.
pub(super) struct Gateway {
    pub device: Arc<Device>,
    pub http: http::Server,
    #[cfg(feature = "mqtt")]
    pub mqtt: Arc<mqtt::Client>,
    clock: Clock,
    /// What the device does beside answering its API. Each task follows [`Device::changes`]: it
    /// looks at the newest state after each, and acts on that alone.
    services: Tasks,
}

impl Gateway {
    pub(super) fn start(
        plan: &DevicePlan,
        listener: TcpListener,
        parts: &Parts<'_>,
    ) -> Result<Self, StartError> {
        let device = Device::new(
            plan.setup(parts.seed),
            parts.clock.clone(),
            Arc::clone(parts.engine),
            Arc::clone(parts.journal),
        );
        let runner = Arc::clone(parts.outside.runner());
        let api = http::Api::new(
            Arc::clone(&device),
            Arc::clone(parts.engine),
            parts.clock.clone(),
            move |run| runner.run(run),
        );
        let http = http::Server::start(listener, api).map_err(|source| StartError::Bind {
            who: format!("device {}", plan.identity.id),
            address: plan.http,
            source,
        })?;
        #[cfg(feature = "mqtt")]
        let mqtt = mqtt::Client::new(mqtt::Parts {
            device: Arc::clone(&device),
            clock: parts.clock.clone(),
            engine: Arc::clone(parts.engine),
            journal: Arc::clone(parts.journal),
            dial: parts.outside.dialer(),
        });
        let gateway = Self {
            device,
            http,
            #[cfg(feature = "mqtt")]
            mqtt,
            clock: parts.clock.clone(),
            services: Tasks::default(),
        };
        gateway.start_services();
        Ok(gateway)
    }

    /// Starts what the device does by itself; the API is served all along.
    pub(super) fn start_services(&self) {
        let motions = self.clock.motions();
        #[cfg(feature = "mqtt")]
        self.services.spawn(motions.track(Arc::clone(&self.mqtt).run()));
        let _ = motions;
    }

    /// Ends what the device does by itself, and returns when all of it is gone.
    pub(super) async fn stop_services(&self) {
        self.services.end_all().await;
    }

    /// Ends all of it, and returns when its ports are free.
    pub(super) async fn close(&self) {
        self.http.close().await;
        self.stop_services().await;
    }
}
