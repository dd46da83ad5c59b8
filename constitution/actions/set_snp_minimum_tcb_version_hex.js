// As a report shows it: one number of 64 bits.
actions.set("set_snp_minimum_tcb_version_hex", {
  validate: (args) => checkArgs(args, { cpuid: is.cpuid, tcb_version: is.hex(8) }),
  apply({ cpuid, tcb_version }, proposalId) {
    writeRow(SNP_TCB_VERSIONS, textKey(cpuid), ccf.tcbHexToPolicy(cpuid, tcb_version));
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ cpuid, tcb_version }) =>
    `Ask of SEV-SNP processors with the CPUID ${cpuid} a firmware of at least ${tcb_version}, each part by itself; ` +
    "every other open proposal is dropped",
});
