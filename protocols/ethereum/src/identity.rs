//! Addresses, proved by their wallets: a text signed as `personal_sign` has it (EIP-191), or as structured data (EIP-712).

use alloy_primitives::{Address, B256, Signature, eip191_hash_message, hex};
use serde_json::json;

use crate::rpc::typed_data::TypedData;
use crate::transaction::recover_digest;

/// `0x` and 40 hexadecimal digits, of whatever case; the canonical name is in lower case.
pub fn canonical(name: &str) -> Option<String> {
    let digits = name.strip_prefix("0x").filter(|digits| digits.len() == 40)?;
    let address: Address = digits.parse().ok()?;
    Some(format!("{address:?}"))
}

/// Whether the account with this address signed the text in either form. A contract's account signs nothing by itself.
pub fn has_signed(identity: &str, text: &str, signature: &str) -> bool {
    let Ok(bytes) = hex::decode(signature.trim()) else { return false };
    let Ok(signature) = Signature::try_from(bytes.as_slice()) else { return false };
    let forms = [Some(eip191_hash_message(text)), typed(text)];
    let signers = forms.into_iter().flatten().filter_map(|hash| recover_digest(&signature, hash));
    signers.into_iter().any(|signer| canonical(identity).is_some_and(|own| own == format!("{signer:?}")))
}

/// The hash that `eth_signTypedData_v4` signs.
fn typed(text: &str) -> Option<B256> {
    let field = |name: &str| json!({"name": name, "type": "string"});
    let data: TypedData = serde_json::from_value(json!({
        "types": {"EIP712Domain": [field("name"), field("version")], "IdentityBinding": [field("statement")]},
        "primaryType": "IdentityBinding",
        "domain": {"name": "Coco", "version": "1"},
        "message": {"statement": text},
    }))
    .ok()?;
    data.hash().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::signing::sign_hash;
    use crate::testing::dev_key;

    const TEXT: &str = "Bind my ethereum identity\n…";

    #[test]
    fn a_wallet_proves_its_address_in_both_forms_and_no_other_address_or_text() {
        let key = dev_key(0);
        let own = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        let other = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
        for hash in [eip191_hash_message(TEXT), typed(TEXT).unwrap()] {
            let signature = hex::encode_prefixed(sign_hash(&key, hash).as_bytes());
            assert!(has_signed(own, TEXT, &signature));
            assert!(has_signed(&own.to_lowercase(), TEXT, signature.trim_start_matches("0x")));
            assert!(!has_signed(other, TEXT, &signature));
            assert!(!has_signed(own, "another text", &signature));
            assert!(!has_signed(own, TEXT, &signature[..130]));
        }
        // A transaction's hash, or any other bare hash, is no proof.
        let bare = sign_hash(&key, alloy_primitives::keccak256(TEXT));
        assert!(!has_signed(own, TEXT, &hex::encode(bare.as_bytes())));
    }

    #[test]
    fn addresses_have_one_name() {
        let name = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        assert_eq!(canonical(name).as_deref(), Some(name.to_lowercase().as_str()));
        for bad in ["", "0x", "f39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0xzz9Fd6e51aad88F6F4ce6aB8827279cffFb92266"]
        {
            assert_eq!(canonical(bad), None, "{bad}");
        }
    }
}
