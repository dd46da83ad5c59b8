//! From a machine's devices to a verdict: what sources fetch is what the production verifiers accept.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use coco_attestation::sources::{Devices, detect};
use coco_attestation::{Aux, Details, EvidenceSource, ReportData, SourceError, TeeKind, Trust, verify};
use coco_testpki::azure::Azure;
use coco_testpki::intel::{Guest, Intel};
use coco_testpki::machine::Machine;
use coco_testpki::nitro::Nitro;
use coco_testpki::snp::{Amd, Product};
use coco_testpki::vtpm::Vtpm;

const AT: u64 = 1_790_000_000;
const DATA: ReportData = ReportData([0x42; 64]);
const CODE: [u8; 48] = [0xc0; 48];

fn source(machine: Machine) -> Box<dyn EvidenceSource> {
    detect(Arc::new(machine) as Arc<dyn Devices>).unwrap().expect("it offers a platform")
}

fn amd() -> (Arc<Amd>, Trust) {
    let amd = Amd::new(Product::Milan, AT);
    let mut trust = Trust::default();
    amd.trust(&mut trust.anchors);
    trust.collateral.insert(amd.revocations(&[], AT - 10)).unwrap();
    (Arc::new(amd), trust)
}

#[test]
fn an_enclave_of_nitro_fetches_its_document() {
    let nitro = Nitro::new(AT);
    let mut trust = Trust::default();
    nitro.trust(&mut trust.anchors);
    let mint = Box::new(move |data: &ReportData| nitro.mint(CODE, data, AT));
    let source = source(Machine::with_nsm(mint));
    let evidence = source.evidence(&DATA).unwrap();
    assert_eq!((source.kind(), evidence.kind), (TeeKind::Nitro, TeeKind::Nitro));
    verify(&evidence, &DATA, &trust, AT).unwrap();
}

#[test]
fn an_older_kernel_s_guest_device_gives_report_and_certificates() {
    let (amd, trust) = amd();
    let mint = Box::new(move |data: &ReportData| amd.mint(&amd.report(CODE, 1), data));
    let source = source(Machine::with_sev_guest(mint));
    verify(&source.evidence(&DATA).unwrap(), &DATA, &trust, AT).unwrap();
}

#[test]
fn a_trust_domain_and_an_enclave_have_their_quotes_made() {
    let intel = Arc::new(Intel::new(AT));
    let mut trust = Trust::default();
    intel.trust(&mut trust.anchors);
    for item in intel.collateral(&intel.publication(AT - 100)) {
        trust.collateral.insert(item).unwrap();
    }
    let quoted = |guest: Guest| {
        let intel = intel.clone();
        Box::new(move |data: &ReportData| intel.mint(&intel.platform(1), &guest, data))
    };
    let td = Guest::Td { mrtd: CODE, attributes: 1 << 28, version: 4 };
    let enclave = Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 5 };
    let machines = [
        (Machine::with_tsm("tdx_guest", quoted(td)), TeeKind::Tdx),
        (Machine::with_gramine(quoted(enclave)), TeeKind::Sgx),
    ];
    for (machine, kind) in machines {
        let source = source(machine);
        let evidence = source.evidence(&DATA).unwrap();
        assert_eq!((source.kind(), evidence.kind), (kind, kind));
        verify(&evidence, &DATA, &trust, AT).unwrap();
    }
}

#[test]
fn without_certificates_of_the_host_s_the_operator_is_told_where_amd_has_them_and_may_put_them_beside_the_node() {
    for (product, place) in
        [(Product::Milan, "/vcek/v1/Milan/0707"), (Product::Turin, "/vcek/v1/Turin/0707070707070707?fmcSPL=01&")]
    {
        let amd = Arc::new(Amd::new(product, AT));
        let mut trust = Trust::default();
        amd.trust(&mut trust.anchors);
        trust.collateral.insert(amd.revocations(&[], AT - 10)).unwrap();
        let whole = amd.mint(&amd.report(CODE, 7), &DATA);
        let bare = |evidence: coco_attestation::Evidence| {
            Box::new(move |_: &ReportData| evidence.clone().with(Aux::Certificates, Vec::new()))
        };
        let error = source(Machine::with_sev_guest(bare(whole.clone()))).evidence(&DATA).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains("blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"), "{error}");
        let amd_certificates = Some(whole.aux[&Aux::Certificates].clone());
        let machine = Machine { amd_certificates, ..Machine::with_sev_guest(bare(whole)) };
        verify(&source(machine).evidence(&DATA).unwrap(), &DATA, &trust, AT).unwrap();
    }
}

/// A container's machine: its device gives no certificates, its folder has them.
fn container(amd: Arc<Amd>, folder: &[(&str, Vec<u8>)]) -> Machine {
    let mint =
        Box::new(move |data: &ReportData| amd.mint(&amd.report(CODE, 1), data).with(Aux::Certificates, Vec::new()));
    let mut machine = Machine::with_sev_guest(mint);
    machine.variables.insert("UVM_SECURITY_CONTEXT_DIR".to_owned(), "/context".to_owned());
    folder.iter().fold(machine, |machine, (name, content)| machine.with(format!("/context/{name}"), content.clone()))
}

#[test]
fn a_confidential_container_finds_certificates_and_endorsement_in_its_folder() {
    let (amd, trust) = amd();
    let evidence = amd.mint(&amd.report(CODE, 1), &DATA);
    let pem = String::from_utf8(evidence.aux[&Aux::Certificates].clone()).unwrap();
    let endorsement = amd.uvm.endorse(&CODE, "Test-UVM", 10, AT - 1000);
    // Another report's leaf, of the same chip: a leaf is minted with each report, so this one's must be used.
    let cached = serde_json::json!({ "vcekCert": pem, "certificateChain": "", "tcbm": "DB18000000000004" });
    let folder = [
        ("host-amd-cert-base64", STANDARD.encode(cached.to_string()).into_bytes()),
        ("reference-info-base64", format!("{}\n", STANDARD.encode(&endorsement)).into_bytes()),
    ];
    let fetched = source(container(amd.clone(), &folder)).evidence(&DATA).unwrap();
    assert_eq!(fetched.aux[&Aux::UvmEndorsement], endorsement);
    assert_eq!(String::from_utf8_lossy(&fetched.aux[&Aux::Certificates]).trim(), pem.trim());
    let whole = evidence.with(Aux::UvmEndorsement, endorsement);
    verify(&whole, &DATA, &trust, AT).unwrap();
    let broken = source(container(amd.clone(), &[("host-amd-cert-base64", b"?".to_vec())])).evidence(&DATA);
    assert!(matches!(broken, Err(SourceError::Answer { .. })), "{broken:?}");
    let empty = source(container(amd, &[])).evidence(&DATA);
    assert!(matches!(empty, Err(SourceError::Device { .. })), "{empty:?}");
}

/// Runtime data with what the guest wrote last.
fn written(user_data: Option<&[u8; 64]>) -> ReportData {
    ReportData(user_data.copied().unwrap_or([0; 64]))
}

fn vtpm(azure: &Arc<Azure>, report: impl Fn(Option<&[u8; 64]>) -> Vec<u8> + Send + Sync + 'static) -> Vtpm {
    Vtpm {
        key: azure.key(),
        pcrs: azure.boot().pcrs,
        report: Box::new(report),
        user_data: None,
        defined: false,
        extended_before_quotes: 0,
    }
}

fn azure_machine(tpm: Vtpm, log: Vec<u8>) -> Machine {
    Machine { tpm: Some(Mutex::new(tpm)), ..Machine::default() }
        .with("/dev/tpmrm0", [])
        .with("/sys/kernel/security/tpm0/binary_bios_measurements", log)
}

#[test]
fn an_azure_guest_over_sev_snp_has_its_report_made_anew_and_quoted() {
    let (amd, trust) = amd();
    let azure = Arc::new(Azure::default());
    // The processor signs one report for each content; its certificate is the one the metadata service last answers with.
    let minted = Arc::new(Mutex::new(std::collections::BTreeMap::new()));
    let (maker, mint, made) = (azure.clone(), amd.clone(), minted.clone());
    let report = move |user_data: Option<&[u8; 64]>| {
        let data = written(user_data);
        let mut made = made.lock().unwrap();
        let evidence = made.entry(data.0).or_insert_with(|| maker.mint_snp(&mint, &mint.report(CODE, 1), &data));
        evidence.raw.clone()
    };
    let mut machine = azure_machine(vtpm(&azure, report), azure.boot().bytes().to_vec());
    machine.metadata = Some(Box::new(move |path, body| {
        assert_eq!((path, body), ("/metadata/THIM/amd/certification", None));
        let pem = String::from_utf8(minted.lock().unwrap()[&DATA.0].aux[&Aux::Certificates].clone()).unwrap();
        Some(serde_json::json!({ "vcekCert": pem, "certificateChain": "" }).to_string().into_bytes())
    }));
    let source = source(machine);
    assert_eq!(source.kind(), TeeKind::AzureSnp);
    // Twice: the index for the guest's data is made only once.
    for _ in 0..2 {
        let evidence = source.evidence(&DATA).unwrap();
        let verified = verify(&evidence, &DATA, &trust, AT).unwrap();
        let Details::Azure(claims) = &verified.claims().details else { panic!() };
        assert_eq!((claims.pcrs.len(), claims.boot_events.as_ref().unwrap()[&4].len()), (24, 1));
    }
}

#[test]
fn an_azure_guest_over_tdx_has_its_report_quoted_by_the_host() {
    let intel = Arc::new(Intel::new(AT));
    let mut trust = Trust::default();
    intel.trust(&mut trust.anchors);
    for item in intel.collateral(&intel.publication(AT - 100)) {
        trust.collateral.insert(item).unwrap();
    }
    let azure = Arc::new(Azure::default());
    let guest = Guest::Td { mrtd: CODE, attributes: 1 << 28, version: 4 };
    let (maker, mint, td) = (azure.clone(), intel.clone(), guest.clone());
    let report =
        move |user_data: Option<&[u8; 64]>| maker.mint_tdx(&mint, &mint.platform(1), &td, &written(user_data)).raw;
    let mut tpm = vtpm(&azure, report);
    // Somebody extends a register between its reading and the quote, once.
    tpm.extended_before_quotes = 1;
    let mut machine = azure_machine(tpm, Vec::new());
    machine.metadata = Some(Box::new(move |path, body| {
        assert_eq!(path, "/acc/tdquote");
        let body: serde_json::Value = serde_json::from_str(body?).ok()?;
        let report = URL_SAFE_NO_PAD.decode(body["report"].as_str()?).ok()?;
        assert_eq!(report.len(), 1024);
        let bound = ReportData(report[128..192].try_into().ok()?);
        let quote = intel.mint(&intel.platform(1), &guest, &bound).raw;
        Some(serde_json::json!({ "quote": URL_SAFE_NO_PAD.encode(quote) }).to_string().into_bytes())
    }));
    let evidence = source(machine).evidence(&DATA).unwrap();
    assert_eq!(evidence.kind, TeeKind::AzureTdx);
    verify(&evidence, &DATA, &trust, AT).unwrap();
}

#[test]
fn a_paravisor_that_does_not_take_the_report_data_up_or_keeps_changing_ends_in_an_error() {
    let (amd, _) = amd();
    let azure = Arc::new(Azure::default());
    let stale = azure.mint_snp(&amd, &amd.report(CODE, 1), &ReportData([0; 64])).raw;
    let machine = azure_machine(vtpm(&azure, move |_| stale.clone()), Vec::new());
    let error = source(machine).evidence(&DATA).unwrap_err();
    assert!(error.to_string().contains("does not take up"), "{error}");
    let fresh = azure.mint_snp(&amd, &amd.report(CODE, 1), &DATA).raw;
    let mut restless = vtpm(&azure, move |_| fresh.clone());
    restless.extended_before_quotes = 1000;
    let error = source(azure_machine(restless, Vec::new())).evidence(&DATA).unwrap_err();
    assert!(error.to_string().contains("keep changing"), "{error}");
}
