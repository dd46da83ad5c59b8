//! The disclosure gate of a node: who is told of whom, as the members have voted; within ledgers, everybody is told everything that the ledger does
//! not itself keep for somebody.

use std::sync::Arc;

use coco_governance::disclosure::{Audience, GOVERNANCE};
use coco_protocol::{Caller, Gate, Subject, bindings};

use crate::front::Visible;

/// See the module's text.
pub struct VotedGate {
    pub visible: Arc<Visible>,
}

impl Gate for VotedGate {
    fn permits(&self, caller: &Caller, subject: &Subject<'_>) -> bool {
        let disclosure = self.visible.disclosure();
        let audience = match (subject.ledger, subject.kind) {
            (_, bindings::SUBJECT_KIND) => disclosure.bindings,
            (GOVERNANCE, kind) => disclosure.audience(kind),
            _ => return true,
        };
        let is_party = |identity| subject.parties.contains(&bindings::principal_digest(identity).as_bytes().as_slice());
        match audience {
            Audience::Everyone => true,
            Audience::Callers if caller.principal().is_some() => true,
            Audience::Members | Audience::Callers if caller.is_member() => true,
            Audience::Members | Audience::Callers | Audience::Themselves => caller.identities().iter().any(is_party),
        }
    }
}

#[cfg(test)]
mod tests {
    use coco_governance::disclosure::{MEMBER_DATA, PARTICIPANT};
    use coco_governance::tables::{IDENTITY_DISCLOSURE, SINGLETON};
    use coco_kv::Store;
    use coco_protocol::Identity;
    use coco_types::{Seqno, TxId, View};

    use super::*;

    #[test]
    fn who_is_told_of_whom_is_what_the_members_have_voted() {
        let named = |identity: Identity| Caller::Identified(vec![identity]);
        let callers = [
            Caller::Anonymous,
            named(Identity::Token { issuer: "i".into(), subject: "s".into() }),
            named(Identity::Member("m".into())),
            named(Identity::Participant("p".into())),
        ];
        let party = bindings::principal_digest(&Identity::Participant("p".into()));
        let parties = [party.as_bytes().as_slice()];
        let told = |row: &str, kind| {
            let store = Store::new();
            let mut tx = store.begin();
            tx.put(&IDENTITY_DISCLOSURE, SINGLETON.to_vec(), row.as_bytes().to_vec());
            store.apply(Seqno(1), tx.writes()).unwrap();
            store.commit(Seqno(1));
            let gate = VotedGate { visible: Arc::new(Visible::new(TxId::new(View(1), Seqno(1)), &store)) };
            let subject = Subject { ledger: GOVERNANCE, kind, name: b"p", parties: &parties };
            callers.each_ref().map(|caller| gate.permits(caller, &subject))
        };
        for (audience, expected) in [
            ("everyone", [true, true, true, true]),
            ("callers", [false, true, true, true]),
            ("members", [false, false, true, true]),
            ("themselves", [false, false, false, true]),
        ] {
            assert_eq!(told(&format!(r#"{{"participants": "{audience}"}}"#), PARTICIPANT), expected, "{audience}");
            assert_eq!(told(&format!(r#"{{"participants": "{audience}"}}"#), MEMBER_DATA), [true; 4]);
            let bound = told(&format!(r#"{{"bindings": "{audience}"}}"#), bindings::SUBJECT_KIND);
            assert_eq!(bound, expected, "bindings: {audience}");
        }
        assert_eq!(told("{}", bindings::SUBJECT_KIND), [false, false, false, true]);
        assert_eq!(told("unreadable", MEMBER_DATA), [false, false, false, true]);
    }
}
