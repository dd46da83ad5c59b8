//! TDX and SGX against their sections of the policy.

use super::{Judge, Reason};
use crate::policy::{DcapPolicy, SgxPolicy, TdImage, TdxPolicy};
use crate::{DcapTcb, SgxClaims, TdxClaims, TeeKind};

const SEPT_VE_DISABLE: u64 = 1 << 28;
const MIGRATABLE: u64 = 1 << 29;
const PKS: u64 = 1 << 30;
const KEY_LOCKER: u64 = 1 << 31;
const PERFMON: u64 = 1 << 63;

impl Judge {
    pub(super) fn tdx(&mut self, kind: TeeKind, claims: &TdxClaims, policy: &TdxPolicy, at: u64) {
        self.platform(kind, !policy.images.is_empty());
        let accepted = policy.images.iter().any(|image| is_image(claims, image));
        self.measurement(accepted, hex::encode(claims.mrtd));
        let found = claims.td_attributes;
        let refuse = |why| move || Reason::AttributesNotAccepted { found, why };
        self.check(found & MIGRATABLE == 0, "it cannot be migrated", refuse("it can be migrated"));
        let missing = policy.required_attributes & !found;
        self.check(missing == 0, "required attributes are set", refuse("a required one is not set"));
        let allowed = policy.allowed_attributes.unwrap_or(SEPT_VE_DISABLE | PKS | KEY_LOCKER | PERFMON);
        let beyond = found & !allowed & !policy.required_attributes & !MIGRATABLE;
        self.check(beyond == 0, "no other attribute is set", refuse("another one is set"));
        let seam = hex::encode(claims.mrseam);
        if !policy.seam_modules.is_empty() {
            let listed = policy.seam_modules.contains(&seam);
            self.check(listed, format!("the SEAM module {seam}"), || Reason::SeamModuleNotAccepted(seam));
        }
        if let Some(bound) = claims.mrservicetd.filter(|bound| bound.iter().any(|byte| *byte != 0)) {
            let bound = hex::encode(bound);
            let listed = policy.service_tds.contains(&bound);
            self.check(listed, format!("the service TD {bound}"), || Reason::ServiceTdNotAccepted(bound));
        }
        self.dcap(&claims.tcb, &policy.tcb, at);
    }

    pub(super) fn sgx(&mut self, claims: &SgxClaims, policy: &SgxPolicy, at: u64) {
        self.platform(TeeKind::Sgx, !policy.enclaves.is_empty() || !policy.signers.is_empty());
        let (enclave, signer) = (hex::encode(claims.mrenclave), hex::encode(claims.mrsigner));
        let signed = policy.signers.iter().any(|accepted| {
            accepted.mrsigner == signer
                && accepted.isv_prod_id == claims.isv_prod_id
                && claims.isv_svn >= accepted.min_isv_svn
        });
        self.measurement(policy.enclaves.contains(&enclave) || signed, enclave);
        let config = hex::encode(claims.config_id);
        let plain = claims.config_id.iter().all(|byte| *byte == 0);
        let accepted = plain || policy.config_ids.contains(&config);
        self.check(accepted, "the enclave's configuration", || Reason::ConfigNotAccepted(config));
        let beyond = claims.misc_select & !policy.allowed_misc_select;
        let found = u64::from(claims.misc_select);
        let refused = || Reason::AttributesNotAccepted { found, why: "MISCSELECT has a bit that is not allowed" };
        self.check(beyond == 0, "MISCSELECT", refused);
        self.dcap(&claims.tcb, &policy.tcb, at);
    }

    fn dcap(&mut self, tcb: &DcapTcb, policy: &DcapPolicy, at: u64) {
        match policy.statuses.get(&tcb.status) {
            None => self.reasons.push(Reason::StatusNotAccepted(tcb.status.clone())),
            Some(None) => self.passed.push(format!("the TCB status {}", tcb.status)),
            Some(Some(grace_s)) => {
                let until = tcb.newest_level_date.saturating_add(*grace_s);
                let words = format!("the TCB status {}, until {until}", tcb.status);
                self.check(at <= until, words, || Reason::GraceOver { status: tcb.status.clone(), until });
            }
        }
        let rejected = tcb.advisories.iter().filter(|advisory| policy.rejected_advisories.contains(*advisory));
        self.reasons.extend(rejected.map(|advisory| Reason::AdvisoryRejected(advisory.clone())));
        let (found, minimum) = (tcb.evaluation_number, policy.min_evaluation_number);
        self.check(found >= minimum, "the TCB evaluation number", || Reason::EvaluationNumberTooLow { found, minimum });
        for (bad, what) in [
            (policy.forbid_dynamic_platform && tcb.dynamic_platform == Some(true), "packages that can be added"),
            (policy.forbid_cached_keys && tcb.cached_keys == Some(true), "keys cached by Intel"),
            (policy.forbid_smt && tcb.smt == Some(true), "simultaneous multithreading"),
        ] {
            if bad {
                self.reasons.push(Reason::PlatformSetting(what));
            }
        }
    }
}

fn is_image(claims: &TdxClaims, image: &TdImage) -> bool {
    let is = |expected: &Option<String>, found: &[u8; 48]| {
        expected.as_ref().is_none_or(|expected| *expected == hex::encode(found))
    };
    let rtmr = |(index, expected): (&u8, &String)| {
        claims.rtmrs.get(usize::from(*index)).is_some_and(|found| *expected == hex::encode(found))
    };
    image.mrtd == hex::encode(claims.mrtd)
        && image.rtmrs.iter().all(rtmr)
        && is(&image.mrconfigid, &claims.mrconfigid)
        && is(&image.mrowner, &claims.mrowner)
        && is(&image.mrownerconfig, &claims.mrownerconfig)
}
