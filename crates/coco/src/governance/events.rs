//! Server-sent events, as `GET /gov/events` sends them (WHATWG HTML, "Server-sent events").

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::http::Connection;

/// A node that sends a line longer than this is not understood.
const LINE_BYTES_MAX: usize = 4 << 20;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

/// What a node tells, as long as the connection lasts.
pub struct Events {
    connection: Connection,
    parser: Parser,
}

impl Events {
    pub fn new(connection: Connection) -> Self {
        Self { connection, parser: Parser::default() }
    }

    /// The next event; `None`: the node has ended the answer, and is to be asked again.
    pub fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.event()? {
                return Ok(Some(event));
            }
            let Some(chunk) = self.connection.chunk()? else { return Ok(None) };
            self.parser.buffer.extend_from_slice(&chunk);
            ensure!(self.parser.buffer.len() <= LINE_BYTES_MAX, "the node sent an endless line");
        }
    }

    /// What to come back with, so that nothing is missed.
    pub fn last_id(&self) -> Option<&str> {
        self.parser.last_id.as_deref()
    }
}

#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    name: Option<String>,
    data: Vec<String>,
    last_id: Option<String>,
}

impl Parser {
    /// The next event that is there as a whole.
    fn event(&mut self) -> anyhow::Result<Option<Event>> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8(line).context("the node sent what is no text")?;
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(event) = self.line(line)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn line(&mut self, line: &str) -> anyhow::Result<Option<Event>> {
        if line.is_empty() {
            let (name, data) = (self.name.take(), std::mem::take(&mut self.data));
            if data.is_empty() {
                return Ok(None);
            }
            let data = serde_json::from_str(&data.join("\n")).context("an event is no JSON")?;
            return Ok(Some(Event { name: name.unwrap_or_else(|| "message".to_owned()), data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.last_id = Some(value.to_owned()),
            "event" => self.name = Some(value.to_owned()),
            "data" => self.data.push(value.to_owned()),
            // A comment, or how long to wait before coming back.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_found_however_they_arrive_and_ids_alone_are_none() {
        let text =
            "retry: 1000\n: hello\nevent: a\ndata: {\"x\":1}\n\nid: 2.7\nevent: b\ndata: [1,\ndata: 2]\n\nid: 2.9\n\n";
        for step in [1, 7, text.len()] {
            let (mut parser, mut found, mut ids) = (Parser::default(), Vec::new(), Vec::new());
            for piece in text.as_bytes().chunks(step) {
                parser.buffer.extend_from_slice(piece);
                while let Some(event) = parser.event().unwrap() {
                    found.push(event);
                    ids.push(parser.last_id.clone());
                }
            }
            let event = |name: &str, data| Event { name: name.to_owned(), data };
            assert_eq!(found, [event("a", json!({"x": 1})), event("b", json!([1, 2]))]);
            assert_eq!(ids, [None, Some("2.7".to_owned())]);
            assert_eq!(parser.last_id.as_deref(), Some("2.9"));
        }
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        let mut parser = Parser { buffer: b"data: {\n\n".to_vec(), ..Parser::default() };
        assert!(parser.event().is_err());
        let mut parser = Parser { buffer: vec![0xff, b'\n'], ..Parser::default() };
        assert!(parser.event().is_err());
    }
}
