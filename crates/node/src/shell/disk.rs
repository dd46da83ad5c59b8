//! A real folder as a [`Disk`].

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coco_disk::Disk;
use parking_lot::Mutex;

/// Open files are kept; beyond this many the first by name is dropped.
const OPEN_FILES_MAX: usize = 64;

/// A folder. Created if absent; only its own user may read it.
pub struct FolderDisk {
    folder: PathBuf,
    open: Mutex<BTreeMap<String, Arc<File>>>,
}

impl FolderDisk {
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder)?;
        Ok(Self { folder: folder.to_owned(), open: Mutex::default() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn file(&self, name: &str, create: bool) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some(file) = open.get(name) {
            return Ok(file.clone());
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = Arc::new(options.open(self.path(name)).map_err(|error| named(name, &error))?);
        if open.len() >= OPEN_FILES_MAX {
            open.pop_first();
        }
        open.insert(name.to_owned(), file.clone());
        Ok(file)
    }
}

impl Disk for FolderDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.file(name, false)?.metadata()?.len())
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = self.file(name, false)?;
        let end = offset.checked_add(len as u64).filter(|end| file.metadata().is_ok_and(|data| *end <= data.len()));
        if end.is_none() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} is shorter")));
        }
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset).map_err(|error| named(name, &error))?;
        Ok(bytes)
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name, true)?.write_all_at(bytes, offset).map_err(|error| named(name, &error))
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.file(name, false)?.set_len(len).map_err(|error| named(name, &error))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        // Nobody may open one of the names in between: what they got would stay under the wrong name.
        let mut open = self.open.lock();
        open.remove(from);
        open.remove(to);
        fs::rename(self.path(from), self.path(to)).map_err(|error| named(from, &error))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut open = self.open.lock();
        open.remove(name);
        fs::remove_file(self.path(name)).map_err(|error| named(name, &error))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name, false)?.sync_data().map_err(|error| named(name, &error))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_what_is_written_under_the_last_name() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FolderDisk::open(&folder.path().join("node")).unwrap();
        disk.write("a", 0, b"hello").unwrap();
        disk.write("a", 5, b" world").unwrap();
        disk.sync("a").unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_names().unwrap();
        assert_eq!(disk.read("b", 6, 5).unwrap(), b"world");
        assert_eq!(disk.read("b", 6, 6).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(disk.len("a").unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.truncate("b", 5).unwrap();
        assert_eq!(disk.names().unwrap(), ["b"]);
        assert_eq!(disk.read_all("b").unwrap(), b"hello");
    }
}
