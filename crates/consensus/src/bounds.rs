//! How large the numbers that others say may be.

use coco_types::View;

/// Above this the raft crate's arithmetic could overflow. Larger numbers are no accident.
pub(crate) const NUMBER_MAX: u64 = 1 << 60;

/// The seals of ledger entries have 31 bits for the view: nobody could lead a later one.
pub(crate) const VIEW_MAX: u64 = (1 << 31) - 1;

/// Each election adds one, and nobody misses as many. Whoever could lead the others to the last view in one step would end the network: no
/// election can follow it.
const VIEW_LEAP_MAX: u64 = 1 << 16;

/// Whether a replica whose view is `own` may be led to this one. A fresh replica (view 0) may be led to any that there is.
pub fn in_reach(own: View, view: View) -> bool {
    view.0 <= VIEW_MAX && (own.0 == 0 || view.0.saturating_sub(own.0) <= VIEW_LEAP_MAX)
}
