//! What a confidential container finds beside its device: a folder with the processor's certificates and the maker's word about the
//! utility VM (Azure container instances, confidential AKS). All of it is untrusted transport.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Devices, answer, device};
use crate::{Aux, Evidence, SourceError};

/// Names the folder.
const FOLDER_VARIABLE: &str = "UVM_SECURITY_CONTEXT_DIR";
const ENDORSEMENT: &str = "reference-info-base64";
const CERTIFICATES: &str = "host-amd-cert-base64";

/// Certificates as Azure's caches answer with them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cached {
    vcek_cert: String,
    certificate_chain: String,
}

impl Cached {
    pub(super) fn from_json(bytes: &[u8]) -> Result<String, SourceError> {
        let cached: Self =
            serde_json::from_slice(bytes).map_err(|error| answer(&format!("the cached certificates: {error}")))?;
        Ok(format!("{}\n{}", cached.vcek_cert.trim_end(), cached.certificate_chain))
    }
}

/// Adds what the folder has to SEV-SNP evidence; outside a container nothing.
pub(super) fn complete(devices: &dyn Devices, mut evidence: Evidence) -> Result<Evidence, SourceError> {
    let Some(folder) = devices.variable(FOLDER_VARIABLE) else { return Ok(evidence) };
    let folder = Path::new(&folder);
    let certificates = Cached::from_json(&decoded(devices, &folder.join(CERTIFICATES))?)?;
    evidence.aux.insert(Aux::Certificates, certificates.into_bytes());
    evidence.aux.insert(Aux::UvmEndorsement, decoded(devices, &folder.join(ENDORSEMENT))?);
    Ok(evidence)
}

fn decoded(devices: &dyn Devices, path: &Path) -> Result<Vec<u8>, SourceError> {
    let text = devices.read(path).map_err(device(path))?;
    let decoded = STANDARD.decode(text.trim_ascii());
    decoded.map_err(|error| answer(&format!("{}: {error}", path.display())))
}
