//! The disk as the core sees it: named files in one flat folder, of which only synced bytes survive a crash.
//!
//! The ledger and the consensus log are written against [`Disk`], so that the same code runs over a real folder (in the
//! node's shell) and over [`MemoryDisk`], whose every write can be lost or torn by a test.
//!
//! What it deliberately does not do: paths, permissions, locking, memory maps.

mod memory;

use std::io;

pub use memory::{MemoryDisk, Power};

/// A flat folder of files. Shared between threads: readers may read what one writer has appended, synced or not.
///
/// A write is *durable* once a [`Disk::sync`] of its file that began after it has returned; a created, renamed or removed
/// name is durable once a later [`Disk::sync_names`] has returned. After a failed sync nothing may be assumed of what was
/// written since the last good one: the owner stops.
pub trait Disk: Send + Sync {
    /// The names of all files, sorted.
    fn names(&self) -> io::Result<Vec<String>>;
    /// The length in bytes; `NotFound` if there is no such file.
    fn len(&self, name: &str) -> io::Result<u64>;
    /// Exactly `len` bytes from `offset`; `UnexpectedEof` if the file is shorter.
    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Writes at `offset`, creating the file and extending it as needed.
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;
    /// Replaces `to` if it exists.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the file's bytes and length durable (fdatasync).
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable (fsync of the folder).
    fn sync_names(&self) -> io::Result<()>;

    /// The whole file.
    fn read_all(&self, name: &str) -> io::Result<Vec<u8>> {
        let len = self.len(name)?;
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.read(name, 0, len)
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        match self.len(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Replaces a small file so that a crash leaves the old or the new content, never a mixture.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let next = format!("{name}.next");
        if self.exists(&next)? {
            self.remove(&next)?;
        }
        self.write(&next, 0, bytes)?;
        self.sync(&next)?;
        self.rename(&next, name)?;
        self.sync_names()
    }
}
