//! Lists of blocks, batches and transactions: newest block first, and within a block its own order.

use super::view::{Item, Kind, View};
use super::{is_reversed, page_items};
use crate::address::is_id;
use crate::limits::{LIST_BLOCKS_MAX, LIST_IDS_MAX};
use crate::messages::client::{ListRequest, ListResponse, PagingResponse, status};

impl View {
    pub fn list(&self, kind: Kind, request: &ListRequest) -> ListResponse {
        match self.try_list(kind, request) {
            Ok(response) => response,
            Err(status) => ListResponse { status, ..ListResponse::default() },
        }
    }

    fn try_list(&self, kind: Kind, request: &ListRequest) -> Result<ListResponse, i32> {
        let (newest, newest_id) = self.head().ok_or(status::NOT_READY)?;
        let (head, head_id) = match request.head_id.as_str() {
            "" => (newest.block_num, newest_id),
            id => (self.number_of_block(id).ok_or(status::NO_ROOT)?, id.to_owned()),
        };
        if request.ids.len() > LIST_IDS_MAX || request.ids.iter().any(|id| !is_id(id)) {
            return Err(status::INVALID_ID);
        }
        let only_key = if kind == Kind::Block { "block_num" } else { "default" };
        let reversed = is_reversed(&request.sorting, only_key).ok_or(status::INVALID_SORT)?;
        let paging = request.paging.clone().unwrap_or_default();
        let limit = page_items(&paging);
        let (items, with_paging) = if request.ids.is_empty() {
            (self.walk(kind, head, reversed, &paging.start, limit)?, true)
        } else {
            (self.pick(kind, head, reversed, request, &paging.start, limit)?, kind != Kind::Block)
        };
        if items.is_empty() {
            let paging = Some(PagingResponse::default());
            return Ok(ListResponse { status: status::NO_RESOURCE, items: Vec::new(), head_id, paging });
        }
        let name = |item: &Item| self.name_of_start(kind, item);
        let paging = PagingResponse {
            start: items.first().map(name).unwrap_or_default(),
            next: items.get(limit).map(name).unwrap_or_default(),
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
        };
        let paging = Some(if with_paging { paging } else { PagingResponse::default() });
        let items = items.into_iter().take(limit).map(|item| item.bytes).collect();
        Ok(ListResponse { status: status::OK, items, head_id, paging })
    }

    /// One item more than the page holds, if there is one.
    fn walk(&self, kind: Kind, head: u64, reversed: bool, start: &str, limit: usize) -> Result<Vec<Item>, i32> {
        let from = match (start, reversed) {
            ("", false) => head,
            ("", true) => 0,
            (start, _) => {
                let number = self.number_of_start(kind, start).filter(|number| *number <= head);
                number.ok_or(status::INVALID_PAGING)?
            }
        };
        let numbers: Box<dyn Iterator<Item = u64>> =
            if reversed { Box::new(from..=head) } else { Box::new((0..=from).rev()) };
        let mut items: Vec<Item> = Vec::new();
        for number in numbers.take(LIST_BLOCKS_MAX) {
            let mut of_block = self.items_of_block(kind, number);
            if reversed {
                of_block.reverse();
            }
            let skipped = match start {
                "" => 0,
                start if number == from && kind != Kind::Block => {
                    of_block.iter().position(|item| item.id == start).ok_or(status::INVALID_PAGING)?
                }
                _ => 0,
            };
            items.extend(of_block.into_iter().skip(skipped));
            if items.len() > limit {
                items.truncate(limit + 1);
                break;
            }
        }
        Ok(items)
    }

    /// Those asked for by id, in that order, without those that are not there.
    fn pick(
        &self,
        kind: Kind,
        head: u64,
        reversed: bool,
        request: &ListRequest,
        start: &str,
        limit: usize,
    ) -> Result<Vec<Item>, i32> {
        let reachable = |id: &&String| self.number_of(kind, id).is_some_and(|number| number <= head);
        let mut ids: Vec<&String> = request.ids.iter().filter(reachable).collect();
        if reversed {
            ids.reverse();
        }
        let skipped = match start {
            "" => 0,
            start => ids.iter().position(|id| id.as_str() == start).ok_or(status::INVALID_PAGING)?,
        };
        let wanted = ids.into_iter().skip(skipped).take(limit + 1);
        Ok(wanted.filter_map(|id| self.item(kind, id)).collect())
    }

    /// How a page that begins with this item is asked for.
    fn name_of_start(&self, kind: Kind, item: &Item) -> String {
        match kind {
            Kind::Block => self.number_of_block(&item.id).map(|number| format!("0x{number:016x}")).unwrap_or_default(),
            Kind::Batch | Kind::Transaction => item.id.clone(),
        }
    }

    fn number_of_start(&self, kind: Kind, start: &str) -> Option<u64> {
        match kind {
            Kind::Block => u64::from_str_radix(start.strip_prefix("0x")?, 16).ok(),
            Kind::Batch | Kind::Transaction => is_id(start).then(|| self.number_of(kind, start)).flatten(),
        }
    }
}
