//! What the client trusts, and what it shows, under `mqtts://`.
//!
//! Rulings: MQTT-10, MQTT-11 and MQTT-12.

use std::sync::{Arc, LazyLock};

use pkcs8::EncryptedPrivateKeyInfo;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
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
use crate::device::config::pem::{self, PemKey};
use crate::limits;

/// TLS as the settings want it. Not for a runtime's thread: decrypting a key is work, and what the
/// system trusts is read from files.
///
/// # Errors
/// What makes them unusable, for the journal.
pub(super) fn config(settings: &MqttSettings) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match identity(settings, &provider)? {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(identity)),
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// What the client shows; nothing without both a certificate and its key.
fn identity(
    settings: &MqttSettings,
    provider: &CryptoProvider,
) -> Result<Option<SingleCertAndKey>, String> {
    let (Some(certificate), Some(key)) = (&settings.client_certificate, &settings.client_key)
    else {
        return Ok(None);
    };
    let certificates = pem::certificates(certificate)
        .map_err(|message| format!("client.certificate: {message}"))?;
    let key = pem::key(key).map_err(|message| format!("client.key: {message}"))?;
    let key = match key {
        PemKey::Plain(key) => key,
        PemKey::Encrypted(der) => decrypt(&der, settings.client_key_password.as_deref())?,
    };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| format!("client.key: {error}"))?;
    // Not checked against the certificate, which rustls does not read where it is of version 1: a
    // pair that does not belong together is found out by the broker.
    Ok(Some(SingleCertAndKey::from(CertifiedKey::new(certificates, key))))
}

fn decrypt(der: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let password = password.filter(|password| !password.is_empty());
    let password =
        password.ok_or("client.key is encrypted, and there is no client.key_password")?;
    let unusable = |error: pkcs8::Error| {
        format!("client.key cannot be decrypted with client.key_password: {error}")
    };
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(unusable)?;
    if !is_cheap(&info) {
        return Err("client.key asks for more work to decrypt than is done here; encrypt it with \
                    PBKDF2 of at most a million rounds"
            .to_owned());
    }
    let plain = info.decrypt(password).map_err(unusable)?;
    Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into())
}

/// Whether decrypting takes bounded time and memory: how much is for the key's owner to say.
fn is_cheap(info: &EncryptedPrivateKeyInfo<'_>) -> bool {
    use pkcs8::pkcs5::pbes2::Kdf;
    info.encryption_algorithm.pbes2().is_some_and(|pbes2| match &pbes2.kdf {
        Kdf::Pbkdf2(kdf) => kdf.iteration_count <= limits::KEY_ROUNDS,
        Kdf::Scrypt(kdf) => {
            let blocks = 128 * u64::from(kdf.block_size) * u64::from(kdf.parallelization);
            let bytes = kdf.cost_parameter.checked_mul(blocks);
            bytes.is_some_and(|bytes| bytes > 0 && bytes <= limits::KEY_BYTES)
        }
        _ => false,
    })
}

/// Decides about the broker's certificate.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    /// Certificates that are trusted as they stand, whatever they say of themselves: a broker's own
    /// may be one that, by its extensions, could only sign others.
    known: Vec<CertificateDer<'static>>,
    check_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What the system trusts; read once, since it is some hundred files.
static SYSTEM: LazyLock<Vec<CertificateDer<'static>>> =
    LazyLock::new(|| rustls_native_certs::load_native_certs().certs);

impl Verifier {
    fn new(settings: &MqttSettings, provider: &CryptoProvider) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut known = Vec::new();
        if let Some(text) = &settings.broker_certificate {
            let wrong = |message: String| format!("broker.certificate: {message}");
            known = pem::certificates(text).map_err(|error| wrong(error.to_string()))?;
            for certificate in &known {
                roots.add(certificate.clone()).map_err(|error| wrong(error.to_string()))?;
            }
        } else {
            roots.add_parsable_certificates(SYSTEM.iter().cloned());
        }
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { roots, known, check_name: !settings.skip_cn_check, algorithms })
    }

    /// The chain of a certificate that rustls reads.
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

    /// The chain of one of version 1: signed by what is trusted, and nothing between.
    fn check_version_1(&self, certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
        check_validity(certificate, now)?;
        let signs = |key: PublicKey<'_>| {
            let algorithms = self.algorithms.all.iter();
            let mut fitting = algorithms.filter(|algorithm| {
                algorithm.signature_alg_id().as_ref() == certificate.algorithm
                    && fits(**algorithm, key)
            });
            fitting.any(|algorithm| {
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

fn fits(algorithm: &dyn SignatureVerificationAlgorithm, key: PublicKey<'_>) -> bool {
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

/// Whether a certificate is one for this name: by its alternative names or, where it has none, by
/// its common name.
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
            decided => return decided,
        }
    }
    let common = certificate.common_name().unwrap_or_default();
    if is_named(common, name) {
        return Ok(());
    }
    let (expected, presented) = (name.to_owned(), vec![common.to_owned()]);
    Err(CertificateError::NotValidForNameContext { expected, presented }.into())
}

/// Whether a common name is this name. It may begin with `*.` for all hosts of a domain that has a dot
/// itself, which no address has (RFC 6125 §6.4.3).
fn is_named(common: &str, name: &ServerName<'_>) -> bool {
    let shown = name.to_str();
    let domain = common.strip_prefix("*.").filter(|domain| domain.contains('.'));
    let of_domain = matches!(name, ServerName::DnsName(_)).then(|| shown.split_once('.'));
    let by_star = domain.zip(of_domain.flatten());
    common.eq_ignore_ascii_case(&shown)
        || by_star.is_some_and(|(domain, (_, own))| domain.eq_ignore_ascii_case(own))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = parse(der)?;
        if self.known.contains(der) {
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
        let mut fitting =
            of_scheme.flat_map(|(_, all)| all.iter()).filter(|algorithm| fits(**algorithm, key));
        let valid = fitting.any(|algorithm| {
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
    use tokio::io::duplex;
    use tokio_rustls::rustls::sign::SingleCertAndKey;
    use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion, version};
    use tokio_rustls::{TlsAcceptor, TlsConnector};
    use x509_cert::certificate::Version;
    use x509_cert::der::asn1::BitString;
    use x509_cert::der::{Decode, Encode};

    use super::*;

    /// A name that consists of a common name.
    fn named(common: &str) -> CertificateParams {
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
            let mut params = named("Lab ECC Root CA");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
            Self { authority: authority.unwrap(), key: KeyPair::generate().unwrap() }
        }

        /// The broker's certificate without alternative names.
        fn third_version(&self, common: &str) -> CertificateDer<'static> {
            named(common).signed_by(&self.key, &self.authority).unwrap().der().clone()
        }

        /// The same certificate in version 1: without extensions, signed anew.
        fn first_version(&self, common: &str) -> CertificateDer<'static> {
            let mut certificate =
                x509_cert::Certificate::from_der(&self.third_version(common)).unwrap();
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

    /// What becomes of a handshake with a broker that shows this certificate and has this key.
    async fn handshake(
        settings: &MqttSettings,
        shown: CertificateDer<'static>,
        key: &KeyPair,
        host: &str,
        version: &'static SupportedProtocolVersion,
    ) -> Result<(), String> {
        let provider = Arc::new(ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let shown = SingleCertAndKey::from(CertifiedKey::new(vec![shown], key));
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        let (ours, theirs) = duplex(16 * 1024);
        let accept = TlsAcceptor::from(Arc::new(server)).accept(theirs);
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connect = TlsConnector::from(config(settings).unwrap()).connect(name, ours);
        let (_server, client) = tokio::join!(accept, connect);
        client.map(drop).map_err(|error| error.to_string())
    }

    // Ruling: MQTT-11.
    #[tokio::test]
    async fn certificates_of_the_vendors_page_are_taken_whichever_version_they_have() {
        let lab = TestCa::new();
        let settings = lab.settings();
        for version in [&version::TLS12, &version::TLS13] {
            for shown in [lab.first_version("mqtt.lab.local"), lab.third_version("mqtt.lab.local")]
            {
                let with = async |host: &str, key: &KeyPair| {
                    handshake(&settings, shown.clone(), key, host, version).await
                };
                assert_eq!(with("mqtt.lab.local", &lab.key).await, Ok(()));
                let said = with("other.lab.local", &lab.key).await.unwrap_err();
                assert!(said.contains("only valid for mqtt.lab.local"), "{said}");
                let stranger = KeyPair::generate().unwrap();
                assert!(with("mqtt.lab.local", &stranger).await.is_err(), "the key is not its own");
            }
        }
    }

    // Ruling: MQTT-11.
    #[tokio::test]
    async fn a_certificate_of_version_1_has_to_be_signed_by_what_is_trusted() {
        let lab = TestCa::new();
        let take = async |settings: &MqttSettings, shown| {
            handshake(settings, shown, &lab.key, "mqtt.lab.local", &version::TLS13).await
        };
        let good = lab.first_version("mqtt.lab.local");
        let said = take(&TestCa::new().settings(), good.clone()).await.unwrap_err();
        assert!(said.contains("UnknownIssuer"), "{said}");
        let mut forged = good.to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert!(take(&lab.settings(), forged.into()).await.is_err());
        let mut name = lab.settings();
        name.skip_cn_check = true;
        assert_eq!(take(&name, lab.first_version("other")).await, Ok(()));
    }

    // Ruling: MQTT-10.
    #[tokio::test]
    async fn a_broker_may_be_trusted_by_its_own_certificate() {
        let mut params = CertificateParams::new(vec!["mqtt.lab.local".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let settings =
            MqttSettings { broker_certificate: Some(own.pem()), ..MqttSettings::default() };
        let with =
            async |host| handshake(&settings, own.der().clone(), &key, host, &version::TLS13).await;
        assert_eq!(with("mqtt.lab.local").await, Ok(()));
        assert!(with("other.lab.local").await.is_err(), "its name counts all the same");
    }

    // Ruling: MQTT-10.
    #[tokio::test]
    async fn a_certificate_that_is_out_of_date_is_refused_also_where_it_is_the_trusted_one() {
        for (years, said) in [((2000, 2001), "Expired"), ((2990, 2991), "NotValidYet")] {
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
            let shown = own.der().clone();
            let taken = handshake(&settings, shown, &key, "mqtt.lab.local", &version::TLS13).await;
            let error = taken.unwrap_err();
            assert!(error.contains(said), "{error}");
        }
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
                client_certificate: Some(named("x").self_signed(&pair).unwrap().pem()),
                client_key: Some(encrypted.to_string()),
                client_key_password: password.map(str::to_owned),
                ..MqttSettings::default()
            };
            config(&settings).map(|config| config.client_auth_cert_resolver.has_certs())
        };
        assert_eq!(with(Some("geheim")), Ok(true));
        assert!(with(Some("falsch")).unwrap_err().contains("cannot be decrypted"));
        assert!(with(None).unwrap_err().contains("no client.key_password"));
    }

    // Ruling: MQTT-12.
    #[test]
    fn without_its_key_a_certificate_is_not_shown() {
        let pair = KeyPair::generate().unwrap();
        let certificate = named("x").self_signed(&pair).unwrap().pem();
        let settings =
            MqttSettings { client_certificate: Some(certificate), ..MqttSettings::default() };
        assert!(!config(&settings).unwrap().client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn a_common_name_may_stand_for_a_whole_domain() {
        let named = |common: &str, name: &'static str| {
            is_named(common, &ServerName::try_from(name).unwrap())
        };
        assert!(named("mqtt.lab.local", "MQTT.lab.local"));
        assert!(named("*.lab.local", "mqtt.lab.local"));
        assert!(named("192.168.99.186", "192.168.99.186"));
        assert!(!named("*.lab.local", "a.mqtt.lab.local"));
        assert!(!named("*.lab.local", "lab.local"));
        assert!(!named("*.168.99.186", "192.168.99.186"), "no star stands in an address");
        assert!(!named("*.local", "mqtt.local"), "nor for a whole domain");
        assert!(!named("", "lab.local"));
    }
}
