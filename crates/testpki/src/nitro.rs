//! A cloud whose hypervisor signs enclaves' documents.

use coco_attestation::{Anchors, Evidence, ReportData, Root, TeeKind};
use coco_crypto::{Hash, Scheme, cose};
use minicbor::Encoder;

use crate::certificate::{Issued, Spec};
use crate::der;
use crate::key::Key;

pub struct Nitro {
    pub root: Issued,
    zone: Issued,
}

impl Nitro {
    pub fn new(at: u64) -> Self {
        let (from, to) = (at - 86_400, at + 20 * 365 * 86_400);
        let root = Issued::root(&Spec::authority("TEST aws.nitro-enclaves", from, to), Key::p384());
        let zone = root.issue(&Spec { serial: 2, ..Spec::authority("TEST zone", from, to) }, Key::p384());
        Self { root, zone }
    }

    pub fn trust(&self, anchors: &mut Anchors) {
        anchors.roots.entry(Root::AwsNitro).or_default().insert(der::fingerprint(&self.root.der));
    }

    /// A document of `at`, whose leaf lives three hours. `image` is PCR 0; all zeros mean debug mode.
    pub fn mint(&self, image: [u8; 48], report_data: &ReportData, at: u64) -> Evidence {
        self.mint_stamped(image, report_data, at, at * 1000)
    }

    /// The same, that says another time.
    pub fn mint_stamped(&self, image: [u8; 48], report_data: &ReportData, at: u64, timestamp_ms: u64) -> Evidence {
        let leaf = self.zone.issue(&Spec::leaf("TEST enclave", at - 1, at + 3 * 3600), Key::p384());
        let ok = "a vector takes any bytes";
        let mut payload = Vec::new();
        let mut document = Encoder::new(&mut payload);
        document.map(9).expect(ok).str("module_id").expect(ok).str("i-test-enc").expect(ok);
        document.str("digest").expect(ok).str("SHA384").expect(ok);
        document.str("timestamp").expect(ok).u64(timestamp_ms).expect(ok);
        document.str("pcrs").expect(ok).map(3).expect(ok);
        for index in 0..3 {
            document.u8(index).expect(ok).bytes(&image).expect(ok);
        }
        document.str("certificate").expect(ok).bytes(&leaf.der).expect(ok);
        document.str("cabundle").expect(ok).array(2).expect(ok);
        document.bytes(&self.root.der).expect(ok).bytes(&self.zone.der).expect(ok);
        document.str("public_key").expect(ok).null().expect(ok);
        document.str("user_data").expect(ok).bytes(&report_data.0).expect(ok);
        document.str("nonce").expect(ok).null().expect(ok);
        let protected = [0xa1, 0x01, 0x38, 0x22];
        let signature = leaf.key.sign(Scheme::EcdsaFixed(Hash::Sha384), &cose::to_be_signed(&protected, &payload));
        let message =
            cose::Sign1 { protected: &protected, unprotected: &[0xa0], payload: Some(&payload), signature: &signature };
        // Untagged, as the device gives it.
        Evidence::bare(TeeKind::Nitro, message.encode()[1..].to_vec())
    }
}
