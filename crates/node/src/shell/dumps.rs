//! A node's memory is not written to disk by its system, nor read by other processes of its user.
//!
//! In a TEE the hardware sees to that. Where there is none, or where a guest's own system would write the dump, this is what a process can do itself.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core dumps, by limit and by attribute: a helper that the system pipes dumps to ignores the limit.
pub fn forbid() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be switched off: forbid them on this machine");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other processes of this user can read this one's memory");
    }
}
