//! Proofs that a key has a value, or none.

use alloy_primitives::{B256, Bytes};
use alloy_trie::Nibbles;
use alloy_trie::nodes::ExtensionNodeRef;

use super::node::{Node, Trie};

impl Trie {
    /// The encoded nodes on the way from the root to `key`, or to where it would be. Nodes that are part of their parent's
    /// encoding are not listed again, as other clients do. The trie must be hashed.
    pub fn prove(&self, key: &B256) -> Vec<Bytes> {
        let path = Nibbles::unpack_array(&key.0);
        let mut proof = Proof { nodes: Vec::new(), buffer: Vec::new() };
        let mut next = self.top.as_ref();
        let mut depth = 0;
        while let Some(node) = next.take() {
            match node {
                Node::Leaf(leaf) => {
                    leaf.encode(depth, &mut proof.buffer);
                    proof.push();
                }
                Node::Branch { branch, .. } => {
                    let reference = branch.encode_without_prefix(&mut proof.buffer);
                    let below = branch.position(&path, depth);
                    if let Some(prefix) = &branch.prefix {
                        let encoded = std::mem::take(&mut proof.buffer);
                        ExtensionNodeRef::new(prefix, &reference).rlp(&mut proof.buffer);
                        proof.push();
                        proof.buffer = encoded;
                    }
                    if let Some(below) = below {
                        proof.push();
                        next = branch.child_index(below.nibble).and_then(|index| branch.children.get(index));
                        depth = below.depth;
                    }
                }
            }
        }
        proof.nodes
    }
}

struct Proof {
    nodes: Vec<Bytes>,
    buffer: Vec<u8>,
}

impl Proof {
    fn push(&mut self) {
        let encoded = std::mem::take(&mut self.buffer);
        if encoded.len() >= 32 || self.nodes.is_empty() {
            self.nodes.push(encoded.into());
        }
    }
}
