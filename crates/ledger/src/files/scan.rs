//! Walks the entries of a chunk from its file, in windows, so that memory is bounded whatever the file's size.

use std::sync::Arc;

use coco_disk::Disk;

use super::CHUNK_HEADER_BYTES;
use crate::entry::HEAD_BYTES;
use crate::error::disk_error;
use crate::{Entry, Error, FLAG_CHUNK_AFTER};

const WINDOW_BYTES: u64 = 1 << 20;

pub(crate) struct EntryScanner {
    disk: Arc<dyn Disk>,
    file: String,
    /// Of the next entry.
    offset: u64,
    end: u64,
    /// See [`EntryScanner::of_chunk`].
    stops_with_chunk: bool,
    chunk_ended: bool,
    window: Vec<u8>,
    window_start: u64,
}

impl EntryScanner {
    /// Over the bytes of `file` from behind its header to `end`.
    pub fn new(disk: Arc<dyn Disk>, file: &str, end: u64) -> Self {
        let file = file.to_owned();
        Self {
            disk,
            file,
            offset: CHUNK_HEADER_BYTES,
            end,
            stops_with_chunk: false,
            chunk_ended: false,
            window: Vec::new(),
            window_start: CHUNK_HEADER_BYTES,
        }
    }

    /// The same, but it ends with the entry that ends the chunk: if a crash came between the position table and the header, what follows is the table.
    pub fn of_chunk(disk: Arc<dyn Disk>, file: &str, end: u64) -> Self {
        Self { stops_with_chunk: true, ..Self::new(disk, file, end) }
    }

    /// Where the next entry begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry; `None` exactly at the end. After an error the scanner stays before the bad entry.
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        if self.offset >= self.end || (self.chunk_ended && self.stops_with_chunk) {
            return Ok(None);
        }
        self.fill(HEAD_BYTES as u64)?;
        let head = crate::EntryHead::read(self.visible())?;
        self.fill(head.entry_bytes as u64)?;
        let start = self.window_offset();
        let visible = self.window.get(start..).unwrap_or_default();
        let (entry, _) = Entry::split_first(visible)?;
        self.offset += head.entry_bytes as u64;
        self.chunk_ended = entry.head().flags & FLAG_CHUNK_AFTER != 0;
        Ok(Some(entry))
    }

    /// Brings at least `len` bytes from the offset into the window, as far as the file has them.
    fn fill(&mut self, len: u64) -> Result<(), Error> {
        let window_end = self.window_start + self.window.len() as u64;
        let wanted_end = self.offset.saturating_add(len).min(self.end);
        if wanted_end <= window_end {
            return Ok(());
        }
        let read = len.max(WINDOW_BYTES).min(self.end - self.offset);
        let read = usize::try_from(read).map_err(|_| Error::MalformedEntry { why: "impossible size" })?;
        self.window = self.disk.read(&self.file, self.offset, read).map_err(disk_error(&self.file))?;
        self.window_start = self.offset;
        Ok(())
    }

    fn visible(&self) -> &[u8] {
        self.window.get(self.window_offset()..).unwrap_or_default()
    }

    fn window_offset(&self) -> usize {
        usize::try_from(self.offset - self.window_start).unwrap_or(usize::MAX)
    }
}
