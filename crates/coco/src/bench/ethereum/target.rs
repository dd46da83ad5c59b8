//! The server under load, and what must be known of it before.

use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U64, U256};
use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::bench::{cpu, memory};
use crate::http::Url;
use crate::json_rpc::Client;
use crate::output::Hinted;

/// Between a block's announcement and the block.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// No arguments, in a form that every server takes.
const NOTHING: [(); 0] = [];
/// Questions in one request while nothing is being measured.
const QUESTIONS_MAX: usize = 200;

/// A server and a connection for everything but the load itself.
pub struct Target {
    pub url: Url,
    pub client: Client,
    pub client_version: String,
    pub chain_id: u64,
    pids: Vec<u32>,
}

/// What is checked of a receipt.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub status: U64,
}

/// A block with the hashes of its transactions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    pub transactions: Vec<B256>,
    pub base_fee_per_gas: Option<U256>,
    pub gas_limit: U64,
}

impl Target {
    pub fn connect(url: &Url, pids: &[u32]) -> anyhow::Result<Self> {
        let unreachable = |error: anyhow::Error| {
            Hinted::error(format!("{error:#}"), "start a network with `coco dev`, or name a running server with --url")
        };
        let mut client = Client::connect(url).map_err(unreachable)?;
        let client_version = client.call("web3_clientVersion", NOTHING)?;
        let chain_id: U64 = client.call("eth_chainId", NOTHING)?;
        cpu::used_by(pids)?;
        Ok(Self { url: url.clone(), client, client_version, chain_id: chain_id.to(), pids: pids.to_vec() })
    }

    pub fn block_number(&mut self) -> anyhow::Result<u64> {
        Ok(self.client.call::<U64>("eth_blockNumber", NOTHING)?.to())
    }

    pub fn block(&mut self, number: u64) -> anyhow::Result<Block> {
        let asked = Instant::now();
        loop {
            if let Some(block) = self.client.call("eth_getBlockByNumber", (U64::from(number), false))? {
                return Ok(block);
            }
            // ganache announces a block a moment before it has it.
            ensure!(asked.elapsed() < BLOCK_TIMEOUT, "block {number} is announced but not there");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn receipt(&mut self, hash: &B256) -> anyhow::Result<Option<Receipt>> {
        self.client.call("eth_getTransactionReceipt", (hash,))
    }

    /// Receipts of transactions that are known to be in blocks.
    pub fn receipts(&mut self, hashes: &[B256]) -> anyhow::Result<Vec<Receipt>> {
        let params: Vec<_> = hashes.iter().map(|hash| (hash,)).collect();
        let mut receipts = Vec::with_capacity(hashes.len());
        for (params, hashes) in params.chunks(QUESTIONS_MAX).zip(hashes.chunks(QUESTIONS_MAX)) {
            let answers: Vec<Option<Receipt>> = self.client.batch("eth_getTransactionReceipt", params)?;
            for (answer, hash) in answers.into_iter().zip(hashes) {
                receipts.push(answer.with_context(|| format!("{hash} has no receipt"))?);
            }
        }
        Ok(receipts)
    }

    pub fn balances(&mut self, addresses: &[Address]) -> anyhow::Result<Vec<U256>> {
        self.of_each("eth_getBalance", addresses)
    }

    pub fn nonces(&mut self, addresses: &[Address]) -> anyhow::Result<Vec<u64>> {
        let nonces: Vec<U64> = self.of_each("eth_getTransactionCount", addresses)?;
        Ok(nonces.into_iter().map(|nonce| nonce.to()).collect())
    }

    /// CPU time of the server's processes, if any were named.
    pub fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        if self.pids.is_empty() { Ok(None) } else { cpu::used_by(&self.pids).map(Some) }
    }

    /// Resident memory of the server's processes, if any were named.
    pub fn memory_bytes(&self) -> anyhow::Result<Option<u64>> {
        if self.pids.is_empty() { Ok(None) } else { memory::resident_bytes(&self.pids).map(Some) }
    }

    /// What a transfer offers for a unit of gas: enough for the base fee to grow a hundredfold from the usual gwei.
    pub fn fee_cap(&mut self) -> anyhow::Result<u128> {
        let head = self.block_number()?;
        let base: u128 = self.block(head)?.base_fee_per_gas.unwrap_or_default().try_into()?;
        ensure!(base < 1 << 60, "a base fee of {base} wei is beyond any test");
        Ok(base * 2 + 100_000_000_000)
    }

    fn of_each<T: serde::de::DeserializeOwned>(
        &mut self,
        method: &str,
        addresses: &[Address],
    ) -> anyhow::Result<Vec<T>> {
        let params: Vec<_> = addresses.iter().map(|address| (address, "latest")).collect();
        let mut answers = Vec::with_capacity(addresses.len());
        for params in params.chunks(QUESTIONS_MAX) {
            answers.extend(self.client.batch(method, params)?);
        }
        Ok(answers)
    }
}
