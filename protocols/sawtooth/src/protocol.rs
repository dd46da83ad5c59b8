//! Sawtooth at the seam: what the framework asks, answered by the modules beside this one.

use std::sync::Arc;

use bytes::Bytes;
use coco_crypto::sha256;
use coco_kv::{Snapshot, Tx};
use coco_protocol::{
    Admitted, Caller, Claims, CommittedBatch, Context, GenesisError, Integrity, Job, LedgerHandle, Outcome, Pool,
    Protocol, Rejection, RejectionReason, Service, StreamService,
};

use crate::batch::{SignedBatch, invalid};
use crate::block::Verdict;
use crate::chain::Chain;
use crate::component::{ComponentService, Guests, Processors};
use crate::events::Hub;
use crate::execute::{Executed, Failure};
use crate::local_roles::LocalRoles;
use crate::messages::client::submit_status;
use crate::network::{check_genesis, consensus_record, write_genesis};
use crate::pool::{PoolLimits, SawtoothPool};
use crate::query::Node;
use crate::rest::RestService;
use crate::signing;
use crate::tables::id_key;
use crate::workers::Workers;

/// The ledger's name.
pub const NAME: &str = "sawtooth";

/// Where randomness for names on the wire comes from.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// A Sawtooth ledger on one node.
pub struct Sawtooth {
    chain: Arc<Chain>,
    hub: Arc<Hub>,
    processors: Arc<Processors>,
    /// Those that are connected to other nodes.
    guests: Arc<Guests>,
    local_roles: Arc<LocalRoles>,
}

impl Sawtooth {
    pub fn new(random: Random, workers: Workers) -> Self {
        let chain: Arc<Chain> = Arc::default();
        let hub = Arc::new(Hub::beside(&workers));
        let processors = Processors::new(Arc::clone(&chain), random, workers);
        let guests = Arc::new(Guests::new(Arc::clone(&processors)));
        Self { guests, processors, hub, chain, local_roles: Arc::default() }
    }

    /// With what the operator of this node decided.
    #[must_use]
    pub fn with_roles(self, roles: LocalRoles) -> Self {
        Self { local_roles: Arc::new(roles), ..self }
    }

    #[cfg(test)]
    pub(crate) fn processors(&self) -> Arc<Processors> {
        Arc::clone(&self.processors)
    }

    #[cfg(test)]
    pub(crate) fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.hub)
    }

    #[cfg(test)]
    pub(crate) fn guests(&self) -> Arc<Guests> {
        Arc::clone(&self.guests)
    }

    pub(crate) fn node(&self, handle: Arc<dyn LedgerHandle>) -> Arc<Node> {
        let (hub, chain, roles) = (Arc::clone(&self.hub), Arc::clone(&self.chain), Arc::clone(&self.local_roles));
        Arc::new(Node::new(handle, hub, chain, roles))
    }
}

impl Protocol for Sawtooth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn identity(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        signing::is_public_key(&name).then_some(name)
    }

    /// The signature is the hexadecimal text that Sawtooth's signing libraries give for the statement's bytes.
    fn prove_identity(&self, identity: &str, statement: &str, signature: &str) -> Result<(), Rejection> {
        if signing::verify(statement.as_bytes(), signature.trim(), identity) {
            return Ok(());
        }
        Err(Rejection::new(RejectionReason::Invalid, 403, "the signature is not this key's over the statement"))
    }

    fn check_genesis(&self, config: &serde_json::Value) -> Result<(), GenesisError> {
        check_genesis(config).map_err(|message| GenesisError { ledger: NAME, message })
    }

    fn genesis(&self, tx: &mut Tx, config: &serde_json::Value, context: &Context<'_>) -> Result<(), GenesisError> {
        let refused = |message| GenesisError { ledger: NAME, message };
        let (config, tip) = write_genesis(tx, config, context).map_err(refused)?;
        self.chain.begin(config, tip);
        Ok(())
    }

    fn admit(&self, submission: Bytes, caller: &Caller) -> Result<Admitted, Rejection> {
        Ok(admitted(SignedBatch::admit(submission)?, caller.clone()))
    }

    fn readmit(&self, submission: Bytes, _finding: Bytes, caller: Caller) -> Result<Admitted, Rejection> {
        Ok(admitted(SignedBatch::decode(submission)?, caller))
    }

    fn pool(&self) -> Box<dyn Pool> {
        Box::new(SawtoothPool::new(Arc::clone(&self.chain), self.processors.clone(), PoolLimits::default()))
    }

    fn has_blocks(&self) -> bool {
        true
    }

    fn open_block(&self, tx: &mut Tx, context: &Context<'_>) -> Result<(), Rejection> {
        let busy = |error: crate::chain::Behind| broken(error.to_string());
        self.chain.open_block(tx, context).map_err(busy)
    }

    fn execute(&self, tx: &mut Tx, admitted: &Admitted, context: &Context<'_>) -> Result<Outcome, Rejection> {
        let batch: &Arc<SignedBatch> = admitted.decoded().ok_or_else(|| invalid("not a Sawtooth batch"))?;
        let prepared = context.prepared::<Result<Executed, Failure>>();
        let verdict = self.chain.with_open(|open| open.execute(tx, batch, prepared, context));
        let verdict = verdict.ok_or_else(|| broken("no block is open".to_owned()))??;
        let (kind, result) = match &verdict {
            Verdict::Valid => ("batch", sha256(&batch.raw)),
            Verdict::Invalid(failure) => ("invalid batch", sha256(failure.message.as_bytes())),
        };
        let claims = Claims { protocol: NAME, kind, id: admitted.id.clone(), result, container: None };
        Ok(Outcome { claims: Some(claims), response: admitted.id.clone() })
    }

    fn prepare(&self, admitted: &Admitted, job: Job) {
        if let Some(batch) = admitted.decoded::<Arc<SignedBatch>>() {
            self.processors.start(Arc::clone(batch), job);
        }
    }

    fn relayed(&self, message: Bytes, reply: Box<dyn FnOnce(Bytes) + Send>) {
        self.guests.relayed(message, reply);
    }

    fn seal_block(&self, tx: &mut Tx, context: &Context<'_>) -> Result<Option<Outcome>, Rejection> {
        let Some(sealed) = self.chain.seal_block(tx, consensus_record(context)) else { return Ok(None) };
        let id = id_key(&sealed.tip.id);
        let result = sha256(&sealed.header_bytes);
        let container = Some((sha256(&id), sealed.tip.header.block_num));
        let claims = Claims { protocol: NAME, kind: "block", id: id.clone(), result, container };
        Ok(Some(Outcome { claims: Some(claims), response: id }))
    }

    fn committed(&self, batch: &CommittedBatch, state: &Snapshot) -> Result<(), Integrity> {
        self.chain.follow(batch, state)
    }

    fn published(&self, batch: &CommittedBatch) {
        self.hub.published(batch);
    }

    fn rebuild(&self, state: &Snapshot) -> Result<(), Integrity> {
        self.chain.rebuild(state)
    }

    fn serve(self: Arc<Self>, handle: Arc<dyn LedgerHandle>) -> Arc<dyn Service> {
        Arc::new(RestService::new(self.node(handle), Arc::clone(&self.guests)))
    }

    fn serve_streams(self: Arc<Self>, handle: Arc<dyn LedgerHandle>) -> Vec<Arc<dyn StreamService>> {
        let (processors, guests) = (Arc::clone(&self.processors), Arc::clone(&self.guests));
        let component = ComponentService::new(self.node(handle.clone()), handle.clone(), processors, guests);
        let attested = component.attested(handle);
        vec![Arc::new(component), attested]
    }
}

/// A batch that was checked, for the pool.
pub(crate) fn admitted(batch: SignedBatch, caller: Caller) -> Admitted {
    Admitted {
        raw: batch.raw.clone(),
        id: id_key(&batch.id),
        finding: Bytes::new(),
        caller,
        decoded: Arc::new(Arc::new(batch)),
    }
}

/// No submission is to blame.
fn broken(message: String) -> Rejection {
    Rejection::new(RejectionReason::Busy, i64::from(submit_status::INTERNAL_ERROR), message)
}
