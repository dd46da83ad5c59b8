//! Lists of blocks, batches and transactions: newest block first, and within a block its own order.
//!
//! A page ends when it is full, and when enough was read for it: then its `next` is the block, or the item, at which it goes on, though there may be
//! nothing on the page. Whoever may see little so comes to the end of a list all the same.

use super::view::{Item, Kind, View, distinct};
use super::{is_reversed, page_items};
use crate::address::is_id;
use crate::limits::{LIST_IDS_MAX, PAGE_BYTES_MAX};
use crate::messages::client::{ListRequest, ListResponse, PagingResponse, status};

/// What a page holds, and where the next one begins.
struct Page {
    items: Vec<Item>,
    bytes: usize,
    items_max: usize,
    next: String,
}

impl Page {
    fn new(items_max: usize) -> Self {
        Self { items: Vec::new(), bytes: 0, items_max, next: String::new() }
    }

    /// Gives back what is for the next page.
    fn put(&mut self, item: Item) -> Option<Item> {
        let is_full = self.items.len() >= self.items_max || self.bytes + item.bytes.len() > PAGE_BYTES_MAX;
        if is_full && !self.items.is_empty() {
            return Some(item);
        }
        self.bytes += item.bytes.len();
        self.items.push(item);
        None
    }
}

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
        let page = Page::new(limit);
        let (page, is_paged) = if request.ids.is_empty() {
            (self.walk(kind, head, reversed, &paging.start, page)?, true)
        } else {
            let ids = distinct(&request.ids);
            (self.pick(kind, head, reversed, ids, &paging.start, page)?, kind != Kind::Block)
        };
        let Page { items, next, .. } = page;
        if items.is_empty() && next.is_empty() {
            let paging = Some(PagingResponse::default());
            return Ok(ListResponse { status: status::NO_RESOURCE, items: Vec::new(), head_id, paging });
        }
        let start = items.first().map(|item| self.name_of_start(kind, item)).unwrap_or_default();
        let is_paged = is_paged || !next.is_empty();
        let paging = PagingResponse { start, next, limit: i32::try_from(limit).unwrap_or(i32::MAX) };
        let paging = Some(if is_paged { paging } else { PagingResponse::default() });
        let items = items.into_iter().map(|item| item.bytes).collect();
        Ok(ListResponse { status: status::OK, items, head_id, paging })
    }

    fn walk(&self, kind: Kind, head: u64, reversed: bool, start: &str, mut page: Page) -> Result<Page, i32> {
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
        for (walked, number) in numbers.enumerate() {
            if walked > 0 && (walked >= self.allowed.list_blocks_max || self.has_read_enough()) {
                page.next = name_of_block(number);
                break;
            }
            let mut of_block = self.items_of_block(kind, number);
            if reversed {
                of_block.reverse();
            }
            let begins_inside = number == from && kind != Kind::Block && is_id(start);
            let skipped = match begins_inside {
                true => of_block.iter().position(|item| item.id == start).ok_or(status::INVALID_PAGING)?,
                false => 0,
            };
            for item in of_block.into_iter().skip(skipped) {
                if let Some(left) = page.put(item) {
                    page.next = self.name_of_start(kind, &left);
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Those asked for by id, in that order, without those that are not there.
    fn pick(
        &self,
        kind: Kind,
        head: u64,
        reversed: bool,
        mut ids: Vec<&String>,
        start: &str,
        mut page: Page,
    ) -> Result<Page, i32> {
        if reversed {
            ids.reverse();
        }
        let skipped = match start {
            "" => 0,
            start => ids.iter().position(|id| id.as_str() == start).ok_or(status::INVALID_PAGING)?,
        };
        for (picked, id) in ids.into_iter().skip(skipped).enumerate() {
            if picked > 0 && self.has_read_enough() {
                page.next = id.clone();
                break;
            }
            let reachable = self.placed_item(kind, id).filter(|(number, _)| *number <= head);
            if let Some(left) = reachable.and_then(|(_, item)| page.put(item)) {
                page.next = left.id;
                break;
            }
        }
        Ok(page)
    }

    /// How a page that begins with this item is asked for.
    fn name_of_start(&self, kind: Kind, item: &Item) -> String {
        match kind {
            Kind::Block => self.number_of_block(&item.id).map(name_of_block).unwrap_or_default(),
            Kind::Batch | Kind::Transaction => item.id.clone(),
        }
    }

    /// An item, or any block.
    fn number_of_start(&self, kind: Kind, start: &str) -> Option<u64> {
        match start.strip_prefix("0x") {
            Some(number) => u64::from_str_radix(number, 16).ok(),
            None => (kind != Kind::Block && is_id(start)).then(|| self.number_of(kind, start)).flatten(),
        }
    }
}

fn name_of_block(number: u64) -> String {
    format!("0x{number:016x}")
}
