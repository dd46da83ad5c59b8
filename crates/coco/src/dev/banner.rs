//! What `coco dev` prints when the network is ready: for people in anvil's manner, for programs as one line of JSON.

use std::fmt::Write;

use serde::Serialize;

use super::nodes::Node;
use super::state::{BASE_FEE, Network, State};
use crate::accounts::DERIVATION_PATH;
use crate::{output, tls};

/// The line of `--json`.
#[derive(Debug, Serialize)]
pub struct Ready {
    chain_id: u64,
    nodes: Vec<ReadyNode>,
    service_certificate: String,
    /// SHA-256 over the roots of vendors that the network was founded on, as the service's certificate has it.
    anchors: Option<String>,
    state: String,
    accounts: Vec<ReadyAccount>,
}

#[derive(Debug, Serialize)]
struct ReadyNode {
    node: u32,
    pid: u32,
    ethereum: String,
    sawtooth: String,
    sawtooth_rest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sawtooth_attested: Option<String>,
    api: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gov: Option<String>,
    admin: String,
    ledger: String,
    config: String,
}

#[derive(Debug, Serialize)]
struct ReadyAccount {
    address: String,
    private_key: String,
}

impl Ready {
    pub fn of(state: &State, nodes: &[Node]) -> anyhow::Result<Self> {
        let node = |node: &Node| -> anyhow::Result<ReadyNode> {
            let addresses = state.addresses(node.index)?;
            Ok(ReadyNode {
                node: node.index,
                pid: node.pid,
                ethereum: format!("http://{}", addresses.ethereum),
                sawtooth: format!("tcp://{}", addresses.sawtooth),
                sawtooth_rest: format!("http://{}", addresses.sawtooth_rest),
                sawtooth_attested: addresses.sawtooth_attested.map(|address| address.to_string()),
                api: format!("https://{}", addresses.api),
                gov: addresses.gov.map(|address| format!("https://{address}")),
                admin: format!("http://{}", addresses.admin),
                ledger: state.ledger(node.index).display().to_string(),
                config: state.config_file(node.index).display().to_string(),
            })
        };
        let accounts = state.accounts.iter().map(|account| ReadyAccount {
            address: account.address.to_checksum(None),
            private_key: account.private_key_hex(),
        });
        Ok(Self {
            chain_id: state.network.chain_id,
            nodes: nodes.iter().map(node).collect::<anyhow::Result<_>>()?,
            service_certificate: state.service_certificate().display().to_string(),
            anchors: anchors(state),
            state: state.folder.display().to_string(),
            accounts: accounts.collect(),
        })
    }
}

fn anchors(state: &State) -> Option<String> {
    let service = tls::read_certificate(&state.service_certificate()).ok()?;
    coco_attestation::anchors_in(&service).map(|digest| digest.to_string())
}

/// The banner. Its last line is `Listening on …`, for which tools wait.
pub fn text(state: &State, ready: &Ready, genesis_timestamp_s: Option<u64>) -> Result<String, std::fmt::Error> {
    let network = &state.network;
    let mut out = String::from("\nCoco: a confidential consortium network, for development\n");
    let warning = output::red("TEE: virtual: no protection");
    writeln!(out, "{warning}")?;
    if let Some(anchors) = &ready.anchors {
        writeln!(out, "Accepted anchors: {anchors}")?;
    }
    writeln!(out)?;
    if let Some(genesis_timestamp_s) = genesis_timestamp_s {
        ethereum(&mut out, network, ready, genesis_timestamp_s)?;
    }
    endpoints(&mut out, ready)?;
    let listening = state.addresses(0).map(|addresses| addresses.ethereum.to_string()).unwrap_or_default();
    write!(out, "\nListening on {listening}")?;
    Ok(out)
}

fn ethereum(out: &mut String, network: &Network, ready: &Ready, genesis_timestamp_s: u64) -> std::fmt::Result {
    section(out, "Available Accounts")?;
    for (i, account) in ready.accounts.iter().enumerate() {
        writeln!(out, "({i}) {} ({}.000000000000000000 ETH)", account.address, network.balance_ether)?;
    }
    section(out, "\nPrivate Keys")?;
    for (i, account) in ready.accounts.iter().enumerate() {
        writeln!(out, "({i}) {}", account.private_key)?;
    }
    section(out, "\nWallet")?;
    writeln!(out, "Mnemonic:          {}", network.mnemonic)?;
    writeln!(out, "Derivation path:   {DERIVATION_PATH}")?;
    let facts = [
        ("Chain ID", network.chain_id.to_string()),
        ("Base Fee", network.fixed_base_fee().unwrap_or(BASE_FEE).to_string()),
        ("Gas Limit", network.gas_limit.to_string()),
        ("Genesis Timestamp", genesis_timestamp_s.to_string()),
    ];
    for (title, fact) in facts {
        section(out, &format!("\n{title}"))?;
        writeln!(out, "{fact}")?;
    }
    Ok(())
}

fn endpoints(out: &mut String, ready: &Ready) -> std::fmt::Result {
    section(out, "\nNodes")?;
    for node in &ready.nodes {
        writeln!(
            out,
            "({}) Ethereum {}  API {}  admin {}  pid {}",
            node.node, node.ethereum, node.api, node.admin, node.pid
        )?;
        writeln!(out, "    Sawtooth {}  REST {}", node.sawtooth, node.sawtooth_rest)?;
    }
    section(out, "\nFiles")?;
    writeln!(out, "State folder:        {}", ready.state)?;
    writeln!(out, "Service certificate: {}", ready.service_certificate)?;
    section(out, "\nTry")?;
    if let Some(node) = ready.nodes.first() {
        let question = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#;
        writeln!(out, "curl -H 'content-type: application/json' -d '{question}' {}", node.ethereum)?;
        writeln!(out, "curl --cacert {} {}/node/network", ready.service_certificate, node.api)?;
        let gov = node.gov.as_ref().unwrap_or(&node.api);
        writeln!(out, "coco gov members --service {} --api {gov}", ready.service_certificate)?;
    }
    Ok(())
}

fn section(out: &mut String, title: &str) -> std::fmt::Result {
    writeln!(out, "{title}\n==================")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_ends_with_the_line_that_tools_wait_for() {
        let state = State::open(None, Network::example()).unwrap();
        let ready = Ready::of(&state, &[]).unwrap();
        let banner = text(&state, &ready, Some(1)).unwrap();
        assert!(banner.ends_with("\nListening on 127.0.0.1:8545"), "{banner}");
        assert!(
            banner.contains("(0) 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 (1.000000000000000000 ETH)"),
            "{banner}"
        );
        assert!(banner.contains("virtual: no protection"), "{banner}");
    }

    #[test]
    fn the_json_is_one_line_with_the_fields_that_programs_read() {
        let state = State::open(None, Network::example()).unwrap();
        let line = serde_json::to_string(&Ready::of(&state, &[]).unwrap()).unwrap();
        assert!(!line.contains('\n'));
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        let fields: Vec<_> = parsed.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["accounts", "anchors", "chain_id", "nodes", "service_certificate", "state"]);
    }
}
