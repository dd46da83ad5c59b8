//! `/gov`: which request becomes which operation, what is answered, and with which code it is refused.

use std::sync::Arc;

use bytes::Bytes;
use coco_governance::disclosure::PARTICIPANT;
use coco_governance::{Code, News, Operation, Refusal, Request};
use coco_kv::{Snapshot, Store};
use coco_protocol::{Caller, Gate, Idempotent, Identity, OpenGate, Service, Subject, TransactionStatus};
use coco_rpc::endpoints::{GovApi, GovEndpoints, Governed, Listener, Past};
use coco_types::{MapName, Seqno, TxId, View};
use http::{Method, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};

const TXID: TxId = TxId { view: View(2), seqno: Seqno(7) };
const VERSION: &str = "api-version=2024-07-01";

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Remembers what it is asked for and answers what it is told to.
struct Gov {
    store: Store,
    asked: Mutex<Vec<Operation>>,
    answer: Mutex<Governed>,
    /// What has happened since the transaction that somebody comes back with.
    news: Mutex<Vec<News>>,
    gate: Mutex<&'static dyn Gate>,
}

/// Tells nobody who participates.
struct Discreet;

impl Gate for Discreet {
    fn permits(&self, caller: &Caller, subject: &Subject<'_>) -> bool {
        subject.kind != PARTICIPANT || caller.is_member()
    }
}

/// Tells nobody of participants, members either.
struct Secretive;

impl Gate for Secretive {
    fn permits(&self, _: &Caller, subject: &Subject<'_>) -> bool {
        subject.kind != PARTICIPANT
    }
}

impl Gov {
    fn new() -> Arc<Self> {
        let store = Store::new();
        let mut tx = store.begin();
        let mut put = |map: &str, key: &str, value: String| {
            tx.put(&MapName::new(format!("public:ccf.gov.{map}")), key.to_owned().into_bytes(), value.into_bytes());
        };
        let singleton = "\0".repeat(8);
        put("members.info", &id('a'), json!({"status": "Active", "member_data": {"name": "Bank"}}).to_string());
        put("members.certs", &id('a'), "PEM".to_owned());
        put("members.acks", &id('a'), json!({"state_digest": id('d')}).to_string());
        put("users.certs", &id('b'), "PEM".to_owned());
        put("proposals", &id('c'), "{\"actions\": [ ]}".to_owned());
        let ballots = json!({id('a'): "export function vote() {}"});
        let info = json!({"proposer_id": id('a'), "state": "Open", "ballots": ballots});
        put("proposals_info", &id('c'), info.to_string());
        put("constitution", &singleton, json!("export function validate() {}").to_string());
        put("service.info", &singleton, json!({"cert": "PEM", "status": "Open"}).to_string());
        put("nodes.virtual.measurements", &id('e'), json!("AllowedToJoin").to_string());
        store.apply(Seqno(1), tx.writes()).unwrap();
        store.commit(Seqno(1));
        let answer = Governed::Done { txid: TXID, body: Some(json!({"proposalId": id('c')})) };
        let (news, gate) = (Mutex::default(), Mutex::new(&OpenGate as &dyn Gate));
        Arc::new(Self { store, asked: Mutex::default(), answer: Mutex::new(answer), news, gate })
    }
}

impl GovApi for Gov {
    fn state(&self, _: &Caller) -> (TxId, Snapshot) {
        (TXID, self.store.snapshot())
    }

    fn gate(&self) -> &dyn Gate {
        *self.gate.lock()
    }

    fn created(&self, _: &Caller) -> Option<TxId> {
        Some(TxId { view: View(1), seqno: Seqno(1) })
    }

    fn transaction_status(&self, _: &Caller, _: TxId) -> TransactionStatus {
        TransactionStatus::Committed
    }

    fn govern(&self, _: &Caller, request: Request, _: Option<Idempotent>, reply: Box<dyn FnOnce(Governed) + Send>) {
        self.asked.lock().push(request.operation);
        reply(self.answer.lock().clone());
    }

    fn news_since(&self, _: Option<TxId>) -> Past {
        Past { at: TXID, news: vec![(TXID, self.news.lock().clone())], gap_until: None }
    }

    fn follow(&self, _: TxId, _: Listener) -> Box<dyn Send> {
        Box::new(())
    }

    fn simulate(&self, _: &Caller, _: Bytes, reply: Box<dyn FnOnce(Governed) + Send>) {
        reply(self.answer.lock().clone());
    }
}

struct Exchange {
    gov: Arc<Gov>,
    caller: Caller,
    content_type: &'static str,
}

impl Exchange {
    fn new() -> Self {
        Self { gov: Gov::new(), caller: Caller::Anonymous, content_type: "application/cose" }
    }

    fn send(&self, method: Method, path: &str) -> Response<Bytes> {
        let uri = if path.contains('?') { format!("/gov/{path}") } else { format!("/gov/{path}?{VERSION}") };
        let request = http::Request::builder().method(method).uri(uri).header("content-type", self.content_type);
        let answered = Arc::new(Mutex::new(None));
        let answer = answered.clone();
        let reply = Box::new(move |response| *answer.lock() = Some(response));
        GovEndpoints::new(self.gov.clone()).call(self.caller.clone(), request.body(Bytes::new()).unwrap(), reply);
        answered.lock().take().expect("answered at once")
    }

    fn get(&self, path: &str) -> (u16, Value) {
        shown(&self.send(Method::GET, path))
    }

    fn post(&self, path: &str) -> (u16, Value) {
        shown(&self.send(Method::POST, path))
    }
}

fn shown(response: &Response<Bytes>) -> (u16, Value) {
    let body = serde_json::from_slice(response.body())
        .unwrap_or_else(|_| String::from_utf8_lossy(response.body()).into_owned().into());
    (response.status().as_u16(), body)
}

fn code(answer: (u16, Value)) -> (u16, String) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn committed_rows_are_shown_in_the_words_of_the_api() {
    let exchange = Exchange::new();
    let proposal = json!({"proposalId": id('c'), "proposerId": id('a'), "proposalState": "Open", "ballotCount": 1});
    let member = json!({
        "memberId": id('a'), "status": "Active", "memberData": {"name": "Bank"}, "certificate": "PEM",
        "recoveryRole": "NonParticipant",
    });
    let user = json!({"userId": id('b'), "certificate": "PEM", "userData": null});
    let digest = json!({"memberId": id('a'), "stateDigest": id('d')});
    let commit = json!({"status": "Committed", "transactionId": "2.7"});
    let snp = json!({"measurements": [], "hostData": {}, "uvmEndorsements": {}, "tcbVersions": {}});
    let policy = json!({
        "sgx": {"measurements": []}, "virtual": {"measurements": [id('e')], "hostData": []}, "snp": snp,
        "tdx": {"images": []}, "vbs": {"modules": []},
    });
    for (path, expected) in [
        ("members/proposals".to_owned(), json!({"value": [proposal]})),
        (format!("members/proposals/{}", id('c')), proposal),
        (format!("members/proposals/{}/actions", id('C')), json!({"actions": []})),
        (format!("members/proposals/{}/ballots/{}", id('c'), id('a')), json!("export function vote() {}")),
        (format!("members/state-digests/{}", id('a')), digest),
        ("service/constitution".to_owned(), json!("export function validate() {}")),
        ("service/members".to_owned(), json!({"value": [member]})),
        (format!("service/members/{}", id('a')), member),
        ("service/users".to_owned(), json!({"value": [user]})),
        (format!("service/users/{}", id('b')), user),
        ("service/nodes".to_owned(), json!({"value": []})),
        ("service/join-policy".to_owned(), policy),
        ("service/transactions/commit".to_owned(), commit.clone()),
        ("service/transactions/2.7".to_owned(), commit),
    ] {
        assert_eq!(exchange.get(&path), (200, expected), "{path}");
    }
    let (status, info) = exchange.get("service/info");
    assert_eq!((status, &info["status"], &info["creationTransactionId"]), (200, &json!("Open"), &json!("1.1")));
    assert_eq!(info["configuration"]["recentCoseProposalsWindowSize"], 100);
    assert_eq!(exchange.send(Method::GET, "service/members").headers()["x-ms-ccf-transaction-id"], "2.7");
    assert_eq!(exchange.get("api?").0, 200);
}

#[test]
fn a_signed_request_becomes_the_operation_that_its_path_names() {
    let exchange = Exchange::new();
    let (proposal, member) = (id('c'), id('a'));
    for (path, operation) in [
        ("members/proposals:create".to_owned(), Operation::Propose),
        (format!("members/proposals/{proposal}:withdraw"), Operation::Withdraw { proposal: proposal.clone() }),
        (
            format!("members/proposals/{proposal}/ballots/{}:submit", id('A')),
            Operation::Vote { proposal: proposal.clone(), member: member.clone() },
        ),
        (format!("members/state-digests/{member}:update"), Operation::UpdateDigest { member: member.clone() }),
        (format!("members/state-digests/{member}:ack"), Operation::Acknowledge { member: member.clone() }),
    ] {
        assert_eq!(exchange.post(&path), (200, json!({"proposalId": id('c')})), "{path}");
        assert_eq!(exchange.gov.asked.lock().pop(), Some(operation));
    }
    *exchange.gov.answer.lock() = Governed::Done { txid: TXID, body: None };
    assert_eq!(exchange.post("members/proposals:create"), (204, json!("")));
}

#[test]
fn every_refusal_has_its_code_and_status() {
    let exchange = Exchange::new();
    let refused = |governed: Governed| {
        *exchange.gov.answer.lock() = governed;
        code(exchange.post("members/proposals:create"))
    };
    for (reason, status) in [
        (Code::AuthorizationFailed, 403),
        (Code::InternalError, 500),
        (Code::InvalidAuthenticationInfo, 401),
        (Code::InvalidCreatedAt, 400),
        (Code::ProposalNotFound, 404),
        (Code::ProposalReplay, 400),
    ] {
        assert_eq!(refused(Governed::Refused(Refusal::new(reason, "no"))), (status, reason.name().to_owned()));
    }
    assert_eq!(refused(Governed::Unknown(Some(TXID))), (503, "TransactionReplicationFailed".to_owned()));
    assert_eq!(refused(Governed::Unknown(None)), (503, "TransactionReplicationFailed".to_owned()));
    assert_eq!(refused(Governed::Unavailable), (503, "PrimaryNotFound".to_owned()));
    let challenge = Exchange { content_type: "application/json", ..Exchange::new() };
    let response = challenge.send(Method::POST, "members/proposals:create");
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "COSE-SIGN1 realm=\"Signed request access\"");
}

#[test]
fn requests_that_name_nothing_are_refused_before_anything_is_done() {
    let exchange = Exchange::new();
    for (path, expected) in [
        ("members/proposals?", (400, "MissingApiVersionParameter")),
        ("members/proposals?api-version=2024-07-01&api-version=2024-07-01", (400, "MissingApiVersionParameter")),
        ("members/proposals?api-version=1", (400, "UnsupportedApiVersionValue")),
        ("members/proposals/xyz", (400, "InvalidResourceName")),
        ("members/proposals:create", (405, "UnsupportedHttpVerb")),
        ("nothing", (404, "ResourceNotFound")),
        ("service/transactions/x", (400, "InvalidQueryParameterValue")),
    ] {
        let (status, name) = expected;
        assert_eq!(code(exchange.get(path)), (status, name.to_owned()), "{path}");
    }
    for (path, name) in [
        (format!("members/proposals/{}", id('0')), "ProposalNotFound"),
        (format!("members/proposals/{}/ballots/{}", id('c'), id('0')), "VoteNotFound"),
        (format!("service/members/{}", id('0')), "ResourceNotFound"),
        (format!("service/users/{}", id('0')), "ResourceNotFound"),
        (format!("service/nodes/{}", id('0')), "ResourceNotFound"),
        (format!("members/state-digests/{}", id('0')), "ResourceNotFound"),
    ] {
        assert_eq!(code(exchange.get(&path)), (404, name.to_owned()), "{path}");
    }
    assert!(exchange.gov.asked.lock().is_empty());
}

#[test]
fn only_active_members_simulate() {
    let stranger = Exchange::new();
    assert_eq!(code(stranger.post("coco/proposals:simulate")), (403, "AuthorizationFailed".to_owned()));
    let participant = Exchange { caller: Caller::Identified(vec![Identity::Participant(id('b'))]), ..Exchange::new() };
    assert_eq!(participant.post("coco/proposals:simulate").0, 403);
    let member = Exchange { caller: Caller::Identified(vec![Identity::Member(id('a'))]), ..Exchange::new() };
    assert_eq!(member.post("coco/proposals:simulate").0, 200);
    let not_active = Exchange { caller: Caller::Identified(vec![Identity::Member(id('f'))]), ..Exchange::new() };
    assert_eq!(code(not_active.post("coco/proposals:simulate")), (403, "AuthorizationFailed".to_owned()));
}

#[test]
fn a_simulation_shows_no_rows_that_its_caller_is_not_told_of() {
    let member = Caller::Identified(vec![Identity::Member(id('a'))]);
    let shown = |gate: &'static dyn Gate| {
        let exchange = Exchange { caller: member.clone(), ..Exchange::new() };
        let change = |map: &str| json!({"map": format!("public:ccf.gov.{map}"), "key": id('b'), "before": "{}"});
        let changes: Vec<_> = ["users.info", "users.certs", "members.info", "constitution"].map(change).into();
        let body = Some(json!({"valid": true, "changes": changes}));
        *exchange.gov.answer.lock() = Governed::Done { txid: TxId::new(View(2), Seqno(7)), body };
        *exchange.gov.gate.lock() = gate;
        let body: Value =
            serde_json::from_slice(exchange.send(Method::POST, "coco/proposals:simulate").body()).unwrap();
        let changes = body["changes"].as_array().cloned().unwrap_or_default();
        changes
            .iter()
            .filter_map(|change| change["map"].as_str()?.rsplit_once("gov.").map(|it| it.1.to_owned()))
            .collect()
    };
    let all: Vec<String> = shown(&OpenGate);
    assert_eq!(all, ["users.info", "users.certs", "members.info", "constitution"]);
    let told: Vec<String> = shown(&Secretive);
    assert_eq!(told, ["members.info", "constitution"]);
}

#[test]
fn who_participates_is_told_in_events_only_to_whom_members_have_it_told() {
    let user = |user_id: char| News::UserSet { user_id: id(user_id) };
    let member = News::MemberRemoved { member_id: id('a') };
    let told = |caller: Caller, news: Vec<News>, gate: &'static dyn Gate| {
        let mut exchange = Exchange::new();
        exchange.caller = caller;
        *exchange.gov.news.lock() = news;
        *exchange.gov.gate.lock() = gate;
        String::from_utf8(exchange.send(Method::GET, "events").body().to_vec()).unwrap()
    };
    let everything = || vec![user('b'), member.clone()];
    let known = Caller::Identified(vec![Identity::Member(id('a'))]);
    for (caller, gate, is_told) in [
        (Caller::Anonymous, &OpenGate as &'static dyn Gate, true),
        (Caller::Anonymous, &Discreet, false),
        (known, &Discreet, true),
    ] {
        let text = told(caller, everything(), gate);
        assert_eq!(text.contains("user_set") && text.contains(&id('b')), is_told, "{text}");
        assert!(text.contains("event: member_removed\n") && text.contains("id: 2.7\n"), "{text}");
    }
    // Of a transaction of which nothing may be told, nothing but its id is.
    let nothing = told(Caller::Anonymous, vec![user('b')], &Discreet);
    assert_eq!(nothing, "retry: 1000\nid: 2.7\n\nid: 2.7\n\n");
}
