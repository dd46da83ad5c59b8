//! `coco attest …`: checks for oneself what a network's nodes run.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use coco_attestation::{Claims, Decision, Evidence, Policy, Trust, appraise, cmw, fresh_report_data, verify};
use coco_crypto::{Certificate, Crypto, SystemCrypto};
use coco_governance::attestation::AttestationGenesis;
use serde::Serialize;
use serde_json::Value;

use crate::http::{Connection, Url};
use crate::output::Output;
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(10);
const NONCE_BYTES: usize = 32;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a node for fresh evidence and judge it: genuine, about this connection's key, and acceptable
    Verify(Verify),
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
        Command::Verify(options) => verify_node(options, output),
    }
}

fn verify_node(options: &Verify, output: Output) -> anyhow::Result<()> {
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
    let certificate = attestation["certificate"].as_str().context("the answer has no certificate")?;
    let presented = connection.peer_certificate().context("the node presented no certificate")?;
    // Evidence binds this certificate's text; the connection must be with whoever holds its key.
    ensure!(
        Certificate::from_pem(certificate)?.public_key() == Certificate::from_der(&presented)?.public_key(),
        "the evidence is about another key than this connection's"
    );
    let evidence = cmw::from_json(&attestation["evidence"])?;
    let at = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?.as_secs();
    let judged = judge(&evidence, certificate, &nonce, rules, at)?;
    let own_word = options.policy.is_none();
    output.print(&Report::new(&judged, own_word))?;
    if judged.decision.accepted() { Ok(()) } else { bail!("the node runs something that the policy does not accept") }
}

struct Judged {
    claims: Claims,
    decision: Decision,
    foreign_roots: Vec<String>,
}

fn judge(
    evidence: &Evidence,
    certificate: &str,
    nonce: &[u8],
    rules: AttestationGenesis,
    at: u64,
) -> anyhow::Result<Judged> {
    let AttestationGenesis { policy, anchors, collateral } = rules;
    let crl_optional = policy.network.crl_optional.clone();
    let foreign = anchors.foreign_roots();
    let mut trust = Trust { anchors, crl_optional, ..Trust::default() };
    for item in collateral {
        trust.collateral.insert(item)?;
    }
    let verified = verify(evidence, &fresh_report_data(certificate, nonce), &trust, at)
        .map_err(|error| anyhow!("the evidence is not genuine: {error}"))?;
    // Rules about nodes together need all of them: a single node is judged alone.
    let alone = Policy { network: Default::default(), ..policy };
    Ok(Judged {
        decision: appraise(&verified, &alone, &[], at),
        claims: verified.claims().clone(),
        foreign_roots: foreign.into_iter().map(|(root, digest)| format!("{} {digest}", root.as_str())).collect(),
    })
}

fn read_policy(path: &Path) -> anyhow::Result<AttestationGenesis> {
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
    foreign_roots: &'a [String],
    policy_from_the_node_itself: bool,
}

impl<'a> Report<'a> {
    fn new(judged: &'a Judged, own_word: bool) -> Self {
        Self {
            accepted: judged.decision.accepted(),
            platform: judged.claims.kind.as_str(),
            measurement: judged.claims.measurement(),
            claims: &judged.claims,
            checks: judged.decision.explain(),
            foreign_roots: &judged.foreign_roots,
            policy_from_the_node_itself: own_word,
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
        for root in self.foreign_roots {
            write!(f, "\n  not a vendor's root: {root}")?;
        }
        if self.policy_from_the_node_itself {
            write!(f, "\n  judged by the policy that the node itself answered with: give --policy to use your own")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use coco_attestation::EvidenceSource;
    use coco_attestation::platforms::virtual_tee::VirtualTee;
    use coco_types::Digest;

    use super::*;

    #[test]
    fn evidence_is_judged_for_this_nonce_and_by_this_policy() {
        let tee = VirtualTee { measurement: Digest([7; 32]) };
        let evidence = tee.evidence(&fresh_report_data("pem", b"nonce")).unwrap();
        let rules = |measurement: Digest| AttestationGenesis {
            policy: Policy::for_virtual([measurement]),
            ..AttestationGenesis::default()
        };
        let judged = judge(&evidence, "pem", b"nonce", rules(tee.measurement), 0).unwrap();
        assert!(judged.decision.accepted());
        assert!(Report::new(&judged, true).to_string().contains("nothing is protected"));
        assert!(!judge(&evidence, "pem", b"nonce", rules(Digest([8; 32])), 0).unwrap().decision.accepted());
        let replayed = judge(&evidence, "pem", b"other", rules(tee.measurement), 0);
        assert!(replayed.is_err_and(|error| error.to_string().contains("report data mismatch")));
    }
}
