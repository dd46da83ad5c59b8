//! What the members voted about code and platforms: one section per kind of TEE, and one about the network as a whole.
//!
//! JSON, so that a proposal's text is what is in force. Bytes are lower-case hex. An empty list accepts **nobody**; only where a
//! field says so does absence mean "not judged". Debug and migration are never votable.

use std::collections::{BTreeMap, BTreeSet};

use coco_types::Digest;
use serde::{Deserialize, Serialize};

use crate::{CcaComponent, Root, SnpTcb};

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub virtual_tee: VirtualPolicy,
    pub sev_snp: SnpPolicy,
    pub tdx: TdxPolicy,
    pub sgx: SgxPolicy,
    pub azure_snp: AzurePolicy,
    pub azure_tdx: AzurePolicy,
    pub nitro: NitroPolicy,
    pub cca: CcaPolicy,
    pub vbs: VbsPolicy,
    pub network: NetworkPolicy,
}

/// Development only.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VirtualPolicy {
    pub measurements: BTreeSet<Digest>,
    /// Judged if not empty.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub host_data: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnpPolicy {
    /// Launch digests.
    pub measurements: BTreeSet<String>,
    /// Who may vouch for a launch digest instead; then host data must be listed, since only they name our container.
    pub endorsers: Vec<Endorser>,
    /// Judged if not empty, or if the measurement is accepted through an endorser.
    pub host_data: BTreeSet<String>,
    /// Privilege levels; absent: level 0.
    pub vmpls: Option<BTreeSet<u32>>,
    /// Judged if not empty.
    pub id_keys: BTreeSet<String>,
    /// Judged if not empty.
    pub author_keys: BTreeSet<String>,
    /// Judged if not empty.
    pub family_ids: BTreeSet<String>,
    /// Judged if not empty.
    pub image_ids: BTreeSet<String>,
    pub min_guest_svn: u32,
    /// By product: `Milan`, `Genoa`, `Turin`. A product without an entry is refused.
    pub minimum_tcb: BTreeMap<String, SnpTcb>,
    /// Products of which reports of version 2 are accepted: such a report does not name its processor.
    pub version_2_products: BTreeSet<String>,
    /// Clouds whose loaded keys are accepted, by their CSP id.
    pub vlek_csps: BTreeSet<String>,
    pub forbid_smt: bool,
    pub require_rapl_disabled: bool,
    pub require_ciphertext_hiding: bool,
    pub require_alias_check: bool,
}

/// A maker of utility VMs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endorser {
    /// `did:x509:0:sha256:…::eku:…`.
    pub did: String,
    pub feed: String,
    pub min_svn: u64,
    /// Unix seconds.
    #[serde(default)]
    pub signed_after: u64,
}

/// How Intel's judgement of a platform is taken.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DcapPolicy {
    /// Status and, in seconds after the date of Intel's newest level, until when it is accepted; null: always.
    pub statuses: BTreeMap<String, Option<u64>>,
    pub rejected_advisories: BTreeSet<String>,
    pub min_evaluation_number: u32,
    pub forbid_dynamic_platform: bool,
    pub forbid_cached_keys: bool,
    pub forbid_smt: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TdxPolicy {
    pub images: Vec<TdImage>,
    /// Judged if not empty.
    pub seam_modules: BTreeSet<String>,
    /// Bound service TDs; none may be bound unless listed.
    pub service_tds: BTreeSet<String>,
    /// Bits of the TD attributes that must be set, as a number.
    pub required_attributes: u64,
    /// Bits that may be set besides those; absent: SEPT_VE_DISABLE, PKS, KL, PERFMON.
    pub allowed_attributes: Option<u64>,
    pub tcb: DcapPolicy,
}

/// What a trust domain must be, where it says so.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TdImage {
    pub mrtd: String,
    /// By index, 0 to 3.
    pub rtmrs: BTreeMap<u8, String>,
    pub mrconfigid: Option<String>,
    pub mrowner: Option<String>,
    pub mrownerconfig: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgxPolicy {
    /// MRENCLAVE values.
    pub enclaves: BTreeSet<String>,
    pub signers: Vec<SgxSigner>,
    /// Configuration ids other than zero.
    pub config_ids: BTreeSet<String>,
    /// Bits of MISCSELECT that may be set.
    pub allowed_misc_select: u32,
    pub tcb: DcapPolicy,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgxSigner {
    pub mrsigner: String,
    pub isv_prod_id: u16,
    pub min_isv_svn: u16,
}

/// Both halves: what the processor measured, and what booted behind the paravisor.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzurePolicy {
    pub snp: SnpPolicy,
    pub tdx: TdxPolicy,
    /// Each: PCR index and value; one of them must match in full, unless events are listed instead.
    pub boots: Vec<BTreeMap<u8, String>>,
    /// By PCR, 0 to 9: digests of all that may be measured into it. The boot log must be there then.
    pub events: BTreeMap<u8, BTreeSet<String>>,
    pub require_secure_boot: bool,
    pub forbid_console: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NitroPolicy {
    /// Each: PCR index and value, PCR 0 among them; one must match in full.
    pub images: Vec<BTreeMap<u8, String>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CcaPolicy {
    pub realms: Vec<CcaRealm>,
    /// All firmware components of a platform must be listed.
    pub components: BTreeSet<CcaComponent>,
    /// Judged if not empty.
    pub configs: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CcaRealm {
    pub rim: String,
    #[serde(default)]
    pub rems: Option<Vec<String>>,
    #[serde(default)]
    pub personalisation: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VbsPolicy {
    /// The enclave's image, and every module beside it, must match one.
    pub modules: Vec<VbsModuleRule>,
    pub min_secure_kernel_svn: u32,
    pub min_platform_svn: u32,
    /// Boot settings by tag in hex, and the value that the log must show.
    pub boot: BTreeMap<String, u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VbsModuleRule {
    /// Names one image exactly; else author, family and image name it, from a version on.
    pub unique_id: Option<String>,
    pub author_id: Option<String>,
    pub family_id: Option<String>,
    pub image_id: Option<String>,
    pub min_svn: u32,
}

/// Rules about nodes together. Counts include the applicant.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkPolicy {
    /// Nodes of one TEE kind: the fault budget, so that one broken kind breaks no quorum.
    pub max_per_kind: Option<u32>,
    /// Nodes that trust one vendor.
    pub max_per_vendor: Option<u32>,
    pub hardware: HardwareRule,
    /// Ids as claims show them, for `pinned`.
    pub allowed_hardware: BTreeSet<String>,
    pub denied_hardware: BTreeSet<String>,
    /// Under `unique` or `pinned`: accept nodes whose platform names no machine (Nitro, VLEK).
    pub allow_unidentified_hardware: bool,
    /// How long a node that fails re-appraisal may take to renew its evidence, seconds.
    pub grace_s: u64,
    /// Evidence older than this must be renewed, seconds; absent: never for age alone.
    pub evidence_age_max_s: Option<u64>,
    /// Roots below which a missing revocation list is tolerated.
    pub crl_optional: BTreeSet<Root>,
    /// Re-appraisal retires no node if fewer trusted ones than this would be left.
    pub minimum_nodes: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardwareRule {
    #[default]
    Off,
    /// No two live nodes on one machine.
    Unique,
    /// Only voted machines, and no two nodes on one.
    Pinned,
}

impl Policy {
    /// A policy that accepts these virtual nodes: for development.
    pub fn for_virtual(measurements: impl IntoIterator<Item = Digest>) -> Self {
        let virtual_tee = VirtualPolicy { measurements: measurements.into_iter().collect(), ..Default::default() };
        Self { virtual_tee, ..Self::default() }
    }
}
