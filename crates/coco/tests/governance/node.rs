//! A network of one node, which runs what `coco node start` runs in a process of its own, and its members, who sign as `coco gov` does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::{env, thread};

use coco_app::App;
use coco_crypto::{Certificate, Crypto, Curve, SigningKey, SystemCrypto, Validity, self_signed_certificate};
use coco_governance::Draft;
use coco_node::config::{Actor, Genesis, Listen, NodeConfig, Start};
use coco_records::Records;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::until;

/// When members sign, by clocks that are late: a node takes no dates of the future.
pub const NOW_S: u64 = 1_700_000_000;
const VERSION: &str = "api-version=2024-07-01";
pub const YES: &str = "export function vote() { return true }";

pub struct Member {
    pub key: SigningKey,
    pub certificate: Certificate,
    pub id: String,
}

/// A running node, and the folder that it is started again with.
pub struct Network {
    pub members: Vec<Member>,
    folder: tempfile::TempDir,
    config: NodeConfig,
    running: Option<Process>,
    client: Option<Client>,
    clock: std::cell::Cell<u64>,
}

/// The test's name that child processes are started with, and the configuration file that they are told.
const NODE_TEST: &str = "node::a_node_of_the_network_runs_where_it_is_told_to";
const CONFIG: &str = "COCO_TEST_GOVERNED_NODE";

/// A node in a process of its own: this executable again, and so the same code to whoever judges it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn start(config: &NodeConfig, folder: &Path) -> Self {
        let (file, log) =
            (folder.join(format!("node{}.toml", config.index)), folder.join(format!("node{}.log", config.index)));
        fs::write(&file, toml::to_string(config).unwrap()).unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", NODE_TEST, "--nocapture"])
            .env(CONFIG, file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub fn says(&mut self, what: &str) {
        until(what, || {
            assert_eq!(self.child.try_wait().unwrap(), None, "{}", fs::read_to_string(&self.log).unwrap());
            fs::read_to_string(&self.log).unwrap().contains(what).then_some(())
        });
    }

    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Without what child processes are told, it does nothing.
#[test]
fn a_node_of_the_network_runs_where_it_is_told_to() {
    let Ok(config) = env::var(CONFIG) else { return };
    let config: NodeConfig = toml::from_str(&fs::read_to_string(config).unwrap()).unwrap();
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    let (stop, stopped) = std::sync::mpsc::channel();
    // It does not outlive the test.
    thread::spawn(move || {
        drop(io::stdin().lock().read_to_end(&mut Vec::new()));
        let _ = stop.send(());
    });
    let random = Arc::new(|bytes: &mut [u8]| SystemCrypto.fill(bytes));
    let app = App::new(random, coco_app::Workers::Threads);
    coco_node::run(config, vec![Arc::new(Records), Arc::new(app)], &stopped).unwrap();
}

impl Member {
    pub fn new(name: &str) -> Self {
        let key = SigningKey::generate(&SystemCrypto, Curve::P384);
        let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
        let certificate = self_signed_certificate(&SystemCrypto, &key, name, &[], validity, &[]).unwrap();
        Self { id: certificate.fingerprint().to_string(), key, certificate }
    }

    pub fn signs(&self, kind: &str, proposal: Option<&str>, created_at: u64, payload: &str) -> Vec<u8> {
        let draft = Draft {
            key_id: self.id.clone(),
            kind: kind.to_owned(),
            proposal_id: proposal.map(str::to_owned),
            created_at,
            payload: payload.as_bytes().to_vec(),
        };
        draft.sign(&SystemCrypto, &self.key)
    }
}

impl Network {
    /// Founded by three members, who are all active, with these ledgers.
    pub fn found(ledgers: BTreeMap<String, Value>) -> Self {
        Self::found_with(ledgers, None)
    }

    /// The first member may hold the only recovery share.
    pub fn found_with(ledgers: BTreeMap<String, Value>, encryption_key: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let members: Vec<_> = ["anna", "bert", "carl"].map(Member::new).into();
        let actor = |(at, member): (usize, &Member)| Actor {
            certificate: member.certificate.to_pem(),
            data: json!({ "of": "a bank" }),
            encryption_public_key: encryption_key.clone().filter(|_| at == 0),
            recovery_role: None,
        };
        let genesis = Genesis {
            name: "three members".to_owned(),
            members: members.iter().enumerate().map(actor).collect(),
            participants: Vec::new(),
            recovery_threshold: None,
            virtual_measurements: vec![coco_node::shell::own_measurement().unwrap().to_string()],
            attestation: Default::default(),
            constitution: None,
            opens_at_once: false,
            chunk_bytes: coco_types::limits::CHUNK_BYTES,
            resume: Default::default(),
            swap_interval_ms: coco_types::limits::SWAP_INTERVAL_MS,
            ledgers,
        };
        let file = folder.path().join("genesis.json");
        fs::write(&file, serde_json::to_vec(&genesis).unwrap()).unwrap();
        let config = NodeConfig {
            index: 0,
            data: folder.path().join("node"),
            listen: free_addresses(),
            start: Start::New { genesis: file },
            role: Default::default(),
            timing: Default::default(),
            amd_certificates: None,
            read_only_ledger_directories: Vec::new(),
            sealing_key_file: false,
            virtual_host_data: None,
            snapshot_bytes: coco_types::limits::SNAPSHOT_LEDGER_BYTES,
            dev: true,
            ledgers: BTreeMap::new(),
        };
        let clock = std::cell::Cell::new(NOW_S);
        let mut network = Self { members, folder, config, running: None, client: None, clock };
        network.start();
        network.acknowledge();
        network.open();
        network
    }

    /// By its members' votes, as every network that is meant.
    fn open(&self) {
        let identity = fs::read_to_string(self.service()).unwrap();
        let open = json!([{ "name": "transition_service_to_open", "args": { "next_service_identity": identity } }]);
        assert_eq!(self.decides(&open).json()["proposalState"], "Accepted");
        until("the open service", || (self.client().json("/node/network")?["service_status"] == "Open").then_some(()));
    }

    /// Starts the node over what is in its folder.
    pub fn start(&mut self) {
        self.running = Some(Process::start(&self.config, self.folder.path()));
        let file = self.config.data.join("service_certificate.pem");
        let service = until("the service", || Certificate::from_pem(&fs::read_to_string(&file).ok()?).ok());
        let client = Client::new(self.config.listen.api, &service);
        until("the node leads", || (!client.json("/node/network")?["primary_id"].is_null()).then_some(()));
        self.client = Some(client);
    }

    pub fn stop(&mut self) {
        self.running.take().unwrap().end();
    }

    fn acknowledge(&self) {
        for member in &self.members {
            let path = format!("members/state-digests/{}", member.id);
            let asked = member.signs("state_digest", None, NOW_S, "");
            let digest = until("a signed root", || {
                let answer = self.post(&format!("{path}:update"), &asked);
                answer.json()["stateDigest"].as_str().map(str::to_owned)
            });
            let payload = json!({ "stateDigest": digest }).to_string();
            let answer = self.post(&format!("{path}:ack"), &member.signs("ack", None, NOW_S, &payload));
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
    }

    pub fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Asks another node from here on.
    pub fn ask(&mut self, client: Client) {
        self.client = Some(client);
    }

    /// The configuration of another node.
    pub fn another(&self, index: u32, start: Start) -> NodeConfig {
        let data = self.folder.path().join(format!("node{index}"));
        NodeConfig { index, data, listen: free_addresses(), start, ..self.config.clone() }
    }

    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// From its next start on, the node governs at another listener: its address.
    pub fn govern_apart(&mut self) -> SocketAddr {
        // Its certificate names the host that its API has.
        let listener = TcpListener::bind((self.config.listen.api.ip(), 0)).unwrap();
        *self.config.listen.gov.insert(listener.local_addr().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn service(&self) -> PathBuf {
        self.config.data.join("service_certificate.pem")
    }

    pub fn ledger(&self) -> PathBuf {
        self.config.data.join("ledger")
    }

    pub fn post(&self, path: &str, message: &[u8]) -> Answer {
        self.post_as(path, "application/cose", message)
    }

    pub fn post_as(&self, path: &str, content_type: &str, message: &[u8]) -> Answer {
        self.client().call_as("POST", &format!("/gov/{path}?{VERSION}"), content_type, message).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.client().call("GET", &format!("/gov/{path}?{VERSION}"), b"").unwrap()
    }

    /// Later than any before.
    pub fn now_s(&self) -> u64 {
        self.clock.replace(self.clock.get() + 1)
    }

    pub fn propose(&self, member: usize, actions: &Value) -> Answer {
        let text = json!({ "actions": actions }).to_string();
        self.post("members/proposals:create", &self.members[member].signs("proposal", None, self.now_s(), &text))
    }

    pub fn vote(&self, member: usize, proposal: &str, ballot: &str) -> Answer {
        let message = self.signed_vote(member, proposal, ballot);
        let member = &self.members[member];
        self.post(&format!("members/proposals/{proposal}/ballots/{}:submit", member.id), &message)
    }

    pub fn signed_vote(&self, member: usize, proposal: &str, ballot: &str) -> Vec<u8> {
        let payload = json!({ "ballot": ballot }).to_string();
        self.members[member].signs("ballot", Some(proposal), self.now_s(), &payload)
    }

    /// How often the clock of the node's consensus has ticked.
    pub fn ticks(&self) -> u64 {
        let mut socket = TcpStream::connect(self.config.listen.admin).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("coco_tick_delay_seconds_count "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }

    /// A majority wants it; the state that it ends in.
    pub fn decides(&self, actions: &Value) -> Answer {
        let proposed = self.propose(0, actions);
        assert_eq!(proposed.status, 200, "{}", proposed.text());
        let id = id_of(&proposed);
        let first = self.vote(0, &id, YES);
        if first.json()["proposalState"] == "Accepted" { first } else { self.vote(1, &id, YES) }
    }

    /// Everything that governance could have changed.
    pub fn shown(&self) -> Vec<String> {
        let paths = ["members/proposals", "service/members", "service/constitution", "service/info", "service/users"];
        paths.map(|path| self.get(path).text()).into()
    }

    /// Clients are served as before.
    pub fn is_unharmed(&self) {
        let answer = self.client().call("PUT", "/app/records/still", b"here").unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

pub fn id_of(answer: &Answer) -> String {
    answer.json()["proposalId"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

/// Of an address that nobody else uses, so that nobody who connects out is given one of its ports.
fn free_addresses() -> Listen {
    static NODES: AtomicU8 = AtomicU8::new(0);
    let [_, _, middle, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 90 + NODES.fetch_add(1, Ordering::Relaxed) % 100, middle, low.max(1));
    let listeners = [(); 3].map(|()| TcpListener::bind((address, 0)).unwrap());
    let [api, peers, admin] = listeners.map(|listener| listener.local_addr().unwrap());
    Listen { api, gov: None, peers, admin, ledgers: BTreeMap::new() }
}
