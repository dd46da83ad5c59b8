//! The state folder of a development network: what `coco dev` writes, and finds again when started on the same folder.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use coco_ethereum::network::NetworkConfig;
use coco_node::config::{Genesis, Listen, NodeConfig, Start, Timing};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::genesis;
use super::plan::{Addresses, Ports};
use crate::accounts::{self, Account};
use crate::governance::Member;
use crate::http::Url;
use crate::protocols::{self, EthereumSettings};

const NETWORK_FILE: &str = "dev.json";
const GENESIS_FILE: &str = "genesis.json";

/// What was asked of `coco dev` when the network was made. Kept as `dev.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub nodes: u32,
    pub members: u32,
    pub chain_id: u64,
    pub gas_limit: u64,
    /// Of contracts, bytes, where it is not Ethereum's.
    #[serde(default)]
    pub code_size_limit: Option<u64>,
    /// Of every block, wei; see [`Network::fixed_base_fee`].
    #[serde(default)]
    pub base_fee: Option<u64>,
    /// A lone node answers as hardhat's does.
    #[serde(default)]
    pub throw_on_transaction_failures: bool,
    pub block_time_ms: u64,
    /// A block for every submission, at once.
    pub instant: bool,
    /// A genesis file as geth reads it, instead of funded accounts, and blocks that follow it.
    #[serde(default)]
    pub genesis: Option<PathBuf>,
    #[serde(default)]
    pub import: Option<PathBuf>,
    /// Which ledgers it begins with.
    #[serde(default = "every_ledger")]
    pub ledgers: Vec<String>,
    pub accounts: u32,
    /// Accounts of one wei each that block 0 holds besides.
    #[serde(default)]
    pub crowd: u64,
    pub balance_ether: u64,
    pub mnemonic: String,
    pub host: IpAddr,
    pub ports: Ports,
}

fn every_ledger() -> Vec<String> {
    protocols::NAMES.map(str::to_owned).to_vec()
}

/// Wei a unit of gas costs at first.
pub const BASE_FEE: u64 = 1_000_000_000;

impl Network {
    /// The base fee of every block, if it is the same. A lone node stands in for other developers' nodes, where it moves with the load;
    /// a network of several is for trying out a consortium, where a price that load drives up helps nobody.
    pub fn fixed_base_fee(&self) -> Option<u64> {
        self.base_fee.or((self.nodes > 1).then_some(BASE_FEE))
    }
}

/// A folder, possibly deleted at the end, with a network's files in it.
pub struct State {
    pub folder: PathBuf,
    pub network: Network,
    pub accounts: Vec<Account>,
    /// The network was there before: what was asked for does not count.
    pub reused: bool,
    /// Deletes the folder when dropped.
    ephemeral: Option<tempfile::TempDir>,
}

impl State {
    /// Opens the network in `folder`, or makes one; without a folder, in a temporary one.
    pub fn open(folder: Option<&Path>, wanted: Network) -> anyhow::Result<Self> {
        let ephemeral = match folder {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("coco-dev-").tempdir()?),
        };
        let folder = folder.unwrap_or_else(|| ephemeral.as_ref().map_or(Path::new("."), tempfile::TempDir::path));
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        // Children have other working folders when they are started by hand.
        let folder = folder.canonicalize()?;
        let existing = folder.join(NETWORK_FILE);
        let reused = existing.exists();
        let network = if reused { read(&existing)? } else { wanted };
        let accounts = accounts::derive(&network.mnemonic, usize::try_from(network.accounts)?)?;
        let state = Self { folder, network, accounts, reused, ephemeral };
        if !reused {
            state.create()?;
        }
        Ok(state)
    }

    fn create(&self) -> anyhow::Result<()> {
        let unexpected = fs::read_dir(&self.folder)?.next().is_some();
        ensure!(!unexpected, "{} is neither empty nor a development network's folder", self.folder.display());
        let genesis = genesis::create(&self.folder, &self.network, &self.accounts, self.ephemeral.is_none())?;
        fs::write(self.folder.join(GENESIS_FILE), serde_json::to_vec_pretty(&genesis)?)?;
        for index in 0..self.network.nodes {
            fs::write(self.config_file(index), toml::to_string(&self.node_config(index)?)?)?;
        }
        // Last: a folder with this file is complete.
        fs::write(self.folder.join(NETWORK_FILE), serde_json::to_vec_pretty(&self.network)?)?;
        Ok(())
    }

    fn node_config(&self, index: u32) -> anyhow::Result<NodeConfig> {
        let addresses = self.addresses(index)?;
        let start = if index == 0 {
            Start::New { genesis: self.folder.join(GENESIS_FILE) }
        } else {
            Start::Join {
                targets: vec![self.addresses(0)?.api],
                service_certificate: self.service_certificate(),
                constitution_digest: None,
            }
        };
        Ok(NodeConfig {
            index,
            data: self.data(index),
            listen: Listen {
                api: addresses.api,
                gov: addresses.gov,
                peers: addresses.peers,
                admin: addresses.admin,
                ledgers: protocols::listeners(&addresses),
            },
            start,
            role: Default::default(),
            timing: Timing::default(),
            amd_certificates: None,
            read_only_ledger_directories: Vec::new(),
            sealing_key_file: false,
            virtual_host_data: None,
            snapshot_bytes: coco_types::limits::SNAPSHOT_LEDGER_BYTES,
            dev: true,
            ledgers: protocols::settings(&self.ethereum_settings())?,
        })
    }

    /// Web pages of any origin may call; a lone node also signs for its accounts.
    fn ethereum_settings(&self) -> EthereumSettings {
        let alone = self.network.nodes == 1;
        let keys = self.accounts.iter().filter(|_| alone).map(Account::private_key_hex);
        EthereumSettings {
            cors_origins: vec!["*".to_owned()],
            unlocked: keys.collect(),
            failures_are_errors: self.network.throw_on_transaction_failures,
        }
    }

    pub fn addresses(&self, index: u32) -> anyhow::Result<Addresses> {
        self.network.ports.of_node(index, self.network.host)
    }

    pub fn config_file(&self, index: u32) -> PathBuf {
        self.folder.join(format!("node{index}.toml"))
    }

    pub fn log_file(&self, index: u32) -> PathBuf {
        self.folder.join(format!("node{index}.log"))
    }

    pub fn data(&self, index: u32) -> PathBuf {
        self.folder.join(format!("node{index}"))
    }

    /// The ledger's files of a node.
    pub fn ledger(&self, index: u32) -> PathBuf {
        self.data(index).join("ledger")
    }

    /// The consortium's members, whose keys lie in the folder.
    pub fn members(&self) -> anyhow::Result<Vec<Member>> {
        let member = |index: u32| {
            let file = |kind: &str| self.folder.join(format!("member{index}_{kind}.pem"));
            Member::read(&file("cert"), Some(&file("privk")))
        };
        (0..self.network.members).map(member).collect()
    }

    /// Unix seconds of the Ethereum genesis block, if the network began with one.
    pub fn genesis_timestamp_s(&self) -> anyhow::Result<Option<u64>> {
        let genesis: Genesis = read(&self.folder.join(GENESIS_FILE))?;
        let ethereum = genesis.ledgers.get(coco_ethereum::NAME);
        Ok(ethereum.map(NetworkConfig::read).transpose()?.map(|config| config.genesis.timestamp))
    }

    /// Where node 0 writes the service's certificate when it founds the network.
    pub fn service_certificate(&self) -> PathBuf {
        self.data(0).join("service_certificate.pem")
    }
}

/// The APIs of the nodes of a network that is kept in this folder, and its service certificate.
pub fn kept(folder: &Path) -> anyhow::Result<(Vec<Url>, PathBuf)> {
    let network: Network = read(&folder.join(NETWORK_FILE))?;
    let api = |index| -> anyhow::Result<Url> {
        format!("https://{}", network.ports.of_node(index, network.host)?.api).parse()
    };
    let apis = (0..network.nodes).map(api).collect::<anyhow::Result<_>>()?;
    Ok((apis, folder.join("node0").join("service_certificate.pem")))
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

#[cfg(test)]
impl Network {
    pub fn example() -> Self {
        Self {
            nodes: 3,
            members: 1,
            chain_id: 31337,
            gas_limit: 30_000_000,
            code_size_limit: None,
            base_fee: None,
            throw_on_transaction_failures: false,
            genesis: None,
            import: None,
            block_time_ms: 100,
            instant: false,
            ledgers: every_ledger(),
            accounts: 2,
            crowd: 0,
            balance_ether: 1,
            mnemonic: accounts::DEV_MNEMONIC.to_owned(),
            host: [127, 0, 0, 1].into(),
            ports: Ports {
                ethereum: 8545,
                sawtooth: 4004,
                sawtooth_rest: 8008,
                sawtooth_attested: None,
                api: 8000,
                gov: None,
                peers: 8100,
                admin: 9464,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_used_again_keeps_its_network() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::open(Some(folder.path()), Network::example()).unwrap();
        let again = State::open(Some(folder.path()), Network { nodes: 7, ..Network::example() }).unwrap();
        assert_eq!((first.network.nodes, again.network.nodes), (3, 3));
        assert_eq!((first.reused, again.reused), (false, true));
        let config: NodeConfig = toml::from_str(&fs::read_to_string(again.config_file(2)).unwrap()).unwrap();
        assert_eq!(config, again.node_config(2).unwrap());
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "irreplaceable").unwrap();
        assert!(State::open(Some(folder.path()), Network::example()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_temporary_network_leaves_nothing_behind() {
        let state = State::open(None, Network::example()).unwrap();
        let folder = state.folder.clone();
        assert!(folder.join(GENESIS_FILE).exists());
        drop(state);
        assert!(!folder.exists());
    }
}
