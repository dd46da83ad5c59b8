//! One batch on its way: its transactions one after the other, all or nothing.
//!
//! A run knows nothing of where the state is: whoever drives it gives it a reader. A native family executes within [`Run::step`];
//! where another has to, or a contract, `step` says so, and the run waits with its [`Access`] open until [`Run::finish_open`] or
//! [`Run::execute_open`].

use crate::limits::{BATCH_FUEL, BATCH_WRITES_BYTES_MAX};
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::access::{Access, StateReader};
use crate::address::{Address, prefix_from_hex};
use crate::batch::{SignedBatch, SignedTransaction};
use crate::families::{self, Facts, Native};
use crate::governed::{Place, Placed};
use crate::messages::client::InvalidTransaction;
use crate::messages::ledger::TransactionReceipt;
use crate::settings;

/// See the module's text.
pub struct Run {
    batch: Arc<SignedBatch>,
    facts: Facts,
    next: usize,
    open: Option<Access>,
    /// Where the open transaction may write.
    namespaces: Option<Vec<Vec<u8>>>,
    done: Executed,
    bytes: usize,
    /// Steps that contracts may still take.
    fuel: u64,
}

/// What a batch has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    pub changes: BTreeMap<Address, Option<Bytes>>,
    pub receipts: Vec<TransactionReceipt>,
}

/// Why a batch is invalid: what its status will say.
pub type Failure = InvalidTransaction;

/// Where a run stands.
pub enum Step {
    Done(Result<Executed, Failure>),
    /// Somebody else has to execute this transaction.
    External(Box<SignedTransaction>),
    /// It is about contracts and may take its time: [`Run::execute_open`], wherever there is time.
    Contract(Native),
}

/// The state below a transaction of a run.
struct Below<'a> {
    changes: &'a BTreeMap<Address, Option<Bytes>>,
    state: &'a mut dyn StateReader,
}

impl StateReader for Below<'_> {
    fn read(&mut self, address: &Address) -> Option<Bytes> {
        match self.changes.get(address) {
            Some(changed) => changed.clone(),
            None => self.state.read(address),
        }
    }
}

impl Run {
    pub fn new(batch: Arc<SignedBatch>, facts: Facts) -> Self {
        Self::above(batch, facts, BTreeMap::new())
    }

    /// The same on top of what an earlier batch of the same block has changed.
    pub fn above(batch: Arc<SignedBatch>, facts: Facts, changes: BTreeMap<Address, Option<Bytes>>) -> Self {
        Self {
            batch,
            facts,
            next: 0,
            open: None,
            namespaces: None,
            done: Executed { changes, receipts: Vec::new() },
            bytes: 0,
            fuel: BATCH_FUEL,
        }
    }

    /// Goes on until the end, or until a transaction that `place` leaves to others.
    pub fn step(&mut self, state: &mut dyn StateReader, place: impl Fn(&str, &str) -> Placed) -> Step {
        let batch = Arc::clone(&self.batch);
        while let Some(transaction) = batch.transactions.get(self.next) {
            if self.bytes > BATCH_WRITES_BYTES_MAX {
                return Step::Done(Err(failure(transaction, "the batch writes too much".to_owned())));
            }
            let mut access = match self.prepare(state, transaction) {
                Ok(access) => access,
                Err(message) => return Step::Done(Err(failure(transaction, message))),
            };
            let header = &transaction.header;
            let Placed { place, namespaces } = place(&header.family_name, &header.family_version);
            access.confine(namespaces.clone());
            let family = match place {
                Place::Native(family) => family,
                Place::Nowhere(message) => return Step::Done(Err(failure(transaction, message))),
                Place::External => {
                    (self.open, self.namespaces) = (Some(access), namespaces);
                    return Step::External(Box::new(transaction.clone()));
                }
                Place::Contracts(family) => {
                    (self.open, self.namespaces) = (Some(access), namespaces);
                    return Step::Contract(family);
                }
            };
            if let Err(failure) = self.execute(state, transaction, access, family) {
                return Step::Done(Err(failure));
            }
        }
        Step::Done(Ok(std::mem::take(&mut self.done)))
    }

    /// Executes the open transaction by code of the node.
    pub fn execute_open(&mut self, state: &mut dyn StateReader, family: Native) -> Result<(), Failure> {
        let batch = Arc::clone(&self.batch);
        match (self.open.take(), batch.transactions.get(self.next)) {
            (Some(access), Some(transaction)) => self.execute(state, transaction, access, family),
            _ => Ok(()),
        }
    }

    fn execute(
        &mut self,
        state: &mut dyn StateReader,
        transaction: &SignedTransaction,
        mut access: Access,
        family: Native,
    ) -> Result<(), Failure> {
        let mut below = Below { changes: &self.done.changes, state };
        let (header, payload, fuel) = (&transaction.header, &transaction.payload, &mut self.fuel);
        let mut call = families::Call { header, payload, access: &mut access, below: &mut below, fuel };
        family(&mut call, &self.facts).map_err(|families::Invalid(message)| failure(transaction, message))?;
        self.keep(access);
        Ok(())
    }

    /// What the open transaction may do, on top of the state; nothing if none is open.
    pub fn with_open<T>(
        &mut self,
        state: &mut dyn StateReader,
        f: impl FnOnce(&mut Access, &mut dyn StateReader) -> T,
    ) -> Option<T> {
        let mut below = Below { changes: &self.done.changes, state };
        self.open.as_mut().map(|access| f(access, &mut below))
    }

    /// The open transaction starts anew, with another processor.
    pub fn restart_open(&mut self) {
        let transaction = self.batch.transactions.get(self.next);
        self.open = transaction.and_then(|transaction| Access::new(&transaction.id, &transaction.header).ok());
        if let Some(access) = &mut self.open {
            access.confine(self.namespaces.clone());
        }
    }

    /// The open transaction is done.
    pub fn finish_open(&mut self) {
        if let Some(access) = self.open.take() {
            self.keep(access);
        }
    }

    /// The open transaction cannot be done, and so the batch cannot.
    pub fn fail_open(&mut self, message: String, extended_data: Bytes) -> Failure {
        self.open = None;
        let transaction_id = self.batch.transactions.get(self.next).map(|transaction| transaction.id.clone());
        Failure { transaction_id: transaction_id.unwrap_or_default(), message, extended_data }
    }

    fn keep(&mut self, access: Access) {
        self.bytes += access.bytes();
        let (changes, receipt) = access.finish();
        self.done.changes.extend(changes);
        self.done.receipts.push(receipt);
        self.next += 1;
    }

    /// Checks what the header declares against the network's setting of families.
    fn prepare(&self, state: &mut dyn StateReader, transaction: &SignedTransaction) -> Result<Access, String> {
        let header = &transaction.header;
        let access = Access::new(&transaction.id, header)?;
        let mut below = Below { changes: &self.done.changes, state };
        let Some(families) = settings::transaction_families(&mut below) else { return Ok(access) };
        let of =
            |family: &&settings::Family| family.family == header.family_name && family.version == header.family_version;
        let Some(family) = families.iter().find(of) else {
            return Err(format!(
                "{} {} is not among the families that this network allows",
                header.family_name, header.family_version
            ));
        };
        let Some(namespaces) = &family.namespaces else { return Ok(access) };
        let namespaces: Vec<_> = namespaces.iter().filter_map(|text| prefix_from_hex(text)).collect();
        match access.writes_only_below(&namespaces) {
            true => Ok(access),
            false => Err(format!("an output of the transaction is not in a namespace of {}", header.family_name)),
        }
    }
}

fn failure(transaction: &SignedTransaction, message: String) -> Failure {
    Failure { transaction_id: transaction.id.clone(), message, extended_data: Bytes::new() }
}
