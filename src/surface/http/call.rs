//! The context of a call: everything that a handler may use.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::request::Parts;
use tokio::sync::SemaphorePermit;

use super::system::ServiceStates;
use super::{Api, ApiRoute};
use crate::clock::Clock;
use crate::device::{Device, Run, Snapshot, View};
use crate::net::http::query::Query;

/// A call that passed all checks.
pub struct Call<'a> {
    pub(super) api: &'a Api,
    pub(super) head: &'a Parts,
    pub(super) route: &'static ApiRoute,
    /// The device as it was when the call was checked.
    pub view: View,
    /// The request's body.
    pub body: Bytes,
}

impl Call<'_> {
    /// Returns the cached body of a reply that depends on configuration and firmware alone, not on
    /// the request. `render` is called for the first GET after a change of either.
    pub(super) fn cached_body(&self, render: impl FnOnce() -> Bytes) -> Bytes {
        self.api.reply_cache.view_body(self.route.path, &self.view, render)
    }

    /// Returns the kept body of a reply that depends on `snapshot` and perhaps on `services` alone, not on the
    /// request. `render` is called if anything has changed.
    pub(super) fn snapshot_body(
        &self,
        snapshot: &Snapshot,
        services: Option<ServiceStates>,
        render: impl FnOnce() -> Bytes,
    ) -> Bytes {
        self.api.reply_cache.snapshot_body(self.route.path, snapshot, services, render)
    }

    /// Returns the device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.api.device
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::from_uri(&self.head.uri)
    }

    /// Returns the path of the request, percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// Returns the head of the request.
    #[must_use]
    pub fn head(&self) -> &Parts {
        self.head
    }

    /// Returns the API that was called.
    pub(super) fn api(&self) -> &Api {
        self.api
    }

    /// Returns the scenario's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.api.clock
    }

    /// Acquires the permit for an upload. `None` if another upload is in progress.
    pub(super) fn acquire_upload_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.api.upload_permit.try_acquire().ok()
    }

    /// Starts the execution of an admitted call.
    pub(super) fn start(&self, run: Run) {
        (self.api.start_run)(run);
    }
}
