//! The recorded chain of the conformance suite, from Homestead to the second blob-parameter fork: each block executed, each
//! field of its header compared.

use alloy_consensus::{Block, Header};
use alloy_eips::Encodable2718;
use alloy_rlp::Decodable;
use coco_kv::Store;
use coco_types::{Seqno, TxId, View};

use super::{BlockAttributes, BlockRecord, OpenBlock, ProofOfWork};
use crate::execute::CodeCache;
use crate::fork::ForkSchedule;
use crate::network::{NetworkConfig, write_genesis};
use crate::testing::{genesis_of_vectors, vector};
use crate::transaction::{Envelope, Transaction};

fn attributes(block: &Block<Envelope>) -> BlockAttributes {
    let header = &block.header;
    let work = ProofOfWork { difficulty: header.difficulty, nonce: header.nonce, ommers: block.body.ommers.clone() };
    BlockAttributes {
        timestamp: header.timestamp,
        mix_hash: header.mix_hash,
        beneficiary: header.beneficiary,
        gas_limit: header.gas_limit,
        base_fee: None,
        parent_beacon_block_root: header.parent_beacon_block_root.unwrap_or_default(),
        extra_data: header.extra_data.clone(),
        withdrawals: block.body.withdrawals.clone().unwrap_or_default(),
        proof_of_work: (!header.difficulty.is_zero()).then_some(work),
    }
}

#[test]
fn the_recorded_chain_imports_with_every_header_reproduced() {
    let (Some(genesis), Some(chain)) = (genesis_of_vectors(), vector("chain.rlp")) else { return };
    let store = Store::new();
    let codes = CodeCache::new();
    let schedule = ForkSchedule::new(genesis.config.clone());
    let mut tx = store.begin();
    let config = NetworkConfig { genesis, ..NetworkConfig::default() };
    let (mut parent, mut parent_hash, mut trie) = write_genesis(&mut tx, &config);
    let mut seqno = Seqno(1);
    store.apply(seqno, &tx.into_parts().0).unwrap();

    let mut rest = &chain[..];
    let mut blocks = 0;
    while !rest.is_empty() {
        let block = Block::<Envelope>::decode(&mut rest).expect("the chain decodes");
        let mut tx = store.begin();
        let mut open =
            OpenBlock::open(&mut tx, &codes, &schedule, (&parent, parent_hash), trie, attributes(&block)).unwrap();
        for envelope in &block.body.transactions {
            let transaction = Transaction::recover(envelope.encoded_2718().into()).unwrap();
            let txid = TxId::new(View(1), seqno);
            open.execute(&mut tx, &codes, &transaction, txid)
                .unwrap_or_else(|error| panic!("block {}: {error}", block.header.number));
        }
        let sealed = open.seal(&mut tx, &codes, 0).unwrap();
        assert_eq!(sealed.header, block.header, "block {}", block.header.number);
        assert_record_reads_back(&sealed.record, &block, &sealed.included);
        seqno = seqno.next();
        store.apply(seqno, &tx.into_parts().0).unwrap();
        (parent, parent_hash, trie) = (sealed.header, sealed.hash, sealed.trie);
        blocks += 1;
    }
    assert_eq!(blocks, 54);
    let head = parent_hash.to_string();
    assert!(head.starts_with("0xd226371d") && head.ends_with("dcd7"), "{head}");
}

fn assert_record_reads_back(record: &BlockRecord, block: &Block<Envelope>, included: &[super::Included]) {
    let record = BlockRecord::decode(record.bytes().clone()).unwrap();
    let header: Header = record.header().unwrap();
    assert_eq!(header, block.header);
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
