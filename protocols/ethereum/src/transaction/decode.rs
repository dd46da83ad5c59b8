//! From bytes to an envelope.

use alloy_consensus::Transaction as _;
use alloy_eips::Decodable2718;
use alloy_eips::eip2718::Eip2718Error;
use alloy_primitives::{B256, TxKind, keccak256};
use alloy_rlp::{Decodable, Header};

use super::{AdmissionRules, Envelope, TransactionError};
use crate::limits::TRANSACTION_BYTES_MAX;

/// Decodes what a client sent. Cheap refusals first.
pub fn submission(raw: &[u8], rules: &AdmissionRules) -> Result<(Envelope, B256), TransactionError> {
    let first = *raw.first().ok_or(TransactionError::Empty)?;
    if first < 0xc0 && !rules.supports_type(first) {
        // Bytes 0x80 to 0xbf begin an RLP string, which is no transaction of any type.
        return Err(if first < 0x80 {
            TransactionError::TypeNotSupported
        } else {
            TransactionError::rlp("expected list")
        });
    }
    if raw.len() > TRANSACTION_BYTES_MAX {
        return Err(TransactionError::Oversized { bytes: raw.len(), max: TRANSACTION_BYTES_MAX });
    }
    let (envelope, hash) = included(raw)?;
    if envelope.is_eip4844() && envelope.blob_versioned_hashes().is_none_or(<[_]>::is_empty) {
        return Err(TransactionError::NoBlobs);
    }
    if envelope.is_eip7702() && envelope.authorization_list().is_none_or(<[_]>::is_empty) {
        return Err(TransactionError::NoAuthorizations);
    }
    Ok((envelope, hash))
}

/// Decodes a transaction as blocks hold it: no rule but the encoding's own.
pub fn included(raw: &[u8]) -> Result<(Envelope, B256), TransactionError> {
    let mut rest = raw;
    let envelope = Envelope::decode_2718(&mut rest).map_err(|error| match error {
        Eip2718Error::RlpError(error) => TransactionError::rlp(error),
        _ => TransactionError::TypeNotSupported,
    })?;
    if !rest.is_empty() {
        return Err(TransactionError::rlp("trailing bytes"));
    }
    Ok((envelope, keccak256(raw)))
}

/// Whom a transaction that decodes is sent to, without decoding the rest of it.
pub fn recipient(raw: &[u8]) -> Option<TxKind> {
    // Fields before the recipient: nonce and price; chain id besides; a second price besides.
    let (before, mut rest) = match raw.split_first()? {
        (0xc0.., _) => (2, raw),
        (1, rest) => (3, rest),
        (_, rest) => (4, rest),
    };
    let mut fields = Header::decode_bytes(&mut rest, true).ok()?;
    // And the gas limit.
    for _ in 0..=before {
        let field = Header::decode(&mut fields).ok()?;
        fields = fields.get(field.payload_length..)?;
    }
    TxKind::decode(&mut fields).ok()
}
