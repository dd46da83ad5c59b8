//! Who is told what the network knows of its members and participants: by default everybody, as with CCF. Members may narrow it by vote.
//!
//! This is about what nodes tell. The rows themselves are in the ledger files in clear, so that an audit needs no keys: whoever runs a node, or is given its
//! files, reads them. Bindings of ledgers' identities are the exception: sealed, and by default told to nobody else.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tables::{self, Read};

/// What the disclosure gate is asked about, beside data of ledgers: its subjects are of this ledger.
pub const GOVERNANCE: &str = "governance";
/// Kinds of subjects, named by the member's or participant's id, or by the proposal's.
pub const MEMBER_CERTIFICATE: &str = "member certificate";
pub const MEMBER_ENCRYPTION_KEY: &str = "member encryption key";
pub const MEMBER_DATA: &str = "member data";
pub const PARTICIPANT: &str = "participant";
/// A proposal's text and ballots, which may hold any of the others.
pub const PROPOSAL: &str = "proposal";

/// Who is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Whom it is about.
    Themselves,
    /// And all members.
    Members,
    /// And whoever proves to be anybody that the network knows.
    Callers,
    Everyone,
}

/// The row of the action `set_identity_disclosure`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityDisclosure {
    pub member_certificates: Audience,
    pub member_encryption_keys: Audience,
    pub member_data: Audience,
    /// That they are participants at all, their certificates and data.
    pub participants: Audience,
    pub proposals: Audience,
    /// Which identities inside ledgers are bound to somebody.
    pub bindings: Audience,
}

impl Default for IdentityDisclosure {
    fn default() -> Self {
        Self { bindings: Audience::Themselves, ..Self::all(Audience::Everyone) }
    }
}

impl IdentityDisclosure {
    /// What the members decided. A row that cannot be read says that something is to be kept: nothing is told.
    pub fn read(state: &mut dyn Read) -> Self {
        let row: Result<Option<Self>, Error> = tables::read(state, &tables::IDENTITY_DISCLOSURE, &tables::SINGLETON);
        row.map_or(Self::all(Audience::Themselves), Option::unwrap_or_default)
    }

    /// For a kind of subject; what has no setting is for everyone.
    pub fn audience(&self, kind: &str) -> Audience {
        match kind {
            MEMBER_CERTIFICATE => self.member_certificates,
            MEMBER_ENCRYPTION_KEY => self.member_encryption_keys,
            MEMBER_DATA => self.member_data,
            PARTICIPANT => self.participants,
            PROPOSAL => self.proposals,
            _ => Audience::Everyone,
        }
    }

    fn all(audience: Audience) -> Self {
        Self {
            member_certificates: audience,
            member_encryption_keys: audience,
            member_data: audience,
            participants: audience,
            proposals: audience,
            bindings: audience,
        }
    }
}

#[cfg(test)]
mod tests {
    use coco_kv::Store;
    use serde_json::json;

    use super::*;

    #[test]
    fn all_but_bindings_is_told_to_everyone_until_a_vote_and_nothing_by_a_row_that_is_unreadable() {
        let mut tx = Store::new().begin();
        let founded = IdentityDisclosure::read(&mut tx);
        assert_eq!((founded.participants, founded.bindings), (Audience::Everyone, Audience::Themselves));
        let map = &tables::IDENTITY_DISCLOSURE;
        tables::write(&mut tx, map, &tables::SINGLETON, &json!({ "participants": "members" }));
        let voted = IdentityDisclosure::read(&mut tx);
        assert_eq!((voted.audience(PARTICIPANT), voted.audience(MEMBER_DATA)), (Audience::Members, Audience::Everyone));
        tables::write(&mut tx, map, &tables::SINGLETON, &json!({ "participants": "nobody" }));
        assert_eq!(IdentityDisclosure::read(&mut tx), IdentityDisclosure::all(Audience::Themselves));
    }
}
