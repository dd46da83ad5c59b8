//! What another node may ask for, by what the committed ledger says of it.
//!
//! The service's endorsement of a certificate cannot be taken back: whoever was retired still has one, and the keys of a machine that was voted out may be
//! in anybody's hands. A node that was retired is told that it was. One whose row has not come yet was admitted more recently than this node has heard:
//! it fetches what it needs to catch up, and nothing else. Consensus judges messages by its own configuration, in which a replica may still be that is on
//! its way out.

use std::collections::BTreeMap;

use coco_governance::{NodeRow, NodeStatus};
use coco_rpc::channel::Hello;
use coco_types::{NodeId, ReplicaId};
use parking_lot::Mutex;

use crate::wire::kind;

/// Each replica's node, and how it stands.
pub type Places = BTreeMap<ReplicaId, (NodeId, NodeStatus)>;

/// Which node is at the end of each replica's channel.
#[derive(Default)]
pub struct Entitlement {
    connected: Mutex<BTreeMap<ReplicaId, NodeId>>,
}

impl Entitlement {
    /// A node that governance knows must be the replica that it says, and nobody else may say so. One that it does not know yet is let in.
    pub fn admits(&self, places: &Places, node: NodeId, hello: Hello) -> bool {
        let other = |(replica, (known, _)): (&ReplicaId, &(NodeId, NodeStatus))| {
            (*replica == hello.replica) != (*known == node)
        };
        if places.iter().any(other) {
            return false;
        }
        self.connected.lock().insert(hello.replica, node);
        true
    }

    /// Whether the node at this replica's channel is answered.
    pub fn may_ask(&self, places: &Places, from: ReplicaId, kind: u16) -> bool {
        let status = match places.get(&from) {
            // Its row came after the channel was there.
            Some((node, _)) if self.connected.lock().get(&from) != Some(node) => return false,
            Some((_, status)) => Some(*status),
            None => None,
        };
        match status {
            Some(NodeStatus::Trusted) => true,
            Some(NodeStatus::Retired) => matches!(kind, kind::MEMBERSHIP | kind::RETURNING),
            Some(NodeStatus::Pending) | None => matches!(kind, kind::MEMBERSHIP | kind::RETURNING | kind::PIECE),
        }
    }
}

pub fn places(nodes: &[NodeRow]) -> Places {
    nodes.iter().map(|node| (node.info.replica, (node.id, node.info.status))).collect()
}

#[cfg(test)]
mod tests {
    use coco_types::Digest;

    use super::*;

    const KINDS: [u16; 15] = [
        kind::SUBMIT,
        kind::ASK,
        kind::READ_INDEX,
        kind::JOIN,
        kind::GOVERN,
        kind::PIECE,
        kind::RETURNING,
        kind::STOP,
        kind::RELAY,
        kind::RENEW,
        kind::COLLATERAL,
        kind::MEMBERSHIP,
        kind::ENTRUST,
        kind::CLAIM,
        kind::BIND,
    ];

    fn node(byte: u8) -> NodeId {
        NodeId(Digest([byte; 32]))
    }

    fn hello(replica: u64) -> Hello {
        Hello { replica: ReplicaId(replica), node: 0 }
    }

    fn places(rows: &[(u64, u8, NodeStatus)]) -> Places {
        rows.iter().map(|(replica, id, status)| (ReplicaId(*replica), (node(*id), *status))).collect()
    }

    fn asked_for(entitlement: &Entitlement, places: &Places, from: u64) -> Vec<u16> {
        KINDS.into_iter().filter(|kind| entitlement.may_ask(places, ReplicaId(from), *kind)).collect()
    }

    #[test]
    fn a_node_that_was_voted_out_is_told_so_and_nothing_else() {
        let entitlement = Entitlement::default();
        let before = places(&[(1, 1, NodeStatus::Trusted), (2, 2, NodeStatus::Trusted)]);
        for replica in [1, 2] {
            assert!(entitlement.admits(&before, node(replica as u8), hello(replica)));
        }
        assert_eq!(asked_for(&entitlement, &before, 2), KINDS);
        let after = places(&[(1, 1, NodeStatus::Trusted), (2, 2, NodeStatus::Retired)]);
        assert_eq!(asked_for(&entitlement, &after, 2), [kind::RETURNING, kind::MEMBERSHIP]);
        assert_eq!(asked_for(&entitlement, &after, 1), KINDS);
    }

    #[test]
    fn a_node_whose_row_has_not_come_yet_fetches_what_it_lacks_and_submits_nothing() {
        let entitlement = Entitlement::default();
        let before = places(&[(1, 1, NodeStatus::Trusted)]);
        assert!(entitlement.admits(&before, node(4), hello(4)));
        assert_eq!(asked_for(&entitlement, &before, 4), [kind::PIECE, kind::RETURNING, kind::MEMBERSHIP]);
        let after = places(&[(1, 1, NodeStatus::Trusted), (4, 4, NodeStatus::Trusted)]);
        assert_eq!(asked_for(&entitlement, &after, 4), KINDS);
    }

    #[test]
    fn nobody_speaks_for_another_replica() {
        let entitlement = Entitlement::default();
        let known = places(&[(1, 1, NodeStatus::Trusted), (2, 2, NodeStatus::Retired)]);
        for (id, replica) in [(2, 1), (9, 1), (1, 2), (2, 7)] {
            assert!(!entitlement.admits(&known, node(id), hello(replica)), "{id} as {replica}");
        }
        // A stranger took the number of one that was about to come.
        assert!(entitlement.admits(&known, node(9), hello(4)));
        let after = places(&[(1, 1, NodeStatus::Trusted), (4, 4, NodeStatus::Trusted)]);
        assert!(asked_for(&entitlement, &after, 4).is_empty());
    }
}
