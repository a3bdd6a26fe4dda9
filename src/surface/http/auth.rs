//! Authentication: Digest from firmware 1.10.0 on, Basic before (ACCESS-8 to ACCESS-13).
//!
//! A challenge leaves no state behind: a nonce carries its time of issue, its number and a MAC that
//! proves that this device made it. The device remembers the request counters (`nc`) only of nonces
//! that a client with the right password used, at most [`DIGEST_SESSIONS`] of them. If there is one more,
//! the oldest is evicted, and it and all older nonces count as expired. So a client without the
//! password cannot take memory, and no request is accepted twice.
//!
//! A request with any mistake takes the same hashes and comparisons as a correct one before it is
//! refused, so that the time does not tell what was wrong.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as NONCE_TEXT};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use md5::{Digest as _, Md5};
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;
use tokio_rustls::rustls::crypto::ring;

use super::HttpReply;
use super::digest::{self, Claim, Credentials, DigestError, Md5Sum, Qop};
use crate::device::{DigestMode, Feature, Profile, View};
use crate::limits;

/// Nonces whose counters a device remembers: one per active client, so as many as there can be
/// connections.
const DIGEST_SESSIONS: usize = limits::HTTP_CONNECTIONS;
/// Distance from the highest `nc` of its nonce at which a request is still accepted, because requests
/// on several connections overtake each other.
const NC_WINDOW: u32 = 128;

/// The authentication of the API of one device.
pub(super) struct Authenticator {
    mode: DigestMode,
    key: NonceKey,
    opaque: String,
    /// The instant from which nonces count their time of issue. Real time, because authentication
    /// protects the process and is not simulated.
    started: Instant,
    nonces: Mutex<NonceTable>,
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
    pub(super) fn new(mode: DigestMode) -> Self {
        let key = NonceKey::random();
        // No nonce can be made from it, because the message is longer than that of a nonce.
        let opaque = hex_text(digest::hex(key.mac(b"opaque, told to everyone")));
        let (started, nonces) = (Instant::now(), Mutex::default());
        Self { mode, key, opaque, started, nonces }
    }

    /// Decides about a request from its head alone.
    pub(super) fn check_head(&self, head: &Parts, view: &View) -> AuthDecision {
        match self.authenticate(head, view, None) {
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
    ) -> Result<(), AuthRefusal> {
        self.authenticate(head, view, Some(digest::body_sum(body))).map(drop)
    }

    /// Returns the 401 with a challenge.
    pub(super) fn challenge(&self, view: &View, refusal: AuthRefusal) -> HttpReply {
        let realm = escape_quotes(&view.config.settings.system.host_name);
        let challenge = if is_digest(view) {
            let nonce = self.issue_nonce(view).encode(&self.key);
            let stale = if refusal.is_stale() { ", stale=true" } else { "" };
            format!(
                "Digest realm=\"{realm}\", qop=\"auth,auth-int\", algorithm=MD5-sess, \
                 nonce=\"{nonce}\", opaque=\"{}\"{stale}",
                self.opaque
            )
        } else {
            format!("Basic realm=\"{realm}\"")
        };
        let message = "this device is protected; authenticate with its password, without user name";
        HttpReply::error(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .with_header(WWW_AUTHENTICATE, &challenge)
    }

    fn authenticate(
        &self,
        head: &Parts,
        view: &View,
        body: Option<Md5Sum>,
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
                digest::parse(header.as_bytes(), self.mode).map_err(AuthRefusal::Malformed)
            });
            self.authenticate_digest(head, view, credentials, body)
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
        let valid = credentials.verify(&claim, self.mode)
            & credentials.username.as_bytes().ct_eq(b"")
            & credentials.realm.as_bytes().ct_eq(system.host_name.as_bytes())
            & Choice::from(u8::from(is_target(credentials.uri, head)));
        let credentials = parsed?;
        if !bool::from(valid) {
            return Err(AuthRefusal::WrongCredentials);
        }
        // From here on the client is known to have the password.
        let opaque = credentials.opaque.is_none_or(|opaque| opaque == self.opaque);
        let nonce = nonce.filter(|nonce| opaque && self.is_fresh(*nonce, view));
        nonces.record_use(nonce.ok_or(AuthRefusal::ExpiredNonce)?, &credentials, self.mode)?;
        Ok(Authentication::Complete)
    }

    /// Makes all nonces expire.
    pub(super) fn forget_nonces(&self) {
        let mut nonces = self.nonces.lock();
        nonces.sessions.clear();
        nonces.evicted = nonces.issued;
    }

    /// Issues a nonce.
    fn issue_nonce(&self, view: &View) -> Nonce {
        let mut nonces = self.nonces.lock();
        nonces.issued += 1;
        Nonce { number: nonces.issued, issued_at: self.now(), boot: view.boot.ordinal }
    }

    /// Returns true if a nonce was issued since the last boot and not too long ago.
    fn is_fresh(&self, nonce: Nonce, view: &View) -> bool {
        let life = u64::try_from(limits::NONCE_LIFE.as_millis()).unwrap_or(u64::MAX);
        nonce.boot == view.boot.ordinal && self.now().saturating_sub(nonce.issued_at) < life
    }

    /// Returns the milliseconds of real time since this was created.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn is_digest(view: &View) -> bool {
    Profile::new(view.firmware).has(Feature::Digest)
}

/// Returns true if the `uri` of the credentials is the path and query of the request, or its whole URL.
fn is_target(uri: &str, head: &Parts) -> bool {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    // A text that begins with a slash is a path, even if its query contains a URL.
    let authority = if uri.starts_with('/') { None } else { uri.split_once("://") };
    let relative = authority.map_or(uri, |(_, rest)| {
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        if path == rest.len() { "/" } else { &rest[path..] }
    });
    relative == target
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

fn hex_text(hex: [u8; 32]) -> String {
    hex.iter().copied().map(char::from).collect()
}

/// The contents of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nonce {
    /// The ordinal of the nonce among those of the device.
    number: u64,
    /// Milliseconds of real time since the [`Authenticator`] was created.
    issued_at: u64,
    /// The ordinal of the boot during which the nonce was issued.
    boot: u64,
}

impl Nonce {
    const BYTES: usize = 24;
    const MAC_BYTES: usize = 16;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (index, number) in [self.number, self.issued_at, self.boot].into_iter().enumerate() {
            bytes[8 * index..][..8].copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// Encodes the contents and their MAC in URL-safe base64, which contains none of the characters
    /// at which simple clients split a challenge.
    fn encode(self, key: &NonceKey) -> String {
        let contents = self.to_bytes();
        NONCE_TEXT.encode([contents.as_slice(), &key.mac(&contents)].concat())
    }

    /// Decodes a nonce. `None` if this device did not issue it. The MAC is computed for any text, so
    /// that the time does not tell if the text was well-formed.
    fn decode(text: &str, key: &NonceKey) -> Option<Self> {
        let mut bytes = [0; Self::BYTES + Self::MAC_BYTES];
        let length = NONCE_TEXT.decode_slice(text, &mut bytes).unwrap_or(0);
        let (contents, mac) = bytes.split_at(Self::BYTES);
        let genuine: bool = key.mac(contents).as_slice().ct_eq(mac).into();
        if !genuine || length != bytes.len() {
            return None;
        }
        let number = |index: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&contents[8 * index..][..8]);
            u64::from_be_bytes(number)
        };
        Some(Self { number: number(0), issued_at: number(1), boot: number(2) })
    }
}

/// The request counters of the nonces that were used with the right password.
#[derive(Debug, Default)]
struct NonceTable {
    /// The number of nonces issued.
    issued: u64,
    /// Sessions by the number of their nonce, so that the oldest is the first.
    sessions: BTreeMap<u64, DigestSession>,
    /// The highest number of an evicted nonce. Nonces up to it count as expired.
    evicted: u64,
}

/// The uses of one nonce.
#[derive(Debug)]
struct DigestSession {
    /// The client nonce with which the session began.
    cnonce: Box<str>,
    /// The highest `nc` so far.
    highest: u32,
    /// The counts that were used: bit n is `highest` − n.
    seen: u128,
}

impl NonceTable {
    fn session_cnonce(&self, nonce: Nonce) -> Option<&str> {
        self.sessions.get(&nonce.number).map(|session| &*session.cnonce)
    }

    /// Records the use of a nonce by a client with the right password.
    ///
    /// # Errors
    /// If the nonce was evicted, or its count was used before.
    fn record_use(
        &mut self,
        nonce: Nonce,
        credentials: &Credentials<'_>,
        mode: DigestMode,
    ) -> Result<(), AuthRefusal> {
        if nonce.number <= self.evicted {
            return Err(AuthRefusal::ExpiredNonce);
        }
        if let Some(session) = self.sessions.get_mut(&nonce.number) {
            let unused = session.accept_count(credentials.count);
            return if unused { Ok(()) } else { Err(AuthRefusal::RepeatedCount) };
        }
        if mode == DigestMode::Strict && credentials.count != 1 {
            return Err(AuthRefusal::RepeatedCount);
        }
        if self.sessions.len() >= DIGEST_SESSIONS
            && let Some((number, _)) = self.sessions.pop_first()
        {
            self.evicted = self.evicted.max(number);
            if nonce.number <= self.evicted {
                return Err(AuthRefusal::ExpiredNonce);
            }
        }
        let (cnonce, highest) = (credentials.cnonce.into(), credentials.count);
        self.sessions.insert(nonce.number, DigestSession { cnonce, highest, seen: 1 });
        Ok(())
    }
}

impl DigestSession {
    /// Records a count. Returns false if it was used before, or is [`NC_WINDOW`] or more below the
    /// highest one.
    fn accept_count(&mut self, count: u32) -> bool {
        if let Some(ahead) = count.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = if behind < NC_WINDOW { 1_u128 << behind } else { 0 };
        let unused = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        unused
    }
}

/// The key of the nonces, known to this process alone, for HMAC-MD5 (RFC 2104).
struct NonceKey {
    inner: Md5,
    outer: Md5,
}

impl NonceKey {
    /// Makes a key of 256 bits from the system's randomness. If the system has none to give, the key is
    /// made from the standard library's hash keys (128 bits), because a device with nonces that may
    /// be guessed is worth more to a test than one that does not start.
    fn random() -> Self {
        let mut key = [0; 32];
        if ring::default_provider().secure_random.fill(&mut key).is_err() {
            tracing::error!("the system has no randomness to give: nonces may be guessed");
            for part in key.chunks_exact_mut(8) {
                part.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
            }
        }
        Self::new(key)
    }

    fn new(key: [u8; 32]) -> Self {
        let padded = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Md5::new_with_prefix(block)
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    fn mac(&self, message: &[u8]) -> Md5Sum {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(count: u32) -> Credentials<'static> {
        Credentials { count, ..Credentials::PLACEHOLDER }
    }

    fn nonce(number: u64) -> Nonce {
        Nonce { number, issued_at: 0, boot: 0 }
    }

    #[test]
    fn a_nonce_decodes_with_its_own_key_only() {
        let (key, other) = (NonceKey::random(), NonceKey::random());
        let nonce = Nonce { number: 7, issued_at: u64::MAX, boot: 3 };
        let text = nonce.encode(&key);
        assert_eq!(Nonce::decode(&text, &key), Some(nonce));
        assert_eq!(Nonce::decode(&text, &other), None);
        for index in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Nonce::decode(&changed, &key), None, "{index}");
        }
        for wrong in ["", "A", "====", &text[..text.len() - 4], &format!("{text}AAAA")] {
            assert_eq!(Nonce::decode(wrong, &key), None, "{wrong}");
        }
    }

    /// RFC 2202, test case 2. The key is padded with zeros, as HMAC does.
    #[test]
    fn the_mac_is_hmac_md5() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = NonceKey::new(key).mac(b"what do ya want for nothing?");
        assert_eq!(hex_text(digest::hex(mac)), "750c783e6ab0b503eaa86e310a5db738");
    }

    // Ruling: ACCESS-10.
    #[test]
    fn each_count_within_the_window_is_accepted_once() {
        let mut session = DigestSession { cnonce: "".into(), highest: 1000, seen: 1 };
        let window = NC_WINDOW;
        assert!(!session.accept_count(1000));
        assert!(
            session.accept_count(1000 - window + 1) && !session.accept_count(1000 - window + 1)
        );
        assert!(!session.accept_count(1000 - window), "too far behind");
        assert!(!session.accept_count(0));
        assert!(
            session.accept_count(1001) && !session.accept_count(1000) && session.accept_count(999)
        );
        assert!(
            session.accept_count(u32::MAX)
                && !session.accept_count(1002)
                && session.accept_count(u32::MAX - 1)
        );
    }

    // Ruling: ACCESS-10.
    #[test]
    fn the_oldest_nonce_is_evicted_for_good() {
        let mut nonces = NonceTable::default();
        let most = DIGEST_SESSIONS as u64;
        let mut count = |number, count| {
            let result =
                nonces.record_use(nonce(number), &credentials(count), DigestMode::Tolerant);
            assert!(nonces.sessions.len() <= DIGEST_SESSIONS);
            result
        };
        for number in (1..=most).rev() {
            assert_eq!(count(2 * number, 1), Ok(()));
        }
        assert_eq!(count(2, 2), Ok(()), "the oldest is still there");
        assert_eq!(count(2 * most + 1, 1), Ok(()), "one more than there is room for");
        assert_eq!(count(2, 3), Err(AuthRefusal::ExpiredNonce));
        assert_eq!(count(1, 1), Err(AuthRefusal::ExpiredNonce), "older than the evicted one");
        assert_eq!(count(3, 1), Err(AuthRefusal::ExpiredNonce), "it would be the oldest itself");
        assert_eq!(count(4, 2), Err(AuthRefusal::ExpiredNonce), "for it the next one had to go");
    }
}
