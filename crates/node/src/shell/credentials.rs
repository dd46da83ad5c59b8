//! What this node shows and trusts, kept as the ledger has it: its certificate, the service's, and the service's key.
//!
//! Members renew certificates and rotate the service's identity by vote. Each node notices when it has applied the transaction, shows the new
//! certificates on connections made from then on, and keeps them for its next start. What *signs* changes by itself, at the transaction
//! (`ServiceSigning`).

use std::sync::Arc;

use coco_crypto::{Certificate, SymmetricKey, SystemCrypto};
use coco_disk::Disk;
use coco_governance::certificates::{self, Subject};
use coco_governance::secrets::Vault;
use coco_governance::{Addresses, NodeRow, NodeStatus, ServiceInfo, rotation, tables};
use coco_kv::Snapshot;
use coco_rpc::channel::Trusted;
use coco_rpc::tls;
use coco_types::Seqno;

use crate::handle::Shared;
use crate::identity::{Identity, ServiceSecrets};
use crate::shell::SERVICE_CERTIFICATE_FILE;
use crate::shell::network::Network;

/// See the module's text.
pub struct Credentials {
    pub identity: Identity,
    pub vault: Vault,
    pub index: u32,
    pub addresses: Addresses,
    pub tls: Arc<tls::Identity>,
    pub network: Arc<Network>,
    pub root: Arc<dyn Disk>,
    pub sealing: SymmetricKey,
    /// Of the service and of this node, as they were followed last.
    pub followed: (String, Option<String>),
}

/// The service's secrets as of a state, as far as this node holds them.
pub fn service(state: &mut Snapshot, vault: &Vault, began_with: &ServiceSecrets) -> Result<ServiceSecrets, String> {
    let text = |error: coco_governance::Error| error.to_string();
    let mut service = began_with.copy();
    let Some(info) = ServiceInfo::read(state).map_err(text)? else { return Ok(service) };
    let certificate = Certificate::from_pem(&info.cert).map_err(|error| error.to_string())?;
    // While a ledger is read back, its newest service may be one whose key this node never had.
    let key = rotation::key(state, vault).ok().filter(|key| key.public_key() == certificate.public_key());
    let Some(key) = key else { return Ok(service) };
    service.key = coco_crypto::SigningKey::from_pkcs8_der(&key.to_pkcs8_der()).map_err(|error| error.to_string())?;
    service.certificate = certificate;
    for (until, key) in rotation::earlier_keys(state).map_err(text)? {
        if service.earlier.iter().all(|(known, _)| *known != until) {
            service.earlier.push((until, key));
        }
    }
    let bridges = rotation::rotations(state).map_err(text)?;
    let bridges = bridges.iter().rev().map(|row| Certificate::from_pem(&row.bridge));
    service.bridges = bridges.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    Ok(service)
}

impl Credentials {
    /// Looks whether the ledger has other certificates by now. Called often. `committed` may be ahead of what is visible.
    pub fn follow(&mut self, shared: &Shared, nodes: &[NodeRow], committed: Seqno) {
        let mut state = shared.visible.state();
        let Ok(Some(info)) = ServiceInfo::read(&mut state) else { return };
        let own = state.get(&tables::NODE_CERTS, self.vault.node.to_string().as_bytes());
        let now = (info.cert, own.map(|pem| String::from_utf8_lossy(&pem).into_owned()));
        if now != self.followed
            && let Err(error) = self.adopt(&mut state, now.1.as_deref(), (shared, committed), nodes)
        {
            tracing::error!(error, "cannot follow the service to its new certificate");
        }
        self.followed = now;
    }

    fn adopt(
        &mut self,
        state: &mut Snapshot,
        own: Option<&str>,
        (shared, committed): (&Shared, Seqno),
        nodes: &[NodeRow],
    ) -> Result<(), String> {
        let service = service(state, &self.vault, &self.identity.service)?;
        let rotated = service.certificate.public_key() != self.identity.service.certificate.public_key();
        self.identity.service = service;
        if let Some(own) = own {
            self.identity.node_certificate = self.own_certificate(own)?;
            shared.ledger.renew_certificate(self.identity.node_certificate.clone());
        }
        self.show(state, nodes)?;
        self.keep(shared, committed)?;
        tracing::info!(
            rotated,
            until_s = self.identity.service.certificate.validity().not_after,
            "follows the service's certificates"
        );
        Ok(())
    }

    /// The certificate in the ledger, unless this node listens elsewhere than it says.
    fn own_certificate(&self, pem: &str) -> Result<Certificate, String> {
        let certificate = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
        let mut named = certificate.subject_alt_names();
        named.sort_by_key(|name| format!("{name:?}"));
        let mut names = certificates::names(&self.addresses);
        names.sort_by_key(|name| format!("{name:?}"));
        if named == names {
            return Ok(certificate);
        }
        let subject = Subject {
            public_key: self.identity.node_key.public_key(),
            index: self.index,
            addresses: &self.addresses,
            evidence: certificates::evidence_of(&certificate),
        };
        let service = (&self.identity.service.certificate, &self.identity.service.key);
        certificates::issue(&SystemCrypto, service, subject, certificate.validity()).map_err(|error| error.to_string())
    }

    fn show(&self, state: &mut Snapshot, nodes: &[NodeRow]) -> Result<(), String> {
        let Identity { node_key, service, .. } = &self.identity;
        self.tls.replace(&self.identity.chain(), node_key).map_err(|error| error.to_string())?;
        let rotations = rotation::rotations(state).map_err(|error| error.to_string())?;
        let earlier = rotations.iter().map(|row| Certificate::from_pem(&row.previous));
        let earlier = earlier.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let trusted = nodes.iter().filter(|node| node.info.status == NodeStatus::Trusted).map(|node| node.id);
        self.network.trust(Trusted { service: service.certificate.clone(), earlier, nodes: trusted.collect() });
        Ok(())
    }

    /// On disk, for the next start.
    fn keep(&mut self, shared: &Shared, committed: Seqno) -> Result<(), String> {
        self.identity.service.epochs = shared.ledger.kept_keys(committed);
        let certificate = self.identity.service.certificate.to_pem();
        self.root.replace(SERVICE_CERTIFICATE_FILE, certificate.as_bytes()).map_err(|error| error.to_string())?;
        self.identity.store(self.root.as_ref(), &self.sealing, &SystemCrypto).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use coco_crypto::SeededCrypto;
    use coco_disk::MemoryDisk;
    use coco_types::{TxId, View};

    use super::*;
    use crate::fixture::{self, Backup};

    /// Of a node that follows its first certificates at its first look.
    fn credentials(identity: &Identity, root: &Arc<dyn Disk>, sealing: &SymmetricKey) -> Credentials {
        let chain = [identity.service.certificate.clone()];
        let address = ([127, 0, 0, 1], 0).into();
        Credentials {
            identity: identity.copy(),
            vault: identity.vault(),
            index: 0,
            addresses: Addresses { api: address, peers: address },
            tls: tls::Identity::new(&chain, &identity.service.key).unwrap(),
            network: Arc::default(),
            root: root.clone(),
            sealing: sealing.clone(),
            followed: (String::new(), None),
        }
    }

    #[test]
    fn a_node_that_lags_keeps_the_secrets_it_was_given_when_it_follows_a_certificate() {
        let crypto = SeededCrypto::new(1);
        let mut identity = fixture::identity(&crypto);
        // What it shows is certified.
        identity.node_key = identity.service.copy().key;
        identity.service.epochs.add_epoch(Seqno(50), &SymmetricKey::generate(&crypto));
        let visible = TxId::new(View(1), Seqno(3));
        let backup = Backup::of(&identity, visible, Bytes::new());
        let (root, sealing): (Arc<dyn Disk>, _) = (Arc::new(MemoryDisk::new()), SymmetricKey::generate(&crypto));
        identity.store(root.as_ref(), &sealing, &crypto).unwrap();
        credentials(&identity, &root, &sealing).follow(&backup.shared, &[], visible.seqno);
        assert!(root.exists(SERVICE_CERTIFICATE_FILE).unwrap(), "it followed");
        let kept = Identity::load(root.as_ref(), &sealing).unwrap().unwrap().service.epochs;
        assert!(kept.epochs().eq(identity.service.epochs.epochs()));
    }
}
