//! Authentication: Digest from firmware 1.10.0 on, Basic before (ACCESS-8 to ACCESS-14).
//!
//! A nonce carries its number and a MAC that proves that this device made it; what the device remembers of it is
//! in a bounded table (`nonces`).
//!
//! A request with any mistake takes the same hashes and comparisons as a correct one before it is
//! refused, so that the time does not tell what was wrong.

use parking_lot::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use subtle::{Choice, ConstantTimeEq};

use super::HttpReply;
use super::digest::{self, Claim, Credentials, DigestError, Md5Sum, Qop};
use super::host_names::ClientPath;
use super::nonces::{NoNonceFree, Nonce, NonceKey, NonceTable, NonceTime};
use crate::clock::Clock;
use crate::device::{DigestPolicy, Feature, Profile, View};

/// The authentication of the API of one device.
pub(super) struct Authenticator {
    policy: DigestPolicy,
    key: NonceKey,
    opaque: String,
    clock: Clock,
    nonces: Mutex<NonceTable>,
}

/// The treatment of a valid nonce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum NonceTreatment {
    /// Use.
    #[default]
    Accept,
    /// Expiry, because a fault rule wants it.
    Expire,
}

/// The decision about a request whose body was not read yet.
#[derive(Debug)]
pub(super) enum AuthDecision {
    /// The request is allowed.
    Allow,
    /// The decision depends on the body; call [`Authenticator::check_with_body`].
    NeedsBody,
    /// The request is refused.
    Deny(AuthRefusal),
}

/// The result of an authentication that found no mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authentication {
    Complete,
    /// `qop=auth-int` also protects the body, which is not known yet.
    NeedsBody,
}

/// The reason why a request is refused, for the log. The reply shows only whether the nonce is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthRefusal {
    #[error("no credentials")]
    NoCredentials,
    #[error("several Authorization headers")]
    SeveralHeaders,
    #[error("unreadable Digest: {0}")]
    Malformed(DigestError),
    #[error("not Basic with a user name and a password")]
    NotBasic,
    #[error("wrong user name, realm, uri or password")]
    WrongCredentials,
    #[error("the nonce has expired or is of another start")]
    ExpiredNonce,
    #[error("the nonce counter was used before")]
    RepeatedCount,
    #[error("the body could not be read")]
    UnreadableBody,
}

impl AuthRefusal {
    fn is_stale(self) -> bool {
        matches!(self, Self::ExpiredNonce | Self::RepeatedCount)
    }
}

impl Authenticator {
    pub(super) fn new(policy: DigestPolicy, clock: Clock) -> Self {
        let key = NonceKey::random();
        // No nonce can be made from it, because the message is longer than that of a nonce.
        let opaque = hex_text(digest::hex(key.mac(b"opaque, told to everyone")));
        Self { policy, key, opaque, clock, nonces: Mutex::new(NonceTable::new(policy)) }
    }

    /// Decides about a request from its head alone.
    pub(super) fn check_head(
        &self,
        head: &Parts,
        view: &View,
        treatment: NonceTreatment,
    ) -> AuthDecision {
        match self.authenticate(head, view, None, treatment) {
            Ok(Authentication::Complete) => AuthDecision::Allow,
            Ok(Authentication::NeedsBody) => AuthDecision::NeedsBody,
            Err(refusal) => AuthDecision::Deny(refusal),
        }
    }

    /// Decides about a request with its body, after [`AuthDecision::NeedsBody`].
    ///
    /// # Errors
    /// The reason, if the request is refused.
    pub(super) fn check_with_body(
        &self,
        head: &Parts,
        view: &View,
        body: &[u8],
        treatment: NonceTreatment,
    ) -> Result<(), AuthRefusal> {
        self.authenticate(head, view, Some(digest::body_sum(body)), treatment).map(drop)
    }

    /// Returns the 401 with a challenge; a 429 if there is no nonce for it (ACCESS-14).
    pub(super) fn refuse(&self, view: &View, refusal: AuthRefusal) -> HttpReply {
        let nonce = match is_digest(view).then(|| self.issue_nonce(view)).transpose() {
            Ok(nonce) => nonce,
            Err(full) => return too_many_nonces(full),
        };
        let challenge = self.challenge_text(view, nonce, refusal.is_stale());
        let message = "this device is protected; authenticate with its password, without user name";
        HttpReply::error(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .with_header(WWW_AUTHENTICATE, &challenge)
    }

    /// Returns the challenge of a 401 that a fault rule wants. Its nonce has expired if there is no other.
    pub(super) fn injected_challenge(&self, view: &View) -> String {
        let nonce = is_digest(view)
            .then(|| self.issue_nonce(view).unwrap_or_else(|_| self.nonces.lock().expired()));
        self.challenge_text(view, nonce, false)
    }

    /// Returns the challenge: Digest if there is a nonce, else Basic.
    fn challenge_text(&self, view: &View, nonce: Option<Nonce>, stale: bool) -> String {
        let realm = escape_quotes(&view.config.settings.system.host_name);
        let Some(nonce) = nonce else { return format!("Basic realm=\"{realm}\"") };
        let (nonce, opaque) = (nonce.encode(&self.key), &self.opaque);
        let stale = if stale { ", stale=true" } else { "" };
        format!(
            "Digest realm=\"{realm}\", qop=\"auth,auth-int\", algorithm=MD5-sess, \
             nonce=\"{nonce}\", opaque=\"{opaque}\"{stale}"
        )
    }

    fn authenticate(
        &self,
        head: &Parts,
        view: &View,
        body: Option<Md5Sum>,
        treatment: NonceTreatment,
    ) -> Result<Authentication, AuthRefusal> {
        let system = &view.config.settings.system;
        if !system.protection || system.password.is_empty() {
            return Ok(Authentication::Complete);
        }
        let mut headers = head.headers.get_all(AUTHORIZATION).iter();
        let header = match (headers.next(), headers.next()) {
            (None, _) => return Err(AuthRefusal::NoCredentials),
            (Some(header), None) => Ok(header),
            (Some(_), Some(_)) => Err(AuthRefusal::SeveralHeaders),
        };
        if is_digest(view) {
            let credentials = header.and_then(|header| {
                digest::parse(header.as_bytes(), self.policy.mode).map_err(AuthRefusal::Malformed)
            });
            self.authenticate_digest(head, view, credentials, body, treatment)
        } else {
            let credentials =
                header.and_then(|header| decode_basic(header).ok_or(AuthRefusal::NotBasic));
            let expected = [b":", system.password.as_bytes()].concat();
            // Hashes have equal length; comparing the texts would tell the length of the password.
            let received = self.key.mac(credentials.as_deref().unwrap_or_default());
            let equal = received.ct_eq(&self.key.mac(&expected));
            credentials?;
            if equal.into() {
                Ok(Authentication::Complete)
            } else {
                Err(AuthRefusal::WrongCredentials)
            }
        }
    }

    fn authenticate_digest(
        &self,
        head: &Parts,
        view: &View,
        parsed: Result<Credentials<'_>, AuthRefusal>,
        body: Option<Md5Sum>,
        treatment: NonceTreatment,
    ) -> Result<Authentication, AuthRefusal> {
        let system = &view.config.settings.system;
        let credentials = parsed.as_ref().unwrap_or(&Credentials::PLACEHOLDER);
        if credentials.qop == Qop::AuthInt && body.is_none() {
            return Ok(Authentication::NeedsBody);
        }
        let nonce = Nonce::decode(credentials.nonce, &self.key);
        // The lock is held while the hashes are computed, some microseconds, so that only one of two
        // requests can begin a session or use a count.
        let mut nonces = self.nonces.lock();
        let claim = Claim {
            realm: &system.host_name,
            password: &system.password,
            method: head.method.as_str(),
            body: body.unwrap_or_default(),
            session: nonce.and_then(|nonce| nonces.session_cnonce(nonce)),
        };
        let valid = credentials.verify(&claim, self.policy.mode)
            & credentials.username.as_bytes().ct_eq(b"")
            & credentials.realm.as_bytes().ct_eq(system.host_name.as_bytes())
            & Choice::from(u8::from(is_target(credentials.uri, head)));
        let credentials = parsed?;
        if !bool::from(valid) {
            return Err(AuthRefusal::WrongCredentials);
        }
        // From here on the client is known to have the password.
        let opaque = credentials.opaque.is_none_or(|opaque| opaque == self.opaque);
        let nonce = nonce.filter(|_| opaque).ok_or(AuthRefusal::ExpiredNonce)?;
        if treatment == NonceTreatment::Expire {
            nonces.remove(nonce);
            return Err(AuthRefusal::ExpiredNonce);
        }
        nonces.record_use(nonce, &credentials, self.now(view))?;
        Ok(Authentication::Complete)
    }

    /// Makes all nonces expire.
    pub(super) fn forget_nonces(&self) {
        self.nonces.lock().forget_all();
    }

    /// Issues a nonce.
    fn issue_nonce(&self, view: &View) -> Result<Nonce, NoNonceFree> {
        self.nonces.lock().issue(self.now(view))
    }

    fn now(&self, view: &View) -> NonceTime {
        NonceTime { at: self.clock.now(), boot: view.boot.ordinal }
    }
}

/// Returns the reply to a client that needs a nonce if there is none for it.
fn too_many_nonces(full: NoNonceFree) -> HttpReply {
    let seconds = full.free_in.as_nanos().div_ceil(1_000_000_000).max(1);
    let message = format!("all nonces are in use; the next one is free in {seconds} s");
    HttpReply::error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", &message)
        .with_header(RETRY_AFTER, &seconds.to_string())
}

fn is_digest(view: &View) -> bool {
    Profile::new(view.firmware).has(Feature::Digest)
}

/// Returns true if the `uri` of the credentials is the path and query of the request, or its whole URL.
fn is_target(uri: &str, head: &Parts) -> bool {
    // On a shared port the client sees a prefix that was removed from the path.
    let target = match head.extensions.get::<ClientPath>() {
        Some(client) => client.path_and_query.as_str(),
        None => head.uri.path_and_query().map_or("/", |target| target.as_str()),
    };
    // A text that begins with a slash is a path, even if its query contains a URL.
    let authority = if uri.starts_with('/') { None } else { uri.split_once("://") };
    let relative = authority.map_or(uri, |(_, rest)| {
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        if path == rest.len() { "/" } else { &rest[path..] }
    });
    relative == target
}

/// Returns true if a request has Digest credentials, valid or not.
pub(super) fn has_digest(headers: &HeaderMap) -> bool {
    let begins = |value: &HeaderValue| {
        value.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"digest "))
    };
    headers.get(AUTHORIZATION).is_some_and(begins)
}

/// Decodes the credentials of a Basic header, `user:password`.
fn decode_basic(header: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, encoded) = header.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASE64.decode(encoded.trim_ascii()).ok()
}

/// Escapes a host name for a quoted string. The device accepts no host name that needs it today.
fn escape_quotes(realm: &str) -> String {
    realm.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Returns hexadecimal digits as a text.
pub(super) fn hex_text(hex: [u8; 32]) -> String {
    hex.iter().copied().map(char::from).collect()
}
