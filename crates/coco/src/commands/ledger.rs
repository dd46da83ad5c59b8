//! `coco ledger …`: audits and reads a ledger folder, without a network.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use clap::{Args, Subcommand};
use coco_crypto::{DecryptionKey, SymmetricKey};
use coco_disk::Disk;
use coco_governance::{GrantRow, secrets, tables};
use coco_kv::Store;
use coco_ledger::{DecodedTransaction, EntryKeys, FolderReport, SnapshotName, SnapshotReader, VerifyOptions};
use coco_types::{Seqno, TxId, WriteSet};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use super::gov::audit::{self, Register, Settled, Summary};
use super::{archive, audit_attestations, retention};
use crate::output::{self, Hinted, Output};
use crate::read_only_disk::ReadOnlyDisk;
use crate::tls;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check every entry, root and signature of a folder, and the snapshots in it
    Verify(Verify),
    /// Print transactions
    Show(Show),
    /// Copy complete chunks to an archive, and prove all of it by the service's signatures
    Archive(archive::Archive),
    /// Free a node's disk of old chunks that an archive has, proved and unchanged
    Prune(retention::Prune),
    /// Copy back from an archive what a node's folder lacks
    Restore(retention::Restore),
    /// Replay every proposal, ballot and decision, and say who decided what
    AuditGovernance(AuditGovernance),
    /// Judge every admission of a node again, from the evidence and the policy of its time
    AuditAttestations(AuditAttestations),
}

#[derive(Args, Debug)]
pub struct Verify {
    /// Folder of ledger files
    folder: PathBuf,
    /// The service's certificate: the ledger must end with this service; without it, with whatever the ledger says
    #[arg(long, value_name = "CERT")]
    service: Option<PathBuf>,
    /// Ledger secrets, which open the sealed parts: a line for each epoch, its first seqno and its secret in hex. Epochs before one
    /// that is given are opened through it
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// An auditor's private key, RSA in PEM: opens the epochs that the members have granted it
    #[arg(long, value_name = "FILE")]
    auditor_key: Option<PathBuf>,
    /// A crash may have torn the end of the last file: report it instead of failing
    #[arg(long)]
    torn_tail: bool,
}

#[derive(Args, Debug)]
pub struct AuditGovernance {
    /// Folder of ledger files; what they hold is verified by `verify`
    folder: PathBuf,
}

#[derive(Args, Debug)]
pub struct AuditAttestations {
    /// Folder of ledger files; what they hold is verified by `verify`
    folder: PathBuf,
}

#[derive(Args, Debug)]
pub struct Show {
    /// Folder of ledger files
    folder: PathBuf,
    /// First seqno
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Last seqno
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// Ledger secrets, as for `verify`
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// An auditor's private key, as for `verify`
    #[arg(long, value_name = "FILE")]
    auditor_key: Option<PathBuf>,
}

pub fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Verify(options) => verify(options, output),
        Command::Show(options) => show(options, output),
        Command::Archive(options) => archive::run(options, output),
        Command::Prune(options) => retention::prune(options, output),
        Command::Restore(options) => retention::restore(options, output),
        Command::AuditAttestations(options) => audit_attestations::run(open(&options.folder)?, output),
        Command::AuditGovernance(options) => audit::run(open(&options.folder)?, output),
    }
}

fn verify(options: &Verify, output: Output) -> anyhow::Result<()> {
    let disk = open(&options.folder)?;
    let service = options.service.as_deref().map(tls::read_certificate).transpose()?;
    let verify = VerifyOptions {
        service: service.map(|certificate| certificate.public_key().into()),
        keys: keys(&disk, options.secrets.as_deref(), options.auditor_key.as_deref())?,
        torn_tail_allowed: options.torn_tail,
    };
    let bar = bytes_bar();
    let report = coco_ledger::verify_folder(&disk, &verify, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes_done);
        bar.set_message(progress.txid.to_string());
    });
    bar.finish_and_clear();
    let report = report.with_context(|| options.folder.display().to_string())?;
    let of_ledger = verify.service.as_ref().map(|named| report.service_keys().unwrap_or_else(|| named.clone()));
    let snapshots = snapshots(&disk, &VerifyOptions { service: of_ledger, ..verify })
        .with_context(|| options.folder.display().to_string())?;
    if report.transactions == 0 && !snapshots.is_empty() {
        return output.print(&Verified { snapshots, ..Verified::from(report) });
    }
    if report.transactions == 0 {
        return Err(Hinted::error(
            format!("{} holds no ledger", options.folder.display()),
            "name the folder with the files ledger_1-….committed: <data>/ledger of a node",
        ));
    }
    let mut verified = Verified { snapshots, ..Verified::from(report) };
    // A torn end was reported; what is before it can still be replayed only by reading past it.
    // Neither can what began before the folder.
    if verified.torn.is_none() && verified.from.is_none() {
        let mut register = Register::default();
        verified.governance = audit::replay(disk, &mut |event| {
            register.note(event);
            Ok(())
        })?;
        verified.decisions = register.settled;
    }
    output.print(&verified)?;
    if !verified.governance.is_clean() {
        return Err(Hinted::error(
            "the ledger holds governance that its members' requests do not explain",
            "`coco ledger audit-governance` says what",
        ));
    }
    Ok(())
}

/// What `coco ledger verify` found.
#[derive(Debug, Serialize)]
struct Verified {
    files: usize,
    transactions: u64,
    signatures: u64,
    /// Sealed parts that the given secrets opened.
    opened: u64,
    /// The folder begins later than with transaction 1: it is verified from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<TxId>,
    last: TxId,
    signed: TxId,
    committed: TxId,
    /// Snapshot files whose digest is right, and which were opened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    snapshots: Vec<SnapshotFile>,
    services: Vec<Service>,
    governance: Summary,
    /// Proposals that were settled, as the replay of their ballots confirms.
    decisions: Vec<Settled>,
    #[serde(skip_serializing_if = "Option::is_none")]
    torn: Option<String>,
}

#[derive(Debug, Serialize)]
struct SnapshotFile {
    file: String,
    /// The state is as of here.
    at: TxId,
    /// The given secrets opened it, and all of its content is in order.
    opened: bool,
}

#[derive(Debug, Serialize)]
struct Service {
    since: TxId,
    /// SHA-256 of the certificate.
    fingerprint: String,
}

impl From<FolderReport> for Verified {
    fn from(report: FolderReport) -> Self {
        let service = |(since, certificate): (TxId, coco_crypto::Certificate)| Service {
            since,
            fingerprint: certificate.fingerprint().to_string(),
        };
        Self {
            files: report.chunks,
            transactions: report.transactions,
            signatures: report.signatures,
            opened: report.opened,
            from: report.from,
            snapshots: Vec::new(),
            last: report.last,
            signed: report.signed,
            committed: report.committed,
            services: report.services.into_iter().map(service).collect(),
            governance: Summary::default(),
            decisions: Vec::new(),
            torn: report.torn.map(|(file, offset, why)| format!("{file}, byte {offset}: {why}")),
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "verified: {} transactions in {} files, {} signatures",
            self.transactions, self.files, self.signatures
        )?;
        for SnapshotFile { file, at, opened } in &self.snapshots {
            let opened = if *opened { "opened, in order" } else { "its digest is right" };
            writeln!(f, "{file}: the state at {at}, {opened}")?;
        }
        if let Some(from) = self.from {
            writeln!(
                f,
                "the folder begins later than with transaction 1: verified behind {from}, without its governance"
            )?;
        }
        writeln!(f, "committed to {}, signed to {}, ends at {}", self.committed, self.signed, self.last)?;
        for service in &self.services {
            writeln!(f, "service since {}: certificate {}", service.since, service.fingerprint)?;
        }
        if self.governance.requests > 0 || !self.governance.is_clean() {
            writeln!(f, "{}", self.governance)?;
        }
        for settled in &self.decisions {
            writeln!(f, "  {settled}")?;
        }
        if let Some(torn) = &self.torn {
            writeln!(f, "torn: {torn}")?;
        }
        match self.opened {
            0 => write!(f, "sealed parts: authenticated, not opened"),
            opened => write!(f, "sealed parts: {opened} opened"),
        }
    }
}

/// The snapshot files of a folder: each one's digest; its seals and the service's signature too, if the keys are given.
fn snapshots(disk: &Arc<dyn Disk>, options: &VerifyOptions) -> anyhow::Result<Vec<SnapshotFile>> {
    let mut found = Vec::new();
    for name in disk.names()?.iter().filter_map(|name| SnapshotName::parse(name)) {
        let file = name.to_string();
        let at = coco_ledger::check_snapshot(disk, &file).with_context(|| file.clone())?.txid;
        let opened = match SnapshotReader::open(disk.clone(), &file, &options.keys) {
            Err(coco_ledger::Error::NoSecret { .. }) => false,
            reader => {
                let mut reader = reader.with_context(|| file.clone())?;
                if let Some(service) = &options.service {
                    reader.head().verify(service).with_context(|| file.clone())?;
                }
                while reader.next_record().with_context(|| file.clone())?.is_some() {}
                true
            }
        };
        found.push(SnapshotFile { file, at, opened });
    }
    Ok(found)
}

fn show(options: &Show, output: Output) -> anyhow::Result<()> {
    let disk = open(&options.folder)?;
    let keys = keys(&disk, options.secrets.as_deref(), options.auditor_key.as_deref())?;
    for transaction in coco_ledger::transactions(disk, keys)? {
        let transaction = transaction?;
        let seqno = transaction.txid.seqno.0;
        if seqno > options.to {
            break;
        }
        if seqno >= options.from {
            output.print(&Shown(transaction))?;
        }
    }
    Ok(())
}

/// One transaction as it is printed.
struct Shown(DecodedTransaction);

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(transaction) = self;
        let shown = json!({
            "transaction_id": transaction.txid,
            "file": transaction.file,
            "offset": transaction.offset,
            "entry_bytes": transaction.entry_bytes,
            "sealed_bytes": transaction.sealed_bytes,
            "write_set_digest": transaction.write_set_digest,
            "claims_digest": transaction.claims_digest,
            "public": maps(&transaction.public),
            "private": transaction.private.as_ref().map(maps),
        });
        shown.serialize(serializer)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(transaction) = self;
        write!(
            f,
            "{}  {} byte {}, {} bytes",
            transaction.txid, transaction.file, transaction.offset, transaction.entry_bytes
        )?;
        write_maps(f, &transaction.public)?;
        match &transaction.private {
            Some(private) => write_maps(f, private),
            None if transaction.sealed_bytes > 0 => write!(f, "\n  sealed: {} bytes", transaction.sealed_bytes),
            None => Ok(()),
        }
    }
}

fn write_maps(f: &mut fmt::Formatter<'_>, writes: &WriteSet) -> fmt::Result {
    for (map, writes) in writes {
        write!(f, "\n  {map}")?;
        for (key, value) in writes {
            let value = value.as_ref().map_or_else(|| "removed".to_owned(), |value| output::readable(value));
            write!(f, "\n    {} = {value}", output::readable(key))?;
        }
    }
    Ok(())
}

fn maps(writes: &WriteSet) -> Value {
    let of_map = |writes: &coco_types::MapWrites| -> Value {
        let shown = writes.iter().map(|(key, value)| {
            let value = value.as_ref().map(|value| output::readable(value));
            (output::readable(key), Value::from(value))
        });
        Value::Object(shown.collect())
    };
    Value::Object(writes.iter().map(|(map, writes)| (map.to_string(), of_map(writes))).collect())
}

fn open(folder: &Path) -> anyhow::Result<Arc<dyn Disk>> {
    Ok(Arc::new(ReadOnlyDisk::open(folder.to_owned()).with_context(|| folder.display().to_string())?))
}

/// What opens sealed parts: whole secrets, and what was granted to an auditor.
fn keys(disk: &Arc<dyn Disk>, secrets: Option<&Path>, auditor_key: Option<&Path>) -> anyhow::Result<EntryKeys> {
    let mut keys = all_epochs(disk, read_secrets(secrets)?)?;
    let Some(path) = auditor_key else { return Ok(keys) };
    let pem = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let key = DecryptionKey::from_pem(&pem).with_context(|| path.display().to_string())?;
    let mut granted = 0;
    for transaction in coco_ledger::transactions(disk.clone(), EntryKeys::new())? {
        let Ok(transaction) = transaction else { break };
        let rows = transaction.public.map(&tables::AUDIT_GRANTS).into_iter().flatten();
        for row in rows.filter_map(|(_, row)| GrantRow::parse(row.as_deref()?)) {
            let Some(content) = row.open(&key)? else { continue };
            let epoch = serde_json::from_slice(&content).context("a grant of another version of this software")?;
            keys.add_disclosed(&epoch);
            granted += 1;
        }
    }
    ensure!(granted > 0, "{}: no epoch of this ledger was granted to this key", path.display());
    Ok(keys)
}

/// Reads the secrets' file.
fn read_secrets(path: Option<&Path>) -> anyhow::Result<EntryKeys> {
    let mut keys = EntryKeys::new();
    let Some(path) = path else { return Ok(keys) };
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (first, secret) = epoch(line).with_context(|| format!("{}, line {}", path.display(), i + 1))?;
        keys.add_epoch(first, &secret);
    }
    Ok(keys)
}

/// Each epoch's secret lies in the ledger, sealed under the one after it: who has the newest has them all.
fn all_epochs(disk: &Arc<dyn Disk>, mut keys: EntryKeys) -> anyhow::Result<EntryKeys> {
    if keys.newest().is_none() {
        return Ok(keys);
    }
    let mut rows = Store::new().begin();
    for transaction in coco_ledger::transactions(disk.clone(), EntryKeys::new())? {
        // What is damaged is found and named by the verification itself.
        let Ok(transaction) = transaction else { break };
        for (key, row) in transaction.public.map(&tables::EPOCHS).into_iter().flatten() {
            row.iter().for_each(|row| rows.put(&tables::EPOCHS, key.clone(), row.clone()));
        }
    }
    let given: Vec<_> = keys.epochs().map(|(first, secret)| (first, secret.clone())).collect();
    for newest in given {
        for (first, secret) in secrets::earlier(&mut rows, newest)? {
            keys.add_epoch(first, &secret);
        }
    }
    Ok(keys)
}

fn epoch(line: &str) -> anyhow::Result<(Seqno, SymmetricKey)> {
    let (first, secret) = line.trim().split_once(' ').context("expected a seqno and a secret")?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(secret.trim(), &mut bytes).map_err(|_| anyhow!("a secret has 32 bytes, in hex"))?;
    Ok((Seqno(first.parse().context("the seqno")?), SymmetricKey::from_bytes(bytes)))
}

fn bytes_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {bar:40} {bytes}/{total_bytes} {bytes_per_sec}");
    ProgressBar::new(0).with_style(style.expect("the template is well-formed"))
}
