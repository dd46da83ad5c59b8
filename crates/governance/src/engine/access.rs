//! Which maps a script may touch, by what the script is for (CCF's `permissions_checks`).

/// What a script is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// `validate`, `resolve` and ballots: they look and decide.
    Read,
    /// `apply`: it changes governance, and nothing else.
    Apply,
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
        }
    }

    pub fn access(self, map: &str) -> Access {
        const NONE: Access = Access { read: false, write: false };
        let read = Access { read: true, write: false };
        let Some(name) = map.strip_prefix("public:") else { return NONE };
        if name.starts_with("ccf.internal.") || KEPT_BY_NODES.contains(&map) {
            return read;
        }
        let governance = name.starts_with("ccf.gov.");
        match (self, governance) {
            (Self::Read, true) => read,
            (Self::Read, false) => NONE,
            (Self::Apply, true) => Access { read: true, write: true },
            (Self::Apply, false) if name.starts_with("history:") => NONE,
            (Self::Apply, false) => Access { read: false, write: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
