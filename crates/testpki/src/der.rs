//! Writing DER: just what certificates and revocation lists need.

use coco_types::Digest;

pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let head = match len {
        0..=0x7f => vec![tag, len as u8],
        0x80..=0xff => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [head, content.to_vec()].concat()
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub fn integer(magnitude: &[u8]) -> Vec<u8> {
    let significant = &magnitude[magnitude.iter().take_while(|byte| **byte == 0).count()..];
    let sign = if significant.first().is_none_or(|byte| *byte >= 0x80) { &[0][..] } else { &[] };
    tlv(2, &[sign, significant].concat())
}

pub fn byte(value: u8) -> Vec<u8> {
    integer(&[value])
}

pub fn boolean(value: bool) -> Vec<u8> {
    vec![1, 1, if value { 0xff } else { 0 }]
}

/// An object identifier in dotted form.
pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().expect("an arc is a number")).collect();
    let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let groups = (0..10).rev().map(|group| (arc >> (7 * group) & 0x7f) as u8);
        let mut groups: Vec<u8> = groups.skip_while(|group| *group == 0).collect();
        if groups.is_empty() {
            groups.push(0);
        }
        let last = groups.len() - 1;
        content.extend(groups.iter().enumerate().map(|(i, group)| if i == last { *group } else { group | 0x80 }));
    }
    tlv(6, &content)
}

pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], bytes].concat())
}

pub fn octet_string(bytes: &[u8]) -> Vec<u8> {
    tlv(4, bytes)
}

/// One common name.
pub fn name(common_name: &str) -> Vec<u8> {
    let attribute = sequence(&[&oid("2.5.4.3"), &tlv(0x0c, common_name.as_bytes())]);
    sequence(&[&tlv(0x31, &attribute)])
}

/// GeneralizedTime of Unix seconds.
pub fn time(at: u64) -> Vec<u8> {
    let text = rfc3339(at);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    // RFC 5280 §4.1.2.5: two digits of the year until 2049.
    if &digits[..2] == "20" && digits[2..4] < *"50" {
        return tlv(0x17, format!("{}Z", &digits[2..]).as_bytes());
    }
    tlv(0x18, format!("{digits}Z").as_bytes())
}

/// `2025-06-19T10:56:11Z`.
pub fn rfc3339(at: u64) -> String {
    let (days, second) = (at / 86_400, at % 86_400);
    // Howard Hinnant's civil-from-days, from 0000-03-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// SHA-256 of a certificate: what an anchor is.
pub fn fingerprint(der: &[u8]) -> Digest {
    coco_crypto::sha256(der)
}
