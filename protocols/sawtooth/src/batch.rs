//! A batch that was handed in: decoded, and everything checked that needs no state.

use crate::limits::{BATCH_BYTES_MAX, BATCH_TRANSACTIONS_MAX};
use bytes::Bytes;
use coco_crypto::sha512;
use coco_protocol::{Rejection, RejectionReason};
use prost::Message as _;

use crate::address::is_id;
use crate::messages::client::submit_status;
use crate::messages::ledger::{Batch, BatchHeader, Transaction, TransactionHeader};
use crate::signing;

/// See the module's text. Headers are kept as they came: they are what was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBatch {
    pub id: String,
    pub signer: String,
    pub header_bytes: Bytes,
    pub raw: Bytes,
    pub transactions: Vec<SignedTransaction>,
}

/// One transaction of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    pub id: String,
    pub header: TransactionHeader,
    pub header_bytes: Bytes,
    pub payload: Bytes,
}

impl SignedBatch {
    /// Decodes a batch and checks its structure and signatures.
    pub fn admit(raw: Bytes) -> Result<Self, Rejection> {
        let batch = Self::decode(raw)?;
        batch.check_signatures()?;
        Ok(batch)
    }

    /// The same for a batch whose signatures an attested peer has checked.
    pub fn decode(raw: Bytes) -> Result<Self, Rejection> {
        if raw.len() > BATCH_BYTES_MAX {
            return Err(invalid(format!("a batch has at most {BATCH_BYTES_MAX} bytes")));
        }
        let undecodable = |_| invalid("the batch does not decode");
        let batch = Batch::decode(raw.clone()).map_err(undecodable)?;
        let header = BatchHeader::decode(batch.header.clone()).map_err(undecodable)?;
        if batch.transactions.len() > BATCH_TRANSACTIONS_MAX {
            return Err(invalid(format!("a batch has at most {BATCH_TRANSACTIONS_MAX} transactions")));
        }
        if !is_id(&batch.header_signature) {
            return Err(invalid("a batch's signature has 128 lower-case hex digits"));
        }
        let ids = batch.transactions.iter().map(|transaction| &transaction.header_signature);
        if !header.transaction_ids.iter().eq(ids) {
            return Err(invalid("the batch's header lists other transactions than the batch holds"));
        }
        let transactions =
            batch.transactions.into_iter().map(|transaction| read(transaction, &header.signer_public_key));
        let transactions = transactions.collect::<Result<Vec<_>, _>>()?;
        let mut ids: Vec<_> = transactions.iter().map(|transaction| &transaction.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid("the batch holds a transaction twice"));
        }
        let signer = header.signer_public_key;
        Ok(Self { id: batch.header_signature, signer, header_bytes: batch.header, raw, transactions })
    }

    fn check_signatures(&self) -> Result<(), Rejection> {
        if !signing::verify(&self.header_bytes, &self.id, &self.signer) {
            return Err(invalid(format!("batch {} is not signed by {}", self.id, self.signer)));
        }
        for transaction in &self.transactions {
            let signer = &transaction.header.signer_public_key;
            if !signing::verify(&transaction.header_bytes, &transaction.id, signer) {
                return Err(invalid(format!("transaction {} is not signed by {signer}", transaction.id)));
            }
        }
        Ok(())
    }
}

fn read(transaction: Transaction, batcher: &str) -> Result<SignedTransaction, Rejection> {
    let id = transaction.header_signature;
    if !is_id(&id) {
        return Err(invalid("a transaction's signature has 128 lower-case hex digits"));
    }
    let header = TransactionHeader::decode(transaction.header.clone())
        .map_err(|_| invalid(format!("the header of transaction {id} does not decode")))?;
    if header.payload_sha512 != hex::encode(sha512(&transaction.payload)) {
        return Err(invalid(format!("the payload of transaction {id} is not the one that was signed")));
    }
    if header.batcher_public_key != batcher {
        return Err(invalid(format!("transaction {id} was made for a batch of another signer")));
    }
    if header.dependencies.iter().any(String::is_empty) {
        return Err(invalid(format!("transaction {id} has an empty dependency")));
    }
    Ok(SignedTransaction { id, header, header_bytes: transaction.header, payload: transaction.payload })
}

/// A batch that can never be accepted; the code is that of the answer to its submission.
pub fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(RejectionReason::Invalid, i64::from(submit_status::INVALID_BATCH), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Signer, intkey};

    #[test]
    fn a_batch_has_the_ids_that_the_original_gives() {
        let signer = Signer::new(1);
        let transaction = signer.transaction(&intkey("set", "foo", 42));
        assert!(transaction.header_signature.starts_with("4c2947fa1454cc250ebfcdb01366d15f"));
        let batch = signer.batch(vec![transaction]);
        let batch = SignedBatch::admit(batch).unwrap();
        assert!(batch.id.starts_with("66555e40a1c57bf1e63e0adbc12df937"));
    }

    #[test]
    fn what_was_not_signed_is_refused() {
        let signer = Signer::new(1);
        let good = signer.transaction(&intkey("set", "foo", 42));
        let refused = |transactions: Vec<Transaction>, why: &str| {
            let rejection = SignedBatch::admit(signer.batch(transactions)).unwrap_err();
            assert!(rejection.message.contains(why), "{rejection}");
        };
        refused(vec![Transaction { payload: Bytes::from_static(b"x"), ..good.clone() }], "payload");
        refused(vec![Transaction { header_signature: "0".repeat(128), ..good.clone() }], "not signed");
        refused(vec![good.clone(), good.clone()], "twice");
        let upper = Transaction { header_signature: good.header_signature.to_uppercase(), ..good.clone() };
        refused(vec![upper], "lower-case");
        refused(vec![Signer::new(2).transaction(&intkey("set", "foo", 1))], "another signer");
        let mut other = Batch::decode(signer.batch(vec![good])).unwrap();
        other.transactions.clear();
        let rejection = SignedBatch::admit(other.encode_to_vec().into()).unwrap_err();
        assert!(rejection.message.contains("other transactions"), "{rejection}");
    }
}
