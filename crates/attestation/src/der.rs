//! Just enough DER for extensions of vendors' certificates: definite lengths, one value after another.

/// One value: its tag, and its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value<'a> {
    pub tag: u8,
    pub content: &'a [u8],
}

pub const INTEGER: u8 = 0x02;
pub const OID: u8 = 0x06;
pub const IA5_STRING: u8 = 0x16;
pub const SEQUENCE: u8 = 0x30;

/// The value at the front, and what follows it.
pub fn take(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let value = len.iter().fold(0usize, |value, byte| value << 8 | usize::from(*byte));
            // The shortest form only.
            let shortest = len.first() != Some(&0) && value >= 0x80;
            shortest.then_some((value, rest))?
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((Value { tag, content }, rest))
}

/// Exactly one value.
pub fn only(bytes: &[u8]) -> Option<Value<'_>> {
    take(bytes).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// The values inside a sequence.
pub fn sequence<'a>(value: Value<'a>) -> Option<Vec<Value<'a>>> {
    let mut rest = (value.tag == SEQUENCE).then_some(value.content)?;
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (value, after) = take(rest)?;
        values.push(value);
        rest = after;
    }
    Some(values)
}

/// A non-negative INTEGER of one byte, in DER: 0xdb is `02 02 00 db`.
pub fn byte(bytes: &[u8]) -> Option<u8> {
    let value = only(bytes).filter(|value| value.tag == INTEGER)?;
    match value.content {
        [small @ 0..=0x7f] => Some(*small),
        [0, large @ 0x80..=0xff] => Some(*large),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_one_byte_have_one_form() {
        assert_eq!(byte(&[2, 1, 0x7f]), Some(0x7f));
        assert_eq!(byte(&[2, 2, 0, 0xdb]), Some(0xdb));
        for refused in [&[2, 1, 0xdb][..], &[2, 2, 0, 1], &[2, 0], &[4, 1, 1], &[2, 1, 1, 0], &[2, 3, 0, 0xff, 0xff]] {
            assert_eq!(byte(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn lengths_are_definite_short_and_within_the_input() {
        assert_eq!(take(&[0x30, 2, 1, 2, 3]).map(|(_, rest)| rest.len()), Some(1));
        for refused in [&[0x30, 0x80][..], &[0x30, 0x81, 1, 0], &[0x30, 3, 0], &[0x30, 0x84, 0, 0, 0, 1, 0], &[]] {
            assert_eq!(take(refused), None, "{refused:?}");
        }
    }
}
