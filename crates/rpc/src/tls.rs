//! TLS identities and what each kind of listener demands of the other end.
//!
//! | | versions | client certificate |
//! |---|---|---|
//! | API | 1.3, 1.2 | optional and of anybody: it proves a key, and a [`crate::authentication`] says whose |
//! | streams of ledgers, where secured | 1.3 | none: who is there proves it by evidence |
//! | channel | 1.3 | of a node, issued by the service; see [`crate::channel`] |

use std::sync::Arc;

use coco_crypto::{Certificate, SigningKey};
use coco_types::limits;
use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

use crate::Error;

/// The certificate chain and key that a node presents. Replaced while in use, when the service renews the certificate:
/// connections made from then on present the new one.
pub struct Identity {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Identity {
    /// `chain`: the node's own certificate first, its issuer after it.
    pub fn new(chain: &[Certificate], key: &SigningKey) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self { current: RwLock::new(certified(chain, key)?) }))
    }

    pub fn replace(&self, chain: &[Certificate], key: &SigningKey) -> Result<(), Error> {
        *self.current.write() = certified(chain, key)?;
        Ok(())
    }
}

/// What a client names in the handshake (ALPN, RFC 7301) if it speaks HTTP/2.
pub const HTTP_2: &[u8] = b"h2";

/// TLS of the node's API.
pub fn api_config(identity: Arc<Identity>) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let anybody = Arc::new(Anybody { algorithms: provider.signature_verification_algorithms });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(anybody)
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS of a ledger's own connections. Only 1.3, whose exported key material names one connection whatever certificates there were.
pub fn stream_config(identity: Arc<Identity>) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(Arc::new(builder.with_no_client_auth().with_cert_resolver(identity)))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certified(chain: &[Certificate], key: &SigningKey) -> Result<Arc<CertifiedKey>, Error> {
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    let key = key.to_pkcs8_der();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice()));
    // Refuses a key that does not belong to the certificate.
    Ok(Arc::new(CertifiedKey::from_der(chain, key.clone_key(), &provider())?))
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes every certificate whose key signs the handshake, and no certificate as well.
#[derive(Debug)]
struct Anybody {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // Before anything of it is read.
        if intermediates.len() >= limits::CERTIFICATE_CHAIN_MAX {
            return Err(rustls::Error::General(format!("more than {} certificates", limits::CERTIFICATE_CHAIN_MAX)));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
