//! `sabre` 0.5, 0.6 and 1: contracts in WebAssembly, who may put them there, and where they may read and write.
//!
//! ```text
//!   00ec00 namespaces: owners, and which contract may read or write there      administrators: a setting
//!   00ec01 registries of contracts: owners, versions                           owners: of what they own
//!   00ec02 contracts                                                           anybody: execute
//!   00ec03 smart permissions, of organisations that `pike` keeps at cad11d
//! ```
//!
//! A contract reaches what its transaction's *payload* lists, where its name has permission; the original checks the payload and then lets
//! the contract at everything that the transaction's header declares, registries included.

mod contracts;
mod namespaces;
mod permissions;
mod registries;
mod rows;
#[cfg(test)]
mod tests;

use prost::Message as _;

use super::{Call, Facts, Invalid, invalid};
use crate::messages::sabre::{SabrePayload, sabre_action};
use crate::settings::{self, ADMINISTRATORS};
pub use rows::namespace_of_smart_permissions;

pub fn apply(call: &mut Call<'_>, facts: &Facts) -> Result<(), Invalid> {
    let payload =
        SabrePayload::decode(call.payload.clone()).map_err(|_| Invalid("Cannot deserialize payload".into()))?;
    match payload.action {
        sabre_action::CREATE_CONTRACT => contracts::create(call, facts, part(payload.create_contract)?),
        sabre_action::DELETE_CONTRACT => contracts::delete(call, &part(payload.delete_contract)?),
        sabre_action::EXECUTE_CONTRACT => contracts::execute(call, facts, &part(payload.execute_contract)?),
        sabre_action::CREATE_CONTRACT_REGISTRY => registries::create(call, part(payload.create_contract_registry)?),
        sabre_action::DELETE_CONTRACT_REGISTRY => registries::delete(call, &part(payload.delete_contract_registry)?),
        sabre_action::UPDATE_CONTRACT_REGISTRY_OWNERS => {
            registries::update_owners(call, part(payload.update_contract_registry_owners)?)
        }
        sabre_action::CREATE_NAMESPACE_REGISTRY => namespaces::create(call, part(payload.create_namespace_registry)?),
        sabre_action::DELETE_NAMESPACE_REGISTRY => namespaces::delete(call, &part(payload.delete_namespace_registry)?),
        sabre_action::UPDATE_NAMESPACE_REGISTRY_OWNERS => {
            namespaces::update_owners(call, part(payload.update_namespace_registry_owners)?)
        }
        sabre_action::CREATE_NAMESPACE_REGISTRY_PERMISSION => {
            namespaces::permit(call, part(payload.create_namespace_registry_permission)?)
        }
        sabre_action::DELETE_NAMESPACE_REGISTRY_PERMISSION => {
            namespaces::forbid(call, &part(payload.delete_namespace_registry_permission)?)
        }
        sabre_action::CREATE_SMART_PERMISSION => {
            permissions::create(call, facts, part(payload.create_smart_permission)?)
        }
        sabre_action::UPDATE_SMART_PERMISSION => {
            permissions::update(call, facts, part(payload.update_smart_permission)?)
        }
        sabre_action::DELETE_SMART_PERMISSION => permissions::delete(call, &part(payload.delete_smart_permission)?),
        _ => invalid("Cannot deserialize payload"),
    }
}

/// The part of a payload that belongs to its action.
fn part<T: Default>(part: Option<T>) -> Result<T, Invalid> {
    Ok(part.unwrap_or_default())
}

/// Whether the signer is among the administrators; an error if there are none.
fn is_administrator(call: &mut Call<'_>) -> Result<bool, Invalid> {
    let signer = call.header.signer_public_key.clone();
    let Some(row) = call.get_value(&settings::address(ADMINISTRATORS))? else {
        return invalid(format!("Admins not set, cannot check signer permissions: {signer}"));
    };
    let value = settings::value_in(&row, ADMINISTRATORS).unwrap_or_default();
    Ok(value.split(',').any(|key| key == signer))
}

/// Owners and administrators may change what is owned.
fn check_may_change(call: &mut Call<'_>, owners: &[String], what: &str) -> Result<(), Invalid> {
    let signer = &call.header.signer_public_key;
    if owners.contains(signer) || is_administrator(call)? {
        return Ok(());
    }
    invalid(format!("Only owners or admins can update or delete a {what}: {}", call.header.signer_public_key))
}

fn check_filled(filled: bool, what: &str) -> Result<(), Invalid> {
    if filled { Ok(()) } else { invalid(what) }
}
