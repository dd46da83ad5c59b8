//! Who may send batches: the roles and policies that the identity family keeps.

use prost::Message as _;

use crate::batch::SignedBatch;
use crate::execute::StateReader;
use crate::families::identity::{policy_address, role_address};
use crate::messages::family::{Policy, PolicyList, RoleList};

const PERMIT: i32 = 1;

/// Whether every signer of the batch may do what it does; otherwise who may not.
pub fn check(state: &mut dyn StateReader, batch: &SignedBatch) -> Result<(), String> {
    if !permits(state, &["transactor.batch_signer", "transactor"], &batch.signer) {
        return Err(format!("{} may not sign batches", batch.signer));
    }
    for transaction in &batch.transactions {
        let header = &transaction.header;
        let of_family = format!("transactor.transaction_signer.{}", header.family_name);
        let roles = [of_family.as_str(), "transactor.transaction_signer", "transactor"];
        if !permits(state, &roles, &header.signer_public_key) {
            return Err(format!("{} may not sign transactions of {}", header.signer_public_key, header.family_name));
        }
    }
    Ok(())
}

/// The first role that exists decides, then the policy called default. No policy permits.
fn permits(state: &mut dyn StateReader, roles: &[&str], signer: &str) -> bool {
    for (place, name) in roles.iter().enumerate() {
        let Some(policy_name) = role(state, name) else { continue };
        match policy(state, &policy_name) {
            Some(policy) => return evaluate(&policy, signer),
            // A family's own role that points nowhere gives way to the general one; a general one then permits.
            None if place == 0 && roles.len() > 2 => {}
            None => return true,
        }
    }
    policy(state, "default").is_none_or(|policy| evaluate(&policy, signer))
}

/// The first entry that names the signer, or everybody, decides; at the end of the list nobody may.
pub fn evaluate(policy: &Policy, signer: &str) -> bool {
    let entry = policy.entries.iter().find(|entry| entry.key == signer || entry.key == "*");
    entry.is_some_and(|entry| entry.kind == PERMIT)
}

fn role(state: &mut dyn StateReader, name: &str) -> Option<String> {
    let list = RoleList::decode(state.read(&role_address(name))?).ok()?;
    list.roles.into_iter().find(|role| role.name == name).map(|role| role.policy_name)
}

fn policy(state: &mut dyn StateReader, name: &str) -> Option<Policy> {
    let list = PolicyList::decode(state.read(&policy_address(name))?).ok()?;
    list.policies.into_iter().find(|policy| policy.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::testing::World;
    use crate::messages::family::{PolicyEntry, Role};

    fn add_policy(world: &mut World, name: &str, entries: &[(i32, &str)]) {
        let entries = entries.iter().map(|(kind, key)| PolicyEntry { kind: *kind, key: (*key).into() }).collect();
        let list = PolicyList { policies: vec![Policy { name: name.into(), entries }] };
        world.0.insert(policy_address(name), list.encode_to_vec().into());
    }

    fn add_role(world: &mut World, name: &str, policy_name: &str) {
        let list = RoleList { roles: vec![Role { name: name.into(), policy_name: policy_name.into() }] };
        world.0.insert(role_address(name), list.encode_to_vec().into());
    }

    const FAMILY: [&str; 3] = ["transactor.transaction_signer.intkey", "transactor.transaction_signer", "transactor"];

    #[test]
    fn the_first_role_that_exists_decides() {
        let mut world = World::default();
        assert!(permits(&mut world, &FAMILY, "a"), "without policies everybody may");
        add_policy(&mut world, "default", &[(2, "a"), (1, "*")]);
        assert!(!permits(&mut world, &FAMILY, "a") && permits(&mut world, &FAMILY, "b"));
        add_policy(&mut world, "only-a", &[(1, "a")]);
        add_role(&mut world, "transactor", "only-a");
        assert!(permits(&mut world, &FAMILY, "a") && !permits(&mut world, &FAMILY, "b"));
        add_role(&mut world, "transactor.transaction_signer", "nothing");
        assert!(permits(&mut world, &FAMILY, "b"), "a missing policy permits");
        add_policy(&mut world, "only-b", &[(1, "b")]);
        add_role(&mut world, "transactor.transaction_signer.intkey", "only-b");
        assert!(permits(&mut world, &FAMILY, "b") && !permits(&mut world, &FAMILY, "a"));
    }
}
