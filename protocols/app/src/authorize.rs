//! Who may call an endpoint: its policies, by CCF's names. The first that accepts wins, and says to the function who calls.
//!
//! A certificate, a token, a signature was checked where the request came in; that its holder is a member or a participant is checked again in
//! the state in which the function runs.

use coco_governance::application::{Endpoint, Policy};
use coco_governance::tables::{self, Read};
use coco_protocol::{Caller, Identity};
use coco_types::MapName;
use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::incoming::Proofs;

const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"JWT bearer token access\"");
const SIGNED: HeaderValue = HeaderValue::from_static("COSE-SIGN1 realm=\"Signed request access\"");

/// CCF's `request.caller`, or the refusal.
pub fn caller_of(endpoint: &Endpoint, caller: &Caller, proofs: &Proofs, state: &mut dyn Read) -> Result<Value, Answer> {
    let accepted = endpoint.authn_policies.iter().find_map(|policy| match policy {
        Policy::One(name) => {
            let mut found = found(name, caller, proofs, state)?;
            found.insert("policy".to_owned(), name.as_str().into());
            Some(Value::Object(found))
        }
        Policy::AllOf { all_of } if all_of.is_empty() => None,
        Policy::AllOf { all_of } => {
            let each = |name: &String| Some((name.clone(), Value::Object(found(name, caller, proofs, state)?)));
            let mut each = all_of.iter().map(each).collect::<Option<Map<_, _>>>()?;
            each.insert("policy".to_owned(), json!(all_of));
            Some(Value::Object(each))
        }
    });
    accepted.ok_or_else(|| refused(endpoint))
}

/// What one policy finds; `None` if it does not accept.
fn found(policy: &str, caller: &Caller, proofs: &Proofs, state: &mut dyn Read) -> Option<Map<String, Value>> {
    let found = match policy {
        "no_auth" => json!({}),
        "any_cert" if !proofs.signed => json!({ "cert": proofs.certificate.as_ref()? }),
        "user_cert" if !proofs.signed => user(caller, proofs, state)?,
        "member_cert" if !proofs.signed => member(caller, state)?,
        "user_cose_sign1" if proofs.signed => signed(user(caller, proofs, state)?),
        "member_cose_sign1" if proofs.signed => signed(member(caller, state)?),
        "jwt" if !proofs.signed => {
            let token = proofs.token.as_ref()?;
            caller.identities().iter().find(|identity| matches!(identity, Identity::Token { .. }))?;
            json!({"jwt": {"keyIssuer": token.key_issuer, "header": token.header, "payload": token.payload}})
        }
        _ => return None,
    };
    if let Value::Object(found) = found { Some(found) } else { None }
}

/// A participant, or one of whom a participant's registered CA says that it is its user: it goes by the CA's data.
fn user(caller: &Caller, proofs: &Proofs, state: &mut dyn Read) -> Option<Value> {
    caller.identities().iter().find_map(|identity| match identity {
        Identity::Participant(id) => {
            let cert = registered(state, &tables::USER_CERTS, id)?;
            Some(json!({"id": id, "data": data(state, &tables::USER_INFO, id, "user_data"), "cert": cert}))
        }
        Identity::User { organisation, subject } => {
            registered(state, &tables::USER_CERTS, organisation)?;
            let data = data(state, &tables::USER_INFO, organisation, "user_data");
            Some(json!({"id": format!("{organisation}/{subject}"), "data": data, "cert": proofs.certificate}))
        }
        _ => None,
    })
}

fn member(caller: &Caller, state: &mut dyn Read) -> Option<Value> {
    caller.identities().iter().find_map(|identity| {
        let Identity::Member(id) = identity else { return None };
        let cert = registered(state, &tables::MEMBER_CERTS, id)?;
        Some(json!({"id": id, "data": data(state, &tables::MEMBER_INFO, id, "member_data"), "cert": cert}))
    })
}

fn registered(state: &mut dyn Read, map: &MapName, id: &str) -> Option<String> {
    state.row(map, id.as_bytes()).map(|pem| String::from_utf8_lossy(&pem).into_owned())
}

fn data(state: &mut dyn Read, map: &MapName, id: &str, field: &str) -> Value {
    let row = state.row(map, id.as_bytes()).and_then(|row| serde_json::from_slice::<Value>(&row).ok());
    row.map(|mut row| row[field].take()).unwrap_or_default()
}

/// What was signed is the request's body: the script puts it there.
fn signed(mut found: Value) -> Value {
    found["cose"] = json!({});
    found
}

fn refused(endpoint: &Endpoint) -> Answer {
    let names: Vec<String> = endpoint.authn_policies.iter().map(name).collect();
    let wanted = if names.is_empty() { "nothing that anybody could prove".to_owned() } else { names.join(", or ") };
    let message = format!("the application wants callers to prove themselves by {wanted}");
    let mut answer = Answer::error(StatusCode::UNAUTHORIZED, "InvalidAuthenticationInfo", &message, &[]);
    for (part, challenge) in [("jwt", BEARER), ("cose_sign1", SIGNED)] {
        if names.iter().any(|name| name.contains(part)) {
            answer = answer.with_header(WWW_AUTHENTICATE, challenge);
        }
    }
    answer
}

fn name(policy: &Policy) -> String {
    match policy {
        Policy::One(name) => name.clone(),
        Policy::AllOf { all_of } => all_of.join(" with "),
    }
}

#[cfg(test)]
mod tests {
    use coco_kv::{Store, Tx};
    use coco_protocol::TokenClaims;

    use super::*;

    fn state() -> Tx {
        let mut tx = Store::new().begin();
        for (map, id, row) in [
            (&tables::MEMBER_CERTS, "m", "member's certificate"),
            (&tables::MEMBER_INFO, "m", r#"{"status": "Active", "member_data": {"name": "Anna"}}"#),
            (&tables::USER_CERTS, "u", "user's certificate"),
            (&tables::USER_INFO, "u", r#"{"user_data": {"role": "teller"}}"#),
        ] {
            tx.put(map, id.as_bytes().to_vec(), row.as_bytes().to_vec());
        }
        tx
    }

    fn called(policies: Value, identities: Vec<Identity>, proofs: &Proofs) -> Option<Value> {
        let row = json!({"js_module": "/a.js", "js_function": "f", "authn_policies": policies});
        let endpoint = serde_json::from_value(row).unwrap();
        caller_of(&endpoint, &identities.into(), proofs, &mut state()).ok()
    }

    fn member() -> Identity {
        Identity::Member("m".to_owned())
    }

    fn user() -> Identity {
        Identity::Participant("u".to_owned())
    }

    #[test]
    fn the_first_policy_that_accepts_says_who_calls() {
        let none = Proofs::default();
        assert_eq!(called(json!(["no_auth"]), vec![], &none), Some(json!({"policy": "no_auth"})));
        assert_eq!(called(json!([]), vec![member()], &none), None);
        assert_eq!(called(json!(["anything"]), vec![member()], &none), None);
        let teller =
            json!({"policy": "user_cert", "id": "u", "data": {"role": "teller"}, "cert": "user's certificate"});
        for policies in [json!(["user_cert"]), json!(["member_cert", "user_cert", "no_auth"])] {
            assert_eq!(called(policies, vec![user()], &none), Some(teller.clone()));
        }
        let anna = called(json!(["user_cert", "member_cert"]), vec![member()], &none).unwrap();
        assert_eq!((&anna["policy"], &anna["data"]["name"]), (&json!("member_cert"), &json!("Anna")));
        // Removed since the request came in.
        assert_eq!(called(json!(["member_cert"]), vec![Identity::Member("gone".to_owned())], &none), None);
        assert_eq!(called(json!(["member_cert"]), vec![user()], &none), None);
    }

    #[test]
    fn an_organisations_user_is_a_user_by_its_name_and_a_members_is_none() {
        let of =
            |organisation: &str| Identity::User { organisation: organisation.to_owned(), subject: "CN=ann".to_owned() };
        let proofs = Proofs { certificate: Some("leaf".to_owned()), ..Proofs::default() };
        let ann = called(json!(["user_cert"]), vec![of("u")], &proofs).unwrap();
        assert_eq!(
            (&ann["id"], &ann["data"]["role"], &ann["cert"]),
            (&json!("u/CN=ann"), &json!("teller"), &json!("leaf"))
        );
        for policy in ["user_cert", "member_cert"] {
            assert_eq!(called(json!([policy]), vec![of("m")], &proofs), None);
        }
        assert_eq!(called(json!(["any_cert"]), vec![], &proofs), Some(json!({"policy": "any_cert", "cert": "leaf"})));
    }

    #[test]
    fn what_is_signed_counts_for_its_signer_only() {
        let signed = Proofs { certificate: Some("a proxy's".to_owned()), signed: true, ..Proofs::default() };
        for policy in ["any_cert", "user_cert", "member_cert"] {
            assert_eq!(called(json!([policy]), vec![user(), member()], &signed), None, "{policy}");
        }
        let user = called(json!(["user_cose_sign1"]), vec![user()], &signed).unwrap();
        assert_eq!((&user["id"], &user["cose"]), (&json!("u"), &json!({})));
        assert_eq!(called(json!(["user_cose_sign1"]), vec![member()], &signed), None);
        assert_eq!(called(json!(["member_cose_sign1"]), vec![member()], &Proofs::default()), None);
    }

    #[test]
    fn all_of_several_are_needed_and_each_says_its_part() {
        let token = TokenClaims {
            key_issuer: "https://id.example".to_owned(),
            header: json!({"alg": "ES256"}),
            payload: json!({"sub": "ann"}),
        };
        let proofs = Proofs { token: Some(token), ..Proofs::default() };
        let ann = Identity::Token { issuer: "https://id.example".to_owned(), subject: "ann".to_owned() };
        let both = json!([{"all_of": ["member_cert", "jwt"]}]);
        assert_eq!(called(both.clone(), vec![ann.clone()], &proofs), None);
        let found = called(both, vec![member(), ann.clone()], &proofs).unwrap();
        assert_eq!(found["policy"], json!(["member_cert", "jwt"]));
        assert_eq!((&found["member_cert"]["id"], &found["jwt"]["jwt"]["payload"]["sub"]), (&json!("m"), &json!("ann")));
        assert_eq!(called(json!([{"all_of": []}]), vec![member()], &proofs), None);
        assert!(called(json!(["jwt"]), vec![ann], &proofs).is_some());
        assert_eq!(called(json!(["jwt"]), vec![], &proofs), None);
    }
}
