//! Nodes that end and are started again: what members have voted about that, and a network that is brought back from files.

use std::fs;
use std::path::Path;

use coco_crypto::{Certificate, DecryptionKey};
use coco_node::config::{NodeConfig, Start};
use serde_json::json;

use crate::client::Client;
use crate::node::{Network, Process, YES, id_of};
use crate::{coco, until};

#[test]
fn a_lone_node_that_would_have_to_trust_its_disk_waits_if_members_tolerate_an_old_one() {
    let mut network = Network::found([("records".to_owned(), json!({}))].into());
    let policy = json!({ "allowed": true, "rolled_back_disks": 1 });
    let decided = network.decides(&json!([{ "name": "set_resume_policy", "args": policy }]));
    assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    network.stop();
    let mut node = Process::start(network.config(), network.folder());
    node.says("waits for a primary, or for enough voters to resume with");
}

#[test]
fn a_network_that_may_not_resume_is_recovered_by_its_members_and_a_joiner_gets_its_whole_ledger() {
    let key = DecryptionKey::generate().unwrap();
    let ledgers = [("records".to_owned(), json!({}))].into();
    let mut network = Network::found_with(ledgers, Some(key.public_pem()));
    for chunk in ["first", "second"] {
        let put = network.client().call("PUT", &format!("/app/records/{chunk}"), chunk.as_bytes()).unwrap();
        assert_eq!(put.status, 204, "{}", put.text());
        let decided = network.decides(&json!([{ "name": "trigger_ledger_chunk", "args": null }]));
        assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    }
    let forbid = network.decides(&json!([{ "name": "set_resume_policy", "args": { "allowed": false } }]));
    assert_eq!(forbid.json()["proposalState"], "Accepted", "{}", forbid.text());
    network.stop();
    let mut old = Process::start(network.config(), network.folder());
    old.says("nothing here says that the consortium allows resuming");
    drop(old);

    let (recovering, node) = recover(&mut network);
    open(&network, &recovering);
    let certificate = recovering.data.join("service_certificate.pem");
    submit_share(&network, &key, &certificate, &recovering);
    is(&network, "Open");
    let kept = until("the private state", || {
        network.client().call("GET", "/app/records/first", b"").ok().filter(|answer| answer.status == 200)
    });
    assert_eq!(kept.body, b"first");

    let targets = vec![recovering.listen.api];
    let start = Start::Join { targets, service_certificate: certificate.clone(), constitution_digest: None };
    let joining = network.another(2, start);
    let joiner = Process::start(&joining, network.folder());
    until("the joiner's ledger, from the first transaction on", || {
        let (all, here) = (chunks(&recovering.data), chunks(&joining.data));
        let whole =
            here.first()?.starts_with("ledger_1-") && all.len() >= 3 && all.iter().all(|name| here.contains(name));
        whole.then_some(())
    });
    joiner.end();
    drop(node);
    let (ledger, service) = (joining.data.join("ledger"), certificate.to_str().unwrap());
    let told = coco(&["ledger", "verify", ledger.to_str().unwrap(), "--service", service]);
    assert!(told.contains("all confirmed"), "{told}");
}

#[test]
fn a_node_that_is_killed_again_and_again_while_it_recovers_goes_on_and_begins_its_service_once() {
    let key = DecryptionKey::generate().unwrap();
    let mut network = Network::found_with([("records".to_owned(), json!({}))].into(), Some(key.public_pem()));
    assert_eq!(network.client().call("PUT", "/app/records/a", b"1").unwrap().status, 204);
    network.stop();
    let (recovering, mut node) = recover(&mut network);
    let certificate = recovering.data.join("service_certificate.pem");
    let killed = |node: Process| {
        drop(node);
        Process::start(&recovering, network.folder())
    };
    // Right behind the first transaction of its service: the first time it may not be known to be committed at the next start.
    for _ in 0..2 {
        node = killed(node);
        is(&network, "Recovering");
    }
    open(&network, &recovering);
    node = killed(node);
    is(&network, "WaitingForRecoveryShares");
    submit_share(&network, &key, &certificate, &recovering);
    node = killed(node);
    is(&network, "Open");
    let kept = until("the private state", || {
        network.client().call("GET", "/app/records/a", b"").ok().filter(|answer| answer.status == 200)
    });
    assert_eq!(kept.body, b"1");
    assert_eq!(network.client().json("/node/network").unwrap()["recovery_count"], 1);
    node.end();
}

/// A new service on the ledger of the network's node, with the command, at another place; the network's client asks that one.
fn recover(network: &mut Network) -> (NodeConfig, Process) {
    let start = Start::Recover { previous_service_certificate: network.service() };
    let recovering = network.another(1, start);
    let file = network.folder().join("recover.toml");
    fs::write(&file, toml::to_string(&recovering).unwrap()).unwrap();
    let told = coco(&["recover", "--config", file.to_str().unwrap(), "--ledger", network.ledger().to_str().unwrap()]);
    assert!(told.contains("recovered"), "{told}");
    let node = Process::start(&recovering, network.folder());
    let certificate = recovering.data.join("service_certificate.pem");
    let service = until("the new service", || Certificate::from_pem(&fs::read_to_string(&certificate).ok()?).ok());
    network.ask(Client::new(recovering.listen.api, &service));
    is(network, "Recovering");
    (recovering, node)
}

fn is(network: &Network, status: &str) {
    until(status, || {
        let shown = network.client().json("/node/network")?;
        (shown["service_status"] == status && !shown["primary_id"].is_null()).then_some(())
    });
}

/// The members vote on both identities: shares are waited for then.
fn open(network: &Network, recovering: &NodeConfig) {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let next = read(&recovering.data.join("service_certificate.pem"));
    let identities = json!({ "next_service_identity": next, "previous_service_identity": read(&network.service()) });
    let open = json!([{ "name": "transition_service_to_open", "args": identities }]);
    // Who has come back leads a moment before it executes.
    let open = id_of(&until("a proposal", || Some(network.propose(0, &open)).filter(|answer| answer.status == 200)));
    network.vote(0, &open, YES);
    let decided = network.vote(1, &open, YES);
    assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    is(network, "WaitingForRecoveryShares");
}

/// As the holder does it, with the command.
fn submit_share(network: &Network, key: &DecryptionKey, service: &Path, node: &NodeConfig) {
    let file = |name: &str, text: &str| {
        fs::write(network.folder().join(name), text).unwrap();
        network.folder().join(name).to_str().unwrap().to_owned()
    };
    let member = &network.members[0];
    let (cert, own) = (file("cert.pem", &member.certificate.to_pem()), file("key.pem", &member.key.to_pem()));
    let (opens, api) = (file("enc.pem", &key.to_pem()), format!("https://{}", node.listen.api));
    let who = ["--cert", &cert, "--key", &own, "--api", &api, "--service", service.to_str().unwrap()];
    coco(&[&["gov", "submit-share", "--encryption-key", &opens][..], &who].concat());
}

/// Complete ones, in order.
fn chunks(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data.join("ledger")).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut complete: Vec<_> = names.filter(|name| name.ends_with(".committed")).collect();
    let first = |name: &String| {
        name.trim_start_matches("ledger_").split('-').next().and_then(|seqno| seqno.parse::<u64>().ok())
    };
    complete.sort_by_key(first);
    complete
}
