//! One connection to a broker: MQTT 3.1.1 packets over a byte stream.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::Error;
use rumqttc::{ConnAck, Connect, ConnectReturnCode, Packet, Publish, QoS};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::limits;

/// What a connection runs over.
pub(super) trait MqttTransport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> MqttTransport for S {}

/// Who the client is to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub client_id: String,
    /// Empty where it has none; then there is no password either (MQTT 3.1.1 §3.1.2.9).
    pub username: String,
    pub password: String,
}

/// Why there is no connection any more, or never was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The broker closed it.
    #[error("the broker closed the connection")]
    Closed,
    /// The system lost it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The broker sent what is no MQTT.
    #[error("the broker sent what is no MQTT: {0}")]
    Garbage(#[source] Error),
    /// The broker sent a packet that has no place there.
    #[error("the broker sent {0} where it must not")]
    OutOfPlace(&'static str),
    /// The broker does not take this client.
    #[error("the broker refuses the client: {0}")]
    Refused(&'static str),
    /// The broker does not answer, or does not read.
    #[error("the broker did not {0} in time")]
    Stalled(&'static str),
}

/// An open connection whose CONNECT was accepted.
pub(super) struct MqttSession {
    stream: Box<dyn MqttTransport>,
    received: BytesMut,
    /// A packet is partly written: nothing else can follow.
    torn: bool,
    /// A PINGREQ is out that was not answered yet.
    pinged: bool,
    since: Instant,
}

impl fmt::Debug for MqttSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl MqttSession {
    /// How long it has been open, in real time.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Introduces the client, and waits for the broker to take it. `QoS` 0 alone, so no session is
    /// kept; no will (MQTT-1).
    pub(super) async fn open(stream: Box<dyn MqttTransport>, login: &Login) -> Result<Self, Lost> {
        let received = BytesMut::new();
        let since = Instant::now();
        let mut session = Self { stream, received, torn: false, pinged: false, since };
        let mut connect = Connect::new(&login.client_id);
        connect.keep_alive = u16::try_from(limits::MQTT_KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX);
        if !login.username.is_empty() {
            connect.set_login(&login.username, &login.password);
        }
        session.write(&Packet::Connect(connect)).await?;
        match session.packet().await? {
            Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, .. }) => Ok(session),
            Packet::ConnAck(ConnAck { code, .. }) => Err(Lost::Refused(reason(code))),
            other => Err(Lost::OutOfPlace(name(&other))),
        }
    }

    /// Sends a message: `QoS` 0, not retained. When this returns it is with the kernel.
    pub(super) async fn publish(&mut self, topic: &str, payload: String) -> Result<(), Lost> {
        self.write(&Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload))).await
    }

    /// Asks whether the broker is there; an error where it did not answer the time before.
    pub(super) async fn ping(&mut self) -> Result<(), Lost> {
        if self.pinged {
            return Err(Lost::Stalled("answer a ping"));
        }
        self.pinged = true;
        self.write(&Packet::PingReq).await
    }

    /// Takes what the broker sends, until the connection is lost. Giving up on this loses nothing.
    pub(super) async fn listen(&mut self) -> Lost {
        loop {
            match self.packet().await {
                Ok(Packet::PingResp) => self.pinged = false,
                // The client subscribes to nothing and publishes nothing that is acknowledged.
                Ok(other) => return Lost::OutOfPlace(name(&other)),
                Err(lost) => return lost,
            }
        }
    }

    /// Takes leave, as far as the broker still listens.
    pub(super) async fn close(mut self) {
        let leave = async {
            if !self.torn {
                self.write(&Packet::Disconnect).await?;
            }
            self.stream.shutdown().await.map_err(Lost::from)
        };
        // Whoever does not read in time has the connection closed on him.
        let _ = tokio::time::timeout(limits::MQTT_WRITE, leave).await;
    }

    async fn packet(&mut self) -> Result<Packet, Lost> {
        loop {
            match Packet::read(&mut self.received, limits::MQTT_PACKET_BYTES) {
                Ok(packet) => return Ok(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(Lost::Garbage(error)),
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(Lost::Closed);
            }
        }
    }

    async fn write(&mut self, packet: &Packet) -> Result<(), Lost> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, limits::RENDERED_BYTES + 1024).map_err(Lost::Garbage)?;
        self.torn = true;
        let write = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        let within: Duration = limits::MQTT_WRITE;
        tokio::time::timeout(within, write).await.map_err(|_| Lost::Stalled("read"))??;
        self.torn = false;
        Ok(())
    }
}

fn reason(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "success",
        ConnectReturnCode::RefusedProtocolVersion => "protocol version",
        ConnectReturnCode::BadClientId => "client id",
        ConnectReturnCode::ServiceUnavailable => "not available",
        ConnectReturnCode::BadUserNamePassword => "user name or password",
        ConnectReturnCode::NotAuthorized => "not authorized",
    }
}

fn name(packet: &Packet) -> &'static str {
    match packet {
        Packet::Connect(_) => "CONNECT",
        Packet::ConnAck(_) => "CONNACK",
        Packet::Publish(_) => "PUBLISH",
        Packet::PubAck(_) => "PUBACK",
        Packet::PubRec(_) => "PUBREC",
        Packet::PubRel(_) => "PUBREL",
        Packet::PubComp(_) => "PUBCOMP",
        Packet::Subscribe(_) => "SUBSCRIBE",
        Packet::SubAck(_) => "SUBACK",
        Packet::Unsubscribe(_) => "UNSUBSCRIBE",
        Packet::UnsubAck(_) => "UNSUBACK",
        Packet::PingReq => "PINGREQ",
        Packet::PingResp => "PINGRESP",
        Packet::Disconnect => "DISCONNECT",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;

    fn login() -> Login {
        Login { client_id: "twin".into(), username: String::new(), password: "unused".into() }
    }

    /// What a session makes of a broker that says just this.
    async fn facing(bytes: &[u8]) -> (Result<MqttSession, Lost>, tokio::io::DuplexStream) {
        let (ours, mut theirs) = duplex(4096);
        theirs.write_all(bytes).await.unwrap();
        (MqttSession::open(Box::new(ours), &login()).await, theirs)
    }

    // Ruling: MQTT-1, MQTT-7.
    #[tokio::test]
    async fn a_client_without_name_sends_no_password_and_no_will() {
        let (session, mut broker) = facing(&[0x20, 2, 0, 0]).await;
        let mut sent = [0; 18];
        broker.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04twin");
        session.unwrap().publish("a/b", "25".into()).await.unwrap();
        let mut sent = [0; 9];
        broker.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"\x30\x07\x00\x03a/b25", "QoS 0, not retained");
    }

    #[tokio::test]
    async fn a_broker_that_refuses_says_why() {
        let refused = facing(&[0x20, 2, 0, 4]).await.0.unwrap_err();
        assert_eq!(refused.to_string(), "the broker refuses the client: user name or password");
        let odd = facing(&[0xD0, 0]).await.0.unwrap_err();
        assert_eq!(odd.to_string(), "the broker sent PINGRESP where it must not");
    }

    #[tokio::test]
    async fn a_ping_without_answer_is_the_last() {
        let (session, mut broker) = facing(&[0x20, 2, 0, 0]).await;
        let mut session = session.unwrap();
        session.ping().await.unwrap();
        broker.write_all(&[0xD0, 0]).await.unwrap();
        let answered = tokio::time::timeout(Duration::from_millis(50), session.listen()).await;
        assert!(answered.is_err(), "nothing is lost");
        session.ping().await.unwrap();
        assert!(matches!(session.ping().await, Err(Lost::Stalled(_))));
        drop(broker);
        assert!(matches!(session.listen().await, Lost::Closed));
    }

    proptest! {
        #[test]
        fn whatever_a_broker_sends_is_taken_or_refused(
            bytes in prop::collection::vec(prop_oneof![Just(0x20), Just(0x30), 0..4_u8, any::<u8>()], 0..64)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                for begin in [&[][..], &[0x20, 2, 0, 0]] {
                    let (ours, mut theirs) = duplex(4096);
                    theirs.write_all(begin).await.unwrap();
                    theirs.write_all(&bytes).await.unwrap();
                    theirs.shutdown().await.unwrap();
                    if let Ok(mut session) = MqttSession::open(Box::new(ours), &login()).await {
                        let _ = session.listen().await;
                    }
                }
            });
        }
    }
}
