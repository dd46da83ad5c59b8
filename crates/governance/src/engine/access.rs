//! Which maps a script may touch, by what the script is for (CCF's `permissions_checks`).
//!
//! An application's private maps have names of their own in the store, so that none of them is another ledger's.

use coco_types::MapName;

/// What a script is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// `validate`, `resolve` and ballots: they look and decide.
    Read,
    /// `apply`: it changes governance, and nothing else.
    Apply,
    /// An endpoint of the members' application: it has maps of its own, and sees what governance has decided.
    Application { writes: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Access {
    pub read: bool,
    pub write: bool,
}

/// Rows that the ledger and the node's own machinery keep: a vote cannot make them say something else.
const KEPT_BY_NODES: &[&str] = &[
    "public:ccf.gov.coco.committed",
    "public:ccf.gov.coco.view",
    "public:ccf.gov.coco.last_replica",
    "public:ccf.gov.coco.network",
    "public:ccf.gov.coco.epochs",
    "public:ccf.gov.coco.recovery",
    "public:ccf.gov.coco.service_endorsements",
    "public:ccf.gov.coco.service_rotation_due",
    "public:ccf.gov.coco.service_rotations",
    "public:ccf.gov.service.previous_service_identity",
];

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "a read-only governance context",
            Self::Apply => "apply",
            Self::Application { writes: true } => "an application's endpoint",
            Self::Application { writes: false } => "a read-only endpoint",
        }
    }

    pub fn access(self, map: &str) -> Access {
        const NONE: Access = Access { read: false, write: false };
        let read = Access { read: true, write: false };
        let Some(name) = map.strip_prefix("public:") else {
            let is_own = !map.starts_with("ccf.gov.") && !map.starts_with("ccf.internal.");
            return self.in_own_maps().filter(|_| is_own).unwrap_or(NONE);
        };
        if name.starts_with("ccf.internal.") || KEPT_BY_NODES.contains(&map) {
            return read;
        }
        let governance = name.starts_with("ccf.gov.");
        // What nodes write there, of whatever ledger.
        let kept = name.starts_with("history:") || name.starts_with("published:");
        match (self, governance) {
            (Self::Read | Self::Application { .. }, true) => read,
            (Self::Application { .. }, false) if kept => NONE,
            (Self::Application { .. }, false) => self.in_own_maps().unwrap_or(NONE),
            (Self::Read, false) => NONE,
            (Self::Apply, true) => Access { read: true, write: true },
            (Self::Apply, false) if name.starts_with("history:") => NONE,
            (Self::Apply, false) => Access { read: false, write: true },
        }
    }

    /// What the store calls a map that [`Self::access`] allows.
    pub fn stored(self, map: &str) -> MapName {
        match self {
            Self::Application { .. } if !map.starts_with("public:") => MapName::new(format!("app.{map}")),
            _ => MapName::new(map),
        }
    }

    fn in_own_maps(self) -> Option<Access> {
        match self {
            Self::Application { writes } => Some(Access { read: true, write: writes }),
            Self::Read | Self::Apply => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_has_maps_of_its_own_and_sees_what_governance_has_decided() {
        let access = |writes: bool, map: &str| {
            let access = Role::Application { writes }.access(map);
            (access.read, access.write)
        };
        for (map, readwrite, readonly) in [
            ("public:ccf.internal.signatures", (true, false), (true, false)),
            ("public:ccf.gov.members.info", (true, false), (true, false)),
            ("public:accounts", (true, true), (true, false)),
            ("accounts", (true, true), (true, false)),
            ("ethereum.account", (true, true), (true, false)),
            ("public:history:blocks", (false, false), (false, false)),
            ("public:published:ethereum.account", (false, false), (false, false)),
            ("ccf.gov.secret", (false, false), (false, false)),
            ("ccf.internal.secret", (false, false), (false, false)),
        ] {
            assert_eq!((access(true, map), access(false, map)), (readwrite, readonly), "{map}");
        }
        let stored = |map| Role::Application { writes: true }.stored(map);
        assert_eq!(stored("ethereum.account"), MapName::new("app.ethereum.account"));
        assert_eq!(stored("public:accounts"), MapName::new("public:accounts"));
    }

    #[test]
    fn each_role_reaches_the_maps_that_the_table_gives_it() {
        let access = |role: Role, map: &str| {
            let access = role.access(map);
            (access.read, access.write)
        };
        for (map, read, apply) in [
            ("public:ccf.internal.signatures", (true, false), (true, false)),
            ("public:ccf.gov.members.info", (true, false), (true, true)),
            ("public:ccf.gov.coco.participants", (true, false), (true, true)),
            ("public:ccf.gov.coco.view", (true, false), (true, false)),
            ("public:app", (false, false), (false, true)),
            ("public:history:blocks", (false, false), (false, false)),
            ("app", (false, false), (false, false)),
            ("ccf.gov.secret", (false, false), (false, false)),
            ("ccf.internal.secret", (false, false), (false, false)),
        ] {
            assert_eq!((access(Role::Read, map), access(Role::Apply, map)), (read, apply), "{map}");
        }
    }
}
