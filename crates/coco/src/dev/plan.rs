//! Where the nodes of a development network listen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::output::Hinted;

/// First ports: those of node 0. Ports of ledgers are ten apart, the others one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    pub ethereum: u16,
    #[serde(default = "sawtooth")]
    pub sawtooth: u16,
    #[serde(default = "sawtooth_rest")]
    pub sawtooth_rest: u16,
    /// Processors that prove what they are are served only where somebody asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sawtooth_attested: Option<u16>,
    pub api: u16,
    /// Governance is served with the API unless somebody asks for a listener of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gov: Option<u16>,
    pub peers: u16,
    pub admin: u16,
}

/// The addresses of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub ethereum: SocketAddr,
    pub sawtooth: SocketAddr,
    pub sawtooth_rest: SocketAddr,
    pub sawtooth_attested: Option<SocketAddr>,
    pub api: SocketAddr,
    pub gov: Option<SocketAddr>,
    pub peers: SocketAddr,
    pub admin: SocketAddr,
}

/// Of networks that were made before there was Sawtooth.
fn sawtooth() -> u16 {
    4004
}

fn sawtooth_rest() -> u16 {
    8008
}

impl Ports {
    /// The addresses of node `index`. Clients reach `host`; peers and operators only this machine.
    pub fn of_node(self, index: u32, host: IpAddr) -> anyhow::Result<Addresses> {
        let port = |first: u16, apart: u32| {
            let port = index.checked_mul(apart).and_then(|offset| offset.checked_add(u32::from(first)));
            port.and_then(|port| u16::try_from(port).ok())
                .with_context(|| format!("node {index} has no port: {first} + {apart} * {index} exceeds 65535"))
        };
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(Addresses {
            ethereum: SocketAddr::new(host, port(self.ethereum, 10)?),
            sawtooth: SocketAddr::new(host, port(self.sawtooth, 10)?),
            sawtooth_rest: SocketAddr::new(host, port(self.sawtooth_rest, 10)?),
            sawtooth_attested: self
                .sawtooth_attested
                .map(|first| port(first, 10).map(|port| SocketAddr::new(host, port)))
                .transpose()?,
            api: SocketAddr::new(host, port(self.api, 1)?),
            gov: self.gov.map(|first| port(first, 1).map(|port| SocketAddr::new(host, port))).transpose()?,
            peers: SocketAddr::new(loopback, port(self.peers, 1)?),
            admin: SocketAddr::new(loopback, port(self.admin, 1)?),
        })
    }
}

impl Addresses {
    /// Where members govern.
    pub fn governance(&self) -> SocketAddr {
        self.gov.unwrap_or(self.api)
    }

    /// Each with its name and the flag that moves it.
    fn listeners(&self) -> impl Iterator<Item = (SocketAddr, &'static str, &'static str)> {
        let attested = self.sawtooth_attested;
        [
            (self.ethereum, "Ethereum", "--port"),
            (self.sawtooth, "Sawtooth components", "--sawtooth-port"),
            (self.sawtooth_rest, "Sawtooth REST", "--sawtooth-rest-port"),
            (self.api, "node API", "--api-port"),
            (self.peers, "peers", "--peers-port"),
            (self.admin, "admin", "--admin-port"),
        ]
        .into_iter()
        .chain(self.gov.map(|address| (address, "governance", "--gov-port")))
        .chain(attested.map(|address| (address, "Sawtooth attested processors", "--sawtooth-attested-port")))
    }
}

/// Fails with the port's name and the flag that moves it if something else listens there. A network that is there already keeps
/// the ports that its nodes were admitted with.
pub fn check_free(index: u32, addresses: &Addresses, kept: bool) -> anyhow::Result<()> {
    for (address, what, flag) in addresses.listeners() {
        if let Err(error) = TcpListener::bind(address) {
            let port = address.port();
            let hint = match kept {
                true => format!("end whatever uses port {port}: a network that was kept with --state keeps its ports"),
                false => format!("end whatever uses port {port}, or choose another first port with {flag}"),
            };
            return Err(Hinted::error(format!("cannot listen on {address} ({what} of node {index}): {error}"), hint));
        }
    }
    Ok(())
}

/// Fails if two nodes, or two of a node's listeners, were to have one port: with nine nodes the last one's API has the port of the first one's
/// Sawtooth REST.
pub fn check_apart(nodes: &[Addresses]) -> anyhow::Result<()> {
    let mut taken = BTreeMap::new();
    for (index, addresses) in nodes.iter().enumerate() {
        for (address, what, flag) in addresses.listeners() {
            let Some((other, other_flag)) = taken.insert(address.port(), (format!("{what} of node {index}"), flag))
            else {
                continue;
            };
            let error = format!("port {} would be both {other} and {what} of node {index}", address.port());
            return Err(Hinted::error(error, format!("choose another first port with {other_flag} or {flag}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_whose_ports_meet_are_refused_with_the_flags_that_part_them() {
        let nodes = |count| (0..count).map(|index| PORTS.of_node(index, HOST).unwrap()).collect::<Vec<_>>();
        assert!(check_apart(&nodes(8)).is_ok());
        let error = check_apart(&nodes(9)).unwrap_err();
        assert_eq!(error.to_string(), "port 8008 would be both Sawtooth REST of node 0 and node API of node 8");
        let hint = &error.downcast_ref::<Hinted>().unwrap().hint;
        assert!(hint.contains("--sawtooth-rest-port") && hint.contains("--api-port"), "{hint}");
    }

    const PORTS: Ports = Ports {
        ethereum: 8545,
        sawtooth: 4004,
        sawtooth_rest: 8008,
        sawtooth_attested: None,
        api: 8000,
        gov: Some(8200),
        peers: 8100,
        admin: 9464,
    };
    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_ports_of_a_node_follow_the_convention() {
        let addresses = PORTS.of_node(2, HOST).unwrap();
        let ledgers = [addresses.ethereum, addresses.sawtooth, addresses.sawtooth_rest];
        assert_eq!(ledgers.map(|address| address.port()), [8565, 4024, 8028]);
        let others = [addresses.api, addresses.peers, addresses.admin];
        assert_eq!(others.map(|address| address.port()), [8002, 8102, 9466]);
        assert_eq!(addresses.governance().port(), 8202);
    }

    #[test]
    fn a_node_without_a_port_is_refused() {
        assert!(PORTS.of_node(60_000, HOST).is_err());
        assert!(PORTS.of_node(u32::MAX, HOST).is_err());
    }

    #[test]
    fn a_port_in_use_is_named_with_the_flag_that_moves_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let free = SocketAddr::new(HOST, 0);
        let api = SocketAddr::new(HOST, port);
        let addresses = Addresses {
            ethereum: free,
            sawtooth: free,
            sawtooth_rest: free,
            sawtooth_attested: None,
            api,
            gov: None,
            peers: free,
            admin: free,
        };
        let kept = check_free(1, &addresses, true).unwrap_err();
        assert!(!kept.downcast_ref::<Hinted>().unwrap().hint.contains("--api-port"), "a kept port cannot be moved");
        let error = check_free(1, &addresses, false).unwrap_err();
        let hint = &error.downcast_ref::<Hinted>().unwrap().hint;
        assert!(error.to_string().contains(&format!("{port} (node API of node 1)")), "{error}");
        assert!(hint.contains(&port.to_string()) && hint.contains("--api-port"), "{hint}");
    }
}
