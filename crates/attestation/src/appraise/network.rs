//! Rules about nodes together: diversity, and one node a machine.

use super::{Judge, Peer, Reason};
use crate::claims::Claims;
use crate::policy::{HardwareRule, NetworkPolicy};

impl Judge {
    pub(super) fn network(&mut self, claims: &Claims, policy: &NetworkPolicy, peers: &[Peer]) {
        let kind = claims.kind;
        let count = |same: &dyn Fn(&Peer) -> bool| {
            u32::try_from(peers.iter().filter(|peer| same(peer)).count()).unwrap_or(u32::MAX).saturating_add(1)
        };
        if let Some(limit) = policy.max_per_kind {
            let count = count(&|peer| peer.kind == kind);
            let words = format!("{count} of at most {limit} nodes are {kind}");
            self.check(count <= limit, words, || Reason::TooManyOfKind { kind, count, limit });
        }
        if let Some(limit) = policy.max_per_vendor {
            let vendor = kind.vendor();
            let count = count(&|peer| peer.kind.vendor() == vendor);
            let words = format!("{count} of at most {limit} nodes trust {vendor}");
            self.check(count <= limit, words, || Reason::TooManyOfVendor { vendor, count, limit });
        }
        match &claims.hardware_id {
            Some(id) => self.hardware(id, policy, peers),
            None if policy.hardware != HardwareRule::Off => {
                let words = "the machine need not be known";
                self.check(policy.allow_unidentified_hardware, words, || Reason::HardwareUnidentified);
            }
            None => {}
        }
    }

    fn hardware(&mut self, id: &str, policy: &NetworkPolicy, peers: &[Peer]) {
        let denied = policy.denied_hardware.contains(id);
        self.check(!denied, format!("the machine {id} is not excluded"), || Reason::HardwareDenied(id.to_owned()));
        if policy.hardware == HardwareRule::Off {
            return;
        }
        let holder = peers.iter().find(|peer| peer.hardware_id.as_deref() == Some(id));
        match holder {
            Some(peer) => self.reasons.push(Reason::HardwareIdInUse { id: id.to_owned(), node: peer.node }),
            None => self.passed.push("no other node runs on this machine".to_owned()),
        }
        if policy.hardware == HardwareRule::Pinned {
            let listed = policy.allowed_hardware.contains(id);
            self.check(listed, "the machine is listed", || Reason::HardwareIdNotAllowed(id.to_owned()));
        }
    }
}
