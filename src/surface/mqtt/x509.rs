//! Certificates as far as rustls does not read them: the common name, and the first version of X.509.
//!
//! The vendor's page on certificates makes both: `openssl x509 -req` without extensions gives a
//! server certificate without alternative names and, before OpenSSL 3.2, of version 1. The device
//! takes them, rustls does not.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio_rustls::rustls::pki_types::UnixTime;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The explicit tag around the version, which a certificate of version 1 does not have.
const VERSION: u8 = 0xA0;
/// 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The parts of a certificate that matter here; contents are without tag and length.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    /// Whether it is of version 1.
    pub first_version: bool,
    /// What is signed, with tag and length.
    pub signed: &'a [u8],
    /// The contents of the signature's algorithm identifier.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// The contents of the issuer's name.
    pub issuer: &'a [u8],
    /// The contents of its own name.
    subject: &'a [u8],
    /// When it is valid, first and last moment.
    pub validity: (UnixTime, UnixTime),
    /// Its key.
    pub key: Key<'a>,
}

/// A public key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    /// All of it, with tag and length.
    pub whole: &'a [u8],
    /// The contents of its algorithm identifier.
    pub algorithm: &'a [u8],
    /// The key itself.
    pub bits: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Takes a certificate apart; none where it is none.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader(Reader(der).take(SEQUENCE)?);
        let signed = outer.whole(SEQUENCE)?;
        let algorithm = outer.take(SEQUENCE)?;
        let signature = outer.bits()?;
        let mut inner = Reader(Reader(signed).take(SEQUENCE)?);
        let first_version = !inner.begins_with(VERSION);
        if !first_version {
            inner.take(VERSION)?;
        }
        inner.take(INTEGER)?;
        inner.take(SEQUENCE)?;
        let issuer = inner.take(SEQUENCE)?;
        let mut validity = Reader(inner.take(SEQUENCE)?);
        let validity = (validity.time()?, validity.time()?);
        let subject = inner.take(SEQUENCE)?;
        let key = Key::parse(inner.whole(SEQUENCE)?)?;
        Some(Self { first_version, signed, algorithm, signature, issuer, subject, validity, key })
    }

    /// The last common name of its subject.
    pub(super) fn common_name(&self) -> Option<&'a str> {
        let (mut names, mut found) = (Reader(self.subject), None);
        while let Some(set) = names.take(SET) {
            let mut attribute = Reader(Reader(set).take(SEQUENCE)?);
            if attribute.take(OBJECT_IDENTIFIER)? == COMMON_NAME {
                let (_, text, _) = attribute.next()?;
                found = std::str::from_utf8(text).ok();
            }
        }
        found
    }
}

impl<'a> Key<'a> {
    /// Takes a `SubjectPublicKeyInfo` apart.
    fn parse(whole: &'a [u8]) -> Option<Self> {
        let mut parts = Reader(Reader(whole).take(SEQUENCE)?);
        Some(Self { whole, algorithm: parts.take(SEQUENCE)?, bits: parts.bits()? })
    }

    /// The same of the contents alone, which is how rustls keeps the keys it trusts.
    pub(super) fn of_contents(contents: &'a [u8]) -> Option<Self> {
        let mut parts = Reader(contents);
        Some(Self { whole: contents, algorithm: parts.take(SEQUENCE)?, bits: parts.bits()? })
    }
}

/// Reads DER from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Tag, contents, and both with the length between them.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        let (length, rest) = match *length {
            short @ 0..=0x7F => (usize::from(short), rest),
            // No certificate has 16 MB.
            long @ 0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7F))?;
                (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (contents, behind) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - behind.len()];
        self.0 = behind;
        Some((*tag, contents, whole))
    }

    fn begins_with(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, ..)| *found == tag).map(|(_, contents, _)| contents)
    }

    fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, ..)| *found == tag).map(|(.., whole)| whole)
    }

    /// A bit string of whole bytes.
    fn bits(&mut self) -> Option<&'a [u8]> {
        self.take(BIT_STRING)?.strip_prefix(&[0])
    }

    fn time(&mut self) -> Option<UnixTime> {
        let (tag, text, _) = self.next()?;
        let text = std::str::from_utf8(text).ok()?;
        let text = match tag {
            // RFC 5280 §4.1.2.5.1: two digits are 1950 to 2049.
            UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
            UTC_TIME => format!("19{text}"),
            GENERALIZED_TIME => text.to_owned(),
            _ => return None,
        };
        let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
        let time = TimeZone::UTC.to_timestamp(time).ok()?;
        let seconds = u64::try_from(time.as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_comes_apart() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "Lab");
        params.distinguished_name.push(DnType::CommonName, "mqtt.lab.local");
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let read = Certificate::parse(made.der()).unwrap();
        assert!(!read.first_version);
        assert_eq!(read.common_name(), Some("mqtt.lab.local"));
        assert_eq!(read.issuer, read.subject);
        assert!(read.validity.0.as_secs() < read.validity.1.as_secs());
        assert_eq!(read.key.bits, key.public_key_raw());
    }

    proptest! {
        #[test]
        fn what_is_no_certificate_is_none(bytes in prop::collection::vec(any::<u8>(), 0..64), cut: u16) {
            let _ = Certificate::parse(&bytes);
            let key = KeyPair::generate().unwrap();
            let made = CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
            let mut der = made.der().to_vec();
            der.truncate(usize::from(cut) % der.len());
            prop_assert!(Certificate::parse(&der).is_none());
        }
    }
}
