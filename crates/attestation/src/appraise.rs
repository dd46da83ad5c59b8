//! Whether the consortium accepts what genuine evidence says.

use std::collections::BTreeSet;
use std::fmt;

use coco_types::Digest;

use crate::{Claims, TeeKind};

/// What the members voted, read from public maps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Accepted measurements of virtual nodes; empty refuses the platform.
    pub virtual_measurements: BTreeSet<Digest>,
}

/// The judgement, with everything that speaks against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub reasons: Vec<Reason>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    PlatformNotAccepted(TeeKind),
    MeasurementNotAccepted(Digest),
}

pub fn appraise(claims: &Claims, policy: &Policy) -> Decision {
    let mut reasons = Vec::new();
    let accepted = match claims.kind {
        TeeKind::Virtual => &policy.virtual_measurements,
    };
    if accepted.is_empty() {
        reasons.push(Reason::PlatformNotAccepted(claims.kind));
    } else if !accepted.contains(&claims.measurement) {
        reasons.push(Reason::MeasurementNotAccepted(claims.measurement));
    }
    Decision { reasons }
}

impl Decision {
    pub fn accepted(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.accepted() {
            return f.write_str("accepted");
        }
        let reasons: Vec<String> = self.reasons.iter().map(Reason::to_string).collect();
        f.write_str(&reasons.join("; "))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlatformNotAccepted(kind) => write!(f, "the network accepts no {} nodes", kind.as_str()),
            Self::MeasurementNotAccepted(measurement) => {
                write!(f, "the code with measurement {measurement} is not in the network's policy")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: Claims = Claims { kind: TeeKind::Virtual, measurement: Digest([7; 32]) };

    #[test]
    fn only_listed_code_is_accepted() {
        let listed = Policy { virtual_measurements: [Digest([7; 32])].into() };
        let other = Policy { virtual_measurements: [Digest([8; 32])].into() };
        assert!(appraise(&CLAIMS, &listed).accepted());
        assert_eq!(appraise(&CLAIMS, &other).reasons, [Reason::MeasurementNotAccepted(CLAIMS.measurement)]);
        assert_eq!(appraise(&CLAIMS, &Policy::default()).reasons, [Reason::PlatformNotAccepted(TeeKind::Virtual)]);
    }
}
