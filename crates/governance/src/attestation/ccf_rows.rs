//! CCF's own maps of what may join, read into the policy: its named actions keep their meaning.

use std::collections::BTreeMap;

use coco_attestation::policy::Endorser;
use coco_attestation::{Policy, SnpTcb};
use coco_types::{Digest, MapName};
use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::tables::{self, Read};

pub(super) const VIRTUAL_HOST_DATA: MapName = MapName::from_static("public:ccf.gov.nodes.virtual.host_data");
pub(super) const SNP_MEASUREMENTS: MapName = MapName::from_static("public:ccf.gov.nodes.snp.measurements");
pub(super) const SNP_HOST_DATA: MapName = MapName::from_static("public:ccf.gov.nodes.snp.host_data");
pub(super) const SNP_UVM_ENDORSEMENTS: MapName = MapName::from_static("public:ccf.gov.nodes.snp.uvm_endorsements");
pub(super) const SNP_TCB_VERSIONS: MapName = MapName::from_static("public:ccf.gov.nodes.snp.tcb_versions");
pub(super) const SGX_MEASUREMENTS: MapName = MapName::from_static("public:ccf.gov.nodes.code_ids");

#[derive(Deserialize)]
struct FeedRow {
    svn: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TcbRow {
    boot_loader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
    fmc: u8,
}

pub(super) fn add_to(policy: &mut Policy, state: &mut dyn Read) -> Result<(), Error> {
    for (key, _) in tables::read_all::<Value>(state, &tables::VIRTUAL_MEASUREMENTS)? {
        let measurement = key.parse::<Digest>().map_err(|error| Error::UnreadableRow {
            map: tables::VIRTUAL_MEASUREMENTS,
            key: key.clone(),
            why: error.to_string(),
        })?;
        policy.virtual_tee.measurements.insert(measurement);
    }
    policy.virtual_tee.host_data.extend(keys(state, &VIRTUAL_HOST_DATA));
    policy.sev_snp.measurements.extend(keys(state, &SNP_MEASUREMENTS));
    policy.sev_snp.host_data.extend(keys(state, &SNP_HOST_DATA));
    policy.sgx.enclaves.extend(keys(state, &SGX_MEASUREMENTS));
    for (did, feeds) in tables::read_all::<BTreeMap<String, FeedRow>>(state, &SNP_UVM_ENDORSEMENTS)? {
        for (feed, row) in feeds {
            let min_svn = match &row.svn {
                Value::String(text) => text.parse().ok(),
                other => other.as_u64(),
            };
            let min_svn = min_svn.ok_or_else(|| Error::UnreadableRow {
                map: SNP_UVM_ENDORSEMENTS,
                key: did.clone(),
                why: "its svn is no number".to_owned(),
            })?;
            policy.sev_snp.endorsers.push(Endorser { did: did.clone(), feed, min_svn, signed_after: 0 });
        }
    }
    for (cpuid, row) in tables::read_all::<TcbRow>(state, &SNP_TCB_VERSIONS)? {
        let TcbRow { boot_loader, tee, snp, microcode, fmc } = row;
        if let Some(product) = product(&cpuid) {
            let minimum = SnpTcb { fmc, boot_loader, tee, snp, microcode };
            policy.sev_snp.minimum_tcb.insert(product.to_owned(), minimum);
        }
    }
    Ok(())
}

/// Host data of SEV-SNP nodes, and the policy's text that each is the digest of, where members voted one.
pub fn snp_host_data(state: &mut dyn Read) -> Result<BTreeMap<String, Value>, Error> {
    Ok(tables::read_all(state, &SNP_HOST_DATA)?.into_iter().collect())
}

/// Least firmware versions by CPUID, as members voted them.
pub fn snp_tcb_versions(state: &mut dyn Read) -> Result<BTreeMap<String, Value>, Error> {
    Ok(tables::read_all(state, &SNP_TCB_VERSIONS)?.into_iter().collect())
}

fn keys(state: &mut dyn Read, map: &MapName) -> Vec<String> {
    state.rows(map).into_iter().map(|(key, _)| String::from_utf8_lossy(&key).to_lowercase()).collect()
}

/// CCF names a processor by its CPUID signature, 8 hex digits: extended family and model, family, model, stepping.
fn product(cpuid: &str) -> Option<&'static str> {
    let signature = u32::from_str_radix(cpuid, 16).ok()?;
    let family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
    let model = signature >> 12 & 0xf0 | signature >> 4 & 0xf;
    match (family, model) {
        (0x19, 0x00..=0x0f) => Some("Milan"),
        (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some("Genoa"),
        (0x1a, 0x00..=0x11) => Some("Turin"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_known_by_their_cpuid() {
        assert_eq!(product("00a00f11"), Some("Milan"));
        assert_eq!(product("00a10f11"), Some("Genoa"));
        assert_eq!(product("00b00f21"), Some("Turin"));
        assert_eq!(product("00800f11"), None);
        assert_eq!(product("x"), None);
    }
}
