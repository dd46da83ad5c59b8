//! A key-value ledger over HTTPS: `PUT` and `GET /app/records/{key}`. The smallest ledger protocol, and the one that
//! `docs/tutorials/write-a-ledger-protocol.md` builds.
//!
//! A `PUT` answers when it is committed, with its transaction id in a header. There is nothing to query, list or delete, and
//! a repeated `PUT` is executed again: it says "make it so", and TLS keeps third parties from repeating it.

mod service;

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_crypto::sha256;
use coco_kv::Tx;
use coco_protocol::{
    Admitted, Caller, Claims, Context, Fifo, LedgerHandle, Outcome, Pool, Protocol, Rejection, RejectionReason, Service,
};
use coco_types::MapName;

const NAME: &str = "records";
/// Key to value. Sealed in the ledger: its name does not begin with `public:`.
const VALUES: MapName = MapName::from_static("records.values");

/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 256;
/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
const REQUEST_BYTES: usize = 12;
/// What precedes the key in a submission.
const HEAD_BYTES: usize = REQUEST_BYTES + 6;

/// The ledger. It keeps nothing of its own: all its state is in the maps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records;

/// A submission: who received it and how many it had received (12 bytes, which tell it from its equals), the key's length in
/// two bytes, the value's in four (big-endian), the key, the value.
struct Put {
    request: Bytes,
    key: Bytes,
    value: Bytes,
}

impl Protocol for Records {
    fn name(&self) -> &'static str {
        NAME
    }

    fn admit(&self, submission: Bytes, caller: &Caller) -> Result<Admitted, Rejection> {
        let put = Put::decode(submission.clone())?;
        Ok(Admitted {
            id: put.request.clone(),
            raw: submission,
            finding: Bytes::new(),
            caller: caller.clone(),
            decoded: Arc::new(put),
        })
    }

    fn pool(&self) -> Box<dyn Pool> {
        Box::<Fifo>::default()
    }

    fn execute(&self, tx: &mut Tx, admitted: &Admitted, _context: &Context<'_>) -> Result<Outcome, Rejection> {
        let put: &Put = admitted.decoded().expect("admitted by this protocol");
        tx.put(&VALUES, put.key.clone(), put.value.clone());
        let claims =
            Claims { protocol: NAME, kind: "record", id: put.key.clone(), result: sha256(&put.value), container: None };
        Ok(Outcome { claims: Some(claims), response: Bytes::new() })
    }

    fn serve(self: Arc<Self>, handle: Arc<dyn LedgerHandle>) -> Arc<dyn Service> {
        Arc::new(service::RecordsService::new(self, handle))
    }
}

impl Put {
    /// Checks the limits, so that no other `Put` exists.
    fn new(request: Bytes, key: Bytes, value: Bytes) -> Result<Self, Rejection> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(invalid(format!("a key has 1 to {KEY_BYTES_MAX} bytes, not {}", key.len())));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(invalid(format!("a value has at most {VALUE_BYTES_MAX} bytes, not {}", value.len())));
        }
        Ok(Self { request, key, value })
    }

    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + self.key.len() + self.value.len());
        bytes.put_slice(&self.request);
        bytes.put_u16(self.key.len() as u16);
        bytes.put_u32(self.value.len() as u32);
        bytes.put_slice(&self.key);
        bytes.put_slice(&self.value);
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Rejection> {
        if bytes.len() < HEAD_BYTES {
            return Err(invalid("truncated submission".to_owned()));
        }
        let request = bytes.split_to(REQUEST_BYTES);
        let (key_bytes, value_bytes) = (usize::from(bytes.get_u16()), bytes.get_u32() as usize);
        if bytes.len() != key_bytes + value_bytes {
            return Err(invalid("malformed submission".to_owned()));
        }
        let key = bytes.split_to(key_bytes);
        Self::new(request, key, bytes)
    }
}

fn invalid(message: String) -> Rejection {
    Rejection::new(RejectionReason::Invalid, 400, message)
}
