//! Accounts, and who may send in their names.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};

use super::operate;
use crate::developer::{AccountEdit, Operation, Setting};
use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::limits::CODE_OVERRIDE_BYTES_MAX;
use crate::rpc::params::Params;
use crate::rpc::reply::Responder;
use crate::rpc::values::{Hex, Loose};

pub const METHODS: &[Method] = &[
    Method::later("hardhat_setBalance", set_balance).for_developers(),
    Method::later("anvil_setBalance", set_balance).for_developers(),
    Method::later("tenderly_setBalance", set_balance).for_developers(),
    Method::later("evm_setAccountBalance", set_balance).for_developers(),
    Method::later("tenderly_addBalance", add_balance).for_developers(),
    Method::later("hardhat_addBalance", add_balance).for_developers(),
    Method::later("anvil_addBalance", add_balance).for_developers(),
    Method::later("hardhat_setNonce", set_nonce).for_developers(),
    Method::later("anvil_setNonce", set_nonce).for_developers(),
    Method::later("evm_setAccountNonce", set_nonce).for_developers(),
    Method::later("hardhat_setCode", set_code).for_developers(),
    Method::later("anvil_setCode", set_code).for_developers(),
    Method::later("evm_setAccountCode", set_code).for_developers(),
    Method::later("evm_setAccountStorageAt", set_storage).for_developers(),
    Method::later("hardhat_setStorageAt", set_storage).for_developers(),
    Method::later("anvil_setStorageAt", set_storage).for_developers(),
    Method::later("hardhat_impersonateAccount", impersonate).for_developers(),
    Method::later("anvil_impersonateAccount", impersonate).for_developers(),
    Method::later("evm_addAccount", impersonate).for_developers(),
    Method::later("evm_removeAccount", stop_impersonating).for_developers(),
    Method::later("anvil_impersonateSignature", impersonate_signature).for_developers(),
    Method::later("hardhat_stopImpersonatingAccount", stop_impersonating).for_developers(),
    Method::later("anvil_stopImpersonatingAccount", stop_impersonating).for_developers(),
    Method::later("anvil_autoImpersonateAccount", impersonate_all).for_developers(),
    Method::later("hardhat_autoImpersonateAccount", impersonate_all).for_developers(),
];

fn address(params: &Params<'_>) -> Result<Address, RpcError> {
    params.required(0).map(|Hex(address)| address)
}

fn edit(
    call: &Call<'_>,
    params: &Params<'_>,
    responder: Responder,
    read: impl FnOnce() -> Result<AccountEdit, RpcError>,
) {
    let operation = || Ok(vec![Operation::Edit { address: address(params)?, edit: read()? }]);
    operate(call, operation(), responder);
}

fn set_balance(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    edit(call, params, responder, || params.required(1).map(|Hex(wei): Hex<U256>| AccountEdit::Balance(wei)));
}

fn add_balance(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    edit(call, params, responder, || params.required(1).map(|Hex(wei): Hex<U256>| AccountEdit::AddBalance(wei)));
}

fn set_nonce(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    edit(call, params, responder, || params.required(1).map(|Loose(nonce)| AccountEdit::Nonce(nonce)));
}

fn set_code(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    edit(call, params, responder, || {
        let Hex(code): Hex<Bytes> = params.required(1)?;
        if code.len() > CODE_OVERRIDE_BYTES_MAX {
            return Err(RpcError::invalid_argument(1, format!("code above {CODE_OVERRIDE_BYTES_MAX} bytes")));
        }
        Ok(AccountEdit::Code(code))
    });
}

fn set_storage(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    edit(call, params, responder, || {
        let (Hex(slot), Hex(value)): (Hex<U256>, Hex<B256>) = (params.required(1)?, params.required(2)?);
        Ok(AccountEdit::Slot { slot, value: value.into() })
    });
}

fn impersonate(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    operate(call, address(params).map(|address| vec![Operation::Set(Setting::Impersonate(address))]), responder);
}

fn stop_impersonating(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    operate(call, address(params).map(|address| vec![Operation::Set(Setting::StopImpersonating(address))]), responder);
}

/// Contracts recover this account from the signature (r, s, v) from now on.
fn impersonate_signature(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let operation = || {
        let (Hex(signature), Hex(account)): (Hex<FixedBytes<65>>, Hex<Address>) =
            (params.required(0)?, params.required(1)?);
        Ok(vec![Operation::Set(Setting::ImpersonateSignature { signature, account })])
    };
    operate(call, operation(), responder);
}

fn impersonate_all(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let setting = params.required(0).map(|on| vec![Operation::Set(Setting::ImpersonateAll(on))]);
    operate(call, setting, responder);
}
