//! Blocks that a developer asks for.

use coco_kv::Tx;
use coco_protocol::{Context, Rejection};

use super::operate::refused;
use crate::chain::{Chain, Tip};
use crate::protocol::write_block;

impl Chain {
    /// Seals `blocks` without transactions on `parent`, all in this ledger transaction; gives the last.
    pub(super) fn mine_empty(
        &self,
        tx: &mut Tx,
        mut parent: Tip,
        blocks: u64,
        interval_s: Option<u64>,
        context: &Context<'_>,
    ) -> Result<Tip, Rejection> {
        for _ in 0..blocks {
            let later = interval_s.map(|interval_s| parent.header.timestamp.saturating_add(interval_s));
            let failed = |error: crate::block::BlockError| refused(&error.to_string());
            let open = self.open_on(tx, &parent, later, context).map_err(failed)?;
            let sealed = open.seal(tx, self.codes(), context.now_ms).map_err(failed)?;
            write_block(tx, &sealed);
            let (header, hash) = (sealed.header, sealed.hash);
            parent = Tip { header, hash, trie: sealed.trie, sealed_ms: context.now_ms };
        }
        Ok(parent)
    }
}
