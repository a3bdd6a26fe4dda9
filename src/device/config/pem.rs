//! Certificates and keys as users paste them: PEM, checked before they are kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A private key, or what hides one.
#[derive(Debug)]
pub enum PemKey {
    /// PKCS#8, PKCS#1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    Plain(PrivateKeyDer<'static>),
    /// PKCS#8 with a password (`ENCRYPTED PRIVATE KEY`), as DER.
    Encrypted(Vec<u8>),
}

/// The certificates in a PEM text, in order; at least one.
///
/// # Errors
/// What is wrong with it.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| format!("not PEM: {error}"))?;
    if found.is_empty() {
        return Err("expected PEM with -----BEGIN CERTIFICATE-----".to_owned());
    }
    // Whether it is trusted is another matter; that it is X.509 at all is a sequence in DER.
    if found.iter().all(|certificate| certificate.first() == Some(&0x30)) {
        Ok(found)
    } else {
        Err("what the PEM holds is no certificate".to_owned())
    }
}

/// The first private key in a PEM text.
///
/// # Errors
/// What is wrong with it.
pub fn key(text: &str) -> Result<PemKey, String> {
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err("a key encrypted in OpenSSL's traditional form is not supported; \
                    `openssl pkcs8 -topk8` makes one that is"
            .to_owned());
    }
    if let Some(der) = section(text, "ENCRYPTED PRIVATE KEY") {
        return der.map(PemKey::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map(PemKey::Plain).map_err(|_| {
        "expected PEM with -----BEGIN PRIVATE KEY-----, or the same with EC, RSA or ENCRYPTED"
            .to_owned()
    })
}

/// The bytes between the lines of a label; none where it is not there.
fn section(text: &str, label: &str) -> Option<Result<Vec<u8>, String>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let Some((body, _)) = rest.split_once(&format!("-----END {label}-----")) else {
        return Some(Err(format!("not PEM: -----END {label}----- is missing")));
    };
    let digits: String = body.split_ascii_whitespace().collect();
    Some(STANDARD.decode(digits).map_err(|error| format!("not PEM: {error}")))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn certificates_and_keys_are_told_from_other_text() {
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap().pem();
        assert_eq!(certificates(&certificate).unwrap().len(), 1);
        assert_eq!(certificates(&certificate.repeat(2)).unwrap().len(), 2);
        assert!(matches!(key(&pair.serialize_pem()), Ok(PemKey::Plain(_))));
        for wrong in ["", "x", &pair.serialize_pem(), &certificate.replace("-----END", "----END")] {
            assert!(certificates(wrong).is_err(), "{wrong}");
        }
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(certificates(broken).is_err());
        for wrong in ["", "x", &certificate] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }

    // Ruling: MQTT-12.
    #[test]
    fn encrypted_keys_are_told_by_their_form() {
        let wrap = |label: &str, body: &str| {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        let pkcs8 = wrap("ENCRYPTED PRIVATE KEY", "MAA=");
        assert!(matches!(key(&pkcs8), Ok(PemKey::Encrypted(der)) if der == [0x30, 0]));
        assert!(key(&pkcs8.replace("-----END", "-----end")).is_err());
        assert!(key(&wrap("ENCRYPTED PRIVATE KEY", "?")).is_err());
        let old =
            wrap("EC PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAA=");
        assert!(key(&old).unwrap_err().contains("openssl pkcs8 -topk8"));
    }
}
