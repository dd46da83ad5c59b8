//! `coco ledger archive`: complete chunks go from a node's folder to a place that outlives the node, and what lies there then is proved.
//!
//! Each chunk ends with a transaction that the service signed over everything before it, so an archive proves itself: nothing of it has to be
//! taken on trust from whoever keeps it, and `coco ledger verify` says so again at any time. Chunks never change and are the same on every node,
//! so that an archive may be filled from one node today and from another tomorrow; one that differs is refused, as two ledgers never mix.
//! Nothing is deleted from the node here: that is `coco ledger prune` ([`super::retention`]), which asks the archive first.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use coco_crypto::Sha256;
use coco_disk::Disk;
use coco_ledger::{ChunkName, VerifyOptions};
use coco_types::TxId;
use serde::{Deserialize, Serialize};

use super::retention;
use crate::output::{Hinted, Output};
use crate::read_only_disk::ReadOnlyDisk;
use crate::tls;

/// What an archive's own list of its files is called.
const LIST: &str = "archive.json";
/// Copied at a time.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Args, Debug)]
pub struct Archive {
    /// Folder of ledger files: <data>/ledger of a node, which may run
    folder: PathBuf,
    /// The archive: complete chunks that it lacks are copied there, and all of it is verified
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// The service's certificate: the archive must end with this service
    #[arg(long, value_name = "CERT")]
    service: Option<PathBuf>,
}

/// `archive.json`, and what is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct List {
    /// Oldest first.
    pub chunks: Vec<Chunk>,
    transactions: u64,
    /// The archive is proved up to here, by the service's signature over everything before.
    signed: TxId,
    /// And this much of it was committed by then.
    committed: TxId,
    /// SHA-256 of the certificate that signed last.
    service: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Archived {
    /// Chunks that were not there before.
    copied: usize,
    #[serde(flatten)]
    list: List,
}

pub fn run(options: &Archive, output: Output) -> anyhow::Result<()> {
    let service = options.service.as_deref().map(tls::read_certificate).transpose()?;
    fs::create_dir_all(&options.to).with_context(|| options.to.display().to_string())?;
    let before = read_list(&options.to)?;
    let chunks = chunks(&options.folder)?;
    ensure!(!chunks.is_empty() || !before.is_empty(), nothing_complete(&options.folder));
    let mut copied = 0;
    for name in &chunks {
        let file = name.to_string();
        let (from, to) = (options.folder.join(&file), options.to.join(&file));
        if to.exists() {
            let same = digest_of(&from)? == digest_of(&to)?;
            ensure!(same, "{file} in {} is another one: these are two ledgers", options.to.display());
        } else {
            copy(&from, &to).with_context(|| to.display().to_string())?;
            copied += 1;
        }
    }
    let list = proved(&options.to, &before, service)?;
    let gone = retention::removed(&options.folder)?.into_iter().find(|chunk| !list.chunks.contains(chunk));
    ensure!(
        gone.is_none(),
        "{} was taken out of {}, and is not in the archive as it was",
        gone.map_or_else(String::new, |chunk| chunk.file),
        options.folder.display()
    );
    write_list(&options.to, &list)?;
    output.print(&Archived { copied, list })
}

fn nothing_complete(folder: &Path) -> anyhow::Error {
    Hinted::error(
        format!("{} holds no complete chunk", folder.display()),
        "name the folder with the files ledger_1-….committed: <data>/ledger of a node. A chunk is complete at 64 MiB",
    )
}

/// Verifies the whole archive, and that what was listed before is there still.
pub(super) fn proved(
    archive: &Path,
    before: &[Chunk],
    service: Option<coco_crypto::Certificate>,
) -> anyhow::Result<List> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk::open(archive.to_owned())?);
    let options = VerifyOptions {
        service: service.map(|certificate| certificate.public_key().into()),
        ..VerifyOptions::default()
    };
    let report = coco_ledger::verify_folder(&disk, &options, &mut |_| ());
    let report = report.with_context(|| archive.display().to_string())?;
    let mut listed = Vec::new();
    for name in chunks(archive)? {
        let file = name.to_string();
        let path = archive.join(&file);
        listed.push(Chunk { bytes: fs::metadata(&path)?.len(), sha256: digest_of(&path)?, file });
    }
    let lost = before.iter().find(|chunk| !listed.contains(chunk));
    ensure!(lost.is_none(), "{} was archived before, and is not there as it was", lost.map_or("", |chunk| &chunk.file));
    let service = report.services.last().map(|(_, certificate)| certificate.fingerprint().to_string());
    Ok(List {
        chunks: listed,
        transactions: report.transactions,
        signed: report.signed,
        committed: report.committed,
        service,
    })
}

/// The complete chunks of a folder, oldest first.
pub(super) fn chunks(folder: &Path) -> anyhow::Result<Vec<ChunkName>> {
    let disk = ReadOnlyDisk::open(folder.to_owned()).with_context(|| folder.display().to_string())?;
    let names = disk.names()?;
    let mut chunks: Vec<_> =
        names.iter().filter_map(|name| ChunkName::parse(name)).filter(|name| name.committed).collect();
    chunks.sort_by_key(|name| name.first);
    Ok(chunks)
}

pub(super) fn read_list(archive: &Path) -> anyhow::Result<Vec<Chunk>> {
    let path = archive.join(LIST);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => {
            let list: List = serde_json::from_slice(&text?).with_context(|| path.display().to_string())?;
            Ok(list.chunks)
        }
    }
}

fn write_list(archive: &Path, list: &List) -> anyhow::Result<()> {
    write_json(&archive.join(LIST), list)
}

/// Whole and durable, or as it was.
pub(super) fn write_json(path: &Path, content: &impl Serialize) -> anyhow::Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(content)?)?;
    keep(file, path).with_context(|| path.display().to_string())
}

/// Whole and durable under its name, or not there.
pub(super) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let folder = to.parent().context("a file lies in a folder")?;
    let mut copy = tempfile::NamedTempFile::new_in(folder)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    keep(copy, to)
}

fn keep(file: tempfile::NamedTempFile, path: &Path) -> anyhow::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path)?;
    let folder = path.parent().context("a file lies in a folder")?;
    Ok(File::open(folder)?.sync_all()?)
}

pub(super) fn digest_of(path: &Path) -> anyhow::Result<String> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hash.finish().to_string());
        }
        hash.update(piece.get(..read).unwrap_or_default());
    }
}

impl fmt::Display for Archived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { copied, list } = self;
        let bytes: u64 = list.chunks.iter().map(|chunk| chunk.bytes).sum();
        let (chunks, transactions) = (list.chunks.len(), list.transactions);
        writeln!(f, "{copied} chunks copied; the archive has {chunks}, {bytes} bytes, {transactions} transactions")?;
        write!(
            f,
            "proved to {} by the service with certificate {}",
            list.signed,
            list.service.as_deref().unwrap_or("-")
        )
    }
}
