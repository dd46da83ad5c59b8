//! The state at a block: the newest, or an earlier one as long as what replaced it is known.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::view::View;
use super::{is_reversed, page_items};
use crate::address::{Address, is_root, prefix_from_hex};
use crate::block::{STATES_KEPT, before};
use crate::messages::client::{
    PagingResponse, StateEntry, StateGetRequest, StateGetResponse, StateListRequest, StateListResponse,
    state_get_status, state_list_status, status,
};
use crate::tables::{BLOCK_BY_ROOT, STATE, UNDO, number_key, read_number};

/// The state at one block.
struct StateAt {
    root: String,
    /// What was different then.
    older: BTreeMap<Address, Option<Bytes>>,
}

impl View {
    pub fn state_get(&self, request: &StateGetRequest) -> StateGetResponse {
        let failed = |status| StateGetResponse { status, ..StateGetResponse::default() };
        let Some(address) = Address::from_hex(&request.address) else {
            return failed(state_get_status::INVALID_ADDRESS);
        };
        let at = match self.state_at(&request.state_root, state_get_status::INVALID_ROOT) {
            Ok(at) => at,
            Err(status) => return failed(status),
        };
        let value = match at.older.get(&address) {
            Some(then) => then.clone(),
            None => self.reader.state().get(&STATE, &address.0),
        };
        match value.filter(|_| self.may_see_state(&address)) {
            Some(value) => StateGetResponse { status: status::OK, value, state_root: at.root },
            None => StateGetResponse { status: status::NO_RESOURCE, value: Bytes::new(), state_root: at.root },
        }
    }

    pub fn state_list(&self, request: &StateListRequest) -> StateListResponse {
        match self.try_state_list(request) {
            Ok(response) => response,
            Err(status) => StateListResponse { status, ..StateListResponse::default() },
        }
    }

    fn try_state_list(&self, request: &StateListRequest) -> Result<StateListResponse, i32> {
        let prefix = prefix_from_hex(&request.address).ok_or(state_list_status::INVALID_ADDRESS)?;
        let at = self.state_at(&request.state_root, state_list_status::INVALID_ROOT)?;
        let reversed = is_reversed(&request.sorting, "default").ok_or(status::INVALID_SORT)?;
        let paging = request.paging.clone().unwrap_or_default();
        let limit = page_items(&paging);
        let start = match paging.start.as_str() {
            "" => None,
            text => {
                let start = Address::from_hex(text).filter(|start| start.0.starts_with(&prefix));
                let is_there = |start: &Address| self.may_see_state(start) && self.is_set(&at, start);
                Some(start.filter(is_there).ok_or(status::INVALID_PAGING)?)
            }
        };
        let visible = |(address, _): &(Address, Bytes)| self.may_see_state(address);
        let mut entries: Vec<(Address, Bytes)> = if reversed {
            let upto = |(address, _): &(Address, Bytes)| start.is_none_or(|start| *address <= start);
            let mut all: Vec<_> = self.rows(&at, &prefix, None).take_while(upto).filter(visible).collect();
            all.reverse();
            all
        } else {
            self.rows(&at, &prefix, start).filter(visible).take(limit + 1).collect()
        };
        let name = |entry: &(Address, Bytes)| entry.0.to_hex();
        let paging = PagingResponse {
            start: entries.first().map(name).unwrap_or_default(),
            next: entries.get(limit).map(name).unwrap_or_default(),
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
        };
        entries.truncate(limit);
        let status = if entries.is_empty() { status::NO_RESOURCE } else { status::OK };
        let entries =
            entries.into_iter().map(|(address, data)| StateEntry { address: address.to_hex(), data }).collect();
        Ok(StateListResponse { status, entries, state_root: at.root, paging: Some(paging) })
    }

    fn state_at(&self, root: &str, invalid_root: i32) -> Result<StateAt, i32> {
        let (newest, _) = self.head().ok_or(status::NOT_READY)?;
        if root.is_empty() || root == newest.state_root_hash {
            return Ok(StateAt { root: newest.state_root_hash, older: BTreeMap::new() });
        }
        if !is_root(root) {
            return Err(invalid_root);
        }
        let number = self.reader.state().get(&BLOCK_BY_ROOT, root.as_bytes()).and_then(|number| read_number(&number));
        let number = number.filter(|number| newest.block_num.saturating_sub(*number) <= STATES_KEPT);
        let number = number.ok_or(status::NO_ROOT)?;
        let mut older = BTreeMap::new();
        for later in (number + 1..=newest.block_num).rev() {
            let record = self.reader.record(&UNDO, &number_key(later)).ok().flatten().ok_or(status::NO_ROOT)?;
            older.extend(before(record).ok_or(status::INTERNAL_ERROR)?);
        }
        Ok(StateAt { root: root.to_owned(), older })
    }

    fn is_set(&self, at: &StateAt, address: &Address) -> bool {
        match at.older.get(address) {
            Some(then) => then.is_some(),
            None => self.reader.state().get(&STATE, &address.0).is_some(),
        }
    }

    /// Rows from `start` on, ascending: two ascending sequences joined, of which the older one wins.
    fn rows<'a>(
        &self,
        at: &'a StateAt,
        prefix: &'a [u8],
        start: Option<Address>,
    ) -> impl Iterator<Item = (Address, Bytes)> + use<'a> {
        let from = start.map_or_else(|| prefix.to_vec(), |start| start.0.to_vec());
        let newest = self.reader.state().range(&STATE, &from[..]..);
        let within = |address: &Address| address.0.starts_with(prefix);
        let newest = newest.filter_map(|(key, value)| Some((Address::from_key(&key)?, value)));
        let mut newest = newest.take_while(move |(address, _)| within(address)).peekable();
        let older = at.older.iter().map(|(address, value)| (*address, value.clone()));
        let after =
            move |(address, _): &(Address, Option<Bytes>)| address.0[..] >= from[..] && address.0.starts_with(prefix);
        let mut older = older.filter(after).peekable();
        let joined = std::iter::from_fn(move || {
            let take_older = match (older.peek(), newest.peek()) {
                (Some((old, _)), Some((new, _))) => old <= new,
                (old, _) => old.is_some(),
            };
            if !take_older {
                return newest.next().map(|(address, value)| (address, Some(value)));
            }
            let old = older.next()?;
            newest.next_if(|(address, _)| *address == old.0);
            Some(old)
        });
        joined.filter_map(|(address, value)| Some((address, value?)))
    }
}
