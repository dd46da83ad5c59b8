//! Registries of namespaces: who owns what begins with a prefix, and which contracts may read and write there.

use super::super::{Call, Invalid, invalid};
use super::{check_filled, check_may_change, is_administrator, rows};
use crate::messages::sabre::{
    CreatePermission, NameAndOwners, NameAndVersion, NameOnly, NamespaceRegistry, NamespaceRegistryList, Permission,
};

const WHAT: &str = "namespace registry";

pub fn create(call: &mut Call<'_>, wanted: NameAndOwners) -> Result<(), Invalid> {
    let NameAndOwners { name: namespace, owners } = checked(wanted)?;
    if find(call, &namespace)?.is_some() {
        return invalid(format!("Namespace Registry already exists: {namespace}"));
    }
    if !is_administrator(call)? {
        return invalid(format!("Only admins can create a namespace registry: {}", call.header.signer_public_key));
    }
    keep(call, NamespaceRegistry { namespace, owners, permissions: Vec::new() })
}

pub fn delete(call: &mut Call<'_>, NameOnly { name: namespace }: &NameOnly) -> Result<(), Invalid> {
    check_filled(!namespace.is_empty(), "Namespace Registry namespace cannot be an empty string")?;
    let registry = existing(call, namespace)?;
    check_may_change(call, &registry.owners, WHAT)?;
    if !registry.permissions.is_empty() {
        return invalid(format!("Namespace Registry can only be deleted if there are no permissions: {namespace}"));
    }
    call.delete(&rows::namespace(namespace)?)
}

pub fn update_owners(call: &mut Call<'_>, wanted: NameAndOwners) -> Result<(), Invalid> {
    let NameAndOwners { name: namespace, owners } = checked(wanted)?;
    let registry = existing(call, &namespace)?;
    check_may_change(call, &registry.owners, WHAT)?;
    keep(call, NamespaceRegistry { owners, ..registry })
}

/// Takes the place of what the contract had.
pub fn permit(call: &mut Call<'_>, wanted: CreatePermission) -> Result<(), Invalid> {
    let CreatePermission { namespace, contract_name, read, write } = wanted;
    check_names(&namespace, &contract_name)?;
    let mut registry = existing(call, &namespace)?;
    check_may_change(call, &registry.owners, WHAT)?;
    registry.permissions.retain(|other| other.contract_name != contract_name);
    registry.permissions.push(Permission { contract_name, read, write });
    keep(call, registry)
}

pub fn forbid(call: &mut Call<'_>, wanted: &NameAndVersion) -> Result<(), Invalid> {
    let NameAndVersion { name: namespace, version: contract_name } = wanted;
    check_names(namespace, contract_name)?;
    let mut registry = existing(call, namespace)?;
    check_may_change(call, &registry.owners, WHAT)?;
    let before = registry.permissions.len();
    registry.permissions.retain(|other| other.contract_name != *contract_name);
    if registry.permissions.len() == before {
        return invalid(format!("Namespace Registry does not have a permission for : {contract_name}"));
    }
    keep(call, registry)
}

/// Whether a contract may read, or write, all of these: prefixes of addresses, each in a namespace that has a registry.
pub fn check(call: &mut Call<'_>, contract: &str, prefixes: &[String], writes: bool) -> Result<(), Invalid> {
    let (declared, verb, preposition) = if writes { ("Output", "write", "to") } else { ("Input", "read", "from") };
    for prefix in prefixes {
        let namespace = prefix.get(..6);
        let namespace =
            namespace.ok_or_else(|| Invalid(format!("{declared} must have at least 6 characters: {prefix}")))?;
        let list: NamespaceRegistryList = rows::read(call, &rows::namespace(namespace)?, WHAT)?;
        if list.registries.is_empty() {
            return invalid(format!("Namespace Registry does not exist: {namespace}"));
        }
        // They are in order, so the last one is the longest.
        let registry = list.registries.iter().rfind(|registry| prefix.starts_with(&registry.namespace));
        let registry = registry
            .ok_or_else(|| Invalid(format!("No namespace registry exists for namespace: {namespace} {prefix}")))?;
        let may = |permission: &&Permission| if writes { permission.write } else { permission.read };
        let mut permissions = registry.permissions.iter().filter(|permission| permission.contract_name == contract);
        if !permissions.any(|permission| may(&permission)) {
            return invalid(format!(
                "Contract does not have permission to {verb} {preposition} state: {contract}, {prefix}"
            ));
        }
    }
    Ok(())
}

fn existing(call: &mut Call<'_>, namespace: &str) -> Result<NamespaceRegistry, Invalid> {
    find(call, namespace)?.ok_or_else(|| Invalid(format!("Namespace Registry does not exist: {namespace}")))
}

fn find(call: &mut Call<'_>, namespace: &str) -> Result<Option<NamespaceRegistry>, Invalid> {
    let list: NamespaceRegistryList = rows::read(call, &rows::namespace(namespace)?, WHAT)?;
    Ok(list.registries.into_iter().find(|registry| registry.namespace == namespace))
}

fn keep(call: &mut Call<'_>, registry: NamespaceRegistry) -> Result<(), Invalid> {
    let address = rows::namespace(&registry.namespace)?;
    let mut list: NamespaceRegistryList = rows::read(call, &address, WHAT)?;
    rows::put(&mut list.registries, registry, |registry| &registry.namespace);
    rows::keep(call, &address, &list)
}

fn checked(wanted: NameAndOwners) -> Result<NameAndOwners, Invalid> {
    check_filled(!wanted.name.is_empty(), "Namespace Registry namespace cannot be an empty string")?;
    check_filled(!wanted.owners.is_empty(), "Namespace owners cannot be an empty")?;
    Ok(wanted)
}

fn check_names(namespace: &str, contract: &str) -> Result<(), Invalid> {
    check_filled(!namespace.is_empty(), "Namespace Registry namespace cannot be an empty string")?;
    check_filled(!contract.is_empty(), "Contract name cannot be an empty string")
}
