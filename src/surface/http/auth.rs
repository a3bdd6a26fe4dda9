//! Authentication: Digest from firmware 1.10.0 on, Basic before (ACCESS-8 to ACCESS-13).
//!
//! A challenge leaves nothing behind: a nonce carries its time of issue, its number and a proof that
//! this device made it. What is remembered is the counters of the nonces that a holder of the
//! password used, at most [`limits::NONCES`] of them; where there would be one more, the oldest is
//! given up, and it and all older ones count as expired. So nobody without the password can take
//! room, and no request counts twice.
//!
//! Whatever is wrong with a request, the same sums are made and compared before it is refused.

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
use super::digest::{self, Claim, Credentials, DigestError, Qop, Sum};
use crate::device::{DigestMode, Feature, Profile, View};
use crate::limits;

/// Who watches the API of one device.
pub(super) struct Authenticator {
    mode: DigestMode,
    key: NonceKey,
    opaque: String,
    /// Real time: it guards the device, it is nothing that is simulated.
    started: Instant,
    nonces: Mutex<Nonces>,
}

/// What is to become of a request.
#[derive(Debug)]
pub(super) enum AuthDecision {
    /// It may pass.
    Open,
    /// Only its body can tell.
    Body,
    /// It may not, for this reason.
    Closed(AuthRefusal),
}

/// Why a request may not pass: for the journal. A client learns of a stale nonce, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthRefusal {
    #[error("no credentials")]
    None,
    #[error("several Authorization headers")]
    Several,
    #[error("unreadable Digest: {0}")]
    Malformed(DigestError),
    #[error("not Basic with a user name and a password")]
    NotBasic,
    #[error("wrong user name, realm, uri or password")]
    Wrong,
    #[error("the nonce has expired or is of another start")]
    Expired,
    #[error("the nonce counter was used before")]
    Replayed,
    #[error("the body could not be read")]
    NoBody,
}

impl AuthRefusal {
    fn is_stale(self) -> bool {
        matches!(self, Self::Expired | Self::Replayed)
    }
}

impl Authenticator {
    pub(super) fn new(mode: DigestMode) -> Self {
        let key = NonceKey::random();
        // Nobody can make a nonce from it: its message is longer than theirs.
        let opaque = text(digest::hex(key.sum(b"opaque, told to everyone")));
        let (started, nonces) = (Instant::now(), Mutex::default());
        Self { mode, key, opaque, started, nonces }
    }

    /// Looks at the head of a request; where that has to be [`AuthDecision::Body`], [`Authenticator::settle`] is
    /// asked with the body.
    pub(super) fn check(&self, head: &Parts, view: &View) -> AuthDecision {
        match self.examine(head, view, None) {
            Ok(true) => AuthDecision::Open,
            Ok(false) => AuthDecision::Body,
            Err(refusal) => AuthDecision::Closed(refusal),
        }
    }

    /// Looks at a request whose body is needed.
    pub(super) fn settle(&self, head: &Parts, view: &View, body: &[u8]) -> Result<(), AuthRefusal> {
        self.examine(head, view, Some(digest::body_sum(body))).map(drop)
    }

    /// The answer to who may not pass: a challenge.
    pub(super) fn challenge(&self, view: &View, refusal: AuthRefusal) -> HttpReply {
        let realm = escaped(&view.config.settings.system.host_name);
        let challenge = if is_digest(view) {
            let nonce = self.nonce(view).text(&self.key);
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

    /// Whether a request may pass; false where its body has to be known first.
    fn examine(&self, head: &Parts, view: &View, body: Option<Sum>) -> Result<bool, AuthRefusal> {
        let system = &view.config.settings.system;
        if !system.protection || system.password.is_empty() {
            return Ok(true);
        }
        let mut headers = head.headers.get_all(AUTHORIZATION).iter();
        let header = match (headers.next(), headers.next()) {
            (None, _) => return Err(AuthRefusal::None),
            (Some(header), None) => Ok(header),
            (Some(_), Some(_)) => Err(AuthRefusal::Several),
        };
        if is_digest(view) {
            let given = header.and_then(|header| {
                digest::parse(header.as_bytes(), self.mode).map_err(AuthRefusal::Malformed)
            });
            self.examine_digest(head, view, given, body)
        } else {
            let given = header.and_then(|header| basic(header).ok_or(AuthRefusal::NotBasic));
            let wanted = [b":", system.password.as_bytes()].concat();
            // Sums of equal length: the comparison of the texts would tell the password's.
            let same =
                self.key.sum(given.as_deref().unwrap_or_default()).ct_eq(&self.key.sum(&wanted));
            given.and_then(|_| if same.into() { Ok(true) } else { Err(AuthRefusal::Wrong) })
        }
    }

    fn examine_digest(
        &self,
        head: &Parts,
        view: &View,
        given: Result<Credentials<'_>, AuthRefusal>,
        body: Option<Sum>,
    ) -> Result<bool, AuthRefusal> {
        let system = &view.config.settings.system;
        let credentials = given.as_ref().unwrap_or(&Credentials::NONE);
        if credentials.qop == Qop::AuthInt && body.is_none() {
            return Ok(false);
        }
        let nonce = Nonce::read(credentials.nonce, &self.key);
        // Held over the sums, some microseconds, so that of two requests that begin a session or
        // use the same count exactly one does.
        let mut nonces = self.nonces.lock();
        let claim = Claim {
            realm: &system.host_name,
            password: &system.password,
            method: head.method.as_str(),
            body: body.unwrap_or_default(),
            session: nonce.and_then(|nonce| nonces.session(nonce)),
        };
        let right = credentials.proves(&claim, self.mode)
            & credentials.username.as_bytes().ct_eq(b"")
            & credentials.realm.as_bytes().ct_eq(system.host_name.as_bytes())
            & Choice::from(u8::from(is_target(credentials.uri, head)));
        let credentials = given?;
        if !bool::from(right) {
            return Err(AuthRefusal::Wrong);
        }
        // From here on it is known to be a holder of the password.
        let opaque = credentials.opaque.is_none_or(|opaque| opaque == self.opaque);
        let nonce = nonce.filter(|nonce| opaque && self.is_fresh(*nonce, view));
        nonces.count(nonce.ok_or(AuthRefusal::Expired)?, &credentials, self.mode).map(|()| true)
    }

    /// A new nonce.
    fn nonce(&self, view: &View) -> Nonce {
        let mut nonces = self.nonces.lock();
        nonces.issued += 1;
        Nonce { number: nonces.issued, at: self.now(), boot: view.boot.ordinal }
    }

    /// Whether a nonce is of this start of the device and not too old.
    fn is_fresh(&self, nonce: Nonce, view: &View) -> bool {
        let life = u64::try_from(limits::NONCE_LIFE.as_millis()).unwrap_or(u64::MAX);
        nonce.boot == view.boot.ordinal && self.now().saturating_sub(nonce.at) < life
    }

    /// Milliseconds of real time.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn is_digest(view: &View) -> bool {
    Profile::of(view.firmware).has(Feature::Digest)
}

/// Whether what the client says it asks for is what it asks for: the path and query of the request,
/// or the whole URL of it.
fn is_target(uri: &str, head: &Parts) -> bool {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    // What begins with a slash is a path, whatever its query has in it.
    let authority = if uri.starts_with('/') { None } else { uri.split_once("://") };
    let relative = authority.map_or(uri, |(_, rest)| {
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        if path == rest.len() { "/" } else { &rest[path..] }
    });
    relative == target
}

/// The decoded credentials of a Basic header, `user:password`.
fn basic(header: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, encoded) = header.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASE64.decode(encoded.trim_ascii()).ok()
}

/// A host name in quotes. None that the device takes needs an escape; this holds whatever it takes.
fn escaped(realm: &str) -> String {
    realm.replace('\\', "\\\\").replace('"', "\\\"")
}

fn text(hex: [u8; 32]) -> String {
    hex.iter().copied().map(char::from).collect()
}

/// What a nonce says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nonce {
    /// Counts the nonces of the device.
    number: u64,
    /// Milliseconds of real time since the guard began.
    at: u64,
    /// The start of the device that it belongs to.
    boot: u64,
}

impl Nonce {
    const PLAIN: usize = 24;

    fn bytes(self) -> [u8; Self::PLAIN] {
        let mut bytes = [0; Self::PLAIN];
        for (place, number) in [self.number, self.at, self.boot].into_iter().enumerate() {
            bytes[8 * place..][..8].copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// What it says and the proof, in base64 that has none of the characters at which simple clients
    /// take a challenge apart.
    fn text(self, key: &NonceKey) -> String {
        let plain = self.bytes();
        NONCE_TEXT.encode([plain.as_slice(), &key.sum(&plain)].concat())
    }

    /// None where this device did not make it; the proof is made also where there is nothing to
    /// prove.
    fn read(text: &str, key: &NonceKey) -> Option<Self> {
        let mut bytes = [0; Self::PLAIN + 16];
        let length = NONCE_TEXT.decode_slice(text, &mut bytes).unwrap_or(0);
        let (plain, proof) = bytes.split_at(Self::PLAIN);
        let genuine: bool = key.sum(plain).as_slice().ct_eq(proof).into();
        if !genuine || length != bytes.len() {
            return None;
        }
        let number = |place: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&plain[8 * place..][..8]);
            u64::from_be_bytes(number)
        };
        Some(Self { number: number(0), at: number(1), boot: number(2) })
    }
}

/// The counters of the nonces that were used rightly.
#[derive(Debug, Default)]
struct Nonces {
    /// How many were handed out.
    issued: u64,
    /// By their numbers, so that the oldest is the first.
    used: BTreeMap<u64, Used>,
    /// Nonces up to this number count as expired.
    given_up: u64,
}

#[derive(Debug)]
struct Used {
    /// The client nonce that the session began with.
    cnonce: Box<str>,
    highest: u32,
    /// Which counts were seen: bit n is `highest` − n.
    seen: u128,
}

impl Nonces {
    fn session(&self, nonce: Nonce) -> Option<&str> {
        self.used.get(&nonce.number).map(|used| &*used.cnonce)
    }

    /// Takes note of a right use of a nonce.
    fn count(
        &mut self,
        nonce: Nonce,
        credentials: &Credentials<'_>,
        mode: DigestMode,
    ) -> Result<(), AuthRefusal> {
        if nonce.number <= self.given_up {
            return Err(AuthRefusal::Expired);
        }
        if let Some(used) = self.used.get_mut(&nonce.number) {
            return if used.count(credentials.count) { Ok(()) } else { Err(AuthRefusal::Replayed) };
        }
        if mode == DigestMode::Strict && credentials.count != 1 {
            return Err(AuthRefusal::Replayed);
        }
        if self.used.len() >= limits::NONCES
            && let Some((number, _)) = self.used.pop_first()
        {
            self.given_up = self.given_up.max(number);
            if nonce.number <= self.given_up {
                return Err(AuthRefusal::Expired);
            }
        }
        let used = Used { cnonce: credentials.cnonce.into(), highest: credentials.count, seen: 1 };
        self.used.insert(nonce.number, used);
        Ok(())
    }
}

impl Used {
    /// Whether the count was not seen before. One too far behind the highest counts as seen.
    fn count(&mut self, count: u32) -> bool {
        if let Some(ahead) = count.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = if behind < limits::NONCE_REORDER { 1_u128 << behind } else { 0 };
        let new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

/// HMAC-MD5 (RFC 2104) with a key that only this process has.
struct NonceKey {
    inner: Md5,
    outer: Md5,
}

impl NonceKey {
    /// 256 bits from the system's randomness. Where it has none to give, what is left are the standard
    /// library's hash keys, 128 bits that it got earlier or made up: a device that serves with nonces
    /// that may be guessed is worth more to a test than one that does not start.
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

    fn sum(&self, message: &[u8]) -> Sum {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(count: u32) -> Credentials<'static> {
        Credentials { count, ..Credentials::NONE }
    }

    fn nonce(number: u64) -> Nonce {
        Nonce { number, at: 0, boot: 0 }
    }

    #[test]
    fn a_nonce_reads_as_written_and_no_other_key_makes_it() {
        let (key, other) = (NonceKey::random(), NonceKey::random());
        let nonce = Nonce { number: 7, at: u64::MAX, boot: 3 };
        let text = nonce.text(&key);
        assert_eq!(Nonce::read(&text, &key), Some(nonce));
        assert_eq!(Nonce::read(&text, &other), None);
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Nonce::read(&changed, &key), None, "{place}");
        }
        for wrong in ["", "A", "====", &text[..text.len() - 4], &format!("{text}AAAA")] {
            assert_eq!(Nonce::read(wrong, &key), None, "{wrong}");
        }
    }

    /// RFC 2202, test case 2, its key filled up with zeros as HMAC does.
    #[test]
    fn the_proof_is_hmac() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let sum = NonceKey::new(key).sum(b"what do ya want for nothing?");
        assert_eq!(text(digest::hex(sum)), "750c783e6ab0b503eaa86e310a5db738");
    }

    // Ruling: ACCESS-10.
    #[test]
    fn counts_are_taken_once_within_reach_of_the_highest() {
        let mut used = Used { cnonce: "".into(), highest: 1000, seen: 1 };
        let reach = limits::NONCE_REORDER;
        assert!(!used.count(1000));
        assert!(used.count(1000 - reach + 1) && !used.count(1000 - reach + 1));
        assert!(!used.count(1000 - reach), "too far behind");
        assert!(!used.count(0));
        assert!(used.count(1001) && !used.count(1000) && used.count(999));
        assert!(used.count(u32::MAX) && !used.count(1002) && used.count(u32::MAX - 1));
    }

    // Ruling: ACCESS-10.
    #[test]
    fn the_oldest_nonce_gives_way_and_never_comes_back() {
        let mut nonces = Nonces::default();
        let most = limits::NONCES as u64;
        let mut count = |number, count| {
            let result = nonces.count(nonce(number), &credentials(count), DigestMode::Tolerant);
            assert!(nonces.used.len() <= limits::NONCES);
            result
        };
        for number in (1..=most).rev() {
            assert_eq!(count(2 * number, 1), Ok(()));
        }
        assert_eq!(count(2, 2), Ok(()), "the oldest is still there");
        assert_eq!(count(2 * most + 1, 1), Ok(()), "one more than there is room for");
        assert_eq!(count(2, 3), Err(AuthRefusal::Expired));
        assert_eq!(count(1, 1), Err(AuthRefusal::Expired), "older than the one given up");
        assert_eq!(count(3, 1), Err(AuthRefusal::Expired), "it would be the oldest itself");
        assert_eq!(count(4, 2), Err(AuthRefusal::Expired), "for it the next one had to go");
    }
}
