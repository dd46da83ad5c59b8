//! A question about batches, and what is known of each so far.
//!
//! What is decided is looked up before anybody else is asked and is not looked up again; a wait keeps no more than that of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::view::{Kind, View};
use crate::limits::STATUSES_BYTES_MAX;
use crate::messages::client::{BatchStatus, BatchStatusResponse, InvalidTransaction, batch_status, status};
use crate::tables::id_key;

/// See the module's text.
pub(super) struct Asked(Vec<(String, Known)>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Committed,
    Invalid,
    Pending,
    Unknown,
    /// A transaction has this id.
    NoBatch,
}

impl Asked {
    pub fn about(ids: Vec<&String>, view: &View) -> Self {
        Self(ids.into_iter().map(|id| (id.clone(), Known::Unknown)).collect()).looked_up(view)
    }

    /// With what was decided since.
    pub fn looked_up(mut self, view: &View) -> Self {
        for (id, known) in self.0.iter_mut().filter(|(_, known)| matches!(known, Known::Pending | Known::Unknown)) {
            match view.in_a_block(id) {
                Some(Kind::Batch) => *known = Known::Committed,
                Some(_) => *known = Known::NoBatch,
                None if view.found_invalid(id).is_some() => *known = Known::Invalid,
                None => {}
            }
        }
        self
    }

    /// With what the primary said.
    pub fn with(mut self, pending: &BTreeMap<Bytes, bool>) -> Self {
        for (id, known) in self.0.iter_mut().filter(|(_, known)| *known == Known::Unknown) {
            if pending.get(&id_key(id)).copied().unwrap_or(false) {
                *known = Known::Pending;
            }
        }
        self
    }

    pub fn ids(&self) -> usize {
        self.0.len()
    }

    /// Those that the primary has to be asked about.
    pub fn open(&self) -> Vec<Bytes> {
        self.known_as(Known::Unknown)
    }

    pub fn pending(&self) -> Vec<Bytes> {
        self.known_as(Known::Pending)
    }

    fn known_as(&self, wanted: Known) -> Vec<Bytes> {
        self.0.iter().filter(|(_, known)| *known == wanted).map(|(id, _)| id_key(id)).collect()
    }

    pub fn answer(self, view: &View) -> BatchStatusResponse {
        let mut said = 0;
        let status_of = |(batch_id, known): (String, Known)| {
            let status = match known {
                Known::Committed => batch_status::COMMITTED,
                Known::Invalid => batch_status::INVALID,
                Known::Pending => batch_status::PENDING,
                Known::Unknown | Known::NoBatch => batch_status::UNKNOWN,
            };
            let is_told = known == Known::Invalid && said < STATUSES_BYTES_MAX;
            let why = is_told.then(|| view.found_invalid(&batch_id)).flatten();
            let invalid_transactions = why.map(|why| why.invalid_transactions).unwrap_or_default();
            let bytes = |why: &InvalidTransaction| why.message.len() + why.extended_data.len();
            said += invalid_transactions.iter().map(bytes).sum::<usize>();
            BatchStatus { batch_id, status, invalid_transactions }
        };
        BatchStatusResponse { status: status::OK, batch_statuses: self.0.into_iter().map(status_of).collect() }
    }
}
