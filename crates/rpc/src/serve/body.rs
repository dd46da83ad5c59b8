//! A request's body, within limits.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::budget::Charge;
use super::limits::ContentMax;

/// A refused body that claims to be no longer than this is read to its end and thrown away: a client that is still sending
/// would otherwise meet a reset connection instead of the answer.
const DISCARDED_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// `answerable`: the whole of it was read, the connection may go on.
    TooLarge {
        answerable: bool,
    },
    Busy,
    /// The client went away or broke the protocol.
    Broken,
}

/// The whole body, and what it is charged with while it is in use, which is nothing yet.
pub(crate) async fn collect(
    mut body: Incoming,
    bytes_max: ContentMax,
    mut charge: Charge,
) -> Result<(Bytes, Charge), BodyError> {
    if body.is_end_stream() {
        return Ok((Bytes::new(), charge));
    }
    let declared = body.size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if declared > bytes_max.batch {
        return Err(discard(body, declared).await);
    }
    let first = next(&mut body).await?;
    let max = bytes_max.beginning_with(&first);
    if declared > max {
        return Err(discard(body, declared).await);
    }
    if !charge.grow_to(declared.max(first.len())) {
        return Err(BodyError::Busy);
    }
    if declared == first.len() && declared > 0 {
        return Ok((first, charge));
    }
    let mut whole = BytesMut::with_capacity(declared);
    whole.extend_from_slice(&first);
    while whole.len() <= max {
        let part = next(&mut body).await?;
        if part.is_empty() {
            return Ok((whole.freeze(), charge));
        }
        if !charge.grow_to(whole.len() + part.len()) {
            return Err(BodyError::Busy);
        }
        whole.extend_from_slice(&part);
    }
    let seen = whole.len();
    drop(whole);
    Err(discard(body, seen).await)
}

/// The next data; empty at the end.
async fn next(body: &mut Incoming) -> Result<Bytes, BodyError> {
    loop {
        match body.frame().await {
            None => return Ok(Bytes::new()),
            Some(Err(_)) => return Err(BodyError::Broken),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(data),
                _ => continue,
            },
        }
    }
}

async fn discard(mut body: Incoming, mut seen: usize) -> BodyError {
    while seen <= DISCARDED_BYTES_MAX {
        match next(&mut body).await {
            Ok(part) if part.is_empty() => return BodyError::TooLarge { answerable: true },
            Ok(part) => seen = seen.saturating_add(part.len()),
            Err(error) => return error,
        }
    }
    BodyError::TooLarge { answerable: false }
}
