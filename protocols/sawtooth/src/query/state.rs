//! The state at a block: the newest, or an earlier one as long as what replaced it is known.
//!
//! Whatever a caller may not read is passed over as a whole, so that a page takes as long as what is on it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::view::View;
use super::{is_reversed, page_items};
use crate::address::{ADDRESS_BYTES, Address, behind_prefix, is_root, prefix_from_hex};
use crate::block::{STATES_KEPT, before};
use crate::limits::PAGE_BYTES_MAX;
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
        let at = match self.state_at(&request.state_root, &address.0, state_get_status::INVALID_ROOT) {
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
        let at = self.state_at(&request.state_root, &prefix, state_list_status::INVALID_ROOT)?;
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
        let (entries, next) = self.page(&at, &prefix, start, reversed, limit);
        let paging = PagingResponse {
            start: entries.first().map(|(address, _)| address.to_hex()).unwrap_or_default(),
            next: next.map(Address::to_hex).unwrap_or_default(),
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
        };
        let status = if entries.is_empty() { status::NO_RESOURCE } else { status::OK };
        let entries =
            entries.into_iter().map(|(address, data)| StateEntry { address: address.to_hex(), data }).collect();
        Ok(StateListResponse { status, entries, state_root: at.root, paging: Some(paging) })
    }

    /// What this caller sees below a prefix, and where the next page begins.
    fn page(
        &self,
        at: &StateAt,
        prefix: &[u8],
        start: Option<Address>,
        reversed: bool,
        limit: usize,
    ) -> (Vec<(Address, Bytes)>, Option<Address>) {
        let mut span = Span::below(prefix);
        if let Some(start) = start {
            span.go_on_at(&start, reversed);
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        loop {
            let mut closed = None;
            for (address, value) in at.rows(self, &span, reversed) {
                if !self.governed.may_read(self.reader.caller(), &address.0) {
                    closed = Some(address);
                    break;
                }
                self.count(ADDRESS_BYTES + value.len());
                if self.is_cut_short() {
                    return (entries, None);
                }
                if !self.may("state", &address.0) {
                    continue;
                }
                bytes += ADDRESS_BYTES + value.len();
                let is_full = entries.len() >= limit || bytes > PAGE_BYTES_MAX;
                if is_full && !entries.is_empty() {
                    return (entries, Some(address));
                }
                entries.push((address, value));
            }
            let Some(closed) = closed else { return (entries, None) };
            // Its neighbours about which the same was decided are as closed.
            if reversed {
                span.end = Some(self.governed.decided_alike_from(&closed.0));
            } else {
                let Some(behind) = self.governed.decided_alike_up_to(&closed.0) else { return (entries, None) };
                span.begin = behind;
            }
        }
    }

    /// As far as it is about what begins with a prefix; "internal error" if all that was replaced since is too much to read.
    fn state_at(&self, root: &str, prefix: &[u8], invalid_root: i32) -> Result<StateAt, i32> {
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
            let record = self.record(&UNDO, &number_key(later)).ok_or(status::NO_ROOT)?;
            if self.has_read_enough() {
                return Err(status::INTERNAL_ERROR);
            }
            let before = before(record).ok_or(status::INTERNAL_ERROR)?;
            let wanted = before.into_iter().filter(|(address, _)| address.0.starts_with(prefix));
            // A part of its record would keep all of that in memory.
            older.extend(wanted.map(|(address, value)| (address, value.map(|value| Bytes::copy_from_slice(&value)))));
        }
        Ok(StateAt { root: root.to_owned(), older })
    }

    fn is_set(&self, at: &StateAt, address: &Address) -> bool {
        match at.older.get(address) {
            Some(then) => then.is_some(),
            None => self.reader.state().get(&STATE, &address.0).is_some(),
        }
    }
}

/// A stretch of addresses.
struct Span {
    begin: Vec<u8>,
    /// Not included; nothing if there is none.
    end: Option<Vec<u8>>,
}

impl Span {
    fn below(prefix: &[u8]) -> Self {
        Self { begin: prefix.to_vec(), end: behind_prefix(prefix) }
    }

    fn go_on_at(&mut self, start: &Address, reversed: bool) {
        match reversed {
            true => self.end = Some([&start.0[..], &[0]].concat()),
            false => self.begin = start.0.to_vec(),
        }
    }

    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(&self.begin), end)
    }

    fn holds(&self, address: &Address) -> bool {
        address.0[..] >= self.begin[..] && self.end.as_ref().is_none_or(|end| address.0[..] < end[..])
    }
}

impl StateAt {
    /// What was set in a stretch, up or down: two sequences joined, of which the older one wins.
    fn rows<'a>(
        &'a self,
        view: &View,
        span: &'a Span,
        reversed: bool,
    ) -> impl Iterator<Item = (Address, Bytes)> + use<'a> {
        let state = view.reader.state();
        let newest: Box<dyn Iterator<Item = (Bytes, Bytes)>> = match reversed {
            true => Box::new(state.range_back(&STATE, span.bounds())),
            false => Box::new(state.range(&STATE, span.bounds())),
        };
        let older: Box<dyn Iterator<Item = _> + 'a> = match reversed {
            true => Box::new(self.older.iter().rev()),
            false => Box::new(self.older.iter()),
        };
        let mut newest = newest.filter_map(|(key, value)| Some((Address::from_key(&key)?, value))).peekable();
        let older = older.filter(|(address, _)| span.holds(address));
        let mut older = older.map(|(address, value)| (*address, value.clone())).peekable();
        let joined = std::iter::from_fn(move || {
            let take_older = match (older.peek(), newest.peek()) {
                (Some((old, _)), Some((new, _))) if reversed => old >= new,
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
