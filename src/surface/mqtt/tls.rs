//! The TLS configuration for `mqtts://`: trust in the broker's certificate, and the client's own certificate
//! (MQTT-10, MQTT-11, MQTT-12).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use parking_lot::Mutex;
use pkcs8::EncryptedPrivateKeyInfo;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{
    Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature,
    verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, UnixTime,
};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::x509::{Certificate, PublicKey};
use crate::device::config::MqttSettings;
use crate::device::config::pem::{self, PemError, PemKey};

/// Rounds of PBKDF2 that an encrypted client key may ask for: some hundred times what OpenSSL writes.
const KEY_ROUNDS: u32 = 1_000_000;

/// Bytes that scrypt may take to decrypt a client key.
const KEY_BYTES: u64 = 64 * 1024 * 1024;

/// The reason for which the settings give no TLS configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum TlsConfigError {
    #[error("broker.certificate: {0}")]
    BrokerPem(PemError),
    #[error("broker.certificate: {0}")]
    BrokerCertificate(Error),
    #[error("client.certificate: {0}")]
    ClientPem(PemError),
    #[error("client.key: {0}")]
    KeyPem(PemError),
    #[error("client.key: {0}")]
    Key(Error),
    #[error("client.key is encrypted, and there is no client.key_password")]
    NoKeyPassword,
    #[error("client.key cannot be decrypted with client.key_password: {0}")]
    KeyDecryption(pkcs8::Error),
    #[error(
        "client.key asks for more work to decrypt than is done here; encrypt it with PBKDF2 of at most \
         a million rounds"
    )]
    ExpensiveKey,
    #[error(transparent)]
    Rustls(#[from] Error),
    /// The task that prepares TLS panicked.
    #[error("{0}")]
    Task(String),
}

/// A TLS configuration, which all clients with the same settings share: a fleet needs it once, and a client key
/// is decrypted once. It is forgotten when no client has it any more.
#[derive(Debug)]
pub(super) struct SharedTls {
    /// Only what the configuration depends on; the rest is as in factory settings.
    settings: Arc<MqttSettings>,
    config: OnceLock<Result<Arc<ClientConfig>, TlsConfigError>>,
    /// Locked while the configuration is made.
    preparation: Arc<tokio::sync::Mutex<()>>,
}

/// The TLS configurations in use, by what they were made from.
static IN_USE: LazyLock<Mutex<HashMap<Arc<MqttSettings>, Weak<SharedTls>>>> =
    LazyLock::new(Mutex::default);

impl SharedTls {
    /// Returns the configuration of these settings, which is to be prepared.
    pub(super) fn of(settings: &MqttSettings) -> Arc<Self> {
        let settings = Arc::new(MqttSettings {
            skip_cn_check: settings.skip_cn_check,
            broker_certificate: settings.broker_certificate.clone(),
            client_certificate: settings.client_certificate.clone(),
            client_key: settings.client_key.clone(),
            client_key_password: settings.client_key_password.clone(),
            ..MqttSettings::default()
        });
        let mut in_use = IN_USE.lock();
        if let Some(shared) = in_use.get(&settings).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::new(Self {
            settings: Arc::clone(&settings),
            config: OnceLock::new(),
            preparation: Arc::default(),
        });
        in_use.insert(settings, Arc::downgrade(&shared));
        shared
    }

    /// Makes the configuration, unless it is there. `client` is held until then, also if the caller stops
    /// waiting: a client prepares one configuration at a time.
    pub(super) async fn prepare<L: Send + 'static>(self: &Arc<Self>, client: L) {
        let lock = Arc::clone(&self.preparation).lock_owned().await;
        if self.config.get().is_some() {
            return;
        }
        let shared = Arc::clone(self);
        let prepared = tokio::task::spawn_blocking(move || {
            let _locks = (lock, client);
            shared.config.get_or_init(|| config(&shared.settings));
        });
        if let Err(error) = prepared.await {
            self.config.get_or_init(|| Err(TlsConfigError::Task(error.to_string())));
        }
    }

    /// Returns the configuration.
    ///
    /// # Errors
    /// If the settings are unusable.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, TlsConfigError> {
        let unprepared = || Err(TlsConfigError::Task("TLS is not prepared".to_owned()));
        self.config.get().cloned().unwrap_or_else(unprepared)
    }
}

impl Drop for SharedTls {
    fn drop(&mut self) {
        let mut in_use = IN_USE.lock();
        // Another client may have asked for the same settings meanwhile.
        if in_use.get(&self.settings).is_some_and(|shared| shared.strong_count() == 0) {
            in_use.remove(&self.settings);
        }
    }
}

/// Builds the TLS configuration. Blocks: decrypting a key takes time, and the system's certificates are
/// read from files.
///
/// # Errors
/// If the settings are unusable.
fn config(settings: &MqttSettings) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = BrokerVerifier::new(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity(settings, &provider)? {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(identity)),
        None => builder.with_no_client_auth(),
    };
    // The devices of a fleet share the configuration, and none may resume the session of another (MQTT-15).
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Returns the client's certificate with its key. `None` if the settings lack either.
fn identity(
    settings: &MqttSettings,
    provider: &CryptoProvider,
) -> Result<Option<SingleCertAndKey>, TlsConfigError> {
    let (Some(certificate), Some(key)) = (&settings.client_certificate, &settings.client_key)
    else {
        return Ok(None);
    };
    let certificates = pem::certificates(certificate).map_err(TlsConfigError::ClientPem)?;
    let key = pem::key(key).map_err(TlsConfigError::KeyPem)?;
    let key = match key {
        PemKey::Plain(key) => key,
        PemKey::Encrypted(der) => decrypt(&der, settings.client_key_password.as_deref())?,
    };
    let key = provider.key_provider.load_private_key(key).map_err(TlsConfigError::Key)?;
    // The key is not checked against the certificate, because rustls cannot parse one of version 1. The
    // broker notices a key that does not match.
    Ok(Some(SingleCertAndKey::from(CertifiedKey::new(certificates, key))))
}

fn decrypt(der: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let password = password.filter(|password| !password.is_empty());
    let password = password.ok_or(TlsConfigError::NoKeyPassword)?;
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(TlsConfigError::KeyDecryption)?;
    if !is_cheap(&info) {
        return Err(TlsConfigError::ExpensiveKey);
    }
    let plain = info.decrypt(password).map_err(TlsConfigError::KeyDecryption)?;
    Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into())
}

/// Returns true if the decryption of a key takes bounded time and memory. The owner of the key chose how
/// much it takes.
fn is_cheap(info: &EncryptedPrivateKeyInfo<'_>) -> bool {
    use pkcs8::pkcs5::pbes2::Kdf;
    info.encryption_algorithm.pbes2().is_some_and(|pbes2| match &pbes2.kdf {
        Kdf::Pbkdf2(kdf) => kdf.iteration_count <= KEY_ROUNDS,
        Kdf::Scrypt(kdf) => {
            let blocks = 128 * u64::from(kdf.block_size) * u64::from(kdf.parallelization);
            let bytes = kdf.cost_parameter.checked_mul(blocks);
            bytes.is_some_and(|bytes| bytes > 0 && bytes <= KEY_BYTES)
        }
        _ => false,
    })
}

/// The verifier of the broker's certificate.
#[derive(Debug)]
struct BrokerVerifier {
    roots: RootCertStore,
    /// The pinned certificates, which are trusted whatever their extensions say: a broker's own may be
    /// one that could only sign others.
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The system's trusted certificates, read once because they are some hundred files.
static SYSTEM_ROOTS: LazyLock<Vec<CertificateDer<'static>>> =
    LazyLock::new(|| rustls_native_certs::load_native_certs().certs);

impl BrokerVerifier {
    fn new(settings: &MqttSettings, provider: &CryptoProvider) -> Result<Self, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        let mut pinned = Vec::new();
        if let Some(text) = &settings.broker_certificate {
            pinned = pem::certificates(text).map_err(TlsConfigError::BrokerPem)?;
            for certificate in &pinned {
                roots.add(certificate.clone()).map_err(TlsConfigError::BrokerCertificate)?;
            }
        } else {
            roots.add_parsable_certificates(SYSTEM_ROOTS.iter().cloned());
        }
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { roots, pinned, check_name: !settings.skip_cn_check, algorithms })
    }

    /// Checks the chain of a certificate that rustls can parse.
    fn check_chain(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )
    }

    /// Checks a certificate of version 1: its validity, and that a trusted certificate signed it without
    /// intermediates.
    fn check_version_1(&self, certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
        check_validity(certificate, now)?;
        let signs = |key: PublicKey<'_>| {
            let algorithms = self.algorithms.all.iter();
            let mut usable = algorithms.filter(|algorithm| {
                algorithm.signature_alg_id().as_ref() == certificate.algorithm
                    && takes_key(**algorithm, key)
            });
            usable.any(|algorithm| {
                let Certificate { signed, signature, .. } = certificate;
                algorithm.verify_signature(key.bits, signed, signature).is_ok()
            })
        };
        let issuers = self.roots.roots.iter();
        let mut issuers = issuers.filter(|root| root.subject.as_ref() == certificate.issuer);
        let signed = issuers
            .any(|root| PublicKey::from_contents(&root.subject_public_key_info).is_ok_and(signs));
        if signed { Ok(()) } else { Err(CertificateError::UnknownIssuer.into()) }
    }
}

/// Returns true if a signature algorithm uses keys of this kind.
fn takes_key(algorithm: &dyn SignatureVerificationAlgorithm, key: PublicKey<'_>) -> bool {
    algorithm.public_key_alg_id().as_ref() == key.algorithm
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::parse(der).map_err(|_| CertificateError::BadEncoding.into())
}

fn check_validity(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let (first, last) = certificate.validity;
    if now.as_secs() < first.as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > last.as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Checks that a certificate is for this name, by its alternative names or, if it has none, by its common
/// name.
fn check_name(
    der: &CertificateDer<'_>,
    certificate: &Certificate<'_>,
    name: &ServerName<'_>,
) -> Result<(), Error> {
    if !certificate.is_version_1 {
        match verify_server_name(&ParsedCertificate::try_from(der)?, name) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            })) if presented.is_empty() => {}
            result => return result,
        }
    }
    let common = certificate.common_name().unwrap_or_default();
    if common_name_matches(common, name) {
        return Ok(());
    }
    let (expected, presented) = (name.to_owned(), vec![common.to_owned()]);
    Err(CertificateError::NotValidForNameContext { expected, presented }.into())
}

/// Returns true if a common name matches a name. A common name that begins with `*.` matches all hosts of
/// a domain that contains a dot, but no address (RFC 6125 §6.4.3).
fn common_name_matches(common: &str, name: &ServerName<'_>) -> bool {
    let text = name.to_str();
    let wildcard_domain = common.strip_prefix("*.").filter(|domain| domain.contains('.'));
    let host_and_domain = matches!(name, ServerName::DnsName(_)).then(|| text.split_once('.'));
    let domains = wildcard_domain.zip(host_and_domain.flatten());
    common.eq_ignore_ascii_case(&text)
        || domains.is_some_and(|(wildcard, (_, domain))| wildcard.eq_ignore_ascii_case(domain))
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = parse(der)?;
        if self.pinned.contains(der) {
            check_validity(&certificate, now)?;
        } else if certificate.is_version_1 {
            self.check_version_1(&certificate, now)?;
        } else {
            self.check_chain(der, intermediates, now)?;
        }
        if self.check_name {
            check_name(der, &certificate, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        der: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = parse(der)?;
        if !certificate.is_version_1 {
            return verify_tls12_signature(message, der, signed, &self.algorithms);
        }
        let key = certificate.key;
        let mapping = self.algorithms.mapping.iter();
        let of_scheme = mapping.filter(|(scheme, _)| *scheme == signed.scheme);
        let mut usable = of_scheme
            .flat_map(|(_, all)| all.iter())
            .filter(|algorithm| takes_key(**algorithm, key));
        let valid = usable.any(|algorithm| {
            algorithm.verify_signature(key.bits, message, signed.signature()).is_ok()
        });
        if valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        der: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = parse(der)?;
        if !certificate.is_version_1 {
            return verify_tls13_signature(message, der, signed, &self.algorithms);
        }
        let key = SubjectPublicKeyInfoDer::from(certificate.key.info);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use pkcs8::PrivateKeyInfo;
    use pkcs8::der::pem::LineEnding;
    use pkcs8::pkcs5::pbes2;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SigningKey,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::rustls::sign::SingleCertAndKey;
    use tokio_rustls::rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion, version};
    use tokio_rustls::{TlsAcceptor, TlsConnector};
    use x509_cert::certificate::Version;
    use x509_cert::der::asn1::BitString;
    use x509_cert::der::{Decode, Encode};

    use super::*;

    /// Returns parameters with a common name alone.
    fn common_name_only(common: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        params
    }

    struct TestCa {
        authority: CertifiedIssuer<'static, KeyPair>,
        key: KeyPair,
    }

    impl TestCa {
        fn new() -> Self {
            let mut params = common_name_only("Lab ECC Root CA");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
            Self { authority: authority.unwrap(), key: KeyPair::generate().unwrap() }
        }

        /// Returns a certificate of version 3 without alternative names for the broker.
        fn version_3(&self, common: &str) -> CertificateDer<'static> {
            common_name_only(common).signed_by(&self.key, &self.authority).unwrap().der().clone()
        }

        /// Returns the same certificate in version 1, which has no extensions.
        fn version_1(&self, common: &str) -> CertificateDer<'static> {
            let mut certificate =
                x509_cert::Certificate::from_der(&self.version_3(common)).unwrap();
            certificate.tbs_certificate.version = Version::V1;
            certificate.tbs_certificate.extensions = None;
            let signed = certificate.tbs_certificate.to_der().unwrap();
            let signature = self.authority.key().sign(&signed).unwrap();
            certificate.signature = BitString::from_bytes(&signature).unwrap();
            CertificateDer::from(certificate.to_der().unwrap())
        }

        fn settings(&self) -> MqttSettings {
            MqttSettings {
                broker_certificate: Some(self.authority.pem()),
                ..MqttSettings::default()
            }
        }
    }

    /// Connects to a broker with this certificate and key.
    async fn handshake(
        settings: &MqttSettings,
        certificate: CertificateDer<'static>,
        key: &KeyPair,
        host: &str,
        version: &'static SupportedProtocolVersion,
    ) -> Result<(), String> {
        let provider = Arc::new(ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let certificate = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificate));
        let (ours, theirs) = duplex(16 * 1024);
        let accept = TlsAcceptor::from(Arc::new(server)).accept(theirs);
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connect = TlsConnector::from(config(settings).unwrap()).connect(name, ours);
        let (_server, client) = tokio::join!(accept, connect);
        client.map(drop).map_err(|error| error.to_string())
    }

    // Ruling: MQTT-11.
    #[tokio::test]
    async fn certificates_of_versions_1_and_3_are_accepted() {
        let ca = TestCa::new();
        let settings = ca.settings();
        for version in [&version::TLS12, &version::TLS13] {
            for certificate in [ca.version_1("mqtt.lab.local"), ca.version_3("mqtt.lab.local")] {
                let connect = async |host: &str, key: &KeyPair| {
                    handshake(&settings, certificate.clone(), key, host, version).await
                };
                assert_eq!(connect("mqtt.lab.local", &ca.key).await, Ok(()));
                let error = connect("other.lab.local", &ca.key).await.unwrap_err();
                assert!(error.contains("only valid for mqtt.lab.local"), "{error}");
                let other_key = KeyPair::generate().unwrap();
                assert!(connect("mqtt.lab.local", &other_key).await.is_err());
            }
        }
    }

    // Ruling: MQTT-11.
    #[tokio::test]
    async fn a_version_1_certificate_needs_a_trusted_signature() {
        let ca = TestCa::new();
        let connect = async |settings: &MqttSettings, certificate| {
            handshake(settings, certificate, &ca.key, "mqtt.lab.local", &version::TLS13).await
        };
        let valid = ca.version_1("mqtt.lab.local");
        let error = connect(&TestCa::new().settings(), valid.clone()).await.unwrap_err();
        assert!(error.contains("UnknownIssuer"), "{error}");
        let mut forged = valid.to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert!(connect(&ca.settings(), forged.into()).await.is_err());
        let mut any_name = ca.settings();
        any_name.skip_cn_check = true;
        assert_eq!(connect(&any_name, ca.version_1("other")).await, Ok(()));
    }

    // Ruling: MQTT-10.
    #[tokio::test]
    async fn the_brokers_own_certificate_can_be_pinned() {
        let mut params = CertificateParams::new(vec!["mqtt.lab.local".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let settings =
            MqttSettings { broker_certificate: Some(own.pem()), ..MqttSettings::default() };
        let connect =
            async |host| handshake(&settings, own.der().clone(), &key, host, &version::TLS13).await;
        assert_eq!(connect("mqtt.lab.local").await, Ok(()));
        assert!(connect("other.lab.local").await.is_err(), "the name is checked all the same");
    }

    // Ruling: MQTT-10.
    #[tokio::test]
    async fn an_outdated_certificate_is_refused_even_if_pinned() {
        for (years, reason) in [((2000, 2001), "Expired"), ((2990, 2991), "NotValidYet")] {
            let mut params = CertificateParams::new(vec!["mqtt.lab.local".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
            params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
            let key = KeyPair::generate().unwrap();
            let own = params.self_signed(&key).unwrap();
            let settings = MqttSettings {
                broker_certificate: Some(own.pem()),
                skip_cn_check: true,
                ..MqttSettings::default()
            };
            let certificate = own.der().clone();
            let result =
                handshake(&settings, certificate, &key, "mqtt.lab.local", &version::TLS13).await;
            let error = result.unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    // Ruling: MQTT-15.
    #[tokio::test]
    async fn clients_with_the_same_certificates_share_all_but_the_session() {
        let ca = TestCa::new();
        let of = |topic: &str, authority: &TestCa| {
            SharedTls::of(&MqttSettings { topic: topic.to_owned(), ..authority.settings() })
        };
        let (first, second) = (of("a", &ca), of("b", &ca));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &of("a", &TestCa::new())));
        assert!(second.config().is_err(), "not prepared");
        first.prepare(()).await;
        let shared = second.config().unwrap();
        let provider = Arc::new(ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(ca.key.serialize_der()).into();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let certificate = CertifiedKey::new(vec![ca.version_3("mqtt.lab.local")], key);
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)));
        let server = TlsAcceptor::from(Arc::new(server));
        for round in 0..3 {
            let (ours, theirs) = duplex(16 * 1024);
            let name = ServerName::try_from("mqtt.lab.local").unwrap();
            let connect = TlsConnector::from(Arc::clone(&shared)).connect(name, ours);
            let (accepted, connected) = tokio::join!(server.accept(theirs), connect);
            let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
            // A ticket, with which a session could be resumed, comes before the first data.
            accepted.write_all(b"x").await.unwrap();
            accepted.flush().await.unwrap();
            assert_eq!(connected.read_u8().await.unwrap(), b'x');
            let kind = accepted.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Full), "round {round}");
        }
        drop((first, second));
        assert!(of("a", &ca).config().is_err(), "nobody had it any more");
    }

    // Ruling: MQTT-12.
    #[test]
    fn an_encrypted_key_needs_its_password() {
        let pair = KeyPair::generate().unwrap();
        let der = pair.serialize_der();
        let parameters =
            pbes2::Parameters::pbkdf2_sha256_aes256cbc(10, &[7; 16], &[9; 16]).unwrap();
        let encrypted = PrivateKeyInfo::try_from(&*der)
            .unwrap()
            .encrypt_with_params(parameters, "geheim")
            .unwrap()
            .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)
            .unwrap();
        let with = |password: Option<&str>| {
            let settings = MqttSettings {
                client_certificate: Some(common_name_only("x").self_signed(&pair).unwrap().pem()),
                client_key: Some(encrypted.to_string()),
                client_key_password: password.map(str::to_owned),
                ..MqttSettings::default()
            };
            config(&settings).map(|config| config.client_auth_cert_resolver.has_certs())
        };
        assert_eq!(with(Some("geheim")), Ok(true));
        let error = with(Some("falsch")).unwrap_err().to_string();
        assert!(error.contains("cannot be decrypted"), "{error}");
        assert_eq!(with(None), Err(TlsConfigError::NoKeyPassword));
    }

    // Ruling: MQTT-12.
    #[test]
    fn a_client_certificate_without_key_is_not_sent() {
        let pair = KeyPair::generate().unwrap();
        let certificate = common_name_only("x").self_signed(&pair).unwrap().pem();
        let settings =
            MqttSettings { client_certificate: Some(certificate), ..MqttSettings::default() };
        assert!(!config(&settings).unwrap().client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn a_common_name_may_have_a_wildcard() {
        let matches = |common: &str, name: &'static str| {
            common_name_matches(common, &ServerName::try_from(name).unwrap())
        };
        assert!(matches("mqtt.lab.local", "MQTT.lab.local"));
        assert!(matches("*.lab.local", "mqtt.lab.local"));
        assert!(matches("192.168.99.186", "192.168.99.186"));
        assert!(!matches("*.lab.local", "a.mqtt.lab.local"));
        assert!(!matches("*.lab.local", "lab.local"));
        assert!(!matches("*.168.99.186", "192.168.99.186"), "an address has no wildcard");
        assert!(!matches("*.local", "mqtt.local"), "a wildcard needs a domain with a dot");
        assert!(!matches("", "lab.local"));
    }
}
