//! A node renews its own evidence: when it is at risk, and before its evidence is too old.
//!
//! It asks its platform anew, over a fresh challenge of the service, and sends that to the primary, as a joiner would. What the platform says
//! may have changed since it joined: an updated firmware is what a TCB recovery asks for.

use std::sync::Arc;

use bytes::Bytes;
use coco_attestation::EvidenceSource;
use coco_crypto::PublicKey;
use coco_governance::attestation;
use coco_protocol::Rejection;
use coco_types::Digest;

use crate::handle::Shared;
use crate::join::{self, Place};
use crate::shell::admission::Admission;

/// Between two attempts: evidence that fails now may pass once the machine's operator has done something.
const PAUSE_MS: u64 = 5_000;

pub struct Renewal {
    pub shared: Arc<Shared>,
    pub admission: Arc<Admission>,
    pub source: Arc<dyn EvidenceSource>,
    pub node_key: PublicKey,
    /// The one that the service's secrets are wrapped for: fresh evidence covers it too.
    pub exchange_key: Vec<u8>,
    pub place: Place,
    pub config: Digest,
    /// When it was last tried, milliseconds.
    pub tried_ms: u64,
}

impl Renewal {
    pub fn look(&mut self) {
        let now_ms = (self.shared.clock)();
        if now_ms < self.tried_ms.saturating_add(PAUSE_MS) {
            return;
        }
        let node = self.node_key.node_id();
        match attestation::renewal_due(&mut self.shared.visible.state(), node, now_ms / 1000) {
            Ok(false) => {}
            Ok(true) => {
                self.tried_ms = now_ms;
                self.renew();
            }
            Err(error) => tracing::error!(%error, "whether this node must renew its evidence"),
        }
    }

    fn renew(&self) {
        let reply = Box::new(|result: Result<Bytes, Rejection>| match result {
            Ok(_) => tracing::info!("renewed this node's evidence"),
            Err(error) => tracing::warn!(%error, "this node's fresh evidence was not accepted"),
        });
        match self.request() {
            Ok(body) => self.admission.renew(body.into(), reply),
            Err(error) => tracing::error!(%error, "this machine gives no fresh evidence"),
        }
    }

    fn request(&self) -> Result<Vec<u8>, String> {
        let nonce = self.admission.challenge()?.nonce;
        let service = self.admission.service()?;
        let request = join::request(
            self.source.as_ref(),
            &self.node_key,
            &self.exchange_key,
            service.certificate.public_key(),
            self.place,
            self.config,
            nonce,
        );
        serde_json::to_vec(&request.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }
}
