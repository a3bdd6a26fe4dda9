//! The actor: what the settings say, carried out.

use parking_lot::{Mutex, MutexGuard};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::session::{Login, Lost, MqttSession, MqttTransport};
use super::tls;
use crate::clock::{Clock, VirtualTime};
use crate::device::config::{BrokerUrl, MqttSettings};
use crate::device::template::Template;
use crate::device::variables::Facts;
use crate::device::{Device, Licensed, Snapshot, View};
use crate::fault::{Engine, FaultListener, MqttEffect, MqttMessage};
use crate::journal::{Event, Journal, truncate_text};
use crate::limits;
use crate::meter;
use crate::outbound::{Dial, DialError};
use crate::services::Readings;

/// Why a client does nothing, or its connection has ended.
const NO_NETWORK: &str = "the device has no network";

/// What a client is built from.
#[derive(Debug, Clone)]
pub struct ClientParts {
    /// The device that publishes.
    pub device: Arc<Device>,
    /// The house's clock.
    pub clock: Clock,
    /// The house's rules.
    pub engine: Arc<Engine>,
    /// The house's log.
    pub journal: Arc<Journal>,
    /// The way to brokers.
    pub dial: Arc<dyn Dial>,
}

/// The MQTT client of one device.
#[derive(Debug)]
pub struct MqttClient {
    parts: ClientParts,
    status: Mutex<MqttStatus>,
    /// Held while TLS is made ready: that cannot be broken off, and is not to be under way twice.
    preparing: Arc<tokio::sync::Mutex<()>>,
}

/// How the client is doing, for the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MqttStatus {
    /// What it is at.
    pub state: MqttState,
    /// The broker that the settings name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// Why it is off, or what the last try to connect came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Messages handed over since the device came up.
    pub published: u64,
}

/// What a client is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MqttState {
    /// It is to do nothing.
    #[default]
    Off,
    /// It has no connection, and tries to get one.
    Connecting,
    /// It has one.
    Connected,
}

/// What the settings make the client do.
struct MqttConnectionPlan {
    settings: MqttSettings,
    /// Counts the boots; a reboot drops the connection.
    boot: u64,
    url: BrokerUrl,
    login: Login,
    template: Template,
}

/// None for `mqtt://`; else TLS, or why there can be none.
type Tls = Option<Result<Arc<ClientConfig>, String>>;

/// A message, ready to go out.
struct Message {
    payload: String,
    /// When its reading came.
    read_at: VirtualTime,
    /// What a rule makes of it.
    effect: Option<MqttEffect>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Settings(String),
    #[error("no connection: {0}")]
    Unreached(#[from] DialError),
    #[error("no TLS: {0}")]
    Tls(#[source] std::io::Error),
    #[error("{0}")]
    Session(#[from] Lost),
}

/// Says that the client is down, once it is.
struct Down<'a>(&'a MqttClient);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.off("the device is down".to_owned());
    }
}

/// How a connection, or the attempt at one, ended.
enum Ended {
    /// There was none.
    Failed(Failed),
    /// A rule dropped it; the next one follows at once.
    Dropped,
    /// It was lost.
    Lost(Lost),
}

impl MqttClient {
    /// A client that does nothing yet.
    #[must_use]
    pub fn new(parts: ClientParts) -> Arc<Self> {
        Arc::new(Self { parts, status: Mutex::default(), preparing: Arc::default() })
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> MqttStatus {
        self.lock().clone()
    }

    /// Follows the settings for as long as it is polled. Dropped, it has lost its connection, as a
    /// device has that goes down.
    pub async fn run(self: Arc<Self>) {
        *self.lock() = MqttStatus::default();
        let _down = Down(&self);
        let mut changes = self.parts.device.changes();
        loop {
            changes.borrow_and_update();
            match self.plan(&self.parts.device.view()) {
                Ok(plan) => {
                    let mut session = None;
                    let why = tokio::select! {
                        never = self.serve(&plan, &mut session) => match never {},
                        why = self.replaced(&plan) => why,
                    };
                    if let Some(session) = session {
                        self.disconnected(&plan, why);
                        session.close().await;
                    }
                }
                Err(reason) => {
                    self.off(reason);
                    // The sender lives as long as the device.
                    let _ = changes.changed().await;
                }
            }
        }
    }

    /// What the settings make the client do, or why it does nothing.
    fn plan(&self, view: &View) -> Result<MqttConnectionPlan, String> {
        let settings = view.config.mqtt.clone();
        let identity = self.parts.device.identity();
        if !settings.enable {
            return Err("switched off".to_owned());
        }
        if !identity.license.includes(Licensed::Mqtt) {
            return Err("the licence does not cover MQTT".to_owned());
        }
        if settings.url.is_empty() {
            return Err("there is no URL".to_owned());
        }
        let url: BrokerUrl = settings.url.parse()?;
        if !self.parts.device.is_online(view) {
            return Err(NO_NETWORK.to_owned());
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
            settings,
        })
    }

    /// Makes TLS ready. The settings say how much work their key is, and the system's certificates are
    /// files, so it is done where it holds up nobody; a clock movement waits for it.
    async fn tls(&self, plan: &MqttConnectionPlan) -> Tls {
        if !plan.url.tls {
            return None;
        }
        let _motion = self.parts.clock.activity().enter();
        let (settings, one) =
            (plan.settings.clone(), Arc::clone(&self.preparing).lock_owned().await);
        let prepared = tokio::task::spawn_blocking(move || {
            let _one = one;
            tls::config(&settings)
        });
        Some(prepared.await.unwrap_or_else(|error| Err(error.to_string())))
    }

    /// Waits until the plan is out of date, and says why it is.
    async fn replaced(&self, plan: &MqttConnectionPlan) -> &'static str {
        let mut changes = self.parts.device.changes();
        loop {
            changes.borrow_and_update();
            let view = self.parts.device.view();
            if view.config.mqtt != plan.settings || view.boot.ordinal != plan.boot {
                return "the settings changed";
            }
            if !self.parts.device.is_online(&view) {
                return NO_NETWORK;
            }
            let _ = changes.changed().await;
        }
    }

    /// Keeps a connection, but while a rule has the broker refuse them. The open one is in `session`,
    /// so that whoever ends this can take leave of the broker.
    async fn serve(
        &self,
        plan: &MqttConnectionPlan,
        session: &mut Option<MqttSession>,
    ) -> Infallible {
        self.connecting(plan);
        // Of other settings.
        self.lock().reason = None;
        let tls = self.tls(plan).await;
        let device = self.parts.device.identity().id.as_str();
        let (mut last, mut pause) = (None, *limits::MQTT_RETRY.start());
        let mut refused = false;
        loop {
            let mut asked = self.parts.engine.refusing(FaultListener::Broker(device), refused);
            refused = asked.refuse;
            if refused {
                self.failed(plan, "refused by a rule");
                asked.until.await;
                continue;
            }
            let ended = {
                let mut attempt = pin!(self.attempt(plan, &tls, session, &mut last));
                loop {
                    tokio::select! {
                        biased;
                        ended = &mut attempt => break Some(ended),
                        () = &mut asked.until => {}
                    }
                    asked = self.parts.engine.refusing(FaultListener::Broker(device), false);
                    if asked.refuse {
                        break None;
                    }
                }
            };
            // In a pause nobody looks at it, and once it is due it holds up the clock.
            drop(asked);
            if session.take().is_some_and(|session| session.age() >= limits::MQTT_STEADY) {
                pause = *limits::MQTT_RETRY.start();
            }
            match ended {
                None => {
                    refused = true;
                    self.disconnected(plan, "refused by a rule");
                }
                Some(Ended::Dropped) => self.disconnected(plan, "dropped by a rule"),
                Some(Ended::Lost(why)) => {
                    self.disconnected(plan, &why.to_string());
                    self.wait(&mut pause).await;
                }
                Some(Ended::Failed(failed)) => {
                    self.not_connected(plan, &failed);
                    self.wait(&mut pause).await;
                }
            }
        }
    }

    /// Waits before another try. Real time: what a broker needs to come back is none of the
    /// scenario's.
    async fn wait(&self, pause: &mut Duration) {
        sleep(*pause).await;
        *pause = (*pause * 2).min(*limits::MQTT_RETRY.end());
    }

    /// Connects, and publishes until the connection ends. `last` is when the reading came that was
    /// published last.
    async fn attempt(
        &self,
        plan: &MqttConnectionPlan,
        tls: &Tls,
        session: &mut Option<MqttSession>,
        last: &mut Option<VirtualTime>,
    ) -> Ended {
        self.connecting(plan);
        match self.connected(plan, tls).await {
            Ok(open) => {
                let session = session.insert(open);
                self.has_connected(plan);
                self.publish(plan, session, last).await
            }
            Err(failed) => Ended::Failed(failed),
        }
    }

    /// A connection that the broker accepted. A clock movement waits for it, though not for ever.
    async fn connected(&self, plan: &MqttConnectionPlan, tls: &Tls) -> Result<MqttSession, Failed> {
        let motion = self.parts.clock.activity().enter();
        let mut connecting = pin!(timeout(limits::MQTT_CONNECT, self.connect(plan, tls)));
        let settled = timeout(limits::MQTT_CONNECT_SETTLE, &mut connecting).await;
        drop(motion);
        let connected = match settled {
            Ok(connected) => connected,
            Err(_) => connecting.await,
        };
        connected.unwrap_or(Err(Failed::Session(Lost::Stalled("take the client"))))
    }

    async fn connect(&self, plan: &MqttConnectionPlan, tls: &Tls) -> Result<MqttSession, Failed> {
        let BrokerUrl { host, port, .. } = &plan.url;
        let tls = tls.clone().transpose().map_err(Failed::Settings)?;
        let stream = self.parts.dial.dial(host, *port).await?;
        let stream: Box<dyn MqttTransport> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| Failed::Settings(format!("`{host}` is no name for TLS")))?;
                let connector = TlsConnector::from(config);
                Box::new(connector.connect(name, stream).await.map_err(Failed::Tls)?)
            }
        };
        Ok(MqttSession::open(stream, &plan.login).await?)
    }

    /// Publishes message after message until the connection ends.
    async fn publish(
        &self,
        plan: &MqttConnectionPlan,
        session: &mut MqttSession,
        last: &mut Option<VirtualTime>,
    ) -> Ended {
        let readings = Readings::new(Arc::clone(&self.parts.device));
        let mut message = pin!(self.message(plan, *last, readings));
        let mut ping = pin!(sleep(limits::MQTT_PING));
        loop {
            tokio::select! {
                biased;
                why = session.listen() => return Ended::Lost(why),
                () = &mut ping => {
                    if let Err(why) = session.ping().await {
                        return Ended::Lost(why);
                    }
                    ping.set(sleep(limits::MQTT_PING));
                }
                ready = &mut message => {
                    let (ready, readings) = ready;
                    *last = Some(ready.read_at);
                    if let Err(ended) = self.send(plan, session, ready).await {
                        return ended;
                    }
                    message.set(self.message(plan, *last, readings));
                }
            }
        }
    }

    /// The next message, when it is due, and after what rules hold it up; with the readings that come
    /// after it.
    async fn message(
        &self,
        plan: &MqttConnectionPlan,
        last: Option<VirtualTime>,
        mut readings: Readings,
    ) -> (Message, Readings) {
        if plan.settings.topic.is_empty() {
            // Nothing can be published under no topic, and befall it.
            return std::future::pending().await;
        }
        let (snapshot, read_at) = self.due(last, &mut readings).await;
        let device = &self.parts.device;
        let payload = plan.template.render(&Facts::of(device, &snapshot));
        let verdict = self.parts.engine.mqtt(&MqttMessage {
            device: device.identity().id.as_str(),
            topic: &plan.settings.topic,
        });
        if !verdict.delay.is_zero() {
            self.parts.clock.sleep(verdict.delay).await;
        }
        (Message { payload, read_at, effect: verdict.effect }, readings)
    }

    /// The device at the first reading that comes from now on and not before the interval since the
    /// last message is over: so it stretches to the meter's cadence, and a silent meter has nothing
    /// published.
    async fn due(
        &self,
        last: Option<VirtualTime>,
        readings: &mut Readings,
    ) -> (Snapshot, VirtualTime) {
        let device = &self.parts.device;
        let mut changes = device.changes();
        loop {
            changes.borrow_and_update();
            let interval = device.view().config.settings.services.report_interval;
            let snapshot = tokio::select! {
                biased;
                snapshot = readings.next_after(last, interval.into()) => snapshot,
                _ = changes.changed() => continue,
            };
            let healthy = snapshot.meter.status == meter::MeterStatus::Ok;
            if let Some(read_at) = snapshot.reading().map(|reading| reading.at).filter(|_| healthy)
            {
                return (snapshot, read_at);
            }
        }
    }

    /// Hands a message to the kernel, or has a rule's way with it.
    async fn send(
        &self,
        plan: &MqttConnectionPlan,
        session: &mut MqttSession,
        message: Message,
    ) -> Result<(), Ended> {
        let (device, topic) = (self.parts.device.identity().id.shared(), &plan.settings.topic);
        let not_sent = |device, reason| {
            let topic = topic.clone();
            self.parts.journal.record(Event::MqttNotPublished { device, topic, reason });
        };
        match message.effect {
            Some(MqttEffect::Lose) => not_sent(device, "lost by a rule"),
            Some(MqttEffect::Drop) => {
                not_sent(device, "the connection was dropped by a rule");
                return Err(Ended::Dropped);
            }
            // Delays are over, and a broker that refuses has no session.
            Some(MqttEffect::Delay(_) | MqttEffect::Refuse) | None => {
                let motion = self.parts.clock.activity().enter();
                let bytes = message.payload.len();
                session.publish(topic, message.payload).await.map_err(Ended::Lost)?;
                self.lock().published += 1;
                let topic = topic.clone();
                self.parts.journal.record(Event::MqttPublished { device, topic, bytes });
                drop(motion);
            }
        }
        Ok(())
    }

    fn off(&self, reason: String) {
        let mut status = self.lock();
        self.turn(&mut status, MqttState::Off);
        (status.broker, status.reason) = (None, Some(reason));
    }

    /// An attempt begins; what the last one came to still stands.
    fn connecting(&self, plan: &MqttConnectionPlan) {
        let mut status = self.lock();
        self.turn(&mut status, MqttState::Connecting);
        status.broker = Some(plan.url.to_string());
    }

    fn has_connected(&self, plan: &MqttConnectionPlan) {
        let mut status = self.lock();
        self.turn(&mut status, MqttState::Connected);
        status.reason = None;
        self.parts.journal.record(Event::MqttConnected {
            device: self.parts.device.identity().id.shared(),
            broker: plan.url.to_string(),
        });
    }

    fn disconnected(&self, plan: &MqttConnectionPlan, reason: &str) {
        let mut status = self.lock();
        let connected = status.state == MqttState::Connected;
        self.turn(&mut status, MqttState::Connecting);
        status.reason = Some(reason.to_owned());
        if connected {
            self.parts.journal.record(Event::MqttDisconnected {
                device: self.parts.device.identity().id.shared(),
                broker: plan.url.to_string(),
                reason: truncate_text(reason.to_owned()),
            });
        }
    }

    fn not_connected(&self, plan: &MqttConnectionPlan, failed: &Failed) {
        let reason = failed.to_string();
        if let Failed::Unreached(DialError::Denied(policy)) = failed
            && self.lock().reason.as_deref() != Some(&*reason)
        {
            self.parts.journal.record(Event::OutboundDenied {
                device: self.parts.device.identity().id.shared(),
                host: plan.url.host.clone(),
                policy: policy.name(),
            });
        }
        self.failed(plan, &reason);
    }

    /// Notes why there is no connection; in the journal once, however many tries come to the same.
    fn failed(&self, plan: &MqttConnectionPlan, reason: &str) {
        let mut status = self.lock();
        self.turn(&mut status, MqttState::Connecting);
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

    /// Notes what the client is at, also for the device's API.
    fn turn(&self, status: &mut MqttStatus, state: MqttState) {
        status.state = state;
        self.parts.device.set_broker_connected(state == MqttState::Connected);
    }

    fn lock(&self) -> MutexGuard<'_, MqttStatus> {
        self.status.lock()
    }
}
