//! `eth_config` (EIP-7910): the fork that is active, the next one, and the last one that is scheduled.

use std::collections::{BTreeMap, BTreeSet};

use alloy_eips::eip2124::ForkHash;
use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_primitives::{Address, B256};
use revm::precompile::{PrecompileSpecId, Precompiles};
use revm::primitives::hardfork::SpecId;

use crate::chain::Network;
use crate::execute::COCO;
use crate::fork::ForkSchedule;
use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, Object};
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;

pub const METHODS: &[Method] = &[Method::read("eth_config", config)];

fn config(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let chain = call.chain();
    let head = chain.head_header()?;
    let genesis = chain.header(0)?.ok_or_else(RpcError::header_not_found)?;
    let network = call.server.ledger.network();
    let schedule = &network.schedule;
    let times = activation_times(schedule, genesis.timestamp);
    let (active, scheduled): (Vec<u64>, Vec<u64>) = times.iter().partition(|time| **time <= head.timestamp);
    let genesis_hash = genesis.hash_slow();
    let push = |object: &mut Object<'_>, name: &str, time: Option<&u64>| match time {
        Some(time) => object.object(name, |object| fork(object, &network, genesis_hash, genesis.timestamp, *time)),
        None => object.null(name),
    };
    Ok(Json::object(|object| {
        push(object, "current", active.last().or(Some(&genesis.timestamp)));
        push(object, "next", scheduled.first());
        push(object, "last", scheduled.last());
    }))
}

fn fork(object: &mut Object<'_>, network: &Network, genesis_hash: B256, genesis_time: u64, time: u64) {
    let schedule = &network.schedule;
    // Forks by time come after all forks by number.
    let spec = schedule.spec(u64::MAX, time);
    object.field("activationTime").push_str(&time.to_string());
    match schedule.blob_params(time) {
        Some(params) => object.object("blobSchedule", |object| {
            object.field("target").push_str(&params.target_blob_count.to_string());
            object.field("max").push_str(&params.max_blob_count.to_string());
            object.field("baseFeeUpdateFraction").push_str(&params.update_fraction.to_string());
        }),
        None => object.null("blobSchedule"),
    }
    object.quantity("chainId", schedule.chain().chain_id);
    object.data("forkId", &fork_hash(schedule, genesis_hash, genesis_time, time).0);
    object.object("precompiles", |object| {
        let precompiles = Precompiles::new(PrecompileSpecId::from_spec_id(spec));
        let named = precompiles.addresses().filter_map(|address| {
            let precompile = precompiles.get(address)?;
            Some((precompile.id().name().to_owned(), *address))
        });
        let own = network.config.coco_precompile.then(|| ("COCO".to_owned(), COCO));
        for (name, address) in named.chain(own).collect::<BTreeMap<String, Address>>() {
            object.address(&name, &address);
        }
    });
    object.object("systemContracts", |object| system_contracts(object, schedule, spec));
}

fn system_contracts(object: &mut Object<'_>, schedule: &ForkSchedule, spec: SpecId) {
    if spec.is_enabled_in(SpecId::CANCUN) {
        object.address("BEACON_ROOTS_ADDRESS", &eip4788::BEACON_ROOTS_ADDRESS);
    }
    if spec.is_enabled_in(SpecId::PRAGUE) {
        let consolidations = eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS;
        object.address("CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS", &consolidations);
        let deposits = schedule.chain().deposit_contract_address.unwrap_or_default();
        object.address("DEPOSIT_CONTRACT_ADDRESS", &deposits);
        object.address("HISTORY_STORAGE_ADDRESS", &eip2935::HISTORY_STORAGE_ADDRESS);
        object.address("WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS", &eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS);
    }
}

/// When forks by time begin, in order, those of the first block left out.
fn activation_times(schedule: &ForkSchedule, genesis_time: u64) -> BTreeSet<u64> {
    let chain = schedule.chain();
    let times = [
        chain.shanghai_time,
        chain.cancun_time,
        chain.prague_time,
        chain.osaka_time,
        chain.bpo1_time,
        chain.bpo2_time,
        chain.bpo3_time,
        chain.bpo4_time,
        chain.bpo5_time,
    ];
    times.into_iter().flatten().filter(|time| *time > genesis_time).collect()
}

/// EIP-2124: the hash of the first block and of every fork up to this one.
fn fork_hash(schedule: &ForkSchedule, genesis_hash: B256, genesis_time: u64, time: u64) -> ForkHash {
    let chain = schedule.chain();
    let numbers = [
        chain.homestead_block,
        chain.dao_fork_block,
        chain.eip150_block,
        chain.eip155_block,
        chain.eip158_block,
        chain.byzantium_block,
        chain.constantinople_block,
        chain.petersburg_block,
        chain.istanbul_block,
        chain.muir_glacier_block,
        chain.berlin_block,
        chain.london_block,
        chain.arrow_glacier_block,
        chain.gray_glacier_block,
        chain.merge_netsplit_block,
    ];
    let numbers: BTreeSet<u64> = numbers.into_iter().flatten().filter(|number| *number > 0).collect();
    let times = activation_times(schedule, genesis_time).into_iter().filter(|activation| *activation <= time);
    numbers.into_iter().chain(times).fold(ForkHash::from(genesis_hash), |hash, fork| hash + fork)
}
