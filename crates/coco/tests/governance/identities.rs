//! Who is told who takes part, as the members have decided.

use serde_json::{Value, json};

use crate::coco;
use crate::node::{Member, Network};

#[test]
fn what_members_close_to_outsiders_is_told_to_members_alone_over_every_path() {
    let network = Network::found([("records".to_owned(), json!({}))].into());
    let dora = Member::new("dora");
    let set = json!({ "cert": dora.certificate.to_pem(), "participant_data": { "name": "Dora" } });
    let decided = network.decides(&json!([{ "name": "set_participant", "args": set }]));
    assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    let values = |path: &str| network.get(path).json()["value"].as_array().cloned().unwrap_or_default();
    assert_eq!(
        (values("service/users").len(), &values("service/members")[0]["memberData"]["of"]),
        (1, &json!("a bank"))
    );

    let all = ["member_certificates", "member_encryption_keys", "member_data", "participants", "proposals"];
    let args: Value = all.map(|what| (what.to_owned(), json!("members"))).into_iter().collect();
    let decided = network.decides(&json!([{ "name": "set_identity_disclosure", "args": args }]));
    assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    let proposal = crate::node::id_of(&decided);

    // Nobody: who they are is not there, that they voted is.
    let members = values("service/members");
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| member["certificate"] == "" && member["memberData"].is_null()), "{members:?}");
    let one = network.get(&format!("service/members/{}", network.members[0].id)).json();
    assert_eq!((&one["certificate"], &one["memberData"]), (&json!(""), &Value::Null));
    assert_eq!(values("service/users").len(), 0);
    assert_eq!(network.get(&format!("service/users/{}", dora.id)).status, 404);
    assert_eq!(network.get(&format!("members/proposals/{proposal}")).status, 200);
    assert_eq!(network.get(&format!("members/proposals/{proposal}/actions")).status, 404);
    let ballot = format!("members/proposals/{proposal}/ballots/{}", network.members[0].id);
    assert_eq!(network.get(&ballot).status, 404);

    // A member, who shows its certificate to TLS: everything, as before.
    let (cert, key) = (network.folder().join("cert.pem"), network.folder().join("key.pem"));
    std::fs::write(&cert, network.members[1].certificate.to_pem()).unwrap();
    std::fs::write(&key, network.members[1].key.to_pem().as_bytes()).unwrap();
    let (api, service) = (format!("https://{}", network.client().node), network.service());
    let who = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let at = ["--api", &api, "--service", service.to_str().unwrap()];
    let told = coco(&[&["gov", "members"][..], &who, &at].concat());
    assert_eq!(told.matches("a bank").count(), 3, "{told}");
    let told = coco(&[&["gov", "show", &proposal][..], &who, &at].concat());
    assert!(told.contains("set_identity_disclosure"), "{told}");
    let told = coco(&[&["gov", "members"][..], &at].concat());
    assert!(!told.contains("a bank"), "{told}");
}
