//! A folder that is only read: an auditor's copy may lie on read-only media, and an audit must not change what it judges.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use coco_disk::Disk;

/// See the module's text. Everything that would write fails.
pub struct ReadOnlyDisk {
    folder: PathBuf,
}

impl ReadOnlyDisk {
    /// The folder must exist.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        if fs::metadata(&folder)?.is_dir() { Ok(Self { folder }) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnlyDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort();
        Ok(names)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.folder.join(name))?.len())
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.folder.join(name))?;
        let available = file.metadata()?.len().saturating_sub(offset);
        if (len as u64) > available {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn write(&self, _name: &str, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        refused()
    }

    fn truncate(&self, _name: &str, _len: u64) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn sync(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn sync_names(&self) -> io::Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_within_its_bounds_and_never_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), b"hello").unwrap();
        let disk = ReadOnlyDisk::open(folder.path().to_owned()).unwrap();
        assert_eq!(disk.names().unwrap(), ["a"]);
        assert_eq!(disk.read("a", 1, 3).unwrap(), b"ell");
        assert_eq!(disk.read("a", 3, 3).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(disk.write("a", 0, b"x").is_err() && disk.remove("a").is_err() && disk.truncate("a", 0).is_err());
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"hello");
    }
}
