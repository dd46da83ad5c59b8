//! A fast checksum against accidents: torn, lost and rotten writes. It keeps no adversary out; the ledger's own
//! authentication does that.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Eight bytes a step: a batch of 1 MiB takes well under a millisecond.
pub(crate) fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = mix(seed ^ bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER).rotate_left(29);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state ^ u64::from_le_bytes(last))
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 32)).wrapping_mul(MULTIPLIER);
    value = (value ^ (value >> 29)).wrapping_mul(MULTIPLIER);
    value ^ (value >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_changes_the_checksum() {
        let bytes: Vec<u8> = (0..61).collect();
        let whole = checksum(7, &bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(7, &flipped), whole);
        }
        for len in 0..bytes.len() {
            assert_ne!(checksum(7, &bytes[..len]), whole);
        }
        assert_ne!(checksum(8, &bytes), whole);
    }

    #[test]
    fn the_checksum_on_disk_never_changes() {
        assert_eq!(checksum(1, b"coco consensus log"), 5_266_042_208_987_736_585);
    }
}
