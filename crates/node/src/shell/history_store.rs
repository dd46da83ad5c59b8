//! History records in an embedded store on disk (`fjall`): sealed values under blinded keys, and a watermark written with them.

use std::path::Path;

use coco_ledger::{BlindedKey, Error, HistoryStore};
use coco_types::TxId;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};

/// See the module's text.
pub struct FolderHistory {
    database: Database,
    records: Keyspace,
    meta: Keyspace,
}

const WATERMARK: &str = "watermark";
/// Longer values lie apart from their keys. Keys are blinded, so that new ones fall everywhere among the old: whatever lies beside them
/// is written again and again, the more often the older the network.
const APART_BYTES: u32 = 512;

impl FolderHistory {
    pub fn open(folder: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(folder).open()?;
        let apart = KvSeparationOptions::default().separation_threshold(APART_BYTES);
        let options = || KeyspaceCreateOptions::default().with_kv_separation(Some(apart.clone()));
        let records = database.keyspace("records", options)?;
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default)?;
        Ok(Self { database, records, meta })
    }

    /// Forgets everything, the watermark first.
    pub fn clear(&self) -> Result<(), fjall::Error> {
        self.meta.clear()?;
        self.records.clear()
    }
}

impl HistoryStore for FolderHistory {
    fn read(&self, key: &BlindedKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.records.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn write(&self, records: &[(BlindedKey, Vec<u8>)], watermark: TxId) -> Result<(), Error> {
        let mut batch = self.database.batch();
        for (key, value) in records {
            batch.insert(&self.records, key, value.as_slice());
        }
        batch.insert(&self.meta, WATERMARK, watermark.to_string());
        batch.commit().map_err(failed)
    }

    fn keep(&self, records: &[(BlindedKey, Vec<u8>)]) -> Result<(), Error> {
        let mut batch = self.database.batch();
        for (key, value) in records {
            batch.insert(&self.records, key, value.as_slice());
        }
        batch.commit().map_err(failed)
    }

    fn watermark(&self) -> Result<TxId, Error> {
        let Some(value) = self.meta.get(WATERMARK).map_err(failed)? else { return Ok(TxId::default()) };
        let text = std::str::from_utf8(&value).map_err(|_| Error::MalformedHistory)?;
        text.parse().map_err(|_| Error::MalformedHistory)
    }
}

fn failed(error: fjall::Error) -> Error {
    Error::Disk { file: "history".to_owned(), source: std::io::Error::other(error) }
}
