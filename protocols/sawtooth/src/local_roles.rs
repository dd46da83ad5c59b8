//! Who may hand in batches at this node, as its operator decides: the validator's `[permissions]` and its policy files.
//!
//! They stand beside what the ledger's own policies say: a batch has to pass both. They hold for this node's clients only.

use std::collections::BTreeMap;

use crate::batch::SignedBatch;
use crate::messages::family::{Policy, PolicyEntry};
use crate::policy::evaluate;

const PERMIT: i32 = 1;
const DENY: i32 = 2;
const ROLES: [&str; 3] = ["transactor", "transactor.batch_signer", "transactor.transaction_signer"];

/// Roles to policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalRoles(BTreeMap<String, Policy>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalRolesError {
    #[error(
        "there is no role {0}: it is one of transactor, transactor.batch_signer, transactor.transaction_signer and transactor.transaction_signer.FAMILY"
    )]
    UnknownRole(String),
    #[error("line {line} of the policy of {role} is neither PERMIT_KEY nor DENY_KEY and a key, or *")]
    Malformed { role: String, line: usize },
}

impl LocalRoles {
    /// Adds a role, with the text of its policy's file.
    pub fn add(&mut self, role: &str, policy: &str) -> Result<(), LocalRolesError> {
        let of_family = role.strip_prefix("transactor.transaction_signer.").is_some_and(|family| !family.is_empty());
        if !ROLES.contains(&role) && !of_family {
            return Err(LocalRolesError::UnknownRole(role.to_owned()));
        }
        let says_nothing = |line: &str| line.trim().is_empty() || line.starts_with('#');
        let lines = policy.lines().enumerate().filter(|(_, line)| !says_nothing(line));
        let entry = |(line, text): (usize, &str)| {
            let malformed = || LocalRolesError::Malformed { role: role.to_owned(), line: line + 1 };
            let mut words = text.split_whitespace();
            let kind = match words.next() {
                Some("PERMIT_KEY") => PERMIT,
                Some("DENY_KEY") => DENY,
                _ => return Err(malformed()),
            };
            match (words.next(), words.next()) {
                (Some(key), None) => Ok(PolicyEntry { kind, key: key.to_owned() }),
                _ => Err(malformed()),
            }
        };
        let entries = lines.map(entry).collect::<Result<_, _>>()?;
        self.0.insert(role.to_owned(), Policy { name: role.to_owned(), entries });
        Ok(())
    }

    /// Whether this node takes a batch in; otherwise who may not.
    pub fn check(&self, batch: &SignedBatch) -> Result<(), String> {
        if !self.permit(&["transactor.batch_signer", "transactor"], &batch.signer) {
            return Err(format!("this node takes no batches of {}", batch.signer));
        }
        for header in batch.transactions.iter().map(|transaction| &transaction.header) {
            let of_family = format!("transactor.transaction_signer.{}", header.family_name);
            let roles = [of_family.as_str(), "transactor.transaction_signer", "transactor"];
            if !self.permit(&roles, &header.signer_public_key) {
                let (signer, family) = (&header.signer_public_key, &header.family_name);
                return Err(format!("this node takes no transactions of {family} by {signer}"));
            }
        }
        Ok(())
    }

    /// The first role that there is decides; none permits.
    fn permit(&self, roles: &[&str], signer: &str) -> bool {
        roles.iter().find_map(|role| self.0.get(*role)).is_none_or(|policy| evaluate(policy, signer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Signer, intkey};

    #[test]
    fn the_first_role_that_there_is_decides() {
        let signer = Signer::new(1);
        let batch = SignedBatch::admit(signer.single(&intkey("set", "a", 1))).unwrap();
        let check = |roles: &[(&str, &str)]| {
            let mut local = LocalRoles::default();
            roles.iter().for_each(|(role, policy)| local.add(role, policy).unwrap());
            local.check(&batch)
        };
        let (permit, deny) = (format!("PERMIT_KEY {}\nDENY_KEY *\n", signer.public_hex()), "DENY_KEY *");
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("transactor", &permit)]), Ok(()));
        assert!(check(&[("transactor", deny)]).unwrap_err().contains("no batches"));
        assert!(check(&[("transactor", "")]).is_err(), "at the end of a policy nobody may");
        let families = [("transactor.batch_signer", permit.as_str()), ("transactor", permit.as_str())];
        assert_eq!(check(&families), Ok(()));
        let own = [families[0], families[1], ("transactor.transaction_signer.intkey", deny)];
        assert!(check(&own).unwrap_err().contains("transactions of intkey"));
        assert_eq!(check(&[("transactor.transaction_signer.xo", deny)]), Ok(()));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let mut local = LocalRoles::default();
        assert_eq!(local.add("network", "PERMIT_KEY *"), Err(LocalRolesError::UnknownRole("network".into())));
        for (policy, line) in [("ALLOW a", 1), ("PERMIT_KEY *\n\nDENY_KEY", 3), ("# why\nPERMIT_KEY a b", 2)] {
            let malformed = LocalRolesError::Malformed { role: "transactor".into(), line };
            assert_eq!(local.add("transactor", policy), Err(malformed));
        }
    }
}
