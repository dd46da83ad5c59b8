use std::slice::from_ref;
use std::sync::{Arc, mpsc};
use std::thread;

use bytes::Bytes;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{Caller, OpenGate};
use serde_json::json;

use super::view::Allowed;
use super::*;
use crate::Sawtooth;
use crate::batch::SignedBatch;
use crate::families::intkey::address as intkey_address;
use crate::limits::{OUTSTANDING_BYTES_MAX, READ_BYTES_MAX};
use crate::messages::client::{
    BatchStatusRequest, ListRequest, ListResponse, StateGetRequest, StateListRequest, batch_status, status,
    submit_status,
};
use crate::protocol::admitted;
use crate::protocol_tests::sawtooth;
use crate::testing::{Signer, batch_id, intkey};
use crate::workers::Workers;

fn batch(name: &str) -> Bytes {
    Signer::new(1).single(&intkey("set", name, 1))
}

fn founded(protocol: &Arc<Sawtooth>) -> Arc<SingleNode> {
    SingleNode::found(protocol.clone(), &json!({}), Arc::new(OpenGate))
}

/// All of a list by pages, each of which may look at so much.
fn pages(node: &Node, kind: Kind, reverse: bool, allowed: Allowed) -> Vec<ListResponse> {
    let sorting = if reverse { vec![SortControls { keys: Vec::new(), reverse }] } else { Vec::new() };
    let mut request = ListRequest { sorting, paging: Some(PagingControls::default()), ..ListRequest::default() };
    let mut pages = Vec::new();
    loop {
        let mut view = node.view(&Caller::Anonymous);
        view.allowed = allowed;
        let page = view.list(kind, &request);
        let next = page.paging.clone().unwrap_or_default().next;
        pages.push(page);
        if next.is_empty() {
            return pages;
        }
        request.paging = Some(PagingControls { start: next, ..PagingControls::default() });
    }
}

#[test]
fn a_list_that_has_looked_at_enough_says_where_it_goes_on() {
    let protocol = sawtooth();
    let single = founded(&protocol);
    for name in ["a", "b", "c"] {
        single.submit_all(&[batch(name), batch(&format!("{name}{name}"))]);
    }
    let node = protocol.node(single);
    let short = Allowed { list_blocks_max: 1, ..Allowed::default() };
    let little = Allowed { read_bytes_max: 1, ..Allowed::default() };
    for kind in [Kind::Block, Kind::Batch, Kind::Transaction] {
        for reverse in [false, true] {
            let whole = pages(&node, kind, reverse, Allowed::default()).remove(0).items;
            for allowed in [short, little] {
                let pages = pages(&node, kind, reverse, allowed);
                assert_eq!(pages.len(), 4, "three blocks and the first");
                assert!(pages.iter().all(|page| page.status == status::OK || page.items.is_empty()));
                assert_eq!(pages.into_iter().flat_map(|page| page.items).collect::<Vec<_>>(), whole);
            }
        }
    }
}

#[test]
fn an_earlier_state_is_refused_where_too_much_was_replaced_since() {
    let protocol = sawtooth();
    let single = founded(&protocol);
    let node = protocol.node(single.clone());
    let root = || node.view(&Caller::Anonymous).head().unwrap().0.state_root_hash;
    let before = root();
    for name in ["a", "b", "c"] {
        single.submit_all(&[batch(name)]);
    }
    let read = |state_root: &str, read_bytes_max| {
        let mut view = node.view(&Caller::Anonymous);
        view.allowed = Allowed { read_bytes_max, ..Allowed::default() };
        let (state_root, address) = (state_root.to_owned(), intkey_address("a").to_hex());
        let get = view.state_get(&StateGetRequest { state_root: state_root.clone(), address: address.clone() });
        let list = view.state_list(&StateListRequest { state_root, address, ..StateListRequest::default() });
        [get.status, list.status]
    };
    assert_eq!(read(&before, READ_BYTES_MAX), [status::NO_RESOURCE; 2]);
    assert_eq!(read(&before, 1), [status::INTERNAL_ERROR; 2]);
    assert_eq!(read(&root(), 1), [status::OK; 2], "nothing of it is read from records");
}

#[test]
fn what_proves_to_take_long_is_cut_short_only_where_others_wait() {
    let protocol = sawtooth();
    let single = founded(&protocol);
    let node = protocol.node(single.clone());
    single.submit_all(&[batch("a")]);
    let listed = |view: View| (view.list(Kind::Block, &ListRequest::default()).items.len(), view.is_cut_short());
    assert_eq!(listed(node.view(&Caller::Anonymous).briefly()), (2, false));
    let mut brief = node.view(&Caller::Anonymous).briefly();
    brief.allowed.read_bytes_max = 1;
    assert_eq!(listed(brief), (1, true));
    let mut whole = node.view(&Caller::Anonymous);
    whole.allowed.read_bytes_max = 1;
    assert_eq!(listed(whole), (1, false), "the page says where it goes on");
}

#[test]
fn what_a_node_could_not_keep_until_it_is_decided_it_does_not_take_in() {
    let protocol = sawtooth();
    let node = protocol.node(founded(&protocol));
    let heavy = {
        let mut signed = SignedBatch::admit(batch("heavy")).unwrap();
        signed.weight = OUTSTANDING_BYTES_MAX;
        admitted(signed, Caller::Anonymous)
    };
    let submit = || {
        let (told, end) = mpsc::channel();
        let reply = move |end| told.send(end).expect("the test waits");
        node.submit(&Caller::Anonymous, vec![batch("light")], Box::new(reply));
        end.recv().unwrap().0
    };
    protocol.hub().outstanding.keep(from_ref(&heavy), 0).unwrap();
    assert_eq!(submit(), submit_status::QUEUE_FULL);
    protocol.hub().outstanding.forget(&heavy.id);
    assert_eq!(submit(), submit_status::OK);
    assert_eq!(submit(), submit_status::OK, "it is known already");
    assert!(protocol.hub().outstanding.to_ask(u64::MAX).is_empty(), "it is decided");
}

#[test]
fn answers_about_statuses_are_finished_on_threads_of_their_own() {
    let random = Arc::new(|bytes: &mut [u8]| bytes.fill(7));
    let protocol = Arc::new(Sawtooth::new(random, Workers::threads(1)));
    let single = founded(&protocol);
    let (known, unknown) = (batch("known"), "0".repeat(128));
    single.submit_all(from_ref(&known));
    let node = protocol.node(single);
    for wait in [false, true] {
        let (told, end) = mpsc::channel();
        let batch_ids = vec![batch_id(&known), unknown.clone(), unknown.clone()];
        let reply = move |response: crate::messages::client::BatchStatusResponse| {
            let thread = thread::current().name().unwrap_or_default().to_owned();
            told.send((thread, response.batch_statuses)).expect("the test waits");
        };
        let request = BatchStatusRequest { batch_ids, wait, timeout: 1 };
        node.batch_statuses(&Caller::Anonymous, &request, Box::new(reply));
        let (thread, statuses) = end.recv().unwrap();
        assert!(thread.starts_with("sawtooth-answers"), "{thread}");
        let statuses: Vec<i32> = statuses.iter().map(|status| status.status).collect();
        assert_eq!(statuses, [batch_status::COMMITTED, batch_status::UNKNOWN]);
    }
}
