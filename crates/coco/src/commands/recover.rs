//! `coco recover`: takes the ledger files of a lost network, says what they hold, and prepares the node that begins the new service.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;
use coco_disk::Disk;
use coco_governance::{MemberInfo, SharesRow};
use coco_node::config::{NodeConfig, Start};
use coco_node::recovering;
use coco_types::TxId;
use serde::Serialize;

use crate::output::{Hinted, Output};
use crate::read_only_disk::ReadOnlyDisk;
use crate::tls;

#[derive(Args, Debug)]
pub struct Options {
    /// The configuration file of the node that recovers: [start] how = "recover"
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ledger files of any node of the lost network, <data>/ledger; they are copied
    #[arg(long, value_name = "DIR")]
    ledger: PathBuf,
}

pub fn run(options: &Options, output: Output) -> anyhow::Result<()> {
    let text = fs::read_to_string(&options.config).with_context(|| options.config.display().to_string())?;
    let config: NodeConfig = toml::from_str(&text).with_context(|| options.config.display().to_string())?;
    let Start::Recover { previous_service_certificate: previous } = &config.start else {
        return Err(Hinted::error(
            format!("{} does not recover", options.config.display()),
            "[start] needs how = \"recover\" and previous_service_certificate = \"FILE\"",
        ));
    };
    if config.data.exists() && fs::read_dir(&config.data)?.next().is_some() {
        bail!("{}: a recovered network begins in an empty folder", config.data.display());
    }
    let service = tls::read_certificate(previous)?;
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk::open(options.ledger.clone())?);
    let found = recovering::look(&disk, service.public_key())?;
    let mut state = found.state.snapshot();
    let shares = SharesRow::read(&mut state)?.context("the ledger has no recovery shares: nobody can open it")?;
    let members = MemberInfo::all(&mut state)?;
    let name = |id: &String| {
        let info = members.iter().find(|(member, _)| member == id);
        let name = info.and_then(|(_, info)| info.member_data["name"].as_str());
        name.map_or_else(|| id.clone(), |name| format!("{name} ({id})"))
    };
    copy(&options.ledger, &config.data.join("ledger"))?;
    output.print(&Prepared {
        recovered_to: found.signed,
        committed: found.committed,
        dropped: found.unsigned,
        threshold: shares.threshold,
        holders: shares.encrypted_shares.keys().map(name).collect(),
        config: options.config.clone(),
        previous: previous.clone(),
        certificate: config.data.join("service_certificate.pem"),
    })
}

/// Chunks only: a snapshot, and what is derived, is of no use to another service.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    let mut copied = 0;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if coco_ledger::ChunkName::parse(&entry.file_name().to_string_lossy()).is_some() {
            fs::copy(entry.path(), to.join(entry.file_name())).with_context(|| entry.path().display().to_string())?;
            copied += 1;
        }
    }
    ensure!(copied > 0, "{} holds no ledger files", from.display());
    Ok(())
}

/// What was found, and what is to be done.
#[derive(Debug, Serialize)]
struct Prepared {
    /// The last signed transaction: members see it, and vote on it.
    recovered_to: TxId,
    /// What was known to be committed then.
    committed: TxId,
    /// Transactions behind the last signature.
    dropped: u64,
    threshold: u64,
    holders: Vec<String>,
    config: PathBuf,
    previous: PathBuf,
    certificate: PathBuf,
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "recovered up to {} (known to be committed: up to {})", self.recovered_to, self.committed)?;
        if self.dropped > 0 {
            writeln!(f, "{} transactions behind the last signature are dropped", self.dropped)?;
        }
        writeln!(f, "{} recovery shares are needed, of:", self.threshold)?;
        for holder in &self.holders {
            writeln!(f, "  {holder}")?;
        }
        let (new, previous) = (self.certificate.display(), self.previous.display());
        writeln!(f, "next:")?;
        writeln!(f, "  1. start the node:       coco node start --config {}", self.config.display())?;
        writeln!(f, "  2. members look and vote: coco gov propose open {new} --previous {previous}")?;
        writeln!(f, "  3. holders hand in:      coco gov submit-share --encryption-key FILE")?;
        write!(f, "the new service's certificate is {new}: clients must be told that they can trust it")
    }
}
