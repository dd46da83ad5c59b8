//! Ledgers that members add and remove while the network runs, and who is told.

use std::collections::BTreeMap;

use serde_json::json;

use coco_crypto::Certificate;

use crate::client::Client;
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

const EVENTS: &str = "/gov/events?api-version=2024-07-01";

#[test]
fn a_ledger_that_is_removed_is_served_no_more_and_who_follows_is_told_of_it_even_after_a_restart() {
    let mut network = Network::found([("records".to_owned(), json!({}))].into());
    let put = |network: &Network| network.client().call("PUT", "/app/records/a", b"1").unwrap();
    assert_eq!(put(&network).status, 204);
    let mut followed = network.client().follow(EVENTS, None).unwrap();
    let begun = followed.next("id");
    let remove = json!([{ "name": "remove_ledger", "args": { "ledger": "records", "reason": "nobody uses it" } }]);
    let decided = network.decides(&remove);
    assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    let denied = put(&network);
    assert_eq!((denied.status, denied.json()["error"]["code"].as_str()), (404, Some("LedgerNotHosted")));
    assert!(denied.text().contains("have removed the ledger records: nobody uses it"), "{}", denied.text());
    let expected = ["proposal_created", "ballot_submitted", "ballot_submitted", "proposal_resolved"];
    assert_eq!(expected.map(|_| followed.next("event")), expected);
    let resolved = followed.next("data");
    assert!(resolved.contains("\"proposalState\":\"Accepted\""), "{resolved}");
    assert_eq!(network.propose(0, &remove).status, 400);

    network.stop();
    let gov = network.govern_apart();
    network.start();
    let elsewhere = network.client().call("GET", EVENTS, b"").unwrap();
    assert_eq!(elsewhere.status, 404);
    assert!(elsewhere.text().contains(&format!("governance at its port {}", gov.port())), "{}", elsewhere.text());
    // What it had not applied when it ended comes back with the resume.
    crate::until("the ledger's end", || (put(&network).status == 404).then_some(()));
    let service = Certificate::from_pem(&std::fs::read_to_string(network.service()).unwrap()).unwrap();
    network.ask(Client::new(gov, &service));
    // What it has missed is in the node's files by now.
    let mut followed = network.client().follow(EVENTS, Some(&begun)).unwrap();
    assert_eq!(expected.map(|_| followed.next("event")), expected);
    assert_eq!(followed.next("data"), resolved);
    assert_eq!(network.client().call("GET", "/app/records/a", b"").unwrap().status, 404);
    network.stop();
    let (ledger, service) = (network.ledger(), network.service());
    let told = coco(&["ledger", "verify", ledger.to_str().unwrap(), "--service", service.to_str().unwrap()]);
    assert!(told.contains("all confirmed") && told.contains("remove_ledger: Accepted"), "{told}");
}
