//! What travels on a channel, byte by byte. All numbers are little-endian.
//!
//! ```text
//! frame    = length u32 (of what follows, at most NODE_FRAME_BYTES_MAX) | kind u8 | fields
//! Hello    = 0 | version u16 = 1 | replica u64 | node u32 | to u64: whom the sender takes the other for
//! Raft     = 1 | message
//! Request  = 2 | id u64 | kind u16 | body
//! Response = 3 | id u64 | answered u8 (0, 1) | body (empty if not answered)
//! Part     = 4 | last u8 (0, 1) | bytes: the next piece of a frame's kind and fields
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_types::{ReplicaId, limits};

const VERSION: u16 = 1;

/// The first frame of either side: who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub replica: ReplicaId,
    /// The node's index in its network.
    pub node: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `to` is whom the sender takes the other for: at an address, another replica may have come in the place of that one.
    Hello {
        own: Hello,
        to: ReplicaId,
    },
    Raft(Bytes),
    Request {
        id: u64,
        kind: u16,
        body: Bytes,
    },
    /// `None`: there will be no answer.
    Response {
        id: u64,
        body: Option<Bytes>,
    },
    /// A piece of a large frame. Never nested.
    Part {
        last: bool,
        bytes: Bytes,
    },
}

/// What a peer sent is not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {bytes} bytes, more than the limit")]
    TooLarge { bytes: usize },
    #[error("a frame that ends early")]
    Truncated,
    #[error("a frame with bytes after its end")]
    TrailingBytes,
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("protocol version {0}, which this node does not speak")]
    UnknownVersion(u16),
    #[error("a part of a part")]
    NestedPart,
    #[error("a flag that is neither 0 nor 1")]
    NotAFlag,
}

impl Frame {
    /// Kind and fields, without the length.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Hello { own, to } => fields(0, 22, &[], |out| {
                out.put_u16_le(VERSION);
                out.put_u64_le(own.replica.0);
                out.put_u32_le(own.node);
                out.put_u64_le(to.0);
            }),
            Self::Raft(message) => fields(1, 0, message, |_| ()),
            Self::Request { id, kind, body } => fields(2, 10, body, |out| {
                out.put_u64_le(*id);
                out.put_u16_le(*kind);
            }),
            Self::Response { id, body } => fields(3, 9, body.as_deref().unwrap_or_default(), |out| {
                out.put_u64_le(*id);
                out.put_u8(u8::from(body.is_some()));
            }),
            Self::Part { last, bytes } => fields(4, 1, bytes, |out| out.put_u8(u8::from(*last))),
        }
    }

    /// The exact inverse of [`Frame::encode`].
    pub fn decode(mut bytes: Bytes) -> Result<Self, FrameError> {
        if bytes.len() > limits::NODE_FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge { bytes: bytes.len() });
        }
        let short = |_| FrameError::Truncated;
        match bytes.try_get_u8().map_err(short)? {
            0 => {
                let version = bytes.try_get_u16_le().map_err(short)?;
                if version != VERSION {
                    return Err(FrameError::UnknownVersion(version));
                }
                let replica = ReplicaId(bytes.try_get_u64_le().map_err(short)?);
                let node = bytes.try_get_u32_le().map_err(short)?;
                let to = ReplicaId(bytes.try_get_u64_le().map_err(short)?);
                let hello = Self::Hello { own: Hello { replica, node }, to };
                bytes.is_empty().then_some(hello).ok_or(FrameError::TrailingBytes)
            }
            1 => Ok(Self::Raft(bytes)),
            2 => {
                let id = bytes.try_get_u64_le().map_err(short)?;
                let kind = bytes.try_get_u16_le().map_err(short)?;
                Ok(Self::Request { id, kind, body: bytes })
            }
            3 => {
                let id = bytes.try_get_u64_le().map_err(short)?;
                match (flag(&mut bytes)?, bytes.is_empty()) {
                    (true, _) => Ok(Self::Response { id, body: Some(bytes) }),
                    (false, true) => Ok(Self::Response { id, body: None }),
                    (false, false) => Err(FrameError::TrailingBytes),
                }
            }
            4 => Ok(Self::Part { last: flag(&mut bytes)?, bytes }),
            kind => Err(FrameError::UnknownKind(kind)),
        }
    }
}

fn fields(kind: u8, fixed: usize, body: &[u8], put: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + fixed + body.len());
    out.put_u8(kind);
    put(&mut out);
    out.put_slice(body);
    out.freeze()
}

fn flag(bytes: &mut Bytes) -> Result<bool, FrameError> {
    match bytes.try_get_u8() {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        Ok(_) => Err(FrameError::NotAFlag),
        Err(_) => Err(FrameError::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<(Frame, &'static str)> {
        let body = Bytes::from_static(b"ab");
        vec![
            (
                Frame::Hello { own: Hello { replica: ReplicaId(7), node: 2 }, to: ReplicaId(9) },
                "0001000700000000000000020000000900000000000000",
            ),
            (Frame::Raft(body.clone()), "016162"),
            (Frame::Request { id: 1, kind: 0x0203, body: body.clone() }, "02010000000000000003026162"),
            (Frame::Response { id: 1, body: Some(body.clone()) }, "030100000000000000016162"),
            (Frame::Response { id: 1, body: None }, "03010000000000000000"),
            (Frame::Part { last: true, bytes: body }, "04016162"),
        ]
    }

    #[test]
    fn frames_have_these_bytes_and_survive_them() {
        for (frame, golden) in frames() {
            assert_eq!(hex::encode(frame.encode()), golden);
            assert_eq!(Frame::decode(frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn what_is_cut_or_not_a_frame_is_refused() {
        let decode = |bytes: &'static [u8]| Frame::decode(Bytes::from_static(bytes));
        for fixed in [&[0, 1, 0, 7][..], &[2, 1, 0, 0], &[3, 1], &[3, 1, 0, 0, 0, 0, 0, 0, 0], &[4], &[]] {
            assert_eq!(Frame::decode(Bytes::copy_from_slice(fixed)), Err(FrameError::Truncated), "{fixed:?}");
        }
        assert_eq!(decode(&[5, 0]), Err(FrameError::UnknownKind(5)));
        assert_eq!(decode(&[4, 2]), Err(FrameError::NotAFlag));
        assert_eq!(decode(&[0, 2, 0]), Err(FrameError::UnknownVersion(2)));
        assert_eq!(decode(&[3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9]), Err(FrameError::TrailingBytes));
        let hello = [&[0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0][..], &[1; 8], &[9]].concat();
        assert_eq!(Frame::decode(hello.into()), Err(FrameError::TrailingBytes));
        let bytes = limits::NODE_FRAME_BYTES_MAX + 1;
        assert_eq!(Frame::decode(Bytes::from(vec![1; bytes])), Err(FrameError::TooLarge { bytes }));
    }
}
