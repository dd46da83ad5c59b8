//! Arm CCA: synthetic tokens of another verifier's tests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_attestation::platforms::cca::{PlatformClaims, RealmClaims};
use coco_attestation::{CcaAnchor, Details, Evidence, TeeKind, Trust, VerifyError, examine};
use coco_crypto::ForeignKey;
use serde_json::Value;

use crate::recorded;

/// The anchors of a file; `None` where one of its keys is no key.
fn anchors(name: &str) -> Option<Trust> {
    let json: Value = serde_json::from_slice(&recorded(&format!("cca/{name}"))?).unwrap();
    let mut trust = Trust::default();
    for entry in json.as_array().unwrap() {
        let key = &entry["pkey"];
        let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        let key = ForeignKey::from_point(&number("x"), &number("y")).ok()?;
        let text = |name: &str| entry[name].as_str().unwrap().to_lowercase();
        let anchor = CcaAnchor { implementation_id: text("implementation-id"), key: hex::encode(key.spki_der()) };
        trust.anchors.cca.insert(text("instance-id"), anchor);
    }
    Some(trust)
}

fn judged(token: &str, anchors_in: &str) -> Result<coco_attestation::Claims, VerifyError> {
    let raw = recorded(&format!("cca/{token}")).unwrap();
    examine(&Evidence::bare(TeeKind::Cca, raw), &anchors(anchors_in).unwrap(), 0)
}

#[test]
fn tokens_of_both_profiles_verify_under_their_own_platform_s_key() {
    if recorded("cca/ta-tfa.json").is_none() {
        return;
    }
    for (token, anchors_in) in [
        ("cca-token-01.cbor", "ta-tfa.json"),
        ("cca-token-02.cbor", "ta-02-ok.json"),
        ("cca-token-draft-ffm-00.cbor", "ta-tfa.json"),
    ] {
        let claims = judged(token, anchors_in).unwrap_or_else(|error| panic!("{token}: {error}"));
        let Details::Cca(cca) = &claims.details else { panic!() };
        assert_eq!(cca.rems.len(), 4, "{token}");
    }
}

#[test]
fn other_keys_points_off_the_curve_and_a_false_binding_are_refused() {
    if recorded("cca/ta-tfa.json").is_none() {
        return;
    }
    let unknown = judged("cca-token-01.cbor", "ta-02-ok.json");
    assert!(matches!(unknown, Err(VerifyError::AnchorUnknown { .. })), "{unknown:?}");
    assert!(anchors("ta-02-bad.json").is_none());
    assert_eq!(judged("bug-33-repro.cbor", "ta-tfa.json"), Err(VerifyError::RealmBindingMismatch));
    for name in ["ta.json", "ta-02-ok.json"] {
        let mut swapped = anchors("ta-tfa.json").unwrap();
        let other = anchors(name).unwrap().anchors.cca.into_values().next().unwrap();
        for anchor in swapped.anchors.cca.values_mut() {
            anchor.key = other.key.clone();
        }
        let raw = recorded("cca/cca-token-01.cbor").unwrap();
        let wrong_key = examine(&Evidence::bare(TeeKind::Cca, raw), &swapped, 0);
        assert_eq!(wrong_key, Err(VerifyError::SignatureInvalid { what: "platform token" }), "{name}");
    }
    let json = |name: &str| serde_json::from_slice::<Value>(&recorded(&format!("cca/{name}")).unwrap()).unwrap();
    assert_eq!(json("ta-tfa.json")[0]["pkey"]["x"], json("cpak.json")["x"]);
}

#[test]
fn claims_without_a_signature_are_read_and_the_mandatory_ones_are_missed() {
    let Some(platform) = recorded("cca/platform-claims.cbor") else { return };
    let platform = PlatformClaims::decode(&platform).unwrap();
    assert_eq!(hex::encode(platform.implementation_id), hex::encode(recorded("cca/impl-id.bin").unwrap()));
    assert_eq!((platform.instance_id[1], platform.instance_id.len(), platform.lifecycle), (0x0b, 33, 0x3000));
    assert_eq!((platform.components.len(), recorded("cca/inst-id.bin").unwrap().len()), (2, 33));
    let realm = |name: &str| {
        let bytes = recorded(&format!("cca/{name}")).unwrap();
        RealmClaims::decode(&bytes).map(|realm| (realm.rim.to_vec(), realm.rems))
    };
    let plain = realm("realm-claims.cbor").unwrap();
    for name in ["realm-claims+spurious-numeric-key.cbor", "realm-claims+spurious-text-key.cbor"] {
        assert_eq!(realm(name).unwrap(), plain, "{name}");
    }
    assert_eq!(realm("realm-claims-missing-challenge.cbor"), Err(VerifyError::ClaimMissing { claim: 10 }));
}

#[test]
fn no_flipped_bit_of_a_token_passes() {
    let Some(raw) = recorded("cca/cca-token-01.cbor") else { return };
    let trust = anchors("ta-tfa.json").unwrap();
    for bit in 0..raw.len() * 8 {
        let mut flipped = raw.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let judged = examine(&Evidence::bare(TeeKind::Cca, flipped), &trust, 0);
        assert!(judged.is_err(), "bit {bit}");
    }
}
