//! A contract's sources as a submission to the ledger.

use alloy_primitives::{Address, B256, keccak256};
use alloy_rlp::{Decodable, Encodable, Header};
use bytes::Bytes;
use coco_crypto::sha256;
use coco_kv::Tx;
use coco_protocol::{Admitted, Caller, Claims, Context, Outcome, Rejection, RejectionReason};

use super::metadata::metadata_among;
use super::{Files, Metadata, SOURCES, Unfit, VERIFIED, Verified, metadata_hash, sources_key};
use crate::state::State;

/// Metadata and sources of one contract.
pub const SOURCES_BYTES_MAX: usize = 1 << 20;
/// No transaction begins with this byte: types are below 0x80, lists from 0xc0 on.
const TAG: u8 = 0xbf;

/// Metadata with the sources that it names: their hashes fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUpload {
    pub address: Address,
    /// As the compiler wrote it.
    pub metadata: String,
    /// Path to content.
    pub sources: Files,
}

impl SourceUpload {
    /// Picks out of uploaded files what belongs to a contract with this code.
    pub fn of(address: Address, code: &[u8], files: &Files) -> Result<Self, Unfit> {
        let expected = metadata_hash(code).ok_or(Unfit::NoHash)?;
        let metadata = metadata_among(files, &expected)?;
        let sources = Metadata::parse(&metadata)?.gather(files)?;
        let upload = Self { address, metadata, sources };
        upload.check_size()?;
        Ok(upload)
    }

    /// Whether a submission is one of these, and no transaction.
    pub fn is_one(submission: &[u8]) -> bool {
        submission.first() == Some(&TAG)
    }

    /// A list of address, metadata, path, content, path, content… behind the tag.
    pub fn encode(&self) -> Bytes {
        let mut payload = Vec::new();
        self.address.encode(&mut payload);
        self.metadata.encode(&mut payload);
        for (path, content) in &self.sources {
            path.encode(&mut payload);
            content.encode(&mut payload);
        }
        let mut out = vec![TAG];
        Header { list: true, payload_length: payload.len() }.encode(&mut out);
        out.extend_from_slice(&payload);
        out.into()
    }

    pub fn decode(submission: &[u8]) -> Option<Self> {
        let mut rest = submission.strip_prefix(&[TAG])?;
        let mut fields = Header::decode_bytes(&mut rest, true).ok().filter(|_| rest.is_empty())?;
        let address = Address::decode(&mut fields).ok()?;
        let metadata = String::decode(&mut fields).ok()?;
        let mut sources = Files::new();
        while !fields.is_empty() {
            let path = String::decode(&mut fields).ok()?;
            sources.insert(path, String::decode(&mut fields).ok()?);
        }
        Some(Self { address, metadata, sources })
    }

    /// Stateless: the sources are those that the metadata names, and no others.
    pub fn admit(submission: Bytes, caller: Caller) -> Result<Admitted, Rejection> {
        let upload = Self::decode(&submission).ok_or_else(|| refused(&Unfit::Malformed("not an upload".into())))?;
        upload.check_size().map_err(|unfit| refused(&unfit))?;
        let named = Metadata::parse(&upload.metadata).and_then(|metadata| metadata.gather(&upload.sources));
        if named.map_err(|unfit| refused(&unfit))? != upload.sources {
            return Err(refused(&Unfit::Malformed("files that it does not name".into())));
        }
        let id = Bytes::copy_from_slice(keccak256(&submission).as_slice());
        Ok(Admitted { raw: submission, id, finding: Bytes::new(), caller, decoded: std::sync::Arc::new(upload) })
    }

    /// Keeps it, if the contract's code leads to it.
    pub(crate) fn keep(&self, tx: &mut Tx, admitted: &Admitted, context: &Context<'_>) -> Result<Outcome, Rejection> {
        let code_hash = self.code_hash(tx).map_err(|unfit| refused(&unfit))?;
        let before = tx.get(&VERIFIED, self.address.as_slice()).and_then(|row| Verified::decode(&row));
        if before.is_some_and(|verified| verified.code_hash == code_hash) {
            return Err(Rejection { reason: RejectionReason::Duplicate, ..refused(&Unfit::Known) });
        }
        let verified = Verified { code_hash, at_ms: context.now_ms };
        tx.put(&VERIFIED, Bytes::copy_from_slice(self.address.as_slice()), verified.encode());
        tx.put(&SOURCES, sources_key(&self.address, &code_hash), admitted.raw.clone());
        let claims = Claims {
            protocol: crate::NAME,
            kind: "sources",
            id: admitted.id.clone(),
            result: sha256(&admitted.raw),
            container: None,
        };
        Ok(Outcome { claims: Some(claims), response: Bytes::new() })
    }

    fn code_hash(&self, state: &mut dyn State) -> Result<B256, Unfit> {
        let account = state.account(&self.address).ok().flatten().filter(|account| account.has_code());
        let code_hash = account.ok_or(Unfit::NoContract)?.code_hash;
        let expected = metadata_hash(&state.code(&code_hash)).ok_or(Unfit::NoHash)?;
        let found = super::ipfs_hash(self.metadata.as_bytes());
        if found == expected { Ok(code_hash) } else { Err(Unfit::OtherMetadata { expected, found }) }
    }

    fn check_size(&self) -> Result<(), Unfit> {
        let bytes = self.sources.iter().map(|(path, content)| path.len() + content.len()).sum::<usize>();
        let fits = bytes.saturating_add(self.metadata.len()) <= SOURCES_BYTES_MAX;
        if fits { Ok(()) } else { Err(Unfit::TooLarge(SOURCES_BYTES_MAX)) }
    }
}

fn refused(unfit: &Unfit) -> Rejection {
    Rejection::new(RejectionReason::Refused, -32000, unfit.to_string())
}
