//! Contract code with its jump destinations found, shared by all executions of a node.

use std::collections::HashMap;

use alloy_primitives::B256;
use parking_lot::RwLock;
use revm::bytecode::Bytecode;

/// Code kept, bytes. When it is reached everything is dropped: what is in use comes back with the next calls.
const BYTES_MAX: usize = 64 << 20;
/// What an entry takes beside its code, roughly.
const ENTRY_BYTES: usize = 256;

/// Analysing code costs time in proportion to its size, at every call.
#[derive(Default)]
pub struct CodeCache {
    cached: RwLock<Cached>,
}

#[derive(Default)]
struct Cached {
    codes: HashMap<B256, Bytecode>,
    bytes: usize,
}

impl CodeCache {
    pub fn new() -> Self {
        Self::default()
    }

    /// The code by its hash; `load` gets its bytes.
    pub fn code(&self, hash: &B256, load: impl FnOnce() -> bytes::Bytes) -> Bytecode {
        if let Some(code) = self.cached.read().codes.get(hash) {
            return code.clone();
        }
        let bytes: alloy_primitives::Bytes = load().into();
        let entry_bytes = bytes.len() + ENTRY_BYTES;
        // From before London there may be code that only looks like a delegation.
        let code = Bytecode::new_raw_checked(bytes.clone()).unwrap_or_else(|_| Bytecode::new_legacy(bytes));
        if code.is_empty() {
            // Not kept: a state that lacks the code must not hide it from those that have it.
            return code;
        }
        let mut cached = self.cached.write();
        if cached.bytes + entry_bytes > BYTES_MAX {
            *cached = Cached::default();
        }
        if cached.codes.insert(*hash, code.clone()).is_none() {
            cached.bytes += entry_bytes;
        }
        code
    }
}
