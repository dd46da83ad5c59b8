//! JavaScript in a sandbox: the constitution and ballots, with the `ccf` object that constitutions written for CCF expect.
//!
//! ```text
//!   World: one transaction, facts ──▶ host: natives that check access ──▶ prelude.js: `ccf`, fences ──▶ module
//! ```
//!
//! Every call gets a fresh interpreter, so that nothing passes from one ballot to another. The same call on the same state gives the same
//! answer on every node: there is no clock, no randomness outside `apply`, no garbage collection to observe, and the limit on
//! computation counts the interpreter's own steps. The wall clock, which the caller supplies, is only a backstop for what those steps do not
//! count. Deliberately absent: modules that import others and asynchronous results (but for applications), and any state kept between calls.

mod access;
pub mod application;
mod budget;
mod crypto;
mod evidence;
mod host;
mod jwk;
mod keys;
mod world;

use std::rc::Rc;

use rquickjs::context::intrinsic;
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, FromJs, Function, Module, Object, Runtime, Value};
use serde::{Deserialize, Serialize};

pub(crate) use access::Role;
pub(crate) use budget::{Budget, Limit};
pub use world::Facts;
pub(crate) use world::World;

/// Why a script did not give an answer, as it is stored with a proposal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// It used up its time: it is not run again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exceeded: bool,
    /// The wall clock stopped it, which says nothing about the script: it is not kept.
    #[serde(skip)]
    pub unjudged: bool,
}

impl Failure {
    pub fn of(reason: String) -> Self {
        Self { reason, trace: None, exceeded: false, unjudged: false }
    }
}

/// What one call may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub heap_bytes: usize,
    pub stack_bytes: usize,
}

/// CCF's defaults. A member's ballot is as much code as a constitution, but has no reason to be large.
pub(crate) const CONSTITUTION: Limits = Limits { heap_bytes: 100 << 20, stack_bytes: 1 << 20 };
pub(crate) const BALLOT: Limits = Limits { heap_bytes: 16 << 20, stack_bytes: 512 << 10 };

/// A module's function to call.
pub(crate) struct Call<'a> {
    pub role: Role,
    pub limits: Limits,
    pub module: &'a str,
    pub function: &'static str,
    /// Handed over through JSON.
    pub arguments: &'a [serde_json::Value],
}

type Intrinsics = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::Proxy,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
);

const PRELUDE: &str = include_str!("prelude.js");

/// Runs the call and shapes its result with `shape`.
pub(crate) fn call<T>(
    world: &Rc<World>,
    budget: &Rc<Budget>,
    call: &Call<'_>,
    shape: impl for<'js> FnOnce(&Ctx<'js>, Value<'js>) -> rquickjs::Result<T>,
) -> Result<T, Failure> {
    within(world, budget, call.role, call.limits, |ctx| {
        let namespace = evaluate(ctx, call.module)?;
        let function: Value = namespace.get(call.function)?;
        let Some(function) = function.as_function() else {
            return Err(throw(ctx, &format!("the module exports no function {}", call.function)));
        };
        let mut arguments = rquickjs::function::Args::new(ctx.clone(), call.arguments.len());
        for argument in call.arguments {
            arguments.push_arg(ctx.json_parse(argument.to_string())?)?;
        }
        shape(ctx, function.call_arg(arguments)?)
    })
}

/// The number of parameters of each of these exports; `None` for one that is missing or no function.
pub(crate) fn arities(
    world: &Rc<World>,
    budget: &Rc<Budget>,
    module: &str,
    names: &[&'static str],
) -> Result<Vec<Option<usize>>, Failure> {
    within(world, budget, Role::Read, CONSTITUTION, |ctx| {
        let namespace = evaluate(ctx, module)?;
        let arity = |name: &&'static str| -> rquickjs::Result<Option<usize>> {
            let value: Value = namespace.get(*name)?;
            value.as_function().map(|function| function.get("length")).transpose()
        };
        names.iter().map(arity).collect()
    })
}

fn within<T>(
    world: &Rc<World>,
    budget: &Rc<Budget>,
    role: Role,
    limits: Limits,
    run: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<T>,
) -> Result<T, Failure> {
    interpret(budget, limits, |_| (), |ctx| prepare(ctx, world, budget, role).and_then(|()| run(ctx)))
}

/// In an interpreter of its own.
fn interpret<T>(
    budget: &Rc<Budget>,
    limits: Limits,
    set_up: impl FnOnce(&Runtime),
    run: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<T>,
) -> Result<T, Failure> {
    let broken = |error: rquickjs::Error| Failure::of(error.to_string());
    let runtime = Runtime::new().map_err(broken)?;
    runtime.set_memory_limit(limits.heap_bytes);
    runtime.set_max_stack_size(limits.stack_bytes);
    let steps = budget.clone();
    runtime.set_interrupt_handler(Some(Box::new(move || steps.step())));
    set_up(&runtime);
    let context = Context::custom::<Intrinsics>(&runtime).map_err(broken)?;
    context.with(|ctx| {
        let result = run(&ctx).catch(&ctx).map_err(|error| failure(&error));
        // Whatever it made of it since.
        match budget.exceeded() {
            Some(limit) => Err(stopped(limit)),
            None => result,
        }
    })
}

fn prepare(ctx: &Ctx<'_>, world: &Rc<World>, budget: &Rc<Budget>, role: Role) -> rquickjs::Result<()> {
    begin(ctx, &host::natives(ctx, world, budget, role)?)
}

fn begin<'js>(ctx: &Ctx<'js>, natives: &Object<'js>) -> rquickjs::Result<()> {
    let prelude: Function = ctx.eval(PRELUDE)?;
    prelude.call((natives.clone(),))
}

fn evaluate<'js>(ctx: &Ctx<'js>, source: &str) -> rquickjs::Result<Object<'js>> {
    let (module, promise) = Module::declare(ctx.clone(), "constitution", source)?.eval()?;
    match promise.result::<Value>() {
        Some(evaluated) => drop(evaluated?),
        None => return Err(throw(ctx, "the module waits for something that never comes")),
    }
    module.namespace()
}

pub(crate) fn throw(ctx: &Ctx<'_>, message: &str) -> rquickjs::Error {
    rquickjs::Exception::throw_message(ctx, message)
}

fn stopped(limit: Limit) -> Failure {
    match limit {
        Limit::Steps => Failure { exceeded: true, ..Failure::of("it ran longer than it may".to_owned()) },
        Limit::Wall => {
            let reason = "it took longer than it may on this node just now: try again later";
            Failure { unjudged: true, ..Failure::of(reason.to_owned()) }
        }
    }
}

fn failure(error: &CaughtError<'_>) -> Failure {
    let (reason, trace) = match error {
        CaughtError::Exception(exception) => {
            let name: String = exception.as_object().get("name").unwrap_or_else(|_| "Error".to_owned());
            (format!("{name}: {}", exception.message().unwrap_or_default()), exception.stack())
        }
        CaughtError::Value(value) => (thrown_text(value), None),
        CaughtError::Error(error) => (error.to_string(), None),
    };
    let trace = trace.map(cut).filter(|trace| !trace.trim().is_empty());
    Failure { trace, ..Failure::of(cut(reason)) }
}

fn thrown_text(value: &Value<'_>) -> String {
    let text = rquickjs::convert::Coerced::<String>::from_js(value.ctx(), value.clone());
    text.map_or_else(|_| "something that has no text was thrown".to_owned(), |text| text.0)
}

/// What is thrown may be as long as the heap; what is stored about it is not.
fn cut(mut text: String) -> String {
    const BYTES_MAX: usize = 4096;
    if text.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
