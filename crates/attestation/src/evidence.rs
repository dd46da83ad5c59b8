//! Evidence, and its verification.

use coco_types::Digest;
use serde::{Deserialize, Serialize};

use crate::ReportData;
use crate::platforms::virtual_tee;

/// The kinds of trusted execution environment that this build can verify.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeeKind {
    /// No protection at all: for development.
    Virtual,
}

impl TeeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
        }
    }
}

/// What a platform says, as it travels and as it is kept on the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    pub kind: TeeKind,
    /// The platform's own format, hex.
    #[serde(with = "hex_bytes")]
    pub raw: Vec<u8>,
}

/// Makes evidence on the machine it runs on.
pub trait EvidenceSource: Send + Sync {
    fn kind(&self) -> TeeKind;

    /// Evidence for `report_data` and the running code.
    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, VerifyError>;
}

/// What genuine evidence says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    pub kind: TeeKind,
    /// The code that runs.
    pub measurement: Digest,
}

/// Why evidence is not genuine, or not about this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("evidence of {found} bytes is larger than the limit of {limit}")]
    TooLarge { found: usize, limit: usize },
    #[error("malformed {kind} evidence: {why}", kind = .kind.as_str())]
    Malformed { kind: TeeKind, why: String },
    #[error("the evidence is about another node, configuration or challenge (report data mismatch)")]
    ReportDataMismatch,
}

/// Evidence in its platform's format, bytes.
const EVIDENCE_BYTES_MAX: usize = 64 << 10;

/// Checks that the evidence is genuine and covers `expected`. Pure: the same inputs give the same answer on every node and in ten years.
pub fn verify(evidence: &Evidence, expected: &ReportData) -> Result<Claims, VerifyError> {
    if evidence.raw.len() > EVIDENCE_BYTES_MAX {
        return Err(VerifyError::TooLarge { found: evidence.raw.len(), limit: EVIDENCE_BYTES_MAX });
    }
    match evidence.kind {
        TeeKind::Virtual => virtual_tee::verify(&evidence.raw, expected),
    }
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(&text).map_err(serde::de::Error::custom)
    }
}
