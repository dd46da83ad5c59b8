//! Smart permissions: functions of an organisation that contracts ask whether one of its agents may do something.

use super::super::{Call, Facts, Invalid, invalid};
use super::{check_filled, rows};
use crate::messages::sabre::{AgentList, OrganizationList, SmartPermission, SmartPermissionList};

const WHAT: &str = "smart permission";
/// The role of agents that may change their organisation's.
const ADMIN: &str = "admin";

pub fn create(call: &mut Call<'_>, facts: &Facts, wanted: SmartPermission) -> Result<(), Invalid> {
    check(call, &wanted)?;
    let SmartPermission { name, org_id, .. } = &wanted;
    if find(call, org_id, name)?.is_some() {
        return invalid(format!("Smart Permission already exists: {name}"));
    }
    let list: OrganizationList = rows::read(call, &rows::organization(org_id), "organization")?;
    if !list.organizations.iter().any(|organization| organization.name == *org_id) {
        return invalid(format!("Organization does not exist exists: {org_id}"));
    }
    keep(call, facts, wanted)
}

pub fn update(call: &mut Call<'_>, facts: &Facts, wanted: SmartPermission) -> Result<(), Invalid> {
    check(call, &wanted)?;
    check_exists(call, &wanted)?;
    keep(call, facts, wanted)
}

pub fn delete(call: &mut Call<'_>, wanted: &SmartPermission) -> Result<(), Invalid> {
    check(call, wanted)?;
    check_exists(call, wanted)?;
    call.delete(&rows::smart_permission(&wanted.org_id, &wanted.name))
}

/// It has a name and an organisation, of which the signer is an active administrator.
fn check(call: &mut Call<'_>, SmartPermission { name, org_id, .. }: &SmartPermission) -> Result<(), Invalid> {
    check_filled(!org_id.is_empty(), "Organization ID required")?;
    check_filled(!name.is_empty(), "Smart permission name required")?;
    let signer = call.header.signer_public_key.clone();
    let list: AgentList = rows::read(call, &rows::agent(&signer), "agent")?;
    let agent = list.agents.into_iter().find(|agent| agent.public_key == signer);
    let agent = agent.ok_or_else(|| Invalid(format!("Signer is not an agent: {signer}")))?;
    if agent.org_id != *org_id {
        return invalid(format!("Signer is not associated with the organization: {signer}"));
    }
    if !agent.roles.iter().any(|role| role == ADMIN) {
        return invalid(format!("Signer is not an admin: {signer}"));
    }
    check_filled(agent.active, &format!("Admin is not currently an active agent: {signer}"))
}

fn check_exists(call: &mut Call<'_>, SmartPermission { name, org_id, .. }: &SmartPermission) -> Result<(), Invalid> {
    match find(call, org_id, name)? {
        Some(_) => Ok(()),
        None => invalid(format!("Smart Permission does not exist: {name}")),
    }
}

fn find(call: &mut Call<'_>, org_id: &str, name: &str) -> Result<Option<SmartPermission>, Invalid> {
    let list: SmartPermissionList = rows::read(call, &rows::smart_permission(org_id, name), WHAT)?;
    Ok(list.smart_permissions.into_iter().find(|permission| permission.name == name))
}

fn keep(call: &mut Call<'_>, facts: &Facts, permission: SmartPermission) -> Result<(), Invalid> {
    check_filled(!permission.function.is_empty(), "Function body required")?;
    facts
        .contracts
        .check(&permission.function, call.fuel)
        .map_err(|why| Invalid(format!("{}: {why}", permission.name)))?;
    let address = rows::smart_permission(&permission.org_id, &permission.name);
    let mut list: SmartPermissionList = rows::read(call, &address, WHAT)?;
    rows::put(&mut list.smart_permissions, permission, |permission| &permission.name);
    rows::keep(call, &address, &list)
}
