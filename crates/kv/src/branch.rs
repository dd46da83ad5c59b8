//! A run of neighbouring leaves.

use crate::heads::{HEADS, Heads};
use crate::leaf::{LEAF_ENTRIES_MAX, Leaf};
use crate::separator::Separator;

/// A fuller branch is split.
pub(crate) const BRANCH_LEAVES_MAX: usize = HEADS - 1;

/// Never without a leaf.
pub(crate) struct Branch {
    heads: Heads,
    /// The lower bound of each leaf; the first is the branch's.
    bounds: Vec<Separator>,
    leaves: Vec<Leaf>,
}

impl Branch {
    pub fn new(bounds: Vec<Separator>, leaves: Vec<Leaf>, upper: Option<&[u8]>) -> Self {
        let heads = Heads::new(bounds[0].as_bytes(), upper, bounds.iter().map(Separator::as_bytes));
        Self { heads, bounds, leaves }
    }

    /// Which leaf `key`, within the branch's bounds, belongs to.
    pub fn position(&self, key: &[u8]) -> usize {
        let candidates = self.heads.candidates(key);
        let from = candidates.start;
        let not_above = self.bounds[candidates].partition_point(|bound| bound.as_bytes() <= key);
        (from + not_above).checked_sub(1).expect("the key is not below the branch's bound")
    }

    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub fn leaf_mut(&mut self, at: usize) -> &mut Leaf {
        &mut self.leaves[at]
    }

    /// Splits a leaf, leaving this many entries in it. The branch must be split if it then holds more than [`BRANCH_LEAVES_MAX`].
    pub fn split_leaf(&mut self, at: usize, keep: usize, upper: Option<&[u8]>) {
        let lower = self.bounds[at].as_bytes();
        let upper = self.bounds.get(at + 1).map(Separator::as_bytes).or(upper);
        let (separator, right) = self.leaves[at].split(keep, lower, upper);
        self.heads.insert(at + 1, separator.as_bytes());
        self.bounds.insert(at + 1, separator);
        self.leaves.insert(at + 1, right);
    }

    /// Cuts the branch before leaf `at`; gives the right part with its lower bound.
    pub fn split(&mut self, at: usize, upper: Option<&[u8]>) -> (Separator, Self) {
        let bounds = self.bounds.split_off(at);
        let leaves = self.leaves.split_off(at);
        let separator = bounds[0].clone();
        self.heads = Heads::new(
            self.bounds[0].as_bytes(),
            Some(separator.as_bytes()),
            self.bounds.iter().map(Separator::as_bytes),
        );
        (separator, Self::new(bounds, leaves, upper))
    }

    /// Joins a leaf that has become small with a neighbour, if together they are small enough.
    pub fn join_leaf(&mut self, at: usize, upper: Option<&[u8]>) {
        let left = if at + 1 < self.leaves.len() { at } else { at.saturating_sub(1) };
        let Some(right_leaf) = self.leaves.get(left + 1) else { return };
        let (left_length, right_length) = (self.leaves[left].entries().len(), right_leaf.entries().len());
        // A half-full result does not split again at once; an empty leaf costs nothing to join.
        let empty = left_length == 0 || right_length == 0;
        let fits = if empty { LEAF_ENTRIES_MAX } else { LEAF_ENTRIES_MAX / 2 };
        if left_length + right_length > fits {
            return;
        }
        self.heads.remove(left + 1);
        self.bounds.remove(left + 1);
        let right_leaf = self.leaves.remove(left + 1);
        let lower = self.bounds[left].as_bytes();
        let upper = self.bounds.get(left + 1).map(Separator::as_bytes).or(upper);
        self.leaves[left].absorb(right_leaf, lower, upper);
    }

    /// Moves the branch's bounds outward.
    pub fn set_bounds(mut self, lower: Separator, upper: Option<&[u8]>) -> Self {
        self.bounds[0] = lower;
        for at in [0, self.leaves.len() - 1] {
            let upper = self.bounds.get(at + 1).map(Separator::as_bytes).or(upper);
            self.leaves[at].set_bounds(self.bounds[at].as_bytes(), upper);
        }
        Self::new(self.bounds, self.leaves, upper)
    }

    pub fn is_empty(&self) -> bool {
        self.leaves.iter().all(|leaf| leaf.entries().is_empty())
    }
}
