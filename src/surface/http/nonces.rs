//! The nonces of a device: what it remembers of those that it has issued (ACCESS-9, ACCESS-10, ACCESS-14).
//!
//! A nonce is good if it is in the table, of this boot and not too old. The table is bounded. A client without the
//! password can ask for as many challenges as it likes; as long as one place is left, the nonces that it gets only
//! replace one another, and no nonce that a client with the password uses.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as NONCE_TEXT;
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::crypto::ring;

use super::auth::AuthRefusal;
use super::digest::{Credentials, Md5Sum};
use crate::clock::VirtualTime;
use crate::device::{DigestMode, DigestPolicy, WhenFull};

/// Distance from the highest `nc` of its nonce at which a request is still accepted, because requests
/// on several connections overtake each other.
const NC_WINDOW: u32 = 128;

/// A nonce, by its ordinal among those of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonce(u64);

impl Nonce {
    const BYTES: usize = 8;
    const MAC_BYTES: usize = 16;

    /// Encodes the ordinal and its MAC in URL-safe base64, which contains none of the characters
    /// at which simple clients split a challenge.
    pub(super) fn encode(self, key: &NonceKey) -> String {
        let ordinal = self.0.to_be_bytes();
        NONCE_TEXT.encode([ordinal.as_slice(), &key.mac(&ordinal)].concat())
    }

    /// Decodes a nonce. `None` if this device did not issue it. The MAC is computed for any text, so
    /// that the time does not tell if the text was well-formed.
    pub(super) fn decode(text: &str, key: &NonceKey) -> Option<Self> {
        let mut bytes = [0; Self::BYTES + Self::MAC_BYTES];
        let length = NONCE_TEXT.decode_slice(text, &mut bytes).unwrap_or(0);
        let (ordinal, mac) = bytes.split_at(Self::BYTES);
        let genuine: bool = key.mac(ordinal).as_slice().ct_eq(mac).into();
        if !genuine || length != bytes.len() {
            return None;
        }
        let mut number = [0; Self::BYTES];
        number.copy_from_slice(ordinal);
        Some(Self(u64::from_be_bytes(number)))
    }
}

/// The time of a nonce: virtual time, and the ordinal of the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NonceTime {
    pub at: VirtualTime,
    pub boot: u64,
}

/// All places are taken, and none is to be freed before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoNonceFree {
    /// The virtual time until the oldest nonce expires.
    pub free_in: Duration,
}

/// The nonces that a device remembers.
#[derive(Debug)]
pub(super) struct NonceTable {
    policy: DigestPolicy,
    /// The number of nonces issued.
    issued: u64,
    /// The nonces by their ordinal, so that the oldest is the first. An expired one stays until its place is
    /// needed, because the first client nonce of its session tells a client that knows the password.
    nonces: BTreeMap<u64, IssuedNonce>,
}

#[derive(Debug)]
struct IssuedNonce {
    issued: NonceTime,
    /// `None` until a client with the right password has used it.
    session: Option<DigestSession>,
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
    pub(super) fn new(policy: DigestPolicy) -> Self {
        Self { policy, issued: 0, nonces: BTreeMap::new() }
    }

    /// Issues a nonce. If all places are taken, an expired one makes room, else what the policy says.
    pub(super) fn issue(&mut self, now: NonceTime) -> Result<Nonce, NoNonceFree> {
        if self.nonces.len() >= self.policy.nonces
            && let Some((oldest, nonce)) = self.nonces.first_key_value()
        {
            let rest = nonce.rest_of_life(now, self.policy.nonce_life);
            let removed = match self.policy.when_full {
                _ if rest.is_zero() => *oldest,
                WhenFull::Refuse => return Err(NoNonceFree { free_in: rest }),
                WhenFull::Oldest => self.oldest_unused().unwrap_or(*oldest),
            };
            self.nonces.remove(&removed);
        }
        self.issued += 1;
        self.nonces.insert(self.issued, IssuedNonce { issued: now, session: None });
        Ok(Nonce(self.issued))
    }

    /// Returns a nonce that has expired from the start.
    pub(super) fn expired(&mut self) -> Nonce {
        self.issued += 1;
        Nonce(self.issued)
    }

    /// Makes a nonce expire.
    pub(super) fn remove(&mut self, nonce: Nonce) {
        self.nonces.remove(&nonce.0);
    }

    /// Makes all nonces expire.
    pub(super) fn forget_all(&mut self) {
        self.nonces.clear();
    }

    pub(super) fn session_cnonce(&self, nonce: Nonce) -> Option<&str> {
        self.nonces.get(&nonce.0)?.session.as_ref().map(|session| &*session.cnonce)
    }

    /// Records the use of a nonce by a client with the right password.
    ///
    /// # Errors
    /// If the nonce has expired, or its count was used before.
    pub(super) fn record_use(
        &mut self,
        nonce: Nonce,
        credentials: &Credentials<'_>,
        now: NonceTime,
    ) -> Result<(), AuthRefusal> {
        let DigestPolicy { mode, nonce_life, .. } = self.policy;
        let nonce = self.nonces.get_mut(&nonce.0).ok_or(AuthRefusal::ExpiredNonce)?;
        if nonce.rest_of_life(now, nonce_life).is_zero() {
            return Err(AuthRefusal::ExpiredNonce);
        }
        if let Some(session) = &mut nonce.session {
            let unused = session.accept_count(credentials.count);
            return if unused { Ok(()) } else { Err(AuthRefusal::RepeatedCount) };
        }
        if mode == DigestMode::Strict && credentials.count != 1 {
            return Err(AuthRefusal::RepeatedCount);
        }
        let (cnonce, highest) = (credentials.cnonce.into(), credentials.count);
        nonce.session = Some(DigestSession { cnonce, highest, seen: 1 });
        Ok(())
    }

    fn oldest_unused(&self) -> Option<u64> {
        self.nonces.iter().find(|(_, nonce)| nonce.session.is_none()).map(|(ordinal, _)| *ordinal)
    }
}

impl IssuedNonce {
    /// Returns the time until the nonce expires; 0 if it has.
    fn rest_of_life(&self, now: NonceTime, life: Duration) -> Duration {
        if self.issued.boot != now.boot {
            return Duration::ZERO;
        }
        life.saturating_sub(now.at.since(self.issued.at))
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
pub(super) struct NonceKey {
    inner: Md5,
    outer: Md5,
}

impl NonceKey {
    /// Makes a key of 256 bits from the system's randomness. If the system has none to give, the key is
    /// made from the standard library's hash keys (128 bits), because a device with nonces that may
    /// be guessed is worth more to a test than one that does not start.
    pub(super) fn random() -> Self {
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

    pub(super) fn mac(&self, message: &[u8]) -> Md5Sum {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::auth::hex_text;
    use super::super::digest::hex;
    use super::*;

    fn credentials(count: u32) -> Credentials<'static> {
        Credentials { count, ..Credentials::PLACEHOLDER }
    }

    fn at(seconds: u64) -> NonceTime {
        NonceTime { at: VirtualTime::from_nanos(seconds * 1_000_000_000), boot: 0 }
    }

    fn table(nonces: usize, when_full: WhenFull) -> NonceTable {
        NonceTable::new(DigestPolicy { nonces, when_full, ..DigestPolicy::default() })
    }

    #[test]
    fn a_nonce_decodes_with_its_own_key_only() {
        let (key, other) = (NonceKey::random(), NonceKey::random());
        let nonce = Nonce(7);
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
        assert_eq!(hex_text(hex(mac)), "750c783e6ab0b503eaa86e310a5db738");
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
    fn a_full_table_loses_the_oldest_unused_nonce_and_else_the_oldest() {
        let mut nonces = table(3, WhenFull::Oldest);
        let [first, second, third] = [(); 3].map(|()| nonces.issue(at(0)).unwrap());
        let mut count = 0;
        let mut use_it = |nonces: &mut NonceTable, nonce| {
            count += 1;
            nonces.record_use(nonce, &credentials(count), at(0))
        };
        assert_eq!(use_it(&mut nonces, first), Ok(()));
        let fourth = nonces.issue(at(0)).unwrap();
        assert_eq!(
            use_it(&mut nonces, second),
            Err(AuthRefusal::ExpiredNonce),
            "the oldest unused"
        );
        for nonce in [first, third, fourth] {
            assert_eq!(use_it(&mut nonces, nonce), Ok(()));
        }
        nonces.issue(at(0)).unwrap();
        assert_eq!(use_it(&mut nonces, first), Err(AuthRefusal::ExpiredNonce), "the oldest");
        for _ in 0..10 {
            nonces.issue(at(0)).unwrap();
        }
        assert_eq!(use_it(&mut nonces, third), Ok(()), "unused ones replace one another");
        assert_eq!(nonces.nonces.len(), 3);
    }

    // Ruling: ACCESS-14.
    #[test]
    fn a_full_table_that_refuses_tells_when_a_place_is_free() {
        let mut nonces = table(2, WhenFull::Refuse);
        let life = DigestPolicy::default().nonce_life;
        let first = nonces.issue(at(0)).unwrap();
        nonces.issue(at(10)).unwrap();
        let free_in = life.checked_sub(Duration::from_secs(20)).unwrap();
        assert_eq!(nonces.issue(at(20)), Err(NoNonceFree { free_in }));
        nonces.issue(at(life.as_secs())).unwrap();
        let expired = nonces.record_use(first, &credentials(1), at(life.as_secs()));
        assert_eq!(expired, Err(AuthRefusal::ExpiredNonce));
        let next_boot = NonceTime { boot: 1, ..at(life.as_secs()) };
        assert!(nonces.issue(next_boot).is_ok(), "nonces of another boot take no place");
    }
}
