//! The node as its HTTP API and its operator see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coco_attestation::{Evidence, TeeKind, fresh_report_data};
use coco_governance::attestation;
use coco_governance::{NodeRow, NodeStatus, ServiceInfo, rotation, tables};
use coco_protocol::{ApiError, Caller, Idempotent, TransactionStatus};
use coco_rpc::admin::{Component, Health};
use coco_rpc::endpoints::{
    Attestation, NetworkInfo, NodeApi, NodeEntry, NodeInfo, NodeStateInfo, Receipt, ReceiptAnswer, StoppedNetwork,
};
use coco_types::{NodeId, Seqno, TxId};
use http::StatusCode;
use tokio::runtime::Handle;

use crate::handle::Shared;
use crate::shell::admission::{self, Admission};
use crate::shell::attesting::{Attesting, NoEvidence};
use crate::shell::{collateral, stopping};

/// `/node/…`, and the operator's pages.
pub struct Api {
    pub shared: Arc<Shared>,
    pub admission: Arc<Admission>,
    pub node_id: NodeId,
    pub kind: TeeKind,
    pub attesting: Attesting,
    pub runtime: Handle,
}

/// Between two looks at a transaction that somebody waits for.
const RECEIPT_POLL: Duration = Duration::from_millis(10);

impl Api {
    fn rows(&self) -> Vec<NodeRow> {
        NodeRow::all(&mut self.shared.visible.state()).unwrap_or_else(|error| {
            tracing::error!(%error, "the nodes' rows");
            Vec::new()
        })
    }

    fn primary(&self, rows: &[NodeRow]) -> Option<NodeId> {
        let primary = self.shared.standing.read().primary?;
        rows.iter().find(|row| row.info.replica == primary).map(|row| row.id)
    }
}

fn attestation_of(node_id: NodeId, certificate: String, evidence: &Evidence) -> Attestation {
    let evidence_json = serde_json::to_value(evidence).unwrap_or_default();
    Attestation { node_id, platform: evidence.kind.as_str().to_owned(), certificate, evidence: evidence_json }
}

/// `None`: not decided yet.
fn receipt_answer(shared: &Shared, txid: TxId) -> Option<ReceiptAnswer> {
    match shared.transaction_status(txid) {
        TransactionStatus::Unknown if txid.seqno <= shared.visible.txid().seqno => Some(ReceiptAnswer::NotHeld),
        TransactionStatus::Unknown => Some(ReceiptAnswer::Unknown),
        TransactionStatus::Invalid => Some(ReceiptAnswer::Invalid),
        TransactionStatus::Pending => None,
        TransactionStatus::Committed => Some(match shared.ledger.receipt(txid) {
            Ok(Some(mut receipt)) => {
                shared.name_signer(&mut receipt.json);
                ReceiptAnswer::Receipt(Receipt { cose: receipt.cose, json: Some(receipt.json) })
            }
            Ok(None) => ReceiptAnswer::None,
            Err(error) => {
                tracing::error!(%txid, %error, "a committed transaction's receipt");
                ReceiptAnswer::Unknown
            }
        }),
    }
}

impl NodeApi for Api {
    fn network(&self, _caller: &Caller) -> NetworkInfo {
        let rotations = rotation::rotations(&mut self.shared.visible.state()).unwrap_or_default();
        let service = ServiceInfo::read(&mut self.shared.visible.state()).ok().flatten();
        let standing = self.shared.standing.read().clone();
        NetworkInfo {
            service_status: service.as_ref().map_or("Opening".to_owned(), |info| format!("{:?}", info.status)),
            service_certificate: service.as_ref().map(|info| info.cert.clone()).unwrap_or_default(),
            service_bridges: rotations.into_iter().map(|row| row.bridge).collect(),
            current_view: standing.primary.map(|_| standing.view),
            primary_id: self.primary(&self.rows()),
            recovery_count: service.map_or(0, |info| info.recovery_count),
        }
    }

    fn nodes(&self, _caller: &Caller) -> Vec<NodeEntry> {
        let rows = self.rows();
        let primary = self.primary(&rows);
        let entry = |row: &NodeRow| NodeEntry {
            node_id: row.id,
            status: format!("{:?}", row.info.status),
            primary: Some(row.id) == primary,
            index: row.info.index,
            published_address: row.info.addresses.api.to_string(),
        };
        rows.iter().map(entry).collect()
    }

    fn state(&self, _caller: &Caller) -> NodeStateInfo {
        let voter = self.shared.standing.read().in_place;
        NodeStateInfo {
            node_id: self.node_id,
            state: if voter { "PartOfNetwork" } else { "Pending" }.to_owned(),
            last_signed_seqno: self.shared.visible.txid().seqno,
            startup_seqno: Seqno::ZERO,
        }
    }

    fn version(&self, _caller: &Caller) -> NodeInfo {
        let anchors = attestation::anchors(&mut self.shared.visible.state()).unwrap_or_default();
        let foreign = anchors.foreign_roots().into_iter();
        NodeInfo {
            name: "coco".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: self.kind.as_str().to_owned(),
            unprotected: self.kind == TeeKind::Virtual,
            anchors: anchors.digest().to_string(),
            foreign_roots: foreign.map(|(root, digest)| format!("{} {digest}", root.as_str())).collect(),
        }
    }

    fn ready(&self, _caller: &Caller) -> bool {
        self.components().values().all(|component| component.ready)
    }

    fn committed(&self, _caller: &Caller) -> TxId {
        self.shared.visible.txid()
    }

    fn transaction_status(&self, _caller: &Caller, txid: TxId) -> TransactionStatus {
        self.shared.transaction_status(txid)
    }

    fn receipt(&self, _caller: &Caller, txid: TxId, wait: Duration, reply: Box<dyn FnOnce(ReceiptAnswer) + Send>) {
        if let Some(answer) = receipt_answer(&self.shared, txid) {
            return reply(answer);
        }
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            let until = Instant::now() + wait;
            let answer = loop {
                if let Some(answer) = receipt_answer(&shared, txid) {
                    break answer;
                }
                if Instant::now() >= until {
                    break ReceiptAnswer::Pending;
                }
                tokio::time::sleep(RECEIPT_POLL).await;
            };
            reply(answer);
        });
    }

    fn attestations(&self, _caller: &Caller) -> Vec<Attestation> {
        let state = self.shared.visible.state();
        let trusted = self.rows().into_iter().filter(|row| row.info.status == NodeStatus::Trusted);
        let attestation = |row: NodeRow| {
            let certificate = state.get(&tables::NODE_CERTS, row.id.to_string().as_bytes()).unwrap_or_default();
            let certificate = String::from_utf8_lossy(&certificate).into_owned();
            attestation_of(row.id, certificate, &row.info.quote_info)
        };
        trusted.map(attestation).collect()
    }

    fn attestation_policy(&self, _caller: &Caller) -> Result<serde_json::Value, ApiError> {
        let rules = attestation::in_force(&mut self.shared.visible.state());
        let rules = rules.and_then(|rules| {
            serde_json::to_value(rules).map_err(|error| coco_governance::Error::CollateralRefused(error.to_string()))
        });
        rules.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string()))
    }

    fn policy_decisions(&self, _caller: &Caller) -> Result<serde_json::Value, ApiError> {
        let internal = |why: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", why);
        let decisions = attestation::decisions(&mut self.shared.visible.state());
        let decisions = decisions.map_err(|error| internal(error.to_string()))?;
        serde_json::to_value(decisions).map_err(|error| internal(error.to_string()))
    }

    fn judgements(&self, _caller: &Caller) -> Result<serde_json::Value, ApiError> {
        let state = &mut self.shared.visible.state();
        let judged = self.rows().into_iter().map(|row| {
            let appraisal = attestation::Appraisal::read(state, row.id)?;
            let judgement = serde_json::json!({
                "index": row.info.index,
                "status": row.info.status,
                "public_key": row.info.public_key,
                "evidence": row.info.quote_info,
                "appraisal": appraisal,
            });
            Ok((row.id.to_string(), judgement))
        });
        let judged: Result<serde_json::Map<_, _>, coco_governance::Error> = judged.collect();
        judged
            .map(serde_json::Value::Object)
            .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string()))
    }

    fn renew(&self, _caller: &Caller, body: Bytes, reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>) {
        self.admission.renew(body, Box::new(move |result| reply(result.map_err(admission::api_error))));
    }

    fn submit_collateral(
        &self,
        _caller: &Caller,
        body: Bytes,
        key: Option<Idempotent>,
        reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>,
    ) {
        collateral::submit(
            &self.shared,
            body,
            key,
            Box::new(move |result| reply(result.map_err(collateral::api_error))),
        );
    }

    /// Binds the node's certificate and the caller's nonce: SHA-512 of a domain, the certificate's hash and the nonce.
    fn attest(&self, _caller: &Caller, nonce: Vec<u8>, reply: Box<dyn FnOnce(Result<Attestation, ApiError>) + Send>) {
        let node_id = self.node_id;
        let certificate = self.shared.visible.state().get(&tables::NODE_CERTS, node_id.to_string().as_bytes());
        let certificate = String::from_utf8_lossy(&certificate.unwrap_or_default()).into_owned();
        let report_data = fresh_report_data(&certificate, &nonce);
        let answer = move |evidence: Result<Evidence, NoEvidence>| {
            let (code, why) = match evidence {
                Ok(evidence) => return reply(Ok(attestation_of(node_id, certificate, &evidence))),
                Err(NoEvidence::Busy) => {
                    ("TooManyAttestations", "others wait for this node's evidence already: ask again".to_owned())
                }
                Err(NoEvidence::Source(error)) => ("AttestationFailed", error.to_string()),
            };
            reply(Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, why)));
        };
        self.attesting.ask(report_data, Box::new(answer));
    }

    fn join_challenge(&self, _caller: &Caller) -> Result<Bytes, ApiError> {
        let challenge = self.admission.challenge();
        let body = challenge.and_then(|challenge| serde_json::to_vec(&challenge).map_err(|error| error.to_string()));
        body.map(Bytes::from).map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error))
    }

    fn join(
        &self,
        _caller: &Caller,
        _certificate: Option<Bytes>,
        body: Bytes,
        reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>,
    ) {
        self.admission.join(body, Box::new(move |result| reply(result.map_err(admission::api_error))));
    }

    fn stop_network(&self, caller: &Caller, reply: Box<dyn FnOnce(Result<StoppedNetwork, ApiError>) + Send>) {
        if !caller.is_member() {
            let why = "only a member may end the network: show a member's certificate";
            return reply(Err(ApiError::new(StatusCode::FORBIDDEN, "AuthorizationFailed", why)));
        }
        let answer = |(stopping, silent)| reply(Ok(StoppedNetwork { stopping, silent }));
        stopping::stop_network(&self.shared, Box::new(answer));
    }
}

impl Health for Api {
    fn components(&self) -> BTreeMap<&'static str, Component> {
        let standing = self.shared.standing.read();
        let joined = standing.in_place;
        let component =
            |ready: bool, yes: &str, no: &str| Component { ready, detail: if ready { yes } else { no }.to_owned() };
        [
            ("joined", component(joined, "takes part in the consensus", "not in the consensus yet")),
            ("primary", component(standing.primary.is_some(), "follows a primary", "knows no primary")),
            ("caught_up", component(standing.caught_up, "applied all that is committed", "is catching up")),
        ]
        .into()
    }

    fn version(&self) -> serde_json::Value {
        serde_json::json!({
            "name": "coco",
            "version": env!("CARGO_PKG_VERSION"),
            "platform": self.kind.as_str(),
            "anchors": attestation::anchors(&mut self.shared.visible.state()).unwrap_or_default().digest(),
        })
    }
}
