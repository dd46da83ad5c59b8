//! What genuine evidence says, typed. Whether that is acceptable is for [`crate::appraise`].

use coco_types::Digest;
use serde::Serialize;

use crate::TeeKind;

/// Times are Unix seconds, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Window {
    pub not_before: u64,
    pub not_after: u64,
}

impl Window {
    pub const ALWAYS: Self = Self { not_before: 0, not_after: u64::MAX };

    pub fn narrow(&mut self, not_before: u64, not_after: u64) {
        self.not_before = self.not_before.max(not_before);
        self.not_after = self.not_after.min(not_after);
    }
}

/// Evidence that was verified. Only [`crate::verify`] and [`crate::examine`] make one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Claims {
    pub kind: TeeKind,
    /// The guest can be looked into by its host.
    pub debug: bool,
    pub isolation: Isolation,
    /// Names the machine, if the platform tells: hex, with the kind of id before it.
    pub hardware_id: Option<String>,
    /// In which all certificates and lists that were used hold.
    pub validity: Window,
    /// SHA-256 of the roots that the chains ended in.
    pub roots: Vec<Digest>,
    pub details: Details,
    #[serde(skip)]
    pub(crate) bound: Bound,
}

/// What keeps the host out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    None,
    /// The hypervisor: no memory encryption, a physical attacker is out of scope.
    Software,
    /// The processor.
    Hardware,
    /// The processor, with the cloud's paravisor inside the trust base.
    HardwareWithParavisor,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Details {
    Virtual {
        measurement: Digest,
        #[serde(skip_serializing_if = "Option::is_none")]
        host_data: Option<Digest>,
    },
    SevSnp(Box<SnpClaims>),
    Tdx(Box<TdxClaims>),
    Sgx(Box<SgxClaims>),
    Azure(Box<AzureClaims>),
    Nitro(Box<NitroClaims>),
    Cca(Box<CcaClaims>),
    Vbs(Box<VbsClaims>),
}

/// How the evidence names what it was made for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Bound {
    ReportData([u8; 64]),
    /// A TPM quote's extra data, and what the paravisor repeats of the guest's data.
    Vtpm {
        user_data: Option<Vec<u8>>,
        extra_data: Vec<u8>,
    },
    /// A Nitro document's user data, which may be absent or of any length.
    UserData(Option<Vec<u8>>),
}

/// Firmware versions of an AMD processor, one by one: never compared as one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnpTcb {
    /// Turin only; zero elsewhere.
    pub fmc: u8,
    pub boot_loader: u8,
    pub tee: u8,
    pub snp: u8,
    pub microcode: u8,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SnpClaims {
    pub version: u32,
    pub product: String,
    #[serde(with = "hex::serde")]
    pub measurement: [u8; 48],
    #[serde(with = "hex::serde")]
    pub host_data: [u8; 32],
    #[serde(with = "hex::serde")]
    pub id_key_digest: [u8; 48],
    #[serde(with = "hex::serde")]
    pub author_key_digest: [u8; 48],
    #[serde(with = "hex::serde")]
    pub family_id: [u8; 16],
    #[serde(with = "hex::serde")]
    pub image_id: [u8; 16],
    pub guest_svn: u32,
    pub vmpl: u32,
    pub policy: u64,
    pub platform_info: u64,
    pub migration_agent: bool,
    pub reported_tcb: SnpTcb,
    pub committed_tcb: SnpTcb,
    pub launch_tcb: SnpTcb,
    /// Who got the signing key from AMD, if it is a versioned loaded key.
    pub csp_id: Option<String>,
    pub uvm: Option<UvmClaims>,
}

/// What a utility VM's maker says about its measurement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UvmClaims {
    pub did: String,
    pub feed: String,
    pub svn: u64,
    /// As the signer says, Unix seconds.
    pub signed_at: u64,
}

/// Intel's judgement of a platform, as the collateral has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DcapTcb {
    pub status: String,
    /// Of all levels in the TCB info, Unix seconds: from then on a lower one may be called out of date.
    pub newest_level_date: u64,
    pub advisories: Vec<String>,
    pub evaluation_number: u32,
    pub fmspc: String,
    pub dynamic_platform: Option<bool>,
    pub cached_keys: Option<bool>,
    pub smt: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TdxClaims {
    #[serde(with = "hex::serde")]
    pub mrtd: [u8; 48],
    #[serde(serialize_with = "hex_all")]
    pub rtmrs: [[u8; 48]; 4],
    #[serde(with = "hex::serde")]
    pub mrconfigid: [u8; 48],
    #[serde(with = "hex::serde")]
    pub mrowner: [u8; 48],
    #[serde(with = "hex::serde")]
    pub mrownerconfig: [u8; 48],
    #[serde(with = "hex::serde")]
    pub mrseam: [u8; 48],
    /// Of a TD 1.5; `None` for 1.0, which has no service TDs.
    #[serde(serialize_with = "hex_option")]
    pub mrservicetd: Option<[u8; 48]>,
    pub td_attributes: u64,
    pub xfam: u64,
    pub tcb: DcapTcb,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SgxClaims {
    #[serde(with = "hex::serde")]
    pub mrenclave: [u8; 32],
    #[serde(with = "hex::serde")]
    pub mrsigner: [u8; 32],
    #[serde(with = "hex::serde")]
    pub config_id: [u8; 64],
    pub isv_prod_id: u16,
    pub isv_svn: u16,
    pub config_svn: u16,
    pub misc_select: u32,
    pub attribute_flags: u64,
    pub xfrm: u64,
    pub tcb: DcapTcb,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AzureClaims {
    /// What the processor measured: the paravisor.
    pub hardware: Details,
    /// PCR index and value, hex, of the SHA-256 bank.
    pub pcrs: std::collections::BTreeMap<u8, String>,
    /// What was measured into PCRs 0 to 9 in order, hex, if the boot log came too.
    pub boot_events: Option<std::collections::BTreeMap<u8, Vec<String>>>,
    pub secure_boot: Option<bool>,
    pub console_enabled: Option<bool>,
    pub tpm_persisted: Option<bool>,
    pub vm_id: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NitroClaims {
    pub module_id: String,
    /// Milliseconds.
    pub timestamp_ms: u64,
    /// PCR index and value, hex.
    pub pcrs: std::collections::BTreeMap<u8, String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CcaClaims {
    /// Realm initial measurement, hex.
    pub rim: String,
    /// Realm extensible measurements, hex.
    pub rems: Vec<String>,
    pub personalisation: String,
    pub implementation_id: String,
    pub instance_id: String,
    pub lifecycle: u16,
    pub config: String,
    /// Signer and measurement of each firmware component, hex.
    pub components: Vec<CcaComponent>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CcaComponent {
    pub signer: String,
    pub measurement: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VbsClaims {
    pub secure_kernel_svn: u32,
    pub platform_svn: u32,
    pub enclave: VbsModule,
    /// Every module in the enclave, the primary image among them.
    pub modules: Vec<VbsModule>,
    /// Boot policy as the measured log has it: event id and its value, for the ids that policies name.
    pub boot: std::collections::BTreeMap<String, u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VbsModule {
    #[serde(with = "hex::serde")]
    pub unique_id: [u8; 32],
    #[serde(with = "hex::serde")]
    pub author_id: [u8; 32],
    #[serde(with = "hex::serde")]
    pub family_id: [u8; 16],
    #[serde(with = "hex::serde")]
    pub image_id: [u8; 16],
    pub svn: u32,
    pub name: String,
}

impl Claims {
    /// What runs, in the platform's own term, hex: what members vote on.
    pub fn measurement(&self) -> String {
        self.details.measurement()
    }

    /// The report data as the evidence has it, where it has one of 64 bytes.
    pub fn report_data(&self) -> Option<[u8; 64]> {
        match &self.bound {
            Bound::ReportData(found) => Some(*found),
            Bound::Vtpm { user_data, .. } | Bound::UserData(user_data) => user_data.as_deref()?.try_into().ok(),
        }
    }
}

impl Details {
    pub fn measurement(&self) -> String {
        match self {
            Self::Virtual { measurement, .. } => measurement.to_string(),
            Self::SevSnp(snp) => hex::encode(snp.measurement),
            Self::Tdx(tdx) => hex::encode(tdx.mrtd),
            Self::Sgx(sgx) => hex::encode(sgx.mrenclave),
            Self::Azure(azure) => azure.hardware.measurement(),
            Self::Nitro(nitro) => nitro.pcrs.get(&0).cloned().unwrap_or_default(),
            Self::Cca(cca) => cca.rim.clone(),
            Self::Vbs(vbs) => hex::encode(vbs.enclave.unique_id),
        }
    }
}

fn hex_all<S: serde::Serializer>(values: &[[u8; 48]; 4], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(hex::encode))
}

fn hex_option<S: serde::Serializer>(value: &Option<[u8; 48]>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(hex::encode).serialize(serializer)
}
