//! What is told to those who wait: events of blocks to subscribers, and the end of a wait for batches.

mod block;
mod filter;
mod hub;
mod outstanding;
mod subscriber;
mod waits;

pub use block::{BLOCK_COMMIT, BlockEvents, STATE_DELTA, WholeBatch, WholeBlock};
pub use filter::{Effort, InvalidFilter, Subscriptions, TooMuch};
pub use hub::Hub;
pub use outstanding::Outstanding;
pub use subscriber::{Subscriber, Told};
pub use waits::Wait;
