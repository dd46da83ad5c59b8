//! TLS towards a network: its service certificate is the only trust anchor.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use coco_crypto::{Certificate, SigningKey};
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::output::Hinted;

/// Reads the service's certificate, in PEM.
pub fn read_certificate(path: &Path) -> anyhow::Result<Certificate> {
    let text = fs::read_to_string(path).map_err(|error| {
        Hinted::error(
            format!("{}: {error}", path.display()),
            "`coco dev` prints where the service certificate is; elsewhere the consortium hands it out",
        )
    })?;
    Certificate::from_pem(&text).with_context(|| path.display().to_string())
}

/// Accepts exactly the nodes that this service has endorsed.
pub fn trusting(service: &Certificate) -> anyhow::Result<Arc<ClientConfig>> {
    Ok(Arc::new(verifying(service)?.with_no_client_auth()))
}

/// The same, and proves to be the holder of a certificate.
pub fn as_client(service: &Certificate, own: &Certificate, key: &SigningKey) -> anyhow::Result<Arc<ClientConfig>> {
    as_client_with(service, vec![own.der().to_vec()], key)
}

/// The same with those of CAs behind one's own, each in DER.
pub fn as_client_with(
    service: &Certificate,
    chain: Vec<Vec<u8>>,
    key: &SigningKey,
) -> anyhow::Result<Arc<ClientConfig>> {
    let key = PrivatePkcs8KeyDer::from(key.to_pkcs8_der().to_vec());
    let chain = chain.into_iter().map(Into::into).collect();
    Ok(Arc::new(verifying(service)?.with_client_auth_cert(chain, key.into())?))
}

fn verifying(service: &Certificate) -> anyhow::Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    roots.add(service.der().to_vec().into()).context("the service certificate")?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots))
}
