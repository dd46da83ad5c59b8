//! What an operator decides about the API.

use std::sync::Arc;

use secp256k1::SecretKey;

/// Fills a buffer with randomness of the enclave.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// How the API of one node behaves.
#[derive(Clone)]
pub struct Options {
    /// Answers `web3_clientVersion`.
    pub client_version: String,
    /// Web pages of these origins may call; `*` means any, which only developers want.
    pub cors_origins: Vec<String>,
    /// Keys that this node signs with for everyone: for developers only, empty otherwise.
    pub unlocked: Vec<SecretKey>,
    /// A submission is answered once it is in a block, if it can be in the next one, and not already once it is in the pool.
    pub wait_for_block: bool,
    /// And if it failed in its block, the answer is an error: see [`super::failures`].
    pub failures_are_errors: bool,
    /// For the ids of filters and subscriptions.
    pub random: Random,
}

impl Options {
    /// For a network.
    pub fn new(random: Random) -> Self {
        Self {
            client_version: format!(
                "Coco/v{}/{}-{}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
            cors_origins: Vec::new(),
            unlocked: Vec::new(),
            wait_for_block: false,
            failures_are_errors: false,
            random,
        }
    }

    /// For one node on a developer's machine. Test helpers look for the name of the client they know.
    pub fn developer(random: Random, unlocked: Vec<SecretKey>) -> Self {
        Self {
            client_version: concat!("anvil/coco-v", env!("CARGO_PKG_VERSION")).to_owned(),
            cors_origins: vec!["*".to_owned()],
            unlocked,
            wait_for_block: true,
            failures_are_errors: false,
            random,
        }
    }

    pub fn is_developer(&self) -> bool {
        !self.unlocked.is_empty()
    }
}
