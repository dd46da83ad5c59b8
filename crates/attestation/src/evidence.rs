//! Evidence as it travels and is kept: a platform's own bytes, and what its host supplied beside them.

use std::collections::BTreeMap;

use coco_crypto::SymmetricKey;

use crate::{ReportData, SourceError, TeeKind, VerifyError};

/// What a platform says. On wire and ledger it is a CMW (RFC 9999), see [`crate::cmw`].
///
/// The bytes are malleable (a second signature over the same statement, padding, PEM whitespace): never a key or an identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    pub kind: TeeKind,
    /// The platform's own format.
    pub raw: Vec<u8>,
    pub aux: BTreeMap<Aux, Vec<u8>>,
}

/// What a host supplies beside evidence. All of it is untrusted transport.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Aux {
    /// Certificates in PEM, one after another, in any order.
    Certificates,
    /// COSE_Sign1 that endorses the launch measurement of a utility VM.
    UvmEndorsement,
    /// A TPM's measured boot log.
    EventLog,
    /// A TPM quote: see [`crate::platforms::tpm`].
    TpmQuote,
    /// The quote of the trust domain behind a paravisor.
    TdQuote,
    /// In certificates: what the report data cover besides the certificate's own key, [`crate::BoundFacts`] in CBOR.
    Binding,
}

/// Evidence in its platform's format, bytes.
pub const EVIDENCE_BYTES_MAX: usize = 64 << 10;
/// All that is supplied beside it, bytes.
pub const AUX_BYTES_MAX: usize = 256 << 10;

/// What a platform gives a node to seal with.
pub struct SealingKey {
    pub key: SymmetricKey,
    /// Needed to be given the same key again; no secret.
    pub keep: Vec<u8>,
    /// The key that what was kept leads to, where that is of firmware which may not come back any more: it opens what it sealed, once, and seals
    /// nothing.
    pub before: Option<SymmetricKey>,
}

/// Makes evidence on the machine it runs on.
pub trait EvidenceSource: Send + Sync {
    fn kind(&self) -> TeeKind;

    /// Evidence for `report_data` and the running code.
    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError>;

    /// A key that only the same code on the same machine is given again; `None`: this platform has none to give. `kept`: what an earlier call asked
    /// to keep beside what is sealed.
    fn sealing_key(&self, _kept: Option<&[u8]>) -> Result<Option<SealingKey>, SourceError> {
        Ok(None)
    }
}

impl Aux {
    pub const ALL: [Self; 6] =
        [Self::Certificates, Self::UvmEndorsement, Self::EventLog, Self::TpmQuote, Self::TdQuote, Self::Binding];

    pub fn label(self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::UvmEndorsement => "uvm-endorsement",
            Self::EventLog => "event-log",
            Self::TpmQuote => "tpm-quote",
            Self::TdQuote => "td-quote",
            Self::Binding => "binding",
        }
    }
}

impl Evidence {
    /// Evidence that needs nothing beside it.
    pub fn bare(kind: TeeKind, raw: Vec<u8>) -> Self {
        Self { kind, raw, aux: BTreeMap::new() }
    }

    pub fn with(mut self, aux: Aux, bytes: Vec<u8>) -> Self {
        self.aux.insert(aux, bytes);
        self
    }

    pub(crate) fn check_size(&self) -> Result<(), VerifyError> {
        let aux = self.aux.values().map(Vec::len).sum();
        let sizes = [(self.raw.len(), EVIDENCE_BYTES_MAX), (aux, AUX_BYTES_MAX)];
        match sizes.into_iter().find(|(found, limit)| found > limit) {
            Some((found, limit)) => Err(VerifyError::TooLarge { found, limit }),
            None => Ok(()),
        }
    }

    pub(crate) fn aux(&self, aux: Aux) -> Result<&[u8], VerifyError> {
        let missing = || VerifyError::AuxMissing { what: aux.label() };
        self.aux.get(&aux).map(Vec::as_slice).ok_or_else(missing)
    }
}
