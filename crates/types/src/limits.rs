//! The main limits, in one place, each with its unit in its name; some stand beside the code that keeps them instead. Whatever queues, buffers
//! or loops has a limit.
//!
//! Those marked *configurable* are defaults that an embedding program can change; a node's configuration file and the network's parameters
//! know some of them.

/// Forced cut of a batch under load, milliseconds. *Configurable.*
pub const BATCH_INTERVAL_MS: u64 = 5;
/// A batch is cut before its transactions exceed this many bytes. *Configurable.*
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// One transaction's write set; a larger one is rejected by the executor.
pub const WRITE_SET_BYTES_MAX: usize = 16 << 20;
/// Everything that one block writes, its transactions' write sets and its own record: a block is never divided over batches, and a
/// batch has to fit into what one peer's channel holds.
pub const BLOCK_BYTES_MAX: usize = 20 << 20;
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

/// Between two questions of a returning replica to each other, milliseconds.
pub const COMEBACK_ASK_MS: u64 = 100;
/// What another replica said counts for so long while returning, milliseconds.
pub const COMEBACK_FRESH_MS: u64 = 1_000;
/// How long enough returning voters wait for the rest, milliseconds.
pub const COMEBACK_GRACE_MS: u64 = 1_000;
/// How long a replica that has adopted a log waits for a silent coordinator, milliseconds.
pub const COMEBACK_PLAN_MS: u64 = 5_000;
/// How long the coordinator goes on telling that a resume is complete, milliseconds.
pub const COMEBACK_LINGER_MS: u64 = 1_000;
/// How long a replica that made way stays aside if no plan comes of it, milliseconds.
pub const COMEBACK_WAY_MADE_MS: u64 = 5_000;
/// Entries copied in one answer while resuming, bytes; a larger one travels alone.
pub const COMEBACK_COPY_BYTES: usize = 4 << 20;
/// One piece of a snapshot that is fetched to resume with, bytes.
pub const COMEBACK_PIECE_BYTES: u32 = 256 << 10;
/// How long a returning replica hears nobody that runs before it knocks at the addresses that it knows, and again so long after each try, milliseconds.
pub const COMEBACK_KNOCK_MS: u64 = 10_000;
/// Until a swap that was refused is tried again, milliseconds.
pub const SWAP_RETRY_MS: u64 = 250;
/// How far a primary's clock may be from a backup's own, seconds, for the backup to acknowledge that a node is at risk or retired.
pub const JUDGEMENT_SKEW_S: u64 = 300;
/// Requests for fresh evidence that wait for the platform's device, which answers one at a time; above it they are answered 503.
pub const ATTESTATIONS_QUEUED_MAX: usize = 16;
/// Requests to join that a backup has on their way to the primary: so many whose evidence is genuine by what is committed there, and as many others, which
/// only the primary can judge. As many with fresh evidence, of each. Above it they are answered 503.
pub const ADMISSIONS_UNDER_WAY_MAX: usize = 4;
/// Those of all backups together that wait at the primary, which judges one after another; above it they are answered 503.
pub const ADMISSIONS_QUEUED_MAX: usize = 64;
/// Signed requests of one member, or participant, to `/gov` that are under way through one node; those that nobody known there has signed have as many
/// together. Above it they are answered 503.
pub const GOVERNANCE_REQUESTS_OF_ONE_MAX: usize = 16;
/// Between two swaps at the same place, milliseconds of ledger time. *Configurable network parameter.*
pub const SWAP_INTERVAL_MS: u64 = 60_000;

/// A complete ledger chunk's size, above which the next batch flags a cut, bytes. *Configurable network parameter.*
pub const CHUNK_BYTES: u64 = 64 << 20;
/// One ledger entry, bytes. Larger lengths in a file are damage.
pub const ENTRY_BYTES_MAX: u64 = 32 << 20;
/// A snapshot of the state is taken at the end of the chunk with which the ledger has grown by this much since the last one, bytes,
/// and by no less than the last snapshot's size. *Configurable.*
pub const SNAPSHOT_LEDGER_BYTES: u64 = 128 << 20;
/// The same in transactions, whichever comes first. *Configurable.*
pub const SNAPSHOT_TRANSACTIONS: u64 = 1_000_000;
/// Snapshots kept on disk; older ones are removed.
pub const SNAPSHOTS_KEPT: usize = 2;
/// One sealed piece of a snapshot; also one piece of a snapshot or chunk on its way to another node, bytes.
pub const SNAPSHOT_PIECE_BYTES: usize = 1 << 20;
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
/// Descriptors that a process keeps for its own files and its channels; its listeners share the rest of what the system gives it.
pub const DESCRIPTORS_RESERVED: usize = 256;
/// Requests under way on one HTTP/2 connection; HTTP/1.1 has one at a time.
pub const REQUESTS_PER_CONNECTION_MAX: u32 = 256;
/// What an HTTP/2 client may have sent and this node not yet taken in, on one connection, bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Until a request's head is complete, milliseconds.
pub const REQUEST_HEAD_TIMEOUT_MS: u64 = 10_000;
/// A connection without a request, milliseconds, before it may be evicted.
pub const CONNECTION_IDLE_MS: u64 = 60_000;
/// Connections from one address; clients behind a proxy share it. *Configurable.*
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 4_000;
/// Until a request's body is complete, milliseconds.
pub const REQUEST_BODY_TIMEOUT_MS: u64 = 30_000;
/// Bytes that one listener holds for all its clients together: bodies of requests arriving, and their heads over HTTP/2, answers and socket messages leaving.
pub const CLIENT_BYTES_MAX: usize = 1 << 30;
/// Of them, what one address holds; clients behind a proxy share it.
pub const CLIENT_BYTES_PER_ADDRESS_MAX: usize = 256 << 20;
/// What a connection takes of large answers that are on their way to it, bytes, in each [`ANSWER_PACE_MS`]; a slower one is closed.
pub const ANSWER_PACE_BYTES: usize = 512 << 10;
pub const ANSWER_PACE_MS: u64 = 30_000;
/// Requests waiting for a worker, and as many that take long waiting for one of theirs; above it a listener answers 503.
pub const REQUESTS_QUEUED_MAX: usize = 4_096;
/// How long a request may wait for one, milliseconds; then it is answered 503 unread while a sixty-fourth of them or more wait, so that under
/// overload what is answered was asked a moment ago.
pub const REQUEST_QUEUED_MS_MAX: u64 = 1_000;
/// Messages waiting on one WebSocket; a client that reads more slowly is closed with 1013.
pub const SOCKET_QUEUE_MESSAGES_MAX: usize = 10_000;
/// The same in bytes.
pub const SOCKET_QUEUE_BYTES_MAX: usize = 32 << 20;
/// Between two pings on a WebSocket, milliseconds; a client silent for two of them is gone.
pub const SOCKET_PING_MS: u64 = 30_000;
/// Responses that go on (`GET /gov/events`), of a listener.
pub const EVENT_STREAMS_MAX: usize = 1_000;
/// The same to one address.
pub const EVENT_STREAMS_PER_ADDRESS_MAX: usize = 16;
/// Between two signs of life on such a response, milliseconds.
pub const EVENT_STREAM_PULSE_MS: u64 = 10_000;
/// So many of those one lasts if somebody proved who they are: then they prove it anew.
pub const EVENT_STREAM_PULSES_MAX: u32 = 60;
/// Transactions with news of governance that a node keeps at hand for whoever comes back.
pub const NEWS_KEPT: usize = 4_096;
/// Transactions that a node reads again from its ledger files for whoever comes back from further away.
pub const NEWS_READ_AGAIN_MAX: u64 = 20_000;
/// The same, bytes.
pub const NEWS_READ_AGAIN_BYTES_MAX: usize = 16 << 20;
/// How long a request for a receipt waits for its transaction to commit, milliseconds, unless it says `Prefer: wait=seconds`.
pub const RECEIPT_WAIT_MS: u64 = 5_000;

/// Consensus messages queued for one peer, bytes; beyond it the oldest are dropped.
pub const CHANNEL_RAFT_BYTES_MAX: usize = 32 << 20;
/// Requests and responses queued for one peer, bytes; beyond it a request fails at once.
pub const CHANNEL_REQUEST_BYTES_MAX: usize = 96 << 20;
/// Requests of one peer being answered; it may send no more until one is.
pub const CHANNEL_REQUESTS_MAX: usize = 4_096;
/// First delay before a channel is tried again, milliseconds; doubles up to [`CHANNEL_RETRY_MS_MAX`].
pub const CHANNEL_RETRY_MS: u64 = 50;
pub const CHANNEL_RETRY_MS_MAX: u64 = 500;
/// Until a channel's TCP connection is there, milliseconds: TCP itself asks again only after 1,000, then 3,000.
pub const CHANNEL_CONNECT_TIMEOUT_MS: u64 = 500;
/// Until a channel's TCP connection, handshake and hello are done, milliseconds.
pub const CHANNEL_OPEN_TIMEOUT_MS: u64 = 5_000;
/// How long what was sent on a channel may stay without TCP's acknowledgement, milliseconds; then it is dialled again. Otherwise a link would be silent after a cut
/// for up to as long as the cut took: TCP doubles the time between its attempts.
pub const CHANNEL_UNACKNOWLEDGED_MS: u32 = 1_500;
/// Connections that have not said hello yet; nodes are few. Beyond it the oldest makes way.
pub const CHANNEL_STRANGERS_MAX: usize = 64;
/// Of them, those of one address; nodes behind one gateway share it. Beyond it the oldest of the address makes way.
pub const CHANNEL_STRANGERS_PER_ADDRESS_MAX: usize = 16;
/// Between two lines in the log about connections that ended before they were a node's, milliseconds.
pub const CHANNEL_STRANGERS_TOLD_MS: u64 = 1_000;

/// Certificates that a client may present, its own included; a longer chain ends the handshake.
pub const CERTIFICATE_CHAIN_MAX: usize = 6;
/// One bearer token, bytes.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
/// How far a token's `nbf` and `iat` may be ahead of this node's time, seconds. For `exp` there is no such grace.
pub const TOKEN_AHEAD_MAX_S: u64 = 60;
/// Keys of one token issuer.
pub const JWT_KEYS_MAX: usize = 100;
/// How old a signed request may be, and how far ahead of this node's time, seconds.
pub const SIGNED_REQUEST_AGE_MAX_S: u64 = 300;
/// One `Idempotency-Key`, bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// How long a key is known, milliseconds of ledger time.
pub const IDEMPOTENCY_KEPT_MS: u64 = 86_400_000;
/// Keys that are known at a time; beyond it the oldest are forgotten.
pub const IDEMPOTENCY_KEYS_MAX: u64 = 100_000;
/// Of them, one caller's; callers who prove nothing share this.
pub const IDEMPOTENCY_KEYS_PER_CALLER_MAX: u64 = 10_000;
/// Bytes of all keys' answers together; beyond it the oldest are forgotten.
pub const IDEMPOTENCY_BYTES_MAX: u64 = 64 << 20;
/// Of them, one caller's.
pub const IDEMPOTENCY_BYTES_PER_CALLER_MAX: u64 = 8 << 20;
/// Signed requests that are known at a time, besides; none is forgotten before [`SIGNED_REQUEST_KEPT_MS`], so that beyond it further ones are
/// refused as "busy".
pub const SIGNED_REQUESTS_KEPT_MAX: u64 = 500_000;
/// Of them, one signer's.
pub const SIGNED_REQUESTS_PER_CALLER_MAX: u64 = 125_000;
/// How long a signed request is known at least, milliseconds of ledger time: as long as it could be taken anywhere, and clocks may differ.
pub const SIGNED_REQUEST_KEPT_MS: u64 = 900_000;
/// One answer that is kept with its key, bytes; of a longer one its transaction's id is kept only.
pub const IDEMPOTENT_ANSWER_BYTES_MAX: usize = 64 << 10;

/// The name of a map that a script of the members asks for, bytes.
pub const SCRIPT_MAP_NAME_BYTES_MAX: usize = 1 << 10;
/// A key that a script of the members asks for, bytes.
pub const SCRIPT_KEY_BYTES_MAX: usize = 64 << 10;

/// The heap of one request to the members' application (`set_js_runtime_options`), bytes; without a vote, 100 MiB.
pub const APP_HEAP_BYTES_MAX: usize = 256 << 20;
/// The stack of one request to the members' application, bytes; without a vote, 1 MiB.
pub const APP_STACK_BYTES_MAX: usize = 4 << 20;
/// How long one request to the members' application may run, milliseconds; without a vote, 5,000.
pub const APP_EXECUTION_MS_MAX: u64 = 10_000;

/// The body of an answer of the members' application, bytes.
pub const APP_RESPONSE_BYTES_MAX: usize = 1 << 20;
/// The headers that the members' application may add to an answer, bytes.
pub const APP_HEADERS_BYTES_MAX: usize = 16 << 10;
/// What a request to the members' application reads of one map at once (`forEach`, `clear`, `size`), bytes with 256 for each row; and of all past transactions that it looks at in ranges, bytes.
pub const APP_SCAN_BYTES_MAX: usize = 64 << 20;
/// Past transactions that a request to the members' application looks at as one range (`ccf.historical.getStateRange`).
pub const APP_STATES_MAX: u64 = 1_000;
/// Requests to the members' application that run, or wait to, on one node: reads and writes each. Above it they are answered 503.
pub const APP_REQUESTS_MAX: usize = 512;
/// How often a writing request to the members' application is run again because what it had read was changed meanwhile.
pub const APP_ATTEMPTS_MAX: u32 = 30;

/// Identities of ledgers that may be bound to one caller.
pub const BINDINGS_PER_PRINCIPAL_MAX: usize = 32;
/// The furthest deadline of a statement about a binding that is accepted, seconds of ledger time; nodes issue them for half of it.
pub const BINDING_STATEMENT_S: u64 = 600;
