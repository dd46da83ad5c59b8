//! Every limit of this ledger. Nothing in it queues, buffers or loops beyond one of these.

/// Bytes of a batch.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// Transactions of a batch.
pub const BATCH_TRANSACTIONS_MAX: usize = 10_000;

/// Bytes that one transaction may write, with its events and its receipt's data.
pub const TRANSACTION_WRITES_BYTES_MAX: usize = 4 << 20;

/// Bytes that one batch may write, with its events and its receipts' data.
pub const BATCH_WRITES_BYTES_MAX: usize = 6 << 20;

/// Bytes that one batch may take in the ledger: itself, what it writes, its receipts.
pub const BATCH_RECORD_BYTES_MAX: usize = 12 << 20;

/// Bytes that one batch may replace or remove; a block that has replaced so many takes in no more.
pub const REPLACED_BYTES_MAX: usize = 4 << 20;

/// Blocks behind the newest whose state can still be read.
pub const STATES_KEPT: u64 = 1_000;

/// Bytes that the batches of one block take in the ledger before it takes in no more. With a last batch, and what was replaced, a block stays below
/// the ledger's largest entry (`ENTRY_BYTES_MAX`).
pub const BLOCK_BYTES_MAX: usize = 8 << 20;

/// Transactions in one block: what one run may keep the executor busy with.
pub const BLOCK_TRANSACTIONS_MAX: usize = 5_000;

/// Statuses of invalid batches that are kept.
pub const INVALID_KEPT_MAX: u64 = 100_000;

/// Kept of what a processor says about an invalid transaction; longer extended data is dropped.
pub const INVALID_MESSAGE_CHARS_MAX: usize = 4_096;
pub const INVALID_EXTENDED_DATA_BYTES_MAX: usize = 64 << 10;

/// Batches of one family that are prepared, or wait for an earlier one of them, at a time.
pub const PREPARED_PER_FAMILY_MAX: usize = 128;

/// Input and output addresses, and dependencies, that the transactions of a batch declare together.
pub const BATCH_ADDRESSES_MAX: usize = 100_000;
pub const BATCH_DEPENDENCIES_MAX: usize = 20_000;

/// Prefixes of addresses by which a batch that is prepared is told from others; one that declares more waits for all others, and they for it.
pub const CLAIMED_PREFIXES_MAX: usize = 1_000;

/// The same of all batches that are being prepared: further ones wait.
pub const CLAIMED_PREFIXES_ALL_MAX: usize = 500_000;

/// Clients waiting for batches' statuses, and ids that their questions name together, some 500 bytes each; beyond either a wait ends at once.
pub const STATUS_WAITS_MAX: usize = 20_000;
pub const WAITED_IDS_MAX: usize = 200_000;

/// Threads that finish answers about statuses.
pub const ANSWERING_THREADS: usize = 2;

/// Bytes that one answer about statuses says of invalid transactions; of further batches it says only that they are invalid.
pub const STATUSES_BYTES_MAX: usize = 8 << 20;

/// Subscribers of a node, on the component endpoint and over WebSockets, and patterns in the filters of all of them.
pub const SUBSCRIBERS_MAX: usize = 1_000;
pub const SUBSCRIBED_PATTERNS_MAX: usize = 500;

/// Threads that filter events and tell them, and of those for subscribers whose filters have patterns, who wait for each other and nobody for them.
pub const TELLING_THREADS: usize = 2;
pub const MATCHING_THREADS: usize = 1;

/// What one subscriber's patterns are tried on in one block, bytes times what a pattern weighs: one, and one more for each 8 KiB that it takes compiled.
/// A subscription that takes more ends with its connection, and a question about events is refused.
pub const MATCHED_BYTES_MAX: usize = 8 << 20;

/// The same after which it is others' turn.
pub const MATCHED_BYTES_TURN: usize = 1 << 20;

/// What trying a pattern on an attribute takes at least, in the same bytes.
pub const MATCHED_ATTRIBUTE_BYTES: usize = 64;

/// Blocks that a subscriber who missed some is told in a row, before it is others' turn.
pub const TOLD_BLOCKS_MAX: usize = 16;

/// Bytes of the newest blocks that are kept for subscribers; what is older is read again.
pub const RECENT_BLOCKS_BYTES_MAX: usize = 32 << 20;

/// Event subscriptions of one request, and filters in them.
pub const SUBSCRIPTIONS_MAX: usize = 100;
pub const FILTERS_MAX: usize = 100;

/// Bytes of an event's type, of a key, and of a text or pattern in an event filter.
pub const PATTERN_BYTES_MAX: usize = 1_000;

/// Bytes that a compiled pattern may take, and what it remembers while it is matched.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 128 << 10;

/// Memory for batches that were admitted, as they are when decoded: in the primary's pool, and kept by the node that took them in until they
/// are decided. Beyond either a submission is answered "full".
pub const POOL_BYTES_MAX: usize = 256 << 20;
pub const OUTSTANDING_BYTES_MAX: usize = POOL_BYTES_MAX;

/// How long such a batch is kept, milliseconds: longer than it may wait for its dependencies.
pub const OUTSTANDING_KEPT_MS: u64 = 600_000;

/// Between two questions to the primary whether it still knows such a batch, milliseconds.
pub const OUTSTANDING_ASK_AFTER_MS: u64 = 2_000;

/// Bytes of the items on one page, unless its first takes more: then the page ends with that.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// Bytes of records that one request reads. A list ends with the block, or the item, at which that is reached, and says where it goes on; a
/// question about receipts, events or the state of an earlier block that takes more is refused.
pub const READ_BYTES_MAX: usize = 64 << 20;

/// The same of a REST request before it is left to threads that nobody waits for.
pub const BRIEF_READ_BYTES_MAX: usize = 512 << 10;

/// What reading a record takes at least, in the same bytes.
pub const RECORD_READ_BYTES: usize = 256;

/// Bytes of the receipts, or events, in one answer.
pub const ANSWER_BYTES_MAX: usize = 12 << 20;

/// Items on a page, unless asked otherwise; and at most.
pub const PAGE_ITEMS: usize = 100;
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// Blocks that one page looks at: a caller who may see little gets shorter pages, which say where the list goes on.
pub const LIST_BLOCKS_MAX: usize = 10_000;

/// Ids that one list may ask for.
pub const LIST_IDS_MAX: usize = 1_000;

/// How long a wait for batches' statuses lasts if nothing else is asked for, and at most, milliseconds.
pub const STATUS_WAIT_MS: u64 = 300_000;

/// Between two questions to the primary whether it still knows what a client waits for, milliseconds.
pub const STATUS_ASK_AGAIN_MS: u64 = 5_000;

/// Batches of one submission, and ids of one question.
pub const SUBMISSION_BATCHES_MAX: usize = 10_000;

/// Ids that one message names, each counted as often as it is named.
pub const NAMED_IDS_MAX: usize = 100_000;

/// Parameters of a REST request's query.
pub const QUERY_PARAMETERS_MAX: usize = 64;

/// Bytes of a REST request's body: the original's limit.
pub const REST_BODY_BYTES_MAX: usize = 10_485_760;

/// Address prefixes that one WebSocket subscription may name.
pub const PREFIXES_MAX: usize = 1_000;

/// Addresses of the state that a processor asks for at once.
pub const PROCESSOR_ADDRESSES_MAX: usize = 10_000;
/// Addresses of the state that it sets or removes at once.
pub const PROCESSOR_WRITES_MAX: usize = 100_000;

/// Attributes of one event.
pub const EVENT_ATTRIBUTES_MAX: usize = 50_000;

/// Bytes of a message on the component endpoint.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Messages of one connection that are answered in a row before it is others' turn.
pub const TURN_MESSAGES_MAX: usize = 100;
/// The same, milliseconds.
pub const TURN_MS: u64 = 5;
/// The same, bytes of answers.
pub const TURN_ANSWERS_BYTES: usize = 1 << 20;

/// Bytes of a command of its wire protocol.
pub const COMMAND_BYTES_MAX: usize = 4 << 10;

/// Blocks that one question about events may name.
pub const EVENT_BLOCKS_MAX: usize = 1_000;

/// Transactions that one processor has at a time, unless it says otherwise; and at most.
pub const OCCUPANCY: u32 = 10;
pub const OCCUPANCY_MAX: u32 = 1_000;

/// How long a batch waits for somebody to register for its family, milliseconds.
pub const REGISTRATION_WAIT_MS: u64 = 30_000;

/// How long a processor may take for one transaction, milliseconds.
pub const PROCESS_WAIT_MS: u64 = 10_000;

/// Attempts at one transaction, on different processors where there are several.
pub const ATTEMPTS_MAX: u32 = 3;

/// A processor that was silent for so long is asked whether it is there, milliseconds; and so often before it counts as gone.
pub const PING_AFTER_MS: u64 = 10_000;
pub const PINGS_MAX: u32 = 3;

/// Times in a row that a processor may have work and not answer before it gets no more.
pub const SILENT_MAX: u32 = 3;

/// Processors of a backup: backups, connections of one, and contexts that a backup remembers to be the primary's.
pub const GUEST_LINKS_MAX: usize = 64;
pub const GUEST_CONNECTIONS_MAX: usize = 1_000;
pub const RELAYED_CONTEXTS_MAX: usize = 10_000;

/// Bytes that a backup is handed at once.
pub const HANDED_BYTES_MAX: usize = 16 << 20;

/// How long a backup's poll is held, and how long one may be silent until its processors count as gone, milliseconds.
pub const POLL_HELD_MS: u64 = 1_000;
pub const GUESTS_GONE_MS: u64 = 4_000;

/// Bytes of the evidence that a processor sends, in JSON.
pub const EVIDENCE_MESSAGE_BYTES_MAX: usize = 512 << 10;

/// Families that one connection may register for.
pub const CONNECTION_FAMILIES_MAX: usize = 100;

/// Proposals of settings that may be open at once: the row is read and written whole by each vote.
pub const CANDIDATES_MAX: usize = 1_000;

/// Bytes of a contract, as it is put into the ledger.
pub const CONTRACT_BYTES_MAX: usize = 2 << 20;

/// Steps of one batch's contracts together: an instruction is about one, a request of the node some more.
pub const BATCH_FUEL: u64 = 200_000_000;

/// Steps that a contract's request of the node takes, besides one for each byte that it moves.
pub const CONTRACT_REQUEST_FUEL: u64 = 20;
pub const CONTRACT_REQUEST_BYTE_FUEL: u64 = 1;

/// Steps that an execution takes before it begins, besides one for each byte of the contract; and a byte's when it has to be translated first. Both
/// are taken too when a contract, or a permission's function, is put into the ledger, as it is translated to be checked: one batch has a node translate nine
/// mebibytes at most.
pub const CONTRACT_ENTRY_FUEL: u64 = 50_000;
pub const CONTRACT_TRANSLATED_BYTE_FUEL: u64 = 20;

/// Prefixes that a transaction lists for a contract to read, and to write.
pub const CONTRACT_PREFIXES_MAX: usize = 1_000;

/// Bytes of a contract's own memory.
pub const CONTRACT_MEMORY_BYTES_MAX: usize = 32 << 20;

/// What a contract and the node exchange during one execution, pages of 64 KiB: Sabre's size.
pub const CONTRACT_HEAP_PAGES: u32 = 256;

/// Things that the node keeps for a contract during one execution, and places in its lists of them.
pub const CONTRACT_POINTERS_MAX: usize = 100_000;

/// Functions that a contract may call by number.
pub const CONTRACT_TABLE_ELEMENTS_MAX: usize = 10_000;

/// Calls within each other.
pub const CONTRACT_STACK_DEPTH_MAX: usize = 1_000;

/// Bytes of contracts that are kept ready to be executed.
pub const CONTRACTS_READY_BYTES_MAX: usize = 16 << 20;

/// Contracts that are executed at a time; others wait.
pub const CONTRACT_THREADS: usize = 2;

/// Rows about blocks that one `block_info` transaction removes at most, when the target count was lowered.
pub const BLOCK_INFO_REMOVED_MAX: u64 = 1_000;
