//! Executing an operation.

use alloy_primitives::Address;
use bytes::Bytes;
use coco_kv::Tx;
use coco_protocol::{Context, Rejection, RejectionReason};
use coco_types::limits;

use super::operation::{AccountEdit, LoadedAccount, Operation, Setting};
use super::patch::{patch, patch_account, patch_code, patch_slot};
use super::revert::{revert, snapshot};
use super::settings::Settings;
use crate::chain::{Chain, Tip};
use crate::network::NetworkConfig;
use crate::protocol::import_blocks;
use crate::state::{Account, META, META_CONFIG, OF_BLOCKS, OPERATION, STORAGE, State};

/// Not what was asked for, with the reason.
pub(super) fn refused(why: &str) -> Rejection {
    Rejection::new(RejectionReason::Refused, -32602, why)
}

/// What an operation made of the chain, beside its rows.
struct Done {
    settings: Settings,
    /// The newest block, if it is another one now.
    tip: Option<Tip>,
    /// JSON.
    answer: String,
}

/// Impersonated signatures.
const FORGED_MAX: usize = 1_024;

impl Chain {
    /// Executes an operation in a ledger transaction of its own; gives the answer to its caller, JSON.
    pub fn operate(&self, tx: &mut Tx, operation: &Operation, context: &Context<'_>) -> Result<String, Rejection> {
        let imports = matches!(operation, Operation::Import(_)) && self.network().config.frozen;
        if !self.is_developers() && !imports {
            return Err(refused("this is no developer's node"));
        }
        let before = Settings::in_force(tx);
        let done = self.perform(tx, operation, before.clone(), context)?;
        // Mining stores what it uses up.
        if done.settings != before {
            done.settings.store(tx);
        }
        let record = serde_json::to_vec(operation).map_err(|error| refused(&error.to_string()))?;
        let place = [context.txid.view.0.to_be_bytes(), context.txid.seqno.0.to_be_bytes()].concat();
        tx.put(&OPERATION, place, record);
        let copies = 1 + usize::from(OF_BLOCKS.iter().any(|map| context.is_published(map)));
        if tx.write_bytes().saturating_mul(copies) > limits::WRITE_SET_BYTES_MAX {
            return Err(refused("that changes more than a ledger transaction holds"));
        }
        self.operated(Settings::in_force(tx).mining(), done.tip);
        Ok(done.answer)
    }

    fn perform(
        &self,
        tx: &mut Tx,
        operation: &Operation,
        settings: Settings,
        context: &Context<'_>,
    ) -> Result<Done, Rejection> {
        let done = |answer: String, tip| Done { settings: settings.clone(), tip, answer };
        let agreed = || "true".to_owned();
        match operation {
            Operation::Set(setting) => {
                let parent_s = self.newest(tx).map_err(|error| refused(&error.to_string()))?.header.timestamp;
                let mut settings = settings;
                let answer = set(tx, &mut settings, setting, parent_s, context)?;
                Ok(Done { settings, tip: None, answer })
            }
            Operation::Edit { address, edit } => {
                edit_account(tx, address, edit)?;
                Ok(done(agreed(), None))
            }
            Operation::Load(accounts) => {
                for (address, account) in accounts {
                    load_account(tx, address, account);
                }
                Ok(done(agreed(), None))
            }
            Operation::Mine { timestamp_s } => {
                if let Some(timestamp_s) = *timestamp_s {
                    let settings = Settings { next_timestamp_s: Some(timestamp_s), ..settings.clone() };
                    check_later(timestamp_s, self.newest(tx).map_err(|error| refused(&error.to_string()))?)?;
                    settings.store(tx);
                }
                self.open_asked_for(tx, context).map_err(|error| refused(&error.to_string()))?;
                // What the block used up of the settings is stored already.
                Ok(Done { settings: Settings::in_force(tx), tip: None, answer: agreed() })
            }
            Operation::MineEmpty { blocks, interval_s } => {
                let parent = self.newest(tx).map_err(|error| refused(&error.to_string()))?;
                let tip = self.mine_empty(tx, parent, *blocks, *interval_s, context)?;
                Ok(Done { settings: Settings::in_force(tx), tip: Some(tip), answer: agreed() })
            }
            Operation::Import(blocks) => {
                let parent = self.newest(tx).map_err(|error| refused(&error.to_string()))?;
                let schedule = &self.network().schedule;
                let imported = import_blocks(tx, self.codes(), schedule, parent, blocks);
                let tip = imported.map_err(|error| refused(&error.to_string()))?;
                let number = tip.header.number;
                Ok(done(format!("\"{number:#x}\""), Some(tip)))
            }
            Operation::Snapshot => {
                let head = self.newest(tx).map_err(|error| refused(&error.to_string()))?.header.number;
                let id = snapshot(tx, head, settings.clone(), context);
                Ok(done(format!("\"{id:#x}\""), None))
            }
            Operation::Revert(back) => {
                let head = self.newest(tx).map_err(|error| refused(&error.to_string()))?;
                let (tip, settings) = revert(tx, back, head, settings, context)?;
                Ok(Done { settings, tip: Some(tip), answer: agreed() })
            }
        }
    }
}

fn check_later(timestamp_s: u64, parent: Tip) -> Result<(), Rejection> {
    let parent_s = parent.header.timestamp;
    if timestamp_s <= parent_s {
        return Err(refused(&format!(
            "timestamp {timestamp_s} is lower than or equal to previous block's timestamp {parent_s}"
        )));
    }
    Ok(())
}

fn set(
    tx: &mut Tx,
    settings: &mut Settings,
    setting: &Setting,
    parent_s: u64,
    context: &Context<'_>,
) -> Result<String, Rejection> {
    match *setting {
        Setting::IncreaseTime(seconds) => {
            settings.offset_s = settings.offset_s.saturating_add_unsigned(seconds);
            return Ok(settings.offset_s.to_string());
        }
        Setting::Time(time_s) => {
            settings.set_time(time_s, context.now_ms);
            return Ok(settings.offset_s.to_string());
        }
        Setting::NextTimestamp(time_s) if time_s <= parent_s => {
            return Err(refused(&format!(
                "timestamp {time_s} is lower than or equal to previous block's timestamp {parent_s}"
            )));
        }
        Setting::NextTimestamp(time_s) => settings.next_timestamp_s = Some(time_s),
        Setting::TimestampInterval(interval_s) => settings.timestamp_interval_s = interval_s,
        Setting::GasLimit(gas) if gas < 21_000 => return Err(refused("no transaction fits into that gas limit")),
        Setting::GasLimit(gas) => settings.gas_limit = Some(gas),
        Setting::Coinbase(address) => settings.coinbase = Some(address),
        Setting::NextBaseFee(fee) => settings.next_base_fee = Some(fee),
        Setting::NextPrevrandao(hash) => settings.next_prevrandao = Some(hash),
        Setting::Automine(on) => settings.automine = on,
        Setting::IntervalMs(interval_ms) => settings.interval_ms = interval_ms,
        Setting::Impersonate(address) => drop(settings.impersonated.insert(address)),
        Setting::StopImpersonating(address) => drop(settings.impersonated.remove(&address)),
        Setting::ImpersonateSignature { .. } if settings.forged.len() >= FORGED_MAX => {
            return Err(refused(&format!("{FORGED_MAX} signatures are impersonated")));
        }
        Setting::ImpersonateSignature { signature, account } => drop(settings.forged.insert(signature, account)),
        Setting::ImpersonateAll(on) => settings.impersonates_all = on,
        Setting::ChainId(chain_id) => set_chain_id(tx, chain_id)?,
    }
    Ok("true".to_owned())
}

fn set_chain_id(tx: &mut Tx, chain_id: u64) -> Result<(), Rejection> {
    if chain_id == 0 {
        return Err(refused("chain id is 0"));
    }
    let row = tx.get(&META, META_CONFIG).unwrap_or_default();
    let config: NetworkConfig = serde_json::from_slice(&row).map_err(|error| refused(&error.to_string()))?;
    let mut config = config;
    config.genesis.config.chain_id = chain_id;
    let json = serde_json::to_vec(&config).map_err(|error| refused(&error.to_string()))?;
    tx.put(&META, META_CONFIG, json);
    Ok(())
}

fn edit_account(tx: &mut Tx, address: &Address, edit: &AccountEdit) -> Result<(), Rejection> {
    let state: &mut dyn State = tx;
    let mut account = state.account(address).map_err(|error| refused(&error.to_string()))?.unwrap_or_default();
    match edit {
        AccountEdit::Balance(balance) => account.balance = *balance,
        AccountEdit::AddBalance(more) => {
            account.balance =
                account.balance.checked_add(*more).ok_or_else(|| refused("the balance would exceed 256 bits"))?;
        }
        AccountEdit::Nonce(nonce) => account.nonce = *nonce,
        AccountEdit::Code(code) => patch_code(tx, &mut account, code),
        AccountEdit::Slot { slot, value } => {
            patch_slot(tx, address, *slot, *value);
            return Ok(());
        }
    }
    patch_account(tx, address, &account);
    Ok(())
}

fn load_account(tx: &mut Tx, address: &Address, loaded: &LoadedAccount) {
    let mut account = Account { nonce: loaded.nonce, balance: loaded.balance, ..Account::default() };
    patch_code(tx, &mut account, &loaded.code);
    patch_account(tx, address, &account);
    let before: Vec<Bytes> =
        State::with_prefix(tx, &STORAGE, address.as_slice()).into_iter().map(|(key, _)| key).collect();
    for key in before {
        patch(tx, key, None);
    }
    for (slot, value) in &loaded.storage {
        patch_slot(tx, address, *slot, *value);
    }
}
