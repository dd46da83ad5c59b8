//! The way to other nodes, over the channels of `coco_rpc`: what this node sends, and what it does with what arrives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use coco_governance::NodeRow;
use coco_protocol::{Protocol, Rejection, RejectionReason, Submitted};
use coco_rpc::channel::{Answer, Channels, Hello, Inbound, Lane, NoAnswer, Respond, Trusted};
use coco_types::{NodeId, ReplicaId};

use crate::archive::Files;
use crate::comeback::{self, Running, YourPlace};
use crate::entitlement::{self, Entitlement, Places};
use crate::events::{ExecutorEvent, ReplicaEvent};
use crate::handle::{Peers, Shared, ask_replica, claim_here, submit_here, unavailable};
use crate::shell::admitting::Admitting;
use crate::shell::collateral;
use crate::shell::governance::Governance;
use crate::shell::identities;
use crate::shell::outside;
use crate::wire::{self, ForwardedSubmissions, PieceRequest, Question, kind};

/// [`Peers`] over channels, once they are there: the machines are put together before anything listens.
#[derive(Default)]
pub struct Network {
    channels: OnceLock<Channels>,
}

/// What arrives from other nodes.
pub struct Arrivals {
    pub shared: Arc<Shared>,
    pub protocols: Vec<Arc<dyn Protocol>>,
    pub admitting: Admitting,
    /// What peers may fetch.
    pub files: Files,
    pub governance: Arc<Governance>,
    pub entitlement: Entitlement,
}

impl Network {
    pub fn open(&self, channels: Channels) {
        // Opened once, at start.
        drop(self.channels.set(channels));
    }

    /// For connections made from now on.
    pub fn trust(&self, trusted: Trusted) {
        if let Some(channels) = self.channels.get() {
            channels.trust(trusted);
        }
    }
}

impl Peers for Network {
    fn send(&self, to: ReplicaId, message: Bytes) {
        let lane = if coco_consensus::is_urgent(&message) { Lane::Urgent } else { Lane::Ordered };
        if let Some(channels) = self.channels.get() {
            channels.send_raft(to, lane, message);
        }
    }

    fn request(&self, to: ReplicaId, kind: u16, body: Bytes, timeout: Duration, reply: Answer) {
        match self.channels.get() {
            Some(channels) => channels.request(to, kind, body, timeout, reply),
            None => reply(Err(NoAnswer::NotSent)),
        }
    }

    fn connect(&self, peers: &BTreeMap<ReplicaId, SocketAddr>) {
        if let Some(channels) = self.channels.get() {
            channels.set_peers(peers);
        }
    }
}

impl Inbound for Arrivals {
    fn admits(&self, node: NodeId, hello: Hello) -> bool {
        self.places_now().is_some_and(|places| self.entitlement.admits(&places, node, hello))
    }

    fn raft(&self, from: ReplicaId, message: Bytes) {
        // A full queue drops it, as a network may.
        let _ = self.shared.replica.try_send(ReplicaEvent::Message { from, message });
    }

    fn request(&self, from: ReplicaId, kind: u16, body: Bytes, respond: Respond) {
        if !self.may_ask(from, kind) {
            // Dropping the way back answers that there is no answer.
            return tracing::warn!(%from, kind, "refused a request: this node is not, or not any more, one of the network's");
        }
        match kind {
            kind::SUBMIT => self.submit(body, respond),
            kind::ASK => match wire::decode_question(body) {
                Ok(question) if self.shared.is_primary() => {
                    let reply = Box::new(move |result| respond(wire::encode_result(&result)));
                    submit_here(&self.shared, ExecutorEvent::Ask { question, reply });
                }
                _ => respond(wire::encode_result(&Err(unavailable()))),
            },
            kind::RELAY => self.relayed(body, respond),
            kind::ENTRUST => self.entrusted(body, respond),
            kind::PIECE => {
                if let Some(piece) = PieceRequest::decode(body).ok().and_then(|request| self.files.piece(&request)) {
                    respond(piece.encode());
                }
            }
            kind::CLAIM => match wire::decode_key(body) {
                Ok((Some(key), _)) if self.shared.is_primary() => {
                    let result = |claimed: Result<(), Rejection>| claimed.map(|()| Bytes::new());
                    let reply = move |claimed| respond(wire::encode_result(&result(claimed)));
                    claim_here(&self.shared, key, Box::new(reply));
                }
                _ => respond(wire::encode_result(&Err(unavailable()))),
            },
            kind::BIND if self.shared.is_primary() => identities::forwarded(&self.shared, body, respond),
            kind::READ_INDEX => self.read_index(respond),
            kind::STOP => {
                respond(Bytes::new());
                let _ = self.shared.replica.try_send(ReplicaEvent::StopNetwork);
            }
            kind::RETURNING => self.returning(from, &body, respond),
            kind::JOIN | kind::RENEW => {
                let reply = Box::new(move |result| respond(wire::encode_result(&result)));
                self.admitting.take(kind, body, reply);
            }
            kind::MEMBERSHIP => respond(outside::answer(&self.shared, from)),
            kind::COLLATERAL => {
                let reply: collateral::CollateralReply = Box::new(move |result| respond(wire::encode_result(&result)));
                match wire::decode_key(body) {
                    Ok((key, body)) => collateral::forwarded(&self.shared, &body, key, reply),
                    Err(error) => reply(Err(Rejection::new(RejectionReason::Invalid, 0, error.to_string()))),
                }
            }
            kind::GOVERN => self.governance.forwarded(&body, respond),
            // Dropping the way back answers that there is no answer.
            _ => {}
        }
    }
}

impl Arrivals {
    fn places_now(&self) -> Option<Places> {
        let rows = NodeRow::all(&mut self.shared.visible.state());
        rows.inspect_err(|error| tracing::error!(%error, "the nodes' rows")).ok().map(|rows| entitlement::places(&rows))
    }

    /// By what was published last; a newcomer's row may have come since.
    fn may_ask(&self, from: ReplicaId, kind: u16) -> bool {
        let standing = self.shared.standing.read();
        if standing.places.contains_key(&from) {
            return self.entitlement.may_ask(&standing.places, from, kind);
        }
        drop(standing);
        self.places_now().is_some_and(|places| self.entitlement.may_ask(&places, from, kind))
    }

    fn submit(&self, body: Bytes, respond: Respond) {
        let Ok(ForwardedSubmissions { ledger, until, submissions }) = wire::decode_submissions(body) else { return };
        let count = submissions.len();
        let Some(protocol) = self.protocols.get(ledger).filter(|_| self.shared.is_primary()) else {
            return respond(wire::encode_answers(&vec![Submitted::Unavailable; count]));
        };
        let readmitted = submissions.into_iter().map(|(raw, finding, caller)| protocol.readmit(raw, finding, caller));
        match readmitted.collect::<Result<Vec<_>, _>>() {
            Ok(admitted) => {
                let reply = Box::new(move |answers: Vec<_>| respond(wire::encode_answers(&answers)));
                submit_here(&self.shared, ExecutorEvent::Submit { ledger, admitted, until, reply });
            }
            Err(rejection) => respond(wire::encode_answers(&vec![Submitted::Rejected(rejection); count])),
        }
    }

    fn entrusted(&self, body: Bytes, respond: Respond) {
        let Ok(ForwardedSubmissions { ledger, submissions, .. }) = wire::decode_submissions(body) else { return };
        if let Some(protocol) = self.protocols.get(ledger) {
            protocol.entrusted(submissions, (self.shared.clock)());
            respond(Bytes::new());
        }
    }

    fn relayed(&self, body: Bytes, respond: Respond) {
        let Ok(Question { ledger, question }) = wire::decode_question(body) else { return };
        if let Some(protocol) = self.protocols.get(ledger).filter(|_| self.shared.is_primary()) {
            protocol.relayed(question, respond);
        }
    }

    /// A replica that comes back asks how things stand.
    fn returning(&self, from: ReplicaId, ask: &[u8], respond: Respond) {
        let nodes = NodeRow::all(&mut self.shared.visible.state()).unwrap_or_default();
        let standing = self.shared.standing.read().clone();
        let running = Running {
            primary: standing.primary,
            resumed: self.shared.resumed.as_ref().map(|plan| plan.id),
            you: comeback::place_of(&nodes, from, standing.voters.contains(&from)),
        };
        // Who has left needs nobody's log.
        if running.you != YourPlace::Gone && comeback::is_of_returning(ask) {
            let _ = self.shared.replica.try_send(ReplicaEvent::AskedByReturning(from));
        }
        match comeback::running_reply(from, ask, running) {
            Ok(Some(reply)) => respond(reply),
            Ok(None) => {}
            Err(error) => tracing::warn!(%from, %error, "refused a question"),
        }
    }

    fn read_index(&self, respond: Respond) {
        if !self.shared.is_primary() {
            return;
        }
        let visible = self.shared.visible.clone();
        let reply: Box<dyn FnOnce(bool) + Send> = Box::new(move |confirmed| {
            if confirmed {
                respond(Bytes::copy_from_slice(&visible.txid().seqno.0.to_le_bytes()));
            }
        });
        ask_replica(&self.shared.replica, ReplicaEvent::Linearizable { reply });
    }
}
