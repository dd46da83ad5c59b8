//! Which rules hold when: the fork schedule of a network, read from its genesis file. Data, not code.

use alloy_eips::BlobScheduleBlobParams;
use alloy_eips::eip7840::BlobParams;
use alloy_genesis::ChainConfig;
use alloy_primitives::U256;
use revm::primitives::hardfork::SpecId;

/// What a genesis file's `config` calls a limit of contracts' code that is not Ethereum's (EIP-170), as Besu does.
pub const CODE_BYTES_MAX_NAME: &str = "contractSizeLimit";
const ETHER: u128 = 1_000_000_000_000_000_000;

/// The forks of one network.
#[derive(Clone, Debug)]
pub struct ForkSchedule {
    chain: ChainConfig,
    blobs: BlobScheduleBlobParams,
}

impl ForkSchedule {
    pub fn new(chain: ChainConfig) -> Self {
        let blobs = chain.blob_schedule_blob_params();
        Self { chain, blobs }
    }

    pub fn chain(&self) -> &ChainConfig {
        &self.chain
    }

    /// The largest code of a contract, bytes, where it is not Ethereum's. Code that creates one may have twice of it (EIP-3860).
    pub fn code_bytes_max(&self) -> Option<usize> {
        let limit = self.chain.extra_fields.get(CODE_BYTES_MAX_NAME)?.as_u64()?;
        usize::try_from(limit).ok()
    }

    /// The rules of a block. Constantinople alone, which priced storage as no network kept it (EIP-1283), is run as Petersburg.
    pub fn spec(&self, number: u64, timestamp: u64) -> SpecId {
        // Newest first: a schedule may leave out forks that changed nothing it cares for.
        let chain = &self.chain;
        let at = |activation: Option<u64>, now: u64| activation.is_some_and(|activation| now >= activation);
        let forks = [
            (SpecId::OSAKA, at(chain.osaka_time, timestamp)),
            (SpecId::PRAGUE, at(chain.prague_time, timestamp)),
            (SpecId::CANCUN, at(chain.cancun_time, timestamp)),
            (SpecId::SHANGHAI, at(chain.shanghai_time, timestamp)),
            (SpecId::MERGE, at(self.merge_block(), number)),
            (SpecId::LONDON, at(chain.london_block, number)),
            (SpecId::BERLIN, at(chain.berlin_block, number)),
            (SpecId::ISTANBUL, at(chain.istanbul_block, number)),
            (SpecId::PETERSBURG, at(chain.petersburg_block, number) || at(chain.constantinople_block, number)),
            (SpecId::BYZANTIUM, at(chain.byzantium_block, number)),
            (SpecId::SPURIOUS_DRAGON, at(chain.eip158_block, number)),
            (SpecId::TANGERINE, at(chain.eip150_block, number)),
            (SpecId::HOMESTEAD, at(chain.homestead_block, number)),
        ];
        forks.iter().find(|(_, active)| *active).map_or(SpecId::FRONTIER, |(spec, _)| *spec)
    }

    /// Parameters of blobs, where they exist.
    pub fn blob_params(&self, timestamp: u64) -> Option<BlobParams> {
        let at = |activation: Option<u64>| activation.is_some_and(|activation| timestamp >= activation);
        if at(self.chain.osaka_time) {
            let scheduled = self.blobs.active_scheduled_params_at_timestamp(timestamp);
            Some(*scheduled.unwrap_or(&self.blobs.osaka))
        } else if at(self.chain.prague_time) {
            Some(self.blobs.prague)
        } else {
            at(self.chain.cancun_time).then_some(self.blobs.cancun)
        }
    }

    /// What a proof-of-work block paid its miner, wei. Only imported blocks pay it.
    pub fn block_reward(&self, number: u64) -> u128 {
        let at = |activation: Option<u64>| activation.is_some_and(|activation| number >= activation);
        if at(self.merge_block()) {
            0
        } else if at(self.chain.constantinople_block) || at(self.chain.petersburg_block) {
            2 * ETHER
        } else if at(self.chain.byzantium_block) {
            3 * ETHER
        } else {
            5 * ETHER
        }
    }

    /// The first block after the merge. A network whose terminal difficulty is not zero has to name it (`mergeNetsplitBlock`).
    fn merge_block(&self) -> Option<u64> {
        let chain = &self.chain;
        let from_start = chain.terminal_total_difficulty == Some(U256::ZERO) || chain.terminal_total_difficulty_passed;
        if from_start { Some(0) } else { chain.merge_netsplit_block }
    }
}
