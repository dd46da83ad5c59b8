//! A Windows machine that does not exist: a TPM with a certified key, its boot log, and reports of its secure kernel.

use coco_attestation::{Anchors, Aux, Evidence, ReportData, Root, TeeKind};
use coco_crypto::{Hash, Scheme, sha256};

use crate::certificate::{Issued, Spec};
use crate::der;
use crate::key::Key;
use crate::tpm::{self, BootLog};

const EV_SEPARATOR: u32 = 4;
const EV_EVENT_TAG: u32 = 6;
const AGGREGATION: u32 = 0x4001_0001;
const IDENTITY_SIGNING_KEY: u32 = 0x0005_0023;

pub struct Windows {
    pub root: Issued,
    pub ak: Issued,
    pub idks: Key,
}

/// What one report and the log behind it say.
#[derive(Clone)]
pub struct Report {
    pub unique_id: [u8; 32],
    pub author_id: [u8; 32],
    pub svn: u32,
    pub flags: u32,
    pub scheme: u32,
    /// Events of tag and value, before the key's.
    pub settings: Vec<(u32, u8)>,
    /// Of the key's event; two are ambiguous if they differ, none is missing.
    pub keys: usize,
    /// What holds the key's event.
    pub key_within: u32,
    /// Events like those before, extended by whoever runs the machine once it has booted.
    pub late_settings: Vec<(u32, u8)>,
    /// The keys' events too.
    pub late_keys: bool,
}

impl Windows {
    pub fn new(at: u64) -> Self {
        let (from, to) = (at - 86_400, at + 20 * 365 * 86_400);
        let root = Issued::root(&Spec::authority("TEST TPM vendor", from, to), Key::rsa());
        let ak = root.issue(&Spec::leaf("TEST attestation key", from, to), Key::rsa());
        Self { root, ak, idks: Key::rsa() }
    }

    pub fn trust(&self, anchors: &mut Anchors) {
        anchors.roots.entry(Root::Tpm).or_default().insert(der::fingerprint(&self.root.der));
    }

    pub fn report(&self, unique_id: [u8; 32]) -> Report {
        let settings = vec![(0x0005_0012, 1), (0x0005_0001, 0)];
        Report {
            unique_id,
            author_id: [2; 32],
            svn: 3,
            flags: 0,
            scheme: 1,
            settings,
            keys: 1,
            key_within: AGGREGATION,
            late_settings: Vec::new(),
            late_keys: false,
        }
    }

    pub fn mint(&self, report: &Report, report_data: &ReportData) -> Evidence {
        let log = self.log(report);
        let extra_data = sha256(&report_data.0).0;
        let quote = tpm::quote(&self.ak.key, &log.pcrs, &extra_data);
        Evidence::bare(TeeKind::Vbs, self.package(report, report_data))
            .with(Aux::Certificates, [self.ak.pem(), self.root.pem()].concat().into_bytes())
            .with(Aux::EventLog, log.bytes().to_vec())
            .with(Aux::TpmQuote, quote.encode())
    }

    /// What Windows' loader measures, the separator with which it ends, and what comes after it.
    fn log(&self, report: &Report) -> BootLog {
        let mut log = BootLog::default();
        log.event(0, 8, b"firmware");
        log.event(7, 0x8000_0001, b"secure boot");
        let setting = |log: &mut BootLog, (tag, value): &(u32, u8)| {
            log.event(12, EV_EVENT_TAG, &tpm::tagged(AGGREGATION, &tpm::tagged(*tag, &[*value])));
        };
        report.settings.iter().for_each(|one| setting(&mut log, one));
        if !report.late_keys {
            self.keys(&mut log, report);
        }
        for pcr in [12, 13] {
            log.event(pcr, EV_SEPARATOR, b"WBCL");
        }
        report.late_settings.iter().for_each(|one| setting(&mut log, one));
        if report.late_keys {
            self.keys(&mut log, report);
        }
        log
    }

    fn keys(&self, log: &mut BootLog, report: &Report) {
        let other = Key::rsa();
        for key in [&self.idks, &other].into_iter().take(report.keys) {
            let (modulus, exponent) = key.rsa_numbers();
            let content = [
                &1u32.to_le_bytes()[..],
                &2048u32.to_le_bytes(),
                &(exponent.len() as u32).to_le_bytes(),
                &(modulus.len() as u32).to_le_bytes(),
                &exponent,
                &modulus,
            ]
            .concat();
            log.event(12, EV_EVENT_TAG, &tpm::tagged(report.key_within, &tpm::tagged(IDENTITY_SIGNING_KEY, &content)));
        }
    }

    fn package(&self, report: &Report, report_data: &ReportData) -> Vec<u8> {
        let mut statement = vec![0; 224 + 108 + 8];
        let len = statement.len() as u32;
        let mut put = |at: usize, bytes: &[u8]| statement[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &len.to_le_bytes());
        put(4, &1u32.to_le_bytes());
        put(8, &report_data.0);
        put(104, &report.unique_id);
        put(136, &report.author_id);
        put(200, &report.svn.to_le_bytes());
        put(204, &5u32.to_le_bytes());
        put(208, &6u32.to_le_bytes());
        put(212, &report.flags.to_le_bytes());
        put(220, &0x10u32.to_le_bytes());
        // One module: the enclave's own image.
        put(224, &1u32.to_le_bytes());
        put(228, &116u32.to_le_bytes());
        put(232, &report.unique_id);
        put(264, &report.author_id);
        put(328, &report.svn.to_le_bytes());
        let name: Vec<u8> = "coco".encode_utf16().flat_map(u16::to_le_bytes).collect();
        put(332, &name);
        let signature = self.idks.sign(Scheme::RsaPss(Hash::Sha256), &statement);
        let size = (24 + statement.len() + signature.len()) as u32;
        let head = [size, 1, report.scheme, len, signature.len() as u32, 0].map(u32::to_le_bytes).concat();
        [head, statement, signature].concat()
    }
}
