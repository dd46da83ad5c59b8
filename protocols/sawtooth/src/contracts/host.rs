//! What a contract may ask the node for: the functions that Sabre's SDK imports from `env`.
//!
//! They answer what Sabre's do: pointers into the heap, or a number that says what went wrong. A request for what the contract may not
//! reach ends it, as there.

use wasmi::{AsContextMut as _, Caller, Engine, Error, Linker, Memory, StoreLimits, TrapCode};

use super::heap::Heap;
use super::machine::{Contracts, limits, take};
use crate::address::Address;
use crate::execute::{Access, StateReader};
use crate::families::sabre::namespace_of_smart_permissions;
use crate::limits::{CONTRACT_REQUEST_BYTE_FUEL, CONTRACT_REQUEST_FUEL};
use crate::messages::ledger::{Attribute, Event};
use crate::messages::sabre::SmartPermissionList;

/// One execution, as the node sees it.
pub(super) struct Host<'a> {
    pub heap: Heap,
    pub memory: Option<Memory>,
    pub limits: StoreLimits,
    contracts: &'a Contracts,
    access: &'a mut Access,
    below: &'a mut (dyn StateReader + 'a),
    reads: &'a [String],
    writes: &'a [String],
    /// It is a smart permission, which asks no other.
    is_asked: bool,
}

impl<'a> Host<'a> {
    pub fn new(
        contracts: &'a Contracts,
        access: &'a mut Access,
        below: &'a mut (dyn StateReader + 'a),
        reads: &'a [String],
        writes: &'a [String],
    ) -> Self {
        let (heap, limits) = (Heap::default(), limits());
        Self { heap, memory: None, limits, contracts, access, below, reads, writes, is_asked: false }
    }

    fn read(&mut self, address: &str) -> Result<Vec<u8>, Error> {
        check_below(self.reads, address)?;
        let value = self.access.get(self.below, address).map_err(failed)?;
        Ok(value.unwrap_or_default().to_vec())
    }
}

/// A request, and the memory that it is about.
type Request<'c, 'a> = Caller<'c, Host<'a>>;

pub(super) fn linker<'a>(engine: &Engine, memory: Memory) -> Result<Linker<Host<'a>>, Error> {
    const ENV: &str = "env";
    let mut linker = Linker::new(engine);
    linker.define(ENV, "memory", memory)?;
    linker.func_wrap(ENV, "get_state", |request: Request<'_, 'a>, list: u32| get_state(request, list))?;
    linker.func_wrap(ENV, "set_state", |request: Request<'_, 'a>, list: u32| set_state(request, list))?;
    linker.func_wrap(ENV, "delete_state", |request: Request<'_, 'a>, list: u32| delete_state(request, list))?;
    linker.func_wrap(ENV, "add_event", |request: Request<'_, 'a>, kind: u32, list: u32, data: u32| {
        add_event(request, kind, list, data)
    })?;
    linker.func_wrap(
        ENV,
        "invoke_smart_permission",
        |request: Request<'_, 'a>, at: u32, name: u32, roles: u32, org_id: u32, key: u32, payload: u32| {
            ask_permission(request, at, name, roles, [org_id, key, payload])
        },
    )?;
    for length in ["get_ptr_len", "get_ptr_capacity"] {
        linker.func_wrap(ENV, length, |request: Request<'_, 'a>, at: u32| pointer_length(request, at))?;
    }
    linker.func_wrap(ENV, "alloc", |request: Request<'_, 'a>, length: u32| allocate(request, length))?;
    linker.func_wrap(ENV, "read_byte", |request: Request<'_, 'a>, at: u32| read_byte(request, at))?;
    linker.func_wrap(ENV, "write_byte", |request: Request<'_, 'a>, at: u32, offset: u32, byte: u32| {
        write_byte(request, at, offset, byte)
    })?;
    linker
        .func_wrap(ENV, "get_ptr_collection_len", |request: Request<'_, 'a>, list: u32| list_length(request, list))?;
    linker.func_wrap(ENV, "get_ptr_from_collection", |request: Request<'_, 'a>, list: u32, index: u32| {
        list_item(request, list, index)
    })?;
    linker.func_wrap(ENV, "create_collection", |request: Request<'_, 'a>, first: u32| begin_list(request, first))?;
    linker.func_wrap(ENV, "add_to_collection", |request: Request<'_, 'a>, first: u32, at: u32| {
        append(request, first, at)
    })?;
    // Nothing is logged, and no level asked for: see the folder's text.
    linker.func_wrap(ENV, "log_buffer", |mut request: Request<'_, 'a>, _level: u32, _text: u32| {
        charge(&mut request, 0)
    })?;
    linker.func_wrap(ENV, "log_level", |mut request: Request<'_, 'a>| charge(&mut request, 0).map(|()| 0_u32))?;
    Ok(linker)
}

/// A list of addresses and values, of those that hold one.
fn get_state(mut request: Request<'_, '_>, list: u32) -> Result<i32, Error> {
    let Some(addresses) = texts(&mut request, list)? else { return Ok(-1) };
    let mut found = Vec::new();
    let prefixes = request.data().reads.len();
    charge(&mut request, addresses.len() * prefixes)?;
    for address in addresses {
        let value = request.data_mut().read(&address)?;
        charge(&mut request, value.len())?;
        if !value.is_empty() {
            found.extend([address.into_bytes(), value]);
        }
    }
    write_list(&mut request, &found)
}

/// 1, or 0 if it may not write there or writes too much.
fn set_state(mut request: Request<'_, '_>, list: u32) -> Result<i32, Error> {
    let Some(pieces) = pieces(&mut request, list)? else { return Ok(-1) };
    if pieces.len() % 2 != 0 {
        return Ok(-1);
    }
    let mut entries = Vec::new();
    let mut pieces = pieces.into_iter();
    while let (Some(address), Some(value)) = (pieces.next(), pieces.next()) {
        entries.push((String::from_utf8(address).map_err(failed)?, value.into()));
    }
    let prefixes = request.data().writes.len();
    charge(&mut request, entries.len() * prefixes)?;
    let host = request.data_mut();
    if entries.iter().any(|(address, _)| check_below(host.writes, address).is_err()) {
        return Ok(0);
    }
    let entries = entries.iter().map(|(address, value)| (address.as_str(), bytes::Bytes::clone(value))).collect();
    Ok(i32::from(host.access.set(entries).is_ok()))
}

/// A list of what was removed.
fn delete_state(mut request: Request<'_, '_>, list: u32) -> Result<i32, Error> {
    let Some(addresses) = texts(&mut request, list)? else { return Ok(-1) };
    let prefixes = request.data().writes.len();
    charge(&mut request, addresses.len() * prefixes)?;
    let host = request.data_mut();
    addresses.iter().try_for_each(|address| check_below(host.writes, address))?;
    let names: Vec<_> = addresses.iter().map(String::as_str).collect();
    host.access.delete(&names).map_err(failed)?;
    let removed: Vec<_> = addresses.into_iter().map(String::into_bytes).collect();
    write_list(&mut request, &removed)
}

/// The list begins with something that means nothing, so that it may be empty otherwise. 0, or 1 if it is too much.
fn add_event(mut request: Request<'_, '_>, kind: u32, list: u32, data: u32) -> Result<i32, Error> {
    let Some(texts) = texts(&mut request, list)? else { return Ok(-1) };
    if texts.len() % 2 == 0 {
        return Ok(-1);
    }
    let attributes = texts[1..].chunks_exact(2).map(|pair| Attribute::new(&pair[0], &pair[1])).collect();
    let event_type = text(&mut request, kind)?;
    let data = piece(&mut request, data)?.into();
    let added = request.data_mut().access.add_event(Event { event_type, attributes, data });
    Ok(i32::from(added.is_err()))
}

/// Asks an organisation's function, in a machine of its own with the fuel that is left; -2 if it has no such function.
fn ask_permission(mut request: Request<'_, '_>, at: u32, name: u32, roles: u32, rest: [u32; 3]) -> Result<i32, Error> {
    let Some(roles) = pieces(&mut request, roles)? else { return Ok(-1) };
    let (address, name) = (text(&mut request, at)?, text(&mut request, name)?);
    let rest = rest.into_iter().map(|at| piece(&mut request, at)).collect::<Result<Vec<_>, _>>()?;
    let host = request.data_mut();
    if host.is_asked || !address.starts_with(&namespace_of_smart_permissions()) {
        return Err(Error::new("a contract asks smart permissions, and these ask no others"));
    }
    let row = host.access.get(host.below, &address).map_err(failed)?.unwrap_or_default();
    charge(&mut request, row.len())?;
    let mut fuel = request.get_fuel()?;
    let host = request.data_mut();
    let list: SmartPermissionList = prost::Message::decode(row).map_err(failed)?;
    let Some(permission) = list.smart_permissions.into_iter().find(|permission| permission.name == name) else {
        return Ok(-2);
    };
    let asked = Host {
        is_asked: true,
        ..Host::new(host.contracts, &mut *host.access, &mut *host.below, host.reads, host.writes)
    };
    let contracts = asked.contracts;
    let answer = contracts.execute(&permission.function, asked, &mut fuel, |host, memory| {
        let roles: Vec<_> = roles.iter().map(Vec::as_slice).collect();
        let mut said = vec![host.heap.write_list(memory, &roles)?];
        for bytes in &rest {
            said.push(host.heap.write(memory, bytes)?);
        }
        Ok::<_, super::heap::HeapError>(said)
    });
    request.set_fuel(fuel)?;
    answer?.ok_or_else(|| Error::new("a smart permission did not return a result"))
}

fn pointer_length(mut request: Request<'_, '_>, at: u32) -> Result<i32, Error> {
    charge(&mut request, 0)?;
    Ok(request.data().heap.length(at).map_or(-1, u32::cast_signed))
}

fn allocate(mut request: Request<'_, '_>, length: u32) -> Result<i32, Error> {
    charge(&mut request, length as usize)?;
    with_memory(&mut request, |heap, memory| heap.allocate(memory, length)).map(u32::cast_signed)
}

fn read_byte(mut request: Request<'_, '_>, at: u32) -> Result<i32, Error> {
    charge(&mut request, 1)?;
    with_memory(&mut request, |_, memory| memory.get(at as usize).copied().ok_or(TrapCode::MemoryOutOfBounds))
        .map(i32::from)
}

fn write_byte(mut request: Request<'_, '_>, at: u32, offset: u32, byte: u32) -> Result<i32, Error> {
    charge(&mut request, 1)?;
    with_memory(&mut request, |heap, memory| {
        if heap.length(at).is_none() {
            return Ok(-1);
        }
        let place = at.checked_add(offset).and_then(|place| memory.get_mut(place as usize));
        // Only the lowest eight bits are the byte.
        *place.ok_or(TrapCode::MemoryOutOfBounds)? = byte.to_le_bytes()[0];
        Ok::<_, TrapCode>(1)
    })
}

fn list_length(mut request: Request<'_, '_>, list: u32) -> Result<i32, Error> {
    charge(&mut request, 0)?;
    let length = request.data().heap.list(list).map(<[u32]>::len);
    Ok(length.and_then(|length| i32::try_from(length).ok()).unwrap_or(-1))
}

fn list_item(mut request: Request<'_, '_>, list: u32, index: u32) -> Result<i32, Error> {
    charge(&mut request, 0)?;
    let item = request.data().heap.list(list).and_then(|list| list.get(index as usize).copied());
    Ok(item.map_or(-1, u32::cast_signed))
}

fn begin_list(mut request: Request<'_, '_>, first: u32) -> Result<u32, Error> {
    charge(&mut request, 0)?;
    request.data_mut().heap.begin_list(first).map_err(failed)?;
    Ok(first)
}

fn append(mut request: Request<'_, '_>, first: u32, at: u32) -> Result<u32, Error> {
    charge(&mut request, 0)?;
    request.data_mut().heap.append(first, at).map_err(failed)?;
    Ok(first)
}

/// What a list leads to; nothing if there is no such list.
fn pieces(request: &mut Request<'_, '_>, list: u32) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let Some(list) = request.data().heap.list(list).map(<[u32]>::to_vec) else {
        charge(request, 0)?;
        return Ok(None);
    };
    list.into_iter().map(|at| piece(request, at)).collect::<Result<_, _>>().map(Some)
}

fn texts(request: &mut Request<'_, '_>, list: u32) -> Result<Option<Vec<String>>, Error> {
    let Some(pieces) = pieces(request, list)? else { return Ok(None) };
    pieces.into_iter().map(|piece| String::from_utf8(piece).map_err(failed)).collect::<Result<_, _>>().map(Some)
}

fn piece(request: &mut Request<'_, '_>, at: u32) -> Result<Vec<u8>, Error> {
    let length = request.data().heap.length(at).unwrap_or(0);
    charge(request, length as usize)?;
    with_memory(request, |heap, memory| heap.read(memory, at).map(<[u8]>::to_vec))
}

fn text(request: &mut Request<'_, '_>, at: u32) -> Result<String, Error> {
    String::from_utf8(piece(request, at)?).map_err(failed)
}

fn write_list(request: &mut Request<'_, '_>, pieces: &[Vec<u8>]) -> Result<i32, Error> {
    let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
    with_memory(request, |heap, memory| heap.write_list(memory, &pieces)).map(u32::cast_signed)
}

fn with_memory<T, E: std::fmt::Display>(
    request: &mut Request<'_, '_>,
    f: impl FnOnce(&mut Heap, &mut [u8]) -> Result<T, E>,
) -> Result<T, Error> {
    let memory = request.data().memory.expect("the heap is made before the contract runs");
    let (bytes, host) = memory.data_and_store_mut(request.as_context_mut());
    f(&mut host.heap, bytes).map_err(failed)
}

/// What a request takes of the fuel, before it is served.
fn charge(request: &mut Request<'_, '_>, bytes: usize) -> Result<(), Error> {
    let mut fuel = request.get_fuel()?;
    let taken = take(&mut fuel, CONTRACT_REQUEST_FUEL + CONTRACT_REQUEST_BYTE_FUEL * bytes as u64);
    request.set_fuel(fuel)?;
    taken
}

fn check_below(prefixes: &[String], address: &str) -> Result<(), Error> {
    let is_below = prefixes.iter().any(|prefix| address.starts_with(prefix));
    if is_below && Address::from_hex(address).is_some() {
        return Ok(());
    }
    Err(Error::new(format!("it may not reach the address {}", address.chars().take(70).collect::<String>())))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(error.to_string())
}
