//! A paravisor's virtual TPM: the commands that a guest sends for evidence, and nothing else. It is strict, since nothing else checks what
//! the product sends to a real one.

use crate::key::Key;
use crate::tpm;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const REPORT_INDEX: u32 = 0x0140_0001;
const USER_DATA_INDEX: u32 = 0x0140_0002;
const ATTESTATION_KEY: u32 = 0x8100_0003;
const OWNER: u32 = 0x4000_0001;
const RC_HANDLE: u32 = 0x18b;
const RC_NV_RANGE: u32 = 0x146;
const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
/// Registers in one answer, as real ones do.
const PCRS_PER_READ: usize = 8;

/// Makes the report that holds the guest's data, absent before the first.
type Report = Box<dyn Fn(Option<&[u8; 64]>) -> Vec<u8> + Send + Sync>;

pub struct Vtpm {
    pub key: Key,
    pub pcrs: std::collections::BTreeMap<u8, [u8; 32]>,
    pub report: Report,
    pub user_data: Option<[u8; 64]>,
    /// Whether the index for the guest's data was made.
    pub defined: bool,
    /// A register that another extends before so many quotes.
    pub extended_before_quotes: usize,
}

struct Command<'a>(&'a [u8]);

impl<'a> Command<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn sized(&mut self) -> &'a [u8] {
        let len = self.u16();
        self.take(len.into())
    }

    fn password(&mut self) {
        assert_eq!(self.take(13), EMPTY_PASSWORD, "a session with an empty password");
    }

    /// One SHA-256 bank.
    fn selection(&mut self) -> Vec<u8> {
        assert_eq!((self.u32(), self.u16(), self.take(1)), (1, 0x000b, &[3][..]));
        let map = self.take(3);
        (0..24).filter(|pcr| map[usize::from(pcr / 8)] >> (pcr % 8) & 1 == 1).collect()
    }
}

impl Vtpm {
    pub fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut command = Command(bytes);
        let tag = command.u16();
        assert_eq!(command.u32() as usize, bytes.len(), "a command says its size");
        let code = command.u32();
        assert_eq!(tag, if matches!(code, 0x169 | 0x17e) { NO_SESSIONS } else { SESSIONS });
        let answered = match code {
            0x169 => self.nv_read_public(command.u32()),
            0x12a => self.nv_define(&mut command),
            0x137 => self.nv_write(&mut command),
            0x14e => self.nv_read(&mut command),
            0x17e => Ok(self.pcr_read(&command.selection())),
            0x158 => Ok(self.quote(&mut command)),
            other => panic!("no source sends the command {other:#x}"),
        };
        assert!(command.0.is_empty(), "bytes after the command {code:#x}");
        let (code, body) = match answered {
            Err(code) => return [&NO_SESSIONS.to_be_bytes()[..], &10u32.to_be_bytes(), &code.to_be_bytes()].concat(),
            Ok(body) if tag == NO_SESSIONS => (0u32, body),
            // The parameters' size before them, an empty session after them.
            Ok(body) => (0, [&(body.len() as u32).to_be_bytes()[..], &body, &[0, 0, 1, 0, 0]].concat()),
        };
        let size = (10 + body.len()) as u32;
        [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), &body].concat()
    }

    fn report(&self) -> Vec<u8> {
        (self.report)(self.user_data.as_ref())
    }

    fn nv_read_public(&self, index: u32) -> Result<Vec<u8>, u32> {
        let size = match index {
            REPORT_INDEX => self.report().len() as u16,
            USER_DATA_INDEX if self.defined => 64,
            _ => return Err(RC_HANDLE),
        };
        let public = [&index.to_be_bytes()[..], &[0, 0x0b], &[0; 4], &[0, 0], &size.to_be_bytes()].concat();
        Ok([&(public.len() as u16).to_be_bytes()[..], &public, &[0, 2, 7, 7]].concat())
    }

    fn nv_define(&mut self, command: &mut Command<'_>) -> Result<Vec<u8>, u32> {
        assert_eq!(command.u32(), OWNER);
        command.password();
        assert!(command.sized().is_empty(), "no password of its own");
        let mut public = Command(command.sized());
        assert_eq!((public.u32(), public.u16(), public.u32()), (USER_DATA_INDEX, 0x000b, 1 << 1 | 1 << 17));
        assert_eq!((public.sized(), public.u16(), public.0), (&[][..], 64, &[][..]));
        self.defined = true;
        Ok(Vec::new())
    }

    fn nv_write(&mut self, command: &mut Command<'_>) -> Result<Vec<u8>, u32> {
        assert_eq!((command.u32(), command.u32()), (OWNER, USER_DATA_INDEX));
        command.password();
        let data = command.sized().try_into().expect("64 bytes");
        assert_eq!(command.u16(), 0, "from the beginning");
        self.user_data = self.defined.then_some(data);
        if self.defined { Ok(Vec::new()) } else { Err(RC_HANDLE) }
    }

    fn nv_read(&self, command: &mut Command<'_>) -> Result<Vec<u8>, u32> {
        assert_eq!((command.u32(), command.u32()), (OWNER, REPORT_INDEX));
        command.password();
        let (length, offset) = (usize::from(command.u16()), usize::from(command.u16()));
        let report = self.report();
        let chunk = report.get(offset..offset + length).ok_or(RC_NV_RANGE)?;
        Ok([&(chunk.len() as u16).to_be_bytes()[..], chunk].concat())
    }

    fn pcr_read(&self, selected: &[u8]) -> Vec<u8> {
        let given: Vec<u8> = selected.iter().copied().take(PCRS_PER_READ).collect();
        let mut map = [0u8; 3];
        given.iter().for_each(|pcr| map[usize::from(pcr / 8)] |= 1 << (pcr % 8));
        let values = given.iter().flat_map(|pcr| [&[0, 32][..], &self.pcrs[pcr]].concat());
        let head = [&[0, 0, 0, 5][..], &1u32.to_be_bytes(), &[0, 0x0b, 3], &map, &(given.len() as u32).to_be_bytes()];
        head.concat().into_iter().chain(values).collect()
    }

    fn quote(&mut self, command: &mut Command<'_>) -> Vec<u8> {
        assert_eq!(command.u32(), ATTESTATION_KEY);
        command.password();
        let extra_data = command.sized();
        assert_eq!(command.u16(), 0x0010, "the key's own scheme");
        assert_eq!(command.selection().len(), 24);
        if let Some(left) = self.extended_before_quotes.checked_sub(1) {
            self.extended_before_quotes = left;
            self.pcrs.insert(10, [left as u8; 32]);
        }
        let quote = tpm::quote(&self.key, &self.pcrs, extra_data);
        let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        // RSASSA with SHA-256.
        [sized(&quote.message), vec![0, 0x14, 0, 0x0b], sized(&quote.signature)].concat()
    }
}
