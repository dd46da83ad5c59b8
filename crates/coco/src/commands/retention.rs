//! `coco ledger prune` and `restore`: old chunks leave a node's folder once an archive has them, and come back from it.
//!
//! ```text
//!   <data>/ledger:  1-90  91-200  201-310 │ 311-400  401          archive: 1-90  91-200  201-310
//!                   └──── taken out ────┘ └ from the older of the node's two snapshots on: its log and its starts need them
//! ```
//!
//! What is taken out stays provable: the folder keeps a list of it (`removed.ignored`: name, size and digest of each), `coco ledger archive` holds the archive to that list,
//! and the archive proves itself by the service's signatures. The last transaction that was taken out stays as well (`retention.ignored`): what
//! the node goes on from. Nothing that the archive does not have, unchanged and proved in the same call, is ever removed.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use coco_disk::Disk;
use coco_ledger::{ChunkName, LedgerFiles, SnapshotName};
use coco_node::shell::FolderDisk;
use coco_types::{Seqno, TxId};
use serde::{Deserialize, Serialize};

use super::archive::{self, Chunk};
use crate::output::{Hinted, Output};
use crate::read_only_disk::ReadOnlyDisk;
use crate::tls;

/// The list of what was taken out. Ledger tools set aside files of that suffix.
const REMOVED: &str = "removed.ignored";
/// A node keeps so many, and goes back to the older one if the newer is damaged.
const SNAPSHOTS: usize = 2;

#[derive(Args, Debug)]
pub struct Prune {
    /// Folder of ledger files: <data>/ledger of a node, which may run
    folder: PathBuf,
    /// Where the chunks are kept, by `coco ledger archive`: verified as a whole before anything is removed
    #[arg(long, value_name = "FOLDER")]
    archive: PathBuf,
    /// The service's certificate: the archive must end with this service
    #[arg(long, value_name = "CERT")]
    service: Option<PathBuf>,
    /// Leave so many of the newest complete chunks in any case
    #[arg(long, value_name = "CHUNKS", default_value_t = 0)]
    keep: usize,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
pub struct Restore {
    /// The archive
    archive: PathBuf,
    /// Folder of ledger files that lacks chunks: <data>/ledger of a node that is stopped
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// The service's certificate: the archive must end with this service
    #[arg(long, value_name = "CERT")]
    service: Option<PathBuf>,
}

/// `removed.ignored`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Removed {
    /// Oldest first.
    chunks: Vec<Chunk>,
    /// Where they were last.
    archive: PathBuf,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Pruned {
    removed: Vec<Chunk>,
    /// The node could do without these too, and they stay: the archive has not got them yet.
    not_archived: Vec<String>,
    dry_run: bool,
    /// The folder's ledger begins behind this transaction now.
    begins_behind: Option<TxId>,
    archive: PathBuf,
}

#[derive(Debug, Serialize)]
struct Restored {
    copied: usize,
    bytes: u64,
    /// Where the folder's ledger begins still, if not with its first transaction.
    begins_behind: Option<TxId>,
}

pub fn prune(options: &Prune, output: Output) -> anyhow::Result<()> {
    let Prune { folder, archive, service, keep, dry_run } = options;
    let service = service.as_deref().map(tls::read_certificate).transpose()?;
    let (own, other) = (real(folder)?, real(archive)?);
    ensure!(own != other, "{} is the folder itself: nothing would be left", archive.display());
    let disk = ReadOnlyDisk::open(own.clone())?;
    ensure!(
        !LedgerFiles::awaits_earlier(&disk)?,
        "{}: the node is still fetching chunks of before its snapshot",
        folder.display()
    );
    let listed = archive::read_list(archive)?;
    ensure!(!listed.is_empty(), not_archived(folder, archive));
    let candidates = removable(&own, *keep)?;
    let proved = archive::proved(archive, &listed, service)?;
    let mut leaving = Vec::new();
    for name in &candidates {
        let file = name.to_string();
        let Some(kept) = proved.chunks.iter().find(|chunk| chunk.file == file) else { break };
        let same = archive::digest_of(&own.join(&file))? == kept.sha256;
        ensure!(same, "{file} in {} is another one: these are two ledgers", archive.display());
        leaving.push(kept.clone());
    }
    let (going, staying) = candidates.split_at(leaving.len());
    ensure!(!going.is_empty() || staying.is_empty(), not_archived(folder, archive));
    let mut begins_behind = LedgerFiles::begins_behind(&disk)?;
    if let Some(last) = going.last().and_then(|name| name.last).filter(|_| !dry_run) {
        begins_behind = Some(take_out(&own, &other, &leaving, last)?);
    }
    let not_archived = staying.iter().map(ToString::to_string).collect();
    output.print(&Pruned { removed: leaving, not_archived, dry_run: *dry_run, begins_behind, archive: other })
}

/// First what the node goes on from and the list, then the files: whoever is interrupted has all of them, or knows where they are.
fn take_out(folder: &Path, archive: &Path, leaving: &[Chunk], last: Seqno) -> anyhow::Result<TxId> {
    let archived: Arc<dyn Disk> = Arc::new(ReadOnlyDisk::open(archive.to_owned())?);
    let begins = LedgerFiles::retain_after(&FolderDisk::open(folder)?, &archived, last)?;
    let mut list = read_removed(folder)?;
    list.chunks.retain(|before| !leaving.contains(before));
    list.chunks.extend_from_slice(leaving);
    list.archive = archive.to_owned();
    archive::write_json(&folder.join(REMOVED), &list)?;
    for chunk in leaving {
        fs::remove_file(folder.join(&chunk.file)).with_context(|| chunk.file.clone())?;
    }
    File::open(folder)?.sync_all()?;
    Ok(begins)
}

pub fn restore(options: &Restore, output: Output) -> anyhow::Result<()> {
    let Restore { archive, to, service } = options;
    let service = service.as_deref().map(tls::read_certificate).transpose()?;
    let listed = archive::read_list(archive)?;
    ensure!(!listed.is_empty(), "{} is no archive: it has no archive.json", archive.display());
    let disk = ReadOnlyDisk::open(real(to)?)?;
    let missing_to = match LedgerFiles::begins_behind(&disk)? {
        Some(begins) => begins.seqno,
        None => Seqno(0),
    };
    let proved = archive::proved(archive, &listed, service)?;
    let (mut copied, mut bytes) = (0, 0);
    for chunk in &proved.chunks {
        let name = ChunkName::parse(&chunk.file).context("the archive lists a file that is no chunk")?;
        let path = to.join(&chunk.file);
        // Also one that fills the gap by its name: the folder seems whole with it.
        if path.exists() {
            let same = archive::digest_of(&path)? == chunk.sha256;
            ensure!(same, "{} is not the archive's: take it away, and restore again", path.display());
            continue;
        }
        if name.last.is_none_or(|last| last > missing_to) {
            continue;
        }
        bring(&archive.join(&chunk.file), chunk, &path).with_context(|| path.display().to_string())?;
        copied += 1;
        bytes += chunk.bytes;
    }
    output.print(&Restored { copied, bytes, begins_behind: LedgerFiles::begins_behind(&disk)? })
}

/// Under its name only once it is known to be what the archive has proved.
fn bring(from: &Path, chunk: &Chunk, to: &Path) -> anyhow::Result<()> {
    let folder = to.parent().context("a file lies in a folder")?;
    let mut copy = tempfile::NamedTempFile::new_in(folder)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    ensure!(archive::digest_of(copy.path())? == chunk.sha256, "{} was changed while it was copied", chunk.file);
    copy.as_file().sync_all()?;
    copy.persist(to)?;
    Ok(File::open(folder)?.sync_all()?)
}

/// What was taken out of a folder, as it was then.
pub(super) fn removed(folder: &Path) -> anyhow::Result<Vec<Chunk>> {
    Ok(read_removed(folder)?.chunks)
}

fn read_removed(folder: &Path) -> anyhow::Result<Removed> {
    let path = folder.join(REMOVED);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removed::default()),
        text => serde_json::from_slice(&text?).with_context(|| path.display().to_string()),
    }
}

/// The complete chunks that the node can do without, oldest first.
fn removable(folder: &Path, keep: usize) -> anyhow::Result<Vec<ChunkName>> {
    let snapshots = folder.parent().context("a node's ledger lies in its data folder")?.join("snapshots");
    let entries = fs::read_dir(&snapshots).with_context(|| snapshots.display().to_string())?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut places: Vec<Seqno> = names.filter_map(|name| SnapshotName::parse(&name)).map(|name| name.0).collect();
    places.sort();
    let Some(from) = places.iter().rev().nth(SNAPSHOTS - 1) else {
        return Err(Hinted::error(
            format!(
                "{} holds {} snapshots, and the node needs its ledger until it has {SNAPSHOTS}",
                snapshots.display(),
                places.len()
            ),
            "a node takes one each time that its ledger has grown by snapshot_bytes of its configuration",
        ));
    };
    let mut chunks = archive::chunks(folder)?;
    chunks.truncate(chunks.len().saturating_sub(keep));
    chunks.retain(|name| name.last.is_some_and(|last| last <= *from));
    Ok(chunks)
}

fn not_archived(folder: &Path, archive: &Path) -> anyhow::Error {
    Hinted::error(
        format!("{} has none of the chunks that {} could do without", archive.display(), folder.display()),
        format!("bring it up to date: coco ledger archive {} --to {}", folder.display(), archive.display()),
    )
}

fn real(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::canonicalize(folder).with_context(|| folder.display().to_string())
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.removed.iter().map(|chunk| chunk.bytes).sum();
        let done = if self.dry_run { "would be removed" } else { "removed" };
        write!(f, "{} chunks, {bytes} bytes {done}; {} has them", self.removed.len(), self.archive.display())?;
        if let [first, ..] = self.not_archived.as_slice() {
            write!(
                f,
                "\n{} chunks stay, from {first} on: the archive does not have them yet",
                self.not_archived.len()
            )?;
        }
        match &self.begins_behind {
            Some(begins) => write!(f, "\nthis ledger begins behind {begins}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} chunks, {} bytes copied; ", self.copied, self.bytes)?;
        match &self.begins_behind {
            Some(begins) => write!(f, "this ledger still begins behind {begins}"),
            None => write!(f, "this ledger begins with its first transaction"),
        }
    }
}
