//! Contracts from their registry to their end, hostile ones among them.

use bytes::Bytes;
use prost::Message as _;

use super::super::testing::World;
use super::{apply, rows};
use crate::limits::{BATCH_FUEL, CONTRACT_ENTRY_FUEL, CONTRACT_PREFIXES_MAX, CONTRACT_TRANSLATED_BYTE_FUEL};
use crate::messages::ledger::Event;
use crate::messages::sabre::{
    Agent, AgentList, ContractRegistryList, CreateContract, CreatePermission, ExecuteContract, NameAndOwners,
    NameAndVersion, NameOnly, OrganizationList, SabrePayload, SmartPermission, sabre_action,
};
use crate::settings::{self, ADMINISTRATORS};

const ADMIN: &str = "admin";
const OWNER: &str = "owner";
/// A namespace, and an address in it.
const SPACE: &str = "abcdef";

fn address(last: char) -> String {
    format!("{SPACE:0<69}{last}")
}

/// What the SDK's contracts import, and a function that is called with what they say.
fn module(entrypoint: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "env" "get_state" (func $get_state (param i32) (result i32)))
            (import "env" "set_state" (func $set_state (param i32) (result i32)))
            (import "env" "delete_state" (func $delete_state (param i32) (result i32)))
            (import "env" "add_event" (func $add_event (param i32 i32 i32) (result i32)))
            (import "env" "get_ptr_len" (func $get_ptr_len (param i32) (result i32)))
            (import "env" "alloc" (func $alloc (param i32) (result i32)))
            (import "env" "read_byte" (func $read_byte (param i32) (result i32)))
            (import "env" "write_byte" (func $write_byte (param i32 i32 i32) (result i32)))
            (import "env" "get_ptr_collection_len" (func $list_len (param i32) (result i32)))
            (import "env" "get_ptr_from_collection" (func $list_item (param i32 i32) (result i32)))
            (import "env" "create_collection" (func $list (param i32) (result i32)))
            (import "env" "add_to_collection" (func $append (param i32 i32) (result i32)))
            (import "env" "invoke_smart_permission" (func $ask (param i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "log_buffer" (func $log (param i32 i32)))
            (import "env" "log_level" (func $log_level (result i32)))
            (memory 1)
            (func (export "entrypoint") (param $payload i32) (param $signer i32) (param $id i32) (result i32)
                (local $found i32) (local $value i32)
                {entrypoint}))"#
    );
    wat::parse_str(text).expect("a module")
}

/// Counts at the address that is its payload, and tells how far.
const COUNTER: &str = r#"
    (drop (call $list (local.get $payload)))
    (local.set $found (call $get_state (local.get $payload)))
    (local.set $value (call $alloc (i32.const 1)))
    (if (i32.eq (call $list_len (local.get $found)) (i32.const 2)) (then
        (drop (call $write_byte (local.get $value) (i32.const 0)
            (call $read_byte (call $list_item (local.get $found) (i32.const 1)))))))
    (drop (call $write_byte (local.get $value) (i32.const 0)
        (i32.add (call $read_byte (local.get $value)) (i32.const 1))))
    (drop (call $append (call $list (local.get $payload)) (local.get $value)))
    (if (i32.ne (call $set_state (local.get $payload)) (i32.const 1)) (then (return (i32.const -3))))
    (call $log (i32.const 0) (local.get $payload))
    (drop (call $list (local.get $signer)))
    (i32.sub (i32.const 1) (call $add_event (local.get $payload) (local.get $signer) (local.get $value)))"#;

fn send(world: &mut World, signer: &str, payload: SabrePayload) -> Result<Vec<Event>, String> {
    world.apply(apply, signer, payload.encode_to_vec())
}

fn named(name: &str, owner: &str) -> Option<NameAndOwners> {
    Some(NameAndOwners { name: name.into(), owners: vec![owner.into()] })
}

fn create_registry(name: &str) -> SabrePayload {
    let (action, create_contract_registry) = (sabre_action::CREATE_CONTRACT_REGISTRY, named(name, OWNER));
    SabrePayload { action, create_contract_registry, ..SabrePayload::default() }
}

fn create_namespace(namespace: &str) -> SabrePayload {
    let (action, create_namespace_registry) = (sabre_action::CREATE_NAMESPACE_REGISTRY, named(namespace, OWNER));
    SabrePayload { action, create_namespace_registry, ..SabrePayload::default() }
}

fn permit(contract: &str, read: bool, write: bool) -> SabrePayload {
    let permission = CreatePermission { namespace: SPACE.into(), contract_name: contract.into(), read, write };
    let create_namespace_registry_permission = Some(permission);
    let action = sabre_action::CREATE_NAMESPACE_REGISTRY_PERMISSION;
    SabrePayload { action, create_namespace_registry_permission, ..SabrePayload::default() }
}

fn create(name: &str, wasm: &[u8]) -> SabrePayload {
    let create_contract = Some(CreateContract {
        name: name.into(),
        version: "1.0".into(),
        inputs: vec![SPACE.into()],
        outputs: vec![SPACE.into()],
        contract: Bytes::copy_from_slice(wasm),
    });
    SabrePayload { action: sabre_action::CREATE_CONTRACT, create_contract, ..SabrePayload::default() }
}

fn execute(name: &str, inputs: &str, outputs: &str, payload: &str) -> SabrePayload {
    let execute_contract = Some(ExecuteContract {
        name: name.into(),
        version: "1.0".into(),
        inputs: vec![inputs.into()],
        outputs: vec![outputs.into()],
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    });
    SabrePayload { action: sabre_action::EXECUTE_CONTRACT, execute_contract, ..SabrePayload::default() }
}

/// A ledger with an administrator, a namespace and a registry of this name.
fn world(name: &str) -> World {
    let mut world = World::default();
    world.0.insert(settings::address(ADMINISTRATORS), settings::row_with(None, ADMINISTRATORS, ADMIN));
    send(&mut world, ADMIN, create_namespace(SPACE)).unwrap();
    send(&mut world, ADMIN, create_registry(name)).unwrap();
    world
}

/// What comes of executing this as a contract that may do what it wants in its namespace.
fn outcome(entrypoint: &str) -> Result<Vec<Event>, String> {
    outcome_of(&module(entrypoint))
}

fn outcome_of(wasm: &[u8]) -> Result<Vec<Event>, String> {
    let mut world = world("c");
    send(&mut world, OWNER, permit("c", true, true)).unwrap();
    send(&mut world, OWNER, create("c", wasm))?;
    send(&mut world, "anybody", execute("c", SPACE, SPACE, &address('1')))
}

#[test]
fn a_contract_reads_writes_and_tells() {
    let mut world = world("counter");
    send(&mut world, OWNER, create("counter", &module(COUNTER))).unwrap();
    let run = execute("counter", SPACE, SPACE, &address('1'));
    assert!(send(&mut world, "anybody", run.clone()).unwrap_err().contains("permission to read"));
    send(&mut world, OWNER, permit("counter", true, false)).unwrap();
    assert!(send(&mut world, "anybody", run.clone()).unwrap_err().contains("permission to write"));
    send(&mut world, OWNER, permit("counter", true, true)).unwrap();
    for count in 1..=3 {
        let events = send(&mut world, "anybody", run.clone()).unwrap();
        assert_eq!((events[0].event_type.as_str(), events[0].data.as_ref()), (address('1').as_str(), &[count][..]));
    }
    let at = crate::address::Address::from_hex(&address('1')).unwrap();
    assert_eq!(world.0[&at].as_ref(), [3]);
}

#[test]
fn a_contract_reaches_only_what_its_payload_lists() {
    let mut world = world("counter");
    send(&mut world, OWNER, create("counter", &module(COUNTER))).unwrap();
    send(&mut world, OWNER, permit("counter", true, true)).unwrap();
    let below = |last| address(last);
    let error = send(&mut world, "a", execute("counter", &below('2'), SPACE, &below('1'))).unwrap_err();
    assert!(error.contains("may not reach the address abcdef"), "{error}");
    let error = send(&mut world, "a", execute("counter", SPACE, &below('2'), &below('1'))).unwrap_err();
    assert_eq!(error, "Wasm contract returned invalid transaction: counter, 1.0");
    let elsewhere = execute("counter", "00ec01", SPACE, &below('1'));
    assert!(send(&mut world, "a", elsewhere).unwrap_err().contains("Namespace Registry does not exist: 00ec01"));
}

#[test]
fn only_administrators_found_registries_and_only_owners_fill_them() {
    let mut empty = World::default();
    assert!(send(&mut empty, ADMIN, create_registry("c")).unwrap_err().contains("Admins not set"));
    let mut world = world("c");
    assert!(send(&mut world, OWNER, create_registry("d")).unwrap_err().contains("Only admins"));
    assert!(send(&mut world, OWNER, create_namespace("123456")).unwrap_err().contains("Only admins"));
    assert!(send(&mut world, ADMIN, create_registry("c")).unwrap_err().contains("already exists"));
    assert!(send(&mut world, ADMIN, create_namespace("12345")).unwrap_err().contains("6 characters"));
    assert!(send(&mut world, "thief", permit("c", true, true)).unwrap_err().contains("Only owners or admins"));
    let wasm = module(COUNTER);
    assert!(send(&mut world, "thief", create("c", &wasm)).unwrap_err().contains("Only owners"));
    assert!(send(&mut world, ADMIN, create("c", &wasm)).unwrap_err().contains("Only owners"));
    assert!(send(&mut world, OWNER, create("e", &wasm)).unwrap_err().contains("Registry does not exist"));
    send(&mut world, OWNER, create("c", &wasm)).unwrap();
    assert!(send(&mut world, OWNER, create("c", &wasm)).unwrap_err().contains("already exists"));
    let list = ContractRegistryList::decode(world.0[&rows::registry("c")].clone()).unwrap();
    assert_eq!(list.registries[0].versions[0].contract_sha512, hex::encode(coco_crypto::sha512(&wasm)));
}

#[test]
fn what_was_made_can_be_changed_and_removed() {
    let mut world = world("c");
    send(&mut world, OWNER, create("c", &module(COUNTER))).unwrap();
    send(&mut world, OWNER, permit("c", true, true)).unwrap();
    let update = |action| SabrePayload { action, ..SabrePayload::default() };
    let owners = SabrePayload {
        update_contract_registry_owners: named("c", "heir"),
        ..update(sabre_action::UPDATE_CONTRACT_REGISTRY_OWNERS)
    };
    send(&mut world, OWNER, owners).unwrap();
    let owners = SabrePayload {
        update_namespace_registry_owners: named(SPACE, "heir"),
        ..update(sabre_action::UPDATE_NAMESPACE_REGISTRY_OWNERS)
    };
    send(&mut world, ADMIN, owners).unwrap();
    let pair = |name: &str, version: &str| Some(NameAndVersion { name: name.into(), version: version.into() });
    let only = |name: &str| Some(NameOnly { name: name.into() });
    let delete_registry =
        SabrePayload { delete_contract_registry: only("c"), ..update(sabre_action::DELETE_CONTRACT_REGISTRY) };
    let delete_namespace =
        SabrePayload { delete_namespace_registry: only(SPACE), ..update(sabre_action::DELETE_NAMESPACE_REGISTRY) };
    assert!(send(&mut world, "heir", delete_registry.clone()).unwrap_err().contains("no versions"));
    assert!(send(&mut world, "heir", delete_namespace.clone()).unwrap_err().contains("no permissions"));
    let delete = SabrePayload { delete_contract: pair("c", "1.0"), ..update(sabre_action::DELETE_CONTRACT) };
    assert!(send(&mut world, OWNER, delete.clone()).unwrap_err().contains("not an owner"));
    send(&mut world, "heir", delete.clone()).unwrap();
    assert!(send(&mut world, "heir", delete).unwrap_err().contains("does not exist"));
    let forbid = SabrePayload {
        delete_namespace_registry_permission: pair(SPACE, "c"),
        ..update(sabre_action::DELETE_NAMESPACE_REGISTRY_PERMISSION)
    };
    send(&mut world, "heir", forbid.clone()).unwrap();
    assert!(send(&mut world, "heir", forbid).unwrap_err().contains("does not have a permission"));
    send(&mut world, "heir", delete_registry).unwrap();
    send(&mut world, "heir", delete_namespace).unwrap();
    assert_eq!(world.0.len(), 1, "only the setting is left");
}

#[test]
fn what_is_no_payload_is_refused() {
    let mut world = world("c");
    for (payload, why) in [
        (vec![0xff], "deserialize"),
        (Vec::new(), "deserialize"),
        (create("", b"w").encode_to_vec(), "name cannot be"),
        (create("c", b"").encode_to_vec(), "bytes cannot be"),
        (execute("c", SPACE, SPACE, "").encode_to_vec(), "payload cannot be"),
        (execute("c", SPACE, SPACE, "x").encode_to_vec(), "does not exist"),
        (SabrePayload { action: 12, ..SabrePayload::default() }.encode_to_vec(), "Organization ID"),
    ] {
        let error = world.apply(apply, OWNER, payload).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_contract_that_never_ends_is_ended() {
    let error = outcome("(loop $again (br $again)) (i32.const 1)").unwrap_err();
    assert_eq!(error, "Wasm contract failed: c, 1.0: it took more steps than a transaction or its batch may");
}

#[test]
fn requests_of_the_node_take_steps_too() {
    let error = outcome("(loop $again (drop (call $log_level)) (br $again)) (i32.const 1)").unwrap_err();
    assert!(error.contains("more steps"), "{error}");
    let error =
        outcome("(loop $again (drop (call $list (local.get $payload))) (br $again)) (i32.const 1)").unwrap_err();
    assert!(error.contains("more than 100000 pointers"), "{error}");
}

#[test]
fn what_the_node_does_to_execute_a_contract_takes_steps_like_its_instructions() {
    let wasm = module("(i32.const 1)");
    let mut world = world("c");
    send(&mut world, OWNER, permit("c", true, true)).unwrap();
    send(&mut world, OWNER, create("c", &wasm)).unwrap();
    let run = execute("c", SPACE, SPACE, &address('1')).encode_to_vec();
    let steps = |world: &mut World, mut fuel: u64| {
        let given = fuel;
        world.apply_with(&mut fuel, apply, "anybody", run.clone()).map(|_| given - fuel)
    };
    let ready = steps(&mut world, BATCH_FUEL).unwrap();
    let bytes = wasm.len() as u64;
    // Its row is read too.
    assert!(ready > CONTRACT_ENTRY_FUEL + 2 * bytes, "{ready}");
    world.1 = std::sync::Arc::default();
    assert_eq!(steps(&mut world, BATCH_FUEL).unwrap(), ready + CONTRACT_TRANSLATED_BYTE_FUEL * bytes);
    assert_eq!(steps(&mut world, ready).unwrap(), ready);
    for too_few in [0, bytes, CONTRACT_ENTRY_FUEL, ready - 1] {
        let error = steps(&mut world, too_few).unwrap_err();
        assert!(error.to_lowercase().contains("steps"), "{error}");
    }
}

#[test]
fn a_payload_does_not_list_prefixes_without_end() {
    let mut world = world("c");
    send(&mut world, OWNER, create("c", &module(COUNTER))).unwrap();
    let mut run = execute("c", SPACE, SPACE, &address('1'));
    let many = vec![SPACE.to_owned(); CONTRACT_PREFIXES_MAX + 1];
    run.execute_contract.as_mut().unwrap().inputs = many;
    assert!(send(&mut world, "anybody", run).unwrap_err().contains("at most 1000 inputs"));
}

#[test]
fn a_contract_cannot_take_all_memory() {
    // A page that cannot be had is told by -1; a contract goes on without it.
    let grown = "(drop (memory.grow (i32.const 60000))) (select (i32.const 1) (i32.const -3) (i32.eq (memory.size) (i32.const 1)))";
    assert!(outcome(grown).is_ok());
    let error =
        outcome("(loop $again (drop (call $alloc (i32.const 1000000))) (br $again)) (i32.const 1)").unwrap_err();
    assert!(error.contains("memory is full"), "{error}");
    assert!(outcome("(drop (call $alloc (i32.const -1))) (i32.const 1)").is_err());
    let large = wat::parse_str(
        r#"(module (memory 1000) (func (export "entrypoint") (param i32 i32 i32) (result i32) (i32.const 1)))"#,
    );
    assert!(outcome_of(&large.unwrap()).is_err());
}

#[test]
fn a_contract_that_fails_says_how() {
    for (entrypoint, why) in [
        ("unreachable", "unreachable"),
        ("(i32.load (i32.const 2000000000))", "out of bounds"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "divide by zero"),
        ("(call $read_byte (i32.const -1))", "out of bounds"),
        ("(call $write_byte (local.get $payload) (i32.const -1) (i32.const 1))", "out of bounds"),
        ("(call $append (i32.const 77) (i32.const 77))", "leads nowhere"),
        ("(drop (call $list (i32.const 9999))) (call $get_state (i32.const 9999))", "leads nowhere"),
        ("(drop (call $list (local.get $signer))) (call $delete_state (local.get $signer))", "may not reach"),
        ("(i32.const -3)", "returned invalid transaction"),
        ("(i32.const 7)", "returned internal error: 7"),
    ] {
        let error = outcome(entrypoint).unwrap_err();
        assert!(error.contains(why), "{entrypoint}: {error}");
    }
}

#[test]
fn what_no_machine_runs_is_not_taken_in() {
    for (wasm, why) in [
        (b"not a module".to_vec(), "no usable WebAssembly"),
        (module(COUNTER)[..200].to_vec(), "no usable WebAssembly"),
        (vec![0; crate::limits::CONTRACT_BYTES_MAX + 1], "at most"),
        (wat::parse_str("(module (func (drop (i64.const 1)) (i32.const 1)))").unwrap(), "no usable WebAssembly"),
    ] {
        let error = outcome_of(&wasm).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let odd = |text: &str| outcome_of(&wat::parse_str(text).unwrap()).unwrap_err();
    assert!(odd(r#"(module (import "env" "open" (func (param i32))))"#).contains("open"));
    assert!(odd(r#"(module (import "env" "get_state" (func (param i64))))"#).contains("contract failed"));
    assert!(odd("(module)").contains("exports no function entrypoint"));
    assert!(odd(r#"(module (func (export "entrypoint") (result i64) (i64.const 1)))"#).contains("takes 3 pointers"));
    let mute = r#"(module (func (export "entrypoint") (param i32 i32 i32)))"#;
    assert_eq!(odd(mute), "Wasm contract did not return a result: c, 1.0");
}

#[test]
fn deep_recursion_ends() {
    let deep = r#"(module (func $f (export "entrypoint") (param i32 i32 i32) (result i32)
        (call $f (local.get 0) (local.get 1) (local.get 2))))"#;
    let error = outcome_of(&wat::parse_str(deep).unwrap()).unwrap_err();
    assert!(error.contains("call stack exhausted"), "{error}");
}

/// Answers 5 to the agent's first role if it has six letters.
const PERMISSION: &str = r#"(module
    (import "env" "get_ptr_from_collection" (func $list_item (param i32 i32) (result i32)))
    (import "env" "get_ptr_len" (func $get_ptr_len (param i32) (result i32)))
    (func (export "entrypoint") (param $roles i32) (param i32 i32 i32) (result i32)
        (select (i32.const 5) (i32.const 0)
            (i32.eq (call $get_ptr_len (call $list_item (local.get $roles) (i32.const 0))) (i32.const 6)))))"#;

#[test]
fn a_contract_asks_an_organisations_permission() {
    let mut world = world("asker");
    let agent = Agent { org_id: "org".into(), public_key: "ann".into(), active: true, roles: vec!["admin".into()] };
    world.0.insert(rows::agent("ann"), AgentList { agents: vec![agent] }.encode_to_vec().into());
    let function = Bytes::from(wat::parse_str(PERMISSION).unwrap());
    let wanted = SmartPermission { name: "may".into(), org_id: "org".into(), function };
    let payload = |action, part: &SmartPermission| SabrePayload {
        action,
        create_smart_permission: Some(part.clone()),
        update_smart_permission: Some(part.clone()),
        delete_smart_permission: Some(part.clone()),
        ..SabrePayload::default()
    };
    let create_permission = payload(sabre_action::CREATE_SMART_PERMISSION, &wanted);
    assert!(send(&mut world, "bob", create_permission.clone()).unwrap_err().contains("not an agent"));
    assert!(send(&mut world, "ann", create_permission.clone()).unwrap_err().contains("Organization does not exist"));
    let organizations = OrganizationList { organizations: vec![NameOnly { name: "org".into() }] };
    world.0.insert(rows::organization("org"), organizations.encode_to_vec().into());
    send(&mut world, "ann", create_permission.clone()).unwrap();
    assert!(send(&mut world, "ann", create_permission).unwrap_err().contains("already exists"));
    send(&mut world, "ann", payload(sabre_action::UPDATE_SMART_PERMISSION, &wanted)).unwrap();

    // The payload is the permission's address; a name is written letter by letter.
    let asks = r#"
        (local.set $value (call $alloc (i32.const 3)))
        (drop (call $write_byte (local.get $value) (i32.const 0) (i32.const 109)))
        (drop (call $write_byte (local.get $value) (i32.const 1) (i32.const 97)))
        (drop (call $write_byte (local.get $value) (i32.const 2) (i32.const 121)))
        (drop (call $list (local.get $signer)))
        (i32.sub (call $ask (local.get $payload) (local.get $value) (local.get $signer)
            (local.get $signer) (local.get $signer) (local.get $signer)) (i32.const 4))"#;
    send(&mut world, OWNER, permit("asker", true, true)).unwrap();
    send(&mut world, OWNER, create("asker", &module(asks))).unwrap();
    let ask = |at: &str| execute("asker", SPACE, SPACE, at);
    let at = rows::smart_permission("org", "may").to_hex();
    assert!(send(&mut world, "sixsix", ask(&at)).is_ok());
    let mut fuel = BATCH_FUEL;
    world.apply_with(&mut fuel, apply, "sixsix", ask(&at).encode_to_vec()).unwrap();
    assert!(BATCH_FUEL - fuel > 2 * CONTRACT_ENTRY_FUEL, "asking is an execution of its own");
    assert!(send(&mut world, "five5", ask(&at)).unwrap_err().contains("internal error: -4"));
    assert!(send(&mut world, "sixsix", ask(&address('1'))).unwrap_err().contains("asks smart permissions"));
    send(&mut world, "ann", payload(sabre_action::DELETE_SMART_PERMISSION, &wanted)).unwrap();
    assert!(send(&mut world, "sixsix", ask(&at)).unwrap_err().contains("internal error: -6"));
}

#[test]
fn what_the_node_does_to_check_a_contract_takes_steps_too_whether_it_has_it_ready_or_not() {
    let wasm = module("(i32.const 1)");
    let mut world = world("c");
    let price = CONTRACT_ENTRY_FUEL + (1 + CONTRACT_TRANSLATED_BYTE_FUEL) * wasm.len() as u64;
    let creating = |name: &str| create(name, &wasm).encode_to_vec();
    let mut fuel = price - 1;
    let error = world.apply_with(&mut fuel, apply, OWNER, creating("c")).unwrap_err();
    assert!(error.to_lowercase().contains("steps"), "{error}");
    let spent = |world: &mut World| {
        let mut fuel = BATCH_FUEL;
        world.apply_with(&mut fuel, apply, OWNER, creating("c")).unwrap();
        BATCH_FUEL - fuel
    };
    let first = spent(&mut world);
    assert!(first >= price, "{first}");
    let mut later = self::world("c");
    later.1 = world.1.clone();
    assert_eq!(spent(&mut later), first, "it is ready, and that is nobody's to notice");
}
