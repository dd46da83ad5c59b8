//! What Intel writes into a processor's certificate (PCK): extension 1.2.840.113741.1.13.1.

use coco_crypto::ForeignCertificate;

use crate::{VerifyError, der};

pub const SGX_EXTENSION: &str = "1.2.840.113741.1.13.1";
/// 1.2.840.113741.1.13.1 in DER, without tag and length.
const PREFIX: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];

/// The part of it that identifies and judges a platform.
pub struct Pck {
    pub ppid: Vec<u8>,
    pub fmspc: String,
    pub pce_id: String,
    pub platform_instance_id: Option<Vec<u8>>,
    pub dynamic_platform: Option<bool>,
    pub cached_keys: Option<bool>,
    pub smt: Option<bool>,
}

impl Pck {
    pub fn read(certificate: &ForeignCertificate) -> Result<Self, VerifyError> {
        let extension = certificate.extension(SGX_EXTENSION).ok_or_else(|| malformed("it has no SGX extension"))?;
        let entries = der::only(extension).and_then(der::sequence).ok_or_else(|| malformed("its SGX extension"))?;
        let (mut ppid, mut fmspc, mut pce_id, mut instance) = (None, None, None, None);
        let mut configuration = [None; 3];
        for entry in entries {
            let Some([id, value]) = pair(entry) else { return Err(malformed("an entry of its SGX extension")) };
            match id {
                [1] => ppid = octets(value),
                [3] => pce_id = octets(value),
                [4] => fmspc = octets(value),
                [6] => instance = octets(value),
                [7] => configuration = flags(value)?,
                _ => {}
            }
        }
        let missing = |what: &str| malformed(&format!("it has no {what}"));
        let [dynamic_platform, cached_keys, smt] = configuration;
        Ok(Self {
            ppid: ppid.ok_or_else(|| missing("PPID"))?,
            fmspc: hex::encode(fmspc.ok_or_else(|| missing("FMSPC"))?),
            pce_id: hex::encode(pce_id.ok_or_else(|| missing("PCEID"))?),
            platform_instance_id: instance,
            dynamic_platform,
            cached_keys,
            smt,
        })
    }

    /// Names the platform: its instance id, else the processor's.
    pub fn hardware_id(&self) -> String {
        match &self.platform_instance_id {
            Some(id) => format!("intel-platform:{}", hex::encode(id)),
            None => format!("intel-ppid:{}", hex::encode(&self.ppid)),
        }
    }
}

/// The id below Intel's prefix, and the value.
fn pair<'a>(entry: der::Value<'a>) -> Option<[&'a [u8]; 2]> {
    let values = der::sequence(entry)?;
    let [id, value] = values.as_slice() else { return None };
    let below = (id.tag == der::OID).then_some(id.content)?.strip_prefix(PREFIX)?;
    let (_, rest) = (value.tag, value.content);
    Some([below, rest])
}

fn octets(content: &[u8]) -> Option<Vec<u8>> {
    Some(content.to_vec())
}

/// Dynamic platform, cached keys, SMT.
fn flags(content: &[u8]) -> Result<[Option<bool>; 3], VerifyError> {
    let mut flags = [None; 3];
    let mut rest = content;
    while let Some((entry, after)) = der::take(rest) {
        let Some([[7, which @ 1..=3], value]) = pair(entry) else { return Err(malformed("its configuration")) };
        if let Some(flag) = flags.get_mut(usize::from(*which - 1)) {
            *flag = Some(value != [0]);
        }
        rest = after;
    }
    Ok(flags)
}

fn malformed(why: &str) -> VerifyError {
    VerifyError::CertificateMalformed { why: format!("of the processor: {why}") }
}
