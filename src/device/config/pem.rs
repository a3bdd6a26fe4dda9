//! Certificates and private keys in PEM, checked before they are stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A private key, plain or encrypted.
#[derive(Debug)]
pub enum PemKey {
    /// PKCS#8, PKCS#1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    Plain(PrivateKeyDer<'static>),
    /// PKCS#8 with a password (`ENCRYPTED PRIVATE KEY`), as DER.
    Encrypted(Vec<u8>),
}

/// The error of reading a PEM text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// The text is not well-formed PEM.
    #[error("not PEM: {0}")]
    Malformed(String),
    /// The text contains no certificate.
    #[error("expected PEM with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// A section labelled as a certificate contains something else.
    #[error("what the PEM holds is no certificate")]
    NotACertificate,
    /// The key is encrypted in OpenSSL's traditional form.
    #[error(
        "a key encrypted in OpenSSL's traditional form is not supported; `openssl pkcs8 -topk8` \
         makes one that is"
    )]
    TraditionalEncryption,
    /// The text contains no private key.
    #[error("expected PEM with -----BEGIN PRIVATE KEY-----, or the same with EC, RSA or ENCRYPTED")]
    NoKey,
}

/// Returns the certificates in a PEM text, in order. There is at least one.
///
/// # Errors
/// [`PemError`], if the text is not PEM or contains no certificate.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = certificates.map_err(|error| PemError::Malformed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(PemError::NoCertificate);
    }
    // Trust is checked when the client connects. Here, a DER sequence passes for X.509.
    if certificates.iter().all(|certificate| certificate.first() == Some(&0x30)) {
        Ok(certificates)
    } else {
        Err(PemError::NotACertificate)
    }
}

/// Returns the first private key in a PEM text.
///
/// # Errors
/// [`PemError`], if the text contains no private key of a supported form.
pub fn key(text: &str) -> Result<PemKey, PemError> {
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(PemError::TraditionalEncryption);
    }
    if let Some(der) = section(text, "ENCRYPTED PRIVATE KEY") {
        return der.map(PemKey::Encrypted);
    }
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
    key.map(PemKey::Plain).map_err(|_| PemError::NoKey)
}

/// Returns the bytes between the BEGIN and END lines of a label; `None` if there is no BEGIN line.
fn section(text: &str, label: &str) -> Option<Result<Vec<u8>, PemError>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let Some((body, _)) = rest.split_once(&format!("-----END {label}-----")) else {
        return Some(Err(PemError::Malformed(format!("-----END {label}----- is missing"))));
    };
    let base64: String = body.split_ascii_whitespace().collect();
    Some(STANDARD.decode(base64).map_err(|error| PemError::Malformed(error.to_string())))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn text_without_certificate_or_key_is_refused() {
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap().pem();
        assert_eq!(certificates(&certificate).unwrap().len(), 1);
        assert_eq!(certificates(&certificate.repeat(2)).unwrap().len(), 2);
        assert!(matches!(key(&pair.serialize_pem()), Ok(PemKey::Plain(_))));
        for invalid in ["", "x", &pair.serialize_pem(), &certificate.replace("-----END", "----END")]
        {
            assert!(certificates(invalid).is_err(), "{invalid}");
        }
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(certificates(broken).is_err());
        for invalid in ["", "x", &certificate] {
            assert!(key(invalid).is_err(), "{invalid}");
        }
    }

    // Ruling: MQTT-12.
    #[test]
    fn encrypted_keys_are_recognized_by_their_label() {
        let wrap = |label: &str, body: &str| {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        let pkcs8 = wrap("ENCRYPTED PRIVATE KEY", "MAA=");
        assert!(matches!(key(&pkcs8), Ok(PemKey::Encrypted(der)) if der == [0x30, 0]));
        assert!(key(&pkcs8.replace("-----END", "-----end")).is_err());
        assert!(key(&wrap("ENCRYPTED PRIVATE KEY", "?")).is_err());
        let traditional =
            wrap("EC PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAA=");
        assert_eq!(key(&traditional).unwrap_err(), PemError::TraditionalEncryption);
    }
}
