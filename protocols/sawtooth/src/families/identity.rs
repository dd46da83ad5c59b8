//! `sawtooth_identity` 1.0: policies, and the roles that point at them.

use coco_crypto::sha256;
use prost::Message as _;

use super::{Call, Facts, Invalid, invalid};
use crate::address::Address;
use crate::messages::family::{IdentityPayload, Policy, PolicyList, Role, RoleList, Setting};
use crate::settings::{self, IDENTITY_ALLOWED_KEYS};

const POLICY: i32 = 1;
const ROLE: i32 = 2;
const NAMESPACE: [u8; 3] = [0, 0, 0x1d];

/// Where a policy is.
pub fn policy_address(name: &str) -> Address {
    let mut bytes = [0; 35];
    bytes[..3].copy_from_slice(&NAMESPACE);
    bytes[4..].copy_from_slice(&sha256(name.as_bytes()).0[..31]);
    Address(bytes)
}

/// Where a role is: its name is split like a setting's key.
pub fn role_address(name: &str) -> Address {
    let mut bytes = [0; 35];
    bytes[..3].copy_from_slice(&NAMESPACE);
    bytes[3] = 1;
    let mut parts = name.splitn(4, '.').map(|part| sha256(part.as_bytes()).0);
    let empty = sha256(b"").0;
    let (mut from, widths) = (4, [7, 8, 8, 8]);
    for width in widths {
        let hash = parts.next().unwrap_or(empty);
        bytes[from..from + width].copy_from_slice(&hash[..width]);
        from += width;
    }
    Address(bytes)
}

pub fn apply(call: &mut Call<'_>, _facts: &Facts) -> Result<(), Invalid> {
    let signer = call.header.signer_public_key.clone();
    // Not trimmed, unlike the settings' own list.
    if !allowed_keys(call)?.split(',').any(|key| key == signer) {
        return invalid(format!("The transaction signer is not authorized to submit transactions: {signer}"));
    }
    let payload =
        IdentityPayload::decode(call.payload.clone()).map_err(|_| Invalid("the payload does not decode".into()))?;
    match payload.kind {
        POLICY => {
            let policy = Policy::decode(payload.data).map_err(|_| Invalid("the policy does not decode".into()))?;
            set_policy(call, policy)
        }
        ROLE => {
            let role = Role::decode(payload.data).map_err(|_| Invalid("the role does not decode".into()))?;
            set_role(call, role)
        }
        _ => invalid("the payload's type is neither POLICY nor ROLE"),
    }
}

fn set_policy(call: &mut Call<'_>, policy: Policy) -> Result<(), Invalid> {
    if policy.name.is_empty() {
        return invalid("The name must be set in a policy");
    }
    if policy.entries.is_empty() || policy.entries.iter().any(|entry| entry.key.is_empty()) {
        return invalid("Expecting entries, each with a key");
    }
    if policy.entries.iter().any(|entry| !matches!(entry.kind, 1 | 2)) {
        return invalid("an entry's type is neither PERMIT_KEY nor DENY_KEY");
    }
    let address = policy_address(&policy.name);
    let name = policy.name.clone();
    let mut list: PolicyList = row(call, &address)?;
    list.policies.retain(|other| other.name != name);
    list.policies.push(policy);
    list.policies.sort_by(|a, b| a.name.cmp(&b.name));
    call.set(&address, list.encode_to_vec())?;
    call.event("identity/update", "updated", &name)
}

fn set_role(call: &mut Call<'_>, role: Role) -> Result<(), Invalid> {
    if role.name.is_empty() {
        return invalid("The name must be set in a role");
    }
    if role.policy_name.is_empty() {
        return invalid("A role must contain a policy name.");
    }
    let policies: PolicyList = row(call, &policy_address(&role.policy_name))?;
    if !policies.policies.iter().any(|policy| policy.name == role.policy_name) {
        return invalid(format!("Cannot set Role: {}, the Policy: {} must be set first.", role.name, role.policy_name));
    }
    let address = role_address(&role.name);
    let name = role.name.clone();
    let mut list: RoleList = row(call, &address)?;
    list.roles.retain(|other| other.name != name);
    list.roles.push(role);
    list.roles.sort_by(|a, b| a.name.cmp(&b.name));
    call.set(&address, list.encode_to_vec())?;
    call.event("identity/update", "updated", &name)
}

fn allowed_keys(call: &mut Call<'_>) -> Result<String, Invalid> {
    let row: Setting = row(call, &settings::address(IDENTITY_ALLOWED_KEYS))?;
    let entry = row.entries.into_iter().find(|entry| entry.key == IDENTITY_ALLOWED_KEYS);
    Ok(entry.map(|entry| entry.value).unwrap_or_default())
}

fn row<M: prost::Message + Default>(call: &mut Call<'_>, address: &Address) -> Result<M, Invalid> {
    let row = call.get_value(address)?;
    row.map_or(Ok(M::default()), |row| M::decode(row).map_err(|_| Invalid("a row of the state does not decode".into())))
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;
    use crate::messages::family::PolicyEntry;

    fn policy(name: &str, keys: &[&str]) -> Vec<u8> {
        let entries = keys.iter().map(|key| PolicyEntry { kind: 1, key: (*key).into() }).collect();
        let data = Policy { name: name.into(), entries }.encode_to_vec().into();
        IdentityPayload { kind: POLICY, data }.encode_to_vec()
    }

    fn role(name: &str, policy_name: &str) -> Vec<u8> {
        let data = Role { name: name.into(), policy_name: policy_name.into() }.encode_to_vec().into();
        IdentityPayload { kind: ROLE, data }.encode_to_vec()
    }

    #[test]
    fn rows_are_where_the_original_puts_them() {
        let is = |address: Address, hex: &str| assert_eq!(address.to_hex(), hex);
        is(policy_address("default"), "00001d0037a8eec1ce19687d132fe29051dca629d164e2c4958ba141d5f4133a33f068");
        is(role_address("transactor"), "00001d01d331cdbbea7fe3e3b0c44298fc1c14e3b0c44298fc1c14e3b0c44298fc1c14");
        is(
            role_address("transactor.transaction_signer.intkey"),
            "00001d01d331cdbbea7fe34a4c8c38892ec60b2f72c34e1da07d94e3b0c44298fc1c14",
        );
    }

    #[test]
    fn a_role_points_at_a_policy_that_exists() {
        let mut world = World::default();
        assert!(world.apply(apply, "a", policy("default", &["*"])).unwrap_err().contains("not authorized"));
        let keys = settings::row_with(None, IDENTITY_ALLOWED_KEYS, "a,b");
        world.0.insert(settings::address(IDENTITY_ALLOWED_KEYS), keys);
        assert!(world.apply(apply, "a", role("transactor", "default")).unwrap_err().contains("must be set first"));
        let events = world.apply(apply, "a", policy("default", &["*"])).unwrap();
        assert_eq!(events[0].event_type, "identity/update");
        assert_eq!(hex::encode(&world.0[&policy_address("default")]), "0a100a0764656661756c741205080112012a");
        world.apply(apply, "b", role("transactor", "default")).unwrap();
        for bad in
            [policy("", &["*"]), policy("p", &[]), policy("p", &[""]), role("", "default"), role("r", ""), vec![8, 3]]
        {
            assert!(world.apply(apply, "a", bad).is_err());
        }
    }
}
