//! A proposal, from typed arguments or from a file. To add an action: a variant here or in a file below, its JSON, and an example in the tests, which
//! hold the constitution's actions and these together.

mod ledgers;
mod platforms;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use coco_crypto::ForeignCertificate;
use serde_json::{Value, json};

use self::ledgers::Ledgers;
use self::platforms::Platforms;
use super::application;
use crate::governance::read_text;

/// What to propose. Ids may be given by certificate files, names are kept in member_data.name.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Any proposal: a file with {"actions": [{"name", "args"}, …]}
    File { path: PathBuf },
    /// Open the service to its applications
    Open {
        /// The service's certificate
        #[arg(value_name = "CERT")]
        identity: PathBuf,
        /// The certificate of the service whose ledger is recovered
        #[arg(long, value_name = "CERT")]
        previous: Option<PathBuf>,
    },
    /// Add a member, or let one acknowledge the state anew
    SetMember {
        #[arg(value_name = "CERT")]
        certificate: PathBuf,
        #[arg(long)]
        name: Option<String>,
        /// Further member_data, as JSON: {"role": "auditor", "weight": 2, "veto": true}
        #[arg(long, value_name = "JSON")]
        data: Option<String>,
        /// RSA public key for a recovery share, in PEM
        #[arg(long, value_name = "FILE")]
        encryption_key: Option<PathBuf>,
    },
    /// Remove a member
    RemoveMember { member: Id },
    /// Replace what the consortium says about a member
    SetMemberData {
        member: Id,
        #[arg(value_name = "JSON")]
        data: String,
    },
    /// Let a participant use the network
    SetParticipant {
        #[arg(value_name = "CERT")]
        certificate: PathBuf,
        #[arg(long)]
        name: Option<String>,
        #[arg(long, value_name = "JSON")]
        data: Option<String>,
        /// RSA public key for a recovery share, in PEM
        #[arg(long, value_name = "FILE")]
        encryption_key: Option<PathBuf>,
    },
    /// Remove a participant
    RemoveParticipant { participant: Id },
    /// Let a participant use the network, by CCF's name for it
    SetUser {
        #[arg(value_name = "CERT")]
        certificate: PathBuf,
        #[arg(long)]
        name: Option<String>,
        /// user_data, as JSON
        #[arg(long, value_name = "JSON")]
        data: Option<String>,
    },
    /// Remove a participant, by CCF's name for it
    RemoveUser { participant: Id },
    /// Replace what the consortium says about a participant
    SetUserData {
        participant: Id,
        #[arg(value_name = "JSON")]
        data: String,
    },
    /// Name CA certificates, for programs that fetch the keys of token issuers
    SetCaCertBundle {
        name: String,
        #[arg(value_name = "CERTS")]
        certificates: PathBuf,
    },
    /// Take back a name of CA certificates
    RemoveCaCertBundle { name: String },
    /// Hold only for this service: a proposal that is put to another network is refused there
    AssertServiceIdentity {
        #[arg(value_name = "CERT")]
        identity: PathBuf,
    },
    /// Let whoever has a token (JWT) of this issuer use the network
    SetJwtIssuer {
        /// The `iss` of its tokens
        issuer: String,
        /// Its public keys, as it publishes them: {"keys": […]}
        #[arg(long, value_name = "FILE")]
        jwks: Option<PathBuf>,
        /// What its tokens must be made for (`aud`), as often as needed; without it, anything
        #[arg(long)]
        audience: Vec<String>,
        /// Members that may bring its newer keys without votes
        #[arg(long, value_name = "MEMBER")]
        refresher: Vec<Id>,
    },
    /// Replace the keys of a token issuer
    SetJwtKeys {
        issuer: String,
        /// Its public keys, as it publishes them: {"keys": […]}
        #[arg(value_name = "FILE")]
        jwks: PathBuf,
    },
    /// Take no more tokens of an issuer
    RemoveJwtIssuer { issuer: String },
    /// Serve an application in JavaScript below /app, in place of what is there
    SetJsApp {
        /// A bundle: a JSON file with metadata and modules, or a folder with app.json and src/
        #[arg(long, value_name = "FILE|DIR")]
        bundle: PathBuf,
    },
    /// Serve no application any more; what it has stored stays
    RemoveJsApp,
    /// CCF's action of this name: nodes of Coco keep no bytecode, and nothing changes
    RefreshJsAppBytecodeCache,
    /// What one request to the application may use
    SetJsRuntimeOptions {
        #[arg(long, value_name = "BYTES")]
        max_heap_bytes: u64,
        #[arg(long, value_name = "BYTES")]
        max_stack_bytes: u64,
        #[arg(long, value_name = "MS")]
        max_execution_time_ms: u64,
        /// What a function throws stands in the node's log
        #[arg(long)]
        log_exception_details: bool,
        /// What a function throws is told to the caller
        #[arg(long)]
        return_exception_details: bool,
    },
    /// Change how votes are counted
    SetVotingPolicy {
        policy: Policy,
        /// How many votes (m-of-n, two-stage), or how much weight (weighted)
        #[arg(long, value_name = "N")]
        required: Option<u64>,
        /// The committee's role (two-stage)
        #[arg(long)]
        role: Option<String>,
        /// How many of a role (roles), as often as needed: auditor=1
        #[arg(long, value_name = "ROLE=N")]
        of_role: Vec<RoleCount>,
    },
    /// Replace the constitution
    SetConstitution { path: PathBuf },
    /// Remove a node
    RemoveNode {
        node: Id,
        /// For a node that somebody may control who should not: the service gets another identity too, which that node never learns
        #[arg(long)]
        for_cause: bool,
    },
    /// Seal the ledger with a new secret from here on, and give the members new recovery shares
    RekeyLedger,
    /// Give the service another key and certificate, vouched for by those before: for a key that somebody may know who is not to
    RotateServiceIdentity,
    /// Renew the service's certificate; its key stays
    RenewServiceCertificate {
        #[command(flatten)]
        validity: Validity,
    },
    /// Renew the certificate of a node, or of all
    RenewNodeCertificates {
        /// Without it, all trusted nodes
        node: Option<Id>,
        #[command(flatten)]
        validity: Validity,
    },
    /// Give the members new recovery shares
    RefreshShares,
    /// How long a ledger secret is used at most
    SetEpochPolicy {
        /// Seconds; without it, until a vote ends it
        #[arg(long, value_name = "SECONDS")]
        max_age: Option<u64>,
    },
    /// How many members' shares a recovery needs
    SetRecoveryThreshold { threshold: u64 },
    /// Give recovery shares to participants that have an encryption key too, or to members only
    SetShareHolders {
        #[arg(value_name = "WHO")]
        holders: ShareHolders,
    },
    /// Disclose the private state of one past epoch to an auditor
    GrantEpoch {
        /// A transaction of the epoch: its seqno
        #[arg(value_name = "SEQNO")]
        transaction: u64,
        /// The auditor's RSA public key, in PEM
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Who the auditor is
        #[arg(long)]
        name: String,
    },
    /// Take no writes on any ledger until a vote lifts it; reads and governance go on
    ReadOnly {
        #[arg(long)]
        reason: String,
    },
    /// Take writes again
    LiftReadOnly,
    /// Write what enters a private map to the ledger files in clear too
    PublishMap { map: String },
    /// Seal what enters a published map again
    UnpublishMap { map: String },
    /// Whom nodes tell what about members and participants; what is not named stays as it is
    #[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
    SetIdentityDisclosure {
        #[arg(long, value_name = "WHOM", group = "what")]
        member_certificates: Option<Audience>,
        #[arg(long, value_name = "WHOM", group = "what")]
        member_encryption_keys: Option<Audience>,
        /// member_data
        #[arg(long, value_name = "WHOM", group = "what")]
        member_data: Option<Audience>,
        /// Who they are, their certificates and user_data
        #[arg(long, value_name = "WHOM", group = "what")]
        participants: Option<Audience>,
        /// Texts of proposals and ballots
        #[arg(long, value_name = "WHOM", group = "what")]
        proposals: Option<Audience>,
        /// Which identities inside ledgers are bound to somebody
        #[arg(long, value_name = "WHOM", group = "what")]
        bindings: Option<Audience>,
    },
    /// Whether the nodes may go on by themselves after an outage of most of them, and how many of their disks may show an old state
    SetResumePolicy {
        /// Members recover the ledger instead
        #[arg(long, conflicts_with = "rolled_back_disks")]
        forbid: bool,
        #[arg(long, value_name = "N", default_value_t = 0)]
        rolled_back_disks: u32,
    },
    /// Whether a new node that runs accepted code waits for a vote
    SetNodeAdmission { by: AdmissionBy },
    /// Let a node join that waits for it; whoever proposes this answers for the node
    TrustNode { node: Id },
    /// How many nodes each member may add without a vote
    SetAutomaticVotes {
        #[arg(long, value_name = "K")]
        nodes_per_member: u32,
    },
    /// Replace what the consortium says about a node
    SetNodeData {
        node: Id,
        #[arg(value_name = "JSON")]
        data: String,
    },
    /// How long a node stays without renewing its evidence
    SetLeasePolicy {
        /// Seconds; without it, for ever
        #[arg(long, value_name = "SECONDS")]
        period: Option<u64>,
        /// Seconds more until it is out
        #[arg(long, value_name = "SECONDS", requires = "period")]
        grace: Option<u64>,
    },
    /// End the ledger's chunk file with the next signature
    EndChunk,
    /// The same, and let the primary write the state down there
    Snapshot,
    /// How many recent proposals are remembered against replays
    SetProposalsWindow { proposals: u64 },
    #[command(flatten)]
    Platforms(Platforms),
    #[command(flatten)]
    Ledgers(Ledgers),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShareHolders {
    Members,
    Participants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Audience {
    Everyone,
    /// Whoever proves to be anybody that the network knows
    Callers,
    /// And those whom it is about
    Members,
    /// Those whom it is about
    Themselves,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AdmissionBy {
    /// Whoever runs accepted code joins
    Code,
    Vote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Policy {
    Majority,
    MOfN,
    Unanimous,
    Weighted,
    Roles,
    Veto,
    TwoStage,
}

/// 64 hexadecimal digits, or a file with a certificate.
#[derive(Clone, Debug)]
pub struct Id(pub String);

impl std::str::FromStr for Id {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let pem =
            std::fs::read_to_string(text).map_err(|_| anyhow::anyhow!("neither 64 hexadecimal digits nor a file"))?;
        Ok(Self(ForeignCertificate::from_pem(&pem)?.fingerprint().to_string()))
    }
}

#[derive(Clone, Debug)]
pub struct RoleCount(String, u64);

impl std::str::FromStr for RoleCount {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (role, count) = text.split_once('=').context("write it as ROLE=N")?;
        Ok(Self(role.to_owned(), count.parse().context("N is not a number")?))
    }
}

/// When a certificate holds.
#[derive(Args, Clone, Debug)]
pub struct Validity {
    /// From when on, in UTC: 20261231235959Z or 2026-12-31T23:59:59Z
    #[arg(long, value_name = "TIME")]
    from: String,
    /// For so many days; without it, for as many as the members allow
    #[arg(long, value_name = "N")]
    days: Option<u64>,
}

impl Validity {
    fn args(&self) -> Value {
        let mut args = json!({ "valid_from": self.from });
        if let Some(days) = self.days {
            args["validity_period_days"] = days.into();
        }
        args
    }
}

impl Action {
    /// The proposal's text.
    pub fn proposal(&self) -> anyhow::Result<String> {
        if let Self::File { path } = self {
            let text = read_text(path)?;
            let parsed: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            ensure!(parsed["actions"].is_array(), "{} has no \"actions\"", path.display());
            return Ok(text);
        }
        let (name, args) = self.action()?;
        let mut actions = vec![json!({ "name": name, "args": args })];
        if matches!(self, Self::RemoveNode { for_cause: true, .. }) {
            actions.push(json!({ "name": "rotate_service_identity", "args": {} }));
        }
        Ok(json!({ "actions": actions }).to_string())
    }

    fn action(&self) -> anyhow::Result<(&'static str, Value)> {
        Ok(match self {
            Self::File { .. } => unreachable!("a file is the whole proposal"),
            Self::Open { identity, previous } => {
                let mut args = json!({ "next_service_identity": read_text(identity)? });
                if let Some(path) = previous {
                    args["previous_service_identity"] = read_text(path)?.into();
                }
                ("transition_service_to_open", args)
            }
            Self::RekeyLedger => ("trigger_ledger_rekey", json!({})),
            Self::RotateServiceIdentity => ("rotate_service_identity", json!({})),
            Self::RenewServiceCertificate { validity } => ("set_service_certificate_validity", validity.args()),
            Self::RenewNodeCertificates { node: None, validity } => {
                ("set_all_nodes_certificate_validity", validity.args())
            }
            Self::RenewNodeCertificates { node: Some(node), validity } => {
                let mut args = validity.args();
                args["node_id"] = node.0.clone().into();
                ("set_node_certificate_validity", args)
            }
            Self::RefreshShares => ("trigger_recovery_shares_refresh", json!({})),
            Self::SetEpochPolicy { max_age: Some(max_age) } => ("set_epoch_policy", json!({ "max_age_s": max_age })),
            Self::SetEpochPolicy { max_age: None } => ("set_epoch_policy", json!({})),
            Self::SetMember { certificate, name, data, encryption_key } => {
                let mut args = json!({ "cert": read_text(certificate)?, "member_data": described(name, data)? });
                if let Some(path) = encryption_key {
                    args["encryption_pub_key"] = read_text(path)?.into();
                }
                ("set_member", args)
            }
            Self::RemoveMember { member } => ("remove_member", json!({ "member_id": member.0 })),
            Self::SetMemberData { member, data } => (
                "set_member_data",
                json!({ "member_id": member.0, "member_data": described(&None, &Some(data.clone()))? }),
            ),
            Self::SetParticipant { certificate, name, data, encryption_key } => {
                let mut args = json!({ "cert": read_text(certificate)?, "participant_data": described(name, data)? });
                if let Some(path) = encryption_key {
                    args["encryption_pub_key"] = read_text(path)?.into();
                }
                ("set_participant", args)
            }
            Self::RemoveParticipant { participant } => {
                ("remove_participant", json!({ "participant_id": participant.0 }))
            }
            Self::SetUser { certificate, name, data } => {
                ("set_user", json!({ "cert": read_text(certificate)?, "user_data": described(name, data)? }))
            }
            Self::RemoveUser { participant } => ("remove_user", json!({ "user_id": participant.0 })),
            Self::SetUserData { participant, data } => {
                let data = described(&None, &Some(data.clone()))?;
                ("set_user_data", json!({ "user_id": participant.0, "user_data": data }))
            }
            Self::SetCaCertBundle { name, certificates } => {
                ("set_ca_cert_bundle", json!({ "name": name, "cert_bundle": read_text(certificates)? }))
            }
            Self::RemoveCaCertBundle { name } => ("remove_ca_cert_bundle", json!({ "name": name })),
            Self::AssertServiceIdentity { identity } => {
                ("assert_service_identity", json!({ "service_identity": read_text(identity)? }))
            }
            Self::Platforms(action) => action.action()?,
            Self::Ledgers(action) => action.action()?,
            Self::SetJwtIssuer { issuer, jwks, audience, refresher } => {
                let mut args = json!({ "issuer": issuer });
                if let Some(path) = jwks {
                    args["jwks"] = read_json(path)?;
                }
                if !audience.is_empty() {
                    args["audience"] = json!(audience);
                }
                if !refresher.is_empty() {
                    args["refreshers"] = refresher.iter().map(|id| id.0.clone()).collect();
                }
                ("set_jwt_issuer", args)
            }
            Self::SetJwtKeys { issuer, jwks } => {
                ("set_jwt_public_signing_keys", json!({ "issuer": issuer, "jwks": read_json(jwks)? }))
            }
            Self::RemoveJwtIssuer { issuer } => ("remove_jwt_issuer", json!({ "issuer": issuer })),
            Self::SetJsApp { bundle } => ("set_js_app", json!({ "bundle": application::bundle(bundle)? })),
            Self::RemoveJsApp => ("remove_js_app", json!({})),
            Self::RefreshJsAppBytecodeCache => ("refresh_js_app_bytecode_cache", json!({})),
            Self::SetJsRuntimeOptions {
                max_heap_bytes,
                max_stack_bytes,
                max_execution_time_ms,
                log_exception_details,
                return_exception_details,
            } => (
                "set_js_runtime_options",
                json!({
                    "max_heap_bytes": max_heap_bytes,
                    "max_stack_bytes": max_stack_bytes,
                    "max_execution_time_ms": max_execution_time_ms,
                    "log_exception_details": log_exception_details,
                    "return_exception_details": return_exception_details,
                }),
            ),
            Self::SetVotingPolicy { policy, required, role, of_role } => {
                ("set_voting_policy", voting_policy(*policy, *required, role.as_deref(), of_role))
            }
            Self::SetConstitution { path } => ("set_constitution", json!({ "constitution": read_text(path)? })),
            Self::RemoveNode { node, .. } => ("remove_node", json!({ "node_id": node.0 })),
            Self::SetRecoveryThreshold { threshold } => {
                ("set_recovery_threshold", json!({ "recovery_threshold": threshold }))
            }
            Self::SetShareHolders { holders } => {
                ("set_share_holders", json!({ "participants": *holders == ShareHolders::Participants }))
            }
            Self::GrantEpoch { transaction, to, name } => (
                "grant_epoch_to_auditor",
                json!({ "transaction": transaction, "auditor_key": read_text(to)?, "auditor": name }),
            ),
            Self::ReadOnly { reason } => ("set_read_only", json!({ "reason": reason })),
            Self::EndChunk => ("trigger_ledger_chunk", json!({})),
            Self::Snapshot => ("trigger_snapshot", json!({})),
            Self::LiftReadOnly => ("lift_read_only", json!({})),
            Self::SetIdentityDisclosure {
                member_certificates,
                member_encryption_keys,
                member_data,
                participants,
                proposals,
                bindings,
            } => {
                let given = [
                    ("member_certificates", member_certificates),
                    ("member_encryption_keys", member_encryption_keys),
                    ("member_data", member_data),
                    ("participants", participants),
                    ("proposals", proposals),
                    ("bindings", bindings),
                ];
                let named = |audience: Audience| audience.to_possible_value().map(|value| value.get_name().to_owned());
                let args = given.into_iter().filter_map(|(what, to)| Some((what.to_owned(), named((*to)?)?.into())));
                ("set_identity_disclosure", Value::Object(args.collect()))
            }
            Self::PublishMap { map } => ("publish_map", json!({ "map": map })),
            Self::UnpublishMap { map } => ("unpublish_map", json!({ "map": map })),
            Self::SetResumePolicy { forbid: true, .. } => ("set_resume_policy", json!({ "allowed": false })),
            Self::SetResumePolicy { rolled_back_disks, .. } => {
                ("set_resume_policy", json!({ "allowed": true, "rolled_back_disks": rolled_back_disks }))
            }
            Self::SetNodeAdmission { by } => {
                let by = by.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
                ("set_node_admission", json!({ "by": by }))
            }
            Self::TrustNode { node } => ("transition_node_to_trusted", json!({ "node_id": node.0 })),
            Self::SetAutomaticVotes { nodes_per_member } => {
                ("set_automatic_votes", json!({ "nodes_per_member": nodes_per_member }))
            }
            Self::SetNodeData { node, data } => {
                ("set_node_data", json!({ "node_id": node.0, "node_data": described(&None, &Some(data.clone()))? }))
            }
            Self::SetLeasePolicy { period, grace } => {
                let mut args = json!({});
                if let Some(period) = period {
                    args["period_s"] = (*period).into();
                }
                if let Some(grace) = grace {
                    args["grace_s"] = (*grace).into();
                }
                ("set_lease_policy", args)
            }
            Self::SetProposalsWindow { proposals } => {
                ("set_service_configuration", json!({ "recent_cose_proposals_window_size": proposals }))
            }
        })
    }
}

pub(super) fn read_json(path: &Path) -> anyhow::Result<Value> {
    serde_json::from_str(&read_text(path)?).with_context(|| path.display().to_string())
}

/// What is there of these.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    Value::from_iter(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))))
}

/// An actor's data: the JSON given, with the name in it.
fn described(name: &Option<String>, data: &Option<String>) -> anyhow::Result<Value> {
    let mut described = match data {
        Some(data) => serde_json::from_str(data).context("the data is not JSON")?,
        None => json!({}),
    };
    ensure!(described.is_object(), "the data must be a JSON object");
    if let Some(name) = name {
        described["name"] = name.clone().into();
    }
    Ok(described)
}

fn voting_policy(policy: Policy, required: Option<u64>, role: Option<&str>, of_role: &[RoleCount]) -> Value {
    let name = policy.to_possible_value().map(|value| value.get_name().replace('-', "_")).unwrap_or_default();
    let mut args = json!({ "policy": name });
    if let Some(required) = required {
        args["required"] = required.into();
    }
    if let Some(role) = role {
        args["role"] = role.into();
    }
    for RoleCount(role, count) in of_role {
        args["required"][role] = (*count).into();
    }
    args
}

#[cfg(test)]
mod tests;
