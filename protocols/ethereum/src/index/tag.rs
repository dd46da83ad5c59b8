//! What a block can be found by.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};

use crate::block::Touched;
use crate::state::Undo;

/// The first eight bytes of a hash of what is looked for. Its last bit tells rows of the state from everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub(super) u64);

/// Kinds of names; they separate what is equal by chance.
const ROW: u8 = 0;
const SLOTS: u8 = 1;
const EMITTER: u8 = 2;
const RECIPIENT: u8 = 3;
const ANY_LOG: u8 = 4;
/// And one more for each position.
const TOPIC: u8 = 8;

impl Tag {
    /// A row of the state that the block changed, by its key.
    pub fn row(key: &[u8]) -> Self {
        Self::new(ROW, key)
    }

    /// An account of which a slot changed.
    pub fn slots_of(address: &Address) -> Self {
        Self::new(SLOTS, address.as_slice())
    }

    /// A contract that wrote a log.
    pub fn emitter(address: &Address) -> Self {
        Self::new(EMITTER, address.as_slice())
    }

    /// A topic of a log.
    pub fn topic(position: usize, topic: &B256) -> Self {
        Self::new(TOPIC.saturating_add(u8::try_from(position).unwrap_or(u8::MAX)), topic.as_slice())
    }

    /// Some log.
    pub fn any_log() -> Self {
        Self::new(ANY_LOG, &[])
    }

    /// An account that a transaction was sent to, or that it was to create.
    pub fn recipient(address: &Address) -> Self {
        Self::new(RECIPIENT, address.as_slice())
    }

    /// Everything under which a transaction can be found by who took part in it.
    pub fn of_participant(address: &Address) -> Vec<Self> {
        let mut tags = vec![Self::row(address.as_slice()), Self::slots_of(address), Self::recipient(address)];
        tags.push(Self::emitter(address));
        tags.extend((1..4).map(|position| Self::topic(position, &address.into_word())));
        tags
    }

    pub(super) fn is_row(self) -> bool {
        self.0 & 1 == 1
    }

    fn new(kind: u8, name: &[u8]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = coco_crypto::sha256_of(&[&[kind], name]).0;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]) & !1 | u64::from(kind == ROW))
    }
}

/// The tags of one block.
pub(super) fn of_block(transactions: &[Touched], undo: &Undo) -> BTreeSet<Tag> {
    let mut tags = BTreeSet::new();
    let mut last_account = None;
    for (key, _) in undo.rows() {
        tags.insert(Tag::row(key));
        if let Some((address, [_, ..])) = key.split_first_chunk::<20>()
            && last_account != Some(*address)
        {
            last_account = Some(*address);
            tags.insert(Tag::slots_of(&Address::from(*address)));
        }
    }
    let (mut emitters, mut topics, mut recipients) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for touched in transactions {
        recipients.insert(touched.recipient);
        for (emitter, of_log) in &touched.logs {
            emitters.insert(*emitter);
            topics.extend(of_log.iter().copied().enumerate());
        }
    }
    if !emitters.is_empty() {
        tags.insert(Tag::any_log());
    }
    tags.extend(recipients.iter().map(Tag::recipient));
    tags.extend(emitters.iter().map(Tag::emitter));
    tags.extend(topics.iter().map(|(position, topic)| Tag::topic(*position, topic)));
    tags
}
