//! Members hand in their recovery shares, and participants that hold one.
//!
//! The request is not recorded: it holds the share in clear, which only the nodes may see.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::membership::check_signer;
use super::{Answer, Session};
use crate::message::Message;
use crate::refusal::{Code, Refusal};
use crate::shares;
use crate::tables;

#[derive(Deserialize)]
struct SharePayload {
    /// Base64.
    share: String,
}

const KIND: &str = "recovery_share";

impl Session {
    /// An active member, or a participant: whether it holds a share is looked at afterwards.
    fn signed_by_holder(&self, bytes: &[u8]) -> Result<Message, Refusal> {
        let message = Message::decode(bytes)?;
        if self.world.tx.borrow_mut().get(&tables::USER_CERTS, message.key_id.as_bytes()).is_none() {
            return Ok(self.signed_by_active(bytes, KIND)?.message);
        }
        message.check(bytes, &mut *self.world.tx.borrow_mut(), &tables::USER_CERTS, KIND)?;
        Ok(message)
    }

    pub(super) fn submit_share(&self, bytes: &[u8], member: &str) -> Result<Answer, Refusal> {
        let message = self.signed_by_holder(bytes)?;
        check_signer(&message, member)?;
        let payload: SharePayload = serde_json::from_slice(&message.payload)
            .map_err(|error| Refusal::new(Code::InvalidInput, format!("no share: {error}")))?;
        let text = Zeroizing::new(payload.share);
        let share = BASE64.decode(text.trim());
        let share =
            share.map(Zeroizing::new).map_err(|_| Refusal::new(Code::InvalidInput, "the share is not base64"))?;
        let vault = self.world.facts.vault.as_ref();
        let vault = vault.ok_or_else(|| Refusal::new(Code::InternalError, "shares are opened by nodes only"))?;
        let (progress, order) = shares::submit(&mut self.world.tx.borrow_mut(), vault, member, &share)?;
        order.into_iter().for_each(|order| self.world.order(order));
        let message = if progress.opened {
            "the service is open: its private state is being read back".to_owned()
        } else {
            format!("{} of {} recovery shares are there", progress.submitted, progress.threshold)
        };
        let answer = self.answer(&json!({
            "message": message,
            "submittedCount": progress.submitted,
            "recoveryThreshold": progress.threshold,
            "fullKeySubmitted": progress.whole_key,
        }));
        Ok(Answer { wrote: !progress.repeated, ..answer })
    }
}
