//! Where Sabre's things are, and how they are read and kept: lists, as names that hash alike share an address.

use coco_crypto::sha512;
use prost::Message;

use super::super::{Call, Invalid};
use crate::address::Address;

const NAMESPACES: [u8; 3] = [0x00, 0xec, 0x00];
const REGISTRIES: [u8; 3] = [0x00, 0xec, 0x01];
const CONTRACTS: [u8; 3] = [0x00, 0xec, 0x02];
const SMART_PERMISSIONS: [u8; 3] = [0x00, 0xec, 0x03];
const AGENTS: [u8; 4] = [0xca, 0xd1, 0x1d, 0x00];
const ORGANIZATIONS: [u8; 4] = [0xca, 0xd1, 0x1d, 0x01];

pub fn contract(name: &str, version: &str) -> Address {
    below(&CONTRACTS, &[(format!("{name},{version}").as_bytes(), 32)])
}

pub fn registry(name: &str) -> Address {
    below(&REGISTRIES, &[(name.as_bytes(), 32)])
}

/// By the first six digits of a namespace, of which there must be so many.
pub fn namespace(namespace: &str) -> Result<Address, Invalid> {
    let start = namespace.get(..6);
    let start = start.ok_or_else(|| Invalid(format!("Namespace must be at least 6 characters: {namespace}")))?;
    Ok(below(&NAMESPACES, &[(start.as_bytes(), 32)]))
}

pub fn smart_permission(org_id: &str, name: &str) -> Address {
    below(&SMART_PERMISSIONS, &[(org_id.as_bytes(), 3), (name.as_bytes(), 29)])
}

/// What addresses of smart permissions begin with.
pub fn namespace_of_smart_permissions() -> String {
    hex::encode(SMART_PERMISSIONS)
}

pub fn agent(public_key: &str) -> Address {
    below(&AGENTS, &[(public_key.as_bytes(), 31)])
}

pub fn organization(id: &str) -> Address {
    below(&ORGANIZATIONS, &[(id.as_bytes(), 31)])
}

/// What is at an address; an empty list if nothing is. Its bytes are steps of the batch's contracts: a few bytes of a payload may name many rows.
pub fn read<M: Message + Default>(call: &mut Call<'_>, address: &Address, what: &str) -> Result<M, Invalid> {
    let row = call.get_value(address)?;
    let bytes = row.as_ref().map_or(0, |row| row.len() as u64);
    *call.fuel =
        call.fuel.checked_sub(bytes).ok_or_else(|| Invalid(format!("Too many steps: reading a {what} list")))?;
    row.map_or(Ok(M::default()), |row| M::decode(row).map_err(|_| Invalid(format!("Cannot deserialize {what} list"))))
}

pub fn keep(call: &mut Call<'_>, address: &Address, list: &impl Message) -> Result<(), Invalid> {
    call.set(address, list.encode_to_vec())
}

/// Puts something in the place of what has its name, and keeps the list in order.
pub fn put<T>(list: &mut Vec<T>, item: T, name: impl Fn(&T) -> &str) {
    list.retain(|other| name(other) != name(&item));
    list.push(item);
    list.sort_by(|a, b| name(a).cmp(name(b)));
}

/// A prefix, then the first bytes of hashes.
fn below(prefix: &[u8], parts: &[(&[u8], usize)]) -> Address {
    let mut bytes = prefix.to_vec();
    for (text, length) in parts {
        bytes.extend(sha512(text).iter().take(*length));
    }
    Address::from_key(&bytes).expect("the parts of an address are 35 bytes together")
}
