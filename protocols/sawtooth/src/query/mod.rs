//! What clients ask for, answered from committed state: one function a message, for the component endpoint and the REST API alike.

mod asked;
mod lists;
mod node;
mod state;
#[cfg(test)]
mod tests;
mod view;

pub use node::Node;
pub use view::{Kind, View, distinct};

pub use crate::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX};
use crate::messages::client::{PagingControls, SortControls};

/// Items asked for.
fn page_items(paging: &PagingControls) -> usize {
    match usize::try_from(paging.limit) {
        Ok(0) | Err(_) => PAGE_ITEMS,
        Ok(limit) => limit.min(PAGE_ITEMS_MAX),
    }
}

/// Whether the order is reversed; nothing if what is asked for is not the one key there is.
fn is_reversed(sorting: &[SortControls], only_key: &str) -> Option<bool> {
    match sorting {
        [] => Some(false),
        [one] => (one.keys.is_empty() || one.keys == [only_key]).then_some(one.reverse),
        _ => None,
    }
}
