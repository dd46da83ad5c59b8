//! Who signed: recovery with libsecp256k1, which is two to six times faster than the alternatives.

use alloy_consensus::{SignableTransaction, Transaction as _};
use alloy_primitives::{Address, B256, Signature, U256, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1};

use super::{Envelope, TransactionError};

/// Half the order of secp256k1: a greater `s` has a twin below it, and EIP-2 forbids it.
const HALF_ORDER: U256 =
    U256::from_limbs([0xdfe9_2f46_681b_20a0, 0x5d57_6e73_57a4_501d, 0xffff_ffff_ffff_ffff, 0x7fff_ffff_ffff_ffff]);

/// The sender; a signature with a high `s` is refused.
pub fn recover(envelope: &Envelope) -> Result<Address, TransactionError> {
    let (signature, hash) = signed(envelope);
    if signature.s() > HALF_ORDER {
        return Err(TransactionError::InvalidSender);
    }
    recover_digest(signature, hash).ok_or(TransactionError::InvalidSender)
}

/// The sender, as blocks from before Homestead allow it: with any `s`.
pub fn recover_lenient(envelope: &Envelope) -> Result<Address, TransactionError> {
    let (signature, hash) = signed(envelope);
    recover_digest(signature, hash).ok_or(TransactionError::InvalidSender)
}

/// The signer of each authorization; `None` where the signature is void (EIP-7702, behaviour, steps 3).
pub fn authorities(envelope: &Envelope) -> Vec<Option<Address>> {
    let authority = |authorization: &alloy_eips::eip7702::SignedAuthorization| {
        let signature = authorization.signature().ok()?;
        if signature.s() > HALF_ORDER {
            return None;
        }
        recover_digest(&signature, authorization.signature_hash())
    };
    envelope.authorization_list().map(|list| list.iter().map(authority).collect()).unwrap_or_default()
}

fn signed(envelope: &Envelope) -> (&Signature, B256) {
    match envelope {
        Envelope::Legacy(signed) => (signed.signature(), signed.tx().signature_hash()),
        Envelope::Eip2930(signed) => (signed.signature(), signed.tx().signature_hash()),
        Envelope::Eip1559(signed) => (signed.signature(), signed.tx().signature_hash()),
        Envelope::Eip4844(signed) => (signed.signature(), signed.tx().signature_hash()),
        Envelope::Eip7702(signed) => (signed.signature(), signed.tx().signature_hash()),
    }
}

/// Whoever signed this digest.
pub(crate) fn recover_digest(signature: &Signature, digest: B256) -> Option<Address> {
    let mut compact = [0; 64];
    let (r, s) = compact.split_at_mut(32);
    r.copy_from_slice(&signature.r().to_be_bytes::<32>());
    s.copy_from_slice(&signature.s().to_be_bytes::<32>());
    let recovery = RecoveryId::try_from(i32::from(signature.v())).ok()?;
    let signature = RecoverableSignature::from_compact(&compact, recovery).ok()?;
    let key = SECP256K1.recover_ecdsa(&Message::from_digest(digest.0), &signature).ok()?;
    let [_, point @ ..] = key.serialize_uncompressed();
    Some(Address::from_slice(&keccak256(point)[12..]))
}
