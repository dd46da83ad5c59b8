//! Proposals about the ledgers that the network hosts.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{object, read_json};

#[derive(Debug, Subcommand)]
pub enum Ledgers {
    /// Host another of the ledgers that the nodes' code knows
    AddLedger {
        /// Its name, such as sawtooth
        ledger: String,
        /// Its genesis, in the ledger's own form, as JSON; without it, the defaults of its code
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
    },
    /// Host a ledger no more, for good; what it holds stays in the ledger files
    RemoveLedger {
        ledger: String,
        #[arg(long)]
        reason: String,
    },
    /// Take no writes on one ledger
    FreezeLedger {
        ledger: String,
        #[arg(long)]
        reason: String,
    },
    /// Take writes on a frozen ledger again
    UnfreezeLedger { ledger: String },
    /// Decide where a transaction family runs
    SetLedgerFamily {
        ledger: String,
        /// Its name, or * for all that nothing else was decided about
        family: String,
        /// Its version, or *
        #[arg(id = "of_version", value_name = "VERSION")]
        version: String,
        #[arg(long)]
        tier: Tier,
        /// Where it may write: the beginning of addresses, as often as needed; without it, anywhere
        #[arg(long, value_name = "HEX")]
        namespace: Vec<String>,
        /// Of the tier attested: what code is accepted, in sections of an attestation policy
        #[arg(long, value_name = "FILE", required_if_eq("tier", "attested"))]
        code: Option<PathBuf>,
        /// Of the tier process: whoever runs it reads all of its data
        #[arg(long, required_if_eq("tier", "process"))]
        in_plain_text: bool,
    },
    /// Take back what was decided about a transaction family
    RemoveLedgerFamily {
        ledger: String,
        family: String,
        #[arg(id = "of_version", value_name = "VERSION")]
        version: String,
    },
    /// Decide what an account may do
    SetLedgerAccount {
        ledger: String,
        /// An address, or * for all that nothing else was decided about
        account: String,
        may: May,
    },
    /// Take back what was decided about an account
    RemoveLedgerAccount { ledger: String, account: String },
    /// Set a ledger's own setting, above its transactions
    SetLedgerSetting {
        ledger: String,
        /// Its name
        setting: String,
        /// Without it, the setting is left to the ledger's own transactions
        value: Option<String>,
    },
    /// Decide who may read what begins so
    SetNamespaceReaders {
        ledger: String,
        /// The beginning of addresses; an empty text: everything
        namespace: String,
        /// Who reads, as often as needed
        #[arg(long, value_name = "WHO", conflicts_with_all = ["nobody", "as_around"])]
        reader: Vec<String>,
        /// Nobody reads
        #[arg(long, conflicts_with = "as_around")]
        nobody: bool,
        /// Whoever may read what surrounds it
        #[arg(long)]
        as_around: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Tier {
    Native,
    Wasm,
    Attested,
    Process,
    Refused,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum May {
    Create,
    Send,
    Nothing,
}

impl Ledgers {
    pub fn action(&self) -> anyhow::Result<(&'static str, Value)> {
        Ok(match self {
            Self::AddLedger { ledger, genesis } => {
                let genesis = genesis.as_deref().map(read_json).transpose()?.unwrap_or_else(|| json!({}));
                ("add_ledger", json!({ "ledger": ledger, "genesis": genesis }))
            }
            Self::RemoveLedger { ledger, reason } => ("remove_ledger", json!({ "ledger": ledger, "reason": reason })),
            Self::FreezeLedger { ledger, reason } => ("freeze_ledger", json!({ "ledger": ledger, "reason": reason })),
            Self::UnfreezeLedger { ledger } => ("unfreeze_ledger", json!({ "ledger": ledger })),
            Self::SetLedgerFamily { ledger, family, version, tier, namespace, code, in_plain_text } => {
                let namespaces = (!namespace.is_empty()).then(|| json!(namespace));
                let args = object([
                    ("ledger", Some(json!(ledger))),
                    ("family", Some(json!(family))),
                    ("version", Some(json!(version))),
                    ("tier", Some(json!(named(*tier)))),
                    ("namespaces", namespaces),
                    ("code", code.as_deref().map(read_json).transpose()?),
                    ("in_plain_text", in_plain_text.then_some(Value::Bool(true))),
                ]);
                ("set_ledger_family", args)
            }
            Self::RemoveLedgerFamily { ledger, family, version } => {
                ("remove_ledger_family", json!({ "ledger": ledger, "family": family, "version": version }))
            }
            Self::SetLedgerAccount { ledger, account, may } => {
                ("set_ledger_account", json!({ "ledger": ledger, "account": account, "may": named(*may) }))
            }
            Self::RemoveLedgerAccount { ledger, account } => {
                ("remove_ledger_account", json!({ "ledger": ledger, "account": account }))
            }
            Self::SetLedgerSetting { ledger, setting, value } => {
                let value = value.clone().map(Value::from);
                (
                    "set_ledger_setting",
                    object([("ledger", Some(json!(ledger))), ("key", Some(json!(setting))), ("value", value)]),
                )
            }
            Self::SetNamespaceReaders { ledger, namespace, reader, nobody, as_around } => {
                anyhow::ensure!(
                    *nobody || *as_around || !reader.is_empty(),
                    "say who reads: --reader, --nobody or --as-around"
                );
                let readers = (!as_around).then(|| json!(reader));
                (
                    "set_namespace_readers",
                    object([
                        ("ledger", Some(json!(ledger))),
                        ("namespace", Some(json!(namespace))),
                        ("readers", readers),
                    ]),
                )
            }
        })
    }
}

fn named(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
