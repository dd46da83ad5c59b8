//! The ledger protocols that this binary hosts: the one place that names them. To add one: a line in [`hosted`] and, if a
//! development network shall have it, one in [`genesis`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use coco_crypto::{Crypto, SystemCrypto};
use coco_ethereum::Ethereum;
use coco_ethereum::rpc::Options;
use coco_node::config::NodeConfig;
use coco_protocol::Protocol;
use coco_records::Records;
use coco_sawtooth::Sawtooth;
use coco_sawtooth::limits::CONTRACT_THREADS;
use coco_sawtooth::workers::Workers;
use secp256k1::SecretKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dev::plan::Addresses;

/// The records' name.
const RECORDS: &str = "records";

/// `[ledgers.ethereum]` of a node's configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EthereumSettings {
    /// Web pages of these origins may call; `*` means any.
    pub cors_origins: Vec<String>,
    /// Private keys, 0x and hex, that the node signs with for everybody: then it is a developer's node.
    pub unlocked: Vec<String>,
}

/// Fresh objects, one for each protocol.
pub fn hosted(config: &NodeConfig) -> anyhow::Result<Vec<Arc<dyn Protocol>>> {
    let settings = config.ledgers.get(coco_ethereum::NAME).cloned().map(serde_json::from_value::<EthereumSettings>);
    let settings = settings.transpose().context("[ledgers.ethereum]")?.unwrap_or_default();
    let options = ethereum_options(&settings).context("[ledgers.ethereum]")?;
    let random = Arc::new(|bytes: &mut [u8]| SystemCrypto.fill(bytes));
    let sawtooth = Sawtooth::new(random, Workers::threads(CONTRACT_THREADS));
    Ok(vec![Arc::new(Ethereum::new(move || options.clone())), Arc::new(Records), Arc::new(sawtooth)])
}

/// The ledgers of a development network.
pub fn genesis(ethereum: Value, sawtooth: Value) -> BTreeMap<String, Value> {
    let records = (RECORDS.to_owned(), json!({}));
    [(coco_ethereum::NAME.to_owned(), ethereum), (coco_sawtooth::NAME.to_owned(), sawtooth), records].into()
}

/// Where a node of a development network serves them.
pub fn listeners(addresses: &Addresses) -> BTreeMap<String, SocketAddr> {
    let listener = |name: &str, address| (name.to_owned(), address);
    [
        listener(coco_ethereum::NAME, addresses.ethereum),
        listener(coco_sawtooth::NAME, addresses.sawtooth_rest),
        listener(coco_sawtooth::component::LISTENER, addresses.sawtooth),
    ]
    .into()
}

/// The protocols' settings of one node, for its configuration file.
pub fn settings(ethereum: &EthereumSettings) -> anyhow::Result<BTreeMap<String, Value>> {
    Ok([(coco_ethereum::NAME.to_owned(), serde_json::to_value(ethereum)?)].into())
}

fn ethereum_options(settings: &EthereumSettings) -> anyhow::Result<Options> {
    let key = |text: &String| text.trim_start_matches("0x").parse::<SecretKey>().context("unlocked");
    let unlocked: Vec<_> = settings.unlocked.iter().map(key).collect::<anyhow::Result<_>>()?;
    let random = Arc::new(|bytes: &mut [u8]| SystemCrypto.fill(bytes));
    let options = if unlocked.is_empty() { Options::new(random) } else { Options::developer(random, unlocked) };
    Ok(Options { cors_origins: settings.cors_origins.clone(), ..options })
}
