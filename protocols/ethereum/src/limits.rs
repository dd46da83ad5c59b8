//! What Ethereum's transactions take, and the pool in which they wait. What one client may ask is in `rpc/limits.rs`. Units are in the names.

/// Bytes of a transaction: the same limit as other clients have.
pub const TRANSACTION_BYTES_MAX: usize = 128 << 10;
/// Transactions in the pool that follow their account's nonce without a gap.
pub const POOL_PENDING_MAX: usize = 10_000;
/// Transactions in the pool behind a gap.
pub const POOL_QUEUED_MAX: usize = 10_000;
/// Transactions of one sender in the pool.
pub const POOL_PER_SENDER_MAX: usize = 1_024;
/// Bytes of all transactions in the pool, as they were submitted.
pub const POOL_BYTES_MAX: usize = 256 << 20;
/// A transaction behind a gap is dropped after this, milliseconds.
pub const POOL_QUEUED_LIFETIME_MS: u64 = 3 * 60 * 60 * 1_000;
/// Contracts' sources that wait to be kept.
pub const POOL_UPLOADS_MAX: usize = 64;
/// Transactions in one answer about what waits in the pool.
pub const POOL_CONTENT_MAX: usize = 5_000;
/// Their bytes: as JSON they take little more than twice as much.
pub const POOL_CONTENT_BYTES_MAX: usize = 8 << 20;
