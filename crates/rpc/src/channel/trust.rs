//! Who is a node: whoever proves a key whose certificate the service issued. Names are not compared, since addresses change.

use std::sync::Arc;

use coco_crypto::Certificate;
use coco_types::NodeId;
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

/// The service's certificate as the only trust anchor.
#[derive(Debug)]
pub(crate) struct ServiceTrust {
    service: RwLock<Certificate>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServiceTrust {
    pub(crate) fn new(service: Certificate) -> Arc<Self> {
        Arc::new(Self { service: RwLock::new(service), algorithms: provider().signature_verification_algorithms })
    }

    pub(crate) fn replace(&self, service: Certificate) {
        *self.service.write() = service;
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

    fn check(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
        let refused = |error| rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))));
        let leaf = Certificate::from_der(leaf).map_err(refused)?;
        leaf.verify_issued_by(&self.service.read(), now.as_secs()).map_err(refused)
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
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(leaf, now).map(|()| ServerCertVerified::assertion())
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
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(leaf, now).map(|()| ClientCertVerified::assertion())
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
