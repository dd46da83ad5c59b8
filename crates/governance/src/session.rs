//! One request of a member, from its signature to the rows that it leaves.
//!
//! ```text
//!   propose ──▶ validate ──▶ store ──▶ replay window ─┐
//!   ballot  ──▶ store ────────────────────────────────┴▶ run every ballot ─▶ resolve ─▶ Open | Rejected | Accepted ─▶ apply
//! ```
//!
//! A session works on one transaction. Whoever refuses it drops that transaction whole: a ballot whose resolution or `apply` throws is not
//! recorded. Nothing here commits anything, and nothing here knows which node it runs on.

mod membership;
mod recovering;
mod resolution;
mod simulation;
mod voting;

use std::cell::RefCell;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_kv::Tx;
use serde::{Deserialize, Serialize};

use crate::engine::{Facts, World};
use crate::message::{Message, Signed, unauthenticated};
use crate::refusal::{Code, Refusal};
use crate::secrets::Order;
use crate::tables;

pub use membership::Ack;
pub use simulation::{Change, Simulation};

/// What a signed request asks for: the path of `/gov` that it came on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Operation {
    Propose,
    Withdraw { proposal: String },
    Vote { proposal: String, member: String },
    UpdateDigest { member: String },
    Acknowledge { member: String },
    SubmitShare { member: String },
}

/// A signed request as it travels to the primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub operation: Operation,
    /// COSE_Sign1.
    pub message: Bytes,
}

/// What a request led to.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// `None`: there is nothing to say (204).
    pub body: Option<serde_json::Value>,
    /// Whether rows were written: else there is no ledger transaction.
    pub wrote: bool,
}

/// See the module's text.
pub struct Session {
    pub(crate) world: Rc<World>,
}

impl Session {
    /// `wall`: a clock in milliseconds, the backstop for scripts.
    pub fn new(tx: Tx, facts: Facts, wall: Option<Rc<dyn Fn() -> u64>>) -> Self {
        let world =
            World { tx: RefCell::new(tx), facts, wall, console: RefCell::default(), orders: RefCell::default() };
        Self { world: Rc::new(world) }
    }

    /// Does what a signed request asks for.
    pub fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        match &request.operation {
            Operation::Propose => self.propose(&request.message),
            Operation::Withdraw { proposal } => self.withdraw(&request.message, proposal),
            Operation::Vote { proposal, member } => self.vote(&request.message, proposal, member),
            Operation::UpdateDigest { member } => self.update_digest(&request.message, member),
            Operation::Acknowledge { member } => self.acknowledge(&request.message, member),
            Operation::SubmitShare { member } => self.submit_share(&request.message, member),
        }
    }

    /// What the scripts said to `console`.
    pub fn console(&self) -> Vec<String> {
        self.world.console.borrow().clone()
    }

    /// What is to be made in the transaction, once it has its place: [`crate::secrets::carry_out`].
    pub fn orders(&self) -> Vec<Order> {
        self.world.orders.borrow().clone()
    }

    /// The transaction, with what the request wrote.
    pub fn into_tx(self) -> Tx {
        let world =
            Rc::try_unwrap(self.world).unwrap_or_else(|_| panic!("every interpreter is gone when its call returns"));
        world.tx.into_inner()
    }

    fn signed(&self, bytes: &[u8], kind: &str) -> Result<Signed, Refusal> {
        let message = Message::decode(bytes)?;
        message.authenticate(bytes, &mut *self.world.tx.borrow_mut(), kind)
    }

    /// As [`Session::signed`], by a member that has a vote.
    fn signed_by_active(&self, bytes: &[u8], kind: &str) -> Result<Signed, Refusal> {
        let signed = self.signed(bytes, kind)?;
        if signed.member.status != "Active" {
            return Err(unauthenticated("the member has not acknowledged the state yet: it is not active".to_owned()));
        }
        Ok(signed)
    }

    /// Keeps the member's newest request where auditors look for all of them: in the ledger's transactions.
    fn record(&self, signed: &Signed, bytes: &[u8]) {
        let mut tx = self.world.tx.borrow_mut();
        tables::write(&mut tx, &tables::COSE_HISTORY, signed.message.key_id.as_bytes(), &BASE64.encode(bytes));
    }

    fn answer(&self, body: &impl Serialize) -> Answer {
        let body = serde_json::to_value(body).expect("answers have only string keys");
        Answer { body: Some(body), wrote: true }
    }
}

/// What the request's path names must be what the member signed.
fn check_path(what: &str, signed: Option<&str>, path: &str) -> Result<(), Refusal> {
    if signed == Some(path) {
        return Ok(());
    }
    let signed = signed.unwrap_or("nothing");
    Err(Refusal::new(Code::InvalidResourceName, format!("the path names {what} {path}, the signed message {signed}")))
}

#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod tests;
