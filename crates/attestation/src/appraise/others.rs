//! Azure's paravisor, Nitro, CCA and VBS against their sections of the policy.

use std::collections::BTreeMap;

use super::{Judge, Reason};
use crate::policy::{AzurePolicy, CcaPolicy, CcaRealm, NitroPolicy, VbsModuleRule, VbsPolicy};
use crate::{AzureClaims, CcaClaims, NitroClaims, TeeKind, VbsClaims, VbsModule};

impl Judge {
    pub(super) fn azure(&mut self, claims: &AzureClaims, policy: &AzurePolicy) {
        if !policy.boots.is_empty() || policy.events.is_empty() {
            let accepted = policy.boots.iter().any(|boot| matches(boot, &claims.pcrs));
            self.check(accepted, "what booted is accepted", || Reason::BootNotAccepted);
        }
        for (pcr, listed) in &policy.events {
            let measured = claims.boot_events.as_ref().and_then(|events| events.get(pcr));
            let Some(measured) = measured else {
                self.reasons.push(Reason::BootLogMissing { pcr: *pcr });
                continue;
            };
            let unlisted = measured.iter().find(|digest| !listed.contains(*digest));
            let words = format!("all that was measured into PCR {pcr} is listed");
            let digest = || unlisted.cloned().unwrap_or_default();
            self.check(unlisted.is_none(), words, || Reason::BootEventNotAccepted { pcr: *pcr, digest: digest() });
        }
        if policy.require_secure_boot {
            self.check(claims.secure_boot == Some(true), "secure boot is on", || Reason::SecureBootOff);
        }
        if policy.forbid_console {
            self.check(claims.console_enabled == Some(false), "the console is off", || Reason::ConsoleOn);
        }
    }

    pub(super) fn nitro(&mut self, claims: &NitroClaims, policy: &NitroPolicy) {
        self.platform(TeeKind::Nitro, !policy.images.is_empty());
        let accepted = policy.images.iter().any(|image| image.contains_key(&0) && matches(image, &claims.pcrs));
        self.measurement(accepted, claims.pcrs.get(&0).cloned().unwrap_or_default());
    }

    pub(super) fn cca(&mut self, claims: &CcaClaims, policy: &CcaPolicy) {
        self.platform(TeeKind::Cca, !policy.realms.is_empty());
        let accepted = policy.realms.iter().any(|realm| is_realm(claims, realm));
        self.measurement(accepted, claims.rim.clone());
        let secured = (0x3000..=0x30ff).contains(&claims.lifecycle);
        self.check(secured, "the platform is secured", || Reason::LifecycleNotSecured(claims.lifecycle));
        for component in &claims.components {
            let listed = policy.components.contains(component);
            let words = format!("the firmware {}", component.measurement);
            self.check(listed, words, || Reason::ComponentUnknown(component.measurement.clone()));
        }
        if !policy.configs.is_empty() {
            let listed = policy.configs.contains(&claims.config);
            self.check(listed, "the platform's configuration", || Reason::ConfigNotAccepted(claims.config.clone()));
        }
    }

    pub(super) fn vbs(&mut self, claims: &VbsClaims, policy: &VbsPolicy) {
        self.platform(TeeKind::Vbs, !policy.modules.is_empty());
        let enclave = hex::encode(claims.enclave.unique_id);
        self.measurement(policy.modules.iter().any(|rule| is_module(&claims.enclave, rule)), enclave);
        for module in &claims.modules {
            let accepted = policy.modules.iter().any(|rule| is_module(module, rule));
            let name = format!("{} {}", module.name, hex::encode(module.unique_id));
            self.check(accepted, format!("the module {name}"), || Reason::ModuleNotAccepted(name));
        }
        for (what, found, minimum) in [
            ("secure kernel", claims.secure_kernel_svn, policy.min_secure_kernel_svn),
            ("platform", claims.platform_svn, policy.min_platform_svn),
        ] {
            let refused = || Reason::VersionTooLow { what, found, minimum };
            self.check(found >= minimum, format!("the {what} version {found}"), refused);
        }
        for (setting, expected) in &policy.boot {
            let found = claims.boot.get(setting).copied();
            let refused = || Reason::BootSetting { setting: setting.clone(), found, expected: *expected };
            self.check(found == Some(*expected), format!("the boot setting {setting}"), refused);
        }
    }
}

/// Every register that is named has its value; naming none matches nothing.
fn matches(expected: &BTreeMap<u8, String>, found: &BTreeMap<u8, String>) -> bool {
    !expected.is_empty() && expected.iter().all(|(index, value)| found.get(index) == Some(value))
}

fn is_realm(claims: &CcaClaims, realm: &CcaRealm) -> bool {
    realm.rim == claims.rim
        && realm.rems.as_ref().is_none_or(|rems| *rems == claims.rems)
        && realm.personalisation.as_ref().is_none_or(|value| *value == claims.personalisation)
}

/// One image exactly, or an author's image from a version on; a rule that names neither matches nothing.
fn is_module(module: &VbsModule, rule: &VbsModuleRule) -> bool {
    let is = |expected: &Option<String>, found: &[u8]| {
        expected.as_ref().is_some_and(|expected| *expected == hex::encode(found))
    };
    if rule.unique_id.is_some() {
        return is(&rule.unique_id, &module.unique_id);
    }
    is(&rule.author_id, &module.author_id)
        && is(&rule.family_id, &module.family_id)
        && is(&rule.image_id, &module.image_id)
        && module.svn >= rule.min_svn
}
