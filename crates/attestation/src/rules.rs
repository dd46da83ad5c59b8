//! Everything by which a network judges nodes, in one text: a genesis has it under `attestation`, a node answers with it, a client keeps its own.

use serde::{Deserialize, Serialize};

use crate::collateral::CollateralItem;
use crate::{Anchors, Policy, Trust, VerifyError};

/// Absent: virtual nodes only, and the vendors' own roots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    pub policy: Policy,
    pub anchors: Anchors,
    pub collateral: Vec<CollateralItem>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { policy: Policy::default(), anchors: Anchors::vendors(), collateral: Vec::new() }
    }
}

impl Rules {
    /// What verification leans on.
    pub fn trust(&self) -> Result<Trust, VerifyError> {
        let crl_optional = self.policy.network.crl_optional.clone();
        let mut trust = Trust { anchors: self.anchors.clone(), crl_optional, ..Trust::default() };
        self.collateral.iter().try_for_each(|item| trust.collateral.insert(item.clone()))?;
        Ok(trust)
    }
}
