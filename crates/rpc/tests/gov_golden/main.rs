//! `/gov` as its clients see it: a golden request and response for every operation of the OpenAPI document, and for every error code.
//!
//! Both lists are read from the document itself, so that an operation or a code without a golden exchange fails here.

mod consortium;
mod golden;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use coco_protocol::{Caller, Identity};
use http::Method;
use serde_json::{Value, json};

use consortium::{Consortium, Exchange, Mood, NOW_S, json_of};

const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn document() -> Value {
    json_of(&Consortium::found().get("api?"))
}

#[test]
fn every_operation_is_answered_as_its_golden_file_says() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let methods =
        |path: &Value| path.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect::<Vec<_>>();
    let names =
        paths.iter().flat_map(|(path, value)| methods(value).into_iter().map(move |method| format!("{method} {path}")));
    let exchanges: BTreeMap<_, _> =
        operations().into_iter().map(|(name, exchange)| (name.to_owned(), exchange)).collect();
    for (name, exchange) in &exchanges {
        assert!(exchange.response.status().is_success(), "{name}: {}", json_of(exchange));
    }
    golden::check("operations", &names.collect(), &exchanges);
}

#[test]
fn every_error_code_is_produced_as_its_golden_file_says() {
    let document = document();
    let codes = &document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"];
    let names: BTreeSet<_> = codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    let mut exchanges = BTreeMap::new();
    for exchange in errors() {
        let code = json_of(&exchange)["error"]["code"].as_str().unwrap_or("no error").to_owned();
        let uri = exchange.uri.clone();
        assert!(
            exchanges.insert(code.clone(), exchange).is_none(),
            "{uri} answers {code}, which another one does already"
        );
    }
    golden::check("errors", &names, &exchanges);
}

/// The story of a consortium, from its founding to the recovery of its ledger.
fn operations() -> Vec<(&'static str, Exchange)> {
    let mut story = Vec::new();
    let network = Consortium::found();
    becoming_active(&network, &mut story);
    let network = Consortium::opened();
    deciding(&network, &mut story);
    looking(&network, &mut story);
    network.carry("set_jwt_issuer", issuer());
    story.push(("GET /gov/service/jwk", network.get("service/jwk")));
    network.carry("set_js_app", application());
    for (operation, path) in [
        ("GET /gov/service/javascript-app", "service/javascript-app"),
        ("GET /gov/service/javascript-modules", "service/javascript-modules"),
        ("GET /gov/service/javascript-modules/{moduleName}", "service/javascript-modules/%2Flib%2Fbank.js"),
        ("GET /gov/service/js-modules", "service/js-modules"),
        ("GET /gov/service/js-modules/{moduleName}", "service/js-modules/%2Flib%2Fbank.js"),
    ] {
        story.push((operation, network.get(path)));
    }
    story.push(("GET /gov/events", network.follow_from("2.6")));
    let network = Consortium::recovering();
    story.push(("GET /gov/coco/service/endorsements", network.get("coco/service/endorsements")));
    let payload = json!({ "share": network.share(0) }).to_string();
    let path = format!("recovery/members/{}:recover", network.members[0].id);
    let handed_in = network.post(0, "recovery_share", None, payload.as_bytes(), &path);
    story.push(("POST /gov/recovery/members/{memberId}:recover", handed_in));
    story
}

/// Of tokens, with a key: that of RFC 7515, appendix A.3.
fn issuer() -> Value {
    let key = json!({
        "kid": "one", "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    json!({"issuer": "https://id.example", "audience": ["coco"], "jwks": {"keys": [key]}})
}

fn application() -> Value {
    let endpoint = json!({
        "js_module": "lib/bank.js", "js_function": "balance", "mode": "readonly", "forwarding_required": "sometimes",
        "authn_policies": ["user_cert", {"all_of": ["member_cert", "jwt"]}], "openapi": {"summary": "A balance"},
    });
    let modules = json!([{"name": "lib/bank.js", "module": "export function balance() { return { body: 1 } }\n"}]);
    json!({"bundle": {"metadata": {"endpoints": {"/accounts/{id}": {"get": endpoint}}}, "modules": modules}})
}

#[test]
fn an_application_is_also_shown_as_it_was_installed() {
    let network = Consortium::opened();
    network.carry("set_js_app", application());
    let shown = |query: &str| network.get(&format!("service/javascript-app?api-version=2024-07-01{query}"));
    let original = json_of(&shown("&case=original"));
    let endpoint = &original["endpoints"]["/accounts/{id}"]["GET"];
    assert_eq!(endpoint["js_module"], "/lib/bank.js");
    assert_eq!(endpoint["authn_policies"][1], json!({"all_of": ["member_cert", "jwt"]}));
    assert_eq!(json_of(&shown("&case=upper"))["error"]["code"], "InvalidQueryParameterValue");
    assert_eq!(network.get("service/javascript-modules/%2Fnone.js").response.status(), 404);
    assert_eq!(network.get("service/javascript-modules/%2").response.status(), 400);
    network.carry("remove_js_app", Value::Null);
    assert_eq!(json_of(&shown("")), json!({"endpoints": {}}));
}

fn becoming_active(network: &Consortium, story: &mut Vec<(&'static str, Exchange)>) {
    let path = format!("members/state-digests/{}", network.members[1].id);
    let given = network.post(1, "state_digest", None, b"", &format!("{path}:update"));
    let payload = json!({ "stateDigest": json_of(&given)["stateDigest"] }).to_string();
    story.push(("POST /gov/members/state-digests/{memberId}:update", given));
    story.push(("GET /gov/members/state-digests/{memberId}", network.get(&path)));
    let acknowledged = network.post(1, "ack", None, payload.as_bytes(), &format!("{path}:ack"));
    story.push(("POST /gov/members/state-digests/{memberId}:ack", acknowledged));
}

fn deciding(network: &Consortium, story: &mut Vec<(&'static str, Exchange)>) {
    let action = json!({"name": "set_recovery_threshold", "args": {"recovery_threshold": 1}});
    let proposal = json!({ "actions": [action] });
    story.push(("POST /gov/coco/proposals:simulate", network.post_as_member("coco/proposals:simulate", &proposal)));
    let proposed = network.propose(0, &proposal);
    let id = json_of(&proposed)["proposalId"].as_str().unwrap().to_owned();
    story.push(("POST /gov/members/proposals:create", proposed));
    story.push(("POST /gov/members/proposals/{proposalId}/ballots/{memberId}:submit", network.vote(1, &id, true)));
    let path = format!("members/proposals/{id}");
    let ballot = network.get(&format!("{path}/ballots/{}", network.members[1].id));
    story.push(("GET /gov/members/proposals/{proposalId}/ballots/{memberId}", ballot));
    story.push(("GET /gov/members/proposals/{proposalId}", network.get(&path)));
    story.push(("GET /gov/members/proposals/{proposalId}/actions", network.get(&format!("{path}/actions"))));
    let withdrawn = network.post(0, "withdrawal", Some(&id), b"", &format!("{path}:withdraw"));
    story.push(("POST /gov/members/proposals/{proposalId}:withdraw", withdrawn));
    story.push(("GET /gov/members/proposals", network.get("members/proposals")));
}

fn looking(network: &Consortium, story: &mut Vec<(&'static str, Exchange)>) {
    let member = &network.members[0].id;
    let nodes = network.get("service/nodes");
    let node = json_of(&nodes)["value"][0]["nodeId"].as_str().unwrap().to_owned();
    story.push(("GET /gov/service/nodes", nodes));
    story.push(("GET /gov/service/nodes/{nodeId}", network.get(&format!("service/nodes/{node}"))));
    let share = network.get(&format!("recovery/encrypted-shares/{member}"));
    story.push(("GET /gov/recovery/encrypted-shares/{memberId}", share));
    story.push(("GET /gov/service/members/{memberId}", network.get(&format!("service/members/{member}"))));
    let participant = network.get(&format!("service/users/{}", network.participant));
    story.push(("GET /gov/service/users/{userId}", participant));
    for (operation, path) in [
        ("GET /gov/api", "api?"),
        ("GET /gov/service/constitution", "service/constitution"),
        ("GET /gov/service/info", "service/info"),
        ("GET /gov/service/join-policy", "service/join-policy"),
        ("GET /gov/service/members", "service/members"),
        ("GET /gov/service/transactions/commit", "service/transactions/commit"),
        ("GET /gov/service/transactions/{transactionId}", "service/transactions/2.1"),
        ("GET /gov/service/users", "service/users"),
    ] {
        story.push((operation, network.get(path)));
    }
}

/// One exchange for each code.
fn errors() -> Vec<Exchange> {
    let mut errors = refused_paths();
    errors.extend(refused_proposals());
    errors.extend(refused_votes());
    errors.extend(refused_by_the_node());
    errors
}

fn refused_paths() -> Vec<Exchange> {
    let network = Consortium::found();
    let paths = [
        "members/proposals?",
        "members/proposals?api-version=1",
        "members/proposals/xyz",
        "members/proposals:create",
        "nothing",
        "service/transactions/x",
        &format!("members/proposals/{NOBODY}"),
    ];
    paths.into_iter().map(|path| network.get(path)).collect()
}

fn refused_proposals() -> Vec<Exchange> {
    const CREATE: &str = "members/proposals:create";
    let network = Consortium::acknowledged();
    let proposal = json!({"actions": [{"name": "set_recovery_threshold", "args": {"recovery_threshold": 1}}]});
    let text = proposal.to_string();
    let dated = |network: &Consortium, at| network.post_dated(0, "proposal", None, text.as_bytes(), CREATE, at);
    let first = dated(&network, NOW_S + 100);
    assert_eq!(first.response.status(), 200);
    let (body, signed) = (first.body.clone(), first.signed.clone());
    let again = network.send(Method::POST, CREATE, "application/cose", Caller::Anonymous, signed, body);
    vec![
        again,
        dated(&network, NOW_S + 99),
        dated(&network, NOW_S + 1_000_000),
        network.propose(0, &json!({"actions": [{"name": "set_recovery_threshold", "args": {"threshold": 1}}]})),
        // Not active yet.
        network.propose(2, &proposal),
    ]
}

fn refused_votes() -> Vec<Exchange> {
    let network = Consortium::opened();
    let id = network.proposed("set_recovery_threshold", json!({"recovery_threshold": 1}));
    let withdraw = format!("members/proposals/{id}:withdraw");
    let not_the_proposer = network.post(1, "withdrawal", Some(&id), b"", &withdraw);
    let no_vote = network.get(&format!("members/proposals/{id}/ballots/{}", network.members[0].id));
    let no_ballot = network.post(0, "ballot", Some(&id), b"yes", &network.ballot_path(0, &id));
    network.vote(1, &id, true);
    let otherwise = network.vote(1, &id, false);
    network.post(0, "withdrawal", Some(&id), b"", &withdraw);
    let too_late = network.vote(0, &id, true);
    vec![not_the_proposer, no_vote, no_ballot, otherwise, too_late]
}

fn refused_by_the_node() -> Vec<Exchange> {
    let network = Consortium::opened();
    let digests = format!("members/state-digests/{}", network.members[2].id);
    network.post(2, "state_digest", None, b"", &format!("{digests}:update"));
    let payload = json!({ "stateDigest": NOBODY }).to_string();
    let other_digest = network.post(2, "ack", None, payload.as_bytes(), &format!("{digests}:ack"));
    let recover = format!("recovery/members/{}:recover", network.members[0].id);
    let share = json!({ "share": network.share(0) }).to_string();
    let not_waiting = network.post(0, "recovery_share", None, share.as_bytes(), &recover);
    let in_mood = |mood| {
        let network = Consortium::found().in_mood(mood);
        let path = format!("members/state-digests/{}:update", network.members[0].id);
        network.post(0, "state_digest", None, b"", &path)
    };
    let in_use = Consortium::found().in_mood(Mood::Busy);
    let path = format!("members/state-digests/{}:update", in_use.members[0].id);
    let in_use = in_use.with_key("one").post(0, "state_digest", None, b"", &path);
    let keyed = Consortium::found();
    let malformed = keyed.with_key("one, two").post(0, "state_digest", None, b"", &path);
    assert_eq!(keyed.with_key("one").post(0, "state_digest", None, b"", &path).response.status(), 200);
    let reused = keyed.post(0, "state_digest", None, b"", &path);
    vec![
        in_use,
        malformed,
        reused,
        other_digest,
        not_waiting,
        in_mood(Mood::Unsigned),
        in_mood(Mood::NoPrimary),
        in_mood(Mood::PrimaryLost),
    ]
}

#[test]
fn a_request_that_comes_again_with_its_key_is_answered_as_the_first_time() {
    let network = Consortium::acknowledged();
    let text = json!({"actions": [{"name": "set_recovery_threshold", "args": {"recovery_threshold": 1}}]}).to_string();
    network.with_key("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"");
    let first = network.post_dated(0, "proposal", None, text.as_bytes(), "members/proposals:create", NOW_S + 100);
    assert_eq!(first.response.status(), 200);
    let again = network.send(
        Method::POST,
        "members/proposals:create",
        "application/cose",
        Caller::Anonymous,
        None,
        first.body.clone(),
    );
    assert_eq!(first.response.headers(), again.response.headers());
    assert_eq!(first.response.body(), again.response.body());
    assert_eq!(json_of(&network.get("members/proposals"))["value"].as_array().unwrap().len(), 1);
}

#[test]
fn who_follows_is_told_of_what_happens_and_comes_back_by_the_id_of_a_transaction() {
    let network = Consortium::opened();
    let vote = |network: &Consortium| {
        let id = network.proposed("set_voting_policy", json!({"policy": "unanimous"}));
        network.vote(0, &id, true);
        network.vote(1, &id, true);
    };
    let told = network.told_while(Caller::Anonymous, vote);
    let names = |texts: &[String]| -> Vec<String> {
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect()
    };
    let expected = ["proposal_created", "ballot_submitted", "ballot_submitted", "proposal_resolved"];
    assert_eq!(names(&told), expected);
    // Of a transaction's events, the last one has its id.
    assert!(told[2].starts_with("event: ballot_submitted\n") && told[2].contains("\n\nid: 2."), "{}", told[2]);
    for (id, status) in
        [("2.1", 200), ("2", 400), ("", 400), ("2.x", 400), ("9.9", 200), ("2.99999999999999999999", 400)]
    {
        let again = network.follow_from(id);
        assert_eq!(again.response.status(), status, "{id}");
        let text = String::from_utf8_lossy(again.response.body()).into_owned();
        assert_eq!(text.contains("event: gap"), id == "9.9", "{text}");
        assert!(id != "2.1" || names(std::slice::from_ref(&text)).ends_with(&expected.map(str::to_owned)), "{text}");
    }
}

#[test]
fn whoever_proved_who_they_are_proves_it_anew_when_members_have_changed() {
    let network = Consortium::opened();
    let data = json!({"member_id": network.members[1].id, "member_data": {"name": "Bank B"}});
    let change = |network: &Consortium| {
        network.carry("set_member_data", data.clone());
        network.proposed("trigger_ledger_rekey", json!({}));
    };
    let told = network.told_while(Caller::Anonymous, change);
    assert!(told.iter().any(|text| text.contains("event: member_set")) && !told.contains(&"(the end)".to_owned()));
    let member = Caller::Identified(vec![Identity::Member(network.members[0].id.clone())]);
    let told = network.told_while(member, change);
    assert!(told.len() >= 2 && told[told.len() - 1] == "(the end)", "{told:?}");
    assert!(told[told.len() - 2].contains("event: member_set"), "{told:?}");
}

#[test]
fn the_same_story_gives_the_same_bytes() {
    let told = |()| {
        let exchange = Consortium::acknowledged().propose(0, &json!({"actions": [{"name": "trigger_ledger_rekey"}]}));
        (exchange.body, Bytes::clone(exchange.response.body()))
    };
    assert_eq!(told(()), told(()));
}
