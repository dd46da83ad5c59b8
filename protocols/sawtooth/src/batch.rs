//! A batch that was handed in: decoded, and everything checked that needs no state.

use crate::limits::{BATCH_ADDRESSES_MAX, BATCH_BYTES_MAX, BATCH_DEPENDENCIES_MAX, BATCH_TRANSACTIONS_MAX};
use bytes::Bytes;
use coco_crypto::sha512;
use coco_protocol::{Rejection, RejectionReason};
use prost::Message as _;

use crate::address::{is_id, prefix_from_hex};
use crate::messages::client::submit_status;
use crate::messages::elements;
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
    /// About what it takes in memory, decoded and while it waits, bytes.
    pub weight: usize,
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
        // What is kept are parts of this: of what it arrived in, which may be very much longer, it would keep all in memory.
        let raw = Bytes::copy_from_slice(&raw);
        check_transactions(&raw)?;
        let undecodable = |_| invalid("the batch does not decode");
        let batch = Batch::decode(raw.clone()).map_err(undecodable)?;
        let others = || invalid("the batch's header lists other transactions than the batch holds");
        if elements(&batch.header, &[2]) != batch.transactions.len() {
            return Err(others());
        }
        let header = BatchHeader::decode(batch.header.clone()).map_err(undecodable)?;
        if !is_id(&batch.header_signature) {
            return Err(invalid("a batch's signature has 128 lower-case hex digits"));
        }
        let ids = batch.transactions.iter().map(|transaction| &transaction.header_signature);
        if !header.transaction_ids.iter().eq(ids) {
            return Err(others());
        }
        check_declared(&batch.transactions)?;
        let transactions =
            batch.transactions.into_iter().map(|transaction| read(transaction, &header.signer_public_key));
        let transactions = transactions.collect::<Result<Vec<_>, _>>()?;
        let mut ids: Vec<_> = transactions.iter().map(|transaction| &transaction.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid("the batch holds a transaction twice"));
        }
        let weight = raw.len() + transactions.iter().map(weight).sum::<usize>();
        let signer = header.signer_public_key;
        Ok(Self { id: batch.header_signature, signer, header_bytes: batch.header, raw, transactions, weight })
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
    if !header.dependencies.iter().all(|dependency| is_id(dependency)) {
        return Err(invalid(format!("a dependency of transaction {id} is no transaction's id")));
    }
    let mut declared = header.inputs.iter().chain(&header.outputs);
    if declared.any(|text| prefix_from_hex(text).is_none()) {
        return Err(invalid(format!("an input or output of transaction {id} is no prefix of an address")));
    }
    Ok(SignedTransaction { id, header, header_bytes: transaction.header, payload: transaction.payload })
}

/// How many transactions it holds, before they are decoded.
pub fn check_transactions(raw: &[u8]) -> Result<(), Rejection> {
    if elements(raw, &[3]) <= BATCH_TRANSACTIONS_MAX {
        return Ok(());
    }
    Err(invalid(format!("a batch has at most {BATCH_TRANSACTIONS_MAX} transactions")))
}

/// How much its transactions declare together, before that is decoded: all of it is compared and waited for.
fn check_declared(transactions: &[Transaction]) -> Result<(), Rejection> {
    let declared =
        |field: usize| transactions.iter().map(|transaction| elements(&transaction.header, &[field])).sum::<usize>();
    let (dependencies, inputs, outputs) = (declared(2), declared(5), declared(7));
    if inputs + outputs > BATCH_ADDRESSES_MAX {
        return Err(invalid(format!("a batch declares at most {BATCH_ADDRESSES_MAX} inputs and outputs")));
    }
    if dependencies > BATCH_DEPENDENCIES_MAX {
        return Err(invalid(format!("a batch declares at most {BATCH_DEPENDENCIES_MAX} dependencies")));
    }
    Ok(())
}

/// Besides its bytes: what was decoded, and what a dependency takes that is waited for.
fn weight(transaction: &SignedTransaction) -> usize {
    const TRANSACTION: usize = 1_000;
    const TEXT: usize = 40;
    const WAITED: usize = 2 * (128 + 100);
    let TransactionHeader { inputs, outputs, dependencies, .. } = &transaction.header;
    let addresses: usize = inputs.iter().chain(outputs).map(|text| TEXT + text.len()).sum();
    TRANSACTION + transaction.header_bytes.len() + addresses + dependencies.len() * (TEXT + 128 + WAITED)
}

/// A batch that can never be accepted; the code is that of the answer to its submission.
pub fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(RejectionReason::Invalid, i64::from(submit_status::INVALID_BATCH), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Draft, Signer, intkey};

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
    fn nothing_of_what_a_batch_arrived_in_is_kept_with_it() {
        let batch = Signer::new(1).single(&intkey("set", "foo", 42));
        let body = Bytes::from([&batch[..], &[0; 10_000]].concat());
        let part = || body.slice(..batch.len());
        let kept = [SignedBatch::admit(part()).unwrap(), SignedBatch::decode(part()).unwrap()];
        assert!(body.is_unique(), "nobody else has a part of it");
        let [transaction] = &kept[0].transactions[..] else { panic!("it holds one") };
        for part in [&kept[0].header_bytes, &transaction.header_bytes, &transaction.payload] {
            assert!(kept[0].raw.as_ptr_range().contains(&part.as_ptr()), "counted with the batch's own bytes");
        }
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
        let declaring = |inputs: &[&str], dependencies: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let (inputs, dependencies) = (texts(inputs), texts(dependencies));
            vec![signer.transaction(&Draft { inputs, dependencies, ..intkey("set", "foo", 42) })]
        };
        for no_address in ["1cf", "1CF126", "x", &"00".repeat(36)] {
            refused(declaring(&["1cf126", no_address], &[]), "no prefix of an address");
        }
        refused(declaring(&[], &["abcd"]), "no transaction's id");
        let mut other = Batch::decode(signer.batch(vec![good])).unwrap();
        other.transactions.clear();
        let rejection = SignedBatch::admit(other.encode_to_vec().into()).unwrap_err();
        assert!(rejection.message.contains("other transactions"), "{rejection}");
        let empty = [0x1a_u8, 0].repeat(BATCH_TRANSACTIONS_MAX + 1);
        let rejection = SignedBatch::admit(empty.into()).unwrap_err();
        assert!(rejection.message.contains("10000 transactions"), "{rejection}");
    }

    #[test]
    fn what_a_batch_declares_is_bounded_and_weighs_what_it_takes_in_memory() {
        let signer = Signer::new(1);
        let declaring = |inputs: usize, dependencies: usize| {
            let (inputs, dependencies) = (vec![String::new(); inputs], vec!["0".repeat(128); dependencies]);
            SignedBatch::admit(signer.single(&Draft { inputs, dependencies, ..intkey("set", "foo", 42) }))
        };
        let plain = declaring(1, 0).unwrap();
        let many = declaring(BATCH_ADDRESSES_MAX - 1, 0).unwrap();
        assert!(many.weight - plain.weight > 20 * BATCH_ADDRESSES_MAX, "an empty text takes a place too");
        assert!(
            declaring(BATCH_ADDRESSES_MAX, 0).unwrap_err().message.contains("inputs and outputs"),
            "with its output"
        );
        assert!(declaring(0, BATCH_DEPENDENCIES_MAX + 1).unwrap_err().message.contains("dependencies"));
    }
}
