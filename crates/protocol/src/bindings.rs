//! Identity bindings: who a caller is inside a ledger, an address or a public key, proved by both keys and kept private.
//!
//! ```text
//!   caller (certificate, token, …) ──challenge──▶ statement: network, service, ledger identity, principal, transaction, deadline
//!   ledger key ──signs the statement──▶ bind ──▶ a row ──▶ from then on the caller has that identity too
//! ```
//!
//! The principal proves itself by the request, the ledger's key by its signature over a text that names the principal, so that nobody is
//! bound without wanting it. A statement holds for a few minutes, and not beyond the next change of what it is about: an old one does not
//! bring back what was taken away. Rows are sealed; who may see one is the gate's business.

use bytes::Bytes;
use coco_crypto::sha256;
use coco_kv::{Snapshot, Tx};
use coco_types::limits::{BINDING_STATEMENT_S, BINDINGS_PER_PRINCIPAL_MAX};
use coco_types::{Digest, MapName, TxId};
use serde::{Deserialize, Serialize};

use crate::{Caller, Identity, Rejection, RejectionReason};

/// Digest of the principal, ledger, identity → [`Row`], JSON.
const BINDINGS: MapName = MapName::from_static("coco.identities.bindings");
/// Of [`crate::Subject`]: what the gate is asked about a binding. Its parties are digests of principals.
pub const SUBJECT_KIND: &str = "identity binding";
/// Names of ledgers and their identities.
const NAME_BYTES_MAX: usize = 512;

/// What both keys agree to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// SHA-256 of the service's certificate: another network is another service.
    pub service: Digest,
    pub network: String,
    pub ledger: String,
    /// In the ledger's own canonical form.
    pub identity: String,
    pub principal: Identity,
    /// The newest transaction when it was asked for.
    pub as_of: TxId,
    /// Unix seconds.
    pub until_s: u64,
}

/// A binding, or that there was one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Row {
    ledger: String,
    identity: String,
    principal: Identity,
    /// The transaction that wrote this.
    changed: TxId,
    changed_s: u64,
    removed: bool,
}

/// One of a caller's identities.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Binding {
    pub ledger: String,
    pub identity: String,
    /// The transaction that bound it.
    pub since: TxId,
}

impl Statement {
    /// What the ledger's key signs, as people read it in their wallet.
    pub fn text(&self) -> String {
        let Self { service, network, ledger, identity, principal, as_of, until_s } = self;
        let principal = principal.names().pop().unwrap_or_default();
        format!(
            "Bind my {ledger} identity\n  {identity}\nto the caller\n  {principal}\nof the Coco network {network}\n(service {service}, as of transaction {as_of}).\n\
             Whoever proves to be that caller may read there what is kept for my {ledger} identity.\nThis text is good until {until_s} (Unix seconds)."
        )
    }
}

/// Carries out what both keys have proved to want.
pub fn bind(tx: &mut Tx, statement: &Statement, txid: TxId, now_s: u64) -> Result<(), Rejection> {
    let refused = |message: &str| Err(Rejection::new(RejectionReason::Refused, 400, message));
    if now_s > statement.until_s || statement.until_s > now_s.saturating_add(BINDING_STATEMENT_S) {
        return refused("the statement's time is over: ask for a new one");
    }
    if statement.as_of.seqno > txid.seqno {
        return refused("the statement is as of a transaction that there is not");
    }
    let key = key(&statement.principal, &statement.ledger, &statement.identity);
    if read(tx.get(&BINDINGS, &key)).is_some_and(|row| row.changed.seqno >= statement.as_of.seqno) {
        return refused("the binding has changed since the statement was asked for: ask for a new one");
    }
    make_room(tx, &statement.principal, &key, now_s)?;
    write(tx, key, statement, txid, now_s, false);
    Ok(())
}

/// Whether there was anything to take away.
pub fn unbind(tx: &mut Tx, principal: &Identity, ledger: &str, identity: &str, txid: TxId, now_s: u64) -> bool {
    let key = key(principal, ledger, identity);
    let Some(row) = read(tx.get(&BINDINGS, &key)).filter(|row| !row.removed) else { return false };
    // Kept for as long as a statement of before could still be shown.
    let row = Row { changed: txid, changed_s: now_s, removed: true, ..row };
    tx.put(&BINDINGS, key, encoded(&row));
    true
}

/// What is bound to one principal.
pub fn of(state: &Snapshot, principal: &Identity) -> Vec<Binding> {
    let rows = state.prefix(&BINDINGS, principal_digest(principal).as_bytes());
    let bound = rows.filter_map(|(_, row)| read(Some(row))).filter(|row| !row.removed);
    bound.map(|row| Binding { ledger: row.ledger, identity: row.identity, since: row.changed }).collect()
}

/// The caller with all identities that are bound to what it has proved.
pub fn with_bound(state: &Snapshot, proved: Vec<Identity>) -> Caller {
    let bound: Vec<_> = proved.iter().flat_map(|principal| of(state, principal)).collect();
    let bound =
        bound.into_iter().map(|binding| Identity::Protocol { protocol: binding.ledger, name: binding.identity });
    proved.into_iter().chain(bound).collect::<Vec<_>>().into()
}

/// Names a principal to the gate.
pub fn principal_digest(principal: &Identity) -> Digest {
    sha256(&serde_json::to_vec(principal).expect("an identity has only string keys"))
}

/// Whether names could be those of an identity at all.
pub fn check_names(ledger: &str, identity: &str) -> Result<(), Rejection> {
    let usable = |name: &str| !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if usable(ledger) && usable(identity) {
        return Ok(());
    }
    Err(Rejection::new(
        RejectionReason::Invalid,
        400,
        "the ledger or the identity is empty, too long or not a plain text",
    ))
}

fn key(principal: &Identity, ledger: &str, identity: &str) -> Vec<u8> {
    [principal_digest(principal).as_bytes(), ledger.as_bytes(), &[0], identity.as_bytes()].concat()
}

/// Rows of bindings that are gone count until no statement can be older than they.
fn make_room(tx: &mut Tx, principal: &Identity, except: &[u8], now_s: u64) -> Result<(), Rejection> {
    let rows: Vec<(Bytes, Bytes)> = tx.prefix(&BINDINGS, principal_digest(principal).as_bytes()).collect();
    let mut count = 0;
    for (key, row) in rows {
        match read(Some(row)) {
            Some(row) if row.removed && now_s > row.changed_s.saturating_add(BINDING_STATEMENT_S) => {
                tx.remove(&BINDINGS, &key);
            }
            _ if *key == *except => {}
            _ => count += 1,
        }
    }
    if count < BINDINGS_PER_PRINCIPAL_MAX {
        return Ok(());
    }
    let message = format!(
        "a caller has at most {BINDINGS_PER_PRINCIPAL_MAX} identities bound: remove one, and wait some minutes"
    );
    Err(Rejection::new(RejectionReason::Refused, 400, message))
}

fn write(tx: &mut Tx, key: Vec<u8>, statement: &Statement, changed: TxId, changed_s: u64, removed: bool) {
    let Statement { ledger, identity, principal, .. } = statement.clone();
    tx.put(&BINDINGS, key, encoded(&Row { ledger, identity, principal, changed, changed_s, removed }));
}

fn encoded(row: &Row) -> Vec<u8> {
    serde_json::to_vec(row).expect("rows have only string keys")
}

fn read(row: Option<Bytes>) -> Option<Row> {
    serde_json::from_slice(&row?).ok()
}

#[cfg(test)]
mod tests {
    use coco_kv::Store;
    use coco_types::{Seqno, View};

    use super::*;
    use crate::{Gate, OpenGate, Subject};

    const NOW_S: u64 = 1_800_000_000;

    fn txid(seqno: u64) -> TxId {
        TxId::new(View(2), Seqno(seqno))
    }

    fn ann() -> Identity {
        Identity::Token { issuer: "https://id.example".to_owned(), subject: "ann".to_owned() }
    }

    fn statement(identity: &str, as_of: u64) -> Statement {
        Statement {
            service: Digest([1; 32]),
            network: "test".to_owned(),
            ledger: "ethereum".to_owned(),
            identity: identity.to_owned(),
            principal: ann(),
            as_of: txid(as_of),
            until_s: NOW_S + 60,
        }
    }

    fn bound(store: &Store) -> Vec<String> {
        of(&store.snapshot(), &ann()).into_iter().map(|binding| binding.identity).collect()
    }

    /// As a transaction of its own.
    fn commit<T>(store: &Store, write: impl FnOnce(&mut Tx, TxId) -> T) -> T {
        let mut tx = store.begin();
        let next = store.newest().next();
        let result = write(&mut tx, TxId::new(View(2), next));
        store.apply(next, tx.writes()).unwrap();
        store.commit(next);
        result
    }

    #[test]
    fn a_bound_identity_is_the_callers_until_it_is_taken_away_and_old_statements_do_not_bring_it_back() {
        let store = Store::new();
        let first = statement("0xa", 1);
        commit(&store, |tx, txid| bind(tx, &first, txid, NOW_S)).unwrap();
        assert_eq!(bound(&store), ["0xa"]);
        let caller = with_bound(&store.snapshot(), vec![ann()]);
        let inside = Identity::Protocol { protocol: "ethereum".to_owned(), name: "0xa".to_owned() };
        assert_eq!(caller.identities(), [ann(), inside]);
        assert_eq!(of(&store.snapshot(), &Identity::Member("ann".to_owned())), []);
        assert!(commit(&store, |tx, txid| unbind(tx, &ann(), "ethereum", "0xa", txid, NOW_S)));
        assert!(!commit(&store, |tx, txid| unbind(tx, &ann(), "ethereum", "0xa", txid, NOW_S)));
        assert!(bound(&store).is_empty());
        assert!(commit(&store, |tx, txid| bind(tx, &first, txid, NOW_S)).is_err());
        commit(&store, |tx, txid| bind(tx, &statement("0xa", 4), txid, NOW_S)).unwrap();
        assert_eq!(bound(&store), ["0xa"]);
    }

    #[test]
    fn a_statement_is_good_for_minutes_and_for_what_was_there() {
        let mut tx = Store::new().begin();
        let mut refused = |statement: Statement, now_s| bind(&mut tx, &statement, txid(5), now_s).is_err();
        assert!(refused(statement("0xa", 1), NOW_S + 61));
        assert!(refused(statement("0xa", 6), NOW_S));
        assert!(refused(Statement { until_s: NOW_S + BINDING_STATEMENT_S + 1, ..statement("0xa", 1) }, NOW_S));
        assert!(!refused(statement("0xa", 5), NOW_S));
    }

    #[test]
    fn the_number_of_a_callers_bindings_is_limited_and_those_that_are_gone_count_for_a_while() {
        let mut tx = Store::new().begin();
        for at in 0..BINDINGS_PER_PRINCIPAL_MAX {
            bind(&mut tx, &statement(&format!("0x{at}"), 0), txid(1), NOW_S).unwrap();
        }
        assert!(bind(&mut tx, &statement("0xmore", 0), txid(1), NOW_S).is_err());
        assert!(unbind(&mut tx, &ann(), "ethereum", "0x0", txid(2), NOW_S));
        assert!(bind(&mut tx, &statement("0xmore", 0), txid(3), NOW_S).is_err());
        let later = NOW_S + BINDING_STATEMENT_S + 1;
        let more = Statement { until_s: later + 60, ..statement("0xmore", 3) };
        bind(&mut tx, &more, txid(4), later).unwrap();
    }

    #[test]
    fn nobody_else_sees_a_binding_even_where_everything_is_open() {
        let party = principal_digest(&ann());
        let subject = Subject { ledger: "ethereum", kind: SUBJECT_KIND, name: b"0xa", parties: &[party.as_bytes()] };
        let bob = Identity::Member("bob".to_owned());
        assert!(OpenGate.permits(&vec![bob.clone(), ann()].into(), &subject));
        assert!(!OpenGate.permits(&vec![bob].into(), &subject));
        assert!(!OpenGate.permits(&Caller::Anonymous, &subject));
    }

    #[test]
    fn the_text_names_everything_that_it_is_about() {
        let text = statement("0xa", 1).text();
        for part in ["ethereum", "0xa", "https://id.example#ann", "test", &"01".repeat(32), "2.1", "1800000060"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(check_names("ethereum", "0xa\n").is_err());
        assert!(check_names("", "0xa").is_err());
        assert!(check_names("ethereum", "0xa").is_ok());
    }
}
