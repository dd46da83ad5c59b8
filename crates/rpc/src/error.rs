//! What can go wrong when serving starts.

use std::io;
use std::net::SocketAddr;

/// A listener or a channel could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("TLS identity: {0}")]
    Tls(#[from] rustls::Error),
    #[error("TLS identity: {0}")]
    Certificate(#[from] coco_crypto::Error),
}
