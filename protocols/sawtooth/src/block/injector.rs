//! The batch that the node itself puts at the beginning of a block: what the `block_info` family learns of the block before.

use std::sync::Arc;

use bytes::Bytes;
use coco_crypto::sha512;
use prost::Message as _;

use crate::batch::{SignedBatch, SignedTransaction};
use crate::chain::Tip;
use crate::families::block_info::{BLOCKS, CONFIG};
use crate::messages::family::{BlockInfo, BlockInfoTxn};
use crate::messages::ledger::{Batch, BatchHeader, Transaction, TransactionHeader};
use crate::signing::SignerKey;

/// A batch about `parent`, signed by the key that signs blocks.
pub fn block_info(key: &SignerKey, parent: &Tip, now_ms: u64) -> Arc<SignedBatch> {
    let block = BlockInfo {
        block_num: parent.header.block_num,
        previous_block_id: parent.header.previous_block_id.clone(),
        signer_public_key: parent.header.signer_public_key.clone(),
        header_signature: parent.id.clone(),
        timestamp: now_ms / 1000,
    };
    let payload: Bytes = BlockInfoTxn { block: Some(block), target_count: 0, sync_tolerance: 0 }.encode_to_vec().into();
    let addresses = vec![CONFIG.to_hex(), BLOCKS.to_owned()];
    let header = TransactionHeader {
        batcher_public_key: key.public_hex().to_owned(),
        family_name: "block_info".to_owned(),
        family_version: "1.0".to_owned(),
        inputs: addresses.clone(),
        outputs: addresses,
        nonce: parent.id.clone(),
        payload_sha512: hex::encode(sha512(&payload)),
        signer_public_key: key.public_hex().to_owned(),
        ..TransactionHeader::default()
    };
    let header_bytes: Bytes = header.encode_to_vec().into();
    let id = key.sign(&header_bytes);
    let transaction =
        Transaction { header: header_bytes.clone(), header_signature: id.clone(), payload: payload.clone() };
    let batch_header =
        BatchHeader { signer_public_key: key.public_hex().to_owned(), transaction_ids: vec![id.clone()] };
    let batch_header: Bytes = batch_header.encode_to_vec().into();
    let batch_id = key.sign(&batch_header);
    let batch = Batch {
        header: batch_header.clone(),
        header_signature: batch_id.clone(),
        transactions: vec![transaction],
        trace: false,
    };
    Arc::new(SignedBatch {
        id: batch_id,
        signer: key.public_hex().to_owned(),
        raw: batch.encode_to_vec().into(),
        header_bytes: batch_header,
        transactions: vec![SignedTransaction { id, header, header_bytes, payload }],
        // It never waits.
        weight: 0,
    })
}
