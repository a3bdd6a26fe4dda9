//! One port for the APIs of many devices (HTTP-12 to HTTP-14).
//!
//! A [`SharedPort`] accepts the connections of all its devices and passes each request to the device that it
//! names. A device has a [`Door`] in it, which is open while the device can be reached. A connection belongs
//! to the device of its latest request, and ends with it: so a device that goes down ends its connections,
//! as on a port of its own, and the others go on.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::cors::LocalAddr;
use super::fault::{self, BrokenConnection};
use super::host_names::{ClientPath, Destination, DeviceNames};
use super::server::{AnswerRequests, serve_connection};
use super::{Api, HttpReply, ReplyBody};
use crate::clock::Clock;
use crate::net::gate::ClosedGate;
use crate::net::http::{
    BodyConsumed, DeliveryControl, DeliveryEnd, DeliveryPlan, TcpAcceptor, body,
};
use crate::net::sockets::Port;
use crate::scenario::RouteBy;

/// A port that serves the APIs of many devices. Dropping it closes the listener and all connections.
pub(crate) struct SharedPort {
    route_by: RouteBy,
    devices: Arc<RwLock<SharedDevices>>,
    listening: TcpAcceptor,
}

/// The devices behind a shared port.
#[derive(Debug)]
struct SharedDevices {
    names: DeviceNames,
    /// By their numbers in `names`.
    devices: Vec<Arc<SharedDevice>>,
}

/// A device behind a shared port.
struct SharedDevice {
    api: Arc<Api>,
    door: Arc<Door>,
}

/// The door of a device in a shared port: while it is closed, requests for the device are refused.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    route_by: RouteBy,
    state: Mutex<DoorState>,
    /// Notified when the last connection has left.
    left: Notify,
}

#[derive(Debug, Default)]
struct DoorState {
    is_open: bool,
    /// The connections that belong to the device, by their numbers; each is ended by notifying it.
    connections: HashMap<u64, Arc<Notify>>,
}

/// A connection to a shared port.
struct SharedConnection {
    number: u64,
    route_by: RouteBy,
    devices: Arc<RwLock<SharedDevices>>,
    clock: Clock,
    /// Notified when the device to which the connection belongs goes down.
    ended: Arc<Notify>,
    /// The device of the latest request.
    belongs_to: Mutex<Option<Belonging>>,
}

/// That a connection belongs to a device.
struct Belonging {
    connection: u64,
    door: Arc<Door>,
}

impl fmt::Debug for SharedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPort").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDevice").field("door", &self.door).finish_non_exhaustive()
    }
}

impl SharedPort {
    /// Makes a shared port that serves nobody until [`SharedPort::open`], with at most `connections` at
    /// once.
    pub(crate) fn new(port: Port, route_by: RouteBy, connections: usize, clock: Clock) -> Self {
        let devices = SharedDevices { names: DeviceNames::new(route_by), devices: Vec::new() };
        let devices = Arc::new(RwLock::new(devices));
        let (accepted, known) = (AtomicU64::new(0), Arc::clone(&devices));
        let serve = move |stream, gate| {
            let connection = SharedConnection {
                number: accepted.fetch_add(1, Ordering::Relaxed),
                route_by,
                devices: Arc::clone(&known),
                clock: clock.clone(),
                ended: Arc::default(),
                belongs_to: Mutex::default(),
            };
            clock.activity().track(serve_connection(stream, gate, connection))
        };
        let listening = TcpAcceptor::with_connections(port, connections, serve);
        Self { route_by, devices, listening }
    }

    /// Adds a device, whose door is closed.
    pub(super) fn add(&self, api: &Arc<Api>) -> Arc<Door> {
        let door = Arc::new(Door {
            address: self.address(),
            route_by: self.route_by,
            state: Mutex::default(),
            left: Notify::new(),
        });
        let mut devices = self.devices.write();
        devices.names.add(&api.device);
        devices
            .devices
            .push(Arc::new(SharedDevice { api: Arc::clone(api), door: Arc::clone(&door) }));
        door
    }

    /// Accepts connections.
    ///
    /// # Errors
    /// If the port cannot be opened.
    pub(crate) fn open(&self) -> io::Result<()> {
        self.listening.open()
    }

    /// Returns the address of the listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Ends the connections with a request in flight, as [`ApiServer::pause`](super::ApiServer::pause) does.
    pub(crate) async fn pause(&self) -> ClosedGate {
        self.listening.pause().await
    }

    /// Closes the listener and all connections and frees the port, and returns when they are gone.
    pub(crate) async fn release(&self) {
        self.listening.release().await;
    }
}

impl Door {
    /// Returns the address of the port.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how requests name the device.
    pub(super) fn route_by(&self) -> RouteBy {
        self.route_by
    }

    /// Lets requests for the device in.
    pub(super) fn open(&self) {
        self.state.lock().is_open = true;
    }

    fn is_open(&self) -> bool {
        self.state.lock().is_open
    }

    /// Refuses requests for the device, ends the connections that belong to it, and returns when they are
    /// gone.
    pub(super) async fn close(&self) {
        let ended: Vec<_> = {
            let mut state = self.state.lock();
            state.is_open = false;
            state.connections.values().cloned().collect()
        };
        // After the lock is released, because the runtime may drop a connection right here.
        for ended in ended {
            ended.notify_one();
        }
        loop {
            // Created before the look, so that no notification in between is lost.
            let left = self.left.notified();
            if self.connection_count() == 0 {
                return;
            }
            left.await;
        }
    }

    /// Returns the number of connections that belong to the device.
    pub(super) fn connection_count(&self) -> usize {
        self.state.lock().connections.len()
    }

    /// Makes a connection belong to the device. `None` if the door is closed.
    fn enter(self: &Arc<Self>, connection: &SharedConnection) -> Option<Belonging> {
        let mut state = self.state.lock();
        if !state.is_open {
            return None;
        }
        state.connections.insert(connection.number, Arc::clone(&connection.ended));
        drop(state);
        Some(Belonging { connection: connection.number, door: Arc::clone(self) })
    }
}

impl Drop for Belonging {
    fn drop(&mut self) {
        let mut state = self.door.state.lock();
        state.connections.remove(&self.connection);
        if state.connections.is_empty() {
            // A device that had many clients once does not keep the room for them.
            state.connections.shrink_to(1);
            drop(state);
            self.door.left.notify_waiters();
        }
    }
}

impl AnswerRequests for SharedConnection {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn ended(&self) {
        loop {
            self.ended.notified().await;
            // The connection may belong to another device by now.
            if self.belongs_to.lock().as_ref().is_some_and(|belonging| !belonging.door.is_open()) {
                return;
            }
        }
    }

    /// Passes a request to the device that it names. On the heap, because hyper keeps the room of this future
    /// for as long as the connection is open, and here thousands wait with an open stream.
    fn answer(
        &self,
        request: Request<Incoming>,
        local: Option<LocalAddr>,
        delivery: &Arc<DeliveryControl>,
    ) -> impl Future<Output = Result<Response<ReplyBody<BodyConsumed>>, BrokenConnection>> + Send
    {
        Box::pin(self.pass_on(request, local, delivery))
    }
}

impl SharedDevices {
    /// Returns the device that a request is for, or the reply to a request that is for none.
    fn take_destination(
        &self,
        head: &mut hyper::http::request::Parts,
    ) -> Result<Arc<SharedDevice>, HttpReply> {
        match self.names.take_destination(head) {
            Destination::Device(number) => Ok(Arc::clone(&self.devices[number])),
            Destination::PageWithoutSlash { location } => {
                let reply = HttpReply::empty(StatusCode::PERMANENT_REDIRECT);
                Err(reply.with_header(LOCATION, &location))
            }
            Destination::Unknown { message } => {
                Err(HttpReply::error(StatusCode::NOT_FOUND, "unknown_device", &message))
            }
        }
    }
}

impl SharedConnection {
    /// Passes a request to the device that it names, or answers it if it names none.
    async fn pass_on(
        &self,
        request: Request<Incoming>,
        local: Option<LocalAddr>,
        delivery: &Arc<DeliveryControl>,
    ) -> Result<Response<ReplyBody<BodyConsumed>>, BrokenConnection> {
        let (mut head, body) = request.into_parts();
        let target = self.devices.read().take_destination(&mut head);
        let device = match target {
            Ok(device) => device,
            Err(reply) => {
                let reply = if body::discard(body).await { reply } else { reply.with_close() };
                return Ok(fault::send(reply, DeliveryPlan::Whole, head.headers, delivery).await);
            }
        };
        if !self.belong_to(&device.door, delivery) {
            // As near to a refused connection as a connection can be that is open already.
            delivery.set_end(DeliveryEnd::Reset);
            return Err(BrokenConnection);
        }
        let prefix = head.extensions.get::<ClientPath>().map(|path| path.prefix.clone());
        let request = Request::from_parts(head, body);
        let local = local
            .map(|local| LocalAddr { is_named_by_id: self.route_by == RouteBy::Host, ..local });
        let mut response = fault::answer(&device.api, request, local, delivery).await?;
        if let Some(prefix) = prefix {
            prefix_location(&mut response, &prefix);
        }
        Ok(response)
    }

    /// Makes the connection belong to a device. Returns false if the device cannot be reached.
    fn belong_to(&self, door: &Arc<Door>, delivery: &DeliveryControl) -> bool {
        let mut belongs_to = self.belongs_to.lock();
        if let Some(current) = &*belongs_to
            && Arc::ptr_eq(&current.door, door)
        {
            // A door that closes ends this connection, so this request is answered by nobody else.
            return door.is_open();
        }
        let Some(belonging) = door.enter(self) else { return false };
        // The device before this one may have sent its last reply, before a reboot.
        delivery.continue_after_last_reply();
        *belongs_to = Some(belonging);
        true
    }
}

/// Writes the prefix of the request before a `Location` of the device, which knows no prefix.
fn prefix_location<B>(response: &mut Response<B>, prefix: &str) {
    let Some(location) = response.headers_mut().get_mut(LOCATION) else { return };
    let prefixed = location.to_str().ok().filter(|location| location.starts_with('/'));
    let prefixed = prefixed.and_then(|own| HeaderValue::from_str(&format!("{prefix}{own}")).ok());
    if let Some(prefixed) = prefixed {
        *location = prefixed;
    }
}
