//! JSON-RPC 2.0 over one HTTP connection: single calls, and batches whose answers are put in the order of the questions.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::{Connection, Response, Url};

/// A server that does not answer for this long is gone.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The HTTP status of a server that has no time.
const UNAVAILABLE: u16 = 503;
const HEADERS: &[(&str, &str)] = &[("content-type", "application/json")];

/// A connection to a JSON-RPC server.
pub struct Client {
    connection: Connection,
    path: String,
}

/// The error of one answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for RpcError {}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<RpcError>,
}

impl Client {
    pub fn connect(url: &Url) -> anyhow::Result<Self> {
        ensure!(!url.tls, "{url}: JSON-RPC is spoken over plain http here");
        Ok(Self { connection: Connection::open(url, None, TIMEOUT)?, path: url.path.clone() })
    }

    /// One question, one answer. `null` is an answer of `Option::None`.
    pub fn call<T: DeserializeOwned>(&mut self, method: &str, params: impl Serialize) -> anyhow::Result<T> {
        self.ask(method, params)?;
        self.answer(method)
    }

    /// Writes a question, whose answer is read later.
    pub fn ask(&mut self, method: &str, params: impl Serialize) -> anyhow::Result<()> {
        let body = serde_json::to_vec(&Request { jsonrpc: "2.0", id: 0, method, params })?;
        self.connection.send("POST", &self.path, HEADERS, &body)
    }

    /// Waits for the answer to the oldest question that has none yet.
    pub fn answer<T: DeserializeOwned>(&mut self, method: &str) -> anyhow::Result<T> {
        read(method, &self.answer_bytes()?)
    }

    /// The same as it comes, for [`read`].
    pub fn answer_bytes(&mut self) -> anyhow::Result<Vec<u8>> {
        body_of(self.connection.receive()?)
    }

    /// Many questions of one method in one request. Fails with the first error.
    pub fn batch<T: DeserializeOwned, P: Serialize>(&mut self, method: &str, params: &[P]) -> anyhow::Result<Vec<T>> {
        let request = |(id, params)| Request { jsonrpc: "2.0", id, method, params };
        let requests: Vec<_> = (0..).zip(params).map(request).collect();
        let body = self.post(&serde_json::to_vec(&requests)?)?;
        let mut answers = answers(&body, params.len())?;
        let parse = |answer: &mut Option<Answer<'_>>| {
            let answer = answer.take().context("an answer is missing")?;
            Ok(serde_json::from_str(result(answer)?)?)
        };
        answers.iter_mut().map(parse).collect::<anyhow::Result<_>>().with_context(|| method.to_owned())
    }

    /// Posts requests that were put together elsewhere, with ids from 0: one of them bare, several as a batch. `body` is what
    /// is sent. For each question `None` if it succeeded. A server that is too busy to look at them refuses each.
    pub fn post_requests(&mut self, body: &[u8], questions: usize) -> anyhow::Result<Vec<Option<RpcError>>> {
        let response = self.connection.call("POST", &self.path, HEADERS, body)?;
        if response.status == UNAVAILABLE {
            let busy = RpcError { code: -32005, message: "HTTP status 503: busy".into() };
            return Ok(vec![Some(busy); questions]);
        }
        let body = body_of(response)?;
        let error = |answer: Option<Answer<'_>>| Ok(answer.context("an answer is missing")?.error);
        answers(&body, questions)?.into_iter().map(error).collect()
    }

    fn post(&mut self, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        body_of(self.connection.call("POST", &self.path, HEADERS, body)?)
    }
}

/// What an answer says.
pub fn read<T: DeserializeOwned>(method: &str, answer: &[u8]) -> anyhow::Result<T> {
    let answer: Answer<'_> = serde_json::from_slice(answer).with_context(|| format!("{method}: malformed answer"))?;
    result(answer).and_then(|json| Ok(serde_json::from_str(json)?)).with_context(|| method.to_owned())
}

fn body_of(response: Response) -> anyhow::Result<Vec<u8>> {
    if response.status != 200 {
        bail!("HTTP status {}: {}", response.status, String::from_utf8_lossy(&response.body).trim());
    }
    Ok(response.body)
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

/// The answers by id, which run from 0.
fn answers(body: &[u8], questions: usize) -> anyhow::Result<Vec<Option<Answer<'_>>>> {
    let malformed = "malformed answer";
    let given = if body.trim_ascii_start().starts_with(b"{") {
        let answer: Answer<'_> = serde_json::from_slice(body).context(malformed)?;
        match answer.error {
            Some(error) if questions != 1 => return Err(error).context("the whole batch was refused"),
            error => vec![Answer { error, ..answer }],
        }
    } else {
        serde_json::from_slice(body).context(malformed)?
    };
    let mut ordered: Vec<Option<Answer<'_>>> = (0..questions).map(|_| None).collect();
    for answer in given {
        let id = answer.id.and_then(|id| usize::try_from(id).ok());
        let slot = id.and_then(|id| ordered.get_mut(id)).context("an answer to a question that was not asked")?;
        *slot = Some(answer);
    }
    Ok(ordered)
}

/// The result's JSON; an absent one reads as `null`.
fn result(answer: Answer<'_>) -> anyhow::Result<&str> {
    match answer.error {
        Some(error) => Err(error.into()),
        None => Ok(answer.result.map_or("null", RawValue::get)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_put_in_the_order_of_the_questions() {
        let body = br#"[{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}},{"id":0,"result":"0x1"}]"#;
        let answers = answers(body, 2).unwrap();
        assert_eq!(answers[0].as_ref().unwrap().result.unwrap().get(), "\"0x1\"");
        assert_eq!(answers[1].as_ref().unwrap().error.as_ref().unwrap().message, "no");
    }

    #[test]
    fn an_answer_nobody_asked_for_is_an_error() {
        assert!(answers(br#"[{"id":7,"result":null}]"#, 2).is_err());
    }

    #[test]
    fn a_bare_answer_belongs_to_the_only_question() {
        assert!(answers(br#"{"id":0,"result":true}"#, 1).unwrap()[0].is_some());
    }

    #[test]
    fn a_refused_batch_gives_the_servers_reason() {
        let error = answers(br#"{"id":null,"error":{"code":-32600,"message":"batch too large"}}"#, 2).err().unwrap();
        assert!(format!("{error:#}").contains("batch too large"));
    }
}
