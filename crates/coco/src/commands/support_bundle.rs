//! `coco node support-bundle`: what somebody who helps needs to know of a node, in one file, and no secret.
//!
//! It is put together from what the node's host can see anyway: its configuration, the names and sizes of its files, what its admin listener
//! tells, and the end of its log. No file of the node's folder is read. What looks like a secret is left out all the same, as
//! configuration files hold what their authors put there.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use coco_node::config::NodeConfig;
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::{Connection, Url};
use crate::output::Output;

/// Of the log, its end.
const LOG_BYTES: u64 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);
const LEFT_OUT: &str = "(left out)";
/// Values under such names are left out, whatever they are.
const SECRET_NAMES: &[&str] =
    &["key", "secret", "token", "password", "passphrase", "mnemonic", "unlocked", "pin", "seed", "auth"];
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
/// So many hex digits in a row may be a key.
const HEX_DIGITS: usize = 64;

#[derive(Args, Debug)]
pub struct SupportBundle {
    /// The node's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The file that the node's standard error goes to: its end is added
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Where the bundle goes
    #[arg(long, value_name = "FILE", default_value = "coco-support.json")]
    out: PathBuf,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    bytes: usize,
    /// Parts that could not be had, and why.
    missing: Vec<String>,
}

pub fn run(options: &SupportBundle, output: Output) -> anyhow::Result<()> {
    let named = || options.config.display().to_string();
    let text = fs::read_to_string(&options.config).with_context(named)?;
    let config: NodeConfig = toml::from_str(&text).with_context(named)?;
    let mut missing = Vec::new();
    let mut part = |name: &str, part: anyhow::Result<Value>| {
        part.unwrap_or_else(|error| {
            missing.push(format!("{name}: {error:#}"));
            Value::Null
        })
    };
    let admin: serde_json::Map<_, _> = ["version", "readyz", "healthz", "metrics"]
        .into_iter()
        .map(|path| (path.to_owned(), part(path, ask(&config, path))))
        .collect();
    let log = options.log.as_deref().map(|path| part("log", end_of(path)));
    let bundle = json!({
        "coco": env!("CARGO_PKG_VERSION"),
        "system": system(),
        "configuration": without_secrets(serde_json::to_value(&config)?),
        "files": part("files", files(&config.data)),
        "admin": admin,
        "log": log,
    });
    let bytes = serde_json::to_vec_pretty(&bundle)?;
    fs::write(&options.out, &bytes).with_context(|| options.out.display().to_string())?;
    output.print(&Written { file: options.out.clone(), bytes: bytes.len(), missing })
}

/// What a node's admin listener answers.
fn ask(config: &NodeConfig, path: &str) -> anyhow::Result<Value> {
    let url: Url = format!("http://{}", config.listen.admin).parse()?;
    let response = Connection::open(&url, None, TIMEOUT)?.call("GET", &format!("/{path}"), &[], b"")?;
    Ok(json!({ "status": response.status, "body": String::from_utf8_lossy(&response.body) }))
}

/// Names and sizes, nothing of what is inside.
fn files(folder: &Path) -> anyhow::Result<Value> {
    let mut found = serde_json::Map::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(&inside).with_context(|| inside.display().to_string())? {
            let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap_or(&path);
                found.insert(name.display().to_string(), metadata.len().into());
            }
        }
    }
    Ok(Value::Object(found))
}

fn end_of(log: &Path) -> anyhow::Result<Value> {
    let mut file = File::open(log).with_context(|| log.display().to_string())?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(without_keys(&text).into())
}

/// Of a private key in PEM no line stays: also if its beginning is not in the text, or its end.
fn without_keys(text: &str) -> Vec<&str> {
    let first = text.lines().find(|line| key_goes_on(line).is_some());
    let mut inside = first.is_some_and(|line| !line.contains(PEM_BEGIN));
    let mut kept = Vec::new();
    for line in text.lines() {
        kept.push(if inside || holds_pem_key(line) { LEFT_OUT } else { line });
        inside = key_goes_on(line).unwrap_or(inside);
    }
    kept
}

/// Whether what follows this line is of a private key; `None` if the line neither begins nor ends one.
fn key_goes_on(line: &str) -> Option<bool> {
    let (begin, end) = (line.rfind(PEM_BEGIN), line.rfind(PEM_END));
    let is_border = holds_pem_key(line) && (begin.is_some() || end.is_some());
    is_border.then_some(begin > end)
}

/// What the machine says of itself, where it says anything.
fn system() -> Value {
    let of = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let memory = of("/proc/meminfo").map(|text| text.lines().take(3).map(str::to_owned).collect::<Vec<_>>());
    json!({ "kernel": of("/proc/version"), "memory": memory, "load": of("/proc/loadavg"), "uptime": of("/proc/uptime") })
}

/// The same without what is, or may be, a secret.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(name, value)| {
                let value = if is_secret_name(&name) { LEFT_OUT.into() } else { without_secrets(value) };
                (name, value)
            });
            Value::Object(kept.collect())
        }
        Value::Array(values) => values.into_iter().map(without_secrets).collect(),
        Value::String(text) if may_be_secret(&text) => LEFT_OUT.into(),
        value => value,
    }
}

/// `signing_key` and `unlocked`, but not `keep_alive`: whole words.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    words.any(|word| SECRET_NAMES.iter().any(|secret| word == *secret || word.strip_suffix('s') == Some(secret)))
}

/// A digest is as long as a key, and lost with it: nobody is helped by a bundle that is not given away.
fn may_be_secret(text: &str) -> bool {
    let mut runs = text.split(|c: char| !c.is_ascii_hexdigit());
    let is_phrase = text.split_whitespace().count() >= 12;
    is_phrase || holds_pem_key(text) || runs.any(|run| run.len() >= HEX_DIGITS)
}

fn holds_pem_key(text: &str) -> bool {
    text.contains("PRIVATE KEY")
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes", self.file.display(), self.bytes)?;
        self.missing.iter().try_for_each(|missing| write!(f, "\nnot in it: {missing}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_or_may_be_a_secret_is_left_out_and_the_rest_stays() {
        let canary = "5f".repeat(32);
        let given = json!({
            "index": 1,
            "listen": { "api": "127.0.0.1:8000" },
            "ledgers": { "ethereum": {
                "unlocked": [canary],
                "cors_origins": ["*"],
                "note": format!("0x{canary}"),
                "api-key": "short",
                "words": "test test test test test test test test test test test junk",
            } },
        });
        let kept = without_secrets(given);
        let text = kept.to_string();
        assert!(!text.contains(&canary) && !text.contains("short") && !text.contains("junk"), "{text}");
        assert_eq!(kept["listen"]["api"], "127.0.0.1:8000");
        assert_eq!(kept["ledgers"]["ethereum"]["cors_origins"][0], "*");
        assert_eq!(kept["ledgers"]["ethereum"]["unlocked"], LEFT_OUT);
    }

    #[test]
    fn files_are_named_with_their_sizes_and_not_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("ledger")).unwrap();
        fs::write(folder.path().join("ledger/ledger_1"), b"canary").unwrap();
        let found = files(folder.path()).unwrap();
        assert_eq!(found, json!({ "ledger/ledger_1": 6 }));
        assert!(files(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn only_the_end_of_a_log_is_taken_and_no_key_in_it() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let key = "-----BEGIN PRIVATE KEY-----\nbody\n-----END PRIVATE KEY-----";
        let text = format!("{}\n{key}\nlast", "x".repeat(LOG_BYTES as usize));
        fs::write(log.path(), text).unwrap();
        let lines = end_of(log.path()).unwrap();
        let lines = lines.as_array().unwrap();
        assert_eq!(lines.last().unwrap(), "last");
        assert_eq!(lines.len(), 5);
        assert!(lines[1..4].iter().all(|line| line == LEFT_OUT), "{lines:?}");
        assert!(lines[0].as_str().unwrap().len() < LOG_BYTES as usize);
    }

    #[test]
    fn no_line_of_a_key_stays_even_if_the_text_has_only_a_part_of_it() {
        let (begin, end) = ("-----BEGIN EC PRIVATE KEY-----", "-----END EC PRIVATE KEY-----");
        let left_out = |text: &str| {
            let kept = without_keys(text);
            kept.into_iter().map(|line| if line == LEFT_OUT { "-" } else { line }).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            left_out(&format!("a\n{begin}\nbody\nbody\n{end}\nb\n{begin}\nbody\n{end}\nc")),
            "a - - - - b - - - c"
        );
        assert_eq!(left_out(&format!("body\n{end}\na\n{begin}\nbody\n{end}\nb")), "- - a - - - b");
        assert_eq!(left_out(&format!("a\n{begin}\nbody")), "a - -");
        assert_eq!(left_out(&format!("a\nkey={begin}\\nbody\\n{end}\nb")), "a - b");
        assert_eq!(
            left_out("a\n-----BEGIN CERTIFICATE-----\nbody\n-----END CERTIFICATE-----"),
            "a -----BEGIN CERTIFICATE----- body -----END CERTIFICATE-----"
        );
        assert_eq!(left_out("a\nno PRIVATE KEY here\nb"), "a - b");
    }
}
