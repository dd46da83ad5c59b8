//! The network: its processes, its members, and what it says of its nodes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coco_attestation::collateral::CollateralItem;
use coco_attestation::{Rules, TeeKind};
use coco_crypto::{Certificate, Curve, SigningKey, SystemCrypto, Validity, self_signed_certificate};
use coco_node::config::{Actor, Genesis, Listen, NodeConfig, Start};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::node::{CONFIG, DEVICES, KIND, REMOVED};
use crate::until;
use crate::vendors::Vendors;

/// The test's name that child processes are started with.
const NODE_TEST: &str = "a_node_of_the_network_runs_where_it_is_told_to";

/// How each kind stands: `trusted`, `at_risk`, `overdue`, `retired`.
pub type Standing = BTreeMap<String, String>;

pub struct Network {
    folder: tempfile::TempDir,
    service: Certificate,
    nodes: BTreeMap<&'static str, Node>,
}

struct Node {
    index: u32,
    child: Child,
    data: PathBuf,
    client: Client,
}

impl Network {
    /// One node, judged by its own genesis; one member, who opens the service.
    pub fn found(vendors: &Vendors, kind: TeeKind, rules: &Rules) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let genesis = folder.path().join("genesis.json");
        fs::write(&genesis, serde_json::to_vec(&genesis_of(folder.path(), rules)).unwrap()).unwrap();
        let (child, config) = start(folder.path(), vendors, kind, 0, Start::New { genesis });
        let certificate = config.data.join("service_certificate.pem");
        let service =
            until("the founder's service", || Certificate::from_pem(&fs::read_to_string(&certificate).ok()?).ok());
        let client = Client::new(config.listen.api, &service);
        let nodes = [(kind.as_str(), Node { index: 0, child, data: config.data, client })].into();
        let network = Self { folder, service, nodes };
        fs::write(network.path("service_certificate.pem"), network.service.to_pem()).unwrap();
        network.is_in_place(kind);
        until("the founder leads an open network", || {
            let said = network.node(kind).client.json("/node/network")?;
            (said["service_status"] == "Open" && !said["primary_id"].is_null()).then_some(())
        });
        network.member(&["gov", "ack"]);
        network
    }

    pub fn join(&mut self, vendors: &Vendors, kind: TeeKind) {
        let index = u32::try_from(self.nodes.len()).unwrap();
        let targets = self.clients().iter().map(|client| client.node).collect();
        let service_certificate = self.path("service_certificate.pem");
        let how = Start::Join { targets, service_certificate, constitution_digest: None };
        let (child, config) = start(self.folder.path(), vendors, kind, index, how);
        let client = Client::new(config.listen.api, &self.service);
        self.nodes.insert(kind.as_str(), Node { index, child, data: config.data, client });
        self.is_in_place(kind);
    }

    /// Whether the key to what this node keeps lies beside it.
    pub fn keeps_its_key_beside(&self, kind: TeeKind) -> bool {
        self.node(kind).data.join("sealing.key").exists()
    }

    fn is_in_place(&self, kind: TeeKind) {
        until(&format!("the {kind} node takes part"), || {
            let state = self.node(kind).client.json("/node/state")?;
            (state["state"] == "PartOfNetwork").then_some(())
        });
    }

    /// Of the nodes that run.
    pub fn clients(&self) -> Vec<Client> {
        self.nodes.values().map(|node| node.client.clone()).collect()
    }

    pub fn clients_but(&self, kind: TeeKind) -> Vec<Client> {
        let others = self.nodes.iter().filter(|(name, _)| **name != kind.as_str());
        others.map(|(_, node)| node.client.clone()).collect()
    }

    fn node(&self, kind: TeeKind) -> &Node {
        &self.nodes[kind.as_str()]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As any node says that can be asked.
    pub fn standing(&self) -> Standing {
        until("a judgement of every node", || {
            let judgements = self.clients().iter().find_map(|client| client.json("/node/attestations/judgements"))?;
            let one = |judgement: &Value| {
                let appraisal = &judgement["appraisal"];
                let text = |value: &Value| value.as_str().map(str::to_owned);
                Some((text(&appraisal["kind"])?, text(&appraisal["state"]["state"])?))
            };
            judgements.as_object()?.values().map(one).collect()
        })
    }

    pub fn waits_until(&self, what: &str, holds: impl Fn(&Standing) -> bool) {
        until(what, || holds(&self.standing()).then_some(()));
    }

    /// The retired node's process has noticed, and is gone.
    pub fn ended_by_removal(&mut self, kind: TeeKind) {
        let mut node = self.nodes.remove(kind.as_str()).unwrap();
        let status = until(&format!("the {kind} node ends"), || node.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(REMOVED));
    }

    pub fn submit_collateral(&self, at: TeeKind, item: &CollateralItem) -> Answer {
        let body = serde_json::to_vec(item).unwrap();
        self.node(at).client.call("POST", "/node/attestations/collateral", &body).unwrap()
    }

    /// The member proposes and votes, at whatever node.
    pub fn vote(&self, section: &str, policy: Value) {
        let proposal = self.path("proposal.json");
        let action = json!({ "name": "set_attestation_policy", "args": { "section": section, "policy": policy } });
        fs::write(&proposal, json!({ "actions": [action] }).to_string()).unwrap();
        let told = self.member(&["gov", "propose", "file", proposal.to_str().unwrap(), "--output", "json"]);
        let proposal: Value = serde_json::from_str(&told).unwrap();
        if proposal["proposalState"] != "Accepted" {
            let voted = self.member(&["gov", "vote", proposal["proposalId"].as_str().unwrap(), "--yes"]);
            assert!(voted.contains("Accepted"), "{voted}");
        }
    }

    /// What `coco node explain` says of a node.
    pub fn explains(&self, kind: TeeKind) -> String {
        self.command(&["node", "explain", &self.node(kind).index.to_string()])
    }

    /// What `coco attest verify` says of a node, as JSON.
    pub fn verify_from_outside(&self, kind: TeeKind) -> Value {
        let url = format!("https://{}", self.node(kind).client.node);
        let service = self.path("service_certificate.pem");
        let told = coco(&["attest", "verify", &url, "--service", service.to_str().unwrap(), "--output", "json"]);
        serde_json::from_str(&told).unwrap()
    }

    /// Ends every node well, and gives the ledger of one of them.
    pub fn stop_and_take_ledger(mut self, kind: TeeKind) -> tempfile::TempDir {
        for node in self.nodes.values_mut() {
            drop(node.child.stdin.take());
        }
        for node in self.nodes.values_mut() {
            assert!(node.child.wait().unwrap().success());
        }
        let taken = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.node(kind).data.join("ledger")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), taken.path().join(entry.file_name())).unwrap();
        }
        taken
    }

    fn member(&self, command: &[&str]) -> String {
        let (certificate, key) = (self.path("member_cert.pem"), self.path("member_privk.pem"));
        let who = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
        self.command(&[command, &who].concat())
    }

    /// At some node that runs.
    fn command(&self, command: &[&str]) -> String {
        let url = format!("https://{}", self.nodes.values().last().unwrap().client.node);
        let service = self.path("service_certificate.pem");
        coco(&[command, &["--api", &url, "--service", service.to_str().unwrap()]].concat())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for (kind, node) in &mut self.nodes {
            // An error means that it has ended.
            drop(node.child.kill());
            drop(node.child.wait());
            if std::thread::panicking() {
                let log = fs::read_to_string(self.folder.path().join(format!("{kind}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("{kind}:\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
            }
        }
    }
}

/// The command, which must succeed; what it prints.
pub fn coco(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_coco")).args(arguments).env("NO_COLOR", "1").output().unwrap();
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {error}{out}");
    out
}

fn start(folder: &Path, vendors: &Vendors, kind: TeeKind, index: u32, start: Start) -> (Child, NodeConfig) {
    let config = NodeConfig {
        index,
        data: folder.join(kind.as_str()),
        listen: free_addresses(),
        start,
        role: Default::default(),
        timing: Default::default(),
        amd_certificates: None,
        read_only_ledger_directories: Vec::new(),
        sealing_key_file: false,
        virtual_host_data: None,
        snapshot_bytes: coco_types::limits::SNAPSHOT_LEDGER_BYTES,
        dev: false,
        ledgers: BTreeMap::new(),
    };
    let file = folder.join(format!("{kind}.toml"));
    fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
    let log = File::create(folder.join(format!("{kind}.log"))).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NODE_TEST, "--nocapture"])
        .env(CONFIG, file)
        .env(KIND, kind.as_str())
        .env(DEVICES, vendors.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    (child, config)
}

/// Of an address that this process alone uses: what connects out, which takes any free port, does so from another one.
fn free_addresses() -> Listen {
    let [_, _, middle, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 88, middle, low.max(1));
    let listeners = [(); 3].map(|()| TcpListener::bind((address, 0)).unwrap());
    let [api, peers, admin] = listeners.map(|listener| listener.local_addr().unwrap());
    Listen { api, gov: None, peers, admin, ledgers: BTreeMap::<String, SocketAddr>::new() }
}

fn genesis_of(folder: &Path, rules: &Rules) -> Genesis {
    let key = SigningKey::generate(&SystemCrypto, Curve::P384);
    let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
    let certificate = self_signed_certificate(&SystemCrypto, &key, "member", &[], validity, &[]).unwrap();
    fs::write(folder.join("member_privk.pem"), key.to_pem().as_bytes()).unwrap();
    fs::write(folder.join("member_cert.pem"), certificate.to_pem()).unwrap();
    let member = Actor {
        certificate: certificate.to_pem(),
        data: json!({ "name": "member" }),
        encryption_public_key: None,
        recovery_role: None,
    };
    Genesis {
        name: "A network of five TEEs".to_owned(),
        members: vec![member],
        participants: Vec::new(),
        recovery_threshold: None,
        virtual_measurements: Vec::new(),
        attestation: rules.clone(),
        constitution: None,
        opens_at_once: true,
        chunk_bytes: coco_types::limits::CHUNK_BYTES,
        resume: Default::default(),
        swap_interval_ms: coco_types::limits::SWAP_INTERVAL_MS,
        ledgers: [("records".to_owned(), json!({}))].into(),
    }
}
