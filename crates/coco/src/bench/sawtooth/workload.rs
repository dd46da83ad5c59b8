//! Signed batches, and what the state must hold once they are committed.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use coco_crypto::{Crypto, SystemCrypto, sha512};
use coco_sawtooth::families::{intkey, smallbank};
use coco_sawtooth::messages::family::{Account, CreateAccount, CustomerAmount, SmallbankPayload};
use coco_sawtooth::messages::ledger::{Batch, BatchHeader, BatchList, Transaction, TransactionHeader};
use coco_sawtooth::signing::SignerKey;
use prost::Message as _;

/// What the transactions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Family {
    /// Counters, incremented
    Intkey,
    /// Accounts, paid into
    Smallbank,
}

/// One batch, as its submission's body.
pub struct Submission {
    pub id: String,
    pub body: Vec<u8>,
}

/// Batches of one fresh signer over fresh keys.
pub struct Workload {
    family: Family,
    signer: SignerKey,
    /// Makes this run's keys differ from an earlier one's.
    run: u32,
    keys: u32,
    /// Increments of each key so far.
    increments: BTreeMap<u32, u32>,
    nonce: u64,
}

impl Workload {
    pub fn new(family: Family, keys: u32) -> anyhow::Result<Self> {
        let mut bytes = [0; 36];
        SystemCrypto.fill(&mut bytes);
        let (secret, run) = bytes.split_first_chunk::<32>().context("36 bytes")?;
        let signer = SignerKey::from_bytes(secret).context("no usable key was drawn")?;
        // Customers are numbered: a run takes a range of numbers.
        let run = u32::from_be_bytes(run.try_into()?) / 2;
        Ok(Self { family, signer, run, keys, increments: BTreeMap::new(), nonce: 0 })
    }

    /// Creates every key, in batches of so many transactions.
    pub fn creation(&mut self, batch: u32) -> Vec<Submission> {
        let keys: Vec<u32> = (0..self.keys).collect();
        keys.chunks(batch as usize).map(|keys| self.batch(keys, true)).collect()
    }

    /// So many transactions, over the keys in turn.
    pub fn load(&mut self, transactions: u32, batch: u32) -> Vec<Submission> {
        let keys: Vec<u32> = (0..transactions).map(|i| i % self.keys).collect();
        for key in &keys {
            *self.increments.entry(*key).or_default() += 1;
        }
        keys.chunks(batch as usize).map(|keys| self.batch(keys, false)).collect()
    }

    /// The address of each key.
    pub fn addresses(&self) -> Vec<(u32, String)> {
        (0..self.keys).map(|key| (key, self.address(key))).collect()
    }

    /// Whether a key's row is what the batches lead to.
    pub fn check(&self, key: u32, row: &[u8]) -> anyhow::Result<()> {
        let expected = 1 + self.increments.get(&key).copied().unwrap_or(0);
        let found = match self.family {
            Family::Intkey => {
                let mut decoder = minicbor::Decoder::new(row);
                decoder.map()?;
                decoder.str()?;
                decoder.u32()?
            }
            Family::Smallbank => Account::decode(row)?.checking_balance,
        };
        ensure!(found == expected, "key {key} holds {found} instead of {expected}");
        Ok(())
    }

    fn batch(&mut self, keys: &[u32], create: bool) -> Submission {
        let transactions: Vec<_> = keys.iter().map(|key| self.transaction(*key, create)).collect();
        let header = BatchHeader {
            signer_public_key: self.signer.public_hex().to_owned(),
            transaction_ids: transactions.iter().map(|transaction| transaction.header_signature.clone()).collect(),
        };
        let header = header.encode_to_vec();
        let id = self.signer.sign(&header);
        let batch = Batch { header: header.into(), header_signature: id.clone(), transactions, trace: false };
        Submission { id, body: BatchList { batches: vec![batch.encode_to_vec().into()] }.encode_to_vec() }
    }

    fn transaction(&mut self, key: u32, create: bool) -> Transaction {
        self.nonce += 1;
        let payload = self.payload(key, create);
        let address = self.address(key);
        let public_key = self.signer.public_hex().to_owned();
        let header = TransactionHeader {
            batcher_public_key: public_key.clone(),
            dependencies: Vec::new(),
            family_name: match self.family {
                Family::Intkey => "intkey".to_owned(),
                Family::Smallbank => "smallbank".to_owned(),
            },
            family_version: "1.0".to_owned(),
            inputs: vec![address.clone()],
            nonce: self.nonce.to_string(),
            outputs: vec![address],
            payload_sha512: hex::encode(sha512(&payload)),
            signer_public_key: public_key,
        };
        let header = header.encode_to_vec();
        Transaction { header_signature: self.signer.sign(&header), header: header.into(), payload: payload.into() }
    }

    fn payload(&self, key: u32, create: bool) -> Vec<u8> {
        match self.family {
            Family::Intkey => intkey_payload(if create { "set" } else { "inc" }, &self.name(key)),
            Family::Smallbank => {
                let customer_id = self.run.wrapping_add(key);
                let payload = if create {
                    let customer_name = "bench".to_owned();
                    let create =
                        CreateAccount { customer_id, customer_name, initial_checking_balance: 1, ..Default::default() };
                    SmallbankPayload { kind: 0, create_account: Some(create), ..Default::default() }
                } else {
                    let deposit = CustomerAmount { customer_id, amount: 1 };
                    SmallbankPayload { kind: 1, deposit_checking: Some(deposit), ..Default::default() }
                };
                payload.encode_to_vec()
            }
        }
    }

    fn address(&self, key: u32) -> String {
        match self.family {
            Family::Intkey => intkey::address(&self.name(key)).to_hex(),
            Family::Smallbank => smallbank::address(self.run.wrapping_add(key)).to_hex(),
        }
    }

    /// At most twenty characters.
    fn name(&self, key: u32) -> String {
        format!("{:x}-{key:x}", self.run)
    }
}

fn intkey_payload(verb: &str, name: &str) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    let encoded = encoder.map(3).and_then(|encoder| {
        encoder.str("Verb")?.str(verb)?.str("Name")?.str(name)?.str("Value")?.u32(1)?;
        Ok(())
    });
    encoded.expect("memory takes every byte");
    encoder.into_writer()
}
