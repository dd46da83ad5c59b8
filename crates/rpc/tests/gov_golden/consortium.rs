//! A consortium without nodes: the governance of the product on a store of rows, at a time that stands still, with keys from a seed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::{BoundFacts, EvidenceSource, ReportData, TeeKind};
use coco_crypto::{
    Certificate, Crypto, Curve, DecryptionKey, ExchangeKey, SeededCrypto, SigningKey, SymmetricKey, Validity,
    self_signed_certificate, self_signed_service_certificate, sha256,
};
use coco_governance::secrets::{self, Vault};
use coco_governance::{
    Addresses, Code, Draft, Facts, Founding, FoundingActor, Network, News, NodeInfo, NodeRow, NodeStatus, Recovery,
    Refusal, Request, Session, SharesRow, constitution,
};
use coco_kv::{Snapshot, Store, Tx};
use coco_protocol::{
    Caller, Earlier, Feed, Gate, Idempotent, Identity, OpenGate, Rejection, Service, Socket, SocketClosed,
    TransactionStatus,
};
use coco_rpc::endpoints::{GovApi, GovEndpoints, Governed, Listener, Past};
use coco_types::{Digest, ReplicaId, Seqno, TxId, View};
use http::{Method, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};

pub const NOW_S: u64 = 1_700_000_000;
const ROOT: Digest = Digest([7; 32]);
const VIEW: View = View(2);
const VALIDITY: Validity = Validity { not_before: 0, not_after: 4_000_000_000 };
const VERSION: &str = "api-version=2024-07-01";
/// Keys of RSA cannot be drawn from a seed.
const SHARE_KEYS: [&str; 2] = [
    include_str!("../../testdata/gov/member0_enc_privk.pem"),
    include_str!("../../testdata/gov/member1_enc_privk.pem"),
];

/// Two members that hold recovery shares, a third that has not acknowledged anything yet, and a participant.
pub struct Consortium {
    pub members: Vec<Member>,
    pub participant: String,
    api: Arc<Api>,
    sent: Mutex<u64>,
    /// What requests have in their `Idempotency-Key`.
    key: Mutex<Option<&'static str>>,
    /// What the next one has in its `Last-Event-ID`.
    last_event_id: Mutex<Option<&'static str>>,
}

pub struct Member {
    pub id: String,
    key: SigningKey,
    share_key: Option<DecryptionKey>,
}

/// What `/gov` asks of the node: here evaluated at once, and every effect is committed.
struct Api {
    crypto: Arc<dyn Crypto>,
    store: Store,
    vault: Mutex<Vault>,
    mood: Mutex<Mood>,
    news: Mutex<Vec<(TxId, Vec<News>)>>,
    listeners: Mutex<Vec<Listener>>,
}

/// What may be wrong with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Its ledger has no signature yet.
    Unsigned,
    /// With the first request of this key.
    Busy,
    NoPrimary,
    PrimaryLost,
}

/// What a client of a response that goes on has heard.
#[derive(Default)]
struct Heard {
    texts: Mutex<Vec<String>>,
}

impl Socket for Heard {
    fn send(&self, text: String) -> Result<(), SocketClosed> {
        self.texts.lock().push(text);
        Ok(())
    }

    fn finish(&self) {
        self.texts.lock().push("(the end)".to_owned());
    }
}

/// One request and what it was answered.
pub struct Exchange {
    pub method: Method,
    pub uri: String,
    pub content_type: &'static str,
    pub key: Option<&'static str>,
    pub last_event_id: Option<&'static str>,
    /// What was signed, where the body is signed.
    pub signed: Option<Value>,
    pub body: Bytes,
    pub response: Response<Bytes>,
}

impl Consortium {
    pub fn found() -> Self {
        let seeded = SeededCrypto::new(11);
        let crypto: Arc<dyn Crypto> = Arc::new(SeededCrypto::new(12));
        let share_key = |at: usize| SHARE_KEYS.get(at).map(|pem| DecryptionKey::from_pem(pem).unwrap());
        let actor = |curve, name: &str| {
            let key = SigningKey::generate(&seeded, curve);
            let certificate = self_signed_certificate(&seeded, &key, name, &[], VALIDITY, &[]).unwrap();
            (key, certificate)
        };
        let curves = [Curve::P256, Curve::P384, Curve::P384];
        let names = ["Bank A", "Bank B", "Bank C"];
        let made: Vec<_> = curves.into_iter().zip(names).map(|(curve, name)| actor(curve, name)).collect();
        let founding_actor = |(at, (_, certificate)): (usize, &(SigningKey, Certificate))| FoundingActor {
            certificate: certificate.to_pem(),
            data: json!({ "name": names[at] }),
            encryption_public_key: share_key(at).map(|key| key.public_pem()),
            recovery_role: None,
        };
        let members = made.iter().enumerate().map(founding_actor).collect();
        let (_, shop) = actor(Curve::P256, "Shop");
        let participant = shop.fingerprint().to_string();
        let shop = FoundingActor {
            certificate: shop.to_pem(),
            data: json!({ "name": "Shop" }),
            encryption_public_key: None,
            recovery_role: None,
        };
        let (vault, founding) = founding(&seeded, crypto.clone(), members, vec![shop]);
        let api = Api {
            crypto: crypto.clone(),
            store: Store::new(),
            vault: Mutex::new(vault.clone()),
            mood: Mutex::new(Mood::Well),
            news: Mutex::default(),
            listeners: Mutex::default(),
        };
        let secret = SymmetricKey::generate(crypto.as_ref());
        api.transaction(|tx, txid| {
            coco_governance::found(tx, &founding, NOW_S).unwrap();
            secrets::begin(tx, &vault, &secret, txid, NOW_S * 1000).unwrap();
        });
        let member = |(at, (key, certificate)): (usize, (SigningKey, Certificate))| Member {
            id: certificate.fingerprint().to_string(),
            key,
            share_key: share_key(at),
        };
        let members = made.into_iter().enumerate().map(member).collect();
        Self {
            members,
            participant,
            api: Arc::new(api),
            sent: Mutex::new(0),
            key: Mutex::new(None),
            last_event_id: Mutex::new(None),
        }
    }

    /// The first two members are active.
    pub fn acknowledged() -> Self {
        let consortium = Self::found();
        for member in 0..2 {
            let path = format!("members/state-digests/{}", consortium.members[member].id);
            consortium.post(member, "state_digest", None, b"", &format!("{path}:update"));
            let payload = json!({ "stateDigest": ROOT }).to_string();
            consortium.post(member, "ack", None, payload.as_bytes(), &format!("{path}:ack"));
        }
        consortium
    }

    /// And have opened the service.
    pub fn opened() -> Self {
        let consortium = Self::acknowledged();
        consortium.carry("transition_service_to_open", json!({ "next_service_identity": consortium.service() }));
        consortium
    }

    /// All nodes are lost and a new service waits for its members' shares.
    pub fn recovering() -> Self {
        let consortium = Self::opened();
        let past = consortium.service();
        consortium.api.lose_and_recover();
        let args = json!({ "next_service_identity": consortium.service(), "previous_service_identity": past });
        consortium.carry("transition_service_to_open", args);
        consortium
    }

    pub fn with_key(&self, key: &'static str) -> &Self {
        *self.key.lock() = Some(key);
        self
    }

    pub fn in_mood(self, mood: Mood) -> Self {
        *self.api.mood.lock() = mood;
        self
    }

    /// The first two members vote for it.
    pub fn carry(&self, action: &str, args: Value) {
        let id = self.proposed(action, args);
        for member in 0..2 {
            let state = json_of(&self.get(&format!("members/proposals/{id}")))["proposalState"].clone();
            if state == "Open" {
                self.vote(member, &id, true);
            }
        }
        let state = json_of(&self.get(&format!("members/proposals/{id}")))["proposalState"].clone();
        assert_eq!(state, "Accepted", "{action}");
    }

    /// The first member proposes it.
    pub fn proposed(&self, action: &str, args: Value) -> String {
        let answer = json_of(&self.propose(0, &json!({"actions": [{"name": action, "args": args}]})));
        answer["proposalId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub fn propose(&self, member: usize, proposal: &Value) -> Exchange {
        self.post(member, "proposal", None, proposal.to_string().as_bytes(), "members/proposals:create")
    }

    pub fn vote(&self, member: usize, proposal: &str, yes: bool) -> Exchange {
        let payload = json!({ "ballot": format!("export function vote() {{ return {yes} }}") }).to_string();
        self.post(member, "ballot", Some(proposal), payload.as_bytes(), &self.ballot_path(member, proposal))
    }

    pub fn ballot_path(&self, member: usize, proposal: &str) -> String {
        format!("members/proposals/{proposal}/ballots/{}:submit", self.members[member].id)
    }

    pub fn get(&self, path: &str) -> Exchange {
        self.send(Method::GET, path, "", Caller::Anonymous, None, Bytes::new())
    }

    /// Comes back to the events behind this one.
    pub fn follow_from(&self, id: &'static str) -> Exchange {
        *self.last_event_id.lock() = Some(id);
        self.get("events")
    }

    /// What somebody who follows is told while something is done.
    pub fn told_while(&self, caller: Caller, run: impl FnOnce(&Self)) -> Vec<String> {
        let exchange = self.send(Method::GET, "events", "", caller, None, Bytes::new());
        let feed = exchange.response.extensions().get::<Feed>().expect("the response goes on").clone();
        let heard = Arc::new(Heard::default());
        let following = feed.open(heard.clone());
        run(self);
        drop(following);
        let heard = heard.texts.lock();
        heard.clone()
    }

    /// A member's signed request. Each is dated a second after the one before.
    pub fn post(&self, member: usize, kind: &str, proposal: Option<&str>, payload: &[u8], path: &str) -> Exchange {
        *self.sent.lock() += 1;
        let created_at = NOW_S + *self.sent.lock();
        self.post_dated(member, kind, proposal, payload, path, created_at)
    }

    pub fn post_dated(
        &self,
        member: usize,
        kind: &str,
        proposal: Option<&str>,
        payload: &[u8],
        path: &str,
        created_at: u64,
    ) -> Exchange {
        let member = &self.members[member];
        let draft = Draft {
            key_id: member.id.clone(),
            kind: kind.to_owned(),
            proposal_id: proposal.map(str::to_owned),
            created_at,
            payload: payload.to_vec(),
        };
        let message = draft.sign(self.api.crypto.as_ref(), &member.key);
        let signed = json!({
            "kid": draft.key_id, "ccf.gov.msg.type": kind, "ccf.gov.msg.proposal_id": proposal,
            "ccf.gov.msg.created_at": created_at, "payload": String::from_utf8_lossy(payload),
        });
        self.send(Method::POST, path, "application/cose", Caller::Anonymous, Some(signed), message.into())
    }

    /// A request that no signature makes a member's, but the certificate on its connection.
    pub fn post_as_member(&self, path: &str, body: &Value) -> Exchange {
        let caller = Caller::Identified(vec![Identity::Member(self.members[0].id.clone())]);
        self.send(Method::POST, path, "application/json", caller, None, body.to_string().into())
    }

    pub fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        caller: Caller,
        signed: Option<Value>,
        body: Bytes,
    ) -> Exchange {
        let uri = if path.contains('?') { format!("/gov/{path}") } else { format!("/gov/{path}?{VERSION}") };
        let mut request = http::Request::builder().method(method.clone()).uri(&uri);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let key = *self.key.lock();
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let last_event_id = self.last_event_id.lock().take();
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answered = Arc::new(Mutex::new(None));
        let answer = answered.clone();
        let reply = Box::new(move |response| *answer.lock() = Some(response));
        GovEndpoints::new(self.api.clone()).call(caller, request.body(body.clone()).unwrap(), reply);
        let response = answered.lock().take().expect("answered at once");
        Exchange { method, uri, content_type, key, last_event_id, signed, body, response }
    }

    /// The service's certificate.
    pub fn service(&self) -> String {
        json_of(&self.get("service/info"))["certificate"].as_str().unwrap().to_owned()
    }

    /// A member's share, decrypted.
    pub fn share(&self, member: usize) -> String {
        let Member { id, share_key, .. } = &self.members[member];
        let row = SharesRow::read(&mut self.api.store.snapshot()).unwrap().unwrap();
        let encrypted = BASE64.decode(&row.encrypted_shares[id]).unwrap();
        BASE64.encode(&*share_key.as_ref().unwrap().decrypt(&encrypted).unwrap())
    }
}

pub fn json_of(exchange: &Exchange) -> Value {
    serde_json::from_slice(exchange.response.body()).unwrap_or_default()
}

impl Api {
    fn transaction(&self, write: impl FnOnce(&mut Tx, TxId)) -> TxId {
        let mut tx = self.store.begin();
        let txid = TxId::new(VIEW, self.store.newest().next());
        write(&mut tx, txid);
        self.commit(txid, &tx);
        txid
    }

    fn commit(&self, txid: TxId, tx: &Tx) {
        self.store.apply(txid.seqno, tx.writes()).unwrap();
        self.store.commit(txid.seqno);
        let news = coco_governance::news(tx.writes());
        if !news.is_empty() {
            self.listeners.lock().retain_mut(|listener| listener(txid, &news));
            self.news.lock().push((txid, news));
        }
    }

    fn committed(&self) -> TxId {
        TxId::new(VIEW, self.store.newest())
    }

    fn session(&self) -> Session {
        let unsigned = *self.mood.lock() == Mood::Unsigned;
        let facts = Facts {
            signature_json: (!unsigned).then(|| json!({ "root": ROOT, "seqno": 1, "view": 1 }).to_string()),
            root: (!unsigned).then_some(ROOT),
            now_s: NOW_S,
            seed: [1; 32],
            vault: Some(self.vault.lock().clone()),
            ledgers: None,
        };
        Session::new(self.store.begin(), facts, None)
    }

    fn evaluate(&self, request: &Request, key: Option<Idempotent>) -> Governed {
        match key.map_or(Earlier::None, |key| key.earlier(&self.store.snapshot(), NOW_S * 1000)) {
            Earlier::None => {}
            Earlier::Same(txid, body) => return Governed::Done { txid, body: serde_json::from_slice(&body).unwrap() },
            Earlier::Other => {
                let Rejection { message, .. } = Idempotent::reused();
                return Governed::Refused(Refusal::new(Code::IdempotencyKeyReused, message));
            }
        }
        let session = self.session();
        let answer = match session.handle(request) {
            Ok(answer) => answer,
            Err(refusal) => return Governed::Refused(refusal),
        };
        if !answer.wrote {
            return Governed::Done { txid: self.committed(), body: answer.body };
        }
        let (orders, vault) = (session.orders(), self.vault.lock().clone());
        let mut tx = session.into_tx();
        let txid = TxId::new(VIEW, self.store.newest().next());
        for order in orders {
            secrets::carry_out(&mut tx, &vault, &order, txid, NOW_S * 1000).unwrap();
        }
        if let Some(key) = key {
            key.keep(&mut tx, txid, &serde_json::to_vec(&answer.body).unwrap(), NOW_S * 1000);
        }
        self.commit(txid, &tx);
        Governed::Done { txid, body: answer.body }
    }

    /// Another node takes the ledger over, as a new service.
    fn lose_and_recover(&self) {
        // The signature that ends the last batch.
        self.transaction(|_, _| ());
        let crypto = self.crypto.clone();
        let node_key = SigningKey::generate(crypto.as_ref(), Curve::P256);
        let service_key = SigningKey::generate(crypto.as_ref(), Curve::P384);
        let service = self_signed_service_certificate(crypto.as_ref(), &service_key, "new", VALIDITY, &[]).unwrap();
        let exchange = ExchangeKey::generate(crypto.as_ref());
        let bound =
            BoundFacts { exchange_key: exchange.public().to_vec(), service: None, config: Digest::ZERO, nonce: None };
        let report_data = bound.binding(node_key.public_key(), TeeKind::Virtual).report_data();
        let replica = coco_governance::next_replica(&mut self.store.snapshot()).unwrap();
        let recovery = Recovery {
            recovered_to: self.committed(),
            last_root: ROOT,
            node: node_row(&node_key, &exchange, replica, &report_data),
            bound,
            node_certificate: "certificate".to_owned(),
            service_certificate: service.to_pem(),
        };
        let vault = Vault {
            node: recovery.node.id,
            exchange: Arc::new(exchange),
            service_key: Arc::new(service_key),
            crypto: crypto.clone(),
            disclose: |_| Vec::new(),
        };
        *self.vault.lock() = vault.clone();
        let secret = SymmetricKey::generate(crypto.as_ref());
        self.transaction(|tx, txid| {
            coco_governance::recover(tx, &recovery, NOW_S).unwrap();
            secrets::begin(tx, &vault, &secret, txid, NOW_S * 1000).unwrap();
        });
    }
}

impl GovApi for Api {
    fn state(&self, _: &Caller) -> (TxId, Snapshot) {
        (self.committed(), self.store.snapshot())
    }

    fn gate(&self) -> &dyn Gate {
        &OpenGate
    }

    fn created(&self, _: &Caller) -> Option<TxId> {
        Some(TxId::new(VIEW, Seqno(1)))
    }

    fn transaction_status(&self, _: &Caller, txid: TxId) -> TransactionStatus {
        if txid.seqno <= self.store.newest() { TransactionStatus::Committed } else { TransactionStatus::Unknown }
    }

    fn govern(&self, _: &Caller, request: Request, key: Option<Idempotent>, reply: Box<dyn FnOnce(Governed) + Send>) {
        let mood = *self.mood.lock();
        reply(match mood {
            Mood::Well | Mood::Unsigned => self.evaluate(&request, key),
            Mood::Busy => Governed::Refused(Refusal::new(Code::IdempotencyKeyInUse, Idempotent::in_use().message)),
            Mood::NoPrimary => Governed::Unavailable,
            Mood::PrimaryLost => Governed::Unknown(Some(self.committed())),
        });
    }

    fn news_since(&self, after: Option<TxId>) -> Past {
        let behind = |txid: &TxId| after.is_some_and(|after| txid.seqno > after.seqno);
        let news = self.news.lock().iter().filter(|(txid, _)| behind(txid)).cloned().collect();
        let lost = after.filter(|after| after.view != VIEW).map(|_| TxId::new(VIEW, Seqno(1)));
        Past { at: self.committed(), news, gap_until: lost }
    }

    fn follow(&self, _: TxId, listener: Listener) -> Box<dyn Send> {
        self.listeners.lock().push(listener);
        Box::new(())
    }

    fn simulate(&self, _: &Caller, proposal: Bytes, reply: Box<dyn FnOnce(Governed) + Send>) {
        let simulation = self.session().simulate(std::str::from_utf8(&proposal).unwrap()).unwrap();
        reply(Governed::Done { txid: self.committed(), body: Some(serde_json::to_value(simulation).unwrap()) });
    }
}

fn founding(
    seeded: &SeededCrypto,
    crypto: Arc<dyn Crypto>,
    members: Vec<FoundingActor>,
    participants: Vec<FoundingActor>,
) -> (Vault, Founding) {
    let service_key = SigningKey::generate(seeded, Curve::P384);
    let service = self_signed_service_certificate(seeded, &service_key, "test", VALIDITY, &[]).unwrap();
    let node_key = SigningKey::generate(seeded, Curve::P256);
    let node_certificate = self_signed_certificate(seeded, &node_key, "node", &[], VALIDITY, &[]).unwrap();
    let exchange = ExchangeKey::generate(seeded);
    let node = node_row(&node_key, &exchange, ReplicaId(1), &ReportData([0; 64]));
    let founding = Founding {
        network: Network {
            name: "test".to_owned(),
            chunk_bytes: 1 << 20,
            ledgers: vec!["records".to_owned()],
            resume: Default::default(),
            swap_interval_ms: 0,
        },
        members,
        participants,
        recovery_threshold: Some(2),
        virtual_measurements: vec![sha256(b"code")],
        attestation: coco_attestation::Rules::default(),
        bound: None,
        constitution: constitution::DEFAULT.to_owned(),
        node,
        node_certificate: node_certificate.to_pem(),
        service_certificate: service.to_pem(),
    };
    let vault = Vault {
        node: founding.node.id,
        exchange: Arc::new(exchange),
        service_key: Arc::new(service_key),
        crypto,
        disclose: |_| Vec::new(),
    };
    (vault, founding)
}

fn node_row(key: &SigningKey, exchange: &ExchangeKey, replica: ReplicaId, report_data: &ReportData) -> NodeRow {
    let address = ([127, 0, 0, 1], 8000).into();
    let info = NodeInfo {
        status: NodeStatus::Trusted,
        public_key: key.public_key().to_pem(),
        replica,
        index: 0,
        addresses: Addresses { api: address, peers: address },
        encryption_pub_key: hex::encode(exchange.public()),
        certificate_signing_request: None,
        quote_info: VirtualTee::running(sha256(b"code")).evidence(report_data).unwrap(),
        replaces: None,
        swaps: None,
        retired_committed: false,
        role: Default::default(),
        admitted_ms: NOW_S * 1000,
        owner: None,
        node_data: Value::Null,
    };
    NodeRow { id: key.public_key().node_id(), info }
}
