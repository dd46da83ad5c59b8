//! The endpoint for processors that prove what they are: inside TLS, evidence first, then what the plain endpoint speaks.
//!
//! ```text
//!   sidecar, in the processor's TEE                              node
//!     TLS 1.3: checks the node against the service's certificate ─▶
//!     length (4 bytes) │ evidence for hash(service, this connection) ─▶ genuine? of this connection?
//!        ◀─ 1 │ length (2) │ what was seen      0 │ length (2) │ why not, and the end
//!     ◀── ZeroMQ, as on the plain endpoint; which families it may register for, its evidence decides ──▶
//! ```
//!
//! An SDK's processor cannot attest by itself, and ZeroMQ's own encryption has nothing to tie evidence to. So a sidecar in the same TEE takes the
//! processor's plain connection there and carries it on (`coco sawtooth attest-proxy`). Evidence covers key material that only the two
//! ends of one TLS connection can know, and the service whose certificate the sidecar checked the node against: it is worth nothing on another
//! connection, and whoever stands between a sidecar and its node has two connections.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use coco_protocol::{ChannelBinding, LedgerHandle, Standing, Stream, StreamEnded, StreamService, StreamSession};

use super::processors::{Processors, Proof};
use super::relay::Relay;
use super::session::Session;
use crate::limits::EVIDENCE_MESSAGE_BYTES_MAX;
use crate::query::Node;

/// The listener's name in a node's configuration.
pub const ATTESTED_LISTENER: &str = "sawtooth_attested";

/// See the module's text.
#[derive(Clone)]
pub struct AttestedService {
    pub node: Arc<Node>,
    pub handle: Arc<dyn LedgerHandle>,
    pub processors: Arc<Processors>,
    pub relay: Arc<Relay>,
}

/// A connection, before its evidence and after.
enum AttestedSession {
    Unknown(Unknown),
    Known(Session),
}

/// Somebody who has proved nothing yet.
struct Unknown {
    service: AttestedService,
    stream: Arc<dyn Stream>,
    binding: Option<ChannelBinding>,
    arrived: BytesMut,
}

impl StreamService for AttestedService {
    fn listener(&self) -> &'static str {
        ATTESTED_LISTENER
    }

    fn is_secured(&self) -> bool {
        true
    }

    fn open(&self, stream: Arc<dyn Stream>, binding: Option<ChannelBinding>) -> Box<dyn StreamSession> {
        let unknown = Unknown { service: self.clone(), stream, binding, arrived: BytesMut::new() };
        Box::new(AttestedSession::Unknown(unknown))
    }
}

impl StreamSession for AttestedSession {
    fn received(&mut self, bytes: &[u8]) -> Result<(), StreamEnded> {
        let unknown = match self {
            Self::Known(session) => return session.received(bytes),
            Self::Unknown(unknown) => unknown,
        };
        unknown.arrived.extend_from_slice(bytes);
        let Some(evidence) = message(&mut unknown.arrived)? else { return Ok(()) };
        let mut session = unknown.judge(&evidence)?;
        let rest = std::mem::take(&mut unknown.arrived);
        session.received(&rest)?;
        *self = Self::Known(session);
        Ok(())
    }

    fn has_more(&self) -> bool {
        matches!(self, Self::Known(session) if session.has_more())
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Unknown(unknown) => unknown.arrived.capacity(),
            Self::Known(session) => session.held_bytes(),
        }
    }

    fn standing(&self) -> Standing {
        match self {
            Self::Unknown(_) => Standing::Greeting,
            Self::Known(session) => session.standing(),
        }
    }
}

impl Unknown {
    fn judge(&self, evidence: &[u8]) -> Result<Session, StreamEnded> {
        let binding = self.binding.ok_or_else(|| "this connection is not secured".to_owned());
        match binding.and_then(|binding| self.service.handle.attest(evidence, &binding)) {
            Ok(attested) => {
                let seen = attested.describe();
                tracing::info!(program = seen, "a processor's evidence is genuine");
                // Who is gone is noticed by whoever reads the connection.
                let _ = self.stream.send(answer(1, &seen));
                let AttestedService { node, processors, relay, .. } = self.service.clone();
                Ok(Session::proved(node, processors, relay, Arc::clone(&self.stream), Proof::Own(attested)))
            }
            Err(why) => {
                let _ = self.stream.send(answer(0, &why));
                Err(StreamEnded(format!("a processor's evidence counts for nothing: {why}")))
            }
        }
    }
}

/// The evidence, once it has arrived; what came behind it stays.
fn message(arrived: &mut BytesMut) -> Result<Option<Bytes>, StreamEnded> {
    let Some(length) = arrived.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > EVIDENCE_MESSAGE_BYTES_MAX {
        return Err(StreamEnded("evidence is smaller than that".to_owned()));
    }
    if arrived.len() < 4 + length {
        return Ok(None);
    }
    arrived.advance(4);
    Ok(Some(arrived.split_to(length).freeze()))
}

fn answer(verdict: u8, text: &str) -> Bytes {
    let text = text.as_bytes();
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let text = text.get(..usize::from(length)).unwrap_or(text);
    [&[verdict][..], &length.to_be_bytes(), text].concat().into()
}
