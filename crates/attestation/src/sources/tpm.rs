//! The few commands of TPM 2.0 (part 3) that a source needs. Integers are big-endian; the owner's authorisation is empty, as on Azure.

use std::collections::BTreeMap;

use super::{Devices, answer, device};
use crate::SourceError;
use crate::platforms::tpm::TpmQuote;

/// The kernel's resource manager: plain writes and reads.
pub const DEVICE: &str = "/dev/tpmrm0";

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const NV_DEFINE_SPACE: u32 = 0x0000_012a;
const NV_WRITE: u32 = 0x0000_0137;
const NV_READ: u32 = 0x0000_014e;
const QUOTE: u32 = 0x0000_0158;
const NV_READ_PUBLIC: u32 = 0x0000_0169;
const PCR_READ: u32 = 0x0000_017e;
const OWNER: u32 = 0x4000_0001;
const SHA256: u16 = 0x000b;
/// The key's own scheme.
const ALG_NULL: u16 = 0x0010;
const ECDSA: u16 = 0x0018;
const OWNER_MAY_WRITE_AND_READ: u32 = 1 << 1 | 1 << 17;
/// A password session with an empty password: its length, then handle, nonce, attributes, password.
const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
/// Every TPM reads so much of an index at once.
const CHUNK: u16 = 1024;
const PCRS: u8 = 24;
/// A quote may meet a PCR that is just being extended.
const ATTEMPTS_MAX: usize = 5;

/// The size of an NV index; `None` if there is no such index.
pub(super) fn nv_size(devices: &dyn Devices, index: u32) -> Result<Option<u16>, SourceError> {
    let answered = call(devices, NO_SESSIONS, NV_READ_PUBLIC, &index.to_be_bytes())?;
    let Ok(public) = answered else { return Ok(None) };
    // TPM2B_NV_PUBLIC: index, name algorithm, attributes, policy, size.
    let mut rest = Reader(&public);
    let mut public = Reader(rest.sized()?);
    public.take(4 + 2 + 4)?;
    public.sized()?;
    public.u16().map(Some)
}

pub(super) fn nv_read(devices: &dyn Devices, index: u32, size: u16) -> Result<Vec<u8>, SourceError> {
    let mut content = Vec::with_capacity(size.into());
    let mut offset = 0;
    while offset < size {
        let length = CHUNK.min(size - offset);
        let parameters = [
            &OWNER.to_be_bytes()[..],
            &index.to_be_bytes(),
            &EMPTY_PASSWORD,
            &length.to_be_bytes(),
            &offset.to_be_bytes(),
        ];
        let read = expect(call(devices, SESSIONS, NV_READ, &parameters.concat())?, "reading an NV index")?;
        let chunk = Reader(&read).sized()?;
        if chunk.len() != usize::from(length) {
            return Err(answer("the TPM read less than it was asked for"));
        }
        content.extend(chunk);
        offset += length;
    }
    Ok(content)
}

/// Writes an index, which is made if it is not there.
pub(super) fn nv_write(devices: &dyn Devices, index: u32, content: &[u8; 64]) -> Result<(), SourceError> {
    if nv_size(devices, index)?.is_none() {
        let public = [
            &index.to_be_bytes()[..],
            &SHA256.to_be_bytes(),
            &OWNER_MAY_WRITE_AND_READ.to_be_bytes(),
            &0u16.to_be_bytes(),
            &64u16.to_be_bytes(),
        ]
        .concat();
        let parameters = [&OWNER.to_be_bytes()[..], &EMPTY_PASSWORD, &0u16.to_be_bytes(), &sized(&public)].concat();
        expect(call(devices, SESSIONS, NV_DEFINE_SPACE, &parameters)?, "making an NV index")?;
    }
    let parameters =
        [&OWNER.to_be_bytes()[..], &index.to_be_bytes(), &EMPTY_PASSWORD, &sized(content), &0u16.to_be_bytes()];
    expect(call(devices, SESSIONS, NV_WRITE, &parameters.concat())?, "writing an NV index")?;
    Ok(())
}

/// A quote by the key at `handle` over all registers of the SHA-256 bank, with their values.
pub(super) fn quote(devices: &dyn Devices, handle: u32, extra_data: &[u8; 32]) -> Result<TpmQuote, SourceError> {
    let all = [0xff; PCRS as usize / 8];
    for _ in 0..ATTEMPTS_MAX {
        let pcrs = pcr_values(devices)?;
        let parameters =
            [&handle.to_be_bytes()[..], &EMPTY_PASSWORD, &sized(extra_data), &ALG_NULL.to_be_bytes(), &selection(&all)];
        let quoted = expect(call(devices, SESSIONS, QUOTE, &parameters.concat())?, "quoting")?;
        let mut rest = Reader(&quoted);
        let message = rest.sized()?.to_vec();
        let quote = TpmQuote { message, signature: rest.signature()?, pcrs };
        if quote.is_of_its_pcrs() {
            return Ok(quote);
        }
    }
    Err(answer("the TPM's registers keep changing"))
}

fn pcr_values(devices: &dyn Devices) -> Result<BTreeMap<u8, [u8; 32]>, SourceError> {
    let mut values = BTreeMap::new();
    while values.len() < usize::from(PCRS) {
        // A TPM answers with as many as it likes: ask for those that are missing.
        let missing: Vec<u8> = (0..PCRS).filter(|pcr| !values.contains_key(pcr)).collect();
        let answered = call(devices, NO_SESSIONS, PCR_READ, &selection(&bitmap(&missing)))?;
        let answered = expect(answered, "reading registers")?;
        let mut rest = Reader(&answered);
        rest.take(4 + 4 + 2)?;
        let [len] = rest.array()?;
        let map = rest.take(len.into())?.to_vec();
        let given =
            (0..PCRS).filter(|pcr| map.get(usize::from(pcr / 8)).is_some_and(|byte| byte >> (pcr % 8) & 1 == 1));
        let count = u32::from_be_bytes(rest.array()?);
        let before = values.len();
        for (pcr, _) in given.zip(0..count) {
            let value = rest.sized()?.try_into().map_err(|_| answer("a register has another size than SHA-256"))?;
            values.insert(pcr, value);
        }
        if values.len() == before {
            return Err(answer("the TPM has no SHA-256 bank"));
        }
    }
    Ok(values)
}

fn bitmap(pcrs: &[u8]) -> [u8; 3] {
    let mut map = [0; 3];
    for pcr in pcrs {
        if let Some(byte) = map.get_mut(usize::from(pcr / 8)) {
            *byte |= 1 << (pcr % 8);
        }
    }
    map
}

/// TPML_PCR_SELECTION of one bank.
fn selection(map: &[u8; 3]) -> Vec<u8> {
    [&1u32.to_be_bytes()[..], &SHA256.to_be_bytes(), &[3], map].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("what is sent to a TPM is short");
    [&len.to_be_bytes()[..], bytes].concat()
}

/// The answer's parameters, or the TPM's response code.
fn call(devices: &dyn Devices, tag: u16, code: u32, body: &[u8]) -> Result<Result<Vec<u8>, u32>, SourceError> {
    let size = u32::try_from(10 + body.len()).expect("what is sent to a TPM is short");
    let command = [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), body].concat();
    let answered = devices.tpm(&command).map_err(device(DEVICE.as_ref()))?;
    let mut rest = Reader(&answered);
    let tag = rest.u16()?;
    if u32::from_be_bytes(rest.array()?) as usize != answered.len() {
        return Err(answer("the TPM's answer is cut off"));
    }
    let code = u32::from_be_bytes(rest.array()?);
    if code != 0 {
        return Ok(Err(code));
    }
    if tag != SESSIONS {
        return Ok(Ok(rest.0.to_vec()));
    }
    let len = u32::from_be_bytes(rest.array()?) as usize;
    rest.take(len).map(|parameters| Ok(parameters.to_vec()))
}

fn expect(answered: Result<Vec<u8>, u32>, doing: &str) -> Result<Vec<u8>, SourceError> {
    answered.map_err(|code| answer(&format!("the TPM refuses {doing} with {code:#x}")))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], SourceError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| answer("the TPM's answer is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SourceError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| answer("the TPM's answer is cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, SourceError> {
        self.array().map(u16::from_be_bytes)
    }

    fn sized(&mut self) -> Result<&'a [u8], SourceError> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// TPMT_SIGNATURE: algorithm, hash, and one number for RSA or two for a curve.
    fn signature(&mut self) -> Result<Vec<u8>, SourceError> {
        let algorithm = self.u16()?;
        self.u16()?;
        if algorithm != ECDSA {
            return self.sized().map(<[u8]>::to_vec);
        }
        let padded = |number: &[u8]| [&vec![0; 32usize.saturating_sub(number.len())][..], number].concat();
        Ok([padded(self.sized()?), padded(self.sized()?)].concat())
    }
}
