//! Nodes, insertion and removal.
//!
//! A branch carries the path that leads to it (what Ethereum encodes as an extension node in front of it), and a leaf carries
//! its whole key. Collapsing a branch with one child is then the only repair that a removal needs.
//!
//! In a large trie what costs is waiting for memory, so a branch holds its children in one piece, with how it refers to each of them: leaves
//! themselves, of other branches only the way there. Hashing a branch then looks at none of those that did not change.

use std::hint::black_box;
use std::sync::Arc;

use alloy_primitives::{B256, U256};
use alloy_trie::Nibbles;
use alloy_trie::nodes::RlpNode;

/// A trie with 32-byte keys. Cloning it is cheap and keeps this version.
#[derive(Clone, Default)]
pub struct Trie {
    pub(super) top: Option<Node>,
}

/// What a leaf holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A storage slot; never zero.
    Slot(U256),
    Account(AccountLeaf),
    /// What the tests that all clients share put into a trie.
    #[cfg(test)]
    Raw(Vec<u8>),
}

/// An account as its leaf keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountLeaf {
    pub nonce: u64,
    pub balance: U256,
    /// Absent for the many accounts without code and storage: they stay small.
    pub contract: Option<Box<Contract>>,
}

/// What only contracts have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contract {
    pub code_hash: B256,
    pub storage: Trie,
}

/// How a parent refers to a node: its hash, or its encoding if that is shorter than 32 bytes; empty if it has to be computed.
pub(super) type Reference = RlpNode;

/// A child, as its parent holds it.
#[derive(Clone)]
pub(super) enum Node {
    Leaf(Leaf),
    Branch { reference: Reference, branch: Arc<Branch> },
}

#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) key: B256,
    pub(super) reference: Reference,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) struct Branch {
    /// Bit n is set if there is a child at nibble n.
    pub(super) mask: u16,
    /// Nibbles between the parent and this branch; most branches have none.
    pub(super) prefix: Option<Box<Nibbles>>,
    /// The children that there are, in order of their nibbles; at least two.
    pub(super) children: Box<[Node]>,
}

impl Trie {
    pub fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    pub fn value(&self, key: &B256) -> Option<&Value> {
        let path = Nibbles::unpack_array(&key.0);
        let mut node = self.top.as_ref()?;
        let mut depth = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf.key == *key).then_some(&leaf.value),
                Node::Branch { branch, .. } => {
                    let at = branch.position(&path, depth)?;
                    node = branch.children.get(branch.child_index(at.nibble)?)?;
                    depth = at.depth;
                }
            }
        }
    }

    /// Has the processor fetch what changing these keys touches on the way to them. One key by itself waits for memory at every branch; many,
    /// taken branch by branch, wait together.
    pub(super) fn preload<'a>(&self, keys: impl Iterator<Item = &'a B256>) {
        let Some(top) = &self.top else { return };
        let mut ways: Vec<_> = keys.map(|key| (Nibbles::unpack_array(&key.0), top, 0)).collect();
        while !ways.is_empty() {
            ways.retain_mut(|(path, node, depth)| {
                let Node::Branch { branch, .. } = *node else { return false };
                let below = branch.position(path, *depth);
                let child = below.as_ref().and_then(|at| branch.children.get(branch.child_index(at.nibble)?));
                let (Some(below), Some(child)) = (below, child) else { return false };
                black_box(child.reference().len());
                (*node, *depth) = (child, below.depth);
                true
            });
        }
    }

    /// The value of `key`, to be changed where it is.
    pub fn value_mut(&mut self, key: &B256) -> Option<&mut Value> {
        let path = Nibbles::unpack_array(&key.0);
        let mut node = self.top.as_mut()?;
        let mut depth = 0;
        loop {
            match node {
                Node::Leaf(leaf) if leaf.key == *key => {
                    leaf.reference = Reference::default();
                    return Some(&mut leaf.value);
                }
                Node::Leaf(_) => return None,
                Node::Branch { reference, branch } => {
                    *reference = Reference::default();
                    let branch = Arc::make_mut(branch);
                    let at = branch.position(&path, depth)?;
                    let index = branch.child_index(at.nibble)?;
                    node = branch.children.get_mut(index)?;
                    depth = at.depth;
                }
            }
        }
    }

    /// Sets the value of `key`.
    pub fn insert(&mut self, key: B256, value: Value) {
        let path = Nibbles::unpack_array(&key.0);
        let leaf = Leaf { key, reference: Reference::default(), value };
        match &mut self.top {
            None => self.top = Some(Node::Leaf(leaf)),
            Some(node) => node.insert(&path, 0, leaf),
        }
    }

    /// Removes `key`; whether it was there.
    pub fn remove(&mut self, key: &B256) -> bool {
        // Looked up first, so that removing what is absent leaves every cached reference alone.
        if self.value(key).is_none() {
            return false;
        }
        let path = Nibbles::unpack_array(&key.0);
        self.top = self.top.take().and_then(|node| node.without(&path, 0));
        true
    }

    /// Calls back with every leaf, in the order of keys.
    pub fn for_each(&self, mut visit: impl FnMut(&B256, &Value)) {
        fn walk(node: &Node, visit: &mut impl FnMut(&B256, &Value)) {
            match node {
                Node::Leaf(leaf) => visit(&leaf.key, &leaf.value),
                Node::Branch { branch, .. } => branch.children.iter().for_each(|child| walk(child, visit)),
            }
        }
        if let Some(top) = &self.top {
            walk(top, &mut visit);
        }
    }
}

/// Two tries are equal if they hold the same entries.
impl PartialEq for Trie {
    fn eq(&self, other: &Self) -> bool {
        let entries = |trie: &Self| {
            let mut entries = Vec::new();
            trie.for_each(|key, value| entries.push((*key, value.clone())));
            entries
        };
        entries(self) == entries(other)
    }
}

impl Eq for Trie {}

impl std::fmt::Debug for Trie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        self.for_each(|key, value| {
            map.entry(key, value);
        });
        map.finish()
    }
}

/// Where a key goes on below a branch.
pub(super) struct Below {
    pub(super) nibble: u8,
    /// Nibbles of the key that are used up, including `nibble`.
    pub(super) depth: usize,
}

impl Branch {
    pub(super) fn prefix_len(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.len())
    }

    /// Where `path` goes on; `None` if it leaves the trie inside the prefix.
    pub(super) fn position(&self, path: &Nibbles, depth: usize) -> Option<Below> {
        let prefix_len = self.prefix_len();
        if self.common_prefix(path, depth) < prefix_len {
            return None;
        }
        let nibble = path.get(depth + prefix_len)?;
        Some(Below { nibble, depth: depth + prefix_len + 1 })
    }

    pub(super) fn child_index(&self, nibble: u8) -> Option<usize> {
        (self.mask & (1 << nibble) != 0).then(|| self.rank(nibble))
    }

    fn rank(&self, nibble: u8) -> usize {
        (self.mask & ((1 << nibble) - 1)).count_ones() as usize
    }

    fn common_prefix(&self, path: &Nibbles, depth: usize) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| path.slice(depth..).common_prefix_length(prefix))
    }

    fn add_child(&mut self, nibble: u8, child: Node) {
        let mut children = std::mem::take(&mut self.children).into_vec();
        children.reserve_exact(1);
        children.insert(self.rank(nibble), child);
        self.children = children.into_boxed_slice();
        self.mask |= 1 << nibble;
    }

    fn pair(prefix: Nibbles, mut a: (u8, Node), mut b: (u8, Node)) -> Node {
        if a.0 > b.0 {
            std::mem::swap(&mut a, &mut b);
        }
        Node::Branch {
            reference: Reference::default(),
            branch: Arc::new(Self { mask: 1 << a.0 | 1 << b.0, prefix: boxed(prefix), children: Box::new([a.1, b.1]) }),
        }
    }
}

impl Node {
    /// Puts `new`, a leaf with the path `path`, below this node, which `depth` nibbles lead to.
    fn insert(&mut self, path: &Nibbles, depth: usize, new: Leaf) {
        match self {
            Self::Leaf(old) if old.key == new.key => *old = new,
            Self::Leaf(old) => {
                let old_path = Nibbles::unpack_array(&old.key.0);
                let shared = old_path.slice(depth..).common_prefix_length(&path.slice(depth..));
                let fork = depth + shared;
                let old = Leaf { reference: Reference::default(), ..old.clone() };
                let old = (nibble_at(&old_path, fork), Self::Leaf(old));
                *self = Branch::pair(path.slice(depth..fork), old, (nibble_at(path, fork), Self::Leaf(new)));
            }
            Self::Branch { reference, branch: shared_branch } => {
                *reference = Reference::default();
                let common = shared_branch.common_prefix(path, depth);
                let branch = Arc::make_mut(shared_branch);
                let fork = depth + common;
                let nibble = nibble_at(path, fork);
                if common < branch.prefix_len() {
                    let prefix = branch.prefix.take().map(|prefix| *prefix).unwrap_or_default();
                    branch.prefix = boxed(prefix.slice(common + 1..));
                    let old = (nibble_at(&prefix, common), self.clone());
                    *self = Branch::pair(prefix.slice(..common), old, (nibble, Self::Leaf(new)));
                } else if let Some(index) = branch.child_index(nibble) {
                    branch.children[index].insert(path, fork + 1, new);
                } else {
                    branch.add_child(nibble, Self::Leaf(new));
                }
            }
        }
    }

    /// This node without the leaf at `path`, which is below it.
    fn without(self, path: &Nibbles, depth: usize) -> Option<Self> {
        let Self::Branch { branch: mut shared, .. } = self else { return None };
        let branch = Arc::make_mut(&mut shared);
        let fork = depth + branch.prefix_len();
        let nibble = nibble_at(path, fork);
        let index = branch.child_index(nibble).expect("the leaf to remove was found before");
        let mut children = std::mem::take(&mut branch.children).into_vec();
        match children.remove(index).without(path, fork + 1) {
            Some(child) => children.insert(index, child),
            None => branch.mask &= !(1 << nibble),
        }
        if children.len() == 1 {
            let only = children.pop().expect("there is one");
            let nibble = branch.mask.trailing_zeros() as u8;
            return Some(only.lifted(branch.prefix.take().as_deref(), nibble));
        }
        branch.children = children.into_boxed_slice();
        Some(Self::Branch { reference: Reference::default(), branch: shared })
    }

    /// This node in the place of its parent, a branch at the end of `prefix` that held it at `nibble`.
    fn lifted(mut self, prefix: Option<&Nibbles>, nibble: u8) -> Self {
        match &mut self {
            Self::Leaf(leaf) => leaf.reference = Reference::default(),
            Self::Branch { reference, branch } => {
                *reference = Reference::default();
                let branch = Arc::make_mut(branch);
                let mut path = prefix.copied().unwrap_or_default();
                path.push(nibble);
                if let Some(below) = &branch.prefix {
                    path.extend(below);
                }
                branch.prefix = boxed(path);
            }
        }
        self
    }
}

fn boxed(prefix: Nibbles) -> Option<Box<Nibbles>> {
    (!prefix.is_empty()).then(|| Box::new(prefix))
}

/// Keys have 64 nibbles and no two are equal, so that a fork always lies inside them.
fn nibble_at(path: &Nibbles, at: usize) -> u8 {
    path.get(at).expect("a fork lies inside the key")
}
