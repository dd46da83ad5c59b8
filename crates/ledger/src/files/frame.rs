//! The frame of a chunk: its name, its header, and where its entries end.

use coco_disk::Disk;
use coco_types::Seqno;

use super::{CHUNK_HEADER_BYTES, ChunkName};
use crate::Error;
use crate::error::disk_error;

pub(crate) struct ChunkFrame {
    pub name: ChunkName,
    pub file: String,
    pub file_bytes: u64,
    /// Where the entries end.
    pub end: u64,
    /// It has a position table.
    pub complete: bool,
}

impl ChunkFrame {
    /// All chunks of a folder, by first seqno; whether they are contiguous is not looked at.
    pub fn all(disk: &dyn Disk) -> Result<Vec<Self>, Error> {
        Self::names(disk)?.into_iter().map(|name| Self::read(disk, name)).collect()
    }

    /// The same, as a crash may have left them, or a node that writes: of a chunk that is not named complete, header and table may be there in part, and only its
    /// entries tell where it ends.
    pub fn all_as_left(disk: &dyn Disk) -> Result<Vec<Self>, Error> {
        let frame = |name: ChunkName| {
            if name.last.is_some() {
                return Self::read(disk, name);
            }
            let file = name.to_string();
            let file_bytes = disk.len(&file).map_err(disk_error(&file))?;
            Ok(Self { name, file, file_bytes, end: file_bytes, complete: false })
        };
        Self::names(disk)?.into_iter().map(frame).collect()
    }

    fn names(disk: &dyn Disk) -> Result<Vec<ChunkName>, Error> {
        let names = disk.names().map_err(disk_error("names"))?;
        let mut names: Vec<ChunkName> = names.iter().filter_map(|name| ChunkName::parse(name)).collect();
        names.sort_by_key(|name| name.first);
        Ok(names)
    }

    pub fn read(disk: &dyn Disk, name: ChunkName) -> Result<Self, Error> {
        Self::read_as(disk, name, &name.to_string())
    }

    /// The same of a chunk whose file does not have its name yet.
    pub fn read_as(disk: &dyn Disk, name: ChunkName, file: &str) -> Result<Self, Error> {
        let file = file.to_owned();
        let damaged = |why: &str| Error::Damaged {
            file: file.clone(),
            offset: 0,
            after: Seqno(name.first.0 - 1),
            why: why.to_owned(),
        };
        let file_bytes = disk.len(&file).map_err(disk_error(&file))?;
        if file_bytes < CHUNK_HEADER_BYTES {
            return Err(damaged("no header"));
        }
        let header = disk.read(&file, 0, 8).map_err(disk_error(&file))?;
        let table = header.try_into().map(u64::from_le_bytes).map_err(|_| damaged("no header"))?;
        // A chunk gets its table first, and its name when that is synced: whoever reads a ledger while its node writes may find it in between.
        let complete = name.last.is_some() || table != 0;
        let end = if complete { table } else { file_bytes };
        if complete && !(CHUNK_HEADER_BYTES..=file_bytes).contains(&table) {
            return Err(damaged("the header does not point to a position table"));
        }
        Ok(Self { name, file, file_bytes, end, complete })
    }
}
