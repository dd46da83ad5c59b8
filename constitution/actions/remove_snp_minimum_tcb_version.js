actions.set("remove_snp_minimum_tcb_version", {
  validate: (args) => checkArgs(args, { cpuid: is.cpuid }),
  apply: ({ cpuid }) => void ccf.kv[SNP_TCB_VERSIONS].delete(textKey(cpuid)),
  describe: ({ cpuid }) => `Forget the least firmware of SEV-SNP processors with the CPUID ${cpuid}: without one, none is accepted`,
});
