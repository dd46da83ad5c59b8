//! Becoming an active member: a member signs the digest of the state that it accepts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, Session};
use crate::Error;
use crate::message::{Message, unauthenticated};
use crate::refusal::{Code, Refusal};
use crate::rows::{ServiceInfo, ServiceStatus};
use crate::secrets::Order;
use crate::shares;
use crate::tables::{self, Read};

/// The row of a member's acknowledgement.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ack {
    /// Root of the ledger, in hex.
    pub state_digest: String,
    /// The signed acknowledgement, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cose_sign1_req: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AckPayload {
    state_digest: String,
}

impl Ack {
    pub fn read(state: &mut dyn Read, member: &str) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::MEMBER_ACKS, member.as_bytes())
    }
}

impl Session {
    pub(super) fn update_digest(&self, bytes: &[u8], member: &str) -> Result<Answer, Refusal> {
        let signed = self.signed(bytes, "state_digest")?;
        check_signer(&signed.message, member)?;
        let root = self.world.facts.root;
        let root =
            root.ok_or_else(|| Refusal::new(Code::InternalError, "the ledger has no signature yet: try again"))?;
        let mut ack = self.ack(member)?.unwrap_or_default();
        ack.state_digest = root.to_string();
        self.write_ack(member, &ack);
        self.record(&signed, bytes);
        Ok(self.answer(&json!({"memberId": member, "stateDigest": ack.state_digest})))
    }

    pub(super) fn acknowledge(&self, bytes: &[u8], member: &str) -> Result<Answer, Refusal> {
        let mut signed = self.signed(bytes, "ack")?;
        check_signer(&signed.message, member)?;
        let Some(ack) = self.ack(member)? else {
            return Err(Refusal::new(Code::AuthorizationFailed, "the member has asked for no state digest yet"));
        };
        let payload: AckPayload = serde_json::from_slice(&signed.message.payload)
            .map_err(|error| Refusal::new(Code::InvalidInput, format!("no state digest: {error}")))?;
        if payload.state_digest != ack.state_digest {
            return Err(Refusal::new(Code::StateDigestMismatch, "this is not the digest that the member was given"));
        }
        self.write_ack(member, &Ack { cose_sign1_req: Some(BASE64.encode(bytes)), ..ack });
        self.record(&signed, bytes);
        signed.member.status = "Active".to_owned();
        let mut tx = self.world.tx.borrow_mut();
        tables::write(&mut tx, &tables::MEMBER_INFO, member.as_bytes(), &signed.member);
        // Of a service that is not open yet, shares are made when it opens.
        let open = ServiceInfo::read(&mut *tx as &mut dyn Read).map_err(Refusal::from)?;
        if open.is_some_and(|service| service.status == ServiceStatus::Open)
            && shares::is_holder(&mut *tx, member, &signed.member)
        {
            self.world.order(Order::Reshare);
        }
        Ok(Answer { body: None, wrote: true })
    }

    fn ack(&self, member: &str) -> Result<Option<Ack>, Refusal> {
        Ok(Ack::read(&mut *self.world.tx.borrow_mut(), member)?)
    }

    fn write_ack(&self, member: &str, ack: &Ack) {
        tables::write(&mut self.world.tx.borrow_mut(), &tables::MEMBER_ACKS, member.as_bytes(), ack);
    }
}

pub(super) fn check_signer(message: &Message, member: &str) -> Result<(), Refusal> {
    if message.key_id == member {
        return Ok(());
    }
    Err(unauthenticated(format!("the path names the member {member}, and {} signed", message.key_id)))
}
