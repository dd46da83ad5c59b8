//! Registries of contracts: under whose names they stand, and who owns these.

use super::super::{Call, Invalid, invalid};
use super::{check_filled, check_may_change, is_administrator, rows};
use crate::messages::sabre::{ContractRegistry, ContractRegistryList, NameAndOwners, NameOnly};

const WHAT: &str = "contract registry";

pub fn create(call: &mut Call<'_>, wanted: NameAndOwners) -> Result<(), Invalid> {
    let NameAndOwners { name, owners } = checked(wanted)?;
    if find(call, &name)?.is_some() {
        return invalid(format!("Contract Registry already exists: {name}"));
    }
    if !is_administrator(call)? {
        return invalid(format!("Only admins can create a contract registry: {}", call.header.signer_public_key));
    }
    keep(call, ContractRegistry { name, versions: Vec::new(), owners })
}

pub fn delete(call: &mut Call<'_>, NameOnly { name }: &NameOnly) -> Result<(), Invalid> {
    check_filled(!name.is_empty(), "Contract Registry name cannot be an empty string")?;
    let registry = existing(call, name)?;
    if !registry.versions.is_empty() {
        return invalid(format!("Contract Registry can only be deleted if there are no versions: {name}"));
    }
    check_may_change(call, &registry.owners, WHAT)?;
    call.delete(&rows::registry(name))
}

pub fn update_owners(call: &mut Call<'_>, wanted: NameAndOwners) -> Result<(), Invalid> {
    let NameAndOwners { name, owners } = checked(wanted)?;
    let registry = existing(call, &name)?;
    check_may_change(call, &registry.owners, WHAT)?;
    keep(call, ContractRegistry { owners, ..registry })
}

pub fn existing(call: &mut Call<'_>, name: &str) -> Result<ContractRegistry, Invalid> {
    find(call, name)?.ok_or_else(|| Invalid(format!("The Contract Registry does not exist: {name}")))
}

pub fn keep(call: &mut Call<'_>, registry: ContractRegistry) -> Result<(), Invalid> {
    let address = rows::registry(&registry.name);
    let mut list: ContractRegistryList = rows::read(call, &address, WHAT)?;
    rows::put(&mut list.registries, registry, |registry| &registry.name);
    rows::keep(call, &address, &list)
}

fn find(call: &mut Call<'_>, name: &str) -> Result<Option<ContractRegistry>, Invalid> {
    let list: ContractRegistryList = rows::read(call, &rows::registry(name), WHAT)?;
    Ok(list.registries.into_iter().find(|registry| registry.name == name))
}

fn checked(wanted: NameAndOwners) -> Result<NameAndOwners, Invalid> {
    check_filled(!wanted.name.is_empty(), "Contract Registry name cannot be an empty string")?;
    check_filled(!wanted.owners.is_empty(), "Contract Registry owners cannot be an empty")?;
    Ok(wanted)
}
