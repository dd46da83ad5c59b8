//! As much of DER as keys need: one value written, one value read.

use x509_parser::asn1_rs::{Any, FromDer};

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const SEQUENCE: u8 = 0x30;

/// One DER value of fewer than 64 KiB.
pub fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let head = match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 0x80 => vec![tag, len],
        (Ok(len), _) => vec![tag, 0x81, len],
        (_, Ok(len)) => [&[tag, 0x82][..], &len.to_be_bytes()].concat(),
        // No key is that long; a wrong length makes it malformed, and it is refused.
        _ => vec![tag, 0],
    };
    [&head, content].concat()
}

/// A number that is not negative, big-endian.
pub fn unsigned(magnitude: &[u8]) -> Vec<u8> {
    let significant = &magnitude[magnitude.iter().take_while(|byte| **byte == 0).count()..];
    let sign = if significant.first().is_none_or(|byte| *byte >= 0x80) { &[0][..] } else { &[] };
    value(INTEGER, &[sign, significant].concat())
}

/// The content of the value with this tag that `der` begins with, and what follows it.
pub fn split(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, value) = Any::from_der(der).ok()?;
    let found = u32::from(tag & 0x1f) == value.tag().0 && (tag & 0x20 != 0) == value.header.is_constructed();
    found.then_some((value.data, rest))
}
