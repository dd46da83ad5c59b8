//! What the network's members have decided about this ledger: which family may run where and write where, who may read what, and settings.
//!
//! The decisions are rows that the constitution writes (`set_ledger_family`, `set_namespace_readers`, `set_ledger_setting`); this module only reads them. A row that
//! cannot be read forbids. What the genesis says of processors holds for families that no decision is about. Derived data, kept as of
//! what is committed: a decision holds from the next block on.

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{Caller, Identity};
use coco_types::{MapName, WriteSet};
use serde::Deserialize;

use crate::NAME;
use crate::address::prefix_from_hex;
use crate::families::{self, Native};
use crate::messages::ledger::TransactionHeader;
use crate::network::settings_of::Processor;

/// `ledger:family:version` to what was decided, JSON. Of each ledger, `ledger:*:*` is about all other families.
pub const FAMILIES: MapName = MapName::from_static("public:ccf.gov.coco.ledger.families");
/// `ledger:prefix` to who may read what is there, JSON.
pub const NAMESPACES: MapName = MapName::from_static("public:ccf.gov.coco.ledger.namespaces");

/// `ledger:key` to a setting's value, JSON.
pub const SETTINGS: MapName = MapName::from_static("public:ccf.gov.coco.ledger.settings");

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governed {
    /// By family and version, as in a key.
    families: BTreeMap<String, FamilyRow>,
    /// By prefix.
    readers: BTreeMap<Vec<u8>, Vec<String>>,
    settings: BTreeMap<String, String>,
    /// The genesis' own list.
    listed: Option<Vec<Processor>>,
}

/// Where a family runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Code of the node itself.
    Native,
    /// Contracts, which the node interprets.
    Wasm,
    /// A processor that proves by its TEE's evidence what it is. No endpoint takes that evidence yet: nobody can register.
    Attested,
    /// Any processor that reaches the component endpoint. It sees what its transactions see.
    Process,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct FamilyRow {
    tier: Tier,
    /// Prefixes below which it may write; without them wherever a transaction declares.
    #[serde(default)]
    namespaces: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct SettingRow {
    value: String,
}

#[derive(Deserialize)]
struct ReadersRow {
    readers: Vec<String>,
}

/// What executes a family, and where it may write.
pub struct Placed {
    pub place: Place,
    pub namespaces: Option<Vec<Vec<u8>>>,
}

pub enum Place {
    Native(Native),
    /// In the node, but not beside its other work.
    Contracts(Native),
    External,
    /// Nothing does, and why.
    Nowhere(String),
}

impl Governed {
    /// Everything that was decided.
    pub fn read(state: &Snapshot, listed: Option<Vec<Processor>>) -> Self {
        let mut governed = Self { listed, ..Self::default() };
        for (key, value) in state.iter(&FAMILIES) {
            governed.family_decided(&key, Some(&value));
        }
        for (key, value) in state.iter(&NAMESPACES) {
            governed.readers_decided(&key, Some(&value));
        }
        for (key, value) in state.iter(&SETTINGS) {
            governed.setting_decided(&key, Some(&value));
        }
        governed
    }

    /// With what a transaction has decided; nothing if that was nothing.
    pub fn followed(&self, writes: &WriteSet) -> Option<Self> {
        let (families, namespaces) = (writes.map(&FAMILIES), writes.map(&NAMESPACES));
        let settings = writes.map(&SETTINGS);
        if families.is_none() && namespaces.is_none() && settings.is_none() {
            return None;
        }
        let mut next = self.clone();
        families.into_iter().flatten().for_each(|(key, value)| next.family_decided(key, value.as_ref()));
        namespaces.into_iter().flatten().for_each(|(key, value)| next.readers_decided(key, value.as_ref()));
        settings.into_iter().flatten().for_each(|(key, value)| next.setting_decided(key, value.as_ref()));
        Some(next)
    }

    pub fn with_listed(&self, listed: Option<Vec<Processor>>) -> Self {
        Self { listed, ..self.clone() }
    }

    /// What executes a family; `served` says whether a processor has registered for it.
    pub fn place(&self, family: &str, version: &str, served: bool) -> Placed {
        if let Some(native) = families::core(family, version) {
            return Placed { place: Place::Native(native), namespaces: None };
        }
        let nowhere = |why: &str| Place::Nowhere(format!("{family} {version} {why}"));
        let row = self.row(family, version);
        let native = families::example(family, version);
        let contracts = families::contracts(family, version);
        let inside = || native.map(Place::Native).or(contracts.map(Place::Contracts));
        let place = match row.map(|row| row.tier) {
            None => inside().filter(|_| !served).unwrap_or(Place::External),
            Some(Tier::Process) => Place::External,
            Some(Tier::Native) => native.map_or_else(|| nowhere("is not in the node"), Place::Native),
            Some(Tier::Wasm) => contracts.map_or_else(|| nowhere("is no family of contracts"), Place::Contracts),
            Some(Tier::Attested) => nowhere("runs only where its code is attested, and nobody can prove that yet"),
            Some(Tier::Refused) => nowhere("is not among the families that the network's members allow"),
        };
        let listed = self.listed(family, version).map(|listed| &listed.namespaces).filter(|texts| !texts.is_empty());
        let texts = match row {
            Some(row) => row.namespaces.as_ref(),
            None => listed.filter(|_| matches!(place, Place::External)),
        };
        let namespaces = texts.map(|texts| texts.iter().filter_map(|text| prefix_from_hex(text)).collect());
        Placed { place, namespaces }
    }

    /// Whether a processor may register for a family at a plain endpoint.
    pub fn may_register(&self, family: &str, version: &str) -> bool {
        match self.row(family, version) {
            _ if families::core(family, version).is_some() => false,
            Some(row) => row.tier == Tier::Process,
            None => self.listed.is_none() || self.listed(family, version).is_some(),
        }
    }

    /// On-chain settings that the members have decided: no transaction changes them.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether everybody may read everything.
    pub fn is_open(&self) -> bool {
        self.readers.is_empty()
    }

    /// Whether somebody may read what is at an address: the longest prefix that was decided about decides.
    pub fn may_read(&self, caller: &Caller, address: &[u8]) -> bool {
        let about = (0..=address.len()).rev().filter_map(|length| self.readers.get(address.get(..length)?));
        about.into_iter().next().is_none_or(|readers| is_among(caller, readers))
    }

    /// Whether somebody may read everything that a transaction could touch: what it says is about that.
    pub fn may_read_transaction(&self, caller: &Caller, header: &TransactionHeader) -> bool {
        header.inputs.iter().chain(&header.outputs).all(|text| {
            let Some(declared) = prefix_from_hex(text) else { return true };
            let mut below =
                self.readers.range(declared.clone()..).take_while(|(prefix, _)| prefix.starts_with(&declared));
            self.may_read(caller, &declared) && below.all(|(_, readers)| is_among(caller, readers))
        })
    }

    fn row(&self, family: &str, version: &str) -> Option<&FamilyRow> {
        self.families.get(&format!("{family}:{version}")).or_else(|| self.families.get("*:*"))
    }

    fn listed(&self, family: &str, version: &str) -> Option<&Processor> {
        self.listed.as_ref()?.iter().find(|listed| listed.family == family && listed.version == version)
    }

    fn family_decided(&mut self, key: &[u8], value: Option<&Bytes>) {
        let Some(name) = own(key) else { return };
        match value {
            Some(value) => {
                let forbidden = FamilyRow { tier: Tier::Refused, namespaces: None };
                self.families.insert(name.to_owned(), serde_json::from_slice(value).unwrap_or(forbidden));
            }
            None => drop(self.families.remove(name)),
        }
    }

    fn setting_decided(&mut self, key: &[u8], value: Option<&Bytes>) {
        let Some(name) = own(key).filter(|name| !name.is_empty()) else { return };
        match value.and_then(|value| serde_json::from_slice::<SettingRow>(value).ok()) {
            Some(row) => drop(self.settings.insert(name.to_owned(), row.value)),
            None => drop(self.settings.remove(name)),
        }
    }

    fn readers_decided(&mut self, key: &[u8], value: Option<&Bytes>) {
        let Some(prefix) = own(key).and_then(prefix_from_hex) else { return };
        match value {
            Some(value) => {
                let row: Option<ReadersRow> = serde_json::from_slice(value).ok();
                self.readers.insert(prefix, row.map(|row| row.readers).unwrap_or_default());
            }
            None => drop(self.readers.remove(&prefix)),
        }
    }
}

/// The key's part behind this ledger's name.
fn own(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()?.strip_prefix(NAME)?.strip_prefix(':')
}

fn is_among(caller: &Caller, readers: &[String]) -> bool {
    caller.identities().iter().any(|identity| match identity {
        Identity::Protocol { protocol, name } => protocol == NAME && readers.contains(name),
        other => other.names().iter().any(|name| readers.contains(name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn governed(families: &[(&str, &str)], readers: &[(&str, &str)]) -> Governed {
        let mut governed = Governed::default();
        for (key, row) in families {
            governed.family_decided(key.as_bytes(), Some(&Bytes::copy_from_slice(row.as_bytes())));
        }
        for (key, row) in readers {
            governed.readers_decided(key.as_bytes(), Some(&Bytes::copy_from_slice(row.as_bytes())));
        }
        governed
    }

    fn place(governed: &Governed, family: &str, served: bool) -> &'static str {
        match governed.place(family, "1.0", served).place {
            Place::Native(_) => "native",
            Place::Contracts(_) => "wasm",
            Place::External => "external",
            Place::Nowhere(_) => "nowhere",
        }
    }

    #[test]
    fn without_decisions_an_example_is_native_until_it_is_served() {
        let open = Governed::default();
        assert_eq!((place(&open, "intkey", false), place(&open, "intkey", true)), ("native", "external"));
        assert_eq!(place(&open, "mine", false), "external");
        assert!(open.may_register("mine", "1.0") && !open.may_register("sawtooth_settings", "1.0"));
    }

    #[test]
    fn a_decision_says_where_a_family_runs() {
        let decided = governed(
            &[
                ("sawtooth:intkey:1.0", r#"{"tier":"native"}"#),
                ("sawtooth:xo:1.0", r#"{"tier":"process","namespaces":["5b7349"]}"#),
                ("sawtooth:secret:1.0", r#"{"tier":"attested"}"#),
                ("sawtooth:odd:1.0", "nonsense"),
                ("sawtooth:*:*", r#"{"tier":"refused"}"#),
                ("other:mine:1.0", r#"{"tier":"process"}"#),
            ],
            &[],
        );
        let placed = ["intkey", "xo", "secret", "odd", "mine"].map(|family| place(&decided, family, true));
        assert_eq!(placed, ["native", "external", "nowhere", "nowhere", "nowhere"]);
        assert_eq!(place(&decided, "sawtooth_settings", false), "native", "the ledger's own families always run");
        let may = ["intkey", "xo", "secret", "odd", "mine"].map(|family| decided.may_register(family, "1.0"));
        assert_eq!(may, [false, true, false, false, false]);
        assert_eq!(decided.place("xo", "1.0", true).namespaces, Some(vec![vec![0x5b, 0x73, 0x49]]));
    }

    #[test]
    fn a_decision_that_is_taken_back_leaves_what_was_before() {
        let mut decided = governed(&[("sawtooth:intkey:1.0", r#"{"tier":"process"}"#)], &[("sawtooth:1cf126", "{}")]);
        assert!(place(&decided, "intkey", false) == "external" && !decided.is_open());
        decided.family_decided(b"sawtooth:intkey:1.0", None);
        decided.readers_decided(b"sawtooth:1cf126", None);
        assert_eq!(decided, Governed::default());
    }

    #[test]
    fn the_longest_prefix_decides_who_reads() {
        let rules = governed(
            &[],
            &[
                ("sawtooth:aa", r#"{"readers":["ann"]}"#),
                ("sawtooth:aabb", r#"{"readers":["bob"]}"#),
                ("sawtooth:cc", "x"),
            ],
        );
        let caller = |name: &str| Caller::Identified(vec![Identity::Participant(name.into())]);
        let may = |who: &Caller, place: &[u8]| rules.may_read(who, place);
        assert!(may(&Caller::Anonymous, b"\xdd\x01") && !may(&Caller::Anonymous, b"\xaa\x01"));
        assert!(may(&caller("ann"), b"\xaa\x01") && !may(&caller("ann"), b"\xaa\xbb"));
        assert!(may(&caller("bob"), b"\xaa\xbb\x01") && !may(&caller("bob"), b"\xcc\x01"));
        let header = |outputs: &[&str]| TransactionHeader {
            outputs: outputs.iter().map(|text| (*text).to_owned()).collect(),
            ..TransactionHeader::default()
        };
        let may = |who: &Caller, outputs: &[&str]| rules.may_read_transaction(who, &header(outputs));
        assert!(may(&Caller::Anonymous, &["dd"]) && !may(&Caller::Anonymous, &["dd", ""]));
        assert!(may(&caller("ann"), &["aa01"]) && !may(&caller("ann"), &["aa"]));
    }
}
