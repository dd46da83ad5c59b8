// As a report shows it: one number of 64 bits. Turin (family 1Ah) orders its bytes in another way than those before it.
actions.set("set_snp_minimum_tcb_version_hex", {
  validate: (args) => checkArgs(args, { cpuid: is.cpuid, tcb_version: is.hex(8) }),
  apply({ cpuid, tcb_version }, proposalId) {
    const byte = (i) => parseInt(tcb_version.substr(14 - 2 * i, 2), 16);
    const turin = cpuid.startsWith("00b");
    const versions = turin
      ? { fmc: byte(0), boot_loader: byte(1), tee: byte(2), snp: byte(3), microcode: byte(7) }
      : { boot_loader: byte(0), tee: byte(1), snp: byte(6), microcode: byte(7) };
    writeRow(SNP_TCB_VERSIONS, textKey(cpuid), { ...versions, hexstring: tcb_version.toLowerCase() });
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ cpuid, tcb_version }) =>
    `Ask of SEV-SNP processors with the CPUID ${cpuid} a firmware of at least ${tcb_version}, each part by itself; ` +
    "every other open proposal is dropped",
});
