actions.set("set_snp_minimum_tcb_version", {
  validate(args) {
    checkArgs(args, { cpuid: is.cpuid, tcb_version: is.object });
    const byte = is.integer(0, 255);
    checkArgs(args.tcb_version, {
      boot_loader: byte, tee: byte, snp: byte, microcode: byte, "fmc?": byte, "hexstring?": is.string,
    });
  },
  apply({ cpuid, tcb_version }, proposalId) {
    writeRow(SNP_TCB_VERSIONS, textKey(cpuid), tcb_version);
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ cpuid, tcb_version }) =>
    `Ask of SEV-SNP processors with the CPUID ${cpuid} a firmware of at least ${JSON.stringify(tcb_version)}; ` +
    "every other open proposal is dropped",
});
