//! Sub-commands and the actions that they propose.

use std::collections::BTreeSet;
use std::fs;

use clap::Parser;

use super::*;
use crate::commands::gov::Command;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What stands behind `coco gov propose`, with the options that stand behind all of it.
fn parsed(line: &str) -> Result<Action, clap::Error> {
    let options = ["--api", "https://127.0.0.1:1", "--service", "s", "--cert", "c", "--key", "k"];
    let words = ["gov", "propose"].into_iter().chain(line.split(' ')).chain(options);
    match Line::try_parse_from(words)?.command {
        Command::Propose { action, .. } => Ok(action),
        other => panic!("{other:?}"),
    }
}

/// One for each action: FILE stands for a file that holds a JSON object, BUNDLE for one that holds an application, ID for 64 digits, LONG for 96 and SHORT for 32.
const EXAMPLES: &[&str] = &[
    "open FILE",
    "set-member FILE --name Bank",
    "remove-member ID",
    "set-member-data ID {}",
    "set-participant FILE",
    "remove-participant ID",
    "set-user FILE --name Broker",
    "remove-user ID",
    "set-user-data ID {}",
    "set-jwt-issuer https://id.example --jwks FILE",
    "set-jwt-keys https://id.example FILE",
    "remove-jwt-issuer https://id.example",
    "set-ca-cert-bundle roots FILE",
    "remove-ca-cert-bundle roots",
    "assert-service-identity FILE",
    "set-js-app --bundle BUNDLE",
    "remove-js-app",
    "refresh-js-app-bytecode-cache",
    "set-js-runtime-options --max-heap-bytes 1 --max-stack-bytes 1 --max-execution-time-ms 1",
    "set-voting-policy unanimous",
    "set-constitution FILE",
    "add-virtual-measurement ID",
    "remove-virtual-measurement ID",
    "add-virtual-host-data ID",
    "remove-virtual-host-data ID",
    "add-snp-measurement LONG",
    "remove-snp-measurement LONG",
    "add-snp-host-data --security-policy FILE",
    "remove-snp-host-data ID",
    "add-snp-uvm-endorsement did:x509:0:sha256:x feed 7",
    "remove-snp-uvm-endorsement did:x509:0:sha256:x feed",
    "set-snp-minimum-tcb 00a00f11 {}",
    "set-snp-minimum-tcb 00a00f11 0400000000001873",
    "remove-snp-minimum-tcb 00a00f11",
    "add-node-code ID",
    "remove-node-code ID",
    "add-tdx-image LONG --rtmr 1=LONG --mrowner LONG",
    "remove-tdx-image LONG",
    "add-vbs-module --unique ID",
    "remove-vbs-module --author ID --family SHORT --image SHORT --min-svn 3",
    "set-attestation-policy tdx FILE",
    "set-attestation-anchors intel ID",
    "set-cca-anchor LONG --implementation ID --platform-key LONG",
    "remove-cca-anchor LONG",
    "add-ledger sawtooth --genesis FILE",
    "remove-ledger sawtooth --reason unused",
    "freeze-ledger sawtooth --reason audit",
    "unfreeze-ledger sawtooth",
    "set-ledger-family sawtooth intkey 1.0 --tier process --in-plain-text --namespace 1cf126",
    "remove-ledger-family sawtooth intkey 1.0",
    "set-ledger-account ethereum * send",
    "remove-ledger-account ethereum *",
    "set-ledger-setting sawtooth key value",
    "set-namespace-readers sawtooth 1cf126 --reader auditor",
    "remove-node ID",
    "rekey-ledger",
    "rotate-service-identity",
    "renew-service-certificate --from 20261231235959Z",
    "renew-node-certificates --from 20261231235959Z",
    "renew-node-certificates ID --from 20261231235959Z --days 9",
    "refresh-shares",
    "set-epoch-policy --max-age 60",
    "set-recovery-threshold 2",
    "set-share-holders participants",
    "grant-epoch 7 --to FILE --name Auditor",
    "read-only --reason emergency",
    "lift-read-only",
    "publish-map records",
    "unpublish-map records",
    "set-identity-disclosure --bindings members",
    "set-resume-policy --forbid",
    "set-node-admission vote",
    "trust-node ID",
    "set-automatic-votes --nodes-per-member 2",
    "set-node-data ID {}",
    "set-lease-policy --period 60",
    "end-chunk",
    "snapshot",
    "set-proposals-window 50",
];

#[test]
fn every_action_of_the_constitution_has_a_sub_command() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "{}").unwrap();
    let path = file.path().to_str().unwrap();
    let bundle = tempfile::NamedTempFile::new().unwrap();
    fs::write(bundle.path(), r#"{"metadata": {"endpoints": {}}, "modules": []}"#).unwrap();
    let bundle = bundle.path().to_str().unwrap();
    let meant = [
        ("FILE", path),
        ("BUNDLE", bundle),
        ("ID", &"ab".repeat(32)),
        ("LONG", &"cd".repeat(48)),
        ("SHORT", &"ef".repeat(16)),
    ];
    let mut proposed = BTreeSet::new();
    for example in EXAMPLES {
        let line = meant.iter().fold((*example).to_owned(), |line, (word, meaning)| line.replace(word, meaning));
        let action = parsed(&line).unwrap_or_else(|error| panic!("{example}: {error}"));
        let proposal: Value = serde_json::from_str(&action.proposal().unwrap()).unwrap();
        proposed.insert(proposal["actions"][0]["name"].as_str().unwrap().to_owned());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../constitution/actions");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let known: BTreeSet<String> = files
        .filter_map(|name| Some(name.strip_suffix(".js")?.to_owned()))
        .filter(|name| !name.ends_with(".test"))
        .collect();
    assert_eq!(proposed, known);
}

#[test]
fn images_and_modules_become_rules_of_the_policy() {
    let of = |line: &str| {
        let proposal: Value = serde_json::from_str(&parsed(line).unwrap().proposal().unwrap()).unwrap();
        proposal["actions"][0]["args"].clone()
    };
    let image = json!({"mrtd": "ab", "rtmrs": {"0": "cd", "2": "ef"}, "mrconfigid": "01"});
    assert_eq!(of("add-tdx-image ab --rtmr 0=cd --rtmr 2=ef --mrconfigid 01"), image);
    let module = json!({"author_id": "a", "family_id": "f", "image_id": "i", "min_svn": 2});
    assert_eq!(of("add-vbs-module --author a --family f --image i --min-svn 2"), module);
    for incomplete in
        ["add-vbs-module", "add-vbs-module --author a", "add-vbs-module --unique u --author a", "add-tdx-image"]
    {
        assert!(parsed(incomplete).is_err(), "{incomplete}");
    }
}

#[test]
fn arguments_become_what_the_constitution_takes() {
    let id = "A".repeat(64);
    let of_role = vec![RoleCount("auditor".to_owned(), 1), RoleCount("bank".to_owned(), 2)];
    for (action, expected) in [
        (
            Action::RemoveMember { member: id.parse().unwrap() },
            json!({"name": "remove_member", "args": {"member_id": "a".repeat(64)}}),
        ),
        (
            Action::SetVotingPolicy { policy: Policy::MOfN, required: Some(2), role: None, of_role: vec![] },
            json!({"name": "set_voting_policy", "args": {"policy": "m_of_n", "required": 2}}),
        ),
        (
            Action::SetVotingPolicy { policy: Policy::Roles, required: None, role: None, of_role },
            json!({"name": "set_voting_policy", "args": {"policy": "roles", "required": {"auditor": 1, "bank": 2}}}),
        ),
        (
            Action::SetIdentityDisclosure {
                member_certificates: None,
                member_encryption_keys: None,
                member_data: Some(Audience::Callers),
                participants: Some(Audience::Members),
                proposals: None,
                bindings: None,
            },
            json!({"name": "set_identity_disclosure", "args": {"member_data": "callers", "participants": "members"}}),
        ),
        (
            Action::Ledgers(Ledgers::AddLedger { ledger: "sawtooth".to_owned(), genesis: None }),
            json!({"name": "add_ledger", "args": {"ledger": "sawtooth", "genesis": {}}}),
        ),
        (
            Action::SetJwtIssuer {
                issuer: "https://id.example".to_owned(),
                jwks: None,
                audience: vec!["coco".to_owned()],
                refresher: vec![id.parse().unwrap()],
            },
            json!({"name": "set_jwt_issuer", "args": {
                "issuer": "https://id.example", "audience": ["coco"], "refreshers": ["a".repeat(64)],
            }}),
        ),
        (
            Action::SetMemberData { member: id.parse().unwrap(), data: "{\"role\": \"bank\"}".to_owned() },
            json!({"name": "set_member_data", "args": {"member_id": "a".repeat(64), "member_data": {"role": "bank"}}}),
        ),
    ] {
        let proposal: Value = serde_json::from_str(&action.proposal().unwrap()).unwrap();
        assert_eq!(proposal, json!({ "actions": [expected] }));
    }
}

#[test]
fn what_is_no_id_and_no_data_is_refused_before_anything_is_signed() {
    assert!("abc".parse::<Id>().is_err());
    assert!("bank".parse::<RoleCount>().is_err());
    let member: Id = "a".repeat(64).parse().unwrap();
    assert!(Action::SetMemberData { member, data: "[]".to_owned() }.proposal().is_err());
}
