//! A node's ledger folder, with other folders beside it that are only read.
//!
//! Complete chunks never change, so it does not matter where they lie: those that an operator has moved to an archive are read there, for receipts, for nodes
//! that join, and when the history is made anew. The node's own files come first, and whatever it writes or removes is its own. Of the others only
//! chunks count that lie wholly before what it may still write: an archive that was filled from another node may be ahead of this one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use coco_disk::Disk;
use coco_ledger::ChunkName;
use coco_types::Seqno;

use super::disk::FolderDisk;
use crate::config::NodeConfig;

/// See the module's text.
pub struct LedgerDisk {
    own: FolderDisk,
    read_only: Vec<PathBuf>,
}

impl LedgerDisk {
    /// One that is not there now is passed over: what only it holds is not held here.
    pub fn open(config: &NodeConfig) -> io::Result<Arc<dyn Disk>> {
        for folder in &config.read_only_ledger_directories {
            if let Err(error) = fs::read_dir(folder) {
                tracing::warn!(folder = %folder.display(), %error, "a read-only ledger directory is not there");
            }
        }
        let own = FolderDisk::open(&config.data.join("ledger"))?;
        Ok(Arc::new(Self { own, read_only: config.read_only_ledger_directories.clone() }))
    }

    /// The chunks of the other folders that count, given the names in the own one.
    fn beside(&self, own: &[String]) -> Vec<String> {
        let chunks: Vec<_> = own.iter().filter_map(|name| ChunkName::parse(name)).collect();
        let open = chunks.iter().filter(|chunk| !chunk.committed).map(|chunk| chunk.first).min();
        let behind_committed = chunks.iter().filter_map(|chunk| chunk.last).max().map(Seqno::next);
        let Some(limit) = open.or(behind_committed) else { return Vec::new() };
        let entries = self.read_only.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let counts = |chunk: ChunkName| chunk.committed && chunk.last.is_some_and(|last| last < limit);
        names.filter(|name| ChunkName::parse(name).is_some_and(counts)).collect()
    }

    /// A file of the other folders.
    fn elsewhere<T>(&self, name: &str, missing: io::Error, read: impl Fn(&File) -> io::Result<T>) -> io::Result<T> {
        if missing.kind() != io::ErrorKind::NotFound || ChunkName::parse(name).is_none_or(|chunk| !chunk.committed) {
            return Err(missing);
        }
        let mut found = self.read_only.iter().filter_map(|folder| File::open(folder.join(name)).ok());
        found.next().map_or(Err(missing), |file| read(&file))
    }
}

impl Disk for LedgerDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = self.own.names()?;
        if !self.read_only.is_empty() {
            let beside = self.beside(&names);
            names.extend(beside);
            names.sort();
            names.dedup();
        }
        Ok(names)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.own.len(name).or_else(|error| self.elsewhere(name, error, |file| Ok(file.metadata()?.len())))
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.own.read(name, offset, len).or_else(|error| {
            self.elsewhere(name, error, |file| {
                let end = offset.checked_add(len as u64);
                if end.is_none_or(|end| file.metadata().is_ok_and(|data| end > data.len())) {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} is shorter")));
                }
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes)
            })
        })
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.own.write(name, offset, bytes)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.own.truncate(name, len)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.own.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.own.remove(name)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.own.sync(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.own.sync_names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(folder: &std::path::Path, own: &[&str], archived: &[&str]) -> LedgerDisk {
        let archive = folder.join("archive");
        fs::create_dir(&archive).unwrap();
        let disk = FolderDisk::open(&folder.join("ledger")).unwrap();
        own.iter().for_each(|name| disk.write(name, 0, b"own").unwrap());
        archived.iter().for_each(|name| fs::write(archive.join(name), b"archived").unwrap());
        LedgerDisk { own: disk, read_only: vec![folder.join("nowhere"), archive] }
    }

    #[test]
    fn chunks_that_lie_in_an_archive_are_read_there_and_the_own_ones_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(
            folder.path(),
            &["ledger_7-9.committed", "ledger_10", "merkle.ignored"],
            &["ledger_1-6.committed", "ledger_7-9.committed", "archive.json", "merkle.ignored"],
        );
        let names = ["ledger_1-6.committed", "ledger_10", "ledger_7-9.committed", "merkle.ignored"];
        assert_eq!(disk.names().unwrap(), names);
        assert_eq!(disk.read("ledger_1-6.committed", 2, 3).unwrap(), b"chi");
        assert_eq!(disk.len("ledger_1-6.committed").unwrap(), 8);
        assert_eq!(disk.read_all("ledger_7-9.committed").unwrap(), b"own");
        assert_eq!(disk.read("ledger_1-6.committed", 2, 9).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(disk.read("archive.json", 0, 1).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(disk.remove("ledger_1-6.committed").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_archive_that_is_ahead_of_this_node_does_not_count_where_the_node_still_writes() {
        for (own, counted) in [
            (&["ledger_1-6.committed", "ledger_7", "ledger_10"][..], &["ledger_1-6.committed"][..]),
            (&["ledger_7-9.committed"], &["ledger_1-6.committed", "ledger_7-9.committed"]),
            (&[], &[]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let all = ["ledger_1-6.committed", "ledger_7-9.committed", "ledger_10-12.committed"];
            let disk = disk(folder.path(), own, &all);
            let names = disk.names().unwrap();
            let committed: Vec<_> = names.iter().filter(|name| name.ends_with(".committed")).collect();
            assert_eq!(committed, counted);
        }
    }
}
