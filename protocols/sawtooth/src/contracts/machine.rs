//! Modules, checked once and kept ready; and one execution of one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use coco_crypto::sha512;
use parking_lot::Mutex;
use wasmi::{
    CompilationMode, Config, EnforcedLimits, Engine, Error, Memory, MemoryType, Module, Store, StoreLimits,
    StoreLimitsBuilder, TrapCode, Val, ValType,
};

use super::host::{Host, linker};
use crate::execute::{Access, StateReader};
use crate::limits::{
    CONTRACT_BYTES_MAX, CONTRACT_ENTRY_FUEL, CONTRACT_HEAP_PAGES, CONTRACT_MEMORY_BYTES_MAX, CONTRACT_STACK_DEPTH_MAX,
    CONTRACT_TABLE_ELEMENTS_MAX, CONTRACT_TRANSLATED_BYTE_FUEL, CONTRACTS_READY_BYTES_MAX,
};

/// What a contract exports.
const ENTRYPOINT: &str = "entrypoint";

/// See the module's text. One for a node.
#[derive(Default)]
pub struct Contracts(Mutex<Ready>);

/// Modules that were executed lately.
#[derive(Default)]
struct Ready {
    modules: BTreeMap<Name, Kept>,
    /// Of their code, as it came.
    bytes: usize,
    uses: u64,
}

/// SHA-512 of a module.
type Name = [u8; 64];

struct Kept {
    module: Module,
    bytes: usize,
    used: u64,
}

/// What an execution is given.
pub struct Entrance<'a> {
    pub access: &'a mut Access,
    pub below: &'a mut dyn StateReader,
    /// Where it may read and write: prefixes, in hex.
    pub reads: &'a [String],
    pub writes: &'a [String],
    /// What is left of it stays for those that follow.
    pub fuel: &'a mut u64,
    /// Its arguments.
    pub said: &'a [&'a [u8]],
}

impl Contracts {
    /// Whether it is a module that can be executed. Finding out is paid for as an execution's translation is, so that what one batch has a
    /// node translate is bounded by its fuel; it costs the same where the module is ready.
    pub fn check(&self, wasm: &[u8], fuel: &mut u64) -> Result<(), String> {
        let bytes = wasm.len() as u64;
        take(fuel, CONTRACT_ENTRY_FUEL + (1 + CONTRACT_TRANSLATED_BYTE_FUEL) * bytes)
            .map_err(|error| explained(&error))?;
        let name = sha512(wasm);
        if self.0.lock().take(&name).is_some() { Ok(()) } else { self.translate(name, wasm).map(|_| ()) }
    }

    /// Executes a contract to its end. What it answers; nothing if it answers nothing.
    pub fn run(&self, wasm: &[u8], entrance: Entrance<'_>) -> Result<Option<i32>, String> {
        let Entrance { access, below, reads, writes, fuel, said } = entrance;
        let host = Host::new(self, access, below, reads, writes);
        let write_said = |host: &mut Host<'_>, memory: &mut [u8]| {
            said.iter().map(|bytes| host.heap.write(memory, bytes)).collect::<Result<Vec<_>, _>>()
        };
        // What it leaves behind when the machine itself fails is dropped with the transaction.
        catch_unwind(AssertUnwindSafe(|| self.execute(wasm, host, fuel, write_said)))
            .map_err(|_| "the machine failed".to_owned())?
            .map_err(|error| explained(&error))
    }

    /// `arguments` puts what the contract is called with onto the heap, and says where.
    pub(super) fn execute<E: std::fmt::Display>(
        &self,
        wasm: &[u8],
        host: Host<'_>,
        fuel: &mut u64,
        arguments: impl FnOnce(&mut Host<'_>, &mut [u8]) -> Result<Vec<u32>, E>,
    ) -> Result<Option<i32>, Error> {
        let module = self.module(wasm, fuel)?;
        let mut store = Store::new(module.engine(), host);
        store.limiter(|host| &mut host.limits);
        store.set_fuel(*fuel)?;
        let outcome = enter(&mut store, &module, arguments);
        *fuel = store.get_fuel()?;
        outcome
    }

    /// What it takes to come to a module is taken from the fuel before: hashing it and a machine for it, and translating it.
    fn module(&self, wasm: &[u8], fuel: &mut u64) -> Result<Module, Error> {
        let bytes = wasm.len() as u64;
        take(fuel, CONTRACT_ENTRY_FUEL + bytes)?;
        let name = sha512(wasm);
        if let Some(module) = self.0.lock().take(&name) {
            return Ok(module);
        }
        take(fuel, CONTRACT_TRANSLATED_BYTE_FUEL * bytes)?;
        self.translate(name, wasm).map_err(Error::new)
    }

    fn translate(&self, name: Name, wasm: &[u8]) -> Result<Module, String> {
        if wasm.len() > CONTRACT_BYTES_MAX {
            return Err(format!("a contract has at most {CONTRACT_BYTES_MAX} bytes"));
        }
        // Each has an engine of its own, with which its code goes when it is dropped.
        let module = catch_unwind(|| Module::new(&Engine::new(&config()), wasm))
            .map_err(|_| "it cannot be translated".to_owned())?
            .map_err(|error| format!("it is no usable WebAssembly module: {error}"))?;
        self.0.lock().keep(name, module.clone(), wasm.len());
        Ok(module)
    }
}

impl Ready {
    fn take(&mut self, name: &Name) -> Option<Module> {
        self.uses += 1;
        let kept = self.modules.get_mut(name)?;
        kept.used = self.uses;
        Some(kept.module.clone())
    }

    fn keep(&mut self, name: Name, module: Module, bytes: usize) {
        let kept = Kept { module, bytes, used: self.uses };
        self.bytes += bytes;
        self.bytes -= self.modules.insert(name, kept).map_or(0, |same| same.bytes);
        while self.bytes > CONTRACTS_READY_BYTES_MAX {
            let oldest = self.modules.iter().min_by_key(|(_, kept)| kept.used).map(|(name, _)| *name);
            let oldest = oldest.expect("what takes room is there");
            self.bytes -= self.modules.remove(&oldest).map_or(0, |kept| kept.bytes);
        }
    }
}

/// What Sabre's SDK and the compilers behind it make use of, and no more.
fn config() -> Config {
    let mut config = Config::default();
    config.consume_fuel(true).compilation_mode(CompilationMode::Eager).ignore_custom_sections(true);
    config.enforced_limits(EnforcedLimits::strict()).set_max_recursion_depth(CONTRACT_STACK_DEPTH_MAX);
    config.wasm_tail_call(false).wasm_multi_memory(false).wasm_custom_page_sizes(false).wasm_wide_arithmetic(false);
    config
}

/// Of everything that one execution makes: its own memory, and the heap.
pub(super) fn limits() -> StoreLimits {
    StoreLimitsBuilder::new()
        .instances(1)
        .memories(2)
        .tables(1)
        .memory_size(CONTRACT_MEMORY_BYTES_MAX)
        .table_elements(CONTRACT_TABLE_ELEMENTS_MAX)
        .build()
}

fn enter<'a, E: std::fmt::Display>(
    store: &mut Store<Host<'a>>,
    module: &Module,
    arguments: impl FnOnce(&mut Host<'_>, &mut [u8]) -> Result<Vec<u32>, E>,
) -> Result<Option<i32>, Error> {
    let memory = Memory::new(&mut *store, MemoryType::new(CONTRACT_HEAP_PAGES, None))?;
    store.data_mut().memory = Some(memory);
    let instance = linker(module.engine(), memory)?.instantiate_and_start(&mut *store, module)?;
    let (bytes, host) = memory.data_and_store_mut(&mut *store);
    let said = arguments(host, bytes).map_err(|error| Error::new(error.to_string()))?;
    let entrypoint = instance.get_func(&*store, ENTRYPOINT);
    let entrypoint = entrypoint.ok_or_else(|| Error::new(format!("it exports no function {ENTRYPOINT}")))?;
    let kind = entrypoint.ty(&*store);
    let answers = kind.results() == [ValType::I32];
    if kind.params() != vec![ValType::I32; said.len()] || !(answers || kind.results().is_empty()) {
        return Err(Error::new(format!("{ENTRYPOINT} takes {} pointers and answers a number", said.len())));
    }
    let said: Vec<Val> = said.into_iter().map(|at| Val::I32(at.cast_signed())).collect();
    let mut answer = [Val::I32(0)];
    entrypoint.call(&mut *store, &said, if answers { &mut answer } else { &mut [] })?;
    Ok(answer[0].i32().filter(|_| answers))
}

/// Nothing is left where there is too little.
pub(super) fn take(fuel: &mut u64, price: u64) -> Result<(), Error> {
    let left = fuel.checked_sub(price);
    *fuel = left.unwrap_or(0);
    left.map(|_| ()).ok_or_else(|| TrapCode::OutOfFuel.into())
}

fn explained(error: &Error) -> String {
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => "it took more steps than a transaction or its batch may".to_owned(),
        _ => error.to_string(),
    }
}
