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

/// Real time that a broker has to read a packet; after that the connection is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum bytes of a packet from a broker, which has to send only packets of four bytes.
const MAX_PACKET_BYTES: usize = 1024;

/// A byte stream to a broker.
pub(super) trait MqttTransport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> MqttTransport for S {}

/// The identity of the client for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub client_id: String,
    /// The user name. If it is empty, no password is sent either (MQTT 3.1.1 §3.1.2.9).
    pub username: String,
    pub password: String,
}

/// The reason for which a connection ended or could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// The broker closed it.
    #[error("the broker closed the connection")]
    Closed,
    /// The operating system reports an error.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The broker sent a malformed packet.
    #[error("the broker sent what is no MQTT: {0}")]
    InvalidPacket(#[source] Error),
    /// The broker sent a packet that a broker must not send here.
    #[error("the broker sent {0} where it must not")]
    UnexpectedPacket(&'static str),
    /// The broker refused the CONNECT.
    #[error("the broker refuses the client: {0}")]
    Refused(&'static str),
    /// The broker does not answer or does not read.
    #[error("the broker did not {0} in time")]
    Timeout(&'static str),
}

/// An open connection whose CONNECT was accepted.
pub(super) struct MqttSession {
    stream: Box<dyn MqttTransport>,
    received: BytesMut,
    /// True if a packet may be partly written, so that no other can follow.
    write_incomplete: bool,
    /// True if a PINGREQ was not answered yet.
    ping_pending: bool,
    opened_at: Instant,
}

impl fmt::Debug for MqttSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttSession").finish_non_exhaustive()
    }
}

impl MqttSession {
    /// Returns the real time since the connection was opened.
    pub(super) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// Sends CONNECT and waits until the broker accepts it. The session is clean, because the client uses
    /// `QoS` 0 alone, and has no will (MQTT-1).
    pub(super) async fn open(
        stream: Box<dyn MqttTransport>,
        login: &Login,
    ) -> Result<Self, SessionError> {
        let mut session = Self {
            stream,
            received: BytesMut::new(),
            write_incomplete: false,
            ping_pending: false,
            opened_at: Instant::now(),
        };
        let mut connect = Connect::new(&login.client_id);
        connect.keep_alive = u16::try_from(limits::MQTT_KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX);
        if !login.username.is_empty() {
            connect.set_login(&login.username, &login.password);
        }
        session.write_packet(&Packet::Connect(connect)).await?;
        match session.read_packet().await? {
            Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, .. }) => Ok(session),
            Packet::ConnAck(ConnAck { code, .. }) => {
                Err(SessionError::Refused(return_code_name(code)))
            }
            other => Err(SessionError::UnexpectedPacket(packet_name(&other))),
        }
    }

    /// Sends a message with `QoS` 0, not retained. When this returns, the kernel has it.
    pub(super) async fn publish(
        &mut self,
        topic: &str,
        payload: String,
    ) -> Result<(), SessionError> {
        self.write_packet(&Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload))).await
    }

    /// Sends a PINGREQ.
    ///
    /// # Errors
    /// If the previous one was not answered, or if the connection ended.
    pub(super) async fn ping(&mut self) -> Result<(), SessionError> {
        if self.ping_pending {
            return Err(SessionError::Timeout("answer a ping"));
        }
        self.ping_pending = true;
        self.write_packet(&Packet::PingReq).await
    }

    /// Reads packets until the connection ends, and returns the reason. Cancel safe: no data is lost if
    /// this is dropped.
    pub(super) async fn read_until_end(&mut self) -> SessionError {
        loop {
            match self.read_packet().await {
                Ok(Packet::PingResp) => self.ping_pending = false,
                // The client has no subscriptions and publishes nothing that is acknowledged.
                Ok(other) => return SessionError::UnexpectedPacket(packet_name(&other)),
                Err(error) => return error,
            }
        }
    }

    /// Sends DISCONNECT and closes the connection, as far as the broker still reads.
    pub(super) async fn close(mut self) {
        let disconnect = async {
            if !self.write_incomplete {
                self.write_packet(&Packet::Disconnect).await?;
            }
            self.stream.shutdown().await.map_err(SessionError::from)
        };
        // If the broker does not read in time, the connection is closed without DISCONNECT.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, disconnect).await;
    }

    async fn read_packet(&mut self) -> Result<Packet, SessionError> {
        loop {
            match Packet::read(&mut self.received, MAX_PACKET_BYTES) {
                Ok(packet) => return Ok(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(SessionError::InvalidPacket(error)),
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(SessionError::Closed);
            }
        }
    }

    async fn write_packet(&mut self, packet: &Packet) -> Result<(), SessionError> {
        let mut bytes = BytesMut::new();
        packet
            .write(&mut bytes, limits::RENDERED_BYTES + 1024)
            .map_err(SessionError::InvalidPacket)?;
        self.write_incomplete = true;
        let write = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(WRITE_TIMEOUT, write)
            .await
            .map_err(|_| SessionError::Timeout("read"))??;
        self.write_incomplete = false;
        Ok(())
    }
}

fn return_code_name(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "success",
        ConnectReturnCode::RefusedProtocolVersion => "protocol version",
        ConnectReturnCode::BadClientId => "client id",
        ConnectReturnCode::ServiceUnavailable => "not available",
        ConnectReturnCode::BadUserNamePassword => "user name or password",
        ConnectReturnCode::NotAuthorized => "not authorized",
    }
}

fn packet_name(packet: &Packet) -> &'static str {
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

    /// Opens a session to a broker that sends these bytes.
    async fn open_session(
        bytes: &[u8],
    ) -> (Result<MqttSession, SessionError>, tokio::io::DuplexStream) {
        let (ours, mut theirs) = duplex(4096);
        theirs.write_all(bytes).await.unwrap();
        (MqttSession::open(Box::new(ours), &login()).await, theirs)
    }

    // Ruling: MQTT-1, MQTT-7.
    #[tokio::test]
    async fn a_client_without_user_name_sends_no_password_and_no_will() {
        let (session, mut broker) = open_session(&[0x20, 2, 0, 0]).await;
        let mut sent = [0; 18];
        broker.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04twin");
        session.unwrap().publish("a/b", "25".into()).await.unwrap();
        let mut sent = [0; 9];
        broker.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"\x30\x07\x00\x03a/b25", "QoS 0, not retained");
    }

    #[tokio::test]
    async fn a_refusal_names_the_return_code() {
        let refused = open_session(&[0x20, 2, 0, 4]).await.0.unwrap_err();
        assert_eq!(refused.to_string(), "the broker refuses the client: user name or password");
        let unexpected = open_session(&[0xD0, 0]).await.0.unwrap_err();
        assert_eq!(unexpected.to_string(), "the broker sent PINGRESP where it must not");
    }

    #[tokio::test]
    async fn a_ping_fails_if_the_one_before_was_not_answered() {
        let (session, mut broker) = open_session(&[0x20, 2, 0, 0]).await;
        let mut session = session.unwrap();
        session.ping().await.unwrap();
        broker.write_all(&[0xD0, 0]).await.unwrap();
        let answered =
            tokio::time::timeout(Duration::from_millis(50), session.read_until_end()).await;
        assert!(answered.is_err(), "the connection stays open");
        session.ping().await.unwrap();
        assert!(matches!(session.ping().await, Err(SessionError::Timeout(_))));
        drop(broker);
        assert!(matches!(session.read_until_end().await, SessionError::Closed));
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_broker_are_read_or_refused(
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
                        let _ = session.read_until_end().await;
                    }
                }
            });
        }
    }
}
