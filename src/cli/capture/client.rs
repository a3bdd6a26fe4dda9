//! An HTTP client of one device: GET with the authentication that the device asks for, and bounded in
//! size and time. All times are real, because the device may be a real one.

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

/// Bytes of a response. The largest one of a real device, the objects of a DLMS meter, has some 20 KiB.
const RESPONSE_BYTES: usize = 1024 * 1024;
/// Real time for one response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Real time for a scan of the Wi-Fi, which takes the device some seconds. A simulated device whose clock
/// stands still never ends it.
const SCAN_TIMEOUT: Duration = Duration::from_secs(10);
/// The path of the list of Wi-Fi networks.
pub(super) const SCAN_PATH: &str = "/api/v1/wifi/scan";

/// An error of capturing a device. The messages are for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum CaptureError {
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
    Timeout { authority: String, path: String, within: Duration },
    #[error("{url} is no whatwatt Go that can be captured: {reason}; expected the URL of a device")]
    NotADevice { url: String, reason: String },
    #[error("{authority} asks for a password; give it with --password or in WWSIM_PASSWORD")]
    PasswordMissing { authority: String },
    #[error("{authority} does not take this password")]
    PasswordWrong { authority: String },
    #[error("{path}: {reason}")]
    InvalidResponse { path: String, reason: String },
}

impl CaptureError {
    /// Returns true if the rest of the device can be read: one response is invalid, or the one of
    /// `slow_path` does not arrive in time.
    pub(super) fn is_partial(&self, slow_path: &str) -> bool {
        match self {
            Self::InvalidResponse { .. } => true,
            Self::Timeout { path, .. } => path == slow_path,
            _ => false,
        }
    }
}

/// The status and body of a response.
#[derive(Debug)]
struct DeviceReply {
    status: StatusCode,
    body: Bytes,
}

/// A client of one device, with the authentication that the device asked for.
pub(super) struct DeviceClient {
    authority: String,
    password: Option<String>,
    /// The Digest challenge of the device, which counts the requests with its nonce. `None` if there was
    /// none.
    digest: Option<WwwAuthenticateHeader>,
    /// True if the device asked for Basic authentication.
    basic: bool,
}

impl DeviceClient {
    pub(super) fn new(url: &str, password: Option<String>) -> Result<Self, CaptureError> {
        let invalid = || CaptureError::Url(url.to_owned());
        let with_scheme =
            if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = with_scheme.parse().map_err(|_| invalid())?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            return Err(invalid());
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(invalid)?.to_string();
        Ok(Self { authority, password, digest: None, basic: false })
    }

    /// Returns the host and port of the device.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Gets the response at `path`, with authentication if the device asks for it.
    async fn get(&mut self, path: &str) -> Result<DeviceReply, CaptureError> {
        let mut response = self.exchange(path).await?;
        // Two attempts, because the nonce may be stale; the device sends a fresh one then.
        for _ in 0..2 {
            if response.status() != StatusCode::UNAUTHORIZED {
                break;
            }
            self.accept_challenge(&response)?;
            response = self.exchange(path).await?;
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(CaptureError::PasswordWrong { authority: self.authority.clone() });
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_BYTES).collect();
        let within = timeout_for(path);
        let body = tokio::time::timeout(within, body)
            .await
            .map_err(|_| invalid_response(path, &format!("not complete within {within:?}")))?
            .map_err(|error| invalid_response(path, &error.to_string()))?;
        Ok(DeviceReply { status, body: body.to_bytes() })
    }

    /// Gets the JSON at `path`. `None` if the device replies 404.
    pub(super) async fn json(&mut self, path: &str) -> Result<Option<Value>, CaptureError> {
        let Some(body) = self.body(path).await? else { return Ok(None) };
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| invalid_response(path, &format!("answered with no JSON: {error}")))
    }

    /// Gets the text at `path`. `None` if the device replies 404.
    pub(super) async fn text(&mut self, path: &str) -> Result<Option<String>, CaptureError> {
        let body = self.body(path).await?;
        Ok(body.map(|body| String::from_utf8_lossy(&body).into_owned()))
    }

    async fn body(&mut self, path: &str) -> Result<Option<Bytes>, CaptureError> {
        let DeviceReply { status, body } = self.get(path).await?;
        match status {
            StatusCode::OK => Ok(Some(body)),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(invalid_response(path, &format!("answered with {other}"))),
        }
    }

    /// Gets `/api/v1/system`, which shows that the server is a device.
    pub(super) async fn system(&mut self) -> Result<Value, CaptureError> {
        const PATH: &str = "/api/v1/system";
        let url = format!("http://{}", self.authority);
        let not_a_device =
            |reason: String| CaptureError::NotADevice { url, reason: format!("{PATH}: {reason}") };
        let system = match self.json(PATH).await {
            Ok(Some(system)) => system,
            Ok(None) => {
                return Err(not_a_device(format!("answered with {}", StatusCode::NOT_FOUND)));
            }
            Err(CaptureError::InvalidResponse { reason, .. }) => return Err(not_a_device(reason)),
            Err(error) => return Err(error),
        };
        let has = |field: &str| system["device"][field].as_str().is_some_and(|id| !id.is_empty());
        match ["id", "firmware"].into_iter().find(|field| !has(field)) {
            Some(field) => Err(not_a_device(format!("answered without `device.{field}`"))),
            None => Ok(system),
        }
    }

    /// Stores the challenge of a 401 response.
    fn accept_challenge<B>(&mut self, response: &Response<B>) -> Result<(), CaptureError> {
        if self.password.is_none() {
            return Err(CaptureError::PasswordMissing { authority: self.authority.clone() });
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

    /// Returns the `Authorization` header for `path`. `None` if the device has not asked for one.
    fn authorization(&mut self, path: &str) -> Option<String> {
        let password = self.password.as_deref()?;
        if let Some(digest) = &mut self.digest {
            let response = digest.respond(&AuthContext::new("", password, path)).ok()?;
            return Some(response.to_header_string());
        }
        self.basic.then(|| format!("Basic {}", STANDARD.encode(format!(":{password}"))))
    }

    async fn exchange(
        &mut self,
        path: &str,
    ) -> Result<Response<hyper::body::Incoming>, CaptureError> {
        let authorization = self.authorization(path);
        let unreachable = |reason: String| CaptureError::Unreachable {
            authority: self.authority.clone(),
            reason,
        };
        let address = match self.authority.parse::<hyper::http::uri::Authority>() {
            Ok(authority) if authority.port().is_some() => self.authority.clone(),
            _ => format!("{}:80", self.authority),
        };
        let exchange = async {
            let stream = TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            // Ends with the response's body, or when the timeout drops the request.
            tokio::spawn(connection);
            let mut request = Request::get(path).header(HOST, &self.authority);
            if let Some(value) = authorization.and_then(|text| HeaderValue::from_str(&text).ok()) {
                request = request.header(AUTHORIZATION, value);
            }
            let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
            sender.send_request(request).await.map_err(|error| error.to_string())
        };
        let within = timeout_for(path);
        let timed_out = || CaptureError::Timeout {
            authority: self.authority.clone(),
            path: path.to_owned(),
            within,
        };
        let response = tokio::time::timeout(within, exchange).await;
        response.map_err(|_| timed_out())?.map_err(unreachable)
    }
}

fn timeout_for(path: &str) -> Duration {
    if path == SCAN_PATH { SCAN_TIMEOUT } else { RESPONSE_TIMEOUT }
}

fn invalid_response(path: &str, reason: &str) -> CaptureError {
    CaptureError::InvalidResponse { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_url_has_no_path_and_no_credentials() {
        let authority = |url| DeviceClient::new(url, None).map(|client| client.authority);
        assert_eq!(authority("http://192.168.1.20").unwrap(), "192.168.1.20");
        assert_eq!(authority("http://127.0.0.1:8080/").unwrap(), "127.0.0.1:8080");
        assert_eq!(authority("whatwatt-9F8124.local").unwrap(), "whatwatt-9F8124.local");
        for wrong in ["", "https://192.168.1.20", "http://a/api/v1/system", "http://u:p@a", "a b"] {
            assert!(authority(wrong).is_err(), "{wrong}");
        }
    }
}
