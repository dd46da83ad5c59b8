//! An endpoint of the members' application: one call of one function, in an interpreter of its own.
//!
//! ```text
//!   request ──▶ function(request) ──▶ {statusCode, headers, body}
//!                  │ ccf.kv: a transaction that the caller of this gives, and decides about
//!                  └ import: modules as they are in that same transaction
//! ```
//!
//! What it writes it may have written for nothing: [`Reaction::applies`] says whether it is meant. Nothing here is run again by an auditor, so
//! that time and randomness are open to it; what bounds it is time, the interpreter's steps, and memory.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::{Store, Tx};
use coco_types::limits::{APP_HEADERS_BYTES_MAX, APP_RESPONSE_BYTES_MAX, APP_SCAN_BYTES_MAX, APP_STATES_MAX};
use coco_types::{Digest, Seqno, TxId, View, WriteSet};
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::promise::MaybePromise;
use rquickjs::{Array, ArrayBuffer, Ctx, Error, Exception, FromJs, Function, Module, Object, Result, Value};
use serde_json::json;

use super::budget::{Budget, STEP_BYTES, Wall};
use super::host::{self, Binary, add, pay};
use super::{Facts, Failure, Limits, Role, World, begin, interpret};
use crate::application::RuntimeOptions;
use crate::tables::{self, Read};

/// So many of the interpreter's steps are a millisecond on a machine of today; a clock that stands still lets it run ten times as long.
const STEPS_PER_MS: u64 = 5;
const STEPS_SPARE: u64 = 10;

const SURROUNDINGS: &str = include_str!("application.js");

/// What is to be called, and with what.
pub struct Call {
    /// Its name in [`tables::JS_MODULES`].
    pub module: String,
    pub function: String,
    pub writes: bool,
    /// CCF's request object without its body.
    pub request: serde_json::Value,
    pub body: Bytes,
    pub options: RuntimeOptions,
    /// What time it is for it.
    pub now_ms: u64,
    /// Of its random numbers.
    pub seed: [u8; 32],
    pub positions: Positions,
    /// In historical mode.
    pub past: Option<Past>,
    /// A committed transaction by its number, if this node has it.
    pub history: Box<dyn Fn(Seqno) -> Option<Past>>,
    /// Milliseconds on a clock that goes on while it runs; without one, steps stand for time.
    pub clock: Option<Box<dyn Fn() -> u64>>,
}

/// What `ccf.consensus` answers.
pub struct Positions {
    pub committed: Box<dyn Fn() -> TxId>,
    pub status: Box<dyn Fn(TxId) -> &'static str>,
    pub view_of: Box<dyn Fn(Seqno) -> Option<View>>,
}

/// A committed transaction: what it wrote, and the proof that it did.
pub struct Past {
    pub txid: TxId,
    pub receipt: serde_json::Value,
    pub writes: Arc<WriteSet>,
}

/// What it answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reaction {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// What was written is to hold: it succeeded, or asked for it.
    pub applies: bool,
    /// What the transaction's receipt is to bind.
    pub claims: Option<Digest>,
}

#[derive(Default)]
struct Wishes {
    apply: Option<bool>,
    claims: Option<Digest>,
}

/// What came of a call.
pub struct Called {
    pub answered: std::result::Result<Reaction, Failure>,
    /// Lines of `console`, oldest first.
    pub console: Vec<String>,
}

/// The transaction comes back with what was written.
pub fn call(tx: Tx, call: Call) -> (Tx, Called) {
    let world = world_of(tx);
    let answered = run(&world, call);
    let world = Rc::try_unwrap(world).unwrap_or_else(|_| panic!("every interpreter is gone when its call returns"));
    (world.tx.into_inner(), Called { answered, console: world.console.take() })
}

fn world_of(tx: Tx) -> Rc<World> {
    let (console, orders) = (RefCell::default(), RefCell::default());
    Rc::new(World { tx: RefCell::new(tx), facts: Facts::default(), wall: None, console, orders })
}

fn run(world: &Rc<World>, mut call: Call) -> std::result::Result<Reaction, Failure> {
    let time_ms = call.options.max_execution_time_ms;
    let (spare, wall) = match call.clock.take() {
        Some(clock) => (STEPS_SPARE, Some(Rc::from(clock) as Wall)),
        None => (1, None),
    };
    let budget = Budget::new(time_ms.saturating_mul(STEPS_PER_MS * spare), wall, time_ms);
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let (heap_bytes, stack_bytes) = (bytes(call.options.max_heap_bytes), bytes(call.options.max_stack_bytes));
    let modules = Modules { world: world.clone(), budget: budget.clone() };
    let role = Role::Application { writes: call.writes };
    let wishes = Rc::new(RefCell::new(Wishes::default()));
    let call = Rc::new(call);
    let set_up = |runtime: &rquickjs::Runtime| runtime.set_loader(Names, modules);
    let reaction = interpret(&budget, Limits { heap_bytes, stack_bytes }, set_up, |ctx| {
        let natives = host::natives(ctx, world, &budget, role)?;
        surround(ctx, &natives, &call, &budget, &wishes)?;
        begin(ctx, &natives)?;
        let surroundings: Function = ctx.eval(SURROUNDINGS)?;
        let surrounded: Function = surroundings.call((natives,))?;
        let module = Module::import(ctx, call.module.as_str())?;
        let exports: Object = settled(ctx, &budget, &MaybePromise::from_value(module.into_value()))?;
        let endpoint: Value = exports.get(call.function.as_str())?;
        let answer: MaybePromise = surrounded.call((endpoint, call.function.as_str()))?;
        settled(ctx, &budget, &answer).and_then(|answer: Object| Reaction::read(ctx, &answer))
    })?;
    let Wishes { apply, claims } = wishes.take();
    Ok(Reaction { applies: apply.unwrap_or(reaction.status < 400), claims, ..reaction })
}

/// What it comes to, once what it waits for has run. Interrupting a job ends that job alone: others would go on for ever.
fn settled<'js, T: FromJs<'js>>(ctx: &Ctx<'js>, budget: &Budget, promise: &MaybePromise<'js>) -> Result<T> {
    loop {
        if let Some(result) = promise.result() {
            return result;
        }
        if budget.exceeded().is_some() || !ctx.execute_pending_job() {
            return Err(Error::WouldBlock);
        }
    }
}

/// The natives under `application.js`.
fn surround<'js>(
    ctx: &Ctx<'js>,
    to: &Object<'js>,
    call: &Rc<Call>,
    budget: &Rc<Budget>,
    wishes: &Rc<RefCell<Wishes>>,
) -> Result<()> {
    // Exact up to 2^53.
    #[allow(clippy::cast_precision_loss)]
    to.set("nowMs", call.now_ms as f64)?;
    to.set("seed", ArrayBuffer::new_copy(ctx.clone(), call.seed)?)?;
    to.set("request", call.request.to_string())?;
    bodies(ctx, to, call, budget)?;
    positions(ctx, to, call)?;
    let w = wishes.clone();
    add(ctx, to, "applyWrites", move |on: bool| w.borrow_mut().apply = Some(on))?;
    let w = wishes.clone();
    add(ctx, to, "claim", move |ctx: Ctx<'js>, digest: Binary| -> Result<()> {
        let digest = Digest::try_from(&*digest.0).map_err(|_| Exception::throw_type(&ctx, "not a digest"))?;
        w.borrow_mut().claims = Some(digest);
        Ok(())
    })?;
    if let Some(past) = &call.past {
        to.set("past", past.object(ctx, budget)?)?;
    }
    ranges(ctx, to, call, budget)
}

/// Past transactions one after another: all of a range, or nothing if one of them is not here. They are held beside the interpreter's heap, for as
/// long as the script keeps them: what counts is all that one request has asked for.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn ranges<'js>(ctx: &Ctx<'js>, to: &Object<'js>, call: &Rc<Call>, budget: &Rc<Budget>) -> Result<()> {
    /// Steps of finding one in the files, with its receipt.
    const STEPS: usize = 4;
    let (c, b) = (call.clone(), budget.clone());
    let bytes = Cell::new(0_usize);
    add(ctx, to, "states", move |ctx: Ctx<'js>, first: f64, last: f64| -> Result<Option<Array<'js>>> {
        let (first, last) = (first as u64, last as u64);
        if last.saturating_sub(first) >= APP_STATES_MAX {
            return Err(Exception::throw_range(&ctx, &format!("a range has at most {APP_STATES_MAX} transactions")));
        }
        let states = Array::new(ctx.clone())?;
        for (at, seqno) in (first..=last).enumerate() {
            pay(&ctx, &b, STEPS * STEP_BYTES)?;
            let Some(past) = (c.history)(Seqno(seqno)) else { return Ok(None) };
            pay(&ctx, &b, past.writes.bytes())?;
            bytes.set(bytes.get().saturating_add(past.writes.bytes()));
            if bytes.get() > APP_SCAN_BYTES_MAX {
                let message = format!("the ranges of one request have at most {APP_SCAN_BYTES_MAX} bytes in all");
                return Err(Exception::throw_range(&ctx, &message));
            }
            states.set(at, past.object(&ctx, &b)?)?;
        }
        Ok(Some(states))
    })
}

fn bodies<'js>(ctx: &Ctx<'js>, to: &Object<'js>, call: &Rc<Call>, budget: &Rc<Budget>) -> Result<()> {
    let (c, b) = (call.clone(), budget.clone());
    add(ctx, to, "text", move |ctx: Ctx<'js>| -> Result<String> {
        pay(&ctx, &b, c.body.len())?;
        Ok(String::from_utf8_lossy(&c.body).into_owned())
    })?;
    let (c, b) = (call.clone(), budget.clone());
    add(ctx, to, "bytes", move |ctx: Ctx<'js>| -> Result<ArrayBuffer<'js>> {
        pay(&ctx, &b, c.body.len())?;
        ArrayBuffer::new_copy(ctx, &c.body)
    })
}

/// Numbers of a script that are no whole numbers become others, of which nothing is known.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn positions<'js>(ctx: &Ctx<'js>, to: &Object<'js>, call: &Rc<Call>) -> Result<()> {
    let c = call.clone();
    add(ctx, to, "committed", move || {
        let TxId { view, seqno } = (c.positions.committed)();
        json!({"view": view.0, "seqno": seqno.0}).to_string()
    })?;
    let c = call.clone();
    add(ctx, to, "statusOf", move |view: f64, seqno: f64| {
        (c.positions.status)(TxId::new(View(view as u64), Seqno(seqno as u64)))
    })?;
    let c = call.clone();
    add(ctx, to, "viewOf", move |seqno: f64| (c.positions.view_of)(Seqno(seqno as u64)).map(|view| view.0 as f64))
}

impl Past {
    /// Its rows, which are no part of what is read and written now, and what is said of it.
    fn object<'js>(&self, ctx: &Ctx<'js>, budget: &Rc<Budget>) -> Result<Object<'js>> {
        let rows = Object::new(ctx.clone())?;
        host::map_natives(ctx, &rows, &self.world(), budget, Role::Application { writes: false })?;
        rows.set("state", json!({"transactionId": self.txid, "receipt": self.receipt}).to_string())?;
        Ok(rows)
    }

    /// A state that holds what it wrote and nothing else.
    fn world(&self) -> Rc<World> {
        let store = Store::new();
        store.apply(Seqno(1), &self.writes).expect("the first version of a new store");
        world_of(store.begin())
    }
}

impl Reaction {
    fn read(ctx: &Ctx<'_>, answer: &Object<'_>) -> Result<Self> {
        let text: Option<String> = answer.get("text")?;
        let bytes: Option<Binary> = answer.get("bytes")?;
        let body = text.map(String::into_bytes).or(bytes.map(|bytes| bytes.0)).unwrap_or_default();
        if body.len() > APP_RESPONSE_BYTES_MAX {
            let message = format!("an answer has at most {APP_RESPONSE_BYTES_MAX} bytes, not {}", body.len());
            return Err(Exception::throw_range(ctx, &message));
        }
        let headers: String = answer.get("headers")?;
        if headers.len() > APP_HEADERS_BYTES_MAX {
            let message = format!("an answer's headers have at most {APP_HEADERS_BYTES_MAX} bytes");
            return Err(Exception::throw_range(ctx, &message));
        }
        let headers = serde_json::from_str(&headers).map_err(|error| super::throw(ctx, &error.to_string()))?;
        Ok(Self { status: answer.get("status")?, headers, body: body.into(), applies: false, claims: None })
    }
}

/// How modules name each other: from the top, or relative to where they are.
struct Names;

impl Resolver for Names {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        if !name.starts_with("./") && !name.starts_with("../") {
            return Ok(if name.starts_with('/') { name.to_owned() } else { format!("/{name}") });
        }
        let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
        parts.pop();
        for part in name.split('/') {
            match part {
                "." | "" => {}
                ".." if parts.pop().is_none() => {
                    return Err(Exception::throw_reference(ctx, &format!("{name} is outside of the application")));
                }
                ".." => {}
                part => parts.push(part),
            }
        }
        Ok(format!("/{}", parts.join("/")))
    }
}

/// The modules that members have installed, as of the call's own transaction.
struct Modules {
    world: Rc<World>,
    budget: Rc<Budget>,
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let source = self.world.tx.borrow_mut().row(&tables::JS_MODULES, name.as_bytes());
        let missing = || Exception::throw_reference(ctx, &format!("the application has no module {name}"));
        let source = source.ok_or_else(missing)?;
        pay(ctx, &self.budget, source.len())?;
        Module::declare(ctx.clone(), name, source.to_vec())
    }
}

#[cfg(test)]
mod tests;
