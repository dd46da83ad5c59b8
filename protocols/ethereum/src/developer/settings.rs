//! What a developer has set, as one row of live state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::{Address, B256, FixedBytes};
use bytes::Bytes;
use coco_protocol::Context;
use serde::{Deserialize, Serialize};

use crate::block::BlockAttributes;
use crate::execute::Forged;
use crate::state::{META, META_DEVELOPER, ReadState, State};

/// See the module's text. Everything that is named `next` holds for one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Added to the clock, seconds.
    pub offset_s: i64,
    pub next_timestamp_s: Option<u64>,
    /// From a block's timestamp to the next one's, instead of the clock.
    pub timestamp_interval_s: Option<u64>,
    pub gas_limit: Option<u64>,
    pub coinbase: Option<Address>,
    pub next_base_fee: Option<u64>,
    pub next_prevrandao: Option<B256>,
    /// Transactions start blocks.
    pub automine: bool,
    /// Blocks come at this interval, empty ones too, milliseconds; 0 for never.
    pub interval_ms: u64,
    pub impersonated: BTreeSet<Address>,
    pub impersonates_all: bool,
    /// Signatures (r, s, v) that contracts recover these accounts from, whoever made them and of whatever.
    pub forged: BTreeMap<FixedBytes<65>, Address>,
}

/// What the pool has to know of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mining {
    pub automine: bool,
    pub interval_ms: u64,
    pub gas_limit: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            offset_s: 0,
            next_timestamp_s: None,
            timestamp_interval_s: None,
            gas_limit: None,
            coinbase: None,
            next_base_fee: None,
            next_prevrandao: None,
            automine: true,
            interval_ms: 0,
            impersonated: BTreeSet::new(),
            impersonates_all: false,
            forged: BTreeMap::new(),
        }
    }
}

impl Default for Mining {
    fn default() -> Self {
        Settings::default().mining()
    }
}

impl Settings {
    pub fn in_force(state: &mut dyn State) -> Self {
        Self::decode(state.value(&META, META_DEVELOPER))
    }

    pub fn committed(state: &dyn ReadState) -> Self {
        Self::decode(state.value(&META, META_DEVELOPER))
    }

    fn decode(row: Option<Bytes>) -> Self {
        row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default()
    }

    pub(super) fn store(&self, state: &mut dyn State) {
        let json = serde_json::to_vec(self).expect("settings have a JSON form");
        state.set(&META, Bytes::from_static(META_DEVELOPER), Some(json.into()));
    }

    pub fn mining(&self) -> Mining {
        Mining { automine: self.automine, interval_ms: self.interval_ms, gas_limit: self.gas_limit }
    }

    /// As the EVM wants them; `None` if there are none.
    pub fn forged(&self) -> Option<Arc<Forged>> {
        (!self.forged.is_empty()).then(|| Arc::new(self.forged.clone()))
    }

    /// The developer's clock, seconds.
    pub fn now_s(&self, now_ms: u64) -> u64 {
        (now_ms / 1_000).saturating_add_signed(self.offset_s)
    }

    /// The timestamp of the block after one of `parent_s`, if it is made now.
    pub fn timestamp_after(&self, parent_s: u64, now_ms: u64) -> u64 {
        let timestamp = match (self.next_timestamp_s, self.timestamp_interval_s) {
            (Some(next), _) => next,
            (None, Some(interval_s)) => parent_s.saturating_add(interval_s),
            (None, None) => self.now_s(now_ms),
        };
        timestamp.max(parent_s + 1)
    }

    /// Makes the developer's clock show `time_s`.
    pub(super) fn set_time(&mut self, time_s: u64, now_ms: u64) {
        self.offset_s = i64::try_from(i128::from(time_s) - i128::from(now_ms / 1_000)).unwrap_or(i64::MAX);
    }

    /// Changes what would be the next block, and stores what is used up by that.
    pub(crate) fn shape(
        mut self,
        state: &mut dyn State,
        attributes: &mut BlockAttributes,
        parent_s: u64,
        context: &Context<'_>,
    ) {
        let before = self.clone();
        attributes.timestamp = self.timestamp_after(parent_s, context.now_ms);
        if let Some(next) = self.next_timestamp_s.take() {
            self.set_time(next, context.now_ms);
        }
        attributes.gas_limit = self.gas_limit.unwrap_or(attributes.gas_limit);
        attributes.beneficiary = self.coinbase.unwrap_or(attributes.beneficiary);
        attributes.base_fee = self.next_base_fee.take().or(attributes.base_fee);
        attributes.forged = self.forged();
        attributes.mix_hash = self.next_prevrandao.take().unwrap_or(attributes.mix_hash);
        if self != before {
            self.store(state);
        }
    }
}
