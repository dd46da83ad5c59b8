//! Writes a snapshot, one record at a time.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use coco_crypto::{AeadKey, Crypto, Sha256};
use coco_disk::Disk;
use coco_types::{MapName, Retention, limits};

use super::{
    DIGEST_BYTES, FILE_ID_BYTES, HEADER_BYTES, Header, LAST, PIECE_HEADER_BYTES, SnapshotHead, SnapshotName, TAG_END,
    TAG_MAP, TAG_RECORD, additional_data, nonce,
};
use crate::error::disk_error;
use crate::{EntryKeys, Error};

/// A snapshot that is being written. It has its name only once it is whole and durable; dropped before, it leaves a file that
/// nobody takes for one.
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    name: SnapshotName,
    key: AeadKey,
    header: [u8; HEADER_BYTES],
    /// Plaintext of the next piece, and what does not fit into it.
    pending: Vec<u8>,
    pieces: u64,
    hash: Sha256,
    offset: u64,
    map: Option<MapName>,
    records: u64,
}

impl SnapshotWriter {
    pub fn create(
        disk: Arc<dyn Disk>,
        keys: &EntryKeys,
        crypto: &dyn Crypto,
        head: &SnapshotHead,
    ) -> Result<Self, Error> {
        let name = SnapshotName(head.place.txid.seqno);
        let mut file_id = [0; FILE_ID_BYTES];
        crypto.fill(&mut file_id);
        let header = Header { file_id, place: head.place }.encode();
        let file = name.writing();
        if disk.exists(&file).map_err(disk_error(&file))? {
            disk.remove(&file).map_err(disk_error(&file))?;
        }
        let mut writer = Self {
            key: keys.snapshot_key(name.0, &file_id)?,
            disk,
            name,
            header,
            pending: head.encode(),
            pieces: 0,
            hash: Sha256::new(),
            offset: 0,
            map: None,
            records: 0,
        };
        writer.write(&header)?;
        Ok(writer)
    }

    /// Adds a record. They come in order of their maps' names, then of their keys; `history:` maps are left out.
    pub fn add(&mut self, map: &MapName, key: &Bytes, value: &Bytes) -> Result<(), Error> {
        assert!(map.retention() == Retention::Live, "history is not state");
        if self.map.as_ref() != Some(map) {
            self.pending.put_u8(TAG_MAP);
            put(&mut self.pending, map.as_str().as_bytes());
            self.map = Some(map.clone());
        }
        self.pending.put_u8(TAG_RECORD);
        put(&mut self.pending, key);
        put(&mut self.pending, value);
        self.records += 1;
        while self.pending.len() > limits::SNAPSHOT_PIECE_BYTES {
            let rest = self.pending.split_off(limits::SNAPSHOT_PIECE_BYTES);
            self.seal(false)?;
            self.pending = rest;
        }
        Ok(())
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.offset
    }

    /// Ends the file, makes it durable, and only then gives it its name.
    pub fn finish(mut self) -> Result<(SnapshotName, u64), Error> {
        self.pending.put_u8(TAG_END);
        self.pending.put_u64_le(self.records);
        while self.pending.len() > limits::SNAPSHOT_PIECE_BYTES {
            let rest = self.pending.split_off(limits::SNAPSHOT_PIECE_BYTES);
            self.seal(false)?;
            self.pending = rest;
        }
        self.seal(true)?;
        let digest: [u8; DIGEST_BYTES] = self.hash.clone().finish().0;
        self.write(&digest)?;
        let (file, name) = (self.name.writing(), self.name.to_string());
        self.disk.sync(&file).map_err(disk_error(&file))?;
        self.disk.rename(&file, &name).and_then(|()| self.disk.sync_names()).map_err(disk_error(&name))?;
        Ok((self.name, self.offset))
    }

    fn seal(&mut self, is_last: bool) -> Result<(), Error> {
        let mut sealed = std::mem::take(&mut self.pending);
        let tag = self.key.seal(nonce(self.pieces), &additional_data(&self.header, is_last), &mut sealed);
        let len = u32::try_from(sealed.len()).expect("a piece is below its limit") | if is_last { LAST } else { 0 };
        let mut piece = Vec::with_capacity(PIECE_HEADER_BYTES + sealed.len());
        piece.put_u32_le(len);
        piece.put_slice(&tag);
        piece.put_slice(&sealed);
        self.pieces += 1;
        self.write(&piece)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let file = self.name.writing();
        self.disk.write(&file, self.offset, bytes).map_err(disk_error(&file))?;
        self.hash.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("a record is below its limit"));
    out.put_slice(bytes);
}
