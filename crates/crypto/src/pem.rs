//! PEM (RFC 7468): one object a text, of the label that is expected.

use crate::Error;

const LABELS: [&str; 5] = ["CERTIFICATE", "PUBLIC KEY", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"];

/// The DER inside the one PEM block of `text`, which must carry `label`.
pub fn decode_pem(label: &str, text: &str) -> Result<Vec<u8>, Error> {
    let expected = LABELS.into_iter().find(|known| *known == label).unwrap_or("another label");
    let blocks = pem::parse_many(text).map_err(|_| Error::MalformedPem { expected })?;
    match <[pem::Pem; 1]>::try_from(blocks) {
        Ok([block]) if block.tag() == label => Ok(block.into_contents()),
        _ => Err(Error::MalformedPem { expected }),
    }
}

/// The DER inside every PEM block of `text`; all must carry `label`.
pub fn decode_pem_all(label: &str, text: &str) -> Result<Vec<Vec<u8>>, Error> {
    let expected = LABELS.into_iter().find(|known| *known == label).unwrap_or("another label");
    let blocks = pem::parse_many(text).map_err(|_| Error::MalformedPem { expected })?;
    if blocks.is_empty() || blocks.iter().any(|block| block.tag() != label) {
        return Err(Error::MalformedPem { expected });
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

/// Lines of 64 characters, each ended by a line feed on every system: the text is hashed and compared.
pub fn encode_pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_block_of_the_right_label_is_read_and_nothing_else() {
        let text = encode_pem("CERTIFICATE", b"der");
        assert_eq!(decode_pem("CERTIFICATE", &text).unwrap(), b"der");
        let error = Error::MalformedPem { expected: "PUBLIC KEY" };
        assert_eq!(decode_pem("PUBLIC KEY", &text), Err(error));
        assert!(decode_pem("CERTIFICATE", &text.repeat(2)).is_err());
        assert_eq!(decode_pem_all("CERTIFICATE", &text.repeat(2)).unwrap(), [b"der", b"der"]);
        assert!(decode_pem_all("CERTIFICATE", "").is_err());
        assert!(decode_pem_all("PUBLIC KEY", &text).is_err());
        assert!(decode_pem("CERTIFICATE", "").is_err());
        assert!(decode_pem("CERTIFICATE", &text.replace("END", "ENT")).is_err());
    }
}
