//! Reads a snapshot back, piece by piece: memory is bounded by a piece and a record.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use coco_crypto::{AeadKey, Sha256, TAG_BYTES};
use coco_disk::Disk;
use coco_types::{Digest, MapName, Retention, limits};

use super::{
    DIGEST_BYTES, HEADER_BYTES, Header, LAST, PIECE_HEADER_BYTES, SnapshotHead, SnapshotPlace, TAG_END, TAG_MAP,
    TAG_RECORD, additional_data, malformed, nonce,
};
use crate::error::disk_error;
use crate::{EntryKeys, Error, ServiceKeys};

/// Hands out a snapshot's records. Nothing that it gave may be used before it has given `None`: only then is the file whole.
pub struct SnapshotReader {
    pieces: Pieces,
    key: AeadKey,
    head: SnapshotHead,
    /// Opened and not yet given out; `at` is where it goes on.
    open: Vec<u8>,
    at: usize,
    map: Option<MapName>,
    previous: Option<Bytes>,
    records: u64,
    ended: bool,
}

/// What a file says about itself, without any key: its place, if its digest is right and its pieces are in their frames.
pub fn check_snapshot(disk: &Arc<dyn Disk>, file: &str) -> Result<SnapshotPlace, Error> {
    let mut pieces = Pieces::open(Arc::clone(disk), file)?;
    while pieces.next()?.is_some() {}
    Ok(pieces.place)
}

impl SnapshotReader {
    pub fn open(disk: Arc<dyn Disk>, file: &str, keys: &EntryKeys) -> Result<Self, Error> {
        let mut pieces = Pieces::open(disk, file)?;
        let place = pieces.place;
        let key = keys.snapshot_key(place.txid.seqno, &pieces.file_id)?;
        let mut open = Vec::new();
        let (head, at) = loop {
            pieces.open_next(&key, &mut open)?;
            if let Some(head) = SnapshotHead::decode(place, &open)? {
                break head;
            }
        };
        Ok(Self { pieces, key, head, open, at, map: None, previous: None, records: 0, ended: false })
    }

    pub fn head(&self) -> &SnapshotHead {
        &self.head
    }

    /// Of the whole file.
    pub fn bytes(&self) -> u64 {
        self.pieces.len
    }

    /// Reads all of it and says whether it is whole, in order, and of a ledger that this service signed.
    pub fn verify(mut self, service: &ServiceKeys) -> Result<SnapshotHead, Error> {
        self.head.verify(service)?;
        while self.next_record()?.is_some() {}
        Ok(self.head)
    }

    /// The next record; `None` at the end, when everything was checked.
    pub fn next_record(&mut self) -> Result<Option<(MapName, Bytes, Bytes)>, Error> {
        if self.ended {
            return Ok(None);
        }
        loop {
            match self.fixed::<1>()? {
                [TAG_MAP] => self.begin_map()?,
                [TAG_RECORD] => return self.record().map(Some),
                [TAG_END] => return self.end().map(|()| None),
                _ => return Err(malformed("an unknown tag")),
            }
        }
    }

    fn begin_map(&mut self) -> Result<(), Error> {
        let name = self.string()?;
        let name = std::str::from_utf8(&name).map_err(|_| malformed("a map's name is not UTF-8"))?;
        let name = MapName::new(name);
        if name.retention() == Retention::History || self.map.as_ref().is_some_and(|before| *before >= name) {
            return Err(malformed("maps are not sorted and unique, or hold history"));
        }
        if self.map.is_some() && self.previous.is_none() {
            return Err(malformed("an empty map"));
        }
        (self.map, self.previous) = (Some(name), None);
        Ok(())
    }

    fn record(&mut self) -> Result<(MapName, Bytes, Bytes), Error> {
        let (key, value) = (self.string()?, self.string()?);
        let map = self.map.clone().ok_or(malformed("a record before any map"))?;
        if self.previous.as_ref().is_some_and(|before| *before >= key) {
            return Err(malformed("keys are not sorted and unique"));
        }
        self.previous = Some(key.clone());
        self.records += 1;
        Ok((map, key, value))
    }

    fn end(&mut self) -> Result<(), Error> {
        let records = u64::from_le_bytes(self.fixed()?);
        if records != self.records || (self.map.is_some() && self.previous.is_none()) {
            return Err(malformed("records are missing"));
        }
        if self.at != self.open.len() || self.pieces.next()?.is_some() {
            return Err(malformed("something follows the end"));
        }
        self.ended = true;
        Ok(())
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.fill(N)?;
        let bytes = self.open.get(self.at..).and_then(|rest| rest.first_chunk()).ok_or(malformed("cut off"))?;
        self.at += N;
        Ok(*bytes)
    }

    fn string(&mut self) -> Result<Bytes, Error> {
        let len = u32::from_le_bytes(self.fixed()?) as usize;
        if len as u64 > limits::ENTRY_BYTES_MAX {
            return Err(malformed("an impossible record"));
        }
        self.fill(len)?;
        let bytes = self.open.get(self.at..self.at + len).ok_or(malformed("cut off"))?;
        self.at += len;
        Ok(Bytes::copy_from_slice(bytes))
    }

    /// Opens pieces until `len` bytes are there.
    fn fill(&mut self, len: usize) -> Result<(), Error> {
        while self.open.len() - self.at < len {
            self.open.drain(..self.at);
            self.at = 0;
            self.pieces.open_next(&self.key, &mut self.open)?;
        }
        Ok(())
    }
}

/// The frames of a file: header, pieces, digest.
struct Pieces {
    disk: Arc<dyn Disk>,
    file: String,
    header: [u8; HEADER_BYTES],
    file_id: [u8; super::FILE_ID_BYTES],
    place: SnapshotPlace,
    len: u64,
    offset: u64,
    number: u64,
    last_seen: bool,
    hash: Sha256,
}

struct Piece {
    number: u64,
    is_last: bool,
    tag: [u8; TAG_BYTES],
    sealed: Vec<u8>,
}

impl Pieces {
    fn open(disk: Arc<dyn Disk>, file: &str) -> Result<Self, Error> {
        let len = disk.len(file).map_err(disk_error(file))?;
        if len < (HEADER_BYTES + PIECE_HEADER_BYTES + DIGEST_BYTES) as u64 {
            return Err(malformed("cut off"));
        }
        let bytes = disk.read(file, 0, HEADER_BYTES).map_err(disk_error(file))?;
        let header: [u8; HEADER_BYTES] = bytes.try_into().map_err(|_| malformed("cut off"))?;
        let Header { file_id, place } = Header::decode(&header)?;
        let mut hash = Sha256::new();
        hash.update(&header);
        let (file, offset) = (file.to_owned(), HEADER_BYTES as u64);
        Ok(Self { disk, file, header, file_id, place, len, offset, number: 0, last_seen: false, hash })
    }

    /// The next piece; `None` behind the last one, where the digest was right and the file ends.
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        if self.last_seen {
            return self.check_digest().map(|()| None);
        }
        let frame = self.read(PIECE_HEADER_BYTES as u64)?;
        let mut fields = frame.as_slice();
        let len = fields.get_u32_le();
        let tag = fields.try_into().map_err(|_| malformed("cut off"))?;
        let (is_last, len) = (len & LAST != 0, len & !LAST);
        if len as usize > limits::SNAPSHOT_PIECE_BYTES {
            return Err(malformed("a piece beyond the limit"));
        }
        let sealed = self.read(u64::from(len))?;
        let number = self.number;
        self.number += 1;
        self.last_seen = is_last;
        Ok(Some(Piece { number, is_last, tag, sealed }))
    }

    /// Opens the next piece behind what is in `out`.
    fn open_next(&mut self, key: &AeadKey, out: &mut Vec<u8>) -> Result<(), Error> {
        let Piece { number, is_last, tag, mut sealed } = self.next()?.ok_or(malformed("it ends early"))?;
        key.open(nonce(number), &additional_data(&self.header, is_last), &mut sealed, &tag)
            .map_err(|_| malformed("a piece was altered, or sealed under another key"))?;
        out.append(&mut sealed);
        Ok(())
    }

    fn read(&mut self, len: u64) -> Result<Vec<u8>, Error> {
        let content_end = self.len - DIGEST_BYTES as u64;
        if self.offset + len > content_end {
            return Err(malformed("cut off"));
        }
        let len = usize::try_from(len).map_err(|_| malformed("cut off"))?;
        let bytes = self.disk.read(&self.file, self.offset, len).map_err(disk_error(&self.file))?;
        self.hash.update(&bytes);
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    fn check_digest(&self) -> Result<(), Error> {
        if self.offset + DIGEST_BYTES as u64 != self.len {
            return Err(malformed("something follows the last piece"));
        }
        let digest = self.disk.read(&self.file, self.offset, DIGEST_BYTES).map_err(disk_error(&self.file))?;
        let digest = Digest::try_from(digest.as_slice()).map_err(|_| malformed("cut off"))?;
        if digest == self.hash.clone().finish() { Ok(()) } else { Err(malformed("its digest is another")) }
    }
}
