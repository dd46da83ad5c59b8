//! `coco dev`: a network of nodes on this machine, until Ctrl-C.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use alloy_genesis::Genesis;
use anyhow::Context;
use clap::Args;
use serde_json::Value;

use crate::accounts::DEV_MNEMONIC;
use crate::dev::banner::{self, Ready};
use crate::dev::console::Console;
use crate::dev::import::import;
use crate::dev::nodes::{Node, Nodes, wait_until_ready};
use crate::dev::plan::{Ports, check_apart, check_free};
use crate::dev::state::{Network, State};
use crate::governance::{self, Gov};
use crate::json_rpc::Client;
use crate::output::{self, Output};
use crate::{protocols, signals, tls};

/// Between two looks whether a node has ended.
const WATCH: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub struct Options {
    /// Nodes of the network; with one, it also signs for the accounts (eth_sendTransaction) and serves evm_, hardhat_ and anvil_ methods
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    nodes: u32,
    /// Members of the consortium, each with a fresh key
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    members: u32,
    /// Ethereum chain id
    #[arg(long, default_value_t = 31337)]
    chain_id: u64,
    /// Milliseconds from the first waiting transaction to its block
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    block_time: u64,
    /// A block for every submission, at once
    #[arg(long, conflicts_with = "block_time")]
    instant: bool,
    /// Gas limit of a block
    #[arg(long, default_value_t = 30_000_000)]
    gas_limit: u64,
    /// Largest code of a contract, bytes, instead of 24576
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(24_576..))]
    code_size_limit: Option<u64>,
    /// Base fee of every block; by default 1 gwei, and with one node what EIP-1559 makes of it
    #[arg(long, value_name = "WEI")]
    base_fee: Option<u64>,
    /// With one node: a transaction that fails in its block is answered with an error, as hardhat's node does, and not with its hash
    #[arg(long)]
    throw_on_transaction_failures: bool,
    /// Begin with this genesis file, as geth reads it, instead of funded accounts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["chain_id", "gas_limit", "code_size_limit"])]
    genesis: Option<PathBuf>,
    /// Execute these blocks at the beginning, RLP as other clients export it, check every root, and only serve them
    #[arg(long, value_name = "FILE", requires = "genesis")]
    import: Option<PathBuf>,
    /// Ledgers that the network begins with; its members can add others (coco gov propose add-ledger)
    #[arg(long, value_name = "LEDGER", value_delimiter = ',', default_values = protocols::NAMES, value_parser = protocols::NAMES)]
    ledgers: Vec<String>,
    /// Funded accounts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    accounts: u32,
    /// Accounts of one wei each that the first block holds besides, for trying out a large state: a hundred thousand take about a second.
    /// Those that `coco bench ethereum --crowd` makes
    #[arg(long, value_name = "ACCOUNTS", default_value_t = 0, conflicts_with = "genesis", value_parser = clap::value_parser!(u64).range(..=100_000_000))]
    crowd: u64,
    /// Balance of each account
    #[arg(long, value_name = "ETH", default_value_t = 10_000)]
    balance: u64,
    /// The accounts' mnemonic
    #[arg(long, default_value = DEV_MNEMONIC)]
    mnemonic: String,
    /// Keep the network in this folder, or use the one that is there, with the settings it was made with
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Ethereum port of the first node; the others' are ten apart
    #[arg(long, default_value_t = 8545)]
    port: u16,
    /// Sawtooth component port of the first node: SDK clients, transaction processors; the others' are ten apart
    #[arg(long, default_value_t = 4004)]
    sawtooth_port: u16,
    /// Sawtooth REST port of the first node; the others' are ten apart
    #[arg(long, default_value_t = 8008)]
    sawtooth_rest_port: u16,
    /// First port for Sawtooth processors that prove what they are; without it there is none
    #[arg(long, value_name = "PORT")]
    sawtooth_attested_port: Option<u16>,
    /// Node API port of the first node
    #[arg(long, default_value_t = 8000)]
    api_port: u16,
    /// Governance port of the first node, by convention 8200; without it, its API serves governance too
    #[arg(long, value_name = "PORT")]
    gov_port: Option<u16>,
    /// Port of the first node for other nodes
    #[arg(long, default_value_t = 8100)]
    peers_port: u16,
    /// Admin port of the first node: metrics, health
    #[arg(long, default_value_t = 9464)]
    admin_port: u16,
    /// Where clients reach the nodes
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// When ready, print exactly one line of JSON instead of the banner
    #[arg(long)]
    json: bool,
    /// Print nothing
    #[arg(long, conflicts_with = "json")]
    silent: bool,
    /// Seconds that a node may take to become ready
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

pub fn run(options: &Options, output: Output) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let raise = stop.clone();
    signals::on_stop(move || raise.store(true, Ordering::Relaxed))?;

    let wanted = options.network()?;
    let state = State::open(options.state.as_deref(), wanted.clone())?;
    if state.reused && state.network != wanted && !options.silent {
        output::tell(format_args!(
            "{} has a network already; it keeps the settings in its dev.json",
            state.folder.display()
        ));
    }
    let addresses = (0..state.network.nodes).map(|index| state.addresses(index)).collect::<anyhow::Result<Vec<_>>>()?;
    check_apart(&addresses)?;
    for (index, addresses) in (0..).zip(&addresses) {
        check_free(index, addresses, state.reused)?;
    }
    let mut nodes = Nodes(Vec::new());
    if !start_all(&state, &mut nodes, Duration::from_secs(options.timeout), &stop)? {
        return Ok(());
    }
    let ready = Ready::of(&state, &nodes.0)?;
    if options.json || output == Output::Json {
        output::line(&serde_json::to_string(&ready)?)?;
    } else if !options.silent {
        output::line(&banner::text(&state, &ready, state.genesis_timestamp_s()?)?)?;
    }
    let alone = state.network.nodes == 1 && !options.silent;
    let mut console = alone.then(|| Console::new(state.log_file(0)));
    watch(&state, &mut nodes, console.as_mut(), &stop)
}

impl Options {
    fn network(&self) -> anyhow::Result<Network> {
        let mut network = self.asked_for();
        if let Some(path) = &self.genesis {
            let text = fs::read(path).with_context(|| path.display().to_string())?;
            let genesis: Genesis = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
            (network.chain_id, network.gas_limit) = (genesis.config.chain_id, genesis.gas_limit);
        }
        let absolute = |path: &PathBuf| path.canonicalize().with_context(|| path.display().to_string());
        network.genesis = self.genesis.as_ref().map(absolute).transpose()?;
        network.import = self.import.as_ref().map(absolute).transpose()?;
        Ok(network)
    }

    fn asked_for(&self) -> Network {
        Network {
            nodes: self.nodes,
            members: self.members,
            chain_id: self.chain_id,
            gas_limit: self.gas_limit,
            code_size_limit: self.code_size_limit,
            base_fee: self.base_fee,
            throw_on_transaction_failures: self.throw_on_transaction_failures,
            genesis: None,
            import: None,
            block_time_ms: self.block_time,
            instant: self.instant,
            ledgers: self.ledgers.clone(),
            accounts: self.accounts,
            crowd: self.crowd,
            balance_ether: self.balance,
            mnemonic: self.mnemonic.clone(),
            host: self.host,
            ports: Ports {
                ethereum: self.port,
                sawtooth: self.sawtooth_port,
                sawtooth_rest: self.sawtooth_rest_port,
                sawtooth_attested: self.sawtooth_attested_port,
                api: self.api_port,
                gov: self.gov_port,
                peers: self.peers_port,
                admin: self.admin_port,
            },
        }
    }
}

/// Starts the nodes: of a new network first the one that founds it, whose certificate the others need. `false` if told to stop.
fn start_all(state: &State, nodes: &mut Nodes, timeout: Duration, stop: &AtomicBool) -> anyhow::Result<bool> {
    let founded = state.service_certificate().exists();
    for index in 0..state.network.nodes {
        nodes.0.push(Node::start(state, index)?);
        if index == 0 && !founded && !all_ready(state, nodes, timeout, stop)? {
            return Ok(false);
        }
    }
    if !all_ready(state, nodes, timeout, stop)? {
        return Ok(false);
    }
    open(state, timeout)?;
    if !founded && state.network.crowd > 0 && !crowd_is_there(state, stop)? {
        return Ok(false);
    }
    if let Some(file) = &state.network.import {
        import(&format!("http://{}", state.addresses(0)?.ethereum).parse()?, file)?;
    }
    Ok(true)
}

/// Waits for block 0, which comes after the crowd. `false` if told to stop.
fn crowd_is_there(state: &State, stop: &AtomicBool) -> anyhow::Result<bool> {
    let mut client = Client::connect(&format!("http://{}", state.addresses(0)?.ethereum).parse()?)?;
    while !stop.load(Ordering::Relaxed) {
        if client.call::<Value>("eth_getBlockByNumber", ("latest", false)).is_ok_and(|block| !block.is_null()) {
            return Ok(true);
        }
        thread::sleep(WATCH);
    }
    Ok(false)
}

/// As every network, this one is opened by its members' votes.
fn open(state: &State, timeout: Duration) -> anyhow::Result<()> {
    let tls = tls::trusting(&tls::read_certificate(&state.service_certificate())?)?;
    let gov = Gov::new(format!("https://{}", state.addresses(0)?.governance()).parse()?, tls);
    governance::open(&gov, &state.members()?, timeout).context("opening the network by its members' votes")
}

fn all_ready(state: &State, nodes: &mut Nodes, timeout: Duration, stop: &AtomicBool) -> anyhow::Result<bool> {
    for node in &mut nodes.0 {
        if !wait_until_ready(state, node, timeout, stop)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Until a signal: shows what contracts write, and reports nodes that end. They are not started again: whoever develops wants to see what happens then.
fn watch(state: &State, nodes: &mut Nodes, mut console: Option<&mut Console>, stop: &AtomicBool) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        // A log that cannot be read tells nothing, which is no reason to end the network.
        for line in console.as_mut().and_then(|console| console.lines().ok()).unwrap_or_default() {
            output::tell(line);
        }
        for node in &mut nodes.0 {
            if let Some(status) = node.newly_ended()? {
                let config = state.config_file(node.index);
                let log = state.log_file(node.index);
                output::tell(format_args!("node {} ended ({status}); log: {}", node.index, log.display()));
                let coco = std::env::current_exe()?;
                output::tell(format_args!(
                    "start it again with: {} node start --config {}",
                    coco.display(),
                    config.display()
                ));
            }
        }
        if nodes.0.iter().all(Node::ended_well) {
            output::tell(format_args!("the network has ended"));
            return Ok(());
        }
        thread::sleep(WATCH);
    }
    Ok(())
}
