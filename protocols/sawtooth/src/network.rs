//! A network's parameters, and its first block.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_crypto::sha256;
use coco_kv::Tx;
use coco_protocol::Context;
use coco_types::limits;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::batch::SignedBatch;
use crate::block::{self, OpenBlock, TxState, Verdict};
use crate::chain::Tip;
use crate::execute::StateReader;
use crate::governed::Founded;
use crate::messages::ledger::{BatchList, BlockHeader};
use crate::roots::{Leaves, RootKind};
use crate::settings::{self, CONSENSUS_NAME, CONSENSUS_VERSION};
use crate::signing::SignerKey;
use crate::tables::{EPOCH, EPOCH_ROW, META, META_CONFIG, SECRET, SECRET_SIGNER, SECRET_SIGNER_EPOCH, STATE};
use crate::trie::Trie;

/// What stands for the block before the first.
pub const NO_BLOCK: &str = "0000000000000000";
/// The consensus bytes of the first block.
const GENESIS: &[u8] = b"Genesis";

/// The ledger's genesis, and afterwards its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Shortest time between two blocks, milliseconds.
    pub block_interval_ms: u64,
    /// What state roots say of values.
    pub roots: RootKind,
    /// A network to develop on: any transaction processor may register, in the clear.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub development: bool,
    /// Transaction processors that may register although the members have decided nothing about them. They see their transactions in plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processors: Option<Vec<settings_of::Processor>>,
    /// Settings that hold from the first block on. Only in a genesis.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// A `genesis.batch` file as `sawadm genesis` writes it, base64. Only in a genesis.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub genesis_batch: String,
}

/// Entries of a network's configuration.
pub mod settings_of {
    use serde::{Deserialize, Serialize};

    /// A family that processors may register for, and where it may write.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Processor {
        pub family: String,
        pub version: String,
        /// Prefixes of addresses; without them the family writes whatever its transactions declare.
        #[serde(default)]
        pub namespaces: Vec<String>,
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            block_interval_ms: limits::BLOCK_INTERVAL_MS,
            roots: RootKind::default(),
            development: false,
            processors: None,
            settings: BTreeMap::new(),
            genesis_batch: String::new(),
        }
    }
}

impl NetworkConfig {
    /// A network with a list is not open, whatever else it says.
    pub fn founded(&self) -> Founded {
        let development = self.development && self.processors.is_none();
        Founded { development, listed: self.processors.clone().unwrap_or_default() }
    }
}

/// What shows of a genesis without executing its batches: its form, and the form of each batch.
pub fn check_genesis(config: &serde_json::Value) -> Result<(), String> {
    let genesis: NetworkConfig = serde_json::from_value(config.clone()).map_err(|error| error.to_string())?;
    if genesis.settings.contains_key("") {
        return Err("a setting has no name".to_owned());
    }
    let checked = |raw| SignedBatch::admit(raw).map(drop).map_err(|rejection| rejection.message);
    genesis_batches(&genesis.genesis_batch)?.into_iter().try_for_each(checked)
}

/// Writes the first block; the configuration that remains, and the block.
pub fn write_genesis(
    tx: &mut Tx,
    config: &serde_json::Value,
    context: &Context<'_>,
) -> Result<(NetworkConfig, Tip), String> {
    let genesis: NetworkConfig = serde_json::from_value(config.clone()).map_err(|error| error.to_string())?;
    let key = new_signer_key(context).ok_or("there was no usable randomness for the signer's key")?;
    write_signer_key(tx, &key);
    let trie = Trie::new(Leaves::new(genesis.roots, &key.secret()));
    let parent = Tip { header: BlockHeader::default(), id: NO_BLOCK.to_owned(), trie };
    let mut open = OpenBlock::first(parent, key);
    write_settings(tx, &mut open, &genesis)?;
    for raw in genesis_batches(&genesis.genesis_batch)? {
        let batch = Arc::new(SignedBatch::admit(raw).map_err(|rejection| rejection.message)?);
        match open.execute(tx, &batch, None, context) {
            Ok(Verdict::Valid) => {}
            Ok(Verdict::Invalid(failure)) => {
                return Err(format!("transaction {}: {}", failure.transaction_id, failure.message));
            }
            Err(rejection) => return Err(format!("batch {}: {}", batch.id, rejection.message)),
        }
    }
    for key in [CONSENSUS_NAME, CONSENSUS_VERSION] {
        settings::value(&mut TxState(tx), key).ok_or_else(|| format!("the setting {key} is missing"))?;
    }
    let remaining = NetworkConfig { settings: BTreeMap::new(), genesis_batch: String::new(), ..genesis };
    let json = serde_json::to_vec(&remaining).map_err(|error| error.to_string())?;
    tx.put(&META, META_CONFIG, Bytes::from(json));
    Ok((remaining, open.seal(tx, Bytes::from_static(GENESIS)).tip))
}

/// Settings as given. Without a `genesis.batch`, which has to bring them, the consensus is named too.
fn write_settings(tx: &mut Tx, open: &mut OpenBlock, genesis: &NetworkConfig) -> Result<(), String> {
    let mut given = genesis.settings.clone();
    if genesis.genesis_batch.is_empty() {
        given.entry(CONSENSUS_NAME.to_owned()).or_insert_with(|| "coco".to_owned());
        given.entry(CONSENSUS_VERSION.to_owned()).or_insert_with(|| "1".to_owned());
    }
    for (key, value) in &given {
        if key.is_empty() {
            return Err("a setting has no name".to_owned());
        }
        let address = settings::address(key);
        let row = settings::row_with(TxState(tx).read(&address), key, value);
        tx.put(&STATE, address.key(), row.clone());
        open.note_change(address, Some(row));
    }
    Ok(())
}

fn genesis_batches(base64: &str) -> Result<Vec<Bytes>, String> {
    let bytes = BASE64.decode(base64).map_err(|error| format!("genesis_batch: {error}"))?;
    let list = BatchList::decode(bytes.as_slice()).map_err(|error| format!("genesis_batch: {error}"))?;
    Ok(list.batches)
}

/// The key that signs this network's blocks.
pub fn signer_key(tx: &mut Tx) -> Option<SignerKey> {
    let bytes = tx.get(&SECRET, SECRET_SIGNER)?;
    SignerKey::from_bytes(bytes.as_ref().try_into().ok()?)
}

/// A key for what follows, if the present one was made in an epoch that has ended.
pub fn next_signer_key(tx: &mut Tx, context: &Context<'_>) -> Option<SignerKey> {
    let made_in = tx.get(&SECRET, SECRET_SIGNER_EPOCH);
    (epoch(tx) != made_in).then(|| new_signer_key(context)).flatten()
}

pub fn write_signer_key(tx: &mut Tx, key: &SignerKey) {
    tx.put(&SECRET, SECRET_SIGNER, key.secret_bytes());
    if let Some(epoch) = epoch(tx) {
        tx.put(&SECRET, SECRET_SIGNER_EPOCH, epoch);
    }
}

/// What tells the present epoch from others.
fn epoch(tx: &mut Tx) -> Option<Bytes> {
    tx.get(&EPOCH, EPOCH_ROW).map(|row| Bytes::copy_from_slice(&sha256(&row).0))
}

fn new_signer_key(context: &Context<'_>) -> Option<SignerKey> {
    (0..8).find_map(|_| SignerKey::from_bytes(&context.random()))
}

/// The consensus bytes of every other block: where in Coco's own ledger it was sealed.
pub fn consensus_record(context: &Context<'_>) -> Bytes {
    format!("coco1:{}", context.txid).into()
}

pub use block::STATES_KEPT;
