//! A machine's measured boot log (TCG PC Client Platform Firmware Profile, "crypto agile" form), with the tags of Windows (wbcl.h).
//!
//! The log is the host's text until its events lead to the quoted PCR values, and an event's content counts only if its digest is
//! that content's. Of what Windows tags, only what its loader measured counts: that ends each register with a separator before anything else runs, and
//! whoever administers the running machine extends behind it as he likes.

use std::collections::{BTreeMap, BTreeSet};

use coco_crypto::{ForeignKey, sha256};

use crate::VerifyError;

const ALG_SHA256: u16 = 0x000b;
const EV_NO_ACTION: u32 = 3;
const EV_SEPARATOR: u32 = 4;
const EV_EVENT_TAG: u32 = 6;
/// What Windows' loader ends its measurements with.
const SEPARATOR: &[u8] = b"WBCL";
/// An event that extends nothing and says from which locality the firmware started: PCR 0 begins with that number.
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";
/// Where Windows puts its tagged events.
const TAGGED_PCRS: [u32; 2] = [12, 13];
const EVENTS_MAX: usize = 4_096;
const ALGORITHMS_MAX: u32 = 8;
const NESTING_MAX: usize = 4;
/// An event that holds others.
const TAG_AGGREGATION: u32 = 0x4000_0000;
/// The one that holds what a loader says of the boot (SIPAEVENT_TRUSTBOUNDARY).
const TAG_TRUST_BOUNDARY: u32 = 0x4001_0001;
const TAG_IDENTITY_SIGNING_KEY: u32 = 0x0005_0023;
/// Boot settings that policies name: the tag's low bits in hex are their name.
const SETTINGS: [u32; 6] = [0x0005_0012, 0x000a_0007, 0x0004_0001, 0x0005_0001, 0x0005_0003, 0x0005_000d];

pub struct BootLog {
    /// PCR index and the digest that extends it.
    extends: Vec<(u8, [u8; 32])>,
    /// Of events whose digest covers them, in registers that the loader has ended.
    tagged: Vec<Tagged>,
    /// The same, with their register, of those that it has not ended yet.
    pending: Vec<(u32, Tagged)>,
    /// Registers behind their separator.
    ended: BTreeSet<u32>,
    locality: u8,
}

struct Tagged {
    tag: u32,
    content: Vec<u8>,
}

impl BootLog {
    pub fn parse(bytes: &[u8]) -> Result<Self, VerifyError> {
        let mut rest = Reader(bytes);
        let digest_len = header(&mut rest)?;
        let mut log =
            Self { extends: Vec::new(), tagged: Vec::new(), pending: Vec::new(), ended: BTreeSet::new(), locality: 0 };
        while !rest.0.is_empty() {
            if log.extends.len() == EVENTS_MAX {
                return Err(malformed("too many events"));
            }
            log.event(&mut rest, &digest_len)?;
        }
        Ok(log)
    }

    /// Extends each of these PCRs anew and compares with what was quoted.
    pub fn check_replay(&self, quoted: &BTreeMap<u8, [u8; 32]>) -> Result<(), VerifyError> {
        for (pcr, value) in quoted {
            let extends = self.extends.iter().filter(|(index, _)| index == pcr);
            let mut first = [0; 32];
            if *pcr == 0 {
                first[31] = self.locality;
            }
            let replayed = extends.fold(first, |value, (_, digest)| sha256(&[value, *digest].concat()).0);
            if replayed != *value {
                return Err(VerifyError::EventLogPcrMismatch { pcr: *pcr });
            }
        }
        Ok(())
    }

    /// What was measured into each of these PCRs, in order.
    pub fn measured(&self, pcrs: impl Fn(u8) -> bool) -> BTreeMap<u8, Vec<[u8; 32]>> {
        let mut measured: BTreeMap<u8, Vec<[u8; 32]>> = BTreeMap::new();
        for (pcr, digest) in self.extends.iter().filter(|(pcr, _)| pcrs(*pcr)) {
            measured.entry(*pcr).or_default().push(*digest);
        }
        measured
    }

    /// The one key with which the secure kernel signs reports.
    pub fn identity_signing_key(&self) -> Result<ForeignKey, VerifyError> {
        let keys = self.tagged.iter().filter(|tagged| tagged.tag == TAG_IDENTITY_SIGNING_KEY);
        let mut keys = keys.map(|tagged| &tagged.content);
        let key = keys.next().ok_or(VerifyError::IdksMissing)?;
        if keys.any(|other| other != key) {
            return Err(VerifyError::IdksAmbiguous);
        }
        rsa_key(key)
    }

    /// Each setting that occurs, by tag in hex.
    pub fn settings(&self) -> Result<BTreeMap<String, u64>, VerifyError> {
        let mut settings = BTreeMap::new();
        for Tagged { tag, content } in self.tagged.iter().filter(|tagged| SETTINGS.contains(&tagged.tag)) {
            let value = content.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            if settings.insert(format!("{tag:08x}"), value).is_some_and(|other| other != value) {
                return Err(malformed("a boot setting has two values"));
            }
        }
        Ok(settings)
    }

    fn event(&mut self, rest: &mut Reader<'_>, digest_len: &BTreeMap<u16, usize>) -> Result<(), VerifyError> {
        let (pcr, kind, count) = (rest.u32()?, rest.u32()?, rest.u32()?);
        if count > ALGORITHMS_MAX || pcr > 23 && kind != EV_NO_ACTION {
            return Err(malformed("an event's header"));
        }
        let mut digest = None;
        for _ in 0..count {
            let algorithm = rest.u16()?;
            let len = digest_len.get(&algorithm).ok_or_else(|| malformed("a digest of an unlisted kind"))?;
            let value = rest.take(*len)?;
            if algorithm == ALG_SHA256 {
                digest = value.try_into().ok();
            }
        }
        let len = rest.u32()? as usize;
        let content = rest.take(len)?;
        if kind == EV_NO_ACTION {
            if let Some([locality]) = content.strip_prefix(STARTUP_LOCALITY) {
                self.locality = *locality;
            }
            return Ok(());
        }
        let digest: [u8; 32] = digest.ok_or_else(|| malformed("an event without a SHA-256 digest"))?;
        self.extends.push((u8::try_from(pcr).map_err(|_| malformed("a PCR's index"))?, digest));
        if !TAGGED_PCRS.contains(&pcr) || self.ended.contains(&pcr) || sha256(content).0 != digest {
            return Ok(());
        }
        match kind {
            EV_SEPARATOR => self.end(pcr, content),
            EV_EVENT_TAG => self.tags(pcr, None, content, NESTING_MAX)?,
            _ => {}
        }
        Ok(())
    }

    /// Of a register that ends in any other way, nothing counts.
    fn end(&mut self, pcr: u32, content: &[u8]) {
        let is_windows = content == SEPARATOR;
        let (of_this, rest) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at == pcr);
        self.pending = rest;
        let of_this: Vec<(u32, Tagged)> = of_this;
        self.tagged.extend(of_this.into_iter().filter(|_| is_windows).map(|(_, tagged)| tagged));
        self.ended.insert(pcr);
    }

    /// `within`: the event that holds these.
    fn tags(&mut self, pcr: u32, within: Option<u32>, content: &[u8], depth: usize) -> Result<(), VerifyError> {
        let depth = depth.checked_sub(1).ok_or_else(|| malformed("events nest too deep"))?;
        let mut rest = Reader(content);
        while !rest.0.is_empty() {
            let (tag, len) = (rest.u32()?, rest.u32()? as usize);
            let value = rest.take(len)?;
            if tag & TAG_AGGREGATION != 0 {
                self.tags(pcr, Some(tag), value, depth)?;
            } else if within == Some(TAG_TRUST_BOUNDARY) && self.pending.len() < EVENTS_MAX {
                self.pending.push((pcr, Tagged { tag, content: value.to_vec() }));
            }
        }
        Ok(())
    }
}

/// The first event tells which digests follow, and how long each is.
fn header(rest: &mut Reader<'_>) -> Result<BTreeMap<u16, usize>, VerifyError> {
    let (_, kind) = (rest.u32()?, rest.u32()?);
    rest.take(20)?;
    let len = rest.u32()? as usize;
    let mut content = Reader(rest.take(len)?);
    if kind != EV_NO_ACTION || content.take(16)? != b"Spec ID Event03\0" {
        return Err(malformed("it is not of the crypto agile form"));
    }
    content.take(8)?;
    let count = content.u32()?;
    if count > ALGORITHMS_MAX {
        return Err(malformed("too many kinds of digest"));
    }
    let mut lengths = BTreeMap::new();
    for _ in 0..count {
        let (algorithm, len) = (content.u16()?, usize::from(content.u16()?));
        if algorithm == ALG_SHA256 && len != 32 {
            return Err(malformed("the length of SHA-256"));
        }
        lengths.insert(algorithm, len);
    }
    Ok(lengths)
}

/// Algorithm, bits, lengths of exponent and modulus, then both, big-endian.
fn rsa_key(bytes: &[u8]) -> Result<ForeignKey, VerifyError> {
    let mut rest = Reader(bytes);
    let (_, _) = (rest.u32()?, rest.u32()?);
    let (exponent_len, modulus_len) = (rest.u32()? as usize, rest.u32()? as usize);
    let (exponent, modulus) = (rest.take(exponent_len)?, rest.take(modulus_len)?);
    let key = ForeignKey::from_rsa(modulus, exponent);
    key.ok().filter(|_| rest.0.is_empty()).ok_or(VerifyError::KeyInvalid { why: "the identity signing key" })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], VerifyError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| malformed("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, VerifyError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(|| malformed("it is cut off"))?;
        self.0 = rest;
        Ok(u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Result<u32, VerifyError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(|| malformed("it is cut off"))?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }
}

fn malformed(why: &'static str) -> VerifyError {
    VerifyError::EventLogMalformed { why }
}
