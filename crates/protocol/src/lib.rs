//! The seam for ledger protocols: what a protocol owes the framework, and what the framework gives it.
//!
//! ```text
//!   client ──▶ Service ──▶ Protocol::admit ──▶ LedgerHandle::submit ──▶ (forward to the primary) ──▶ Pool::insert
//!                 ▲                                                                                     │ Pool::next
//!                 │  Reader (committed state, history)                                   Protocol::execute(Tx)
//!                 │                                                                                     │
//!                 └───────────── Protocol::committed(batch), on every node ◀── consensus ◀── ledger ◀───┘
//! ```
//!
//! Everything here is synchronous and free of clocks, entropy, threads and sockets, so that the simulator runs a protocol
//! exactly as a node does. A protocol must not keep state of its own that is not derived from what was committed, except
//! its [`Pool`], which is volatile.

mod admitted;
mod answers;
pub mod bindings;
mod caller;
pub mod conformance;
mod context;
mod fifo;
mod handle;
mod idempotency;
mod outcome;
mod percent;
mod pool;
mod prepare;
mod protocol;
mod reader;
mod service;
mod stream;

pub use admitted::Admitted;
pub use answers::{ApiError, answer_to};
pub use caller::{Caller, ClientCertificate, Identity, TokenClaims};
pub use context::Context;
pub use fifo::Fifo;
pub use handle::{LedgerHandle, NodeStatus, PastTransaction, Submitted, TransactionStatus, Until};
pub use idempotency::{Earlier, Idempotent, SignedRequest};
pub use outcome::{Claims, CommittedBatch, CommittedTransaction, Outcome, Rejection, RejectionReason};
pub use percent::percent_decoded;
pub use pool::{Pool, Ready};
pub use prepare::{Job, Prepared};
pub use protocol::{GenesisError, Integrity, Protocol};
pub use reader::{DerivedHistory, Gate, History, HistoryError, OpenGate, Reader, Subject, part_of};
pub use service::{Feed, Mount, Reply, Rest, Service, Socket, SocketClosed, SocketSession};
pub use stream::{
    Attested, CHANNEL_BINDING_LABEL, ChannelBinding, Standing, Stream, StreamEnded, StreamService, StreamSession,
};
