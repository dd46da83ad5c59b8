//! What is told to those who wait: events of blocks to subscribers, and the end of a wait for batches.

mod block;
mod filter;
mod hub;
mod outstanding;

pub use block::{BLOCK_COMMIT, BlockEvents, STATE_DELTA};
pub use filter::{InvalidFilter, Subscriptions};
pub(crate) use hub::block_events as block_events_of;
pub use hub::{Hub, Subscriber, Wait};
pub use outstanding::Outstanding;
