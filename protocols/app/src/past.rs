//! Looking back: what a committed transaction wrote, with the proof that it did. CCF says "later" until it has fetched it; here the files of the
//! node that is asked either have it, or do not.

use coco_governance::application::Past;
use coco_protocol::{Caller, LedgerHandle, TransactionStatus};
use coco_types::{Seqno, TxId};
use http::StatusCode;

use crate::answer::Answer;
use crate::incoming::Incoming;

const HEADER: &str = "x-ms-ccf-transaction-id";

/// The committed transaction that a request names.
pub fn asked_for(incoming: &Incoming, handle: &dyn LedgerHandle) -> Result<TxId, Answer> {
    let in_query = || incoming.head.query.split('&').find_map(|pair| pair.strip_prefix("transaction_id="));
    let given = incoming.head.headers.get(HEADER).map(String::as_str).or_else(in_query);
    let bad = |code, message: String| Answer::error(StatusCode::BAD_REQUEST, code, &message, &[]);
    let given = given.ok_or_else(|| {
        bad("MissingRequiredHeader", format!("the header {HEADER} names the transaction that is asked about"))
    })?;
    let malformed = |_| bad("InvalidHeaderValue", format!("{given} is no transaction's name, such as 2.7"));
    let txid: TxId = given.parse().map_err(malformed)?;
    match handle.transaction_status(txid) {
        TransactionStatus::Committed => Ok(txid),
        TransactionStatus::Invalid => Err(not_found("TransactionInvalid", &format!("transaction {txid} is invalid"))),
        TransactionStatus::Pending | TransactionStatus::Unknown => {
            Err(not_found("TransactionPendingOrUnknown", &format!("transaction {txid} is pending or unknown")))
        }
    }
}

/// Reads the disk.
pub fn read(txid: TxId, caller: &Caller, handle: &dyn LedgerHandle) -> Result<Past, Answer> {
    find(txid, caller, handle).ok_or_else(|| {
        let message = format!("this node's files do not go back to {txid}: ask another node");
        not_found("TransactionNotHeld", &message)
    })
}

/// The committed transaction with this number, if this node has it. Reads the disk.
pub fn at(seqno: Seqno, caller: &Caller, handle: &dyn LedgerHandle) -> Option<Past> {
    find(TxId::new(handle.view_of(seqno)?, seqno), caller, handle)
}

fn find(txid: TxId, caller: &Caller, handle: &dyn LedgerHandle) -> Option<Past> {
    handle.past(caller, txid).map(|past| Past { txid, receipt: past.receipt, writes: past.writes })
}

fn not_found(code: &str, message: &str) -> Answer {
    Answer::error(StatusCode::NOT_FOUND, code, message, &[])
}
