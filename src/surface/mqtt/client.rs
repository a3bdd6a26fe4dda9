//! The actor that connects and publishes as the settings say.

use parking_lot::{Mutex, MutexGuard};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::session::{Login, MqttSession, MqttTransport, SessionError};
use super::tls::{SharedTls, TlsConfigError};
use crate::clock::{Clock, VirtualTime};
use crate::device::config::{BrokerUrl, BrokerUrlError, Config, MqttSettings};
use crate::device::template::Template;
use crate::device::variables::VariableContext;
use crate::device::{Device, LicensedFeature, Power, Snapshot, View};
use crate::fault::{Engine, FaultListener, MqttEffect, MqttMessage};
use crate::journal::{Event, Journal, truncate_text};
use crate::limits;
use crate::meter;
use crate::outbound::{Dial, DialError};
use crate::rng::{Draws, RandomStream};
use crate::services::Readings;

/// Real time between two PINGREQ: three quarters of the keep-alive time, so that their transmission may
/// take time.
const PING_INTERVAL: Duration = Duration::from_secs(limits::MQTT_KEEP_ALIVE.as_secs() * 3 / 4);
/// Real time for which a movement of the clock waits for a connection attempt. A local broker answers
/// within it, and one that does not must not block the clock until its own timeout.
const CLOCK_CONNECT_WAIT: Duration = Duration::from_secs(2);

/// The reason for which a client is off, or for which its connection ended.
const NO_NETWORK: &str = "the device has no network";

/// The parts from which a client is built.
#[derive(Debug, Clone)]
pub struct ClientParts {
    /// The device that publishes.
    pub device: Arc<Device>,
    /// The house's clock.
    pub clock: Clock,
    /// The house's rules.
    pub engine: Arc<Engine>,
    /// The house's journal.
    pub journal: Arc<Journal>,
    /// Opens connections to brokers.
    pub dial: Arc<dyn Dial>,
    /// The spread of the connections of a fleet. `None` outside a fleet.
    pub spread: Option<ConnectSpread>,
}

/// The spread of the connections of a fleet over time, so that a broker does not see all of them
/// at once (MQTT-14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectSpread {
    /// The seed of the house.
    pub seed: u64,
    /// The time in which all of them connect.
    pub within: Duration,
}

/// The MQTT client of one device.
#[derive(Debug)]
pub struct MqttClient {
    parts: ClientParts,
    status: Mutex<MqttStatus>,
    /// Locked while TLS is prepared, which cannot be cancelled and must not run twice at a time.
    tls_preparation: Arc<tokio::sync::Mutex<()>>,
}

/// The status of a client, for the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MqttStatus {
    /// The state.
    pub state: MqttState,
    /// The broker of the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// The reason for which the client is off, or the result of the last connection attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of messages sent since the device came up.
    pub published: u64,
}

/// The state of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MqttState {
    /// The client is off.
    #[default]
    Off,
    /// The client has no connection and tries to open one.
    Connecting,
    /// The client has a connection.
    Connected,
}

/// The connection that the settings ask for.
struct MqttConnectionPlan {
    /// The configuration whose MQTT settings these are. It is shared with the device: a fleet would have the
    /// certificates once for each client otherwise.
    config: Arc<Config>,
    /// The ordinal of the boot; a reboot drops the connection.
    boot: u64,
    url: BrokerUrl,
    login: Login,
    template: Template,
}

impl MqttConnectionPlan {
    fn settings(&self) -> &MqttSettings {
        &self.config.mqtt
    }
}

/// The TLS configuration. `None` for `mqtt://`.
type Tls = Option<Arc<SharedTls>>;

/// The reason for which a client is off.
#[derive(Debug, thiserror::Error)]
enum MqttOffReason {
    #[error("switched off")]
    Disabled,
    #[error("the licence does not cover MQTT")]
    License,
    #[error("there is no URL")]
    NoUrl,
    #[error(transparent)]
    InvalidUrl(#[from] BrokerUrlError),
    #[error("{NO_NETWORK}")]
    NoNetwork,
}

/// A message that is due.
struct Message {
    payload: String,
    /// The time of its reading.
    read_at: VirtualTime,
    /// The effect of the fault rules on it.
    effect: Option<MqttEffect>,
}

/// The reason for which a connection attempt failed.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("{0}")]
    TlsConfig(#[from] TlsConfigError),
    #[error("`{0}` is no name for TLS")]
    InvalidServerName(String),
    #[error("no connection: {0}")]
    Dial(#[from] DialError),
    #[error("no TLS: {0}")]
    TlsHandshake(#[source] std::io::Error),
    #[error("{0}")]
    Session(#[from] SessionError),
}

/// The draws that spread the connections of a client. `None` outside a fleet.
struct SpreadDraws(Option<(ConnectSpread, Draws)>);

impl SpreadDraws {
    /// Draws a wait that is shorter than `longest` says. `None` outside a fleet.
    fn next_wait(&mut self, longest: impl FnOnce(&ConnectSpread) -> Duration) -> Option<Duration> {
        let (spread, draws) = self.0.as_mut()?;
        Some(longest(spread).mul_f64(draws.unit()))
    }
}

/// Sets the client's status to off when it is dropped.
struct OffOnDrop<'a>(&'a MqttClient);

impl Drop for OffOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set_off();
    }
}

/// The end of a connection or of a connection attempt.
enum ConnectionEnd {
    /// The attempt failed.
    ConnectFailure(ConnectError),
    /// A fault rule dropped the connection; the client reconnects at once.
    DropRule,
    /// The session ended.
    SessionEnd(SessionError),
}

impl MqttClient {
    /// Makes a client that is off until [`MqttClient::run`].
    #[must_use]
    pub fn new(parts: ClientParts) -> Arc<Self> {
        Arc::new(Self { parts, status: Mutex::default(), tls_preparation: Arc::default() })
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> MqttStatus {
        let status = self.lock().clone();
        if status.state != MqttState::Off {
            return status;
        }
        let reason = if self.parts.device.power() == Power::Up {
            self.plan(&self.parts.device.view()).err().map(|reason| reason.to_string())
        } else {
            Some("the device is down".to_owned())
        };
        MqttStatus { reason, ..status }
    }

    /// Forgets what was sent before the device came up.
    pub(crate) fn begin(&self) {
        *self.lock() = MqttStatus::default();
    }

    /// Returns true if the settings ask for a connection.
    pub(crate) fn has_to_connect(&self, view: &View) -> bool {
        view.config.mqtt.enable && self.plan(view).is_ok()
    }

    /// Connects and publishes as the settings say, and returns when they ask for no connection. If this is
    /// dropped, the connection breaks without DISCONNECT, as that of a device that goes down.
    pub async fn run(self: Arc<Self>) {
        let _off = OffOnDrop(&self);
        while let Ok(plan) = self.plan(&self.parts.device.view()) {
            let mut session = None;
            let reason = tokio::select! {
                never = self.maintain_connection(&plan, &mut session) => match never {},
                reason = self.wait_outdated(&plan) => reason,
            };
            if let Some(session) = session {
                self.set_disconnected(&plan, reason);
                session.close().await;
            }
        }
    }

    /// Returns the connection that the settings ask for.
    ///
    /// # Errors
    /// The reason, if the client has to be off.
    fn plan(&self, view: &View) -> Result<MqttConnectionPlan, MqttOffReason> {
        let settings = &view.config.mqtt;
        let identity = self.parts.device.identity();
        if !settings.enable {
            return Err(MqttOffReason::Disabled);
        }
        if !identity.license.includes(LicensedFeature::Mqtt) {
            return Err(MqttOffReason::License);
        }
        if settings.url.is_empty() {
            return Err(MqttOffReason::NoUrl);
        }
        let url: BrokerUrl = settings.url.parse()?;
        if !self.parts.device.is_online(view) {
            return Err(MqttOffReason::NoNetwork);
        }
        let client_id = if settings.client_id.is_empty() {
            format!("whatwatt-{}", identity.id.short())
        } else {
            settings.client_id.clone()
        };
        let login = Login {
            client_id,
            username: settings.username.clone(),
            password: settings.password.clone().unwrap_or_default(),
        };
        Ok(MqttConnectionPlan {
            boot: view.boot.ordinal,
            login,
            template: Template::parse(&settings.template),
            url,
            config: Arc::clone(&view.config),
        })
    }

    /// Prepares TLS, unless another client with the same settings has. This runs on a thread for blocking
    /// work, because decrypting the client's key takes time and the system's certificates are files. A
    /// movement of the clock waits for it.
    async fn prepare_tls(&self, plan: &MqttConnectionPlan) -> Tls {
        if !plan.url.tls {
            return None;
        }
        let _activity = self.parts.clock.activity().enter();
        let shared = SharedTls::of(plan.settings());
        let lock = Arc::clone(&self.tls_preparation).lock_owned().await;
        shared.prepare(lock).await;
        Some(shared)
    }

    /// Waits until the plan is outdated, and returns the reason.
    async fn wait_outdated(&self, plan: &MqttConnectionPlan) -> &'static str {
        let mut changes = self.parts.device.changes();
        loop {
            changes.borrow_and_update();
            let view = self.parts.device.view();
            let same =
                Arc::ptr_eq(&view.config, &plan.config) || view.config.mqtt == *plan.settings();
            if !same || view.boot.ordinal != plan.boot {
                return "the settings changed";
            }
            if !self.parts.device.is_online(&view) {
                return NO_NETWORK;
            }
            let _ = changes.changed().await;
        }
    }

    /// Returns the draws that spread this client's connections. On a clock that stands still there are none:
    /// whoever moves it decides when something happens.
    fn spread(&self, plan: &MqttConnectionPlan) -> SpreadDraws {
        let spread = self.parts.spread.filter(|_| !self.parts.clock.speed().is_manual());
        let device = RandomStream::named(self.parts.device.identity().id.as_str()).number();
        let stream = RandomStream::named("mqtt-spread").child(device);
        let draws = spread.map(|spread| (spread, Draws::new(spread.seed, stream, plan.boot)));
        SpreadDraws(draws)
    }

    /// Connects and reconnects, except while a fault rule makes the broker refuse connections. The open
    /// session is in `session`, so that the caller that drops this can close it.
    async fn maintain_connection(
        &self,
        plan: &MqttConnectionPlan,
        session: &mut Option<MqttSession>,
    ) -> Infallible {
        self.set_connecting(plan);
        // The reason before may be one of other settings.
        self.lock().reason = None;
        let tls = self.prepare_tls(plan).await;
        let mut spread = self.spread(plan);
        if let Some(first) = spread.next_wait(|spread| spread.within) {
            sleep(first).await;
        }
        let device = self.parts.device.identity().id.as_str();
        let (mut last_read_at, mut pause) = (None, *limits::MQTT_RETRY.start());
        let mut refused = false;
        loop {
            let mut evaluation = self.parts.engine.listener(FaultListener::Broker(device), refused);
            refused = evaluation.refuse;
            if refused {
                self.set_not_connected(plan, "refused by a rule");
                evaluation.until.await;
                continue;
            }
            let end = {
                let connection = self.connect_and_publish(plan, &tls, session, &mut last_read_at);
                let mut connection = pin!(connection);
                loop {
                    tokio::select! {
                        biased;
                        end = &mut connection => break Some(end),
                        () = &mut evaluation.until => {}
                    }
                    evaluation = self.parts.engine.listener(FaultListener::Broker(device), false);
                    if evaluation.refuse {
                        break None;
                    }
                }
            };
            // The timer is dropped during the pause; otherwise a due timer would block `advance`.
            drop(evaluation);
            if session.take().is_some_and(|session| session.age() >= limits::MQTT_STEADY) {
                pause = *limits::MQTT_RETRY.start();
            }
            match end {
                None => {
                    refused = true;
                    self.set_disconnected(plan, "refused by a rule");
                }
                Some(ConnectionEnd::DropRule) => self.set_disconnected(plan, "dropped by a rule"),
                Some(ConnectionEnd::SessionEnd(error)) => {
                    self.set_disconnected(plan, &error.to_string());
                    self.back_off(&mut pause, &mut spread).await;
                }
                Some(ConnectionEnd::ConnectFailure(error)) => {
                    self.record_connect_error(plan, &error);
                    self.back_off(&mut pause, &mut spread).await;
                }
            }
        }
    }

    /// Waits before the next attempt, and doubles the pause. Real time, because a real broker needs real
    /// time to come back.
    async fn back_off(&self, pause: &mut Duration, spread: &mut SpreadDraws) {
        let more = spread.next_wait(|spread| spread.within.min(*pause)).unwrap_or_default();
        sleep(*pause + more).await;
        *pause = (*pause * 2).min(*limits::MQTT_RETRY.end());
    }

    /// Connects, and publishes until the connection ends. `last_read_at` is the time of the reading that
    /// was published last.
    async fn connect_and_publish(
        &self,
        plan: &MqttConnectionPlan,
        tls: &Tls,
        session: &mut Option<MqttSession>,
        last_read_at: &mut Option<VirtualTime>,
    ) -> ConnectionEnd {
        self.set_connecting(plan);
        match self.connect_in_time(plan, tls).await {
            Ok(open) => {
                let session = session.insert(open);
                self.set_connected(plan);
                self.publish_readings(plan, session, last_read_at).await
            }
            Err(error) => ConnectionEnd::ConnectFailure(error),
        }
    }

    /// Opens a session, or fails after [`limits::MQTT_CONNECT_TIMEOUT`]. A movement of the clock waits for this,
    /// but at most for [`CLOCK_CONNECT_WAIT`].
    async fn connect_in_time(
        &self,
        plan: &MqttConnectionPlan,
        tls: &Tls,
    ) -> Result<MqttSession, ConnectError> {
        let activity = self.parts.clock.activity().enter();
        // On the heap, because what a connect and a TLS handshake need is not kept by a client that publishes.
        let mut connecting =
            Box::pin(timeout(limits::MQTT_CONNECT_TIMEOUT, self.connect(plan, tls)));
        let early = timeout(CLOCK_CONNECT_WAIT, &mut connecting).await;
        drop(activity);
        let result = match early {
            Ok(result) => result,
            Err(_) => connecting.await,
        };
        result.unwrap_or(Err(ConnectError::Session(SessionError::Timeout("take the client"))))
    }

    async fn connect(
        &self,
        plan: &MqttConnectionPlan,
        tls: &Tls,
    ) -> Result<MqttSession, ConnectError> {
        let BrokerUrl { host, port, .. } = &plan.url;
        let tls = tls.as_ref().map(|tls| tls.config()).transpose()?;
        let stream = self.parts.dial.dial(host, *port).await?;
        let stream: Box<dyn MqttTransport> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| ConnectError::InvalidServerName(host.clone()))?;
                let connector = TlsConnector::from(config);
                Box::new(connector.connect(name, stream).await.map_err(ConnectError::TlsHandshake)?)
            }
        };
        Ok(MqttSession::open(stream, &plan.login).await?)
    }

    /// Publishes message after message until the connection ends.
    async fn publish_readings(
        &self,
        plan: &MqttConnectionPlan,
        session: &mut MqttSession,
        last_read_at: &mut Option<VirtualTime>,
    ) -> ConnectionEnd {
        let readings = Readings::new(Arc::clone(&self.parts.device));
        let mut message = pin!(self.next_message(plan, *last_read_at, readings));
        let mut ping = pin!(sleep(PING_INTERVAL));
        loop {
            tokio::select! {
                biased;
                error = session.read_until_end() => return ConnectionEnd::SessionEnd(error),
                () = &mut ping => {
                    if let Err(error) = session.ping().await {
                        return ConnectionEnd::SessionEnd(error);
                    }
                    ping.set(sleep(PING_INTERVAL));
                }
                (due, readings) = &mut message => {
                    *last_read_at = Some(due.read_at);
                    if let Err(end) = self.send(plan, session, due).await {
                        return end;
                    }
                    message.set(self.next_message(plan, *last_read_at, readings));
                }
            }
        }
    }

    /// Waits for the next message and for the delay of the fault rules on it. Returns it with the readings
    /// after it.
    async fn next_message(
        &self,
        plan: &MqttConnectionPlan,
        last_read_at: Option<VirtualTime>,
        mut readings: Readings,
    ) -> (Message, Readings) {
        if plan.settings().topic.is_empty() {
            // Without a topic nothing can be published, and no rule is evaluated.
            return std::future::pending().await;
        }
        let (snapshot, read_at) = self.next_due_reading(last_read_at, &mut readings).await;
        let device = &self.parts.device;
        let payload = plan.template.render(&VariableContext::new(device, &snapshot));
        let verdict = self.parts.engine.mqtt(&MqttMessage {
            device: device.identity().id.as_str(),
            topic: &plan.settings().topic,
        });
        if !verdict.delay.is_zero() {
            self.parts.clock.sleep(verdict.delay).await;
        }
        (Message { payload, read_at, effect: verdict.effect }, readings)
    }

    /// Waits for the first new reading after the report interval since the last message, and returns the
    /// device's snapshot with it. So the interval is rounded up to the meter's cadence, and without
    /// readings nothing is published.
    async fn next_due_reading(
        &self,
        last_read_at: Option<VirtualTime>,
        readings: &mut Readings,
    ) -> (Snapshot, VirtualTime) {
        let device = &self.parts.device;
        let mut changes = device.changes();
        loop {
            changes.borrow_and_update();
            let interval = device.view().config.settings.services.report_interval;
            let snapshot = tokio::select! {
                biased;
                snapshot = readings.next_after(last_read_at, interval.into()) => snapshot,
                _ = changes.changed() => continue,
            };
            let healthy = snapshot.meter.status == meter::MeterStatus::Ok;
            if let Some(read_at) = snapshot.reading().map(|reading| reading.at).filter(|_| healthy)
            {
                return (snapshot, read_at);
            }
        }
    }

    /// Sends a message, or applies the effect of a fault rule.
    async fn send(
        &self,
        plan: &MqttConnectionPlan,
        session: &mut MqttSession,
        message: Message,
    ) -> Result<(), ConnectionEnd> {
        let (device, topic) = (self.parts.device.identity().id.shared(), &plan.settings().topic);
        let record_not_sent = |device, reason| {
            let topic = topic.clone();
            self.parts.journal.record(Event::MqttNotPublished { device, topic, reason });
        };
        match message.effect {
            Some(MqttEffect::Lose) => record_not_sent(device, "lost by a rule"),
            Some(MqttEffect::Drop) => {
                record_not_sent(device, "the connection was dropped by a rule");
                return Err(ConnectionEnd::DropRule);
            }
            // A delay has passed already, and a broker that refuses connections has no session.
            Some(MqttEffect::Delay(_) | MqttEffect::Refuse) | None => {
                let activity = self.parts.clock.activity().enter();
                let bytes = message.payload.len();
                let sent = session.publish(topic, message.payload).await;
                sent.map_err(ConnectionEnd::SessionEnd)?;
                self.lock().published += 1;
                let topic = topic.clone();
                self.parts.journal.record(Event::MqttPublished { device, topic, bytes });
                drop(activity);
            }
        }
        Ok(())
    }

    fn set_off(&self) {
        let mut status = self.lock();
        self.set_state(&mut status, MqttState::Off);
        (status.broker, status.reason) = (None, None);
    }

    /// Sets the state at the start of an attempt. The result of the last attempt stays as the reason.
    fn set_connecting(&self, plan: &MqttConnectionPlan) {
        let mut status = self.lock();
        self.set_state(&mut status, MqttState::Connecting);
        status.broker = Some(plan.url.to_string());
    }

    fn set_connected(&self, plan: &MqttConnectionPlan) {
        let mut status = self.lock();
        self.set_state(&mut status, MqttState::Connected);
        status.reason = None;
        self.parts.journal.record(Event::MqttConnected {
            device: self.parts.device.identity().id.shared(),
            broker: plan.url.to_string(),
        });
    }

    fn set_disconnected(&self, plan: &MqttConnectionPlan, reason: &str) {
        let mut status = self.lock();
        let connected = status.state == MqttState::Connected;
        self.set_state(&mut status, MqttState::Connecting);
        status.reason = Some(reason.to_owned());
        if connected {
            self.parts.journal.record(Event::MqttDisconnected {
                device: self.parts.device.identity().id.shared(),
                broker: plan.url.to_string(),
                reason: truncate_text(reason.to_owned()),
            });
        }
    }

    fn record_connect_error(&self, plan: &MqttConnectionPlan, error: &ConnectError) {
        let reason = error.to_string();
        if let ConnectError::Dial(error) = error
            && let Some(policy) = error.denied_by()
            && self.lock().reason.as_deref() != Some(&*reason)
        {
            self.parts.journal.record(Event::OutboundDenied {
                device: self.parts.device.identity().id.shared(),
                host: plan.url.host.clone(),
                policy,
            });
        }
        self.set_not_connected(plan, &reason);
    }

    /// Sets the reason for which there is no connection. The journal has it once, even if several attempts
    /// fail for the same reason.
    fn set_not_connected(&self, plan: &MqttConnectionPlan, reason: &str) {
        let mut status = self.lock();
        self.set_state(&mut status, MqttState::Connecting);
        status.broker = Some(plan.url.to_string());
        if status.reason.as_deref() != Some(reason) {
            status.reason = Some(reason.to_owned());
            self.parts.journal.record(Event::MqttNotConnected {
                device: self.parts.device.identity().id.shared(),
                broker: plan.url.to_string(),
                reason: truncate_text(reason.to_owned()),
            });
        }
    }

    /// Sets the state, also for the device's API.
    fn set_state(&self, status: &mut MqttStatus, state: MqttState) {
        status.state = state;
        self.parts.device.set_broker_connected(state == MqttState::Connected);
    }

    fn lock(&self) -> MutexGuard<'_, MqttStatus> {
        self.status.lock()
    }
}
