//! A network of five TEEs as real processes, under load: every node a process that runs the whole of `coco_node`, on a platform that a stand-in
//! for its machine offers, with evidence in the real formats under roots that exist in this test only. What `crates/sim/tests/tees.rs` shows from a
//! seed, this shows with sockets, disks, clocks, and the command as members and auditors use it.
//!
//! ```text
//!   this process: vendors, operators, members, clients        child processes: this executable again, as one node each
//!     mints evidence  ◀──────── 64 bytes of report data, over a socket ──────────  stand-in for a device ◀─ coco_attestation::sources
//!     writes records  ─────────────────────────────────────────────────────────▶  HTTPS
//! ```

mod client;
mod load;
mod network;
mod node;
mod vendors;

use std::time::Duration;

use coco_attestation::TeeKind;
use serde_json::{Value, json};

use self::load::Load;
use self::network::Network;
use self::vendors::Vendors;

/// Long enough for a node that is at risk to try twice, which it does every five seconds.
const GRACE_S: u64 = 12;
/// More than this at each step of the way, or there was no load.
const WRITES_MIN: usize = 10;

/// The child processes are this test alone; without what they are told, it does nothing.
#[test]
fn a_node_of_the_network_runs_where_it_is_told_to() {
    node::run_if_told();
}

#[test]
fn five_tees_survive_a_tcb_recovery_and_a_revocation_and_lose_no_acknowledged_write() {
    let vendors = Vendors::new();
    let mut network = Network::found(&vendors, TeeKind::SevSnp, &vendors.rules(GRACE_S));
    let load = Load::start(network.clients());
    for kind in [TeeKind::Tdx, TeeKind::Sgx, TeeKind::Nitro, TeeKind::Vbs] {
        network.join(&vendors, kind);
    }
    load.takes_in(network.clients(), WRITES_MIN);
    assert_eq!(network.standing(), all(["sev_snp", "tdx", "sgx", "nitro", "vbs"]));
    let beside = [TeeKind::SevSnp, TeeKind::Sgx, TeeKind::Tdx].map(|kind| network.keeps_its_key_beside(kind));
    assert_eq!(beside, [false; 3], "a key is the processor's, or in memory alone");

    // Intel publishes that firmware below 6 is out of date. Whoever brings the news may do so at any node.
    for item in vendors.recovery() {
        let taken = network.submit_collateral(TeeKind::Vbs, &item);
        assert_eq!(taken.status, 200, "{}", taken.text());
    }
    let stale = network.submit_collateral(TeeKind::Vbs, &vendors.first_tcb_info());
    assert_eq!((stale.status, stale.json()["error"]["code"].as_str()), (400, Some("CollateralRefused")));
    network.waits_until("both of Intel's machines are at risk", |standing| {
        standing["tdx"] == "at_risk" && standing["sgx"] == "at_risk"
    });
    assert!(network.explains(TeeKind::Sgx).contains("OutOfDate"), "{}", network.explains(TeeKind::Sgx));

    // One operator updates in time. The other's node shows the same as before, for as long as it is let.
    vendors.update_td_firmware();
    network.waits_until("one is accepted again, and the other retired", |standing| {
        standing["tdx"] == "trusted" && standing["sgx"] == "retired"
    });
    network.ended_by_removal(TeeKind::Sgx);
    load.takes_in(network.clients(), WRITES_MIN);

    // AMD takes back the authority that certified its machine's processor: the founder, and still the primary, has nothing to show.
    network.vote("network", vendors.network_policy(2));
    let taken = network.submit_collateral(TeeKind::Nitro, &vendors.revocation());
    assert_eq!(taken.status, 200, "{}", taken.text());
    network.waits_until("the revoked node is retired", |standing| standing["sev_snp"] == "retired");
    load.takes_in(network.clients_but(TeeKind::SevSnp), WRITES_MIN);
    let written = load.stop();
    written.stand_at(&network.clients_but(TeeKind::SevSnp));
    network.ended_by_removal(TeeKind::SevSnp);
    let verified = network.verify_from_outside(TeeKind::Vbs);
    assert_eq!((&verified["accepted"], &verified["platform"]), (&json!(true), &json!("vbs")));
    let foreign: Vec<_> =
        verified["foreign_roots"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(foreign.len(), 4, "roots that no vendor published are named: {foreign:?}");

    let ledger = network.stop_and_take_ledger(TeeKind::Tdx);
    let audit = network::coco(&["ledger", "audit-attestations", ledger.path().to_str().unwrap(), "--output", "json"]);
    let summary: Value = serde_json::from_str(audit.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&summary["judged"], &summary["not_confirmed"]),
        (&json!(6), &json!(0)),
        "five admissions and a renewal"
    );
    network::coco(&["ledger", "verify", ledger.path().to_str().unwrap()]);
}

fn all<const N: usize>(kinds: [&str; N]) -> network::Standing {
    kinds.map(|kind| (kind.to_owned(), "trusted".to_owned())).into()
}

/// Polls until something holds: what other processes do takes the time that it takes.
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(60);
    const POLL: Duration = Duration::from_millis(50);
    let began = std::time::Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(POLL);
    }
}
