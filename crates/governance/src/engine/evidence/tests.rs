use std::cell::RefCell;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_attestation::{Anchors, ReportData, Rules};
use coco_kv::Store;
use coco_testpki::snp::{Amd, Product as Minted};
use serde_json::{Value, json};

use super::*;
use crate::engine::{CONSTITUTION, Call, Facts, Role, call};

const AT: u64 = 1_790_000_000;
const CODE: [u8; 48] = [0xc0; 48];
const DATA: ReportData = ReportData([0x42; 64]);

const MODULE: &str = "
  const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const bytes = (text) => Uint8Array.from(text, (char) => char.charCodeAt(0)).buffer;
  export function test(given, body) {
    const [report, certificates, uvm] = given.map((part) => (part === null ? undefined : bytes(atob(part))));
    const shown = (value) => JSON.parse(JSON.stringify(value, (_, inner) => (inner instanceof ArrayBuffer ? hex(inner) : inner)));
    return JSON.stringify(shown(new Function('report', 'certificates', 'uvm', `return ${body}`)(report, certificates, uvm)));
  }
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const atob = (text) => {
    let [out, bits, count] = ['', 0, 0];
    for (const char of text.replace(/=+$/, '')) {
      [bits, count] = [(bits << 6) | ALPHABET.indexOf(char), count + 6];
      if (count >= 8) {
        count -= 8;
        out += String.fromCharCode((bits >> count) & 255);
      }
    }
    return out;
  };
";
const VERIFY: &str = "snp_attestation.verifySnpAttestation(report, certificates, uvm)";

fn asked(rules: &Rules, evidence: &Evidence, expression: &str) -> std::result::Result<Value, String> {
    let store = Store::new();
    let mut tx = store.begin();
    attestation::write_founding(&mut tx, rules, AT).unwrap();
    let (console, orders) = (RefCell::default(), RefCell::default());
    let world = World { tx: RefCell::new(tx), facts: Facts::default(), wall: None, console, orders };
    let part = |part: Option<&Vec<u8>>| part.map_or(Value::Null, |bytes| BASE64.encode(bytes).into());
    let beside = |aux| part(evidence.aux.get(&aux));
    let given = json!([part(Some(&evidence.raw)), beside(Aux::Certificates), beside(Aux::UvmEndorsement)]);
    let arguments = [given, json!(expression)];
    let call_ =
        Call { role: Role::Read, limits: CONSTITUTION, module: MODULE, function: "test", arguments: &arguments };
    let shown = call(&Rc::new(world), &Budget::new(5_000, None, 0), &call_, |_, value| value.get::<String>());
    shown.map(|shown| serde_json::from_str(&shown).unwrap()).map_err(|failure| failure.reason)
}

fn rules(amd: &Amd) -> Rules {
    let mut anchors = Anchors::vendors();
    amd.trust(&mut anchors);
    Rules { anchors, ..Rules::default() }
}

#[test]
fn a_genuine_report_is_shown_in_ccfs_form_and_another_is_refused() {
    for product in [Minted::Milan, Minted::Genoa, Minted::Turin] {
        let amd = Amd::new(product, AT);
        let evidence = amd.mint(&amd.report(CODE, 7), &DATA);
        let shown = asked(&rules(&amd), &evidence, VERIFY).unwrap();
        assert_eq!(shown.get("uvm_endorsements"), None);
        let report = &shown["attestation"];
        assert_eq!((&report["version"], &report["vmpl"], &report["signature_algo"]), (&json!(3), &json!(0), &json!(1)));
        assert_eq!(
            (&report["measurement"], &report["report_data"]),
            (&json!("c0".repeat(48)), &json!("42".repeat(64)))
        );
        assert_eq!(
            report["policy"],
            json!({"abi_minor": 0, "abi_major": 0, "smt": 1, "migrate_ma": 0, "debug": 0, "single_socket": 0})
        );
        let mut tcb = json!({"boot_loader": 4, "tee": 0, "snp": 24, "microcode": 219});
        if product == Minted::Turin {
            tcb["fmc"] = json!(1);
        }
        for name in ["platform_version", "reported_tcb", "committed_tcb", "launch_tcb"] {
            assert_eq!(report[name], tcb, "{name}");
        }
        assert_eq!(report["platform_info"], report["plaform_info"]);
        assert_eq!(report["flags"], json!({"author_key_en": 0, "mask_chip_key": 0, "signing_key": 0}));
        let family = if product == Minted::Turin { 0x1a } else { 0x19 };
        assert_eq!((&report["cpuid_fam_id"], &report["cpuid_step"]), (&json!(family), &json!(1)));
        assert_eq!(report["report_id_ma"], "ff".repeat(32));
        assert_eq!(report["signature"]["r"].as_str().unwrap().len(), 144);
        // Anybody's root, and a report that was changed.
        let refused = asked(&Rules::default(), &evidence, VERIFY).unwrap_err();
        assert!(refused.starts_with("RangeError: "), "{refused}");
        let mut changed = evidence.clone();
        changed.raw[0x90] ^= 1;
        assert!(asked(&rules(&amd), &changed, VERIFY).unwrap_err().contains("signature"));
        let bare = Evidence::bare(TeeKind::SevSnp, evidence.raw.clone()).with(Aux::Certificates, Vec::new());
        assert!(asked(&rules(&amd), &bare, VERIFY).unwrap_err().starts_with("RangeError: "));
        let short = Evidence { raw: evidence.raw[1..].to_vec(), ..evidence };
        assert!(asked(&rules(&amd), &short, VERIFY).unwrap_err().starts_with("RangeError: "));
    }
}

#[test]
fn debugging_is_shown_and_left_to_the_script() {
    let amd = Amd::new(Minted::Milan, AT);
    let report = coco_testpki::snp::Report { policy: 0xb_0100, ..amd.report(CODE, 7) };
    let shown = asked(&rules(&amd), &amd.mint(&report, &DATA), VERIFY).unwrap();
    let policy = &shown["attestation"]["policy"];
    assert_eq!((&policy["debug"], &policy["abi_major"]), (&json!(1), &json!(1)));
}

/// There is no clock that every replay of a decision could agree on.
#[test]
fn certificates_are_not_judged_by_a_clock() {
    let amd = Amd::new(Minted::Milan, AT);
    let report = coco_testpki::snp::Report { not_after: Some(AT), ..amd.report(CODE, 7) };
    asked(&rules(&amd), &amd.mint(&report, &DATA), VERIFY).unwrap();
}

#[test]
fn the_firmware_of_the_certificates_is_the_reported_one() {
    let amd = Amd::new(Minted::Milan, AT);
    let evidence = amd.mint(&amd.report(CODE, 7), &DATA);
    let with = |tcb: &str| {
        let expression = format!("snp_attestation.verifySnpAttestation(report, certificates, undefined, {tcb})");
        asked(&rules(&amd), &evidence, &expression)
    };
    for same in ["'db18000000000004'", "'DB18000000000004'", "undefined"] {
        with(same).unwrap();
    }
    for other in ["'db18000000000005'", "'0400000000000018db'", "''", "'+b18000000000004'", "7"] {
        assert!(with(other).unwrap_err().contains("is not the reported db18000000000004"), "{other}");
    }
}

#[test]
fn a_utility_vm_counts_if_who_endorses_it_is_known_or_voted_for() {
    let amd = Amd::new(Minted::Milan, AT);
    let uvm = amd.uvm.endorse(&CODE, "feed", 7, AT - 100);
    let evidence = amd.mint(&amd.report(CODE, 7), &DATA).with(Aux::UvmEndorsement, uvm);
    let mut voted = rules(&amd);
    assert!(asked(&voted, &evidence, VERIFY).unwrap_err().contains("is not known for that"));
    let endorser = Endorser { did: amd.uvm.did.clone(), feed: "feed".to_owned(), min_svn: 7, signed_after: 0 };
    voted.policy.sev_snp.endorsers = vec![endorser.clone()];
    let shown = asked(&voted, &evidence, VERIFY).unwrap();
    assert_eq!(shown["uvm_endorsements"], json!({"did": amd.uvm.did, "feed": "feed", "svn": "7"}));
    voted.policy.sev_snp.endorsers = vec![Endorser { min_svn: 8, ..endorser }];
    assert!(asked(&voted, &evidence, VERIFY).is_err());
    let another = amd.uvm.endorse(&[1; 48], "feed", 7, AT - 100);
    assert!(asked(&voted, &evidence.with(Aux::UvmEndorsement, another), VERIFY).is_err());
}

#[test]
fn wrong_arguments_are_refused() {
    let amd = Amd::new(Minted::Milan, AT);
    let evidence = amd.mint(&amd.report(CODE, 7), &DATA);
    for expression in [
        "snp_attestation.verifySnpAttestation(report)",
        "snp_attestation.verifySnpAttestation(report, certificates, uvm, undefined, 1)",
        "snp_attestation.verifySnpAttestation('text', certificates)",
        "snp_attestation.verifySnpAttestation(report, certificates, 'text')",
    ] {
        let refused = asked(&rules(&amd), &evidence, expression).unwrap_err();
        assert!(refused.starts_with("TypeError: verifySnpAttestation"), "{expression}: {refused}");
    }
}

/// Recorded by others on real machines; where that is not there, this says so and passes.
#[test]
fn reports_of_real_processors_verify_under_amds_own_roots() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/attestation/snp");
    if !folder.exists() {
        eprintln!("skipped: no recorded evidence at {}", folder.display());
        return;
    }
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    for (report, leaf, authorities, microcode) in [
        ("milan_attestation_report.bin", "milan_vcek.pem", "ask_ark_milan.pem", None),
        ("genoa_attestation_report.bin", "genoa_vcek.pem", "ask_ark_genoa.pem", None),
        ("aci_snp_report.bin", "aci_uvm_host_amd_certificate.pem", "ask_ark_milan.pem", None),
        ("trustee-test-vlek-report.bin", "trustee-test-vlek.der", "ask_ark_milan_vlek.pem", None),
        ("trustee-test-report.bin", "trustee-test-vcek.der", "ask_ark_milan.pem", Some(0x73)),
    ] {
        let leaf = match read(leaf) {
            der if leaf.ends_with(".der") => coco_crypto::encode_pem("CERTIFICATE", &der).into_bytes(),
            pem => pem,
        };
        let certificates = [leaf, read(authorities)].join(&b'\n');
        let evidence = Evidence::bare(TeeKind::SevSnp, read(report)).with(Aux::Certificates, certificates);
        let shown = asked(&Rules::default(), &evidence, VERIFY).unwrap_or_else(|why| panic!("{report}: {why}"));
        let attestation = &shown["attestation"];
        assert_eq!(attestation["measurement"].as_str().unwrap().len(), 96, "{report}");
        if let Some(microcode) = microcode {
            assert_eq!(attestation["reported_tcb"]["microcode"], microcode);
        }
    }
    // An old endorsement, of a version before those that CCF's nodes take.
    let certificates = [read("aci_uvm_host_amd_certificate.pem"), read("ask_ark_milan.pem")].join(&b'\n');
    let evidence = Evidence::bare(TeeKind::SevSnp, read("aci_snp_report.bin"))
        .with(Aux::Certificates, certificates)
        .with(Aux::UvmEndorsement, read("aci_body.uvm_reference_info.bin"));
    let refused = asked(&Rules::default(), &evidence, VERIFY).unwrap_err();
    assert!(refused.contains("ContainerPlat-AMD-UVM 22"), "{refused}");
}
