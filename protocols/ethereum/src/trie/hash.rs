//! Encoding and hashing: each changed node once, children first.

use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};
use alloy_trie::nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode};
use alloy_trie::{KECCAK_EMPTY, Nibbles, TrieAccount};

use super::EMPTY_ROOT;
use super::node::{AccountLeaf, Branch, Leaf, Node, Reference, Trie, Value};

impl Trie {
    /// The root hash. Hashes what changed since the last call, on this version or the one it came from.
    pub fn root(&mut self) -> B256 {
        let Some(top) = &mut self.top else { return EMPTY_ROOT };
        let mut buffer = Vec::new();
        let reference = top.refer(0, &mut buffer);
        reference.as_hash().unwrap_or_else(|| keccak256(reference.as_slice()))
    }
}

impl Node {
    /// How the parent, `depth` nibbles down, refers to this node; computed if it is not known.
    fn refer(&mut self, depth: usize, buffer: &mut Vec<u8>) -> &Reference {
        match self {
            Self::Leaf(leaf) => {
                if leaf.reference.is_empty() {
                    leaf.value.hash_below();
                    leaf.reference = leaf.encode(depth, buffer);
                }
                &leaf.reference
            }
            Self::Branch { reference, branch } => {
                if reference.is_empty() {
                    let branch = Arc::make_mut(branch);
                    let below = depth + branch.prefix_len() + 1;
                    for child in &mut branch.children {
                        child.refer(below, buffer);
                    }
                    *reference = branch.encode(buffer);
                }
                reference
            }
        }
    }

    pub(super) fn reference(&self) -> &Reference {
        match self {
            Self::Leaf(leaf) => &leaf.reference,
            Self::Branch { reference, .. } => reference,
        }
    }
}

impl Value {
    fn hash_below(&mut self) {
        if let Self::Account(AccountLeaf { contract: Some(contract), .. }) = self {
            contract.storage.root();
        }
    }

    /// The RLP of the value. Storage below it must be hashed.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        match self {
            Self::Slot(value) => value.encode(&mut out),
            Self::Account(account) => account.to_trie_account().encode(&mut out),
            #[cfg(test)]
            Self::Raw(bytes) => out.extend_from_slice(bytes),
        }
        out
    }
}

impl AccountLeaf {
    /// The account in Ethereum's words. Its storage must be hashed.
    pub(super) fn to_trie_account(&self) -> TrieAccount {
        let (code_hash, storage_root) = match &self.contract {
            Some(contract) => (contract.code_hash, contract.storage.known_root()),
            None => (KECCAK_EMPTY, EMPTY_ROOT),
        };
        TrieAccount { nonce: self.nonce, balance: self.balance, storage_root, code_hash }
    }
}

impl Trie {
    /// The root of a trie that was hashed.
    pub(super) fn known_root(&self) -> B256 {
        let Some(top) = &self.top else { return EMPTY_ROOT };
        let reference = top.reference();
        assert!(!reference.is_empty(), "the trie was hashed before its root is used");
        reference.as_hash().unwrap_or_else(|| keccak256(reference.as_slice()))
    }
}

impl Leaf {
    /// Leaves the encoding in `buffer`.
    pub(super) fn encode(&self, depth: usize, buffer: &mut Vec<u8>) -> Reference {
        let suffix = Nibbles::unpack_array(&self.key.0).slice(depth..);
        buffer.clear();
        LeafNodeRef::new(&suffix, &self.value.encode()).rlp(buffer)
    }
}

impl Branch {
    fn encode(&self, buffer: &mut Vec<u8>) -> Reference {
        let reference = self.encode_without_prefix(buffer);
        match &self.prefix {
            Some(prefix) => {
                buffer.clear();
                ExtensionNodeRef::new(prefix, &reference).rlp(buffer)
            }
            None => reference,
        }
    }

    /// Leaves the encoding of the branch itself in `buffer`: its children's references in sixteen places, and no value. Its children must be
    /// hashed.
    pub(super) fn encode_without_prefix(&self, buffer: &mut Vec<u8>) -> RlpNode {
        let absent = (!self.mask).count_ones() as usize;
        let present: usize = self.children.iter().map(|child| child.reference().len()).sum();
        buffer.clear();
        Header { list: true, payload_length: present + absent + 1 }.encode(buffer);
        let mut children = self.children.iter();
        for nibble in 0..16 {
            match (self.mask & (1 << nibble) != 0).then(|| children.next()).flatten() {
                Some(child) => buffer.extend_from_slice(child.reference()),
                None => buffer.push(EMPTY_STRING_CODE),
            }
        }
        buffer.push(EMPTY_STRING_CODE);
        RlpNode::from_rlp(buffer)
    }
}
