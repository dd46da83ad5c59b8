//! The kinds of trusted execution environment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What made a piece of evidence, and so which file under `platforms/` reads it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeeKind {
    /// No protection at all: for development.
    Virtual,
    /// AMD SEV-SNP, the report straight from the processor.
    SevSnp,
    /// Intel TDX, a DCAP quote.
    Tdx,
    /// Intel SGX, a DCAP quote.
    Sgx,
    /// SEV-SNP behind Azure's paravisor: the report vouches for a vTPM.
    AzureSnp,
    /// TDX behind Azure's paravisor.
    AzureTdx,
    /// AWS Nitro Enclaves.
    Nitro,
    /// Arm Confidential Compute Architecture.
    Cca,
    /// A Windows VBS enclave: isolation by the hypervisor, in software.
    Vbs,
}

impl TeeKind {
    pub const ALL: [Self; 9] = [
        Self::Virtual,
        Self::SevSnp,
        Self::Tdx,
        Self::Sgx,
        Self::AzureSnp,
        Self::AzureTdx,
        Self::Nitro,
        Self::Cca,
        Self::Vbs,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::SevSnp => "sev_snp",
            Self::Tdx => "tdx",
            Self::Sgx => "sgx",
            Self::AzureSnp => "azure_snp",
            Self::AzureTdx => "azure_tdx",
            Self::Nitro => "nitro",
            Self::Cca => "cca",
            Self::Vbs => "vbs",
        }
    }

    /// Whose silicon, or whose hypervisor, is trusted: what diversity rules count.
    pub fn vendor(self) -> &'static str {
        match self {
            Self::Virtual => "none",
            Self::SevSnp | Self::AzureSnp => "amd",
            Self::Tdx | Self::AzureTdx | Self::Sgx => "intel",
            Self::Nitro => "aws",
            Self::Cca => "arm",
            Self::Vbs => "microsoft",
        }
    }
}

impl fmt::Display for TeeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TeeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        named.ok_or_else(|| format!("{text} is no kind of TEE that Coco knows"))
    }
}
