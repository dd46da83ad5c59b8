//! A submission that passed stateless checks.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::Caller;

/// The proof that a submission was decoded and its signatures checked. Made only by [`crate::Protocol::admit`], or by
/// [`crate::Protocol::readmit`] from what an attested peer forwards.
#[derive(Clone)]
pub struct Admitted {
    /// The submission, as the client sent it.
    pub raw: Bytes,
    /// The protocol's own name for it (transaction hash, batch id): refuses duplicates, and stands in the claims.
    pub id: Bytes,
    /// What admission found out at a price and a peer may trust (a recovered sender); empty if nothing.
    pub finding: Bytes,
    /// Who handed it in.
    pub caller: Caller,
    /// The decoded form, so that it is decoded once on each node. Its type is the protocol's own business.
    pub decoded: Arc<dyn Any + Send + Sync>,
}

impl Admitted {
    /// The decoded form, if it is of type `T`: it is whenever the same protocol admitted it.
    pub fn decoded<T: 'static>(&self) -> Option<&T> {
        self.decoded.downcast_ref()
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("id", &self.id).field("bytes", &self.raw.len()).finish_non_exhaustive()
    }
}
