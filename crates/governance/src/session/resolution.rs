//! Deciding on a proposal: every ballot is run against the state of now, then the constitution resolves, then it may apply.

use std::collections::BTreeMap;

use super::Session;
use crate::attestation::{self, PolicyDecision};
use crate::constitution::{self, Vote};
use crate::engine::{Budget, Failure};
use crate::proposals::{ProposalInfo, ProposalState};
use crate::refusal::{Code, Refusal};
use crate::tables;

/// What the ballots said.
struct Tally {
    votes: Vec<Vote>,
    failures: BTreeMap<String, Failure>,
    /// Whose ballots the wall clock stopped: they may say either.
    unjudged: Vec<String>,
}

impl Session {
    /// Resolves an open proposal, and applies it if it is accepted. `voter` has just voted.
    pub(super) fn settle(
        &self,
        id: &str,
        mut info: ProposalInfo,
        module: &str,
        voter: Option<&str>,
    ) -> Result<ProposalInfo, Refusal> {
        let text = self.proposal_text(id)?;
        let budget = constitution::resolution_budget(&self.world);
        let known_exceeded = info.exceeded.len();
        let Tally { votes, failures, unjudged } = self.tally(&budget, &text, &mut info);
        if unjudged.iter().any(|member| Some(member.as_str()) == voter) {
            return Err(later("the ballot"));
        }
        let decide = |votes: &[Vote]| {
            constitution::resolve(&self.world, &budget, module, &text, &info.proposer_id, votes, id)
                .map_err(failed("resolve"))
        };
        let decision = decide(&votes)?;
        // One member's slow ballot must not hold up what it cannot change, nor a slow machine leave it out of what it can.
        if !unjudged.is_empty() {
            for either in [true, false] {
                if decide(&with_votes(&votes, &unjudged, either))? != decision {
                    return Err(later(&format!("the decision hangs on a ballot, that of {},", unjudged.join(", "))));
                }
            }
        }
        info.state = match decision.as_str() {
            "Open" if info.exceeded.len() == known_exceeded => return Ok(info),
            "Open" => ProposalState::Open,
            "Accepted" => ProposalState::Accepted,
            "Rejected" => ProposalState::Rejected,
            other => {
                let message = format!("resolve answered {other:?}, which is no decision");
                return Err(Refusal::new(Code::InternalError, message));
            }
        };
        if info.state != ProposalState::Open {
            info.final_votes = Some(votes.into_iter().map(|vote| (vote.member_id, vote.vote)).collect());
            info.vote_failures = Some(failures);
        }
        self.write_proposal(id, &info);
        if info.state == ProposalState::Accepted {
            constitution::apply(&self.world, module, &text, id).map_err(failed("apply"))?;
            self.check_members_remain()?;
            let votes = info.final_votes.clone().unwrap_or_default();
            let decision = PolicyDecision { proposal: id.to_owned(), proposer: info.proposer_id.clone(), votes };
            attestation::record(&mut self.world.tx.borrow_mut(), &decision);
        }
        if info.state != ProposalState::Open {
            self.forget_settled(id)?;
        }
        Ok(info)
    }

    /// Runs the ballots in the order of their members; equal texts once.
    fn tally(&self, budget: &Budget, text: &str, info: &mut ProposalInfo) -> Tally {
        let mut results: BTreeMap<&str, Result<bool, Failure>> = BTreeMap::new();
        let mut tally = Tally { votes: Vec::new(), failures: BTreeMap::new(), unjudged: Vec::new() };
        for (member, ballot) in &info.ballots {
            let known = info.exceeded.get(member).cloned();
            let result = match known {
                Some(failure) => Err(failure),
                None => results
                    .entry(ballot)
                    .or_insert_with(|| constitution::ballot(&self.world, budget, ballot, text, &info.proposer_id))
                    .clone(),
            };
            match result {
                Ok(vote) => tally.votes.push(Vote { member_id: member.clone(), vote }),
                Err(failure) => {
                    if failure.unjudged {
                        tally.unjudged.push(member.clone());
                    }
                    tally.failures.insert(member.clone(), failure);
                }
            }
        }
        let exceeded = tally.failures.iter().filter(|(_, failure)| failure.exceeded);
        info.exceeded = exceeded.map(|(member, failure)| (member.clone(), failure.clone())).collect();
        tally
    }

    fn proposal_text(&self, id: &str) -> Result<String, Refusal> {
        let bytes = self.world.tx.borrow_mut().get(&tables::PROPOSALS, id.as_bytes());
        let text = bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        text.ok_or_else(|| Refusal::new(Code::InternalError, format!("the text of proposal {id} is missing")))
    }

    /// A network that nobody can govern any more could never be given back.
    fn check_members_remain(&self) -> Result<(), Refusal> {
        if self.world.tx.borrow_mut().prefix(&tables::MEMBER_INFO, b"").next().is_some() {
            return Ok(());
        }
        Err(Refusal::new(Code::InternalError, "apply: no member would be left"))
    }
}

fn failed(what: &'static str) -> impl Fn(Failure) -> Refusal {
    move |failure| Refusal::new(Code::InternalError, format!("{what}: {}", failure.reason))
}

/// Nothing of the request is kept.
fn later(what: &str) -> Refusal {
    let message = format!("{what} took longer than it may on this node just now: try again later");
    Refusal::new(Code::InternalError, message)
}

/// As if these members had voted so, in the order of their ids.
fn with_votes(votes: &[Vote], members: &[String], vote: bool) -> Vec<Vote> {
    let assumed = members.iter().map(|member| Vote { member_id: member.clone(), vote });
    let mut all: Vec<Vote> = votes.iter().cloned().chain(assumed).collect();
    all.sort_by(|one, other| one.member_id.cmp(&other.member_id));
    all
}
