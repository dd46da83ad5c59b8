//! `coco node explain`: how the network judged a node, in words, and how it is judged by the rules in force now.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::Args;
use coco_attestation::{Evidence, Moment, Policy, Rules, TeeKind, appraise, ear, verify};
use coco_crypto::PublicKey;
use coco_governance::attestation::{ANCHORS, Appraisal, AppraisalState, POLICY, PolicyDecision};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::attest::read_policy;
use crate::http::{Connection, Url};
use crate::output::Output;
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub struct Explain {
    /// The node: its id or the beginning of it, or its place in the network; all nodes if absent
    node: Option<String>,
    /// API of any node, such as https://127.0.0.1:8000
    #[arg(long, value_name = "URL")]
    api: Url,
    /// The service's certificate
    #[arg(long, value_name = "CERT")]
    service: PathBuf,
    /// Judge by the rules in this file, as a genesis has them under `attestation`, instead of those that the node says are in force
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// One of `/node/attestations/judgements`.
#[derive(Deserialize)]
struct Judgement {
    index: u32,
    status: String,
    public_key: String,
    evidence: Evidence,
    appraisal: Option<Appraisal>,
}

pub fn run(options: &Explain, output: Output) -> anyhow::Result<()> {
    let tls = tls::trusting(&tls::read_certificate(&options.service)?)?;
    let mut connection = Connection::open(&options.api, Some(&tls), TIMEOUT)?;
    let mut ask = |path: &str| -> anyhow::Result<Value> {
        let path = options.api.at(path).path;
        let answer = connection.call("GET", &path, &[], b"")?;
        ensure!(answer.status == 200, "{path}: HTTP status {}", answer.status);
        serde_json::from_slice(&answer.body).with_context(|| format!("{path}: malformed answer"))
    };
    let judgements: Map<String, Value> = serde_json::from_value(ask("/node/attestations/judgements")?)?;
    let rules = match &options.policy {
        Some(path) => read_policy(path)?,
        None => serde_json::from_value(ask("/node/attestations/policy")?)?,
    };
    // By a policy of one's own nothing was voted here.
    let decisions: BTreeMap<String, PolicyDecision> = match &options.policy {
        Some(_) => BTreeMap::new(),
        None => serde_json::from_value(ask("/node/attestations/decisions")?)?,
    };
    let at = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?.as_secs();
    let mut nodes = Vec::new();
    for (id, judgement) in judgements {
        let judgement: Judgement = serde_json::from_value(judgement).with_context(|| format!("node {id}"))?;
        let named = |name: &String| id.starts_with(name.as_str()) || *name == judgement.index.to_string();
        if options.node.as_ref().is_none_or(named) {
            nodes.push(explain(id, &judgement, &rules, &decisions, at)?);
        }
    }
    if nodes.is_empty() {
        bail!("the network never had a node {}", options.node.as_deref().unwrap_or_default());
    }
    nodes.sort_by_key(|node| (node.index, node.judged_at));
    output.print(&Report { nodes })
}

#[derive(Serialize)]
struct Report {
    nodes: Vec<Explained>,
}

#[derive(Serialize)]
struct Explained {
    id: String,
    index: u32,
    status: String,
    platform: String,
    measurement: String,
    machine: Option<String>,
    /// Of its newest evidence, Unix seconds.
    judged_at: Option<u64>,
    standing: String,
    /// Why it fails, if it does.
    reasons: Vec<String>,
    /// What was looked at when its evidence was new.
    then: Vec<String>,
    /// The same by the rules given, now.
    now: Vec<String>,
    /// The section of the policy that it is judged by, and the one about nodes together.
    policy: Value,
    /// Which votes made that policy; what is not named is the genesis'.
    voted: BTreeMap<String, PolicyDecision>,
    /// The judgement by the rules given, as an attestation result for other systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    ear: Option<Value>,
}

fn explain(
    id: String,
    judgement: &Judgement,
    rules: &Rules,
    decisions: &BTreeMap<String, PolicyDecision>,
    at: u64,
) -> anyhow::Result<Explained> {
    let kind = judgement.evidence.kind;
    let (standing, reasons) = judgement.appraisal.as_ref().map_or(("never judged".to_owned(), Vec::new()), standing);
    let sections = serde_json::to_value(&rules.policy)?;
    let name = if kind.as_str() == "virtual" { "virtual_tee" } else { kind.as_str() };
    let (now, ear) = match &judgement.appraisal {
        Some(appraisal) => judge_now(judgement, appraisal, rules, at).map(|(now, ear)| (now, Some(ear)))?,
        None => (Vec::new(), None),
    };
    let concerns = |row: &String| concerns(row, kind, name);
    let appraisal = judgement.appraisal.as_ref();
    Ok(Explained {
        id,
        index: judgement.index,
        status: judgement.status.clone(),
        platform: kind.to_string(),
        measurement: appraisal.map(|appraisal| appraisal.measurement.clone()).unwrap_or_default(),
        machine: appraisal.and_then(|appraisal| appraisal.hardware_id.clone()),
        judged_at: appraisal.map(|appraisal| appraisal.at),
        standing,
        reasons,
        then: appraisal.map(|appraisal| appraisal.explanation.clone()).unwrap_or_default(),
        now,
        policy: serde_json::json!({ name: sections[name], "network": sections["network"] }),
        voted: decisions.iter().filter(|(row, _)| concerns(row)).map(|(row, by)| (row.clone(), by.clone())).collect(),
        ear,
    })
}

/// Certificates at the time of admission, everything else now; alone, since rules about nodes together need the order in which they joined.
fn judge_now(
    judgement: &Judgement,
    appraisal: &Appraisal,
    rules: &Rules,
    at: u64,
) -> anyhow::Result<(Vec<String>, Value)> {
    let key = PublicKey::from_pem(&judgement.public_key)?;
    let expected = appraisal.bound.binding(&key, judgement.evidence.kind).report_data();
    let moment = Moment { evidence: appraisal.at, collateral: at };
    Ok(match verify(&judgement.evidence, &expected, &rules.trust()?, moment) {
        Err(error) => (vec![format!("refused: {error}")], ear(judgement.evidence.kind, Err(&error), at)),
        Ok(verified) => {
            let alone = Policy { network: Default::default(), ..rules.policy.clone() };
            let decision = appraise(&verified, &alone, &[], at);
            let ear = ear(judgement.evidence.kind, Ok((verified.claims(), &decision)), at);
            (decision.explain(), ear)
        }
    })
}

/// Whether a row is one of those by which this kind of node is judged.
fn concerns(row: &str, kind: TeeKind, section: &str) -> bool {
    let of_ccf = match kind {
        TeeKind::Virtual => "public:ccf.gov.nodes.virtual.",
        TeeKind::SevSnp => "public:ccf.gov.nodes.snp.",
        TeeKind::Sgx => "public:ccf.gov.nodes.code_ids/",
        _ => "public:ccf.gov.coco.attestation.none/",
    };
    let sections = [section, "network"].map(|section| format!("{POLICY}/{section}"));
    row.starts_with(of_ccf) || row.starts_with(ANCHORS.as_str()) || sections.iter().any(|section| row == section)
}

fn standing(appraisal: &Appraisal) -> (String, Vec<String>) {
    match &appraisal.state {
        AppraisalState::Trusted => ("trusted".to_owned(), Vec::new()),
        AppraisalState::AtRisk { since, deadline, reasons } => {
            (format!("at risk since {since}: retired at {deadline} unless fresh evidence passes"), reasons.clone())
        }
        AppraisalState::Overdue { since, reasons } => {
            (format!("overdue, failing since {since}: too few would be left, the members must decide"), reasons.clone())
        }
        AppraisalState::Retired { at, reasons } => (format!("retired at {at}"), reasons.clone()),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n\n" };
            write!(f, "{separator}{node}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} ({}): {}, {}", self.index, self.id, self.platform, self.standing)?;
        write!(f, "\n  code     {}", self.measurement)?;
        if let Some(machine) = &self.machine {
            write!(f, "\n  machine  {machine}")?;
        }
        if let Some(at) = self.judged_at {
            write!(f, "\n  evidence of {at} (Unix seconds)")?;
        }
        for reason in &self.reasons {
            write!(f, "\n  fails: {reason}")?;
        }
        for (title, lines) in [("when its evidence was new", &self.then), ("by the rules in force", &self.now)] {
            write!(f, "\n  {title}:")?;
            for line in lines {
                write!(f, "\n    {line}")?;
            }
        }
        write!(f, "\n  policy: {}", self.policy)?;
        for (row, by) in &self.voted {
            let (against, favour): (Vec<_>, Vec<_>) = by.votes.iter().partition(|(_, favour)| !**favour);
            let (favour, against) = (favour.len(), against.len());
            write!(f, "\n  voted: {row} by proposal {} ({favour} in favour, {against} against)", by.proposal)?;
        }
        if self.voted.is_empty() {
            write!(f, "\n  voted: nothing of it, it is the genesis'")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use coco_attestation::platforms::virtual_tee::VirtualTee;
    use coco_attestation::{BoundFacts, EvidenceSource, TeeKind};
    use coco_crypto::{Curve, SigningKey, SystemCrypto};
    use coco_types::Digest;

    use super::*;

    #[test]
    fn a_judgement_is_told_in_words_beside_what_the_rules_of_now_say() {
        let tee = VirtualTee::running(Digest([7; 32]));
        let key = SigningKey::generate(&SystemCrypto, Curve::P256);
        let bound = BoundFacts { exchange_key: vec![1; 32], service: None, config: Digest::ZERO, nonce: None };
        let evidence = tee.evidence(&bound.binding(key.public_key(), TeeKind::Virtual).report_data()).unwrap();
        let state = AppraisalState::AtRisk { since: 5, deadline: 9, reasons: vec!["it is old".to_owned()] };
        let appraisal = Appraisal {
            at: 3,
            kind: TeeKind::Virtual,
            bound,
            hardware_id: None,
            measurement: "0707".to_owned(),
            basis: Digest::ZERO,
            state,
            explanation: vec!["good: debugging is off".to_owned()],
        };
        let judgement = Judgement {
            index: 2,
            status: "Trusted".to_owned(),
            public_key: key.public_key().to_pem(),
            evidence,
            appraisal: Some(appraisal),
        };
        let vote = PolicyDecision {
            proposal: "c0ffee".to_owned(),
            proposer: "m1".to_owned(),
            votes: [("m1".to_owned(), true), ("m2".to_owned(), false)].into(),
        };
        let rows = ["network", "sgx"].map(|section| (format!("{POLICY}/{section}"), vote.clone()));
        let decisions = rows.into();
        let told = |rules: &Rules| explain("ab".to_owned(), &judgement, rules, &decisions, 7).unwrap().to_string();
        let accepted = told(&Rules { policy: Policy::for_virtual([tee.measurement]), ..Rules::default() });
        for words in [
            "node 2 (ab): virtual, at risk since 5",
            "fails: it is old",
            "good: the code with measurement",
            "measurements",
            "policy/network by proposal c0ffee (1 in favour, 1 against)",
        ] {
            assert!(accepted.contains(words), "{words} is missing: {accepted}");
        }
        assert!(!accepted.contains("policy/sgx"), "another kind's: {accepted}");
        assert!(told(&Rules::default()).contains("refused: the network accepts no virtual nodes"));
    }
}
