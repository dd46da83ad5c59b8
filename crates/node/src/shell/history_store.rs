//! History records in an embedded store on disk (`fjall`): sealed values under blinded keys, and their census beside them.

use std::path::Path;

use coco_ledger::{BlindedKey, Error, HistoryStore, SealedRecord};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};

/// See the module's text.
pub struct FolderHistory {
    database: Database,
    records: Keyspace,
    census: Keyspace,
}

/// Longer values lie apart from their keys. Keys are blinded, so that new ones fall everywhere among the old: whatever lies beside them
/// is written again and again, the more often the older the network.
const APART_BYTES: u32 = 512;
/// What was written lately is looked up in memory, and what of it is not in a table yet is read from the journal at the next start. The journal is
/// kept until every keyspace has written down what it has of it: the census, too, whose few rows change with every write.
const RECORDS_IN_MEMORY_BYTES: u64 = 16 << 20;
const CENSUS_IN_MEMORY_BYTES: u64 = 2 << 20;
/// Of all that is not in tables yet.
const JOURNAL_BYTES: u64 = 128 << 20;

impl FolderHistory {
    pub fn open(folder: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(folder).max_journaling_size(JOURNAL_BYTES).open()?;
        let apart = KvSeparationOptions::default().separation_threshold(APART_BYTES);
        let options = |in_memory: u64| KeyspaceCreateOptions::default().max_memtable_size(in_memory);
        let records = || options(RECORDS_IN_MEMORY_BYTES).with_kv_separation(Some(apart));
        let records = database.keyspace("records", records)?;
        let census = database.keyspace("census", || options(CENSUS_IN_MEMORY_BYTES))?;
        Ok(Self { database, records, census })
    }
}

impl HistoryStore for FolderHistory {
    fn read(&self, key: &BlindedKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.records.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn write(&self, records: &[SealedRecord], census: &[SealedRecord]) -> Result<(), Error> {
        let mut batch = self.database.batch();
        for (keyspace, sealed) in [(&self.records, records), (&self.census, census)] {
            for (key, value) in sealed {
                batch.insert(keyspace, key, value.as_slice());
            }
        }
        batch.commit().map_err(failed)
    }

    fn census(&self, key: &BlindedKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.census.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn has(&self, key: &BlindedKey) -> Result<bool, Error> {
        self.records.contains_key(key).map_err(failed)
    }

    fn keys(&self, first: u8, each: &mut dyn FnMut(&BlindedKey)) -> Result<(), Error> {
        for record in self.records.prefix([first]) {
            let key = record.key().map_err(failed)?;
            each(key[..].try_into().map_err(|_| Error::MalformedHistory)?);
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), Error> {
        self.census.clear().map_err(failed)?;
        self.records.clear().map_err(failed)
    }
}

fn failed(error: fjall::Error) -> Error {
    Error::Disk { file: "history".to_owned(), source: std::io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use coco_crypto::{SeededCrypto, SymmetricKey};
    use coco_ledger::HistoryKeys;
    use coco_protocol::{CommittedBatch, CommittedTransaction, History};
    use coco_types::{MapName, Seqno, TxId, View, WriteSet};

    use super::*;
    use crate::history::NodeHistory;

    const MAP: MapName = MapName::from_static("history:test.records");

    #[test]
    fn a_record_that_was_deleted_while_the_node_was_down_is_missed_and_the_next_opening_begins_anew() {
        let (folder, crypto) = (tempfile::tempdir().unwrap(), SeededCrypto::new(1));
        let secret = SymmetricKey::generate(&crypto);
        let open = || {
            let store = Arc::new(FolderHistory::open(folder.path()).unwrap());
            (NodeHistory::open(HistoryKeys::new(&secret, &crypto), store.clone()).unwrap(), store)
        };
        let txid = TxId::new(View(1), Seqno(1));
        {
            let (history, _) = open();
            let mut writes = WriteSet::new();
            for key in 0..100u8 {
                writes.insert(&MAP, Bytes::copy_from_slice(&[key]), Some(Bytes::from_static(b"record")));
            }
            let transactions = vec![CommittedTransaction { txid, writes: Arc::new(writes) }];
            history.record_batch(&CommittedBatch { transactions });
            history.write_out().unwrap();
        }
        {
            let (history, store) = open();
            assert_eq!(history.watermark(), txid);
            assert!((100..200u8).all(|key| history.record(&MAP, &[key]).unwrap().is_none()));
            store.records.remove(HistoryKeys::new(&secret, &crypto).blind(&MAP, &[7])).unwrap();
        }
        {
            let (history, _) = open();
            assert!(history.record(&MAP, &[7]).is_err());
            assert_eq!(history.record(&MAP, &[8]).unwrap().as_deref(), Some(&b"record"[..]));
        }
        let (history, store) = open();
        assert_eq!(history.watermark(), TxId::default());
        assert!(store.records.is_empty().unwrap());
    }
}
