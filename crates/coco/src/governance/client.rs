//! `/gov` of one node.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::ClientConfig;
use serde_json::Value;

use super::Events;
use crate::http::{Connection, Response, Url};

const TIMEOUT: Duration = Duration::from_secs(40);
const VERSION: &str = "api-version=2024-07-01";

/// See the module's text. Keeps one connection.
pub struct Gov {
    api: Url,
    tls: Arc<ClientConfig>,
    connection: RefCell<Option<Connection>>,
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    /// One of CCF's codes.
    pub code: String,
    message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.message, self.status, self.code)
    }
}

impl std::error::Error for Refused {}

impl Gov {
    pub fn new(api: Url, tls: Arc<ClientConfig>) -> Self {
        Self { api, tls, connection: RefCell::new(None) }
    }

    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.call("GET", path, &[], b"")?;
        serde_json::from_slice(&answer.body).context("malformed answer")
    }

    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        String::from_utf8(self.call("GET", path, &[], b"")?.body).context("malformed answer")
    }

    /// Sends a signed message.
    pub fn post(&self, path: &str, message: &[u8]) -> anyhow::Result<Value> {
        let answer = self.call("POST", path, &[("content-type", "application/cose")], message)?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).context("malformed answer")
    }

    /// What a proposal would do now. Needs a member's certificate on the connection.
    pub fn simulate(&self, proposal: &str) -> anyhow::Result<Value> {
        let headers = [("content-type", "application/json")];
        let answer = self.call("POST", "coco/proposals:simulate", &headers, proposal.as_bytes())?;
        serde_json::from_slice(&answer.body).context("malformed answer")
    }

    /// Follows what happens, behind this event's transaction or from now on.
    pub fn events(&self, after: Option<&str>) -> anyhow::Result<Events> {
        let mut connection = Connection::open(&self.api, Some(&self.tls), TIMEOUT)?;
        let after = after.map(|id| ("last-event-id", id));
        let headers: Vec<_> = [("accept", "text/event-stream")].into_iter().chain(after).collect();
        connection.send("GET", &self.path("events"), &headers, b"")?;
        let head = connection.receive_head()?;
        if head.status == 200 && head.is_chunked() {
            return Ok(Events::new(connection));
        }
        Err(refused(&head, Value::Null))
    }

    fn path(&self, path: &str) -> String {
        format!("{}?{VERSION}", self.api.at(&format!("/gov/{path}")).path)
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<Response> {
        let mut kept = self.connection.borrow_mut();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(&self.api, Some(&self.tls), TIMEOUT)?,
        };
        let answer = connection.call(method, &self.path(path), headers, body)?;
        *kept = Some(connection);
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(refused(&answer, serde_json::from_slice(&answer.body).unwrap_or_default()))
    }
}

fn refused(answer: &Response, told: Value) -> anyhow::Error {
    let text = |field: &str| told["error"][field].as_str().unwrap_or_default().to_owned();
    anyhow::Error::new(Refused { status: answer.status, code: text("code"), message: text("message") })
}
