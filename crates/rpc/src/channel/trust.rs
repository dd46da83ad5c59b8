//! Who is a node: whoever proves a key whose certificate the service issued. Names are not compared, since addresses change.

use std::collections::BTreeSet;
use std::sync::Arc;

use coco_crypto::Certificate;
use coco_types::{NodeId, limits};
use parking_lot::RwLock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, ServerConfig, SignatureScheme,
};

use crate::Error;
use crate::tls::{Identity, provider};

/// Whose certificates count.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// Issues the nodes' certificates. Of a service that has rotated its identity since, a peer shows certificates that lead there.
    pub service: Certificate,
    /// What it was before its identity was rotated: a node may not have heard yet.
    pub earlier: Vec<Certificate>,
    /// For these nodes only, what the service issued before still counts.
    pub nodes: BTreeSet<NodeId>,
}

impl Trusted {
    /// This service, which has always been the same.
    pub fn only(service: Certificate) -> Self {
        Self { service, earlier: Vec::new(), nodes: BTreeSet::new() }
    }

    fn check(&self, leaf: &Certificate, between: &[CertificateDer<'_>], at: u64) -> Result<(), coco_crypto::Error> {
        let issued = leaf.verify_issued_by(&self.service, at);
        if issued.is_ok() {
            return issued;
        }
        let early = self.nodes.contains(&leaf.node_id())
            && self.earlier.iter().any(|service| leaf.verify_issued_by(service, at).is_ok());
        let mut present = self.service.clone();
        // Oldest first; the newest follows the leaf.
        for bridge in between.iter().take(limits::CERTIFICATE_CHAIN_MAX).rev() {
            let bridge = Certificate::from_der(bridge)?;
            if bridge.verify_issued_by(&present, at).is_ok() {
                present = bridge;
            }
        }
        if early || leaf.verify_issued_by(&present, at).is_ok() { Ok(()) } else { issued }
    }
}

/// The service's certificate as the only trust anchor.
#[derive(Debug)]
pub(crate) struct ServiceTrust {
    trusted: RwLock<Trusted>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServiceTrust {
    pub(crate) fn new(trusted: Trusted) -> Arc<Self> {
        Arc::new(Self { trusted: RwLock::new(trusted), algorithms: provider().signature_verification_algorithms })
    }

    pub(crate) fn replace(&self, trusted: Trusted) {
        *self.trusted.write() = trusted;
    }

    pub(crate) fn server_config(self: &Arc<Self>, identity: Arc<Identity>) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::clone(self) as _)
            .with_cert_resolver(identity);
        // A resumed session would skip the certificate's check.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    pub(crate) fn client_config(self: &Arc<Self>, identity: Arc<Identity>) -> Result<Arc<ClientConfig>, Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(self) as _)
            .with_client_cert_resolver(identity);
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let refused = |error| rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))));
        let leaf = Certificate::from_der(leaf).map_err(refused)?;
        self.trusted.read().check(&leaf, between, now.as_secs()).map_err(refused)
    }
}

/// The node at the other end of a finished handshake.
pub(crate) fn node_of(chain: Option<&[CertificateDer<'_>]>) -> Option<NodeId> {
    Certificate::from_der(chain?.first()?).ok().map(|leaf| leaf.node_id())
}

impl ServerCertVerifier for ServiceTrust {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(leaf, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
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

impl ClientCertVerifier for ServiceTrust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(leaf, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
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

fn only_tls13() -> rustls::Error {
    rustls::Error::General("channels speak TLS 1.3 only".to_owned())
}
