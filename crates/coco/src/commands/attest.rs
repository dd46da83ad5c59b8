//! `coco attest …`: checks for oneself what a network's nodes run.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use coco_attestation::{Claims, NodeAnswer, Rules, Verdict, anchors_in, ear, verify_node};
use coco_crypto::{Certificate, Crypto, SystemCrypto};
use coco_types::Digest;
use serde::Serialize;
use serde_json::Value;

use super::collateral;
use crate::http::{Connection, Url};
use crate::output::Output;
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(10);
const NONCE_BYTES: usize = 32;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a node for fresh evidence and judge it: genuine, about this connection's key, and acceptable
    Verify(Verify),
    /// Bring newer collateral, from files as its vendor serves them: anyone may, since it is signed
    Submit(collateral::Submit),
}

#[derive(Args, Debug)]
pub struct Verify {
    /// API of a node, such as https://127.0.0.1:8000
    url: Url,
    /// The service's certificate
    #[arg(long, value_name = "CERT")]
    service: PathBuf,
    /// Policy, anchors and collateral to judge by, as a genesis has them under `attestation`; without it, those that the node says are in
    /// force: its own word
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

pub fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Verify(options) => ask_and_judge(options, output),
        Command::Submit(options) => collateral::run(options, output),
    }
}

fn ask_and_judge(options: &Verify, output: Output) -> anyhow::Result<()> {
    let service = tls::read_certificate(&options.service)?;
    let tls = tls::trusting(&service)?;
    let mut connection = Connection::open(&options.url, Some(&tls), TIMEOUT)?;
    let mut nonce = [0; NONCE_BYTES];
    SystemCrypto.fill(&mut nonce);
    let mut ask = |path: &str| -> anyhow::Result<Value> {
        let path = options.url.at(path).path;
        let answer = connection.call("GET", &path, &[], b"")?;
        ensure!(answer.status == 200, "{path}: HTTP status {}", answer.status);
        serde_json::from_slice(&answer.body).with_context(|| format!("{path}: malformed answer"))
    };
    let attestation = ask(&format!("/node/attestations/self?nonce={}", hex::encode(nonce)))?;
    let rules = match &options.policy {
        Some(path) => read_policy(path)?,
        None => serde_json::from_value(ask("/node/attestations/policy")?)
            .context("the policy that the node answers with")?,
    };
    let answer: NodeAnswer = serde_json::from_value(attestation).context("the node's answer")?;
    let presented = connection.peer_certificate().context("the node presented no certificate")?;
    let presented = Certificate::from_der(&presented)?;
    let at = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?.as_secs();
    let verdict = verify_node(&answer, &presented, &nonce, &rules, at)?;
    output.print(&Report::new(&verdict, &rules, anchors_in(&service), options.policy.is_none(), at))?;
    ensure!(verdict.decision.accepted(), "the node runs something that the policy does not accept");
    Ok(())
}

pub(super) fn read_policy(path: &Path) -> anyhow::Result<Rules> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

#[derive(Serialize)]
struct Report<'a> {
    accepted: bool,
    platform: &'a str,
    measurement: String,
    claims: &'a Claims,
    checks: Vec<String>,
    /// Anchors in force that no vendor published.
    foreign_roots: Vec<String>,
    /// Digest of the anchors that it was judged by.
    anchors: Digest,
    /// Digest of the anchors that the service's certificate says it was founded on.
    founding_anchors: Option<Digest>,
    policy_from_the_node_itself: bool,
    /// The same as an attestation result, for other systems.
    ear: Value,
}

impl<'a> Report<'a> {
    fn new(verdict: &'a Verdict, rules: &Rules, founding_anchors: Option<Digest>, own_word: bool, at: u64) -> Self {
        let foreign = rules.anchors.foreign_roots().into_iter();
        Self {
            accepted: verdict.decision.accepted(),
            platform: verdict.claims.kind.as_str(),
            measurement: verdict.claims.measurement(),
            claims: &verdict.claims,
            checks: verdict.decision.explain(),
            foreign_roots: foreign.map(|(root, digest)| format!("{} {digest}", root.as_str())).collect(),
            anchors: rules.anchors.digest(),
            founding_anchors,
            policy_from_the_node_itself: own_word,
            ear: ear(verdict.claims.kind, Ok((&verdict.claims, &verdict.decision)), at),
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.accepted { "accepted" } else { "refused" };
        write!(f, "{verdict}: {} {}", self.platform, self.measurement)?;
        if self.platform == "virtual" {
            write!(f, "\n  virtual: nothing is protected")?;
        }
        for check in &self.checks {
            write!(f, "\n  {check}")?;
        }
        for root in &self.foreign_roots {
            write!(f, "\n  not a vendor's root: {root}")?;
        }
        match self.founding_anchors {
            Some(founding) if founding != self.anchors => {
                write!(f, "\n  anchors {}; the service was founded on others: {founding}", self.anchors)?;
            }
            _ => write!(f, "\n  anchors {}", self.anchors)?,
        }
        if self.policy_from_the_node_itself {
            write!(f, "\n  judged by the policy that the node itself answered with: give --policy to use your own")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use coco_attestation::platforms::virtual_tee::VirtualTee;
    use coco_attestation::{EvidenceSource, Policy, fresh_report_data};
    use coco_crypto::{Curve, SigningKey, Validity, self_signed_certificate};

    use super::*;

    #[test]
    fn a_report_says_what_protects_nothing_and_whose_word_it_is() {
        let tee = VirtualTee::running(Digest([7; 32]));
        let key = SigningKey::generate(&SystemCrypto, Curve::P256);
        let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
        let node = self_signed_certificate(&SystemCrypto, &key, "node", &[], validity, &[]).unwrap();
        let evidence = tee.evidence(&fresh_report_data(&node.to_pem(), b"nonce")).unwrap();
        let answer = NodeAnswer { certificate: node.to_pem(), evidence };
        let rules = Rules { policy: Policy::for_virtual([tee.measurement]), ..Rules::default() };
        let verdict = verify_node(&answer, &node, b"nonce", &rules, 0).unwrap();
        let report = Report::new(&verdict, &rules, Some(Digest([1; 32])), true, 0).to_string();
        for words in ["accepted: virtual", "nothing is protected", "founded on others", "give --policy"] {
            assert!(report.contains(words), "{words} is missing: {report}");
        }
        let report = Report::new(&verdict, &rules, Some(rules.anchors.digest()), false, 0).to_string();
        assert!(!report.contains("others") && !report.contains("--policy"), "{report}");
    }
}
