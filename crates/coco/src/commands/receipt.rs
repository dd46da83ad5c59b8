//! `coco receipt …`: fetches receipts, and verifies them offline.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use anyhow::{Context, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use coco_crypto::PublicKey;
use coco_governance::{Endorsement, EndorsementRow};
use coco_ledger::receipt::{JsonReceipt, verify_json_receipt, verify_json_receipt_of_key};
use coco_types::{NodeId, TxId};
use serde::{Deserialize, Serialize};

use crate::commands::receipt_signer;
use crate::http::{Connection, Url};
use crate::json_rpc::Client;
use crate::output::{self, Hinted, Output};
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Tries until a transaction is committed, one a second.
const TRIES_MAX: u32 = 30;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch a transaction's receipt from a node
    Get(Get),
    /// Verify a receipt without any network
    Verify(Verify),
}

#[derive(Args, Debug)]
pub struct Get {
    /// The ledger transaction, view.seqno, or the hash of an Ethereum transaction
    transaction: Transaction,
    /// A node's API
    #[arg(long, default_value = "https://127.0.0.1:8000")]
    api: Url,
    /// A node's Ethereum listener, asked about hashes
    #[arg(long, default_value = "http://127.0.0.1:8545")]
    ethereum: Url,
    /// The service's certificate, to reach the API
    #[arg(long, value_name = "CERT")]
    service: Option<PathBuf>,
    /// Where to write it; to standard output as hex when absent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How a transaction is named.
#[derive(Clone, Copy, Debug)]
enum Transaction {
    Ledger(TxId),
    Ethereum(B256),
}

impl FromStr for Transaction {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.starts_with("0x") {
            return Ok(Self::Ethereum(text.parse().context("not a transaction hash")?));
        }
        Ok(Self::Ledger(text.parse()?))
    }
}

#[derive(Args, Debug)]
pub struct Verify {
    /// The receipt: COSE, or JSON
    receipt: PathBuf,
    /// The service's certificate
    #[arg(long, value_name = "CERT")]
    service: PathBuf,
    /// How that service endorsed those whose ledger it recovered, for receipts that they signed: the answer of
    /// GET /gov/coco/service/endorsements
    #[arg(long, value_name = "FILE")]
    endorsements: Option<PathBuf>,
    /// Also check that the node that signed was trusted in its view; needs a copy of the ledger
    #[arg(long, requires = "ledger")]
    strict: bool,
    /// Folder of ledger files, for --strict
    #[arg(long, value_name = "DIR", requires = "strict")]
    ledger: Option<PathBuf>,
    /// What the transaction is said to claim: the CBOR map that came with the receipt
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
}

pub fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Get(options) => get(options, output),
        Command::Verify(options) => verify(options, output),
    }
}

fn get(options: &Get, output: Output) -> anyhow::Result<()> {
    let (transaction_id, receipt) = match options.transaction {
        Transaction::Ledger(txid) => (txid, fetch(options, txid)?),
        Transaction::Ethereum(hash) => ask_ethereum(options, &hash)?,
    };
    let Some(path) = &options.out else { return output::line(&hex::encode(receipt)) };
    fs::write(path, &receipt).with_context(|| path.display().to_string())?;
    output.print(&Kept { transaction_id, bytes: receipt.len(), file: path.display().to_string() })
}

/// Asks a node's API, until the transaction is committed.
fn fetch(options: &Get, txid: TxId) -> anyhow::Result<Vec<u8>> {
    let service = options.service.as_deref().ok_or_else(|| {
        Hinted::error(
            "a node's API is reached with the service's certificate",
            "add --service CERT; `coco dev` prints where it is",
        )
    })?;
    let tls = tls::trusting(&tls::read_certificate(service)?)?;
    let path = options.api.at(&format!("/node/receipt?transaction_id={txid}")).path;
    let mut connection = Connection::open(&options.api, Some(&tls), TIMEOUT)?;
    for _ in 0..TRIES_MAX {
        let answer = connection.call("GET", &path, &[("accept", "application/cose")], b"")?;
        match answer.status {
            200 => return Ok(answer.body),
            202 => thread::sleep(Duration::from_secs(1)),
            status => {
                let body = String::from_utf8_lossy(&answer.body);
                return Err(Hinted::error(
                    format!("{txid}: HTTP status {status}: {}", body.trim()),
                    "the id is the x-ms-ccf-transaction-id of the answer to a write",
                ));
            }
        }
    }
    bail!("{txid} is still not committed")
}

/// The answer to `coco_getReceipt`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EthereumReceipt {
    transaction_id: TxId,
    receipt: Option<Bytes>,
}

fn ask_ethereum(options: &Get, hash: &B256) -> anyhow::Result<(TxId, Vec<u8>)> {
    let answer: Option<EthereumReceipt> = Client::connect(&options.ethereum)?.call("coco_getReceipt", (hash,))?;
    let answer = answer.with_context(|| format!("{hash} is in no block"))?;
    let receipt = answer.receipt.with_context(|| format!("there is no receipt of {}", answer.transaction_id))?;
    Ok((answer.transaction_id, receipt.into()))
}

#[derive(Debug, Serialize)]
struct Kept {
    transaction_id: TxId,
    bytes: usize,
    file: String,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "receipt of {}: {} bytes in {}", self.transaction_id, self.bytes, self.file)
    }
}

fn verify(options: &Verify, output: Output) -> anyhow::Result<()> {
    let receipt = fs::read(&options.receipt).with_context(|| options.receipt.display().to_string())?;
    let service = tls::read_certificate(&options.service)?;
    let claims =
        options.claims.as_ref().map(|path| fs::read(path).with_context(|| path.display().to_string())).transpose()?;
    let proved = if receipt.trim_ascii_start().starts_with(b"{") {
        ensure!(!options.strict, "only receipts in COSE are verified with --strict");
        let receipt: JsonReceipt = serde_json::from_slice(&receipt).context("malformed JSON receipt")?;
        let chain = options.endorsements.as_deref().map(read_endorsements).transpose()?.unwrap_or_default();
        let transaction_id = match verify_json_receipt(&receipt, &service, claims.as_deref()) {
            Ok(txid) => txid,
            Err(first) => {
                let under = |key: &PublicKey| verify_json_receipt_of_key(&receipt, key, claims.as_deref()).ok();
                verify_through(service.public_key(), &chain, under, |txid| *txid)?.ok_or(first)?
            }
        };
        Proved { transaction_id, signed_at: None, subject: None, signer: None, claims: None }
    } else {
        let chain = options.endorsements.as_deref().map(read_endorsements).transpose()?.unwrap_or_default();
        let under = |key: &PublicKey| coco_ledger::verify_receipt(&receipt, key, claims.as_deref());
        let verified = match under(service.public_key()) {
            Ok(verified) => verified,
            Err(first) => {
                let found =
                    verify_through(service.public_key(), &chain, |key| under(key).ok(), |verified| verified.txid)?;
                found.ok_or(first)?
            }
        };
        let claims = verified.claims.map(|claims| Claimed {
            protocol: claims.protocol,
            kind: claims.kind,
            id: output::readable(&claims.id),
            result: claims.result.to_string(),
        });
        let signer = match &options.ledger {
            Some(folder) => Some(receipt_signer::of(&receipt, verified.signed_at, folder, service.public_key())?),
            None => None,
        };
        Proved {
            signer,
            transaction_id: verified.txid,
            signed_at: Some(verified.signed_at),
            subject: Some(verified.subject),
            claims,
        }
    };
    output.print(&proved)
}

fn read_endorsements(path: &Path) -> anyhow::Result<Vec<EndorsementRow>> {
    #[derive(Deserialize)]
    struct Listed {
        value: Vec<EndorsementRow>,
    }
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice::<Listed>(&text).with_context(|| path.display().to_string())?.value)
}

/// Verifies under the key of an earlier service which the service vouches for, for what that one signed in its time; nothing if it is of none.
fn verify_through<T>(
    service: &PublicKey,
    chain: &[EndorsementRow],
    under: impl Fn(&PublicKey) -> Option<T>,
    txid_of: impl Fn(&T) -> TxId,
) -> anyhow::Result<Option<T>> {
    let mut key = service.clone();
    for row in chain {
        let message = BASE64.decode(&row.endorsement).context("an endorsement is not base64")?;
        let says = Endorsement::verify(&message, &key).map_err(|why| anyhow!(why))?;
        let Some(end) = says.end else { break };
        if let Some(verified) = under(&says.endorsed) {
            let txid = txid_of(&verified);
            let in_time = (says.begin.seqno..=end.seqno).contains(&txid.seqno);
            ensure!(in_time, "{txid} is not of the time for which its service is endorsed");
            return Ok(Some(verified));
        }
        key = says.endorsed;
    }
    Ok(None)
}

/// What a valid receipt proves.
#[derive(Debug, Serialize)]
struct Proved {
    transaction_id: TxId,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_at: Option<TxId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The node that signed, which was trusted in its view.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Claimed>,
}

#[derive(Debug, Serialize)]
struct Claimed {
    protocol: String,
    kind: String,
    id: String,
    result: String,
}

impl fmt::Display for Proved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "valid: {} is committed in this service's ledger", self.transaction_id)?;
        if let (Some(signed_at), Some(subject)) = (self.signed_at, &self.subject) {
            write!(f, "\nsigned at {signed_at}, subject {subject}")?;
        }
        if let Some(signer) = &self.signer {
            write!(f, "\nsigned by node {signer}, trusted in its view")?;
        }
        if let Some(claims) = &self.claims {
            write!(f, "\nclaims: {} {} {}, result {}", claims.protocol, claims.kind, claims.id, claims.result)?;
        }
        Ok(())
    }
}
