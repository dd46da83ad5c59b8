//! Proposals about code and platforms: what may join, and how it is judged.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Id, object, read_json};
use crate::governance::read_text;

#[derive(Debug, Subcommand)]
pub enum Platforms {
    /// Let virtual nodes that run this code join
    AddVirtualMeasurement { measurement: Id },
    /// Let no more virtual nodes join that run this code
    RemoveVirtualMeasurement { measurement: Id },
    /// Let virtual nodes say that they were launched with this, and with nothing that is not listed
    AddVirtualHostData {
        /// SHA-256, as a node's configuration has it (virtual_host_data)
        host_data: Id,
    },
    /// Take back what virtual nodes may say that they were launched with
    RemoveVirtualHostData { host_data: Id },
    /// Let SEV-SNP nodes join that were launched as this
    AddSnpMeasurement {
        /// Launch digest: 96 hexadecimal digits
        measurement: String,
    },
    /// Accept no more SEV-SNP nodes that were launched as this
    RemoveSnpMeasurement { measurement: String },
    /// Accept SEV-SNP nodes with these host data
    #[command(group(clap::ArgGroup::new("what").required(true)))]
    AddSnpHostData {
        /// 64 hexadecimal digits
        #[arg(group = "what")]
        host_data: Option<Id>,
        /// The policy's text, whose SHA-256 host data then are
        #[arg(long, value_name = "FILE", group = "what")]
        security_policy: Option<PathBuf>,
    },
    /// Accept no more SEV-SNP nodes with these host data
    RemoveSnpHostData { host_data: Id },
    /// Let somebody vouch for utility VMs of SEV-SNP nodes
    AddSnpUvmEndorsement {
        /// did:x509:0:sha256:…
        did: String,
        feed: String,
        /// From this version on
        svn: u64,
    },
    /// Let somebody vouch for utility VMs no more
    RemoveSnpUvmEndorsement { did: String, feed: String },
    /// The least firmware of SEV-SNP processors, as a report shows it: 16 hexadecimal digits, or its parts as JSON
    SetSnpMinimumTcb {
        /// 8 hexadecimal digits
        cpuid: String,
        /// 16 hexadecimal digits, or {"boot_loader": 4, "tee": 0, "snp": 24, "microcode": 219}
        tcb: String,
    },
    /// Ask for no firmware of these processors any more: they are refused
    RemoveSnpMinimumTcb { cpuid: String },
    /// Let SGX nodes join whose enclave is this
    AddNodeCode {
        /// MRENCLAVE: 64 hexadecimal digits
        code: Id,
    },
    /// Accept no more SGX nodes whose enclave is this
    RemoveNodeCode { code: Id },
    /// Let TDX nodes join whose trust domain is this, beside those that are accepted
    AddTdxImage {
        #[command(flatten)]
        image: TdxImage,
    },
    /// Accept no more TDX nodes whose trust domain is this
    RemoveTdxImage {
        #[command(flatten)]
        image: TdxImage,
    },
    /// Accept a module in VBS enclaves, beside those that are accepted
    AddVbsModule {
        #[command(flatten)]
        module: VbsModule,
    },
    /// Accept a module in VBS enclaves no more
    RemoveVbsModule {
        #[command(flatten)]
        module: VbsModule,
    },
    /// Replace a section of what nodes are judged by
    SetAttestationPolicy {
        /// virtual_tee, sev_snp, tdx, sgx, azure_snp, azure_tdx, nitro, cca, vbs, network
        section: String,
        /// The section, as JSON
        #[arg(value_name = "FILE")]
        policy: PathBuf,
    },
    /// Trust exactly these certificates as roots of a vendor; none: trust nobody there
    SetAttestationAnchors {
        /// amd_milan, amd_genoa, amd_turin, intel, aws_nitro, tpm
        root: String,
        /// Certificates, or their SHA-256
        certificates: Vec<Id>,
    },
    /// Trust an Arm platform by its key
    SetCcaAnchor {
        /// 66 hexadecimal digits
        instance: String,
        /// 64 hexadecimal digits
        #[arg(long)]
        implementation: String,
        /// Its key, SubjectPublicKeyInfo: hexadecimal digits
        #[arg(long, value_name = "HEX")]
        platform_key: String,
    },
    /// Trust an Arm platform no more
    RemoveCcaAnchor { instance: String },
}

/// What is not named is not asked for.
#[derive(Args, Clone, Debug)]
pub struct TdxImage {
    /// 96 hexadecimal digits, as all of these
    mrtd: String,
    /// A runtime register, 0 to 3, and its value, as often as needed
    #[arg(long, value_name = "INDEX=HEX", value_parser = indexed)]
    rtmr: Vec<(String, String)>,
    #[arg(long, value_name = "HEX")]
    mrconfigid: Option<String>,
    #[arg(long, value_name = "HEX")]
    mrowner: Option<String>,
    #[arg(long, value_name = "HEX")]
    mrownerconfig: Option<String>,
}

/// One image exactly, or all that an author signed as this family and image, from a version on.
#[derive(Args, Clone, Debug)]
pub struct VbsModule {
    /// 64 hexadecimal digits
    #[arg(long, value_name = "HEX", required_unless_present = "author", conflicts_with = "author")]
    unique: Option<String>,
    /// 64 hexadecimal digits
    #[arg(long, value_name = "HEX", requires = "family", requires = "image")]
    author: Option<String>,
    /// 32 hexadecimal digits
    #[arg(long, value_name = "HEX", requires = "author")]
    family: Option<String>,
    /// 32 hexadecimal digits
    #[arg(long, value_name = "HEX", requires = "author")]
    image: Option<String>,
    #[arg(long, value_name = "N")]
    min_svn: Option<u32>,
}

fn indexed(text: &str) -> anyhow::Result<(String, String)> {
    let parts = text.split_once('=');
    let (index, value) = parts.ok_or_else(|| anyhow::anyhow!("write it as INDEX=HEX"))?;
    Ok((index.to_owned(), value.to_owned()))
}

impl TdxImage {
    fn args(&self) -> Value {
        let rtmrs = (!self.rtmr.is_empty()).then(|| Value::from_iter(self.rtmr.iter().cloned()));
        object([
            ("mrtd", Some(self.mrtd.clone().into())),
            ("rtmrs", rtmrs),
            ("mrconfigid", self.mrconfigid.clone().map(Value::from)),
            ("mrowner", self.mrowner.clone().map(Value::from)),
            ("mrownerconfig", self.mrownerconfig.clone().map(Value::from)),
        ])
    }
}

impl VbsModule {
    fn args(&self) -> Value {
        object([
            ("unique_id", self.unique.clone().map(Value::from)),
            ("author_id", self.author.clone().map(Value::from)),
            ("family_id", self.family.clone().map(Value::from)),
            ("image_id", self.image.clone().map(Value::from)),
            ("min_svn", self.min_svn.map(Value::from)),
        ])
    }
}

impl Platforms {
    pub fn action(&self) -> anyhow::Result<(&'static str, Value)> {
        Ok(match self {
            Self::AddVirtualMeasurement { measurement } => {
                ("add_virtual_measurement", json!({ "measurement": measurement.0 }))
            }
            Self::RemoveVirtualMeasurement { measurement } => {
                ("remove_virtual_measurement", json!({ "measurement": measurement.0 }))
            }
            Self::AddVirtualHostData { host_data } => ("add_virtual_host_data", json!({ "host_data": host_data.0 })),
            Self::RemoveVirtualHostData { host_data } => {
                ("remove_virtual_host_data", json!({ "host_data": host_data.0 }))
            }
            Self::AddSnpMeasurement { measurement } => ("add_snp_measurement", json!({ "measurement": measurement })),
            Self::RemoveSnpMeasurement { measurement } => {
                ("remove_snp_measurement", json!({ "measurement": measurement }))
            }
            Self::AddSnpHostData { host_data, security_policy } => {
                ("add_snp_host_data", snp_host_data(host_data, security_policy)?)
            }
            Self::RemoveSnpHostData { host_data } => ("remove_snp_host_data", json!({ "host_data": host_data.0 })),
            Self::AddSnpUvmEndorsement { did, feed, svn } => {
                ("add_snp_uvm_endorsement", json!({ "did": did, "feed": feed, "svn": svn.to_string() }))
            }
            Self::RemoveSnpUvmEndorsement { did, feed } => {
                ("remove_snp_uvm_endorsement", json!({ "did": did, "feed": feed }))
            }
            Self::SetSnpMinimumTcb { cpuid, tcb } => snp_minimum_tcb(cpuid, tcb)?,
            Self::RemoveSnpMinimumTcb { cpuid } => ("remove_snp_minimum_tcb_version", json!({ "cpuid": cpuid })),
            Self::AddNodeCode { code } => ("add_node_code", json!({ "code_id": code.0 })),
            Self::RemoveNodeCode { code } => ("remove_node_code", json!({ "code_id": code.0 })),
            Self::AddTdxImage { image } => ("add_tdx_image", image.args()),
            Self::RemoveTdxImage { image } => ("remove_tdx_image", image.args()),
            Self::AddVbsModule { module } => ("add_vbs_module", module.args()),
            Self::RemoveVbsModule { module } => ("remove_vbs_module", module.args()),
            Self::SetAttestationPolicy { section, policy } => {
                ("set_attestation_policy", json!({ "section": section, "policy": read_json(policy)? }))
            }
            Self::SetAttestationAnchors { root, certificates } => {
                let certificates: Vec<_> = certificates.iter().map(|id| &id.0).collect();
                ("set_attestation_anchors", json!({ "root": root, "certificates": certificates }))
            }
            Self::SetCcaAnchor { instance, implementation, platform_key } => (
                "set_cca_anchor",
                json!({ "instance_id": instance, "implementation_id": implementation, "key": platform_key }),
            ),
            Self::RemoveCcaAnchor { instance } => ("remove_cca_anchor", json!({ "instance_id": instance })),
        })
    }
}

fn snp_host_data(host_data: &Option<Id>, security_policy: &Option<PathBuf>) -> anyhow::Result<Value> {
    let text = security_policy.as_deref().map(read_text).transpose()?;
    let digest = text.as_ref().map(|text| coco_crypto::sha256(text.as_bytes()).to_string());
    let host_data = host_data.as_ref().map(|id| id.0.clone()).or(digest);
    Ok(object([("host_data", host_data.map(Value::from)), ("security_policy", text.map(Value::from))]))
}

fn snp_minimum_tcb(cpuid: &str, tcb: &str) -> anyhow::Result<(&'static str, Value)> {
    if tcb.starts_with('{') {
        let parts: Value = serde_json::from_str(tcb)?;
        return Ok(("set_snp_minimum_tcb_version", json!({ "cpuid": cpuid, "tcb_version": parts })));
    }
    ensure!(tcb.len() == 16, "the TCB is neither 16 hexadecimal digits nor a JSON object");
    Ok(("set_snp_minimum_tcb_version_hex", json!({ "cpuid": cpuid, "tcb_version": tcb })))
}
