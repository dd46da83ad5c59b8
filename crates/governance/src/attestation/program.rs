//! Programs that are no nodes: what a process beside a node proves about itself, judged by what the members decided about it.

use coco_attestation::{Evidence, Policy, VerifiedEvidence, appraise, program_report_data, verify};
use coco_crypto::{Certificate, sha256};
use serde_json::Value;

use super::policy::trust;
use crate::Error;
use crate::rows::ServiceInfo;
use crate::tables::Read;

/// Verifies that a program's evidence is genuine under the network's anchors, and was made for this service and this very connection. `at`:
/// Unix seconds.
pub fn verify_program(
    state: &mut dyn Read,
    evidence: &Evidence,
    channel: &[u8; 32],
    at: u64,
) -> Result<VerifiedEvidence, Error> {
    let refused = |why: String| Error::NotAdmitted(why);
    let service = ServiceInfo::read(state)?.ok_or_else(|| refused("there is no service yet".to_owned()))?;
    let service = Certificate::from_pem(&service.cert).map_err(|error| refused(error.to_string()))?;
    let expected = program_report_data(&sha256(&service.public_key().spki_der()), channel);
    verify(evidence, &expected, &trust(state)?, at).map_err(|error| refused(error.to_string()))
}

/// Whether a program is among those that a policy accepts, by the same rules as nodes but those about nodes together.
pub fn meets(program: &VerifiedEvidence, policy: &Value, at: u64) -> Result<(), String> {
    let policy: Policy = serde_json::from_value(policy.clone()).map_err(|error| format!("the policy: {error}"))?;
    let alone = Policy { network: Default::default(), ..policy };
    let decision = appraise(program, &alone, &[], at);
    if decision.accepted() { Ok(()) } else { Err(decision.to_string()) }
}
