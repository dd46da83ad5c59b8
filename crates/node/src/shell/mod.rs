//! The shell: threads, sockets, the real disk and the real clock around the machines.
//!
//! ```text
//!   rpc workers ──▶ executor thread ──▶ replica thread ──▶ disk thread
//!        ▲               ▲   ▲              │   ▲  └──▶ front thread ──▶ history thread
//!        │               │   └──────────────┘   │            │
//!   sockets          channels (other nodes) ────┘            └──▶ readers, waiters
//!   members' requests ──▶ governor thread ──▶ executor thread
//! ```

mod admission;
mod admitting;
mod api;
mod archive_thread;
mod attesting;
mod authentication;
mod clock;
mod collateral;
mod comeback;
mod credentials;
mod descriptors;
mod disk;
mod dumps;
mod entrance;
mod governance;
mod history_store;
mod hosting;
mod https;
mod identities;
mod ledger_disk;
mod machine;
mod mailbox;
mod metrics;
mod network;
mod outlook;
mod outside;
mod places;
mod reads;
mod reappraisal;
mod renewal;
mod replica_thread;
mod run;
mod sealing;
mod stopping;
mod threads;

use std::io;
use std::path::PathBuf;

pub use disk::FolderDisk;
pub use entrance::{evidence_of_this_machine, own_measurement};
pub use run::{run, run_on};

use crate::identity::IdentityError;
use crate::machines::OpenError;
use crate::recovering::RecoveryError;

/// Written to the data folder: what clients trust.
const SERVICE_CERTIFICATE_FILE: &str = "service_certificate.pem";

/// Why a node did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("genesis: {0}")]
    Genesis(String),
    #[error("listen.gov must be at the address of listen.api or listen.peers: the node's certificate names no other")]
    GovAddress,
    #[error("not admitted to the network: {0}")]
    Join(String),
    #[error("the data folder: {0}")]
    Disk(#[from] io::Error),
    #[error("this machine's platform: {0}")]
    Platform(String),
    #[error("reading the running executable: {0}")]
    Executable(io::Error),
    #[error(
        "the sealing key does not open what was sealed: other code or another machine sealed it, or the folder was damaged; to take part again, let \
         the node join with an empty folder"
    )]
    SealingKey,
    #[error(
        "sealing.key lies in the data folder, and this platform gives its code a key of its own: the file is not this node's, and whoever put it there \
         could open what is sealed with it; to take part, let the node join with an empty folder"
    )]
    SealingKeyPlanted,
    #[error(
        "sealing.key lies in the data folder, and on this platform whoever reads the folder could open what is sealed with it: allow that with \
         sealing_key_file = true in the node's configuration, or let the node join with an empty folder"
    )]
    SealingKeyFile,
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the history store: {0}")]
    History(String),
    #[error(transparent)]
    Serve(#[from] coco_rpc::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("the network removed this node")]
    Removed,
    #[error(
        "the network has another node in this one's place, or retired it: to take part again, let it join with an empty folder"
    )]
    Replaced,
    #[error(
        "{folder}: the consensus log of this node is missing, and it has spoken with it: put the log back, or let the node join \
         a network with an empty folder (how = \"join\")"
    )]
    LogLost { folder: PathBuf },
    #[error(
        "{folder}: the consensus log is not the one that this node closed a moment ago: find out who changed it; started again, the \
         node asks the others before it acts"
    )]
    LogExchanged { folder: PathBuf },
    #[error("{0}")]
    Failed(String),
}
