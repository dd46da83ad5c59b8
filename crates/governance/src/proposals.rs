//! Proposals and ballots as rows, and what the network says about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::engine::Failure;
use crate::tables::{self, Read};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProposalState {
    Open,
    Accepted,
    Rejected,
    Failed,
    Withdrawn,
    Dropped,
}

/// The row of a proposal, in CCF's names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProposalInfo {
    pub proposer_id: String,
    pub state: ProposalState,
    /// Member id → JavaScript.
    #[serde(default)]
    pub ballots: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_votes: Option<BTreeMap<String, bool>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote_failures: Option<BTreeMap<String, Failure>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Coco: ballots that used up their time, by member. They are not run again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exceeded: BTreeMap<String, Failure>,
}

/// Of a proposal's row, what says whether it is settled: its ballots may be a thousand.
#[derive(Deserialize)]
pub(crate) struct Standing {
    pub state: ProposalState,
}

impl Standing {
    pub fn all(state: &mut dyn Read) -> Result<Vec<(String, Self)>, Error> {
        tables::read_all(state, &tables::PROPOSALS_INFO)
    }
}

/// A proposal as `/gov` answers it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    pub proposal_id: String,
    pub proposer_id: String,
    pub proposal_state: ProposalState,
    pub ballot_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_votes: Option<BTreeMap<String, bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vote_failures: Option<BTreeMap<String, Failure>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl ProposalInfo {
    pub fn read(state: &mut dyn Read, id: &str) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::PROPOSALS_INFO, id.as_bytes())
    }

    pub fn all(state: &mut dyn Read) -> Result<Vec<(String, Self)>, Error> {
        tables::read_all(state, &tables::PROPOSALS_INFO)
    }

    pub fn answer(&self, id: &str) -> Proposal {
        Proposal {
            proposal_id: id.to_owned(),
            proposer_id: self.proposer_id.clone(),
            proposal_state: self.state,
            ballot_count: self.ballots.len(),
            final_votes: self.final_votes.clone(),
            vote_failures: self.vote_failures.clone().filter(|failures| !failures.is_empty()),
            failure: self.failure.clone(),
        }
    }
}
