//! The recorded chain of the conformance suite, from Homestead to the second blob-parameter fork.

use alloy_consensus::{Block, Header};
use alloy_primitives::B256;
use alloy_rlp::Decodable;
use coco_kv::Store;
use coco_types::Seqno;

use super::{BlockRecord, ImportError, Included, SealedBlock, import_block};
use crate::execute::CodeCache;
use crate::fork::ForkSchedule;
use crate::network::{NetworkConfig, write_genesis};
use crate::testing::{genesis_of_vectors, vector};
use crate::transaction::Envelope;
use crate::trie::StateTrie;

/// A store at the head of a chain that is being imported.
struct Importer {
    store: Store,
    codes: CodeCache,
    schedule: ForkSchedule,
    parent: (Header, B256, StateTrie),
}

impl Importer {
    /// After block 0, with the blocks that follow; `None` if the vectors are absent.
    fn recorded() -> Option<(Self, Vec<Block<Envelope>>)> {
        let (genesis, chain) = (genesis_of_vectors()?, vector("chain.rlp")?);
        let schedule = ForkSchedule::new(genesis.config.clone());
        let store = Store::new();
        let mut tx = store.begin();
        let parent = write_genesis(&mut tx, &NetworkConfig { genesis, ..NetworkConfig::default() });
        store.apply(Seqno(1), &tx.into_parts().0).unwrap();
        let mut rest = &chain[..];
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            blocks.push(Block::<Envelope>::decode(&mut rest).expect("the chain decodes"));
        }
        Some((Self { store, codes: CodeCache::new(), schedule, parent }, blocks))
    }

    fn import(&mut self, block: &Block<Envelope>) -> Result<SealedBlock, ImportError> {
        let mut tx = self.store.begin();
        let (parent, hash, trie) = &self.parent;
        let sealed = import_block(&mut tx, &self.codes, &self.schedule, (parent, *hash), trie.clone(), block)?;
        self.store.apply(self.store.newest().next(), &tx.into_parts().0).unwrap();
        self.parent = (sealed.header.clone(), sealed.hash, sealed.trie.clone());
        Ok(sealed)
    }
}

#[test]
fn the_recorded_chain_imports_with_every_header_reproduced() {
    let Some((mut importer, blocks)) = Importer::recorded() else { return };
    assert_eq!(blocks.len(), 54);
    for block in &blocks {
        let sealed = importer.import(block).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(sealed.header, block.header);
        assert_record_reads_back(&sealed.record, block, &sealed.included);
    }
    let head = importer.parent.1.to_string();
    assert!(head.starts_with("0xd226371d") && head.ends_with("dcd7"), "{head}");
}

#[test]
fn an_import_stops_at_the_first_field_that_differs() {
    let Some((mut importer, blocks)) = Importer::recorded() else { return };
    let mut changed = blocks[0].clone();
    changed.header.gas_used += 1;
    changed.header.state_root = B256::ZERO;
    let error = importer.import(&changed).map(drop).unwrap_err();
    assert!(matches!(error, ImportError::Mismatch { number: 1, field: "gas used", .. }), "{error}");
    let mut leaping = blocks[0].clone();
    leaping.header.gas_limit *= 2;
    let error = importer.import(&leaping).map(drop).unwrap_err();
    assert!(matches!(error, ImportError::Mismatch { number: 1, field: "gas limit", .. }), "{error}");
    let out_of_turn = importer.import(&blocks[1]).map(drop).unwrap_err();
    assert!(!matches!(out_of_turn, ImportError::Block { .. }), "{out_of_turn}");
    importer.import(&blocks[0]).map(drop).unwrap();
}

fn assert_record_reads_back(record: &BlockRecord, block: &Block<Envelope>, included: &[Included]) {
    let record = BlockRecord::decode(record.bytes().clone()).unwrap();
    assert_eq!(record.header().unwrap(), block.header);
    assert_eq!(record.ommers().unwrap(), block.body.ommers);
    assert_eq!(record.withdrawals().unwrap(), block.body.withdrawals.clone().unwrap_or_default());
    assert_eq!(record.transaction_count(), block.body.transactions.len());
    for (index, expected) in included.iter().enumerate() {
        let read = record.transaction(index).unwrap();
        assert_eq!(read.receipt(), expected.receipt());
        assert_eq!(read.txid, expected.txid);
        assert_eq!(read.transaction.envelope, block.body.transactions[index]);
        assert_eq!(read.transaction.sender, expected.transaction.sender);
    }
}
