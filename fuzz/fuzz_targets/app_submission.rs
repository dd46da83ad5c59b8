//! What nodes send on to the primary for the members' application, as bytes: decoded, authorized and run, whatever it claims to be.
//! Begin with what nodes send: `cargo +nightly fuzz run app_submission fuzz/corpus/app_submission fuzz/seeds/app_submission`.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use coco_app::{App, Workers};
use coco_fuzz::in_time;
use coco_governance::tables;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{Caller, OpenGate, Protocol, Submitted};
use libfuzzer_sys::fuzz_target;

const MODULE: &str = "export const f = (request) => ({ body: [request, request.body.text().length] });";
/// A network's life begins anew after so many requests, so that what it remembers stays small.
const REQUESTS: u32 = 1_000;

thread_local! {
    static NODE: RefCell<(Arc<SingleNode>, u32)> = RefCell::new((node(), 0));
}

fn app() -> Arc<dyn Protocol> {
    Arc::new(App::new(Arc::new(|bytes| bytes.fill(7)), Workers::AtOnce))
}

fn node() -> Arc<SingleNode> {
    let node = SingleNode::found(app(), &serde_json::Value::Null, Arc::new(OpenGate));
    node.commit_other(|tx| {
        let row = r#"{"js_module": "/a.js", "js_function": "f", "authn_policies": ["jwt", "user_cose_sign1", {"all_of": ["any_cert", "no_auth"]}, "no_auth"]}"#;
        tx.put(&tables::JS_ENDPOINTS, b"POST /f/{id}".to_vec(), row.as_bytes().to_vec());
        tx.put(&tables::JS_MODULES, b"/a.js".to_vec(), MODULE.as_bytes().to_vec());
    });
    node
}

fuzz_target!(|bytes: &[u8]| {
    let submission = Bytes::copy_from_slice(bytes);
    in_time(|| drop(app().admit(submission.clone(), &Caller::Anonymous)));
    let Ok(admitted) = app().admit(submission.clone(), &Caller::Anonymous) else { return };
    assert_eq!(admitted.raw, submission, "a submission is kept as it came");
    NODE.with_borrow_mut(|(one, requests)| {
        *requests += 1;
        if *requests > REQUESTS {
            (*one, *requests) = (node(), 0);
        }
        let ends = one.submit_all(&[submission]);
        assert!(matches!(ends[..], [Submitted::Committed { .. } | Submitted::Rejected(_)]), "an answer: {ends:?}");
    });
});
