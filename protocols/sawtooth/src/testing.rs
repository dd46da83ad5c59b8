//! What the tests of this crate share: batches that are really signed.

use bytes::Bytes;
use coco_crypto::sha512;
use prost::Message as _;

use crate::families::intkey;
use crate::messages::ledger::{Batch, BatchHeader, Transaction, TransactionHeader};
use crate::signing::SignerKey;

/// Somebody with a key, 32 times the same byte.
pub(crate) struct Signer(SignerKey);

/// A transaction to be signed.
#[derive(Clone, Default)]
pub(crate) struct Draft {
    pub family: &'static str,
    pub payload: Bytes,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub dependencies: Vec<String>,
    pub nonce: String,
}

impl Signer {
    pub fn new(byte: u8) -> Self {
        Self(SignerKey::from_bytes(&[byte; 32]).expect("a usable key"))
    }

    pub fn public_hex(&self) -> &str {
        self.0.public_hex()
    }

    /// Batched by the same signer.
    pub fn transaction(&self, draft: &Draft) -> Transaction {
        let header = TransactionHeader {
            batcher_public_key: self.public_hex().to_owned(),
            dependencies: draft.dependencies.clone(),
            family_name: draft.family.to_owned(),
            family_version: "1.0".to_owned(),
            inputs: draft.inputs.clone(),
            nonce: draft.nonce.clone(),
            outputs: draft.outputs.clone(),
            payload_sha512: hex::encode(sha512(&draft.payload)),
            signer_public_key: self.public_hex().to_owned(),
        };
        let header: Bytes = header.encode_to_vec().into();
        Transaction { header_signature: self.0.sign(&header), header, payload: draft.payload.clone() }
    }

    pub fn batch(&self, transactions: Vec<Transaction>) -> Bytes {
        let header = BatchHeader {
            signer_public_key: self.public_hex().to_owned(),
            transaction_ids: transactions.iter().map(|transaction| transaction.header_signature.clone()).collect(),
        };
        let header: Bytes = header.encode_to_vec().into();
        let batch = Batch { header_signature: self.0.sign(&header), header, transactions, trace: false };
        batch.encode_to_vec().into()
    }

    /// A batch of one.
    pub fn single(&self, draft: &Draft) -> Bytes {
        self.batch(vec![self.transaction(draft)])
    }
}

/// An intkey transaction as its client makes it.
pub(crate) fn intkey(verb: &str, name: &str, value: u32) -> Draft {
    let mut payload = minicbor::Encoder::new(Vec::new());
    let encoded = payload.map(3).and_then(|encoder| {
        encoder.str("Verb")?.str(verb)?.str("Name")?.str(name)?.str("Value")?.u32(value)?;
        Ok(encoder)
    });
    encoded.expect("memory takes every byte");
    let address = intkey::address(name).to_hex();
    Draft {
        family: "intkey",
        payload: payload.into_writer().into(),
        inputs: vec![address.clone()],
        outputs: vec![address],
        dependencies: Vec::new(),
        nonce: "0".to_owned(),
    }
}

pub(crate) fn batch_id(batch: &[u8]) -> String {
    Batch::decode(batch).expect("a batch").header_signature
}

pub(crate) fn first_transaction_id(batch: &[u8]) -> String {
    Batch::decode(batch).expect("a batch").transactions[0].header_signature.clone()
}
