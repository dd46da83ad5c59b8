//! The natives under `prelude.js`. Access to maps is checked here, where a script cannot get around it.

use std::rc::Rc;

use bytes::Bytes;
use coco_types::{MapName, limits};
use rquickjs::function::{IntoJsFunc, Opt};
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, FromJs, Function, Object, Result, Value};

use super::access::Role;
use super::budget::Budget;
use super::world::World;
use super::{keys, throw};
use crate::constitution;
use crate::tables;

/// The newest signature's map: its row comes from the ledger, not from the store.
const SIGNATURES: &str = "public:ccf.internal.signatures";
/// A script may say this much.
const CONSOLE_LINES_MAX: usize = 100;
const CONSOLE_LINE_BYTES_MAX: usize = 1024;

pub(crate) fn natives<'js>(ctx: &Ctx<'js>, world: &Rc<World>, role: Role) -> Result<Object<'js>> {
    let natives = Object::new(ctx.clone())?;
    maps(ctx, &natives, &Maps { world: world.clone(), role })?;
    texts(ctx, &natives, world)?;
    keys::natives(ctx, &natives)?;
    if role == Role::Apply {
        natives.set("applies", true)?;
        natives.set("seed", ArrayBuffer::new_copy(ctx.clone(), world.facts.seed)?)?;
        keys::service_natives(ctx, &natives, world)?;
    }
    Ok(natives)
}

/// Adds a native function.
pub(crate) fn add<'js, P, F>(ctx: &Ctx<'js>, to: &Object<'js>, name: &str, function: F) -> Result<()>
where
    F: IntoJsFunc<'js, P> + 'js,
{
    to.set(name, Function::new(ctx.clone(), function)?)
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
    role: Role,
}

impl Maps {
    fn check(&self, ctx: &Ctx<'_>, map: &str, writes: bool) -> Result<MapName> {
        let access = self.role.access(map);
        if if writes { access.write } else { access.read } {
            return Ok(MapName::new(map));
        }
        let verb = if writes { "written" } else { "read" };
        Err(Exception::throw_type(ctx, &format!("the map {map} cannot be {verb} in {}", self.role.name())))
    }

    fn get(&self, ctx: &Ctx<'_>, map: &str, key: &[u8]) -> Result<Option<Bytes>> {
        let name = self.check(ctx, map, false)?;
        if map == SIGNATURES && key == tables::SINGLETON {
            return Ok(self.world.facts.signature_json.clone().map(Bytes::from));
        }
        Ok(self.world.tx.borrow_mut().get(&name, key))
    }

    fn entries(&self, ctx: &Ctx<'_>, map: &str) -> Result<Vec<(Bytes, Bytes)>> {
        let name = self.check(ctx, map, false)?;
        Ok(self.world.tx.borrow_mut().prefix(&name, b"").collect())
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
        let name = self.check(ctx, map, true)?;
        let mut tx = self.world.tx.borrow_mut();
        if tx.write_bytes() + key.len() + value.len() > limits::WRITE_SET_BYTES_MAX {
            return Err(Exception::throw_range(ctx, "the transaction writes too much"));
        }
        tx.put(&name, key, value);
        Ok(())
    }

    fn delete(&self, ctx: &Ctx<'_>, map: &str, key: &[u8]) -> Result<bool> {
        let name = self.check(ctx, map, true)?;
        let mut tx = self.world.tx.borrow_mut();
        // Whether it was there is a read, which a map that may only be written does not give.
        let existed = self.role.access(map).read && tx.get(&name, key).is_some();
        tx.remove(&name, key);
        Ok(existed)
    }
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
        let name = m.check(&ctx, &map, false)?;
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

fn texts<'js>(ctx: &Ctx<'js>, to: &Object<'js>, world: &Rc<World>) -> Result<()> {
    add(ctx, to, "strToBuf", |ctx: Ctx<'js>, text: String| ArrayBuffer::new_copy(ctx, text.into_bytes()))?;
    // CCF's constitution compares digests as texts. What is no text becomes one that no other bytes give, and that people can read.
    add(ctx, to, "bufToStr", |bytes: Binary| -> String {
        String::from_utf8(bytes.0).unwrap_or_else(|error| format!("\u{fffd}{}", hex::encode(error.as_bytes())))
    })?;
    let w = world.clone();
    add(ctx, to, "validateConstitution", move |ctx: Ctx<'js>, text: String| -> Result<()> {
        // A constitution that is looked at may itself never end.
        let budget = Budget::new(constitution::STEPS_RESOLUTION, w.wall.clone(), constitution::WALL_RESOLUTION_MS);
        constitution::check(&w, &budget, &text).map_err(|failure| throw(&ctx, &failure.reason))
    })?;
    let w = world.clone();
    add(ctx, to, "log", move |level: String, text: Opt<String>| {
        let mut console = w.console.borrow_mut();
        if console.len() < CONSOLE_LINES_MAX {
            let text: String = text.0.unwrap_or_default().chars().take(CONSOLE_LINE_BYTES_MAX).collect();
            console.push(format!("{level}: {text}"));
        }
    })
}
