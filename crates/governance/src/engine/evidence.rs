//! `snp_attestation.verifySnpAttestation`: whether a report is a genuine AMD processor's, and what it says, in CCF's form.
//!
//! The roots are those that the members accept. Certificates are not judged by any clock, nor by lists of those taken back: CCF does not either, and
//! an answer must be the same whenever a decision is made again. What the report says is for the script to judge, debugging included. A utility VM's
//! endorsement counts if its maker is one of the two that CCF's nodes know, or one whom the members accept.

use std::rc::Rc;

use coco_attestation::platforms::snp::report::{Product, Report};
use coco_attestation::policy::Endorser;
use coco_attestation::{
    Aux, Claims, Details, Evidence, Root, SnpClaims, SnpTcb, TeeKind, Trust, UvmClaims, chain, examine,
};
use rquickjs::{ArrayBuffer, Ctx, Exception, Object, Result};

use super::budget::{Budget, STEP_BYTES};
use super::host::{Binary, add, pay};
use super::world::World;
use crate::attestation;

/// Steps of verifying a chain of RSA keys, and another below an endorsement.
const STEPS: usize = 32;
/// Reading a certificate, for each byte.
const CERTIFICATE_COST: usize = 16;

/// Who endorses utility VMs, for what, and from which version on: Azure's container instances and its Kubernetes service.
const UVM_ENDORSERS: [(&str, &str, u64); 2] = [
    (
        "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2",
        "ContainerPlat-AMD-UVM",
        100,
    ),
    (
        "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.5",
        "ConfAKS-AMD-UVM",
        1,
    ),
];

pub(crate) fn natives<'js>(ctx: &Ctx<'js>, to: &Object<'js>, world: &Rc<World>, budget: &Rc<Budget>) -> Result<()> {
    let (w, b) = (world.clone(), budget.clone());
    add(
        ctx,
        to,
        "verifySnp",
        move |ctx: Ctx<'js>, report: Binary, certificates: Binary, uvm: Option<Binary>, tcb: Option<String>| {
            let uvm_bytes = uvm.as_ref().map_or(0, |uvm| uvm.0.len());
            pay(&ctx, &b, STEPS * STEP_BYTES + (certificates.0.len() + uvm_bytes) * CERTIFICATE_COST)?;
            let mut evidence = Evidence::bare(TeeKind::SevSnp, report.0).with(Aux::Certificates, certificates.0);
            if let Some(uvm) = uvm {
                evidence = evidence.with(Aux::UvmEndorsement, uvm.0);
            }
            let verified = verify(&w, &evidence, tcb.as_deref());
            let snp = verified.map_err(|problem| Exception::throw_range(&ctx, &problem))?;
            let report =
                Report::parse(&evidence.raw).map_err(|error| Exception::throw_range(&ctx, &error.to_string()))?;
            shown(&ctx, &report, &snp)
        },
    )
}

fn verify(world: &World, evidence: &Evidence, endorsed_tcb: Option<&str>) -> std::result::Result<SnpClaims, String> {
    let anchors = attestation::anchors(&mut *world.tx.borrow_mut()).map_err(|error| error.to_string())?;
    let crl_optional = [Root::AmdMilan, Root::AmdGenoa, Root::AmdTurin].into();
    let trust = Trust { anchors, crl_optional, ..Trust::default() };
    let certificates = evidence.aux.get(&Aux::Certificates).map(Vec::as_slice).unwrap_or_default();
    let certificates = chain::from_pem(certificates).map_err(|error| error.to_string())?;
    // When the last of them came to hold: a time at which all do, unless there is none.
    let at = certificates.iter().map(|certificate| certificate.validity().not_before).max().unwrap_or_default();
    let Claims { details, .. } = examine(evidence, &trust, at).map_err(|error| error.to_string())?;
    let Details::SevSnp(snp) = details else { return Err("it is no SEV-SNP report".to_owned()) };
    if let Some(uvm) = &snp.uvm {
        let voted = attestation::policy(&mut *world.tx.borrow_mut()).map_err(|error| error.to_string())?;
        check_endorser(uvm, &voted.sev_snp.endorsers)?;
    }
    if let Some(endorsed) = endorsed_tcb {
        check_tcb(evidence, endorsed)?;
    }
    Ok(*snp)
}

fn check_endorser(uvm: &UvmClaims, voted: &[Endorser]) -> std::result::Result<(), String> {
    let known = |(did, feed, svn): &(&str, &str, u64)| uvm.did == *did && uvm.feed == *feed && uvm.svn >= *svn;
    let accepted = |endorser: &Endorser| {
        let Endorser { did, feed, min_svn, signed_after } = endorser;
        uvm.did == *did && uvm.feed == *feed && uvm.svn >= *min_svn && uvm.signed_at >= *signed_after
    };
    if UVM_ENDORSERS.iter().any(known) || voted.iter().any(accepted) {
        return Ok(());
    }
    Err(format!("{} endorses the utility VM as {} {}, and is not known for that", uvm.did, uvm.feed, uvm.svn))
}

/// The firmware version for which a host has fetched certificates, a number of 64 bits in hex, must be the reported one.
fn check_tcb(evidence: &Evidence, endorsed: &str) -> std::result::Result<(), String> {
    let report = Report::parse(&evidence.raw).map_err(|error| error.to_string())?;
    let reported = u64::from_le_bytes(report.reported_tcb_bytes());
    let is_number = endorsed.len() == 16 && endorsed.bytes().all(|digit| digit.is_ascii_hexdigit());
    match u64::from_str_radix(endorsed, 16).ok().filter(|_| is_number) {
        Some(endorsed) if endorsed == reported => Ok(()),
        _ => Err(format!("the endorsed TCB {endorsed} is not the reported {reported:016x}")),
    }
}

/// CCF's names, with its spelling of one beside the right one.
fn shown<'js>(ctx: &Ctx<'js>, report: &Report<'_>, snp: &SnpClaims) -> Result<Object<'js>> {
    let bytes = |bytes: &[u8]| ArrayBuffer::new_copy(ctx.clone(), bytes);
    let product = Product::ALL.into_iter().find(|product| product.as_str() == snp.product).unwrap_or(Product::Milan);
    let tcb = |tcb: &SnpTcb| tcb_object(ctx, tcb, product == Product::Turin);
    let bit = |value: u64, at: u32| value >> at & 1;
    let a = Object::new(ctx.clone())?;
    a.set("version", report.version())?;
    a.set("guest_svn", report.guest_svn())?;
    let policy = report.policy();
    let shown = Object::new(ctx.clone())?;
    shown.set("abi_minor", policy & 0xff)?;
    shown.set("abi_major", policy >> 8 & 0xff)?;
    for (name, at) in [("smt", 16), ("migrate_ma", 18), ("debug", 19), ("single_socket", 20)] {
        shown.set(name, bit(policy, at))?;
    }
    a.set("policy", shown)?;
    a.set("family_id", bytes(&report.family_id())?)?;
    a.set("image_id", bytes(&report.image_id())?)?;
    a.set("vmpl", report.vmpl())?;
    a.set("signature_algo", report.algorithm())?;
    a.set(
        "platform_version",
        tcb(&report.current_tcb(product).map_err(|error| Exception::throw_range(ctx, &error.to_string()))?)?,
    )?;
    let platform_info = report.platform_info();
    for name in ["platform_info", "plaform_info"] {
        let shown = Object::new(ctx.clone())?;
        shown.set("smt_en", bit(platform_info, 0))?;
        shown.set("tsme_en", bit(platform_info, 1))?;
        a.set(name, shown)?;
    }
    let flags = u64::from(report.flags());
    let shown = Object::new(ctx.clone())?;
    shown.set("author_key_en", bit(flags, 0))?;
    shown.set("mask_chip_key", bit(flags, 1))?;
    shown.set("signing_key", flags >> 2 & 0b111)?;
    a.set("flags", shown)?;
    a.set("report_data", bytes(&report.report_data())?)?;
    a.set("measurement", bytes(&report.measurement())?)?;
    a.set("host_data", bytes(&report.host_data())?)?;
    a.set("id_key_digest", bytes(&report.id_key_digest())?)?;
    a.set("author_key_digest", bytes(&report.author_key_digest())?)?;
    a.set("report_id", bytes(&report.report_id())?)?;
    a.set("report_id_ma", bytes(&report.report_id_ma())?)?;
    a.set("reported_tcb", tcb(&snp.reported_tcb)?)?;
    let [family, model, stepping] = report.cpuid();
    a.set("cpuid_fam_id", family)?;
    a.set("cpuid_mod_id", model)?;
    a.set("cpuid_step", stepping)?;
    a.set("chip_id", bytes(&report.chip_id())?)?;
    a.set("committed_tcb", tcb(&snp.committed_tcb)?)?;
    for (when, [build, minor, major]) in
        [("current", report.current_version()), ("committed", report.committed_version())]
    {
        a.set(format!("{when}_build"), build)?;
        a.set(format!("{when}_minor"), minor)?;
        a.set(format!("{when}_major"), major)?;
    }
    a.set("launch_tcb", tcb(&snp.launch_tcb)?)?;
    let [r, s] = report.signature_halves();
    let shown = Object::new(ctx.clone())?;
    shown.set("r", bytes(&r)?)?;
    shown.set("s", bytes(&s)?)?;
    a.set("signature", shown)?;
    let whole = Object::new(ctx.clone())?;
    whole.set("attestation", a)?;
    if let Some(uvm) = &snp.uvm {
        let shown = Object::new(ctx.clone())?;
        shown.set("did", uvm.did.as_str())?;
        shown.set("feed", uvm.feed.as_str())?;
        shown.set("svn", uvm.svn.to_string())?;
        whole.set("uvm_endorsements", shown)?;
    }
    Ok(whole)
}

fn tcb_object<'js>(ctx: &Ctx<'js>, tcb: &SnpTcb, has_fmc: bool) -> Result<Object<'js>> {
    let shown = Object::new(ctx.clone())?;
    for (name, version) in
        [("boot_loader", tcb.boot_loader), ("tee", tcb.tee), ("snp", tcb.snp), ("microcode", tcb.microcode)]
    {
        shown.set(name, version)?;
    }
    if has_fmc {
        shown.set("fmc", tcb.fmc)?;
    }
    Ok(shown)
}

#[cfg(test)]
mod tests;
