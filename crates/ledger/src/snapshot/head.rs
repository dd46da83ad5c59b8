//! What a snapshot says before its records.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut};
use coco_types::{ReplicaId, limits};

use super::{SnapshotPlace, malformed};
use crate::signature::verify_service_signature;
use crate::{Entry, Error, Frontier, Primary, ServiceKeys, SignatureTransaction};

/// Replicas in one set: far beyond any network.
const REPLICAS_MAX: usize = 1 << 16;

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotHead {
    pub place: SnapshotPlace,
    /// Leads the view of the last batch: entries that follow are sealed under a key of its own.
    pub primary: ReplicaId,
    /// Of the consensus as of this place: voters, outgoing voters, learners, learners to be.
    pub membership: [BTreeSet<ReplicaId>; 4],
    /// Replicas that have left the consensus for good.
    pub removed: BTreeSet<ReplicaId>,
    /// The raw entry of the signature transaction: it carries the tree's frontier, signed by the service.
    pub signature: Vec<u8>,
}

impl SnapshotHead {
    /// The tree up to and including the last transaction.
    pub fn frontier(&self) -> Result<Frontier, Error> {
        let (entry, signature) = self.signature()?;
        let mut frontier = signature.frontier;
        frontier.append(entry.leaf_digest());
        Ok(frontier)
    }

    pub fn view_primary(&self) -> Primary {
        Primary { view: self.place.txid.view, replica: self.primary }
    }

    /// Checks that the service signed the ledger up to here.
    pub fn verify(&self, service: &ServiceKeys) -> Result<(), Error> {
        let (_, signature) = self.signature()?;
        let service = service.at(signature.txid.seqno);
        verify_service_signature(&signature.cose, service, signature.txid, &signature.frontier.root())
    }

    fn signature(&self) -> Result<(Entry<'_>, SignatureTransaction), Error> {
        let (entry, rest) = Entry::split_first(&self.signature)?;
        let signature = SignatureTransaction::from_writes(entry.txid(), &entry.public_writes()?)?;
        match signature {
            Some(signature) if rest.is_empty() && signature.txid == self.place.txid => Ok((entry, signature)),
            _ => Err(malformed("the last transaction is not a signature transaction at the snapshot's place")),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.signature.len() + 256);
        out.put_u64_le(self.primary.0);
        for set in self.membership.iter().chain([&self.removed]) {
            out.put_u32_le(u32::try_from(set.len()).expect("a network has fewer replicas"));
            set.iter().for_each(|id| out.put_u64_le(id.0));
        }
        out.put_u32_le(u32::try_from(self.signature.len()).expect("an entry is below its limit"));
        out.put_slice(&self.signature);
        out
    }

    /// The head at the beginning of `bytes`, and its length; `None` while more bytes are needed.
    pub(super) fn decode(place: SnapshotPlace, bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let mut rest = bytes;
        let Ok(primary) = rest.try_get_u64_le() else { return Ok(None) };
        let mut sets: [BTreeSet<ReplicaId>; 5] = Default::default();
        for set in &mut sets {
            let Ok(count) = rest.try_get_u32_le() else { return Ok(None) };
            if count as usize > REPLICAS_MAX {
                return Err(malformed("too many replicas"));
            }
            for _ in 0..count {
                let Ok(id) = rest.try_get_u64_le() else { return Ok(None) };
                if set.last().is_some_and(|last| last.0 >= id) {
                    return Err(malformed("replicas are not sorted and unique"));
                }
                set.insert(ReplicaId(id));
            }
        }
        let Ok(len) = rest.try_get_u32_le() else { return Ok(None) };
        if u64::from(len) > limits::ENTRY_BYTES_MAX {
            return Err(malformed("an impossible signature transaction"));
        }
        let Some((signature, rest)) = rest.split_at_checked(len as usize) else { return Ok(None) };
        let [voters, outgoing, learners, learners_next, removed] = sets;
        let membership = [voters, outgoing, learners, learners_next];
        let signature = signature.to_vec();
        let head = Self { place, primary: ReplicaId(primary), membership, removed, signature };
        head.signature()?;
        Ok(Some((head, bytes.len() - rest.len())))
    }
}
