//! A client of one device: GET with whatever authentication it asks for, within bounds of size and
//! time. Real time throughout: the device may be a real one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use digest_auth::{AuthContext, WwwAuthenticateHeader};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Bytes of an answer; the largest of a real device, the objects of a DLMS meter, has some 20 KiB.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Real time for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Real time for a scan of the Wi-Fi, which takes the device some seconds; those of a twin whose clock
/// stands never pass.
const SCAN_TIME: Duration = Duration::from_secs(10);
/// Where the networks around are listed.
pub(super) const SCAN: &str = "/api/v1/wifi/scan";

/// Why a device could not be read. The messages are for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(
        "`{0}`: expected the URL of a device, as http://192.168.1.20 or http://whatwatt-9F8124.local"
    )]
    Url(String),
    #[error("cannot reach {authority}: {reason}; is the device on, and in this network?")]
    Unreachable { authority: String, reason: String },
    #[error(
        "{authority}: no answer to {path} within {within:?}; is the device busy, or the clock of a \
         twin manual?"
    )]
    Silent { authority: String, path: String, within: Duration },
    #[error("{url} is no whatwatt Go that can be captured: {reason}; expected the URL of a device")]
    NoDevice { url: String, reason: String },
    #[error("{authority} asks for a password; give it with --password or in WWSIM_PASSWORD")]
    PasswordMissing { authority: String },
    #[error("{authority} does not take this password")]
    PasswordWrong { authority: String },
    #[error("{path}: {reason}")]
    Answer { path: String, reason: String },
}

impl Unreadable {
    /// Whether the rest of the device can be read all the same: an answer is wrong, or the one to
    /// `slow` does not come.
    pub(super) fn concerns_only(&self, slow: &str) -> bool {
        match self {
            Self::Answer { .. } => true,
            Self::Silent { path, .. } => path == slow,
            _ => false,
        }
    }
}

/// What a device answered.
#[derive(Debug)]
struct DeviceReply {
    status: StatusCode,
    body: Bytes,
}

/// A device, and how it lets us in.
pub(super) struct DeviceClient {
    authority: String,
    password: Option<String>,
    /// The challenge of the device, which counts the requests made with its nonce.
    digest: Option<WwwAuthenticateHeader>,
    basic: bool,
}

impl DeviceClient {
    pub(super) fn new(url: &str, password: Option<String>) -> Result<Self, Unreadable> {
        let wrong = || Unreadable::Url(url.to_owned());
        let with_scheme =
            if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = with_scheme.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            return Err(wrong());
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(wrong)?.to_string();
        Ok(Self { authority, password, digest: None, basic: false })
    }

    /// The host and port it talks to.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// What the device says at `path`.
    async fn get(&mut self, path: &str) -> Result<DeviceReply, Unreadable> {
        let mut response = self.exchange(path).await?;
        // Twice: a nonce of ours may have gone stale, and is answered with a fresh one.
        for _ in 0..2 {
            if response.status() != StatusCode::UNAUTHORIZED {
                break;
            }
            self.accept(&response)?;
            response = self.exchange(path).await?;
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Unreadable::PasswordWrong { authority: self.authority.clone() });
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect();
        let within = time_for(path);
        let body = tokio::time::timeout(within, body)
            .await
            .map_err(|_| wrong_answer(path, &format!("not complete within {within:?}")))?
            .map_err(|error| wrong_answer(path, &error.to_string()))?;
        Ok(DeviceReply { status, body: body.to_bytes() })
    }

    /// What the device says at `path` as JSON; none where it says with 404 that it has nothing.
    pub(super) async fn json(&mut self, path: &str) -> Result<Option<Value>, Unreadable> {
        let Some(body) = self.body(path).await? else { return Ok(None) };
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| wrong_answer(path, &format!("answered with no JSON: {error}")))
    }

    /// The same as text.
    pub(super) async fn text(&mut self, path: &str) -> Result<Option<String>, Unreadable> {
        let body = self.body(path).await?;
        Ok(body.map(|body| String::from_utf8_lossy(&body).into_owned()))
    }

    async fn body(&mut self, path: &str) -> Result<Option<Bytes>, Unreadable> {
        let DeviceReply { status, body } = self.get(path).await?;
        match status {
            StatusCode::OK => Ok(Some(body)),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(wrong_answer(path, &format!("answered with {other}"))),
        }
    }

    /// What the device says of itself, which tells it from anything else that speaks HTTP.
    pub(super) async fn system(&mut self) -> Result<Value, Unreadable> {
        const PATH: &str = "/api/v1/system";
        let url = format!("http://{}", self.authority);
        let no_device =
            |reason: String| Unreadable::NoDevice { url, reason: format!("{PATH}: {reason}") };
        let system = match self.json(PATH).await {
            Ok(Some(system)) => system,
            Ok(None) => return Err(no_device(format!("answered with {}", StatusCode::NOT_FOUND))),
            Err(Unreadable::Answer { reason, .. }) => return Err(no_device(reason)),
            Err(error) => return Err(error),
        };
        let says = |field: &str| system["device"][field].as_str().is_some_and(|id| !id.is_empty());
        match ["id", "firmware"].into_iter().find(|field| !says(field)) {
            Some(field) => Err(no_device(format!("answered without `device.{field}`"))),
            None => Ok(system),
        }
    }

    /// Takes up the challenge of a 401.
    fn accept<B>(&mut self, response: &Response<B>) -> Result<(), Unreadable> {
        if self.password.is_none() {
            return Err(Unreadable::PasswordMissing { authority: self.authority.clone() });
        }
        for challenge in response.headers().get_all(WWW_AUTHENTICATE) {
            let Ok(challenge) = challenge.to_str() else { continue };
            if let Ok(digest) = digest_auth::parse(challenge) {
                self.digest = Some(digest);
                return Ok(());
            }
            self.basic |= challenge.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("basic"));
        }
        Ok(())
    }

    /// What lets us in at `path`; none where the device has not asked for anything.
    fn authorization(&mut self, path: &str) -> Option<String> {
        let password = self.password.as_deref()?;
        if let Some(digest) = &mut self.digest {
            let answer = digest.respond(&AuthContext::new("", password, path)).ok()?;
            return Some(answer.to_header_string());
        }
        self.basic.then(|| format!("Basic {}", STANDARD.encode(format!(":{password}"))))
    }

    async fn exchange(
        &mut self,
        path: &str,
    ) -> Result<Response<hyper::body::Incoming>, Unreadable> {
        let authorization = self.authorization(path);
        let unreachable =
            |reason: String| Unreadable::Unreachable { authority: self.authority.clone(), reason };
        let address = match self.authority.parse::<hyper::http::uri::Authority>() {
            Ok(authority) if authority.port().is_some() => self.authority.clone(),
            _ => format!("{}:80", self.authority),
        };
        let exchange = async {
            let stream = TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            // Ends with the response's body, or with the answer's time.
            tokio::spawn(connection);
            let mut request = Request::get(path).header(HOST, &self.authority);
            if let Some(value) = authorization.and_then(|text| HeaderValue::from_str(&text).ok()) {
                request = request.header(AUTHORIZATION, value);
            }
            let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
            sender.send_request(request).await.map_err(|error| error.to_string())
        };
        let within = time_for(path);
        let silent = || Unreadable::Silent {
            authority: self.authority.clone(),
            path: path.to_owned(),
            within,
        };
        let answer = tokio::time::timeout(within, exchange).await;
        answer.map_err(|_| silent())?.map_err(unreachable)
    }
}

fn time_for(path: &str) -> Duration {
    if path == SCAN { SCAN_TIME } else { ANSWER_TIME }
}

fn wrong_answer(path: &str, reason: &str) -> Unreadable {
    Unreadable::Answer { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_its_url() {
        let authority = |url| DeviceClient::new(url, None).map(|client| client.authority);
        assert_eq!(authority("http://192.168.1.20").unwrap(), "192.168.1.20");
        assert_eq!(authority("http://127.0.0.1:8080/").unwrap(), "127.0.0.1:8080");
        assert_eq!(authority("whatwatt-9F8124.local").unwrap(), "whatwatt-9F8124.local");
        for wrong in ["", "https://192.168.1.20", "http://a/api/v1/system", "http://u:p@a", "a b"] {
            assert!(authority(wrong).is_err(), "{wrong}");
        }
    }
}
