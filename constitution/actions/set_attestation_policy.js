// Sections of the policy about code and platforms, and what each may hold: docs/attestation.md says what it means.
const ATTESTATION_SECTIONS = {
  virtual_tee: ["measurements"],
  sev_snp: [
    "measurements", "endorsers", "host_data", "vmpls", "id_keys", "author_keys", "family_ids", "image_ids", "min_guest_svn", "minimum_tcb",
    "version_2_products", "vlek_csps", "forbid_smt", "require_rapl_disabled", "require_ciphertext_hiding", "require_alias_check",
  ],
  tdx: ["images", "seam_modules", "service_tds", "required_attributes", "allowed_attributes", "tcb"],
  sgx: ["enclaves", "signers", "config_ids", "allowed_misc_select", "tcb"],
  azure_snp: ["snp", "tdx", "boots", "events", "require_secure_boot", "forbid_console"],
  azure_tdx: ["snp", "tdx", "boots", "events", "require_secure_boot", "forbid_console"],
  nitro: ["images"],
  cca: ["realms", "components", "configs"],
  vbs: ["modules", "min_secure_kernel_svn", "min_platform_svn", "boot"],
  network: [
    "max_per_kind", "max_per_vendor", "hardware", "allowed_hardware", "denied_hardware", "allow_unidentified_hardware", "grace_s",
    "evidence_age_max_s", "crl_optional", "minimum_nodes",
  ],
};

actions.set("set_attestation_policy", {
  validate(args) {
    checkArgs(args, { section: is.oneOf(Object.keys(ATTESTATION_SECTIONS)), policy: is.object });
    attestationSection(args.section, args.policy);
  },
  apply({ section, policy }, proposalId) {
    writeRow(ATTESTATION_POLICY, textKey(section), policy);
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ section, policy }) =>
    `Judge ${section} by ${JSON.stringify(policy)} from now on, nodes of the network too; every other open proposal is dropped`,
});

function attestationSection(section, policy) {
  const known = ATTESTATION_SECTIONS[section] ?? fail(`an attestation policy has no section ${section}`);
  is.object(policy, section);
  for (const field of Object.keys(policy)) {
    if (!known.includes(field)) fail(`the section ${section} has no field ${field}: it has ${known.join(", ")}`);
  }
}
