//! By what this node judges who sends a request: what is committed, and its clock.

use std::sync::Arc;

use coco_rpc::authentication::{Authenticator, Facts};

use crate::handle::Shared;

pub fn authenticator(shared: &Shared) -> Arc<Authenticator> {
    let (visible, clock) = (shared.visible.clone(), shared.clock.clone());
    Authenticator::new(move || {
        // Read before the state: what it leads to is at least as new.
        let actors_version = visible.actors_version();
        Facts { state: visible.state(), actors_version, now_s: clock() / 1000 }
    })
}
