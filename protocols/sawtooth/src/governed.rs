//! What the network's members have decided about this ledger: which family may run where and write where, who may read what, and settings.
//!
//! The decisions are rows that the constitution writes (`set_ledger_family`, `set_namespace_readers`, `set_ledger_setting`); this module only reads them. A row that
//! cannot be read forbids. What the genesis says of processors holds for families that no decision is about. Derived data, kept as of
//! what is committed: a decision holds from the next block on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{Caller, Identity};
use coco_types::{MapName, WriteSet};
use serde::Deserialize;

use crate::NAME;
use crate::address::{behind_prefix, prefix_from_hex};
use crate::families::{self, Native};
use crate::messages::ledger::TransactionHeader;
use crate::network::settings_of::Processor;
use crate::settings::{APPROVAL_THRESHOLD, AUTHORIZED_KEYS, IDENTITY_ALLOWED_KEYS};
use crate::signing::is_public_key;

/// `ledger:family:version` to what was decided, JSON. Of each ledger, `ledger:*:*` is about all other families.
pub const FAMILIES: MapName = MapName::from_static("public:ccf.gov.coco.ledger.families");
/// `ledger:prefix` to who may read what is there, JSON.
pub const NAMESPACES: MapName = MapName::from_static("public:ccf.gov.coco.ledger.namespaces");

/// `ledger:key` to a setting's value, JSON.
pub const SETTINGS: MapName = MapName::from_static("public:ccf.gov.coco.ledger.settings");

/// Member to what the consortium says about it, JSON.
pub const MEMBERS: MapName = MapName::from_static("public:ccf.gov.members.info");

/// In a member's data: the key by which it signs Sawtooth's transactions, hex.
const MEMBER_KEY: &str = "sawtooth_key";
/// The value of a setting that says who decides: the members do.
const THE_MEMBERS: &str = "members";
/// No key.
const NOBODY: &str = "nobody";

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governed {
    /// By family and version, as in a key.
    families: BTreeMap<String, FamilyRow>,
    /// By prefix.
    readers: BTreeMap<Vec<u8>, Vec<String>>,
    settings: BTreeMap<String, String>,
    /// Keys by which members sign Sawtooth's transactions, as their data say, by member.
    members: BTreeMap<String, String>,
    /// Nothing as long as the ledger has not begun here.
    founded: Option<Founded>,
}

/// What the genesis says of processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Founded {
    /// It is a network to develop on: any processor may register.
    pub development: bool,
    /// Those that may otherwise.
    pub listed: Vec<Processor>,
}

/// Where a family runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Code of the node itself.
    Native,
    /// Contracts, which the node interprets.
    Wasm,
    /// A processor that proves by its TEE's evidence what it is.
    Attested,
    /// Any processor that reaches the component endpoint. It sees what its transactions see. Members have to say so, or the founder.
    Process,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct FamilyRow {
    tier: Tier,
    /// Prefixes below which it may write; without them wherever a transaction declares.
    #[serde(default)]
    namespaces: Option<Vec<String>>,
    /// Of attested processors, which: sections of an attestation policy.
    #[serde(default)]
    code: serde_json::Value,
}

/// Of a member's row.
#[derive(Deserialize)]
struct MemberRow {
    status: String,
    #[serde(default)]
    member_data: serde_json::Value,
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
    pub fn read(state: &Snapshot, founded: Option<Founded>) -> Self {
        let mut governed = Self { founded, ..Self::default() };
        for (key, value) in state.iter(&FAMILIES) {
            governed.family_decided(&key, Some(&value));
        }
        for (key, value) in state.iter(&NAMESPACES) {
            governed.readers_decided(&key, Some(&value));
        }
        for (key, value) in state.iter(&SETTINGS) {
            governed.setting_decided(&key, Some(&value));
        }
        for (key, value) in state.iter(&MEMBERS) {
            governed.member_changed(&key, Some(&value));
        }
        governed
    }

    /// With what a transaction has decided; nothing if that was nothing.
    pub fn followed(&self, writes: &WriteSet) -> Option<Self> {
        let (families, namespaces) = (writes.map(&FAMILIES), writes.map(&NAMESPACES));
        let (settings, members) = (writes.map(&SETTINGS), writes.map(&MEMBERS));
        if families.is_none() && namespaces.is_none() && settings.is_none() && members.is_none() {
            return None;
        }
        let mut next = self.clone();
        families.into_iter().flatten().for_each(|(key, value)| next.family_decided(key, value.as_ref()));
        namespaces.into_iter().flatten().for_each(|(key, value)| next.readers_decided(key, value.as_ref()));
        settings.into_iter().flatten().for_each(|(key, value)| next.setting_decided(key, value.as_ref()));
        members.into_iter().flatten().for_each(|(key, value)| next.member_changed(key, value.as_ref()));
        Some(next)
    }

    pub fn with_founded(&self, founded: Founded) -> Self {
        Self { founded: Some(founded), ..self.clone() }
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
            None => match inside().filter(|_| !served) {
                Some(inside) => inside,
                None if served || self.is_development() || self.listed(family, version).is_some() => Place::External,
                None => nowhere("is not among the families that the network's members have decided about"),
            },
            Some(Tier::Process | Tier::Attested) => Place::External,
            Some(Tier::Native) => native.map_or_else(|| nowhere("is not in the node"), Place::Native),
            Some(Tier::Wasm) => contracts.map_or_else(|| nowhere("is no family of contracts"), Place::Contracts),
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

    fn is_development(&self) -> bool {
        self.founded.as_ref().is_some_and(|founded| founded.development)
    }

    /// Whether a processor may register for a family; `meets` says whether it has proved to be what a policy accepts. One that comes before the ledger
    /// has begun may: there is nothing to do for it yet, and it is judged when it begins.
    pub fn may_register(
        &self,
        family: &str,
        version: &str,
        meets: impl FnOnce(&serde_json::Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let refused = |why: &str| Err(format!("{family} {version} {why}"));
        if self.founded.is_none() && families::core(family, version).is_none() {
            return Ok(());
        }
        match self.row(family, version) {
            _ if families::core(family, version).is_some() => refused("is the ledger's own"),
            Some(FamilyRow { tier: Tier::Attested, code, .. }) => meets(code),
            Some(row) if row.tier == Tier::Process => Ok(()),
            Some(_) => refused("runs elsewhere or nowhere, as the network's members have decided"),
            None if self.is_development() || self.listed(family, version).is_some() => Ok(()),
            None => refused("is nothing that the network's members have decided about: set_ledger_family"),
        }
    }

    /// On-chain settings that the members have decided: no transaction changes them.
    pub fn settings(&self) -> impl Iterator<Item = (&str, String)> {
        self.settings.iter().map(|(key, value)| (key.as_str(), self.expanded(key, value)))
    }

    /// Where the members say `members` of who decides, it is those of them who have a key for it, and more than half of these.
    fn expanded(&self, key: &str, value: &str) -> String {
        let keys: BTreeSet<&str> = self.members.values().map(String::as_str).collect();
        match key {
            _ if value != THE_MEMBERS => value.to_owned(),
            // An empty list would let everybody begin one.
            AUTHORIZED_KEYS | IDENTITY_ALLOWED_KEYS if keys.is_empty() => NOBODY.to_owned(),
            AUTHORIZED_KEYS | IDENTITY_ALLOWED_KEYS => keys.into_iter().collect::<Vec<_>>().join(","),
            APPROVAL_THRESHOLD => (keys.len() / 2 + 1).to_string(),
            _ => value.to_owned(),
        }
    }

    /// Whether everybody may read everything.
    pub fn is_open(&self) -> bool {
        self.readers.is_empty()
    }

    /// Whether somebody may read what is at an address: the longest prefix that was decided about decides.
    pub fn may_read(&self, caller: &Caller, address: &[u8]) -> bool {
        let readers = self.about(address).and_then(|prefix| self.readers.get(prefix));
        readers.is_none_or(|readers| is_among(caller, readers))
    }

    /// Of addresses that are decided about like this one and follow it, the end, not included; nothing if all that follow are.
    pub fn decided_alike_up_to(&self, address: &[u8]) -> Option<Vec<u8>> {
        let end = self.about(address).and_then(behind_prefix);
        let next = self.readers.range::<[u8], _>((Bound::Excluded(address), Bound::Unbounded)).next();
        let next = next.map(|(prefix, _)| prefix.clone());
        end.into_iter().chain(next).min()
    }

    /// Of those that come before it, the first.
    pub fn decided_alike_from(&self, address: &[u8]) -> Vec<u8> {
        let begin = self.about(address).unwrap_or_default().to_vec();
        let inside = self.readers.range::<[u8], _>((Bound::Included(&begin[..]), Bound::Excluded(address)));
        let before = inside.filter_map(|(prefix, _)| behind_prefix(prefix)).filter(|behind| behind[..] <= *address);
        before.max().unwrap_or_default().max(begin)
    }

    /// The prefix that decides about an address.
    fn about<'a>(&self, address: &'a [u8]) -> Option<&'a [u8]> {
        let beginnings = (0..=address.len()).rev().filter_map(|length| address.get(..length));
        beginnings.into_iter().find(|beginning| self.readers.contains_key(*beginning))
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
        let mut listed = self.founded.iter().flat_map(|founded| &founded.listed);
        listed.find(|listed| listed.family == family && listed.version == version)
    }

    fn family_decided(&mut self, key: &[u8], value: Option<&Bytes>) {
        let Some(name) = own(key) else { return };
        match value {
            Some(value) => {
                let forbidden = FamilyRow { tier: Tier::Refused, namespaces: None, code: serde_json::Value::Null };
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

    fn member_changed(&mut self, key: &[u8], value: Option<&Bytes>) {
        let Ok(member) = std::str::from_utf8(key) else { return };
        let row = value.and_then(|value| serde_json::from_slice::<MemberRow>(value).ok());
        let row = row.filter(|row| row.status == "Active");
        let key = row.and_then(|row| Some(row.member_data.get(MEMBER_KEY)?.as_str()?.to_owned()));
        match key.filter(|key| is_public_key(key)) {
            Some(key) => drop(self.members.insert(member.to_owned(), key)),
            None => drop(self.members.remove(member)),
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
        let mut governed = Governed::default().with_founded(Founded::default());
        for (key, row) in families {
            governed.family_decided(key.as_bytes(), Some(&Bytes::copy_from_slice(row.as_bytes())));
        }
        for (key, row) in readers {
            governed.readers_decided(key.as_bytes(), Some(&Bytes::copy_from_slice(row.as_bytes())));
        }
        governed
    }

    #[test]
    fn addresses_that_are_decided_about_alike_lie_together() {
        let closed = r#"{"readers":[]}"#;
        let governed =
            governed(&[], &[("sawtooth:aa", closed), ("sawtooth:aa55", closed), ("sawtooth:aa5577", closed)]);
        let alike = |address: &[u8]| (governed.decided_alike_from(address), governed.decided_alike_up_to(address));
        assert_eq!(alike(&[0xaa, 0x10]), (vec![0xaa], Some(vec![0xaa, 0x55])));
        assert_eq!(alike(&[0xaa, 0x55, 0x01]), (vec![0xaa, 0x55], Some(vec![0xaa, 0x55, 0x77])));
        assert_eq!(alike(&[0xaa, 0x55, 0x77, 0]), (vec![0xaa, 0x55, 0x77], Some(vec![0xaa, 0x55, 0x78])));
        assert_eq!(alike(&[0xaa, 0x55, 0x80]), (vec![0xaa, 0x55, 0x78], Some(vec![0xaa, 0x56])));
        assert_eq!(alike(&[0xaa, 0x60]), (vec![0xaa, 0x56], Some(vec![0xab])));
        assert_eq!(alike(&[0xbb]), (vec![0xab], None));
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
    fn who_comes_before_the_ledger_has_begun_may_register_and_is_judged_when_it_begins() {
        let (early, never) = (Governed::default(), |_: &serde_json::Value| Err("it proved nothing".to_owned()));
        assert_eq!(early.may_register("intkey", "1.0", never), Ok(()));
        assert!(early.may_register("sawtooth_settings", "1.0", never).is_err(), "the ledger's own");
        let begun = |development| early.with_founded(Founded { development, listed: Vec::new() });
        assert_eq!(begun(true).may_register("intkey", "1.0", never), Ok(()));
        assert!(begun(false).may_register("intkey", "1.0", never).is_err());
    }

    #[test]
    fn without_decisions_an_example_is_native_until_it_is_served() {
        let open = Governed::default().with_founded(Founded { development: true, listed: Vec::new() });
        assert_eq!((place(&open, "intkey", false), place(&open, "intkey", true)), ("native", "external"));
        assert_eq!(place(&open, "mine", false), "external");
        assert!(may_register(&open, "mine") && !may_register(&open, "sawtooth_settings"));
        assert!(matches!(open.place("sabre", "0.5", false).place, Place::Contracts(_)));
    }

    #[test]
    fn where_nobody_decided_only_what_is_in_the_node_runs() {
        let listed = vec![Processor { family: "listed".into(), version: "1.0".into(), namespaces: Vec::new() }];
        let closed = Governed::default().with_founded(Founded { development: false, listed });
        let placed = ["intkey", "mine", "listed"].map(|family| place(&closed, family, false));
        assert_eq!(placed, ["native", "nowhere", "external"]);
        assert_eq!(["intkey", "mine", "listed"].map(|family| may_register(&closed, family)), [false, false, true]);
    }

    #[test]
    fn an_attested_family_is_for_those_that_prove_the_right_code() {
        let row = r#"{"tier":"attested","code":{"virtual_tee":{"measurements":["07"]}}}"#;
        let decided = governed(&[("sawtooth:secret:1.0", row)], &[]);
        assert_eq!(place(&decided, "secret", false), "external");
        let may = |measurement: &str| {
            decided.may_register("secret", "1.0", |code| {
                let accepted = code["virtual_tee"]["measurements"][0] == measurement;
                if accepted { Ok(()) } else { Err("other code".to_owned()) }
            })
        };
        assert_eq!((may("07"), may("08")), (Ok(()), Err("other code".to_owned())));
    }

    #[test]
    fn the_members_who_have_a_key_are_who_decides() {
        let mut governed = Governed::default();
        let mut decide = |key: &str, value: &str| {
            let row = Bytes::from(serde_json::json!({ "value": value }).to_string());
            governed.setting_decided(format!("sawtooth:{key}").as_bytes(), Some(&row));
        };
        for key in [AUTHORIZED_KEYS, APPROVAL_THRESHOLD, IDENTITY_ALLOWED_KEYS, "a.b"] {
            decide(key, "members");
        }
        let settings = |governed: &Governed| governed.settings().map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(settings(&governed), ["members", "nobody", "1", "nobody"], "nobody has a key");
        let signers = [1, 2, 3].map(crate::testing::Signer::new);
        for (member, signer) in signers.iter().enumerate() {
            let data = serde_json::json!({ "sawtooth_key": signer.public_hex() });
            let row = serde_json::json!({ "status": "Active", "member_data": data }).to_string();
            governed.member_changed(&[b'a' + member as u8], Some(&Bytes::from(row)));
        }
        let odd = r#"{"status":"Active","member_data":{"sawtooth_key":"*"}}"#;
        governed.member_changed(b"x", Some(&Bytes::from(odd)));
        let mut keys = signers.each_ref().map(|signer| signer.public_hex());
        keys.sort_unstable();
        assert_eq!(settings(&governed), ["members", &keys.join(","), "2", &keys.join(",")]);
        governed.member_changed(b"a", None);
        governed.member_changed(b"b", Some(&Bytes::from_static(br#"{"status":"Accepted"}"#)));
        assert_eq!(settings(&governed)[3], signers[2].public_hex());
    }

    fn may_register(governed: &Governed, family: &str) -> bool {
        governed.may_register(family, "1.0", |_| Err("no evidence".to_owned())).is_ok()
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
        assert_eq!(placed, ["native", "external", "external", "nowhere", "nowhere"]);
        assert_eq!(place(&decided, "sawtooth_settings", false), "native", "the ledger's own families always run");
        let may = ["intkey", "xo", "secret", "odd", "mine"].map(|family| may_register(&decided, family));
        assert_eq!(may, [false, true, false, false, false]);
        assert_eq!(decided.place("xo", "1.0", true).namespaces, Some(vec![vec![0x5b, 0x73, 0x49]]));
    }

    #[test]
    fn a_decision_that_is_taken_back_leaves_what_was_before() {
        let mut decided = governed(&[("sawtooth:intkey:1.0", r#"{"tier":"process"}"#)], &[("sawtooth:1cf126", "{}")]);
        assert!(place(&decided, "intkey", false) == "external" && !decided.is_open());
        decided.family_decided(b"sawtooth:intkey:1.0", None);
        decided.readers_decided(b"sawtooth:1cf126", None);
        assert_eq!(decided, Governed::default().with_founded(Founded::default()));
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
