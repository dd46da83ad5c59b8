//! A ledger that members add while the network runs.

use std::collections::BTreeMap;

use serde_json::json;

use crate::coco;
use crate::node::Network;

#[test]
fn a_ledger_that_is_added_by_vote_is_served_at_once_and_after_a_restart_and_the_files_say_who_wanted_it() {
    let mut network = Network::found(BTreeMap::new());
    let put = |network: &Network| network.client().call("PUT", "/app/records/a", b"1").unwrap();
    let denied = put(&network);
    assert_eq!((denied.status, denied.json()["error"]["code"].as_str()), (404, Some("LedgerNotHosted")));

    let add = |ledger: &str| json!([{ "name": "add_ledger", "args": { "ledger": ledger, "genesis": {} } }]);
    let unknown = network.propose(0, &add("recrods"));
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("knows no ledger recrods, it knows: records"), "{}", unknown.text());
    // Somebody else proposes the same: once it is hosted, that one can no longer be accepted.
    let other = crate::node::id_of(&network.propose(2, &add("records")));
    let decided = network.decides(&add("records"));
    assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    assert_eq!(put(&network).status, 204);
    network.vote(0, &other, crate::node::YES);
    let late = network.vote(1, &other, crate::node::YES);
    assert_eq!((late.status, late.json()["error"]["code"].as_str()), (500, Some("InternalError")));
    assert!(late.text().contains("hosts the ledger records already"), "{}", late.text());
    assert_eq!(network.propose(0, &add("records")).status, 400);

    network.stop();
    network.start();
    // What it had not applied when it ended comes back with the resume.
    let read = || network.client().call("GET", "/app/records/a", b"").unwrap().body;
    crate::until("the record", || (read() == b"1").then_some(()));
    // Who has come back leads a moment before it executes.
    crate::until("a write", || (put(&network).status == 204).then_some(()));
    network.stop();
    let (ledger, service) = (network.ledger(), network.service());
    let told = coco(&["ledger", "verify", ledger.to_str().unwrap(), "--service", service.to_str().unwrap()]);
    assert!(told.contains("all confirmed") && told.contains("add_ledger: Accepted"), "{told}");
}
