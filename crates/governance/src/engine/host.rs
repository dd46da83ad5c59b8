//! The natives under `prelude.js`. Access to maps is checked here, where a script cannot get around it.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use coco_kv::Tx;
use coco_types::{MapName, limits};
use rquickjs::function::{IntoJsFunc, Opt};
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, FromJs, Function, Object, Result, Value};

use super::access::Role;
use super::budget::{Budget, STEP_BYTES};
use super::world::World;
use super::{crypto, evidence, jwk, keys, throw};
use crate::constitution;
use crate::tables;

/// The newest signature's map: its row comes from the ledger, not from the store.
const SIGNATURES: &str = "public:ccf.internal.signatures";
/// A script may say this much.
const CONSOLE_LINES_MAX: usize = 100;
const CONSOLE_LINE_BYTES_MAX: usize = 1024;

/// What a look at a map costs beside its bytes: it is remembered until the request is decided.
const LOOK_BYTES: usize = 256;
/// Reading a ledger's genesis, for each byte.
const GENESIS_COST: usize = 16;
/// Steps for looking at one constitution that somebody proposes: what it does before any of its functions is called.
const STEPS_CONSTITUTION: u64 = 500;

pub(crate) fn natives<'js>(ctx: &Ctx<'js>, world: &Rc<World>, budget: &Rc<Budget>, role: Role) -> Result<Object<'js>> {
    let natives = Object::new(ctx.clone())?;
    map_natives(ctx, &natives, world, budget, role)?;
    texts(ctx, &natives, world, budget)?;
    keys::natives(ctx, &natives, budget)?;
    crypto::natives(ctx, &natives, budget, role)?;
    jwk::natives(ctx, &natives, budget)?;
    evidence::natives(ctx, &natives, world, budget)?;
    if role == Role::Apply {
        natives.set("applies", true)?;
        natives.set("seed", ArrayBuffer::new_copy(ctx.clone(), world.facts.seed)?)?;
        keys::service_natives(ctx, &natives, world, budget)?;
    }
    Ok(natives)
}

/// Those under `ccf.kv`.
pub(crate) fn map_natives<'js>(
    ctx: &Ctx<'js>,
    to: &Object<'js>,
    world: &Rc<World>,
    budget: &Rc<Budget>,
    role: Role,
) -> Result<()> {
    maps(ctx, to, &Maps { world: world.clone(), budget: budget.clone(), role })
}

/// Adds a native function.
pub(crate) fn add<'js, P, F>(ctx: &Ctx<'js>, to: &Object<'js>, name: &str, function: F) -> Result<()>
where
    F: IntoJsFunc<'js, P> + 'js,
{
    to.set(name, Function::new(ctx.clone(), function)?)
}

/// Counts a native's work. A script may catch what is thrown, and is ended all the same.
pub(crate) fn pay(ctx: &Ctx<'_>, budget: &Budget, bytes: usize) -> Result<()> {
    if budget.charge(bytes) { Err(Exception::throw_range(ctx, "it ran longer than it may")) } else { Ok(()) }
}

/// Bytes from a script: a text with a character each, since reading a buffer in place would not be safe.
pub(crate) struct Binary(pub Vec<u8>);

impl<'js> FromJs<'js> for Binary {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        let text = String::from_js(ctx, value)?;
        let byte = |c: char| u8::try_from(u32::from(c)).map_err(|_| Exception::throw_type(ctx, "not a text of bytes"));
        text.chars().map(byte).collect::<Result<_>>().map(Self)
    }
}

#[derive(Clone)]
struct Maps {
    world: Rc<World>,
    budget: Rc<Budget>,
    role: Role,
}

impl Maps {
    fn check(&self, ctx: &Ctx<'_>, map: &str, key: &[u8], writes: bool) -> Result<MapName> {
        pay(ctx, &self.budget, LOOK_BYTES + map.len() + key.len())?;
        if map.len() > limits::SCRIPT_MAP_NAME_BYTES_MAX || key.len() > limits::SCRIPT_KEY_BYTES_MAX {
            let (name, key) = (limits::SCRIPT_MAP_NAME_BYTES_MAX, limits::SCRIPT_KEY_BYTES_MAX);
            let message = format!("the name of a map has at most {name} bytes, a key at most {key}");
            return Err(Exception::throw_range(ctx, &message));
        }
        let access = self.role.access(map);
        if if writes { access.write } else { access.read } {
            return Ok(self.role.stored(map));
        }
        let verb = if writes { "written" } else { "read" };
        Err(Exception::throw_type(ctx, &format!("the map {map} cannot be {verb} in {}", self.role.name())))
    }

    fn get(&self, ctx: &Ctx<'_>, map: &str, key: &[u8]) -> Result<Option<Bytes>> {
        let name = self.check(ctx, map, key, false)?;
        if map == SIGNATURES && key == tables::SINGLETON {
            return Ok(self.world.facts.signature_json.clone().map(Bytes::from));
        }
        let value = self.world.tx.borrow_mut().get(&name, key);
        pay(ctx, &self.budget, value.as_ref().map_or(0, Bytes::len))?;
        Ok(value)
    }

    fn entries(&self, ctx: &Ctx<'_>, map: &str) -> Result<Vec<(Bytes, Bytes)>> {
        let name = self.check(ctx, map, b"", false)?;
        self.rows(ctx, map, &name)
    }

    /// Tells nothing of what was there: a map that may only be written can be cleared.
    fn clear(&self, ctx: &Ctx<'_>, map: &str) -> Result<()> {
        let name = self.check(ctx, map, b"", true)?;
        for (key, _) in self.rows(ctx, map, &name)? {
            let mut tx = self.world.tx.borrow_mut();
            check_room(ctx, &tx, key.len())?;
            tx.remove(&name, key);
        }
        Ok(())
    }

    fn rows(&self, ctx: &Ctx<'_>, map: &str, name: &MapName) -> Result<Vec<(Bytes, Bytes)>> {
        let mut tx = self.world.tx.borrow_mut();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (key, value) in tx.prefix(name, b"") {
            bytes += LOOK_BYTES + key.len() + value.len();
            pay(ctx, &self.budget, LOOK_BYTES + key.len() + value.len())?;
            // A constitution's maps are the members' own to keep small.
            if bytes > limits::APP_SCAN_BYTES_MAX && matches!(self.role, Role::Application { .. }) {
                let most = limits::APP_SCAN_BYTES_MAX;
                return Err(Exception::throw_range(
                    ctx,
                    &format!("the map {map} has more than {most} bytes: read it by keys"),
                ));
            }
            entries.push((key, value));
        }
        Ok(entries)
    }

    /// All rows of a map of texts to JSON, as one JSON text: a thousand members are read a hundred times faster than one by one.
    fn json(&self, ctx: &Ctx<'_>, map: &str) -> Result<String> {
        let not_text = |_| Exception::throw_type(ctx, "a row is not text");
        let mut json = String::from("[");
        for (key, value) in self.entries(ctx, map)? {
            let key = std::str::from_utf8(&key).map_err(not_text)?;
            let value = std::str::from_utf8(&value).map_err(not_text)?;
            // What is no single JSON value would become other rows.
            if serde_json::from_str::<serde::de::IgnoredAny>(value).is_err() {
                return Err(Exception::throw_syntax(ctx, &format!("the row {key} of {map} is no JSON")));
            }
            let separator = if json.len() > 1 { "," } else { "" };
            json.push_str(&format!("{separator}[{},{value}]", serde_json::Value::from(key)));
        }
        json.push(']');
        Ok(json)
    }

    fn set(&self, ctx: &Ctx<'_>, map: &str, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        let name = self.check(ctx, map, &key, true)?;
        pay(ctx, &self.budget, value.len())?;
        let mut tx = self.world.tx.borrow_mut();
        check_room(ctx, &tx, key.len() + value.len())?;
        tx.put(&name, key, value);
        Ok(())
    }

    fn delete(&self, ctx: &Ctx<'_>, map: &str, key: &[u8]) -> Result<bool> {
        let name = self.check(ctx, map, key, true)?;
        let mut tx = self.world.tx.borrow_mut();
        check_room(ctx, &tx, key.len())?;
        // Whether it was there is a read, which a map that may only be written does not give.
        let existed = self.role.access(map).read && tx.get(&name, key).is_some();
        tx.remove(&name, key);
        Ok(existed)
    }
}

/// Each row counts for its place in the ledger's entry, too.
fn check_room(ctx: &Ctx<'_>, tx: &Tx, more: usize) -> Result<()> {
    const ROW_BYTES: usize = 16;
    if tx.write_bytes() + (tx.writes().len() + 1) * ROW_BYTES + more > limits::WRITE_SET_BYTES_MAX {
        return Err(Exception::throw_range(ctx, "the transaction writes too much"));
    }
    Ok(())
}

fn maps<'js>(ctx: &Ctx<'js>, to: &Object<'js>, maps: &Maps) -> Result<()> {
    let m = maps.clone();
    add(ctx, to, "kvHas", move |ctx: Ctx<'js>, map: String, key: Binary| -> Result<bool> {
        Ok(m.get(&ctx, &map, &key.0)?.is_some())
    })?;
    let m = maps.clone();
    add(ctx, to, "kvGet", move |ctx: Ctx<'js>, map: String, key: Binary| -> Result<Option<ArrayBuffer<'js>>> {
        let value = m.get(&ctx, &map, &key.0)?;
        value.map(|value| ArrayBuffer::new_copy(ctx.clone(), value)).transpose()
    })?;
    let m = maps.clone();
    add(ctx, to, "kvVersion", move |ctx: Ctx<'js>, map: String, key: Binary| -> Result<Option<f64>> {
        let name = m.check(&ctx, &map, &key.0, false)?;
        let version = m.world.tx.borrow_mut().written_at(&name, &key.0);
        // A seqno beyond 2^53 is out of reach.
        #[allow(clippy::cast_precision_loss)]
        Ok(version.map(|seqno| seqno.0 as f64))
    })?;
    let m = maps.clone();
    add(ctx, to, "kvSet", move |ctx: Ctx<'js>, map: String, key: Binary, value: Binary| -> Result<()> {
        m.set(&ctx, &map, key.0, value.0)
    })?;
    let m = maps.clone();
    add(ctx, to, "kvDelete", move |ctx: Ctx<'js>, map: String, key: Binary| -> Result<bool> {
        m.delete(&ctx, &map, &key.0)
    })?;
    let m = maps.clone();
    add(ctx, to, "kvClear", move |ctx: Ctx<'js>, map: String| -> Result<()> { m.clear(&ctx, &map) })?;
    let m = maps.clone();
    add(ctx, to, "kvEntries", move |ctx: Ctx<'js>, map: String| -> Result<Array<'js>> {
        let entries = Array::new(ctx.clone())?;
        for (at, (key, value)) in m.entries(&ctx, &map)?.into_iter().enumerate() {
            let entry = Array::new(ctx.clone())?;
            entry.set(0, ArrayBuffer::new_copy(ctx.clone(), key)?)?;
            entry.set(1, ArrayBuffer::new_copy(ctx.clone(), value)?)?;
            entries.set(at, entry)?;
        }
        Ok(entries)
    })?;
    let m = maps.clone();
    add(ctx, to, "kvJson", move |ctx: Ctx<'js>, map: String| -> Result<String> { m.json(&ctx, &map) })?;
    let m = maps.clone();
    add(ctx, to, "kvSize", move |ctx: Ctx<'js>, map: String| -> Result<usize> { Ok(m.entries(&ctx, &map)?.len()) })
}

fn texts<'js>(ctx: &Ctx<'js>, to: &Object<'js>, world: &Rc<World>, budget: &Rc<Budget>) -> Result<()> {
    let b = budget.clone();
    add(ctx, to, "strToBuf", move |ctx: Ctx<'js>, text: String| -> Result<ArrayBuffer<'js>> {
        pay(&ctx, &b, text.len())?;
        ArrayBuffer::new_copy(ctx, text.into_bytes())
    })?;
    // CCF's constitution compares digests as texts. What is no text becomes one that no other bytes give, and that people can read.
    let b = budget.clone();
    add(ctx, to, "bufToStr", move |ctx: Ctx<'js>, bytes: Binary| -> Result<String> {
        pay(&ctx, &b, bytes.0.len())?;
        let text = String::from_utf8(bytes.0);
        Ok(text.unwrap_or_else(|error| format!("\u{fffd}{}", hex::encode(error.as_bytes()))))
    })?;
    let (w, b) = (world.clone(), budget.clone());
    // One that never ends is looked at once: whoever proposes many of them waits for none of the others.
    let endless = Cell::new(false);
    add(ctx, to, "validateConstitution", move |ctx: Ctx<'js>, text: String| -> Result<()> {
        if endless.get() {
            return Err(throw(&ctx, "another constitution ran longer than it may: this one was not looked at"));
        }
        pay(&ctx, &b, STEP_BYTES + text.len())?;
        let checked = b.part(STEPS_CONSTITUTION, |part| constitution::check(&w, part, &text));
        checked.map_err(|failure| {
            endless.set(failure.exceeded);
            throw(&ctx, &failure.reason)
        })
    })?;
    let (w, b) = (world.clone(), budget.clone());
    add(ctx, to, "ledgerProblem", move |ctx: Ctx<'js>, ledger: String, genesis: String| -> Result<Option<String>> {
        pay(&ctx, &b, STEP_BYTES + genesis.len() * GENESIS_COST)?;
        let Some(ledgers) = &w.facts.ledgers else { return Ok(None) };
        let genesis = serde_json::from_str(&genesis).map_err(|error| throw(&ctx, &error.to_string()))?;
        Ok(ledgers.problem(&ledger, &genesis))
    })?;
    let (w, b) = (world.clone(), budget.clone());
    add(ctx, to, "log", move |ctx: Ctx<'js>, level: String, text: Opt<String>| -> Result<()> {
        let text = text.0.unwrap_or_default();
        pay(&ctx, &b, text.len())?;
        let mut console = w.console.borrow_mut();
        if console.len() < CONSOLE_LINES_MAX {
            let text: String = text.chars().take(CONSOLE_LINE_BYTES_MAX).collect();
            console.push(format!("{level}: {text}"));
        }
        Ok(())
    })
}
