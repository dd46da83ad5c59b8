//! `coco gov …`: members propose, look, vote.

mod actions;
mod application;
pub mod audit;
mod report;
mod signing;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use coco_crypto::DecryptionKey;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::actions::Action;
use self::report::{Line, List, ProposalReport, SimulationReport, ballot, difference};
use self::signing::Prepared;
use crate::governance::{self, Gov, Member, NO, Refused, YES, read_text};
use crate::http::Url;
use crate::output::{self, Output};
use crate::tls;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Propose a change
    Propose {
        #[command(subcommand)]
        action: Action,
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Signer,
    },
    /// Vote on a proposal
    Vote {
        proposal: String,
        #[command(flatten)]
        ballot: Ballot,
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Signer,
    },
    /// Withdraw one's own proposal
    Withdraw {
        proposal: String,
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Signer,
    },
    /// Acknowledge the present state, and so become an active member
    Ack {
        /// The digest that was given; without it, a new one is asked for first
        #[arg(long, value_name = "HEX")]
        digest: Option<String>,
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Signer,
    },
    /// Hand in one's recovery share, while a recovered service waits for it
    SubmitShare {
        /// The member's encryption key, which opens the share: PKCS#8 in PEM
        #[arg(long, value_name = "FILE", default_value = "member_enc_privk.pem")]
        encryption_key: PathBuf,
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Signer,
    },
    /// List the proposals that are open or newly settled
    List {
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Reader,
    },
    /// Say when a proposal is made, voted on or settled, until Ctrl-C
    Watch {
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Reader,
    },
    /// What a proposal would do, and who has voted how
    Show {
        proposal: String,
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Reader,
    },
    /// Try a proposal on the present state, changing nothing
    Simulate {
        #[command(subcommand)]
        action: Action,
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Reader,
    },
    /// List the members
    Members {
        #[command(flatten)]
        network: Network,
        #[command(flatten)]
        member: Reader,
    },
    /// Print the constitution in force, or how another differs from it
    Constitution {
        /// Compare with this file
        #[arg(long, value_name = "FILE")]
        diff: Option<PathBuf>,
        /// Print its SHA-256 only: what a node's configuration names as approved
        #[arg(long, conflicts_with = "diff")]
        digest: bool,
        #[command(flatten)]
        network: Network,
    },
    /// Send a request that was prepared with --prepare and signed elsewhere
    Finish {
        /// What --prepare wrote
        prepared: PathBuf,
        /// {"value": base64 of r then s}
        #[arg(long, value_name = "FILE")]
        signature: PathBuf,
        #[command(flatten)]
        network: Network,
    },
}

#[derive(Args, Debug)]
pub struct Network {
    /// Any node's API
    #[arg(long, default_value = "https://127.0.0.1:8000", global = true)]
    api: Url,
    /// The service's certificate
    #[arg(long, value_name = "CERT", default_value = "service_certificate.pem", global = true)]
    service: PathBuf,
}

/// Who signs.
#[derive(Args, Debug)]
pub struct Signer {
    /// The member's certificate
    #[arg(long, value_name = "CERT", global = true, required = false, default_value = "member_cert.pem")]
    cert: PathBuf,
    /// The member's key: a file in PEM, or pkcs11:token=…;object=…?module-path=…&pin-source=FILE for a key in an HSM
    #[arg(long, value_name = "FILE", global = true)]
    key: Option<PathBuf>,
    /// Write what is to be signed to this file instead, for a key that is elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "key", global = true)]
    prepare: Option<PathBuf>,
}

/// Who looks: a member proves itself by certificate and key.
#[derive(Args, Debug)]
pub struct Reader {
    /// The member's certificate
    #[arg(long, value_name = "CERT", requires = "key", global = true)]
    cert: Option<PathBuf>,
    /// The member's key, in PEM
    #[arg(long, value_name = "FILE", requires = "cert", global = true)]
    key: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Ballot {
    /// In favour
    #[arg(long)]
    yes: bool,
    /// Against
    #[arg(long)]
    no: bool,
    /// As this JavaScript module decides: export function vote(proposal, proposerId)
    #[arg(long, value_name = "FILE")]
    ballot: Option<PathBuf>,
}

pub fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Propose { action, network, member } => {
            let text = action.proposal()?;
            let sent = network.send(member, "proposal", None, text.as_bytes(), "members/proposals:create")?;
            print_proposal(sent, output)
        }
        Command::Vote { proposal, ballot, network, member } => {
            let payload = json!({ "ballot": ballot.text()? }).to_string();
            let path = governance::ballot_path(proposal, &member.read()?.id);
            print_proposal(network.send(member, "ballot", Some(proposal), payload.as_bytes(), &path)?, output)
        }
        Command::Withdraw { proposal, network, member } => {
            let path = format!("members/proposals/{proposal}:withdraw");
            print_proposal(network.send(member, "withdrawal", Some(proposal), b"", &path)?, output)
        }
        Command::Ack { digest, network, member } => acknowledge(digest.as_deref(), network, member),
        Command::SubmitShare { encryption_key, network, member } => submit_share(encryption_key, network, member),
        Command::List { network, member } => list(&network.read_by(&member.read()?)?, output),
        Command::Watch { network, member } => watch::run(&network.read_by(&member.read()?)?, output),
        Command::Show { proposal, network, member } => show(proposal, network, &member.read()?, output),
        Command::Simulate { action, network, member } => {
            let member = member.read()?.context("only members may simulate: name --cert and --key")?;
            output.print(&SimulationReport(network.gov(Some(&member))?.simulate(&action.proposal()?)?))
        }
        Command::Members { network, member } => members(&network.read_by(&member.read()?)?, output),
        Command::Constitution { digest: true, network, .. } => {
            let text = network.gov(None)?.text("service/constitution")?;
            output::line(&coco_crypto::sha256(text.as_bytes()).to_string())
        }
        Command::Constitution { diff, network, .. } => constitution(diff.as_ref(), &network.gov(None)?),
        Command::Finish { prepared, signature, network } => {
            let prepared = Prepared::read(prepared)?;
            let message = prepared.finish(signature)?;
            print_proposal(Some(network.gov(None)?.post(&prepared.path, &message)?), output)
        }
    }
}

impl Network {
    /// With a member, its certificate is presented to the node.
    fn gov(&self, member: Option<&Member>) -> anyhow::Result<Gov> {
        let service = tls::read_certificate(&self.service)?;
        let tls = match member {
            Some(member) => {
                let key = member
                    .key()
                    .context("to prove itself to the node, a member needs its key in a file: --key FILE")?;
                tls::as_client(&service, &member.certificate, key)?
            }
            None => tls::trusting(&service)?,
        };
        Ok(Gov::new(self.api.clone(), tls))
    }

    /// As whoever is named, so that what members keep among themselves is told to them. A key in a token signs, and does not prove itself to TLS.
    fn read_by(&self, member: &Option<Member>) -> anyhow::Result<Gov> {
        self.gov(member.as_ref().filter(|member| member.key().is_some()))
    }

    /// Signs and sends; or only writes what is to be signed, and gives nothing.
    fn send(
        &self,
        signer: &Signer,
        kind: &str,
        proposal: Option<&str>,
        payload: &[u8],
        path: &str,
    ) -> anyhow::Result<Option<Value>> {
        let member = signer.read()?;
        if let Some(file) = &signer.prepare {
            Prepared::new(&member, &member.draft(kind, proposal, payload)?, path).write(file)?;
            output::tell(format_args!(
                "{}: have \"value\" signed, then: coco gov finish {} --signature FILE",
                file.display(),
                file.display()
            ));
            return Ok(None);
        }
        let message = member.sign(kind, proposal, payload)?;
        self.gov(None)?.post(path, &message).map(Some)
    }
}

impl Signer {
    fn read(&self) -> anyhow::Result<Member> {
        Member::read(&self.cert, self.key.as_deref())
    }
}

impl Reader {
    fn read(&self) -> anyhow::Result<Option<Member>> {
        self.cert.as_ref().map(|cert| Member::read(cert, self.key.as_deref())).transpose()
    }
}

impl Ballot {
    fn text(&self) -> anyhow::Result<String> {
        match &self.ballot {
            Some(path) => read_text(path),
            None => Ok(if self.yes { YES } else { NO }.to_owned()),
        }
    }
}

fn print_proposal(answer: Option<Value>, output: Output) -> anyhow::Result<()> {
    let Some(answer) = answer else { return Ok(()) };
    if output == Output::Json || answer["proposalId"].is_null() {
        return output::line(&answer.to_string());
    }
    let text = |field: &str| answer[field].as_str().unwrap_or_default();
    let count = answer["ballotCount"].as_u64().unwrap_or_default();
    let votes = if count == 1 { "1 vote".to_owned() } else { format!("{count} votes") };
    output::line(&format!("{}\n{}, {votes}", text("proposalId"), text("proposalState")))
}

fn acknowledge(digest: Option<&str>, network: &Network, signer: &Signer) -> anyhow::Result<()> {
    let member = signer.read()?;
    let path = format!("members/state-digests/{}", member.id);
    match digest {
        None if signer.prepare.is_none() => {
            let digest = governance::acknowledge(&network.gov(None)?, &member)?;
            output::line(&format!("{} is active: it acknowledged the state {digest}", member.id))
        }
        None => {
            network.send(signer, "state_digest", None, b"", &format!("{path}:update"))?;
            output::tell("when that is sent, acknowledge the digest in its answer with --digest");
            Ok(())
        }
        Some(digest) => {
            let payload = json!({ "stateDigest": digest }).to_string();
            match network.send(signer, "ack", None, payload.as_bytes(), &format!("{path}:ack"))? {
                Some(_) => output::line(&format!("{} is active: it acknowledged the state {digest}", member.id)),
                None => Ok(()),
            }
        }
    }
}

fn submit_share(encryption_key: &Path, network: &Network, signer: &Signer) -> anyhow::Result<()> {
    let member = signer.read()?;
    let key = DecryptionKey::from_pem(&read_text(encryption_key)?).context("the encryption key")?;
    let given = network.gov(None)?.json(&format!("recovery/encrypted-shares/{}", member.id))?;
    let encrypted = given["encryptedShare"].as_str().context("the node gave no share")?;
    let encrypted = BASE64.decode(encrypted).context("the node gave no share")?;
    let share = key.decrypt(&encrypted).context("the share is not encrypted to this key")?;
    let payload = Zeroizing::new(json!({ "share": BASE64.encode(&*share) }).to_string());
    let path = format!("recovery/members/{}:recover", member.id);
    match network.send(signer, "recovery_share", None, payload.as_bytes(), &path)? {
        Some(answer) => output::line(answer["message"].as_str().unwrap_or_default()),
        None => Ok(()),
    }
}

fn list(gov: &Gov, output: Output) -> anyhow::Result<()> {
    output.print(&List(proposals(gov)?))
}

/// Those that are open or newly settled.
fn proposals(gov: &Gov) -> anyhow::Result<Vec<Line>> {
    let names = member_names(gov)?;
    let proposals = gov.json("members/proposals")?;
    let line = |proposal: &Value| {
        let text = |field: &str| proposal[field].as_str().unwrap_or_default().to_owned();
        let proposer = names.get(&text("proposerId")).cloned().unwrap_or_else(|| text("proposerId"));
        let actions = gov.text(&format!("members/proposals/{}/actions", text("proposalId")));
        // Members may have voted to keep it among themselves.
        let actions = actions.map_or("not told to outsiders".to_owned(), |actions| action_names(&actions));
        let text_of = format!("{actions} (by {proposer}, {} votes)", proposal["ballotCount"]);
        Line { id: text("proposalId"), status: text("proposalState"), text: text_of }
    };
    Ok(proposals["value"].as_array().into_iter().flatten().map(line).collect())
}

fn members(gov: &Gov, output: Output) -> anyhow::Result<()> {
    let listed = gov.json("service/members")?;
    let line = |member: &Value| {
        let text = |field: &str| member[field].as_str().unwrap_or_default().to_owned();
        let data = if member["memberData"].is_null() { String::new() } else { member["memberData"].to_string() };
        Line { id: text("memberId"), status: text("status"), text: data }
    };
    output.print(&List(listed["value"].as_array().into_iter().flatten().map(line).collect()))
}

fn show(proposal: &str, network: &Network, member: &Option<Member>, output: Output) -> anyhow::Result<()> {
    // A key in a token signs, and does not prove itself to TLS: then there is no simulation.
    let member = member.as_ref().filter(|member| member.key().is_some());
    let gov = network.gov(member)?;
    let shown = gov.json(&format!("members/proposals/{proposal}"))?;
    let text = gov.text(&format!("members/proposals/{proposal}/actions"))?;
    let simulation = match member {
        Some(_) if shown["proposalState"] == "Open" => Some(gov.simulate(&text)?),
        _ => None,
    };
    let sentences = simulation.as_ref().and_then(|simulation| simulation["actions"].as_array());
    let actions: Vec<String> = match sentences {
        Some(sentences) if !sentences.is_empty() => {
            sentences.iter().map(|sentence| sentence.as_str().unwrap_or_default().to_owned()).collect()
        }
        _ => spelt_actions(&text),
    };
    let names = member_names(&gov)?;
    let proposer = shown["proposerId"].as_str().unwrap_or_default();
    let (votes, silent) = votes(&gov, proposal, &shown, &names)?;
    let proposer = names.get(proposer).cloned().unwrap_or_else(|| proposer.to_owned());
    output.print(&ProposalReport { proposer, actions, simulation, votes, silent, proposal: shown })
}

type Votes = (BTreeMap<String, String>, Vec<String>);

fn votes(gov: &Gov, proposal: &str, shown: &Value, names: &BTreeMap<String, String>) -> anyhow::Result<Votes> {
    let (mut votes, mut silent) = (BTreeMap::new(), Vec::new());
    for (id, name) in names {
        match gov.text(&format!("members/proposals/{proposal}/ballots/{id}")) {
            Ok(text) => {
                let counted = match shown["finalVotes"][id].as_bool() {
                    Some(true) => ", counted in favour",
                    Some(false) => ", counted against",
                    None if shown["voteFailures"][id].is_object() => ", which failed",
                    None => "",
                };
                votes.insert(name.clone(), format!("{}{counted}", ballot(&text)));
            }
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == "VoteNotFound") => {
                silent.push(name.clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok((votes, silent))
}

/// Member id → its name, else the id.
fn member_names(gov: &Gov) -> anyhow::Result<BTreeMap<String, String>> {
    let listed = gov.json("service/members")?;
    let name = |member: &Value| {
        let id = member["memberId"].as_str().unwrap_or_default().to_owned();
        let name = member["memberData"]["name"].as_str().map_or_else(|| id.clone(), str::to_owned);
        (id, name)
    };
    Ok(listed["value"].as_array().into_iter().flatten().map(name).collect())
}

fn constitution(diff: Option<&PathBuf>, gov: &Gov) -> anyhow::Result<()> {
    let in_force = gov.text("service/constitution")?;
    let Some(other) = diff else { return output::line(in_force.strip_suffix('\n').unwrap_or(&in_force)) };
    let lines = difference(&in_force, &read_text(other)?);
    output::line(&if lines.is_empty() { "no difference".to_owned() } else { lines.join("\n") })
}

fn action_names(text: &str) -> String {
    let names: Vec<_> = parsed_actions(text).iter().map(|action| spelt(&action["name"])).collect();
    names.join(", ")
}

fn spelt_actions(text: &str) -> Vec<String> {
    parsed_actions(text).iter().map(|action| format!("{} {}", spelt(&action["name"]), action["args"])).collect()
}

fn parsed_actions(text: &str) -> Vec<Value> {
    let parsed: Value = serde_json::from_str(text).unwrap_or_default();
    parsed["actions"].as_array().cloned().unwrap_or_default()
}

fn spelt(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
