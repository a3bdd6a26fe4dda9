//! Certificates of the house's TLS targets, and the trust its devices have in them.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::scenario::TargetPlan;

/// A target's certificate, made anew at each start: nothing but this house has reason to trust it.
pub(crate) struct TargetCertificate {
    /// Accepts connections under it.
    pub(crate) acceptor: TlsAcceptor,
    /// What the devices trust.
    pub(crate) root: CertificateDer<'static>,
}

impl TargetCertificate {
    /// A self-signed certificate for everything the target is known by.
    ///
    /// # Errors
    /// A message where one of its names fits in no certificate.
    pub(crate) fn new(plan: &TargetPlan) -> Result<Self, String> {
        let mut names: Vec<String> = plan.hosts.iter().map(|known| known.host.clone()).collect();
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        names.push(plan.listen.ip().to_string());
        names.sort();
        names.dedup();
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let certificate = CertificateParams::new(names)
            .and_then(|params| params.self_signed(&key))
            .map_err(|error| error.to_string())?;
        let root = certificate.der().clone();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
                builder.with_no_client_auth().with_single_cert(vec![root.clone()], key)
            })
            .map_err(|error| error.to_string())?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), root })
    }
}

/// What a device trusts: these certificates and nothing else.
///
/// # Errors
/// A message where one of them cannot be trusted.
pub(crate) fn client_config(
    roots: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|error| error.to_string())?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(store).with_no_client_auth()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
