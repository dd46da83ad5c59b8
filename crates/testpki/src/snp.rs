//! An AMD that does not exist, and a cloud that endorses utility VMs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_attestation::collateral::CollateralItem;
use coco_attestation::{Anchors, Aux, Evidence, ReportData, Root, SnpTcb, TeeKind};
use coco_crypto::{Hash, Scheme, cose, sha256};
use minicbor::Encoder;

use crate::certificate::{Issued, Spec};
use crate::der;
use crate::key::Key;

const PS384: i64 = -38;
const PREFIX: &str = "1.3.6.1.4.1.3704.1";
const USAGE: &str = "1.3.6.1.4.1.311.76.59.1.2";

/// The chain of one product, and of one cloud's utility VMs.
pub struct Amd {
    pub product: Product,
    pub ark: Issued,
    pub ask: Issued,
    pub asvk: Issued,
    pub uvm: Endorser,
    at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Product {
    Milan,
    Genoa,
    Turin,
}

/// A cloud's chain for utility VMs.
pub struct Endorser {
    pub root: Issued,
    pub leaf: Issued,
    pub did: String,
    /// The signature is always this algorithm's; a header may say otherwise.
    pub algorithm: i64,
}

/// One report, before it is signed.
#[derive(Clone)]
pub struct Report {
    pub version: u32,
    pub policy: u64,
    pub vmpl: u32,
    pub key_flags: u32,
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub tcb: SnpTcb,
    /// What the certificate says; differs only to be refused.
    pub certified_tcb: SnpTcb,
    pub chip: [u8; 64],
    /// What the certificate says.
    pub certified_chip: [u8; 64],
    pub cpuid: [u8; 3],
    /// A loaded key of this cloud signs, instead of the chip's.
    pub csp: Option<String>,
    pub not_after: Option<u64>,
}

impl Product {
    pub fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    fn root(self) -> Root {
        match self {
            Self::Milan => Root::AmdMilan,
            Self::Genoa => Root::AmdGenoa,
            Self::Turin => Root::AmdTurin,
        }
    }

    fn cpuid(self) -> [u8; 3] {
        match self {
            Self::Milan => [0x19, 0x01, 1],
            Self::Genoa => [0x19, 0x11, 1],
            Self::Turin => [0x1a, 0x02, 1],
        }
    }
}

impl Amd {
    pub fn new(product: Product, at: u64) -> Self {
        let (from, to) = (at - 86_400, at + 20 * 365 * 86_400);
        let spec = |name: &str| Spec::authority(&format!("TEST {name}-{}", product.name()), from, to);
        let ark = Issued::root(&spec("ARK"), Key::rsa());
        let ask = ark.issue(&Spec { serial: 11, ..spec("SEV") }, Key::rsa());
        let asvk = ark.issue(&Spec { serial: 12, ..spec("SEV-VLEK") }, Key::rsa());
        Self { product, ark, ask, asvk, uvm: Endorser::new(at), at }
    }

    pub fn trust(&self, anchors: &mut Anchors) {
        anchors.roots.entry(self.product.root()).or_default().insert(der::fingerprint(&self.ark.der));
    }

    /// AMD's list of authorities that it took back.
    pub fn revocations(&self, serials: &[u64], at: u64) -> CollateralItem {
        CollateralItem::Crl {
            list: self.ark.revoke(serials, at, at + 30 * 86_400),
            root: self.product.root(),
            chain: self.ark.pem(),
        }
    }

    /// A report that nothing speaks against.
    pub fn report(&self, measurement: [u8; 48], chip: u8) -> Report {
        let turin = self.product == Product::Turin;
        let mut id = [0; 64];
        id[..if turin { 8 } else { 64 }].fill(chip);
        let tcb = SnpTcb { fmc: u8::from(turin), boot_loader: 4, tee: 0, snp: 24, microcode: 219 };
        Report {
            version: 3,
            policy: 0x30000,
            vmpl: 0,
            key_flags: 0,
            measurement,
            host_data: [0; 32],
            tcb,
            certified_tcb: tcb,
            chip: id,
            certified_chip: id,
            cpuid: self.product.cpuid(),
            csp: None,
            not_after: None,
        }
    }

    pub fn mint(&self, report: &Report, report_data: &ReportData) -> Evidence {
        let leaf = self.leaf(report);
        let mut raw = self.unsigned(report, report_data);
        let signature = leaf.key.sign(Scheme::EcdsaFixed(Hash::Sha384), &raw[..0x2a0]);
        for (half, start) in signature.chunks_exact(48).zip([0x2a0, 0x2a0 + 72]) {
            for (i, byte) in half.iter().rev().enumerate() {
                raw[start + i] = *byte;
            }
        }
        let authority = if report.csp.is_some() { &self.asvk } else { &self.ask };
        let certificates = [leaf.pem(), authority.pem(), self.ark.pem()].concat();
        Evidence::bare(TeeKind::SevSnp, raw).with(Aux::Certificates, certificates.into_bytes())
    }

    fn tcb_bytes(&self, tcb: &SnpTcb) -> [u8; 8] {
        match self.product {
            Product::Turin => [tcb.fmc, tcb.boot_loader, tcb.tee, tcb.snp, 0, 0, 0, tcb.microcode],
            _ => [tcb.boot_loader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode],
        }
    }

    fn unsigned(&self, report: &Report, report_data: &ReportData) -> Vec<u8> {
        let mut raw = vec![0; 1184];
        let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
        let tcb = self.tcb_bytes(&report.tcb);
        put(0, &report.version.to_le_bytes());
        put(0x008, &report.policy.to_le_bytes());
        put(0x030, &report.vmpl.to_le_bytes());
        put(0x034, &1u32.to_le_bytes());
        let vlek = u32::from(report.csp.is_some()) << 2;
        put(0x048, &(report.key_flags | vlek).to_le_bytes());
        put(0x050, &report_data.0);
        put(0x090, &report.measurement);
        put(0x0c0, &report.host_data);
        put(0x160, &[0xff; 32]);
        [0x038, 0x180, 0x1e0, 0x1f0].into_iter().for_each(|at| put(at, &tcb));
        if report.version > 2 {
            put(0x188, &report.cpuid);
        }
        if report.csp.is_none() {
            put(0x1a0, &report.chip);
        }
        raw
    }

    fn leaf(&self, report: &Report) -> Issued {
        let ia5 = |text: &str| der::tlv(0x16, text.as_bytes());
        let tcb = &report.certified_tcb;
        let name = if report.csp.is_some() { "TEST SEV-VLEK" } else { "TEST SEV-VCEK" };
        let not_after = report.not_after.unwrap_or(self.at + 7 * 365 * 86_400);
        let mut spec = Spec { serial: 0, ..Spec::leaf(name, self.at - 3600, not_after) }
            .with(&format!("{PREFIX}.2"), ia5(self.product.name()))
            .with(&format!("{PREFIX}.3.1"), der::byte(tcb.boot_loader))
            .with(&format!("{PREFIX}.3.2"), der::byte(tcb.tee))
            .with(&format!("{PREFIX}.3.3"), der::byte(tcb.snp))
            .with(&format!("{PREFIX}.3.8"), der::byte(tcb.microcode));
        if self.product == Product::Turin {
            spec = spec.with(&format!("{PREFIX}.3.9"), der::byte(tcb.fmc));
        }
        match &report.csp {
            Some(csp) => self.asvk.issue(&spec.with(&format!("{PREFIX}.5"), ia5(csp)), Key::p384()),
            None => {
                let len = if self.product == Product::Turin { 8 } else { 64 };
                let spec = spec.with(&format!("{PREFIX}.4"), report.certified_chip[..len].to_vec());
                self.ask.issue(&spec, Key::p384())
            }
        }
    }
}

impl Endorser {
    fn new(at: u64) -> Self {
        let (from, to) = (at - 400 * 86_400, at + 400 * 86_400);
        let root = Issued::root(&Spec::authority("TEST UVM root", from, to), Key::rsa());
        let usage = der::sequence(&[&der::oid(USAGE)]);
        let leaf = root.issue(&Spec::leaf("TEST UVM signer", from, to).with("2.5.29.37", usage), Key::rsa());
        let fingerprint = URL_SAFE_NO_PAD.encode(sha256(&root.der).0);
        Self { root, leaf, algorithm: PS384, did: format!("did:x509:0:sha256:{fingerprint}::eku:{USAGE}") }
    }

    /// A word for a measurement.
    pub fn endorse(&self, measurement: &[u8; 48], feed: &str, svn: u64, signed_at: u64) -> Vec<u8> {
        let ok = "a vector takes any bytes";
        let mut protected = Vec::new();
        let mut header = Encoder::new(&mut protected);
        header.map(6).expect(ok).u8(1).expect(ok).i64(self.algorithm).expect(ok);
        header.u8(3).expect(ok).str("application/json").expect(ok);
        header.u8(33).expect(ok).array(2).expect(ok);
        header.bytes(&self.leaf.der).expect(ok).bytes(&self.root.der).expect(ok);
        header.str("iss").expect(ok).str(&self.did).expect(ok).str("feed").expect(ok).str(feed).expect(ok);
        header.str("signingtime").expect(ok).tag(minicbor::data::Tag::new(1)).expect(ok).u64(signed_at).expect(ok);
        let payload = serde_json::json!({
            "x-ms-sevsnpvm-guestsvn": svn.to_string(),
            "x-ms-sevsnpvm-launchmeasurement": hex::encode(measurement),
        });
        let payload = payload.to_string().into_bytes();
        let signed = cose::to_be_signed(&protected, &payload);
        let signature = self.leaf.key.sign(Scheme::RsaPss(Hash::Sha384), &signed);
        let message =
            cose::Sign1 { protected: &protected, unprotected: &[0xa0], payload: Some(&payload), signature: &signature };
        message.encode()
    }
}
