//! Encoding and hashing: each changed node once, children first.

use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::nodes::{BranchNodeRef, ExtensionNodeRef, LeafNodeRef, RlpNode};
use alloy_trie::{KECCAK_EMPTY, Nibbles, TrieAccount, TrieMask};

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
    fn refer(&mut self, depth: usize, buffer: &mut Vec<u8>) -> Reference {
        match self {
            Self::Leaf(leaf) if leaf.reference.is_empty() => {
                let leaf = Arc::make_mut(leaf);
                leaf.value.hash_below();
                leaf.reference = leaf.encode(depth, buffer);
            }
            Self::Branch(branch) if branch.reference.is_empty() => {
                let branch = Arc::make_mut(branch);
                let below = depth + branch.prefix_len() + 1;
                for child in &mut branch.children {
                    child.refer(below, buffer);
                }
                branch.reference = branch.encode(buffer);
            }
            Self::Leaf(_) | Self::Branch(_) => {}
        }
        self.reference().clone()
    }

    pub(super) fn reference(&self) -> &Reference {
        match self {
            Self::Leaf(leaf) => &leaf.reference,
            Self::Branch(branch) => &branch.reference,
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

    /// Leaves the encoding of the branch itself in `buffer`. Its children must be hashed.
    pub(super) fn encode_without_prefix(&self, buffer: &mut Vec<u8>) -> RlpNode {
        let stack: Vec<Reference> = self.children.iter().map(|child| child.reference().clone()).collect();
        buffer.clear();
        BranchNodeRef::new(&stack, TrieMask::new(self.mask)).rlp(buffer)
    }
}
