//! The Merkle tree over all ledger transactions, on disk so that any past transaction's path takes O(log n) reads.
//!
//! Leaf index = seqno; leaf 0 is 32 zero bytes. Inner node = SHA-256(left || right); at an odd level the last node moves up
//! unchanged, so the root of n leaves folds the roots of the complete subtrees ("peaks") that n's binary digits name.
//!
//! One file, `merkle`, holds the *complete* nodes, 32 bytes each, in the order in which they become complete: each leaf,
//! then the inner nodes that it completes. So the file only grows by appending, and rolling back cuts it.
//!
//! ```text
//! n = 5:        3-4 peaks: 6 and 7             position in the file
//!         6                                    of leaf i:                2i - ones(i)
//!       2   5                                  of (level h, index k):    position of leaf (k+1)·2^h - 1, plus h
//!      0 1 3 4  7                              nodes of n leaves:        2n - ones(n)
//! ```
//!
//! The file is derived from the chunks: it is synced when a chunk is completed and rebuilt from the entries after that.
//! A node of zero bytes (other than leaf 0) is a hole: a ledger that began at a snapshot knows only the peaks before it.

use std::io;
use std::sync::Arc;

use coco_crypto::sha256_of;
use coco_disk::Disk;
use coco_types::Digest;
use parking_lot::RwLock;

use crate::Error;
use crate::error::disk_error;

pub(crate) const FILE: &str = "merkle.ignored";
const NODE_BYTES: u64 = 32;
/// Far beyond any ledger, and small enough that positions in bytes do not overflow.
const LEAVES_MAX: u64 = 1 << 56;

/// One step from a leaf to the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathElement {
    /// The sibling is on the left.
    pub left: bool,
    pub hash: Digest,
}

/// The root that a leaf and a path give.
pub fn fold_path(leaf: Digest, path: &[PathElement]) -> Digest {
    path.iter().fold(
        leaf,
        |node, element| {
            if element.left { parent(&element.hash, &node) } else { parent(&node, &element.hash) }
        },
    )
}

/// The tree's complete subtrees: all that is needed to append and to know the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frontier {
    leaves: u64,
    /// Roots of the complete subtrees, largest first; one for each binary digit 1 of `leaves`.
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The tree before the first transaction: leaf 0 alone.
    pub fn new() -> Self {
        Self { leaves: 1, peaks: vec![Digest::ZERO] }
    }

    /// Leaf 0 included: the next leaf is that of this seqno.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    pub fn append(&mut self, leaf: Digest) {
        self.append_with(leaf, |_| ());
    }

    pub fn root(&self) -> Digest {
        fold_peaks(&self.peaks).expect("a tree has at least leaf 0")
    }

    /// The number of leaves as u64, little-endian, then the peaks, largest first.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.leaves.to_le_bytes().to_vec();
        self.peaks.iter().for_each(|peak| bytes.extend_from_slice(peak.as_bytes()));
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (leaves, rest) = bytes.split_first_chunk::<8>().ok_or(Error::MalformedFrontier)?;
        let leaves = u64::from_le_bytes(*leaves);
        let (peaks, []) = rest.as_chunks::<32>() else { return Err(Error::MalformedFrontier) };
        if !(1..=LEAVES_MAX).contains(&leaves) || peaks.len() != leaves.count_ones() as usize {
            return Err(Error::MalformedFrontier);
        }
        Ok(Self { leaves, peaks: peaks.iter().map(|peak| Digest(*peak)).collect() })
    }

    /// Appends, and shows each node that becomes complete, the leaf first.
    pub fn append_with(&mut self, leaf: Digest, mut completed: impl FnMut(&Digest)) {
        completed(&leaf);
        let mut node = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            let left = self.peaks.pop().expect("a peak for each binary digit 1 of the number of leaves");
            node = parent(&left, &node);
            completed(&node);
        }
        self.peaks.push(node);
        self.leaves += 1;
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

/// The tree with its file. One writer; [`MerkleTree::reader`] gives handles for other threads.
pub struct MerkleTree {
    frontier: Frontier,
    /// Complete nodes not yet written.
    unsaved: Vec<u8>,
    reader: MerkleReader,
}

impl MerkleTree {
    /// An empty tree; an old file is cut to nothing.
    pub fn create(disk: Arc<dyn Disk>) -> Result<Self, Error> {
        if disk.exists(FILE).map_err(disk_error(FILE))? {
            disk.truncate(FILE, 0).map_err(disk_error(FILE))?;
        }
        let unsaved = Digest::ZERO.0.to_vec();
        Ok(Self { frontier: Frontier::new(), unsaved, reader: MerkleReader::new(disk, 0) })
    }

    /// The tree as its file holds it, cut to `leaves`; `None` if the file holds fewer, or not the peaks.
    pub fn open(disk: Arc<dyn Disk>, leaves: u64) -> Result<Option<Self>, Error> {
        let needed = nodes_of(leaves) * NODE_BYTES;
        match disk.len(FILE) {
            Ok(len) if len >= needed && leaves > 0 => (),
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk_error(FILE)(error)),
        }
        let reader = MerkleReader::new(disk, leaves);
        let peaks = peaks_of(leaves).map(|(level, index)| reader.node(level, index)).collect::<Result<Vec<_>, _>>();
        let peaks = match peaks {
            Ok(peaks) => peaks,
            Err(Error::MissingTreeNode { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        reader.disk.truncate(FILE, needed).map_err(disk_error(FILE))?;
        Ok(Some(Self { frontier: Frontier { leaves, peaks }, unsaved: Vec::new(), reader }))
    }

    /// A tree that continues from a snapshot's frontier. Paths of transactions before it are not available here.
    pub fn import(disk: Arc<dyn Disk>, frontier: Frontier) -> Result<Self, Error> {
        if disk.exists(FILE).map_err(disk_error(FILE))? {
            disk.truncate(FILE, 0).map_err(disk_error(FILE))?;
        }
        // The smallest peak is the last node of the file.
        for ((level, index), peak) in peaks_of(frontier.leaves).zip(&frontier.peaks) {
            let offset = position(level, index) * NODE_BYTES;
            disk.write(FILE, offset, peak.as_bytes()).map_err(disk_error(FILE))?;
        }
        let reader = MerkleReader::new(disk, frontier.leaves);
        Ok(Self { frontier, unsaved: Vec::new(), reader })
    }

    pub fn append(&mut self, leaf: Digest) {
        let unsaved = &mut self.unsaved;
        self.frontier.append_with(leaf, |node| unsaved.extend_from_slice(node.as_bytes()));
    }

    /// Whether this tree is that of `before` and one more leaf, as the file has it: nothing in it but that leaf can be wrong.
    pub(crate) fn is_continued_from(&self, before: &Frontier) -> bool {
        let mut after = before.clone();
        self.reader.node(0, before.leaves).is_ok_and(|leaf| {
            after.append(leaf);
            after == self.frontier
        })
    }

    /// Leaf 0 included: the next leaf is that of this seqno.
    pub fn leaves(&self) -> u64 {
        self.frontier.leaves
    }

    pub fn root(&self) -> Digest {
        self.frontier.root()
    }

    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Writes what was appended since the last time, so that readers see it. Once a batch; not synced.
    pub fn flush(&mut self) -> Result<(), Error> {
        if !self.unsaved.is_empty() {
            let saved = nodes_of(self.frontier.leaves) * NODE_BYTES - self.unsaved.len() as u64;
            self.reader.disk.write(FILE, saved, &self.unsaved).map_err(disk_error(FILE))?;
            self.unsaved.clear();
        }
        *self.reader.leaves.write() = self.frontier.leaves;
        Ok(())
    }

    /// Rolls back to the first `leaves` leaves. Does nothing if there are no more.
    pub fn truncate(&mut self, leaves: u64) -> Result<(), Error> {
        assert!(leaves > 0, "leaf 0 is never rolled back");
        if leaves >= self.frontier.leaves {
            return Ok(());
        }
        self.flush()?;
        let peaks = peaks_of(leaves).map(|(level, index)| self.reader.node(level, index));
        let peaks = peaks.collect::<Result<Vec<_>, _>>()?;
        *self.reader.leaves.write() = leaves;
        self.reader.disk.truncate(FILE, nodes_of(leaves) * NODE_BYTES).map_err(disk_error(FILE))?;
        self.frontier = Frontier { leaves, peaks };
        Ok(())
    }

    /// A handle for reading paths of flushed leaves, from any thread.
    pub fn reader(&self) -> MerkleReader {
        self.reader.clone()
    }
}

/// Reads paths while one writer appends.
#[derive(Clone)]
pub struct MerkleReader {
    disk: Arc<dyn Disk>,
    /// Flushed leaves. Held for reading while nodes are read, so that a rollback cannot cut them away meanwhile.
    leaves: Arc<RwLock<u64>>,
}

impl MerkleReader {
    fn new(disk: Arc<dyn Disk>, leaves: u64) -> Self {
        Self { disk, leaves: Arc::new(RwLock::new(leaves)) }
    }

    /// The path from the leaf at `index` to the root of the first `leaves` leaves.
    pub fn path(&self, index: u64, leaves: u64) -> Result<Vec<PathElement>, Error> {
        let flushed = self.leaves.read();
        if index >= leaves || leaves > *flushed {
            return Err(Error::MissingTreeNode { level: 0, index });
        }
        let mut path = Vec::new();
        let (mut level, mut index, mut width) = (0, index, leaves);
        while width > 1 {
            let sibling = index ^ 1;
            if sibling < width {
                path.push(PathElement { left: sibling < index, hash: self.subtree(level, sibling, leaves)? });
            }
            (level, index, width) = (level + 1, index >> 1, width.div_ceil(2));
        }
        Ok(path)
    }

    /// The root of the first `leaves` leaves.
    pub fn root(&self, leaves: u64) -> Result<Digest, Error> {
        let flushed = self.leaves.read();
        if leaves == 0 || leaves > *flushed {
            return Err(Error::MissingTreeNode { level: 0, index: leaves });
        }
        self.fold_from(0, leaves)
    }

    /// What the first `leaves` leaves leave to continue from.
    pub fn frontier(&self, leaves: u64) -> Result<Frontier, Error> {
        let flushed = self.leaves.read();
        if leaves == 0 || leaves > *flushed {
            return Err(Error::MissingTreeNode { level: 0, index: leaves });
        }
        let peaks = peaks_of(leaves).map(|(level, index)| self.node(level, index)).collect::<Result<_, _>>()?;
        Ok(Frontier { leaves, peaks })
    }

    /// Puts right what the file has for nodes that are known from the entries: those that the leaves from `first` on complete, 32 bytes each. Whether
    /// any was wrong. Nodes beyond what was flushed are left alone.
    pub fn mend(&self, first: u64, nodes: &[u8]) -> Result<bool, Error> {
        self.mend_at(nodes_of(first) * NODE_BYTES, nodes)
    }

    /// The same for the roots of the complete subtrees, which later nodes are made of.
    pub fn mend_peaks(&self, frontier: &Frontier) -> Result<bool, Error> {
        let mut any_wrong = false;
        for ((level, index), peak) in peaks_of(frontier.leaves).zip(&frontier.peaks) {
            any_wrong |= self.mend_at(position(level, index) * NODE_BYTES, peak.as_bytes())?;
        }
        Ok(any_wrong)
    }

    fn mend_at(&self, offset: u64, nodes: &[u8]) -> Result<bool, Error> {
        let flushed = self.leaves.read();
        let room = (nodes_of(*flushed) * NODE_BYTES).saturating_sub(offset);
        let nodes = &nodes[..nodes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let found = self.disk.read(FILE, offset, nodes.len()).map_err(disk_error(FILE))?;
        let is_wrong = found != nodes;
        if is_wrong {
            self.disk.write(FILE, offset, nodes).map_err(disk_error(FILE))?;
        }
        Ok(is_wrong)
    }

    /// The node at `level` that covers leaf `index << level` in a tree of `leaves`; incomplete at its right edge.
    fn subtree(&self, level: u32, index: u64, leaves: u64) -> Result<Digest, Error> {
        if (index + 1) << level <= leaves { self.node(level, index) } else { self.fold_from(index << level, leaves) }
    }

    /// Folds the peaks of a tree of `leaves` that begin at leaf `first` or after it.
    fn fold_from(&self, first: u64, leaves: u64) -> Result<Digest, Error> {
        let peaks = peaks_of(leaves).filter(|(level, index)| index << level >= first);
        let peaks = peaks.map(|(level, index)| self.node(level, index)).collect::<Result<Vec<_>, _>>()?;
        fold_peaks(&peaks).ok_or(Error::MissingTreeNode { level: 0, index: first })
    }

    fn node(&self, level: u32, index: u64) -> Result<Digest, Error> {
        let offset = position(level, index) * NODE_BYTES;
        let bytes = self.disk.read(FILE, offset, NODE_BYTES as usize).map_err(disk_error(FILE))?;
        let node = Digest::try_from(bytes.as_slice()).map_err(|_| Error::MissingTreeNode { level, index })?;
        let hole = node == Digest::ZERO && (level, index) != (0, 0);
        if hole { Err(Error::MissingTreeNode { level, index }) } else { Ok(node) }
    }
}

/// Writes complete nodes where the tree's file has room for them: those of leaves before a snapshot, from leaf `before` on. Leaf 0
/// is known to everybody.
pub(crate) fn write_nodes(disk: &dyn Disk, before: u64, nodes: &[u8]) -> Result<(), Error> {
    let write = |offset, bytes| disk.write(FILE, offset, bytes).map_err(disk_error(FILE));
    write(0, Digest::ZERO.as_bytes())?;
    write(nodes_of(before) * NODE_BYTES, nodes)
}

fn parent(left: &Digest, right: &Digest) -> Digest {
    sha256_of(&[left.as_bytes(), right.as_bytes()])
}

fn fold_peaks(peaks: &[Digest]) -> Option<Digest> {
    peaks.iter().rev().copied().reduce(|right, left| parent(&left, &right))
}

/// Level and index of each complete subtree of a tree of `leaves`, largest first.
fn peaks_of(leaves: u64) -> impl Iterator<Item = (u32, u64)> {
    let levels = (0..u64::BITS).rev().filter(move |level| leaves >> level & 1 == 1);
    // The leaves before a peak are those of the higher binary digits.
    levels.map(move |level| (level, (leaves >> level) - 1))
}

fn position(level: u32, index: u64) -> u64 {
    let last_leaf = ((index + 1) << level) - 1;
    2 * last_leaf - u64::from(last_leaf.count_ones()) + u64::from(level)
}

fn nodes_of(leaves: u64) -> u64 {
    2 * leaves - u64::from(leaves.count_ones())
}

#[cfg(test)]
mod tests {
    use coco_crypto::sha256;
    use coco_disk::MemoryDisk;

    use super::*;

    const SIZE_MAX: u64 = 300;

    fn leaf(index: u64) -> Digest {
        if index == 0 { Digest::ZERO } else { sha256(&index.to_le_bytes()) }
    }

    fn tree(leaves: u64) -> MerkleTree {
        let mut tree = MerkleTree::create(Arc::new(MemoryDisk::new())).unwrap();
        (1..leaves).for_each(|index| tree.append(leaf(index)));
        tree.flush().unwrap();
        tree
    }

    /// The definition, level by level: pairs are hashed, an odd last node moves up.
    fn plain_root(leaves: u64) -> Digest {
        let mut level: Vec<Digest> = (0..leaves).map(leaf).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| pair.get(1).map_or(pair[0], |right| parent(&pair[0], right))).collect();
        }
        level[0]
    }

    #[test]
    fn the_root_is_that_of_the_definition_for_every_small_size() {
        let mut frontier = Frontier::new();
        let reader = tree(SIZE_MAX).reader();
        for leaves in 1..=SIZE_MAX {
            assert_eq!(frontier.root(), plain_root(leaves), "{leaves} leaves");
            assert_eq!(reader.root(leaves).unwrap(), plain_root(leaves), "{leaves} leaves");
            frontier.append(leaf(leaves));
        }
    }

    #[test]
    fn every_path_in_every_small_tree_folds_to_the_root() {
        let reader = tree(70).reader();
        for leaves in 1..=70 {
            let root = plain_root(leaves);
            for index in 0..leaves {
                let path = reader.path(index, leaves).unwrap();
                assert_eq!(fold_path(leaf(index), &path), root, "leaf {index} of {leaves}");
            }
            assert!(reader.path(leaves, leaves).is_err());
        }
        assert!(reader.path(0, 71).is_err());
    }

    #[test]
    fn a_truncated_tree_continues_as_if_the_rest_had_never_been() {
        for keep in 1..40 {
            let mut shortened = tree(40);
            shortened.truncate(keep).unwrap();
            assert_eq!(shortened.root(), plain_root(keep));
            (keep..40).for_each(|index| shortened.append(leaf(index)));
            shortened.flush().unwrap();
            assert_eq!(shortened.root(), plain_root(40));
            assert_eq!(fold_path(leaf(0), &shortened.reader().path(0, 40).unwrap()), plain_root(40));
        }
    }

    #[test]
    fn an_unflushed_tail_is_truncated_too() {
        let mut tree = tree(10);
        tree.append(leaf(10));
        tree.append(leaf(11));
        tree.truncate(11).unwrap();
        assert_eq!(tree.root(), plain_root(11));
    }

    #[test]
    fn a_tree_reopens_at_any_size_its_file_holds_and_at_no_other() {
        let disk = tree(40).reader.disk;
        assert!(MerkleTree::open(Arc::clone(&disk), 41).unwrap().is_none());
        for leaves in (1..=40).rev() {
            let reopened = MerkleTree::open(Arc::clone(&disk), leaves).unwrap().unwrap();
            assert_eq!(reopened.root(), plain_root(leaves));
        }
        assert!(MerkleTree::open(Arc::new(MemoryDisk::new()), 1).unwrap().is_none());
    }

    #[test]
    fn an_imported_frontier_continues_the_tree_but_has_no_paths_before_it() {
        for leaves in 1..40 {
            let frontier = Frontier::decode(&tree(leaves).frontier().encode()).unwrap();
            let mut imported = MerkleTree::import(Arc::new(MemoryDisk::new()), frontier).unwrap();
            (leaves..50).for_each(|index| imported.append(leaf(index)));
            imported.flush().unwrap();
            assert_eq!(imported.root(), plain_root(50));
            let reader = imported.reader();
            for index in leaves..50 {
                assert_eq!(fold_path(leaf(index), &reader.path(index, 50).unwrap()), plain_root(50));
            }
            if leaves > 2 {
                assert!(matches!(reader.path(0, 50), Err(Error::MissingTreeNode { .. })));
            }
        }
    }

    #[test]
    fn a_node_that_the_disk_turned_over_is_put_right_from_the_leaves() {
        const LEAVES: u64 = 40;
        let reader = tree(LEAVES).reader();
        for wrong in 0..nodes_of(LEAVES) {
            let kept = reader.disk.read(FILE, wrong * NODE_BYTES, 32).unwrap();
            reader.disk.write(FILE, wrong * NODE_BYTES, &[0xee; 32]).unwrap();
            let (mut frontier, mut mended) = (Frontier::new(), reader.mend_peaks(&Frontier::new()).unwrap());
            for first in 1..LEAVES {
                let mut nodes = Vec::new();
                frontier.append_with(leaf(first), |node| nodes.extend_from_slice(node.as_bytes()));
                mended |= reader.mend(first, &nodes).unwrap();
            }
            assert!(mended, "node {wrong}");
            assert_eq!(reader.disk.read(FILE, wrong * NODE_BYTES, 32).unwrap(), kept, "node {wrong}");
        }
        let mut beyond = Vec::new();
        tree(LEAVES).frontier.append_with(leaf(LEAVES), |node| beyond.extend_from_slice(node.as_bytes()));
        assert!(!reader.mend(LEAVES, &beyond).unwrap());
        assert_eq!(reader.disk.len(FILE).unwrap(), nodes_of(LEAVES) * NODE_BYTES);
    }

    #[test]
    fn a_malformed_frontier_is_refused() {
        let bytes = tree(7).frontier().encode();
        assert!(Frontier::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Frontier::decode(&bytes[..bytes.len() - 32]).is_err());
        assert!(Frontier::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert!(Frontier::decode(&[0; 8]).is_err());
        assert!(Frontier::decode(&[]).is_err());
    }
}
