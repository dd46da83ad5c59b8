//! The ledger at the seam: the suite that every protocol passes, and what is Sawtooth's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use coco_protocol::conformance::{self, Fixture, SingleNode};
use coco_protocol::{OpenGate, Protocol, Submitted};
use http::Request;
use prost::Message as _;
use serde_json::json;

use crate::Sawtooth;
use crate::families::identity::{policy_address, role_address};
use crate::families::intkey::address;
use crate::messages::family::{Policy, PolicyEntry, PolicyList, SettingProposal, SettingsPayload};
use crate::tables::{EPOCH, EPOCH_ROW, META, META_HEAD, SECRET, SECRET_SIGNER};
use crate::testing::{Draft, Signer, batch_id, first_transaction_id, intkey};
use crate::workers::Workers;

pub(crate) fn sawtooth() -> Arc<Sawtooth> {
    let drawn = AtomicU8::new(0);
    Arc::new(Sawtooth::new(
        Arc::new(move |bytes: &mut [u8]| bytes.fill(drawn.fetch_add(1, Ordering::Relaxed))),
        Workers::at_once(),
    ))
}

/// With the original's roots or confidential ones: both must be the same on every node, and after a restart.
struct SawtoothFixture(&'static str);

impl Fixture for SawtoothFixture {
    fn protocol(&self) -> Arc<dyn Protocol> {
        sawtooth()
    }

    fn genesis(&self) -> serde_json::Value {
        json!({ "block_interval_ms": 100, "roots": self.0 })
    }

    fn submissions(&self) -> Vec<Bytes> {
        let signer = Signer::new(1);
        let first = signer.single(&intkey("set", "a", 1));
        let second = Draft { dependencies: vec![first_transaction_id(&first)], ..intkey("inc", "a", 1) };
        let second = signer.single(&second);
        vec![first, second, signer.single(&intkey("set", "b", 7))]
    }

    fn refused(&self) -> Vec<Bytes> {
        // What the state does not allow is recorded as invalid; what a policy forbids is refused, and there is none yet.
        Vec::new()
    }

    fn malformed(&self) -> Vec<Bytes> {
        let good = Signer::new(1).single(&intkey("set", "a", 1));
        let mut forged = good.to_vec();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        vec![Bytes::new(), Bytes::from_static(b"\xff\xff"), forged.into()]
    }

    fn reads(&self) -> Vec<Request<Bytes>> {
        let batch = &self.submissions()[0];
        let paths = [
            format!("/state/{}", address("a").to_hex()),
            format!("/batches/{}", batch_id(batch)),
            format!("/transactions/{}", first_transaction_id(batch)),
            format!("/receipts?id={}", first_transaction_id(batch)),
            format!("/batch_statuses?id={}", batch_id(batch)),
        ];
        paths[..4].iter().map(|path| Request::builder().uri(path).body(Bytes::new()).unwrap()).collect()
    }
}

#[test]
fn the_ledger_conforms() {
    conformance::check(&SawtoothFixture("compatible"));
    conformance::check(&SawtoothFixture("confidential"));
}

fn committed(answers: &[Submitted]) -> usize {
    answers.iter().filter(|answer| matches!(answer, Submitted::Committed { .. })).count()
}

#[test]
fn a_settings_transaction_changes_who_may_transact() {
    let allowed = Signer::new(1);
    let genesis = json!({ "settings": {
        "sawtooth.settings.vote.authorized_keys": allowed.public_hex(),
        "sawtooth.identity.allowed_keys": allowed.public_hex(),
    }});
    let node = SingleNode::found(sawtooth(), &genesis, Arc::new(OpenGate));
    let entries = vec![PolicyEntry { kind: 1, key: allowed.public_hex().to_owned() }];
    let policy = Policy { name: "default".into(), entries };
    let payload = crate::messages::family::IdentityPayload { kind: 1, data: policy.encode_to_vec().into() };
    let draft = Draft {
        family: "sawtooth_identity",
        payload: payload.encode_to_vec().into(),
        inputs: vec!["000000".into(), "00001d".into()],
        outputs: vec!["00001d".into()],
        ..Draft::default()
    };
    assert_eq!(committed(&node.submit_all(&[allowed.single(&draft)])), 1);
    let state = node.state();
    let row = &state[&crate::tables::STATE][&policy_address("default").key()];
    assert_eq!(PolicyList::decode(row.clone()).unwrap().policies[0].name, "default");
    assert!(!state[&crate::tables::STATE].contains_key(&role_address("transactor").key()));
    let stranger = Signer::new(2).single(&intkey("set", "a", 1));
    let refused = node.submit_all(&[stranger]);
    assert!(matches!(&refused[0], Submitted::Rejected(rejection) if rejection.message.contains("may not sign")));
    assert_eq!(committed(&node.submit_all(&[allowed.single(&intkey("set", "a", 1))])), 1);
}

#[test]
fn a_genesis_batch_makes_the_first_block() {
    let signer = Signer::new(1);
    let list = crate::messages::ledger::BatchList { batches: vec![signer.single(&intkey("set", "foo", 42))] };
    let encoded = crate::rest::base64_for_tests(&list.encode_to_vec());
    let settings =
        json!({ "sawtooth.consensus.algorithm.name": "Devmode", "sawtooth.consensus.algorithm.version": "0.1" });
    let node =
        SingleNode::found(sawtooth(), &json!({ "genesis_batch": encoded, "settings": settings }), Arc::new(OpenGate));
    assert!(node.state()[&crate::tables::STATE].contains_key(&address("foo").key()));
}

#[test]
fn the_node_tells_families_about_blocks_when_it_is_asked_to() {
    let genesis = json!({ "settings": { "sawtooth.validator.batch_injectors": "block_info" } });
    let node = SingleNode::found(sawtooth(), &genesis, Arc::new(OpenGate));
    for name in ["a", "b"] {
        assert_eq!(committed(&node.submit_all(&[Signer::new(1).single(&intkey("set", name, 1))])), 1);
    }
    let state = node.state();
    let known = |number| state[&crate::tables::STATE].contains_key(&crate::families::block_info::address(number).key());
    assert_eq!((known(0), known(1), known(2)), (true, true, false));
}

#[test]
fn each_epoch_has_a_key_of_its_own_for_blocks_and_for_confidential_roots() {
    for roots in ["compatible", "confidential"] {
        let node = SingleNode::found(sawtooth(), &json!({ "roots": roots }), Arc::new(OpenGate));
        let set =
            |name: &str| assert_eq!(committed(&node.submit_all(&[Signer::new(1).single(&intkey("set", name, 1))])), 1);
        let key = || node.state()[&SECRET][SECRET_SIGNER].clone();
        let signer = || {
            let (header, id) = crate::chain::read_head(&node.state()[&META][META_HEAD]).unwrap();
            let signed = crate::signing::verify(&header.encode_to_vec(), &id, &header.signer_public_key);
            assert!(signed);
            header.signer_public_key
        };
        set("a");
        let first = (key(), signer());
        node.commit_other(|tx| tx.put(&EPOCH, EPOCH_ROW, b"{}".as_slice()));
        assert_eq!(key(), first.0, "until there is a block");
        set("b");
        let second = (key(), signer());
        assert!(first.0 != second.0 && first.1 != second.1);
        set("c");
        assert_eq!((key(), signer()), second);
        // A batch of two blocks: what the second one changes was not so at the first, which a backup has to see.
        node.commit_other(|tx| tx.put(&EPOCH, EPOCH_ROW, b"{ }".as_slice()));
        node.execute_uncommitted(&[Signer::new(1).single(&intkey("set", "d", 1))]);
        node.execute_uncommitted(&[Signer::new(1).single(&intkey("inc", "a", 1))]);
        set("e");
        assert_ne!(signer(), second.1);
        // Both check every root that they come by.
        assert_eq!(node.follower(sawtooth()).state(), node.state());
        assert_eq!(node.restarted(sawtooth()).state(), node.state());
    }
}

#[test]
fn a_batch_that_replaces_too_much_is_invalid() {
    let signer = Signer::new(1);
    let large = "x".repeat(crate::limits::REPLACED_BYTES_MAX);
    let settings = json!({ "sawtooth.settings.vote.authorized_keys": signer.public_hex(), "large": large });
    let node = SingleNode::found(sawtooth(), &json!({ "settings": settings }), Arc::new(OpenGate));
    let before = node.state()[&crate::tables::STATE].clone();
    let proposal = SettingProposal { setting: "large".into(), value: "small".into(), nonce: String::new() };
    let payload = SettingsPayload { action: 1, data: proposal.encode_to_vec().into() };
    let everything = vec!["000000".to_owned()];
    let draft = Draft {
        family: "sawtooth_settings",
        payload: payload.encode_to_vec().into(),
        inputs: everything.clone(),
        outputs: everything,
        ..Draft::default()
    };
    node.submit_all(&[signer.single(&draft)]);
    let state = node.state();
    assert!(state[&crate::tables::STATE] == before);
    assert_eq!(state[&crate::tables::INVALID].len(), 1);
}
