//! `block_info` 1.0: what families may know about earlier blocks. The node itself adds its transaction to each block when the
//! setting `sawtooth.validator.batch_injectors` asks for it.

use crate::limits::BLOCK_INFO_REMOVED_MAX;
use prost::Message as _;

use super::{Call, Facts, Invalid, invalid};
use crate::address::{Address, is_id};
use crate::messages::family::{BlockInfo, BlockInfoConfig, BlockInfoTxn};

/// The namespace of blocks, for a header's inputs and outputs.
pub const BLOCKS: &str = "00b10c00";
/// Where the family keeps which blocks it has.
pub const CONFIG: Address = {
    let mut bytes = [0; 35];
    (bytes[1], bytes[2], bytes[3]) = (0xb1, 0x0c, 0x01);
    Address(bytes)
};
const TARGET_COUNT: u64 = 256;
const SYNC_TOLERANCE_S: u64 = 300;

/// Where a block is.
pub fn address(number: u64) -> Address {
    let mut bytes = [0; 35];
    (bytes[1], bytes[2]) = (0xb1, 0x0c);
    bytes[27..].copy_from_slice(&number.to_be_bytes());
    Address(bytes)
}

pub fn apply(call: &mut Call<'_>, facts: &Facts) -> Result<(), Invalid> {
    let payload =
        BlockInfoTxn::decode(call.payload.clone()).map_err(|_| Invalid("the payload does not decode".into()))?;
    let block = payload.block.clone().unwrap_or_default();
    check_form(&block)?;
    let mut config = match call.get_value(&CONFIG)? {
        Some(row) => BlockInfoConfig::decode(row).map_err(|_| Invalid("the configuration does not decode".into()))?,
        None => {
            let config = BlockInfoConfig {
                latest_block: block.block_num,
                oldest_block: block.block_num,
                target_count: or(payload.target_count, TARGET_COUNT),
                sync_tolerance: or(payload.sync_tolerance, SYNC_TOLERANCE_S),
            };
            return store(call, &config, &block, facts);
        }
    };
    let latest = call.get_value(&address(config.latest_block))?.and_then(|row| BlockInfo::decode(row).ok());
    let latest = latest.ok_or_else(|| Invalid("the latest block is not in the state".into()))?;
    if Some(block.block_num) != config.latest_block.checked_add(1) {
        return invalid(format!("Block number must be one more than previous block's: {}", config.latest_block));
    }
    if block.previous_block_id != latest.header_signature {
        return invalid("Previous block id must match header signature of previous block");
    }
    if block.timestamp < latest.timestamp {
        return invalid("Timestamp must be greater than previous block's");
    }
    config.latest_block = block.block_num;
    config.target_count = or(payload.target_count, config.target_count);
    config.sync_tolerance = or(payload.sync_tolerance, config.sync_tolerance);
    let mut removed = 0;
    while config.latest_block - config.oldest_block > config.target_count && removed < BLOCK_INFO_REMOVED_MAX {
        call.delete(&address(config.oldest_block))?;
        config.oldest_block += 1;
        removed += 1;
    }
    store(call, &config, &block, facts)
}

fn store(call: &mut Call<'_>, config: &BlockInfoConfig, block: &BlockInfo, facts: &Facts) -> Result<(), Invalid> {
    if block.timestamp > (facts.now_ms / 1000).saturating_add(config.sync_tolerance) {
        return invalid("Timestamp must be less than local time plus the tolerance");
    }
    call.set(&CONFIG, config.encode_to_vec())?;
    call.set(&address(block.block_num), block.encode_to_vec())
}

fn check_form(block: &BlockInfo) -> Result<(), Invalid> {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    let previous = &block.previous_block_id;
    if !is_id(previous) && previous != "0000000000000000" {
        return invalid("the previous block's id is not one");
    }
    if block.signer_public_key.len() != 66 || !is_hex(&block.signer_public_key) {
        return invalid("the signer's key is not one");
    }
    if is_id(&block.header_signature) { Ok(()) } else { invalid("the block's id is not one") }
}

fn or(given: u64, otherwise: u64) -> u64 {
    if given == 0 { otherwise } else { given }
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn info(number: u64, target_count: u64) -> Vec<u8> {
        let id = |number: u64| format!("{number:0128x}");
        let block = BlockInfo {
            block_num: number,
            previous_block_id: id(number.wrapping_sub(1)),
            signer_public_key: "0".repeat(66),
            header_signature: id(number),
            timestamp: 1_000 + number,
        };
        BlockInfoTxn { block: Some(block), target_count, sync_tolerance: 0 }.encode_to_vec()
    }

    #[test]
    fn a_block_is_where_the_original_puts_it() {
        assert_eq!(address(258).to_hex(), format!("00b10c00{:0>62}", "102"));
        assert_eq!(CONFIG.to_hex(), format!("00b10c01{}", "0".repeat(62)));
    }

    #[test]
    fn blocks_follow_each_other_and_the_oldest_go() {
        let mut world = World::default();
        let send = |world: &mut World, number| world.apply_at(2_000_000, apply, "", info(number, 2));
        for number in 1..=5 {
            send(&mut world, number).unwrap();
        }
        let kept: Vec<_> = (1..=5).filter(|number| world.0.contains_key(&address(*number))).collect();
        assert_eq!(kept, [3, 4, 5]);
        assert!(send(&mut world, 7).is_err());
        assert!(world.apply_at(0, apply, "", info(6, 2)).unwrap_err().contains("local time"));
    }
}
