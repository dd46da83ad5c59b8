//! Going back to an older block.

use bytes::Bytes;
use coco_kv::Tx;
use coco_protocol::{Context, Rejection, RejectionReason};
use serde::{Deserialize, Serialize};

use super::operate::refused;
use super::operation::{AfterRevert, Revert};
use super::patch::{patch, take};
use super::settings::Settings;
use crate::chain::Tip;
use crate::state::{
    ACCOUNT, META, META_HEAD, META_REVERTED, META_SEALED_MS, META_SNAPSHOTS, RECENT, ReadState, SNAPSHOT, STORAGE,
    State, apply_rows,
};

/// What a snapshot remembers: which block was the newest, and what was set or patched on top of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub number: u64,
    settings: Settings,
    taken_ms: u64,
    patches: Vec<(Bytes, Option<Bytes>)>,
}

impl Snapshot {
    pub fn committed(state: &dyn ReadState, id: u64) -> Option<Self> {
        serde_json::from_slice(&state.value(&SNAPSHOT, &id.to_be_bytes())?).ok()
    }
}

/// Remembers where the chain is; gives the snapshot's id.
pub(super) fn snapshot(tx: &mut Tx, number: u64, settings: Settings, context: &Context<'_>) -> u64 {
    let last = tx.get(&META, META_SNAPSHOTS).and_then(|row| row[..].try_into().ok()).map_or(0, u64::from_be_bytes);
    let id = last + 1;
    tx.put(&META, META_SNAPSHOTS, Bytes::copy_from_slice(&id.to_be_bytes()));
    let patched = State::with_prefix(tx, &crate::state::PATCH, &[]);
    let now = |key: Bytes| {
        let map = if key.len() == 20 { ACCOUNT } else { STORAGE };
        let value = tx.get(&map, &key);
        (key, value)
    };
    let patches = patched.into_iter().map(|(key, _)| key).map(now).collect();
    let snapshot = Snapshot { number, settings, taken_ms: context.now_ms, patches };
    let json = serde_json::to_vec(&snapshot).expect("a snapshot has a JSON form");
    tx.put(&SNAPSHOT, Bytes::copy_from_slice(&id.to_be_bytes()), json);
    id
}

/// Writes the older state again; gives its tip and the settings that hold then.
pub(super) fn revert(
    tx: &mut Tx,
    revert: &Revert,
    head: Tip,
    settings: Settings,
    context: &Context<'_>,
) -> Result<(Tip, Settings), Rejection> {
    if head.hash != revert.head {
        return Err(Rejection::new(RejectionReason::Busy, -32005, "the chain has moved meanwhile: try again"));
    }
    let kept = match revert.then {
        AfterRevert::Snapshot(id) => {
            let row = tx.get(&SNAPSHOT, &id.to_be_bytes()).ok_or_else(|| refused("there is no such snapshot"))?;
            let snapshot: Snapshot = serde_json::from_slice(&row).map_err(|_| refused("the snapshot is damaged"))?;
            Some(snapshot).filter(|snapshot| snapshot.number == revert.to)
        }
        AfterRevert::Same | AfterRevert::Fresh => None,
    };
    let mut trie = head.trie;
    let rows = revert.rows.iter().map(|(key, value)| (key.clone(), value.clone()));
    apply_rows(&mut trie, rows.clone()).map_err(|error| refused(&error.to_string()))?;
    if trie.root() != revert.header.state_root {
        return Err(refused("the history does not lead back to that block"));
    }
    for (key, value) in take(tx).into_iter().chain(rows) {
        let map = if key.len() == 20 { ACCOUNT } else { STORAGE };
        State::set(tx, &map, key, value);
    }
    write_head(tx, revert, head.header.number);
    forget_snapshots(tx, revert);
    let settings = match (revert.then, kept) {
        (AfterRevert::Snapshot(_), Some(snapshot)) => {
            for (key, value) in snapshot.patches {
                patch(tx, key, value);
            }
            let mut settings = snapshot.settings;
            // The developer's clock goes on from where it was.
            let passed_s = context.now_ms.saturating_sub(snapshot.taken_ms) / 1_000;
            settings.offset_s = settings.offset_s.saturating_sub_unsigned(passed_s);
            settings
        }
        (AfterRevert::Fresh, _) => Settings::default(),
        _ => settings,
    };
    let tip = Tip { hash: revert.header.hash_slow(), header: revert.header.clone(), trie, sealed_ms: revert.sealed_ms };
    Ok((tip, settings))
}

fn write_head(tx: &mut Tx, revert: &Revert, head: u64) {
    let key = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
    tx.put(&META, META_HEAD, alloy_rlp::encode(&revert.header));
    tx.put(&META, META_SEALED_MS, key(revert.sealed_ms));
    tx.put(&META, META_REVERTED, key(revert.to));
    for number in revert.to + 1..=head {
        if tx.get(&RECENT, &number.to_be_bytes()).is_some() {
            tx.remove(&RECENT, number.to_be_bytes());
        }
    }
    for (number, hash) in &revert.recent {
        State::set(tx, &RECENT, key(*number), Some(Bytes::copy_from_slice(hash.as_slice())));
    }
}

/// Snapshots of what is no longer there, and the one that was used.
fn forget_snapshots(tx: &mut Tx, revert: &Revert) {
    for (key, row) in State::with_prefix(tx, &SNAPSHOT, &[]) {
        let id = key[..].try_into().map_or(u64::MAX, u64::from_be_bytes);
        let number = serde_json::from_slice(&row).map_or(u64::MAX, |snapshot: Snapshot| snapshot.number);
        let gone = match revert.then {
            AfterRevert::Snapshot(used) => id >= used,
            AfterRevert::Same => number > revert.to,
            AfterRevert::Fresh => true,
        };
        if gone {
            tx.remove(&SNAPSHOT, key);
        }
    }
}
