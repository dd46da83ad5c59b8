//! What waits for a machine: first in, first out, each item with the time from which the machine may take it.

use std::collections::VecDeque;

/// See the module's text.
pub struct Inbox<T> {
    items: VecDeque<(u64, T)>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self { items: VecDeque::new() }
    }
}

impl<T> Inbox<T> {
    /// Takeable from `at_ms` on, and never before what came earlier.
    pub fn push(&mut self, at_ms: u64, item: T) {
        let earliest = self.items.back().map_or(0, |(at, _)| *at);
        self.items.push_back((at_ms.max(earliest), item));
    }

    pub fn take(&mut self, now_ms: u64) -> Option<T> {
        self.items.pop_front_if(|(at, _)| *at <= now_ms).map(|(_, item)| item)
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.items.front().map(|(at, _)| *at)
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn clear(&mut self) {
        self.items.clear();
    }
}
