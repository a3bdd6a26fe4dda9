//! Certificates of the house's TLS targets.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::scenario::TargetPlan;

/// The certificate of a target. It is generated at each start, because only this house trusts it.
pub(crate) struct TargetCertificate {
    /// Accepts connections with this certificate.
    pub(crate) acceptor: TlsAcceptor,
    /// The root that the devices of the house trust.
    pub(crate) root: CertificateDer<'static>,
}

impl TargetCertificate {
    /// Creates a self-signed certificate for all names and addresses of the target.
    ///
    /// # Errors
    /// [`CertificateError`] if one of its names does not fit in a certificate.
    pub(crate) fn new(plan: &TargetPlan) -> Result<Self, CertificateError> {
        let mut names: Vec<String> = plan.hosts.iter().map(|known| known.host.clone()).collect();
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        names.push(plan.listen.ip().to_string());
        names.sort();
        names.dedup();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.self_signed(&key)?;
        let root = certificate.der().clone();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![root.clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), root })
    }
}

/// A TLS target gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A name of the target does not fit in a certificate.
    #[error(transparent)]
    Generate(#[from] rcgen::Error),
    /// The TLS library refuses the certificate.
    #[error(transparent)]
    Tls(#[from] tokio_rustls::rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
