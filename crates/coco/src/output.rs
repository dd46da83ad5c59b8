//! What commands print: text for people, JSON for programs, colours where a terminal wants them.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

impl Output {
    /// Prints a result: as JSON on one line, or as its own text.
    pub fn print(self, result: &(impl Serialize + fmt::Display)) -> anyhow::Result<()> {
        match self {
            Self::Text => line(&result.to_string()),
            Self::Json => line(&serde_json::to_string(result)?),
        }
    }
}

/// Prints a line to standard output at once, also when that is a pipe. A closed pipe is [`NobodyReads`], not a panic.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => anyhow::Error::new(NobodyReads),
        _ => anyhow::Error::new(error).context("standard output"),
    })
}

/// Tells people something on standard error. If that is gone too, nothing is left to do.
pub fn tell(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whoever read standard output has seen enough, as `head` has. Ends the command without a word.
#[derive(Debug)]
pub struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output")
    }
}

impl std::error::Error for NobodyReads {}

/// Bytes for people, on one line: as text where they are text, else `0x` and hex.
pub fn readable(bytes: &[u8]) -> String {
    let is_text = |text: &&str| !text.is_empty() && !text.chars().any(|c| c.is_control() && c != '\n');
    match std::str::from_utf8(bytes).ok().filter(is_text) {
        Some(text) => text.replace('\n', "\\n"),
        None => format!("0x{}", hex::encode(bytes)),
    }
}

/// An error and its causes. Many an error's own text ends with its cause's, which is then not said twice.
pub fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}

/// An error whose remedy is known. The hint is printed under the error.
#[derive(Debug)]
pub struct Hinted {
    message: String,
    pub hint: String,
}

impl Hinted {
    pub fn error(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { message: message.into(), hint: hint.into() })
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// Red on a terminal that allows colours.
pub fn red(text: &str) -> String {
    if io::stdout().is_terminal() && colours_allowed() { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
}

/// <https://no-color.org>: any non-empty value of `NO_COLOR` forbids colours.
pub fn colours_allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("disk full").context("file: disk full").context("writing");
        assert_eq!(in_one_line(&error), "writing: file: disk full");
    }

    #[test]
    fn text_is_shown_as_text_on_one_line_and_anything_else_as_hex() {
        assert_eq!(readable(b"key"), "key");
        assert_eq!(readable(b"-----\nabc"), "-----\\nabc");
        assert_eq!(readable(b""), "0x");
        assert_eq!(readable(&[0, 1]), "0x0001");
        assert_eq!(readable(&[0xff]), "0xff");
    }
}
