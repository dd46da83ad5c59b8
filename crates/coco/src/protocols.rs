//! The ledger protocols that this binary hosts: the one place that names them. To add one: a line in [`hosted`] and, if a
//! development network shall have it, one in [`genesis`].

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use coco_app::App;
use coco_crypto::{Crypto, SystemCrypto};
use coco_ethereum::Ethereum;
use coco_ethereum::rpc::Options;
use coco_node::config::NodeConfig;
use coco_protocol::Protocol;
use coco_records::Records;
use coco_sawtooth::Sawtooth;
use coco_sawtooth::limits::CONTRACT_THREADS;
use coco_sawtooth::local_roles::LocalRoles;
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
    /// Such a node answers with an error for a transaction that failed in its block.
    pub failures_are_errors: bool,
}

/// `[ledgers.sawtooth]` of a node's configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SawtoothSettings {
    /// Who may hand in batches at this node: roles to files of policies, as `[permissions]` of a validator.
    pub permissions: BTreeMap<String, PathBuf>,
}

/// Fresh objects, one for each protocol.
pub fn hosted(config: &NodeConfig) -> anyhow::Result<Vec<Arc<dyn Protocol>>> {
    let settings = config.ledgers.get(coco_ethereum::NAME).cloned().map(serde_json::from_value::<EthereumSettings>);
    let settings = settings.transpose().context("[ledgers.ethereum]")?.unwrap_or_default();
    let options = ethereum_options(&settings).context("[ledgers.ethereum]")?;
    let random = Arc::new(|bytes: &mut [u8]| SystemCrypto.fill(bytes));
    let roles = config.ledgers.get(coco_sawtooth::NAME).cloned().map(serde_json::from_value::<SawtoothSettings>);
    let roles = roles.transpose().context("[ledgers.sawtooth]")?.unwrap_or_default();
    let roles = local_roles(&roles).context("[ledgers.sawtooth]")?;
    let sawtooth = Sawtooth::new(random, Workers::threads(CONTRACT_THREADS)).with_roles(roles);
    let app = App::new(Arc::new(|bytes: &mut [u8]| SystemCrypto.fill(bytes)), coco_app::Workers::Threads);
    // Nodes name them to each other by their places in this list.
    Ok(vec![Arc::new(Ethereum::new(move || options.clone())), Arc::new(Records), Arc::new(sawtooth), Arc::new(app)])
}

/// Every ledger that this binary can host.
pub const NAMES: [&str; 4] = [coco_ethereum::NAME, coco_sawtooth::NAME, RECORDS, coco_app::NAME];

/// The ledgers of a development network, of those with these names.
pub fn genesis(names: &[String], ethereum: Value, sawtooth: Value) -> BTreeMap<String, Value> {
    let all = [
        (coco_ethereum::NAME, ethereum),
        (coco_sawtooth::NAME, sawtooth),
        (RECORDS, json!({})),
        (coco_app::NAME, json!({})),
    ];
    let hosted = all.into_iter().filter(|(name, _)| names.iter().any(|wanted| wanted == name));
    hosted.map(|(name, genesis)| (name.to_owned(), genesis)).collect()
}

/// Where a node of a development network serves them.
pub fn listeners(addresses: &Addresses) -> BTreeMap<String, SocketAddr> {
    let listener = |name: &str, address| (name.to_owned(), address);
    let attested = addresses.sawtooth_attested;
    [
        listener(coco_ethereum::NAME, addresses.ethereum),
        listener(coco_sawtooth::NAME, addresses.sawtooth_rest),
        listener(coco_sawtooth::component::LISTENER, addresses.sawtooth),
    ]
    .into_iter()
    .chain(attested.map(|address| listener(coco_sawtooth::component::ATTESTED_LISTENER, address)))
    .collect()
}

/// The protocols' settings of one node, for its configuration file.
pub fn settings(ethereum: &EthereumSettings) -> anyhow::Result<BTreeMap<String, Value>> {
    Ok([(coco_ethereum::NAME.to_owned(), serde_json::to_value(ethereum)?)].into())
}

fn local_roles(settings: &SawtoothSettings) -> anyhow::Result<LocalRoles> {
    let mut roles = LocalRoles::default();
    for (role, path) in &settings.permissions {
        let policy = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        roles.add(role, &policy).with_context(|| path.display().to_string())?;
    }
    Ok(roles)
}

fn ethereum_options(settings: &EthereumSettings) -> anyhow::Result<Options> {
    let key = |text: &String| text.trim_start_matches("0x").parse::<SecretKey>().context("unlocked");
    let unlocked: Vec<_> = settings.unlocked.iter().map(key).collect::<anyhow::Result<_>>()?;
    let random = Arc::new(|bytes: &mut [u8]| SystemCrypto.fill(bytes));
    let options = if unlocked.is_empty() { Options::new(random) } else { Options::developer(random, unlocked) };
    let (cors_origins, failures_are_errors) = (settings.cors_origins.clone(), settings.failures_are_errors);
    Ok(Options { cors_origins, failures_are_errors, ..options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constitution_refuses_an_application_where_other_ledgers_answer() {
        let text = coco_governance::constitution::DEFAULT;
        let (_, list) = text.split_once("const APP_PATHS_TAKEN = [").unwrap();
        let (list, _) = list.split_once(']').unwrap();
        for name in NAMES.into_iter().filter(|name| *name != coco_app::NAME) {
            assert!(list.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
