//! The ledger protocols that this binary hosts: the one place that names them. To add one: a line in [`hosted`].

use std::sync::Arc;

use coco_protocol::Protocol;

/// Fresh objects, one for each protocol.
pub fn hosted() -> Vec<Arc<dyn Protocol>> {
    vec![Arc::new(coco_records::Records)]
}
