//! Contracts: put there by those who own their name, executed by anybody.

use coco_crypto::sha512;

use super::super::{Call, Facts, Invalid, invalid};
use super::{check_filled, namespaces, registries, rows};
use crate::contracts::Entrance;
use crate::limits::CONTRACT_PREFIXES_MAX;
use crate::messages::sabre::{
    Contract, ContractList, ContractVersion, CreateContract, ExecuteContract, NameAndVersion,
};

const WHAT: &str = "contract";
/// What a contract answers.
const OK: i32 = 1;
const INVALID_TRANSACTION: i32 = -3;

/// What no machine could run is not taken in; the original finds out when somebody executes it.
pub fn create(call: &mut Call<'_>, facts: &Facts, wanted: CreateContract) -> Result<(), Invalid> {
    let CreateContract { name, version, inputs, outputs, contract } = wanted;
    check_names(&name, &version)?;
    check_filled(!inputs.is_empty(), "Contract inputs cannot be an empty")?;
    check_filled(!outputs.is_empty(), "Contract outputs cannot be an empty")?;
    check_filled(!contract.is_empty(), "Contract bytes cannot be an empty")?;
    if find(call, &name, &version)?.is_some() {
        return invalid(format!("Contract already exists: {name}, {version}"));
    }
    let mut registry = registries::existing(call, &name)?;
    let creator = call.header.signer_public_key.clone();
    if !registry.owners.contains(&creator) {
        return invalid(format!("Only owners can submit new versions of contracts: {creator}"));
    }
    facts.contracts.check(&contract, call.fuel).map_err(|why| Invalid(format!("{name}, {version}: {why}")))?;
    let contract_sha512 = hex::encode(sha512(&contract));
    registry.versions.push(ContractVersion { version: version.clone(), contract_sha512, creator: creator.clone() });
    let address = rows::contract(&name, &version);
    let mut list: ContractList = rows::read(call, &address, WHAT)?;
    let contract = Contract { name, version, inputs, outputs, creator, contract };
    rows::put(&mut list.contracts, contract, |contract| &contract.name);
    rows::keep(call, &address, &list)?;
    registries::keep(call, registry)
}

pub fn delete(call: &mut Call<'_>, NameAndVersion { name, version }: &NameAndVersion) -> Result<(), Invalid> {
    check_names(name, version)?;
    existing(call, name, version)?;
    let mut registry = registries::existing(call, name)?;
    let signer = &call.header.signer_public_key;
    if !registry.owners.contains(signer) {
        return invalid(format!("Signer is not an owner of this contract: {signer}"));
    }
    if let Some(at) = registry.versions.iter().position(|other| other.version == *version) {
        registry.versions.remove(at);
    }
    registries::keep(call, registry)?;
    call.delete(&rows::contract(name, version))
}

pub fn execute(call: &mut Call<'_>, facts: &Facts, wanted: &ExecuteContract) -> Result<(), Invalid> {
    let ExecuteContract { name, version, inputs, outputs, payload } = wanted;
    check_names(name, version)?;
    check_filled(!inputs.is_empty(), "Contract inputs cannot be an empty")?;
    check_filled(!outputs.is_empty(), "Contract outputs cannot be an empty")?;
    check_filled(!payload.is_empty(), "Contract payload cannot be an empty")?;
    check_filled(
        inputs.len() <= CONTRACT_PREFIXES_MAX && outputs.len() <= CONTRACT_PREFIXES_MAX,
        &format!("A contract is executed with at most {CONTRACT_PREFIXES_MAX} inputs, and as many outputs"),
    )?;
    let contract = existing(call, name, version)?;
    namespaces::check(call, name, inputs, false)?;
    namespaces::check(call, name, outputs, true)?;
    let (signer, id) = (call.header.signer_public_key.clone(), call.access.transaction_id().to_owned());
    let said = [payload.as_ref(), signer.as_bytes(), id.as_bytes()];
    let entrance = Entrance {
        access: call.access,
        below: call.below,
        reads: inputs,
        writes: outputs,
        fuel: call.fuel,
        said: &said,
    };
    let answer = facts.contracts.run(&contract.contract, entrance);
    match answer.map_err(|why| Invalid(format!("Wasm contract failed: {name}, {version}: {why}")))? {
        None => invalid(format!("Wasm contract did not return a result: {name}, {version}")),
        Some(OK) => Ok(()),
        Some(INVALID_TRANSACTION) => invalid(format!("Wasm contract returned invalid transaction: {name}, {version}")),
        Some(other) => invalid(format!("Wasm contract returned internal error: {other}")),
    }
}

fn existing(call: &mut Call<'_>, name: &str, version: &str) -> Result<Contract, Invalid> {
    find(call, name, version)?.ok_or_else(|| Invalid(format!("Contract does not exist: {name}, {version}")))
}

fn find(call: &mut Call<'_>, name: &str, version: &str) -> Result<Option<Contract>, Invalid> {
    let list: ContractList = rows::read(call, &rows::contract(name, version), WHAT)?;
    Ok(list.contracts.into_iter().find(|contract| contract.name == name))
}

fn check_names(name: &str, version: &str) -> Result<(), Invalid> {
    check_filled(!name.is_empty(), "Contract name cannot be an empty string")?;
    check_filled(!version.is_empty(), "Contract version cannot be an empty string")
}
