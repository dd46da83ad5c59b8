//! Frames on a byte stream, and the TCP connection below it.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_types::{ReplicaId, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::frame::{Frame, FrameError, Hello};
use super::lanes::Lanes;

/// Bytes collected before they are given to TLS.
const COALESCED_BYTES_MAX: usize = 64 << 10;

/// Small frames leave at once, and a connection whose other end is silent ends, so that it is dialled again.
pub(crate) fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(socket, limits::CHANNEL_UNACKNOWLEDGED_MS)?;
    Ok(())
}

/// Reads whole frames; puts parts together.
pub(crate) struct Reader<R> {
    stream: R,
    unread: BytesMut,
    parts: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, unread: BytesMut::new(), parts: BytesMut::new() }
    }

    /// Who speaks, and whom it takes this end for.
    pub(crate) async fn hello(&mut self) -> io::Result<(Hello, ReplicaId)> {
        match self.next().await? {
            Frame::Hello { own, to } => Ok((own, to)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the first frame is no hello")),
        }
    }

    /// The next frame, never a part.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            let (last, bytes) = match Frame::decode(self.raw().await?).map_err(invalid)? {
                Frame::Part { last, bytes } => (last, bytes),
                whole => return Ok(whole),
            };
            let whole = self.parts.len() + bytes.len();
            if whole > limits::NODE_FRAME_BYTES_MAX {
                return Err(invalid(FrameError::TooLarge { bytes: whole }));
            }
            self.parts.put_slice(&bytes);
            if last {
                return match Frame::decode(self.parts.split().freeze()).map_err(invalid)? {
                    Frame::Part { .. } => Err(invalid(FrameError::NestedPart)),
                    whole => Ok(whole),
                };
            }
        }
    }

    async fn raw(&mut self) -> io::Result<Bytes> {
        self.fill(4).await?;
        let length = self.unread.get_u32_le() as usize;
        if length > limits::NODE_FRAME_BYTES_MAX {
            return Err(invalid(FrameError::TooLarge { bytes: length }));
        }
        self.fill(length).await?;
        Ok(self.unread.split_to(length).freeze())
    }

    /// Reads until `count` bytes are there. The buffer grows with what arrives, not with what was announced.
    async fn fill(&mut self, count: usize) -> io::Result<()> {
        while self.unread.len() < count {
            self.unread.reserve(COALESCED_BYTES_MAX);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

pub(crate) async fn write_hello<W: AsyncWrite + Unpin>(stream: &mut W, own: Hello, to: ReplicaId) -> io::Result<()> {
    let mut out = BytesMut::new();
    put(&mut out, &Frame::Hello { own, to }.encode());
    stream.write_all(&out).await?;
    stream.flush().await
}

/// Writes what the lanes hold until the stream breaks: many small frames at once, and the most urgent first.
pub(crate) async fn write_lanes<W: AsyncWrite + Unpin>(stream: &mut W, lanes: &Lanes) -> io::Error {
    let mut out = BytesMut::with_capacity(2 * COALESCED_BYTES_MAX);
    loop {
        put(&mut out, &lanes.next().await);
        while out.len() < COALESCED_BYTES_MAX {
            let Some(frame) = lanes.try_next() else { break };
            put(&mut out, &frame);
        }
        let written = async {
            stream.write_all(&out).await?;
            stream.flush().await
        };
        if let Err(error) = written.await {
            return error;
        }
        out.clear();
    }
}

fn put(out: &mut BytesMut, frame: &Bytes) {
    out.put_u32_le(u32::try_from(frame.len()).expect("frames are below the limit, which fits"));
    out.put_slice(frame);
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
