//! The constitution in force: the module text in the ledger, and its three functions.

use std::rc::Rc;

use rquickjs::convert::Coerced;
use rquickjs::{Ctx, FromJs, Value};
use serde_json::json;

use crate::Error;
use crate::engine::{self, BALLOT, Budget, CONSTITUTION, Call, Failure, Role, World};
use crate::tables::{self, Read};

/// The one that networks are founded with: `constitution/` of the repository, put together at build.
pub const DEFAULT: &str = include_str!(concat!(env!("OUT_DIR"), "/default.js"));

/// Steps of 10,000 calls or jumps. About 50 ms, 1 s and 5 s on a machine of today.
const STEPS_BALLOT: u64 = 250;
const STEPS_RESOLUTION: u64 = 5_000;
const STEPS_APPLY: u64 = 25_000;
/// The backstop for work that steps do not count: ample, since a busy machine must not turn a good ballot into a bad one.
const WALL_BALLOT_MS: u64 = 500;
const WALL_RESOLUTION_MS: u64 = 5_000;
const WALL_APPLY_MS: u64 = 20_000;

/// What `validate` said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub valid: bool,
    pub description: String,
}

/// One member's vote, as `resolve` gets it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Vote {
    pub member_id: String,
    pub vote: bool,
}

/// The text in force.
pub fn read(state: &mut dyn Read) -> Result<String, Error> {
    let text = tables::read::<String>(state, &tables::CONSTITUTION, &tables::SINGLETON)?;
    text.ok_or(Error::NoConstitution)
}

/// Whether a text can be a constitution: a module with the three functions, of the right arity.
pub(crate) fn check(world: &Rc<World>, budget: &Rc<Budget>, text: &str) -> Result<(), Failure> {
    let expected: [(&'static str, &[usize]); 3] = [("validate", &[1]), ("resolve", &[3, 4]), ("apply", &[2])];
    let names = expected.map(|(name, _)| name);
    let arities = engine::arities(world, budget, text, &names)?;
    for ((name, allowed), arity) in expected.iter().zip(arities) {
        let problem = match arity {
            None => format!("the constitution exports no function {name}"),
            Some(arity) if !allowed.contains(&arity) => {
                format!("{name} takes {} arguments, not {arity}", allowed.first().unwrap_or(&0))
            }
            Some(_) => continue,
        };
        return Err(Failure::of(problem));
    }
    Ok(())
}

/// What a resolution may use, all of its ballots together.
pub(crate) fn resolution_budget(world: &World) -> Rc<Budget> {
    Budget::new(STEPS_RESOLUTION, world.wall.clone(), WALL_RESOLUTION_MS)
}

pub(crate) fn validate(world: &Rc<World>, module: &str, proposal: &str) -> Result<Verdict, Failure> {
    let arguments = [json!(proposal)];
    let call = Call { role: Role::Read, limits: CONSTITUTION, module, function: "validate", arguments: &arguments };
    engine::call(world, &resolution_budget(world), &call, |ctx, value| {
        let Some(verdict) = value.as_object() else {
            return Err(engine::throw(ctx, "validate returned no object"));
        };
        let description: Value = verdict.get("description")?;
        let description = if description.is_undefined() { String::new() } else { text(ctx, description)? };
        Ok(Verdict { valid: verdict.get::<_, Coerced<bool>>("valid")?.0, description })
    })
}

pub(crate) fn ballot(
    world: &Rc<World>,
    overall: &Budget,
    ballot: &str,
    proposal: &str,
    proposer_id: &str,
) -> Result<bool, Failure> {
    let arguments = [json!(proposal), json!(proposer_id)];
    let call = Call { role: Role::Read, limits: BALLOT, module: ballot, function: "vote", arguments: &arguments };
    let budget = Budget::new(STEPS_BALLOT.min(overall.steps_left()), world.wall.clone(), WALL_BALLOT_MS);
    let before = budget.steps_left();
    let vote = engine::call(world, &budget, &call, |ctx, value| Ok(Coerced::<bool>::from_js(ctx, value)?.0));
    overall.spend(before - budget.steps_left());
    vote
}

/// `Open`, `Accepted`, `Rejected`, or whatever else the constitution answers.
pub(crate) fn resolve(
    world: &Rc<World>,
    budget: &Rc<Budget>,
    module: &str,
    proposal: &str,
    proposer_id: &str,
    votes: &[Vote],
    proposal_id: &str,
) -> Result<String, Failure> {
    let arguments = [json!(proposal), json!(proposer_id), json!(votes), json!(proposal_id)];
    let call = Call { role: Role::Read, limits: CONSTITUTION, module, function: "resolve", arguments: &arguments };
    engine::call(world, budget, &call, text)
}

pub(crate) fn apply(world: &Rc<World>, module: &str, proposal: &str, proposal_id: &str) -> Result<(), Failure> {
    let arguments = [json!(proposal), json!(proposal_id)];
    let call = Call { role: Role::Apply, limits: CONSTITUTION, module, function: "apply", arguments: &arguments };
    let budget = Budget::new(STEPS_APPLY, world.wall.clone(), WALL_APPLY_MS);
    engine::call(world, &budget, &call, |_, _| Ok(()))
}

/// A sentence for each action, from a constitution that has the words; CCF's have none.
pub(crate) fn describe(world: &Rc<World>, module: &str, proposal: &str) -> Result<Vec<String>, Failure> {
    let arguments = [json!(proposal)];
    let call = Call { role: Role::Read, limits: CONSTITUTION, module, function: "describe", arguments: &arguments };
    engine::call(world, &resolution_budget(world), &call, |_, value| value.get())
}

fn text<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<String> {
    Ok(Coerced::<String>::from_js(ctx, value)?.0)
}

#[cfg(test)]
mod tests;
