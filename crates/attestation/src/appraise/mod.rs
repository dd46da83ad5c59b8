//! Whether the consortium accepts what genuine evidence says: every reason for and against, in words.

mod ear;
mod intel;
mod network;
mod others;
mod reason;
mod snp;

use std::fmt;

use coco_types::{Digest, NodeId};

use crate::claims::{Claims, Details};
use crate::{Policy, TeeKind, VerifiedEvidence};
pub use ear::ear;
pub use reason::Reason;

/// The judgement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Everything that speaks against; nothing does if it is empty.
    pub reasons: Vec<Reason>,
    /// What was looked at and found good.
    pub passed: Vec<String>,
}

/// Another node of the network, as far as rules about nodes together look at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    pub node: NodeId,
    pub kind: TeeKind,
    pub hardware_id: Option<String>,
}

/// Judges evidence by the policy in force. `peers` are the other trusted nodes, without the one that is replaced; `at` is ledger time.
pub fn appraise(verified: &VerifiedEvidence, policy: &Policy, peers: &[Peer], at: u64) -> Decision {
    appraise_claims(verified.claims(), policy, peers, at)
}

pub(crate) fn appraise_claims(claims: &Claims, policy: &Policy, peers: &[Peer], at: u64) -> Decision {
    let mut judge = Judge::default();
    judge.check(!claims.debug, "debugging is off", || Reason::Debug);
    judge.details(claims.kind, &claims.details, policy, at);
    judge.network(claims, &policy.network, peers);
    Decision { reasons: judge.reasons, passed: judge.passed }
}

/// Collects what speaks for and against.
#[derive(Default)]
struct Judge {
    reasons: Vec<Reason>,
    passed: Vec<String>,
}

impl Judge {
    fn check(&mut self, good: bool, words: impl Into<String>, otherwise: impl FnOnce() -> Reason) {
        if good { self.passed.push(words.into()) } else { self.reasons.push(otherwise()) }
    }

    fn details(&mut self, kind: TeeKind, details: &Details, policy: &Policy, at: u64) {
        match details {
            Details::Virtual { measurement, host_data } => self.virtual_tee(measurement, *host_data, policy),
            Details::SevSnp(snp) => self.snp(kind, snp, &policy.sev_snp),
            Details::Tdx(tdx) => self.tdx(kind, tdx, &policy.tdx, at),
            Details::Sgx(sgx) => self.sgx(sgx, &policy.sgx, at),
            Details::Azure(azure) => {
                let section = if kind == TeeKind::AzureSnp { &policy.azure_snp } else { &policy.azure_tdx };
                match &azure.hardware {
                    Details::SevSnp(snp) => self.snp(kind, snp, &section.snp),
                    Details::Tdx(tdx) => self.tdx(kind, tdx, &section.tdx, at),
                    _ => self.reasons.push(Reason::PlatformNotAccepted(kind)),
                }
                self.azure(azure, section);
            }
            Details::Nitro(nitro) => self.nitro(nitro, &policy.nitro),
            Details::Cca(cca) => self.cca(cca, &policy.cca),
            Details::Vbs(vbs) => self.vbs(vbs, &policy.vbs),
        }
    }

    fn virtual_tee(&mut self, measurement: &Digest, host_data: Option<Digest>, policy: &Policy) {
        let accepted = &policy.virtual_tee.measurements;
        self.platform(TeeKind::Virtual, !accepted.is_empty());
        self.measurement(accepted.contains(measurement), measurement.to_string());
        let accepted = &policy.virtual_tee.host_data;
        if !accepted.is_empty() {
            let found = host_data.map(|found| found.to_string()).unwrap_or_default();
            let words = format!("the host data {found} are accepted");
            self.check(accepted.contains(&found), words, || Reason::HostDataNotAccepted(found.clone()));
        }
    }

    fn platform(&mut self, kind: TeeKind, accepted: bool) {
        self.check(accepted, format!("{kind} nodes are accepted"), || Reason::PlatformNotAccepted(kind));
    }

    fn measurement(&mut self, accepted: bool, measurement: String) {
        let words = format!("the code with measurement {measurement} is accepted");
        self.check(accepted, words, || Reason::MeasurementNotAccepted(measurement));
    }
}

impl Decision {
    pub fn accepted(&self) -> bool {
        self.reasons.is_empty()
    }

    /// One line for each check, those that failed first.
    pub fn explain(&self) -> Vec<String> {
        let failed = self.reasons.iter().map(|reason| format!("refused: {reason}"));
        failed.chain(self.passed.iter().map(|passed| format!("good: {passed}"))).collect()
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
