//! The application that members have installed: which function of which module answers which path below `/app`, who may call it, and what a
//! call may use.
//!
//! Rows are CCF's, and may have been written by CCF's own constitution, which checks less than ours: what is unknown in them is passed over,
//! and options beyond what nodes allow count for the most that they allow.

use coco_types::limits::{APP_EXECUTION_MS_MAX, APP_HEAP_BYTES_MAX, APP_STACK_BYTES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
pub use crate::engine::application::{Call, Called, Past, Positions, Reaction, call};
use crate::tables::{self, Read};

/// What answers one method of one path.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name in [`tables::JS_MODULES`].
    pub js_module: String,
    /// What the module exports.
    pub js_function: String,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub forwarding_required: Value,
    #[serde(default = "none")]
    pub redirection_strategy: Value,
    /// The first that accepts wins; none accepts nobody.
    #[serde(default)]
    pub authn_policies: Vec<Policy>,
    #[serde(default)]
    pub openapi: Value,
    #[serde(default)]
    pub openapi_hidden: bool,
}

/// What a call may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    ReadWrite,
    ReadOnly,
    /// Reads, and what one past transaction wrote.
    Historical,
}

/// How a caller is to prove who it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Policy {
    One(String),
    AllOf { all_of: Vec<String> },
}

/// One row, as it is found.
#[derive(Clone, PartialEq, Debug)]
pub struct Installed {
    /// In capitals.
    pub method: String,
    /// Below `/app`; its parameters in braces.
    pub path: String,
    pub endpoint: Endpoint,
    /// All of it.
    pub row: Value,
}

/// What one call may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuntimeOptions {
    pub max_heap_bytes: u64,
    pub max_stack_bytes: u64,
    pub max_execution_time_ms: u64,
    /// What was thrown stands in the node's log.
    #[serde(default)]
    pub log_exception_details: bool,
    /// What was thrown stands in the answer.
    #[serde(default)]
    pub return_exception_details: bool,
}

impl Installed {
    pub fn all(state: &mut dyn Read) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for (key, row) in state.rows(&tables::JS_ENDPOINTS) {
            let Some((method, path)) = route(&key) else { continue };
            let endpoint = tables::parse(&tables::JS_ENDPOINTS, &key, &row)?;
            all.push(Self { method, path, endpoint, row: tables::parse(&tables::JS_ENDPOINTS, &key, &row)? });
        }
        Ok(all)
    }
}

impl Endpoint {
    pub fn read(state: &mut dyn Read, method: &str, path: &str) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::JS_ENDPOINTS, format!("{method} {path}").as_bytes())
    }
}

/// Method and path of every endpoint.
pub fn routes(state: &mut dyn Read) -> Vec<(String, String)> {
    state.rows(&tables::JS_ENDPOINTS).iter().filter_map(|(key, _)| route(key)).collect()
}

fn route(key: &[u8]) -> Option<(String, String)> {
    let (method, path) = std::str::from_utf8(key).ok()?.split_once(' ')?;
    Some((method.to_owned(), path.to_owned()))
}

impl RuntimeOptions {
    /// Those in force.
    pub fn read(state: &mut dyn Read) -> Result<Self, Error> {
        let options = tables::read::<Self>(state, &tables::JS_RUNTIME_OPTIONS, &tables::SINGLETON)?;
        Ok(options.unwrap_or_default().allowed())
    }

    /// Zero would be no limit at all.
    fn allowed(self) -> Self {
        const LEAST_BYTES: u64 = 64 << 10;
        Self {
            max_heap_bytes: self.max_heap_bytes.clamp(LEAST_BYTES, APP_HEAP_BYTES_MAX as u64),
            max_stack_bytes: self.max_stack_bytes.clamp(LEAST_BYTES, APP_STACK_BYTES_MAX as u64),
            max_execution_time_ms: self.max_execution_time_ms.clamp(1, APP_EXECUTION_MS_MAX),
            ..self
        }
    }
}

/// CCF's.
impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            max_heap_bytes: 100 << 20,
            max_stack_bytes: 1 << 20,
            max_execution_time_ms: 5_000,
            log_exception_details: false,
            return_exception_details: false,
        }
    }
}

fn none() -> Value {
    "none".into()
}

#[cfg(test)]
mod tests {
    use coco_kv::{Store, Tx};
    use serde_json::json;

    use super::*;

    fn written(write: impl FnOnce(&mut Tx)) -> Tx {
        let mut tx = Store::new().begin();
        write(&mut tx);
        tx
    }

    #[test]
    fn rows_of_another_constitution_are_read_for_what_is_known_in_them() {
        let row = json!({"js_module": "/a.js", "js_function": "f", "authn_policies": ["jwt", {"all_of": ["user_cert", "jwt"]}], "new": 1});
        let mut tx = written(|tx| tables::write(tx, &tables::JS_ENDPOINTS, b"GET /a/{id}", &row));
        let [installed] = &Installed::all(&mut tx).unwrap()[..] else { panic!("one row") };
        assert_eq!((&*installed.method, &*installed.path, &installed.row), ("GET", "/a/{id}", &row));
        assert_eq!(installed.endpoint.mode, Mode::ReadWrite);
        let all_of = ["user_cert", "jwt"].map(str::to_owned).to_vec();
        assert_eq!(installed.endpoint.authn_policies, [Policy::One("jwt".to_owned()), Policy::AllOf { all_of }]);
        let mut tx = written(|tx| tables::write(tx, &tables::JS_ENDPOINTS, b"GET /a", &json!({"mode": "writeonly"})));
        assert!(matches!(Installed::all(&mut tx), Err(Error::UnreadableRow { .. })));
    }

    #[test]
    fn options_beyond_what_nodes_allow_count_for_the_most_that_they_allow() {
        let row = json!({"max_heap_bytes": u64::MAX, "max_stack_bytes": 0, "max_execution_time_ms": 1_u64 << 40});
        let mut tx = written(|tx| tables::write(tx, &tables::JS_RUNTIME_OPTIONS, &tables::SINGLETON, &row));
        let options = RuntimeOptions::read(&mut tx).unwrap();
        assert_eq!(options.max_heap_bytes, APP_HEAP_BYTES_MAX as u64);
        assert_eq!((options.max_stack_bytes, options.max_execution_time_ms), (64 << 10, APP_EXECUTION_MS_MAX));
        assert_eq!(RuntimeOptions::read(&mut written(|_| ())).unwrap(), RuntimeOptions::default());
    }
}
