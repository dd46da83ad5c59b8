use super::*;

const MODULE: &str = "/app.js";

/// A state in which these modules are installed.
fn installed(modules: &[(&str, &str)]) -> Store {
    let store = Store::new();
    let mut tx = store.begin();
    for (name, source) in modules {
        tx.put(&tables::JS_MODULES, name.as_bytes().to_vec(), source.as_bytes().to_vec());
    }
    store.apply(Seqno(1), tx.writes()).unwrap();
    store
}

fn calling(writes: bool) -> Call {
    Call {
        module: MODULE.to_owned(),
        function: "f".to_owned(),
        writes,
        request: json!({"params": {"id": "7"}, "headers": {}, "caller": {"policy": "no_auth"}}),
        body: Bytes::from_static(b"{\"a\": [1, 2]}"),
        options: RuntimeOptions { max_execution_time_ms: 20, ..RuntimeOptions::default() },
        now_ms: 1_700_000_000_000,
        seed: [7; 32],
        positions: Positions {
            committed: Box::new(|| TxId::new(View(2), Seqno(9))),
            status: Box::new(|txid| if txid.seqno.0 <= 9 { "Committed" } else { "Unknown" }),
            view_of: Box::new(|seqno| (seqno.0 <= 9).then_some(View(2))),
        },
        past: None,
        history: Box::new(|seqno| (1..=9).contains(&seqno.0).then(|| past(seqno.0))),
        clock: None,
    }
}

/// A transaction that wrote its own number.
fn past(seqno: u64) -> Past {
    let mut writes = WriteSet::new();
    let map = Role::Application { writes: true }.stored("log");
    writes.insert(&map, Bytes::from_static(b"k"), Some(Bytes::from(seqno.to_string())));
    Past { txid: TxId::new(View(2), Seqno(seqno)), receipt: json!({"proof": []}), writes: Arc::new(writes) }
}

/// What a function with this body answers, and what it wrote.
fn answer_of(body: &str) -> (std::result::Result<Reaction, Failure>, WriteSet) {
    let source = format!("export function f(request) {{ {body} }}");
    let (tx, Called { answered, .. }) = call(installed(&[(MODULE, &source)]).begin(), calling(true));
    (answered, tx.into_parts().0)
}

fn json_of(body: &str) -> serde_json::Value {
    let reaction = answer_of(&format!("return {{ body: (() => {{ {body} }})() }}")).0.unwrap();
    assert_eq!(reaction.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    serde_json::from_slice(&reaction.body).unwrap()
}

#[test]
fn a_function_sees_its_request_and_says_what_is_answered() {
    let echo = "return [request.params.id, request.body.json().a[1], request.body.arrayBuffer().byteLength, request.body.text().length]";
    assert_eq!(json_of(echo), json!(["7", 2, 13, 13]));
    let (text, _) = answer_of("return { statusCode: 201, headers: { 'X-Kind': 'a' }, body: 'ä' }");
    let text = text.unwrap();
    assert_eq!((text.status, text.body.as_ref(), text.applies), (201, "ä".as_bytes(), true));
    let headers =
        [("x-kind", "a"), ("content-type", "text/plain")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(text.headers, headers);
    let (bytes, _) = answer_of("return { body: new Uint8Array([0, 255, 128]).subarray(1) }");
    let bytes = bytes.unwrap();
    assert_eq!((bytes.body.as_ref(), bytes.headers[0].1.as_str()), (&[255, 128][..], "application/octet-stream"));
    let nothing = answer_of("return {}").0.unwrap();
    assert_eq!((nothing.status, nothing.headers.len(), nothing.body.len()), (200, 0, 0));
}

#[test]
fn an_answer_of_another_form_is_no_answer() {
    for body in [
        "return 7",
        "return",
        "return { statusCode: '200' }",
        "return { statusCode: 99 }",
        "return { headers: { a: 1 } }",
        "return { body: () => 1 }",
        "return { body: 1n }",
        "return { body: 'x'.repeat(2000000) }",
        "return { headers: { a: 'x'.repeat(20000) } }",
        "throw new Error('no')",
        "throw 7",
        "return nothing",
    ] {
        assert!(answer_of(body).0.is_err(), "{body}");
    }
}

#[test]
fn what_it_writes_is_its_own_and_holds_if_it_succeeds_or_wants_it() {
    let write = "ccf.kv['accounts'].set(ccf.strToBuf('a'), ccf.strToBuf('1'));";
    for (body, applies) in [
        ("return {}", true),
        ("return { statusCode: 400 }", false),
        ("ccf.rpc.setApplyWrites(true); return { statusCode: 400 }", true),
        ("ccf.rpc.setApplyWrites(false); return {}", false),
    ] {
        let (answered, writes) = answer_of(&format!("{write} {body}"));
        assert_eq!(answered.unwrap().applies, applies, "{body}");
        let maps: Vec<_> = writes.iter().map(|(map, _)| map.as_str().to_owned()).collect();
        assert_eq!(maps, ["app.accounts"]);
    }
    for map in ["public:ccf.gov.members.info", "ccf.gov.secret", "public:ccf.internal.signatures"] {
        let (answered, writes) =
            answer_of(&format!("ccf.kv['{map}'].set(ccf.strToBuf('a'), ccf.strToBuf('1')); return {{}}"));
        assert!(answered.unwrap_err().reason.contains("cannot be written in an application's endpoint"), "{map}");
        assert!(writes.is_empty());
    }
    let source = format!("export function f() {{ {write} return {{}} }}");
    let (_, Called { answered, .. }) = call(installed(&[(MODULE, &source)]).begin(), calling(false));
    assert!(answered.unwrap_err().reason.contains("cannot be written in a read-only endpoint"));
}

#[test]
fn modules_import_each_other_and_nothing_else() {
    let modules = [
        (
            "/app.js",
            "import { two } from './lib/math.js'; import * as top from '/lib/deep/er.js'; export const f = () => ({ body: two + top.one });",
        ),
        ("/lib/math.js", "import { one } from './deep/er.js'; export const two = one + one;"),
        ("/lib/deep/er.js", "import '../math.js'; export const one = 1;"),
    ];
    let (_, Called { answered, .. }) = call(installed(&modules).begin(), calling(true));
    assert_eq!(answered.unwrap().body.as_ref(), b"3");
    for import in ["./none.js", "../../up.js", "fs", "https://example.com/a.js"] {
        let source = format!("import '{import}'; export const f = () => ({{}});");
        let (_, Called { answered, .. }) = call(installed(&[(MODULE, &source)]).begin(), calling(true));
        assert!(answered.is_err(), "{import}");
    }
    let (_, Called { answered: none, .. }) = call(installed(&[(MODULE, "export const g = 1")]).begin(), calling(true));
    assert!(none.unwrap_err().reason.contains("exports no function f"));
}

#[test]
fn a_function_may_wait_for_what_it_has_begun_itself() {
    let source = "export async function f() { return { body: await Promise.resolve(7) } }";
    let (_, Called { answered, .. }) = call(installed(&[(MODULE, source)]).begin(), calling(true));
    assert_eq!(answered.unwrap().body.as_ref(), b"7");
    for never in ["await new Promise(() => {})", "await Promise.reject(new Error('no'))", "for (;;) await 0"] {
        let source = format!("export async function f() {{ {never} }}");
        let (_, Called { answered, .. }) = call(installed(&[(MODULE, &source)]).begin(), calling(true));
        assert!(answered.is_err(), "{never}");
    }
}

#[test]
fn it_knows_where_the_ledger_is_and_what_time_it_is_if_it_asks() {
    assert_eq!(json_of("return ccf.consensus.getLastCommittedTxId()"), json!({"view": 2, "seqno": 9}));
    assert_eq!(
        json_of("return [ccf.consensus.getStatusForTxId(2, 9), ccf.consensus.getStatusForTxId(2, 10)]"),
        json!(["Committed", "Unknown"])
    );
    assert_eq!(
        json_of("return [ccf.consensus.getViewForSeqno(3), ccf.consensus.getViewForSeqno(10)]"),
        json!([2, null])
    );
    assert_eq!(
        json_of(
            "const before = Date.now(); ccf.enableUntrustedDateTime(true); return [before, Date.now(), new Date().getTime()]"
        ),
        json!([0, 1_700_000_000_000_u64, 1_700_000_000_000_u64])
    );
    assert_eq!(json_of("return Math.random() < 1 && Math.random() !== Math.random()"), json!(true));
    assert_eq!(
        json_of("return [typeof ccf.node, typeof ccf.host, typeof ccf.historicalState]"),
        json!(["undefined", "undefined", "undefined"])
    );
    let claimed =
        answer_of("ccf.rpc.setClaimsDigest(ccf.crypto.digest('SHA-256', ccf.strToBuf('a'))); return {}").0.unwrap();
    assert_eq!(claimed.claims, Some(coco_crypto::sha256(b"a")));
    assert!(answer_of("ccf.rpc.setClaimsDigest(new ArrayBuffer(31)); return {}").0.is_err());
}

#[test]
fn what_a_past_transaction_wrote_is_apart_from_what_is_there_now() {
    let source = "export function f() { const key = ccf.strToBuf('k'); const { kv, transactionId, receipt } = ccf.historicalState; \
        return { body: [transactionId, receipt.proof, ccf.bufToStr(kv.log.get(key)), kv.log.size, ccf.kv.log.has(key)] } }";
    let (_, Called { answered, .. }) =
        call(installed(&[(MODULE, source)]).begin(), Call { past: Some(past(5)), ..calling(false) });
    assert_eq!(answered.unwrap().body.as_ref(), br#"["2.5",[],"5",1,false]"#);
}

#[test]
fn a_range_of_the_past_is_there_at_once_as_a_whole_or_not_at_all() {
    let look = "const key = ccf.strToBuf('k'); const show = (states) => states && states.map(({ transactionId, receipt, kv }) => \
        [transactionId, receipt.is_signature_transaction, ccf.bufToStr(kv.log.get(key)), kv.log.size]);";
    let range = |first: i64, last: i64| {
        json_of(&format!("{look} return [show(ccf.historical.getStateRange(1, {first}, {last}, 60))]"))[0].take()
    };
    assert_eq!(range(3, 4), json!([["2.3", false, "3", 1], ["2.4", false, "4", 1]]));
    assert_eq!(range(9, 9), json!([["2.9", false, "9", 1]]));
    assert_eq!((range(0, 3), range(8, 10), range(5_000, 5_001)), (json!(null), json!(null), json!(null)));
    let drops = "const dropped = () => ccf.historical.dropCachedStates(7); const before = dropped(); \
        ccf.historical.getStateRange(7, 1, 2, 0); return [before, dropped(), dropped()]";
    assert_eq!(json_of(drops), json!([false, true, false]));
    for (arguments, why) in [
        ("1, 4, 3, 0", "RangeError: getStateRange: 3 is before 4"),
        ("-1, 1, 1, 0", "RangeError: getStateRange takes whole numbers"),
        ("1, 1.5, 2, 0", "RangeError: getStateRange takes whole numbers"),
        ("1, 1, 1, undefined", "RangeError: getStateRange takes whole numbers"),
        ("1, 1, 2000, 0", "RangeError: a range has at most 1000 transactions"),
        ("1, 1, 2", "TypeError: getStateRange takes 4 arguments"),
    ] {
        let refused = answer_of(&format!("ccf.historical.getStateRange({arguments}); return {{}}")).0.unwrap_err();
        assert!(refused.reason.starts_with(why), "{arguments}: {}", refused.reason);
    }
    assert!(answer_of("ccf.historical.dropCachedStates(-1); return {}").0.is_err());
    let written =
        "ccf.historical.getStateRange(1, 3, 3, 0)[0].kv.log.set(ccf.strToBuf('k'), ccf.strToBuf('0')); return {}";
    assert!(answer_of(written).0.unwrap_err().reason.contains("cannot be written"));
}

#[test]
fn all_ranges_of_a_request_together_have_a_bounded_size() {
    /// A third of what a request may look at.
    fn large(seqno: u64) -> Past {
        let mut writes = WriteSet::new();
        let map = Role::Application { writes: true }.stored("log");
        writes.insert(&map, Bytes::from_static(b"k"), Some(Bytes::from(vec![0; APP_SCAN_BYTES_MAX / 3])));
        Past { writes: Arc::new(writes), ..past(seqno) }
    }
    let asked = |ranges: usize| {
        let source = format!(
            "export function f() {{ const all = []; for (let i = 0; i < {ranges}; i++) all.push(ccf.historical.getStateRange(i, 1, 1, 0)); return {{}} }}"
        );
        let options = RuntimeOptions { max_execution_time_ms: 2_000, ..RuntimeOptions::default() };
        let history = Box::new(|seqno: Seqno| Some(large(seqno.0)));
        call(installed(&[(MODULE, &source)]).begin(), Call { history, options, ..calling(false) }).1.answered
    };
    assert!(asked(2).is_ok());
    let refused = asked(4).unwrap_err();
    assert!(refused.reason.starts_with("RangeError: the ranges of one request have at most"), "{}", refused.reason);
}

#[test]
fn jobs_that_go_on_for_ever_end_with_the_time_of_their_request() {
    // One is interrupted, and the other goes on.
    let spin = "const spin = () => { Promise.resolve().then(spin); for (let i = 0; i < 1000; i++) {} };";
    for waits in ["spin(); spin(); await new Promise(() => {})", "spin(); spin(); try { for (;;) await 0 } catch {}"] {
        for source in [
            format!("export async function f() {{ {spin} {waits} }}"),
            format!("{spin} {waits}; export const f = () => ({{}})"),
        ] {
            let (_, Called { answered, .. }) = call(installed(&[(MODULE, &source)]).begin(), calling(true));
            assert!(answered.unwrap_err().exceeded, "{source}");
        }
    }
}

#[test]
fn an_endpoint_that_never_ends_recurses_or_hoards_is_ended() {
    for hostile in [
        "for (;;) {}",
        "try { for (;;) {} } catch (e) {} return {}",
        "const f = () => f(); return f()",
        "const a = []; for (;;) a.push(new Uint8Array(1 << 20))",
        "return /^(a+)+$/.test('a'.repeat(40) + 'b')",
        "for (;;) ccf.kv.a.set(ccf.strToBuf(String(Math.random())), new ArrayBuffer(1 << 20))",
        "return { get statusCode() { for (;;) {} } }",
        "for (;;) ccf.historical.getStateRange(1, 1, 9, 0)",
        "for (;;) ccf.crypto.generateRsaKeyPair(4096)",
    ] {
        assert!(answer_of(hostile).0.is_err(), "{hostile}");
    }
    // By a clock, where there is one.
    let source = "export function f() { for (;;) {} }";
    let ticks = std::cell::Cell::new(0);
    let clock = Box::new(move || {
        ticks.set(ticks.get() + 100);
        ticks.get()
    });
    let (_, Called { answered, .. }) =
        call(installed(&[(MODULE, source)]).begin(), Call { clock: Some(clock), ..calling(true) });
    assert!(answered.unwrap_err().unjudged);
}
