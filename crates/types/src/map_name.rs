//! Names of maps. The name says how a map is kept.

use std::borrow::{Borrow, Cow};
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a key-value map.
///
/// Prefixes carry meaning, so that a ledger file can be read without a schema:
/// - `public:…` is plaintext in the ledger file; every other map is sealed.
/// - `history:…` and `public:history:…` hold write-once records (blocks, receipts): they go to the ledger and to the
///   history store on disk, never to the live state in memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MapName(Cow<'static, str>);

/// Whether a map is sealed in the ledger file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confidentiality {
    Public,
    Private,
}

/// Where a map's records live once committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    /// In memory, multi-version: the newest value of each key.
    Live,
    /// On disk, write-once.
    History,
}

impl MapName {
    pub const fn from_static(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn confidentiality(&self) -> Confidentiality {
        if self.0.starts_with("public:") { Confidentiality::Public } else { Confidentiality::Private }
    }

    pub fn retention(&self) -> Retention {
        let name = self.0.strip_prefix("public:").unwrap_or(&self.0);
        if name.starts_with("history:") { Retention::History } else { Retention::Live }
    }
}

impl Borrow<str> for MapName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_says_how_a_map_is_kept() {
        let kept = |name| {
            let map = MapName::from_static(name);
            (map.confidentiality(), map.retention())
        };
        assert_eq!(kept("ethereum.account"), (Confidentiality::Private, Retention::Live));
        assert_eq!(kept("public:ccf.gov.nodes.info"), (Confidentiality::Public, Retention::Live));
        assert_eq!(kept("history:ethereum.block"), (Confidentiality::Private, Retention::History));
        assert_eq!(kept("public:history:x"), (Confidentiality::Public, Retention::History));
        assert_eq!(kept("publicity"), (Confidentiality::Private, Retention::Live));
    }
}
