//! Networks by the names that the tests give them.

use alloy_genesis::ChainConfig;
use alloy_primitives::U256;

use crate::fork::ForkSchedule;

/// Forks in their order, those by number first.
const FORKS: [&str; 15] = [
    "Frontier",
    "Homestead",
    "EIP150",
    "EIP158",
    "Byzantium",
    "Constantinople",
    "ConstantinopleFix",
    "Istanbul",
    "Berlin",
    "London",
    "Paris",
    "Shanghai",
    "Cancun",
    "Prague",
    "Osaka",
];

/// The rules of a network; `None` for one that is not known. `merge` is the first block without proof of work, where the test's
/// network comes to it by total difficulty.
pub(crate) fn schedule(name: &str, merge: Option<u64>) -> Option<ForkSchedule> {
    let (name, change) = match name.split_once("To") {
        Some((before, after)) => (before, Some(after)),
        None => (name, None),
    };
    let name = if name == "ArrowGlacier" { "London" } else { name };
    let mut chain = ChainConfig { chain_id: 1, ..ChainConfig::default() };
    let last = FORKS.iter().position(|fork| *fork == name)?;
    FORKS.get(..=last)?.iter().for_each(|fork| activate(&mut chain, fork, 0));
    if let Some(change) = change {
        let (fork, at) = change.split_once("At")?;
        let at = match at {
            "5" => 5,
            "Time15k" => 15_000,
            "DiffC0000" => merge?,
            _ => return None,
        };
        activate(&mut chain, fork, at);
    }
    Some(ForkSchedule::new(chain))
}

fn activate(chain: &mut ChainConfig, fork: &str, at: u64) {
    let slot = match fork {
        "Homestead" => &mut chain.homestead_block,
        "Dao" => &mut chain.dao_fork_block,
        "EIP150" => &mut chain.eip150_block,
        "EIP158" => &mut chain.eip158_block,
        "Byzantium" => &mut chain.byzantium_block,
        "Constantinople" => &mut chain.constantinople_block,
        "ConstantinopleFix" => &mut chain.petersburg_block,
        "Istanbul" => &mut chain.istanbul_block,
        "Berlin" => &mut chain.berlin_block,
        "London" => &mut chain.london_block,
        "Paris" => {
            chain.terminal_total_difficulty = (at == 0).then_some(U256::ZERO);
            &mut chain.merge_netsplit_block
        }
        "Shanghai" => &mut chain.shanghai_time,
        "Cancun" => &mut chain.cancun_time,
        "Prague" => &mut chain.prague_time,
        "Osaka" => &mut chain.osaka_time,
        _ => return,
    };
    *slot = Some(at);
}
