//! The name of a ledger transaction: `view.seqno`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ParseError;

/// The reign of one primary: the consensus term. Views only grow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct View(pub u64);

/// The position of a transaction in the ledger. The first is 1; 0 means "before the first".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seqno(pub u64);

impl Seqno {
    pub const ZERO: Self = Self(0);
    /// Nothing that is read from outside names a position behind this one, which no network reaches.
    pub const MAX: Self = Self(1 << 56);

    /// The following position.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a ledger holds fewer than 2^64 transactions"))
    }
}

/// A transaction's name. Ordered by view, then seqno: among committed transactions that is ledger order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TxId {
    pub view: View,
    pub seqno: Seqno,
}

impl TxId {
    pub fn new(view: View, seqno: Seqno) -> Self {
        Self { view, seqno }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Seqno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.view, self.seqno)
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxId({self})")
    }
}

impl FromStr for TxId {
    type Err = ParseError;

    /// Reads `view.seqno`: decimal, without sign or leading zeros.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let invalid = || ParseError::new("transaction id (view.seqno)", text);
        let (view, seqno) = text.split_once('.').ok_or_else(invalid)?;
        let number = |digits: &str| {
            let canonical = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
            canonical.then(|| digits.parse().ok()).flatten()
        };
        let view = number(view).ok_or_else(invalid)?;
        let seqno = number(seqno).ok_or_else(invalid)?;
        Ok(Self { view: View(view), seqno: Seqno(seqno) })
    }
}

impl Serialize for TxId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TxId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_txid_survives_its_text_form() {
        let txid = TxId::new(View(2), Seqno(17));
        assert_eq!(txid.to_string(), "2.17");
        assert_eq!("2.17".parse(), Ok(txid));
    }

    #[test]
    fn text_that_is_no_txid_is_refused() {
        for text in ["", ".", "2", "2.", ".17", "2.17.3", "+2.17", "02.17", "2.x", "2.99999999999999999999"] {
            assert!(text.parse::<TxId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn txids_order_by_view_first() {
        assert!("2.99".parse::<TxId>().unwrap() < "3.1".parse::<TxId>().unwrap());
    }
}
