//! The deterministic form of CBOR (RFC 8949 §4.2.1), enforced on input.
//!
//! What is signed, hashed or compared must have one encoding. [`check_deterministic`] walks the bytes once before they are
//! decoded: shortest lengths, no indefinite lengths, map keys unique and sorted by their bytes, UTF-8 text, no floats (none
//! of our messages has any), nothing after the item.

use crate::Error;

/// Arrays, maps and tags may nest this deep.
pub const DEPTH_MAX: usize = 16;

/// Checks that `bytes` is exactly one CBOR item in deterministic form. Time and stack are bounded by the input's length
/// and by [`DEPTH_MAX`].
pub fn check_deterministic(bytes: &[u8]) -> Result<(), Error> {
    let mut walker = Walker { rest: bytes };
    walker.item(DEPTH_MAX)?;
    if walker.rest.is_empty() { Ok(()) } else { Err(not_deterministic("bytes after the item")) }
}

struct Walker<'a> {
    rest: &'a [u8],
}

impl<'a> Walker<'a> {
    fn item(&mut self, depth: usize) -> Result<(), Error> {
        let depth = depth.checked_sub(1).ok_or(not_deterministic("nested too deep"))?;
        let (major, argument) = self.head()?;
        match major {
            0 | 1 => Ok(()),
            2 => self.take(argument).map(|_| ()),
            3 => {
                let text = self.take(argument)?;
                std::str::from_utf8(text).map(|_| ()).map_err(|_| not_deterministic("text is not UTF-8"))
            }
            4 => (0..argument).try_for_each(|_| self.item(depth)),
            5 => self.map(argument, depth),
            6 => self.item(depth),
            _ => match argument {
                20..=22 => Ok(()),
                _ => Err(not_deterministic("a simple value other than false, true and null")),
            },
        }
    }

    fn map(&mut self, pairs: u64, depth: usize) -> Result<(), Error> {
        let mut previous: &[u8] = &[];
        for _ in 0..pairs {
            let start = self.rest;
            self.item(depth)?;
            let key = &start[..start.len() - self.rest.len()];
            if key <= previous {
                return Err(not_deterministic("map keys are not unique and sorted"));
            }
            previous = key;
            self.item(depth)?;
        }
        Ok(())
    }

    /// The major type and its argument, in the shortest form that holds it.
    fn head(&mut self) -> Result<(u8, u64), Error> {
        let first = *self.take(1)?.first().ok_or(not_deterministic("cut off"))?;
        let (major, short) = (first >> 5, first & 0x1f);
        let (len, least) = match short {
            0..=23 => return Ok((major, u64::from(short))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(not_deterministic("an indefinite length")),
        };
        if major == 7 {
            return Err(not_deterministic("a float or an extended simple value"));
        }
        let argument = self.take(len)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        if argument < least {
            Err(not_deterministic("a number not in its shortest form"))
        } else {
            Ok((major, argument))
        }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Error> {
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = taken.ok_or(not_deterministic("cut off"))?;
        self.rest = rest;
        Ok(taken)
    }
}

fn not_deterministic(why: &'static str) -> Error {
    Error::NotDeterministicCbor { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), Error> {
        check_deterministic(&hex::decode(text).unwrap())
    }

    #[test]
    fn one_item_in_its_shortest_form_is_accepted() {
        for text in ["00", "1818", "3b7fffffffffffffff", "f6", "82f4f5", "4101", "6161", "a2016161026162", "d2a0"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        let refused = [
            "",
            "1800",
            "190001",
            "1a00000001",
            "1b0000000000000001",
            "5801",
            "9f00ff",
            "5f4101ff",
            "bf0101ff",
            "a201000100",
            "a202000100",
            "61ff",
            "f7",
            "f800",
            "f93c00",
            "fb3ff0000000000000",
            "0000",
            "82",
            "1c",
            "9bffffffffffffffff",
            "a101",
        ];
        for text in refused {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_accepted_is_one_item_for_the_decoder_too() {
        let crypto = crate::SeededCrypto::new(1);
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut bytes = [0; 12];
            crate::Crypto::fill(&crypto, &mut bytes);
            // Short arguments, so that many items are whole.
            let bytes = bytes.map(|byte| byte & 0xe3);
            for len in 0..bytes.len() {
                if check_deterministic(&bytes[..len]).is_ok() {
                    let mut decoder = minicbor::Decoder::new(&bytes[..len]);
                    decoder.skip().unwrap();
                    assert_eq!(decoder.position(), len);
                    accepted += 1;
                }
            }
            let _ = crate::cose::Sign1::decode(&bytes);
        }
        assert!(accepted > 1_000);
    }

    #[test]
    fn deep_nesting_is_refused_without_deep_recursion() {
        assert!(check_deterministic(&[0x81; 100_000]).is_err());
        let mut nested = vec![0x81; DEPTH_MAX - 1];
        nested.push(0);
        assert_eq!(check_deterministic(&nested), Ok(()));
        nested.insert(0, 0x81);
        assert!(check_deterministic(&nested).is_err());
    }
}
