//! Certificates that rustls does not read: those with a common name in place of alternative names, and
//! those of version 1 of X.509.
//!
//! The vendor's page on certificates makes both: `openssl x509 -req` without extensions gives a
//! server certificate without alternative names and, before OpenSSL 3.2, of version 1. The device
//! accepts them, rustls does not.

use tokio_rustls::rustls::pki_types::UnixTime;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{self, Decode, Reader, SliceReader, Tag, TagMode, TagNumber, Tagged};
use x509_cert::name::Name;
use x509_cert::time::{Time, Validity};

/// The parts of a certificate that the verifier needs. Slices are parts of the certificate itself,
/// because rustls compares and keeps names and algorithm identifiers byte by byte.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    /// True for a certificate of version 1, which has no version field.
    pub is_version_1: bool,
    /// The signed bytes, with tag and length.
    pub signed: &'a [u8],
    /// The algorithm identifier of the signature, without tag and length.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// The name of the issuer, without tag and length.
    pub issuer: &'a [u8],
    /// The first and the last instant at which the certificate is valid.
    pub validity: (UnixTime, UnixTime),
    /// The public key.
    pub key: PublicKey<'a>,
    subject: Name,
}

/// A public key.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicKey<'a> {
    /// The `SubjectPublicKeyInfo`, with tag and length.
    pub info: &'a [u8],
    /// The algorithm identifier, without tag and length.
    pub algorithm: &'a [u8],
    /// The key itself.
    pub bits: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Parses a certificate in DER.
    ///
    /// # Errors
    /// If the bytes are not exactly one certificate.
    pub(super) fn parse(certificate: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(certificate)?;
        let (signed, algorithm, signature) = reader.sequence(|outer| {
            Ok((outer.tlv_bytes()?, read_sequence(outer)?, read_whole_bytes(outer)?))
        })?;
        reader.finish(())?;
        SliceReader::new(signed)?.sequence(|tbs| {
            let version = tbs.context_specific::<Version>(TagNumber::N0, TagMode::Explicit)?;
            // The serial number and the algorithm of the signature once more. Neither is looked at,
            // so that a serial number that RFC 5280 forbids does no harm.
            let _ = (tbs.tlv_bytes()?, tbs.tlv_bytes()?);
            let issuer = read_sequence(tbs)?;
            let Validity { not_before, not_after } = Validity::decode(tbs)?;
            let subject = Name::decode(tbs)?;
            let key = PublicKey::parse(tbs.tlv_bytes()?)?;
            // Unique identifiers and extensions, which rustls reads.
            while !tbs.is_finished() {
                tbs.tlv_bytes()?;
            }
            Ok(Self {
                is_version_1: version.is_none(),
                signed,
                algorithm,
                signature,
                issuer,
                validity: (unix_time(not_before), unix_time(not_after)),
                key,
                subject,
            })
        })
    }

    /// Returns the last common name of the subject. `None` if there is none, or if it is not UTF-8.
    pub(super) fn common_name(&self) -> Option<&str> {
        let mut attributes = self.subject.0.iter().flat_map(|names| names.0.iter());
        let name = attributes.rfind(|attribute| attribute.oid == COMMON_NAME)?;
        std::str::from_utf8(name.value.value()).ok()
    }
}

impl<'a> PublicKey<'a> {
    /// Parses a `SubjectPublicKeyInfo`.
    fn parse(info: &'a [u8]) -> der::Result<Self> {
        let contents = read_sequence(&mut SliceReader::new(info)?)?;
        Ok(Self { info, ..Self::from_contents(contents)? })
    }

    /// Parses a `SubjectPublicKeyInfo` without tag and length, the form in which rustls keeps the keys
    /// of its trust anchors.
    ///
    /// # Errors
    /// If the contents are not an algorithm identifier and a key.
    pub(super) fn from_contents(contents: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(contents)?;
        let algorithm = read_sequence(&mut reader)?;
        let bits = read_whole_bytes(&mut reader)?;
        reader.finish(Self { info: contents, algorithm, bits })
    }
}

/// Reads a sequence and returns its contents, without tag and length.
fn read_sequence<'a>(reader: &mut impl Reader<'a>) -> der::Result<&'a [u8]> {
    let sequence = AnyRef::decode(reader)?;
    sequence.tag().assert_eq(Tag::Sequence)?;
    Ok(sequence.value())
}

/// Reads a bit string of whole bytes.
fn read_whole_bytes<'a>(reader: &mut impl Reader<'a>) -> der::Result<&'a [u8]> {
    BitStringRef::decode(reader)?.as_bytes().ok_or_else(|| Tag::BitString.value_error())
}

fn unix_time(time: Time) -> UnixTime {
    UnixTime::since_unix_epoch(time.to_unix_duration())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};
    use x509_cert::der::Encode;

    use super::*;

    #[test]
    fn the_parts_of_a_certificate_are_read() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "Lab");
        params.distinguished_name.push(DnType::CommonName, "mqtt.lab.local");
        let key = KeyPair::generate().unwrap();
        let signed = params.self_signed(&key).unwrap();
        let read = Certificate::parse(signed.der()).unwrap();
        assert!(!read.is_version_1);
        assert_eq!(read.common_name(), Some("mqtt.lab.local"));
        assert!(read.subject.to_der().unwrap().ends_with(read.issuer), "it is self-signed");
        assert!(read.validity.0.as_secs() < read.validity.1.as_secs());
        assert_eq!(read.key.bits, key.public_key_raw());
    }

    proptest! {
        #[test]
        fn a_malformed_certificate_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), cut: u16) {
            let _ = Certificate::parse(&bytes);
            let key = KeyPair::generate().unwrap();
            let signed = CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
            let mut der = signed.der().to_vec();
            der.truncate(usize::from(cut) % der.len());
            prop_assert!(Certificate::parse(&der).is_err());
        }
    }
}
