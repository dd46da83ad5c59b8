//! Certificates of nodes that a script asks for with the nodes' own requests, as constitutions written for CCF do.

use coco_attestation::cmw::EXTENSION_OID;
use coco_crypto::{Certificate, Validity};
use coco_node::config::Start;
use serde_json::json;

use crate::client::Client;
use crate::node::{Network, Process};
use crate::{coco, until};

/// As CCF's `set_all_nodes_certificate_validity` has it.
const ENDORSING: &str = r#"
actions.set("endorse_all", {
  validate() {},
  apply({ from, days }) {
    ccf.kv["public:ccf.gov.nodes.info"].forEach((row, node) => {
      const info = ccf.bufToJsonCompatible(row);
      if (info.status !== "Trusted") return;
      if (info.certificate_signing_request === undefined) throw new Error("a node has no certificate signing request");
      const certificate = ccf.network.generateEndorsedCertificate(info.certificate_signing_request, from, days);
      ccf.kv["public:ccf.gov.nodes.endorsed_certificates"].set(node, ccf.strToBuf(certificate));
    });
  },
  describe: () => "Endorse every node anew",
});
"#;
const DAY_S: u64 = 86_400;

#[test]
fn founder_and_joiner_show_the_certificates_that_a_constitution_written_for_ccf_asks_for() {
    let mut network = Network::found([("records".to_owned(), json!({}))].into());
    let start = Start::Join {
        targets: vec![network.config().listen.api],
        service_certificate: network.service(),
        constitution_digest: None,
    };
    let joining = network.another(1, start);
    let joiner = Process::start(&joining, network.folder());
    let service = Certificate::from_pem(&std::fs::read_to_string(network.service()).unwrap()).unwrap();
    let nodes = [network.client().clone(), Client::new(joining.listen.api, &service)];
    until("two voters", || {
        let nodes = network.client().json("/node/network/nodes")?;
        (nodes["nodes"].as_array()?.len() == 2).then_some(())
    });
    let before: Vec<_> = nodes.iter().map(|node| until("a certificate", || node.shown().ok())).collect();

    let constitution = network.get("service/constitution").text() + ENDORSING;
    for action in [
        json!({ "name": "set_constitution", "args": { "constitution": constitution } }),
        json!({ "name": "endorse_all", "args": { "from": "20261101000000Z", "days": 30 } }),
    ] {
        let decided = network.decides(&json!([action]));
        assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    }
    let from_s = 1_793_491_200;
    let voted = Validity { not_before: from_s, not_after: from_s + 30 * DAY_S };
    for (node, before) in nodes.iter().zip(&before) {
        let after = until("the new certificate", || node.shown().ok().filter(|shown| shown.validity() == voted));
        assert_eq!(after.public_key(), before.public_key());
        assert_eq!(after.common_name(), before.common_name());
        assert_eq!(after.subject_alt_names(), before.subject_alt_names());
        assert!(before.extension(&EXTENSION_OID).is_some(), "no evidence");
        assert_eq!(after.extension(&EXTENSION_OID), before.extension(&EXTENSION_OID));
    }
    let put = network.client().call("PUT", "/app/records/a", b"1").unwrap();
    assert_eq!(put.status, 204, "{}", put.text());
    joiner.end();
    network.stop();
    let (ledger, service) = (network.ledger(), network.service());
    let told = coco(&["ledger", "verify", ledger.to_str().unwrap(), "--service", service.to_str().unwrap()]);
    assert!(told.contains("all confirmed") && told.contains("endorse_all: Accepted"), "{told}");
}
