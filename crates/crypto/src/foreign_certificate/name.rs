//! Distinguished names as text (RFC 4514), so that no two names have one text: what a name's parts hold cannot pass for its structure.

use std::fmt::Write;

use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Attribute types that RFC 4514 §3 gives short names.
const SHORT: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The most specific part first, as the RFC has it. `None`: malformed, or a name without parts.
pub(super) fn text(der: &[u8]) -> Option<String> {
    let Ok(([], name)) = X509Name::from_der(der) else { return None };
    let mut parts = Vec::new();
    for relative in name.iter() {
        let attributes: Vec<_> = relative.iter().map(attribute).collect();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(id, _)| *id == oid).map(|(_, short)| *short);
    match (short, attribute.as_str()) {
        (Some(short), Ok(value)) => format!("{short}={}", escaped(value)),
        // A type without a name, or a value that is no text: its bytes (RFC 4514 §2.4).
        _ => {
            let name = short.unwrap_or(&oid);
            let bytes = attribute.attr_value().data;
            bytes.iter().fold(format!("{name}=#"), |mut text, byte| {
                write!(text, "{byte:02x}").expect("a text takes any text");
                text
            })
        }
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let at_an_end = (c == ' ' && (at == 0 || at == last)) || (c == '#' && at == 0);
        if matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=') || at_an_end {
            text.push('\\');
            text.push(c);
        } else if c.is_control() {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                write!(text, "\\{byte:02x}").expect("a text takes any text");
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name of these common names, one part each.
    fn named(names: &[&str]) -> Vec<u8> {
        let part = |name: &&str| {
            let value = [&[0x0c, name.len() as u8], name.as_bytes()].concat();
            let pair = [&[0x06, 3, 0x55, 4, 3][..], &value].concat();
            let pair = [&[0x30, pair.len() as u8], &pair[..]].concat();
            [&[0x31, pair.len() as u8], &pair[..]].concat()
        };
        let parts: Vec<u8> = names.iter().flat_map(part).collect();
        [&[0x30, parts.len() as u8], &parts[..]].concat()
    }

    #[test]
    fn what_a_part_holds_cannot_pass_for_a_part() {
        assert_eq!(text(&named(&["Bank", "ann"])).as_deref(), Some("CN=ann,CN=Bank"));
        assert_eq!(text(&named(&["ann,CN=Bank"])).as_deref(), Some("CN=ann\\,CN\\=Bank"));
        assert_eq!(text(&named(&[" #\n\\ "])).as_deref(), Some("CN=\\ #\\0a\\\\\\ "));
        assert_eq!(text(&named(&[])), None);
        assert_eq!(text(b"no name"), None);
    }
}
