//! An Arm machine that does not exist: its platform key, and tokens of the newer profile.

use coco_attestation::{Anchors, CcaAnchor, CcaComponent, Evidence, ReportData, TeeKind};
use coco_crypto::{Hash, Scheme, cose, sha256};
use minicbor::Encoder;
use minicbor::data::Tag;

use crate::key::Key;

pub struct Arm {
    platform: Key,
    instance: [u8; 33],
}

impl Arm {
    pub fn new(number: u8) -> Self {
        let mut instance = [number; 33];
        instance[0] = 1;
        Self { platform: Key::p384(), instance }
    }

    pub fn trust(&self, anchors: &mut Anchors) {
        let anchor = CcaAnchor { implementation_id: hex::encode([7; 32]), key: hex::encode(self.platform.spki()) };
        anchors.cca.insert(hex::encode(self.instance), anchor);
    }

    /// The one firmware component that tokens name.
    pub fn component(&self) -> CcaComponent {
        CcaComponent { signer: hex::encode([8; 32]), measurement: hex::encode([9; 32]) }
    }

    pub fn mint(&self, rim: [u8; 32], lifecycle: u16, report_data: &ReportData) -> Evidence {
        let ok = "a vector takes any bytes";
        let realm_key = Key::p384();
        let point = [&[4][..], &realm_key.coordinates()].concat();
        let mut realm = Vec::new();
        let mut claims = Encoder::new(&mut realm);
        claims.map(8).expect(ok).i64(265).expect(ok).str("tag:arm.com,2023:realm#1.0.0").expect(ok);
        claims.i64(10).expect(ok).bytes(&report_data.0).expect(ok);
        claims.i64(44235).expect(ok).bytes(&[0; 64]).expect(ok).i64(44236).expect(ok).str("sha-256").expect(ok);
        claims.i64(44237).expect(ok).bytes(&point).expect(ok).i64(44238).expect(ok).bytes(&rim).expect(ok);
        claims.i64(44239).expect(ok).array(4).expect(ok);
        for _ in 0..4 {
            claims.bytes(&[0; 32]).expect(ok);
        }
        claims.i64(44240).expect(ok).str("sha-256").expect(ok);
        let mut platform = Vec::new();
        let mut claims = Encoder::new(&mut platform);
        claims.map(7).expect(ok).i64(265).expect(ok).str("tag:arm.com,2023:cca_platform#1.0.0").expect(ok);
        claims.i64(10).expect(ok).bytes(&sha256(&point).0).expect(ok);
        claims.i64(2396).expect(ok).bytes(&[7; 32]).expect(ok).i64(256).expect(ok).bytes(&self.instance).expect(ok);
        claims.i64(2395).expect(ok).u16(lifecycle).expect(ok).i64(2401).expect(ok).bytes(&[1]).expect(ok);
        claims.i64(2399).expect(ok).array(1).expect(ok).map(2).expect(ok);
        claims.i64(2).expect(ok).bytes(&[9; 32]).expect(ok).i64(5).expect(ok).bytes(&[8; 32]).expect(ok);
        let mut raw = Vec::new();
        let mut token = Encoder::new(&mut raw);
        token.tag(Tag::new(399)).expect(ok).map(2).expect(ok);
        token.i64(44234).expect(ok).bytes(&sign1(&self.platform, &platform)).expect(ok);
        token.i64(44241).expect(ok).bytes(&sign1(&realm_key, &realm)).expect(ok);
        Evidence::bare(TeeKind::Cca, raw)
    }
}

fn sign1(key: &Key, payload: &[u8]) -> Vec<u8> {
    let protected = [0xa1, 0x01, 0x38, 0x22];
    let signature = key.sign(Scheme::EcdsaFixed(Hash::Sha384), &cose::to_be_signed(&protected, payload));
    cose::Sign1 { protected: &protected, unprotected: &[0xa0], payload: Some(payload), signature: &signature }.encode()
}
