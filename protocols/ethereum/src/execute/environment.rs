//! The rules and the block that a transaction executes under.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::U256;
use revm::context::{BlockEnv, CfgEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::primitives::hardfork::SpecId;

use super::{Forged, Told};
use crate::fork::ForkSchedule;

/// Memory that one transaction may address, bytes. Gas bounds it far below in blocks; simulation with much gas needs it.
const MEMORY_BYTES_MAX: u64 = 128 << 20;

/// Everything the EVM has to know besides the state and the transaction.
#[derive(Clone, Debug)]
pub struct Environment {
    pub cfg: CfgEnv,
    pub block: BlockEnv,
    /// What contracts write to the console is told: for developers.
    pub console: bool,
    /// What the Coco precompile tells the transaction; `None` where there is no such precompile.
    pub coco: Option<Told>,
    /// For developers.
    pub forged: Option<Arc<Forged>>,
}

impl Environment {
    /// The environment of the block that `header` begins; only fields that are known before execution are read.
    pub fn new(schedule: &ForkSchedule, header: &Header) -> Self {
        let spec = schedule.spec(header.number, header.timestamp);
        let mut cfg = CfgEnv::new().with_chain_id(schedule.chain().chain_id).with_spec_and_mainnet_gas_params(spec);
        cfg.memory_limit = MEMORY_BYTES_MAX;
        cfg.limit_contract_code_size = schedule.code_bytes_max();
        let mut block = BlockEnv {
            number: U256::from(header.number),
            beneficiary: header.beneficiary,
            timestamp: U256::from(header.timestamp),
            gas_limit: header.gas_limit,
            basefee: header.base_fee_per_gas.unwrap_or(0),
            difficulty: header.difficulty,
            prevrandao: spec.is_enabled_in(SpecId::MERGE).then_some(header.mix_hash),
            blob_excess_gas_and_price: None,
            slot_num: 0,
        };
        if let Some(params) = schedule.blob_params(header.timestamp) {
            cfg.set_max_blobs_per_tx(params.max_blobs_per_tx);
            let excess_blob_gas = header.excess_blob_gas.unwrap_or(0);
            let blob_gasprice = params.calc_blob_fee(excess_blob_gas);
            block.blob_excess_gas_and_price = Some(BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice });
        }
        Self { cfg, block, console: false, coco: None, forged: None }
    }

    pub fn spec(&self) -> SpecId {
        self.cfg.spec
    }
}
