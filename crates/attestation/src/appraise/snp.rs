//! SEV-SNP against its section of the policy.

use std::collections::BTreeSet;

use super::{Judge, Reason};
use crate::policy::SnpPolicy;
use crate::{SnpClaims, SnpTcb, TeeKind};

const PLATFORM_SMT: u64 = 1;
const PLATFORM_RAPL_DISABLED: u64 = 1 << 3;
const PLATFORM_CIPHERTEXT_HIDING: u64 = 1 << 4;
const PLATFORM_ALIAS_CHECK: u64 = 1 << 5;

impl Judge {
    pub(super) fn snp(&mut self, kind: TeeKind, claims: &SnpClaims, policy: &SnpPolicy) {
        self.platform(kind, !policy.measurements.is_empty() || !policy.endorsers.is_empty());
        self.check(!claims.migration_agent, "no migration agent", || Reason::MigrationAgent);
        let endorsed = self.launch(claims, policy);
        let host_data = hex::encode(claims.host_data);
        if endorsed || !policy.host_data.is_empty() {
            let listed = policy.host_data.contains(&host_data);
            self.check(listed, format!("host data {host_data} are accepted"), || {
                Reason::HostDataNotAccepted(host_data)
            });
        }
        let vmpl_accepted = policy.vmpls.as_ref().map_or(claims.vmpl == 0, |levels| levels.contains(&claims.vmpl));
        self.check(vmpl_accepted, format!("privilege level {}", claims.vmpl), || Reason::VmplNotAccepted(claims.vmpl));
        self.identity("id key", &policy.id_keys, &claims.id_key_digest);
        self.identity("author key", &policy.author_keys, &claims.author_key_digest);
        self.identity("family", &policy.family_ids, &claims.family_id);
        self.identity("image", &policy.image_ids, &claims.image_id);
        let (found, minimum) = (claims.guest_svn, policy.min_guest_svn);
        self.check(found >= minimum, "the guest's version", || Reason::GuestSvnTooLow { found, minimum });
        self.snp_platform(claims, policy);
    }

    /// Whether the measurement is accepted by an endorser's word.
    fn launch(&mut self, claims: &SnpClaims, policy: &SnpPolicy) -> bool {
        let measurement = hex::encode(claims.measurement);
        let uvm = claims.uvm.as_ref().filter(|_| !policy.measurements.contains(&measurement));
        let Some(uvm) = uvm.filter(|_| !policy.endorsers.is_empty()) else {
            self.measurement(policy.measurements.contains(&measurement), measurement);
            return false;
        };
        let named = |endorser: &&crate::policy::Endorser| endorser.did == uvm.did && endorser.feed == uvm.feed;
        let Some(endorser) = policy.endorsers.iter().find(named) else {
            self.reasons.push(Reason::EndorserNotAllowed { did: uvm.did.clone(), feed: uvm.feed.clone() });
            return true;
        };
        self.passed.push(format!("the measurement {measurement} is endorsed by {}", endorser.feed));
        let (found, minimum) = (uvm.svn, endorser.min_svn);
        self.check(found >= minimum, "the endorsed version", || Reason::UvmSvnTooLow { found, minimum });
        let (found, minimum) = (uvm.signed_at, endorser.signed_after);
        self.check(found >= minimum, "the time of the endorsement", || Reason::UvmSignedTooEarly { found, minimum });
        true
    }

    fn snp_platform(&mut self, claims: &SnpClaims, policy: &SnpPolicy) {
        if claims.version == 2 {
            let accepted = policy.version_2_products.contains(&claims.product);
            let refused = || Reason::ReportVersionNotAccepted(claims.product.clone());
            self.check(accepted, "the report's version", refused);
        }
        if let Some(csp) = &claims.csp_id {
            let accepted = policy.vlek_csps.contains(csp);
            self.check(accepted, format!("the signing key of {csp}"), || Reason::CspNotAccepted(csp.clone()));
        }
        match policy.minimum_tcb.get(&claims.product) {
            None => self.reasons.push(Reason::ProductNotAccepted(claims.product.clone())),
            Some(minimum) => {
                self.tcb("reported", &claims.reported_tcb, minimum);
                self.tcb("committed", &claims.committed_tcb, minimum);
                self.tcb("launch", &claims.launch_tcb, minimum);
            }
        }
        let on = |bit: u64| claims.platform_info & bit != 0;
        for (bad, what) in [
            (policy.forbid_smt && on(PLATFORM_SMT), "simultaneous multithreading"),
            (policy.require_rapl_disabled && !on(PLATFORM_RAPL_DISABLED), "power metering"),
            (policy.require_ciphertext_hiding && !on(PLATFORM_CIPHERTEXT_HIDING), "no ciphertext hiding"),
            (policy.require_alias_check && !on(PLATFORM_ALIAS_CHECK), "not checked its memory for aliases"),
        ] {
            if bad {
                self.reasons.push(Reason::PlatformSetting(what));
            }
        }
    }

    fn tcb(&mut self, which: &'static str, found: &SnpTcb, minimum: &SnpTcb) {
        let components = [
            ("fmc", found.fmc, minimum.fmc),
            ("boot_loader", found.boot_loader, minimum.boot_loader),
            ("tee", found.tee, minimum.tee),
            ("snp", found.snp, minimum.snp),
            ("microcode", found.microcode, minimum.microcode),
        ];
        let low = components.into_iter().filter(|(_, found, minimum)| found < minimum);
        let before = self.reasons.len();
        self.reasons.extend(low.map(|(component, found, minimum)| Reason::TcbTooLow {
            which,
            component,
            found,
            minimum,
        }));
        if self.reasons.len() == before {
            self.passed.push(format!("the {which} TCB is at least the minimum"));
        }
    }

    fn identity(&mut self, what: &'static str, accepted: &BTreeSet<String>, found: &[u8]) {
        if !accepted.is_empty() {
            let found = hex::encode(found);
            let listed = accepted.contains(&found);
            self.check(listed, format!("the {what} {found}"), || Reason::IdentityNotAccepted { what, found });
        }
    }
}
