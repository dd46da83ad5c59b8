//! Signed collateral: what vendors publish about their platforms, as ledger state.
//!
//! Anyone may submit a newer item, because it authenticates itself: it is taken only if it verifies under an accepted anchor at
//! ledger time and is not older than what is there. A host can delay a revocation that way, never undo one. Freshness of a
//! revocation list is its `thisUpdate`: Intel's lists carry the number 1 for years.

use std::collections::BTreeMap;

use coco_crypto::{ForeignCertificate, ForeignKey, Hash, RevocationList, Scheme, sha256};
use serde::{Deserialize, Serialize};

use crate::trust::{Anchors, Root, Trust};
use crate::{VerifyError, chain, time};

/// One revocation list, bytes.
pub const CRL_BYTES_MAX: usize = 1 << 20;
/// One signed JSON text, bytes.
pub const JSON_BYTES_MAX: usize = 256 << 10;
/// The chain that vouches for an item, bytes of PEM; text around the certificates counts.
pub const CHAIN_BYTES_MAX: usize = 128 << 10;

const TCB_INFO: &str = "TCB info";
const QE_IDENTITY: &str = "QE identity";

/// One published item, with the chain that vouches for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CollateralItem {
    /// A revocation list; `chain` is its issuer first, root last, in PEM.
    Crl {
        #[serde(with = "hex::serde")]
        list: Vec<u8>,
        root: Root,
        chain: String,
    },
    /// Intel's TCB info: the exact text that was signed.
    TcbInfo(SignedText),
    /// Intel's identity of its quoting enclave.
    QeIdentity(SignedText),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedText {
    /// As it was signed, byte for byte.
    pub text: String,
    /// r then s, hex.
    #[serde(with = "hex::serde")]
    pub signature: Vec<u8>,
    /// The signing certificate first, root last, in PEM.
    pub chain: String,
}

/// Everything that was accepted, by the key under which the ledger has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Collateral {
    items: BTreeMap<String, CollateralItem>,
}

/// A submitted item that is genuine and not older than what is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Under which the ledger has it.
    pub key: String,
    /// What is there says less. Otherwise there is nothing to write: it says the same, however the chain around it is written.
    pub is_news: bool,
}

/// Why an item was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollateralError {
    #[error("not genuine: {0}")]
    NotGenuine(#[from] VerifyError),
    #[error("older than what is there: of {submitted}, not after {stored}")]
    Older { submitted: u64, stored: u64 },
    #[error("evaluation number {submitted} is below {stored}, which is there")]
    LowerEvaluation { submitted: u32, stored: u32 },
    #[error("of {found} bytes, larger than {limit}")]
    TooLarge { found: usize, limit: usize },
}

/// What Intel's texts have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TextHead {
    pub id: String,
    pub version: u32,
    pub issue_date: String,
    pub next_update: String,
    pub tcb_evaluation_data_number: u32,
    #[serde(default)]
    pub fmspc: String,
    #[serde(default)]
    pub pce_id: String,
}

impl Collateral {
    pub fn from_items(items: BTreeMap<String, CollateralItem>) -> Self {
        Self { items }
    }

    /// Puts an item that was judged by [`judge`], or that a test brings, in its place.
    pub fn insert(&mut self, item: CollateralItem) -> Result<(), VerifyError> {
        self.items.insert(item.key()?, item);
        Ok(())
    }

    pub fn items(&self) -> &BTreeMap<String, CollateralItem> {
        &self.items
    }

    pub(crate) fn crl(&self, issuer_der: &[u8]) -> Result<Option<RevocationList>, VerifyError> {
        let Some(CollateralItem::Crl { list, .. }) = self.items.get(&crl_key(issuer_der)) else { return Ok(None) };
        RevocationList::from_der(list).map(Some).map_err(|error| unreadable("revocation list", &error))
    }

    pub(crate) fn tcb_info(&self, id: &str, fmspc: &str) -> Option<&SignedText> {
        match self.items.get(&format!("tcb_info:{}:{}", id.to_lowercase(), fmspc.to_lowercase()))? {
            CollateralItem::TcbInfo(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn qe_identity(&self, id: &str) -> Option<&SignedText> {
        match self.items.get(&format!("qe_identity:{}", id.to_lowercase()))? {
            CollateralItem::QeIdentity(text) => Some(text),
            _ => None,
        }
    }
}

impl CollateralItem {
    /// The key of its row: what it is about, never who brought it.
    pub fn key(&self) -> Result<String, VerifyError> {
        Ok(match self {
            Self::Crl { list, .. } => {
                let list = RevocationList::from_der(list).map_err(|error| unreadable("revocation list", &error))?;
                crl_key(list.issuer_der())
            }
            Self::TcbInfo(text) => {
                let head = text.head(TCB_INFO)?;
                format!("tcb_info:{}:{}", head.id.to_lowercase(), head.fmspc.to_lowercase())
            }
            Self::QeIdentity(text) => format!("qe_identity:{}", text.head(QE_IDENTITY)?.id.to_lowercase()),
        })
    }
}

impl CollateralItem {
    /// The items of a `QuoteCollateralV3` in JSON, the form in which Intel's caching services and their clients keep them. Lists and
    /// signatures are hex.
    pub fn from_quote_collateral(json: &serde_json::Value) -> Result<Vec<Self>, VerifyError> {
        let what = "quote collateral";
        let text = |name: &str| {
            let value = json.get(name).and_then(serde_json::Value::as_str);
            value.map(ToOwned::to_owned).ok_or_else(|| unreadable(what, &format!("{name} is missing")))
        };
        let bytes = |name: &str| hex::decode(text(name)?).map_err(|error| unreadable(what, &error));
        let pck_issuers = text("pck_crl_issuer_chain")?;
        let issuers = chain::from_pem(pck_issuers.as_bytes())?;
        let root = issuers.last().ok_or_else(|| chain::broken("there is no issuer"))?;
        let root_pem = coco_crypto::encode_pem("CERTIFICATE", root.der());
        let signed = |text_name: &str, signature: &str, chain: &str| -> Result<SignedText, VerifyError> {
            Ok(SignedText { text: text(text_name)?, signature: bytes(signature)?, chain: text(chain)? })
        };
        Ok(vec![
            Self::Crl { list: bytes("root_ca_crl")?, root: Root::Intel, chain: root_pem },
            Self::Crl { list: bytes("pck_crl")?, root: Root::Intel, chain: pck_issuers },
            Self::TcbInfo(signed("tcb_info", "tcb_info_signature", "tcb_info_issuer_chain")?),
            Self::QeIdentity(signed("qe_identity", "qe_identity_signature", "qe_identity_issuer_chain")?),
        ])
    }
}

/// Checks a submitted item against the one in its place: genuine at `at`, and not older.
pub fn judge(
    item: &CollateralItem,
    stored: &Collateral,
    anchors: &Anchors,
    at: u64,
) -> Result<Judged, CollateralError> {
    item.check_size()?;
    let key = item.key()?;
    let trust = Trust { anchors: anchors.clone(), ..Trust::default() };
    let age = item.verify(&trust, at)?;
    let Some(before) = stored.items.get(&key) else { return Ok(Judged { key, is_news: true }) };
    let known = before.age()?;
    if age.evaluation < known.evaluation {
        return Err(CollateralError::LowerEvaluation { submitted: age.evaluation, stored: known.evaluation });
    }
    if age.issued < known.issued {
        return Err(CollateralError::Older { submitted: age.issued, stored: known.issued });
    }
    // One that is as old may come with a chain that is accepted still.
    Ok(Judged { key, is_news: age != known || before.verify(&trust, at).is_err() })
}

/// What tells an item from an earlier one about the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Age {
    /// Of Intel's texts; 0 of others.
    evaluation: u32,
    /// Unix seconds.
    issued: u64,
}

impl CollateralItem {
    /// Genuine at `at`.
    fn verify(&self, trust: &Trust, at: u64) -> Result<Age, VerifyError> {
        match self {
            Self::Crl { list, root, chain } => {
                let list = parse_crl(list)?;
                let issuers = chain::from_pem(chain.as_bytes())?;
                chain::verify(&issuers, *root, chain::Revocation::Unchecked, trust, at.into())?;
                let issuer = issuers.first().ok_or_else(|| chain::broken("there is no issuer"))?;
                chain::check_list(&list, issuer, at)?;
            }
            Self::TcbInfo(text) => drop(text.verify(TCB_INFO, trust, at)?),
            Self::QeIdentity(text) => drop(text.verify(QE_IDENTITY, trust, at)?),
        }
        self.age()
    }

    fn age(&self) -> Result<Age, VerifyError> {
        match self {
            Self::Crl { list, .. } => Ok(Age { evaluation: 0, issued: parse_crl(list)?.this_update }),
            Self::TcbInfo(text) => text.age(TCB_INFO),
            Self::QeIdentity(text) => text.age(QE_IDENTITY),
        }
    }
}

impl CollateralItem {
    /// All that would be written counts, also what nothing is signed of.
    fn check_size(&self) -> Result<(), CollateralError> {
        let (found, limit, chain) = match self {
            Self::Crl { list, chain, .. } => (list.len(), CRL_BYTES_MAX, chain),
            Self::TcbInfo(text) | Self::QeIdentity(text) => {
                (text.text.len() + text.signature.len(), JSON_BYTES_MAX, &text.chain)
            }
        };
        for (found, limit) in [(found, limit), (chain.len(), CHAIN_BYTES_MAX)] {
            if found > limit {
                return Err(CollateralError::TooLarge { found, limit });
            }
        }
        Ok(())
    }
}

impl SignedText {
    pub(crate) fn head(&self, what: &'static str) -> Result<TextHead, VerifyError> {
        serde_json::from_str(&self.text).map_err(|error| unreadable(what, &error))
    }

    /// The signature under the chain's leaf, whose root must be Intel's, and the text's own window.
    pub(crate) fn verify(
        &self,
        what: &'static str,
        trust: &Trust,
        at: u64,
    ) -> Result<(TextHead, crate::Window), VerifyError> {
        let signers = chain::from_pem(self.chain.as_bytes())?;
        let mut window = chain::verify(&signers, Root::Intel, chain::Revocation::Unchecked, trust, at.into())?;
        let signer: &ForeignCertificate = signers.first().ok_or_else(|| chain::broken("there is no signer"))?;
        verify_text(signer.key(), &self.text, &self.signature)
            .map_err(|()| VerifyError::CollateralSignatureInvalid { what })?;
        let head = self.head(what)?;
        let date = |text: &str| time::rfc3339(text).ok_or_else(|| unreadable(what, &format!("the date {text}")));
        let (issued, next_update) = (date(&head.issue_date)?, date(&head.next_update)?);
        if at < issued {
            return Err(VerifyError::CollateralNotYetValid { what, issued, at });
        }
        if at > next_update {
            return Err(VerifyError::CollateralExpired { what, next_update, at });
        }
        window.narrow(issued, next_update);
        Ok((head, window))
    }

    fn age(&self, what: &'static str) -> Result<Age, VerifyError> {
        let head = self.head(what)?;
        let issued = time::rfc3339(&head.issue_date);
        let issued = issued.ok_or_else(|| unreadable(what, &format!("the date {}", head.issue_date)))?;
        Ok(Age { evaluation: head.tcb_evaluation_data_number, issued })
    }
}

fn verify_text(key: &ForeignKey, text: &str, signature: &[u8]) -> Result<(), ()> {
    key.verify(Scheme::EcdsaFixed(Hash::Sha256), text.as_bytes(), signature).map_err(|_| ())
}

fn parse_crl(der: &[u8]) -> Result<RevocationList, VerifyError> {
    RevocationList::from_der(der).map_err(|error| unreadable("revocation list", &error))
}

fn crl_key(issuer_der: &[u8]) -> String {
    format!("crl:{}", sha256(issuer_der))
}

fn unreadable(what: &'static str, error: &dyn std::fmt::Display) -> VerifyError {
    VerifyError::CollateralMalformed { what, why: error.to_string() }
}
