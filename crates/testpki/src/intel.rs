//! An Intel that does not exist: its root, one processor, its collateral, and quotes.

use coco_attestation::collateral::{CollateralItem, SignedText};
use coco_attestation::{Anchors, Evidence, ReportData, Root, TeeKind};
use coco_crypto::{Hash, Scheme, sha256};
use serde_json::{Value, json};

use crate::certificate::{Issued, Spec};
use crate::der;
use crate::key::Key;

const SGX_EXTENSION: &str = "1.2.840.113741.1.13.1";
const VENDOR: &str = "939a7233f79c4ca9940a0db3957f0607";
const ECDSA: Scheme = Scheme::EcdsaFixed(Hash::Sha256);
const QE_SIGNER: [u8; 32] = [0x51; 32];
const QE_SVN: u16 = 8;
/// The serial number of a processor's certificate: revoked by naming it.
pub const PCK_SERIAL: u64 = 77;

pub struct Intel {
    pub root: Issued,
    pub pck_ca: Issued,
    pub tcb_signer: Issued,
    at: u64,
}

/// One platform: what its certificate says.
#[derive(Clone)]
pub struct Platform {
    pub instance: [u8; 16],
    pub fmspc: [u8; 6],
    /// Every component's version.
    pub svn: u8,
    pub serial: u64,
}

/// What the texts of Intel say at some time.
#[derive(Clone)]
pub struct Publication {
    pub at: u64,
    pub evaluation: u32,
    /// Component version from which a platform is up to date; below it and from 1 on it is out of date.
    pub up_to_date_from: u8,
    pub revoked_pcks: Vec<u64>,
    pub fmspc: [u8; 6],
}

/// What the guest is.
#[derive(Clone)]
pub enum Guest {
    Td { mrtd: [u8; 48], attributes: u64, version: u16 },
    Enclave { mrenclave: [u8; 32], mrsigner: [u8; 32], flags: u64 },
}

impl Intel {
    pub fn new(at: u64) -> Self {
        let (from, to) = (at - 86_400, at + 20 * 365 * 86_400);
        let root = Issued::root(&Spec::authority("TEST Intel SGX Root CA", from, to), Key::p256());
        let pck_ca =
            root.issue(&Spec { serial: 2, ..Spec::authority("Intel SGX PCK Platform CA", from, to) }, Key::p256());
        let tcb_signer =
            root.issue(&Spec { serial: 3, ..Spec::leaf("TEST Intel SGX TCB Signing", from, to) }, Key::p256());
        Self { root, pck_ca, tcb_signer, at }
    }

    pub fn trust(&self, anchors: &mut Anchors) {
        anchors.roots.entry(Root::Intel).or_default().insert(der::fingerprint(&self.root.der));
    }

    pub fn platform(&self, number: u8) -> Platform {
        Platform { instance: [number; 16], fmspc: [0x50, 0x80, 0x6f, 0, 0, 0], svn: 5, serial: PCK_SERIAL }
    }

    pub fn publication(&self, at: u64) -> Publication {
        let fmspc = self.platform(0).fmspc;
        Publication { at, evaluation: 17, up_to_date_from: 5, revoked_pcks: Vec::new(), fmspc }
    }

    /// Everything that both kinds of quote need.
    pub fn collateral(&self, publication: &Publication) -> Vec<CollateralItem> {
        let (at, until) = (publication.at, publication.at + 30 * 86_400);
        let chain = [self.pck_ca.pem(), self.root.pem()].concat();
        let revoked = &publication.revoked_pcks;
        let mut items = vec![
            CollateralItem::Crl { list: self.root.revoke(&[], at, until), root: Root::Intel, chain: self.root.pem() },
            CollateralItem::Crl { list: self.pck_ca.revoke(revoked, at, until), root: Root::Intel, chain },
        ];
        for (tdx, id, qe) in [(false, "SGX", "QE"), (true, "TDX", "TD_QE")] {
            items.push(CollateralItem::TcbInfo(self.sign_text(&tcb_info(publication, id, tdx))));
            items.push(CollateralItem::QeIdentity(self.sign_text(&qe_identity(publication, qe))));
        }
        items
    }

    pub fn sign_text(&self, text: &Value) -> SignedText {
        let text = text.to_string();
        let signature = self.tcb_signer.key.sign(ECDSA, text.as_bytes());
        SignedText { text, signature, chain: [self.tcb_signer.pem(), self.root.pem()].concat() }
    }

    pub fn mint(&self, platform: &Platform, guest: &Guest, report_data: &ReportData) -> Evidence {
        self.mint_changed(platform, guest, report_data, |_| {})
    }

    /// The same, of a guest whose report was changed before it was signed.
    pub fn mint_changed(
        &self,
        platform: &Platform,
        guest: &Guest,
        report_data: &ReportData,
        change: impl Fn(&mut Vec<u8>),
    ) -> Evidence {
        let (kind, version, tee) = match guest {
            Guest::Td { version, .. } => (TeeKind::Tdx, *version, 0x81u32),
            Guest::Enclave { .. } => (TeeKind::Sgx, 3, 0),
        };
        let mut quote = [&version.to_le_bytes()[..], &2u16.to_le_bytes(), &tee.to_le_bytes(), &[0; 4]].concat();
        quote.extend(hex::decode(VENDOR).expect("the vendor's id is hex"));
        quote.extend([0; 20]);
        let mut body = body(guest, platform.svn, report_data);
        change(&mut body);
        if version == 5 {
            quote.extend(3u16.to_le_bytes());
            quote.extend((body.len() as u32).to_le_bytes());
        }
        quote.extend(body);
        let pck = self.pck_ca.issue(&pck_spec(platform, self.at), Key::p256());
        let attestation_key = Key::p256();
        let authentication = [0x0a; 32];
        let bound = sha256(&[&attestation_key.coordinates()[..], &authentication].concat());
        let qe_report = enclave_report(&[0x77; 32], &QE_SIGNER, 0x15, 2, QE_SVN, &[&bound.0[..], &[0; 32]].concat());
        let chain = [pck.pem(), self.pck_ca.pem(), self.root.pem()].concat();
        let mut certification = qe_report.clone();
        certification.extend(pck.key.sign(ECDSA, &qe_report));
        certification.extend(32u16.to_le_bytes());
        certification.extend(authentication);
        certification.extend(5u16.to_le_bytes());
        certification.extend((chain.len() as u32).to_le_bytes());
        certification.extend(chain.as_bytes());
        let mut signature = attestation_key.sign(ECDSA, &quote);
        signature.extend(attestation_key.coordinates());
        if version > 3 {
            signature.extend(6u16.to_le_bytes());
            signature.extend((certification.len() as u32).to_le_bytes());
        }
        signature.extend(certification);
        quote.extend((signature.len() as u32).to_le_bytes());
        quote.extend(signature);
        Evidence::bare(kind, quote)
    }
}

fn body(guest: &Guest, svn: u8, report_data: &ReportData) -> Vec<u8> {
    match guest {
        Guest::Td { mrtd, attributes, version } => {
            let mut body = vec![0; if *version == 5 { 648 } else { 584 }];
            let mut put = |at: usize, bytes: &[u8]| body[at..at + bytes.len()].copy_from_slice(bytes);
            // Module version 0: its identity is the plain `tdxModule`.
            put(0, &[svn, 0, svn]);
            put(16, &[0x3a; 48]);
            put(120, &attributes.to_le_bytes());
            put(128, &0xe7u64.to_le_bytes());
            put(136, mrtd);
            put(520, &report_data.0);
            if *version == 5 {
                put(584, &[svn, 0, svn]);
            }
            body
        }
        Guest::Enclave { mrenclave, mrsigner, flags } => {
            enclave_report(mrenclave, mrsigner, *flags, 1, 3, &report_data.0)
        }
    }
}

fn enclave_report(
    mrenclave: &[u8; 32],
    mrsigner: &[u8; 32],
    flags: u64,
    prod_id: u16,
    svn: u16,
    report_data: &[u8],
) -> Vec<u8> {
    let mut report = vec![0; 384];
    let mut put = |at: usize, bytes: &[u8]| report[at..at + bytes.len()].copy_from_slice(bytes);
    put(48, &flags.to_le_bytes());
    put(56, &0xe7u64.to_le_bytes());
    put(64, mrenclave);
    put(128, mrsigner);
    put(256, &prod_id.to_le_bytes());
    put(258, &svn.to_le_bytes());
    put(320, report_data);
    report
}

fn pck_spec(platform: &Platform, at: u64) -> Spec {
    let id = |suffix: &str| der::oid(&format!("{SGX_EXTENSION}.{suffix}"));
    let entry = |suffix: &str, value: &[u8]| der::sequence(&[&id(suffix), value]);
    let mut tcb = Vec::new();
    for component in 1..=16 {
        tcb.extend(entry(&format!("2.{component}"), &der::byte(platform.svn)));
    }
    tcb.extend(entry("2.17", &der::byte(13)));
    tcb.extend(entry("2.18", &der::octet_string(&[platform.svn; 16])));
    let configuration = ["7.1", "7.2", "7.3"].map(|suffix| entry(suffix, &der::boolean(suffix != "7.2"))).concat();
    let entries = [
        entry("1", &der::octet_string(&[9; 16])),
        entry("2", &der::tlv(0x30, &tcb)),
        entry("3", &der::octet_string(&[0, 0])),
        entry("4", &der::octet_string(&platform.fmspc)),
        entry("5", &der::tlv(0x0a, &[1])),
        entry("6", &der::octet_string(&platform.instance)),
        entry("7", &der::tlv(0x30, &configuration)),
    ]
    .concat();
    let spec = Spec {
        serial: platform.serial,
        ..Spec::leaf("TEST Intel SGX PCK Certificate", at - 3600, at + 7 * 365 * 86_400)
    };
    spec.with(SGX_EXTENSION, der::tlv(0x30, &entries))
}

fn tcb_info(publication: &Publication, id: &str, tdx: bool) -> Value {
    let level = |svn: u8, status: &str| {
        let components: Vec<Value> = (0..16).map(|_| json!({ "svn": svn })).collect();
        let mut tcb = json!({ "sgxtcbcomponents": components, "pcesvn": 13 });
        if tdx {
            let required = |i: usize| if i == 0 || i == 2 { svn } else { 0 };
            tcb["tdxtcbcomponents"] = (0..16).map(|i| json!({ "svn": required(i) })).collect();
        }
        json!({ "tcb": tcb, "tcbDate": der::rfc3339(publication.at), "tcbStatus": status })
    };
    let mut info = json!({
        "id": id,
        "version": 3,
        "issueDate": der::rfc3339(publication.at),
        "nextUpdate": der::rfc3339(publication.at + 30 * 86_400),
        "fmspc": hex::encode_upper(publication.fmspc),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": publication.evaluation,
        "tcbLevels": [level(publication.up_to_date_from, "UpToDate"), level(1, "OutOfDate")],
    });
    if tdx {
        info["tdxModule"] = json!({
            "mrsigner": "00".repeat(48), "attributes": "00".repeat(8), "attributesMask": "FF".repeat(8),
        });
    }
    info
}

fn qe_identity(publication: &Publication, id: &str) -> Value {
    json!({
        "id": id,
        "version": 2,
        "issueDate": der::rfc3339(publication.at),
        "nextUpdate": der::rfc3339(publication.at + 30 * 86_400),
        "tcbEvaluationDataNumber": publication.evaluation,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "15000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": hex::encode_upper(QE_SIGNER),
        "isvprodid": 2,
        "tcbLevels": [{ "tcb": { "isvsvn": 8 }, "tcbDate": der::rfc3339(publication.at), "tcbStatus": "UpToDate" }],
    })
}
