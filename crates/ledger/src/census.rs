//! What a history store holds, in small: up to which transaction it has all records, and of the keys that begin with each byte how many there are, with a sum
//! over them that only this node can make.
//!
//! A host can take a record out of a store, and what is not there looks as if it had never been. So who reads a store keeps this census of it: a key that is
//! not found was never there only if the keys around it are those that were counted. The sum of a part is the exclusive or of a code of each of its keys
//! (MSet-XOR-Hash, Clarke et al. 2003). Sixteen parts that follow each other are a group, and the sum of all is that of a code of each group; the host never
//! sees either, as both are sealed. A write then seals the groups that it adds to and the whole: six hundred bytes at least, and never more than seventeen
//! values, however many keys it adds. No group can be put back to what it was without the others. What a record says is not in the census: values are
//! sealed under their keys.

use coco_types::TxId;

use crate::Error;
use crate::history::BlindedKey;

/// Of keys that begin with one byte.
const PARTS_A_GROUP: usize = 16;
pub(crate) const GROUPS: u8 = 16;
const CODE_BYTES: usize = 32;
const TALLY_BYTES: usize = 8 + CODE_BYTES;

/// What a key, or a group, counts as.
pub(crate) type Code = [u8; CODE_BYTES];

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Census {
    watermark: TxId,
    /// Each of the keys that begin with sixteen bytes.
    groups: Vec<Group>,
}

#[derive(Clone, Default, Debug)]
struct Group {
    /// One for each first byte.
    parts: [Tally; PARTS_A_GROUP],
    /// As it was last sealed; zeros if it never was.
    code: Code,
    is_changed: bool,
}

/// Of the keys that begin with one byte: their number, and the sum of their codes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    keys: u64,
    sum: Code,
}

/// Of an empty store.
impl Default for Census {
    fn default() -> Self {
        Self { watermark: TxId::default(), groups: vec![Group::default(); usize::from(GROUPS)] }
    }
}

impl Census {
    /// Records of transactions up to here are all in the store.
    pub fn watermark(&self) -> TxId {
        self.watermark
    }

    pub fn set_watermark(&mut self, watermark: TxId) {
        self.watermark = watermark;
    }

    /// A key that is new in the store, and its [`crate::HistoryKeys::code`].
    pub fn count(&mut self, key: &BlindedKey, code: Code) {
        let group = &mut self.groups[usize::from(key[0]) / PARTS_A_GROUP];
        group.parts[usize::from(key[0]) % PARTS_A_GROUP].count(code);
        group.is_changed = true;
    }

    /// Of the keys that begin with this byte.
    pub fn tally(&self, first: u8) -> Tally {
        self.groups[usize::from(first) / PARTS_A_GROUP].parts[usize::from(first) % PARTS_A_GROUP]
    }

    /// Takes up the groups that changed: each is given to `seal`, which says what it counts as now.
    pub(crate) fn settle(&mut self, mut seal: impl FnMut(u8, &[u8]) -> Code) {
        for (number, group) in (0..GROUPS).zip(&mut self.groups) {
            if std::mem::take(&mut group.is_changed) {
                group.code = seal(number, &group.parts.map(Tally::encode).concat());
            }
        }
    }

    /// A group, below [`GROUPS`], as it was sealed, and what it counts as.
    pub(crate) fn restore(&mut self, number: u8, sealed: &[u8], code: Code) -> Result<(), Error> {
        let (tallies, []) = sealed.as_chunks::<TALLY_BYTES>() else { return Err(Error::MalformedHistory) };
        let tallies: &[_; PARTS_A_GROUP] = tallies.try_into().map_err(|_| Error::MalformedHistory)?;
        self.groups[usize::from(number)] = Group { parts: tallies.map(Tally::decode), code, is_changed: false };
        Ok(())
    }

    /// Of all groups as they were last sealed.
    pub(crate) fn sum(&self) -> Code {
        let mut sum = Code::default();
        self.groups.iter().for_each(|group| add(&mut sum, &group.code));
        sum
    }
}

impl Tally {
    pub fn keys(&self) -> u64 {
        self.keys
    }

    pub fn count(&mut self, code: Code) {
        self.keys = self.keys.saturating_add(1);
        add(&mut self.sum, &code);
    }

    fn encode(self) -> [u8; TALLY_BYTES] {
        let mut bytes = [0; TALLY_BYTES];
        let (keys, sum) = bytes.split_at_mut(8);
        keys.copy_from_slice(&self.keys.to_le_bytes());
        sum.copy_from_slice(&self.sum);
        bytes
    }

    fn decode(bytes: [u8; TALLY_BYTES]) -> Self {
        let (mut keys, mut sum) = ([0; 8], Code::default());
        keys.copy_from_slice(&bytes[..8]);
        sum.copy_from_slice(&bytes[8..]);
        Self { keys: u64::from_le_bytes(keys), sum }
    }
}

fn add(sum: &mut Code, code: &Code) {
    sum.iter_mut().zip(code).for_each(|(sum, code)| *sum ^= code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_count_in_any_order_each_in_the_part_of_its_first_byte() {
        let (mut one, mut other) = (Census::default(), Census::default());
        for byte in [0, 7, 7, 255] {
            one.count(&[byte; 32], [byte; 32]);
        }
        for byte in [7, 255, 0, 7] {
            other.count(&[byte; 32], [byte; 32]);
        }
        assert!((0..=u8::MAX).all(|first| one.tally(first) == other.tally(first)));
        assert_ne!(one.tally(7), Tally::default(), "two codes that cancel out are still two keys");
        assert_eq!(one.tally(8), Tally::default());
    }

    #[test]
    fn only_groups_that_changed_are_sealed_and_all_of_them_make_the_sum() {
        let mut census = Census::default();
        for byte in [7, 9, 200] {
            census.count(&[byte; 32], [byte; 32]);
        }
        let mut sealed = Vec::new();
        let mut seal = |number: u8, tallies: &[u8]| {
            sealed.push((number, tallies.to_vec()));
            [number + 1; 32]
        };
        census.settle(&mut seal);
        census.settle(&mut seal);
        assert_eq!(sealed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 12]);
        assert_eq!(census.sum(), [1 ^ 13; 32]);
        let mut restored = Census::default();
        for (number, tallies) in &sealed {
            restored.restore(*number, tallies, [*number; 32]).unwrap();
            assert!(restored.restore(*number, &tallies[1..], [0; 32]).is_err());
            assert!(restored.restore(*number, &[&tallies[..], &[0; TALLY_BYTES]].concat(), [0; 32]).is_err());
        }
        assert!((0..=u8::MAX).all(|first| restored.tally(first) == census.tally(first)));
    }
}
