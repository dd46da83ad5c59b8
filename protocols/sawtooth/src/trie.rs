//! The radix-Merkle trie over the state, with the original's root hashes.
//!
//! On paper there is one level per byte of an address and no compression: 35 nodes above each leaf. Here a run of nodes with
//! one child each is kept as one ([`Node::skip`]), with the hash at its lower end and the hash at its upper end. Values are not kept: the
//! state's map has them.
//!
//! ```text
//!   root ─┬─ 1c ── f1 26 e2 … ── leaf           skip: the bytes between a parent's edge and the next fork
//!         └─ 33 ── 25 ─┬─ 14 … ── leaf
//!                      └─ 15 … ── leaf
//! ```
//!
//! Tries share what they have in common, so that keeping those of a few blocks costs little. A node's bytes are CBOR: children
//! as *text* hashes, a leaf's value encoded twice; its hash is the first half of its SHA-512.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coco_crypto::sha512;

use crate::address::{ADDRESS_BYTES, Address};
use crate::roots::Leaves;

type Hash = [u8; 32];
type Children = Vec<(u8, Arc<Node>)>;
/// What an update does to one address: a value, or its removal.
type Change<'a> = (&'a [u8; ADDRESS_BYTES], Option<&'a Bytes>);

/// The state's shape and hashes at one block.
#[derive(Clone, Debug)]
pub struct Trie {
    root: Arc<Node>,
    leaves: Leaves,
}

/// A fork or a leaf, with the bytes that lead to it without a fork.
#[derive(Debug)]
struct Node {
    skip: Box<[u8]>,
    /// Ascending; none for a leaf.
    children: Children,
    /// Of the fork or the leaf itself.
    own: Hash,
    /// After all of `skip` is wrapped around it.
    top: Hash,
}

impl Trie {
    /// Of an empty state.
    pub fn new(leaves: Leaves) -> Self {
        Self { root: Arc::new(Node::fork(&[], Children::new())), leaves }
    }

    pub fn leaves(&self) -> &Leaves {
        &self.leaves
    }

    /// The root as messages name it: 64 hex digits.
    pub fn root_hex(&self) -> String {
        hex::encode(self.root.top)
    }

    /// The trie after these changes. Removing what is absent changes nothing.
    #[must_use]
    pub fn update(&self, changes: &BTreeMap<Address, Option<Bytes>>) -> Self {
        let masked = self.leaves.masked(changes);
        let changes = masked.as_ref().unwrap_or(changes);
        let changes: Vec<Change<'_>> = changes.iter().map(|(address, value)| (&address.0, value.as_ref())).collect();
        if changes.is_empty() {
            return self.clone();
        }
        let children = update_children(&self.root.children, 0, &changes);
        Self { root: Arc::new(Node::fork(&[], children)), leaves: self.leaves.clone() }
    }
}

impl Node {
    fn leaf(skip: &[u8], value: &[u8]) -> Self {
        Self::new(skip, Children::new(), hash(&encode_leaf(value)))
    }

    fn fork(skip: &[u8], children: Children) -> Self {
        let own = hash(&encode_fork(children.iter().map(|(token, child)| (*token, &child.top))));
        Self::new(skip, children, own)
    }

    /// The same end behind another skip.
    fn moved(&self, skip: &[u8]) -> Self {
        Self::new(skip, self.children.clone(), self.own)
    }

    fn new(skip: &[u8], children: Children, own: Hash) -> Self {
        let wrap = |below: Hash, token: &u8| hash(&encode_fork(std::iter::once((*token, &below))));
        let top = skip.iter().rev().fold(own, wrap);
        Self { skip: skip.into(), children, own, top }
    }

    fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }
}

/// The children of a fork at `depth` after the changes, all of which lie below it.
fn update_children(children: &Children, depth: usize, changes: &[Change<'_>]) -> Children {
    let mut updated = Children::with_capacity(children.len() + 1);
    let mut old = children.iter().peekable();
    for group in changes.chunk_by(|a, b| a.0[depth] == b.0[depth]) {
        let token = group[0].0[depth];
        while let Some(before) = old.next_if(|(other, _)| *other < token) {
            updated.push(before.clone());
        }
        let child = old.next_if(|(other, _)| *other == token).map(|(_, child)| child);
        updated.extend(update(child, depth + 1, group).map(|child| (token, child)));
    }
    updated.extend(old.cloned());
    updated
}

/// What is found from `depth` on after the changes; nothing if all of it was removed.
fn update(node: Option<&Arc<Node>>, depth: usize, changes: &[Change<'_>]) -> Option<Arc<Node>> {
    let Some(node) = node else { return build(depth, changes) };
    let shared = |change: &Change<'_>| shared_bytes(&node.skip, &change.0[depth..]);
    // What is removed and not there does not matter.
    let matters = |change: &&Change<'_>| change.1.is_some() || shared(change) == node.skip.len();
    let changes: Vec<Change<'_>> = changes.iter().filter(matters).copied().collect();
    let common = changes.iter().map(shared).min().unwrap_or(node.skip.len());
    if changes.is_empty() {
        return Some(Arc::clone(node));
    }
    let fork_depth = depth + common;
    if common < node.skip.len() {
        let below = Arc::new(node.moved(&node.skip[common + 1..]));
        let children = update_children(&vec![(node.skip[common], below)], fork_depth, &changes);
        return joined(&node.skip[..common], children);
    }
    if node.is_leaf() {
        // A whole address is behind us: there is one change, to this leaf.
        return changes[0].1.map(|value| Arc::new(Node::leaf(&node.skip, value)));
    }
    joined(&node.skip, update_children(&node.children, fork_depth, &changes))
}

/// A fork that may have lost all of its children but one, or all of them.
fn joined(skip: &[u8], mut children: Children) -> Option<Arc<Node>> {
    match children.len() {
        0 => None,
        1 => {
            let (token, child) = children.pop()?;
            let whole = [skip, &[token], &child.skip].concat();
            Some(Arc::new(child.moved(&whole)))
        }
        _ => Some(Arc::new(Node::fork(skip, children))),
    }
}

/// New nodes for the values among the changes.
fn build(depth: usize, changes: &[Change<'_>]) -> Option<Arc<Node>> {
    let set: Vec<Change<'_>> = changes.iter().filter(|change| change.1.is_some()).copied().collect();
    let (address, value) = *set.first()?;
    if set.len() == 1 {
        return Some(Arc::new(Node::leaf(&address[depth..], value?)));
    }
    let shared = |change: &Change<'_>| shared_bytes(&address[depth..], &change.0[depth..]);
    let common = set.iter().map(shared).min()?;
    let children = update_children(&Children::new(), depth + common, &set);
    Some(Arc::new(Node::fork(&address[depth..depth + common], children)))
}

fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn hash(bytes: &[u8]) -> Hash {
    let mut half = [0; 32];
    half.copy_from_slice(&sha512(bytes)[..32]);
    half
}

/// `{"c": {token: hash, …}, "v": null}`.
fn encode_fork<'a>(children: impl ExactSizeIterator<Item = (u8, &'a Hash)>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + 69 * children.len());
    bytes.extend(b"\xa2\x61c");
    push_head(&mut bytes, 5, children.len());
    for (token, hash) in children {
        let mut text = [0; 2];
        let mut hash_text = [0; 64];
        hex::encode_to_slice([token], &mut text).expect("two digits for a byte");
        hex::encode_to_slice(hash, &mut hash_text).expect("two digits for a byte");
        bytes.push(0x62);
        bytes.extend(text);
        bytes.extend(b"\x78\x40");
        bytes.extend(hash_text);
    }
    bytes.extend(b"\x61v\xf6");
    bytes
}

/// `{"c": {}, "v": bytes(bytes(value))}`.
fn encode_leaf(value: &[u8]) -> Vec<u8> {
    let mut inner = Vec::with_capacity(value.len() + 5);
    push_head(&mut inner, 2, value.len());
    inner.extend(value);
    let mut bytes = Vec::with_capacity(inner.len() + 12);
    bytes.extend(b"\xa2\x61c\xa0\x61v");
    push_head(&mut bytes, 2, inner.len());
    bytes.extend(inner);
    bytes
}

/// The head of a CBOR item, as short as it can be (RFC 8949 §3).
fn push_head(bytes: &mut Vec<u8>, major: u8, argument: usize) {
    let major = major << 5;
    let wide = (argument as u64).to_be_bytes();
    match argument {
        0..24 => bytes.push(major | wide[7]),
        24..0x100 => bytes.extend([major | 24, wide[7]]),
        0x100..0x1_0000 => {
            bytes.push(major | 25);
            bytes.extend(&wide[6..]);
        }
        0x1_0000..0x1_0000_0000 => {
            bytes.push(major | 26);
            bytes.extend(&wide[4..]);
        }
        _ => {
            bytes.push(major | 27);
            bytes.extend(wide);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Address {
        Address::from_hex(&format!("{text:0<70}")).unwrap()
    }

    fn changed(trie: &Trie, changes: &[(Address, Option<&[u8]>)]) -> Trie {
        trie.update(&changes.iter().map(|(at, value)| (*at, value.map(Bytes::copy_from_slice))).collect())
    }

    fn a(last: u8) -> Address {
        let mut address = address("1cf126");
        address.0[34] = last;
        address
    }

    const FAR: Address = Address([0xff; 35]);

    #[test]
    fn roots_are_those_of_the_original() {
        let root = |trie: &Trie, root: &str| assert_eq!(trie.root_hex(), root);
        let v1 = Trie::new(Leaves::default());
        root(&v1, "708ca7fbb701799bb387f2e50deaca402e8502abe229f705693d2d4f350e1ad6");
        let v2 = changed(&v1, &[(a(0), Some(&[1]))]);
        root(&v2, "7f5724e346ae9449a8833f784258f58ab1417b6f0ce818b252c6f102a11fbb45");
        let v3 = changed(&v2, &[(a(1), Some(&[2]))]);
        root(&v3, "909efb9c600ba1a879e60133b55ed91370e9928bec6359725d300e4f7933f989");
        let v4 = changed(&v3, &[(FAR, Some(&[3, 4, 5]))]);
        root(&v4, "140962ceebd290795c72d9e8684484bad7933a413632a53f0aedecbcf4d37f29");
        let v5 = changed(&v4, &[(a(1), None)]);
        root(&v5, "af7c906408f79d42ca5ea4a64a78502737c0a0f99a8f8225ca89dc4062fa9a12");
        let v5b = changed(&v5, &[(a(0), None)]);
        root(&v5b, "3a7cc34c481d12060c393a8ab34c57849c5d3498196ba8a9d3cf70ab9532fd98");
        root(&changed(&v5b, &[(FAR, None)]), &v1.root_hex());
        let v10 = changed(&v4, &[(a(0), Some(&[9])), (a(1), None)]);
        root(&v10, "29b1eeedae04a74ef58800c1ac5781117501ec972c8fd8ff27b4ac333e9e1321");
        let v11 = changed(&v4, &[(a(2), Some(&[9])), (a(0), None), (a(1), None)]);
        root(&v11, "1840893442921f2769c963937f39012bd6f55bc295b079fad66fddc044536daa");
    }

    #[test]
    fn roots_of_small_and_large_values_are_those_of_the_original() {
        let of = |value: &[u8]| changed(&Trie::new(Leaves::default()), &[(a(0), Some(value))]).root_hex();
        assert_eq!(of(&[]), "b3918dcac0be047890907a394c0a7353d89114470320953c616a4bf8ecc8ff72");
        assert_eq!(of(&[0x61; 24]), "201499a863c04b6c51dcbe0e3cf1c0e0c2ae3ed5eb44dc337c42e11a1dbbe1d1");
        assert_eq!(of(&[0x62; 300]), "0cbc424a33725197930a5f602f4363dc9390f8241f2a0261dd4cefa3a8320e48");
    }

    #[test]
    fn a_full_fork_has_the_root_of_the_original() {
        let at = |first: u8| {
            let mut address = Address([0; 35]);
            address.0[0] = first;
            (address, Some(Bytes::copy_from_slice(&[first])))
        };
        let full = Trie::new(Leaves::default()).update(&(0..=255).map(at).collect());
        assert_eq!(full.root_hex(), "3bb70f299fa7e8ccbbe27ac32e17d672fed15e6994b103dce555a6d296dd4554");
    }

    #[test]
    fn an_intkey_row_has_the_root_of_the_original() {
        let foo = "1cf1266e282c41be5e4254d8820772c5518a2c5a8c0c7f7eda19594a7eb539453e1ed7";
        let value = hex::decode("a163666f6f182a").unwrap();
        let trie = changed(&Trie::new(Leaves::default()), &[(Address::from_hex(foo).unwrap(), Some(&value))]);
        assert_eq!(trie.root_hex(), "0f39e005cc4a4f1ddc9f1fcc8e9e3f9c4b73f4f76c7925a9f9b1b85cc6bbd809");
    }

    /// The trie of the books: every level of every address, built anew from all values.
    fn slow_root(values: &BTreeMap<Address, Bytes>) -> String {
        fn level(values: &[(&Address, &Bytes)], depth: usize) -> Hash {
            if depth == ADDRESS_BYTES {
                return hash(&encode_leaf(values[0].1));
            }
            let below: Vec<(u8, Hash)> = values
                .chunk_by(|a, b| a.0.0[depth] == b.0.0[depth])
                .map(|group| (group[0].0.0[depth], level(group, depth + 1)))
                .collect();
            hash(&encode_fork(below.iter().map(|(token, hash)| (*token, hash))))
        }
        hex::encode(level(&values.iter().collect::<Vec<_>>(), 0))
    }

    /// Addresses that share much and fork late, early and next to each other.
    fn addresses() -> impl Strategy<Value = Address> {
        prop::collection::vec((0..35usize, 0..3u8), 0..5).prop_map(|places| {
            let mut address = Address([7; 35]);
            for (place, value) in places {
                address.0[place] = value;
            }
            address
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_updates_lead_to_the_root_of_the_trie_of_the_books(
            updates in prop::collection::vec(
                prop::collection::btree_map(addresses(), prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), 0..8),
                1..8,
            )
        ) {
            let mut trie = Trie::new(Leaves::default());
            let mut values = BTreeMap::new();
            for update in updates {
                let update: BTreeMap<Address, Option<Bytes>> =
                    update.into_iter().map(|(at, value)| (at, value.map(Bytes::from))).collect();
                trie = trie.update(&update);
                for (at, value) in update {
                    match value {
                        Some(value) => values.insert(at, value),
                        None => values.remove(&at),
                    };
                }
                prop_assert_eq!(trie.root_hex(), slow_root(&values));
            }
        }
    }
}
