//! Arm CCA: a platform token by the machine's attestation key, and a realm token by a key that the platform token binds.
//!
//! No universal root exists: members vote the platform keys, by instance id. Tested on synthetic tokens only.

use std::collections::BTreeMap;

use coco_crypto::{ForeignKey, Hash, Scheme, constant_time_eq, cose, sha256, sha384, sha512};
use minicbor::Decoder;
use minicbor::data::Type;

use crate::claims::{Bound, CcaClaims, CcaComponent, Claims, Details, Isolation, Window};
use crate::trust::Trust;
use crate::{Evidence, TeeKind, VerifyError};

const TAG_CCA: u64 = 399;
const PLATFORM: i64 = 44234;
const REALM: i64 = 44241;
const PROFILE: i64 = 265;
const CHALLENGE: i64 = 10;
const IMPLEMENTATION_ID: i64 = 2396;
const INSTANCE_ID: i64 = 256;
const LIFECYCLE: i64 = 2395;
const COMPONENTS: i64 = 2399;
const CONFIG: i64 = 2401;
const PERSONALISATION: i64 = 44235;
const INITIAL_MEASUREMENT: i64 = 44238;
const EXTENSIBLE_MEASUREMENTS: i64 = 44239;
const KEY_HASH: i64 = 44240;
const REALM_KEY: i64 = 44237;
const PLATFORM_PROFILE_LEGACY: &str = "http://arm.com/CCA-SSD/1.0.0";
const PLATFORM_PROFILE: &str = "tag:arm.com,2023:cca_platform#1.0.0";
const REALM_PROFILE: &str = "tag:arm.com,2023:realm#1.0.0";
const EMPTY_MAP: &[u8] = &[0xa0];
const CLAIMS_MAX: u64 = 64;
const COMPONENTS_MAX: u64 = 32;

pub(crate) fn verify(evidence: &Evidence, trust: &Trust) -> Result<Claims, VerifyError> {
    let (platform_raw, realm_raw) = split(&evidence.raw)?;
    let platform_message = cose::Sign1::decode(platform_raw).map_err(|error| malformed(&error.to_string()))?;
    let realm_message = cose::Sign1::decode(realm_raw).map_err(|error| malformed(&error.to_string()))?;
    if platform_message.unprotected != EMPTY_MAP || realm_message.unprotected != EMPTY_MAP {
        return Err(malformed("a token has unprotected headers"));
    }
    let platform = PlatformClaims::decode(payload(&platform_message)?)?;
    let realm = RealmClaims::decode(payload(&realm_message)?)?;
    check_profiles(&platform, &realm)?;
    let instance = hex::encode(platform.instance_id);
    let implementation_id = hex::encode(platform.implementation_id);
    let key = anchor(trust, &instance, &implementation_id)?;
    check_signature(&platform_message, &key).ok_or(VerifyError::SignatureInvalid { what: "platform token" })?;
    check_signature(&realm_message, &realm_key(realm.key)?).ok_or(VerifyError::RealmSignatureInvalid)?;
    // Over the bytes as they stand: encoding the key again would bind something that nobody signed.
    if !constant_time_eq(&hash(realm.key_hash, realm.key)?, platform.challenge) {
        return Err(VerifyError::RealmBindingMismatch);
    }
    let report_data = realm.challenge.try_into().map_err(|_| malformed("the challenge has 64 bytes"))?;
    Ok(Claims {
        kind: TeeKind::Cca,
        // The lifecycle tells whether the platform can be looked into: policy's.
        debug: false,
        isolation: Isolation::Hardware,
        hardware_id: Some(format!("arm-instance:{instance}")),
        validity: Window::ALWAYS,
        roots: vec![key.id()],
        bound: Bound::ReportData(report_data),
        details: Details::Cca(Box::new(CcaClaims {
            rim: hex::encode(realm.rim),
            rems: realm.rems,
            personalisation: hex::encode(realm.personalisation),
            implementation_id,
            instance_id: instance,
            lifecycle: platform.lifecycle,
            config: hex::encode(platform.config),
            components: platform.components,
        })),
    })
}

/// What a platform token's payload says. Nothing of it is verified.
#[derive(Debug)]
pub struct PlatformClaims<'a> {
    pub profile: &'a str,
    pub challenge: &'a [u8],
    pub implementation_id: &'a [u8],
    pub instance_id: &'a [u8],
    pub lifecycle: u16,
    pub config: &'a [u8],
    pub components: Vec<CcaComponent>,
}

/// What a realm token's payload says. Nothing of it is verified.
#[derive(Debug)]
pub struct RealmClaims<'a> {
    pub profile: Option<&'a str>,
    pub challenge: &'a [u8],
    pub personalisation: &'a [u8],
    pub rim: &'a [u8],
    /// Hex.
    pub rems: Vec<String>,
    /// Name of the hash by which the platform token binds the key.
    pub key_hash: &'a str,
    pub key: &'a [u8],
}

impl<'a> PlatformClaims<'a> {
    pub fn decode(payload: &'a [u8]) -> Result<Self, VerifyError> {
        let claims = ClaimSet::decode(payload)?;
        Ok(Self {
            profile: claims.text(PROFILE)?,
            challenge: claims.bytes(CHALLENGE)?,
            implementation_id: claims.bytes(IMPLEMENTATION_ID)?,
            instance_id: claims.bytes(INSTANCE_ID)?,
            lifecycle: claims.lifecycle()?,
            config: claims.bytes(CONFIG)?,
            components: claims.components()?,
        })
    }
}

impl<'a> RealmClaims<'a> {
    pub fn decode(payload: &'a [u8]) -> Result<Self, VerifyError> {
        let claims = ClaimSet::decode(payload)?;
        Ok(Self {
            profile: claims.has(PROFILE).then(|| claims.text(PROFILE)).transpose()?,
            challenge: claims.bytes(CHALLENGE)?,
            personalisation: claims.bytes(PERSONALISATION)?,
            rim: claims.bytes(INITIAL_MEASUREMENT)?,
            rems: claims.byte_strings(EXTENSIBLE_MEASUREMENTS)?,
            key_hash: claims.text(KEY_HASH)?,
            key: claims.bytes(REALM_KEY)?,
        })
    }
}

/// The two tokens inside.
fn split(raw: &[u8]) -> Result<(&[u8], &[u8]), VerifyError> {
    let mut decoder = Decoder::new(raw);
    let mut read = || -> Result<_, minicbor::decode::Error> {
        let tag = decoder.tag()?.as_u64();
        let (mut platform, mut realm) = (None, None);
        if decoder.map()? != Some(2) {
            return Err(minicbor::decode::Error::message("there are two tokens"));
        }
        for _ in 0..2 {
            match decoder.i64()? {
                PLATFORM => platform = Some(decoder.bytes()?),
                REALM => realm = Some(decoder.bytes()?),
                _ => return Err(minicbor::decode::Error::message("an unknown token")),
            }
        }
        Ok((tag, platform, realm))
    };
    let (tag, platform, realm) = read().map_err(|error| malformed(&error.to_string()))?;
    match (tag, platform, realm) {
        (TAG_CCA, Some(platform), Some(realm)) if decoder.position() == raw.len() => Ok((platform, realm)),
        _ => Err(malformed("it is no pair of a platform and a realm token")),
    }
}

fn payload<'a>(message: &cose::Sign1<'a>) -> Result<&'a [u8], VerifyError> {
    message.payload.ok_or_else(|| malformed("a token has no payload"))
}

fn check_profiles(platform: &PlatformClaims<'_>, realm: &RealmClaims<'_>) -> Result<(), VerifyError> {
    let found = platform.profile;
    let expected_realm = match found {
        PLATFORM_PROFILE_LEGACY => None,
        PLATFORM_PROFILE => Some(REALM_PROFILE),
        _ => return Err(VerifyError::ProfileMismatch { token: "platform", found: found.to_owned() }),
    };
    if realm.profile == expected_realm {
        return Ok(());
    }
    Err(VerifyError::ProfileMismatch { token: "realm", found: realm.profile.unwrap_or("none").to_owned() })
}

fn anchor(trust: &Trust, instance: &str, implementation_id: &str) -> Result<ForeignKey, VerifyError> {
    let unknown = || VerifyError::AnchorUnknown { instance: instance.to_owned() };
    let anchor = trust.anchors.cca.get(instance).ok_or_else(unknown)?;
    if !anchor.implementation_id.eq_ignore_ascii_case(implementation_id) {
        return Err(unknown());
    }
    let invalid = VerifyError::KeyInvalid { why: "the platform's anchor is no point on its curve" };
    let spki = hex::decode(&anchor.key).map_err(|_| invalid.clone())?;
    ForeignKey::from_spki_der(&spki).map_err(|_| invalid)
}

fn check_signature(message: &cose::Sign1<'_>, key: &ForeignKey) -> Option<()> {
    let mut decoder = Decoder::new(message.protected);
    decoder.map().ok()?;
    let algorithm = (decoder.i64().ok()? == cose::LABEL_ALG).then(|| decoder.i64().ok())??;
    let hash = match algorithm {
        -7 => Hash::Sha256,
        -35 => Hash::Sha384,
        -36 => Hash::Sha512,
        _ => return None,
    };
    let signed = cose::to_be_signed(message.protected, message.payload?);
    key.verify(Scheme::EcdsaFixed(hash), &signed, message.signature).ok()
}

/// A bare point, or a COSE_Key.
fn realm_key(bytes: &[u8]) -> Result<ForeignKey, VerifyError> {
    let invalid = VerifyError::KeyInvalid { why: "the realm's key" };
    if let Some(point) = bytes.strip_prefix(&[4]).filter(|point| point.len() == 96) {
        let (x, y) = point.split_at(48);
        return ForeignKey::from_point(x, y).map_err(|_| invalid);
    }
    let read = || {
        let mut decoder = Decoder::new(bytes);
        let (mut kty, mut x, mut y) = (None, None, None);
        for _ in 0..decoder.map()?.unwrap_or(0).min(8) {
            match decoder.i64()? {
                1 => kty = Some(decoder.i64()?),
                -2 => x = Some(decoder.bytes()?.to_vec()),
                -3 => y = Some(decoder.bytes()?.to_vec()),
                _ => decoder.skip()?,
            }
        }
        let whole = decoder.position() == bytes.len() && kty == Some(2);
        Ok::<_, minicbor::decode::Error>(x.zip(y).filter(|_| whole))
    };
    let (x, y) = read().ok().flatten().ok_or_else(|| invalid.clone())?;
    ForeignKey::from_point(&x, &y).map_err(|_| invalid)
}

fn hash(name: &str, bytes: &[u8]) -> Result<Vec<u8>, VerifyError> {
    match name {
        "sha-256" => Ok(sha256(bytes).0.to_vec()),
        "sha-384" => Ok(sha384(bytes).to_vec()),
        "sha-512" => Ok(sha512(bytes).to_vec()),
        _ => Err(malformed(&format!("the hash {name} is unknown"))),
    }
}

/// Encoded values by label. Labels that nobody here knows are ignored, as the profile says.
struct ClaimSet<'a>(BTreeMap<i64, &'a [u8]>);

impl<'a> ClaimSet<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        let mut decoder = Decoder::new(bytes);
        let decode = |error: minicbor::decode::Error| malformed(&error.to_string());
        let count = decoder.map().map_err(decode)?.filter(|count| *count <= CLAIMS_MAX);
        let count = count.ok_or_else(|| malformed("too many claims"))?;
        let mut claims = BTreeMap::new();
        for _ in 0..count {
            let label = match decoder.datatype().map_err(decode)? {
                Type::String => {
                    decoder.skip().map_err(decode)?;
                    None
                }
                _ => Some(decoder.i64().map_err(decode)?),
            };
            let start = decoder.position();
            decoder.skip().map_err(decode)?;
            let value = bytes.get(start..decoder.position()).unwrap_or_default();
            if let Some(label) = label
                && claims.insert(label, value).is_some()
            {
                return Err(VerifyError::DuplicateClaim { claim: label.to_string() });
            }
        }
        if decoder.position() == bytes.len() { Ok(Self(claims)) } else { Err(malformed("bytes after its claims")) }
    }

    fn has(&self, label: i64) -> bool {
        self.0.contains_key(&label)
    }

    fn value(&self, label: i64) -> Result<Decoder<'a>, VerifyError> {
        self.0.get(&label).map(|value| Decoder::new(value)).ok_or(VerifyError::ClaimMissing { claim: label })
    }

    fn bytes(&self, label: i64) -> Result<&'a [u8], VerifyError> {
        self.value(label)?.bytes().map_err(|error| malformed(&error.to_string()))
    }

    fn text(&self, label: i64) -> Result<&'a str, VerifyError> {
        self.value(label)?.str().map_err(|error| malformed(&error.to_string()))
    }

    fn lifecycle(&self) -> Result<u16, VerifyError> {
        self.value(LIFECYCLE)?.u16().map_err(|error| malformed(&error.to_string()))
    }

    /// The four measurements that a realm extends while it runs.
    fn byte_strings(&self, label: i64) -> Result<Vec<String>, VerifyError> {
        let mut decoder = self.value(label)?;
        let decode = |error: minicbor::decode::Error| malformed(&error.to_string());
        if decoder.array().map_err(decode)? != Some(4) {
            return Err(malformed("a realm has four extensible measurements"));
        }
        (0..4).map(|_| decoder.bytes().map(hex::encode).map_err(decode)).collect()
    }

    fn components(&self) -> Result<Vec<CcaComponent>, VerifyError> {
        let mut decoder = self.value(COMPONENTS)?;
        let mut read = || -> Result<Vec<CcaComponent>, minicbor::decode::Error> {
            let count = decoder.array()?.filter(|count| *count <= COMPONENTS_MAX);
            let count = count.ok_or_else(|| minicbor::decode::Error::message("too many components"))?;
            (0..count).map(|_| component(&mut decoder)).collect()
        };
        read().map_err(|error| malformed(&error.to_string()))
    }
}

fn component(decoder: &mut Decoder<'_>) -> Result<CcaComponent, minicbor::decode::Error> {
    let (mut signer, mut measurement) = (None, None);
    for _ in 0..decoder.map()?.unwrap_or(0).min(8) {
        match decoder.i64()? {
            2 => measurement = Some(hex::encode(decoder.bytes()?)),
            5 => signer = Some(hex::encode(decoder.bytes()?)),
            _ => decoder.skip()?,
        }
    }
    let both = signer.zip(measurement);
    let (signer, measurement) = both.ok_or_else(|| minicbor::decode::Error::message("a component lacks a field"))?;
    Ok(CcaComponent { signer, measurement })
}

fn malformed(why: &str) -> VerifyError {
    VerifyError::TokenMalformed { why: why.to_owned() }
}
