//! What is wrong, hostile or late: a coded error, nothing changed, and a node that serves on.

use std::fs;

use coco_crypto::{Certificate, Curve, SigningKey, SystemCrypto, Validity, self_signed_certificate};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::coco;
use crate::node::{Member, NOW_S, Network, YES, id_of};

const CREATE: &str = "members/proposals:create";

/// Obeys what stands in a proposal's text. What asks for nothing of that is carried by its first vote.
const OBEDIENT: &str = r#"
const HARM = {
  loops() { for (;;) {} },
  recurses() { const down = () => down() + 1; down(); },
  hoards() { const all = []; for (;;) all.push(new Uint8Array(1 << 22)); },
  throws() { throw new Error("not today"); },
  private() { ccf.kv["records.values"].set(ccf.strToBuf("still"), ccf.strToBuf("gone")); },
  internal() { ccf.kv["public:ccf.internal.signatures"].set(new ArrayBuffer(8), ccf.strToBuf("mine")); },
  epochs() { ccf.kv["public:ccf.gov.coco.epochs"].clear(); },
  orphans() { ccf.kv["public:ccf.gov.members.info"].clear(); },
};
const harm = (text, where) => {
  for (const { name, args } of JSON.parse(text).actions) if (args?.in === where) HARM[name]();
};
export function validate(input) { harm(input, "validate"); return { valid: true, description: "" }; }
export function resolve(proposal, proposerId, votes) {
  if (votes.length === 0) return "Open";
  harm(proposal, "resolve");
  return "Accepted";
}
export function apply(proposal, proposalId) {
  harm(proposal, "apply");
  for (const { name, args } of JSON.parse(proposal).actions)
    if (name === "set_constitution") ccf.kv["public:ccf.gov.constitution"].set(new ArrayBuffer(8), ccf.jsonCompatibleToBuf(args.constitution));
}
"#;

fn records() -> Network {
    Network::found([("records".to_owned(), json!({}))].into())
}

fn ended(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// The request is refused like this, and as if it had never come.
fn is_refused(network: &Network, expected: (u16, &str), what: &str, send: impl FnOnce() -> Answer) {
    let before = network.shown();
    let answer = send();
    assert_eq!(ended(&answer), (expected.0, expected.1.to_owned()), "{what}: {}", answer.text());
    assert_eq!(network.shown(), before, "{what} left a trace");
    network.is_unharmed();
}

fn is_verified(network: &mut Network) {
    network.stop();
    let (ledger, service) = (network.ledger(), network.service());
    let told = coco(&["ledger", "verify", ledger.to_str().unwrap(), "--service", service.to_str().unwrap()]);
    assert!(told.contains("all confirmed"), "{told}");
}

fn describe(network: &Network, name: &str) -> Value {
    json!([{ "name": "set_member_data", "args": { "member_id": network.members[2].id, "member_data": { "name": name } } }])
}

#[test]
fn messages_that_are_malformed_misnamed_misdated_or_replayed_are_refused() {
    let mut network = records();
    let text = json!({ "actions": describe(&network, "Carl") }).to_string();
    let anna = &network.members[0];
    let good = anna.signs("proposal", None, NOW_S + 100, &text);
    const UNKNOWN: (u16, &str) = (401, "InvalidAuthenticationInfo");
    let refused = |expected, what: &str, message: &[u8]| {
        is_refused(&network, expected, what, || network.post(CREATE, message));
    };
    refused(UNKNOWN, "nothing", b"");
    refused(UNKNOWN, "no COSE", b"propose something");
    refused(UNKNOWN, "half a message", &good[..good.len() / 2]);
    refused(UNKNOWN, "a message and more", &[&good[..], b"more"].concat());
    refused(UNKNOWN, "an array without end", &[0x9f; 4096]);
    refused(UNKNOWN, "arrays in arrays", &[0x81; 65_536]);
    let mut altered = good.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    refused(UNKNOWN, "an altered message", &altered);
    is_refused(&network, UNKNOWN, "another content-type", || network.post_as(CREATE, "application/json", &good));
    refused(UNKNOWN, "another request's message", &anna.signs("ballot", None, NOW_S + 100, &text));
    refused(UNKNOWN, "a stranger's", &Member::new("eve").signs("proposal", None, NOW_S + 100, &text));
    let posing = Member { id: network.members[1].id.clone(), ..Member::new("eve") };
    refused(UNKNOWN, "another's kid", &posing.signs("proposal", None, NOW_S + 100, &text));
    refused((413, "RequestBodyTooLarge"), "too much", &vec![0; coco_types::limits::REQUEST_BODY_BYTES_MAX + 1]);
    let long = anna.signs(
        "proposal",
        None,
        NOW_S + 100,
        &format!("{text}{}", " ".repeat(coco_types::limits::REQUEST_BODY_BYTES_MAX)),
    );
    refused((413, "RequestBodyTooLarge"), "a signed message that is too long", &long);

    let stranger = network.client().call("POST", "/node/join", b"{}").unwrap();
    assert_eq!(ended(&stranger), (403, "NotAdmitted".to_owned()), "{}", stranger.text());
    assert_eq!(network.post(CREATE, &good).status, 200);
    refused((400, "ProposalReplay"), "the same again", &good);
    refused((400, "ProposalCreatedTooLongAgo"), "one that expired", &anna.signs("proposal", None, NOW_S, &text));
    refused((400, "InvalidCreatedAt"), "one of the future", &anna.signs("proposal", None, 4_000_000_000, &text));
    refused((400, "InvalidCreatedAt"), "one of the far future", &anna.signs("proposal", None, 10_000_000_000, &text));
    is_verified(&mut network);
}

#[test]
fn votes_that_come_twice_too_late_or_from_who_was_removed_are_refused() {
    let mut network = records();
    let id = id_of(&network.propose(0, &describe(&network, "Carl")));
    assert_eq!(network.vote(1, &id, YES).json()["ballotCount"], 1);
    assert_eq!(network.vote(1, &id, YES).json()["ballotCount"], 1, "the same again says the same");
    let otherwise = "export function vote() { return false }";
    is_refused(&network, (400, "VoteAlreadyExists"), "another vote", || network.vote(1, &id, otherwise));
    let message = network.members[1].signs("ballot", Some(&id), NOW_S, &json!({ "ballot": YES }).to_string());
    let as_carl = format!("members/proposals/{id}/ballots/{}:submit", network.members[2].id);
    is_refused(&network, (400, "InvalidResourceName"), "a vote for somebody else", || network.post(&as_carl, &message));

    // A ballot that loops is a failure, recorded with what became of the proposal; it is not run again.
    let looping = "export function vote() { for (;;) {} }";
    let failed = network.vote(2, &id, looping);
    assert_eq!(failed.json()["proposalState"], "Open", "{}", failed.text());
    let decided = network.vote(0, &id, YES).json();
    assert_eq!(decided["proposalState"], "Accepted");
    let why = decided["voteFailures"][&network.members[2].id]["reason"].as_str().unwrap_or_default();
    assert!(why.contains("longer than it may"), "{decided}");
    is_refused(&network, (400, "ProposalNotOpen"), "too late", || network.vote(2, &id, YES));

    // Under another rule, what was proposed before means something else.
    let stale = id_of(&network.propose(0, &describe(&network, "Charles")));
    let rule = json!([{ "name": "set_voting_policy", "args": { "policy": "majority" } }]);
    assert_eq!(network.decides(&rule).json()["proposalState"], "Accepted");
    is_refused(&network, (404, "ProposalNotFound"), "a stale one", || network.vote(1, &stale, YES));

    let id = id_of(&network.propose(2, &describe(&network, "Karl")));
    let remove = json!([{ "name": "remove_member", "args": { "member_id": network.members[2].id } }]);
    assert_eq!(network.decides(&remove).json()["proposalState"], "Accepted");
    let gone = (401, "InvalidAuthenticationInfo");
    is_refused(&network, gone, "a vote after removal", || network.vote(2, &id, YES));
    is_refused(&network, gone, "a proposal after removal", || network.propose(2, &describe(&network, "Karl")));
    is_verified(&mut network);
}

#[test]
fn a_constitution_that_loops_recurses_hoards_throws_or_reaches_beyond_governance_changes_nothing() {
    let mut network = records();
    let text = |path: &str| network.get(path).text();
    let ours = text("service/constitution");
    // One that does not even load is not proposed.
    let load = |text: &str| json!([{ "name": "set_constitution", "args": { "constitution": text } }]);
    for (what, constitution) in
        [("loops", "for (;;) {}"), ("is none", "1 +"), ("decides nothing", "export const x = 1")]
    {
        let send = || network.propose(0, &load(constitution));
        is_refused(&network, (400, "ProposalFailedToValidate"), what, send);
    }
    assert_eq!(network.decides(&load(OBEDIENT)).json()["proposalState"], "Accepted");
    const FAILED: (u16, &str) = (500, "InternalError");
    for harm in ["loops", "recurses", "hoards", "throws", "private", "internal", "orphans"] {
        let proposal = json!([{ "name": harm, "args": { "in": "validate" } }]);
        is_refused(&network, FAILED, &format!("{harm} in validate"), || network.propose(0, &proposal));
    }
    // What fails with a vote leaves the proposal as it was, and the vote is not there.
    let later = [("resolve", "loops"), ("resolve", "hoards"), ("resolve", "throws"), ("resolve", "orphans")];
    let last = ["loops", "recurses", "throws", "private", "internal", "epochs", "orphans"].map(|harm| ("apply", harm));
    for (at, harm) in later.into_iter().chain(last) {
        let id = id_of(&network.propose(0, &json!([{ "name": harm, "args": { "in": at } }])));
        is_refused(&network, FAILED, &format!("{harm} in {at}"), || network.vote(1, &id, YES));
        let shown = network.get(&format!("members/proposals/{id}")).json();
        assert_eq!((&shown["proposalState"], &shown["ballotCount"]), (&json!("Open"), &json!(0)), "{harm} in {at}");
    }
    assert_eq!(network.client().call("GET", "/app/records/still", b"").unwrap().body, b"here");
    let back = id_of(&network.propose(0, &load(&ours)));
    assert_eq!(network.vote(1, &back, YES).json()["proposalState"], "Accepted");
    assert_eq!(network.get("service/constitution").text(), ours);
    is_verified(&mut network);
}

#[test]
fn the_clock_of_the_consensus_ticks_on_while_a_constitution_loops() {
    let network = records();
    let load = json!([{ "name": "set_constitution", "args": { "constitution": OBEDIENT } }]);
    assert_eq!(network.decides(&load).json()["proposalState"], "Accepted");
    let id = id_of(&network.propose(0, &json!([{ "name": "loops", "args": { "in": "apply" } }])));
    let view = network.client().json("/node/network").unwrap()["current_view"].clone();
    let (asked, answered) = std::sync::mpsc::channel();
    let (member, message) = (network.members[1].id.clone(), network.signed_vote(1, &id, YES));
    let client = network.client().clone();
    let path = format!("/gov/members/proposals/{id}/ballots/{member}:submit?api-version=2024-07-01");
    let voting = std::thread::spawn(move || {
        asked.send(()).unwrap();
        let answer = client.call_as("POST", &path, "application/cose", &message).unwrap();
        (answer.status, answer.text())
    });
    answered.recv().unwrap();
    // A loop may take the steps of five seconds, which a fast machine does in less than one. Before it is over, more ticks have come.
    let before = network.ticks();
    crate::until("five ticks", || (network.ticks() >= before + 5).then_some(()));
    assert!(!voting.is_finished(), "the loop was over before");
    network.is_unharmed();
    let (status, text) = voting.join().unwrap();
    assert_eq!(status, 500, "{text}");
    assert_eq!(network.client().json("/node/network").unwrap()["current_view"], view);
}

#[test]
fn a_chain_of_fifty_certificates_is_read_in_a_proposal_and_makes_nobody_of_a_caller() {
    let network = records();
    let certificate = Member::new("dora").certificate.to_pem();
    let of = |count: usize| json!([{ "name": "set_user", "args": { "cert": certificate.repeat(count) } }]);
    assert_eq!(network.propose(0, &of(50)).status, 200);
    let too_long = (400, "ProposalFailedToValidate");
    is_refused(&network, too_long, "a chain of 51", || network.propose(0, &of(51)));

    let chain: Vec<Certificate> = (0..50).map(|at| stranger(&format!("authority {at}"))).collect();
    let key = SigningKey::generate(&SystemCrypto, Curve::P384);
    let leaf = self_signed_certificate(&SystemCrypto, &key, "leaf", &[], validity(), &[]).unwrap();
    let chain: Vec<_> = std::iter::once(leaf).chain(chain).map(|one| one.der().to_vec()).collect();
    let service = Certificate::from_pem(&fs::read_to_string(network.service()).unwrap()).unwrap();
    let caller = Client::with_identity(network.client().node, &service, &chain, &key.to_pem());
    // Whether the handshake or the request is refused, nobody is let in for it.
    if let Ok(answer) = caller.call("GET", "/app/identities", b"") {
        assert_eq!(answer.json()["caller"], json!([]), "{}", answer.text());
    }
    network.is_unharmed();
}

fn stranger(name: &str) -> Certificate {
    let key = SigningKey::generate(&SystemCrypto, Curve::P256);
    self_signed_certificate(&SystemCrypto, &key, name, &[], validity(), &[]).unwrap()
}

fn validity() -> Validity {
    Validity { not_before: 0, not_after: 4_000_000_000 }
}
