//! What a history store holds, in small: up to which transaction it has all records, and of the keys that begin with each byte how many there are, with a sum
//! over them that only this node can make.
//!
//! A host can take a record out of a store, and what is not there looks as if it had never been. So who reads a store keeps this census of it: a key that is
//! not found was never there only if the keys around it are those that were counted. The sum of a part is the exclusive or of a code of each of its keys
//! (MSet-XOR-Hash, Clarke et al. 2003), and the sum of all is that of a code of each part; the host never sees either, as both are sealed. A write then seals
//! the parts that it adds to and the whole, some eighty bytes each, and no part can be put back to what it was without the others. What a record says is not
//! in the census: values are sealed under their keys.

use coco_types::TxId;

use crate::Error;
use crate::history::BlindedKey;

const PARTS: usize = 256;
const CODE_BYTES: usize = 32;
const TALLY_BYTES: usize = 8 + CODE_BYTES;

/// What a key, or a part, counts as.
pub(crate) type Code = [u8; CODE_BYTES];

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Census {
    watermark: TxId,
    /// One for each first byte of keys.
    parts: Vec<Part>,
}

#[derive(Clone, Default, Debug)]
struct Part {
    tally: Tally,
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
        Self { watermark: TxId::default(), parts: vec![Part::default(); PARTS] }
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
        let part = self.parts.get_mut(usize::from(key[0])).expect("a part for each byte");
        part.tally.count(code);
        part.is_changed = true;
    }

    /// Of the keys that begin with this byte.
    pub fn tally(&self, first: u8) -> Tally {
        self.parts.get(usize::from(first)).expect("a part for each byte").tally
    }

    /// Takes up the parts that changed: each is given to `seal`, which says what it counts as now.
    pub(crate) fn settle(&mut self, mut seal: impl FnMut(u8, &[u8; TALLY_BYTES]) -> Code) {
        for (first, part) in (0..=u8::MAX).zip(&mut self.parts) {
            if std::mem::take(&mut part.is_changed) {
                part.code = seal(first, &part.tally.encode());
            }
        }
    }

    /// A part as it was sealed, and what it counts as.
    pub(crate) fn restore(&mut self, first: u8, tally: &[u8], code: Code) -> Result<(), Error> {
        let part = self.parts.get_mut(usize::from(first)).expect("a part for each byte");
        *part = Part { tally: Tally::decode(tally)?, code, is_changed: false };
        Ok(())
    }

    /// Of all parts as they were last sealed.
    pub(crate) fn sum(&self) -> Code {
        let mut sum = Code::default();
        self.parts.iter().for_each(|part| add(&mut sum, &part.code));
        sum
    }
}

impl Tally {
    pub fn count(&mut self, code: Code) {
        self.keys = self.keys.saturating_add(1);
        add(&mut self.sum, &code);
    }

    fn encode(&self) -> [u8; TALLY_BYTES] {
        let mut bytes = [0; TALLY_BYTES];
        let (keys, sum) = bytes.split_at_mut(8);
        keys.copy_from_slice(&self.keys.to_le_bytes());
        sum.copy_from_slice(&self.sum);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (keys, sum) = bytes.split_first_chunk().ok_or(Error::MalformedHistory)?;
        Ok(Self { keys: u64::from_le_bytes(*keys), sum: sum.try_into().map_err(|_| Error::MalformedHistory)? })
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
    fn only_parts_that_changed_are_sealed_and_all_of_them_make_the_sum() {
        let mut census = Census::default();
        census.count(&[7; 32], [1; 32]);
        census.count(&[9; 32], [2; 32]);
        let mut sealed = Vec::new();
        let mut seal = |first: u8, tally: &[u8; TALLY_BYTES]| {
            sealed.push((first, tally.to_vec()));
            [first; 32]
        };
        census.settle(&mut seal);
        census.settle(&mut seal);
        assert_eq!(sealed.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [7, 9]);
        assert_eq!(census.sum(), [7 ^ 9; 32]);
        let mut restored = Census::default();
        for (first, tally) in &sealed {
            restored.restore(*first, tally, [*first; 32]).unwrap();
            assert_eq!(restored.tally(*first), census.tally(*first));
            assert!(restored.restore(*first, &tally[1..], [0; 32]).is_err());
        }
    }
}
