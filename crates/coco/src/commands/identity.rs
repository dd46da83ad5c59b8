//! `coco identity …`: who a caller is to the network, and which of the ledgers' identities are bound to it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use coco_crypto::{SigningKey, decode_pem_all};
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::{Value, json};

use crate::governance::read_text;
use crate::http::{Connection, Url};
use crate::output::{self, Output};
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(20);
const PATH: &str = "/app/identities";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Who you are to the network, and what is bound to you
    Show {
        #[command(flatten)]
        caller: Caller,
    },
    /// Ask for the statement that an identity's key must sign to be bound to you
    Challenge {
        /// Such as ethereum
        ledger: String,
        /// An address, a public key
        identity: String,
        /// Where to keep what `bind` needs
        #[arg(long, value_name = "FILE", default_value = "statement.json")]
        out: PathBuf,
        #[command(flatten)]
        caller: Caller,
    },
    /// Bind an identity to you, with its key's signature over the statement
    Bind {
        /// What `challenge` wrote
        #[arg(value_name = "FILE", default_value = "statement.json")]
        statement: PathBuf,
        /// As the wallet or the signing library gives it, hexadecimal
        #[arg(long, value_name = "HEX")]
        signature: String,
        #[command(flatten)]
        caller: Caller,
    },
    /// Take a bound identity away
    Unbind {
        ledger: String,
        identity: String,
        #[command(flatten)]
        caller: Caller,
    },
}

/// How to reach the network, and by what to prove who asks.
#[derive(Args, Debug)]
pub struct Caller {
    /// Any node's API
    #[arg(long, default_value = "https://127.0.0.1:8000")]
    api: Url,
    /// The service's certificate
    #[arg(long, value_name = "CERT", default_value = "service_certificate.pem")]
    service: PathBuf,
    /// Your certificate, and those of CAs between it and your organisation's behind it, in PEM
    #[arg(long, value_name = "CERT", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A file with a token (JWT) of an issuer that the network accepts
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
}

/// The answer of `show`.
#[derive(Serialize)]
struct Shown(Value);

pub fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Show { caller } => output.print(&Shown(caller.call("GET", "", None)?)),
        Command::Challenge { ledger, identity, out, caller } => {
            let wanted = json!({"ledger": ledger, "identity": identity});
            let given = caller.call("POST", "/challenge", Some(&wanted))?;
            fs::write(out, serde_json::to_vec_pretty(&given)?).with_context(|| out.display().to_string())?;
            output::tell(format_args!(
                "sign this with the key of {identity}, then: coco identity bind {} --signature …",
                out.display()
            ));
            output::line(given["statement"].as_str().context("the node gave no statement")?)
        }
        Command::Bind { statement, signature, caller } => {
            let mut proof: Value =
                serde_json::from_str(&read_text(statement)?).with_context(|| statement.display().to_string())?;
            proof["signature"] = signature.as_str().into();
            caller.call("POST", "/bind", Some(&proof))?;
            output::line(&format!("{} is bound to you", proof["identity"].as_str().unwrap_or_default()))
        }
        Command::Unbind { ledger, identity, caller } => {
            caller.call("POST", "/unbind", Some(&json!({"ledger": ledger, "identity": identity})))?;
            output::line(&format!("{identity} is not bound to you any more"))
        }
    }
}

impl Caller {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let token = self.token.as_deref().map(read_text).transpose()?.map(|token| format!("Bearer {}", token.trim()));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(token.as_deref().map(|token| ("authorization", token)));
        let body = body.map(Value::to_string).unwrap_or_default();
        let target = self.api.at(&format!("{PATH}{path}")).path;
        let mut connection = Connection::open(&self.api, Some(&self.tls()?), TIMEOUT)?;
        let answer = connection.call(method, &target, &headers, body.as_bytes())?;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if !(200..300).contains(&answer.status) {
            let text = |field: &str| told["error"][field].as_str().unwrap_or_default();
            bail!("{} ({} {})", text("message"), answer.status, text("code"));
        }
        Ok(told)
    }

    fn tls(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let service = tls::read_certificate(&self.service)?;
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return tls::trusting(&service) };
        let named = |path: &Path| path.display().to_string();
        let chain = decode_pem_all("CERTIFICATE", &read_text(cert)?).with_context(|| named(cert))?;
        let key = SigningKey::from_pem(&read_text(key)?).with_context(|| named(key))?;
        tls::as_client_with(&service, chain, &key)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |field: &str| self.0[field].as_array().cloned().unwrap_or_default();
        let caller = list("caller");
        if caller.is_empty() {
            f.write_str("nobody that the network knows")?;
        }
        for (at, identity) in caller.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            match identity.as_object().and_then(|object| object.iter().next()) {
                Some((kind, Value::String(id))) => write!(f, "{} {id}", kind.to_lowercase())?,
                Some((kind, parts)) => {
                    let parts: Vec<_> = parts.as_object().into_iter().flat_map(|parts| parts.values()).collect();
                    let parts: Vec<_> = parts.iter().map(|part| part.as_str().unwrap_or_default()).collect();
                    write!(f, "{} {}", kind.to_lowercase(), parts.join(" "))?;
                }
                None => write!(f, "{identity}")?,
            }
        }
        for binding in list("bindings") {
            let text = |field: &str| binding[field].as_str().unwrap_or_default();
            write!(f, "\nbound since {}: {} {}", text("since"), text("ledger"), text("identity"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_told_in_words_who_it_is() {
        let shown = Shown(json!({
            "caller": [{"Participant": "ab"}, {"Token": {"issuer": "https://id.example", "subject": "ann"}}],
            "bindings": [{"ledger": "ethereum", "identity": "0xa", "since": "2.7"}],
        }));
        assert_eq!(shown.to_string(), "participant ab\ntoken https://id.example ann\nbound since 2.7: ethereum 0xa");
        assert_eq!(Shown(json!({"caller": []})).to_string(), "nobody that the network knows");
    }
}
