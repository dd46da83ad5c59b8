//! Names as they stand in paths of requests (RFC 3986 §2.1).

/// What a percent-encoded text stands for; `None` if it is malformed or no UTF-8.
pub fn percent_decoded(encoded: &str) -> Option<String> {
    let (mut decoded, mut rest) = (Vec::with_capacity(encoded.len()), encoded.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let mut byte = 0;
        for digit in digits {
            byte = byte * 16 + char::from(*digit).to_digit(16)?;
        }
        decoded.push(u8::try_from(byte).ok()?);
        rest = behind;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_decoded_whole_or_not_at_all() {
        assert_eq!(percent_decoded("%2Flib%2fb%C3%A4nk.js").as_deref(), Some("/lib/bänk.js"));
        assert_eq!(percent_decoded("a+b").as_deref(), Some("a+b"));
        for malformed in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(percent_decoded(malformed), None, "{malformed}");
        }
    }
}
