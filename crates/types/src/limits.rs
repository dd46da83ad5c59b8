//! Every limit, in one place, with its unit in its name. Nothing in Coco queues, buffers or loops beyond one of these.
//!
//! Those marked *configurable* are defaults that a node's configuration file or the network's parameters may change.

/// Forced cut of a batch under load, milliseconds. *Configurable.*
pub const BATCH_INTERVAL_MS: u64 = 5;
/// A batch is cut before its transactions exceed this many bytes. *Configurable.*
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// One transaction's write set; a larger one is rejected by the executor.
pub const WRITE_SET_BYTES_MAX: usize = 16 << 20;
/// Transactions executed but not yet committed; the executor pauses above it. *Configurable.*
pub const UNCOMMITTED_TRANSACTIONS_MAX: usize = 20_000;
/// Batches sealed but not yet committed: what one follower may have in flight.
pub const BATCHES_IN_FLIGHT_MAX: usize = 64;
/// Submissions admitted and waiting for the executor; above it the protocol answers "busy". *Configurable.*
pub const SUBMISSIONS_QUEUED_MAX: usize = 50_000;

/// Time without a heartbeat after which a backup campaigns, milliseconds; the real one is drawn between this and twice this. *Configurable.*
pub const ELECTION_TIMEOUT_MS: u64 = 1_000;
/// Between two heartbeats of a primary, milliseconds. *Configurable.*
pub const HEARTBEAT_MS: u64 = 100;
/// One consensus tick, milliseconds. The election timeout is a whole number of ticks.
pub const TICK_MS: u64 = 50;

/// A complete ledger chunk's size, above which the next batch flags a cut, bytes. *Configurable network parameter.*
pub const CHUNK_BYTES: u64 = 64 << 20;
/// One ledger entry, bytes. Larger lengths in a file are damage.
pub const ENTRY_BYTES_MAX: u64 = 32 << 20;
/// One frame on a node-to-node channel, bytes.
pub const NODE_FRAME_BYTES_MAX: usize = 64 << 20;

/// A batch interval of blocks, milliseconds. *Configurable network parameter.*
pub const BLOCK_INTERVAL_MS: u64 = 100;

/// One HTTP request body, bytes. *Configurable.*
pub const REQUEST_BODY_BYTES_MAX: usize = 1 << 20;
/// A JSON-RPC batch's body, bytes. *Configurable.*
pub const RPC_BATCH_BYTES_MAX: usize = 16 << 20;
/// Connections a listener; idle ones are evicted first. *Configurable.*
pub const CONNECTIONS_MAX: usize = 16_000;
/// Until a request's head is complete, milliseconds.
pub const REQUEST_HEAD_TIMEOUT_MS: u64 = 10_000;
/// A connection without a request, milliseconds, before it may be evicted.
pub const CONNECTION_IDLE_MS: u64 = 60_000;
