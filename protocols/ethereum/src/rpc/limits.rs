//! What one client may ask of the RPC at once. Units are in the names.

pub use coco_types::limits::{REQUEST_BODY_BYTES_MAX, RPC_BATCH_BYTES_MAX};

/// Requests in one batch.
pub const BATCH_ENTRIES_MAX: usize = 1_000;
/// One answer, and all answers of a batch together.
pub const RESPONSE_BYTES_MAX: usize = 25_000_000;
/// Answers at one node that wait for others of their batches, bytes, of all batches together; one that would be more is an error instead.
pub const UNSENT_BYTES_MAX: usize = 256 << 20;
/// Beyond that, bytes: for such errors, and for batches that have little to say.
pub const UNSENT_SPARE_BYTES_MAX: usize = 128 << 20;
/// What such a batch has to say so far, bytes.
pub const UNSENT_LITTLE_BYTES_MAX: usize = 16 << 10;
/// Lists and objects inside one another.
pub const NESTING_MAX: usize = 64;
/// Gas of one simulated call; more is clipped.
pub const CALL_GAS_MAX: u64 = 50_000_000;
/// One read, by the node's clock.
pub const READ_MS_MAX: u64 = 5_000;
/// What a message may compute on threads for which others wait, by the node's clock; a request that takes longer is begun anew on other threads.
pub const BRIEF_MS_MAX: u64 = 2;
/// All reads of a batch together.
pub const BATCH_READ_MS_MAX: u64 = 30_000;
/// Blocks that one log query covers.
pub const LOG_BLOCKS_MAX: u64 = 10_000_000;
/// Blocks that one poll of a filter tells of; the next poll tells of the others.
pub const FILTER_BLOCKS_MAX: u64 = 100_000;
/// One request for traces, by the node's clock.
pub const TRACE_MS_MAX: u64 = 60_000;
/// What one trace may take in memory, bytes.
pub const TRACE_BYTES_MAX: usize = 64 << 20;
/// Blocks that one search for traces executes again.
pub const TRACE_FILTER_BLOCKS_MAX: u64 = 100;
/// Addresses and topics that one log query names, together.
pub const LOG_CHOICES_MAX: usize = 1_000;
/// The same of all subscriptions for logs at one node: each is compared with every block.
pub const LOG_CHOICES_ALL_MAX: usize = 250_000;
/// Questions of one node for all that waits in the primary's pool, under way at once.
pub const POOL_CONTENTS_ASKED_MAX: usize = 2;
/// The same for what waits there of one sender.
pub const POOL_SENDERS_ASKED_MAX: usize = 8;
/// Logs that one query returns.
pub const LOGS_MAX: usize = 20_000;
/// Code of one account override, bytes.
pub const CODE_OVERRIDE_BYTES_MAX: usize = 256 << 10;
/// Accounts and slots that may have changed since a block of which something is proved.
pub const PROOF_ROWS_MAX: usize = 500_000;
/// Newest blocks that the index does not cover yet, of which a read of older state looks at each.
pub const UNINDEXED_BLOCKS_MAX: u64 = 50_000;
/// Storage slots of one request.
pub const SLOTS_MAX: usize = 1_024;
/// Blocks of one simulation.
pub const SIMULATED_BLOCKS_MAX: u64 = 256;
/// Blocks of one fee history.
pub const FEE_HISTORY_BLOCKS_MAX: u64 = 1_024;
/// Percentiles of one fee history.
pub const FEE_PERCENTILES_MAX: usize = 100;
/// Positions of a log's topics.
pub const TOPICS_MAX: usize = 4;
/// Filters of one identity.
pub const FILTERS_PER_CALLER_MAX: usize = 100;
/// Filters of all callers together.
pub const FILTERS_MAX: usize = 2_000;
/// A filter that nobody polls is dropped after this, within a second.
pub const FILTER_IDLE_MS: u64 = 5 * 60 * 1_000;
/// Pending transactions that a filter remembers between two polls; the oldest are dropped.
pub const FILTER_PENDING_MAX: usize = 10_000;
/// Their bytes.
pub const FILTER_PENDING_BYTES_MAX: usize = 8 << 20;
/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_PER_CONNECTION_MAX: usize = 100;
/// Subscriptions and filters for pending transactions of one node.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;
/// Notifications kept while the answer that announces their subscription is on its way.
pub const NOTIFICATIONS_HELD_MAX: usize = 1_000;
/// Callers that wait for a receipt at once.
pub const RECEIPT_WAITERS_MAX: usize = 10_000;
/// The longest that a caller may wait for a receipt.
pub const RECEIPT_WAIT_MS_MAX: u64 = 60_000;
/// What a caller waits for a receipt if it does not say.
pub const RECEIPT_WAIT_MS: u64 = 30_000;
/// How long the question for a receipt waits for a transaction that is in the pool.
pub const PENDING_RECEIPT_WAIT_MS: u64 = 1_000;
/// How long a submission waits for its block, where it waits at all.
pub const BLOCK_WAIT_MS: u64 = 10_000;
/// Blocks that a developer can have made at once.
pub const MINED_BLOCKS_MAX: u64 = 65_536;
/// The fee that this node pays for a transaction it signs itself, wei.
pub const SIGNED_FEE_WEI_MAX: u128 = 1_000_000_000_000_000_000;
